"""Named errors; each message names the thing concerned, AWS's own words, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from airflow.sdk.exceptions import AirflowException, AirflowFailException

JOB_REMEDIES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("backup job", "EXPIRED"): (
            "It was not started within its start window, most often because another backup or copy job of "
            "the same resource was running. Let that job end, widen the start window if needed, and clear "
            "the task that starts the job."
        ),
        ("backup job", "FAILED"): (
            "Check that the role exists, trusts backup.amazonaws.com and may back the resource up, and that "
            "resource and vault exist and the retention fits the vault's lock; then clear the task that "
            "starts the job."
        ),
        ("backup job", "ABORTED"): (
            "Someone stopped it (console, CLI, or an Airflow task that was killed). Clear the task that "
            "starts the job to make a new one."
        ),
        ("backup job", "PARTIAL"): (
            "Its recovery point lacks nested resources, so it proves nothing. Look at its child jobs, then "
            "clear the task that starts the job."
        ),
        ("restore job", "FAILED"): (
            "Check that the role may restore, that the recovery point still exists and that the target name "
            "is free; drop a half-made target, then clear the task that starts the restore."
        ),
        ("restore job", "ABORTED"): (
            "AWS gave the restore up. Drop a half-made target, then clear the task that starts the restore."
        ),
        ("recovery point", "PARTIAL"): "Nested resources are missing in it: take a new backup.",
        ("recovery point", "DELETING"): "It is being deleted: choose another recovery point.",
        ("recovery point", "EXPIRED"): (
            "Its retention is over, or its deletion failed for want of rights: choose another recovery point."
        ),
        (
            "recovery point",
            "STOPPED",
        ): "Its continuous backup was interrupted: choose another recovery point.",
        ("deletion of recovery point", "EXPIRED"): (
            "AWS accepted the deletion and could not do it: the role recorded with the recovery point lacks "
            "rights (for DynamoDB dynamodb:DeleteBackup; sometimes iam:CreateServiceLinkedRole). It goes on "
            "costing money. Grant the rights and delete it again."
        ),
    }
)


def _rebuild(cls: type[AwsBackupError], fields: dict[str, Any]) -> AwsBackupError:
    return cls(**fields)


def error_from_event(event: Mapping[str, Any]) -> AwsBackupError:
    """Make the named error again that a trigger put into its event."""
    error = event.get("error") or {}
    cls = globals().get(str(error.get("name")))
    if isinstance(cls, type) and issubclass(cls, AwsBackupError):
        return cls(**error["fields"])
    return AwsBackupError(str(event.get("message", event)))


class AwsBackupError(AirflowException):
    """Root of this package's errors; keeps the keyword arguments it was made of, so that it pickles."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields or {"message": message}

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the keyword arguments, since the message alone would not fit the constructor."""
        return _rebuild, (type(self), self.fields)

    def to_dict(self) -> dict[str, Any]:
        """Write the error as plain JSON values, for a trigger's event."""
        fields = {key: list(value) if isinstance(value, tuple) else value for key, value in self.fields.items()}
        return {"name": type(self).__name__, "fields": fields}


class UnknownStateError(AwsBackupError):
    """AWS reported a state that this package does not know."""

    def __init__(self, *, kind: str, state: str | None, known: Sequence[str], subject: str = "") -> None:
        named = f"{kind} {subject}".strip()
        super().__init__(
            f"AWS reports the unknown state {state!r} for {named} (known: {', '.join(known)}). Look at it in "
            "the AWS Backup console; the table of states needs this one added.",
            kind=kind,
            state=state,
            known=tuple(known),
            subject=subject,
        )
        self.kind = kind
        self.state = state
        self.known = tuple(known)
        self.subject = subject


class JobEndedBadlyError(AwsBackupError):
    """A job, or a recovery point, came to an end that is no success."""

    kind = "job"

    def __init__(self, *, job_id: str, state: str, status_message: str | None = None) -> None:
        remedy = JOB_REMEDIES.get((self.kind, state), "Look at it in the AWS Backup console.")
        says = f"AWS says: {status_message}" if status_message else "AWS gives no reason."
        super().__init__(
            f"The {self.kind} {job_id} is {state}. {says} {remedy}",
            job_id=job_id,
            state=state,
            status_message=status_message,
        )
        self.job_id = job_id
        self.state = state
        self.status_message = status_message


