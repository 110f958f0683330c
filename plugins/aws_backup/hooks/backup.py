"""Hook for AWS Backup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from aws_backup.exceptions import RecoveryPointProtectedError
from aws_backup.polling import error_code, unreachable
from aws_backup.states import Outcome, StateKind, classify

if TYPE_CHECKING:
    from mypy_boto3_backup.client import BackupClient

# The service model names only some of these for DeleteRecoveryPoint, and AWS does not document which one a
# locked vault, a vault policy or a legal hold answers with: all of them mean "not allowed to go".
PROTECTED_ERROR_CODES: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "InvalidParameterValueException",
        "InvalidRequestException",
        "InvalidResourceStateException",
    }
)

# AWS sends a hundred entries or so unless more are asked for, and a thousand at most.
LARGEST_PAGE: Final = 1000


@contextmanager
def clear_connection_errors() -> Iterator[None]:
    """Turn "nothing answers there" into one clear line that names the address and the remedy.

    :raises AwsEndpointUnreachableError: instead of botocore's connection errors.
    """
    try:
        yield
    except (ConnectionError, HTTPClientError) as error:
        # The chain of urllib3 and botocore frames would bury the one line that helps.
        raise unreachable(error) from None


class BackupHook(AwsBaseHook):
    """Interact with AWS Backup.

    Provide thin wrapper around :external+boto3:py:class:`boto3.client("backup") <Backup.Client>`.

    Additional arguments (such as ``aws_conn_id``) may be specified and
    are passed down to the underlying AwsBaseHook.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/api-reference.html
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "backup"
        super().__init__(*args, **kwargs)
        self._siblings: dict[str, AwsBaseHook] = {}

    @cached_property
    def waiter_path(self) -> Path:
        """Path of this package's waiters; the base class looks in the Amazon provider only."""
        return Path(__file__).resolve().parents[1] / "waiters" / "backup.json"

    @property
    def client(self) -> BackupClient:
        """The typed client."""
        client: BackupClient = self.conn
        return client

    async def get_async_client(self) -> Any:
        """Return an aiobotocore client, to be used as an async context manager."""
        # Untyped upstream.
        return await self.get_async_conn()  # type: ignore[no-untyped-call]

    def sibling(self, client_type: str) -> AwsBaseHook:
        """Return a hook for another AWS service with this hook's connection, region and settings."""
        if client_type not in self._siblings:
            self._siblings[client_type] = AwsBaseHook(
                aws_conn_id=self.aws_conn_id,
                region_name=self._region_name,
                verify=self._verify,
                config=self._config,
                client_type=client_type,
            )
        return self._siblings[client_type]

    # -- vaults

    def get_vault(self, vault: str) -> dict[str, Any]:
        """Describe a backup vault.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeBackupVault.html

        :raises AirflowNotFoundException: if there is no such vault.
        """
        with self._not_found(f"backup vault {vault}"):
            return dict(self.client.describe_backup_vault(BackupVaultName=vault))

    # -- plans and selections

    def get_plan(self, plan_id: str) -> dict[str, Any]:
        """Return a backup plan, with its ``BackupPlan`` document.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_GetBackupPlan.html

        :raises AirflowNotFoundException: if there is no such plan.
        """
        with self._not_found(f"backup plan {plan_id}"):
            return dict(self.client.get_backup_plan(BackupPlanId=plan_id))

    def list_plans(self) -> Iterator[dict[str, Any]]:
        """Yield the backup plans that are not deleted, page by page.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupPlans.html
        """
        with clear_connection_errors():
            for page in self.client.get_paginator("list_backup_plans").paginate():
                yield from map(dict, page.get("BackupPlansList", []))

    def find_plans(self, name: str) -> list[dict[str, Any]]:
        """Return the plans of a name, oldest first; nothing but habit keeps names of plans unique."""
        found = [plan for plan in self.list_plans() if plan["BackupPlanName"] == name]
        return sorted(found, key=lambda plan: (plan["CreationDate"], plan["BackupPlanId"]))

    def get_selection(self, plan_id: str, selection_id: str) -> dict[str, Any]:
        """Return a selection of a plan, with its ``BackupSelection`` document.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_GetBackupSelection.html

        :raises AirflowNotFoundException: if there is no such plan or selection.
        """
        with self._not_found(f"selection {selection_id} of backup plan {plan_id}"):
            return dict(self.client.get_backup_selection(BackupPlanId=plan_id, SelectionId=selection_id))

    def list_selections(self, plan_id: str) -> Iterator[dict[str, Any]]:
        """Yield what ListBackupSelections says of a plan's selections: names and roles, no resources.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupSelections.html

        :raises AirflowNotFoundException: if there is no such plan.
        """
        paginator = self.client.get_paginator("list_backup_selections")
        with self._not_found(f"backup plan {plan_id}"):
            for page in paginator.paginate(BackupPlanId=plan_id):
                yield from map(dict, page.get("BackupSelectionsList", []))

    # -- tags

    def get_tags(self, arn: str) -> dict[str, str]:
        """Return the tags of a vault, plan or recovery point.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListTags.html

        :raises AirflowNotFoundException: if there is no such thing.
        """
        tags: dict[str, str] = {}
        token: dict[str, Any] = {}
        # ListTags has a NextToken, but botocore has no paginator for it.
        while True:
            with self._not_found(f"resource {arn}"):
                page = self.client.list_tags(ResourceArn=arn, **token)
            tags.update(page.get("Tags", {}))
            if not page.get("NextToken"):
                return tags
            token = {"NextToken": page["NextToken"]}

    # -- backup jobs

    def get_backup_job(self, job_id: str) -> dict[str, Any]:
        """Describe a backup job.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeBackupJob.html

        :raises AirflowNotFoundException: if AWS does not know the job (it forgets jobs after 30 days).
        """
        with self._not_found(f"backup job {job_id}"):
            return dict(self.client.describe_backup_job(BackupJobId=job_id))

    def get_backup_job_state(self, job_id: str) -> str:
        """Return a backup job's state, see ``states.BackupJobState``."""
        return str(self.get_backup_job(job_id)["State"])

    def start_backup_job(self, **request: Any) -> dict[str, Any]:
        """Start an on-demand backup; None values are left out.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartBackupJob.html
        """
        with clear_connection_errors():
            return dict(self.client.start_backup_job(**_given(request)))

    def stop_backup_job(self, job_id: str) -> None:
        """Ask AWS to stop a backup job; it may complete all the same.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StopBackupJob.html
        """
        with clear_connection_errors():
            self.client.stop_backup_job(BackupJobId=job_id)

    def list_backup_jobs(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield the backup jobs of the last 30 days, page by page.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobs.html

        :param filters: the call's own (``ByState``, ``ByResourceArn``, ``ByCreatedAfter``, ...).
        """
        with clear_connection_errors():
            for page in self.client.get_paginator("list_backup_jobs").paginate(
                **_given(filters), PaginationConfig={"PageSize": LARGEST_PAGE}
            ):
                yield from map(dict, page.get("BackupJobs", []))

    # -- restore jobs

    def get_restore_job(self, job_id: str) -> dict[str, Any]:
        """Describe a restore job.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRestoreJob.html

        :raises AirflowNotFoundException: if AWS does not know the job.
        """
        with self._not_found(f"restore job {job_id}"):
            return dict(self.client.describe_restore_job(RestoreJobId=job_id))

    def get_restore_job_state(self, job_id: str) -> str:
        """Return a restore job's status, see ``states.RestoreJobStatus``."""
        return str(self.get_restore_job(job_id)["Status"])

    def start_restore_job(self, **request: Any) -> dict[str, Any]:
        """Start a restore; None values are left out.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartRestoreJob.html
        """
        with clear_connection_errors():
            return dict(self.client.start_restore_job(**_given(request)))

    def list_restore_jobs(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield restore jobs, page by page.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListRestoreJobs.html

        :param filters: the call's own (``ByStatus``, ``ByCreatedAfter``, ...).
        """
        with clear_connection_errors():
            for page in self.client.get_paginator("list_restore_jobs").paginate(**_given(filters)):
                yield from map(dict, page.get("RestoreJobs", []))

    # -- recovery points

    def get_recovery_point(self, vault: str, recovery_point_arn: str) -> dict[str, Any]:
        """Describe a recovery point.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRecoveryPoint.html

        :raises AirflowNotFoundException: if the vault does not hold it.
        """
        with self._not_found(f"recovery point {recovery_point_arn} in vault {vault}"):
            return dict(self.client.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=recovery_point_arn))

    def find_recovery_point(self, vault: str, recovery_point_arn: str) -> dict[str, Any] | None:
        """Describe a recovery point, or return None if the vault does not hold it."""
        try:
            return self.get_recovery_point(vault, recovery_point_arn)
        except AirflowNotFoundException:
            return None

    def is_recovery_point_usable(self, vault: str, recovery_point_arn: str) -> bool:
        """Tell whether a recovery point exists and can be restored from."""
        point = self.find_recovery_point(vault, recovery_point_arn)
        return point is not None and classify(StateKind.RECOVERY_POINT, point["Status"]) is Outcome.SUCCESS

    def list_recovery_points(self, vault: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield the recovery points of a vault, page by page, in no order that AWS promises.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListRecoveryPointsByBackupVault.html

        :param filters: the call's own (``ByResourceArn``, ``ByCreatedBefore``, ...).
        """
        paginator = self.client.get_paginator("list_recovery_points_by_backup_vault")
        with self._not_found(f"backup vault {vault}"):
            for page in paginator.paginate(
                BackupVaultName=vault, **_given(filters), PaginationConfig={"PageSize": LARGEST_PAGE}
            ):
                yield from map(dict, page.get("RecoveryPoints", []))

    def get_recovery_point_tags(self, recovery_point_arn: str) -> dict[str, str]:
        """Return a recovery point's tags.

        AWS Backup keeps tags only of what it owns, whose ARN starts ``arn:aws:backup``; a DynamoDB recovery
        point without the advanced features has a DynamoDB ARN, and no tags.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListTags.html

        :raises AirflowNotFoundException: if there is no such recovery point.
        """
        return self.get_tags(recovery_point_arn) if is_taggable(recovery_point_arn) else {}

    def delete_recovery_point(self, vault: str, recovery_point_arn: str) -> bool:
        """Ask AWS to delete a recovery point; only describing it again tells whether it did.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html

        :return: False if it was gone already.
        :raises RecoveryPointProtectedError: if AWS refuses.
        """
        try:
            with clear_connection_errors():
                self.client.delete_recovery_point(BackupVaultName=vault, RecoveryPointArn=recovery_point_arn)
        except ClientError as error:
            code = error_code(error)
            if code == "ResourceNotFoundException":
                return False
            if code in PROTECTED_ERROR_CODES:
                raise RecoveryPointProtectedError(
                    recovery_point_arn=recovery_point_arn,
                    vault=vault,
                    code=code,
                    detail=str(error.response["Error"].get("Message", "")),
                ) from error
            raise
        return True

    @contextmanager
    def _not_found(self, what: str) -> Iterator[None]:
        try:
            with clear_connection_errors():
                yield
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise AirflowNotFoundException(f"AWS Backup does not know the {what}.") from error
            raise


def is_taggable(recovery_point_arn: str) -> bool:
    """Tell whether AWS Backup keeps tags of the recovery point, by its ARN."""
    return recovery_point_arn.split(":", 3)[2:3] == ["backup"]


def dynamodb_restore_metadata(
    target_table_name: str, *, kms_key_arn: str | None = None, encryption_type: str = "Default"
) -> dict[str, str]:
    """Build the metadata of a DynamoDB restore.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-dynamodb.html

    :param target_table_name: the table to make.
    :param kms_key_arn: customer managed key; makes the encryption type KMS.
    :param encryption_type: ``Default`` (key owned by AWS) or ``KMS`` (without a key: the AWS managed one).
    """
    metadata = {
        "targetTableName": target_table_name,
        # AWS's pages disagree on what a missing encryption type means, so it is always said.
        "encryptionType": "KMS" if kms_key_arn else encryption_type,
    }
    if kms_key_arn:
        metadata["kmsMasterKeyArn"] = kms_key_arn
    return metadata


def _given(request: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in request.items() if value is not None}
