from __future__ import annotations

import asyncio
import importlib
import json
import threading
from typing import Any
from unittest import mock

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.utils.state import TaskInstanceState

from aws_backup.exceptions import BackupJobFailedError, error_from_event
from aws_backup.hooks.backup import BackupHook
from aws_backup.triggers import backup as module
from aws_backup.triggers.backup import (
    BackupBaseWaiterTrigger,
    BackupJobCompletedTrigger,
    BackupRecoveryPointAvailableTrigger,
    BackupRecoveryPointDeletedTrigger,
    BackupRestoreJobCompletedTrigger,
)

WAITING: dict[str, Any] = {
    "waiter_delay": 0.5,
    "waiter_max_delay": 7.5,
    "waiter_max_attempts": 11,
    "aws_conn_id": "other",
    "region_name": "eu-west-1",
    "verify": False,
    "botocore_config": {"read_timeout": 7},
}
POINT = {"backup_vault_name": "orders-vault", "recovery_point_arn": "point"}
TRIGGERS: list[tuple[type[BackupBaseWaiterTrigger], dict[str, Any]]] = [
    (BackupJobCompletedTrigger, {"backup_job_id": "job-1", "stop_job_on_kill": True}),
    (BackupRestoreJobCompletedTrigger, {"restore_job_id": "restore-1"}),
    (BackupRecoveryPointAvailableTrigger, POINT),
    (BackupRecoveryPointDeletedTrigger, {**POINT, "was_expired": True}),
]
FAST: dict[str, Any] = {"waiter_delay": 0, "waiter_max_delay": 0, "aws_conn_id": None}


def run(trigger: BackupBaseWaiterTrigger) -> dict[str, Any]:
    """Run a trigger to its one event."""

    async def collect() -> list[Any]:
        return [event async for event in trigger.run()]

    events = asyncio.run(collect())
    assert len(events) == 1
    payload = events[0].payload
    # What the triggerer sends has to be JSON.
    assert json.loads(json.dumps(payload)) == payload
    return dict(payload)


@pytest.mark.parametrize(("cls", "arguments"), TRIGGERS, ids=[cls.__name__ for cls, _ in TRIGGERS])
class TestSerialisation:
    def test_a_trigger_is_made_again_from_what_it_serialises(
        self, cls: type[BackupBaseWaiterTrigger], arguments: dict[str, Any]
    ) -> None:
        trigger = cls(**arguments, **WAITING)
        path, serialised = trigger.serialize()
        assert serialised == {**arguments, **WAITING}
        module_name, _, class_name = path.rpartition(".")
        again = getattr(importlib.import_module(module_name), class_name)(**json.loads(json.dumps(serialised)))
        assert again.serialize() == (path, serialised)
        assert (again.target, again.plan) == (trigger.target, trigger.plan)

    def test_defaults_survive_too(self, cls: type[BackupBaseWaiterTrigger], arguments: dict[str, Any]) -> None:
        trigger = cls(**arguments)
        again = cls(**trigger.serialize()[1])
        assert again.serialize() == trigger.serialize()
        assert again.plan == trigger.plan

    def test_the_hook_gets_the_connection(self, cls: type[BackupBaseWaiterTrigger], arguments: dict[str, Any]) -> None:
        hook = cls(**arguments, **WAITING).hook()
        assert isinstance(hook, BackupHook)
        assert (hook.aws_conn_id, hook._region_name, hook._verify) == ("other", "eu-west-1", False)

    def test_the_waiter_exists(self, cls: type[BackupBaseWaiterTrigger], arguments: dict[str, Any]) -> None:
        trigger = cls(**arguments, aws_conn_id=None)
        assert trigger.waiter_name in trigger.hook()._list_custom_waiters()


def test_a_completed_backup_job_is_told_with_its_summary(fake: Any) -> None:
    job = {"BackupJobId": "job-1", "CreationDate": fake.now, "CompletionDate": fake.now}
    fake.script(
        "DescribeBackupJob",
        {**job, "State": "RUNNING"},
        {**job, "State": "COMPLETED", "RecoveryPointArn": fake.point_arn, "BackupSizeInBytes": 5},
    )
    event = run(BackupJobCompletedTrigger(backup_job_id="job-1", **FAST))
    assert (event["status"], event["backup_job_id"]) == ("success", "job-1")
    assert event["summary"]["recovery_point_arn"] == fake.point_arn
    assert event["summary"]["size_bytes"] == 5
    assert event["summary"]["completion_date"] == fake.now.isoformat()


