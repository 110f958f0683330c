"""The plan of a fleet by its policies: keep, delete or blocked, and what has to be proven first.

A pure function of points, policies, circumstances and now; the order of the points makes no difference. Points are
judged by vault and table, so that a copy in another vault neither replaces its original nor the other way round.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recovery_retention.keep_rules import Reasons, choose
from recovery_retention.plan import (
    DELETABLE_STATUSES,
    Decision,
    Reason,
    RetentionPlan,
    Rule,
    age_text,
    distinct,
    newest_first,
    newest_proven,
    status_reason,
    untouchable,
    usable,
)
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances, DrillOrder, Outlook, Rescue, look_out, needed_holds, why_bad
from recovery_retention.recovery_point import DYNAMODB, RecoveryPoint
from restore_proof.verdict import Result


@dataclass(frozen=True)
class CleanupPlan(RetentionPlan):
    """Every recovery point in exactly one of three lists, and what else is to be done.

    Attributes:
        drills: points to hand to a drill, one a table and vault at most.
        rescues: what keeps points from AWS's lifecycle until their verdict.
        releases: our legal holds that are no longer needed, by identifier.
        alarms: what is wrong with the inventory; where there is one, nothing is deleted.
    """

    drills: tuple[DrillOrder, ...] = ()
    rescues: tuple[Rescue, ...] = ()
    releases: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()

    def approval_reasons(self, approve_above: int) -> tuple[str, ...]:
        """Return why a person has to agree to the plan; empty where nobody has to.

        Args:
            approve_above: more deletions than this need a person.
        """
        reasons = []
        if len(self.delete) > approve_above:
            reasons.append(f"{len(self.delete)} recovery points would go, more than {approve_above}.")
        reasons += [f"{each.point.arn}: {each.approval}" for each in self.delete if each.approval]
        return tuple(reasons)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        return {
            **super().to_dict(),
            "drills": [drill.to_dict() for drill in self.drills],
            "rescues": [rescue.to_dict() for rescue in self.rescues],
            "releases": list(self.releases),
            "alarms": list(self.alarms),
        }


def plan_cleanup(
    recovery_points: Iterable[RecoveryPoint],
    policies: PolicySet,
    now: dt.datetime,
    around: Circumstances | None = None,
    *,
    alarms: Collection[str] = (),
) -> CleanupPlan:
    """Decide about every recovery point of an inventory.

    Args:
        recovery_points: the inventory, in any order; the same point listed twice counts once.
        policies: of every table.
        now: the moment to plan for (aware).
        around: verdicts, attempts, restores that run, locks, holds.
        alarms: what `recovery_retention.inventory.inventory_alarms` found; where there is one, all is kept.

    Raises:
        InventoryError: if one ARN stands for two different recovery points.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone.")
    around = around or Circumstances()
    points = sorted(distinct(recovery_points), key=newest_first)
    groups: dict[tuple[str, str], list[RecoveryPoint]] = defaultdict(list)
    for point in points:
        groups[point.group].append(point)
    decided = _Decided({}, {}, {})
    drills: list[DrillOrder] = []
    rescues: list[Rescue] = []
    needed: set[str] = set()
    for _, group in sorted(groups.items()):
        table = _Table(policies.of(group[0].table_name), around, now, alarms)
        outlook = table.decide(group, decided)
        drills += [outlook.drill] if outlook.drill else []
        rescues += outlook.rescues
        needed |= needed_holds(group, table.policy, around, now)
    # A hold may be on several points, of several tables; it is needed while any of them needs it.
    held = {around.our_holds[point.arn] for point in points if point.arn in around.our_holds}
    return CleanupPlan(
        keep=tuple(decided.keep[point.arn] for point in points if point.arn in decided.keep),
        delete=tuple(decided.delete[point.arn] for point in points if point.arn in decided.delete),
        blocked=tuple(decided.blocked[point.arn] for point in points if point.arn in decided.blocked),
        drills=tuple(drills),
        rescues=tuple(rescues),
        releases=tuple(sorted(held - needed)),
        alarms=tuple(alarms),
    )


@dataclass(frozen=True)
class _Decided:
    """Decisions by ARN."""

    keep: dict[str, Decision]
    delete: dict[str, Decision]
    blocked: dict[str, Decision]


