from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from aws_backup.exceptions import (
    AwsEndpointUnreachableError,
    BackupJobFailedError,
    JobNotFoundError,
    RecoveryPointNotDeletedError,
    RestoreJobFailedError,
    UnknownStateError,
)
from aws_backup.hooks.backup import BackupHook
from aws_backup.polling import MAX_TRANSIENT_ERRORS, PollPlan
from aws_backup.waiting import WaitTarget, wait, wait_async

PLAN = PollPlan(delay=2, max_delay=10, max_attempts=50)
JOB = {"BackupJobId": "job-1", "RecoveryPointArn": "point"}


def refuse_connection(params: dict[str, Any]) -> dict[str, Any]:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/")


@pytest.fixture(params=["task", "trigger"])
def run(request: pytest.FixtureRequest, hook: BackupHook) -> Any:
    """Run either loop; returns the answer and the delays that were asked for."""

    def in_task(target: WaitTarget, plan: PollPlan = PLAN) -> tuple[dict[str, Any], list[float]]:
        delays: list[float] = []
        return wait(hook, target, plan, sleep=delays.append), delays

    def in_trigger(target: WaitTarget, plan: PollPlan = PLAN) -> tuple[dict[str, Any], list[float]]:
        delays: list[float] = []

        async def sleep(seconds: float) -> None:
            delays.append(seconds)

        return asyncio.run(wait_async(hook, target, plan, sleep=sleep)), delays

    return in_task if request.param == "task" else in_trigger


def test_it_waits_through_the_states_and_returns_the_last_answer(fake: Any, run: Any) -> None:
    states = ["CREATED", "PENDING", "RUNNING", "COMPLETED"]
    fake.script("DescribeBackupJob", *({**JOB, "State": state} for state in states))
    job, delays = run(WaitTarget.backup_job("job-1"))
    assert job["State"] == "COMPLETED"
    assert job["RecoveryPointArn"] == "point"
    assert delays == [2, 3, 4.5]
    assert fake.requests("DescribeBackupJob")[0] == {"BackupJobId": "job-1"}


def test_a_bad_end_stops_at_once(fake: Any, run: Any) -> None:
    fake.script("DescribeRestoreJob", {"Status": "RUNNING"}, {"Status": "FAILED", "StatusMessage": "no such role"})
    with pytest.raises(RestoreJobFailedError, match=r"restore-1 is FAILED\. AWS says: no such role"):
        run(WaitTarget.restore_job("restore-1"))
    assert fake.count("DescribeRestoreJob") == 2


def test_an_unknown_state_stops_at_once(fake: Any, run: Any) -> None:
    fake.script("DescribeBackupJob", {"State": "HIBERNATING"})
    with pytest.raises(UnknownStateError, match="HIBERNATING"):
        run(WaitTarget.backup_job("job-1"))
    assert fake.count("DescribeBackupJob") == 1


def test_hiccups_are_ridden_out(fake: Any, run: Any) -> None:
    fake.script(
        "DescribeBackupJob",
        fake.not_found,
        fake.error("ThrottlingException"),
        refuse_connection,
        {**JOB, "State": "RUNNING"},
        fake.error("ServiceUnavailableException", "later", 503),
        {**JOB, "State": "COMPLETED"},
    )
    job, _ = run(WaitTarget.backup_job("job-1"))
    assert job["State"] == "COMPLETED"


def test_nobody_there_ends_in_one_line(fake: Any, run: Any) -> None:
    fake.script("DescribeBackupJob", refuse_connection)
    with pytest.raises(AwsEndpointUnreachableError, match="No AWS service answers"):
        run(WaitTarget.backup_job("job-1"))
    assert fake.count("DescribeBackupJob") == MAX_TRANSIENT_ERRORS


def test_a_job_that_aws_never_learns_of_ends_the_wait(fake: Any, run: Any) -> None:
    fake.script("DescribeBackupJob", fake.not_found)
    with pytest.raises(JobNotFoundError, match="job-1"):
        run(WaitTarget.backup_job("job-1"))


def test_a_recovery_point_that_is_gone_is_deleted(fake: Any, run: Any) -> None:
    fake.script("DescribeRecoveryPoint", {"Status": "COMPLETED"}, {"Status": "DELETING"}, fake.not_found)
    answer, delays = run(WaitTarget.recovery_point_deletion("orders-vault", "point"))
    assert answer == {}
    assert len(delays) == 2
    assert fake.requests("DescribeRecoveryPoint")[0] == {
        "BackupVaultName": "orders-vault",
        "RecoveryPointArn": "point",
    }


def test_a_deletion_that_aws_gave_up_is_named(fake: Any, run: Any) -> None:
    fake.script("DescribeRecoveryPoint", {"Status": "DELETING"}, {"Status": "EXPIRED"})
    with pytest.raises(RecoveryPointNotDeletedError, match="lacks rights"):
        run(WaitTarget.recovery_point_deletion("orders-vault", "point"))


def test_an_expired_recovery_point_may_stay_so_for_a_moment(fake: Any, run: Any) -> None:
    fake.script("DescribeRecoveryPoint", {"Status": "EXPIRED"}, {"Status": "EXPIRED"}, fake.not_found)
    run(WaitTarget.recovery_point_deletion("orders-vault", "point", was_expired=True))
    assert fake.count("DescribeRecoveryPoint") == 3


def test_a_usable_recovery_point_is_returned(fake: Any, run: Any) -> None:
    fake.script("DescribeRecoveryPoint", {"Status": "CREATING"}, {"Status": "AVAILABLE", "ResourceArn": "t"})
    point, _ = run(WaitTarget.recovery_point("orders-vault", "point"))
    assert point["ResourceArn"] == "t"


def test_a_hiccup_of_the_last_describe_is_ridden_out(fake: Any, run: Any) -> None:
    # The waiter sees the success; the describe that fetches the answer is a call of its own.
    fake.script(
        "DescribeBackupJob",
        {**JOB, "State": "COMPLETED"},
        fake.error("ThrottlingException"),
        {**JOB, "State": "COMPLETED"},
    )
    job, delays = run(WaitTarget.backup_job("job-1"))
    assert job["State"] == "COMPLETED"
    assert len(delays) == 1


def test_failed_is_told_with_the_backup_jobs_error(fake: Any, run: Any) -> None:
    fake.script("DescribeBackupJob", {"State": "EXPIRED", "StatusMessage": "another job"})
    with pytest.raises(BackupJobFailedError) as caught:
        run(WaitTarget.backup_job("job-1"))
    assert (caught.value.job_id, caught.value.state, caught.value.status_message) == (
        "job-1",
        "EXPIRED",
        "another job",
    )
