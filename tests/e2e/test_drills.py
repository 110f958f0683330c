"""Drills for ten dates of a history: each finds the recovery point of its date, has one verdict, and does it once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from local_stack import LocalStack
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

DRILL = "restore_drill"
WEEK = timedelta(days=7)
DATES = 10
QUIET_WEEKS = {3, 4}
"""In which no backup was made: their drills take the newest point of before."""
BACKFILL_SECONDS = 900


def sundays() -> list[datetime]:
    """Return the logical dates of the last ten weekly runs whose week is over, oldest first."""
    now = datetime.now(UTC)
    last = (now - timedelta(days=(now.weekday() + 1) % 7)).replace(hour=7, minute=0, second=0, microsecond=0)
    if last > now:
        last -= WEEK
    return [last - number * WEEK for number in range(DATES, 0, -1)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory, impatient):
    """An Airflow whose local AWS begins before the first of the dates."""
    start = (sundays()[0] - timedelta(days=1)).isoformat()
    aws_args = ["--job-seconds=2", "--restore-seconds=2", "--delete-seconds=1", f"--start-at={start}"]
    with LocalStack(tmp_path_factory.mktemp("drills"), aws_args=aws_args, env=impatient, schedule=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def site(stack, deploy):
    return deploy(stack, "orders-backup")


@pytest.fixture(scope="module")
def expected(site, back_up_bound) -> dict[str, str]:
    """Play ten weeks, two backups in most of them; return the recovery point that belongs to each date."""

    def wait_for(moment: datetime) -> None:
        now = datetime.fromisoformat(site.stack.aws_admin("GET", "/local-aws/clock")["now"])
        elapse((moment - now).total_seconds())

    def elapse(seconds: float) -> None:
        site.stack.aws_admin("POST", "/local-aws/clock", {"advance_seconds": seconds})

    newest: dict[str, str] = {}
    arn = ""
    for number, sunday in enumerate(sundays()):
        for day in () if number in QUIET_WEEKS else (2, 5):
            wait_for(sunday + timedelta(days=day))
            site.put(f"order-{number}-{day}", product=f"made on day {day}")
            arn = back_up_bound(site, elapse=lambda: elapse(3)).recovery_point_arn
        newest[sunday.date().isoformat()] = arn
    site.stack.aws_admin("POST", "/local-aws/clock", {"mode": "real"})
    return newest


def backfill(site, reprocess: str) -> list[dict]:
    """Backfill the ten dates, all at once; return the runs when they are over."""
    dates = sundays()
    site.stack.wait_dag(DRILL)
    site.stack.rest.set_paused(DRILL, False)
    number = site.stack.rest.create_backfill(
        DRILL,
        dates[0].isoformat(),
        dates[-1].isoformat(),
        max_active_runs=DATES,
        reprocess_behavior=reprocess,
        dag_run_conf={"stack_name": site.name, "mode": "newest"},
    )

    def over():
        site.stack.check()
        one = next(b for b in site.stack.api("GET", "/backfills", dag_id=DRILL)["backfills"] if b["id"] == number)
        runs = site.stack.rest.runs(DRILL)
        ended = len(runs) == DATES and all(run["state"] in {"success", "failed"} for run in runs)
        return runs if ended and one["completed_at"] else None

    return wait_until(over, timeout=BACKFILL_SECONDS, interval=1, what="the end of the backfill")


def states(site, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in site.stack.rest.task_instances(DRILL, run_id)}


def test_each_date_picks_its_recovery_point_and_a_second_backfill_does_nothing(site, expected):
    runs = backfill(site, "none")
    assert [run["state"] for run in runs] == ["success"] * DATES, [states(site, run["dag_run_id"]) for run in runs]

    verdicts = site.drill_verdicts()
    assert {one["as_of"]: one["recovery_point_arn"] for one in verdicts.values()} == expected
    assert len(verdicts) == DATES
    assert Counter(one["label"] for one in verdicts.values()) == {"PROVEN": DATES}
    jobs = site.restore_jobs()
    assert Counter(job["RecoveryPointArn"] for job in jobs) == Counter(expected.values())
    assert site.restored_tables() == []
    packs = [key for key in site.keys("evidence/") if key.endswith("pack.json")]
    assert len(packs) == DATES
    before = {key: site.read(key) for key in (*verdicts, *packs)}

    assert backfill(site, "none") == runs
    again = backfill(site, "completed")

    assert [run["state"] for run in again] == ["success"] * DATES
    assert {run["dag_run_id"] for run in again} == {run["dag_run_id"] for run in runs}
    # The runs were done again, and found their verdicts.
    for run in again:
        assert states(site, run["dag_run_id"])["drill.prepare"] == "skipped"
    assert [job["RestoreJobId"] for job in site.restore_jobs()] == [job["RestoreJobId"] for job in jobs]
    assert {key: site.read(key) for key in before} == before
    assert site.drill_verdicts().keys() == verdicts.keys()
    assert site.restored_tables() == []


def test_each_verdict_is_one_event_with_what_other_dags_need(site, expected):
    """The second look at a verdict is none."""
    assets = site.stack.api("GET", "/assets", name_pattern="drill_verdict")["assets"]
    (asset,) = [one for one in assets if one["name"] == "drill_verdict"]
    events = site.stack.api("GET", "/assets/events", asset_id=asset["id"], limit=100)["asset_events"]
    assert {event["extra"]["as_of"]: event["extra"]["recovery_point_arn"] for event in events} == expected
    assert len(events) == DATES
    assert {event["extra"]["verdict"] for event in events} == {"PROVEN"}
    assert {event["extra"]["table"] for event in events} == {site.table}


def test_of_two_tables_the_one_that_can_not_be_restored_fails_alone(site, expected, back_up_bound):
    """Both are drilled in one run, the one that was never proven first."""
    site.dynamodb.create_table(
        TableName="customers",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": "backup", "Value": "daily"}],
    )
    site.dynamodb.put_item(TableName="customers", Item={"id": {"S": "1"}})
    bound = back_up_bound(site, table="customers")
    fault = {
        "operation": "StartRestoreJob",
        "end_state": "FAILED",
        "message": "The disk was full.",
        "table": "customers",
    }
    site.stack.aws_admin("POST", "/local-aws/faults", fault)

    run_id = site.stack.trigger_dag(DRILL, {"stack_name": site.name, "mode": "risk"})

    assert site.wait(run_id, dag_id=DRILL) == "failed"
    tasks = site.stack.rest.task_instances(DRILL, run_id)
    concluded = sorted((task["map_index"], task["state"]) for task in tasks if task["task_id"] == "drill.conclude")
    assert concluded == [(0, "success"), (1, "success")]
    (failed,) = site.drill_verdicts("customers").values()
    assert (failed["label"], failed["recovery_point_arn"]) == ("FAILED", bound.recovery_point_arn)
    assert "The disk was full." in failed["reasons"][0]
    (proven,) = [one for one in site.drill_verdicts().values() if one["run"] == f"{DRILL}/{run_id}"]
    assert proven["label"] == "PROVEN"
    assert "customers" in site.stack.rest.task_log(DRILL, run_id, "report", 1)
    assert site.restored_tables() == site.restored_tables("customers") == []
