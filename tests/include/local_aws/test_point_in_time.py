"""Tables restored as they were at a second of their recovery window."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import control

DAY = 24 * 3600
LAG = timedelta(minutes=5)


def switch(aws: Any, on: bool = True, **specification: Any) -> dict[str, Any]:
    reply = aws.dynamodb.update_continuous_backups(
        TableName="orders",
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on, **specification},
    )
    return dict(reply["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"])


def window(aws: Any) -> dict[str, Any]:
    described = aws.dynamodb.describe_continuous_backups(TableName="orders")["ContinuousBackupsDescription"]
    return dict(described["PointInTimeRecoveryDescription"])


def restore(aws: Any, at: Any = None, target: str = "restored", **members: Any) -> dict[str, Any]:
    when = {"UseLatestRestorableTime": True} if at is None else {"RestoreDateTime": at}
    request = {"SourceTableName": "orders", "TargetTableName": target, **when, **members}
    described = aws.dynamodb.restore_table_to_point_in_time(**request)["TableDescription"]
    aws.wait()
    return dict(described)


def described(aws: Any, table: str = "restored") -> dict[str, Any]:
    return dict(aws.dynamodb.describe_table(TableName=table)["Table"])


def test_every_second_of_the_history_can_be_had(aws: Any) -> None:
    switch(aws)
    for second in range(5):
        aws.wait(1)
        aws.put(f"second-{second}")
        if second == 3:
            aws.dynamodb.delete_item(TableName="orders", Key={"order_id": {"S": "A"}, "item_id": {"S": "1"}})
    aws.wait(LAG.total_seconds())
    for second in range(5):
        restore(aws, aws.now + timedelta(seconds=1 + second), f"at-{second}")
        kept = ["B"] if second >= 3 else ["A", "B"]
        assert aws.orders(f"at-{second}") == [*kept, *(f"second-{number}" for number in range(second + 1))]
    restore(aws, aws.now, "at-the-start")
    assert aws.orders("at-the-start") == ["A", "B"]


def test_an_updated_item_is_as_it_was(aws: Any) -> None:
    switch(aws)
    for value in range(3):
        aws.wait(10)
        aws.dynamodb.update_item(
            TableName="orders",
            Key={"order_id": {"S": "A"}, "item_id": {"S": "1"}},
            UpdateExpression="SET v = :v",
            ExpressionAttributeValues={":v": {"N": str(value)}},
        )
    aws.wait(LAG.total_seconds())
    restore(aws, aws.now + timedelta(seconds=25))
    values = {item["order_id"]["S"]: item.get("v") for item in aws.dynamodb.scan(TableName="restored")["Items"]}
    assert values == {"A": {"N": "1"}, "B": None}


def test_the_table_is_being_created_until_the_restore_is_over(aws: Any) -> None:
    switch(aws)
    reply = aws.dynamodb.restore_table_to_point_in_time(
        SourceTableName="orders", TargetTableName="restored", UseLatestRestorableTime=True
    )["TableDescription"]
    assert reply["TableStatus"] == "CREATING"
    summary = reply["RestoreSummary"]
    assert (summary["RestoreInProgress"], summary["RestoreDateTime"]) == (True, aws.now)
    assert summary["SourceTableArn"].endswith(":table/orders")
    assert "SourceBackupArn" not in summary
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        aws.put("C", table="restored")
    aws.wait()
    assert described(aws)["TableStatus"] == "ACTIVE"
    assert described(aws)["RestoreSummary"]["RestoreInProgress"] is False


def test_the_window_moves_with_the_clock(aws: Any) -> None:
    assert window(aws) == {"PointInTimeRecoveryStatus": "DISABLED"}
    assert switch(aws)["RecoveryPeriodInDays"] == 35
    found = window(aws)
    assert found["EarliestRestorableDateTime"] == found["LatestRestorableDateTime"] == aws.now
    aws.wait(DAY)
    found = window(aws)
    assert found["EarliestRestorableDateTime"] == aws.now
    assert found["LatestRestorableDateTime"] == aws.now + timedelta(days=1) - LAG
    aws.wait(39 * DAY)
    assert window(aws)["EarliestRestorableDateTime"] == aws.now + timedelta(days=5)


def test_a_shorter_period(aws: Any) -> None:
    switch(aws, RecoveryPeriodInDays=2)
    aws.wait(3 * DAY)
    assert window(aws)["EarliestRestorableDateTime"] == aws.now + timedelta(days=1)
    assert window(aws)["RecoveryPeriodInDays"] == 2


@pytest.mark.parametrize("days", [36, 365])
def test_a_period_that_aws_does_not_have(aws: Any, refused: Any, days: int) -> None:
    with refused("ValidationException", "recoveryPeriodInDays"):
        switch(aws, RecoveryPeriodInDays=days)


def test_off_and_on_again_begins_a_new_history(aws: Any) -> None:
    switch(aws)
    aws.wait(DAY)
    switch(aws, on=False)
    assert window(aws) == {"PointInTimeRecoveryStatus": "DISABLED"}
    aws.put("C")
    aws.wait(DAY)
    switch(aws)
    assert window(aws)["EarliestRestorableDateTime"] == aws.now + timedelta(days=2)
    aws.wait(DAY)
    switch(aws)  # on already: nothing begins anew
    assert window(aws)["EarliestRestorableDateTime"] == aws.now + timedelta(days=2)
    restore(aws)
    assert aws.orders("restored") == ["A", "B", "C"]


@pytest.mark.parametrize("seconds", [-1, DAY - 299, 2 * DAY])
def test_a_time_outside_of_the_window(aws: Any, refused: Any, seconds: int) -> None:
    switch(aws)
    aws.wait(DAY)
    with refused("InvalidRestoreTimeException", "between"):
        restore(aws, aws.now + timedelta(seconds=seconds))


def test_a_table_without_recovery(aws: Any, refused: Any) -> None:
    with refused("PointInTimeRecoveryUnavailableException", "orders"):
        restore(aws)


def test_a_source_that_is_none(aws: Any, refused: Any) -> None:
    with refused("SourceTableNotFoundException"):
        restore(aws, SourceTableName="customers")


def test_a_target_that_is_there(aws: Any, refused: Any) -> None:
    switch(aws)
    with refused("TableAlreadyExistsException"):
        restore(aws, target="orders")


@pytest.mark.parametrize("members", [{}, {"UseLatestRestorableTime": True, "RestoreDateTime": 0}], ids=["none", "both"])
def test_one_time_is_named(aws: Any, refused: Any, members: dict[str, Any]) -> None:
    switch(aws)
    with refused("ValidationException", "either"):
        aws.dynamodb.restore_table_to_point_in_time(SourceTableName="orders", TargetTableName="restored", **members)


def test_the_source_may_be_named_by_its_arn(aws: Any) -> None:
    switch(aws)
    aws.dynamodb.restore_table_to_point_in_time(
        SourceTableArn=described(aws, "orders")["TableArn"], TargetTableName="restored", UseLatestRestorableTime=True
    )
    aws.wait()
    assert aws.orders("restored") == ["A", "B"]


class TestOverrides:
    def test_billing(self, aws: Any) -> None:
        switch(aws)
        capacity = {"ReadCapacityUnits": 7, "WriteCapacityUnits": 8}
        restore(aws, BillingModeOverride="PROVISIONED", ProvisionedThroughputOverride=capacity)
        found = described(aws)
        assert {name: found["ProvisionedThroughput"][name] for name in capacity} == capacity
        assert described(aws, "orders")["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"

    def test_provisioned_needs_a_capacity(self, aws: Any, refused: Any) -> None:
        switch(aws)
        with refused("ValidationException", "ProvisionedThroughputOverride"):
            restore(aws, BillingModeOverride="PROVISIONED")

    def test_encryption(self, aws: Any) -> None:
        switch(aws)
        restore(aws, SSESpecificationOverride={"Enabled": True, "SSEType": "KMS"})
        assert described(aws)["SSEDescription"]["SSEType"] == "KMS"
        assert "SSEDescription" not in described(aws, "orders")

    def test_indexes_can_be_left_out_but_not_be_new(self, bare_aws: Any, refused: Any) -> None:
        index = {
            "IndexName": "by-item",
            "KeySchema": [{"AttributeName": "item_id", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
        bare_aws.make_table(GlobalSecondaryIndexes=[index])
        switch(bare_aws)
        restore(bare_aws, target="with")
        restore(bare_aws, target="without", GlobalSecondaryIndexOverride=[])
        assert [found["IndexName"] for found in described(bare_aws, "with")["GlobalSecondaryIndexes"]] == ["by-item"]
        assert described(bare_aws, "without").get("GlobalSecondaryIndexes", []) == []
        with refused("ValidationException", "other"):
            restore(bare_aws, target="new", GlobalSecondaryIndexOverride=[{**index, "IndexName": "other"}])


def test_a_recovery_point_and_a_history_do_not_disturb_each_other(aws: Any) -> None:
    """The short journal of a snapshot's skew must not cut the long one of a table."""
    control.configure(snapshot_skew_seconds=60)
    switch(aws)
    aws.wait(10)
    aws.put("C")
    aws.wait(DAY)
    aws.put("D")
    aws.wait(30)
    point = aws.recovery_point()
    aws.restore(point, "from-backup")
    restore(aws, aws.now + timedelta(seconds=5), "from-history")
    assert aws.orders("from-backup") == ["A", "B", "C"]
    assert aws.orders("from-history") == ["A", "B"]
