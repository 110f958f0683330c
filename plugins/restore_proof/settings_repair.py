"""Re-apply to a table what its source had when it was backed up, and AWS Backup does not bring back.

What is equal already is left alone, so doing it twice changes nothing. One setting that can't be applied keeps no
other from being so.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/backuprestore_HowItWorksAWS.html
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError, WaiterError

from restore_proof import auto_scaling
from restore_proof.settings import (
    BESIDE_EACH_RESTORE,
    DifferenceClass,
    SettingDifference,
    Settings,
    compare_settings,
)
from restore_proof.settings_reading import OWN_ARN, record_settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

WAIT: Final = {"Delay": 2, "MaxAttempts": 900}
"""A table that is UPDATING takes no other change; some, such as its class, take many minutes."""


class Outcome(StrEnum):
    """What became of one setting."""

    APPLIED = "applied"
    WOULD_APPLY = "would_apply"
    """Asked to show only."""
    FAILED = "failed"
    LEFT = "left"
    """It can't be applied now; the detail says why, and what to do."""


class SettingUnrepairableError(ValueError):
    """Somebody asked for a setting that nobody can re-apply."""


class SettingLeftError(RuntimeError):
    """A setting can't be re-applied as things stand; the message is the remedy."""


@dataclass(frozen=True)
class Step:
    """One setting that differed."""

    name: str
    outcome: Outcome
    recorded: Any
    before: Any
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the step as JSON-ready values."""
        return {
            "name": self.name,
            "outcome": str(self.outcome),
            "recorded": self.recorded,
            "before": self.before,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class RepairReport:
    """What a repair found, did and left.

    Attributes:
        steps: one for each repairable setting that differed and was asked for.
        before: all the table's settings before.
        after: the same after it; those of before where nothing was done.
        remaining: what differs still, of whatever class.
        unread: settings that could not be read, with the error code, and were left alone.
    """

    table_name: str
    steps: tuple[Step, ...]
    before: Settings
    after: Settings
    remaining: tuple[SettingDifference, ...]
    unread: Mapping[str, str]

    @property
    def incomplete(self) -> tuple[Step, ...]:
        """The steps that did not lead to what was wanted."""
        return tuple(step for step in self.steps if step.outcome in (Outcome.FAILED, Outcome.LEFT))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "table_name": self.table_name,
            "steps": [{**step.to_dict(), "after": self.after.get(step.name)} for step in self.steps],
            "before": self.before,
            "after": self.after,
            "remaining": [difference.to_dict() for difference in self.remaining],
            "unread": dict(self.unread),
        }


def repair_settings(
    client: DynamoDBClient,
    table_name: str,
    recorded: Settings,
    *,
    scaling: Any,
    clock: Callable[[], dt.datetime],
    only: Collection[str] = (),
    dry_run: bool = False,
) -> RepairReport:
    """Give a table the settings that were recorded with a backup, as far as AWS does not restore them itself.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table.
        recorded: what `restore_proof.settings_reading.record_settings` read of the source.
        scaling: a low-level client of Application Auto Scaling.
        clock: says what time it is (aware).
        only: names of the settings to apply; all that can be if empty.
        dry_run: only say what would be done.

    Raises:
        SettingUnrepairableError: if `only` names a setting that can't be re-applied.
    """
    unknown = sorted(set(only) - set(_STEPS))
    if unknown:
        raise SettingUnrepairableError(
            f"{', '.join(unknown)} can't be re-applied. What can is: {', '.join(sorted(_STEPS))}."
        )
    before = record_settings(client, table_name, recorded_at=clock(), scaling=scaling)
    found = compare_settings(recorded, before)
    work = _Work(client, scaling, table_name, recorded, before)
    # In the order of _STEPS: capacity comes before what scales it, and protection from deletion last.
    differing = {
        difference.name: difference
        for difference in found.differences
        if difference.kind is DifferenceClass.REPAIRABLE and (not only or difference.name in only)
    }
    steps = [_step(work, differing[name], dry_run) for name in _STEPS if name in differing]
    after = before
    if steps and not dry_run:
        after = record_settings(client, table_name, recorded_at=clock(), scaling=scaling)
    return RepairReport(
        table_name=table_name,
        steps=tuple(steps),
        before=before,
        after=after,
        remaining=compare_settings(recorded, after).differences,
        unread=found.unread,
    )


@dataclass(frozen=True)
class _Work:
    client: DynamoDBClient
    scaling: Any
    table_name: str
    recorded: Settings
    current: Settings

    def update(self, **changes: Any) -> None:
        """Call UpdateTable, and wait until the table takes the next change."""
        self.client.update_table(TableName=self.table_name, **changes)
        self.client.get_waiter("table_exists").wait(TableName=self.table_name, WaiterConfig=WAIT)  # type: ignore[arg-type]


def _step(work: _Work, difference: SettingDifference, dry_run: bool) -> Step:
    name, recorded, before = difference.name, difference.recorded, difference.restored
    if dry_run:
        return Step(name, Outcome.WOULD_APPLY, recorded, before)
    try:
        _STEPS[name](work)
    except SettingLeftError as error:
        return Step(name, Outcome.LEFT, recorded, before, str(error))
    except (ClientError, WaiterError) as error:
        log.warning("Setting %s could not be applied to %s: %s", name, work.table_name, error)
        return Step(name, Outcome.FAILED, recorded, before, str(error))
    log.info("Setting %s of %s: from %s to %s", name, work.table_name, json.dumps(before), json.dumps(recorded))
    return Step(name, Outcome.APPLIED, recorded, before)


def _units(units: Mapping[str, int]) -> dict[str, int]:
    return {"ReadCapacityUnits": units["read"], "WriteCapacityUnits": units["write"]}


def _provisioned_throughput(work: _Work) -> None:
    _ensure_same_billing(work)
    work.update(ProvisionedThroughput=_units(work.recorded["provisioned_throughput"]))


def _index_throughput(work: _Work) -> None:
    _ensure_same_billing(work)
    current = work.current["index_throughput"]
    changed = {
        index: units
        for index, units in work.recorded["index_throughput"].items()
        if index in current and current[index] != units
    }
    if not changed:
        raise SettingLeftError("The table has not the indexes that had this capacity: make them first.")
    work.update(
        GlobalSecondaryIndexUpdates=[
            {"Update": {"IndexName": index, "ProvisionedThroughput": _units(units)}} for index, units in changed.items()
        ]
    )


def _ensure_same_billing(work: _Work) -> None:
    if work.recorded["billing_mode"] != work.current["billing_mode"] or work.recorded["billing_mode"] != "PROVISIONED":
        raise SettingLeftError(
            f"The table is billed {work.current['billing_mode']}, the source was {work.recorded['billing_mode']}: "
            "change the billing mode first, by hand."
        )


def _on_demand_throughput(work: _Work) -> None:
    if work.current["billing_mode"] != "PAY_PER_REQUEST":
        raise SettingLeftError("The table is not billed per request: change the billing mode first, by hand.")
    no_limit = {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1}
    work.update(OnDemandThroughput=work.recorded["on_demand_throughput"] or no_limit)


def _table_class(work: _Work) -> None:
    work.update(TableClass=work.recorded["table_class"])


def _stream(work: _Work) -> None:
    if work.current["stream"] is not None:
        work.update(StreamSpecification={"StreamEnabled": False})
    if work.recorded["stream"] is not None:
        work.update(StreamSpecification={"StreamEnabled": True, "StreamViewType": work.recorded["stream"]})


def _time_to_live(work: _Work) -> None:
    wanted, current = work.recorded["time_to_live"], work.current["time_to_live"]
    attribute = current or wanted
    work.client.update_time_to_live(
        TableName=work.table_name,
        TimeToLiveSpecification={"Enabled": current is None, "AttributeName": attribute},
    )
    if current is not None and wanted is not None:
        raise SettingLeftError(
            f"TTL by {current} was switched off; AWS takes one such change an hour. Repeat this in an hour, to switch "
            f"TTL by {wanted} on."
        )


def _point_in_time_recovery(work: _Work) -> None:
    wanted = work.recorded["point_in_time_recovery"]
    specification: dict[str, Any] = {"PointInTimeRecoveryEnabled": wanted is not None}
    if wanted is not None and wanted.get("recovery_period_days"):
        specification["RecoveryPeriodInDays"] = wanted["recovery_period_days"]
    work.client.update_continuous_backups(
        TableName=work.table_name,
        PointInTimeRecoverySpecification=specification,  # type: ignore[arg-type]
    )


def _tags(work: _Work) -> None:
    arn, wanted, current = work.current["table_arn"], work.recorded["tags"], work.current["tags"]
    changed = {
        key: value
        for key, value in wanted.items()
        if key not in BESIDE_EACH_RESTORE and current.get(key) != value
    }  # fmt: skip
    extra = [key for key in current if key not in wanted and key not in BESIDE_EACH_RESTORE]
    if changed:
        tags: Any = [{"Key": key, "Value": value} for key, value in changed.items()]
        work.client.tag_resource(ResourceArn=arn, Tags=tags)
    if extra:
        work.client.untag_resource(ResourceArn=arn, TagKeys=extra)


def _resource_policy(work: _Work) -> None:
    arn, wanted = work.current["table_arn"], work.recorded["resource_policy"]
    if wanted is None:
        work.client.delete_resource_policy(ResourceArn=arn)
    else:
        work.client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(wanted).replace(OWN_ARN, arn))


def _kinesis_destinations(work: _Work) -> None:
    wanted, current = work.recorded["kinesis_destinations"], work.current["kinesis_destinations"]
    for arn in current.keys() - wanted.keys():
        work.client.disable_kinesis_streaming_destination(TableName=work.table_name, StreamArn=arn)
    for arn, precision in wanted.items():
        if arn not in current:
            configuration: Any = (
                {"EnableKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": precision}}
                if precision
                else {}
            )
            work.client.enable_kinesis_streaming_destination(TableName=work.table_name, StreamArn=arn, **configuration)


def _contributor_insights(work: _Work) -> None:
    wanted, current = work.recorded["contributor_insights"], work.current["contributor_insights"]
    for index in sorted(wanted.keys() | current.keys()):
        if wanted.get(index) == current.get(index):
            continue
        change: dict[str, Any] = {"IndexName": index} if index else {}
        change["ContributorInsightsAction"] = "ENABLE" if index in wanted else "DISABLE"
        if index in wanted:
            change["ContributorInsightsMode"] = wanted[index]
        work.client.update_contributor_insights(TableName=work.table_name, **change)


def _auto_scaling(work: _Work) -> None:
    _ensure_same_billing(work)
    auto_scaling.apply(work.scaling, work.table_name, work.recorded["auto_scaling"])
    extra = sorted(work.current["auto_scaling"].keys() - work.recorded["auto_scaling"].keys())
    if extra:
        raise SettingLeftError(f"The table scales what its source did not: {', '.join(extra)}. Deregister it by hand.")


def _deletion_protection(work: _Work) -> None:
    work.update(DeletionProtectionEnabled=work.recorded["deletion_protection"])


_STEPS: Final[Mapping[str, Callable[[_Work], None]]] = {
    "table_class": _table_class,
    "provisioned_throughput": _provisioned_throughput,
    "index_throughput": _index_throughput,
    "on_demand_throughput": _on_demand_throughput,
    "auto_scaling": _auto_scaling,
    "tags": _tags,
    "resource_policy": _resource_policy,
    "time_to_live": _time_to_live,
    "point_in_time_recovery": _point_in_time_recovery,
    "stream": _stream,
    "kinesis_destinations": _kinesis_destinations,
    "contributor_insights": _contributor_insights,
    "deletion_protection": _deletion_protection,
}
