"""How the monthly proof is wired."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["deny_delete_proof"]


def test_the_probe_is_opened_tried_and_closed(dag):
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "skip_switch": set(),
        "open_probe": {"skip_switch"},
        "wait_for_probe": {"open_probe"},
        "try_everything": {"wait_for_probe"},
        "close_probe": {"open_probe", "try_everything"},
    }
    assert dag.get_task("close_probe").is_teardown
    assert dag.get_task("close_probe").on_failure_fail_dagrun


def test_it_runs_monthly_and_one_at_a_time(dag):
    assert dag.timetable.expression == "0 4 1 * *"
    assert dag.max_active_runs == 1


def test_a_second_look_does_not_turn_a_failed_proof_into_a_pass(dag):
    assert dag.get_task("try_everything").retries == 0
