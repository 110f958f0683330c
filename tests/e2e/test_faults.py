"""A backup job that ends badly: its wait fails at once with AWS's own words, and clearing starts a new job."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
START = "back_up.start_backup_job"
WAIT = "back_up.wait_for_backup_job"


@pytest.mark.parametrize("end_state", ["FAILED", "EXPIRED"])
def test_bad_end_fails_at_once_and_a_clear_starts_a_new_job(airflow, site, orders, end_state):
    day = orders.new_day()
    message = f"The storage of {site.table} is on fire."
    fault = {"operation": "StartBackupJob", "end_state": end_state, "message": message, "table": site.table}
    airflow.aws_admin("POST", "/local-aws/faults", fault)

    run_id = site.start(orders.source, day)
    assert site.wait(run_id) == "failed"

    (bad,) = site.backup_jobs()
    assert bad["State"] == end_state
    wait = site.task(run_id, WAIT)
    # Tasks have two retries: this one knows that another look won't help.
    assert (wait["state"], wait["try_number"], wait["max_tries"]) == ("failed", 1, 2)
    log = airflow.rest.task_log(STORY, run_id, WAIT, 1)
    assert message in log
    assert end_state in log
    assert site.recovery_points() == []
    assert site.restored_tables() == []
    assert site.lease()["owner"] is None

    airflow.rest.clear_tasks(STORY, run_id, [START], include_downstream=True)
    report = site.proven(run_id)

    _, good = site.backup_jobs()
    assert good["State"] == "COMPLETED"
    assert report["recovery_point_arn"] == good["RecoveryPointArn"]
    assert site.xcom(run_id, START) == good["BackupJobId"] != bad["BackupJobId"]
    assert report["counts"]["proven"] == len(orders.after(day))
