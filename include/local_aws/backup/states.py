"""States of jobs and recovery points, as the service model names them."""

from enum import StrEnum
from typing import Final

RESOURCE_TYPE: Final = "DynamoDB"
"""The one resource type whose data the local AWS Backup really copies."""


class BackupJobState(StrEnum):
    CREATED = "CREATED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ABORTING = "ABORTING"
    ABORTED = "ABORTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    PARTIAL = "PARTIAL"


BACKUP_JOB_OVER: Final = frozenset(
    {
        BackupJobState.ABORTED,
        BackupJobState.COMPLETED,
        BackupJobState.FAILED,
        BackupJobState.EXPIRED,
        BackupJobState.PARTIAL,
    }
)


class RestoreJobStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"
    FAILED = "FAILED"


RESTORE_JOB_OVER: Final = frozenset({RestoreJobStatus.COMPLETED, RestoreJobStatus.ABORTED, RestoreJobStatus.FAILED})


class CopyJobState(StrEnum):
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    PARTIAL = "PARTIAL"


COPY_JOB_OVER: Final = frozenset({CopyJobState.COMPLETED, CopyJobState.FAILED, CopyJobState.PARTIAL})


class RecoveryPointStatus(StrEnum):
    CREATING = "CREATING"
    COMPLETED = "COMPLETED"
    AVAILABLE = "AVAILABLE"
    PARTIAL = "PARTIAL"
    DELETING = "DELETING"
    EXPIRED = "EXPIRED"
    STOPPED = "STOPPED"
