"""
# retention_cleanup

## What it does
Retires recovery points by the rules of `include/protection.yaml`: takes the inventory of all vaults that are used,
decides about every point, shows the decisions with their reasons, asks a person where one has to agree, deletes what is
due as the retention role, and confirms each deletion by describing the point again until it is gone (AWS may answer a
deletion with success and not delete). It asks for a drill of points that would be lost unproven, and keeps them until
the verdict. Then it sweeps restored tables that dead runs left behind, and old files.

Never deleted: the newest proven point of a table, one that a restore or drill uses, one under a legal hold or lock,
what this project did not make, and nothing at all where the inventory looks wrong. Each deletion goes through a guard
that asks once more.

## Inputs
* `mode` (param): `as configured` follows `retention.mode` of the file (shipped as preview). `preview` only shows;
  `apply` deletes, where the file says preview only after a person agreed.
* `max_deletions`: fewer than the file allows in one run; the rest is left to the next.
* `accept_inventory`: many points are gone and you know why: let this inventory replace the one before.
* `sweep_older_than_minutes`: restored tables younger than this stay.
* Connection `aws_default` to look; `aws_backup_retention`, if defined, to delete, hold and extend.

## Schedule and backfill
Daily at 09:00 UTC. A backfilled date is always a preview *as of that date*: what would have gone then, of the points
that are still there. The past can't be deleted in.

## How to skip
Set the Airflow Variable `skip_retention_cleanup` to `true`.

## On failure
Nothing is deleted that should not be, wherever it ends: run it again, it finds only what is left. A refused deletion
(vault lock, legal hold, missing rights) fails its own mapped task with AWS's message; the others go on, and `receipt`
names what is still there, and why. An alarm (an incomplete or shrunk inventory, a point that is lost unproven) fails
`receipt` too. No answer to `approve` within 12 hours counts as a refusal.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import CronDataIntervalTimetable, Param, dag

from backup_flows.defaults import DEFAULT_ARGS, START_DATE, TAGS, TASK_LIMIT, deadline
from backup_flows.guards import skip_switch
from backup_flows.retention.deletion import RetireRecoveryPointOperator
from backup_flows.retention.modes import AS_CONFIGURED, MODES
from backup_flows.retention.tasks import (
    APPROVE_TASK,
    ask_or_go,
    due_deletions,
    files_of,
    go,
    guard_deletion,
    plan_retention,
    protect_points,
    receipt,
    request_drills,
    sweep_old_files,
    sweep_restored_tables,
)
from backup_flows.stack import STACK_NAME

ANSWER_LIMIT = dt.timedelta(hours=12)
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
    deadline=deadline(ANSWER_LIMIT + DELETION_LIMIT),
    tags=[*TAGS, "retention"],
    params={
        "mode": Param(
            AS_CONFIGURED,
            type="string",
            enum=list(MODES),
            title="Preview or apply",
            description="As the file says, or lowered, or raised with a person's approval. Backfills only preview.",
        ),
        "max_deletions": Param(
            500,
            type="integer",
            title="Deletions in one run",
            description="At most so many recovery points go, oldest first, and no more than the file allows.",
            minimum=1,
            maximum=500,
        ),
        "accept_inventory": Param(
            False,
            type="boolean",
            title="Accept this inventory",
            description="Recovery points are missing, and you know why: let this inventory replace the one before.",
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
    drills, protected = request_drills(planned), protect_points(planned)
    asked, begin = ask_or_go(planned), go()
    approve = ApprovalOperator(
        task_id=APPROVE_TASK,
        subject="Delete recovery points ({{ params.stack_name }})?",
        body="{{ ti.xcom_pull(task_ids='plan_retention', key='approval_text') }}",
        defaults="Reject",
        response_timeout=ANSWER_LIMIT,
        execution_timeout=TASK_LIMIT,
        retries=0,
    )
    due = due_deletions(planned)
    delete = RetireRecoveryPointOperator.partial(
        task_id="delete_recovery_point",
        is_deletable=guard_deletion,
        files_of=files_of,
        deferrable=True,
        execution_timeout=DELETION_LIMIT,
        max_active_tis_per_dagrun=DELETIONS_AT_ONCE,
    ).expand_kwargs(due)
    tables, files = sweep_restored_tables(planned), sweep_old_files(planned)
    done = receipt(planned, drills, protected, tables, files)

    skip_switch() >> planned >> asked >> [approve, begin]
    approve >> begin >> [due, tables, files]
    delete >> done


retention_cleanup()
