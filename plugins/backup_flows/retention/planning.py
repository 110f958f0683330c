"""From an inventory to a plan, and from a plan to the steps of a run. No Airflow import."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backup_flows.ownership import Origin, is_ours
from backup_flows.protected_tables import ProtectedTables
from backup_flows.protection import Protection
from backup_flows.protection_policies import named_policies
from backup_flows.protection_retention import RetentionRun
from backup_flows.retention.inventory import Inventory
from recovery_retention.costs import Prices, Saving, saving
from recovery_retention.inventory import LastInventory, inventory_alarms
from recovery_retention.lifecycles import LifecycleWarning, lifecycle_warnings
from recovery_retention.plan import USABLE_STATUSES, Decision, PolicyError, Rule
from recovery_retention.planner import CleanupPlan, plan_cleanup
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import PROOFS, Circumstances, why_bad
from recovery_retention.recovery_point import RecoveryPoint

_WAITING = frozenset({Rule.PROVE_FIRST})
_STANDING = frozenset({Rule.NEWEST_PROVEN, Rule.KEEP_PROVEN, Rule.FLOOR})
"""Rules that keep a point so that others may go."""


@dataclass(frozen=True)
class Deletion:
    """One point that is to go, and what must still hold when it does.

    Attributes:
        verdict: its verdict in the plan; None: it has none.
        keep_tags: the tags that would keep it (:class:`recovery_retention.policy.KeepPolicy`).
        relies_on: ARNs of the points that can be restored and stay in its stead: the proven ones, each with its
            verdict in the plan, and those of the floor (None: nothing proves them).
        approval: why a person has to agree; None where nobody has to.
        plan: the backup plan that made it (:class:`backup_flows.ownership.Origin`).
        vouched: whether that plan is ours, or our record names the run.
    """

    arn: str
    vault: str
    table: str
    created_at: str
    managed: bool
    size_bytes: int | None
    verdict: str | None
    keep_tags: tuple[str, ...]
    relies_on: Mapping[str, str | None]
    approval: str | None
    reason: str
    plan: str | None = None
    vouched: bool = False

    @property
    def origin(self) -> Origin:
        """How it was made."""
        return Origin(self.table, self.plan, self.vouched)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {**vars(self), "keep_tags": list(self.keep_tags), "relies_on": dict(self.relies_on)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Deletion:
        """Read what `to_dict` wrote."""
        return cls(**{**document, "keep_tags": tuple(document["keep_tags"])})


@dataclass(frozen=True)
class Planned:
    """A plan, with what it comes to.

    Attributes:
        due: what goes in this run, oldest first.
        left: how many more are left to later runs.
        approval: why a person has to agree; empty where nobody has to.
    """

    plan: CleanupPlan
    due: tuple[Deletion, ...]
    left: int
    approval: tuple[str, ...]
    warnings: tuple[LifecycleWarning, ...]
    saving: Saving
    wrong: tuple[str, ...] = field(default=())
    """What a person has to look at, be it that nothing is deleted: the alarms of inventory and rescues."""
    notes: tuple[str, ...] = field(default=())
    """What a person should know of the policies that it goes by."""

    @property
    def counts(self) -> dict[str, int]:
        """How many points are in each list, and what else there is to do."""
        plan = self.plan
        return {
            "keep": len(plan.keep),
            "delete": len(plan.delete),
            "blocked": len(plan.blocked),
            "due": len(self.due),
            "drills": len(plan.drills),
            "rescues": len(plan.rescues),
            "releases": len(plan.releases),
            "lifecycle_warnings": len(self.warnings),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the whole plan as JSON-ready values."""
        return {
            **self.plan.to_dict(),
            "due": [deletion.arn for deletion in self.due],
            "left_to_later_runs": self.left,
            "approval": list(self.approval),
            "lifecycle_warnings": [warning.to_dict() for warning in self.warnings],
            "saving": self.saving.to_dict(),
            "counts": self.counts,
            "wrong": list(self.wrong),
            "notes": list(self.notes),
        }

    def steps(self) -> dict[str, Any]:
        """Return what a run of the plan does, as JSON-ready values; where anything looks wrong, no lifecycle moves."""
        moved = () if self.plan.alarms else self.warnings
        return {
            "deletions": [deletion.to_dict() for deletion in self.due],
            "drills": [drill.to_dict() for drill in self.plan.drills],
            "rescues": [rescue.to_dict() for rescue in self.plan.rescues],
            "releases": list(self.plan.releases),
            "lifecycles": [warning.to_dict() for warning in moved if warning.lifecycle],
        }


