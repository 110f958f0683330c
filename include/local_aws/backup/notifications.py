"""Vault notifications: what happens in a vault, told to an SNS topic.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/backup-notifications.html. Only events that
PutBackupVaultNotifications asked for are sent; nothing is said about a topic that does not exist or does not
let AWS Backup publish, and nothing arrives there.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from local_aws.backup.backup_jobs import BackupJob
from local_aws.backup.changes import Change, What
from local_aws.backup.copy_jobs import CopyJob
from local_aws.backup.events import iso
from local_aws.backup.exceptions import InvalidParameterValueException, ResourceNotFoundException
from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.restore_jobs import RestoreJob
from local_aws.backup.states import (
    BACKUP_JOB_OVER,
    COPY_JOB_OVER,
    RESTORE_JOB_OVER,
    BackupJobState,
    CopyJobState,
    RecoveryPointStatus,
    RestoreJobStatus,
)
from local_aws.backup.validation import check_choice, require
from local_aws.backup.vaults import NotificationSettings, Vault
from local_aws.outbox import Notification

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

SUBJECT: Final = "Notification from AWS Backup"
EVENTS: Final = frozenset(
    {
        "ACCESS_POINT_AVAILABLE",
        "ACCESS_POINT_CREATION_FAILED",
        "ACCESS_POINT_DELETED",
        "ACCESS_POINT_DELETION_FAILED",
        "ACCESS_POINT_DISASSOCIATED",
        "ACCESS_POINT_EXPIRED",
        "BACKUP_JOB_COMPLETED",
        "BACKUP_JOB_EXPIRED",
        "BACKUP_JOB_FAILED",
        "BACKUP_JOB_STARTED",
        "BACKUP_JOB_SUCCESSFUL",
        "BACKUP_PLAN_CREATED",
        "BACKUP_PLAN_MODIFIED",
        "CONTINUOUS_BACKUP_INTERRUPTED",
        "COPY_JOB_FAILED",
        "COPY_JOB_STARTED",
        "COPY_JOB_SUCCESSFUL",
        "EKS_BACKUP_OBJECT_FAILED",
        "EKS_RESTORE_OBJECT_FAILED",
        "EKS_RESTORE_OBJECT_SKIPPED",
        "RECOVERY_POINT_INDEXING_FAILED",
        "RECOVERY_POINT_INDEX_COMPLETED",
        "RECOVERY_POINT_INDEX_DELETED",
        "RECOVERY_POINT_MODIFIED",
        "RESTORE_JOB_COMPLETED",
        "RESTORE_JOB_FAILED",
        "RESTORE_JOB_STARTED",
        "RESTORE_JOB_SUCCESSFUL",
        "S3_BACKUP_OBJECT_FAILED",
        "S3_RESTORE_OBJECT_FAILED",
    }
)
"""What may be asked for: `BackupVaultEvent` of the service model. A table causes but some of them."""

_TOPIC_ARN: Final = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):(\d{12}):[a-zA-Z0-9_-]{1,256}")


@dataclass(frozen=True)
class _Draft:
    """A notification before it is known whether anybody asked for it: by any of `events`."""

    events: frozenset[str]
    vault: Vault
    kind: str
    state: str
    identity: str
    started: datetime
    text: str


class VaultNotifications:
    """The notification settings of an account's vaults in a Region, and what is sent by them."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._makers: dict[type, Callable[[Any, Change], _Draft | None]] = {
            BackupJob: _of_backup_job,
            RestoreJob: _of_restore_job,
            CopyJob: _of_copy_job,
            RecoveryPoint: _of_recovery_point,
        }

    def put(self, vault_name: str, topic_arn: str | None, events: Sequence[str]) -> None:
        """Replace a vault's notification settings.

        Raises:
            ResourceNotFoundException: No such vault.
            MissingParameterValueException: No topic or no event.
            InvalidParameterValueException: Not a standard topic of this account, or an unknown event.
        """
        vault = self._backend.describe_backup_vault(vault_name)
        topic = require("SNSTopicArn", topic_arn)
        match = _TOPIC_ARN.fullmatch(topic)
        if match is None:
            raise InvalidParameterValueException(
                f"Invalid SNSTopicArn {topic!r}. Name a standard topic; FIFO topics are not supported."
            )
        if match.group(2) != self._backend.account_id:
            raise InvalidParameterValueException(f"SNS topic {topic} is not in account {self._backend.account_id}.")
        require("BackupVaultEvents", "".join(events))
        for event in events:
            check_choice("BackupVaultEvents", event, EVENTS)
        vault.notifications = NotificationSettings(topic, tuple(dict.fromkeys(events)))

    def get(self, vault_name: str) -> tuple[Vault, NotificationSettings]:
        """Return a vault and its notification settings.

        Raises:
            ResourceNotFoundException: No such vault, or it has none.
        """
        vault = self._backend.describe_backup_vault(vault_name)
        if vault.notifications is None:
            raise ResourceNotFoundException(
                f"Failed reading notifications from database for Backup vault {vault_name}: none are set."
            )
        return vault, vault.notifications

    def delete(self, vault_name: str) -> None:
        """Take a vault's notification settings away; it does not matter whether it has any.

        Raises:
            ResourceNotFoundException: No such vault.
        """
        self._backend.describe_backup_vault(vault_name).notifications = None

    def observe(self, change: Change) -> None:
        """Post the notification that a change causes, if its vault's settings ask for it."""
        maker = self._makers.get(type(change.subject))
        draft = maker(change.subject, change) if maker is not None else None
        if draft is None:
            return
        settings = draft.vault.notifications
        if settings is None or draft.events.isdisjoint(settings.events):
            return
        region = settings.topic_arn.split(":")[3]
        self._backend.outbox.post(
            Notification(
                account_id=self._backend.account_id,
                region=region,
                topic_arn=settings.topic_arn,
                subject=SUBJECT,
                message=draft.text,
                attributes={
                    "EventType": draft.kind,
                    "State": draft.state,
                    "AccountId": self._backend.account_id,
                    "Id": draft.identity,
                    "StartTime": iso(draft.started) or "",
                },
            )
        )


