"""Backup jobs, from CREATED to their end.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartBackupJob.html.

What a recovery point holds: the table as it was when AWS Backup handed the request to DynamoDB. That is the
moment of StartBackupJob, unless another job has the table: then the moment that this one gets its turn.
`snapshot_skew_seconds` moves it back, inside of what AWS promises.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from local_aws import tables
from local_aws.access import service_roles
from local_aws.backup.changes import What
from local_aws.backup.exceptions import (
    InvalidRequestException,
)
from local_aws.backup.job_register import LISTED_FOR, JobRegister
from local_aws.backup.lifecycle import Lifecycle
from local_aws.backup.plan_rules import CopyAction, RuleCreator
from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.states import BACKUP_JOB_OVER, RESOURCE_TYPE, BackupJobState, RecoveryPointStatus
from local_aws.backup.vaults import Vault
from local_aws.clock import CLOCK
from local_aws.faults import FAULTS, Fault
from local_aws.settings import SETTINGS

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

DEFAULT_START_WINDOW: Final = timedelta(hours=8)
DEFAULT_COMPLETE_WINDOW: Final = timedelta(days=7)
RETRY_AFTER: Final = timedelta(minutes=10)
"""See `StartWindowMinutes` in https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupRule.html."""

PENDING_FROM: Final = 0.1
RUNNING_FROM: Final = 0.25
ABORT_TAKES: Final = 0.1
"""Shares of `job_seconds`: AWS publishes none, but a caller shall meet every state on the way."""

BLOCKED_MESSAGE: Final = "Backup job failed because there was a running job for the same resource."
TOO_LATE_MESSAGE: Final = "Backup job expired before completion."
STOPPED_MESSAGE: Final = "Backup job was stopped by user."


@dataclass(frozen=True)
class BackupRequest:
    """What StartBackupJob was asked for, or a rule asks for. Two equal requests with one token are one job.

    Attributes:
        created_by: The rule that asks; None: StartBackupJob.
        copy_actions: Copies that the rule wants of the recovery point once it is made.
    """

    vault_name: str
    resource_arn: str
    iam_role_arn: str
    start_window: timedelta
    complete_window: timedelta
    lifecycle: Lifecycle
    tags: Mapping[str, str]
    options: Mapping[str, str]
    created_by: RuleCreator | None = None
    copy_actions: tuple[CopyAction, ...] = ()


@dataclass(eq=False)
class BackupJob:
    """One backup job. `fault` is the bad end that was ordered for it, if any."""

    job_id: str
    sequence: int
    request: BackupRequest
    vault: Vault
    table_name: str
    advanced: bool
    recovery_point_arn: str
    created_at: datetime
    fault: Fault | None
    token: str | None = None
    state: BackupJobState = BackupJobState.CREATED
    status_message: str | None = None
    message_category: str | None = None
    turn_at: datetime | None = None
    expected_at: datetime | None = None
    ended_at: datetime | None = None
    snapshot: tables.TableSnapshot | None = field(default=None, repr=False)
    point: RecoveryPoint | None = field(default=None, repr=False)

    @property
    def start_by(self) -> datetime:
        return self.created_at + self.request.start_window

    @property
    def complete_by(self) -> datetime:
        # The API reference counts from the request for StartBackupJob, and from the start for a rule.
        by_rule = self.request.created_by is not None and self.turn_at is not None
        return (self.turn_at if by_rule and self.turn_at else self.created_at) + self.request.complete_window

    @property
    def over(self) -> bool:
        return self.state in BACKUP_JOB_OVER

    @property
    def shown_recovery_point_arn(self) -> str | None:
        """An advanced one is named from the start, a plain one when it is there."""
        if self.over:
            return self.recovery_point_arn if self.point is not None else None
        return self.recovery_point_arn if self.advanced else None

    def percent_done(self, now: datetime) -> str:
        if self.state is BackupJobState.COMPLETED:
            return "100.0"
        if self.state is not BackupJobState.RUNNING or self.turn_at is None or self.expected_at is None:
            return "0.0"
        whole = (self.expected_at - self.turn_at).total_seconds()
        done = (now - self.turn_at).total_seconds() / whole if whole else 0.0
        return f"{min(max(done, 0.0), 0.99) * 100:.1f}"

    def to_result(self, account_id: str) -> dict[str, Any]:
        """Return the members of DescribeBackupJob and ListBackupJobs."""
        size = self.point.size_bytes if self.point is not None else None
        return {
            "AccountId": account_id,
            "BackupJobId": self.job_id,
            "BackupVaultName": self.vault.backup_vault_name,
            "BackupVaultArn": self.vault.backup_vault_arn,
            "VaultType": "BACKUP_VAULT",
            "RecoveryPointArn": self.shown_recovery_point_arn,
            "RecoveryPointLifecycle": self.request.lifecycle.to_result() or None,
            "EncryptionKeyArn": self.vault.encryption_key_arn if self.advanced else None,
            "IsEncrypted": True,
            "ResourceArn": self.request.resource_arn,
            "ResourceName": self.table_name,
            "ResourceType": RESOURCE_TYPE,
            "CreationDate": self.created_at,
            "InitiationDate": self.created_at,
            "CompletionDate": self.ended_at,
            "ExpectedCompletionDate": self.expected_at,
            "StartBy": self.start_by,
            "State": str(self.state),
            "StatusMessage": self.status_message,
            "MessageCategory": self.message_category,
            "PercentDone": self.percent_done(CLOCK.now()),
            "BackupSizeInBytes": size,
            "BytesTransferred": size,
            "IamRoleArn": self.request.iam_role_arn,
            "BackupOptions": dict(self.request.options) or None,
            "CreatedBy": self.request.created_by.to_result() if self.request.created_by is not None else None,
            "IsParent": False,
        }


class BackupJobs(JobRegister[BackupJob]):
    """All backup jobs of one account and Region. One at a time per table; the others wait their turn."""

    KIND = "Backup job"

    def __init__(self, backend: "BackupBackend") -> None:
        super().__init__()
        self._backend = backend
        self._in_hand: dict[str, BackupJob] = {}
        self._waiting: dict[str, deque[BackupJob]] = {}

    def is_busy_with(self, resource_arn: str) -> bool:
        """Tell whether a job has begun to back a resource up and is not over."""
        return resource_arn in self._in_hand

    def start(self, request: BackupRequest, token: str | None) -> BackupJob:
        """Accept a backup job, or return the one that the same token started.

        AWS documents that a repeated token succeeds and does nothing, and leaves open what a token means that
        comes with another request. Here that is an error: a caller who meets it made two intentions look like
        one.

        Raises:
            ResourceNotFoundException: No such vault or table.
            InvalidRequestException: The Region has not opted in to DynamoDB.
            InvalidParameterValueException: Not a table of this account and Region, or a token used otherwise
                before.
        """
        if (earlier := self._started_by(token, request)) is not None:
            return earlier
        job = self._accept(request)
        if token is not None:
            self._by_token[token] = job
            job.token = token
        return job

    def stop(self, job_id: str) -> None:
        """Stop a job: it is ABORTING, and ABORTED soon after.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StopBackupJob.html.

        Raises:
            ResourceNotFoundException: No such job.
            InvalidRequestException: The job is over.
        """
        job = self.get(job_id)
        if job.over:
            raise InvalidRequestException(f"Backup job {job_id} cannot be stopped: it is {job.state}.")
        if job.state is BackupJobState.ABORTING:
            return
        self._abort(job, CLOCK.now(), STOPPED_MESSAGE)

    def _accept(self, request: BackupRequest) -> BackupJob:
        backend = self._backend
        vault = backend.describe_backup_vault(request.vault_name)
        table_name = backend.table_of(request.resource_arn)
        if not backend.region_settings.opted_in(RESOURCE_TYPE):
            raise InvalidRequestException(
                f"{RESOURCE_TYPE} is not opted in to AWS Backup in {backend.region_name}. Call UpdateRegionSettings."
            )
        return self._admit(request, vault, table_name)

    def start_by_rule(self, request: BackupRequest) -> BackupJob:
        """Start the job that a rule asks for: whatever is wrong fails the job, as nobody is there to be told."""
        vault = self._backend.vaults.get(request.vault_name)
        if vault is None:
            vault = Vault(request.vault_name, None, None, self._backend)  # the job names it, and fails for want of it
        return self._admit(request, vault, request.resource_arn.rpartition("/")[2])

    def _admit(self, request: BackupRequest, vault: Vault, table_name: str) -> BackupJob:
        backend, now = self._backend, CLOCK.now()
        advanced = backend.region_settings.fully_managed(RESOURCE_TYPE)
        job = BackupJob(
            job_id=backend.new_id(),
            sequence=backend.next_sequence(),
            request=request,
            vault=vault,
            table_name=table_name,
            advanced=advanced,
            recovery_point_arn=backend.new_recovery_point_arn(table_name, advanced=advanced, now=now),
            created_at=now,
            fault=FAULTS.take("StartBackupJob", table_name),
        )
        self._jobs[job.job_id] = job
        backend.changes.report(job, now, What.CREATED)
        if job.fault is not None and job.fault.end_state == BackupJobState.EXPIRED:
            # It never gets its turn; the window that it misses is as short as a job is long.
            message = job.fault.message
            self._at(job, 1.0, now, lambda at: self._end(job, BackupJobState.EXPIRED, at, message))
        else:
            backend.agenda.add(job.start_by, lambda at: self._expire_if_waiting(job, at))
            self._queue(job, now)
        return job

    def _queue(self, job: BackupJob, now: datetime) -> None:
        resource = job.request.resource_arn
        if resource in self._in_hand:
            self._waiting.setdefault(resource, deque()).append(job)
        else:
            self._give_turn(job, now)

    def _give_turn(self, job: BackupJob, at: datetime) -> None:
        try:
            if tables.table_state(self._backend.account_id, self._backend.region_name, job.table_name) != "ACTIVE":
                # DynamoDB backs up no table that is being restored; AWS Backup tries again within the start window.
                self._backend.agenda.add(at + RETRY_AFTER, lambda when: self._try_again(job, when))
                return
            job.snapshot = snapshot = tables.snapshot_table(
                self._backend.account_id,
                self._backend.region_name,
                job.table_name,
                now=CLOCK.now(),
                skew=timedelta(seconds=SETTINGS.snapshot_skew_seconds),
            )
        except tables.TableNotFound as error:
            self._end(job, BackupJobState.FAILED, at, str(error))
            return
        self._in_hand[job.request.resource_arn] = job
        job.turn_at = at
        job.expected_at = at + timedelta(seconds=SETTINGS.job_seconds)
        self._at(job, PENDING_FROM, at, lambda when: self._enter(job, BackupJobState.PENDING, when))
        self._at(job, RUNNING_FROM, at, lambda when: self._run(job, when))
        self._at(job, 1.0, at, lambda when: self._finish(job, when), snapshot=snapshot)
        self._backend.agenda.add(job.complete_by, lambda when: self._expire_if_late(job, when))

    def _try_again(self, job: BackupJob, at: datetime) -> None:
        if not job.over and job.state is not BackupJobState.ABORTING:
            self._queue(job, at)

    def _at(
        self,
        job: BackupJob,
        share: float,
        start: datetime,
        action: Any,
        *,
        snapshot: tables.TableSnapshot | None = None,
    ) -> None:
        def act(at: datetime) -> None:
            if not job.over and job.state is not BackupJobState.ABORTING:
                action(at)

        due = start + timedelta(seconds=SETTINGS.job_seconds * share)
        prepare = None if snapshot is None else lambda: snapshot.size_bytes
        self._backend.agenda.add(due, act, prepare=prepare)

    def _enter(self, job: BackupJob, state: BackupJobState, at: datetime) -> None:
        job.state = state
        self._backend.changes.report(job, at)

    def _run(self, job: BackupJob, at: datetime) -> None:
        vaults = self._backend.vaults
        if vaults.get(job.request.vault_name) is not job.vault:
            message = f"Backup job failed because backup vault {job.request.vault_name} does not exist."
            self._end(job, BackupJobState.FAILED, at, message)
            return
        if self._is_refused(job, at):
            return
        self._enter(job, BackupJobState.RUNNING, at)
        self._make_recovery_point(job, at)

    def _is_refused(self, job: BackupJob, at: datetime) -> bool:
        """End a job that the vault's lock or the rights of its role do not let go on."""
        request = job.request
        message, category = job.vault.why_not_retained(request.lifecycle.delete_after_days), "INVALIDPARAMETERS"
        if message is None:
            needed = service_roles.backup_permissions(request.resource_arn, advanced=job.advanced)
            message = service_roles.why_role_may_not(request.iam_role_arn, needed, self._backend.region_name)
            category = "AccessDenied"
        if message is not None:
            self._end(job, BackupJobState.FAILED, at, f"Backup job failed. {message}", category=category)
        return message is not None

    def _make_recovery_point(self, job: BackupJob, at: datetime) -> None:
        if job.snapshot is None or job.turn_at is None:
            raise RuntimeError(f"Backup job {job.job_id} runs without having had its turn.")
        backend = self._backend
        lifecycle = job.request.lifecycle
        if not job.advanced:
            # What cannot go to cold storage ignores that half of a lifecycle.
            lifecycle = Lifecycle(None, lifecycle.delete_after_days, lifecycle.archive_opt_in)
        job.point = RecoveryPoint(
            arn=job.recovery_point_arn,
            sequence=job.sequence,
            vault=job.vault,
            resource_arn=job.request.resource_arn,
            content=job.snapshot,
            iam_role_arn=job.request.iam_role_arn,
            advanced=job.advanced,
            lifecycle=lifecycle,
            created_at=job.turn_at,
            initiated_at=job.created_at,
            request_id=backend.new_id(),
            created_by=job.request.created_by,
        )
        backend.recovery_points.add(job.point)
        if job.advanced:
            backend.put_tags(job.point.arn, {**job.snapshot.tags, **job.request.tags})
        backend.changes.report(job.point, at, What.CREATED)

    def _finish(self, job: BackupJob, at: datetime) -> None:
        fault = job.fault
        if fault is None:
            self._end(job, BackupJobState.COMPLETED, at, None, category="SUCCESS")
        elif fault.end_state == BackupJobState.ABORTED:
            self._abort(job, at, fault.message)
        else:
            self._end(job, BackupJobState(fault.end_state), at, fault.message, category=fault.message_category)

    def _abort(self, job: BackupJob, at: datetime, message: str) -> None:
        self._enter(job, BackupJobState.ABORTING, at)
        due = at + timedelta(seconds=SETTINGS.job_seconds * ABORT_TAKES)
        self._backend.agenda.add(due, lambda when: self._end(job, BackupJobState.ABORTED, when, message))

    def _expire_if_waiting(self, job: BackupJob, at: datetime) -> None:
        if not job.over and job.turn_at is None:
            self._end(job, BackupJobState.EXPIRED, at, BLOCKED_MESSAGE)

    def _expire_if_late(self, job: BackupJob, at: datetime) -> None:
        if not job.over:
            self._end(job, BackupJobState.EXPIRED, at, TOO_LATE_MESSAGE)

    def _end(
        self,
        job: BackupJob,
        state: BackupJobState,
        at: datetime,
        message: str | None,
        *,
        category: str | None = None,
    ) -> None:
        if job.over:
            return
        job.state = state
        job.status_message = message
        job.message_category = category
        job.ended_at = at
        self._settle_recovery_point(job, at)
        job.snapshot = None
        self._backend.changes.report(job, at)
        self._backend.agenda.add(max(at, job.created_at + LISTED_FOR), lambda _at: self._forget(job))
        self._release(job, at)

    def _forget(self, job: BackupJob) -> None:
        # A year of hourly backups must not fill the memory with jobs that no list shows.
        self._jobs.pop(job.job_id, None)
        if job.token is not None:
            self._by_token.pop(job.token, None)

    def _settle_recovery_point(self, job: BackupJob, at: datetime) -> None:
        if job.point is None:
            return
        if job.state is BackupJobState.COMPLETED:
            job.point.complete(RecoveryPointStatus.COMPLETED, at, job.status_message)
        elif job.state is BackupJobState.PARTIAL:
            job.point.complete(RecoveryPointStatus.PARTIAL, at, job.status_message)
        else:
            self._backend.recovery_points.remove(job.point, at)
            job.point = None
            return
        self._backend.changes.report(job.point, at)

    def _release(self, job: BackupJob, at: datetime) -> None:
        resource = job.request.resource_arn
        waiting = self._waiting.get(resource, deque())
        if job in waiting:
            waiting.remove(job)
        if self._in_hand.get(resource) is not job:
            return
        del self._in_hand[resource]
        while waiting and resource not in self._in_hand:
            following = waiting.popleft()
            if not following.over and following.state is not BackupJobState.ABORTING:
                self._give_turn(following, at)
