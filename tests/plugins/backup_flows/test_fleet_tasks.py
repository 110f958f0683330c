"""``table_backup`` task by task, on a local AWS whose clock stands still."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from backup_flows import fleet_tasks
from backup_flows.fingerprints import find_binding
from backup_flows.fleet import FleetStateError, TablesFailedError, UnprotectedTablesError
from backup_flows.fleet_tasks import AcquireFleetLeasesOperator, FleetJobsSensor
from backup_flows.lease import LeaseStore
from backup_flows.project_files import project_file
from backup_flows.triggers import TableLeaseTrigger
from local_aws import control

pytestmark = pytest.mark.component

NAMES = [f"table-{n:02}" for n in range(9)]
ALL = len(NAMES)
DAY = dt.timedelta(days=1)


class Fleet:
    """A run of the DAG, task by task."""

    def __init__(self, flow: Any, in_task: Callable[..., Any], context: dict[str, Any]) -> None:
        self.flow, self.in_task, self.context = flow, in_task, context
        self.resources = self.do(fleet_tasks.choose_tables)

    def do(self, task: Any, *args: Any) -> Any:
        return self.in_task(task, self.context, *args)

    def lease(self, **arguments: Any) -> Any:
        return AcquireFleetLeasesOperator(task_id="acquire_leases", fleet=self.resources, **arguments).execute(
            self.context
        )

    def before(self) -> None:
        for shard in self.shards:
            self.do(fleet_tasks.fingerprint_before, shard, self.resources)

    def start(self) -> dict[str, int]:
        return dict(self.do(fleet_tasks.start_backup_jobs, self.resources, self.shards))

    def sensor(self) -> FleetJobsSensor:
        return FleetJobsSensor(
            task_id="wait_for_jobs", fleet=self.resources, deferrable=True, aws_conn_id="aws_default"
        )

    def wait(self) -> Any:
        return self.sensor().execute(self.context)

    def bind(self) -> None:
        for shard in self.shards:
            self.do(fleet_tasks.bind_recovery_points, shard, self.resources)

    def sum_up(self) -> dict[str, Any]:
        return dict(self.do(fleet_tasks.sum_up, self.resources))

    def all(self) -> dict[str, Any]:
        self.shards = self.do(fleet_tasks.plan_shards, self.resources)
        self.lease()
        self.before()
        self.started = self.start()
        self.flow.wait(24 * 3600)
        self.ended = self.wait()
        self.bind()
        return self.sum_up()

    @property
    def document(self) -> dict[str, Any]:
        (key,) = [key for key in self.flow.keys("fleet/") if key.endswith("summary.json")]
        return dict(self.flow.document(key))


@pytest.fixture
def protect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Let ``protection.yaml`` say this."""

    def write(text: str) -> None:
        path = tmp_path / "protection.yaml"
        path.write_text(text, encoding="utf-8")

        def found(name: str) -> Path:
            return path if name == fleet_tasks.PROTECTION_FILE else project_file(name)

        monkeypatch.setattr(fleet_tasks, "project_file", found)

    return write


@pytest.fixture
def tables(flow, protect) -> list[str]:
    """Tables with an item each, all of them daily: two shards of them."""
    for name in NAMES:
        flow.make_table(name)
        flow.put("1", table=name, product=name)
    protect("version: 1\ntables:\n" + "".join(f"  - {{name: {name}, tier: daily}}\n" for name in NAMES))
    return NAMES


@pytest.fixture
def fleet(flow, in_task, new_context):
    def begin(**params: Any) -> Fleet:
        run = {"dag_id": "table_backup", **params.pop("run", {})}
        return Fleet(flow, in_task, new_context(run=run, **params))

    return begin


