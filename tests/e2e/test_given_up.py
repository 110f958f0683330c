"""Runs that somebody gives up: the backup job is stopped, and no restored table outlives the next sweep."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
IMPATIENT = "impatient_orders"
CLEANUP = "retention_cleanup"
WAIT = "back_up.wait_for_backup_job"
SETTLE = "back_up.settle_after"
WAIT_RESTORE = "restore.wait_for_restore_job"
TASK_SECONDS = 240


def test_wait_marked_failed_by_a_person_stops_the_backup_job(site, orders, held_clock):
    with held_clock():
        run_id = site.start(orders.source, orders.new_day())
        site.reach(run_id, WAIT, "deferred")
        # A wait that no triggerer has taken up yet is ended by Airflow without a word to anybody.
        wait_until(
            lambda: "is CREATED; asking again" in site.stack.rest.task_log(STORY, run_id, WAIT, 1),
            timeout=TASK_SECONDS,
            what="the trigger's first look at the job",
        )
        (job,) = site.backup_jobs()
        assert job["State"] == "CREATED"

        site.stack.rest.set_task_state(STORY, run_id, WAIT, "failed")

        wait_until(
            lambda: site.backup_jobs()[0]["State"] == "ABORTING",
            timeout=TASK_SECONDS,
            what="the stop of the backup job",
        )
    assert site.wait(run_id) == "failed"
    (job,) = site.backup_jobs()
    assert job["State"] == "ABORTED"
    assert site.recovery_points() == []
    # The teardown gave the table back.
    assert site.task(run_id, "release_lease")["state"] == "success"
    assert site.lease()["owner"] is None


@contextmanager
def restore_standing_still(site, run_id, held_clock, *, dag_id=STORY):
    """Hold the clock while the run's restore job is half done and its table CREATING."""
    # The last that waits for AWS's clock before the restore job.
    site.reach(run_id, SETTLE, "success", dag_id=dag_id)
    with held_clock() as advance:
        site.reach(run_id, WAIT_RESTORE, "deferred", dag_id=dag_id)
        advance(1)
        (table,) = site.restored_tables()
        assert site.dynamodb.describe_table(TableName=table)["Table"]["TableStatus"] == "CREATING"
        yield table


def sweep(site):
    """Run the retention DAG for good, as one who agrees to that, and return its receipt."""
    conf = {"stack_name": site.name, "mode": "apply", "sweep_older_than_minutes": 0}
    run_id = site.stack.trigger_dag(CLEANUP, conf)
    site.answer(run_id, "approve", "Approve", dag_id=CLEANUP)
    assert site.wait(run_id, dag_id=CLEANUP) == "success"
    return site.xcom(run_id, "receipt", dag_id=CLEANUP)


def check_swept(site, table):
    """Make sure that the table stands there finished, left behind, and goes with the next sweep."""
    wait_until(
        lambda: site.dynamodb.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE",
        timeout=60,
        what=f"the end of the restore to {table}",
    )
    receipt = sweep(site)
    assert receipt["swept"] == [table]
    assert site.restored_tables() == []
    # The recovery point has nothing to do with that.
    assert receipt["deleted"] == []
    assert len(site.recovery_points()) == 1


def test_run_failed_in_the_ui_during_its_restore(site, orders, held_clock):
    run_id = site.start(orders.source, orders.new_day())
    with restore_standing_still(site, run_id, held_clock) as table:
        site.stack.rest.set_run_state(STORY, run_id, "failed")
        # Airflow lets teardowns finish and then judges the run by its last task, which it has skipped: the run
        # does not end "failed". Its tasks tell what happened.
        site.wait(run_id)
        assert site.task(run_id, WAIT_RESTORE)["state"] == "failed"
        assert site.task(run_id, "prove")["state"] == "skipped"
        # A table that is still being restored can't be deleted, so the teardown has to leave it.
        assert site.xcom(run_id, "drop_restored_table") == "left"
    check_swept(site, table)


def test_run_deleted_during_its_restore(site, orders, held_clock, delete_unfinished_run):
    run_id = site.start(orders.source, orders.new_day())
    with restore_standing_still(site, run_id, held_clock) as table:
        delete_unfinished_run(site, run_id)
    check_swept(site, table)


def test_run_that_timed_out_during_its_restore(site, orders, held_clock):
    run_id = site.start(orders.source, orders.new_day(), dag_id=IMPATIENT)
    with restore_standing_still(site, run_id, held_clock, dag_id=IMPATIENT) as table:
        assert site.wait(run_id, dag_id=IMPATIENT) == "failed"
        wait = site.task(run_id, WAIT_RESTORE, dag_id=IMPATIENT)
        assert (wait["state"], wait["try_number"]) == ("failed", 1)
        assert site.xcom(run_id, "drop_restored_table", dag_id=IMPATIENT) == "left"
    check_swept(site, table)
