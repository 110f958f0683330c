"""The EventBridge events of AWS Backup, with the field names and quirks of its own.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html for the samples that the details
below follow. What a consumer can trip over is kept: jobs say `state` or `status`, sizes are text in the one
event and a number in the other, a CREATED event says next to nothing, texts come in quotes of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from moto.events.models import events_backends

from local_aws.backup.backup_jobs import BackupJob
from local_aws.backup.changes import Change, What
from local_aws.backup.copy_jobs import CopyJob
from local_aws.backup.plans import Plan
from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.region_settings import OptInChange
from local_aws.backup.restore_jobs import RestoreJob
from local_aws.backup.states import BACKUP_JOB_OVER, BackupJobState, RestoreJobStatus
from local_aws.backup.vaults import Vault
from local_aws.outbox import Event

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

Detail = dict[str, Any]

_CREATOR: Final = {
    "BackupPlanId": "backupPlanId",
    "BackupPlanArn": "backupPlanArn",
    "BackupPlanVersion": "backupPlanVersion",
    "BackupRuleId": "backupPlanRuleId",
}


@dataclass(frozen=True)
class _Draft:
    """An event without what all events have."""

    about: str
    resources: list[str]
    detail: Detail


class Events:
    """Turns the changes of one account and Region into events on its default bus."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._announced: dict[str, str] = {}
        self._makers: dict[type, Callable[[Any, Change], list[_Draft]]] = {
            BackupJob: self._of_backup_job,
            RestoreJob: self._of_restore_job,
            CopyJob: self._of_copy_job,
            RecoveryPoint: self._of_recovery_point,
            Vault: self._of_vault,
            Plan: self._of_plan,
            OptInChange: self._of_region_settings,
        }

    def observe(self, change: Change) -> None:
        """Post the events that a change makes, if it makes any."""
        maker = self._makers.get(type(change.subject))
        drafts = maker(change.subject, change) if maker is not None else []
        if not self._has_listeners():
            return
        for draft in drafts:
            self._backend.outbox.post(
                Event(
                    account_id=self._backend.account_id,
                    region=self._backend.region_name,
                    at=change.at,
                    detail_type=draft.about,
                    resources=tuple(draft.resources),
                    detail=draft.detail,
                )
            )

    def _has_listeners(self) -> bool:
        # A year of backups is a hundred thousand events: without a rule on the bus they need not wait in memory.
        buses = events_backends[self._backend.account_id][self._backend.region_name].event_buses
        return bool(buses["default"].rules)

    def _of_backup_job(self, job: BackupJob, _change: Change) -> list[_Draft]:
        about = "Backup Job State Change"
        shown = job.to_result(self._backend.account_id)
        if job.state is BackupJobState.CREATED:
            detail = _lean(backupJobId=job.job_id, state="CREATED", creationDate=iso(job.created_at))
            return [_Draft(about, [], detail)]
        message = job.status_message or ""
        detail = _lean(
            backupJobId=job.job_id,
            backupSizeInBytes=_text(shown["BackupSizeInBytes"]),
            backupVaultArn=shown["BackupVaultArn"],
            backupVaultName=shown["BackupVaultName"],
            bytesTransferred=str(shown["BytesTransferred"] or 0),
            creationDate=iso(job.created_at),
            iamRoleArn=shown["IamRoleArn"],
            resourceArn=shown["ResourceArn"],
            resourceType=shown["ResourceType"],
            state=str(job.state),
            # AWS quotes the text once more; a PENDING job has an empty one.
            statusMessage=f'"{message}"' if message else "" if job.state is BackupJobState.PENDING else None,
            completionDate=iso(job.ended_at),
            startBy=iso(job.start_by),
            expectedCompletionDate=None if job.over else _american(job.expected_at),
            percentDone=int(float(shown["PercentDone"])),
            createdBy=_creator(shown),
        )
        done = job.state in BACKUP_JOB_OVER and shown["RecoveryPointArn"]
        return [_Draft(about, [shown["RecoveryPointArn"]] if done else [], detail)]

    def _of_restore_job(self, job: RestoreJob, change: Change) -> list[_Draft]:
        about = "Restore Job State Change"
        shown = job.to_result(self._backend.account_id)
        resources = [job.point.arn]
        drafts = []
        if change.what is What.CREATED:
            # The one event of a restore job that says state, and the only place where CREATED is met.
            created = _lean(restoreJobId=job.job_id, creationDate=iso(job.created_at), state="CREATED")
            drafts.append(_Draft(about, resources, created))
        completed = job.status is RestoreJobStatus.COMPLETED
        detail = _lean(
            restoreJobId=job.job_id,
            backupVaultArn=shown["BackupVaultArn"],
            recoveryPointArn=job.point.arn,
            sourceResourceArn=shown["SourceResourceArn"],
            backupSizeInBytes=str(shown["BackupSizeInBytes"] or 0),
            creationDate=iso(job.created_at),
            iamRoleArn=shown["IamRoleArn"],
            percentDone=0,  # also in AWS's own sample of COMPLETED
            resourceType=shown["ResourceType"],
            status=str(job.status),
            statusMessage=job.status_message,
            createdResourceArn=shown["CreatedResourceArn"] if completed else None,
            completionDate=iso(job.ended_at),
            restoreTestingPlanArn=(shown.get("CreatedBy") or {}).get("RestoreTestingPlanArn"),
        )
        return [*drafts, _Draft(about, resources, detail)]

    def _of_copy_job(self, job: CopyJob, change: Change) -> list[_Draft]:
        about = "Copy Job State Change"
        shown = job.to_result(self._backend.account_id)
        vaults = {
            "sourceBackupVaultArn": shown["SourceBackupVaultArn"],
            "destinationBackupVaultArn": shown["DestinationBackupVaultArn"],
        }
        if change.what is What.CREATED:
            # Not even the job's id is in it.
            return [_Draft(about, [job.point.arn], _lean(creationDate=iso(job.created_at), state="CREATED", **vaults))]
        detail = _lean(
            copyJobId=job.job_id,
            backupSizeInBytes=shown["BackupSizeInBytes"],  # a number, here alone
            creationDate=iso(job.created_at),
            iamRoleArn=shown["IamRoleArn"],
            resourceArn=shown["ResourceArn"],
            resourceType=shown["ResourceType"],
            state=str(job.state),
            statusMessage=job.status_message,
            completionDate=iso(job.ended_at),
            createdBy=_creator(shown),
            **vaults,
        )
        detail["destinationRecoveryPointArn"] = shown["DestinationRecoveryPointArn"] if job.over and job.copy else {}
        return [_Draft(about, [job.point.arn], detail)]

    def _of_recovery_point(self, point: RecoveryPoint, change: Change) -> list[_Draft]:
        if change.what is What.DELETED:
            self._announced.pop(point.arn, None)
            return []
        if self._announced.get(point.arn) == point.status:
            return []  # its lifecycle changed, not its state
        self._announced[point.arn] = str(point.status)
        shown = point.to_result()
        detail = _lean(
            backupVaultName=shown["BackupVaultName"],
            backupVaultArn=shown["BackupVaultArn"],
            creationDate=iso(point.created_at),
            iamRoleArn=shown["IamRoleArn"],
            resourceType=shown["ResourceType"],
            resourceArn=shown["ResourceArn"],
            status=str(point.status),
            statusMessage=point.status_message,
            isEncrypted=str(shown["IsEncrypted"]).lower(),
            storageClass=shown["StorageClass"],
            completionDate=iso(point.completed_at),
            createdBy=_creator(shown),
            lifecycle=_lower_camel(shown["Lifecycle"]),
            calculatedLifeCycle=_lower_camel(shown["CalculatedLifecycle"]),
        )
        return [_Draft("Recovery Point State Change", [point.arn], detail)]

    def _of_vault(self, vault: Vault, change: Change) -> list[_Draft]:
        detail: Detail = {"backupVaultName": vault.backup_vault_name, "state": str(change.what)}
        if change.what is What.MODIFIED:
            detail["isLocked"] = str(vault.locked).lower()
        return [_Draft("Backup Vault State Change", [vault.backup_vault_arn], detail)]

    def _of_plan(self, plan: Plan, change: Change) -> list[_Draft]:
        when = {What.CREATED: "creationDate", What.MODIFIED: "modifiedAt", What.DELETED: "deletionDate"}[change.what]
        detail: Detail = {
            "backupPlanId": plan.plan_id,
            "versionId": plan.current.version_id,
            when: iso(change.at),
            "state": str(change.what),
        }
        return [_Draft("Backup Plan State Change", [plan.arn], detail)]

    def _of_region_settings(self, changed: OptInChange, change: Change) -> list[_Draft]:
        detail: Detail = {
            "modifiedAt": iso(change.at),
            "ResourceTypeOptInPreference": dict(changed.opt_in),
            "state": "MODIFIED",
        }
        return [_Draft("Region Setting State Change", [], detail)]


def iso(instant: datetime | None) -> str | None:
    """Return a time as AWS Backup's events and notifications write it, in milliseconds with a Z."""
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _american(instant: datetime | None) -> str | None:
    # "Jul 15, 2020 9:39:07 PM": the one date in an event that is not ISO.
    if instant is None:
        return None
    return f"{instant:%b} {instant.day}, {instant:%Y} {instant.hour % 12 or 12}:{instant:%M:%S %p}"


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _creator(shown: Mapping[str, Any]) -> Detail | None:
    creator = shown.get("CreatedBy")
    return {_CREATOR[name]: value for name, value in creator.items() if name in _CREATOR} if creator else None


def _lower_camel(members: Mapping[str, Any] | None) -> Detail | None:
    if not members:
        return None
    return {
        name[0].lower() + name[1:]: iso(value) if isinstance(value, datetime) else value
        for name, value in members.items()
    }


def _lean(**members: Any) -> Detail:
    return {name: value for name, value in members.items() if value is not None}
