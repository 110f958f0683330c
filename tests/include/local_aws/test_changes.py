import pytest
from moto.backup.models import backup_backends

from local_aws import control
from local_aws.backup.backup_jobs import BackupJob
from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.restore_jobs import RestoreJob
from local_aws.backup.vaults import Vault


@pytest.fixture
def seen(aws):
    """What the observer of the account saw: kind, state and what happened."""
    seen = []

    def observe(change):
        subject = change.subject
        state = getattr(subject, "state", getattr(subject, "status", None))
        seen.append((type(subject), str(state), str(change.what)))

    backup_backends["123456789012"]["us-east-1"].changes.observe(observe)
    return seen


def of(kind, seen):
    return [(state, what) for each, state, what in seen if each is kind]


def test_every_state_of_a_backup_and_its_recovery_point_is_reported(aws, seen):
    arn = aws.recovery_point()
    aws.backup.update_recovery_point_lifecycle(
        BackupVaultName=aws.vault, RecoveryPointArn=arn, Lifecycle={"DeleteAfterDays": 7}
    )
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.wait()
    assert of(BackupJob, seen) == [
        ("CREATED", "CREATED"),
        ("PENDING", "MODIFIED"),
        ("RUNNING", "MODIFIED"),
        ("COMPLETED", "MODIFIED"),
    ]
    assert of(RecoveryPoint, seen) == [
        ("CREATING", "CREATED"),
        ("COMPLETED", "MODIFIED"),
        ("COMPLETED", "MODIFIED"),
        ("DELETING", "MODIFIED"),
        ("DELETING", "DELETED"),
    ]


def test_a_stopped_job_is_reported_aborting_and_aborted(aws, seen):
    job_id = aws.start()["BackupJobId"]
    aws.wait(50)
    aws.backup.stop_backup_job(BackupJobId=job_id)
    aws.wait()
    assert [state for state, _ in of(BackupJob, seen)][-2:] == ["ABORTING", "ABORTED"]
    assert of(RecoveryPoint, seen)[-1] == ("CREATING", "DELETED")


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED"])
def test_every_state_of_a_restore_is_reported(aws, seen, end):
    arn = aws.recovery_point()
    if end == "FAILED":
        control.inject_fault("StartRestoreJob", end, "No.")
    aws.restore(arn)
    aws.wait()
    assert of(RestoreJob, seen) == [("PENDING", "CREATED"), ("RUNNING", "MODIFIED"), (end, "MODIFIED")]


def test_a_vault_is_reported_when_it_is_made_locked_unlocked_and_deleted(aws, seen):
    aws.backup.create_backup_vault(BackupVaultName="v2")
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName="v2", MinRetentionDays=1)
    aws.backup.delete_backup_vault_lock_configuration(BackupVaultName="v2")
    aws.backup.delete_backup_vault(BackupVaultName="v2")
    assert [what for _, what in of(Vault, seen)] == ["CREATED", "MODIFIED", "MODIFIED", "DELETED"]


def test_a_change_is_reported_with_the_time_that_it_was_due_at(aws):
    times = []
    backup_backends["123456789012"]["us-east-1"].changes.observe(lambda change: times.append(change.at))
    aws.start()
    aws.wait(10 * aws.job_seconds)
    assert [(time - aws.now).total_seconds() for time in times] == [0, 10, 25, 25, 100, 100]