class TestAllGood:
    def test_each_table_is_kept_for_a_proof_as_deep_as_its_entry_asks_for(self, flow, protect, fleet):
        depths = {"table-a": "full", "table-b": "sampled", "table-c": "canary", "table-d": "schema"}
        entries = []
        for name, depth in depths.items():
            flow.make_table(name)
            for number in range(30):
                flow.put(str(number), table=name, product=name)
            entries.append(f"  - {{name: {name}, tier: daily, proof: {{depth: {depth}, sample_items: 10}}}}\n")
        protect("version: 1\ntables:\n" + "".join(entries))
        run = fleet()
        assert run.all()["backed_up"] == 4
        done = run.document["done"]
        assert {name: entry["depth"] for name, entry in done.items()} == depths
        for name, entry in done.items():
            binding = find_binding(flow.s3, flow.bucket, name, entry["recovery_point_arn"])
            assert binding is not None
            assert (binding.depth, binding.drifting) == (depths[name], False)
            assert f"{binding.prefix}settings.json" in flow.keys(binding.prefix)
        items = {name: len(flow.scan(name)) for name in depths}
        assert items == {"table-a": 30, "table-b": 30, "table-c": 38, "table-d": 30}

    def test_each_table_ends_with_a_recovery_point_that_fingerprints_vouch_for(self, flow, tables, fleet):
        run = fleet()
        result = run.all()
        assert (result["backed_up"], result["failed"]) == (ALL, 0)
        assert run.started == {"started": ALL, "adopted": 0, "failed": 0}
        assert run.ended == {"completed": ALL, "failed": 0}
        done = run.document["done"]
        assert sorted(done) == tables
        for name in tables:
            binding = find_binding(flow.s3, flow.bucket, name, done[name]["recovery_point_arn"])
            assert binding is not None
            assert (binding.table, binding.drifting, binding.before.items) == (name, False, 1)
            assert binding.before.digest == binding.after.digest

    def test_every_table_tells_its_asset(self, flow, tables, fleet):
        run = fleet()
        run.all()
        events = run.context["outlet_events"][fleet_tasks.RECOVERY_POINTS].asset_alias_events
        assert sorted(event.dest_asset_key.uri for event in events) == [
            f"aws-backup://{name}/recovery-point" for name in tables
        ]
        assert {event.extra["as_of"] for event in events} == {"2026-11-01"}
        assert json.loads(json.dumps([event.extra for event in events]))

    def test_a_run_that_is_cleared_adopts_all_its_jobs(self, flow, tables, fleet):
        run = fleet()
        run.all()
        kept = flow.etags("recovery-points/")
        again = fleet()
        again.all()
        assert again.started == {"started": 0, "adopted": ALL, "failed": 0}
        assert len(flow.backup.list_backup_jobs()["BackupJobs"]) == ALL
        assert flow.etags("recovery-points/") == kept

    def test_a_table_in_use_is_drifting_and_told_so(self, flow, tables, fleet):
        run = fleet()
        run.shards = run.do(fleet_tasks.plan_shards, run.resources)
        run.lease()
        run.before()
        run.start()
        flow.put("2", table="table-07")
        flow.wait()
        run.wait()
        run.bind()
        run.sum_up()
        assert [name for name, entry in run.document["done"].items() if entry["drifting"]] == ["table-07"]


class TestBadEnds:
    def test_whatever_goes_wrong_with_a_table_goes_wrong_with_it_alone(self, flow, tables, fleet):
        for name, state in (("table-00", "FAILED"), ("table-01", "EXPIRED"), ("table-02", "PARTIAL")):
            control.inject_fault("StartBackupJob", state, f"{state} for a reason", table=name)
        run = fleet()
        store = LeaseStore(flow.dynamodb, flow.resources["lease_table"], clock=flow.now)
        store.try_acquire("table-04", "other/run", "2026-11-01", run_is_over=lambda _: False)
        flow.dynamodb.delete_table(TableName="table-03")
        run.shards = run.do(fleet_tasks.plan_shards, run.resources)
        run.lease(wait_seconds=0)
        run.before()
        run.start()
        flow.wait(24 * 3600)
        run.wait()
        flow.dynamodb.delete_table(TableName="table-05")
        run.bind()
        with pytest.raises(TablesFailedError, match=f"6 of {ALL}") as failed:
            run.sum_up()
        reasons = run.document["failed"]
        assert sorted(reasons) == [f"table-0{n}" for n in range(6)]
        for n, reason in enumerate(
            ["FAILED for a reason", "EXPIRED for a reason", "PARTIAL for a reason", "table-03", "other/run", "table-05"]
        ):
            assert reason in reasons[f"table-0{n}"]
            assert f"table-0{n}: " in str(failed.value)
        assert len(run.document["done"]) == ALL - 6

    def test_a_mapped_task_that_died_costs_its_tables_only(self, flow, tables, fleet, monkeypatch):
        run = fleet()
        run.shards = run.do(fleet_tasks.plan_shards, run.resources)
        assert len(run.shards) == 2
        run.lease()
        for shard in run.shards[1:]:
            run.do(fleet_tasks.fingerprint_before, shard, run.resources)
        run.start()
        flow.wait()
        run.wait()
        run.bind()
        with pytest.raises(TablesFailedError):
            run.sum_up()
        assert sorted(run.document["failed"]) == sorted(run.shards[0]["tables"])

    def test_a_run_that_could_not_choose_is_red(self, flow, fleet, in_task, new_context):
        with pytest.raises(FleetStateError, match="choose_tables"):
            in_task(fleet_tasks.sum_up, new_context(), None)


