from datetime import UTC, datetime, timedelta

import pytest

from local_aws import control

DAY = timedelta(days=1).total_seconds()
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def counts(summaries, *names):
    return {tuple(summary.get(name) for name in names): summary["Count"] for summary in summaries}


@pytest.fixture
def busy(aws):
    """Two backups completed and one failed on the first day, one completed three days later, one just begun."""
    aws.recovery_point()
    aws.recovery_point()
    control.inject_fault("StartBackupJob", "FAILED", "It rained.")
    aws.start()
    aws.wait(3 * DAY)
    aws.recovery_point()
    aws.start()
    aws.wait(1)
    return aws


def backups(aws, **filters):
    return aws.backup.list_backup_job_summaries(**filters)["BackupJobSummaries"]


def test_days_are_counted_one_by_one_newest_first(busy):
    summaries = backups(busy)
    assert [summary["Count"] for summary in summaries] == [2, 3]
    assert [summary["StartTime"] for summary in summaries] == [MIDNIGHT + timedelta(days=3), MIDNIGHT]
    assert summaries[1] == {
        "Region": "us-east-1",
        "AccountId": "123456789012",
        "State": "AGGREGATE_ALL",
        "ResourceType": "AGGREGATE_ALL",
        "MessageCategory": "AGGREGATE_ALL",
        "Count": 3,
        "StartTime": MIDNIGHT,
        "EndTime": MIDNIGHT + timedelta(days=1),
    }


@pytest.mark.parametrize(
    ("period", "waited", "total"), [("SEVEN_DAYS", 0, 5), ("SEVEN_DAYS", 5, 2), ("FOURTEEN_DAYS", 5, 5)]
)
def test_longer_periods_sum_up(busy, period, waited, total):
    busy.wait(waited * DAY)
    reply = busy.backup.list_backup_job_summaries(AggregationPeriod=period)
    assert [summary["Count"] for summary in reply["BackupJobSummaries"]] == [total]
    assert reply["AggregationPeriod"] == period


def test_any_counts_each_state_for_itself_and_a_value_only_that(busy):
    by_state = counts(backups(busy, AggregationPeriod="SEVEN_DAYS", State="ANY"), "State")
    assert by_state == {("COMPLETED",): 3, ("FAILED",): 1, ("CREATED",): 1}
    only = backups(busy, AggregationPeriod="SEVEN_DAYS", State="FAILED")
    assert counts(only, "State") == {("FAILED",): 1}
    assert backups(busy, State="EXPIRED") == []


def test_message_categories_and_resource_types_are_told_apart(busy):
    filters = {"AggregationPeriod": "SEVEN_DAYS", "State": "COMPLETED", "ResourceType": "ANY"}
    found = counts(backups(busy, **filters, MessageCategory="ANY"), "ResourceType", "MessageCategory")
    assert found == {("DynamoDB", "SUCCESS"): 3}
    assert counts(backups(busy, **filters, MessageCategory="Success"), "MessageCategory") == {("SUCCESS",): 3}
    assert backups(busy, ResourceType="EBS") == []


def test_a_job_over_midnight_counts_on_both_days(aws):
    aws.wait(12 * 3600 - 10)
    aws.recovery_point()
    assert [summary["Count"] for summary in backups(aws)] == [1, 1]


def test_jobs_older_than_a_fortnight_are_not_counted(busy):
    busy.wait(11 * DAY)
    assert [summary["Count"] for summary in backups(busy)] == [2]
    busy.wait(3 * DAY)
    assert backups(busy) == []


def test_restores_and_copies_are_counted_too(aws):
    aws.backup.create_backup_vault(BackupVaultName="copies")
    arn = aws.recovery_point()
    aws.restore(arn)
    aws.backup.start_copy_job(
        RecoveryPointArn=arn,
        SourceBackupVaultName=aws.vault,
        DestinationBackupVaultArn="arn:aws:backup:us-east-1:123456789012:backup-vault:copies",
        IamRoleArn=aws.role,
    )
    aws.wait(600)
    (restores,) = aws.backup.list_restore_job_summaries(State="ANY")["RestoreJobSummaries"]
    assert (restores["State"], restores["Count"]) == ("COMPLETED", 1)
    assert "MessageCategory" not in restores
    (copies,) = aws.backup.list_copy_job_summaries(State="ANY", MessageCategory="ANY")["CopyJobSummaries"]
    assert (copies["State"], copies["MessageCategory"], copies["Count"]) == ("COMPLETED", "SUCCESS", 1)


def test_summaries_come_in_pages(busy):
    first = busy.backup.list_backup_job_summaries(State="ANY", MaxResults=3)
    rest = busy.backup.list_backup_job_summaries(State="ANY", MaxResults=3, NextToken=first["NextToken"])
    assert "NextToken" not in rest
    assert first["BackupJobSummaries"] + rest["BackupJobSummaries"] == backups(busy, State="ANY")
    assert (len(first["BackupJobSummaries"]), len(rest["BackupJobSummaries"])) == (3, 1)


@pytest.mark.parametrize("wrong", [{"State": "DONE"}, {"AggregationPeriod": "TWO_DAYS"}])
def test_unknown_states_and_periods_are_refused(aws, refused, wrong):
    (name,) = wrong
    with refused("InvalidParameterValueException", name):
        aws.backup.list_backup_job_summaries(**wrong)
