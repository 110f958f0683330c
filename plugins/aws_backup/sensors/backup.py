"""Sensors that wait for AWS Backup."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.utils import validate_execute_complete_event
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import PokeReturnValue, timezone
from botocore.exceptions import BotoCoreError, ClientError

from aws_backup.exceptions import AwsBackupError, error_from_event, final
from aws_backup.links.backup import BackupJobLink, BackupRecoveryPointLink, BackupRestoreJobLink
from aws_backup.polling import MAX_TRANSIENT_ERRORS, Poller, PollPlan
from aws_backup.sensors.base import BackupDeferringSensor
from aws_backup.states import Outcome, classify
from aws_backup.stopping import stop_backup_job
from aws_backup.summaries import SUMMARISERS, JobSummary
from aws_backup.triggers.backup import (
    BackupBaseWaiterTrigger,
    BackupJobCompletedTrigger,
    BackupRecoveryPointAvailableTrigger,
    BackupRestoreJobCompletedTrigger,
)
from aws_backup.waiting import DESCRIBE_METHODS, WaitTarget

if TYPE_CHECKING:
    from airflow.sdk import Context

# A single poke judges a single answer; how long to go on is the sensor's timeout, not a number of polls.
SINGLE_POLL = PollPlan(delay=0, max_delay=0, max_attempts=2)


class BackupBaseSensor(BackupDeferringSensor):
    """Common to the sensors here that wait for one job or recovery point: a poke judges it as the trigger does."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._transient_errors = 0
        self._first_poke: float | None = None

    @abstractmethod
    def _target(self) -> WaitTarget: ...

    @abstractmethod
    def _trigger(self, **waiting: Any) -> BackupBaseWaiterTrigger: ...

    @abstractmethod
    def _persist_link(self, context: Context) -> None: ...

    def execute(self, context: Context) -> Any:
        """Look once, then wait; a job that has ended already needs no triggerer."""
        self._validate()
        self._persist_link(context)
        return super().execute(context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Ask AWS once.

        :return: the summary when it ended well, False while it is in progress.
        :raises AwsBackupError: the named reason why it will not end well.
        """
        target = self._target()
        poller = Poller(
            target.kind, target.subject, SINGLE_POLL, lingering=target.lingering, waited=self._waited(context)
        )
        # A rescheduled poke is a new process that remembers no earlier failure; botocore has retried within
        # this one, and further patience is the task's retries.
        poller.transient_errors = MAX_TRANSIENT_ERRORS - 1 if self.reschedule else self._transient_errors
        try:
            response = getattr(self.hook.conn, DESCRIBE_METHODS[target.kind])(**target.arguments)
            state = poller.judge(response)
        except (BotoCoreError, ClientError) as error:
            poller.after(error)
            self._transient_errors = poller.transient_errors
            self.log.info("No state of the %s %s yet: %s", target.kind, target.subject, error)
            return False
        except AwsBackupError as error:
            raise final(error) from None
        self._transient_errors = 0
        self.log.info("The %s %s is %s.", target.kind, target.subject, state)
        if classify(target.kind, state) is not Outcome.SUCCESS:
            return False
        return PokeReturnValue(True, self._finish(SUMMARISERS[target.kind](response)))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> JobSummary:
        """Take the trigger's event."""
        event = validate_execute_complete_event(event)
        if event["status"] != "success":
            raise final(error_from_event(event))
        return self._finish(cast("JobSummary", event["summary"]))

    def _validate(self) -> None:
        if not self._target().subject:
            raise ValueError(f"{type(self).__name__} {self.task_id} was given nothing to wait for.")

    def _finish(self, summary: JobSummary) -> JobSummary:
        category = summary.get("message_category")
        if category and category != "SUCCESS":
            # The console calls this "completed with issues"; the API's state is plain COMPLETED.
            self.log.warning("AWS reports issues (%s): %s", category, summary.get("status_message"))
        self.log.info("Done: %s", summary)
        return summary

    def _waited(self, context: Context) -> float:
        """Seconds since the first poke of this wait."""
        if self.reschedule:
            first = context["ti"].get_first_reschedule_date(context)
            return (timezone.utcnow() - first).total_seconds() if first else 0.0
        if self._first_poke is None:
            self._first_poke = time.monotonic()
        return time.monotonic() - self._first_poke


class BackupJobSensor(BackupBaseSensor):
    """Wait until a backup job has completed; fail at once when it ends otherwise.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeBackupJob.html

    :param backup_job_id: id of the backup job. (templated)
    :param stop_job_on_kill: stop the job when this task is given up: marked failed, its run failed or
        deleted, or its process terminated. (default: False)
    :param deferrable: wait in the triggerer. (default: the option ``[operators] default_deferrable``)
    :param max_poke_interval: seconds between polls at most when deferred. (default: the larger of 120 and
        ``poke_interval``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: a ``summaries.JobSummary``.
    """

    template_fields = aws_template_fields("backup_job_id")
    operator_extra_links = (BackupJobLink(),)

    def __init__(self, *, backup_job_id: str, stop_job_on_kill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_job_id = backup_job_id
        self.stop_job_on_kill = stop_job_on_kill

    def _target(self) -> WaitTarget:
        return WaitTarget.backup_job(self.backup_job_id)

    def _trigger(self, **waiting: Any) -> BackupBaseWaiterTrigger:
        return BackupJobCompletedTrigger(
            backup_job_id=self.backup_job_id, stop_job_on_kill=self.stop_job_on_kill, **waiting
        )

    def _persist_link(self, context: Context) -> None:
        BackupJobLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            backup_job_id=self.backup_job_id,
        )

    def on_kill(self) -> None:
        """Stop the backup job, if asked to."""
        if self.stop_job_on_kill and self.backup_job_id:
            # A client of its own: this runs in a signal handler, maybe amid a call of the other one.
            stop_backup_job(self.hook.get_client_type(region_name=self.hook.region_name), self.backup_job_id)


class BackupRestoreJobSensor(BackupBaseSensor):
    """Wait until a restore job has completed; fail at once when it ends otherwise.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRestoreJob.html

    :param restore_job_id: id of the restore job. (templated)
    :param deferrable: wait in the triggerer. (default: the option ``[operators] default_deferrable``)
    :param max_poke_interval: seconds between polls at most when deferred. (default: the larger of 120 and
        ``poke_interval``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: a ``summaries.JobSummary`` with ``created_resource_arn``.
    """

    template_fields = aws_template_fields("restore_job_id")
    operator_extra_links = (BackupRestoreJobLink(),)

    def __init__(self, *, restore_job_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.restore_job_id = restore_job_id

    def _target(self) -> WaitTarget:
        return WaitTarget.restore_job(self.restore_job_id)

    def _trigger(self, **waiting: Any) -> BackupBaseWaiterTrigger:
        return BackupRestoreJobCompletedTrigger(restore_job_id=self.restore_job_id, **waiting)

    def _persist_link(self, context: Context) -> None:
        BackupRestoreJobLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            restore_job_id=self.restore_job_id,
        )


class BackupRecoveryPointSensor(BackupBaseSensor):
    """Wait until a recovery point can be restored from; fail at once when it can't become so.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRecoveryPoint.html

    :param backup_vault_name: name of the vault that holds it. (templated)
    :param recovery_point_arn: ARN of the recovery point. (templated)
    :param deferrable: wait in the triggerer. (default: the option ``[operators] default_deferrable``)
    :param max_poke_interval: seconds between polls at most when deferred. (default: the larger of 120 and
        ``poke_interval``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: a ``summaries.JobSummary`` without ``job_id``.
    """

    template_fields = aws_template_fields("backup_vault_name", "recovery_point_arn")
    operator_extra_links = (BackupRecoveryPointLink(),)

    def __init__(self, *, backup_vault_name: str, recovery_point_arn: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_vault_name = backup_vault_name
        self.recovery_point_arn = recovery_point_arn

    def _target(self) -> WaitTarget:
        return WaitTarget.recovery_point(self.backup_vault_name, self.recovery_point_arn)

    def _trigger(self, **waiting: Any) -> BackupBaseWaiterTrigger:
        return BackupRecoveryPointAvailableTrigger(
            backup_vault_name=self.backup_vault_name, recovery_point_arn=self.recovery_point_arn, **waiting
        )

    def _persist_link(self, context: Context) -> None:
        BackupRecoveryPointLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            backup_vault_name=self.backup_vault_name,
            recovery_point_arn=self.recovery_point_arn,
        )