class TestLeases:
    def test_a_busy_table_is_waited_for_deferred_and_for_a_limited_time(self, flow, tables, fleet):
        store = LeaseStore(flow.dynamodb, flow.resources["lease_table"], clock=flow.now)
        store.try_acquire("table-04", "other/run", "2026-11-01", run_is_over=lambda _: False)
        run = fleet()
        operator = AcquireFleetLeasesOperator(task_id="acquire_leases", fleet=run.resources, wait_seconds=100)
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(run.context)
        trigger = deferred.value.trigger
        assert isinstance(trigger, TableLeaseTrigger)
        assert (trigger.table_name, trigger.give_up_after) == ("table-04", 100)
        since = deferred.value.kwargs["waiting_since"]
        store.release("table-04", "other/run")
        assert operator.try_again(run.context, {"status": "success"}, since) == {"held": ALL, "busy": []}

    def test_all_are_given_back(self, flow, tables, fleet):
        run = fleet()
        run.lease()
        assert run.do(fleet_tasks.release_leases, run.resources) == ALL
        assert run.do(fleet_tasks.release_leases, run.resources) == 0

    def test_a_table_whose_lease_was_lost_is_not_fingerprinted(self, flow, tables, fleet):
        run = fleet()
        run.shards = run.do(fleet_tasks.plan_shards, run.resources)
        run.lease()
        store = LeaseStore(flow.dynamodb, flow.resources["lease_table"], clock=flow.now)
        store.release("table-04", "table_backup/manual__1")
        run.before()
        run.start()
        flow.wait()
        run.wait()
        run.bind()
        with pytest.raises(TablesFailedError, match=r"1 of 9.*\n?table-04: .*no longer holds"):
            run.sum_up()


class TestWait:
    def test_one_deferred_waiter_has_all_jobs(self, flow, tables, fleet):
        run = fleet()
        run.shards = run.do(fleet_tasks.plan_shards, run.resources)
        run.lease()
        run.before()
        run.start()
        with pytest.raises(TaskDeferred) as deferred:
            run.wait()
        assert len(deferred.value.trigger.backup_job_ids) == ALL
        flow.wait()
        assert run.sensor().execute_complete(run.context, {"status": "success", "ended": ALL}) == {
            "completed": ALL,
            "failed": 0,
        }


class TestChoice:
    def test_the_form_chooses_tables_by_name(self, tables, fleet):
        run = fleet(tables=["table-03", "table-08"])
        assert run.resources["tables"] == 2
        assert run.all()["backed_up"] == 2

    def test_a_name_that_is_not_protected_is_refused_before_anything_starts(self, flow, tables, fleet):
        with pytest.raises(UnprotectedTablesError, match="table-99"):
            fleet(tables=["table-99"])
        assert flow.keys("fleet/") == []

    def test_a_tag_adds_tables_that_the_file_does_not_name(self, flow, tables, fleet):
        flow.make_table("extra")
        arn = flow.dynamodb.describe_table(TableName="extra")["Table"]["TableArn"]
        flow.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "shop"}])
        assert fleet(tag="team=shop").resources["tables"] == ALL + 1

    def test_no_table_to_back_up_is_skipped_and_green(self, tables, fleet):
        run = fleet(which="monthly")
        with pytest.raises(AirflowSkipException):
            run.do(fleet_tasks.plan_shards, run.resources)
        assert run.sum_up()["backed_up"] == 0


class TestPast:
    def dated(self, days: int, flow: Any) -> dict[str, Any]:
        due = flow.now() - days * DAY
        return {
            "run_id": f"backfill__{days}",
            "run_type": "backfill",
            "logical_date": due - DAY,
            "data_interval_start": due - DAY,
            "data_interval_end": due,
        }

    def test_a_date_that_is_over_adopts_the_recovery_points_made_then(self, flow, tables, fleet):
        first = fleet()
        first.all()
        flow.wait(2 * 24 * 3600)
        run = fleet(run=self.dated(3, flow))
        assert run.resources["past"] is True
        assert run.do(fleet_tasks.adopt_past, run.resources) == {"adopted": ALL, "tables": ALL}
        for task, *more in ((fleet_tasks.plan_shards,), (fleet_tasks.start_backup_jobs, None)):
            with pytest.raises(AirflowSkipException):
                run.do(task, run.resources, *more)
        assert run.sum_up()["backed_up"] == ALL
        assert len(flow.backup.list_backup_jobs()["BackupJobs"]) == ALL

    def test_a_date_without_any_says_that_the_past_can_not_be_backed_up(self, flow, tables, fleet):
        run = fleet(run=self.dated(45, flow))
        assert run.do(fleet_tasks.adopt_past, run.resources)["adopted"] == 0
        with pytest.raises(TablesFailedError, match=r"9 of 9.*\n.*the past can't be backed up"):
            run.sum_up()
        assert flow.backup.list_backup_jobs()["BackupJobs"] == []

    def test_the_present_period_is_backed_up_by_a_backfill_too(self, flow, tables, fleet):
        run = fleet(run=self.dated(0, flow))
        assert run.resources["past"] is False
        with pytest.raises(AirflowSkipException):
            run.do(fleet_tasks.adopt_past, run.resources)
        assert run.all()["backed_up"] == ALL
