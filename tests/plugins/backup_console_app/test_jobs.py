"""Jobs of the last thirty days: both kinds, filtered and cut, and the Airflow run that started each."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_console_app.jobs import WantedJobs, jobs
from local_aws import control

DAY = 86_400


@pytest.fixture
def arn(account):
    return account.clients("dynamodb").describe_table(TableName="orders")["Table"]["TableArn"]


def entries(account, **wanted):
    account.seconds += 1000
    return jobs(account.world(), WantedJobs(**wanted)).page.entries


def restore(account, point, target):
    backup = account.clients("backup")
    metadata = backup.get_recovery_point_restore_metadata(BackupVaultName="orders-vault", RecoveryPointArn=point)
    started = backup.start_restore_job(
        RecoveryPointArn=point,
        IamRoleArn="arn:aws:iam::123456789012:role/backup",
        ResourceType="DynamoDB",
        Metadata={**metadata["RestoreMetadata"], "targetTableName": target},
    )
    account.wait()
    return started["RestoreJobId"]


def test_an_empty_account_has_no_jobs(account):
    found = jobs(account.world(), WantedJobs())
    assert (found.page.total, found.states, found.cut_off) == (0, [], False)


def test_both_kinds_come_newest_first(account, arn):
    point = account.back_up(arn)
    restore(account, point, "orders-copy")
    newest, oldest = entries(account)
    assert (newest.kind, newest.table, newest.target, newest.state) == ("restore", "orders", "orders-copy", "COMPLETED")
    assert (oldest.kind, oldest.table, oldest.point_arn) == ("backup", "orders", point)
    assert oldest.took == dt.timedelta(seconds=60)
    assert [job.kind for job in entries(account, kind="backup")] == ["backup"]
    assert [job.kind for job in entries(account, kind="restore")] == ["restore"]


def test_filters_choose(account, arn):
    other = account.clients("dynamodb").describe_table(TableName="returns")["Table"]["TableArn"]
    account.back_up(arn)
    account.wait(3 * DAY)
    account.back_up(other)
    assert [job.table for job in entries(account, table="ORD")] == ["orders"]
    assert [job.table for job in entries(account, days=1)] == ["returns"]
    assert len(entries(account, days=0)) == 1
    assert len(entries(account, days=999)) == 2
    assert entries(account, state="FAILED") == []


def test_a_failed_job_says_why(account, arn):
    control.inject_fault("StartBackupJob", "FAILED", "No room.")
    account.clients("backup").start_backup_job(
        BackupVaultName="orders-vault", ResourceArn=arn, IamRoleArn="arn:aws:iam::123456789012:role/backup"
    )
    account.wait()
    (job,) = entries(account)
    assert (job.state, job.mood) == ("FAILED", "bad")
    assert job.message == "No room."


def test_the_run_that_started_a_backup_is_known_by_what_is_bound_to_its_point(account, arn):
    point = account.back_up(arn)
    assert entries(account)[0].run is None
    (job,) = entries(account)
    account.put(
        f"recovery-points/orders/{point.rpartition(':')[2]}/binding.json",
        {"dag_id": "table_backup", "run_id": "manual__1", "backup_job_id": job.job_id},
    )
    assert entries(account)[0].run == "table_backup/manual__1"


def test_a_point_bound_by_another_job_names_no_run(account, arn):
    point = account.back_up(arn)
    account.put(
        f"recovery-points/orders/{point.rpartition(':')[2]}/binding.json",
        {"dag_id": "table_backup", "run_id": "manual__1", "backup_job_id": "another"},
    )
    assert entries(account)[0].run is None


def test_the_run_that_started_a_restore_is_known_by_the_record_of_its_table(account, arn):
    restore(account, account.back_up(arn), "orders-copy")
    account.put("restores/orders-copy.json", {"dag_id": "restore_drill", "run_id": "manual__2"})
    assert entries(account, kind="restore")[0].run == "restore_drill/manual__2"
