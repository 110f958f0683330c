"""
# deny_delete_proof

## What it does
Proves **by attempt** that backups can't be destroyed by those who must not: as a developer and as Airflow's own
operator role it tries to delete a recovery point, shorten its life, take the vault's policy or lock away, delete the
vault or the plan's assignment, on a probe vault under the same policy, with a recovery point of its own. On the real
vault only calls are made that would change nothing.

Only `AccessDeniedException` counts as refused. Any other error proves nothing and fails the proof, and so does a
server that does not enforce IAM at all, which a control call finds out first. What developers and the operator must
be able to do is tried as well. The retention role removes the probe in the end.

## Inputs
* `stack_name` (param): the stack whose roles and vaults are tried.
* Connections `aws_default` (the operator role) and `aws_backup_retention` (removes the probe).

## Schedule and backfill
On the first of each month at 04:00 UTC, and by hand at any time. The past can't be tried: a backfilled date fails
with a message that says so, because a green run for it would be a lie.

## How to skip
Set the Airflow Variable `skip_deny_delete_proof` to `true`.

## On failure
`try_everything` names every call that was let through or proves nothing; the whole report lies in S3 under
`evidence/deny-delete/`. Compare the roles and the vault's policy with `include/policies/`, run `backup_stack` to put
the stack's own back, and run this again. What a failed run leaves in the probe vault expires after a week.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import CronDataIntervalTimetable, Param, dag

from backup_flows.defaults import BACKUP_LIMIT, DEFAULT_ARGS, START_DATE, TAGS, deadline
from backup_flows.deny_proof import deny_proof
from backup_flows.guards import skip_switch
from backup_flows.stack import STACK_NAME


@dag(
    dag_id="deny_delete_proof",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 4 1 * *", timezone="UTC"),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    deadline=deadline(BACKUP_LIMIT + dt.timedelta(hours=1)),
    tags=[*TAGS, "protection"],
    params={
        "stack_name": Param(
            STACK_NAME,
            type="string",
            title="Stack name",
            description="CloudFormation stack whose roles and vaults are tried.",
            pattern="^[A-Za-z][A-Za-z0-9-]{0,127}$",
        ),
    },
)
def deny_delete_proof() -> None:
    skip_switch() >> deny_proof()


deny_delete_proof()
