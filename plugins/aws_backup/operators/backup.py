"""Operators that start, and undo, work of AWS Backup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils import validate_execute_complete_event
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import conf, timezone
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import ClientError

from aws_backup.exceptions import (
    RecoveryPointNotOursError,
    RestoreTargetExistsError,
    VaultExistsError,
    VaultNotDeletedError,
    error_from_event,
)
from aws_backup.hooks.backup import (
    BackupHook,
    clear_connection_errors,
    dynamodb_restore_metadata,
    is_taggable,
)
from aws_backup.intents import (
    DEFAULT_PREFIX,
    Intent,
    IntentIdentity,
    IntentStore,
    MemoryIntentStore,
    ensure_job,
    force_key,
)
from aws_backup.links.backup import (
    BackupJobLink,
    BackupRecoveryPointLink,
    BackupRestoreJobLink,
    BackupVaultLink,
)
from aws_backup.polling import PollPlan, error_code
from aws_backup.questions import backup_intent_question as backup_intent_question
from aws_backup.questions import intent_store as intent_store
from aws_backup.questions import restore_intent_question as restore_intent_question
from aws_backup.states import Outcome, RecoveryPointStatus, StateKind, classify
from aws_backup.stopping import RESTORE_GOES_ON, stop_backup_job
from aws_backup.summaries import JobSummary, summarise_backup_job, summarise_restore_job
from aws_backup.tables import table_status, target_table
from aws_backup.triggers.backup import (
    BackupBaseWaiterTrigger,
    BackupJobCompletedTrigger,
    BackupRecoveryPointDeletedTrigger,
    BackupRestoreJobCompletedTrigger,
)
from aws_backup.waiting import WaitTarget, wait

if TYPE_CHECKING:
    from airflow.sdk import Context

# What the operators push besides their return value.
XCOM_RECOVERY_POINT_ARN = "recovery_point_arn"
XCOM_CREATED_RESOURCE_ARN = "created_resource_arn"
XCOM_JOB_SUMMARY = "job_summary"


class BackupBaseOperator(AwsBaseOperator[BackupHook]):
    """Common to all operators here."""

    aws_hook_class = BackupHook


class BackupWaitingOperator(BackupBaseOperator):
    """Common to the operators that start something and may wait for it.

    :param wait_for_completion: wait in the worker. (default: True)
    :param deferrable: wait in the triggerer; goes before ``wait_for_completion``.
        (default: the option ``[operators] default_deferrable``)
    :param waiter_delay: seconds between the first polls; the delay grows by half each time. (default: 15)
    :param waiter_max_delay: seconds between polls at most. (default: 120)
    :param waiter_max_attempts: number of polls that may find it in progress. (default: 480)
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        waiter_delay: float = 15,
        waiter_max_delay: float = 120,
        waiter_max_attempts: int = 480,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = False if deferrable else wait_for_completion
        self.deferrable = deferrable
        self.waiter_delay = waiter_delay
        self.waiter_max_delay = waiter_max_delay
        self.waiter_max_attempts = waiter_max_attempts

    @property
    def poll_plan(self) -> PollPlan:
        """How often to ask."""
        return PollPlan(self.waiter_delay, self.waiter_max_delay, self.waiter_max_attempts)

    @property
    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            "waiter_delay": self.waiter_delay,
            "waiter_max_delay": self.waiter_max_delay,
            "waiter_max_attempts": self.waiter_max_attempts,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }

    def _defer(self, trigger: BackupBaseWaiterTrigger) -> None:
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=self.poll_plan.total_seconds()),
        )

    @staticmethod
    def _event(event: dict[str, Any] | None) -> dict[str, Any]:
        """Take a trigger's event.

        :raises AwsBackupError: the named error that it carries.
        """
        event = validate_execute_complete_event(event)
        if event["status"] != "success":
            raise error_from_event(event)
        return event


