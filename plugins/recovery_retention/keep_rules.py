"""Which points of one table a policy's keep rules choose. Each rule chooses by itself; none takes from another."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from recovery_retention.durations import FIRST, Duration
from recovery_retention.plan import Reason, Rule
from recovery_retention.policy import PERIODS, KeepPolicy, Period
from recovery_retention.recovery_point import RecoveryPoint

Reasons = dict[str, list[Reason]]
"""By ARN."""

Key = tuple[int, ...]


def _hour(local: dt.datetime) -> Key:
    # An hour that the clock shows twice in autumn is two hours.
    return *local.timetuple()[:4], local.fold


PERIOD_KEYS: Mapping[Period, Callable[[dt.datetime], Key]] = {
    "hourly": _hour,
    "daily": lambda local: (local.year, local.month, local.day),
    "weekly": lambda local: tuple(local.isocalendar()[:2]),
    "monthly": lambda local: (local.year, local.month),
    "yearly": lambda local: (local.year,),
}
"""What two moments on the wall clock share when they lie in the same period."""

_NAMES: Mapping[Period, Callable[[Key], str]] = {
    "hourly": lambda key: "hour {:04}-{:02}-{:02} {:02}".format(*key),
    "daily": lambda key: "day {:04}-{:02}-{:02}".format(*key),
    "weekly": lambda key: "week {:04}-W{:02}".format(*key),
    "monthly": lambda key: "month {:04}-{:02}".format(*key),
    "yearly": lambda key: "year {:04}".format(*key),
}


def choose(points: Sequence[RecoveryPoint], policy: KeepPolicy) -> Reasons:
    """Return what the keep rules choose, with their reasons.

    Args:
        points: of one table, newest first.
        policy: whose rules are asked: last, hourly to yearly, within, within_hourly to within_yearly, tags.
    """
    found: Reasons = defaultdict(list)
    if not points:
        return found
    _choose_last(points, policy, found)
    zone = policy.zone
    newest = points[0].created_at
    _choose_within(points, policy.within, policy.within.before(newest, zone) if policy.within else None, found)
    local: list[dt.datetime] | None = None
    for period in PERIODS:
        count, duration = policy.count_of(period), policy.within_of(f"within_{period}")
        if not count and not duration:
            continue
        local = local or [point.created_at.astimezone(zone) for point in points]
        firsts = _first_of_each(points, local, period)
        for number, (key, point) in enumerate(firsts):
            if 0 <= count <= number:
                break
            text = f"It is the newest of {_NAMES[period](key)}, one of {_count(count)} {period} to keep."
            found[point.arn].append(Reason(Rule(period), text))
        if duration:
            cutoff = duration.before(newest, zone)
            for key, point in firsts:
                if point.created_at > cutoff:
                    text = f"It is the newest of {_NAMES[period](key)}, less than {duration} older than the newest."
                    found[point.arn].append(Reason(Rule(f"within_{period}"), text))
    _choose_tagged(points, policy, found)
    return found


def _choose_last(points: Sequence[RecoveryPoint], policy: KeepPolicy, found: Reasons) -> None:
    chosen = points if policy.last < 0 else points[: policy.last]
    for point in chosen:
        found[point.arn].append(Reason(Rule.LAST, f"It is one of the last {_count(policy.last)} to keep."))


def _choose_within(
    points: Sequence[RecoveryPoint], duration: Duration, cutoff: dt.datetime | None, found: Reasons
) -> None:
    for point in points:
        if cutoff is None or point.created_at <= cutoff != FIRST:
            return
        found[point.arn].append(Reason(Rule.WITHIN, f"It is less than {duration} older than the newest."))


def _first_of_each(
    points: Sequence[RecoveryPoint], local: Sequence[dt.datetime], period: Period
) -> list[tuple[Key, RecoveryPoint]]:
    key_of = PERIOD_KEYS[period]
    firsts: dict[Key, RecoveryPoint] = {}
    for point, moment in zip(points, local, strict=True):
        firsts.setdefault(key_of(moment), point)
    return list(firsts.items())


def _choose_tagged(points: Sequence[RecoveryPoint], policy: KeepPolicy, found: Reasons) -> None:
    for entry in policy.tags:
        wanted = {part.strip() for part in entry.split(",")}
        for point in points:
            if point.tags and wanted <= {text for key, value in point.tags for text in (key, f"{key}={value}")}:
                found[point.arn].append(Reason(Rule.TAG, f"It is tagged {entry}."))


def _count(number: int) -> str:
    return "all" if number < 0 else str(number)
