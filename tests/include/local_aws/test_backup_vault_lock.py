"""Vault lock at work: what it keeps out and in, and what it lets through."""

import pytest

DAY = 86_400


def lock(aws, **members):
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, **members)


def unlock(aws):
    aws.backup.delete_backup_vault_lock_configuration(BackupVaultName=aws.vault)


def vault(aws):
    return aws.backup.describe_backup_vault(BackupVaultName=aws.vault)


def ended(aws, **members):
    job_id = aws.start(**members)["BackupJobId"]
    aws.wait()
    return aws.job(job_id)


def test_an_empty_vault_may_go_for_all_its_lock(aws):
    lock(aws, ChangeableForDays=3)
    aws.wait(4 * DAY)
    aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    assert aws.backup.list_backup_vaults()["BackupVaultList"] == []


@pytest.mark.parametrize(
    ("bounds", "lifecycle", "complaint"),
    [
        ({"MinRetentionDays": 7}, {"DeleteAfterDays": 6}, "shorter than the minimum retention (7 days)"),
        ({"MinRetentionDays": 7}, {"DeleteAfterDays": 7}, None),
        ({"MinRetentionDays": 7}, {}, None),
        ({"MaxRetentionDays": 30}, {"DeleteAfterDays": 31}, "longer than the maximum retention (30 days)"),
        ({"MaxRetentionDays": 30}, {"DeleteAfterDays": 30}, None),
        ({"MaxRetentionDays": 30}, {}, "unlimited"),
    ],
)
def test_bounds_fail_the_job_and_not_the_call(aws, bounds, lifecycle, complaint):
    lock(aws, **bounds)
    job = ended(aws, Lifecycle=lifecycle)
    if complaint is None:
        assert job["State"] == "COMPLETED"
    else:
        assert (job["State"], job["MessageCategory"]) == ("FAILED", "INVALIDPARAMETERS")
        assert complaint in job["StatusMessage"]
        assert vault(aws)["NumberOfRecoveryPoints"] == 0


def test_bounds_are_for_later_jobs_only(aws):
    job = ended(aws, Lifecycle={"DeleteAfterDays": 2})
    lock(aws, MinRetentionDays=7)
    point = {"BackupVaultName": aws.vault, "RecoveryPointArn": job["RecoveryPointArn"]}
    assert aws.backup.describe_recovery_point(**point)["Lifecycle"] == {"DeleteAfterDays": 2}
    unlock(aws)
    assert ended(aws, Lifecycle={"DeleteAfterDays": 2})["State"] == "COMPLETED"


def test_the_lifecycle_still_deletes_from_a_vault_locked_for_good(aws, refused):
    lock(aws, MinRetentionDays=1, ChangeableForDays=3)
    arn = ended(aws, Lifecycle={"DeleteAfterDays": 10})["RecoveryPointArn"]
    aws.wait(5 * DAY)
    with refused("InvalidRequestException", "locked"):
        aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    assert vault(aws)["NumberOfRecoveryPoints"] == 1
    aws.wait(6 * DAY)
    assert vault(aws)["NumberOfRecoveryPoints"] == 0


def test_a_legal_hold_keeps_what_the_lifecycle_would_delete(aws):
    ended(aws, Lifecycle={"DeleteAfterDays": 1})
    hold = aws.backup.create_legal_hold(Title="Case", Description="Asked for")["LegalHoldId"]
    aws.wait(3 * DAY)
    assert vault(aws)["NumberOfRecoveryPoints"] == 1
    aws.backup.cancel_legal_hold(LegalHoldId=hold, CancelDescription="Closed")
    aws.wait(10)
    assert vault(aws)["NumberOfRecoveryPoints"] == 0
