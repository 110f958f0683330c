"""A table's settings: recorded when it is backed up, compared with those of the restored table.

AWS Backup brings a table's items, keys, indexes, billing mode and provisioned capacity back, and encrypts it
as the restore asks. It does not bring back tags, TTL, streams, point-in-time recovery, deletion protection
and more. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/backuprestore_HowItWorksAWS.html
https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-dynamodb.html
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FORMAT = "table-settings"
VERSION = 1

EncryptionType = Literal["Default", "KMS"]
"""What a restore may ask for: the values of StartRestoreJob's metadata key ``encryptionType``."""

Settings = dict[str, Any]
"""What `record_settings` returns: JSON-ready values by name."""


class DifferenceClass(StrEnum):
    """What a difference in settings means."""

    EXPECTED_FROM_AWS_BACKUP = "expected_from_aws_backup"
    """The restore was asked for it, or AWS can't bring it back and neither can we."""
    REPAIRABLE = "repairable"
    """AWS does not bring it back, and it can be applied again."""
    ALARMING = "alarming"
    """AWS brings this back, but the restored table has it otherwise."""


class SettingsFormatError(ValueError):
    """Stored bytes are not settings that this version reads."""


@dataclass(frozen=True)
class SettingDifference:
    """One setting that the restored table has otherwise than the source had."""

    name: str
    kind: DifferenceClass
    recorded: Any
    restored: Any
    remark: str

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as JSON-ready values."""
        return {
            "name": self.name,
            "class": str(self.kind),
            "recorded": self.recorded,
            "restored": self.restored,
            "remark": self.remark,
        }


@dataclass(frozen=True)
class SettingsComparison:
    """What came of comparing settings.

    Attributes:
        differences: one entry a setting, by name.
        unread: settings that could not be read on one side, with the error code, and so were not compared.
    """

    differences: tuple[SettingDifference, ...]
    unread: Mapping[str, str]

    @property
    def alarms(self) -> tuple[str, ...]:
        """The alarming differences, as sentences."""
        return tuple(
            f"Setting {found.name} was {_shown(found.recorded)} and came back as {_shown(found.restored)}: "
            f"{found.remark}"
            for found in self.differences
            if found.kind is DifferenceClass.ALARMING
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready values."""
        return {
            "differences": [found.to_dict() for found in self.differences],
            "unread": dict(self.unread),
        }


def record_settings(client: DynamoDBClient, table_name: str, *, recorded_at: dt.datetime) -> Settings:
    """Read a table's settings.

    What may not be read, or is not offered by the endpoint, is noted under ``unread`` with its error code; only
    an error of DescribeTable goes on to the caller, since without its answer there is nothing to record.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read.
        recorded_at: now (aware).
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
    }
    for name, read in readers.items():
        try:
            settings[name] = read()
        except ClientError as error:
            unread[name] = error.response.get("Error", {}).get("Code", "Unknown")
    settings["unread"] = unread
    return settings


def settings_to_json(settings: Settings) -> bytes:
    """Return settings as JSON, as they are stored beside the recovery point's fingerprint."""
    return json.dumps(settings, indent=2, sort_keys=True).encode("ascii") + b"\n"


