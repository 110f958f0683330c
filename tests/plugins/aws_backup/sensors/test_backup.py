from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import time_machine
from airflow.sdk import Context, PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    TaskDeferred,
)
from aws_backup.exceptions import (
    AwsEndpointUnreachableError,
    FinalBackupJobFailedError,
    FinalRecoveryPointUnusableError,
    FinalRestoreJobFailedError,
    JobNotFoundError,
    UnknownStateError,
)
from aws_backup.polling import MAX_TRANSIENT_ERRORS
from aws_backup.sensors.backup import (
    BackupBaseSensor,
    BackupJobSensor,
    BackupRecoveryPointSensor,
    BackupRestoreJobSensor,
)
from aws_backup.triggers.backup import (
    BackupJobCompletedTrigger,
    BackupRecoveryPointAvailableTrigger,
    BackupRestoreJobCompletedTrigger,
)

COMMON: dict[str, Any] = {"task_id": "wait", "aws_conn_id": None, "region_name": "us-east-1"}
POINT = {"backup_vault_name": "orders-vault", "recovery_point_arn": "point"}
SENSORS: list[tuple[type[BackupBaseSensor], dict[str, Any], str, str, type, dict[str, Any]]] = [
    (
        BackupJobSensor,
        {"backup_job_id": "job-1"},
        "DescribeBackupJob",
        "State",
        BackupJobCompletedTrigger,
        {"BackupJobId": "job-1"},
    ),
    (
        BackupRestoreJobSensor,
        {"restore_job_id": "restore-1"},
        "DescribeRestoreJob",
        "Status",
        BackupRestoreJobCompletedTrigger,
        {"RestoreJobId": "restore-1"},
    ),
    (
        BackupRecoveryPointSensor,
        POINT,
        "DescribeRecoveryPoint",
        "Status",
        BackupRecoveryPointAvailableTrigger,
        {"RecoveryPointArn": "point"},
    ),
]
each = pytest.mark.parametrize(
    ("cls", "arguments", "operation", "field", "trigger", "described"),
    SENSORS,
    ids=[sensor[0].__name__ for sensor in SENSORS],
)


def refuse_connection(params: dict[str, Any]) -> dict[str, Any]:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/")


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (BackupJobSensor, {"backup_job_id"}),
        (BackupRestoreJobSensor, {"restore_job_id"}),
        (BackupRecoveryPointSensor, {"backup_vault_name", "recovery_point_arn"}),
    ],
)
def test_template_fields(cls: type[BackupBaseSensor], fields: set[str]) -> None:
    assert set(cls.template_fields) == fields | {"aws_conn_id", "region_name", "verify"}
    annotations = {name for base in cls.__mro__ for name in getattr(base, "__init__").__code__.co_varnames}
    assert fields <= annotations


