"""The wiring of the DAG ``restore_drill``."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task_group

from backup_flows.drills.concluding import conclude_drill, put_validation_result, report_drills
from backup_flows.drills.tasks import (
    choose,
    describe_restore_job,
    drop_restored,
    find_binding,
    prepare,
    prepare_adopted,
    prove_adopted,
    prove_restored,
    to_adopt,
    to_restore,
)
from backup_flows.restores import START_TASK, restore

DRILL_GROUP = "drill"
ADOPTED_GROUP = "adopted"
DRILL_TASKS = [
    "prepare",
    "find_binding",
    "restore.plan_restore",
    "restore.start_restore_job",
    "restore.wait_for_restore_job",
    "restore.tag_restored_table",
    "prove",
]
ADOPTED_TASKS = ["prepare", "find_binding", "describe_restore_job", "prove"]


@task_group(group_id=DRILL_GROUP)
def drill(order: Any) -> None:
    """Restore one recovery point to a table of its own, prove it, leave a verdict whatever happens, drop the table."""
    prepared: Any = prepare(order)
    binding: Any = find_binding(prepared)
    restored: Any = restore(prepared, binding, start_task=f"{DRILL_GROUP}.{START_TASK}")
    plan, job, start, tagged = restored
    proven: Any = prove_restored(prepared, plan, binding, job)
    concluded: Any = conclude_drill(order, DRILL_TASKS)
    dropped: Any = drop_restored(order, plan, concluded)
    tagged >> proven >> concluded
    dropped.as_teardown(setups=start)


@task_group(group_id=ADOPTED_GROUP)
def adopted(order: Any) -> None:
    """Prove a table that AWS's restore testing restored, and tell AWS; the table is AWS's to drop."""
    prepared: Any = prepare_adopted(order)
    binding: Any = find_binding(prepared)
    job: Any = describe_restore_job(prepared)
    proven: Any = prove_adopted(prepared, binding, job)
    concluded: Any = conclude_drill(order, ADOPTED_TASKS)
    proven >> concluded >> put_validation_result(order)


def run_drills() -> Any:
    """Wire the drills of a run, each by itself: one that fails leaves the others alone.

    :return: the first task.
    """
    orders: Any = choose()
    restored: Any = drill.expand(order=to_restore(orders))
    taken_over: Any = adopted.expand(order=to_adopt(orders))
    reported: Any = report_drills(orders)
    [restored, taken_over] >> reported
    return orders
