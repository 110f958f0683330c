"""
# retention_cleanup

## What it does
Retires recovery points: takes the inventory of the vault, decides about every point, shows the decisions with
their reasons, deletes what is due, and confirms each deletion by describing the point again until it is gone (AWS
may answer a deletion with success and not delete). Then it sweeps the restored tables that dead runs left behind.

Never deleted: points that this project did not make, the newest N of each table, the newest proven one, one that a
restore uses. The deletion itself goes through a guard that asks once more.

## Inputs
* `dry_run` (param, on by default): only show what would go.
* `older_than_days`, `keep_newest`: the policy.
* `max_deletions`: at most so many in one run; the rest is left to the next.
* `sweep_older_than_minutes`: restored tables younger than this stay.
* Connection `aws_default` to look; `aws_backup_retention`, if defined, to delete.

## Schedule and backfill
Daily at 09:00 UTC, as a preview unless triggered with `dry_run` off. A backfilled date is always a preview *as of
that date*: what would have gone then, of the points that are still there. The past can't be deleted in.

## How to skip
Set the Airflow Variable `skip_retention_cleanup` to `true`.

## On failure
A refused deletion (vault lock, legal hold, missing rights) fails its own mapped task with AWS's message; the others
go on, and `receipt` names what is still there. Running it again finds only what is left.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import CronDataIntervalTimetable, Param, dag

from aws_backup.operators.backup import BackupDeleteRecoveryPointOperator
from backup_flows.defaults import DEFAULT_ARGS, START_DATE, TAGS, deadline
from backup_flows.guards import skip_switch
from backup_flows.retention import due_deletions, guard_deletion, plan_retention, receipt, sweep_restored_tables
from backup_flows.stack import STACK_NAME

DELETION_LIMIT = dt.timedelta(hours=3)
DELETIONS_AT_ONCE = 4


@dag(
    dag_id="retention_cleanup",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 9 * * *", timezone="UTC"),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    deadline=deadline(DELETION_LIMIT),
    tags=[*TAGS, "retention"],
    params={
        "dry_run": Param(
            True,
            type="boolean",
            title="Preview only",
            description="Show what would be deleted; delete nothing. Backfilled dates are always previews.",
        ),
        "older_than_days": Param(
            35,
            type="integer",
            title="Older than (days)",
            description="Only recovery points older than this may go.",
            minimum=0,
            maximum=36500,
        ),
        "keep_newest": Param(
            3,
            type="integer",
            title="Keep the newest",
            description="So many of each table's newest recovery points stay, whatever their age.",
            minimum=1,
            maximum=10000,
        ),
        "max_deletions": Param(
            50,
            type="integer",
            title="Deletions in one run",
            description="At most so many recovery points go, oldest first.",
            minimum=1,
            maximum=500,
        ),
        "sweep_older_than_minutes": Param(
            60,
            type="integer",
            title="Sweep restored tables older than (minutes)",
            description="Restored tables of runs that are over go when they are older than this.",
            minimum=0,
            maximum=525600,
        ),
        "stack_name": Param(
            STACK_NAME,
            type="string",
            title="Stack name",
            description="CloudFormation stack that holds bucket, table, vault and role.",
            pattern="^[A-Za-z][A-Za-z0-9-]{0,127}$",
        ),
    },
)
def retention_cleanup() -> None:
    planned = plan_retention()
    delete = BackupDeleteRecoveryPointOperator.partial(
        task_id="delete_recovery_point",
        is_deletable=guard_deletion,
        deferrable=True,
        execution_timeout=DELETION_LIMIT,
        max_active_tis_per_dagrun=DELETIONS_AT_ONCE,
    ).expand_kwargs(due_deletions(planned))
    swept = sweep_restored_tables()
    done = receipt(planned, swept)

    skip_switch() >> [planned, swept]
    delete >> done


retention_cleanup()