_BACKUP_ENDS: Final = {
    BackupJobState.COMPLETED: ("BACKUP_JOB_SUCCESSFUL", "was completed successfully"),
    BackupJobState.PARTIAL: ("BACKUP_JOB_SUCCESSFUL", "was completed with issues"),
    BackupJobState.FAILED: ("BACKUP_JOB_FAILED", "failed"),
    BackupJobState.ABORTED: ("BACKUP_JOB_FAILED", "was stopped"),
    BackupJobState.EXPIRED: ("BACKUP_JOB_EXPIRED", "failed to complete in time"),
}


def _of_backup_job(job: BackupJob, _change: Change) -> _Draft | None:
    if job.state is BackupJobState.RUNNING:
        events, what = {"BACKUP_JOB_STARTED"}, "was started"
    elif job.state in BACKUP_JOB_OVER:
        special, what = _BACKUP_ENDS[job.state]
        events = {"BACKUP_JOB_COMPLETED", special}
    else:
        return None
    text = _sentence(
        f"An AWS Backup job {what}.",
        ("Recovery point ARN: ", job.recovery_point_arn if job.over and job.point is not None else None),
        ("Backed up Resource ARN : ", job.request.resource_arn),
        ("Backup Job Id : ", job.job_id),
    )
    return _Draft(frozenset(events), job.vault, "BACKUP_JOB", str(job.state), job.job_id, job.created_at, text)


def _of_restore_job(job: RestoreJob, _change: Change) -> _Draft | None:
    if job.status is RestoreJobStatus.RUNNING:
        events, what = {"RESTORE_JOB_STARTED"}, "was started"
    elif job.status in RESTORE_JOB_OVER:
        good = job.status is RestoreJobStatus.COMPLETED
        events = {"RESTORE_JOB_COMPLETED", "RESTORE_JOB_SUCCESSFUL" if good else "RESTORE_JOB_FAILED"}
        what = "was completed successfully" if good else "failed"
    else:
        return None
    text = _sentence(
        f"An AWS Restore job {what}.",
        ("Restored Resource ARN : ", job.table_arn if job.status is RestoreJobStatus.COMPLETED else None),
        ("Recovery point ARN: ", job.point.arn),
        ("Restore Job Id : ", job.job_id),
    )
    return _Draft(frozenset(events), job.point.vault, "RESTORE_JOB", str(job.status), job.job_id, job.created_at, text)


def _of_copy_job(job: CopyJob, _change: Change) -> _Draft | None:
    if job.state is CopyJobState.RUNNING:
        event, what = "COPY_JOB_STARTED", "was started"
    elif job.state in COPY_JOB_OVER:
        good = job.state is CopyJobState.COMPLETED
        event = "COPY_JOB_SUCCESSFUL" if good else "COPY_JOB_FAILED"
        what = "was completed successfully" if good else "failed"
    else:
        return None
    text = _sentence(
        f"An AWS Backup copy job {what}.",
        ("Recovery point ARN: ", job.point.arn),
        ("Destination backup vault ARN : ", job.request.destination.arn),
        ("Copy Job Id : ", job.job_id),
    )
    return _Draft(frozenset({event}), job.point.vault, "COPY_JOB", str(job.state), job.job_id, job.created_at, text)


def _of_recovery_point(point: RecoveryPoint, change: Change) -> _Draft | None:
    # Its completion is told as the job's.
    if change.what is not What.MODIFIED or point.completed_at is None or point.completed_at == change.at:
        return None
    gone = point.status is RecoveryPointStatus.DELETING
    text = _sentence(
        f"An AWS Backup recovery point {'is being deleted' if gone else 'was modified'}.",
        ("Recovery point ARN: ", point.arn),
        ("Resource ARN : ", point.resource_arn),
    )
    return _Draft(
        frozenset({"RECOVERY_POINT_MODIFIED"}),
        point.vault,
        "RECOVERY_POINT",
        str(point.status),
        point.arn,
        point.created_at,
        text,
    )


def _sentence(opening: str, *parts: tuple[str, str | None]) -> str:
    return " ".join([opening, ". ".join(f"{label}{value}" for label, value in parts if value)])
