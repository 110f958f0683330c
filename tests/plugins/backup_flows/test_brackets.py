"""Recovery points that nobody fingerprinted are proven by two point-in-time restores around their backup."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout, TaskDeferred
from botocore.exceptions import ClientError

from backup_flows import bracket_tasks
from backup_flows.bracket_tasks import BindByBracketsOperator, BracketTableLostError, bind_by_brackets
from backup_flows.brackets import Job, bind_records, window_of
from backup_flows.drills import budgeting
from backup_flows.drills.errors import BudgetRefusedError, NameTakenError, NothingBoundError, RecoveryPointGoneError
from backup_flows.failures import FAILURE
from backup_flows.fingerprints import Binding, find_binding
from backup_flows.keys import restore_record_key
from backup_flows.lease import LeaseStore
from backup_flows.project_files import project_file
from backup_flows.protection_proof import ProofSettings
from backup_flows.recovery_points import bind_recovery_point, take_before
from backup_flows.triggers import AwsClockTrigger, TablesReadyTrigger
from recovery_retention.names import parse_restored_name
from restore_proof.verdict import Result

pytestmark = pytest.mark.component

PROTECTED = "version: 1\ntables:\n  - {{name: orders, tier: daily, proof: {{depth: {depth}, sample_items: 20}}}}\n"


@pytest.fixture
def protect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Let ``protection.yaml`` ask for a depth."""

    def write(depth: str) -> None:
        path = tmp_path / "protection.yaml"
        path.write_text(PROTECTED.format(depth=depth), encoding="utf-8")
        monkeypatch.setattr(
            bracket_tasks, "project_file", lambda name: path if name.endswith("protection.yaml") else project_file(name)
        )

    write("full")
    return write


@pytest.fixture
def recovery(flow, protect):
    """The table with items and point-in-time recovery on, for an hour now."""
    for n in range(12):
        flow.put(f"o-{n:02}", product="Salmon, wild", amount={"N": str(100 + n)})
    switch(flow, on=True)
    flow.wait(3600)
    return flow


def switch(flow, *, on: bool) -> None:
    flow.dynamodb.update_continuous_backups(
        TableName="orders", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
    )


def plan_made(flow, *, during=None) -> dict[str, Any]:
    """Back the table up as a plan does: nobody takes fingerprints. Return the recovery point as drills choose it."""
    started = flow.backup.start_backup_job(
        BackupVaultName=flow.resources["vault"],
        ResourceArn=flow.resources["table_arn"],
        IamRoleArn=flow.resources["role_arn"],
    )
    if during is not None:
        during()
    flow.wait()
    described = flow.backup.describe_backup_job(BackupJobId=started["BackupJobId"])
    return {
        "recovery_point_arn": described["RecoveryPointArn"],
        "table": "orders",
        "table_arn": flow.resources["table_arn"],
        "vault": flow.resources["vault"],
    }


class Binder:
    """The operator, and what Airflow does for it."""

    def __init__(self, flow, chosen: dict[str, Any] | None, context: dict[str, Any]) -> None:
        self.flow, self.chosen, self.context = flow, chosen, context
        self.order = {**flow.resources, "run": "restore_drill-manual__1"}
        self.waits: list[Any] = []

    def operator(self) -> BindByBracketsOperator:
        return BindByBracketsOperator(task_id="bind", order=self.order, chosen=self.chosen, max_rcu="None")

    def step(self, event: dict[str, Any] | None = None) -> Binding | Any:
        """Run the operator until it ends or defers; return the binding or the trigger."""
        try:
            operator = self.operator()
            answer = operator.execute(self.context) if event is None else operator.go_on(self.context, event)
        except TaskDeferred as deferred:
            self.waits.append(deferred.trigger)
            return deferred.trigger
        return Binding.from_dict(answer)

    def bind(self) -> Binding:
        """Run the operator to its end; time passes as its triggers wait for."""
        found = self.step()
        for _ in range(6):
            if isinstance(found, Binding):
                return found
            if isinstance(found, AwsClockTrigger):
                self.flow.wait((dt.datetime.fromisoformat(found.until) - self.flow.now()).total_seconds())
                found = self.step({"status": "success"})
            else:
                self.flow.wait(61)
                found = self.step(found._look())
        raise AssertionError("The operator waits for ever.")


