"""How retention is wired: looks before it deletes, one task per deletion, and a receipt whatever happens."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import ParamValidationError

from backup_flows.retention.tasks import files_of, guard_deletion


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["retention_cleanup"]


@pytest.fixture(scope="module")
def delete(dag):
    return dag.get_task("delete_recovery_point")


def test_the_tasks_and_their_order(dag):
    upstream = {task.task_id: task.upstream_task_ids for task in dag.tasks}
    assert upstream == {
        "skip_switch": set(),
        "plan_retention": {"skip_switch"},
        "request_drills": {"plan_retention"},
        "protect_points": {"plan_retention"},
        "ask_or_go": {"plan_retention"},
        "approve": {"ask_or_go"},
        "go": {"ask_or_go", "approve"},
        "due_deletions": {"plan_retention", "go"},
        "delete_recovery_point": {"due_deletions"},
        "sweep_restored_tables": {"plan_retention", "go"},
        "sweep_files": {"plan_retention", "go"},
        "receipt": {
            "plan_retention",
            "request_drills",
            "protect_points",
            "delete_recovery_point",
            "sweep_restored_tables",
            "sweep_files",
        },
    }


def test_no_answer_in_time_is_a_refusal_and_a_refusal_skips_all_that_deletes(dag):
    approve = dag.get_task("approve")
    assert approve.defaults == ["Reject"]
    assert approve.response_timeout.total_seconds() == 12 * 3600
    assert approve.ignore_downstream_trigger_rules is False
    assert dag.get_task("go").trigger_rule == "none_failed_min_one_success"


def test_each_deletion_is_a_task_of_its_own_and_few_run_at_once(delete):
    assert isinstance(delete, MappedOperator)
    assert delete.max_active_tis_per_dagrun == 4


def test_the_guard_stands_before_each_deletion(delete):
    arguments = delete.partial_kwargs
    assert arguments["is_deletable"] is guard_deletion
    assert arguments["files_of"] is files_of
    assert arguments["deferrable"] is True


def test_the_receipt_is_written_although_a_deletion_failed(dag):
    assert dag.get_task("receipt").trigger_rule == "all_done"


@pytest.mark.parametrize("task_id", ["ask_or_go", "approve", "go", "receipt"])
def test_what_only_asks_and_tells_is_not_repeated(dag, task_id: str):
    assert dag.get_task(task_id).retries == 0


def test_one_run_at_a_time(dag):
    assert dag.max_active_runs == 1


def test_it_follows_the_file_unless_it_is_told_otherwise(dag):
    assert dag.params.validate() == {
        "mode": "as configured",
        "max_deletions": 500,
        "accept_inventory": False,
        "sweep_older_than_minutes": 60,
        "stack_name": "orders-backup",
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mode", ["delete", "", None, True]),
        ("max_deletions", [0, 501, None]),
        ("accept_inventory", ["true", 1, None]),
        ("sweep_older_than_minutes", [-1, 525601, None]),
        ("stack_name", ["", "a b", None]),
    ],
)
def test_the_form_refuses_what_is_not_safe_or_makes_no_sense(dag, name: str, values: list[Any]):
    param = copy.copy(dag.params.get_param(name))
    for value in values:
        with pytest.raises(ParamValidationError):
            param.resolve(value)
