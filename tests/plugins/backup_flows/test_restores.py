from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from aws_backup.exceptions import RestoreTargetExistsError
from aws_backup.summaries import summarise_restore_job
from backup_flows import restores
from backup_flows.as_of import run_key
from backup_flows.defaults import VERDICT
from backup_flows.fingerprints import Binding
from backup_flows.keys import restore_record_key
from backup_flows.restores import RestoredTableNotReadyError, drop_table, phases_of, report
from backup_flows.scan_parts import PartUnreadableError
from dynamodb_bulk.errors import TableMissingError
from local_aws import control
from recovery_retention.names import UndeletableTableError, run_tag
from restore_proof.verdict import RestoreNotProvenError


@pytest.fixture(scope="module")
def binding(shared_flow) -> Binding:
    """A backup of two items, which all runs here restore."""
    shared_flow.put("1", amount={"N": "1"})
    shared_flow.put("2", amount={"N": "2"})
    return shared_flow.back_up()


@pytest.fixture
def flow(shared_flow, binding, new_context, request, monkeypatch):
    """The stack, and a run of the test's own."""
    run_id = request.node.name
    monkeypatch.setattr(shared_flow, "context", new_context(run={"run_id": run_id}))
    resources = {**shared_flow.resources, "run_key": run_key("orders_backup_restore", run_id)}
    monkeypatch.setattr(shared_flow, "resources", resources)
    yield shared_flow
    shared_flow.wait()
    for prefix in ("restores/", "evidence/", f"{binding.prefix}verdict"):
        shared_flow.forget(prefix)


@pytest.fixture
def forced(flow, new_context) -> dict[str, Any]:
    """The run's context, with new jobs asked for."""
    return dict(new_context(run={"run_id": flow.context["dag_run"].run_id}, force_new=True))


@pytest.fixture
def run(flow) -> str:
    """The run's name as tags and records have it."""
    return run_tag("orders_backup_restore", flow.context["dag_run"].run_id)


