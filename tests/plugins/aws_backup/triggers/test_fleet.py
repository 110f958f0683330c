from __future__ import annotations

import asyncio
import importlib
import json
from typing import Any
from unittest import mock

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from aws_backup.exceptions import WaitExhaustedError, error_from_event
from aws_backup.triggers.fleet import BackupJobsCompletedTrigger

WAITING: dict[str, Any] = {
    "created_after": "2026-01-01T00:00:00+00:00",
    "stop_jobs_on_kill": True,
    "waiter_delay": 0.5,
    "waiter_max_delay": 7.5,
    "waiter_max_attempts": 11,
    "aws_conn_id": "other",
    "region_name": "eu-west-1",
    "verify": False,
    "botocore_config": {"read_timeout": 7},
}
FAST: dict[str, Any] = {"waiter_delay": 0, "waiter_max_delay": 0, "aws_conn_id": None}


@pytest.fixture
def slept() -> Any:
    """The delays that were asked for, none of which is slept."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    with mock.patch("aws_backup.triggers.fleet.asyncio.sleep", sleep):
        yield delays


def run(trigger: BackupJobsCompletedTrigger) -> dict[str, Any]:
    async def collect() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(collect())
    assert json.loads(json.dumps(event.payload)) == event.payload
    return dict(event.payload)


def jobs(fake: Any, number: int, state: str = "RUNNING") -> list[str]:
    ids = [f"job-{n}" for n in range(number)]
    fake.backup_jobs.update({name: {"BackupJobId": name, "State": state} for name in ids})
    return ids


def test_it_is_made_again_from_what_it_serialises():
    trigger = BackupJobsCompletedTrigger(backup_job_ids=["a", "b"], **WAITING)
    path, fields = trigger.serialize()
    assert fields == {"backup_job_ids": ["a", "b"], **WAITING}
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(fields)))
    assert again.serialize() == (path, fields)
    hook = again.hook()
    assert (hook.aws_conn_id, hook._region_name, hook._verify) == ("other", "eu-west-1", False)


def test_calls_of_a_round_grow_with_pages_and_not_with_jobs(fake):
    ids = jobs(fake, 2500, "COMPLETED")
    assert run(BackupJobsCompletedTrigger(backup_job_ids=ids, **FAST)) == {"status": "success", "ended": 2500}
    assert [request["MaxResults"] for request in fake.requests("ListBackupJobs")] == [1000] * 3
    assert fake.count("DescribeBackupJob") == 0


def test_jobs_from_before_are_not_listed(fake):
    ids = jobs(fake, 1, "COMPLETED")
    run(BackupJobsCompletedTrigger(backup_job_ids=ids, created_after="2026-01-01T00:00:00+00:00", **FAST))
    assert fake.requests("ListBackupJobs")[0]["ByCreatedAfter"].isoformat() == "2026-01-01T00:00:00+00:00"


def test_it_waits_for_the_last_one_and_bad_ends_fail_nobody_else(fake, slept):
    ids = jobs(fake, 3)

    def round_of(*states: str) -> dict[str, Any]:
        return {"BackupJobs": [{"BackupJobId": name, "State": state} for name, state in zip(ids, states, strict=True)]}

    fake.script(
        "ListBackupJobs",
        round_of("RUNNING", "CREATED", "RUNNING"),
        round_of("FAILED", "RUNNING", "COMPLETED"),
        round_of("FAILED", "EXPIRED", "COMPLETED"),
    )
    trigger = BackupJobsCompletedTrigger(backup_job_ids=ids, waiter_delay=10, waiter_max_delay=12, aws_conn_id=None)
    assert run(trigger) == {"status": "success", "ended": 3}
    assert slept == [10, 12]


def test_throttling_and_lost_connections_are_waited_out(fake, slept):
    ids = jobs(fake, 1, "COMPLETED")
    done = {"BackupJobs": list(fake.backup_jobs.values())}
    fake.script("ListBackupJobs", fake.error("ThrottlingException"), fake.unreachable, done)
    assert run(BackupJobsCompletedTrigger(backup_job_ids=ids, **FAST))["status"] == "success"
    assert len(slept) == 2


def test_a_refusal_is_told_at_once(fake):
    fake.script("ListBackupJobs", fake.error("AccessDeniedException", status=403))
    event = run(BackupJobsCompletedTrigger(backup_job_ids=["a"], **FAST))
    assert event["status"] == "error"
    assert "AccessDeniedException" in str(error_from_event(event))


def test_a_job_that_stays_unlisted_is_asked_for_by_name_and_then_given_up(fake, slept):
    jobs(fake, 1)
    fake.script("ListBackupJobs", {"BackupJobs": []})
    fake.script("DescribeBackupJob", {"BackupJobId": "job-0", "State": "RUNNING"}, fake.not_found)
    trigger = BackupJobsCompletedTrigger(
        backup_job_ids=["job-0"], waiter_delay=30, waiter_max_delay=30, aws_conn_id=None
    )
    assert run(trigger) == {"status": "success", "ended": 1}
    # Two polls of lag are forgiven; then it is known; then it is gone.
    assert (fake.count("ListBackupJobs"), fake.count("DescribeBackupJob")) == (4, 2)


def test_it_ends_when_the_last_poll_allowed_is_used_up(fake, slept):
    ids = jobs(fake, 2)
    event = run(BackupJobsCompletedTrigger(backup_job_ids=ids, waiter_max_attempts=3, **FAST))
    error = error_from_event(event)
    assert isinstance(error, WaitExhaustedError)
    assert "2 of 2 in progress" in str(error)


@pytest.mark.parametrize(
    ("state", "asked", "stopped"),
    [("failed", True, ["job-0", "job-1"]), ("failed", False, []), ("deferred", True, []), (None, True, [])],
    ids=["given up", "not asked to", "another triggerer", "cleared"],
)
def test_jobs_are_stopped_only_when_the_task_was_given_up(fake, state: str | None, asked: bool, stopped: list[str]):
    jobs(fake, 2)
    trigger = BackupJobsCompletedTrigger(backup_job_ids=["job-0", "job-1"], stop_jobs_on_kill=asked, aws_conn_id=None)
    trigger.task_instance = mock.Mock(
        spec=["dag_id", "run_id", "task_id", "map_index"], dag_id="d", run_id="r", task_id="wait", map_index=-1
    )
    with mock.patch.object(RuntimeTaskInstance, "get_task_states", autospec=True) as states:
        states.return_value = {"r": {"wait": state}}
        asyncio.run(trigger.on_kill())
    assert [request["BackupJobId"] for request in fake.requests("StopBackupJob")] == stopped


def test_a_job_that_can_not_be_stopped_does_not_keep_the_others_running(fake):
    jobs(fake, 2)
    fake.script("StopBackupJob", fake.error("InvalidRequestException"), {})
    trigger = BackupJobsCompletedTrigger(backup_job_ids=["job-0", "job-1"], stop_jobs_on_kill=True, aws_conn_id=None)
    trigger.task_instance = mock.Mock(
        spec=["dag_id", "run_id", "task_id", "map_index"], dag_id="d", run_id="r", task_id="wait", map_index=-1
    )
    with mock.patch.object(RuntimeTaskInstance, "get_task_states", autospec=True) as states:
        states.return_value = {"r": {"wait": "failed"}}
        asyncio.run(trigger.on_kill())
    assert fake.count("StopBackupJob") == 2
