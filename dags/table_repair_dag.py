"""
# table_repair

## What it does
Repairs a live table from a restored one, item by item, and takes such a repair back. It compares the two tables,
writes every difference with the old and the new item to S3, shows what of it would be written, asks a person, and
writes: each item by a *conditional* write, so that an item that somebody changed meanwhile is left and reported. What
takes each write back is in S3 before the write is made. Then the tables are compared again, and a receipt says who
approved what, what was written, and where the undo file is.

Items that only the live table has (`extra`) may have been written after the backup: they are deleted only where the
class `extra` is chosen. Only the stack's table and those of `protection.yaml` are ever written to. While it writes,
the run holds the table's lease, so that no load or backup of this project comes in between.

## Inputs
* `mode`: `repair` or `undo`.
* `source`: the restored table's name, or an address of a drill's evidence (`s3://.../evidence/<table>/<drill>/`). A
  recovery point has to be restored first: run `restore_drill` with `keep_restored_table` on.
* `target_table`: the live table; empty: the one that the restored table was made from.
* `undo`: address of the receipt of the repair to take back.
* `classes`, `keys`, `filters`: which differences; all three must fit. See `docs/repair.md`.
* `dry_run` (on by default): only show. `confirm`: for unattended use, the live table's name typed out.
* `max_rcu`, `max_wcu`, `stack_name`: see the trigger form.
* Connection `aws_default`. Its role may write to the stack's table; for others it needs PutItem, UpdateItem,
  DeleteItem.

## Schedule and backfill
None. A live table is repaired as it is now; there is no past date for which it could be, so a backfill makes no sense
and Airflow refuses one for a DAG without a schedule.

## How to skip
Set the Airflow Variable `skip_table_repair` to `true`.

## On failure
Clear the task `write`, or let it be retried: what is written is found done, and the run goes on. An item that DynamoDB
refuses fails the run at its end, with a receipt. What was written can be taken back at any time, also after a run
that died in the middle: run this DAG with `mode` `undo` and any address below that repair's folder.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag

from backup_flows.defaults import DEFAULT_ARGS, SCAN_LIMIT, START_DATE, TAGS, TASK_LIMIT, deadline
from backup_flows.guards import skip_switch
from backup_flows.leasing import lease_table, release_lease
from backup_flows.repair_tasks import (
    ask_or_go,
    check,
    go,
    plan_repair,
    preflight_repair,
    preview,
    receipt,
    write,
)
from backup_flows.stack import STACK_NAME

ANSWER_LIMIT = dt.timedelta(days=1)


@dag(
    dag_id="table_repair",
    doc_md=__doc__,
    schedule=None,
    start_date=START_DATE,
    catchup=False,
    max_active_runs=4,
    default_args=DEFAULT_ARGS,
    deadline=deadline(ANSWER_LIMIT + 3 * SCAN_LIMIT),
    tags=[*TAGS, "repair"],
    params={
        "mode": Param(
            "repair",
            type="string",
            enum=["repair", "undo"],
            title="Repair or undo",
            description="Repair a live table from a restored one, or take such a repair back.",
        ),
        "source": Param(
            "",
            type="string",
            title="Restored table",
            description="The restored table's name, or the s3:// address of a drill's evidence. For an undo: empty.",
            maxLength=2048,
        ),
        "target_table": Param(
            "",
            type="string",
            title="Live table",
            description="The table to repair. Empty: the one that the restored table was restored from.",
            pattern="^([A-Za-z0-9_.-]{3,255})?$",
        ),
        "undo": Param(
            "",
            type="string",
            title="Repair to take back",
            description="For an undo: the s3:// address of that repair's receipt, or of its folder.",
            pattern="^(s3://[^/]+/.+)?$",
        ),
        "classes": Param(
            [],
            type="array",
            items={"type": "string", "enum": ["missing", "changed", "extra"]},
            examples=["missing", "changed", "extra"],
            title="Classes of differences",
            description="missing, changed, extra (only in the live table: deleted). Empty: missing and changed; of an "
            "undo all.",
        ),
        "keys": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Keys",
            description='Only these items: {"order_id": "O-1", "item_id": "1"}, or s3:// files with one a line. Empty: '
            "all.",
        ),
        "filters": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Filters",
            description='Only items of which all of these are true: amount >= 12.5, old:status = "lost", note exists.',
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Preview only",
            description="Show what would be written; write nothing.",
        ),
        "confirm": Param(
            "",
            type="string",
            title="Confirm without being asked",
            description="Type the live table's name to write unattended. Empty: a person is asked.",
            maxLength=255,
        ),
        "max_rcu": Param(
            None,
            type=["null", "number"],
            title="Read limit (RCU a second)",
            description="Each scan uses at most so many read capacity units a second. Empty: no limit.",
            exclusiveMinimum=0,
        ),
        "max_wcu": Param(
            None,
            type=["null", "number"],
            title="Write limit (WCU a second)",
            description="The repair uses at most so many write capacity units a second. Empty: no limit.",
            exclusiveMinimum=0,
        ),
        "stack_name": Param(
            STACK_NAME,
            type="string",
            title="Stack name",
            description="CloudFormation stack that holds bucket, table, leases and role.",
            pattern="^[A-Za-z][A-Za-z0-9-]{0,127}$",
        ),
    },
)
def table_repair() -> None:
    resources = preflight_repair()
    plan = plan_repair(resources)
    asked, begin = ask_or_go(resources, plan), go()
    approve = ApprovalOperator(
        task_id="approve",
        subject="{{ params.mode | capitalize }} table {{ ti.xcom_pull(task_ids='preflight')['table'] }}?",
        body="{{ ti.xcom_pull(task_ids='plan')['description'] }}",
        response_timeout=ANSWER_LIMIT,
        execution_timeout=TASK_LIMIT,
        retries=0,
    )
    lease = lease_table(resources)
    written = write(resources, plan, lease.output)
    checked = check(resources, written)
    released = release_lease(resources)

    skip_switch() >> resources
    asked >> [preview(plan), approve, begin]
    approve >> begin >> lease
    checked >> receipt(resources, plan, written, checked)
    checked >> released.as_teardown(setups=lease)


table_repair()