@pytest.fixture
def proven(flow, binding):
    """Restore the run's table and prove it; return the plan and the finished job."""

    def do(*, spoil: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        plan, job = flow.restore(binding)
        if spoil:
            flow.remove("1", table=plan["target_table"])
        flow.prove(binding, plan, job)
        return plan, job

    return do


@pytest.fixture
def target(flow, binding) -> str:
    """The name of the table that the run restores to; nothing is planned yet."""
    name = str(flow.plan(binding)["target_table"])
    flow.forget("restores/")
    return name


def prepare(flow, binding: Binding, target: str, context: dict[str, Any] | None = None) -> Any:
    return restores.prepare_target(
        flow.resources, target, recovery_point_arn=binding.recovery_point_arn, context=context or flow.context
    )


class TestPlan:
    def test_the_table_is_named_for_source_date_and_run(self, flow, binding, new_context):
        plan = flow.plan(binding)
        assert plan["target_table"].startswith("orders-restored-20261101-")
        assert plan["recovery_point_arn"] == binding.recovery_point_arn
        assert flow.plan(binding) == plan
        other = flow.plan(binding, new_context(run={"run_id": "manual__2"}))
        assert other["target_table"] != plan["target_table"]

    def test_whose_it_is_is_on_record_before_aws_makes_it(self, flow, binding, run):
        plan = flow.plan(binding)
        assert flow.document(restore_record_key(plan["target_table"])) == {
            "table": plan["target_table"],
            "source": "orders",
            "run": run,
            "dag_id": "orders_backup_restore",
            "run_id": flow.context["dag_run"].run_id,
            "recovery_point_arn": binding.recovery_point_arn,
            "planned_at": flow.now().isoformat(),
        }
        assert plan["target_table"] not in flow.tables()

    def test_a_table_that_is_in_the_way_is_refused_and_not_claimed(self, flow, binding, target):
        flow.make_table(target)
        flow.put("somebody's", table=target)
        for _ in range(2):
            # Also not by the second try: the first must not have left a claim behind.
            with pytest.raises(RestoreTargetExistsError, match=target):
                flow.plan(binding)
        assert flow.keys("restores/") == []
        assert list(flow.scan(target)) == [("somebody's", "1")]


class TestPrepareTarget:
    def test_where_nothing_stands_nothing_is_done(self, flow, binding, target):
        assert prepare(flow, binding, target) is None

    def test_the_record_of_another_run_claims_nothing_for_this_one(self, flow, binding, target):
        flow.make_table(target)
        record = {"run": "orders_backup_restore/manual__2"}
        flow.s3.put_object(Bucket=flow.bucket, Key=restore_record_key(target), Body=json.dumps(record).encode())
        with pytest.raises(RestoreTargetExistsError, match=target):
            prepare(flow, binding, target)
        assert target in flow.tables()

    @pytest.mark.parametrize("seconds", [30, 60], ids=["being restored", "restored"])
    def test_the_runs_own_restore_is_left_alone(self, flow, binding, target, seconds: int):
        plan = flow.plan(binding)
        job = flow.start_restore(plan)
        jobs = len(flow.backup.list_restore_jobs()["RestoreJobs"])
        flow.wait(seconds)
        assert flow.plan(binding) == plan
        assert target in flow.tables()
        flow.wait(60)
        assert flow.start_restore(plan) == job
        assert len(flow.backup.list_restore_jobs()["RestoreJobs"]) == jobs
        assert len(flow.scan(target)) == 2

    def test_what_a_failed_restore_left_is_dropped_and_restored_anew(self, flow, binding, target):
        control.inject_fault("StartRestoreJob", "FAILED", "AWS had a bad day.")
        plan = flow.plan(binding)
        first = flow.start_restore(plan)
        flow.wait()
        assert flow.backup.describe_restore_job(RestoreJobId=first)["Status"] == "FAILED"
        flow.make_table(target)
        flow.plan(binding)
        assert target not in flow.tables()
        second = flow.start_restore(plan)
        flow.wait()
        assert second != first
        assert len(flow.scan(target)) == 2

    def test_a_forced_restore_drops_the_runs_earlier_one(self, flow, binding, target, forced, run):
        plan, _ = flow.restore(binding)
        flow.put("altered by somebody", table=target)
        assert prepare(flow, binding, target, forced)["run"] == run
        assert target not in flow.tables()
        flow.start_restore(plan, forced)
        flow.wait()
        assert len(flow.scan(target)) == 2
        # The word is honoured once: a retry of the forced run adopts what it made.
        prepare(flow, binding, target, forced)
        assert target in flow.tables()

    def test_a_table_of_another_recovery_point_is_dropped(self, flow, binding, target, forced):
        flow.restore(binding)
        flow.put("3")
        newer = flow.back_up(forced)
        prepare(flow, newer, target)
        assert target not in flow.tables()


class TestTag:
    def test_the_restored_table_is_marked_as_ours_with_its_run(self, flow, binding, target, run, in_task):
        plan, job = flow.restore(binding)
        assert flow.tags(target) == {}
        arn = in_task(restores.tag_restored_table, flow.context, plan, job)
        assert arn == job["created_resource_arn"]
        assert flow.tags(target) == {"managed-by": "dynamodb-backup-proof", "run": run}
        assert in_task(restores.tag_restored_table, flow.context, plan, job) == arn

    def test_a_table_that_is_not_active_yet_is_looked_at_again(self, flow, binding, target, in_task):
        plan = flow.plan(binding)
        flow.start_restore(plan)
        flow.wait(30)
        with pytest.raises(RestoredTableNotReadyError, match=f"{target} is CREATING"):
            in_task(restores.tag_restored_table, flow.context, plan, {"job_id": "x"})


LOADED = {
    "rows_in": 3,
    "written": 2,
    "rejected": 1,
    "duplicates": 0,
    "bytes": 300,
    "batches": 1,
    "resent": 0,
    "seconds": 1.0,
    "shards": 1,
}


class TestProveInParts:
    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__BACKUP_FLOWS__SCAN_PART_MB", str(20 / 2**20))

    @pytest.fixture
    def restored(self, flow, binding, in_task):
        """Restore and plan the parts; return plan, job and parts."""
        plan = flow.plan(binding)
        parts = in_task(restores.plan_proof_scans, flow.context, flow.resources, plan, binding.as_dict())
        job_id = flow.start_restore(plan)
        flow.wait()
        return plan, dict(summarise_restore_job(flow.backup.describe_restore_job(RestoreJobId=job_id))), parts

    def prove(self, flow, in_task, binding: Binding, plan, job, parts) -> dict[str, Any]:
        return in_task(
            restores.prove_restored_table, flow.context, flow.resources, plan, binding.as_dict(), job, parts, LOADED
        )

    def test_the_parts_are_planned_before_there_is_a_table(self, restored):
        assert len(restored[2]) > 1

    def test_the_proof_rests_on_them_and_the_evidence_has_the_figures(self, flow, binding, restored, in_task):
        plan, job, parts = restored
        for part in parts:
            in_task(restores.scan_restored, flow.context, part, flow.resources)
        result = self.prove(flow, in_task, binding, plan, job, parts)
        assert result["verdict"] == "PROVEN"
        assert result["scans"]["restored"]["parts"] == len(parts)
        (pack,) = [key for key in flow.keys("evidence/") if key.endswith("pack.json")]
        figures = flow.document(pack)["figures"]
        assert figures["load"] == LOADED
        assert figures["scan restored"]["items"] == binding.before.items
        assert set(figures) == {"load", "scan before", "scan after", "scan restored"}
        assert "scan restored" in flow.read(pack.replace("pack.json", "report.html")).decode()

    def test_a_changed_item_is_found_in_whatever_part_it_is(self, flow, binding, restored, in_task):
        plan, job, parts = restored
        flow.put("1", product="spoilt", table=plan["target_table"])
        for part in parts:
            in_task(restores.scan_restored, flow.context, part, flow.resources)
        with pytest.raises(RestoreNotProvenError, match="FAILED"):
            self.prove(flow, in_task, binding, plan, job, parts)

    def test_a_part_that_can_not_be_read_fails_the_proof_with_its_reason(self, flow, binding, restored, in_task):
        """And not before the last try."""
        plan, job, parts = restored
        flow.dynamodb.delete_table(TableName=plan["target_table"])
        flow.context["ti"].try_number, flow.context["ti"].max_tries = 1, 1
        with pytest.raises(TableMissingError):
            in_task(restores.scan_restored, flow.context, parts[0], flow.resources)
        flow.context["ti"].try_number = 2
        told = [in_task(restores.scan_restored, flow.context, part, flow.resources) for part in parts]
        assert {entry["type"] for entry in told} == {"TableMissingError"}
        with pytest.raises(PartUnreadableError, match="TableMissingError"):
            self.prove(flow, in_task, binding, plan, job, parts)
        verdict = flow.document(f"{binding.prefix}verdict.json")
        assert verdict["label"] == "FAILED"
        assert "could not be read" in verdict["reasons"][0]


class TestProve:
    def prove(self, flow, in_task, binding: Binding, plan: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
        return in_task(restores.prove_restored_table, flow.context, flow.resources, plan, binding.as_dict(), job, [])

    def test_the_result_is_told_to_people_to_xcom_and_to_the_asset(self, flow, binding, in_task):
        plan, job = flow.restore(binding)
        result = self.prove(flow, in_task, binding, plan, job)
        assert result["verdict"] == "PROVEN"
        assert result["timings"] == {"backup": 60.0, "restore": 60.0, "proof": 0.0}
        told = flow.backup.list_tags(ResourceArn=binding.recovery_point_arn)["Tags"]
        assert (told["verdict"], told["verdict-depth"]) == ("PROVEN", "full")
        flow.context["ti"].xcom_push.assert_called_with(key="verdict", value=result)
        assert flow.context["outlet_events"][VERDICT].extra == {
            "recovery_point_arn": binding.recovery_point_arn,
            "table": "orders",
            "verdict": "PROVEN",
            "report": result["report"],
            "as_of": "2026-11-01",
        }
        assert {name: scan["items"] for name, scan in result["scans"].items()} == dict.fromkeys(
            ("before", "after", "restored"), binding.before.items
        )
        loaded = {**LOADED, "rejects_name": "s3://r"}
        said = in_task(report, flow.context, loaded, binding.as_dict(), result)
        assert (said["verdict"], said["load"]["written"], said["rejects"]) == ("PROVEN", 2, "s3://r")
        assert said["recovery_point"] == {"size_bytes": binding.size_bytes, "created_at": binding.created_at}

    def test_a_failed_proof_fails_the_task_after_the_verdict_is_out(self, flow, binding, target, in_task):
        plan, job = flow.restore(binding)
        flow.remove("1", table=target)
        with pytest.raises(RestoreNotProvenError, match=r"FAILED.*report\.html"):
            self.prove(flow, in_task, binding, plan, job)
        pushed = flow.context["ti"].xcom_push.call_args.kwargs["value"]
        assert (pushed["verdict"], pushed["counts"]["missing"]) == ("FAILED", 1)
        assert flow.document(f"{binding.prefix}verdict.json")["label"] == "FAILED"
        assert flow.context["outlet_events"][VERDICT].extra["verdict"] == "FAILED"

    def test_the_phases_are_those_of_awss_clock(self, flow, binding):
        _, job = flow.restore(binding)
        assert phases_of(binding, job) == [
            ("backup", "2026-11-02T06:00:00+00:00", "2026-11-02T06:01:00+00:00"),
            ("restore", (flow.now() - dt.timedelta(seconds=60)).isoformat(), flow.now().isoformat()),
        ]


class TestDrop:
    def test_a_proven_table_is_dropped(self, flow, target, proven):
        plan, _ = proven()
        assert drop_table(flow.resources, plan, keep=False) == "dropped"
        assert target not in flow.tables()
        assert drop_table(flow.resources, plan, keep=False) == "gone"
        assert "orders" in flow.tables()

    def test_one_that_was_never_proven_is_dropped_too(self, flow, binding, target):
        """A run that failed on the way to its proof: there is nothing to look at."""
        plan, _ = flow.restore(binding)
        assert drop_table(flow.resources, plan, keep=False) == "dropped"
        assert target not in flow.tables()

    def test_the_table_of_a_failed_proof_is_kept_and_says_why(self, flow, target, proven):
        plan, _ = proven(spoil=True)
        assert drop_table(flow.resources, plan, keep=False) == "kept"
        assert flow.tags(target) == {"keep": "failed-proof"}
        assert len(flow.scan(target)) == 1

    def test_the_failed_proof_of_another_drill_keeps_nothing_here(self, flow, binding, target, new_context):
        other = new_context(run={"run_id": "manual__2"})
        plan, job = flow.restore(binding, other)
        flow.remove("1", table=plan["target_table"])
        flow.prove(binding, plan, job, drill_id="other")
        own, _ = flow.restore(binding)
        assert own["target_table"] == target
        assert drop_table(flow.resources, own, keep=False) == "dropped"
        assert plan["target_table"] in flow.tables()

    def test_one_that_is_asked_for_is_kept(self, flow, target, proven, in_task, new_context):
        plan, _ = proven()
        asked = new_context(keep_restored_table=True)
        assert in_task(restores.drop_restored_table, asked, flow.resources, plan) == "kept"
        assert flow.tags(target) == {"keep": "asked-for"}
        assert in_task(restores.drop_restored_table, new_context(), flow.resources, plan) == "dropped"

    @pytest.mark.parametrize("keep", [False, True])
    def test_one_that_aws_still_restores_is_left_to_the_sweep(self, flow, binding, target, keep: bool):
        """There is no proof to keep it for, and it takes neither tags nor deletion yet."""
        plan = flow.plan(binding)
        flow.start_restore(plan)
        flow.wait(30)
        assert drop_table(flow.resources, plan, keep=keep) == "left"
        assert target in flow.tables()
        assert flow.tags(target) == {}

    @pytest.mark.parametrize("name", ["orders", "orders-backup-leases", "customers-restored-20261101-0a1b2c3d"])
    def test_no_other_table_is_ever_dropped(self, flow, name: str):
        plan = {"target_table": name, "recovery_point_arn": "arn:aws:backup:us-east-1:1:recovery-point:x"}
        with pytest.raises(UndeletableTableError, match=name):
            drop_table(flow.resources, plan, keep=False)
        with pytest.raises(UndeletableTableError, match=name):
            restores.delete_restored_table(flow.dynamodb, name, source="orders")
        assert {"orders", "orders-backup-leases"} <= set(flow.tables())