@pytest.fixture
def binder(flow, new_context):
    def make(chosen: dict[str, Any], **run: Any) -> Binder:
        return Binder(flow, chosen, new_context(run={"dag_id": "restore_drill", **run}))

    return make


def copies(flow) -> list[str]:
    return [name for name in flow.tables() if parse_restored_name(name)]


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Set the month's budget, in dollars."""

    def set_to(dollars: float) -> None:
        path = tmp_path / "budget.yaml"
        path.write_text(
            f"version: 1\nbudget: {{monthly_usd: {dollars}}}\ntables: [{{name: orders, tier: daily}}]\n",
            encoding="utf-8",
        )
        monkeypatch.setattr(
            budgeting, "project_file", lambda name: path if name.endswith("protection.yaml") else project_file(name)
        )

    return set_to


def test_the_budget_is_asked_before_anything_is_restored(recovery, binder, budget):
    flow = recovery
    work = binder(plan_made(flow))
    budget(0)
    with pytest.raises(BudgetRefusedError, match=r"more than the 0\.00 \$ that budget\.monthly_usd allows"):
        work.bind()
    assert (copies(flow), flow.keys("spending/")) == ([], [])
    told = {call.kwargs["key"]: call.kwargs["value"] for call in work.context["ti"].xcom_push.call_args_list}
    assert told[FAILURE]["type"] == "BudgetRefusedError"
    budget(5)
    assert work.bind().bound_by == "brackets"
    (reserved,) = flow.keys("spending/")
    assert f"-{work.order['run_key']}-brackets/estimated-" in reserved
    assert flow.document(reserved)["total_usd"] > 0


@pytest.fixture
def unsized(monkeypatch: pytest.MonkeyPatch):
    """Let AWS not tell any recovery point's size, and let DynamoDB tell that of the table."""
    job_of, work_of = Job.of.__func__, BindByBracketsOperator._client

    def make(table_bytes: int | None) -> None:
        def tell(operator: Any, service: str) -> Any:
            client = work_of(operator, service)
            if service == "dynamodb":
                client.meta.events.register("after-call.dynamodb.DescribeTable", measured)
            return client

        def measured(parsed: dict[str, Any], **_: Any) -> None:
            if parsed.get("Table", {}).get("TableName") == "orders":
                parsed["Table"].pop("TableSizeBytes", None)
                parsed["Table"] |= {} if table_bytes is None else {"TableSizeBytes": table_bytes}

        monkeypatch.setattr(Job, "of", classmethod(lambda cls, *given: replace(job_of(cls, *given), size_bytes=None)))
        monkeypatch.setattr(BindByBracketsOperator, "_client", tell)

    return make


def test_a_backup_of_unknown_size_is_held_against_the_budget_by_the_tables_size(recovery, binder, budget, unsized):
    flow = recovery
    work = binder(plan_made(flow))
    unsized(10 * 2**40)
    budget(100)
    with pytest.raises(BudgetRefusedError, match=r"expected to cost \d{4}\.\d+ \$"):
        work.bind()
    assert (copies(flow), flow.keys("spending/")) == ([], [])
    budget(100_000)
    assert work.bind().bound_by == "brackets"
    (reserved,) = flow.keys("spending/")
    told = flow.document(reserved)
    assert told["total_usd"] > 2 * 10 * 2**10 * 0.1
    assert "AWS tells no size of the backup, so the table's is taken, as DynamoDB told it." in told["remarks"]


@pytest.mark.parametrize("table_bytes", [None, 0])
def test_without_any_size_a_limit_refuses_the_brackets_and_says_what_to_do(
    recovery, binder, budget, unsized, table_bytes
):
    flow = recovery
    work = binder(plan_made(flow))
    unsized(table_bytes)
    budget(1_000_000)
    with pytest.raises(
        BudgetRefusedError, match=r"nor, as yet, that of the table\. .*clear this task.*proof\.depth: s"
    ):
        work.bind()
    assert (copies(flow), flow.keys("spending/")) == ([], [])


