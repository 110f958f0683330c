"""
# backup_stack

## What it does
Deploys the CloudFormation stack that everything else works on, or brings it up to date: a private, encrypted,
versioned bucket, the orders table, the table of leases, a backup vault with its own key and access policy, the backup
plan with its resource assignment, and the roles of AWS Backup, operator, retention and developers.
Then it checks on AWS itself that every one of them is really there, since a green stack alone proves nothing.

Last, the **proof by attempt**: as a developer and as Airflow's own role it tries everything that destroys a backup, on
a probe vault under the same policy. Every call must be refused; one that is let through fails the run by name.

## Inputs
* `stack_name` (param): name of the stack; a second stack may stand beside the first.
* `include/protection.yaml`: schedule, windows and lifecycle of the plan's rule, by what it says of the stack's table.
* `parameters` (param): template parameters to set: tag, vault lock and more (see
  `include/cloudformation/orders_backup.yaml`). They go before the file; what neither names keeps the value that the
  stack has. A changed schedule changes the plan in place. A compliance lock is refused unless the vault's name is
  repeated as `ComplianceLockConfirmation`: it can never be taken off.
* `prove_protection` (param, on by default): make the proof by attempt. Only an emulator that enforces no IAM needs it
  off.
* Connections `aws_default` (the operator role), `aws_backup_retention` (removes the probe).
* Connection `aws_backup_deploy`, if defined, else `aws_default`: who deploys. The vault lets only this principal change
  its policy and lock, so deploy with the same one later, and by a role or user of its own.

## Schedule and backfill
None. A stack has no history: there is no past date for which it could be deployed, so a backfill makes no
sense and Airflow refuses one for a DAG without a schedule. Trigger it by hand; a second run changes nothing.

## How to skip
Set the Airflow Variable `skip_backup_stack` to `true`.

## On failure
The task's log carries CloudFormation's own reasons. A stack that failed while it was created is left as it is,
so that its events can be read; delete it and run again. Nothing that holds data is deleted by this DAG.
A proof that fails names each call that was let through, or that failed in a way that proves nothing; its report lies
in S3 under `evidence/deny-delete/`. Right after a first deployment a new role may take some seconds to be known to
all of AWS: the proof's first task is repeated for that.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import Param, dag

from backup_flows.defaults import DEFAULT_ARGS, START_DATE, TAGS, deadline
from backup_flows.deny_proof import deny_proof, proof_wanted
from backup_flows.guards import skip_switch
from backup_flows.operators import DeployStackOperator
from backup_flows.project_files import project_home
from backup_flows.resources import check_resources
from backup_flows.stack import DEPLOY_PRINCIPAL, STACK_NAME, STACK_TEMPLATE
from backup_flows.stack_rule import rule_parameters

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
        "prove_protection": Param(
            True,
            type="boolean",
            title="Prove the protection",
            description="Try, as those who must not, to destroy a probe's backup. Off only where IAM is not enforced.",
        ),
        "parameters": Param(
            {},
            type="object",
            title="Template parameters",
            description=(
                'What to change, for example {"VaultLockMode": "governance"}. What is not named here or in '
                "protection.yaml keeps the stack's value."
            ),
            additionalProperties={"type": ["string", "integer"]},
        ),
    },
)
def backup_stack() -> None:
    parameters = rule_parameters()
    deploy = DeployStackOperator(
        task_id="deploy_stack",
        stack_name="{{ params.stack_name }}",
        template_path=str(project_home() / STACK_TEMPLATE),
        parameters="{{ ti.xcom_pull(task_ids='rule_parameters') | tojson }}",
        principal_parameter=DEPLOY_PRINCIPAL,
        tags={"managed-by": "dynamodb-backup-proof"},
        wait_timeout=STACK_LIMIT.total_seconds(),
        execution_timeout=STACK_LIMIT,
    )
    checked = check_resources(stack_name="{{ params.stack_name }}")
    skip_switch() >> parameters >> deploy >> checked >> proof_wanted() >> deny_proof()


backup_stack()