class BackupJobFailedError(JobEndedBadlyError):
    """A backup job ended FAILED, ABORTED, EXPIRED or PARTIAL."""

    kind = "backup job"


class RestoreJobFailedError(JobEndedBadlyError):
    """A restore job ended FAILED or ABORTED."""

    kind = "restore job"


class CopyJobFailedError(JobEndedBadlyError):
    """A copy job ended FAILED, ABORTED or PARTIAL."""

    kind = "copy job"


class RecoveryPointUnusableError(JobEndedBadlyError):
    """A recovery point is in a state that it can't be restored from."""

    kind = "recovery point"


class RecoveryPointNotDeletedError(JobEndedBadlyError):
    """AWS answered the deletion with success and did not do it."""

    kind = "deletion of recovery point"


class BackupJobsFailedError(AwsBackupError, AirflowFailException):
    """Of many backup jobs that were waited for, some did not end well."""

    def __init__(self, *, failures: Sequence[str], total: int) -> None:
        named = "; ".join(failures[:20]) + (f"; and {len(failures) - 20} more" if len(failures) > 20 else "")
        super().__init__(
            f"{len(failures)} of {total} backup jobs did not end well: {named}. The log names AWS's reason for each.",
            failures=tuple(failures),
            total=total,
        )
        self.failures = tuple(failures)
        self.total = total


class FinalBackupJobFailedError(BackupJobFailedError, AirflowFailException):
    """As its parent, for one who only waits: the job's end will not change, so the task is not retried."""


class FinalRestoreJobFailedError(RestoreJobFailedError, AirflowFailException):
    """As its parent, for one who only waits: the job's end will not change, so the task is not retried."""


class FinalRecoveryPointUnusableError(RecoveryPointUnusableError, AirflowFailException):
    """As its parent, for one who only waits: the state will not change, so the task is not retried."""


class JobNotFoundError(AwsBackupError):
    """AWS does not know the job or recovery point, and had time enough to learn of it."""

    def __init__(self, *, kind: str, job_id: str) -> None:
        super().__init__(
            f"AWS does not know the {kind} {job_id}. Check the id, the region and the account of the "
            "connection; AWS keeps job records for 30 days only.",
            kind=kind,
            job_id=job_id,
        )
        self.kind = kind
        self.job_id = job_id


class WaitExhaustedError(AwsBackupError):
    """The last allowed poll still found it in progress."""

    def __init__(self, *, kind: str, job_id: str, state: str | None, attempts: int) -> None:
        super().__init__(
            f"The {kind} {job_id} was still {state} at poll {attempts}, the last one allowed. It goes on at "
            "AWS; allow more polls or longer delays, and clear the task to wait on.",
            kind=kind,
            job_id=job_id,
            state=state,
            attempts=attempts,
        )
        self.kind = kind
        self.job_id = job_id
        self.state = state
        self.attempts = attempts


class AwsCallFailedError(AwsBackupError):
    """AWS refused a call that polls, for a reason that waiting does not cure."""

    def __init__(self, *, kind: str, job_id: str, code: str, detail: str) -> None:
        super().__init__(
            f"AWS refused to describe the {kind} {job_id}: {code}: {detail}",
            kind=kind,
            job_id=job_id,
            code=code,
            detail=detail,
        )
        self.kind = kind
        self.job_id = job_id
        self.code = code
        self.detail = detail


class AwsEndpointUnreachableError(AwsBackupError):
    """Nothing answers at the address of the AWS service."""

    def __init__(self, *, address: str, detail: str = "") -> None:
        local = not address.rstrip("/").endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
        remedy = (
            "Start the local AWS with `python -m local_aws` (or `make run`), or correct the connection's endpoint_url."
            if local
            else "Check the network, and region and credentials of the connection."
        )
        super().__init__(
            f"No AWS service answers at {address}. {remedy}{f' ({detail})' if detail else ''}",
            address=address,
            detail=detail,
        )
        self.address = address
        self.detail = detail


