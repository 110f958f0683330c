"""Many runs on one table at once: each proof holds for what the table held at that run's turn."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest

from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

STORY = "orders_backup_restore"
THREE_RUNS_SECONDS = 900
TEN_RUNS_SECONDS = 1400


def finish_backfill(site, days, conf, timeout):
    """Backfill days with a run for each of them at once; return the run ids in the order of their turns."""
    site.stack.wait_dag(STORY)
    site.stack.rest.set_paused(STORY, False)
    wait_until(
        lambda: all(one["completed_at"] for one in site.stack.api("GET", "/backfills", dag_id=STORY)["backfills"]),
        timeout=120,
        what="the end of an earlier backfill, which the scheduler looks for twice a minute",
    )
    period = f"{days[0]}T00:00:00Z", f"{days[-1]}T23:59:59Z"

    site.stack.rest.create_backfill(STORY, *period, max_active_runs=len(days), dag_run_conf=conf)

    def ours():
        dates = {str(day) for day in days}
        return [
            run
            for run in site.stack.rest.runs(STORY)
            if run["run_type"] == "backfill" and run["logical_date"][:10] in dates
        ]

    most_at_once = 0

    def over():
        nonlocal most_at_once
        site.stack.check()
        runs = ours()
        most_at_once = max(most_at_once, sum(run["state"] == "running" for run in runs))
        return len(runs) == len(days) and all(run["state"] in {"success", "failed"} for run in runs)

    wait_until(
        over,
        timeout=timeout,
        interval=1,
        what=lambda: f"the end of {[(run['run_id'], run['state']) for run in ours()]}",
    )
    # Otherwise nothing was at once, and nothing was shown.
    assert most_at_once == len(days)
    runs = [run["dag_run_id"] for run in ours()]
    for run_id in runs:
        site.proven(run_id)
    return sorted(runs, key=site.fence)


def check_turns(site, runs, days, orders):
    """Check every verdict's counts against the files that were loaded up to its turn; return the days by turn."""
    turns = [date.fromisoformat(site.xcom(run_id, "preflight")["as_of"]) for run_id in runs]
    assert sorted(turns) == days
    assert [site.fence(run_id) for run_id in runs] == list(range(1, len(days) + 1))
    for turn, run_id in enumerate(runs):
        expected = orders.after(*turns[: turn + 1])
        report = site.xcom(run_id, "report")
        assert report["load"]["rows_in"] == report["load"]["written"] == len(orders.after(turns[turn]))
        assert {
            report["counts"][name] for name in ("items_before", "items_after", "items_restored", "compared", "proven")
        } == {len(expected)}
    # One job for each run, none begun before the one before it had ended.
    jobs = site.backup_jobs()
    assert len(jobs) == len(days)
    assert all(first["CompletionDate"] <= second["CreationDate"] for first, second in pairwise(jobs))
    assert [job["RecoveryPointArn"] for job in jobs] == [
        site.xcom(run_id, "report")["recovery_point_arn"] for run_id in runs
    ]
    assert site.content() == orders.after(*turns)
    assert site.lease()["owner"] is None
    return turns


def test_backfill_of_three_dates_at_once(site, orders):
    days = [orders.new_day(orders=60) for _ in range(3)]
    # The files must be such that a wrong order of the turns shows.
    assert orders.after(*days) != orders.after(*reversed(days))

    runs = finish_backfill(site, days, site.conf(orders.source, keep_restored_table=True), THREE_RUNS_SECONDS)

    turns = check_turns(site, runs, days, orders)
    for turn, run_id in enumerate(runs):
        restored = site.xcom(run_id, "report")["restored_table"]
        assert site.content(restored) == orders.after(*turns[: turn + 1])


def test_ten_runs_at_once(site, orders, aws_settings):
    # The turns take long enough without it: one run after the other.
    aws_settings(job_seconds=0.5)
    days = [orders.new_day(orders=10) for _ in range(10)]

    runs = finish_backfill(site, days, site.conf(orders.source), TEN_RUNS_SECONDS)

    check_turns(site, runs, days, orders)
    assert site.restored_tables() == []
