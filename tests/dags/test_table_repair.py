"""How the repair of a table is wired."""

from __future__ import annotations

import itertools

import pytest

ORDER = ["go", "acquire_lease", "write", "check", "receipt"]


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["table_repair"]


def test_it_only_shows_unless_told_otherwise(dag):
    assert dag.params["dry_run"] is True
    assert dag.params["confirm"] == ""
    assert dag.schedule is None


def test_a_person_is_asked_before_anything_is_written(dag):
    assert dag.get_task("ask_or_go").downstream_task_ids == {"preview", "approve", "go"}
    assert dag.get_task("approve").downstream_task_ids == {"go"}
    assert dag.get_task("go").trigger_rule == "none_failed_min_one_success"
    assert dag.get_task("approve").response_timeout.days == 1


@pytest.mark.parametrize(("first", "then"), list(itertools.pairwise(ORDER)))
def test_it_goes_in_the_right_order(dag, first, then):
    assert then in dag.get_task(first).downstream_task_ids


def test_the_lease_is_not_held_while_a_person_is_asked_and_is_given_back_whatever_happens(dag):
    assert "approve" in {task.task_id for task in dag.get_task("acquire_lease").get_flat_relatives(upstream=True)}
    released = dag.get_task("release_lease")
    assert released.is_teardown
    assert {task.task_id for task in released.upstream_list} >= {"acquire_lease", "check"}