def test_without_any_size_and_without_a_limit_the_brackets_go_on(recovery, binder, unsized):
    flow = recovery
    work = binder(plan_made(flow))
    unsized(None)
    assert work.bind().bound_by == "brackets"
    (reserved,) = flow.keys("spending/")
    assert flow.document(reserved)["remarks"][0].startswith("How much is restored is not known")


def test_a_backup_that_aws_tells_to_be_empty_needs_no_other_size(recovery, binder, budget, unsized, monkeypatch):
    flow = recovery
    work = binder(plan_made(flow))
    unsized(0)
    nothing = Job.of
    monkeypatch.setattr(Job, "of", classmethod(lambda _, *given: replace(nothing(*given), size_bytes=0)))
    budget(1)
    assert work.bind().bound_by == "brackets"


def test_a_plans_recovery_point_of_a_quiet_table_is_proven_in_full(recovery, binder):
    flow = recovery
    chosen = plan_made(flow)
    work = binder(chosen)
    binding = work.bind()
    assert (binding.depth, binding.drifting, binding.bound_by) == ("full", False, "brackets")
    # It waited until AWS could restore the later moment, and then for the tables.
    assert [type(trigger) for trigger in work.waits] == [AwsClockTrigger, TablesReadyTrigger]
    assert copies(flow) == []
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.proof.label == "PROVEN"
    assert verdict.counts["compared"] == 12
    assert "two point-in-time restores" in " ".join(verdict.reasons)
    assert find_binding(flow.s3, flow.bucket, "orders", chosen["recovery_point_arn"]) == binding


def test_the_brackets_stand_two_minutes_off(recovery, binder):
    flow = recovery
    before = flow.now()
    chosen = plan_made(flow)
    work = binder(chosen)
    binding = work.bind()
    taken = [dt.datetime.fromisoformat(side.taken_at) for side in (binding.before, binding.after)]
    minutes = dt.timedelta(minutes=2)
    assert taken[0] <= before - minutes
    assert before - minutes - taken[0] < dt.timedelta(seconds=5)
    assert before + dt.timedelta(seconds=60) + minutes <= taken[1] < before + dt.timedelta(seconds=70) + minutes


def test_a_table_that_was_written_to_around_its_backup_is_proven_as_drifting(recovery, binder):
    flow = recovery
    chosen = plan_made(flow, during=lambda: flow.put("o-03", product="changed"))
    flow.wait(600)
    # What was written later is of no account.
    flow.put("o-05", product="changed much later")
    binding = binder(chosen).bind()
    assert binding.drifting
    plan, job = flow.restore(binding)
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "PROVEN_DRIFTING"
    assert verdict.counts["changed_between"] == 1
    flow.remove("o-05", table=plan["target_table"])
    assert flow.prove(binding, plan, job, drill_id="second").result is Result.FAILED


def test_damage_is_found_by_brackets_too(recovery, binder):
    flow = recovery
    chosen = plan_made(flow)
    binding = binder(chosen).bind()
    plan, job = flow.restore(binding)
    flow.put("o-03", table=plan["target_table"], product="Salmon, farmed")
    verdict = flow.prove(binding, plan, job)
    assert (verdict.proof.label, verdict.counts["changed"]) == ("FAILED", 1)


def test_brackets_of_a_sample_compare_the_sample(recovery, binder, protect):
    flow = recovery
    for n in range(100, 300):
        flow.put(f"o-{n}", product="Salmon")
    flow.wait(3600)
    protect("sampled")
    chosen = plan_made(flow)
    binding = binder(chosen).bind()
    assert (binding.depth, binding.bound_by) == ("sampled", "brackets")
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.proof.label == "PROVEN@sampled"
    assert 20 <= verdict.counts["compared"] < 45


