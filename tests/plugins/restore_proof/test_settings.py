"""Table settings: read, stored, compared."""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws import mock_aws
from restore_proof.settings import (
    DifferenceClass,
    Settings,
    SettingsFormatError,
    compare_settings,
    settings_from_json,
    settings_to_json,
)
from restore_proof.settings_reading import record_settings

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
SOURCE: Settings = {
    "format": "table-settings",
    "version": 1,
    "recorded_at": "2026-11-03T12:00:00+00:00",
    "table_name": "orders",
    "table_arn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
    "key_schema": [["HASH", "order_id"]],
    "attribute_definitions": {"order_id": "S"},
    "global_secondary_indexes": {"by_day": {"key_schema": [["HASH", "day"]]}},
    "local_secondary_indexes": {},
    "billing_mode": "PAY_PER_REQUEST",
    "provisioned_throughput": None,
    "index_throughput": {},
    "on_demand_throughput": None,
    "table_class": "STANDARD",
    "encryption": None,
    "stream": "NEW_IMAGE",
    "deletion_protection": True,
    "replicas": ["eu-west-1"],
    "time_to_live": "expires",
    "point_in_time_recovery": {"recovery_period_days": 35},
    "tags": {"backup": "daily"},
    "auto_scaling": {},
    "resource_policy": {"Statement": [{"Resource": "${TableArn}"}]},
    "kinesis_destinations": {"arn:aws:kinesis:us-east-1:123456789012:stream/changes": "MILLISECOND"},
    "contributor_insights": {"by_day": "THROTTLED_KEYS"},
    "unread": {},
}
AS_AWS_RESTORES = SOURCE | {
    "table_name": "orders-restored",
    "stream": None,
    "deletion_protection": False,
    "replicas": [],
    "time_to_live": None,
    "point_in_time_recovery": None,
    "tags": {},
    "resource_policy": None,
    "kinesis_destinations": {},
    "contributor_insights": {},
}


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("dynamodb", region_name="us-east-1")


def make_table(client: Any, name: str = "orders", **options: Any) -> None:
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
        **{"BillingMode": "PAY_PER_REQUEST"} | options,
    )


