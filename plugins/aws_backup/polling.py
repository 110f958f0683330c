"""How often AWS is asked, what its answer means, and when to give up: one rule for tasks and triggers.

Nothing here sleeps, reads a clock or calls AWS; the caller does, and hands over what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    WaiterError,
)
from botocore.parsers import ResponseParserError

from aws_backup.exceptions import (
    AwsBackupError,
    AwsCallFailedError,
    AwsEndpointUnreachableError,
    BackupJobFailedError,
    CopyJobFailedError,
    JobEndedBadlyError,
    JobNotFoundError,
    RecoveryPointNotDeletedError,
    RecoveryPointUnusableError,
    RestoreJobFailedError,
    UnknownStateError,
    WaitExhaustedError,
)
from aws_backup.states import Outcome, StateKind, classify

# AWS documents no read-after-write delay for AWS Backup, and no promise either: a describe right after a
# start may not find the job yet.
NOT_FOUND_GRACE_SECONDS: Final = 60.0

# Consecutive failures to get an answer at all, each after botocore's own retries.
MAX_TRANSIENT_ERRORS: Final = 8

BACKOFF_FACTOR: Final = 1.5

# https://docs.aws.amazon.com/aws-backup/latest/devguide/CommonErrors.html, and the modelled server faults.
TRANSIENT_ERROR_CODES: Final = frozenset(
    {
        "DependencyFailureException",
        "InternalFailure",
        "InternalServerError",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

# Credentials are among them because the metadata services that lend them have hiccups too.
TRANSIENT_EXCEPTIONS: Final = (
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    CredentialRetrievalError,
    ResponseParserError,
)

STATE_FIELDS: Final[Mapping[StateKind, str]] = {
    StateKind.BACKUP_JOB: "State",
    StateKind.RESTORE_JOB: "Status",
    StateKind.COPY_JOB: "State",
    StateKind.RECOVERY_POINT: "Status",
    StateKind.RECOVERY_POINT_DELETION: "Status",
}

BAD_END_ERRORS: Final[Mapping[StateKind, type[JobEndedBadlyError]]] = {
    StateKind.BACKUP_JOB: BackupJobFailedError,
    StateKind.RESTORE_JOB: RestoreJobFailedError,
    StateKind.COPY_JOB: CopyJobFailedError,
    StateKind.RECOVERY_POINT: RecoveryPointUnusableError,
    StateKind.RECOVERY_POINT_DELETION: RecoveryPointNotDeletedError,
}


@dataclass(frozen=True)
class PollPlan:
    """How to poll: the delay starts small, grows by half each time, and stays at its ceiling.

    :param delay: seconds before the second poll.
    :param max_delay: seconds between polls at most; below ``delay`` it means ``delay`` throughout.
    :param max_attempts: polls that may find it still in progress.
    """

    delay: float
    max_delay: float
    max_attempts: int

    def delay_after(self, attempt: int) -> float:
        """Seconds to wait after the given poll (the first is 1)."""
        ceiling = max(self.delay, self.max_delay)
        # Beyond 64 steps every plan has reached its ceiling, while the power would overflow a float.
        return min(ceiling, self.delay * BACKOFF_FACTOR ** min(attempt - 1, 64))

    def total_seconds(self) -> float:
        """Seconds that all polls of the plan take, with room for those that got no answer."""
        polls = self.max_attempts + MAX_TRANSIENT_ERRORS
        return sum(self.delay_after(attempt) for attempt in range(1, polls + 1))


def error_code(error: ClientError) -> str:
    """Return the error code of a ClientError, or an empty text."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may well succeed a little later."""
    if isinstance(error, ClientError):
        return _is_transient_answer(error.response)
    return isinstance(error, TRANSIENT_EXCEPTIONS)


def unreachable(error: BotoCoreError) -> AwsEndpointUnreachableError:
    """Make one clear line of a connection error."""
    # botocore names the whole request's URL; what is wrong is the host or the port.
    url = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url") or ""))
    address = f"{url.scheme}://{url.netloc}" if url.netloc else "the configured endpoint"
    # The message of EndpointConnectionError only repeats the address.
    detail = "" if isinstance(error, EndpointConnectionError) else str(error)
    return AwsEndpointUnreachableError(address=address, detail=detail)


def _is_transient_answer(response: Mapping[str, Any]) -> bool:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or response.get("Error", {}).get("Code") in TRANSIENT_ERROR_CODES


