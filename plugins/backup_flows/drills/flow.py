"""The wiring of the DAG ``restore_drill``."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task_group

from backup_flows.bracket_tasks import bind_by_brackets
from backup_flows.drills.budgeting import CHECK_BUDGET, check_budget
from backup_flows.drills.concluding import conclude_drill, put_validation_result, report_drills
from backup_flows.drills.tasks import (
    choose,
    choose_restore_tests,
    describe_restore_job,
    drop_restored,
    prepare,
    prepare_adopted,
    prove_adopted,
    prove_restored,
)
from backup_flows.restores import START_TASK, restore

DRILL_GROUP = "drill"
ADOPTED_GROUP = "adopted"
DRILL_TASKS = [
    "bind",
    "prepare",
    CHECK_BUDGET,
    "restore.plan_restore",
    "restore.start_restore_job",
    "restore.wait_for_restore_job",
    "restore.tag_restored_table",
    "prove",
]
ADOPTED_TASKS = ["bind", "prepare", "describe_restore_job", "prove"]


@task_group(group_id=DRILL_GROUP)
def drill(order: Any) -> Any:
    """Restore one recovery point to a table of its own, prove it, leave a verdict whatever happens, drop the table.

    :return: what it concluded.
    """
    bound: Any = bind_by_brackets(order)
    binding: Any = prepare(order)
    bound >> binding
    restored: Any = restore(order, binding, start_task=f"{DRILL_GROUP}.{START_TASK}")
    plan, job, start, tagged = restored
    check_budget(order, binding) >> plan
    proven: Any = prove_restored(order, plan, binding, job)
    concluded: Any = conclude_drill(order, DRILL_TASKS)
    dropped: Any = drop_restored(order, plan)
    tagged >> proven >> concluded
    # Not after the verdict: what stands between a setup and its teardown does not run where the setup did not.
    proven >> dropped.as_teardown(setups=start)
    return concluded


@task_group(group_id=ADOPTED_GROUP)
def adopted(order: Any) -> Any:
    """Prove a table that AWS's restore testing restored, and tell AWS; the table is AWS's to drop.

    :return: what AWS was told.
    """
    bound: Any = bind_by_brackets(order)
    binding: Any = prepare_adopted(order)
    bound >> binding
    job: Any = describe_restore_job(order)
    proven: Any = prove_adopted(order, binding, job)
    concluded: Any = conclude_drill(order, ADOPTED_TASKS)
    binding >> job
    told: Any = put_validation_result(order)
    proven >> concluded >> told
    return told


def run_drills() -> Any:
    """Wire the drills of a run, each by itself: one that fails leaves the others alone.

    :return: the first tasks.
    """
    orders: Any = choose()
    tests: Any = choose_restore_tests()
    restored: Any = drill.expand(order=orders)
    taken_over: Any = adopted.expand(order=tests)
    # The values, not the groups: a group's ends include what precedes its teardown.
    [restored, taken_over] >> report_drills(orders, tests)
    return [orders, tests]
