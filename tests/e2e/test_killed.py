"""Processes that are killed at the worst moment: one backup job all the same, and the run ends PROVEN."""

from __future__ import annotations

import psutil
import pytest

from local_stack import SCHEDULER, TRIGGERER
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
POKING = "poking_orders"
START = "back_up.start_backup_job"
WAIT = "back_up.wait_for_backup_job"
# Longer than the test needs to kill who waits for the reply; the others are not kept waiting.
REPLY_DELAY = 50


def check_one_job(site, run_id, job_id, *, dag_id=STORY):
    (job,) = site.backup_jobs()
    assert job["BackupJobId"] == job_id
    assert job["State"] == "COMPLETED"
    assert site.xcom(run_id, START, dag_id=dag_id) == job_id
    assert len(site.recovery_points()) == 1


def test_worker_lost_before_the_reply_and_a_sibling_cleared_before_the_retry(site, orders, aws_settings):
    aws_settings(start_backup_reply_delay_seconds=REPLY_DELAY)
    run_id = site.start(orders.source, orders.new_day())
    job = site.wait_backup_job()
    site.stack.kill_task(STORY, run_id, START)
    aws_settings(start_backup_reply_delay_seconds=0)
    # Announced, but without the job's id: that is the moment that was to be hit.
    assert site.backup_intent()["job_id"] is None
    before = site.xcom(run_id, "back_up.fingerprint_before")
    site.reach(run_id, START, "up_for_retry")

    site.stack.rest.clear_tasks(STORY, run_id, ["stage", "back_up.fingerprint_before"])

    site.proven(run_id)
    assert {name: site.task(run_id, name)["try_number"] for name in (START, "stage", "back_up.fingerprint_before")} == {
        START: 2,
        "stage": 2,
        "back_up.fingerprint_before": 2,
    }
    check_one_job(site, run_id, job["BackupJobId"])
    record = site.backup_intent()
    assert (record["job_id"], record["generation"]) == (job["BackupJobId"], 0)
    # The fingerprint that precedes the job still counts; a new one would vouch for the wrong moment.
    assert site.xcom(run_id, "back_up.fingerprint_before") == before


def test_triggerer_lost_while_the_wait_is_deferred(site, orders, held_clock):
    with held_clock():
        run_id = site.start(orders.source, orders.new_day())
        site.reach(run_id, WAIT, "deferred")
        (job,) = site.backup_jobs()
        site.stack.kill(TRIGGERER)
    # The job ends while nobody watches it.
    wait_until(
        lambda: site.backup_jobs()[0]["State"] == "COMPLETED", timeout=60, what="the end of the unwatched backup job"
    )
    assert site.task(run_id, WAIT)["state"] == "deferred"
    site.stack.start_component(TRIGGERER)

    site.proven(run_id)

    assert site.task(run_id, WAIT)["try_number"] == 1
    check_one_job(site, run_id, job["BackupJobId"])


def test_worker_lost_while_it_pokes(site, orders, held_clock):
    with held_clock():
        run_id = site.start(orders.source, orders.new_day(), dag_id=POKING)
        # Its worker is busy with the wait, which has seen the job unfinished.
        site.reach(run_id, WAIT, "running", dag_id=POKING)
        wait_until(
            lambda: "is CREATED" in site.stack.rest.task_log(POKING, run_id, WAIT, 1),
            timeout=120,
            what="the first poke",
        )
        (job,) = site.backup_jobs()
        killed = site.stack.kill_task(POKING, run_id, WAIT)
        assert len(killed) == 2
        scheduler = psutil.Process(site.stack.component(SCHEDULER).pid)
        assert not set(killed) & {child.pid for child in scheduler.children(recursive=True) if child.is_running()}

    site.proven(run_id, dag_id=POKING)

    assert site.task(run_id, WAIT, dag_id=POKING)["try_number"] == 2
    check_one_job(site, run_id, job["BackupJobId"], dag_id=POKING)
