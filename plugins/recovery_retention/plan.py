"""The words of a retention plan: rules, reasons, decisions, and what is said of a point by itself.

`recovery_retention.planner` decides. A recovery point is deleted only if nothing speaks for it; one that is not ours,
or not a table's, is kept, and one in a status in which AWS Backup does not delete is blocked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from recovery_retention.recovery_point import DYNAMODB, RecoveryPoint
from restore_proof.verdict import Proof, Result

USABLE_STATUSES = frozenset({"COMPLETED", "AVAILABLE"})
"""A recovery point in one of these can be restored."""
DELETABLE_STATUSES = USABLE_STATUSES | {"EXPIRED"}
"""EXPIRED means that AWS Backup could not delete the point itself: it is still there, and still billed."""


class Rule(StrEnum):
    """What decided about a recovery point."""

    FOREIGN = "foreign"
    NOT_A_TABLE = "not_a_table"
    STATUS = "status"
    IN_USE = "in_use"
    YOUNG = "young"
    NEWEST_PROVEN = "newest_proven"
    LAST = "last"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    WITHIN = "within"
    WITHIN_HOURLY = "within_hourly"
    WITHIN_DAILY = "within_daily"
    WITHIN_WEEKLY = "within_weekly"
    WITHIN_MONTHLY = "within_monthly"
    WITHIN_YEARLY = "within_yearly"
    TAG = "tag"
    KEEP_PROVEN = "keep_proven"
    FLOOR = "floor"
    PROVE_FIRST = "prove_first"
    INVENTORY = "inventory"
    LOCKED = "locked"
    LEGAL_HOLD = "legal_hold"
    UNWANTED = "unwanted"
    BAD = "bad"


class PolicyError(ValueError):
    """A retention policy that would not be safe, or makes no sense."""


class InventoryError(ValueError):
    """An inventory of recovery points contradicts itself."""


class Reason(NamedTuple):
    """One rule that applied to a recovery point, and what it found, as a sentence."""

    rule: Rule
    text: str


@dataclass(frozen=True)
class Decision:
    """What is to happen with one recovery point, and why."""

    point: RecoveryPoint
    reasons: tuple[Reason, ...]
    free_at: dt.datetime | None = None
    """When what blocks it ends, if that is known."""
    approval: str | None = None
    """Why a person has to agree to its deletion; None where nobody has to."""

    @property
    def rules(self) -> frozenset[Rule]:
        """The rules that applied."""
        return frozenset(reason.rule for reason in self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON-ready values."""
        return {
            **({"free_at": self.free_at.astimezone(dt.UTC).isoformat()} if self.free_at else {}),
            **({"approval": self.approval} if self.approval else {}),
            "arn": self.point.arn,
            "table_name": self.point.table_name,
            "vault_name": self.point.vault_name,
            "status": self.point.status,
            "created_at": self.point.created_at.astimezone(dt.UTC).isoformat(),
            "size_bytes": self.point.size_bytes,
            "rules": [str(reason.rule) for reason in self.reasons],
            "reasons": [reason.text for reason in self.reasons],
        }


@dataclass(frozen=True)
class RetentionPlan:
    """Every recovery point of an inventory, in exactly one of three lists; by table, newest first."""

    keep: tuple[Decision, ...]
    delete: tuple[Decision, ...]
    blocked: tuple[Decision, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        return {
            "keep": [decision.to_dict() for decision in self.keep],
            "delete": [decision.to_dict() for decision in self.delete],
            "blocked": [decision.to_dict() for decision in self.blocked],
        }


def distinct(recovery_points: Iterable[RecoveryPoint]) -> list[RecoveryPoint]:
    by_arn: dict[str, RecoveryPoint] = {}
    for point in recovery_points:
        # Pages that are fetched while points come and go may repeat one.
        known = by_arn.setdefault(point.arn, point)
        if known is not point and known != point:
            raise InventoryError(f"The inventory has two different recovery points with the ARN {point.arn}.")
    return list(by_arn.values())


def newest_first(point: RecoveryPoint) -> tuple[str, float, str]:
    """By table, newest first; of two equally old ones the greater ARN would do as well as the lesser."""
    return point.table_name, -point.created_at.timestamp(), point.arn


def untouchable(point: RecoveryPoint) -> Reason | None:
    if not point.managed:
        return Reason(Rule.FOREIGN, "This project did not make it.")
    if point.resource_type != DYNAMODB:
        return Reason(Rule.NOT_A_TABLE, f"It is not a DynamoDB table's, but of type {point.resource_type}.")
    return None


def status_reason(point: RecoveryPoint) -> Reason:
    deletable = ", ".join(sorted(DELETABLE_STATUSES))
    return Reason(Rule.STATUS, f"Its status is {point.status}; only one that is {deletable} can be deleted.")


def newest_proven(points: Sequence[RecoveryPoint], verdicts: Mapping[str, Proof]) -> dict[str, Reason]:
    """Keep the newest proven one; where none is, the newest that was proven while its table was drifting.

    The newest of the deepest proof stays beside it, since a deeper proof is not dropped for a shallower, and
    so does the newest of both that can still be restored, where the newest can't.
    """
    for result in (Result.PROVEN, Result.PROVEN_DRIFTING):
        proven = [point for point in points if (proof := verdicts.get(point.arn)) and proof.result is result]
        if proven:
            deepest = max(verdicts[point.arn].depth.rank for point in proven)
            deep = [point for point in proven if verdicts[point.arn].depth.rank == deepest]
            chosen = {first for group in (proven, deep) for first in (*group[:1], *usable(group)[:1])}
            return {
                point.arn: Reason(Rule.NEWEST_PROVEN, f"It is the newest that is {verdicts[point.arn].label}.")
                for point in chosen
            }
    return {}


def usable(points: Sequence[RecoveryPoint]) -> list[RecoveryPoint]:
    return [point for point in points if point.status in USABLE_STATUSES]


def age_text(point: RecoveryPoint, now: dt.datetime) -> str:
    return f"{(now - point.created_at) / dt.timedelta(days=1):.1f} d"
