"""The budget's guard before a drill, and what the drill did cost after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aws_backup.hooks.backup import BackupHook
from backup_flows import expecting, restores
from backup_flows.budget import spending
from backup_flows.drills import budgeting, concluding, tasks
from backup_flows.drills.budgeting import refusal_of
from backup_flows.drills.errors import DrillsNotProvenError
from backup_flows.failures import FAILURE
from backup_flows.project_files import PROJECT_HOME_VARIABLE, project_home
from restore_proof.history_reader import read_history

pytestmark = pytest.mark.component


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make a project whose ``protection.yaml`` has a budget; prices are a million-fold, so that small drills cost."""
    home = project_home()

    def make(monthly_usd: float | None, *, prices: str | None = None) -> Path:
        include = tmp_path / "include"
        include.mkdir(exist_ok=True)
        protection = yaml.safe_load((home / "include/protection.yaml").read_text())
        (include / "protection.yaml").write_text(yaml.safe_dump({**protection, "budget": {"monthly_usd": monthly_usd}}))
        dear = yaml.safe_load((home / "include/prices.yaml").read_text())
        dear["prices"] = {name: 1_000_000 * dollars for name, dollars in dear["prices"].items() if dollars}
        dear["prices"] |= {"s3_put_thousand": 0.005, "s3_get_thousand": 0.0004}
        (include / "prices.yaml").write_text(prices or yaml.safe_dump(dear))
        monkeypatch.setenv(PROJECT_HOME_VARIABLE, str(tmp_path))
        return tmp_path

    return make


def spent(flow: Any) -> list[str]:
    return [key.rpartition("/")[2].partition("-")[0] for key in flow.keys("spending/2026-11/")]


def test_a_drill_is_reckoned_before_and_after(flow, run, order, project):
    project(5)
    concluded = run.drill(order)
    assert concluded["verdict"] == "PROVEN"
    checked = run.xcoms["check_budget", "return_value"]
    assert (checked["month"], checked["limit_usd"], checked["others_usd"]) == ("2026-11", 5.0, 0.0)
    (record,) = read_history(flow.s3, flow.bucket, "orders")
    assert record.estimated_usd == checked["estimate"]["total_usd"] > 0
    assert record.actual_usd is not None
    assert 0 < record.actual_usd < record.estimated_usd
    assert spent(flow) == ["actual", "estimated"]
    # The tier is daily, with windows of one hour and two: 24 + 1 + 2 hours.
    assert (record.rpo_target, record.rto_target) == (27 * 3600, 240 * 60)
    assert record.usable_age == 60
    assert record.restore_job_id == run.restore_jobs()[0]


def test_a_drill_over_the_budget_is_not_started_and_leaves_no_verdict(flow, run, order, binding, project):
    project(0)
    assert run.drill(order) is None
    assert run.states["check_budget"] == "failed"
    assert run.states["conclude"] == "skipped"
    assert run.restore_jobs() == []
    assert run.verdicts(binding) == {}
    assert spent(flow) == []
    told = refusal_of(run.xcoms["check_budget", FAILURE])
    assert told is not None
    assert "more than the 0.00 $ that budget.monthly_usd allows" in told
    with pytest.raises(DrillsNotProvenError, match="no verdict: the drill of table orders is expected to cost"):
        run.in_task(concluding.report_drills, run.context, [order], None)


def test_a_drill_that_was_refused_runs_when_the_budget_was_raised(flow, run, order, project):
    project(0)
    assert run.drill(order) is None
    project(5)
    assert run.drill(order)["verdict"] == "PROVEN"


def test_without_a_limit_a_bad_price_file_stops_nothing(flow, run, order, project):
    project(None, prices="version: 1\n")
    assert run.drill(order)["verdict"] == "PROVEN"
    (record,) = read_history(flow.s3, flow.bucket, "orders")
    assert (record.estimated_usd, record.actual_usd) == (None, None)
    assert record.rto_target == 240 * 60


def test_with_a_limit_a_bad_price_file_stops_the_drill(flow, run, order, binding, project):
    project(5, prices="version: 1\n")
    assert run.drill(order) is None
    assert "what a drill costs can't be told" in run.xcoms["check_budget", FAILURE]["message"]
    assert run.restore_jobs() == []
    assert run.verdicts(binding) == {}


def test_a_restore_that_failed_costs_nothing_but_its_requests(flow, run, order, project):
    project(5)
    restored = run.restore(order)
    plan, _ = restored
    run.states["prove"] = "upstream_failed"
    run.states["restore.start_restore_job"] = "success"
    run.xcoms["restore.start_restore_job", "return_value"] = None
    assert run.conclude(order)["verdict"] == "FAILED"
    (record,) = read_history(flow.s3, flow.bucket, "orders")
    assert record.actual_usd is not None
    assert record.actual_usd < 0.001
    assert plan["target_table"] == order["target_table"]


