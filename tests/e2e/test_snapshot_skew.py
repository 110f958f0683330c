"""AWS promises a backup to hold what was written up to some time before its request: who settles is PROVEN.

Here the local AWS leaves out the last two minutes, and its clock is moved by hand, so that waiting takes seconds.
The first run is one by schedule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from threading import Event, Thread

import pytest

from data.generate_orders import COLUMNS, DEFAULT_ORDERS, DEFAULT_SEED, OrderRow, generate_rows, to_csv, write_daily
from local_stack import LocalStack
from run_local import failure_text
from stack_environment import PROJECT
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

STORY = "orders_backup_restore"
SKEW_SECONDS = 120
NEW = 5
CHANGED = 3
TICK = 0.2
RUN_SECONDS = 600
DAILY = PROJECT / "include" / "data" / "daily"


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """An Airflow in which schedules count, with a local AWS whose backups miss the last two minutes."""
    with LocalStack(
        tmp_path_factory.mktemp("skewed"),
        aws_args=[f"--snapshot-skew={SKEW_SECONDS}", "--job-seconds=2", "--restore-seconds=2"],
        schedule=True,
    ) as stack:
        deployed = stack.trigger_dag("backup_stack", {"prove_protection": False})
        assert stack.wait_run("backup_stack", deployed, timeout=RUN_SECONDS) == "success"
        yield stack


@contextmanager
def moving_clock(stack: LocalStack, speed: float) -> Iterator[None]:
    """Let the local AWS's clock go at a multiple of the machine's."""
    stop = Event()
    problems: list[Exception] = []

    def move() -> None:
        try:
            while not stop.wait(TICK):
                stack.aws_admin("POST", "/local-aws/clock", {"advance_seconds": TICK * speed})
        except Exception as error:
            problems.append(error)

    mover = Thread(target=move, daemon=True)
    mover.start()
    try:
        yield
    finally:
        stop.set()
        mover.join()
    assert problems == []


def story_runs(stack: LocalStack) -> list[str]:
    return [run["dag_run_id"] for run in stack.rest.runs(STORY)]


def test_scheduled_run_loads_yesterday_settles_and_is_proven(skewed, site_of, file_content):
    site = site_of(skewed, "orders-backup")
    today = datetime.now(UTC).date()
    write_daily(today - timedelta(2), today, DAILY, seed=DEFAULT_SEED, orders=DEFAULT_ORDERS)
    skewed.wait_dag(STORY)
    with moving_clock(skewed, speed=25):
        # Yesterday's interval has ended and is due at once.
        skewed.rest.set_paused(STORY, False)
        wait_until(lambda: story_runs(skewed), timeout=120, what="the scheduled run")
        (run_id,) = story_runs(skewed)
        run = skewed.rest.run(STORY, run_id)
        assert run["run_type"] == "scheduled"
        report = site.proven(run_id)
    due = datetime.fromisoformat(run["run_after"])
    assert due <= datetime.now(UTC) < due + timedelta(days=1)
    yesterday = date.fromisoformat(run["logical_date"][:10])
    assert yesterday == (due - timedelta(days=1)).date()
    assert site.xcom(run_id, "preflight")["as_of"] == yesterday.isoformat()

    expected = file_content(DAILY / f"order_data_{yesterday}.csv")
    assert report["load"]["written"] == report["counts"]["proven"] == len(expected)
    assert site.content() == expected
    # It did wait, and on AWS's clock.
    loaded = datetime.fromisoformat(site.xcom(run_id, "load")["ended_at"])
    (job,) = site.backup_jobs()
    assert job["CreationDate"] - loaded >= timedelta(seconds=SKEW_SECONDS)
    assert skewed.rest.task_instance(STORY, run_id, "back_up.settle_before")["state"] == "success"


def write_late_orders(orders, before):
    """Write a file that changes some of the table's items and adds some; return its day."""
    day = orders.new_day()
    new = generate_rows(day, orders=30)[:NEW]
    held = [OrderRow(**{**dict.fromkeys(COLUMNS, ""), **item}) for _, item in sorted(before.items())[:CHANGED]]
    changed = [row._replace(amount=str(row.amount + 1)) for row in held]
    orders.path(day).write_bytes(to_csv([*changed, *new]))
    return day


def test_unsettled_run_fails_and_names_the_late_writes(skewed, site_of, orders):
    site = site_of(skewed, "orders-backup")
    before = site.content()
    late = write_late_orders(orders, before)
    # Nothing of what the table held already may be late as well.
    skewed.aws_admin("POST", "/local-aws/clock", {"advance_seconds": 2 * SKEW_SECONDS})
    with moving_clock(skewed, speed=1):
        run_id = site.start(orders.source, late)
        assert site.wait(run_id) == "failed"

    assert [task["task_id"] for task in skewed.rest.task_instances(STORY, run_id) if task["state"] == "failed"] == [
        "prove"
    ], failure_text(skewed, STORY, run_id)
    verdict = site.xcom(run_id, "prove", "verdict")
    written = orders.after(late)
    missing = written.keys() - before.keys()
    changed = {key for key in written.keys() & before.keys() if written[key] != before[key]}
    assert (len(missing), len(changed)) == (NEW, CHANGED)
    assert verdict["verdict"] == "FAILED"
    assert verdict["counts"]["missing"] == len(missing)
    assert verdict["counts"]["changed"] == len(changed)
    assert verdict["counts"]["extra"] == 0
    folder = verdict["report"].rpartition("/")[0]
    named = [json.loads(line) for line in site.read(f"{folder}/diff.jsonl").splitlines()]
    assert {(entry["key"]["order_id"]["S"], entry["key"]["item_id"]["S"]) for entry in named} == missing | changed
    report = site.read(verdict["report"]).decode()
    assert all(order_id in report for order_id, _ in missing)
    # It is kept for somebody to look at, and says so.
    table = verdict["restored_table"]
    arn = site.dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    tags = {tag["Key"]: tag["Value"] for tag in site.dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]}
    assert tags["keep"] == "failed-proof"
    assert site.content(table) == before
