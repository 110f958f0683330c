"""
# scheduled_backup_watch

## What it does
Holds what `include/protection.yaml` asks for against what AWS Backup's own plans really did. For each protected table
and each time its tier was due in the run's period: found, late, missing, EXPIRED, FAILED, PARTIAL, ABORTED; then the
age of the table's newest usable recovery point against its RPO target; then recovery points whose plan or table is
gone. Each finding comes with its cause and a remedy in words: opt-in off, role lacks a right, window too short, two
jobs at once, no longer selected, and so on.

The report goes to S3 (`watch/reports/`) and, in short, into an Asset event.

## Inputs
* `period_start`, `period_end` (params): the period, ISO 8601; both or neither. Empty: the run's data interval, or the
  last full day from 08:30 to 08:30 UTC where the run has none.
* `protection_file`: another file than `include/protection.yaml`.
* `stack_name`: the stack whose bucket keeps the reports and whose vault is meant where the file names none.
* Connection `aws_default`.

## Schedule and backfill
Daily at 08:30 UTC, for the 24 hours before: after the daily rule's start and completion windows. Where a rule's
windows end later than the period, the run waits for them, deferred. A backfill watches each date of the past. AWS
Backup lists jobs for 30 days only, so each watch stores what it saw; an older date is judged by what was stored, then
by the recovery points that are left. What neither shows is UNKNOWN, never found and never missing.

## How to skip
Set the Airflow Variable `skip_scheduled_backup_watch` to `true`.

## On failure
* `verdict` fails where a backup did not come to pass or a target is broken. Its message names each with the remedy;
  `watch` itself is green, since it did its work.
* `verdict` is skipped where nothing is broken but something is UNKNOWN: neither green nor red.
* Once mended, clear the run: it looks again. Nothing is changed or deleted by this DAG.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import CronDataIntervalTimetable, Param, dag

from backup_flows.defaults import DEFAULT_ARGS, START_DATE, TAGS, deadline
from backup_flows.guards import skip_switch
from backup_flows.operators import SettleOperator
from backup_flows.protection_file import PROTECTION_FILE
from backup_flows.stack import STACK_NAME
from backup_flows.watch.tasks import WATCH_CRON, plan_watch, verdict, watch

WINDOWS_LIMIT = dt.timedelta(days=8)
"""The windows that AWS takes by default, 8 hours and 7 days, are the longest that make sense."""


@dag(
    dag_id="scheduled_backup_watch",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(WATCH_CRON, timezone="UTC"),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=3,
    default_args=DEFAULT_ARGS,
    deadline=deadline(WINDOWS_LIMIT),
    tags=[*TAGS, "watch"],
    params={
        "period_start": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Period from",
            description="First instant of the period, such as 2026-11-01T08:30:00Z. Empty: the run's own period.",
        ),
        "period_end": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Period to",
            description="End of the period, not part of it. Empty: the run's own period.",
        ),
        "protection_file": Param(
            PROTECTION_FILE,
            type="string",
            title="Protection file",
            description="Which tables are protected, and how: a path from the project's folder, or an absolute one.",
            minLength=1,
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
def scheduled_backup_watch() -> None:
    planned = plan_watch()
    windows = SettleOperator(
        task_id="wait_for_windows",
        since="{{ ti.xcom_pull(task_ids='plan_watch')['settled_at'] }}",
        seconds=0,
        execution_timeout=WINDOWS_LIMIT,
    )
    watched = watch(planned)

    skip_switch() >> planned >> windows >> watched
    verdict(watched)


scheduled_backup_watch()
