"""Taking recovery points from what AWS Backup answers."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from recovery_retention.recovery_point import RecoveryPoint, RecoveryPointFormatError, table_name_of

ANSWER: dict[str, Any] = {
    "RecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:0f1e",
    "BackupVaultName": "orders-vault",
    "ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
    "ResourceType": "DynamoDB",
    "Status": "COMPLETED",
    "CreationDate": dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
    "BackupSizeInBytes": 12,
}


@pytest.mark.parametrize("managed", [True, False])
def test_from_an_answer(managed: bool) -> None:
    assert RecoveryPoint.from_api(ANSWER, managed=managed) == RecoveryPoint(
        arn="arn:aws:backup:us-east-1:123456789012:recovery-point:0f1e",
        table_name="orders",
        status="COMPLETED",
        created_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        managed=managed,
        vault_name="orders-vault",
        resource_type="DynamoDB",
        size_bytes=12,
        resource_arn="arn:aws:dynamodb:us-east-1:123456789012:table/orders",
    )


@pytest.mark.parametrize("name", ["RecoveryPointArn", "ResourceArn", "Status", "CreationDate"])
def test_what_is_missing_is_named(name: str) -> None:
    answer = {key: value for key, value in ANSWER.items() if key != name}
    with pytest.raises(RecoveryPointFormatError, match=name):
        RecoveryPoint.from_api(answer, managed=True)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(RecoveryPointFormatError, match="time zone"):
        RecoveryPoint.from_api(ANSWER | {"CreationDate": dt.datetime(2026, 11, 1)}, managed=True)


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:dynamodb:us-east-1:123456789012:table/orders", "orders"),
        ("arn:aws-cn:dynamodb:cn-north-1:123456789012:table/a.b_c-d", "a.b_c-d"),
        ("arn:aws:ec2:us-east-1:123456789012:volume/vol-1", "arn:aws:ec2:us-east-1:123456789012:volume/vol-1"),
        ("arn:aws:glue:us-east-1:1:table/db/orders", "arn:aws:glue:us-east-1:1:table/db/orders"),
    ],
)
def test_the_table_of_an_arn(arn: str, name: str) -> None:
    assert table_name_of(arn) == name