def policies_of(protection: Protection, found: ProtectedTables) -> PolicySet:
    """Return every table's policy: that of its entry, also where the table is gone and its points are not."""
    named = named_policies(protection)
    return PolicySet(named.default, {**named.tables, **{table.name: table.rule.keep for table in found.tables}})


@dataclass(frozen=True)
class Settled:
    """Every table's policy, also of those that no entry of the file fits any more.

    Attributes:
        policies: by table.
        by_tag: what the next cleanup has to remember (:attr:`recovery_retention.inventory.LastInventory.policies`).
        undecided: tables whose policy nothing tells, so that all of them is kept.
        notes: which tables go by something else than an entry, each with the remedy.
    """

    policies: PolicySet
    by_tag: Mapping[str, Mapping[str, Any]]
    undecided: frozenset[str]
    notes: tuple[str, ...]


def settle_policies(
    protection: Protection, found: ProtectedTables, points: Collection[RecoveryPoint], last: LastInventory | None
) -> Settled:
    """Return every table's policy; a table that is gone, or lost its tag, goes by the one that it had last.

    An entry by tag tells nothing of a table once the table or its tag is gone, which is when its recovery points are
    all that there is left. What an entry names, it names for good.

    Args:
        protection: the file.
        found: the tables that it selects.
        points: the inventory.
        last: the inventory before, with the policies that tables got by tags.
    """
    fitting = policies_of(protection, found)
    tables = dict(fitting.tables)
    by_tag = {table.name: table.rule.keep.to_dict() for table in found.tables if table.selected_by == "tag"}
    ours = {point.table_name for point in points if point.managed}
    undecided, notes = set(), []
    for name in sorted({point.table_name for point in points} - tables.keys()):
        before = _remembered(last, name)
        if before is not None:
            tables[name], by_tag[name] = before, before.to_dict()
            note = f"No entry fits table {name} any more: it goes by the policy that its tag gave it last."
        elif protection.by_tag:
            tables[name] = replace(fitting.default, last=-1)
            undecided.add(name)
            note = f"No entry fits table {name}, and what its tag gave it is not known: all its points are kept."
        else:
            continue
        if name in ours or tables[name].manage == "all":
            notes.append(f"{note} Add an entry with its name to protection.yaml, or give the table its tag back.")
    return Settled(PolicySet(fitting.default, tables), by_tag, frozenset(undecided), tuple(notes))


def _remembered(last: LastInventory | None, table: str) -> KeepPolicy | None:
    document = last.policies.get(table) if last is not None else None
    try:
        return KeepPolicy.from_dict(document) if document is not None else None
    except PolicyError:
        return None  # Another version of the project wrote it.


def vaults_of(found: ProtectedTables, stack_vault: str, last: LastInventory | None) -> list[str]:
    """Return the vaults to list: of the stack, of every protected table, and those where points were before."""
    before = [vault for vault, count in (last.counts if last is not None else {}).items() if count]
    return sorted({stack_vault, *(table.rule.vault_or(stack_vault) for table in found.tables), *before})


def make_plan(
    inventory: Inventory,
    policies: PolicySet,
    now: dt.datetime,
    settings: RetentionRun,
    *,
    last: LastInventory | None = None,
    max_deletions: int | None = None,
    undecided: Collection[str] = (),
    notes: tuple[str, ...] = (),
) -> Planned:
    """Decide about every point of an inventory.

    Tags are asked for anew of what would go, or wait for a drill: one that somebody just tagged is kept.

    Args:
        inventory: what there is.
        policies: of every table.
        now: the moment to plan for (aware).
        settings: how cleanups run.
        last: the inventory before, to hold this one against; None: there is none.
        max_deletions: fewer deletions than the settings allow.
        undecided: tables whose policy nothing tells: their lifecycles are no concern of the plan's.
        notes: what a person should know of the policies.
    """
    around = replace(inventory.around, may_extend=settings.may_extend, may_hold=settings.may_hold)
    alarms = _alarms(inventory, now, settings, last)
    plan = plan_cleanup(inventory.points, policies, now, around, alarms=alarms)
    if inventory.complete and _look_at_tags_again(inventory, plan):
        plan = plan_cleanup(inventory.points, policies, now, around, alarms=alarms)
    if not inventory.complete:
        # Half of what is known orders drills, and gives holds back, for nothing.
        plan = replace(plan, drills=(), rescues=(), releases=())
    elif alarms:
        plan = replace(plan, releases=())
    due = sorted(plan.delete, key=lambda decision: (decision.point.created_at, decision.point.arn))
    capped = due[: min(settings.max_deletions, max_deletions or settings.max_deletions)]
    relied = _relied_on(plan, policies, around)
    return Planned(
        plan=plan,
        due=tuple(_deletion(decision, inventory, policies, relied) for decision in capped),
        left=len(due) - len(capped),
        approval=_approval(plan, tuple(capped), settings.approve_above),
        warnings=tuple(
            lifecycle_warnings(
                (decision for decision in plan.keep if decision.point.table_name not in undecided),
                policies,
                now,
                around.vaults,
            )
        ),
        saving=saving(
            (decision.point for decision in capped), now, Prices(warm=settings.warm_price, cold=settings.cold_price)
        ),
        wrong=(
            *plan.alarms,
            *(f"{rescue.point.arn}: {rescue.text}" for rescue in plan.rescues if rescue.action == "alarm"),
        ),
        notes=notes,
    )


