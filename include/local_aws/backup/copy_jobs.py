"""Copy jobs: a recovery point is copied into another vault, also of another Region or account.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/recov-point-create-a-copy.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/create-cross-account-backup.html.

What stands against a copy fails the job, not the call: AWS Backup finds it out while it copies. A copy is a
recovery point of its own, with its own dates; its lifecycle counts from its own creation.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from moto.backup.models import backup_backends

from local_aws.access import service_roles
from local_aws.backup.backup_jobs import BackupJob
from local_aws.backup.changes import Change, What
from local_aws.backup.exceptions import (
    InvalidParameterValueException,
    InvalidRequestException,
)
from local_aws.backup.job_register import JobRegister
from local_aws.backup.lifecycle import Lifecycle
from local_aws.backup.plan_rules import RuleCreator
from local_aws.backup.policy_grants import grants
from local_aws.backup.recovery_points import USABLE, RecoveryPoint
from local_aws.backup.states import COPY_JOB_OVER, RESOURCE_TYPE, BackupJobState, CopyJobState, RecoveryPointStatus
from local_aws.clock import CLOCK
from local_aws.faults import FAULTS, Fault
from local_aws.settings import SETTINGS

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

RUNNING_FROM: Final = 0.2
"""Share of `copy_seconds` spent CREATED."""

COPY_INTO: Final = "backup:CopyIntoBackupVault"

_VAULT_ARN: Final = re.compile(r"arn:aws[a-z-]*:backup:([a-z0-9-]+):(\d{12}):backup-vault:([a-zA-Z0-9\-_]{2,50})")


@dataclass(frozen=True)
class VaultAddress:
    """Where a vault is, whether or not it exists."""

    arn: str
    region: str
    account_id: str
    name: str

    @classmethod
    def from_arn(cls, arn: str) -> "VaultAddress":
        """Read a vault's ARN.

        Raises:
            InvalidParameterValueException: It is none.
        """
        match = _VAULT_ARN.fullmatch(arn)
        if match is None:
            raise InvalidParameterValueException(f"Invalid DestinationBackupVaultArn {arn!r}: no vault's ARN.")
        region, account_id, name = match.groups()
        return cls(arn, region, account_id, name)


@dataclass(frozen=True)
class CopyRequest:
    """What StartCopyJob, or a rule's copy action, asks for. Two equal requests with one token are one job.

    Attributes:
        lifecycle: Of the copy; None: as the original's.
    """

    recovery_point_arn: str
    source_vault_name: str
    destination: VaultAddress
    iam_role_arn: str
    lifecycle: Lifecycle | None


@dataclass(eq=False)
class CopyJob:
    """One copy job. `fault` is the bad end that was ordered for it, if any.

    Attributes:
        backup_job: The job of the plan's rule that wants the copy; None: StartCopyJob.
    """

    job_id: str
    sequence: int
    request: CopyRequest
    point: RecoveryPoint
    created_at: datetime
    fault: Fault | None
    backup_job: BackupJob | None = field(default=None, repr=False)
    state: CopyJobState = CopyJobState.CREATED
    status_message: str | None = None
    message_category: str | None = None
    ended_at: datetime | None = None
    copy: RecoveryPoint | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        return self.state in COPY_JOB_OVER

    @property
    def created_by(self) -> RuleCreator | None:
        """The rule that wants the copy."""
        return self.backup_job.request.created_by if self.backup_job is not None else None

    @property
    def lifecycle(self) -> Lifecycle:
        return self.point.lifecycle if self.request.lifecycle is None else self.request.lifecycle

    def to_result(self, account_id: str) -> dict[str, Any]:
        """Return the members of DescribeCopyJob's `CopyJob` and of ListCopyJobs."""
        return {
            "AccountId": account_id,
            "CopyJobId": self.job_id,
            "SourceBackupVaultArn": self.point.vault.backup_vault_arn,
            "SourceRecoveryPointArn": self.point.arn,
            "DestinationBackupVaultArn": self.request.destination.arn,
            "DestinationVaultType": "BACKUP_VAULT",
            "DestinationRecoveryPointArn": self.copy.arn if self.copy is not None else None,
            "DestinationEncryptionKeyArn": self.copy.encryption_key_arn if self.copy is not None else None,
            "DestinationRecoveryPointLifecycle": self.lifecycle.to_result() or None,
            "ResourceArn": self.point.resource_arn,
            "ResourceName": self.point.table_name,
            "ResourceType": RESOURCE_TYPE,
            "CreationDate": self.created_at,
            "CompletionDate": self.ended_at,
            "State": str(self.state),
            "StatusMessage": self.status_message,
            "MessageCategory": self.message_category,
            "BackupSizeInBytes": self.point.size_bytes,
            "IamRoleArn": self.request.iam_role_arn,
            "CreatedBy": self.created_by.to_result() if self.created_by is not None else None,
            "CreatedByBackupJobId": self.backup_job.job_id if self.backup_job is not None else None,
            "IsParent": False,
        }