@pytest.mark.parametrize(
    ("arrange", "why"),
    [
        (lambda flow: switch(flow, on=False), "point-in-time recovery of orders is off"),
        (lambda flow: (switch(flow, on=False), switch(flow, on=True)), "reaches back to"),
    ],
    ids=["off", "switched on after the backup"],
)
def test_without_a_window_it_is_the_schema_alone_and_the_verdict_says_why(recovery, binder, arrange, why: str):
    flow = recovery
    chosen = plan_made(flow)
    arrange(flow)
    binding = binder(chosen).bind()
    assert (binding.depth, binding.bound_by) == ("schema", "records")
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.proof.label == "PROVEN@schema"
    assert why in " ".join(verdict.reasons)
    assert "depth schema only" in " ".join(verdict.reasons)


def test_settings_that_were_read_late_raise_no_alarm(recovery, binder):
    """An index that was made after the backup can't come back from it."""
    flow = recovery
    chosen = plan_made(flow)
    flow.dynamodb.update_table(
        TableName="orders",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("order_id", "item_id", "p")],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "by_p",
                    "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            }
        ],
    )
    binding = binder(chosen).bind()
    assert flow.prove(binding, *flow.restore(binding)).proof.label == "PROVEN"


def test_canaries_of_earlier_backups_are_demanded_from_a_plans(recovery, binder, protect, new_context):
    flow = recovery
    protect("canary")
    flow.resources["proof"] = {"depth": "canary", "canaries": 3}
    take_before(flow.resources, new_context(run={"run_id": "manual__canaries"}))
    flow.wait(3600)
    chosen = plan_made(flow)
    binding = binder(chosen).bind()
    assert (binding.depth, binding.bound_by) == ("canary", "records")
    plan, job = flow.restore(binding)
    verdict = flow.prove(binding, plan, job)
    assert (verdict.proof.label, verdict.counts["compared"]) == ("PROVEN@canary", 3)
    flow.dynamodb.delete_item(
        TableName=plan["target_table"],
        Key={"order_id": {"S": "backup-canary-001"}, "item_id": {"S": "backup-canary-001"}},
    )
    assert flow.prove(binding, plan, job, drill_id="second").proof.label == "FAILED@canary"


def test_canaries_that_were_not_there_yet_are_not_demanded(recovery, binder, protect, new_context):
    flow = recovery
    protect("canary")
    chosen = plan_made(flow)
    flow.wait(3600)
    flow.resources["proof"] = {"depth": "canary", "canaries": 3}
    take_before(flow.resources, new_context(run={"run_id": "manual__canaries"}))
    assert binder(chosen).bind().depth == "schema"


def test_what_is_bound_already_is_returned_and_nothing_is_restored(recovery, binder):
    flow = recovery
    binding = flow.back_up()
    chosen = {
        "recovery_point_arn": binding.recovery_point_arn,
        "table": "orders",
        "table_arn": flow.resources["table_arn"],
        "vault": flow.resources["vault"],
    }
    work = binder(chosen)
    assert work.step() == binding
    assert work.waits == []


