"""
# table_backup

## What it does
Backs up, on demand, every table that `include/protection.yaml` protects: hundreds or thousands in one run. Each table
is fingerprinted before and after its job, so that what comes back from its recovery point can be proven later. The
jobs are started below AWS's limits, and one deferred task waits for all of them by listing jobs page by page.

A table that fails fails alone: the summary names it with AWS's own reason, and the run is red.

## Inputs
* `which`: the tables whose tier is due in the run's period, all, or one tier.
* `tables`: only these, by name.
* `tag`: tables that carry this tag (`key=value`) too, as daily ones.
* `settle_seconds`: how long writes settle before the jobs start, and after they end; AWS may miss the last minute.
* `starts_per_second`: how fast jobs are started.
* `max_rcu`, `force_new`, `stack_name`: see the trigger form.
* Connection `aws_default`; the stack that the DAG `backup_stack` deploys.

## Schedule and backfill
Daily at 02:00 UTC, well before the backup plan's own jobs: two jobs of one table at once would let one expire.
A backfilled date whose period is over adopts the recovery point that was made while its backup was due, or says
plainly, table by table, that there is none: the past can't be backed up.

## How to skip
Set the Airflow Variable `skip_table_backup` to `true`.

## On failure
* `summary` names every table that was not backed up, with the reason. Clear the tasks from `plan_shards` on: jobs
  that are well are adopted, those that ended badly are started anew.
* Waiting ends after ten hours; marking the waiting task failed asks AWS to stop the jobs.
* A table that another run holds for more than an hour is left out and named.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import CronDataIntervalTimetable, Param, dag

from backup_flows.defaults import BACKUP_LIMIT, DEFAULT_ARGS, START_DATE, TAGS, deadline
from backup_flows.fleet_tasks import adopt_past, back_up_tables, choose_tables, sum_up
from backup_flows.guards import skip_switch
from backup_flows.stack import STACK_NAME

RUN_LIMIT = BACKUP_LIMIT + dt.timedelta(hours=6)
SETTLE_SECONDS = 120


@dag(
    dag_id="table_backup",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    deadline=deadline(RUN_LIMIT),
    tags=[*TAGS, "fleet"],
    params={
        "which": Param(
            "due",
            type="string",
            title="Which tables",
            description="Those whose tier is due in the run's period, all, or those of one tier.",
            enum=["due", "all", "12-hourly", "daily", "weekly", "monthly"],
        ),
        "tables": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[a-zA-Z0-9_.-]{3,255}$"},
            title="Only these tables",
            description="Names of protected tables, one a line. Empty: all that are chosen above.",
        ),
        "tag": Param(
            "",
            type="string",
            title="Tag",
            description="key=value: tables with this tag are backed up too, as daily ones.",
            pattern="^$|^[^=]{1,128}=[^=]{0,256}$",
        ),
        "settle_seconds": Param(
            SETTLE_SECONDS,
            type="integer",
            title="Settle time (seconds)",
            description="Wait before the jobs and after them. At least 60; less on a local AWS only.",
            minimum=0,
            maximum=3600,
        ),
        "starts_per_second": Param(
            5,
            type="number",
            title="Starts a second",
            description="Backup jobs are started no faster; AWS throttles an account that asks for too many.",
            exclusiveMinimum=0,
            maximum=100,
        ),
        "max_rcu": Param(
            None,
            type=["null", "number"],
            title="Read limit (RCU a second)",
            description="Each fingerprint uses at most so many read capacity units a second. Empty: no limit.",
            exclusiveMinimum=0,
        ),
        "force_new": Param(
            False,
            type="boolean",
            title="New jobs",
            description="Start new backup jobs although this run's recorded ones are good.",
        ),
        "stack_name": Param(
            STACK_NAME,
            type="string",
            title="Stack name",
            description="CloudFormation stack that holds bucket, lease table, vault and role.",
            pattern="^[A-Za-z][A-Za-z0-9-]{0,127}$",
        ),
    },
)
def table_backup() -> None:
    resources = choose_tables()
    adopted = adopt_past(resources)
    backed_up = back_up_tables(resources, settle_seconds="{{ params.settle_seconds }}")
    summed_up = sum_up(resources)

    skip_switch() >> resources
    [adopted, backed_up] >> summed_up


table_backup()
