"""Variants of `orders_backup_restore`, of the same task groups, for what its settings can't bring about in a test."""

from __future__ import annotations

from airflow.sdk import Param, dag

from backup_flows.defaults import DEFAULT_ARGS, START_DATE
from backup_flows.leasing import lease_table, release_lease
from backup_flows.loads import load_staged
from backup_flows.orders import stage
from backup_flows.recovery_points import back_up
from backup_flows.resources import preflight
from backup_flows.restores import drop_restored_table, prove_by_parts, report, restore

PARAMS = {
    "source": Param("", type="string"),
    "settle_seconds": Param(0, type="integer"),
    "max_reject_ratio": Param(0.0, type="number"),
    "max_wcu": Param(None, type=["null", "number"]),
    "max_rcu": Param(None, type=["null", "number"]),
    "delete_after_days": Param(35, type="integer"),
    "force_new": Param(False, type="boolean"),
    "keep_restored_table": Param(False, type="boolean"),
    "stack_name": Param("", type="string"),
}


def wire() -> None:
    resources = preflight()
    staged = stage(resources)
    lease = lease_table(resources)
    loaded = load_staged(resources, staged, lease.output)
    bound = back_up(resources, lease.output, loaded=loaded, settle_seconds="{{ params.settle_seconds }}")
    released = release_lease(resources)
    plan, job, start_restore, tagged = restore(resources, bound)
    proven = prove_by_parts(resources, plan, bound, job, after=tagged, loaded=loaded)
    dropped = drop_restored_table(resources, plan)

    staged >> lease
    bound >> released.as_teardown(setups=lease)
    proven >> dropped.as_teardown(setups=start_restore)
    report(loaded, bound, proven)


@dag(schedule=None, start_date=START_DATE, default_args=DEFAULT_ARGS, params=PARAMS)
def poking_orders() -> None:
    """Wait for the backup job in the worker, as one does without a triggerer."""
    wire()


@dag(schedule=None, start_date=START_DATE, default_args=DEFAULT_ARGS, params=PARAMS)
def impatient_orders() -> None:
    """Give the restore job up after seconds."""
    wire()


poking = poking_orders()
wait = poking.get_task("back_up.wait_for_backup_job")
wait.deferrable = False
wait.mode = "poke"
wait.poke_interval = 1

impatient = impatient_orders()
impatient.get_task("restore.wait_for_restore_job").timeout = 3
