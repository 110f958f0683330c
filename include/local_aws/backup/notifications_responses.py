"""The requests about vault notifications."""

from moto.core.responses import ActionResult, EmptyResult

from local_aws.backup.handler import BackupHandler


class NotificationsResponse(BackupHandler):
    """Handler of the vault notification operations."""

    def put_backup_vault_notifications(self) -> EmptyResult:
        self.backup_backend.vault_notifications.put(
            self._get_param("BackupVaultName"),
            self._get_param("SNSTopicArn"),
            self._get_param("BackupVaultEvents") or [],
        )
        return EmptyResult()

    def get_backup_vault_notifications(self) -> ActionResult:
        vault, settings = self.backup_backend.vault_notifications.get(self._get_param("BackupVaultName"))
        return ActionResult(
            {
                "BackupVaultName": vault.backup_vault_name,
                "BackupVaultArn": vault.backup_vault_arn,
                "SNSTopicArn": settings.topic_arn,
                "BackupVaultEvents": list(settings.events),
            }
        )

    def delete_backup_vault_notifications(self) -> EmptyResult:
        self.backup_backend.vault_notifications.delete(self._get_param("BackupVaultName"))
        return EmptyResult()
