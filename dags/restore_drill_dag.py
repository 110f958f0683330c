"""
# restore_drill

## What it does
Proves that recovery points can be restored: chooses them, restores each into a table of its own, compares every item,
type-exact, with what the table held when it was backed up, writes verdict and evidence, and drops the restored table.

Every drill ends with a verdict. One that never came to its proof (the restore failed, was forbidden, never ended; a
process died) is FAILED with the reason; it tells nothing against a recovery point that was proven before.

## Inputs
* `mode`: `risk` takes the newest usable point of each protected table, the tables most at risk first: never proven,
  then longest unproven, then points that AWS deletes within a week unproven. `newest` takes the newest one of the
  stack's table. `adopt` restores nothing: it proves what AWS Backup's own restore testing restored, and tells AWS.
* `table`, `recovery_point_arn`: only this table's newest point; only this point. They go before `mode`.
* `as_of`: the newest point made until then. A date counts to its end (UTC), a moment is taken as it is.
* `max_drills`: so many points in one run.
* `force_new`, `keep_restored_table`, `max_rcu`, `restore_testing_plan_arn`, `stack_name`: see the trigger form.
* `include/protection.yaml`: which tables are protected, and whether a new point is drilled at once
  (`drill: {on_new_point: true}`).
* Connection `aws_default`; the stack that the DAG `backup_stack` deploys.

## Schedule and backfill
Weekly, Sundays at 07:00 UTC, for the week before: the newest points that there were when the week was over. A
backfilled date takes the newest points of its own week, and has one verdict per table: running the backfill again,
with `--reprocess-behavior completed` too, finds them and starts nothing.

Also triggered by the asset `drill_request` (the DAG `retention_cleanup` asks for points that are about to be lost
unproven), and by new recovery points of tables that have the switch on. Each verdict is an event of the asset
`drill_verdict`: other DAGs wait for it by `schedule=[Asset("drill_verdict")]` and find table, recovery point and
verdict in the event's extra.

## How to skip
Set the Airflow Variable `skip_restore_drill` to `true`.

## On failure
* `report` names each drill that is not proven, with its reason; its evidence lies in S3. The restored table of a
  failed proof is kept, tagged `keep`.
* Clear the failed tasks when the cause is gone: a drill without a proof is done again, a restore job that is well is
  adopted, one that ended badly is started anew. A verdict that rests on the data stands; `force_new` asks for another.
* What a dead run leaves behind is swept by the DAG `retention_cleanup`.
* A late run is announced (deadline), never cut off: a cut-off run could not drop its restored tables.

## Owner
data-protection
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, Param, dag

from backup_flows.defaults import (
    DEFAULT_ARGS,
    DRILL_REQUEST,
    RECOVERY_POINT,
    RESTORE_LIMIT,
    SCAN_LIMIT,
    START_DATE,
    TAGS,
    deadline,
)
from backup_flows.drills.flow import run_drills
from backup_flows.fleet_tasks import RECOVERY_POINTS
from backup_flows.guards import skip_switch
from backup_flows.stack import STACK_NAME

RUN_LIMIT = RESTORE_LIMIT + SCAN_LIMIT + dt.timedelta(hours=2)


@dag(
    dag_id="restore_drill",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronDataIntervalTimetable("0 7 * * 0", timezone="UTC"),
        assets=DRILL_REQUEST | RECOVERY_POINT | RECOVERY_POINTS,
    ),
    start_date=START_DATE,
    catchup=False,
    max_active_runs=3,
    default_args=DEFAULT_ARGS,
    deadline=deadline(RUN_LIMIT),
    tags=[*TAGS, "fleet"],
    params={
        "mode": Param(
            "risk",
            type="string",
            title="Which recovery points",
            description="Newest of the tables most at risk, newest of the stack's table, or AWS's own restore tests.",
            enum=["risk", "newest", "adopt"],
        ),
        "table": Param(
            "",
            type="string",
            title="Table",
            description="A protected table, whose newest recovery point is drilled. Empty: as chosen above.",
            pattern=r"^$|^[a-zA-Z0-9_.-]{3,255}$",
        ),
        "recovery_point_arn": Param(
            "",
            type="string",
            title="Recovery point (ARN)",
            description="Only this one. Empty: as chosen above.",
            pattern=r"^$|^arn:aws[a-z-]*:(backup|dynamodb):.+$",
        ),
        "as_of": Param(
            "",
            type="string",
            title="As of",
            description="Recovery points made until then: 2026-11-01 (to its end) or 2026-11-01T06:00:00Z. "
            "Empty: the run's own date.",
            pattern=r"^$|^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+)?$",
        ),
        "max_drills": Param(
            10,
            type="integer",
            title="Drills in one run",
            description="At most so many recovery points, those most at risk first; AWS runs 50 restores at a time.",
            minimum=1,
            maximum=50,
        ),
        "restore_testing_plan_arn": Param(
            "",
            type="string",
            title="Restore testing plan (ARN)",
            description="Adopt the restore tests of this plan only. Empty: of all plans.",
            pattern=r"^$|^arn:aws[a-z-]*:backup:.+$",
        ),
        "max_rcu": Param(
            None,
            type=["null", "number"],
            title="Read limit (RCU a second)",
            description="Each proof reads its table with at most so many capacity units a second. Empty: no limit.",
            exclusiveMinimum=0,
        ),
        "force_new": Param(
            False,
            type=["boolean", "string"],
            title="New drills",
            description="Drill again although this run has its verdicts; to force once more, give another word.",
        ),
        "keep_restored_table": Param(
            False,
            type="boolean",
            title="Keep the restored tables",
            description="Leave restored tables in place, tagged keep, after a good proof too.",
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
def restore_drill() -> None:
    skip_switch() >> run_drills()


restore_drill()
