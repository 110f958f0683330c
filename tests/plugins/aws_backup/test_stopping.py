from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest import mock

import pytest

from aws_backup import stopping
from aws_backup.hooks.backup import BackupHook
from aws_backup.stopping import WATCH_POLLS, stop_backup_job, stop_backup_job_async


@pytest.fixture(params=["task", "trigger"])
def stop(request: pytest.FixtureRequest, hook: BackupHook) -> Any:
    def in_task() -> str | None:
        return stop_backup_job(hook.conn, "job-1", sleep=lambda seconds: None)

    def in_trigger() -> str | None:
        async def sleep(seconds: float) -> None:
            assert seconds == stopping.WATCH_DELAY_SECONDS

        async def run() -> str | None:
            async with await hook.get_async_client() as client:
                return await stop_backup_job_async(client, "job-1", sleep=sleep)

        return asyncio.run(run())

    return in_task if request.param == "task" else in_trigger


@pytest.fixture
def logged() -> Any:
    """The messages that the module logged."""
    with mock.patch.object(stopping, "log", spec=logging.Logger) as log:
        yield lambda: [(name, call_args[0] % tuple(call_args[1:])) for name, call_args, _ in log.method_calls]


def test_it_watches_until_the_job_has_ended(fake: Any, stop: Any, logged: Any) -> None:
    fake.script("StopBackupJob", {})
    fake.script("DescribeBackupJob", {"State": "RUNNING"}, {"State": "ABORTING"}, {"State": "ABORTED"})
    assert stop() == "ABORTED"
    assert fake.requests("StopBackupJob") == [{"BackupJobId": "job-1"}]
    assert logged() == [
        ("info", "Asked AWS to stop backup job job-1."),
        ("info", "Backup job job-1 ended ABORTED."),
    ]


def test_a_job_that_completes_all_the_same_is_said(fake: Any, stop: Any, logged: Any) -> None:
    fake.script("StopBackupJob", {})
    fake.script("DescribeBackupJob", {"State": "RUNNING"}, {"State": "COMPLETED"})
    assert stop() == "COMPLETED"
    assert logged()[-1] == (
        "warning",
        "Backup job job-1 completed all the same; its recovery point stays.",
    )


def test_it_does_not_watch_for_ever(fake: Any, stop: Any, logged: Any) -> None:
    fake.script("StopBackupJob", {})
    fake.script("DescribeBackupJob", {"State": "RUNNING"})
    assert stop() == "RUNNING"
    assert fake.count("DescribeBackupJob") == WATCH_POLLS
    assert logged()[-1] == ("warning", "Backup job job-1 is still RUNNING; AWS may yet complete it.")


@pytest.mark.parametrize("code", ["InvalidRequestException", "ResourceNotFoundException", "AccessDenied"])
def test_a_refusal_is_logged_and_does_not_raise(fake: Any, stop: Any, logged: Any, code: str) -> None:
    fake.script("StopBackupJob", fake.error(code, "job is over"))
    assert stop() is None
    level, message = logged()[-1]
    assert level == "warning"
    assert code in message
    assert "job is over" in message


def test_an_unknown_state_ends_the_watch(fake: Any, stop: Any, logged: Any) -> None:
    fake.script("StopBackupJob", {})
    fake.script("DescribeBackupJob", {"State": "HIBERNATING"})
    assert stop() == "HIBERNATING"
    assert "unknown state" in logged()[-1][1]


def test_the_watch_ends_before_the_triggerers_patience() -> None:
    assert WATCH_POLLS * stopping.WATCH_DELAY_SECONDS < 30
