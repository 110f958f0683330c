"""How the story is wired: order, setups and teardowns, what is repeated, what the trigger form refuses."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from backup_flows import recovery_points, restores

CHAIN = [
    "skip_switch",
    "preflight",
    "stage",
    "acquire_lease",
    "load",
    "back_up.plant_canaries",
    "back_up.settle_before",
    "back_up.fingerprint_before",
    "back_up.start_backup_job",
    "back_up.wait_for_backup_job",
    "back_up.settle_after",
    "back_up.bind_recovery_point",
    "restore.plan_restore",
    "restore.start_restore_job",
    "restore.wait_for_restore_job",
    "restore.tag_restored_table",
    "prove",
    "report",
]
MAPPED = {
    "survey_shard": ("plan_load", "decide_load"),
    "write_shard": ("decide_load", "load"),
    "back_up.scan_before": ("back_up.plan_scans", "back_up.fingerprint_before"),
    "back_up.scan_after": ("back_up.plan_scans", "back_up.bind_recovery_point"),
    "scan_restored": ("plan_proof_scans", "prove"),
}
"""What large files and tables are cut into, each with what comes right before and after it."""
AROUND_MAPPED = {"plan_load", "decide_load", "back_up.plan_scans", "plan_proof_scans"}
TEARDOWNS = {"release_lease": "acquire_lease", "drop_restored_table": "restore.start_restore_job"}


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["orders_backup_restore"]


def relatives(dag: Any, task_id: str, *, upstream: bool) -> set[str]:
    return {task.task_id for task in dag.get_task(task_id).get_flat_relatives(upstream=upstream)}


def test_the_tasks_are_the_storys(dag):
    assert set(dag.task_ids) == {*CHAIN, *MAPPED, *AROUND_MAPPED, *TEARDOWNS}


@pytest.mark.parametrize(("mapped", "around"), MAPPED.items())
def test_what_is_large_is_done_by_mapped_tasks_a_few_at_a_time(dag, mapped: str, around: tuple[str, str]):
    task = dag.get_task(mapped)
    assert task.is_mapped
    assert around[0] in relatives(dag, mapped, upstream=True)
    assert around[1] in task.downstream_task_ids
    assert 1 <= task.max_active_tis_per_dagrun <= 16


@pytest.mark.parametrize("task_id", ["load", "back_up.fingerprint_before", "back_up.bind_recovery_point", "prove"])
def test_a_small_table_skips_the_mapped_tasks_and_nothing_else(dag, task_id: str):
    """But for a failure before it: then it must not run."""
    assert dag.get_task(task_id).trigger_rule == "none_failed_min_one_success"


def test_a_fingerprint_comes_after_settling_whether_it_is_taken_in_parts_or_not(dag):
    for settle, scan, whole in (
        ("settle_before", "scan_before", "fingerprint_before"),
        ("settle_after", "scan_after", "bind_recovery_point"),
    ):
        assert {f"back_up.{scan}", f"back_up.{whole}"} <= dag.get_task(f"back_up.{settle}").downstream_task_ids
    assert {"scan_restored", "prove"} <= dag.get_task("restore.tag_restored_table").downstream_task_ids


@pytest.mark.parametrize(("earlier", "later"), list(itertools.pairwise(CHAIN)))
def test_each_step_comes_after_the_one_before(dag, earlier: str, later: str):
    assert earlier in relatives(dag, later, upstream=True)


def test_the_switch_skips_every_task_but_teardowns_whose_setup_is_skipped_too(dag):
    assert relatives(dag, "skip_switch", upstream=False) == {*dag.task_ids} - {"skip_switch"}


@pytest.mark.parametrize(("teardown", "setup"), TEARDOWNS.items())
def test_what_is_taken_is_given_back_whatever_happens(dag, teardown: str, setup: str):
    task = dag.get_task(teardown)
    assert task.is_teardown
    assert dag.get_task(setup).is_setup
    assert setup in task.upstream_task_ids
    assert task.trigger_rule == "all_done_setup_success"
    # A failing teardown must not make a good run fail: the sweep takes care of what is left.
    assert task.on_failure_fail_dagrun is False
    assert task.retries == 5


def test_there_are_no_other_setups_or_teardowns(dag):
    assert {task.task_id for task in dag.tasks if task.is_teardown} == set(TEARDOWNS)
    assert {task.task_id for task in dag.tasks if task.is_setup} == set(TEARDOWNS.values())


def test_the_lease_is_held_from_load_to_the_second_fingerprint_and_not_through_the_restore(dag):
    held = relatives(dag, "acquire_lease", upstream=False) & relatives(dag, "release_lease", upstream=True)
    around = {"plan_load", "survey_shard", "decide_load", "write_shard", "back_up.plan_scans"}
    scans = {"back_up.scan_before", "back_up.scan_after"}
    assert held == {*CHAIN[CHAIN.index("load") : CHAIN.index("back_up.bind_recovery_point") + 1], *around, *scans}
    assert "release_lease" not in relatives(dag, "restore.plan_restore", upstream=True)


def test_the_table_is_dropped_after_the_proof(dag):
    assert "prove" in relatives(dag, "drop_restored_table", upstream=True)


@pytest.mark.parametrize("task_id", ["preflight", "stage", "prove", "report"])
def test_what_another_try_does_not_change_is_not_tried_again(dag, task_id: str):
    assert dag.get_task(task_id).retries == 0


@pytest.mark.parametrize("task_id", ["load", "back_up.start_backup_job", "restore.start_restore_job"])
def test_what_is_safe_to_repeat_is_repeated(dag, task_id: str):
    assert dag.get_task(task_id).retries > 0


def test_the_tasks_have_the_names_under_which_their_jobs_are_asked_for(dag):
    """Another name would be another intent: the fingerprint would look for a job that never is."""
    assert recovery_points.START_TASK in dag.task_ids
    assert restores.START_TASK in dag.task_ids


def test_the_jobs_are_watched_by_sensors_that_wait_deferred(dag):
    for task_id in ("back_up.wait_for_backup_job", "restore.wait_for_restore_job"):
        assert dag.get_task(task_id).deferrable is True
    assert dag.get_task("back_up.wait_for_backup_job").stop_job_on_kill is True


def test_a_recovery_point_carries_what_it_is_found_by(dag):
    tags = dag.get_task("back_up.start_backup_job").recovery_point_tags
    assert {"managed-by", "table", "as-of", "dag", "run"} == set(tags)
    assert tags["managed-by"] == "dynamodb-backup-proof"


def test_what_it_makes_is_told_to_other_dags(dag):
    made = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert made == {
        "load": ["orders_table"],
        "back_up.bind_recovery_point": ["orders_recovery_point"],
        "prove": ["orders_verdict"],
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("settle_seconds", [-1, 3601, 1.5, "60", None, True]),
        ("max_reject_ratio", [-0.1, 1.1, 2, "0.1", None]),
        ("delete_after_days", [0, 36501, 1.5, "35", None]),
        ("max_wcu", [0, -1, "10", True]),
        ("max_rcu", [0, -1, "10", True]),
        ("source", ["", "s3://", "s3://bucket", "s3://bucket/", "http://example.org/a.csv", "ftp://a/b", 7, None]),
        ("stack_name", ["", "1st", "a b", "-a", "a" * 129, None]),
        ("force_new", ["true", 1, None]),
        ("keep_restored_table", ["true", 0, None]),
    ],
)
def test_the_form_refuses_what_makes_no_sense(dag, name: str, values: list[Any]):
    param = copy.copy(dag.params.get_param(name))
    for value in values:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("settle_seconds", [0, 60, 3600]),
        ("max_reject_ratio", [0, 0.05, 1]),
        ("delete_after_days", [1, 36500]),
        ("max_wcu", [None, 0.5, 1000]),
        ("max_rcu", [None, 0.5, 1000]),
        ("source", ["a.csv", "/a/b.csv", "in/{as_of}.csv", "s3://bucket/a/{as_of}.csv"]),
        ("stack_name", ["orders-backup", "A1"]),
        ("force_new", [True, False]),
    ],
)
def test_the_form_takes_what_makes_sense(dag, name: str, values: list[Any]):
    param = copy.copy(dag.params.get_param(name))
    for value in values:
        assert param.resolve(value) == value


def test_the_defaults_are_good_ones(dag):
    assert dag.params.validate() == {
        "source": "include/data/daily/order_data_{as_of}.csv",
        "settle_seconds": 120,
        "max_reject_ratio": 0.05,
        "max_wcu": None,
        "max_rcu": None,
        "delete_after_days": 35,
        "force_new": False,
        "keep_restored_table": False,
        "stack_name": "orders-backup",
    }
