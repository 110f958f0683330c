"""The watch in a real Airflow: days that the stack's own plan backed up are green, and one that it did not is red.

The local AWS's clock is moved on by days, so the days that are watched lie ahead of Airflow's own: they are named in
the trigger form. A backfill, which Airflow allows for its past only, watches days before the table was there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import pytest

from local_stack import LocalStack
from run_local import failure_text
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

WATCH = "scheduled_backup_watch"
STACK = "orders-backup"
RUN_SECONDS = 480
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """An Airflow of its own, whose local AWS may be played far into the future."""
    with LocalStack(tmp_path_factory.mktemp("played"), aws_args=["--job-seconds=2"], schedule=False) as stack:
        deployed = stack.trigger_dag("backup_stack", {"prove_protection": False})
        state = stack.wait_run("backup_stack", deployed, timeout=RUN_SECONDS)
        assert state == "success", failure_text(stack, "backup_stack", deployed)
        yield stack


def watch(stack, end):
    """Watch the 24 hours before a moment, as one who fills in the form; return the run's id and state."""
    conf = {"stack_name": STACK, "period_start": (end - DAY).isoformat(), "period_end": end.isoformat()}
    run_id = stack.trigger_dag(WATCH, conf)
    return run_id, stack.wait_run(WATCH, run_id, timeout=RUN_SECONDS)


def task_state(stack, run_id, task_id):
    return stack.rest.task_instance(WATCH, run_id, task_id)["state"]


def counts(site, run_id):
    return site.xcom(run_id, "watch", dag_id=WATCH)["counts"]


def test_played_days_are_green_a_broken_one_is_red_and_the_past_is_honest(played, site_of):
    site = site_of(played, STACK)
    first = datetime.combine(datetime.now(UTC).date() + 2 * DAY, time(8, 30), tzinfo=UTC)
    # Three whole periods: from the morning after the table was made.
    played.aws_admin(
        "POST", "/local-aws/clock", {"advance_seconds": (first + 2 * DAY - datetime.now(UTC)).total_seconds()}
    )
    for end in (first, first + DAY, first + 2 * DAY):
        run_id, state = watch(played, end)
        assert state == "success", failure_text(played, WATCH, run_id)
        assert task_state(played, run_id, "verdict") == "success"
        assert counts(site, run_id) == {"FOUND": 1, "MET": 1}

    plan_id = next(plan["BackupPlanId"] for plan in site.backup.list_backup_plans()["BackupPlansList"])
    for selection in site.backup.list_backup_selections(BackupPlanId=plan_id)["BackupSelectionsList"]:
        site.backup.delete_backup_selection(BackupPlanId=plan_id, SelectionId=selection["SelectionId"])
    played.aws_admin("POST", "/local-aws/clock", {"advance_days": 1})
    run_id, state = watch(played, first + 3 * DAY)
    assert state == "failed"
    assert task_state(played, run_id, "watch") == "success"
    broken = site.xcom(run_id, "watch", dag_id=WATCH)["broken"]
    assert any("MISSING (not selected)" in line and "backup_stack" in line for line in broken)

    # The date whose period, until 08:30 of the next one, is the last that is over by Airflow's clock.
    past = (datetime.now(UTC) - timedelta(hours=8, minutes=30)).date() - DAY
    played.rest.create_backfill(
        WATCH, f"{past}T00:00:00Z", f"{past}T23:59:59Z", max_active_runs=1, dag_run_conf={"stack_name": STACK}
    )

    def filled():
        return [run for run in played.rest.runs(WATCH) if run["run_type"] == "backfill"]

    (run,) = wait_until(filled, timeout=RUN_SECONDS, what="the backfill's run")
    assert played.wait_run(WATCH, run["dag_run_id"], timeout=RUN_SECONDS) == "success"
    assert counts(site, run["dag_run_id"])["NOT_EXPECTED"] >= 1
    assert site.xcom(run["dag_run_id"], "watch", dag_id=WATCH)["period_start"] == f"{past}T08:30:00+00:00"