def settings_from_json(data: bytes) -> Settings:
    """Read what `settings_to_json` wrote.

    Raises:
        SettingsFormatError: if it is something else.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise SettingsFormatError(f"These bytes are not JSON: {error}") from error
    if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (
        FORMAT,
        VERSION,
    ):
        raise SettingsFormatError(f"This JSON is not a {FORMAT!r} document of version {VERSION}.")
    return document


_RESTORED_BY_AWS: Mapping[str, str] = {
    "key_schema": "AWS restores the keys as they were; this is another table.",
    "attribute_definitions": "AWS restores the key attributes as they were.",
    "global_secondary_indexes": "AWS restores the indexes as they were.",
    "local_secondary_indexes": "AWS restores the indexes as they were.",
    "billing_mode": "AWS restores the billing mode as it was when the table was backed up.",
}
_NOT_RESTORED: Mapping[str, str] = {
    # Capacity is restored as at backup time, but auto scaling moves it all day, so a difference tells
    # nothing.
    "provisioned_throughput": "It is restored as at the time of the backup; set it again with UpdateTable.",
    "on_demand_throughput": "Set it again with UpdateTable.",
    "table_class": "Set it again with UpdateTable.",
    "stream": "AWS does not restore streams; switch it on again with UpdateTable (it gets a new ARN).",
    "deletion_protection": "AWS does not restore it; switch it on again with UpdateTable.",
    "time_to_live": "AWS does not restore it; set it again with UpdateTimeToLive.",
    "point_in_time_recovery": "AWS does not restore it; set it again with UpdateContinuousBackups.",
    "tags": "AWS restores tags only where the restore asks for them; set them again with TagResource.",
}
_LOST: Mapping[str, str] = {
    "replicas": "A restored table is no member of a global table; replicas have to be added to it.",
}
_BESIDE_EACH_RESTORE = frozenset({"managed-by", "run", "keep"})
"""Tags that restored tables get from this project; that the source lacks them tells nothing."""


def compare_settings(
    recorded: Settings,
    restored: Settings,
    *,
    encryption_type: EncryptionType | None = None,
    kms_key_arn: str | None = None,
) -> SettingsComparison:
    """Compare the settings recorded with a backup with those of the table that was restored from it.

    Args:
        recorded: the source's settings when it was backed up.
        restored: the restored table's settings.
        encryption_type: what the restore job was asked for, if it was.
        kms_key_arn: the key that the restore job was asked for, if it was.
    """
    unread = {**recorded.get("unread", {}), **restored.get("unread", {})}
    classes = (
        (_RESTORED_BY_AWS, DifferenceClass.ALARMING),
        (_NOT_RESTORED, DifferenceClass.REPAIRABLE),
        (_LOST, DifferenceClass.EXPECTED_FROM_AWS_BACKUP),
    )
    found = [
        SettingDifference(name, kind, before, after, remark)
        for remarks, kind in classes
        for name, remark in remarks.items()
        if name not in unread and (before := _compared(recorded, name)) != (after := _compared(restored, name))
    ]
    encryption = _encryption_difference(recorded, restored, encryption_type, kms_key_arn)
    if encryption is not None:
        found.append(encryption)
    return SettingsComparison(tuple(sorted(found, key=lambda difference: difference.name)), unread)


def _compared(settings: Settings, name: str) -> Any:
    value = settings.get(name)
    if name == "tags" and value is not None:
        return {key: text for key, text in value.items() if key not in _BESIDE_EACH_RESTORE}
    return value


def _encryption_difference(
    recorded: Settings, restored: Settings, encryption_type: EncryptionType | None, kms_key_arn: str | None
) -> SettingDifference | None:
    before, after = recorded.get("encryption"), restored.get("encryption")
    if encryption_type is not None:
        # The restore was told what to do, and is held to that.
        as_asked = (after is None) == (encryption_type == "Default") and (
            kms_key_arn is None or (after or {}).get("kms_key_arn") == kms_key_arn
        )
        if not as_asked:
            remark = f"The restore asked for {encryption_type}{f' with {kms_key_arn}' if kms_key_arn else ''}."
            return SettingDifference("encryption", DifferenceClass.ALARMING, before, after, remark)
        if before != after:
            return SettingDifference(
                "encryption",
                DifferenceClass.EXPECTED_FROM_AWS_BACKUP,
                before,
                after,
                f"The restore asked for {encryption_type}.",
            )
        return None
    if before == after:
        return None
    return SettingDifference(
        "encryption",
        DifferenceClass.ALARMING,
        before,
        after,
        "The restore did not ask for another encryption; name encryptionType in its metadata.",
    )


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


def _shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
