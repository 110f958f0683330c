"""What becomes of recovery points as time goes by: cold storage, deletion, and a year of daily backups."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from local_aws import control

DAY = timedelta(days=1).total_seconds()
COLD_AND_DELETE = {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 366}


def points(aws):
    """All recovery points of the vault, oldest first."""
    pages = aws.backup.get_paginator("list_recovery_points_by_backup_vault").paginate(BackupVaultName=aws.vault)
    return [point for page in pages for point in page["RecoveryPoints"]][::-1]


def describe(aws, arn):
    return aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)


def update(aws, arn, **lifecycle):
    aws.backup.update_recovery_point_lifecycle(BackupVaultName=aws.vault, RecoveryPointArn=arn, Lifecycle=lifecycle)


def test_a_point_is_deleted_on_its_day(aws):
    arn = aws.recovery_point(Lifecycle={"DeleteAfterDays": 7})
    deletes_at = describe(aws, arn)["CalculatedLifecycle"]["DeleteAt"]
    assert deletes_at == aws.now + timedelta(days=7)
    aws.wait(7 * DAY - aws.job_seconds - 1)
    assert describe(aws, arn)["Status"] == "COMPLETED"
    aws.wait(1)
    assert describe(aws, arn)["Status"] == "DELETING"
    aws.wait(10)
    assert points(aws) == []


def test_a_point_without_an_end_stays(aws):
    aws.recovery_point()
    aws.wait(2000 * DAY)
    assert len(points(aws)) == 1


def test_a_plain_point_is_deleted_too_and_never_turns_cold(aws):
    aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    arn = aws.recovery_point(Lifecycle={"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91})
    aws.wait(90 * DAY)
    assert describe(aws, arn)["StorageClass"] == "WARM"
    aws.wait(DAY)
    assert points(aws) == []


def test_the_storage_class_changes_on_its_day(aws):
    arn = aws.recovery_point(Lifecycle=COLD_AND_DELETE)
    assert describe(aws, arn)["CalculatedLifecycle"]["MoveToColdStorageAt"] == aws.now + timedelta(days=31)
    aws.wait(31 * DAY - aws.job_seconds - 1)
    assert describe(aws, arn)["StorageClass"] == "WARM"
    aws.wait(1)
    assert describe(aws, arn)["StorageClass"] == "COLD"


def test_a_cold_point_can_be_restored(aws):
    arn = aws.recovery_point(Lifecycle=COLD_AND_DELETE)
    aws.wait(40 * DAY)
    aws.restore(arn)
    aws.wait()
    assert aws.orders("orders-restored") == ["A", "B"]


@pytest.mark.parametrize("later", [5, 30])
def test_a_changed_lifecycle_counts_from_then_on(aws, later):
    arn = aws.recovery_point(Lifecycle={"DeleteAfterDays": 7})
    update(aws, arn, DeleteAfterDays=later)
    aws.wait(later * DAY - aws.job_seconds - 1)
    assert describe(aws, arn)["Status"] == "COMPLETED"
    aws.wait(1)
    assert describe(aws, arn)["Status"] == "DELETING"


def test_a_lifecycle_that_is_taken_away_deletes_nothing(aws):
    arn = aws.recovery_point(Lifecycle={"DeleteAfterDays": 7})
    update(aws, arn, DeleteAfterDays=-1, MoveToColdStorageAfterDays=-1)
    aws.wait(100 * DAY)
    assert describe(aws, arn)["Status"] == "COMPLETED"


def test_an_end_that_is_past_already_is_now(aws):
    arn = aws.recovery_point()
    aws.wait(10 * DAY)
    update(aws, arn, DeleteAfterDays=3)
    aws.wait(10)
    assert points(aws) == []


def test_a_point_that_is_being_restored_lives_until_that_is_over(aws):
    control.configure(restore_seconds=3 * 3600)
    arn = aws.recovery_point(Lifecycle={"DeleteAfterDays": 1})
    aws.wait(DAY - aws.job_seconds - 60)
    aws.restore(arn)
    aws.wait(3 * 3600)
    assert aws.orders("orders-restored") == ["A", "B"]
    assert len(points(aws)) == 1
    aws.wait(3600)
    assert points(aws) == []


def test_a_legal_hold_suspends_the_end(aws):
    arn = aws.recovery_point(Lifecycle={"DeleteAfterDays": 7})
    hold = aws.backup.create_legal_hold(
        Title="case", Description="the case", RecoveryPointSelection={"VaultNames": [aws.vault]}
    )["LegalHoldId"]
    aws.wait(30 * DAY)
    assert describe(aws, arn)["Status"] == "COMPLETED"
    aws.backup.cancel_legal_hold(LegalHoldId=hold, CancelDescription="closed")
    aws.wait(10)
    assert points(aws) == []


def hold_all(aws):
    """Hold all points of the vault, and return what releases them."""
    hold = aws.backup.create_legal_hold(
        Title="case", Description="the case", RecoveryPointSelection={"VaultNames": [aws.vault]}
    )["LegalHoldId"]
    return lambda: aws.backup.cancel_legal_hold(LegalHoldId=hold, CancelDescription="closed")


@pytest.mark.parametrize(("released_after", "then"), [(20, "WARM"), (31, "COLD"), (40, "COLD")])
def test_a_legal_hold_delays_cold_storage(aws, released_after, then):
    arn = aws.recovery_point(Lifecycle=COLD_AND_DELETE)
    release = hold_all(aws)
    aws.wait(released_after * DAY)
    assert describe(aws, arn)["StorageClass"] == "WARM"
    release()
    aws.wait(10)
    assert describe(aws, arn)["StorageClass"] == then
    aws.wait(11 * DAY)
    assert describe(aws, arn)["StorageClass"] == "COLD"


def test_what_was_held_past_its_end_is_deleted_without_turning_cold(aws):
    arn = aws.recovery_point(Lifecycle=COLD_AND_DELETE)
    release = hold_all(aws)
    aws.wait(400 * DAY)
    assert describe(aws, arn)["StorageClass"] == "WARM"
    release()
    aws.wait(1)
    gone = describe(aws, arn)
    assert (gone["Status"], gone["StorageClass"]) == ("DELETING", "WARM")


def test_a_cold_point_that_is_held_stays_cold(aws):
    arn = aws.recovery_point(Lifecycle=COLD_AND_DELETE)
    aws.wait(40 * DAY)
    release = hold_all(aws)
    aws.wait(DAY)
    release()
    aws.wait(DAY)
    assert describe(aws, arn)["StorageClass"] == "COLD"


def test_a_day_of_cold_storage_that_is_past_already_is_now(aws):
    arn = aws.recovery_point()
    aws.wait(40 * DAY)
    update(aws, arn, **COLD_AND_DELETE)
    aws.wait(1)
    assert describe(aws, arn)["StorageClass"] == "COLD"


def test_a_locked_vault_keeps_to_its_retention(aws):
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, MinRetentionDays=7)
    aws.recovery_point(Lifecycle={"DeleteAfterDays": 7})
    aws.wait(7 * DAY)
    assert points(aws) == []


def test_a_point_that_was_deleted_by_hand_is_not_deleted_again(aws, refused):
    arn = aws.recovery_point(Lifecycle={"DeleteAfterDays": 7})
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.wait(8 * DAY)
    with refused("ResourceNotFoundException", arn):
        describe(aws, arn)


def test_four_hundred_days_of_daily_backups(aws):
    rule = {
        "RuleName": "daily",
        "TargetBackupVaultName": aws.vault,
        "ScheduleExpression": "cron(0 5 ? * * *)",
        "Lifecycle": COLD_AND_DELETE,
    }
    plan = aws.backup.create_backup_plan(BackupPlan={"BackupPlanName": "daily", "Rules": [rule]})
    aws.backup.create_backup_selection(
        BackupPlanId=plan["BackupPlanId"],
        BackupSelection={"SelectionName": "all", "IamRoleArn": aws.role, "Resources": ["arn:aws:dynamodb:*:*:table/*"]},
    )

    began = time.process_time()  # of this process alone, which holds all of AWS: a busy machine is no fault of it
    for day in range(0, 400, 10):
        aws.put(f"day-{day:03}")
        aws.wait(10 * DAY)
    taken = time.process_time() - began

    now = aws.now + timedelta(days=400)
    first = datetime(2026, 3, 2, 5, tzinfo=UTC)
    made = [first + timedelta(days=day) for day in range(400)]
    alive = [at for at in made if now < at + timedelta(days=366)]
    kept = points(aws)
    assert [point["CreationDate"] for point in kept] == alive
    assert len(kept) == 366
    storage = {point["CreationDate"]: describe(aws, point["RecoveryPointArn"])["StorageClass"] for point in kept}
    assert storage == {at: "COLD" if now >= at + timedelta(days=31) else "WARM" for at in alive}
    assert {point["Status"] for point in kept} == {"COMPLETED"}
    assert len(aws.backup.list_backup_jobs()["BackupJobs"]) == 30

    # Each holds the table as it was at its own instant.
    aws.restore(kept[0]["RecoveryPointArn"], "oldest")
    aws.restore(kept[-1]["RecoveryPointArn"], "newest")
    aws.wait()
    assert len(aws.orders("oldest")) == 2 + 4
    assert len(aws.orders("newest")) == 2 + 40
    assert taken < 10
