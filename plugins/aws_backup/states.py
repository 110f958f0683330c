"""Every state of an AWS Backup job or recovery point, classified once.

The waiters in ``waiters/backup.json``, the sensors, the triggers and the intent rule all rest on this
table, and tests hold it against botocore's service model: a state that AWS adds later breaks a test, not a
night run.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from aws_backup.exceptions import UnknownStateError


class StateKind(StrEnum):
    """What a state belongs to; the value is how messages call it."""

    BACKUP_JOB = "backup job"
    RESTORE_JOB = "restore job"
    COPY_JOB = "copy job"
    RECOVERY_POINT = "recovery point"
    RECOVERY_POINT_DELETION = "deletion of recovery point"


class Outcome(StrEnum):
    """What a state means to the one who waits."""

    SUCCESS = "success"
    FAILURE = "failure"
    IN_PROGRESS = "in progress"


class BackupJobState(StrEnum):
    """``State`` of DescribeBackupJob and ListBackupJobs.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeBackupJob.html
    """

    CREATED = "CREATED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ABORTING = "ABORTING"
    ABORTED = "ABORTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    PARTIAL = "PARTIAL"


class RestoreJobStatus(StrEnum):
    """``Status`` of DescribeRestoreJob; CREATED is known from events and summaries only.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRestoreJob.html
    """

    CREATED = "CREATED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"
    FAILED = "FAILED"


class CopyJobState(StrEnum):
    """``CopyJob.State`` of DescribeCopyJob, with the states that only the summaries name.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeCopyJob.html
    """

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    ABORTING = "ABORTING"
    ABORTED = "ABORTED"
    COMPLETING = "COMPLETING"
    COMPLETED = "COMPLETED"
    FAILING = "FAILING"
    FAILED = "FAILED"
    PARTIAL = "PARTIAL"


class RecoveryPointStatus(StrEnum):
    """``Status`` of DescribeRecoveryPoint.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRecoveryPoint.html
    """

    CREATING = "CREATING"
    COMPLETED = "COMPLETED"
    AVAILABLE = "AVAILABLE"
    PARTIAL = "PARTIAL"
    DELETING = "DELETING"
    EXPIRED = "EXPIRED"
    STOPPED = "STOPPED"


class StateTable(NamedTuple):
    """The states of one kind, by what they mean."""

    success: frozenset[str]
    failure: frozenset[str]
    in_progress: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """Every state of the kind."""
        return self.success | self.failure | self.in_progress


STATES: Final = MappingProxyType(
    {
        # PARTIAL is a composite job whose children are not all there: nothing to prove a restore with.
        StateKind.BACKUP_JOB: StateTable(
            success=frozenset({BackupJobState.COMPLETED}),
            failure=frozenset(
                {
                    BackupJobState.ABORTED,
                    BackupJobState.FAILED,
                    BackupJobState.EXPIRED,
                    BackupJobState.PARTIAL,
                }
            ),
            # A job that is being stopped may still complete: only its end tells.
            in_progress=frozenset(
                {
                    BackupJobState.CREATED,
                    BackupJobState.PENDING,
                    BackupJobState.RUNNING,
                    BackupJobState.ABORTING,
                }
            ),
        ),
        StateKind.RESTORE_JOB: StateTable(
            success=frozenset({RestoreJobStatus.COMPLETED}),
            failure=frozenset({RestoreJobStatus.ABORTED, RestoreJobStatus.FAILED}),
            in_progress=frozenset({RestoreJobStatus.CREATED, RestoreJobStatus.PENDING, RestoreJobStatus.RUNNING}),
        ),
        StateKind.COPY_JOB: StateTable(
            success=frozenset({CopyJobState.COMPLETED}),
            failure=frozenset({CopyJobState.ABORTED, CopyJobState.FAILED, CopyJobState.PARTIAL}),
            in_progress=frozenset(
                {
                    CopyJobState.CREATED,
                    CopyJobState.RUNNING,
                    CopyJobState.ABORTING,
                    CopyJobState.COMPLETING,
                    CopyJobState.FAILING,
                }
            ),
        ),
        # AWS names both COMPLETED and AVAILABLE for a usable recovery point, by service and by age.
        StateKind.RECOVERY_POINT: StateTable(
            success=frozenset({RecoveryPointStatus.COMPLETED, RecoveryPointStatus.AVAILABLE}),
            failure=frozenset(
                {
                    RecoveryPointStatus.PARTIAL,
                    RecoveryPointStatus.DELETING,
                    RecoveryPointStatus.EXPIRED,
                    RecoveryPointStatus.STOPPED,
                }
            ),
            in_progress=frozenset({RecoveryPointStatus.CREATING}),
        ),
        # Success is that AWS no longer knows it, so no state is. EXPIRED is AWS giving up the deletion.
        StateKind.RECOVERY_POINT_DELETION: StateTable(
            success=frozenset(),
            failure=frozenset({RecoveryPointStatus.EXPIRED}),
            in_progress=frozenset(RecoveryPointStatus) - {RecoveryPointStatus.EXPIRED},
        ),
    }
)


def classify(kind: StateKind, state: str | None) -> Outcome:
    """Tell what a state means.

    :param kind: what the state belongs to.
    :param state: the state as AWS names it.
    :return: success, failure or in progress.
    :raises UnknownStateError: for a state that this table does not name, so that nothing polls for ever.
    """
    table = STATES[kind]
    if state in table.success:
        return Outcome.SUCCESS
    if state in table.failure:
        return Outcome.FAILURE
    if state in table.in_progress:
        return Outcome.IN_PROGRESS
    raise UnknownStateError(kind=kind.value, state=state, known=tuple(sorted(table.known)))
