"""The retention DAG applied: exactly the recovery points go that nothing speaks for, and they are really gone."""

from __future__ import annotations

import pytest

from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CLEANUP = "retention_cleanup"
OURS = {"managed-by": "dynamodb-backup-proof"}


def back_up(site, tags=None):
    """Make a recovery point without the DAG, and return its ARN."""
    started = site.backup.start_backup_job(
        BackupVaultName=site.vault, ResourceArn=site.table_arn, IamRoleArn=site.role_arn, RecoveryPointTags=tags or {}
    )

    def completed():
        job = site.backup.describe_backup_job(BackupJobId=started["BackupJobId"])
        return job["RecoveryPointArn"] if job["State"] == "COMPLETED" else None

    return wait_until(completed, timeout=60, what="a backup job's completion")


def clean_up(site, **params):
    """Run the DAG and return the run's id and receipt."""
    conf = {"stack_name": site.name, "older_than_days": 0, "keep_newest": 2, **params}
    run_id = site.stack.trigger_dag(CLEANUP, conf)
    assert site.wait(run_id, dag_id=CLEANUP) == "success"
    return run_id, site.xcom(run_id, "receipt", dag_id=CLEANUP)


def test_exactly_the_right_recovery_points_go(site, orders):
    foreign = back_up(site)
    oldest = back_up(site, OURS)
    proven = site.proven(site.start(orders.source, orders.new_day()))["recovery_point_arn"]
    later = back_up(site, OURS)
    newest = [back_up(site, OURS), back_up(site, OURS)]
    everything = {foreign, oldest, proven, later, *newest}
    assert set(site.recovery_points()) == everything

    run_id, receipt = clean_up(site, dry_run=False)
    assert sorted(receipt["deleted"]) == sorted([oldest, later])
    assert receipt["still_there"] == []
    assert set(site.recovery_points()) == {foreign, proven, *newest}
    deletions = [
        task for task in site.stack.rest.task_instances(CLEANUP, run_id) if task["task_id"] == "delete_recovery_point"
    ]
    assert [task["state"] for task in deletions] == ["success", "success"]

    _, again = clean_up(site, dry_run=False)
    assert again["deleted"] == []
    assert set(site.recovery_points()) == {foreign, proven, *newest}
