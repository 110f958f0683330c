"""Recovery points as DynamoDB's own API sees them."""

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def plain(aws):
    """AWS whose recovery points are plain: they belong to DynamoDB."""
    aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    return aws


def listed(aws, **members):
    return [summary["BackupArn"] for summary in aws.dynamodb.list_backups(**members)["BackupSummaries"]]


def native(aws):
    return aws.dynamodb.create_backup(TableName="orders", BackupName="native")["BackupDetails"]["BackupArn"]


@pytest.mark.parametrize(
    ("backup_type", "sees_native", "sees_plain"),
    [(None, True, False), ("USER", True, False), ("ALL", True, False), ("AWS_BACKUP", False, True)],
)
def test_a_plain_point_is_listed_where_it_is_asked_for(plain, backup_type, sees_native, sees_plain):
    own, point = native(plain), plain.recovery_point()
    assert point.startswith("arn:aws:dynamodb:")
    found = listed(plain, **({} if backup_type is None else {"BackupType": backup_type}))
    assert (own in found, point in found) == (sees_native, sees_plain)
    other = plain.make_table("other")
    assert listed(plain, BackupType="AWS_BACKUP", TableName=other) == []
    assert listed(plain, BackupType="AWS_BACKUP", TableName="orders") == [point]


def test_an_advanced_point_is_no_backup_of_dynamodb(aws, refused):
    arn = aws.recovery_point()
    for backup_type in ("USER", "SYSTEM", "AWS_BACKUP", "ALL"):
        assert listed(aws, BackupType=backup_type) == []
    for call in (aws.dynamodb.describe_backup, aws.dynamodb.delete_backup):
        with refused("BackupNotFoundException", arn):
            call(BackupArn=arn)


def test_a_plain_point_is_described(plain):
    arn = plain.recovery_point()
    description = plain.dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]
    details, source = description["BackupDetails"], description["SourceTableDetails"]
    assert (details["BackupArn"], details["BackupType"], details["BackupStatus"]) == (arn, "AWS_BACKUP", "AVAILABLE")
    assert details["BackupSizeBytes"] > 0
    assert (source["TableName"], source["ItemCount"], source["BillingMode"]) == ("orders", 2, "PAY_PER_REQUEST")
    assert [element["AttributeName"] for element in source["KeySchema"]] == ["order_id", "item_id"]


def test_a_plain_point_is_not_deleted_by_dynamodb(plain, refused):
    arn = plain.recovery_point()
    with refused("ValidationException", plain.vault):
        plain.dynamodb.delete_backup(BackupArn=arn)
    assert listed(plain, BackupType="AWS_BACKUP") == [arn]
    plain.backup.delete_recovery_point(BackupVaultName=plain.vault, RecoveryPointArn=arn)
    plain.wait(10)
    assert listed(plain, BackupType="AWS_BACKUP") == []


def test_backups_of_ones_own_are_still_deleted(aws, refused):
    arn = native(aws)
    assert aws.dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupType"] == "USER"
    aws.dynamodb.delete_backup(BackupArn=arn)
    assert listed(aws) == []
    with refused("BackupNotFoundException"):
        aws.dynamodb.delete_backup(BackupArn=arn)


def test_lists_in_pages_and_by_time(plain):
    points = [plain.recovery_point() for _ in range(3)]
    first = plain.dynamodb.list_backups(BackupType="AWS_BACKUP", Limit=2)
    rest = plain.dynamodb.list_backups(
        BackupType="AWS_BACKUP", Limit=2, ExclusiveStartBackupArn=first["LastEvaluatedBackupArn"]
    )
    pages = [summary["BackupArn"] for page in (first, rest) for summary in page["BackupSummaries"]]
    assert (sorted(pages), "LastEvaluatedBackupArn" in rest) == (sorted(points), False)
    second = plain.now + timedelta(seconds=plain.job_seconds)
    times = {"TimeRangeLowerBound": second, "TimeRangeUpperBound": second + timedelta(seconds=1)}
    assert listed(plain, BackupType="AWS_BACKUP", **times) == [points[1]]


def test_a_table_is_not_deleted_while_it_is_backed_up(aws):
    job_id = aws.start()["BackupJobId"]
    for seconds in (0, aws.job_seconds / 2):
        aws.wait(seconds)
        with pytest.raises(ClientError, match="being backed up: orders") as raised:
            aws.dynamodb.delete_table(TableName="orders")
        assert raised.value.response["Error"]["Code"] == "ResourceInUseException"
    aws.wait()
    assert aws.state(job_id) == "COMPLETED"
    aws.dynamodb.delete_table(TableName="orders")
    assert aws.dynamodb.list_tables()["TableNames"] == []