class TestPointsOfOurOwnRuns:
    """A drill may choose a point whose backup has ended, and which its run has yet to bind."""

    MAKER = "orders_backup_restore/manual__1"

    @pytest.fixture
    def leases(self, flow) -> LeaseStore:
        return LeaseStore(flow.dynamodb, flow.resources["lease_table"], clock=flow.now)

    @pytest.fixture
    def made(self, flow, protect, leases):
        """What the run read before its backup, and the job's summary; the run holds the table's lease."""
        for n in range(5):
            flow.put(str(n), amount={"N": str(n)})
        leases.try_acquire("orders", self.MAKER, "2026-11-01", run_is_over=lambda _: False)
        before = take_before(flow.resources, flow.context)
        job = flow.start_backup()
        flow.wait()
        return before, flow.backup_summary(job)

    @pytest.fixture
    def chosen(self, flow, made) -> dict[str, Any]:
        arn = made[1]["recovery_point_arn"]
        flow.backup.tag_resource(ResourceArn=arn, Tags={"run": self.MAKER})
        found = {name: flow.resources[name] for name in ("table", "table_arn", "vault")}
        return {"recovery_point_arn": arn, **found}

    @staticmethod
    def living(work: Binder, runs: int = 1) -> None:
        work.context["ti"].get_dr_count.return_value = runs

    def test_a_drill_waits_for_the_run_that_is_about_to_bind_it(self, flow, binder, made, chosen):
        work = binder(chosen)
        self.living(work)
        for _ in range(2):
            trigger = work.step({"status": "success"})
            assert isinstance(trigger, AwsClockTrigger)
            flow.wait((dt.datetime.fromisoformat(trigger.until) - flow.now()).total_seconds())
        assert find_binding(flow.s3, flow.bucket, "orders", chosen["recovery_point_arn"]) is None
        own = bind_recovery_point(flow.resources, *made, flow.context)
        assert work.step({"status": "success"}) == own
        assert (own.bound_by, own.depth) == ("run", "full")

    def test_it_waits_no_longer_than_the_run_could_take(self, flow, binder, chosen):
        work = binder(chosen)
        self.living(work)
        flow.wait(bracket_tasks.MAKER_LIMIT.total_seconds() - 600)
        assert isinstance(work.step(), AwsClockTrigger)
        flow.wait(700)
        assert work.step().bound_by == "records"

    @pytest.mark.parametrize("case", ["its run is over", "another run's lease", "no lease", "untagged", "its own run"])
    def test_it_does_not_wait_where_no_run_is_about_to_bind_it(self, flow, binder, leases, chosen, case: str):
        work = binder(chosen, **({"dag_id": "orders_backup_restore"} if case == "its own run" else {}))
        self.living(work, 0 if case == "its run is over" else 1)
        if case in ("another run's lease", "no lease"):
            leases.release("orders", self.MAKER)
        if case == "another run's lease":
            leases.try_acquire("orders", "table_backup/other", "2026-11-01", run_is_over=lambda _: False)
        if case == "untagged":
            flow.backup.untag_resource(ResourceArn=chosen["recovery_point_arn"], TagKeyList=["run"])
        assert work.step().bound_by == "records"

    def test_damage_is_found_though_a_drill_bound_the_point_before_its_run_did(self, flow, binder, made, chosen):
        """Without point-in-time recovery, a drill binds no more than the schema."""
        early = binder(chosen)
        assert early.step().depth == "schema"
        own = bind_recovery_point(flow.resources, *made, flow.context)
        assert (own.bound_by, own.depth) == ("run", "full")
        plan, job = flow.restore(own)
        flow.put("1", table=plan["target_table"], amount={"N": "666"})
        assert flow.prove(own, plan, job).proof.label == "FAILED"
        assert early.step() == own