class CopyJobs(JobRegister[CopyJob]):
    """All copy jobs out of one account and Region."""

    KIND = "Copy job"

    def __init__(self, backend: "BackupBackend") -> None:
        super().__init__()
        self._backend = backend

    def start(self, request: CopyRequest, token: str | None) -> CopyJob:
        """Accept a copy job, or return the one that the same token started.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartCopyJob.html.

        Raises:
            ResourceNotFoundException: No such source vault or recovery point.
            InvalidRequestException: The recovery point cannot be copied.
            InvalidParameterValueException: A token used with another request before.
        """
        if (earlier := self._started_by(token, request)) is not None:
            return earlier
        point = self._backend.recovery_points.get(request.source_vault_name, request.recovery_point_arn)
        if point.status not in USABLE:
            raise InvalidRequestException(f"Recovery point {point.arn} cannot be copied: it is {point.status}.")
        if obstacle := _obstacle(point):
            raise InvalidRequestException(obstacle)
        job = self._accept(request, point)
        if token is not None:
            self._by_token[token] = job
        return job

    def observe(self, change: Change) -> None:
        """Start the copies that a plan's rule wants of the recovery point that its job has just made."""
        job = change.subject
        if not isinstance(job, BackupJob) or job.state is not BackupJobState.COMPLETED or job.point is None:
            return
        for action in job.request.copy_actions:
            request = CopyRequest(
                recovery_point_arn=job.point.arn,
                source_vault_name=job.point.vault.backup_vault_name,
                destination=VaultAddress.from_arn(action.destination_vault_arn),
                iam_role_arn=job.request.iam_role_arn,
                lifecycle=action.lifecycle,
            )
            self._accept(request, job.point, backup_job=job)

    def _accept(
        self,
        request: CopyRequest,
        point: RecoveryPoint,
        *,
        backup_job: BackupJob | None = None,
    ) -> CopyJob:
        now = CLOCK.now()
        job = CopyJob(
            job_id=self._backend.new_id().upper(),
            sequence=self._backend.next_sequence(),
            request=request,
            point=point,
            created_at=now,
            fault=FAULTS.take("StartCopyJob", point.table_name),
            backup_job=backup_job,
        )
        self._jobs[job.job_id] = job
        point.copies_running += 1
        self._backend.changes.report(job, now, What.CREATED)
        agenda, seconds = self._backend.agenda, SETTINGS.copy_seconds
        agenda.add(now + timedelta(seconds=seconds * RUNNING_FROM), lambda at: self._run(job, at))
        agenda.add(now + timedelta(seconds=seconds), lambda at: self._finish(job, at))
        return job

    def _run(self, job: CopyJob, at: datetime) -> None:
        refusal = self._refusal(job)
        if refusal is not None:
            self._end(job, CopyJobState.FAILED, at, refusal)
            return
        job.state = CopyJobState.RUNNING
        self._backend.changes.report(job, at)
        if job.fault is None:
            self._begin_copy(job, at)

    def _begin_copy(self, job: CopyJob, at: datetime) -> None:
        there = self._destination_backend(job)
        vault = there.vaults[job.request.destination.name]
        job.copy = RecoveryPoint(
            arn=there.new_recovery_point_arn(job.point.table_name, advanced=True, now=at),
            sequence=there.next_sequence(),
            vault=vault,
            resource_arn=job.point.resource_arn,
            content=job.point.snapshot,
            iam_role_arn=job.request.iam_role_arn,
            advanced=True,
            lifecycle=job.lifecycle,
            created_at=at,
            initiated_at=job.created_at,
            request_id=there.new_id(),
            source_vault_arn=job.point.vault.backup_vault_arn,
            created_by=job.created_by,
        )
        there.recovery_points.add(job.copy)
        there.put_tags(job.copy.arn, self._backend.list_tags(job.point.arn))
        there.changes.report(job.copy, at, What.CREATED)

    def _finish(self, job: CopyJob, at: datetime) -> None:
        if job.over:
            return
        if job.fault is not None:
            self._end(job, CopyJobState(job.fault.end_state), at, job.fault.message)
            return
        if job.copy is None:
            raise RuntimeError(f"Copy job {job.job_id} ends without having run.")
        there = self._destination_backend(job)
        if there.vaults.get(job.request.destination.name) is not job.copy.vault:
            there.recovery_points.remove(job.copy, at)
            job.copy = None
            self._end(job, CopyJobState.FAILED, at, _no_vault(job.request.destination))
            return
        job.copy.complete(RecoveryPointStatus.COMPLETED, at, None)
        there.changes.report(job.copy, at)
        self._end(job, CopyJobState.COMPLETED, at, None, category="SUCCESS")

    def _end(
        self, job: CopyJob, state: CopyJobState, at: datetime, message: str | None, *, category: str | None = None
    ) -> None:
        job.state = state
        job.status_message = message
        job.message_category = category
        job.ended_at = at
        job.point.copies_running -= 1
        self._backend.changes.report(job, at)

    def _destination_backend(self, job: CopyJob) -> "BackupBackend":
        where = job.request.destination
        return cast("BackupBackend", backup_backends[where.account_id][where.region])

    def _refusal(self, job: CopyJob) -> str | None:
        """Say what stands against the copy, None if nothing does."""
        where = job.request.destination
        if obstacle := _obstacle(job.point):
            return obstacle
        try:
            there = self._destination_backend(job)
        except KeyError:
            return f"Region {where.region} does not exist or is not enabled for account {where.account_id}."
        if where.account_id != self._backend.account_id and (refusal := self._foreign_refusal(job, there)):
            return refusal
        vault = there.vaults.get(where.name)
        if vault is None:
            return _no_vault(where)
        if (refusal := vault.why_not_retained(job.lifecycle.delete_after_days)) is not None:
            return f"Copy job failed. {refusal}"
        return self._role_refusal(job, there)

    def _role_refusal(self, job: CopyJob, there: "BackupBackend") -> str | None:
        source, target = job.point.vault, there.vaults[job.request.destination.name]
        needed = service_roles.copy_permissions(
            (source.backup_vault_arn, self._backend.access_policies.find(source.backup_vault_name)),
            (target.backup_vault_arn, there.access_policies.find(target.backup_vault_name)),
        )
        return service_roles.why_role_may_not(job.request.iam_role_arn, needed, self._backend.region_name)

    def _foreign_refusal(self, job: CopyJob, there: "BackupBackend") -> str | None:
        where, account_id = job.request.destination, self._backend.account_id
        if not self._backend.global_settings.cross_account_backup:
            return (
                f"Cross-account copy to {where.arn} is not enabled."
                " Set isCrossAccountBackupEnabled to true with UpdateGlobalSettings."
            )
        policy = there.access_policies.find(where.name)
        if policy is not None and grants(
            policy,
            COPY_INTO,
            role_arn=job.request.iam_role_arn,
            account_id=account_id,
            resource_arn=where.arn,
            region=where.region,
        ):
            return None
        return (
            f"Access Denied trying to call AWS Backup service: the access policy of {where.arn} does not let"
            f" account {account_id} do {COPY_INTO}."
        )


def _no_vault(where: VaultAddress) -> str:
    return f"Copy job failed because backup vault {where.arn} does not exist."


def _obstacle(point: RecoveryPoint) -> str | None:
    """Say what about a recovery point stands against a copy, None if nothing does."""
    if not point.advanced:
        return (
            f"Recovery point {point.arn} cannot be copied: it was made without the advanced features for"
            " DynamoDB. Turn them on with UpdateRegionSettings and back the table up again."
        )
    if point.cold_since is not None:
        return f"Recovery point {point.arn} cannot be copied: it is in cold storage."
    return None