@each
class TestEverySensor:
    def test_it_is_done_when_the_state_is_good(
        self,
        fake: Any,
        context: Context,
        cls: Any,
        arguments: Any,
        operation: str,
        field: str,
        trigger: Any,
        described: Any,
    ) -> None:
        fake.script(operation, {**described, field: "RUNNING" if field == "State" else "CREATING"})
        sensor = cls(**arguments, **COMMON)
        if cls is BackupRestoreJobSensor:
            fake.script(operation, {**described, field: "PENDING"})
        assert sensor.poke(context) is False
        fake.script(operation, {**described, field: "COMPLETED", "CreationDate": fake.now})
        result = sensor.poke(context)
        assert isinstance(result, PokeReturnValue)
        assert bool(result) is True
        assert result.xcom_value["state"] == "COMPLETED"
        assert result.xcom_value["creation_date"] == fake.now.isoformat()

    def test_it_defers_while_in_progress(
        self,
        fake: Any,
        context: Context,
        cls: Any,
        arguments: Any,
        operation: str,
        field: str,
        trigger: Any,
        described: Any,
    ) -> None:
        state = {"BackupJobSensor": "RUNNING", "BackupRestoreJobSensor": "PENDING"}.get(
            cls.__name__, "CREATING"
        )
        fake.script(operation, {**described, field: state})
        sensor = cls(
            **arguments, **COMMON, deferrable=True, poke_interval=5, max_poke_interval=20, timeout=600
        )
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context)
        assert type(deferred.value.trigger) is trigger
        assert deferred.value.method_name == "execute_complete"
        assert deferred.value.timeout == dt.timedelta(seconds=600)
        serialised = deferred.value.trigger.serialize()[1]
        assert arguments.items() <= serialised.items()
        assert (serialised["waiter_delay"], serialised["waiter_max_delay"]) == (5, 20)
        assert serialised["waiter_max_attempts"] * 5 > 600
        assert serialised["region_name"] == "us-east-1"

    def test_what_is_done_already_needs_no_triggerer(
        self,
        fake: Any,
        context: Context,
        cls: Any,
        arguments: Any,
        operation: str,
        field: str,
        trigger: Any,
        described: Any,
    ) -> None:
        fake.script(operation, {**described, field: "COMPLETED"})
        summary = cls(**arguments, **COMMON, deferrable=True).execute(context)
        assert summary["state"] == "COMPLETED"

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_a_bad_end_fails_at_once_for_good(
        self,
        fake: Any,
        context: Context,
        cls: Any,
        arguments: Any,
        operation: str,
        field: str,
        trigger: Any,
        described: Any,
        deferrable: bool,
    ) -> None:
        state = "EXPIRED" if cls is BackupRecoveryPointSensor else "FAILED"
        fake.script(operation, {**described, field: state, "StatusMessage": "because"})
        with pytest.raises(AirflowFailException, match=f"is {state}. AWS says: because"):
            cls(**arguments, **COMMON, deferrable=deferrable).execute(context)
        assert fake.count(operation) == 1

    def test_an_unknown_state_fails_at_once(
        self,
        fake: Any,
        context: Context,
        cls: Any,
        arguments: Any,
        operation: str,
        field: str,
        trigger: Any,
        described: Any,
    ) -> None:
        fake.script(operation, {**described, field: "HIBERNATING"})
        with pytest.raises(UnknownStateError, match="HIBERNATING"):
            cls(**arguments, **COMMON).poke(context)

    def test_it_refuses_to_wait_for_nothing(
        self,
        fake: Any,
        context: Context,
        cls: Any,
        arguments: Any,
        operation: str,
        field: str,
        trigger: Any,
        described: Any,
    ) -> None:
        with pytest.raises(ValueError, match="nothing to wait for"):
            cls(**dict.fromkeys(arguments, ""), **COMMON).execute(context)
        assert fake.calls == []

    def test_it_links_to_the_console(
        self,
        fake: Any,
        context: Context,
        pushed: Callable[[], dict[str, Any]],
        cls: Any,
        arguments: Any,
        operation: str,
        field: str,
        trigger: Any,
        described: Any,
    ) -> None:
        fake.script(operation, {**described, field: "COMPLETED"})
        cls(**arguments, **COMMON).execute(context)
        (link,) = cls.operator_extra_links
        assert arguments.items() >= {
            key: value for key, value in pushed()[link.key].items() if key in arguments
        }.items()
        assert link.format_link(**pushed()[link.key]).startswith("https://console.aws.amazon.com/backup/")


@pytest.mark.parametrize(
    ("cls", "arguments", "name", "expected"),
    [
        (BackupJobSensor, {"backup_job_id": "j"}, "BackupJobFailedError", FinalBackupJobFailedError),
        (BackupRestoreJobSensor, {"restore_job_id": "j"}, "RestoreJobFailedError", FinalRestoreJobFailedError),
        (
            BackupRecoveryPointSensor,
            POINT,
            "RecoveryPointUnusableError",
            FinalRecoveryPointUnusableError,
        ),
    ],
)
def test_a_triggers_bad_end_fails_the_task_for_good(
    context: Context, cls: Any, arguments: Any, name: str, expected: type[Exception]
) -> None:
    fields = {"job_id": "j", "state": "FAILED", "status_message": "because"}
    event = {"status": "error", "message": "m", "error": {"name": name, "fields": fields}}
    with pytest.raises(expected, match="because"):
        cls(**arguments, **COMMON).execute_complete(context, event)


def test_a_triggers_success_is_the_tasks_value(context: Context) -> None:
    summary = {"job_id": "job-1", "state": "COMPLETED", "recovery_point_arn": "point"}
    event = {"status": "success", "backup_job_id": "job-1", "summary": summary}
    assert BackupJobSensor(backup_job_id="job-1", **COMMON).execute_complete(context, event) == summary


def test_a_missing_event_is_an_error(context: Context) -> None:
    with pytest.raises(AirflowException, match="event is None"):
        BackupJobSensor(backup_job_id="job-1", **COMMON).execute_complete(context, None)


def test_issues_of_a_completed_job_are_warned_of(fake: Any, context: Context) -> None:
    fake.script(
        "DescribeBackupJob",
        {
            "BackupJobId": "job-1",
            "State": "COMPLETED",
            "MessageCategory": "VSS_ERROR",
            "StatusMessage": "half a backup",
        },
    )
    sensor = BackupJobSensor(backup_job_id="job-1", **COMMON)
    with mock.patch.object(BackupJobSensor, "log", create=True) as log:
        sensor.poke(context)
    log.warning.assert_called_once_with("AWS reports issues (%s): %s", "VSS_ERROR", "half a backup")


# -- patience


