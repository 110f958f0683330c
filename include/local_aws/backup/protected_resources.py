"""Protected resources: everything that has a recovery point.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListProtectedResources.html.
"""

from typing import TYPE_CHECKING, Any

from local_aws.backup.exceptions import ResourceNotFoundException
from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.states import RESOURCE_TYPE, RestoreJobStatus

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend


class ProtectedResources:
    """The protected resources of one account and Region, worked out from its recovery points."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend

    def list(self, vault_name: str | None = None) -> list[dict[str, Any]]:
        """Return the resources with a recovery point, of whatever status, anywhere or in one vault."""
        newest: dict[str, RecoveryPoint] = {}
        for point in self._backend.recovery_points:
            if vault_name is None or point.vault.backup_vault_name == vault_name:
                newest[point.resource_arn] = max(
                    point, newest.get(point.resource_arn, point), key=lambda candidate: candidate.sequence
                )
        return [_to_result(point) for point in newest.values()]

    def get(self, resource_arn: str) -> dict[str, Any]:
        """Return one resource, with how its newest restore went.

        Raises:
            ResourceNotFoundException: It has no recovery point.
        """
        for resource in self.list():
            if resource["ResourceArn"] == resource_arn:
                return resource | self._latest_restore(resource_arn)
        raise ResourceNotFoundException(f"Resource {resource_arn} has no recovery point.")

    def _latest_restore(self, resource_arn: str) -> dict[str, Any]:
        done = [
            job
            for job in self._backend.restore_jobs
            if job.point.resource_arn == resource_arn and job.status is RestoreJobStatus.COMPLETED
        ]
        if not done:
            return {}
        job = max(done, key=lambda candidate: candidate.sequence)
        took = (job.ended_at - job.created_at).total_seconds() if job.ended_at is not None else 0.0
        return {
            "LatestRestoreExecutionTimeMinutes": int(took // 60),
            "LatestRestoreJobCreationDate": job.created_at,
            "LatestRestoreRecoveryPointCreationDate": job.point.created_at,
        }


def _to_result(point: RecoveryPoint) -> dict[str, Any]:
    return {
        "ResourceArn": point.resource_arn,
        "ResourceType": RESOURCE_TYPE,
        "ResourceName": point.table_name,
        "LastBackupTime": point.created_at,
        "LastBackupVaultArn": point.vault.backup_vault_arn,
        "LastRecoveryPointArn": point.arn,
    }
