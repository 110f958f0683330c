"""Where AWS's lifecycle would delete a point earlier than the policy wants to keep it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from recovery_retention.durations import FIRST, Duration
from recovery_retention.keep_rules import PERIOD_KEYS
from recovery_retention.plan import Decision, Rule
from recovery_retention.policy import PERIODS, KeepPolicy, Period, PolicySet
from recovery_retention.proving import DAY, MAX_DAYS, Vault, lifecycle_until

AHEAD: Final = 30 * DAY
"""A point that any rule keeps now, and that AWS deletes within so long, is worth a word."""

_LENGTHS: Final[Mapping[Period, dt.timedelta]] = {
    "hourly": dt.timedelta(hours=1),
    "daily": DAY,
    "weekly": 7 * DAY,
    "monthly": 31 * DAY,
    "yearly": 366 * DAY,
}
_PERIOD_RULES: Final = tuple((period, Rule(period), Rule(f"within_{period}")) for period in PERIODS)
_PASSING: Final = frozenset(
    {Rule.FOREIGN, Rule.NOT_A_TABLE, Rule.IN_USE, Rule.PROVE_FIRST, Rule.INVENTORY, Rule.STATUS, Rule.YOUNG}
)
"""Rules that say nothing about how long a point is wanted."""


@dataclass(frozen=True)
class LifecycleWarning:
    """AWS deletes a point before the policy would.

    Attributes:
        wanted_until: how long the policy keeps it where backups go on as planned.
        lifecycle: what to send to UpdateRecoveryPointLifecycle to agree; None where the vault allows none.
    """

    decision: Decision
    delete_at: dt.datetime
    wanted_until: dt.datetime
    rules: tuple[Rule, ...]
    lifecycle: Mapping[str, int] | None

    @property
    def text(self) -> str:
        """The warning as a sentence, with the remedy."""
        remedy = (
            f"Let the lifecycle delete after {self.lifecycle['DeleteAfterDays']} days."
            if self.lifecycle
            else "Its vault's lock does not allow that: raise the vault's maximum, or copy the point."
        )
        return (
            f"AWS deletes it on {self.delete_at.astimezone(dt.UTC):%Y-%m-%d}; {', '.join(self.rules)} would keep it "
            f"until {self.wanted_until.astimezone(dt.UTC):%Y-%m-%d}. {remedy}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the warning as JSON-ready values."""
        return {
            "arn": self.decision.point.arn,
            "table_name": self.decision.point.table_name,
            "vault_name": self.decision.point.vault_name,
            "delete_at": self.delete_at.astimezone(dt.UTC).isoformat(),
            "wanted_until": self.wanted_until.astimezone(dt.UTC).isoformat(),
            "rules": [str(rule) for rule in self.rules],
            "lifecycle": dict(self.lifecycle) if self.lifecycle else None,
            "text": self.text,
        }


def lifecycle_warnings(
    kept: Iterable[Decision],
    policies: PolicySet,
    now: dt.datetime,
    vaults: Mapping[str, Vault] | None = None,
    *,
    ahead: dt.timedelta = AHEAD,
) -> list[LifecycleWarning]:
    """Return the points that a plan keeps and AWS's lifecycle takes too early.

    A period that is not over yet says nothing: today's point is the year's newest, and tomorrow it is not.

    Args:
        kept: the ``keep`` list of a plan.
        policies: by which it was made.
        now: for which it was made (aware).
        vaults: what their locks forbid.
        ahead: how soon AWS has to delete a point for rules without a length, such as ``last`` or ``floor``, to count.
    """
    warnings = []
    for decision in kept:
        point = decision.point
        if point.delete_at is None:
            continue
        wanted = _wanted(decision, policies.of(point.table_name), now, ahead)
        early = {rule: until for rule, until in wanted.items() if until > point.delete_at}
        if early:
            until = max(early.values())
            lifecycle = lifecycle_until(point, until, (vaults or {}).get(point.vault_name, Vault()))
            warnings.append(LifecycleWarning(decision, point.delete_at, until, tuple(early), lifecycle))
    return warnings


def _wanted(decision: Decision, policy: KeepPolicy, now: dt.datetime, ahead: dt.timedelta) -> dict[Rule, dt.datetime]:
    point = decision.point
    forever = point.created_at + MAX_DAYS * DAY
    wanted: dict[Rule, dt.datetime] = {}
    rules = decision.rules - _PASSING
    zone = policy.zone
    for period, rule, within in _PERIOD_RULES:
        key_of = PERIOD_KEYS[period]
        if not rules & {rule, within} or key_of(point.created_at.astimezone(zone)) == key_of(now.astimezone(zone)):
            continue
        if rule in rules:
            count = policy.count_of(period)
            wanted[rule] = forever if count < 0 else min(forever, point.created_at + count * _LENGTHS[period])
        if within in rules:
            wanted[within] = min(forever, point.created_at + _length(policy.within_of(within), point.created_at))
    if Rule.WITHIN in rules:
        wanted[Rule.WITHIN] = min(forever, point.created_at + _length(policy.within, point.created_at))
    if Rule.TAG in rules:
        wanted[Rule.TAG] = forever
    if Rule.LAST in rules and policy.last < 0:
        wanted[Rule.LAST] = forever
    if point.delete_at is not None and point.delete_at <= now + ahead:
        lasting = rules & {Rule.LAST, Rule.FLOOR, Rule.KEEP_PROVEN, Rule.NEWEST_PROVEN}
        wanted |= {rule: now + 2 * ahead for rule in sorted(lasting) if rule not in wanted}
    return wanted


def _length(duration: Duration, around: dt.datetime) -> dt.timedelta:
    before = duration.before(around, dt.UTC)
    return MAX_DAYS * DAY if before == FIRST else around - before
