from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
    WaiterError,
)
from hypothesis import given
from hypothesis import strategies as st

from aws_backup.exceptions import (
    AwsBackupError,
    AwsCallFailedError,
    AwsEndpointUnreachableError,
    BackupJobFailedError,
    JobNotFoundError,
    RecoveryPointNotDeletedError,
    UnknownStateError,
    WaitExhaustedError,
)
from aws_backup.polling import MAX_TRANSIENT_ERRORS, Poller, PollPlan, is_transient
from aws_backup.states import StateKind

PLAN = PollPlan(delay=2, max_delay=10, max_attempts=1000)


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "DescribeBackupJob",
    )


def answered(**response: Any) -> WaiterError:
    return WaiterError(name="w", reason="r", last_response=cast("Any", response))


def poller(plan: PollPlan = PLAN, **options: Any) -> Poller:
    return Poller(StateKind.BACKUP_JOB, "job-1", plan, **options)


def test_the_delay_grows_by_half_up_to_its_ceiling() -> None:
    judge = poller()
    assert [judge.after(answered(State="RUNNING")) for _ in range(6)] == [2, 3, 4.5, 6.75, 10, 10]


@given(delay=st.floats(0, 600), ceiling=st.floats(0, 3600), attempt=st.integers(1, 5000))
def test_a_delay_is_never_below_the_first_nor_above_the_ceiling(delay: float, ceiling: float, attempt: int) -> None:
    plan = PollPlan(delay, ceiling, 10)
    assert delay <= plan.delay_after(attempt) <= max(delay, ceiling)
    assert plan.delay_after(attempt) <= plan.delay_after(attempt + 1)


def test_total_seconds_covers_every_poll() -> None:
    plan = PollPlan(delay=2, max_delay=10, max_attempts=4)
    assert plan.total_seconds() >= 2 + 3 + 4.5 + 6.75


def test_the_last_allowed_poll_ends_the_wait() -> None:
    judge = poller(PollPlan(1, 1, 3))
    judge.after(answered(State="CREATED"))
    judge.after(answered(State="RUNNING"))
    with pytest.raises(WaitExhaustedError, match="still RUNNING at poll 3"):
        judge.after(answered(State="RUNNING"))


@pytest.mark.parametrize("state", ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"])
def test_a_bad_end_is_told_at_once_with_aws_message(state: str) -> None:
    with pytest.raises(BackupJobFailedError, match=f"job-1 is {state}. AWS says: because"):
        poller().after(answered(State=state, StatusMessage="because"))


@pytest.mark.parametrize("response", [{"State": "HIBERNATING"}, {}])
def test_an_unknown_state_ends_the_wait_and_names_the_job(response: dict[str, str]) -> None:
    with pytest.raises(UnknownStateError, match="for backup job job-1"):
        poller().after(answered(**response))


def test_not_found_is_tolerated_for_the_first_minute_only() -> None:
    judge = poller(PollPlan(delay=10, max_delay=10, max_attempts=1000))
    missing = client_error("ResourceNotFoundException")
    assert [judge.after(missing) for _ in range(6)] == [10] * 6
    with pytest.raises(JobNotFoundError, match="backup job job-1"):
        judge.after(missing)


def test_not_found_after_a_state_was_seen_is_no_lag() -> None:
    judge = poller()
    judge.after(answered(State="RUNNING"))
    with pytest.raises(JobNotFoundError):
        judge.after(client_error("ResourceNotFoundException"))


def test_time_waited_elsewhere_counts() -> None:
    with pytest.raises(JobNotFoundError):
        poller(waited=61).after(client_error("ResourceNotFoundException"))


TRANSIENT: list[Any] = [
    EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/"),
    ReadTimeoutError(endpoint_url="http://127.0.0.1:5566/"),
    ConnectTimeoutError(endpoint_url="http://127.0.0.1:5566/"),
    NoCredentialsError(),
    client_error("ThrottlingException"),
    client_error("ServiceUnavailableException", 500),
    client_error("SomethingNew", 503),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__ + str(error)[:60])
def test_what_gets_no_answer_is_retried_but_not_for_ever(error: Any) -> None:
    judge = poller()
    assert is_transient(error)
    delays = [judge.after(error) for _ in range(MAX_TRANSIENT_ERRORS - 1)]
    assert delays == sorted(delays)
    assert judge.attempts == 0
    with pytest.raises((AwsEndpointUnreachableError, AwsCallFailedError)):
        judge.after(error)


def test_an_answer_in_between_resets_the_patience() -> None:
    judge = poller()
    for _ in range(3):
        for _ in range(MAX_TRANSIENT_ERRORS - 1):
            judge.after(TRANSIENT[0])
        judge.after(answered(State="RUNNING"))
    assert judge.attempts == 3


def test_an_unreachable_endpoint_is_named() -> None:
    judge = poller()
    judge.transient_errors = MAX_TRANSIENT_ERRORS - 1
    with pytest.raises(AwsEndpointUnreachableError, match=r"answers at http://127\.0\.0\.1:5566\. Start"):
        judge.after(EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/backup-jobs/job-1"))


@pytest.mark.parametrize(
    "error",
    [client_error("AccessDeniedException", 403), client_error("InvalidParameterValueException")],
)
def test_a_refusal_ends_the_wait_at_once(error: ClientError) -> None:
    assert not is_transient(error)
    with pytest.raises(AwsCallFailedError, match=error.response["Error"]["Code"]):
        poller().after(error)


def test_a_wrong_request_ends_the_wait_at_once() -> None:
    with pytest.raises(AwsCallFailedError, match="ParamValidationError"):
        poller().after(ParamValidationError(report="BackupJobId"))


def test_the_waiters_error_answer_is_judged_like_the_clients() -> None:
    refused = answered(Error={"Code": "AccessDeniedException", "Message": "no"}, ResponseMetadata={})
    with pytest.raises(AwsCallFailedError, match="AccessDeniedException: no"):
        poller().after(refused)


def test_a_state_of_before_is_tolerated_at_first() -> None:
    judge = Poller(
        StateKind.RECOVERY_POINT_DELETION,
        "arn",
        PollPlan(20, 20, 100),
        lingering=frozenset({"EXPIRED"}),
    )
    assert [judge.after(answered(Status="EXPIRED")) for _ in range(3)] == [20, 20, 20]
    with pytest.raises(RecoveryPointNotDeletedError, match="lacks rights"):
        judge.after(answered(Status="EXPIRED"))


def test_a_copy_jobs_state_is_read_where_aws_puts_it() -> None:
    judge = Poller(StateKind.COPY_JOB, "copy-1", PLAN)
    assert judge.after(answered(CopyJob={"State": "RUNNING"})) == 2
    with pytest.raises(AwsBackupError, match=r"copy-1 is FAILED\. AWS says: no"):
        judge.after(answered(CopyJob={"State": "FAILED", "StatusMessage": "no"}))
