"""The lease of a table when its owner gets into trouble: nobody else comes in between, and nobody waits for ever."""

from __future__ import annotations

import pytest

from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
WAIT = "back_up.wait_for_backup_job"
START = "back_up.start_backup_job"
TASK_SECONDS = 240
# Longer than it takes to kill who waits for the reply.
REPLY_DELAY = 50


def wait_for_lease(site, **expected):
    """Wait until the lease is as expected."""

    def reached():
        site.stack.check()
        lease = site.lease()
        return all(lease[name] == value for name, value in expected.items())

    wait_until(reached, timeout=TASK_SECONDS, what=lambda: f"{expected}, the lease being {site.lease()}")


def test_lost_worker_of_the_owner_loses_neither_the_lease_nor_the_job(site, orders, aws_settings):
    first, second = orders.new_day(), orders.new_day()
    aws_settings(start_backup_reply_delay_seconds=REPLY_DELAY)
    owner = site.start(orders.source, first)
    job = site.wait_backup_job()
    claim = site.lease()["expires_at"]
    site.stack.kill_task(STORY, owner, START)
    aws_settings(start_backup_reply_delay_seconds=0)
    assert site.backup_intent()["job_id"] is None
    other = site.start(orders.source, second)

    # The owner is silent, and still owns when its time is up: who wants to take over finds its run alive.
    wait_until(lambda: site.lease()["expires_at"] > claim, timeout=TASK_SECONDS, what="the renewal of the claim")
    lease = site.lease()
    assert (lease["owner"], lease["fence"], lease["queue"]) == (f"{STORY}/{owner}", 1, [f"{STORY}/{other}"])

    reports = {run_id: site.proven(run_id) for run_id in (owner, other)}
    assert site.task(owner, START)["try_number"] == 2
    assert [site.fence(owner), site.fence(other)] == [1, 2]
    earlier, later = site.backup_jobs()
    assert earlier["BackupJobId"] == job["BackupJobId"] == site.xcom(owner, START)
    assert later["CreationDate"] >= earlier["CompletionDate"]
    assert reports[owner]["counts"]["proven"] == len(orders.after(first))
    assert reports[other]["counts"]["proven"] == len(orders.after(first, second))
    assert site.lease()["owner"] is None


def test_lease_of_a_deleted_run_is_taken_over(site, orders, held_clock, delete_unfinished_run):
    first, second = orders.new_day(), orders.new_day()
    with held_clock():
        gone = site.start(orders.source, first)
        site.reach(gone, WAIT, "deferred")
        other = site.start(orders.source, second)
        site.reach(other, "acquire_lease", "deferred")
        wait_for_lease(site, owner=f"{STORY}/{gone}", queue=[f"{STORY}/{other}"])

        delete_unfinished_run(site, gone)

        # Nobody is left who would give the lease back.
        wait_for_lease(site, owner=f"{STORY}/{other}", fence=2, queue=[])
        stopped, *_ = site.backup_jobs()
        wait_until(
            lambda: site.backup_jobs()[0]["State"] == "ABORTING",
            timeout=TASK_SECONDS,
            what="the stop of the deleted run's backup job",
        )
    report = site.proven(other)
    earlier, later = site.backup_jobs()
    assert (earlier["BackupJobId"], earlier["State"]) == (stopped["BackupJobId"], "ABORTED")
    assert report["recovery_point_arn"] == later["RecoveryPointArn"]
    assert report["counts"]["proven"] == len(orders.after(first, second))
    assert site.lease()["owner"] is None