@dataclass(frozen=True)
class _Table:
    """The judgement on one table's points in one vault."""

    policy: KeepPolicy
    around: Circumstances
    now: dt.datetime
    alarms: Collection[str]

    def decide(self, points: Sequence[RecoveryPoint], decided: _Decided) -> Outlook:
        """Decide on every point; return what is to be proven first."""
        ours: list[RecoveryPoint] = []
        for point in points:
            if (reason := self._untouchable(point)) is not None:
                decided.keep[point.arn] = Decision(point, (reason,))
            elif point.status not in DELETABLE_STATUSES:
                decided.blocked[point.arn] = Decision(point, (status_reason(point),))
            else:
                ours.append(point)
        kept = self._kept(ours)
        outlook = look_out(
            ours, {point.arn for point in ours if point.arn not in kept}, self.policy, self.around, self.now
        )
        for point in ours:
            reasons = kept.get(point.arn, [])
            if point.arn in outlook.awaiting:
                text = "It is not proven, nor is any newer one: it stays until a drill's verdict."
                reasons = [*reasons, Reason(Rule.PROVE_FIRST, text)]
            if not reasons and self.alarms:
                reasons = [Reason(Rule.INVENTORY, f"Nothing is deleted on this inventory. {' '.join(self.alarms)}")]
            if reasons:
                decided.keep[point.arn] = Decision(point, tuple(reasons))
            elif (decision := self._blocked(point)) is not None:
                decided.blocked[point.arn] = decision
            else:
                decided.delete[point.arn] = self._deletion(point)
        return outlook

    def _untouchable(self, point: RecoveryPoint) -> Reason | None:
        if self.policy.manage == "all" and point.resource_type == DYNAMODB:
            return None
        return untouchable(point)

    def _kept(self, points: Sequence[RecoveryPoint]) -> Reasons:
        kept = choose(points, self.policy)
        good = [point for point in usable(points) if why_bad(point, self.policy, self.around) is None]
        if len(good) < len(points) and not kept.keys() <= {point.arn for point in good}:
            # What can't be restored, or is bad, never stands in for one that is good: both are chosen. Where no such
            # point was chosen, the choice among the good ones would be the same.
            for arn, reasons in choose(good, self.policy).items():
                known = {reason.rule for reason in kept.get(arn, ())}
                kept[arn] += [reason for reason in reasons if reason.rule not in known]
        floor = self.policy.floor
        for point in dict.fromkeys([*points[:floor], *good[:floor]]):
            kept[point.arn].append(Reason(Rule.FLOOR, f"It is one of the table's {floor} newest."))
        for arn, reason in newest_proven(points, self.around.verdicts).items():
            kept[arn].append(reason)
        for point in self._proven(points):
            text = (
                f"It is one of the {self.policy.keep_proven} newest that are {self.around.verdicts[point.arn].label}."
            )
            kept[point.arn].append(Reason(Rule.KEEP_PROVEN, text))
        age = self.policy.min_age
        young_from = age.before(self.now, self.policy.zone) if age else None
        for point in points:
            if young_from is not None and point.created_at >= young_from:
                text = f"It is {age_text(point, self.now)} old; only what is older than {age} goes."
                kept[point.arn].append(Reason(Rule.YOUNG, text))
            if point.arn in self.around.in_use:
                kept[point.arn].append(Reason(Rule.IN_USE, "A restore or a drill uses it."))
        return {arn: reasons for arn, reasons in kept.items() if reasons}

    def _proven(self, points: Sequence[RecoveryPoint]) -> list[RecoveryPoint]:
        proven = [
            point
            for point in points
            if (proof := self.around.verdicts.get(point.arn)) is not None
            and proof.result is Result.PROVEN
            and proof.depth.rank >= self.policy.min_depth.rank
        ]
        number = self.policy.keep_proven
        return list(dict.fromkeys([*proven[:number], *usable(proven)[:number]]))

    def _blocked(self, point: RecoveryPoint) -> Decision | None:
        if point.legal_holds:
            text = f"It is under legal hold ({', '.join(point.legal_holds)}): free once the hold is released."
            return Decision(point, (Reason(Rule.LEGAL_HOLD, text),))
        if self.around.vault_of(point).locked:
            if point.delete_at is None:
                text = "Its vault is locked, and it has no expiry: it stays for as long as the lock does."
            else:
                text = f"Its vault is locked: AWS deletes it itself on {point.delete_at.astimezone(dt.UTC):%Y-%m-%d}."
            return Decision(point, (Reason(Rule.LOCKED, text),), free_at=point.delete_at)
        return None

    def _deletion(self, point: RecoveryPoint) -> Decision:
        proof = self.around.verdicts.get(point.arn)
        reasons = [Reason(Rule.UNWANTED, f"It is {age_text(point, self.now)} old, and no rule keeps it.")]
        approval = why_bad(point, self.policy, self.around)
        if approval is not None:
            reasons.append(Reason(Rule.BAD, approval))
        if proof is not None and proof.result in (Result.PROVEN, Result.PROVEN_DRIFTING):
            approval = f"It is {proof.label}."
        return Decision(point, tuple(reasons), approval=approval)
