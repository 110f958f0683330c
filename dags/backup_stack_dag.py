"""
# backup_stack

## What it does
Deploys the CloudFormation stack that everything else works on, or brings it up to date: a private, encrypted,
versioned bucket, the orders table, the table of leases, a backup vault and the role that AWS Backup assumes.
Then it checks on AWS itself that every one of them is really there, since a green stack alone proves nothing.

## Inputs
* `stack_name` (param): name of the stack; a second stack may stand beside the first.
* Connection `aws_default`: where the stack is deployed.

## Schedule and backfill
None. A stack has no history: there is no past date for which it could be deployed, so a backfill makes no
sense and Airflow refuses one for a DAG without a schedule. Trigger it by hand; a second run changes nothing.

## How to skip
Set the Airflow Variable `skip_backup_stack` to `true`.

## On failure
The task's log carries CloudFormation's own reasons. A stack that failed while it was created is left as it is,
so that its events can be read; delete it and run again. Nothing that holds data is deleted by this DAG.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import Param, dag

from backup_flows.defaults import DEFAULT_ARGS, START_DATE, TAGS, deadline
from backup_flows.guards import skip_switch
from backup_flows.operators import DeployStackOperator
from backup_flows.project_files import project_home
from backup_flows.resources import check_resources
from backup_flows.stack import STACK_NAME, STACK_TEMPLATE

STACK_LIMIT = dt.timedelta(hours=1)


@dag(
    dag_id="backup_stack",
    doc_md=__doc__,
    schedule=None,
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    deadline=deadline(STACK_LIMIT),
    tags=[*TAGS, "stack"],
    params={
        "stack_name": Param(
            STACK_NAME,
            type="string",
            title="Stack name",
            description="CloudFormation stack to create or update.",
            pattern="^[A-Za-z][A-Za-z0-9-]{0,127}$",
        ),
    },
)
def backup_stack() -> None:
    deploy = DeployStackOperator(
        task_id="deploy_stack",
        stack_name="{{ params.stack_name }}",
        template_path=str(project_home() / STACK_TEMPLATE),
        tags={"managed-by": "dynamodb-backup-proof"},
        wait_timeout=STACK_LIMIT.total_seconds(),
        execution_timeout=STACK_LIMIT,
    )
    skip_switch() >> deploy >> check_resources(stack_name="{{ params.stack_name }}")


backup_stack()
