"""How drills are wired: each by itself, a verdict after whatever happens, the table dropped behind it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from backup_flows.defaults import DRILL_REQUEST, DRILL_VERDICT
from backup_flows.drills.flow import ADOPTED_TASKS, DRILL_TASKS
from backup_flows.fleet_tasks import RECOVERY_POINTS

CHAIN = ["skip_switch", "choose", *(f"drill.{name}" for name in DRILL_TASKS), "drill.conclude", "report"]
ADOPTED = ["skip_switch", "choose_restore_tests", *(f"adopted.{name}" for name in ADOPTED_TASKS), "adopted.conclude"]
DROP = "drill.drop_restored_table"
PUT = "adopted.put_validation_result"


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["restore_drill"]


def upstream(dag: Any, task_id: str) -> set[str]:
    return {task.task_id for task in dag.get_task(task_id).get_flat_relatives(upstream=True)}


def test_the_tasks_are_the_drills(dag):
    assert set(dag.task_ids) == {*CHAIN, *ADOPTED, DROP, PUT}


@pytest.mark.parametrize(("earlier", "later"), [*itertools.pairwise(CHAIN), *itertools.pairwise([*ADOPTED, PUT])])
def test_each_step_comes_after_the_one_before(dag, earlier: str, later: str):
    assert earlier in upstream(dag, later)


@pytest.mark.parametrize("group", ["drill", "adopted"])
def test_a_verdict_follows_whatever_happened_and_is_an_event(dag, group: str):
    concluded = dag.get_task(f"{group}.conclude")
    assert concluded.trigger_rule == "all_done"
    assert concluded.upstream_task_ids >= {f"{group}.prove"}
    assert [asset.uri for asset in concluded.outlets] == [DRILL_VERDICT.uri]
    assert concluded.retries > 0


@pytest.mark.parametrize("group", ["drill", "adopted"])
def test_a_lost_proof_is_repeated(dag, group: str):
    assert dag.get_task(f"{group}.prove").retries == 2


def test_the_restored_table_is_dropped_after_the_proof_whatever_it_came_to(dag):
    drop = dag.get_task(DROP)
    assert drop.is_teardown
    assert drop.upstream_task_ids >= {"drill.prove", "drill.restore.start_restore_job"}
    assert dag.get_task("drill.restore.start_restore_job").is_setup


def test_the_verdict_does_not_hang_on_the_restore_having_been_started(dag):
    """Airflow runs nothing between a setup and its teardown where the setup did not run."""
    assert DROP not in {task.task_id for task in dag.get_task("drill.conclude").get_flat_relatives(upstream=False)}


def test_no_task_drops_a_table_of_awss_own_tests(dag):
    assert not [task_id for task_id in dag.task_ids if task_id.startswith("adopted.") and "drop" in task_id]


def test_the_report_decides_the_run_and_waits_for_every_drill(dag):
    report = dag.get_task("report")
    assert report.upstream_task_ids == {"drill.conclude", PUT, "choose", "choose_restore_tests"}
    assert not report.downstream_task_ids
    assert report.trigger_rule == "none_failed"
    assert [task.task_id for task in dag.leaves if not task.is_teardown] == ["report"]


def test_it_runs_by_the_week_and_by_what_asks_for_it(dag):
    asked = {asked.name for asked in dag.timetable.asset_condition.objects}
    assert asked == {DRILL_REQUEST.name, "orders_recovery_point", RECOVERY_POINTS.name}
    assert dag.timetable.timetable.expression == "0 7 * * 0"


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("mode", "all"),
        ("table", "a table"),
        ("recovery_point_arn", "5"),
        ("as_of", "yesterday"),
        ("as_of", "2026-11"),
        ("max_drills", 0),
        ("max_drills", 51),
        ("max_rcu", 0),
        ("restore_testing_plan_arn", "weekly"),
    ],
)
def test_the_form_refuses_what_can_not_be_done(dag, param: str, value: Any):
    with pytest.raises(ParamValidationError):
        dag.params.get_param(param).resolve(value)


@pytest.mark.parametrize(
    ("param", "value"),
    [("as_of", "2026-11-01"), ("as_of", "2026-11-01T06:00:00Z"), ("force_new", "again"), ("table", "orders")],
)
def test_the_form_takes_what_can(dag, param: str, value: Any):
    assert dag.params.get_param(param).resolve(value) == value
