"""A table's settings: recorded when it is backed up, compared with those of the restored table.

AWS Backup brings a table's items, keys, indexes, billing mode and provisioned capacity back, and encrypts it
as the restore asks. It does not bring back tags, TTL, streams, point-in-time recovery, deletion protection
and more. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/backuprestore_HowItWorksAWS.html
https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-dynamodb.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

FORMAT = "table-settings"
VERSION = 1

EncryptionType = Literal["Default", "KMS"]
"""What a restore may ask for: the values of StartRestoreJob's metadata key ``encryptionType``."""

Settings = dict[str, Any]
"""What `restore_proof.settings_reading.record_settings` returns: JSON-ready values by name."""


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
    "index_throughput": "It is restored as at the time of the backup; set it again with UpdateTable.",
    "on_demand_throughput": "Set it again with UpdateTable.",
    "table_class": "Set it again with UpdateTable.",
    "stream": "AWS does not restore streams; switch it on again with UpdateTable (it gets a new ARN).",
    "deletion_protection": "AWS does not restore it; switch it on again with UpdateTable.",
    "time_to_live": "AWS does not restore it; set it again with UpdateTimeToLive.",
    "point_in_time_recovery": "AWS does not restore it; set it again with UpdateContinuousBackups.",
    "tags": "AWS restores tags only where the restore asks for them; set them again with TagResource.",
    "auto_scaling": "AWS does not restore it; register the targets and put the policies again.",
    "resource_policy": "AWS does not restore it; put it again with PutResourcePolicy, for the new table's ARN.",
    "kinesis_destinations": "AWS does not restore them; switch them on again with EnableKinesisStreamingDestination.",
    "contributor_insights": "AWS does not restore them; switch them on again with UpdateContributorInsights.",
}
_LOST: Mapping[str, str] = {
    "replicas": "A restored table is no member of a global table; replicas have to be added to it.",
}
_UNCHANGEABLE = frozenset({"key_schema", "local_secondary_indexes"})
NOT_RECORDED = "NotRecorded"
"""Stands under ``unread`` for what an earlier release did not record."""
CHOSEN_BY_RESTORE_TESTING = (
    "AWS's restore testing chose it, whatever the source has; encryptionType and kmsMasterKeyArn in the "
    "RestoreMetadataOverrides of the plan's selection set it."
)
BESIDE_EACH_RESTORE = frozenset({"managed-by", "run", "keep"})
"""Tags that restored tables get from this project; that the source lacks them tells nothing."""


def compare_settings(
    recorded: Settings,
    restored: Settings,
    *,
    encryption_type: EncryptionType | None = None,
    kms_key_arn: str | None = None,
    restore_tested: bool = False,
    recorded_late: bool = False,
) -> SettingsComparison:
    """Compare the settings recorded with a backup with those of the table that was restored from it.

    Args:
        recorded: the source's settings when it was backed up.
        restored: the restored table's settings.
        encryption_type: what the restore job was asked for, if it was.
        kms_key_arn: the key that the restore job was asked for, if it was.
        restore_tested: AWS's restore testing restored the table, and chose the encryption: its own default, unless the
            plan's selection overrides that. Any encryption is then as expected.
        recorded_late: the source's settings were read some time after the backup, when somebody may have changed
            them. Only its keys, which nobody can change, are then a reason for alarm.
    """
    remarks_of = (_RESTORED_BY_AWS, _NOT_RESTORED, _LOST)
    missing = {name: NOT_RECORDED for remarks in remarks_of for name in remarks if name not in recorded}
    unread = {**missing, **recorded.get("unread", {}), **restored.get("unread", {})}
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
    if encryption is not None and restore_tested:
        encryption = replace(
            encryption, kind=DifferenceClass.EXPECTED_FROM_AWS_BACKUP, remark=CHOSEN_BY_RESTORE_TESTING
        )
    if encryption is not None:
        found.append(encryption)
    if recorded_late:
        found = [_excused(difference) for difference in found]
    return SettingsComparison(tuple(sorted(found, key=lambda difference: difference.name)), unread)


def _excused(found: SettingDifference) -> SettingDifference:
    if found.kind is not DifferenceClass.ALARMING or found.name in _UNCHANGEABLE or found.name == "encryption":
        return found
    remark = "The source's settings were read after the backup; it may have had this otherwise then."
    return replace(found, kind=DifferenceClass.EXPECTED_FROM_AWS_BACKUP, remark=remark)


def _compared(settings: Settings, name: str) -> Any:
    value = settings.get(name)
    if name == "tags" and value is not None:
        return {key: text for key, text in value.items() if key not in BESIDE_EACH_RESTORE}
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


def _shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
