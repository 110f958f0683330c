"""Recovery points: what a backup job leaves in a vault.

Two kinds, by the Region's management preference for DynamoDB when the job starts, see
https://docs.aws.amazon.com/aws-backup/latest/devguide/advanced-ddb-backup.html: *advanced* ones belong to AWS
Backup (``arn:aws:backup:…:recovery-point:…``), take the table's tags and can go to cold storage; plain ones
belong to DynamoDB (``arn:aws:dynamodb:…:table/…/backup/…``) and can do neither.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from local_aws.access import service_roles
from local_aws.backup.changes import What
from local_aws.backup.exceptions import (
    InvalidRequestException,
    InvalidResourceStateException,
    ResourceNotFoundException,
)
from local_aws.backup.lifecycle import Lifecycle
from local_aws.backup.plan_rules import RuleCreator
from local_aws.backup.states import RESOURCE_TYPE, RecoveryPointStatus
from local_aws.backup.vaults import Vault
from local_aws.clock import CLOCK
from local_aws.settings import SETTINGS
from local_aws.tables import TableSnapshot

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

USABLE = frozenset({RecoveryPointStatus.COMPLETED, RecoveryPointStatus.AVAILABLE})


@dataclass(eq=False)
class RecoveryPoint:
    """One recovery point of one table.

    Attributes:
        sequence: Rises with each one made; the newest has the highest.
        content: The snapshot; None once it is deleted: its jobs are still listed, and must not keep the items.
        created_at: The moment that its content shows, if there is no snapshot skew.
        request_id: What AWS gives as ``aws:backup:request-id`` in the restore metadata.
        restores_running: How many restore jobs read it.
        created_by: The rule whose job made it; None: StartBackupJob.
        copies_running: How many copy jobs read it.
        source_vault_arn: The vault that it was copied from, if it is a copy.
        cold_since: When it went to cold storage: by its lifecycle, or later if a legal hold was in the way.
    """

    arn: str
    sequence: int
    vault: Vault
    resource_arn: str
    content: TableSnapshot | None = field(repr=False)
    iam_role_arn: str
    advanced: bool
    lifecycle: Lifecycle
    created_at: datetime
    initiated_at: datetime
    request_id: str
    status: RecoveryPointStatus = RecoveryPointStatus.CREATING
    status_message: str | None = None
    completed_at: datetime | None = None
    last_restored_at: datetime | None = None
    size_bytes: int | None = None
    restores_running: int = 0
    created_by: RuleCreator | None = None
    copies_running: int = 0
    source_vault_arn: str | None = None
    cold_since: datetime | None = None

    @property
    def snapshot(self) -> TableSnapshot:
        """Its content, while it exists."""
        if self.content is None:
            raise RuntimeError(f"Recovery point {self.arn} is deleted and has no content.")
        return self.content

    @property
    def table_name(self) -> str:
        return self.resource_arn.rpartition("/")[2]

    @property
    def encryption_key_arn(self) -> str | None:
        """The vault's key for an advanced one, the table's (None: the key that AWS owns) for a plain one."""
        if self.advanced:
            return self.vault.encryption_key_arn
        key = (self.snapshot.sse_specification or {}).get("KMSMasterKeyId")
        return str(key) if key else None

    @property
    def storage_class(self) -> str:
        return "WARM" if self.cold_since is None else "COLD"

    def complete(self, status: RecoveryPointStatus, at: datetime, message: str | None) -> None:
        self.status = status
        self.status_message = message
        self.completed_at = at
        self.size_bytes = self.snapshot.size_bytes

    def to_result(self) -> dict[str, Any]:
        """Return the members of DescribeRecoveryPoint and ListRecoveryPointsByBackupVault."""
        return {
            "RecoveryPointArn": self.arn,
            "BackupVaultName": self.vault.backup_vault_name,
            "BackupVaultArn": self.vault.backup_vault_arn,
            "VaultType": "BACKUP_VAULT",
            "SourceBackupVaultArn": self.source_vault_arn,
            "ResourceArn": self.resource_arn,
            "ResourceName": self.table_name,
            "ResourceType": RESOURCE_TYPE,
            "CreatedBy": self.created_by.to_result() if self.created_by is not None else None,
            "IamRoleArn": self.iam_role_arn,
            "Status": str(self.status),
            "StatusMessage": self.status_message,
            "CreationDate": self.created_at,
            "InitiationDate": self.initiated_at,
            "CompletionDate": self.completed_at,
            "BackupSizeInBytes": self.size_bytes,
            "Lifecycle": self.lifecycle.to_result() or None,
            "CalculatedLifecycle": self.lifecycle.calculated(self.created_at) or None,
            "EncryptionKeyArn": self.encryption_key_arn,
            "EncryptionKeyType": self.vault.encryption_key_type if self.advanced else None,
            "IsEncrypted": True,
            "IsParent": False,
            "StorageClass": self.storage_class,
            "LastRestoreTime": self.last_restored_at,
        }

    def to_resource_result(self) -> dict[str, Any]:
        """Return the members of ListRecoveryPointsByResource.

        That list calls the size `BackupSizeBytes`, and the model gives `BackupVaultName` to EFS and EC2
        entries only.
        """
        return {
            "RecoveryPointArn": self.arn,
            "CreationDate": self.created_at,
            "Status": str(self.status),
            "StatusMessage": self.status_message,
            "EncryptionKeyArn": self.encryption_key_arn,
            "BackupSizeBytes": self.size_bytes,
            "IsParent": False,
            "ResourceName": self.table_name,
            "VaultType": "BACKUP_VAULT",
        }

    def restore_metadata(self) -> dict[str, str]:
        """Return what a restore can start from; the name of the new table is for the caller to add."""
        metadata = {"aws:backup:request-id": self.request_id, "encryptionType": "Default"}
        if self.snapshot.sse_specification:
            metadata["encryptionType"] = "KMS"
            if key := self.snapshot.sse_specification.get("KMSMasterKeyId"):
                metadata["kmsMasterKeyArn"] = str(key)
        return metadata


class RecoveryPoints:
    """All recovery points of one account and Region."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._by_arn: dict[str, RecoveryPoint] = {}

    def __iter__(self) -> Iterator[RecoveryPoint]:
        return iter(list(self._by_arn.values()))

    def find(self, arn: str) -> RecoveryPoint | None:
        return self._by_arn.get(arn)

    def add(self, point: RecoveryPoint) -> None:
        self._by_arn[point.arn] = point

    def remove(self, point: RecoveryPoint, at: datetime) -> None:
        """Take it out of its vault, tags and all."""
        self._by_arn.pop(point.arn, None)
        point.content = None
        point.vault.last_removal_at = at
        self._backend.tagger.delete_all_tags_for_resource(point.arn)
        self._backend.changes.report(point, at, What.DELETED)

    def in_vault(self, vault_name: str) -> list[RecoveryPoint]:
        return [point for point in self if point.vault.backup_vault_name == vault_name]

    def get(self, vault_name: str, arn: str) -> RecoveryPoint:
        """Return a recovery point of a vault.

        Raises:
            ResourceNotFoundException: No such vault, or none of that ARN in it.
        """
        vault = self._backend.describe_backup_vault(vault_name)
        point = self._by_arn.get(arn)
        if point is None or point.vault.backup_vault_name != vault.backup_vault_name:
            raise ResourceNotFoundException(f"Recovery point {arn} does not exist in backup vault {vault_name}.")
        return point

    def update_lifecycle(self, vault_name: str, arn: str, lifecycle: Lifecycle) -> RecoveryPoint:
        """Replace the lifecycle of a recovery point: what is left out is cleared, not kept.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRecoveryPointLifecycle.html.

        Raises:
            ResourceNotFoundException: No such recovery point.
            InvalidRequestException: The vault is locked, the point is not finished, or it is in cold storage
                and the day of that would change.
        """
        point = self.get(vault_name, arn)
        if point.vault.locked:
            raise InvalidRequestException(f"Backup vault {vault_name} is locked: its lifecycles cannot be changed.")
        if point.status not in USABLE:
            raise InvalidRequestException(
                f"The lifecycle of a recovery point that is {point.status} cannot be changed."
            )
        if point.cold_since is not None and lifecycle.cold_after_days != point.lifecycle.cold_after_days:
            raise InvalidRequestException("MoveToColdStorageAfterDays cannot be changed once a backup is cold.")
        point.lifecycle = lifecycle
        self._backend.changes.report(point, CLOCK.now())
        return point

    def delete(self, vault_name: str, arn: str) -> None:
        """Start the deletion of a recovery point; it is gone some time later.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html.

        Raises:
            ResourceNotFoundException: No such recovery point.
            InvalidRequestException: The vault is locked, or a legal hold keeps the point.
            InvalidResourceStateException: It is being made, deleted or restored.
        """
        point = self.get(vault_name, arn)
        self._refuse_if_held(point)
        if point.vault.locked:
            raise InvalidRequestException(
                f"Recovery point {arn} cannot be deleted: backup vault {vault_name} is locked."
            )
        if point.status in (RecoveryPointStatus.CREATING, RecoveryPointStatus.DELETING):
            raise InvalidResourceStateException(f"Recovery point {arn} cannot be deleted: it is {point.status}.")
        if point.restores_running:
            raise InvalidResourceStateException(f"Recovery point {arn} cannot be deleted: it is being restored.")
        if point.copies_running:
            raise InvalidResourceStateException(f"Recovery point {arn} cannot be deleted: it is being copied.")
        self.begin_deletion(point, CLOCK.now())

    def begin_deletion(self, point: RecoveryPoint, now: datetime) -> None:
        """Delete a recovery point that nothing protects: it is DELETING, and gone some time later.

        If the role that made it has lost the right to delete it, it is EXPIRED instead: nobody is told but by that.
        """
        needed = service_roles.deletion_permissions(point.arn, advanced=point.advanced)
        refusal = service_roles.why_role_may_not(point.iam_role_arn, needed, self._backend.region_name)
        if refusal is not None:
            point.status, point.status_message = RecoveryPointStatus.EXPIRED, refusal
            self._backend.changes.report(point, now)
            return
        point.status = RecoveryPointStatus.DELETING
        self._backend.changes.report(point, now)
        gone_at = now + timedelta(seconds=SETTINGS.delete_seconds)
        self._backend.agenda.add(gone_at, lambda at: self.remove(point, at))

    def refuse_disassociation(self, vault_name: str, arn: str) -> None:
        """Answer DisassociateRecoveryPoint: it is for continuous backups, and DynamoDB has snapshots only.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DisassociateRecoveryPoint.html.

        Raises:
            ResourceNotFoundException: No such recovery point.
            InvalidRequestException: Always, if there is.
        """
        point = self.get(vault_name, arn)
        self._refuse_if_held(point)
        raise InvalidRequestException(
            f"Recovery point {arn} cannot be disassociated: only continuous backups can, and this is a snapshot."
        )

    def refuse_disassociation_from_parent(self, vault_name: str, arn: str) -> None:
        """Answer DisassociateRecoveryPointFromParent: no recovery point of a table has a parent.

        Raises:
            ResourceNotFoundException: No such recovery point.
            InvalidRequestException: Always, if there is.
        """
        self.get(vault_name, arn)
        raise InvalidRequestException(f"Recovery point {arn} has no parent to be disassociated from.")

    def _refuse_if_held(self, point: RecoveryPoint) -> None:
        if self._backend.legal_holds.holding(point):
            raise InvalidRequestException(
                f"The recovery point cannot be deleted because it has active legal hold(s): {point.arn}"
            )
