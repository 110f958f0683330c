"""
# orders_backup_restore

## What it does
The story end to end, for one date: stages the date's order file in S3, loads it into the orders table, backs the
table up on demand with AWS Backup, restores the recovery point into a new table, and **proves** that every
restored item is, type-exact, what the table held when it was backed up. Then the restored table is dropped.

A file above 64 MB is loaded, and a table above 2 GB is read, by several mapped tasks side by side; smaller ones by
one task each, and the mapped ones are skipped.

Load and backup of one table are done by one run at a time (a lease in DynamoDB), also in a backfill with many
active runs; restore and proof go side by side.

## Inputs
* `source` (param): the order file, a local path or an `s3://` key; `{as_of}` becomes the run's date.
* `settle_seconds`: how long writes settle before the backup; AWS may miss the last minute.
* `max_reject_ratio`: more refused rows than this share fail the load before anything is written.
* `max_wcu`, `max_rcu`: what load and fingerprints may use of the table's capacity, so that others are not starved.
* `delete_after_days`: lifecycle of the recovery point.
* `force_new`, `keep_restored_table`, `stack_name`: see the trigger form.
* Connection `aws_default`; the stack that the DAG `backup_stack` deploys.

## Schedule and backfill
Daily at 06:00 UTC for the day before. A run stands for its logical date (`as_of`), or for the moment it was due
where it has none. A backfill loads each date's own file, in whatever number of runs at once; the recovery point
of a past date keeps its true creation time. Loading a date twice changes nothing.

## How to skip
Set the Airflow Variable `skip_orders_backup_restore` to `true`.

## On failure
* A proof that is not PROVEN fails the run, keeps the restored table (tagged `keep`) and names the report in S3.
* A backup or restore job that ended badly fails at once with AWS's own message; clearing the task starts a new
  job, while clearing a task whose job is well adopts it.
* Whatever a dead run leaves behind is swept by the DAG `retention_cleanup`.
* A late run is announced (deadline), never cut off: a cut-off run could not drop its restored table.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import CronDataIntervalTimetable, Param, dag

from backup_flows.defaults import BACKUP_LIMIT, DEFAULT_ARGS, RESTORE_LIMIT, START_DATE, TAGS, deadline
from backup_flows.guards import skip_switch
from backup_flows.leasing import lease_table, release_lease
from backup_flows.loads import load_staged
from backup_flows.orders import DEFAULT_SOURCE, stage
from backup_flows.recovery_points import back_up
from backup_flows.resources import preflight
from backup_flows.restores import drop_restored_table, prove_by_parts, report, restore
from backup_flows.stack import STACK_NAME

RUN_LIMIT = BACKUP_LIMIT + RESTORE_LIMIT + dt.timedelta(hours=4)
SETTLE_SECONDS = 120


@dag(
    dag_id="orders_backup_restore",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 6 * * *", timezone="UTC"),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=3,
    default_args=DEFAULT_ARGS,
    deadline=deadline(RUN_LIMIT),
    tags=[*TAGS, "orders"],
    params={
        "source": Param(
            DEFAULT_SOURCE,
            type="string",
            title="Order file",
            description="Local path (from the project's folder) or s3://bucket/key; {as_of} becomes YYYY-MM-DD.",
            minLength=1,
            pattern=r"^(s3://[^/]+/.+|(?!\w+://).+)$",
        ),
        "settle_seconds": Param(
            SETTLE_SECONDS,
            type="integer",
            title="Settle time (seconds)",
            description="Wait after the last write and after the backup job. At least 60; less on a local AWS only.",
            minimum=0,
            maximum=3600,
        ),
        "max_reject_ratio": Param(
            0.05,
            type="number",
            title="Refused rows allowed (share)",
            description="0.05 is 5 %. More refused rows fail the load, and nothing is written.",
            minimum=0,
            maximum=1,
        ),
        "max_wcu": Param(
            None,
            type=["null", "number"],
            title="Write limit (WCU a second)",
            description="The load uses at most so many write capacity units a second. Empty: no limit.",
            exclusiveMinimum=0,
        ),
        "max_rcu": Param(
            None,
            type=["null", "number"],
            title="Read limit (RCU a second)",
            description="Each fingerprint uses at most so many read capacity units a second. Empty: no limit.",
            exclusiveMinimum=0,
        ),
        "delete_after_days": Param(
            35,
            type="integer",
            title="Lifecycle (days)",
            description="AWS Backup deletes the recovery point after so many days.",
            minimum=1,
            maximum=36500,
        ),
        "force_new": Param(
            False,
            type="boolean",
            title="New jobs",
            description="Start new backup and restore jobs although this run's recorded ones are good.",
        ),
        "keep_restored_table": Param(
            False,
            type="boolean",
            title="Keep the restored table",
            description="Leave the restored table in place, tagged keep, after a good proof too.",
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
def orders_backup_restore() -> None:
    resources = preflight()
    staged = stage(resources)
    lease = lease_table(resources)
    loaded = load_staged(resources, staged, lease.output)
    bound = back_up(resources, lease.output, loaded=loaded, settle_seconds="{{ params.settle_seconds }}")
    released = release_lease(resources)
    plan, job, start_restore, tagged = restore(resources, bound)
    proven = prove_by_parts(resources, plan, bound, job, after=tagged, loaded=loaded)
    dropped = drop_restored_table(resources, plan)

    skip_switch() >> resources
    staged >> lease
    bound >> released.as_teardown(setups=lease)
    proven >> dropped.as_teardown(setups=start_restore)
    report(loaded, bound, proven)


orders_backup_restore()
