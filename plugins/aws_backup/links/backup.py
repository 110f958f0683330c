"""Links from tasks to the AWS Backup console."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

CONSOLE_HOME = BASE_AWS_CONSOLE_LINK + "/backup/home?region={region_name}"


class BackupJobLink(BaseAwsLink):
    """Link to a backup job."""

    name = "AWS Backup Job"
    key = "backup_job"
    format_str = CONSOLE_HOME + "#/jobs/backup/details/{backup_job_id}"


class BackupRestoreJobLink(BaseAwsLink):
    """Link to a restore job."""

    name = "AWS Backup Restore Job"
    key = "backup_restore_job"
    format_str = CONSOLE_HOME + "#/jobs/restore/details/{restore_job_id}"


class BackupVaultLink(BaseAwsLink):
    """Link to a backup vault."""

    name = "AWS Backup Vault"
    key = "backup_vault"
    format_str = CONSOLE_HOME + "#/backupvaults/details/{backup_vault_name}"


class BackupPlanLink(BaseAwsLink):
    """Link to a backup plan."""

    name = "AWS Backup Plan"
    key = "backup_plan"
    format_str = CONSOLE_HOME + "#/backupplan/details/{backup_plan_id}"


class BackupRecoveryPointLink(BaseAwsLink):
    """Link to a recovery point in its vault."""

    name = "AWS Backup Recovery Point"
    key = "backup_recovery_point"
    format_str = CONSOLE_HOME + "#/backupvaults/details/{backup_vault_name}/{recovery_point_arn}"

    def format_link(self, *, recovery_point_arn: str | None = None, **kwargs: Any) -> str:
        """Escape the ARN, which of a DynamoDB recovery point has slashes in it."""
        if not recovery_point_arn:
            return ""
        return str(super().format_link(recovery_point_arn=quote(recovery_point_arn, safe=""), **kwargs))