class TestRecording:
    def test_a_plain_table(self, dynamodb: Any) -> None:
        make_table(dynamodb)
        assert record_settings(dynamodb, "orders", recorded_at=NOW) == {
            "format": "table-settings",
            "version": 1,
            "recorded_at": "2026-11-03T12:00:00+00:00",
            "table_name": "orders",
            "table_arn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
            "key_schema": [["HASH", "order_id"]],
            "attribute_definitions": {"order_id": "S"},
            "global_secondary_indexes": {},
            "local_secondary_indexes": {},
            "billing_mode": "PAY_PER_REQUEST",
            "provisioned_throughput": None,
            "index_throughput": {},
            "on_demand_throughput": None,
            "table_class": "STANDARD",
            "encryption": None,
            "stream": None,
            "deletion_protection": False,
            "replicas": [],
            "time_to_live": None,
            "point_in_time_recovery": None,
            "tags": {},
            "resource_policy": None,
            "kinesis_destinations": {},
            "contributor_insights": {},
            "unread": {"auto_scaling": "NotAsked"},
        }

    def test_everything_that_is_set(self, dynamodb: Any) -> None:
        make_table(
            dynamodb,
            BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY},
            DeletionProtectionEnabled=True,
            Tags=[{"Key": "backup", "Value": "daily"}],
        )
        dynamodb.update_time_to_live(
            TableName="orders", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
        )
        dynamodb.update_continuous_backups(
            TableName="orders", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
        settings = record_settings(dynamodb, "orders", recorded_at=NOW)
        assert settings["billing_mode"] == "PROVISIONED"
        assert settings["provisioned_throughput"] == {"read": 5, "write": 6}
        assert settings["stream"] == "NEW_IMAGE"
        assert settings["encryption"] == {"type": "KMS", "kms_key_arn": KEY}
        assert settings["deletion_protection"] is True
        assert settings["tags"] == {"backup": "daily"}
        assert settings["time_to_live"] == "expires"
        assert settings["point_in_time_recovery"] is not None

    def test_indexes(self, dynamodb: Any) -> None:
        dynamodb.create_table(
            TableName="orders",
            KeySchema=[
                {"AttributeName": "order_id", "KeyType": "HASH"},
                {"AttributeName": "item_id", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("order_id", "item_id", "day")
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by_day",
                    "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["b", "a"]},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        settings = record_settings(dynamodb, "orders", recorded_at=NOW)
        assert settings["key_schema"] == [["HASH", "order_id"], ["RANGE", "item_id"]]
        assert settings["global_secondary_indexes"] == {
            "by_day": {
                "key_schema": [["HASH", "day"]],
                "projection": {"type": "INCLUDE", "attributes": ["a", "b"]},
            }
        }

    def test_what_may_not_be_read_is_noted(self, dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        make_table(dynamodb)

        def refuse(**_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "X")

        monkeypatch.setattr(dynamodb, "describe_time_to_live", refuse)
        settings = record_settings(dynamodb, "orders", recorded_at=NOW)
        assert settings["unread"] == {"auto_scaling": "NotAsked", "time_to_live": "AccessDeniedException"}
        assert "time_to_live" not in settings

    def test_a_missing_table_is_an_error(self, dynamodb: Any) -> None:
        with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
            record_settings(dynamodb, "nowhere", recorded_at=NOW)

    def test_stored_settings_come_back_as_they_were(self) -> None:
        assert settings_from_json(settings_to_json(SOURCE)) == SOURCE

    @pytest.mark.parametrize("data", [b"", b"[]", b"{}", json.dumps(SOURCE | {"version": 2}).encode()])
    def test_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(SettingsFormatError):
            settings_from_json(data)


class TestComparing:
    def classes(self, restored: Settings, **options: Any) -> dict[str, str]:
        found = compare_settings(SOURCE, restored, **options).differences
        return {difference.name: str(difference.kind) for difference in found}

    def test_equal_settings_have_no_differences(self) -> None:
        result = compare_settings(SOURCE, copy.deepcopy(SOURCE))
        assert (result.differences, result.unread, result.alarms) == ((), {}, ())

    def test_what_aws_does_not_bring_back_is_no_alarm(self) -> None:
        assert self.classes(AS_AWS_RESTORES) == {
            "contributor_insights": "repairable",
            "deletion_protection": "repairable",
            "kinesis_destinations": "repairable",
            "point_in_time_recovery": "repairable",
            "replicas": "expected_from_aws_backup",
            "resource_policy": "repairable",
            "stream": "repairable",
            "tags": "repairable",
            "time_to_live": "repairable",
        }
        assert compare_settings(SOURCE, AS_AWS_RESTORES).alarms == ()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("key_schema", [["HASH", "item_id"]]),
            ("attribute_definitions", {"order_id": "N"}),
            ("global_secondary_indexes", {}),
            ("local_secondary_indexes", {"new": {}}),
            ("billing_mode", "PROVISIONED"),
            ("encryption", {"type": "KMS", "kms_key_arn": KEY}),
        ],
    )
    def test_what_aws_does_bring_back_is_an_alarm(self, name: str, value: Any) -> None:
        result = compare_settings(SOURCE, SOURCE | {name: value})
        assert [(found.name, found.kind) for found in result.differences] == [(name, DifferenceClass.ALARMING)]
        (alarm,) = result.alarms
        assert name in alarm
        assert json.dumps(value, sort_keys=True) in alarm

    @pytest.mark.parametrize(
        ("before", "after", "asked", "key", "expected"),
        [
            (None, None, "Default", None, {}),
            (KEY, None, "Default", None, {"encryption": "expected_from_aws_backup"}),
            (None, KEY, "Default", None, {"encryption": "alarming"}),
            (None, KEY, "KMS", KEY, {"encryption": "expected_from_aws_backup"}),
            (KEY, KEY, "KMS", KEY, {}),
            (KEY, None, "KMS", KEY, {"encryption": "alarming"}),
            (KEY, "arn:other", "KMS", KEY, {"encryption": "alarming"}),
            (KEY, "arn:other", "KMS", None, {"encryption": "expected_from_aws_backup"}),
            (KEY, "arn:other", None, None, {"encryption": "alarming"}),
        ],
    )
    def test_encryption_is_held_to_what_the_restore_asked_for(
        self, before: str | None, after: str | None, asked: Any, key: str | None, expected: dict[str, str]
    ) -> None:
        one, other = (
            SOURCE | {"encryption": {"type": "KMS", "kms_key_arn": arn} if arn else None} for arn in (before, after)
        )
        found = compare_settings(one, other, encryption_type=asked, kms_key_arn=key).differences
        assert {difference.name: str(difference.kind) for difference in found} == expected

    @pytest.mark.parametrize("late", [False, True])
    @pytest.mark.parametrize(("before", "after"), [(KEY, None), (None, KEY), (KEY, "arn:other")])
    def test_restore_testing_encrypts_as_it_chooses(self, before: str | None, after: str | None, late: bool) -> None:
        one, other = (
            SOURCE | {"encryption": {"type": "KMS", "kms_key_arn": arn} if arn else None} for arn in (before, after)
        )
        result = compare_settings(one, other, restore_tested=True, recorded_late=late)
        assert result.alarms == ()
        (found,) = result.differences
        assert (found.name, str(found.kind)) == ("encryption", "expected_from_aws_backup")
        assert "AWS's restore testing chose it" in found.remark
        assert "RestoreMetadataOverrides" in found.remark

    def test_restore_testing_excuses_nothing_but_the_encryption(self) -> None:
        result = compare_settings(SOURCE, SOURCE | {"billing_mode": "PROVISIONED"}, restore_tested=True)
        assert [str(found.kind) for found in result.differences] == ["alarming"]
        assert compare_settings(SOURCE, SOURCE, restore_tested=True).differences == ()

    def test_the_tags_that_every_restored_table_gets_are_no_difference(self) -> None:
        tags = {"backup": "daily", "managed-by": "dynamodb-backup-proof", "run": "dag/run"}
        assert self.classes(SOURCE | {"tags": tags}) == {}
        assert self.classes(SOURCE | {"tags": {"backup": "weekly"}}) == {"tags": "repairable"}

    @pytest.mark.parametrize("side", ["recorded", "restored"])
    def test_what_one_side_could_not_read_is_said_and_not_compared(self, side: str) -> None:
        partial = {k: v for k, v in SOURCE.items() if k != "tags"} | {"unread": {"tags": "AccessDeniedException"}}
        sides = (partial, SOURCE) if side == "recorded" else (SOURCE, partial)
        result = compare_settings(*sides)
        assert (result.differences, result.unread) == ((), {"tags": "AccessDeniedException"})
        assert result.to_dict()["unread"] == {"tags": "AccessDeniedException"}

    def test_a_table_compared_with_itself(self, dynamodb: Any) -> None:
        make_table(dynamodb)
        make_table(
            dynamodb, "orders-restored", StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
        )
        one, other = (record_settings(dynamodb, name, recorded_at=NOW) for name in ("orders", "orders-restored"))
        assert compare_settings(one, one).differences == ()
        (difference,) = compare_settings(one, other).differences
        assert difference.to_dict() == {
            "name": "stream",
            "class": "repairable",
            "recorded": None,
            "restored": "KEYS_ONLY",
            "remark": difference.remark,
        }