class RecoveryPointProtectedError(AwsBackupError):
    """AWS refuses to delete a recovery point: policy, vault lock, legal hold or an action under way."""

    def __init__(self, *, recovery_point_arn: str, vault: str, code: str, detail: str) -> None:
        super().__init__(
            f"AWS refuses to delete recovery point {recovery_point_arn} in vault {vault}: {code}: {detail} "
            "It is protected (IAM or vault policy, vault lock, legal hold) or in use; it stays.",
            recovery_point_arn=recovery_point_arn,
            vault=vault,
            code=code,
            detail=detail,
        )
        self.recovery_point_arn = recovery_point_arn
        self.vault = vault
        self.code = code
        self.detail = detail


class RecoveryPointNotOursError(AwsBackupError, AirflowFailException):
    """A recovery point does not carry what the guard asks for, so it is not touched."""

    def __init__(self, *, recovery_point_arn: str, reason: str) -> None:
        super().__init__(
            f"Refused to delete recovery point {recovery_point_arn}: {reason}. It stays.",
            recovery_point_arn=recovery_point_arn,
            reason=reason,
        )
        self.recovery_point_arn = recovery_point_arn
        self.reason = reason


class VaultExistsError(AwsBackupError):
    """The vault is there already, and the task may not take it as it is."""

    def __init__(self, *, vault: str, reason: str) -> None:
        super().__init__(f"Backup vault {vault} exists already: {reason}.", vault=vault, reason=reason)
        self.vault = vault
        self.reason = reason


class VaultNotDeletedError(AwsBackupError):
    """AWS refuses to delete a vault, most often because it still holds recovery points."""

    def __init__(self, *, vault: str, detail: str) -> None:
        super().__init__(
            f"AWS refuses to delete backup vault {vault}: {detail} Delete its recovery points first; their "
            "deletion is asynchronous, so a later retry may succeed.",
            vault=vault,
            detail=detail,
        )
        self.vault = vault
        self.detail = detail


class RestoreTargetExistsError(AwsBackupError):
    """The table that a restore is to make exists already; a restore never overwrites."""

    def __init__(self, *, table: str, job_id: str | None = None, reason: str) -> None:
        super().__init__(
            f"Table {table} exists already, and nothing was restored: {reason}.",
            table=table,
            job_id=job_id,
            reason=reason,
        )
        self.table = table
        self.job_id = job_id
        self.reason = reason

    @property
    def ours(self) -> bool:
        """Whether this task's own record names the restore that made the table, which it may replace."""
        return self.job_id is not None


class IntentConflictError(AwsBackupError):
    """Two attempts of one task wrote its intent record at the same time."""

    def __init__(self, *, key: str, detail: str) -> None:
        super().__init__(
            f"The intent record {key} was changed by another attempt of this task: {detail}. The task can be "
            "retried; it will find what the other one started.",
            key=key,
            detail=detail,
        )
        self.key = key
        self.detail = detail


class IntentRecordError(AwsBackupError):
    """An intent record can't be read."""

    def __init__(self, *, key: str, detail: str) -> None:
        super().__init__(
            f"The intent record {key} can't be read: {detail}. If it was damaged, look for running jobs of "
            "the resource, then delete the record.",
            key=key,
            detail=detail,
        )
        self.key = key
        self.detail = detail


def final(error: AwsBackupError) -> AwsBackupError:
    """Return the error in the form that forbids a retry, where it has one."""
    cls = FINAL_FORMS.get(type(error))
    return error if cls is None else cls(**error.fields)


FINAL_FORMS: Final[Mapping[type[AwsBackupError], type[AwsBackupError]]] = MappingProxyType(
    {
        BackupJobFailedError: FinalBackupJobFailedError,
        RestoreJobFailedError: FinalRestoreJobFailedError,
        RecoveryPointUnusableError: FinalRecoveryPointUnusableError,
    }
)
