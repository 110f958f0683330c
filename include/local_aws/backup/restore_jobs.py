"""Restore jobs: a recovery point becomes a new table.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-dynamodb.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartRestoreJob.html.

A target that exists already fails the job, not the call: AWS Backup hands the restore to DynamoDB after it
has accepted it, and documents neither. The message is DynamoDB's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from local_aws import tables
from local_aws.access import service_roles
from local_aws.backup.changes import What
from local_aws.backup.exceptions import (
    InvalidParameterValueException,
    InvalidRequestException,
    ResourceNotFoundException,
)
from local_aws.backup.job_register import JobRegister
from local_aws.backup.recovery_points import USABLE, RecoveryPoint
from local_aws.backup.restore_tests import RestoreTest
from local_aws.backup.states import RESOURCE_TYPE, RESTORE_JOB_OVER, RecoveryPointStatus, RestoreJobStatus
from local_aws.backup.validation import check_choice, check_kms_key_arn, check_table_name, require
from local_aws.clock import CLOCK
from local_aws.data_faults import DATA_FAULTS, spoil
from local_aws.faults import FAULTS, Fault
from local_aws.settings import SETTINGS

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

RUNNING_FROM: Final = 0.2
"""Share of `restore_seconds` spent PENDING."""

METADATA_KEYS: Final = ("targetTableName", "encryptionType", "kmsMasterKeyArn", "aws:backup:request-id")
_NOT_APPLICABLE: Final = "Not Applicable"  # how callers of old say "no key"


@dataclass(frozen=True)
class RestoreRequest:
    """What StartRestoreJob was asked for. Two equal requests with one token are one job."""

    recovery_point_arn: str
    metadata: Mapping[str, str]
    iam_role_arn: str | None
    copy_tags: bool

    @property
    def target_table_name(self) -> str:
        return self.metadata["targetTableName"]


@dataclass(eq=False)
class RestoreJob:
    """One restore job. `fault` is the bad end that was ordered for it, `test` the restore test it is for, if any."""

    job_id: str
    sequence: int
    request: RestoreRequest
    point: RecoveryPoint
    created_at: datetime
    expected_seconds: float
    fault: Fault | None
    status: RestoreJobStatus = RestoreJobStatus.PENDING
    status_message: str | None = None
    ended_at: datetime | None = None
    table_arn: str | None = None
    test: RestoreTest | None = None

    @property
    def over(self) -> bool:
        return self.status in RESTORE_JOB_OVER

    def percent_done(self, now: datetime) -> str:
        if self.status is RestoreJobStatus.COMPLETED:
            return "100.00%"
        if self.status is not RestoreJobStatus.RUNNING or not self.expected_seconds:
            return "0.00%"
        done = (now - self.created_at).total_seconds() / self.expected_seconds
        return f"{min(max(done, 0.0), 0.99) * 100:.2f}%"

    def to_result(self, account_id: str) -> dict[str, Any]:
        """Return the members of DescribeRestoreJob and ListRestoreJobs."""
        return {
            "AccountId": account_id,
            "RestoreJobId": self.job_id,
            "RecoveryPointArn": self.point.arn,
            "RecoveryPointCreationDate": self.point.created_at,
            "SourceResourceArn": self.point.resource_arn,
            "BackupVaultArn": self.point.vault.backup_vault_arn,
            "CreationDate": self.created_at,
            "CompletionDate": self.ended_at,
            "Status": str(self.status),
            "StatusMessage": self.status_message,
            "PercentDone": self.percent_done(CLOCK.now()),
            "BackupSizeInBytes": self.point.size_bytes,
            "IamRoleArn": self.request.iam_role_arn,
            "ExpectedCompletionTimeMinutes": max(1, math.ceil(self.expected_seconds / 60)),
            "CreatedResourceArn": self.table_arn if self.status is RestoreJobStatus.COMPLETED else None,
            "ResourceType": RESOURCE_TYPE,
            "IsParent": False,
            **(self.test.to_result() if self.test is not None else {}),
        }


class RestoreJobs(JobRegister[RestoreJob]):
    """All restore jobs of one account and Region."""

    KIND = "Restore job"

    def __init__(self, backend: "BackupBackend") -> None:
        super().__init__()
        self._backend = backend

    def start(self, request: RestoreRequest, token: str | None, *, test: RestoreTest | None = None) -> RestoreJob:
        """Accept a restore job, or return the one that the same token started.

        Args:
            request: What to restore, and how.
            token: The IdempotencyToken, if any.
            test: The restore test that it is for, if any.

        Raises:
            ResourceNotFoundException: No such recovery point, or it is being deleted.
            InvalidRequestException: The recovery point is not usable.
            InvalidParameterValueException: A token used with another request before.
        """
        if (earlier := self._started_by(token, request)) is not None:
            return earlier
        point = self._usable_point(request.recovery_point_arn)
        now = CLOCK.now()
        job = RestoreJob(
            job_id=self._backend.new_id().upper(),
            sequence=self._backend.next_sequence(),
            request=request,
            point=point,
            created_at=now,
            expected_seconds=SETTINGS.restore_seconds,
            fault=FAULTS.take("StartRestoreJob", point.table_name),
            test=test,
        )
        self._jobs[job.job_id] = job
        if token is not None:
            self._by_token[token] = job
        point.restores_running += 1
        self._backend.changes.report(job, now, What.CREATED)
        agenda = self._backend.agenda
        agenda.add(now + timedelta(seconds=job.expected_seconds * RUNNING_FROM), lambda at: self._run(job, at))
        agenda.add(now + timedelta(seconds=job.expected_seconds), lambda at: self._finish(job, at))
        return job

    def _usable_point(self, arn: str) -> RecoveryPoint:
        point = self._backend.recovery_points.find(arn)
        if point is None or point.status is RecoveryPointStatus.DELETING:
            raise ResourceNotFoundException(f"Recovery point {arn} does not exist.")
        if point.status not in USABLE:
            raise InvalidRequestException(f"Recovery point {arn} cannot be restored: it is {point.status}.")
        return point

    def _run(self, job: RestoreJob, at: datetime) -> None:
        job.status = RestoreJobStatus.RUNNING
        self._backend.changes.report(job, at)
        if job.fault is not None:
            return
        if (refusal := self._role_refusal(job)) is not None:
            self._end(job, RestoreJobStatus.FAILED, at, refusal)
            return
        metadata = job.request.metadata
        try:
            job.table_arn = tables.begin_restore(
                self._backend.account_id,
                self._backend.region_name,
                job.point.snapshot,
                job.request.target_table_name,
                encryption_type=metadata.get("encryptionType"),
                kms_key_arn=metadata.get("kmsMasterKeyArn"),
                tags=_own_tags(job.point.snapshot.tags) if job.request.copy_tags else None,
                source_backup_arn=job.point.arn,
                now=at,
            )
        except tables.TableError as error:
            self._end(job, RestoreJobStatus.FAILED, at, str(error))
            return
        if (wrong := DATA_FAULTS.take(job.point.table_name)) is not None:
            spoil(self._backend.account_id, self._backend.region_name, job.request.target_table_name, wrong)

    def _role_refusal(self, job: RestoreJob) -> str | None:
        backend, request = self._backend, job.request
        target = f"arn:{backend.partition}:dynamodb:{backend.region_name}:{backend.account_id}:table/"
        needed = service_roles.restore_permissions(
            job.point.arn,
            target + request.target_table_name,
            advanced=job.point.advanced,
            with_tags=request.copy_tags and bool(_own_tags(job.point.snapshot.tags)),
        )
        return service_roles.why_role_may_not(request.iam_role_arn, needed, backend.region_name)

    def _finish(self, job: RestoreJob, at: datetime) -> None:
        if job.over:
            return
        if job.fault is not None:
            self._end(job, RestoreJobStatus(job.fault.end_state), at, job.fault.message)
            return
        try:
            tables.finish_restore(
                self._backend.account_id, self._backend.region_name, job.request.target_table_name, now=at
            )
        except tables.TableNotFound as error:
            self._end(job, RestoreJobStatus.FAILED, at, f"The table was deleted while it was restored. {error}")
            return
        job.point.last_restored_at = at
        self._end(job, RestoreJobStatus.COMPLETED, at, None)

    def _end(self, job: RestoreJob, status: RestoreJobStatus, at: datetime, message: str | None) -> None:
        job.status = status
        job.status_message = message
        job.ended_at = at
        job.point.restores_running -= 1
        self._backend.changes.report(job, at)


def normalise_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return restore metadata with its keys as AWS spells them; callers may spell them in any case.

    Raises:
        MissingParameterValueException: No targetTableName.
        InvalidParameterValueException: An unknown key, or a value that DynamoDB cannot restore with.
    """
    spelling = {key.lower(): key for key in METADATA_KEYS}
    known: dict[str, str] = {}
    for key, value in metadata.items():
        if key.lower() not in spelling:
            raise InvalidParameterValueException(
                f"Unknown restore metadata {key!r} for {RESOURCE_TYPE}. Known: {', '.join(METADATA_KEYS)}."
            )
        if value != _NOT_APPLICABLE:
            known[spelling[key.lower()]] = value
    check_table_name(require("Metadata targetTableName", known.get("targetTableName")))
    encryption = check_choice("encryptionType", known.get("encryptionType"), ("Default", "KMS"))
    if key_arn := known.get("kmsMasterKeyArn"):
        if encryption != "KMS":
            raise InvalidParameterValueException("kmsMasterKeyArn can only be given with encryptionType KMS.")
        check_kms_key_arn(key_arn)
    return known


def _own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    # Tags that AWS itself puts on a table (CloudFormation's) cannot be put on another by anybody.
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}
