"""The lease of a table when its owner gets into trouble: nobody else comes in between, and nobody waits for ever."""

from __future__ import annotations

import pytest

from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
WAIT = "back_up.wait_for_backup_job"
START = "back_up.start_backup_job"
LEASE_secondS = 20
TASK_secondS = 240


def wait_for_lease(site, **expected):
    """Wait until the lease is as expected."""

    def reached():
        site.stack.check()
        lease = site.lease()
        return all(lease[name] == value for name, value in expected.items())

    wait_until(reached, timeout=TASK_secondS, what=lambda: f"{expected}, the lease being {site.lease()}")


def test_lost_worker_of_the_owner_does_not_lose_the_lease(site, orders, aws_settings):
    first, second = orders.new_day(), orders.new_day()
    aws_settings(start_backup_reply_delay_seconds=50)
    owner = site.start(orders.source, first)
    job = site.wait_backup_job()
    other = site.start(orders.source, second)
    wait_for_lease(site, owner=f"{STORY}/{owner}", queue=[f"{STORY}/{other}"])

    site.stack.kill_task(STORY, owner, START)
    aws_settings(start_backup_reply_delay_seconds=0)
    site.reach(owner, START, "up_for_retry")
    # By now the lost worker has been silent for longer than a claim goes unquestioned, and still has its claim.
    assert site.lease() == {"owner": f"{STORY}/{owner}", "fence": 1, "queue": [f"{STORY}/{other}"]}

    reports = {run_id: site.proven(run_id) for run_id in (owner, other)}
    assert site.task(owner, START)["try_number"] == 2
    assert [site.fence(owner), site.fence(other)] == [1, 2]
    earlier, later = site.backup_jobs()
    assert earlier["BackupJobId"] == job["BackupJobId"]
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
            timeout=TASK_secondS,
            what="the stop of the deleted run's backup job",
        )
    report = site.proven(other)
    earlier, later = site.backup_jobs()
    assert (earlier["BackupJobId"], earlier["State"]) == (stopped["BackupJobId"], "ABORTED")
    assert report["recovery_point_arn"] == later["RecoveryPointArn"]
    assert report["counts"]["proven"] == len(orders.after(first, second))
    assert site.lease()["owner"] is None