class BackupIntentOperator(BackupWaitingOperator):
    """Common to the operators that start a job under an intent token (see ``intents``).

    :param intent_bucket: S3 bucket of the intent records. Without one, retries still send one and the same
        token, but a job that ended badly can't be followed by a new one in the same run. (default: None)
    :param intent_prefix: key prefix of the records. (default: ``intents/``)
    :param force_new: start a new job although the recorded one is good. True, or a word, is honoured once; a
        run whose parameter stays set can be retried. Another word forces another job. (default: False)
    """

    def __init__(
        self,
        *,
        intent_bucket: str | None = None,
        intent_prefix: str = DEFAULT_PREFIX,
        force_new: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.intent_bucket = intent_bucket
        self.intent_prefix = intent_prefix
        self.force_new = force_new

    def _intent_store(self) -> IntentStore:
        if self.intent_bucket:
            return intent_store(self.hook.sibling("s3").conn, self.intent_bucket, self.intent_prefix)
        if force_key(self.force_new):
            raise ValueError("force_new needs an intent_bucket: without a record, no generation can advance.")
        return MemoryIntentStore()

    def _identity(self, context: Context, resource: str) -> IntentIdentity:
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        return IntentIdentity(ti.dag_id, ti.run_id, ti.task_id, map_index, resource)


class BackupCreateVaultOperator(BackupBaseOperator):
    """Create a backup vault.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupVault.html

    :param backup_vault_name: name of the vault. (templated)
    :param encryption_key_arn: KMS key of the vault; AWS chooses its own if None. (templated) (default: None)
    :param tags: tags of the vault. (templated) (default: None)
    :param if_exists: ``skip`` takes a vault of that name as it is, unless its key is another one than asked
        for; ``fail`` fails. (default: ``skip``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: the vault's ARN.
    """

    template_fields = aws_template_fields("backup_vault_name", "encryption_key_arn", "tags")
    template_fields_renderers = {"tags": "json"}
    operator_extra_links = (BackupVaultLink(),)

    def __init__(
        self,
        *,
        backup_vault_name: str,
        encryption_key_arn: str | None = None,
        tags: Mapping[str, str] | None = None,
        if_exists: Literal["skip", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_vault_name = backup_vault_name
        self.encryption_key_arn = encryption_key_arn
        self.tags = tags
        self.if_exists = if_exists

    def execute(self, context: Context) -> str:
        """Create the vault, or take the one that is there."""
        if self.if_exists not in {"skip", "fail"}:
            raise ValueError(f"if_exists must be 'skip' or 'fail', not {self.if_exists!r}.")
        BackupVaultLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            backup_vault_name=self.backup_vault_name,
        )
        request: dict[str, Any] = {"BackupVaultName": self.backup_vault_name}
        if self.encryption_key_arn:
            request["EncryptionKeyArn"] = self.encryption_key_arn
        if self.tags:
            request["BackupVaultTags"] = dict(self.tags)
        try:
            with clear_connection_errors():
                arn = str(self.hook.client.create_backup_vault(**request)["BackupVaultArn"])
        except ClientError as error:
            if error_code(error) != "AlreadyExistsException":
                raise
            return self._take_existing(error)
        self.log.info("Created backup vault %s.", arn)
        return arn

    def _take_existing(self, error: ClientError) -> str:
        if self.if_exists == "fail":
            raise VaultExistsError(vault=self.backup_vault_name, reason="if_exists is 'fail'") from error
        vault = self.hook.get_vault(self.backup_vault_name)
        key = vault.get("EncryptionKeyArn")
        if self.encryption_key_arn and key != self.encryption_key_arn:
            raise VaultExistsError(
                vault=self.backup_vault_name,
                reason=f"it is encrypted with {key}, not with {self.encryption_key_arn}",
            ) from error
        self.log.info("Backup vault %s is there already.", vault["BackupVaultArn"])
        return str(vault["BackupVaultArn"])


class BackupDeleteVaultOperator(BackupBaseOperator):
    """Delete an empty backup vault.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupVault.html

    :param backup_vault_name: name of the vault. (templated)
    :param if_missing: ``skip`` or ``fail``. (default: ``skip``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    template_fields = aws_template_fields("backup_vault_name")

    def __init__(self, *, backup_vault_name: str, if_missing: Literal["skip", "fail"] = "skip", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_vault_name = backup_vault_name
        self.if_missing = if_missing

    def execute(self, context: Context) -> None:
        """Delete the vault; AWS refuses as long as it holds a recovery point."""
        if self.if_missing not in {"skip", "fail"}:
            raise ValueError(f"if_missing must be 'skip' or 'fail', not {self.if_missing!r}.")
        try:
            self.hook.get_vault(self.backup_vault_name)
        except AirflowNotFoundException:
            if self.if_missing == "fail":
                raise
            self.log.info("There is no backup vault %s.", self.backup_vault_name)
            return
        try:
            with clear_connection_errors():
                self.hook.client.delete_backup_vault(BackupVaultName=self.backup_vault_name)
        except ClientError as error:
            if error_code(error) == "InvalidRequestException":
                detail = str(error.response["Error"].get("Message", ""))
                raise VaultNotDeletedError(vault=self.backup_vault_name, detail=detail) from error
            raise
        self.log.info("Deleted backup vault %s.", self.backup_vault_name)


class BackupStartBackupJobOperator(BackupIntentOperator):
    """Start an on-demand backup job, or adopt the one that this task started before.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartBackupJob.html

    Pushes the XComs ``recovery_point_arn`` (as soon as AWS names it) and, after waiting, ``job_summary``.

    :param backup_vault_name: vault that gets the recovery point. (templated)
    :param resource_arn: ARN of what is backed up. (templated)
    :param iam_role_arn: role that AWS Backup takes on. (templated)
    :param recovery_point_tags: tags of the recovery point; must not change between attempts, since they go
        with one idempotency token. (templated) (default: None)
    :param lifecycle: ``DeleteAfterDays`` and so on, as AWS takes it. (templated) (default: None)
    :param start_window_minutes: minutes within which AWS has to start, 60 or more. (default: AWS's 8 hours)
    :param complete_window_minutes: minutes within which it has to complete. (default: AWS's)
    :param backup_options: options by resource type. (default: None)
    :param intent_bucket: S3 bucket of the intent records, see ``BackupIntentOperator``. (templated)
        (default: None)
    :param intent_prefix: key prefix of the records. (templated) (default: ``intents/``)
    :param force_new: start a new job although the recorded one is good. (templated) (default: False)
    :param stop_job_on_kill: stop the job when this task is given up while it waits. (default: True)
    :param wait_for_completion: wait in the worker. (default: True)
    :param deferrable: wait in the triggerer; goes before ``wait_for_completion``.
        (default: the option ``[operators] default_deferrable``)
    :param waiter_delay: seconds between the first polls; the delay grows by half each time. (default: 15)
    :param waiter_max_delay: seconds between polls at most. (default: 120)
    :param waiter_max_attempts: number of polls that may find it in progress. (default: 480)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: the backup job's id.
    """

    template_fields = aws_template_fields(
        "backup_vault_name",
        "resource_arn",
        "iam_role_arn",
        "recovery_point_tags",
        "lifecycle",
        "intent_bucket",
        "intent_prefix",
        "force_new",
    )
    template_fields_renderers = {"recovery_point_tags": "json", "lifecycle": "json"}
    operator_extra_links = (BackupJobLink(),)

    def __init__(
        self,
        *,
        backup_vault_name: str,
        resource_arn: str,
        iam_role_arn: str,
        recovery_point_tags: Mapping[str, str] | None = None,
        lifecycle: Mapping[str, Any] | None = None,
        start_window_minutes: int | None = None,
        complete_window_minutes: int | None = None,
        backup_options: Mapping[str, str] | None = None,
        stop_job_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_vault_name = backup_vault_name
        self.resource_arn = resource_arn
        self.iam_role_arn = iam_role_arn
        self.recovery_point_tags = recovery_point_tags
        self.lifecycle = lifecycle
        self.start_window_minutes = start_window_minutes
        self.complete_window_minutes = complete_window_minutes
        self.backup_options = backup_options
        self.stop_job_on_kill = stop_job_on_kill
        self._job_id: str | None = None

    def execute(self, context: Context) -> str:
        """Start or adopt the job, then wait for it if asked to."""
        _require(self, "backup_vault_name", "resource_arn", "iam_role_arn")
        with clear_connection_errors():
            job_id = self._start_or_adopt(context)
        self._job_id = job_id
        BackupJobLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            backup_job_id=job_id,
        )
        if self.deferrable:
            self._defer(
                BackupJobCompletedTrigger(
                    backup_job_id=job_id, stop_job_on_kill=self.stop_job_on_kill, **self._trigger_arguments
                )
            )
        elif self.wait_for_completion:
            job = wait(self.hook, WaitTarget.backup_job(job_id), self.poll_plan)
            self._publish(context, summarise_backup_job(job))
        return job_id

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Take the trigger's event."""
        event = self._event(event)
        self._publish(context, event["summary"])
        return str(event["backup_job_id"])

    def on_kill(self) -> None:
        """Stop the backup job that this task waits for."""
        if self._job_id and self.stop_job_on_kill:
            # A client of its own: this runs in a signal handler, maybe amid a call of the other one.
            stop_backup_job(self.hook.get_client_type(region_name=self.hook.region_name), self._job_id)

    def _start_or_adopt(self, context: Context) -> str:
        def start(intent: Intent) -> str:
            answer = self.hook.start_backup_job(
                BackupVaultName=self.backup_vault_name,
                ResourceArn=self.resource_arn,
                IamRoleArn=self.iam_role_arn,
                IdempotencyToken=intent.token,
                StartWindowMinutes=self.start_window_minutes,
                CompleteWindowMinutes=self.complete_window_minutes,
                Lifecycle=_lifecycle(self.lifecycle),
                RecoveryPointTags=dict(self.recovery_point_tags) if self.recovery_point_tags else None,
                BackupOptions=dict(self.backup_options) if self.backup_options else None,
            )
            job_id = str(answer["BackupJobId"])
            self.log.info("Started backup job %s with token %s.", job_id, intent.token)
            if answer.get("RecoveryPointArn"):
                context["ti"].xcom_push(key=XCOM_RECOVERY_POINT_ARN, value=answer["RecoveryPointArn"])
            return job_id

        question = backup_intent_question(
            self.hook,
            self._identity(context, self.resource_arn),
            backup_vault_name=self.backup_vault_name,
            resource_arn=self.resource_arn,
            force_new=self.force_new,
        )
        intent = ensure_job(self._intent_store(), question, start, now=timezone.utcnow)
        return str(intent.job_id)

    def _publish(self, context: Context, summary: JobSummary) -> None:
        self.log.info("Backup job done: %s", summary)
        if summary.get("recovery_point_arn"):
            context["ti"].xcom_push(key=XCOM_RECOVERY_POINT_ARN, value=summary["recovery_point_arn"])
        context["ti"].xcom_push(key=XCOM_JOB_SUMMARY, value=summary)


class BackupStartRestoreJobOperator(BackupIntentOperator):
    """Start a restore job, or adopt the one that this task started before.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartRestoreJob.html
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-dynamodb.html

    A restore never overwrites, so a DynamoDB target that exists is looked at before AWS is called:

    - the recorded restore of this very task runs, or completed and its table is there: adopted;
    - it completed and its table is gone: it is lost, a new restore is started;
    - it ended badly, or was of another recovery point, or a new one is forced, and the table is there:
      ``RestoreTargetExistsError`` with ``ours`` True, so that the caller may drop it and try again;
    - the table is there and no record of this task names it: ``RestoreTargetExistsError``, refused.

    Pushes, after waiting, the XComs ``created_resource_arn`` and ``job_summary``.

    :param recovery_point_arn: what to restore. (templated)
    :param iam_role_arn: role that AWS Backup takes on. (templated)
    :param target_table_name: DynamoDB table to make. (templated) (default: None)
    :param encryption_type: its encryption, ``Default`` (key owned by AWS) or ``KMS`` (with ``kms_key_arn``,
        or else the AWS managed key). (templated) (default: ``Default``)
    :param kms_key_arn: customer managed key of the table; makes the encryption type KMS. (templated)
        (default: None)
    :param metadata: further restore metadata, or all of it for what is no DynamoDB table. (templated)
        (default: None)
    :param resource_type: type of the resource. (default: ``DynamoDB``)
    :param copy_source_tags: copy the tags kept with the recovery point to what is made. (default: False)
    :param on_existing_target: ``adopt`` as above; ``refuse`` refuses also the table that this task's own
        restore completed. (default: ``adopt``)
    :param intent_bucket: S3 bucket of the intent records, see ``BackupIntentOperator``. Without one, a retry
        after a start that got through finds a target that it can't know for its own. (templated)
        (default: None)
    :param intent_prefix: key prefix of the records. (templated) (default: ``intents/``)
    :param force_new: start a new job although the recorded one is good. (templated) (default: False)
    :param wait_for_completion: wait in the worker. (default: True)
    :param deferrable: wait in the triggerer; goes before ``wait_for_completion``.
        (default: the option ``[operators] default_deferrable``)
    :param waiter_delay: seconds between the first polls; the delay grows by half each time. (default: 15)
    :param waiter_max_delay: seconds between polls at most. (default: 120)
    :param waiter_max_attempts: number of polls that may find it in progress. (default: 480)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: the restore job's id.
    """

    template_fields = aws_template_fields(
        "recovery_point_arn",
        "iam_role_arn",
        "target_table_name",
        "encryption_type",
        "kms_key_arn",
        "metadata",
        "intent_bucket",
        "intent_prefix",
        "force_new",
    )
    template_fields_renderers = {"metadata": "json"}
    operator_extra_links = (BackupRestoreJobLink(),)

    def __init__(
        self,
        *,
        recovery_point_arn: str,
        iam_role_arn: str,
        target_table_name: str | None = None,
        encryption_type: str = "Default",
        kms_key_arn: str | None = None,
        metadata: Mapping[str, str] | None = None,
        resource_type: str = "DynamoDB",
        copy_source_tags: bool = False,
        on_existing_target: Literal["adopt", "refuse"] = "adopt",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recovery_point_arn = recovery_point_arn
        self.iam_role_arn = iam_role_arn
        self.target_table_name = target_table_name
        self.encryption_type = encryption_type
        self.kms_key_arn = kms_key_arn
        self.metadata = metadata
        self.resource_type = resource_type
        self.copy_source_tags = copy_source_tags
        self.on_existing_target = on_existing_target
        self._job_id: str | None = None

    def execute(self, context: Context) -> str:
        """Start or adopt the restore, then wait for it if asked to."""
        _require(self, "recovery_point_arn", "iam_role_arn")
        if self.on_existing_target not in {"adopt", "refuse"}:
            raise ValueError(f"on_existing_target must be 'adopt' or 'refuse', not {self.on_existing_target!r}.")
        metadata = self._restore_metadata()
        with clear_connection_errors():
            job_id = self._start_or_adopt(context, metadata)
        self._job_id = job_id
        BackupRestoreJobLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            restore_job_id=job_id,
        )
        if self.deferrable:
            self._defer(BackupRestoreJobCompletedTrigger(restore_job_id=job_id, **self._trigger_arguments))
        elif self.wait_for_completion:
            job = wait(self.hook, WaitTarget.restore_job(job_id), self.poll_plan)
            self._publish(context, summarise_restore_job(job))
        return job_id

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Take the trigger's event."""
        event = self._event(event)
        self._publish(context, event["summary"])
        return str(event["restore_job_id"])

    def on_kill(self) -> None:
        """Say that a restore can't be stopped."""
        if self._job_id:
            self.log.warning(RESTORE_GOES_ON, self._job_id)

    def _restore_metadata(self) -> dict[str, str]:
        metadata = dict(self.metadata or {})
        if self.target_table_name:
            metadata |= dynamodb_restore_metadata(
                self.target_table_name, encryption_type=self.encryption_type, kms_key_arn=self.kms_key_arn
            )
        if self.resource_type == "DynamoDB" and not target_table(metadata):
            raise ValueError(f"{type(self).__name__} {self.task_id} needs target_table_name.")
        return metadata

    def _start_or_adopt(self, context: Context, metadata: dict[str, str]) -> str:
        table = target_table(metadata)

        def start(intent: Intent) -> str:
            answer = self.hook.start_restore_job(
                RecoveryPointArn=self.recovery_point_arn,
                Metadata=metadata,
                IamRoleArn=self.iam_role_arn,
                IdempotencyToken=intent.token,
                ResourceType=self.resource_type,
                CopySourceTagsToRestoredResource=self.copy_source_tags,
            )
            self.log.info("Started restore job %s with token %s.", answer["RestoreJobId"], intent.token)
            return str(answer["RestoreJobId"])

        def refuse_existing_target(intent: Intent) -> None:
            if table is not None:
                self._refuse_existing_target(intent, table)

        question = restore_intent_question(
            self.hook,
            self._identity(context, table or self.recovery_point_arn),
            recovery_point_arn=self.recovery_point_arn,
            target_table_name=table,
            force_new=self.force_new,
        )
        intent = ensure_job(
            self._intent_store(),
            question,
            start,
            now=timezone.utcnow,
            before_announcing=refuse_existing_target,
        )
        if self.on_existing_target == "refuse" and intent.adopt and _is_success(intent.state):
            raise RestoreTargetExistsError(
                table=table or "", job_id=intent.job_id, reason="on_existing_target is 'refuse'"
            )
        return str(intent.job_id)

    def _refuse_existing_target(self, intent: Intent, table: str) -> None:
        status = table_status(self.hook.sibling("dynamodb").conn, table)
        if status is None:
            return
        if intent.recorded_job_id is None:
            raise RestoreTargetExistsError(
                table=table,
                reason=f"it is {status}, and no record of this task says that it made it; choose a free name",
            )
        raise RestoreTargetExistsError(
            table=table,
            job_id=intent.recorded_job_id,
            reason=f"it is {status}, left by this task's restore job {intent.recorded_job_id} "
            f"({intent.reason}); drop it, then clear this task",
        )

    def _publish(self, context: Context, summary: JobSummary) -> None:
        self.log.info("Restore job done: %s", summary)
        if summary.get("created_resource_arn"):
            context["ti"].xcom_push(key=XCOM_CREATED_RESOURCE_ARN, value=summary["created_resource_arn"])
        context["ti"].xcom_push(key=XCOM_JOB_SUMMARY, value=summary)


class BackupDeleteRecoveryPointOperator(BackupWaitingOperator):
    """Delete a recovery point that the guard allows, and confirm by describing it again that it is gone.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html

    AWS may answer the deletion with success and not do it (the recovery point turns EXPIRED), so only a wait
    shows that it is gone.

    :param backup_vault_name: vault that holds it. (templated)
    :param recovery_point_arn: ARN of the recovery point. (templated)
    :param required_tags: tags that it must carry. A recovery point that can't have tags (DynamoDB without the
        advanced features) never carries them. (templated) (default: None)
    :param is_deletable: further guard, called with the description and the tags. One of ``required_tags`` and
        ``is_deletable`` must be given; with both, both must allow it. (default: None)
    :param if_missing: ``skip`` or ``fail``. (default: ``skip``)
    :param wait_for_completion: wait in the worker until it is gone. (default: True)
    :param deferrable: wait in the triggerer; goes before ``wait_for_completion``.
        (default: the option ``[operators] default_deferrable``)
    :param waiter_delay: seconds between the first polls; the delay grows by half each time. (default: 10)
    :param waiter_max_delay: seconds between polls at most. (default: 60)
    :param waiter_max_attempts: number of polls that may find it still there. (default: 180)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: the recovery point's ARN.
    """

    template_fields = aws_template_fields("backup_vault_name", "recovery_point_arn", "required_tags")
    template_fields_renderers = {"required_tags": "json"}
    operator_extra_links = (BackupRecoveryPointLink(),)

    def __init__(
        self,
        *,
        backup_vault_name: str,
        recovery_point_arn: str,
        required_tags: Mapping[str, str] | None = None,
        is_deletable: Callable[[dict[str, Any], dict[str, str]], bool] | None = None,
        if_missing: Literal["skip", "fail"] = "skip",
        waiter_delay: float = 10,
        waiter_max_delay: float = 60,
        waiter_max_attempts: int = 180,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            waiter_delay=waiter_delay,
            waiter_max_delay=waiter_max_delay,
            waiter_max_attempts=waiter_max_attempts,
            **kwargs,
        )
        self.backup_vault_name = backup_vault_name
        self.recovery_point_arn = recovery_point_arn
        self.required_tags = required_tags
        self.is_deletable = is_deletable
        self.if_missing = if_missing

    def execute(self, context: Context) -> str:
        """Check, delete, confirm."""
        _require(self, "backup_vault_name", "recovery_point_arn")
        if self.if_missing not in {"skip", "fail"}:
            raise ValueError(f"if_missing must be 'skip' or 'fail', not {self.if_missing!r}.")
        if not self.required_tags and self.is_deletable is None:
            raise ValueError("A guard is required: required_tags, is_deletable, or both.")
        point = self.hook.find_recovery_point(self.backup_vault_name, self.recovery_point_arn)
        if point is None:
            if self.if_missing == "fail":
                raise AirflowNotFoundException(
                    f"Vault {self.backup_vault_name} holds no recovery point {self.recovery_point_arn}."
                )
            self.log.info("Recovery point %s is gone already.", self.recovery_point_arn)
            return self.recovery_point_arn
        self._guard(point)
        BackupRecoveryPointLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            backup_vault_name=self.backup_vault_name,
            recovery_point_arn=self.recovery_point_arn,
        )
        if point["Status"] != RecoveryPointStatus.DELETING:
            self.hook.delete_recovery_point(self.backup_vault_name, self.recovery_point_arn)
            self.log.info("Asked AWS to delete recovery point %s.", self.recovery_point_arn)
        self._confirm(was_expired=point["Status"] == RecoveryPointStatus.EXPIRED)
        return self.recovery_point_arn

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Take the trigger's event."""
        event = self._event(event)
        self.log.info("Recovery point %s is gone.", event["recovery_point_arn"])
        return str(event["recovery_point_arn"])

    def _guard(self, point: dict[str, Any]) -> None:
        tags = self.hook.get_recovery_point_tags(self.recovery_point_arn)
        wrong = [f"{key}={value}" for key, value in (self.required_tags or {}).items() if tags.get(key) != value]
        if wrong:
            reason = f"it does not carry the tags {', '.join(wrong)}"
            if not is_taggable(self.recovery_point_arn):
                reason += " (AWS Backup keeps no tags of a recovery point with this kind of ARN)"
            raise RecoveryPointNotOursError(recovery_point_arn=self.recovery_point_arn, reason=reason)
        if self.is_deletable is not None and not self.is_deletable(point, tags):
            raise RecoveryPointNotOursError(recovery_point_arn=self.recovery_point_arn, reason="is_deletable says no")

    def _confirm(self, *, was_expired: bool) -> None:
        if self.deferrable:
            self._defer(
                BackupRecoveryPointDeletedTrigger(
                    backup_vault_name=self.backup_vault_name,
                    recovery_point_arn=self.recovery_point_arn,
                    was_expired=was_expired,
                    **self._trigger_arguments,
                )
            )
        elif self.wait_for_completion:
            target = WaitTarget.recovery_point_deletion(
                self.backup_vault_name, self.recovery_point_arn, was_expired=was_expired
            )
            wait(self.hook, target, self.poll_plan)
            self.log.info("Recovery point %s is gone.", self.recovery_point_arn)


def _is_success(state: str | None) -> bool:
    return state is not None and classify(StateKind.RESTORE_JOB, state) is Outcome.SUCCESS


def _lifecycle(lifecycle: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Make numbers of the days, which a template renders to text, and leave out what renders to nothing."""
    if not lifecycle:
        return None
    given = {key: value for key, value in lifecycle.items() if value not in (None, "", "None")}
    return {key: int(value) if key.endswith("AfterDays") else value for key, value in given.items()} or None


def _require(operator: BackupBaseOperator, *names: str) -> None:
    """Refuse empty arguments at run time, since a template may render to nothing."""
    empty = [name for name in names if not getattr(operator, name)]
    if empty:
        raise ValueError(f"{type(operator).__name__} {operator.task_id} needs {', '.join(empty)}.")
