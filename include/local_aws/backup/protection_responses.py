"""Handlers of what protects recovery points: vault access policies and legal holds; and of disassociation."""

from moto.core.responses import ActionResult, EmptyResult

from local_aws.backup.handler import BackupHandler, present
from local_aws.backup.legal_holds import HoldSelection, LegalHold
from local_aws.backup.states import RESOURCE_TYPE


class ProtectionResponse(BackupHandler):
    """The operations on access policies and legal holds, and disassociation."""

    def put_backup_vault_access_policy(self) -> EmptyResult:
        self.backup_backend.access_policies.put(self._get_param("BackupVaultName"), self._get_param("Policy"))
        return EmptyResult()

    def get_backup_vault_access_policy(self) -> ActionResult:
        backend = self.backup_backend
        policy = backend.access_policies.get(self._get_param("BackupVaultName"))
        vault = backend.describe_backup_vault(self._get_param("BackupVaultName"))
        return ActionResult(
            {
                "BackupVaultName": vault.backup_vault_name,
                "BackupVaultArn": vault.backup_vault_arn,
                "Policy": policy,
            }
        )

    def delete_backup_vault_access_policy(self) -> EmptyResult:
        self.backup_backend.access_policies.delete(self._get_param("BackupVaultName"))
        return EmptyResult()

    def create_legal_hold(self) -> ActionResult:
        hold = self.backup_backend.legal_holds.create(
            self._get_param("Title"),
            self._get_param("Description"),
            HoldSelection.from_request(self._get_param("RecoveryPointSelection")),
            self._get_param("Tags") or {},
            self._get_param("IdempotencyToken"),
        )
        return ActionResult(present(hold.to_result()))

    def get_legal_hold(self) -> ActionResult:
        return ActionResult(present(self.backup_backend.legal_holds.get(self._get_param("LegalHoldId")).to_result()))

    def list_legal_holds(self) -> ActionResult:
        holds = list(self.backup_backend.legal_holds)
        return self._page("LegalHolds", holds, lambda hold: -hold.sequence, LegalHold.to_list_result)

    def cancel_legal_hold(self) -> EmptyResult:
        self.backup_backend.legal_holds.cancel(
            self._get_param("LegalHoldId"),
            self._get_param("CancelDescription"),
            self._get_int_param("RetainRecordInDays"),
        )
        return EmptyResult()

    def list_recovery_points_by_legal_hold(self) -> ActionResult:
        points = self.backup_backend.legal_holds.points_of(self._get_param("LegalHoldId"))
        return self._page(
            "RecoveryPoints",
            points,
            lambda point: -point.sequence,
            lambda point: {
                "RecoveryPointArn": point.arn,
                "ResourceArn": point.resource_arn,
                "ResourceType": RESOURCE_TYPE,
                "BackupVaultName": point.vault.backup_vault_name,
            },
        )

    def disassociate_recovery_point(self) -> EmptyResult:
        self.backup_backend.recovery_points.refuse_disassociation(
            self._get_param("BackupVaultName"), self._get_param("RecoveryPointArn")
        )
        return EmptyResult()

    def disassociate_recovery_point_from_parent(self) -> EmptyResult:
        self.backup_backend.recovery_points.refuse_disassociation_from_parent(
            self._get_param("BackupVaultName"), self._get_param("RecoveryPointArn")
        )
        return EmptyResult()
