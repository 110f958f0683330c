"""Kinesis destinations and contributor insights of a table are remembered, and do not come back with a restore."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws import mock_aws

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/changes"


@pytest.fixture
def dynamodb() -> Any:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "day")],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by_day",
                    "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


def destinations(client: Any) -> list[dict[str, Any]]:
    answer = client.describe_kinesis_streaming_destination(TableName="orders")
    return [dict(found) for found in answer["KinesisDataStreamDestinations"]]


def test_a_kinesis_destination_is_switched_on_and_off(dynamodb: Any) -> None:
    assert destinations(dynamodb) == []
    started = dynamodb.enable_kinesis_streaming_destination(TableName="orders", StreamArn=STREAM)
    assert started["DestinationStatus"] == "ENABLING"
    assert destinations(dynamodb) == [
        {
            "StreamArn": STREAM,
            "DestinationStatus": "ACTIVE",
            "ApproximateCreationDateTimePrecision": "MILLISECOND",
        }
    ]
    with pytest.raises(ClientError, match="ACTIVE"):
        dynamodb.enable_kinesis_streaming_destination(TableName="orders", StreamArn=STREAM)
    dynamodb.disable_kinesis_streaming_destination(TableName="orders", StreamArn=STREAM)
    assert destinations(dynamodb) == []
    with pytest.raises(ClientError, match="ResourceInUse"):
        dynamodb.disable_kinesis_streaming_destination(TableName="orders", StreamArn=STREAM)


@pytest.mark.parametrize("index", [{}, {"IndexName": "by_day"}], ids=["the table", "an index"])
def test_contributor_insights_are_switched_on_and_off(dynamodb: Any, index: dict[str, str]) -> None:
    def status() -> str:
        return str(dynamodb.describe_contributor_insights(TableName="orders", **index)["ContributorInsightsStatus"])

    assert status() == "DISABLED"
    dynamodb.update_contributor_insights(TableName="orders", ContributorInsightsAction="ENABLE", **index)
    assert status() == "ENABLED"
    other = {} if index else {"IndexName": "by_day"}
    assert (
        dynamodb.describe_contributor_insights(TableName="orders", **other)["ContributorInsightsStatus"] == "DISABLED"
    )
    dynamodb.update_contributor_insights(TableName="orders", ContributorInsightsAction="DISABLE", **index)
    assert status() == "DISABLED"


def test_what_is_not_there_is_an_error(dynamodb: Any) -> None:
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_contributor_insights(TableName="orders", IndexName="nowhere")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_kinesis_streaming_destination(TableName="nowhere")
