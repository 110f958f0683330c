"""Does an inventory look right? What is told as an alarm here keeps every recovery point where it is.

A listing that is cut short, a clock that is behind or a wrong account make a plan that looks reasonable and is
not. An inventory is therefore held against the one before it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from recovery_retention.recovery_point import RecoveryPoint

CLOCK_TOLERANCE = dt.timedelta(minutes=5)
MAX_SHRINK = 0.1


@dataclass(frozen=True)
class LastInventory:
    """What is remembered of an inventory, to hold the next one against it.

    Attributes:
        taken_at: when (aware).
        counts: how many recovery points each vault had.
        expiries: how many of them AWS's lifecycle was to delete, by vault and date (UTC, ``YYYY-MM-DD``).
        deleted: how many were deleted on purpose since, by vault.
        policies: those that tables got by a tag (:meth:`recovery_retention.policy.KeepPolicy.to_dict`), by table name:
            a tag can't be asked for when the table is gone.
    """

    taken_at: dt.datetime
    counts: Mapping[str, int]
    expiries: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    deleted: Mapping[str, int] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, points: Collection[RecoveryPoint], taken_at: dt.datetime, deleted: Mapping[str, int] | None = None
    ) -> Self:
        """Remember an inventory, and how many of it were deleted after it was taken."""
        expiries: dict[str, Counter[str]] = {}
        for point in points:
            if point.delete_at is not None:
                day = point.delete_at.astimezone(dt.UTC).date().isoformat()
                expiries.setdefault(point.vault_name, Counter())[day] += 1
        counts = Counter(point.vault_name for point in points)
        return cls(taken_at, dict(counts), {vault: dict(days) for vault, days in expiries.items()}, deleted or {})

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(
            dt.datetime.fromisoformat(document["taken_at"]),
            document["counts"],
            document.get("expiries", {}),
            document.get("deleted", {}),
            document.get("policies", {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "taken_at": self.taken_at.astimezone(dt.UTC).isoformat(),
            "counts": dict(self.counts),
            "expiries": {vault: dict(days) for vault, days in self.expiries.items()},
            "deleted": dict(self.deleted),
            "policies": {table: dict(policy) for table, policy in self.policies.items()},
        }

    def expected(self, vault: str, now: dt.datetime) -> int:
        """Return how many points a vault should still have: less what was deleted, or ran out by now."""
        today = now.astimezone(dt.UTC).date().isoformat()
        expired = sum(count for day, count in self.expiries.get(vault, {}).items() if day <= today)
        return max(0, self.counts.get(vault, 0) - expired - self.deleted.get(vault, 0))


def inventory_alarms(
    points: Collection[RecoveryPoint],
    now: dt.datetime,
    *,
    complete: bool = True,
    last: LastInventory | None = None,
    max_shrink: float = MAX_SHRINK,
) -> tuple[str, ...]:
    """Return what speaks against planning deletions on an inventory; nothing if it looks right.

    Args:
        points: the inventory.
        now: the clock that the plan goes by (aware).
        complete: whether every vault was listed to its last page.
        last: the inventory before this one, if there was one.
        max_shrink: the share of a vault's points that may be missing without a known cause, 0 to 1.
    """
    alarms = []
    if not complete:
        alarms.append("The inventory is incomplete: a listing was cut short. Run again when AWS answers in full.")
    if not points:
        alarms.append("The inventory is empty. Check account, region, vaults and the rights to list them.")
    ahead = max((point.created_at for point in points), default=now) - now
    if ahead > CLOCK_TOLERANCE:
        alarms.append(f"The clock is behind: a recovery point was made {ahead} after now. Set the clock right.")
    if last is not None:
        if last.taken_at > now + CLOCK_TOLERANCE:
            alarms.append(f"The clock is behind: the inventory before was taken {last.taken_at - now} after now.")
        counts = Counter(point.vault_name for point in points)
        for vault in sorted(last.counts):
            expected = last.expected(vault, now)
            if counts[vault] < expected * (1 - max_shrink):
                alarms.append(
                    f"Vault {vault!r} has {counts[vault]} recovery points where at least {expected} were expected. "
                    "Find out where they went; then let this inventory replace the one before."
                )
    return tuple(alarms)
