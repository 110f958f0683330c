"""
# backup_stack_teardown

## What it does
Takes the stack down again: lists what it will delete, asks a person, stops the schedule, deletes the recovery points
that this project made, waits until they are gone, drops restored copies, empties the bucket, deletes the CloudFormation
stack, and leaves a receipt of what was deleted and what was kept, and why.

Never deleted: recovery points that somebody else made, that a vault lock or a legal hold protects, or that a restore
reads. Where one stays, its vault stays, with the key and the roles that it needs, and the bucket stays while points
of this project do. A stack without this project's tag is not touched at all.

## Inputs
* `stack_name` (param): the stack to take down.
* `confirm` (param): for unattended use, the stack's name typed out; empty: a person is asked in Airflow's UI.
* Connections `aws_backup_deploy` (deletes the stack) and `aws_backup_retention` (deletes recovery points); where they
  are not defined, `aws_default`.

## Schedule and backfill
None. What is torn down is torn down now; there is no past date for which it could be, so a backfill makes no sense
and Airflow refuses one for a DAG without a schedule. A run after a failed one goes on where that ended.

## How to skip
Set the Airflow Variable `skip_backup_stack_teardown` to `true`.

## On failure
Nothing that is still there is lost: run it again. A running backup job stops it before anything is deleted. A vault
under a governance lock: deploy the stack with `VaultLockMode` `none`, then run this. Under a compliance lock the
points stay until their time is over; run it again then.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag

from backup_flows.defaults import DEFAULT_ARGS, START_DATE, TAGS, TASK_LIMIT, deadline
from backup_flows.guards import skip_switch
from backup_flows.stack import STACK_NAME
from backup_flows.teardown_tasks import (
    DeleteStackOperator,
    WaitForPointsGoneOperator,
    ask_or_go,
    delete_points_task,
    delete_tables_task,
    empty_bucket_task,
    go,
    receipt_task,
    stop_schedule_task,
    take_stock_task,
)

ANSWER_LIMIT = dt.timedelta(days=1)
DELETION_LIMIT = dt.timedelta(hours=4)
STACK_LIMIT = dt.timedelta(hours=1)


@dag(
    dag_id="backup_stack_teardown",
    doc_md=__doc__,
    schedule=None,
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    deadline=deadline(ANSWER_LIMIT + DELETION_LIMIT + STACK_LIMIT),
    tags=[*TAGS, "stack"],
    params={
        "stack_name": Param(
            STACK_NAME,
            type="string",
            title="Stack name",
            description="CloudFormation stack to take down.",
            pattern="^[A-Za-z][A-Za-z0-9-]{0,127}$",
        ),
        "confirm": Param(
            "",
            type="string",
            title="Confirm without being asked",
            description="Type the stack's name again to delete unattended. Empty: a person is asked.",
            maxLength=128,
        ),
    },
)
def backup_stack_teardown() -> None:
    taken = take_stock_task()
    stock = taken["stock"]
    approve = ApprovalOperator(
        task_id="approve",
        subject="Delete the backup stack {{ params.stack_name }}?",
        body="{{ ti.xcom_pull(task_ids='take_stock')['description'] }}",
        response_timeout=ANSWER_LIMIT,
        execution_timeout=TASK_LIMIT,
        retries=0,
    )
    asked, begin = ask_or_go(), go()
    stopped = stop_schedule_task(stock)
    refused = delete_points_task(stock)
    gone = WaitForPointsGoneOperator(
        task_id="wait_until_gone",
        stock=stock,
        refused=refused,
        execution_timeout=DELETION_LIMIT,
    )
    tables, emptied = delete_tables_task(stock), empty_bucket_task(stock)
    deleted = DeleteStackOperator(
        task_id="delete_stack",
        stack_name="{{ params.stack_name }}",
        wait_timeout=STACK_LIMIT.total_seconds(),
        execution_timeout=STACK_LIMIT,
    )
    skip_switch() >> taken >> asked >> [approve, begin]
    approve >> begin >> stopped >> refused >> gone >> tables >> emptied >> deleted >> receipt_task(stock, refused)


backup_stack_teardown()
