"""Reading a table's settings: everything that a restored table may have otherwise than its source had.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html and what it leaves out.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from restore_proof import auto_scaling
from restore_proof.settings import FORMAT, VERSION, Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOT_ASKED: Final = "NotAsked"
"""Stands under ``unread`` for what the caller gave no client for."""
OWN_ARN: Final = "${TableArn}"
"""Stands for the table's own ARN in its resource policy, which is another for another table."""


def record_settings(
    client: DynamoDBClient,
    table_name: str,
    *,
    recorded_at: dt.datetime,
    scaling: Any = None,
) -> Settings:
    """Read a table's settings.

    What may not be read, or is not offered by the endpoint, is noted under ``unread`` with its error code; only
    an error of DescribeTable goes on to the caller, since without its answer there is nothing to record.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read.
        recorded_at: now (aware).
        scaling: a low-level client of Application Auto Scaling; without one, auto scaling is noted as not read.
    """
    table: Mapping[str, Any] = client.describe_table(TableName=table_name)["Table"]
    settings: Settings = {
        "format": FORMAT,
        "version": VERSION,
        "recorded_at": recorded_at.astimezone(dt.UTC).isoformat(),
        "table_name": table_name,
        "table_arn": table["TableArn"],
        **_described(table),
    }
    unread: dict[str, str] = {}
    readers: Mapping[str, Callable[[], Any]] = {
        "time_to_live": lambda: _time_to_live(client, table_name),
        "point_in_time_recovery": lambda: _point_in_time_recovery(client, table_name),
        "tags": lambda: _tags(client, table["TableArn"]),
        "resource_policy": lambda: _resource_policy(client, table["TableArn"]),
        "kinesis_destinations": lambda: _kinesis_destinations(client, table_name),
        "contributor_insights": lambda: _contributor_insights(client, table),
    }
    if scaling is None:
        unread["auto_scaling"] = NOT_ASKED
    else:
        readers = {**readers, "auto_scaling": lambda: auto_scaling.read(scaling, table)}
    for name, read in readers.items():
        try:
            settings[name] = read()
        except ClientError as error:
            unread[name] = error.response.get("Error", {}).get("Code", "Unknown")
    settings["unread"] = unread
    return settings


def _described(table: Mapping[str, Any]) -> Settings:
    throughput = _throughput(table)
    encryption = table.get("SSEDescription") or {}
    stream = table.get("StreamSpecification") or {}
    return {
        "key_schema": _key_schema(table),
        "attribute_definitions": {
            definition["AttributeName"]: definition["AttributeType"]
            for definition in table.get("AttributeDefinitions", ())
        },
        "global_secondary_indexes": _indexes(table.get("GlobalSecondaryIndexes")),
        "local_secondary_indexes": _indexes(table.get("LocalSecondaryIndexes")),
        # DescribeTable leaves the summary out for a table that has been provisioned all its life.
        "billing_mode": (table.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED"),
        "provisioned_throughput": throughput,
        "index_throughput": {
            index["IndexName"]: units
            for index in table.get("GlobalSecondaryIndexes") or ()
            if (units := _throughput(index)) is not None
        },
        "on_demand_throughput": dict(table["OnDemandThroughput"]) if table.get("OnDemandThroughput") else None,
        "table_class": (table.get("TableClassSummary") or {}).get("TableClass", "STANDARD"),
        "encryption": {
            "type": encryption.get("SSEType", "KMS"),
            "kms_key_arn": encryption.get("KMSMasterKeyArn"),
        }
        if encryption.get("Status") in {"ENABLED", "ENABLING", "UPDATING"}
        else None,
        "stream": stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        "deletion_protection": bool(table.get("DeletionProtectionEnabled")),
        "replicas": sorted(replica["RegionName"] for replica in table.get("Replicas") or ()),
    }


def _key_schema(described: Mapping[str, Any]) -> list[list[str]]:
    elements: Sequence[Mapping[str, str]] = described["KeySchema"]
    return sorted([element["KeyType"], element["AttributeName"]] for element in elements)


def _indexes(indexes: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {
        index["IndexName"]: {
            "key_schema": _key_schema(index),
            "projection": {
                "type": index["Projection"].get("ProjectionType"),
                "attributes": sorted(index["Projection"].get("NonKeyAttributes", ())),
            },
        }
        for index in indexes or ()
    }


def _throughput(described: Mapping[str, Any]) -> dict[str, int] | None:
    throughput = described.get("ProvisionedThroughput") or {}
    units = {
        "read": int(throughput.get("ReadCapacityUnits", 0)),
        "write": int(throughput.get("WriteCapacityUnits", 0)),
    }
    # An on-demand table has zeros here, or nothing.
    return units if any(units.values()) else None


def _time_to_live(client: DynamoDBClient, table_name: str) -> str | None:
    description = client.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
    enabled = description.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
    return description.get("AttributeName") if enabled else None


def _point_in_time_recovery(client: DynamoDBClient, table_name: str) -> dict[str, Any] | None:
    backups = client.describe_continuous_backups(TableName=table_name)["ContinuousBackupsDescription"]
    description = backups.get("PointInTimeRecoveryDescription") or {}
    if description.get("PointInTimeRecoveryStatus") != "ENABLED":
        return None
    return {"recovery_period_days": description.get("RecoveryPeriodInDays")}


def _tags(client: DynamoDBClient, table_arn: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for page in client.get_paginator("list_tags_of_resource").paginate(ResourceArn=table_arn):
        tags |= {tag["Key"]: tag["Value"] for tag in page.get("Tags", ())}
    # Tags that AWS sets itself can't be set again.
    return {key: value for key, value in sorted(tags.items()) if not key.startswith("aws:")}


def _resource_policy(client: DynamoDBClient, table_arn: str) -> Any:
    try:
        policy = client.get_resource_policy(ResourceArn=table_arn)["Policy"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "PolicyNotFoundException":
            return None
        raise
    return json.loads(policy.replace(table_arn, OWN_ARN))


def _kinesis_destinations(client: DynamoDBClient, table_name: str) -> dict[str, str | None]:
    answer = client.describe_kinesis_streaming_destination(TableName=table_name)
    return {
        destination["StreamArn"]: destination.get("ApproximateCreationDateTimePrecision")
        for destination in answer.get("KinesisDataStreamDestinations", ())
        if destination.get("DestinationStatus") in {"ACTIVE", "ENABLING", "UPDATING"}
    }


def _contributor_insights(client: DynamoDBClient, table: Mapping[str, Any]) -> dict[str, str]:
    """Return the mode of the table (by an empty name) and of each index where they are switched on."""
    found = {}
    for index in ("", *(index["IndexName"] for index in table.get("GlobalSecondaryIndexes") or ())):
        of_index: Any = {"IndexName": index} if index else {}
        answer: Mapping[str, Any] = client.describe_contributor_insights(TableName=table["TableName"], **of_index)
        if answer.get("ContributorInsightsStatus") in {"ENABLED", "ENABLING"}:
            found[index] = answer.get("ContributorInsightsMode", "ACCESSED_AND_THROTTLED_KEYS")
    return found
