from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple
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
from botocore.exceptions import EndpointConnectionError

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


class Case(NamedTuple):
    """A sensor, and how AWS answers it."""

    cls: Any
    arguments: dict[str, str]
    operation: str
    field: str
    in_progress: str
    bad: str
    trigger: type
    described: dict[str, str]


CASES = [
    Case(
        cls=BackupJobSensor,
        arguments={"backup_job_id": "job-1"},
        operation="DescribeBackupJob",
        field="State",
        in_progress="ABORTING",
        bad="ABORTED",
        trigger=BackupJobCompletedTrigger,
        described={"BackupJobId": "job-1"},
    ),
    Case(
        cls=BackupRestoreJobSensor,
        arguments={"restore_job_id": "restore-1"},
        operation="DescribeRestoreJob",
        field="Status",
        in_progress="PENDING",
        bad="FAILED",
        trigger=BackupRestoreJobCompletedTrigger,
        described={"RestoreJobId": "restore-1"},
    ),
    Case(
        cls=BackupRecoveryPointSensor,
        arguments=POINT,
        operation="DescribeRecoveryPoint",
        field="Status",
        in_progress="CREATING",
        bad="EXPIRED",
        trigger=BackupRecoveryPointAvailableTrigger,
        described={"RecoveryPointArn": "point"},
    ),
]


def refuse_connection(params: dict[str, Any]) -> dict[str, Any]:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/")


@pytest.mark.parametrize("case", CASES, ids=[case.cls.__name__ for case in CASES])
class TestEverySensor:
    def test_template_fields(self, case: Case) -> None:
        fields = {*case.arguments, "aws_conn_id", "region_name", "verify"}
        assert set(case.cls.template_fields) == fields
        sensor = case.cls(**case.arguments, **COMMON)
        assert {field: getattr(sensor, field) for field in case.arguments} == case.arguments

    def test_it_is_done_when_the_state_is_good(self, fake: Any, context: Context, case: Case) -> None:
        sensor = case.cls(**case.arguments, **COMMON)
        fake.script(case.operation, {**case.described, case.field: case.in_progress})
        assert sensor.poke(context) is False
        fake.script(case.operation, {**case.described, case.field: "COMPLETED", "CreationDate": fake.now})
        result = sensor.poke(context)
        assert isinstance(result, PokeReturnValue)
        assert bool(result) is True
        assert result.xcom_value["state"] == "COMPLETED"
        assert result.xcom_value["creation_date"] == fake.now.isoformat()

    def test_it_defers_while_in_progress(self, fake: Any, context: Context, case: Case) -> None:
        fake.script(case.operation, {**case.described, case.field: case.in_progress})
        sensor = case.cls(
            **case.arguments, **COMMON, deferrable=True, poke_interval=5, max_poke_interval=20, timeout=600
        )
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context)
        assert type(deferred.value.trigger) is case.trigger
        assert deferred.value.method_name == "execute_complete"
        assert deferred.value.timeout == dt.timedelta(seconds=600)
        serialised = deferred.value.trigger.serialize()[1]
        assert case.arguments.items() <= serialised.items()
        assert (serialised["waiter_delay"], serialised["waiter_max_delay"]) == (5, 20)
        assert serialised["waiter_max_attempts"] * 5 > 600
        assert serialised["region_name"] == "us-east-1"

    def test_what_is_done_already_needs_no_triggerer(self, fake: Any, context: Context, case: Case) -> None:
        fake.script(case.operation, {**case.described, case.field: "COMPLETED"})
        summary = case.cls(**case.arguments, **COMMON, deferrable=True).execute(context)
        assert summary["state"] == "COMPLETED"

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_a_bad_end_fails_at_once_for_good(self, fake: Any, context: Context, case: Case, deferrable: bool) -> None:
        fake.script(case.operation, {**case.described, case.field: case.bad, "StatusMessage": "because"})
        with pytest.raises(AirflowFailException, match=f"is {case.bad}. AWS says: because"):
            case.cls(**case.arguments, **COMMON, deferrable=deferrable).execute(context)
        assert fake.count(case.operation) == 1

    def test_an_unknown_state_fails_at_once(self, fake: Any, context: Context, case: Case) -> None:
        fake.script(case.operation, {**case.described, case.field: "HIBERNATING"})
        with pytest.raises(UnknownStateError, match="HIBERNATING"):
            case.cls(**case.arguments, **COMMON).poke(context)

    def test_it_refuses_to_wait_for_nothing(self, fake: Any, context: Context, case: Case) -> None:
        with pytest.raises(ValueError, match="nothing to wait for"):
            case.cls(**dict.fromkeys(case.arguments, ""), **COMMON).execute(context)
        assert fake.calls == []

    def test_it_links_to_the_console(
        self, fake: Any, context: Context, pushed: Callable[[], dict[str, Any]], case: Case
    ) -> None:
        fake.script(case.operation, {**case.described, case.field: "COMPLETED"})
        case.cls(**case.arguments, **COMMON).execute(context)
        (link,) = case.cls.operator_extra_links
        assert case.arguments.items() <= pushed()[link.key].items()
        address = link.format_link(**pushed()[link.key])
        assert address.startswith("https://console.aws.amazon.com/backup/home?region=us-east-1#/")


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