def test_a_completed_restore_job_is_told_with_what_it_made(fake: Any) -> None:
    fake.script(
        "DescribeRestoreJob",
        {"RestoreJobId": "restore-1", "Status": "COMPLETED", "CreatedResourceArn": "made"},
    )
    event = run(BackupRestoreJobCompletedTrigger(restore_job_id="restore-1", **FAST))
    assert event["summary"]["created_resource_arn"] == "made"


def test_a_usable_recovery_point_is_told(fake: Any) -> None:
    fake.script("DescribeRecoveryPoint", {"RecoveryPointArn": "point", "Status": "AVAILABLE"})
    event = run(BackupRecoveryPointAvailableTrigger(**POINT, **FAST))
    assert event["summary"]["state"] == "AVAILABLE"


def test_a_deleted_recovery_point_is_told(fake: Any) -> None:
    fake.script("DescribeRecoveryPoint", fake.not_found)
    event = run(BackupRecoveryPointDeletedTrigger(**POINT, **FAST))
    assert event == {
        "status": "success",
        "recovery_point_arn": "point",
        "summary": {"recovery_point_arn": "point", "state": "DELETED"},
    }


@pytest.mark.parametrize("state", ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"])
def test_a_bad_end_is_an_event_that_makes_the_named_error_again(fake: Any, state: str) -> None:
    fake.script("DescribeBackupJob", {"State": state, "StatusMessage": "because"})
    event = run(BackupJobCompletedTrigger(backup_job_id="job-1", **FAST))
    assert event["status"] == "error"
    error = error_from_event(event)
    assert isinstance(error, BackupJobFailedError)
    assert (error.job_id, error.state, error.status_message) == ("job-1", state, "because")
    assert event["message"] == str(error)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"State": "HIBERNATING"}, "UnknownStateError"),
        ("unreachable", "AwsEndpointUnreachableError"),
        ("throttled", "AwsCallFailedError"),
        ("denied", "AwsCallFailedError"),
    ],
)
def test_whatever_ends_the_wait_is_one_event_and_no_stack_trace(fake: Any, answer: Any, name: str) -> None:
    def refuse_connection(params: dict[str, Any]) -> dict[str, Any]:
        raise fake.unreachable

    answers = {
        "unreachable": refuse_connection,
        "throttled": fake.error("ThrottlingException"),
        "denied": fake.error("AccessDeniedException", "no", 403),
    }
    fake.script("DescribeBackupJob", answers.get(answer, answer) if isinstance(answer, str) else answer)
    event = run(BackupJobCompletedTrigger(backup_job_id="job-1", **FAST))
    assert (event["status"], event["error"]["name"]) == ("error", name)


def test_the_last_allowed_poll_is_an_event(fake: Any) -> None:
    fake.script("DescribeBackupJob", {"State": "RUNNING"})
    event = run(BackupJobCompletedTrigger(backup_job_id="job-1", waiter_max_attempts=3, **FAST))
    assert event["error"]["name"] == "WaitExhaustedError"
    assert fake.count("DescribeBackupJob") == 3


# -- on_kill


def task_instance(map_index: int = -1) -> mock.Mock:
    return mock.Mock(
        spec=["dag_id", "run_id", "task_id", "map_index"],
        dag_id="orders",
        run_id="manual__1",
        task_id="wait",
        map_index=map_index,
    )


def killed(trigger: BackupBaseWaiterTrigger, states: Any, *, map_index: int = -1) -> mock.Mock:
    """Call on_kill as the triggerer does, with Airflow answering these states."""
    trigger.task_instance = task_instance(map_index)
    with (
        mock.patch.object(RuntimeTaskInstance, "get_task_states", autospec=True) as get_task_states,
        mock.patch("aws_backup.stopping.asyncio.sleep", autospec=True),
    ):
        get_task_states.side_effect = states if isinstance(states, Exception) else None
        get_task_states.return_value = states
        asyncio.run(trigger.on_kill())
    return get_task_states


@pytest.fixture
def running(fake: Any) -> Any:
    fake.backup_jobs["job-1"] = {"BackupJobId": "job-1", "State": "RUNNING"}
    return fake


@pytest.fixture
def trigger() -> BackupJobCompletedTrigger:
    return BackupJobCompletedTrigger(backup_job_id="job-1", stop_job_on_kill=True, aws_conn_id=None)


