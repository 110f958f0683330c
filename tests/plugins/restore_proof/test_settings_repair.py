"""Settings that a restore does not bring back are given back: all of them, once, and nothing else is touched."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws import mock_aws
from restore_proof.settings import Settings, compare_settings, settings_from_json, settings_to_json
from restore_proof.settings_reading import record_settings
from restore_proof.settings_repair import Outcome, SettingUnrepairableError, repair_settings

pytestmark = pytest.mark.component

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
REGION = "us-east-1"
ARN = f"arn:aws:dynamodb:{REGION}:123456789012:table/"
STREAM = f"arn:aws:kinesis:{REGION}:123456789012:stream/changes"
TARGET = "orders-restored-20261103-0a1b2c3d"
UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}


class World:
    """A source with everything set, and a table as AWS would restore it: with keys, indexes, billing, capacity."""

    def __init__(self) -> None:
        self.dynamodb: Any = boto3.client("dynamodb", region_name=REGION)
        self.scaling: Any = boto3.client("application-autoscaling", region_name=REGION)
        for name in ("orders", TARGET):
            self.dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("id", "day")],
                GlobalSecondaryIndexes=[
                    {
                        "IndexName": "by_day",
                        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "ALL"},
                        "ProvisionedThroughput": UNITS,
                    }
                ],
                ProvisionedThroughput=UNITS,
            )
        self.set_everything()

    def set_everything(self) -> None:
        table, client = "orders", self.dynamodb
        client.update_table(TableName=table, ProvisionedThroughput={"ReadCapacityUnits": 7, "WriteCapacityUnits": 8})
        client.update_table(
            TableName=table,
            GlobalSecondaryIndexUpdates=[
                {"Update": {"IndexName": "by_day", "ProvisionedThroughput": {"ReadCapacityUnits": 3,
                                                                            "WriteCapacityUnits": 4}}}
            ],
        )  # fmt: skip
        client.update_table(TableName=table, TableClass="STANDARD_INFREQUENT_ACCESS")
        client.update_table(
            TableName=table, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        )
        client.update_table(TableName=table, DeletionProtectionEnabled=True)
        client.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
        )
        client.update_continuous_backups(
            TableName=table,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 14},
        )
        client.tag_resource(ResourceArn=ARN + table, Tags=[{"Key": "team", "Value": "sales"}])
        client.put_resource_policy(ResourceArn=ARN + table, Policy=json.dumps(policy(ARN + table)))
        client.enable_kinesis_streaming_destination(TableName=table, StreamArn=STREAM)
        client.update_contributor_insights(TableName=table, ContributorInsightsAction="ENABLE")
        client.update_contributor_insights(
            TableName=table, IndexName="by_day", ContributorInsightsAction="ENABLE",
            ContributorInsightsMode="THROTTLED_KEYS",
        )  # fmt: skip
        for resource, dimension in (
            ("table/orders", "dynamodb:table:ReadCapacityUnits"),
            ("table/orders/index/by_day", "dynamodb:index:WriteCapacityUnits"),
        ):
            place = {"ServiceNamespace": "dynamodb", "ResourceId": resource, "ScalableDimension": dimension}
            self.scaling.register_scalable_target(**place, MinCapacity=1, MaxCapacity=40)
            metric = f"DynamoDB{'Read' if 'Read' in dimension else 'Write'}CapacityUtilization"
            self.scaling.put_scaling_policy(
                **place,
                PolicyName=f"follow-{dimension.rpartition(':')[2]}",
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": 70.0,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
                },
            )
        self.scaling.put_scheduled_action(
            ServiceNamespace="dynamodb", ResourceId="table/orders",
            ScalableDimension="dynamodb:table:ReadCapacityUnits", ScheduledActionName="mornings",
            Schedule="cron(0 6 * * ? *)", ScalableTargetAction={"MinCapacity": 10, "MaxCapacity": 40},
        )  # fmt: skip

    def record(self, table: str) -> Settings:
        return record_settings(self.dynamodb, table, recorded_at=NOW, scaling=self.scaling)

    def repair(self, recorded: Settings, client: Any = None, **options: Any) -> Any:
        return repair_settings(
            client or self.dynamodb, TARGET, recorded, scaling=self.scaling, clock=lambda: NOW, **options
        )


def policy(arn: str) -> dict[str, Any]:
    principal = {"AWS": "arn:aws:iam::123456789012:role/reader"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "dynamodb:GetItem", "Resource": arn}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws():
        yield World()


EVERYTHING = {
    "auto_scaling", "contributor_insights", "deletion_protection", "index_throughput", "kinesis_destinations",
    "point_in_time_recovery", "provisioned_throughput", "resource_policy", "stream", "table_class", "tags",
    "time_to_live",
}  # fmt: skip


def test_everything_is_read(world: World) -> None:
    settings = settings_from_json(settings_to_json(world.record("orders")))
    assert settings["unread"] == {}
    assert settings["index_throughput"] == {"by_day": {"read": 3, "write": 4}}
    assert settings["resource_policy"]["Statement"][0]["Resource"] == "${TableArn}"
    assert settings["kinesis_destinations"] == {STREAM: "MILLISECOND"}
    assert settings["contributor_insights"] == {"": "ACCESSED_AND_THROTTLED_KEYS", "by_day": "THROTTLED_KEYS"}
    assert set(settings["auto_scaling"]) == {"table:ReadCapacityUnits", "index/by_day:WriteCapacityUnits"}
    read = settings["auto_scaling"]["table:ReadCapacityUnits"]
    assert (read["MinCapacity"], read["MaxCapacity"], set(read["policies"])) == (1, 40, {"follow-ReadCapacityUnits"})
    assert read["schedules"]["mornings"]["Schedule"] == "cron(0 6 * * ? *)"


def test_everything_that_a_restore_loses_is_given_back(world: World) -> None:
    recorded = settings_from_json(settings_to_json(world.record("orders")))
    report = world.repair(recorded)
    assert {step.name: step.outcome for step in report.steps} == dict.fromkeys(EVERYTHING, Outcome.APPLIED)
    assert (report.remaining, report.incomplete) == ((), ())
    assert compare_settings(recorded, world.record(TARGET)).differences == ()
    told = {step["name"]: step for step in report.to_dict()["steps"]}
    assert (told["time_to_live"]["before"], told["time_to_live"]["after"]) == (None, "expires")
    assert (told["stream"]["before"], told["stream"]["after"]) == (None, "NEW_AND_OLD_IMAGES")
    # The policy speaks of the new table, not of the old one.
    stored = json.loads(world.dynamodb.get_resource_policy(ResourceArn=ARN + TARGET)["Policy"])
    assert stored == policy(ARN + TARGET)
    assert json.dumps(report.to_dict())


def test_doing_it_again_changes_nothing(world: World) -> None:
    recorded = world.record("orders")
    world.repair(recorded)
    made = mock.Mock(wraps=world.dynamodb)
    report = world.repair(recorded, made)
    assert report.steps == ()
    changing = [
        name for name, *_ in made.method_calls if name.split("_")[0] in {"update", "put", "tag", "enable", "untag"}
    ]
    assert changing == []


def test_a_dry_run_shows_all_and_does_nothing(world: World) -> None:
    before = world.record(TARGET)
    report = world.repair(world.record("orders"), dry_run=True)
    assert {step.name: step.outcome for step in report.steps} == dict.fromkeys(EVERYTHING, Outcome.WOULD_APPLY)
    assert world.record(TARGET) == before


def test_only_what_was_asked_for_is_applied(world: World) -> None:
    report = world.repair(world.record("orders"), only=["tags", "time_to_live"])
    assert {step.name for step in report.steps} == {"tags", "time_to_live"}
    assert {found.name for found in report.remaining} == EVERYTHING - {"tags", "time_to_live"}


@pytest.mark.parametrize("name", ["key_schema", "billing_mode", "nonsense"])
def test_what_nobody_can_apply_is_refused(world: World, name: str) -> None:
    with pytest.raises(SettingUnrepairableError, match=rf"{name} can't be re-applied. What can is: auto_scaling"):
        world.repair(world.record("orders"), only=["tags", name])
    assert world.record(TARGET)["tags"] == {}


def test_one_refusal_keeps_no_other_setting_from_being_applied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "UpdateTimeToLive")

    monkeypatch.setattr(world.dynamodb, "update_time_to_live", refuse)
    report = world.repair(world.record("orders"))
    (failed,) = report.incomplete
    assert (failed.name, failed.outcome) == ("time_to_live", Outcome.FAILED)
    assert "AccessDeniedException" in failed.detail
    assert [found.name for found in report.remaining] == ["time_to_live"]


def test_what_the_source_did_not_have_is_taken_off_again(world: World) -> None:
    plain = world.record(TARGET)
    world.repair(world.record("orders"))
    world.dynamodb.tag_resource(ResourceArn=ARN + TARGET, Tags=[{"Key": "managed-by", "Value": "us"}])
    report = world.repair(plain)
    assert {step.name for step in report.incomplete} == {"auto_scaling"}
    assert "Deregister it by hand" in report.incomplete[0].detail
    assert {found.name for found in report.remaining} == {"auto_scaling"}
    # Tags by which restored tables are known stay.
    assert world.record(TARGET)["tags"] == {"managed-by": "us"}


def test_another_ttl_attribute_takes_two_turns_as_aws_takes_one_change_an_hour(world: World) -> None:
    world.dynamodb.update_time_to_live(
        TableName=TARGET, TimeToLiveSpecification={"Enabled": True, "AttributeName": "other"}
    )
    recorded = world.record("orders")
    report = world.repair(recorded, only=["time_to_live"])
    assert [(step.outcome, "in an hour" in step.detail) for step in report.steps] == [(Outcome.LEFT, True)]
    assert world.repair(recorded, only=["time_to_live"]).steps[0].outcome is Outcome.APPLIED
    assert world.record(TARGET)["time_to_live"] == "expires"


def test_capacity_of_a_table_that_is_billed_otherwise_is_left_and_told(world: World) -> None:
    recorded = world.record("orders")
    world.dynamodb.update_table(TableName=TARGET, BillingMode="PAY_PER_REQUEST")
    report = world.repair(recorded, only=["provisioned_throughput", "auto_scaling"])
    assert [step.outcome for step in report.steps] == [Outcome.LEFT, Outcome.LEFT]
    assert all("billing mode" in step.detail for step in report.steps)


def test_what_was_not_recorded_is_left_alone(world: World) -> None:
    recorded = {name: value for name, value in world.record("orders").items() if name != "auto_scaling"}
    report = world.repair(recorded)
    assert report.unread == {"auto_scaling": "NotRecorded"}
    assert world.record(TARGET)["auto_scaling"] == {}


def test_settings_that_were_read_late_alarm_nobody_but_for_the_keys() -> None:
    late = {"key_schema": [["HASH", "a"]], "global_secondary_indexes": {}, "billing_mode": "PROVISIONED"}
    restored = {"key_schema": [["HASH", "b"]], "global_secondary_indexes": {"new": {}}, "billing_mode": "X"}
    result = compare_settings(late, restored, recorded_late=True)
    assert {found.name: str(found.kind) for found in result.differences} == {
        "key_schema": "alarming",
        "global_secondary_indexes": "expected_from_aws_backup",
        "billing_mode": "expected_from_aws_backup",
    }
    assert len(compare_settings(late, restored).alarms) == 3