def test_poking_tolerates_a_job_that_aws_has_yet_to_learn_of(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupJob", fake.not_found)
    sensor = BackupJobSensor(backup_job_id="job-1", **COMMON)
    with mock.patch("aws_backup.sensors.backup.time.monotonic", autospec=True) as monotonic:
        monotonic.return_value = 1000.0
        assert sensor.poke(context) is False
        monotonic.return_value = 1059.0
        assert sensor.poke(context) is False
        monotonic.return_value = 1061.0
        with pytest.raises(JobNotFoundError, match="job-1"):
            sensor.poke(context)


@pytest.mark.parametrize(("seconds", "tolerated"), [(None, True), (59, True), (61, False)])
def test_rescheduled_pokes_count_from_the_first(
    fake: Any, new_context: Callable[..., Context], seconds: int | None, tolerated: bool
) -> None:
    fake.script("DescribeBackupJob", fake.not_found)
    context = new_context()
    first = None if seconds is None else fake.now - dt.timedelta(seconds=seconds)
    context["ti"].get_first_reschedule_date.return_value = first  # type: ignore[attr-defined]
    sensor = BackupJobSensor(backup_job_id="job-1", mode="reschedule", **COMMON)
    with time_machine.travel(fake.now, tick=False):
        if tolerated:
            assert sensor.poke(context) is False
        else:
            with pytest.raises(JobNotFoundError):
                sensor.poke(context)


def test_poking_rides_out_hiccups_but_not_for_ever(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupJob", refuse_connection)
    sensor = BackupJobSensor(backup_job_id="job-1", **COMMON)
    for _ in range(MAX_TRANSIENT_ERRORS - 1):
        assert sensor.poke(context) is False
    with pytest.raises(AwsEndpointUnreachableError, match=r"127\.0\.0\.1:5566"):
        sensor.poke(context)


def test_an_answer_resets_the_patience(fake: Any, context: Context) -> None:
    sensor = BackupJobSensor(backup_job_id="job-1", **COMMON)
    for _ in range(3):
        fake.script("DescribeBackupJob", fake.error("ThrottlingException"))
        for _ in range(MAX_TRANSIENT_ERRORS - 1):
            assert sensor.poke(context) is False
        fake.script("DescribeBackupJob", {"State": "RUNNING"})
        assert sensor.poke(context) is False


def test_a_rescheduled_poke_that_reaches_nobody_is_left_to_the_retries(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupJob", refuse_connection)
    with pytest.raises(AwsEndpointUnreachableError):
        BackupJobSensor(backup_job_id="job-1", mode="reschedule", **COMMON).poke(context)


def test_poke_mode_waits_in_the_task(fake: Any, context: Context) -> None:
    job = {"BackupJobId": "job-1"}
    fake.script(
        "DescribeBackupJob",
        {**job, "State": "CREATED"},
        {**job, "State": "RUNNING"},
        {**job, "State": "COMPLETED"},
    )
    sensor = BackupJobSensor(backup_job_id="job-1", poke_interval=0, **COMMON)
    assert sensor.execute(context)["state"] == "COMPLETED"
    assert fake.count("DescribeBackupJob") == 3


def test_poke_mode_times_out(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupJob", {"State": "RUNNING"})
    with pytest.raises(AirflowSensorTimeout):
        BackupJobSensor(backup_job_id="job-1", poke_interval=0, timeout=0, **COMMON).execute(context)


def test_reschedule_mode_frees_the_worker(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupJob", {"State": "RUNNING"})
    sensor = BackupJobSensor(backup_job_id="job-1", mode="reschedule", poke_interval=60, **COMMON)
    with pytest.raises(AirflowRescheduleException):
        sensor.execute(context)


# -- on_kill


def test_on_kill_stops_the_job_if_asked_to(fake: Any, slept: list[float]) -> None:
    fake.backup_jobs["job-1"] = {"State": "RUNNING"}
    BackupJobSensor(backup_job_id="job-1", stop_job_on_kill=True, **COMMON).on_kill()
    assert fake.backup_jobs["job-1"]["State"] == "ABORTED"


def test_on_kill_leaves_the_job_alone_by_default(fake: Any) -> None:
    fake.backup_jobs["job-1"] = {"State": "RUNNING"}
    BackupJobSensor(backup_job_id="job-1", **COMMON).on_kill()
    assert fake.calls == []


@pytest.mark.parametrize("stop", [True, False])
def test_the_trigger_is_told_whether_to_stop_the_job(fake: Any, context: Context, stop: bool) -> None:
    fake.script("DescribeBackupJob", {"State": "RUNNING"})
    sensor = BackupJobSensor(backup_job_id="job-1", deferrable=True, stop_job_on_kill=stop, **COMMON)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    assert deferred.value.trigger.serialize()[1]["stop_job_on_kill"] is stop