@pytest.mark.parametrize(
    ("states", "stopped"),
    [
        pytest.param({"manual__1": {"wait": "failed"}}, True, id="marked failed"),
        pytest.param({"manual__1": {"wait": TaskInstanceState.FAILED}}, True, id="as an enum"),
        pytest.param({"manual__1": {"wait": "skipped"}}, True, id="run failed or timed out"),
        pytest.param({"manual__1": {"wait": "removed"}}, True, id="removed"),
        pytest.param({"manual__1": {"wait": "upstream_failed"}}, True, id="upstream failed"),
        pytest.param({}, True, id="run deleted"),
        pytest.param({"manual__1": {}}, True, id="task instance deleted"),
        pytest.param({"manual__1": {"wait": "deferred"}}, False, id="another triggerer took over"),
        pytest.param({"manual__1": {"wait": None}}, False, id="cleared"),
        pytest.param({"manual__1": {"wait": "scheduled"}}, False, id="cleared and scheduled"),
        pytest.param({"manual__1": {"wait": "running"}}, False, id="cleared and running"),
        pytest.param({"manual__1": {"wait": "up_for_retry"}}, False, id="to be retried"),
        pytest.param({"manual__1": {"wait": "success"}}, False, id="marked success"),
        pytest.param(RuntimeError("no API server"), False, id="state can't be learned"),
    ],
)
def test_the_job_is_stopped_only_when_the_task_was_given_up(
    running: Any, trigger: BackupJobCompletedTrigger, states: Any, stopped: bool
) -> None:
    killed(trigger, states)
    assert running.count("StopBackupJob") == (1 if stopped else 0)
    assert running.backup_jobs["job-1"]["State"] == ("ABORTED" if stopped else "RUNNING")


def test_the_state_asked_for_is_the_tasks_own(running: Any, trigger: BackupJobCompletedTrigger) -> None:
    # Airflow names a mapped task instance by task id and index.
    asked = killed(trigger, {"manual__1": {"wait_3": "failed", "wait": "deferred"}}, map_index=3)
    asked.assert_called_once_with(dag_id="orders", task_ids=["wait"], run_ids=["manual__1"], map_index=3)
    assert running.count("StopBackupJob") == 1


def test_nothing_is_stopped_unless_asked_to(running: Any) -> None:
    trigger = BackupJobCompletedTrigger(backup_job_id="job-1", aws_conn_id=None)
    asked = killed(trigger, {"manual__1": {"wait": "failed"}})
    asked.assert_not_called()
    assert running.calls == []


def test_a_trigger_without_a_task_stops_nothing(running: Any, trigger: BackupJobCompletedTrigger) -> None:
    asyncio.run(trigger.on_kill())
    assert running.calls == []


def test_leaving_the_triggerer_stops_nothing(running: Any, trigger: BackupJobCompletedTrigger) -> None:
    # The triggerer calls cleanup at every exit, also at its own restart.
    asyncio.run(trigger.cleanup())
    assert running.calls == []


def test_the_job_is_stopped_although_the_triggerer_cancels_again(
    running: Any, trigger: BackupJobCompletedTrigger
) -> None:
    answer = threading.Event()

    def failed_after_a_while(**_: Any) -> dict[str, Any]:
        answer.wait(timeout=10)
        return {"manual__1": {"wait": "failed"}}

    async def cancel_amid_on_kill() -> None:
        kill = asyncio.create_task(trigger.on_kill())
        await asyncio.sleep(0)
        kill.cancel()
        with pytest.raises(asyncio.CancelledError):
            await kill
        assert running.count("StopBackupJob") == 0
        answer.set()
        await asyncio.gather(*module._STOPPING)

    trigger.task_instance = task_instance()
    with mock.patch.object(RuntimeTaskInstance, "get_task_states", side_effect=failed_after_a_while):
        asyncio.run(cancel_amid_on_kill())
    assert running.count("StopBackupJob") == 1
    assert not module._STOPPING


def test_what_goes_wrong_in_stopping_is_logged(running: Any, trigger: BackupJobCompletedTrigger) -> None:
    with (
        mock.patch.object(BackupHook, "get_async_client", autospec=True, side_effect=RuntimeError("no")),
        mock.patch.object(BackupJobCompletedTrigger, "log", create=True) as log,
    ):
        killed(trigger, {"manual__1": {"wait": "failed"}})
    assert "could not be stopped" in log.exception.call_args.args[0]
    assert running.calls == []


def test_cancelling_the_wait_stops_nothing(running: Any, trigger: BackupJobCompletedTrigger) -> None:
    async def cancel_while_waiting() -> None:
        task = asyncio.create_task(anext(trigger.run()))  # type: ignore[arg-type]
        while running.count("DescribeBackupJob") == 0:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_while_waiting())
    assert running.count("StopBackupJob") == 0


def test_a_restore_is_said_to_go_on(fake: Any) -> None:
    trigger = BackupRestoreJobCompletedTrigger(restore_job_id="restore-1", aws_conn_id=None)
    with mock.patch.object(module.BackupRestoreJobCompletedTrigger, "log", create=True) as log:
        asyncio.run(trigger.on_kill())
    message, job_id = log.warning.call_args.args
    assert "no call to stop a restore" in message
    assert job_id == "restore-1"
    assert fake.calls == []