def test_attempts_that_share_a_restore_pay_for_it_once(flow, run, order, project):
    project(5)
    first = run.restore(order)
    run.states["prove"] = "failed"
    run.conclude(order)
    assert run.drill(order)["verdict"] == "PROVEN"
    assert len(run.restore_jobs()) == 1
    died, proven = sorted(read_history(flow.s3, flow.bucket, "orders"), key=lambda record: record.decided_at)
    assert (died.proven, proven.proven) == (False, True)
    assert died.restore_job_id == proven.restore_job_id == first[1]["job_id"]
    paid = flow.document(next(k for k in flow.keys("spending/") if f"{proven.drill_id}/actual" in k))
    assert paid["remarks"][0] == f"The restore is counted with the attempt {died.drill_id}."


def restores_paid(flow: Any) -> dict[str, bool]:
    """Say by attempt whether what it did cost has a restore in it."""
    attempts = {key.split("/")[3]: flow.document(key) for key in flow.keys("spending/") if "/actual-" in key}
    return {
        "second" if attempt.endswith("-2") else "first": any(
            part["usd"] > 0 for part in document["parts"] if part["name"] == "restore"
        )
        for attempt, document in attempts.items()
    }


def lose_the_process(run: Any, order: dict[str, Any]) -> Any:
    """Start a restore, and lose the process that waits for it; return what is concluded."""
    bound = run.call("prepare", tasks.prepare, order)
    run.call("check_budget", budgeting.check_budget, order, bound)
    plan = run.call("restore.plan_restore", restores.plan_restore, order, bound, "drill.restore.start_restore_job")
    run.start(plan)
    run.states |= {"restore.wait_for_restore_job": "failed", "prove": "upstream_failed"}
    return run.conclude(order)


def test_a_restore_that_outlives_its_attempt_is_paid_for_by_that_attempt(flow, new_run, binding, project):
    project(5)
    run = new_run()
    (order,) = run.choose()
    assert lose_the_process(run, order)["verdict"] == "FAILED"
    assert restores_paid(flow) == {"first": True}
    (record,) = read_history(flow.s3, flow.bucket, "orders")
    assert record.actual_usd == pytest.approx(spending(flow.s3, flow.bucket, "2026-11"))

    again = new_run()
    assert again.drill(*again.choose())["verdict"] == "PROVEN"
    assert len(again.restore_jobs()) == 1
    assert restores_paid(flow) == {"first": True, "second": False}


def test_a_restore_that_no_price_was_known_for_is_paid_for_by_the_next_attempt(flow, new_run, binding, project):
    project(None, prices="version: 1\n")
    run = new_run()
    (order,) = run.choose()
    assert lose_the_process(run, order)["verdict"] == "FAILED"
    assert restores_paid(flow) == {}

    project(5)
    again = new_run()
    assert again.drill(*again.choose())["verdict"] == "PROVEN"
    assert len(again.restore_jobs()) == 1
    assert restores_paid(flow) == {"second": True}


def test_an_attempt_that_counted_no_restore_is_not_named_by_a_later_one(flow, new_run, binding, project, monkeypatch):
    """AWS is misunderstood to have failed: the attempt ends without a restore in its sum."""
    project(5)
    run = new_run()
    (order,) = run.choose()
    monkeypatch.setattr(concluding, "restore_job_of", lambda _, job_id: {"job_id": job_id, "state": "FAILED"})
    assert lose_the_process(run, order)["verdict"] == "FAILED"
    monkeypatch.undo()
    project(5)
    assert restores_paid(flow) == {"first": False}

    again = new_run()
    assert again.drill(*again.choose())["verdict"] == "PROVEN"
    assert restores_paid(flow) == {"first": False, "second": True}


@pytest.fixture
def unsized(flow: Any, run: Any, order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Check the budget of a drill whose recovery point has no size; return what is told, or why it is refused."""

    def check(table_bytes: int) -> Any:
        bound = {**run.call("prepare", tasks.prepare, order), "size_bytes": None, "before": {}, "depth": "schema"}
        monkeypatch.setattr(BackupHook, "find_recovery_point", lambda *_: {"StorageClass": "WARM"})
        monkeypatch.setattr(expecting, "told_size", lambda _, table: {"orders": table_bytes or None}[table])
        checked = run.call("check_budget", budgeting.check_budget, order, bound)
        return checked or refusal_of(run.xcoms["check_budget", FAILURE])

    return check


def test_a_backup_of_unknown_size_is_held_against_the_budget_by_the_tables_size(flow, unsized, project):
    project(5)
    assert "more than the 5.00 $" in unsized(10 * 1024**3)
    assert spent(flow) == []


@pytest.mark.parametrize(("limit", "allowed"), [(1_000_000, False), (None, True)])
def test_without_any_size_a_limit_refuses_the_drill(flow, unsized, project, limit, allowed):
    project(limit)
    told = unsized(0)
    if allowed:
        assert told["estimate"]["remarks"][0].startswith("How much is restored is not known")
    else:
        assert "nor, as yet, that of the table. Nothing was restored." in told
    assert bool(spent(flow)) is allowed


def test_a_table_that_is_gone_or_was_not_measured_has_no_size(flow):
    assert flow.dynamodb.describe_table(TableName="orders")["Table"]["TableSizeBytes"] == 0
    assert expecting.told_size(flow.dynamodb, "orders") is None
    assert expecting.told_size(flow.dynamodb, "gone") is None