def bad_end(kind: StateKind, subject: str, state: str, status_message: str | None) -> JobEndedBadlyError:
    """Make the named error for a bad end state."""
    return BAD_END_ERRORS[kind](job_id=subject, state=state, status_message=status_message)


class Poller:
    """Judges the answers to one wait, poll by poll.

    :param kind: what is waited for.
    :param subject: job id or ARN, for messages.
    :param plan: how often to ask.
    :param lingering: failure states that are a left-over of before, and tolerated during the grace period.
    :param waited: seconds waited before the first poll that this object sees.
    """

    def __init__(
        self,
        kind: StateKind,
        subject: str,
        plan: PollPlan,
        *,
        lingering: frozenset[str] = frozenset(),
        waited: float = 0.0,
    ) -> None:
        self.kind = kind
        self.subject = subject
        self.plan = plan
        self.lingering = lingering
        self.attempts = 0
        self.transient_errors = 0
        self.waited = waited
        self.last_state: str | None = None

    def after(self, error: BotoCoreError | ClientError) -> float:
        """Judge a poll that did not end in success.

        :param error: what the waiter, or the describe call, raised.
        :return: seconds until the next poll.
        :raises AwsBackupError: the named reason to stop waiting.
        """
        if isinstance(error, WaiterError):
            return self._after_answer(error.last_response)
        if isinstance(error, ClientError):
            return self._after_answer(error.response)
        if isinstance(error, TRANSIENT_EXCEPTIONS):
            return self._after_no_answer(unreachable(error))
        raise AwsCallFailedError(
            kind=self.kind.value, job_id=self.subject, code=type(error).__name__, detail=str(error)
        ) from error

    def _after_answer(self, response: Mapping[str, Any]) -> float:
        if "Error" not in response:
            self.judge(response)
            return self._next_delay()
        code = str(response["Error"].get("Code", ""))
        detail = str(response["Error"].get("Message", ""))
        if _is_transient_answer(response):
            return self._after_no_answer(
                AwsCallFailedError(kind=self.kind.value, job_id=self.subject, code=code, detail=detail)
            )
        if code == "ResourceNotFoundException":
            return self._after_not_found()
        raise AwsCallFailedError(kind=self.kind.value, job_id=self.subject, code=code, detail=detail)

    def still(self, state: str) -> float:
        """Take note of a poll that found it in progress, where the caller has judged the answer.

        :param state: what it was found in, for messages.
        :return: seconds until the next poll.
        :raises WaitExhaustedError: it was the last poll allowed.
        """
        self.last_state = state
        self.transient_errors = 0
        return self._next_delay()

    def judge(self, response: Mapping[str, Any]) -> str:
        """Judge a describe call's answer.

        :return: its state, which is a success or in progress.
        :raises AwsBackupError: for a bad end, or a state that nobody knows.
        """
        described = response.get("CopyJob", response) if self.kind is StateKind.COPY_JOB else response
        state = described.get(STATE_FIELDS[self.kind])
        self.last_state = state
        self.transient_errors = 0
        try:
            outcome = classify(self.kind, state)
        except UnknownStateError as unknown:
            raise UnknownStateError(
                kind=unknown.kind, state=unknown.state, known=unknown.known, subject=self.subject
            ) from None
        if outcome is Outcome.FAILURE and not self._still_lingering(str(state)):
            raise bad_end(self.kind, self.subject, str(state), described.get("StatusMessage"))
        return str(state)

    def _still_lingering(self, state: str) -> bool:
        return state in self.lingering and self.waited < NOT_FOUND_GRACE_SECONDS

    def _after_not_found(self) -> float:
        # Unknown after it was known once is no lag: the record is gone.
        if self.last_state is not None or self.waited >= NOT_FOUND_GRACE_SECONDS:
            raise JobNotFoundError(kind=self.kind.value, job_id=self.subject)
        self.transient_errors = 0
        return self._next_delay()

    def _after_no_answer(self, error: AwsBackupError) -> float:
        self.transient_errors += 1
        if self.transient_errors >= MAX_TRANSIENT_ERRORS:
            raise error
        return self._slept(self.plan.delay_after(self.transient_errors))

    def _next_delay(self) -> float:
        self.attempts += 1
        if self.attempts >= self.plan.max_attempts:
            raise WaitExhaustedError(
                kind=self.kind.value, job_id=self.subject, state=self.last_state, attempts=self.attempts
            )
        return self._slept(self.plan.delay_after(self.attempts))

    def _slept(self, seconds: float) -> float:
        self.waited += seconds
        return seconds
