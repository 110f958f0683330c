from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import MemoryIntentStore
from backup_flows import fleet_jobs
from backup_flows.fleet import FleetTable
from backup_flows.fleet_jobs import FleetRun, FleetStarter, Pace, ends_by_table
from local_aws import control

pytestmark = pytest.mark.component


class Time:
    """A clock that stands still but for sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def test_starts_are_paced(time: Time):
    pace = Pace(4, clock=time.clock, sleep=time.sleep)
    for _ in range(9):
        pace.wait_turn()
    assert time.now == pytest.approx(2.0)


def test_time_that_passed_by_itself_counts(time: Time):
    pace = Pace(4, clock=time.clock, sleep=time.sleep)
    for _ in range(5):
        pace.wait_turn()
        time.now += 1.0
    assert time.slept == []


def test_pauses_grow_with_jitter_and_have_an_end(time: Time):
    pace = Pace(1, clock=time.clock, sleep=time.sleep, draw=lambda: 1.0)
    for attempt in range(1, 9):
        pace.back_off(attempt)
    assert time.slept == [2, 4, 8, 16, 32, 60, 60, 60]


class TestStarter:
    @pytest.fixture
    def tables(self, flow) -> list[FleetTable]:
        names = ["customers", "orders", "stock"]
        for name in ("customers", "stock"):
            flow.make_table(name)
        return [
            FleetTable(
                name=name,
                arn=flow.dynamodb.describe_table(TableName=name)["Table"]["TableArn"],
                vault=flow.resources["vault"],
                tier="daily",
                lifecycle={"DeleteAfterDays": 35},
                start_minutes=60,
                completion_minutes=120,
            )
            for name in names
        ]

    @pytest.fixture
    def store(self) -> MemoryIntentStore:
        return MemoryIntentStore()

    @pytest.fixture
    def starter(self, flow, store, time):
        def make(run_id: str = "manual__1", **run: Any) -> FleetStarter:
            return FleetStarter(
                BackupHook(aws_conn_id="aws_default"),
                store,
                FleetRun("table_backup", run_id, flow.resources["role_arn"], {"as-of": "2026-11-01"}, **run),
                Pace(1000, clock=time.clock, sleep=time.sleep, draw=lambda: 1.0),
                now=flow.now,
            )

        return make

    def jobs(self, flow) -> list[dict[str, Any]]:
        return list(flow.backup.list_backup_jobs()["BackupJobs"])

    def test_each_table_gets_one_job_as_it_is_protected(self, flow, starter, tables):
        started = starter().start_all(tables)
        assert {entry["adopted"] for entry in started.values()} == {None}
        assert sorted(job["ResourceName"] for job in self.jobs(flow)) == ["customers", "orders", "stock"]
        flow.wait()
        arn = flow.backup.describe_backup_job(BackupJobId=started["stock"]["job_id"])["RecoveryPointArn"]
        point = flow.backup.describe_recovery_point(BackupVaultName=tables[0].vault, RecoveryPointArn=arn)
        assert point["Lifecycle"] == {"DeleteAfterDays": 35}
        assert flow.backup.list_tags(ResourceArn=arn)["Tags"] == {"as-of": "2026-11-01", "table": "stock"}

    def test_another_try_of_the_run_starts_nothing_again(self, flow, starter, tables):
        first = starter().start_all(tables)
        flow.wait()
        again = starter().start_all(tables)
        assert {name: entry["job_id"] for name, entry in again.items()} == {
            name: entry["job_id"] for name, entry in first.items()
        }
        assert {entry["adopted"] for entry in again.values()} == {"own"}
        assert len(self.jobs(flow)) == 3

    def test_a_job_that_somebody_else_has_running_is_adopted(self, flow, starter, tables):
        foreign = starter("manual__other").start_all(tables[1:2])["orders"]["job_id"]
        started = starter().start_all(tables)
        assert started["orders"] == {"job_id": foreign, "adopted": "foreign"}
        assert started["stock"]["adopted"] is None
        flow.wait()
        assert starter("manual__3").start_all(tables)["orders"]["adopted"] is None

    def test_a_job_that_ended_badly_is_started_anew(self, flow, starter, tables):
        control.inject_fault("StartBackupJob", "FAILED", table="stock")
        first = starter().start_all(tables)
        flow.wait()
        again = starter().start_all(tables)
        assert again["stock"]["job_id"] != first["stock"]["job_id"]
        assert (again["stock"]["adopted"], again["orders"]["adopted"]) == (None, "own")

    def test_a_table_that_can_not_be_started_fails_alone_in_awss_words(self, flow, starter, tables):
        flow.dynamodb.delete_table(TableName="stock")
        started = starter().start_all(tables)
        assert "stock" in started["stock"]["error"]
        assert [name for name, entry in started.items() if "job_id" in entry] == ["customers", "orders"]

    def test_throttling_is_waited_out(self, flow, starter, tables, time, monkeypatch):
        real = BackupHook.start_backup_job
        refusals = iter([True, True, False, False, False])

        def throttled(hook: BackupHook, **request: Any) -> Any:
            if next(refusals):
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "StartBackupJob")
            return real(hook, **request)

        monkeypatch.setattr(BackupHook, "start_backup_job", throttled)
        started = starter().start_all(tables)
        assert all("job_id" in entry for entry in started.values())
        assert [pause for pause in time.slept if pause >= 1] == [2, 4]
        assert len(self.jobs(flow)) == 3

    def test_throttling_without_end_fails_the_table(self, starter, tables, monkeypatch):
        def throttled(hook: BackupHook, **request: Any) -> Any:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "StartBackupJob")

        monkeypatch.setattr(BackupHook, "start_backup_job", throttled)
        started = starter().start_all(tables[:1])
        assert "slow down" in started["customers"]["error"]


def test_ends_are_told_by_table_and_bad_ones_in_awss_words():
    jobs = {
        "a": {"job_id": "1", "adopted": None},
        "b": {"job_id": "2", "adopted": "own"},
        "c": {"error": "no vault"},
        "d": {"job_id": "4", "adopted": None},
    }
    ends = ends_by_table(
        jobs,
        [
            {"job_id": "1", "state": "COMPLETED"},
            {"job_id": "2", "state": "EXPIRED", "status_message": "window too short"},
            {"job_id": "4", "state": "ABORTED"},
        ],
    )
    assert "error" not in ends["a"]
    assert ends["b"]["error"] == "backup job 2 ended EXPIRED: window too short"
    assert ends["d"]["error"] == "backup job 4 ended ABORTED: AWS gives no reason"
    assert "c" not in ends
    assert fleet_jobs.START_TASK == "start_backup_jobs"