def _approval(plan: CleanupPlan, capped: tuple[Decision, ...], approve_above: int) -> tuple[str, ...]:
    # All that would go is counted, not what goes in this run: else small runs would do, unasked, what a large one asks.
    counted = replace(plan, delete=tuple(replace(decision, approval=None) for decision in plan.delete))
    mine = replace(plan, delete=capped)
    return counted.approval_reasons(approve_above) + mine.approval_reasons(len(capped))


def _alarms(
    inventory: Inventory, now: dt.datetime, settings: RetentionRun, last: LastInventory | None
) -> tuple[str, ...]:
    expected = 0 if last is None else sum(last.expected(vault, now) for vault in last.counts)
    if inventory.complete and not inventory.points and not expected:
        return ()  # A new vault is empty, and nothing can be deleted in it.
    alarms = inventory_alarms(
        inventory.points,
        now,
        complete=inventory.complete,
        last=last,
        max_shrink=settings.max_shrink_percent / 100,
    )
    return (*alarms, f"What cut it short: {inventory.gap}") if inventory.gap else alarms


def _look_at_tags_again(inventory: Inventory, plan: CleanupPlan) -> bool:
    """Ask for the tags of what would go or waits for a drill; return whether that changed anything."""
    doubtful = {decision.point.arn for decision in plan.delete}
    doubtful |= {decision.point.arn for decision in plan.keep if decision.rules == _WAITING}
    changed = False
    for index, point in enumerate(inventory.points):
        if point.arn in doubtful:
            tags = inventory.tags.of(point.arn, fresh=True)
            seen = tuple(sorted(tags.items()))
            if seen != point.tags:
                managed = is_ours(point.arn, tags, inventory.origin(point))
                inventory.points[index] = replace(point, tags=seen, managed=managed)
                changed = True
    return changed


def _relied_on(
    plan: CleanupPlan, policies: PolicySet, around: Circumstances
) -> dict[tuple[str, str], dict[str, str | None]]:
    """Return the points of each vault and table that have to stay for others to go, with what proves them.

    One that is EXPIRED or bad stays by the same rules, and stands in for nothing.
    """
    found: dict[tuple[str, str], dict[str, str | None]] = {}
    for decision in plan.keep:
        point = decision.point
        if (
            decision.rules & _STANDING
            and point.status in USABLE_STATUSES
            and why_bad(point, policies.of(point.table_name), around) is None
        ):
            proof = around.verdicts.get(point.arn)
            proven = proof is not None and proof.result in PROOFS
            found.setdefault(point.group, {})[point.arn] = proof.label if proof is not None and proven else None
    return found


def _deletion(
    decision: Decision,
    inventory: Inventory,
    policies: PolicySet,
    relied: Mapping[tuple[str, str], Mapping[str, str | None]],
) -> Deletion:
    point = decision.point
    origin = inventory.origin(point)
    verdicts = inventory.around.verdicts
    return Deletion(
        arn=point.arn,
        vault=point.vault_name,
        table=point.table_name,
        created_at=point.created_at.astimezone(dt.UTC).isoformat(),
        managed=point.managed,
        size_bytes=point.size_bytes,
        verdict=verdicts[point.arn].label if point.arn in verdicts else None,
        keep_tags=policies.of(point.table_name).tags,
        relies_on=relied.get(point.group, {}),
        approval=decision.approval,
        reason=" ".join(reason.text for reason in decision.reasons),
        plan=origin.plan,
        vouched=origin.vouched,
    )


def by_vault(deletions: Sequence[Deletion]) -> dict[str, int]:
    """Return how many points go from each vault."""
    return dict(Counter(deletion.vault for deletion in deletions))
