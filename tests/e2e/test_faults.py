"""A backup job that ends badly: its wait fails at once with AWS's own words, and clearing starts a new job."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
START = "back_up.start_backup_job"
WAIT = "back_up.wait_for_backup_job"


def order_fault(site, end_state):
    """Let the next backup job of the site's table end badly; return AWS's message about it."""
    message = f"The storage of {site.table} is on fire."
    fault = {"operation": "StartBackupJob", "end_state": end_state, "message": message, "table": site.table}
    site.stack.aws_admin("POST", "/local-aws/faults", fault)
    return message


def check_failed_at_once(site, run_id, end_state, message):
    """Make sure that the wait failed without a retry, in AWS's words, and the run left nothing; return the job."""
    assert site.wait(run_id) == "failed"
    (job,) = site.backup_jobs()
    assert job["State"] == end_state
    wait = site.task(run_id, WAIT)
    # Tasks have two retries: this one knows that another look won't help.
    assert (wait["state"], wait["try_number"], wait["max_tries"]) == ("failed", 1, 2)
    log = site.stack.rest.task_log(STORY, run_id, WAIT, 1)
    assert message in log
    assert end_state in log
    assert site.recovery_points() == []
    assert site.restored_tables() == []
    assert site.lease()["owner"] is None
    return job


def test_expired_job_fails_its_wait_at_once(site, orders):
    message = order_fault(site, "EXPIRED")
    run_id = site.start(orders.source, orders.new_day())
    check_failed_at_once(site, run_id, "EXPIRED", message)


def test_failed_job_fails_its_wait_at_once_and_a_clear_starts_a_new_one(site, orders):
    message = order_fault(site, "FAILED")
    run_id = site.start(orders.source, orders.new_day())
    bad = check_failed_at_once(site, run_id, "FAILED", message)

    site.stack.rest.clear_tasks(STORY, run_id, [START], include_downstream=True)
    report = site.proven(run_id)

    _, good = site.backup_jobs()
    assert good["State"] == "COMPLETED"
    assert report["recovery_point_arn"] == good["RecoveryPointArn"]
    assert site.xcom(run_id, START) == good["BackupJobId"] != bad["BackupJobId"]
    assert site.backup_intent()["generation"] == 1
    assert report["counts"]["proven"] == len(site.content()) > 0
