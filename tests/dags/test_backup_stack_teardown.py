"""How the stack's teardown is wired."""

from __future__ import annotations

import itertools

import pytest

ORDER = [
    "go",
    "stop_schedule",
    "delete_points",
    "wait_until_gone",
    "delete_tables",
    "empty_bucket",
    "delete_stack",
    "receipt",
]


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["backup_stack_teardown"]


def test_a_person_is_asked_before_anything_is_deleted(dag):
    assert dag.get_task("ask_or_go").downstream_task_ids == {"approve", "go"}
    assert dag.get_task("approve").upstream_task_ids >= {"ask_or_go"}
    assert dag.get_task("go").trigger_rule == "none_failed_min_one_success"
    assert dag.get_task("approve").response_timeout.days == 1


@pytest.mark.parametrize(("first", "then"), list(itertools.pairwise(ORDER)))
def test_it_goes_in_the_right_order(dag, first, then):
    assert then in dag.get_task(first).downstream_task_ids


def test_every_deletion_waits_for_the_go(dag):
    beyond = {task.task_id for task in dag.get_task("go").get_flat_relatives(upstream=False)}
    assert beyond == set(ORDER[1:])


def test_the_unattended_way_has_to_be_typed_out(dag):
    assert dag.params["confirm"] == ""
    assert dag.schedule is None