class TestBadDays:
    @pytest.fixture
    def chosen(self, recovery):
        chosen = plan_made(recovery)
        recovery.wait(3600)
        return chosen

    def test_a_retry_goes_on_with_the_tables_of_the_first_try(self, flow, binder, chosen):
        work = binder(chosen)
        trigger = work.step()
        tables = copies(flow)
        assert sorted(trigger.tables) == sorted(tables)
        assert len(tables) == 2
        # The worker died; Airflow runs the task again. Recovery was even switched off meanwhile.
        switch(flow, on=False)
        again = work.step()
        assert again.tables == trigger.tables
        assert copies(flow) == tables
        flow.wait(61)
        binding = work.step({"status": "success"})
        assert binding.depth == "full"
        assert copies(flow) == []

    def test_one_table_made_and_the_other_not(self, flow, binder, chosen, monkeypatch):
        work = binder(chosen)
        real, calls = flow.dynamodb.restore_table_to_point_in_time, []

        def once(**request: Any) -> Any:
            calls.append(request["TargetTableName"])
            if len(calls) == 2:
                raise RuntimeError("killed")
            return real(**request)

        monkeypatch.setattr(flow.dynamodb, "restore_table_to_point_in_time", once)
        with pytest.raises(RuntimeError):
            work.step()
        assert len(copies(flow)) == 1
        assert work.bind().depth == "full"
        assert len(set(calls)) == 2
        assert copies(flow) == []

    def test_a_table_that_vanished_is_named_and_restored_anew_by_the_retry(self, flow, binder, chosen):
        work = binder(chosen)
        trigger = work.step()
        flow.wait(61)
        flow.dynamodb.delete_table(TableName=trigger.tables[0])
        flow.wait(60)
        event = trigger._look()
        assert event == {"status": "lost", "table": trigger.tables[0]}
        with pytest.raises(BracketTableLostError, match=trigger.tables[0]):
            work.step(event)
        assert work.context["ti"].xcom_push.call_args.kwargs["value"]["type"] == "BracketTableLostError"
        assert work.bind().depth == "full"

    def test_the_last_try_leaves_no_table_behind(self, flow, binder, chosen, monkeypatch):
        work = binder(chosen)
        work.step()
        flow.wait(61)

        def crash(*_: Any, **__: Any) -> Any:
            raise RuntimeError("no")

        monkeypatch.setattr(bracket_tasks, "bind_brackets", crash)
        work.context["ti"].try_number, work.context["ti"].max_tries = 1, 2
        with pytest.raises(RuntimeError):
            work.step({"status": "success"})
        assert len(copies(flow)) == 2
        work.context["ti"].try_number = 3
        with pytest.raises(RuntimeError):
            work.step({"status": "success"})
        assert copies(flow) == []

    @pytest.mark.parametrize("failure", [RuntimeError("a limit"), AirflowTaskTimeout("in time")], ids=["limit", "time"])
    @pytest.mark.parametrize("at", ["start_restores", "bind_brackets", "tables_ready"])
    def test_the_last_try_leaves_no_table_behind_whatever_it_fails_by(
        self, flow, binder, chosen, monkeypatch, at: str, failure: BaseException
    ):
        work = binder(chosen)
        work.step()
        flow.wait(61)

        def fail(*_: Any, **__: Any) -> Any:
            raise failure

        monkeypatch.setattr(bracket_tasks, at, fail)
        ti = work.context["ti"]
        for ti.try_number, left in ((2, 2), (3, 0)):
            ti.max_tries = 2
            with pytest.raises(type(failure)):
                work.step({"status": "success"})
            assert len(copies(flow)) == left

    def test_a_failure_that_is_final_leaves_no_table_behind(self, flow, binder, chosen, budget):
        work = binder(chosen)
        tables = work.step().tables
        flow.wait(61)
        flow.dynamodb.delete_table(TableName=tables[0])
        flow.wait(60)
        budget(0)
        work.context["ti"].max_tries = 2
        with pytest.raises(BudgetRefusedError):
            work.step()
        assert copies(flow) == []

    def test_the_other_table_of_a_lost_one_is_dropped_by_the_last_try(self, flow, binder, chosen):
        work = binder(chosen)
        tables = work.step().tables
        flow.wait(61)
        flow.dynamodb.delete_table(TableName=tables[0])
        flow.wait(60)
        work.context["ti"].try_number, work.context["ti"].max_tries = 3, 2
        with pytest.raises(BracketTableLostError):
            work.step({"status": "lost", "table": tables[0]})
        assert copies(flow) == []

    def test_what_it_fails_by_is_told_though_dropping_fails_too(self, flow, binder, chosen, monkeypatch):
        work = binder(chosen)
        work.step()
        flow.wait(61)

        def refuse(*_: Any, **__: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteTable")

        monkeypatch.setattr(bracket_tasks, "bind_brackets", lambda *_: 1 / 0)
        monkeypatch.setattr(bracket_tasks, "drop_brackets", refuse)
        work.context["ti"].try_number, work.context["ti"].max_tries = 3, 2
        with pytest.raises(ZeroDivisionError) as failed:
            work.step({"status": "success"})
        assert "left to the sweep of retention_cleanup" in failed.value.__notes__[0]

    def test_what_was_restored_is_dropped_where_somebody_else_bound_the_point_meanwhile(self, flow, binder, chosen):
        work = binder(chosen)
        work.step()
        flow.wait(61)
        other = binder(chosen, run_id="manual__2")
        around, job = other.operator()._around(other.context, ProofSettings()), other.operator()._job()
        records = bind_records(around, job, "it was tried")
        assert work.step({"status": "success"}) == records
        assert copies(flow) == []

    def test_a_try_that_was_lost_after_binding_is_cleaned_up_by_the_next(self, flow, binder, chosen, monkeypatch):
        work = binder(chosen)
        work.step()
        flow.wait(61)
        with monkeypatch.context() as patch:
            patch.setattr(bracket_tasks, "drop_brackets", lambda *_: None)
            binding = work.step({"status": "success"})
        assert len(copies(flow)) == 2
        assert work.step() == binding
        assert copies(flow) == []

    def test_the_copies_are_tagged_as_ours_and_on_record(self, flow, binder, chosen, monkeypatch):
        work = binder(chosen)
        trigger = work.step()
        for table in trigger.tables:
            assert flow.document(restore_record_key(table))["run"] == "restore_drill-manual__1"
        flow.wait(61)
        monkeypatch.setattr(bracket_tasks, "drop_brackets", lambda *_: None)
        work.step({"status": "success"})
        assert {flow.tags(table)["run"] for table in trigger.tables} == {"restore_drill-manual__1"}

    def test_a_table_of_that_name_that_is_somebody_elses_is_left_alone(self, flow, binder, chosen):
        work = binder(chosen)
        trigger = work.step()
        for table in trigger.tables:
            key = restore_record_key(table)
            record = flow.document(key)
            flow.s3.put_object(Bucket=flow.bucket, Key=key, Body=str({**record, "run": "other"}).replace("'", '"'))
        with pytest.raises(NameTakenError, match="other"):
            work.step()

    @pytest.mark.parametrize("sides", [("before", "after"), ("after",)], ids=["both", "the later one"])
    def test_a_table_that_nobody_claimed_is_refused_at_every_try_and_left_as_it_is(
        self, flow, binder, chosen, new_context, sides
    ):
        """A claim that is written before anybody looks would make it ours at the next try, read and dropped."""
        probe = binder(chosen)
        names = dict(zip(("before", "after"), probe.step().tables, strict=True))
        flow.wait(61)
        for table in names.values():
            flow.dynamodb.delete_table(TableName=table)
        flow.wait(60)
        flow.forget("restores/")
        for side in sides:
            flow.make_table(names[side])
            flow.put("theirs", table=names[side])
        flow.wait(60)
        for _ in range(3):
            with pytest.raises(AirflowFailException, match=f"{names[sides[0]]} exists already.*drop it by hand"):
                binder(chosen).step()
        assert (flow.keys("restores/"), sorted(copies(flow))) == ([], sorted(names[side] for side in sides))

    def test_cleaning_up_after_a_binding_leaves_a_strangers_table_alone(self, flow, binder, chosen):
        first, second = binder(chosen), binder(chosen, run_id="manual__2")
        names = second.step().tables
        flow.wait(61)
        for table in names:
            flow.dynamodb.delete_table(TableName=table)
        flow.wait(60)
        flow.forget("restores/")
        flow.make_table(names[0])
        flow.wait(60)
        bound = first.bind()
        assert second.step() == bound
        assert copies(flow) == [names[0]]

    @pytest.mark.parametrize("whose", ["a stranger's", "another try's"])
    def test_a_table_that_comes_up_after_the_look_is_taken_for_what_it_is(
        self, flow, binder, chosen, monkeypatch, whose: str
    ):
        real = flow.dynamodb.restore_table_to_point_in_time

        def overtaken(**request: Any) -> Any:
            if whose == "another try's":
                real(**request)
            elif request["TargetTableName"] not in flow.tables():
                flow.make_table(request["TargetTableName"])
            return real(**request)

        monkeypatch.setattr(flow.dynamodb, "restore_table_to_point_in_time", overtaken)
        if whose == "another try's":
            assert binder(chosen).bind().depth == "full"
            return
        for _ in range(3):
            with pytest.raises(NameTakenError, match="exists already"):
                binder(chosen).step()
        assert (flow.keys("restores/"), len(copies(flow))) == ([], 1)

    def test_a_try_that_was_lost_between_its_claim_and_the_restore_is_gone_on_with(
        self, flow, binder, chosen, monkeypatch
    ):
        def killed(**_: Any) -> Any:
            raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(flow.dynamodb, "restore_table_to_point_in_time", killed)
            with pytest.raises(RuntimeError):
                binder(chosen).step()
        assert (len(flow.keys("restores/")), copies(flow)) == (1, [])
        assert binder(chosen).bind().depth == "full"

    @pytest.mark.parametrize("bound_by", ["brackets", "run"])
    def test_a_cleared_run_finds_what_is_bound_though_the_point_is_gone(self, flow, binder, chosen, bound_by: str):
        """A backfill is reprocessed after retention has deleted the point; the drill has its verdict."""
        if bound_by == "run":
            binding = flow.back_up()
            chosen = {**chosen, "recovery_point_arn": binding.recovery_point_arn}
        else:
            binding = binder(chosen).bind()
        arn = chosen["recovery_point_arn"]
        flow.backup.delete_recovery_point(BackupVaultName=chosen["vault"], RecoveryPointArn=arn)
        flow.wait(60)
        again = binder(chosen)
        again.context["ti"].try_number = 2
        assert again.step() == binding

    def test_two_runs_that_bind_one_point_get_one_binding(self, flow, binder, chosen):
        first, second = binder(chosen), binder(chosen, run_id="manual__2")
        second.order = {**second.order, "run": "restore_drill-manual__2"}
        first.step()
        second.step()
        assert len(copies(flow)) == 4
        flow.wait(61)
        assert first.step({"status": "success"}) == second.step({"status": "success"})
        assert copies(flow) == []

    def test_a_table_that_is_gone_leaves_nothing_to_go_by(self, flow, binder, chosen):
        flow.dynamodb.update_table(TableName="orders", DeletionProtectionEnabled=False)
        flow.dynamodb.delete_table(TableName="orders")
        flow.wait(60)
        with pytest.raises(NothingBoundError, match="orders is not there any more"):
            binder(chosen).step()


def test_a_table_that_was_made_anew_cannot_be_bracketed(recovery):
    flow = recovery
    chosen = plan_made(flow)
    described = flow.backup.describe_recovery_point(
        BackupVaultName=chosen["vault"], RecoveryPointArn=chosen["recovery_point_arn"]
    )
    old = dt.timedelta(days=400)
    job = Job.of(chosen, {**described, "CreationDate": described["CreationDate"] - old, "InitiationDate": None})
    assert "was made at" in str(window_of(flow.dynamodb, job).why_not)


def test_the_trigger_waits_for_both_tables(recovery, binder):
    flow = recovery
    chosen = plan_made(flow)
    flow.wait(3600)
    trigger = binder(chosen).step()
    assert trigger._look() is None
    name, values = trigger.serialize()
    assert name == "backup_flows.triggers.TablesReadyTrigger"
    flow.wait(61)

    async def first() -> Any:
        return await anext(type(trigger)(**values).run())

    assert asyncio.run(first()).payload == {"status": "success"}


def test_a_recovery_point_that_can_not_be_restored_is_told_before_anything_is_made(recovery, binder):
    flow = recovery
    chosen = plan_made(flow)
    flow.wait(3600)
    flow.backup.delete_recovery_point(BackupVaultName=chosen["vault"], RecoveryPointArn=chosen["recovery_point_arn"])
    flow.wait(60)
    with pytest.raises(RecoveryPointGoneError, match=chosen["recovery_point_arn"]):
        binder(chosen).step()
    assert copies(flow) == []


def test_the_orders_own_point_is_bound_where_no_other_is_named(recovery, binder):
    flow = recovery
    chosen = plan_made(flow)
    work = binder(chosen)
    work.order = {**work.order, "chosen": chosen}
    work.chosen = None
    switch(flow, on=False)
    assert work.step().recovery_point_arn == chosen["recovery_point_arn"]


def test_it_is_wired_with_the_runs_read_limit():
    output = bind_by_brackets({"bucket": "b"}, {"table": "t"})
    assert output.operator.max_rcu == "{{ params.max_rcu }}"
    assert output.operator.task_id == "bind"
