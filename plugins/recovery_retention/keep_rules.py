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
    return local.year, local.month, local.day, local.hour, local.fold


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
    newest = points[0].created_at
    _choose_within(points, policy.within, policy.within.before(newest, policy.zone) if policy.within else None, found)
    local: list[dt.datetime] = []
    for period in PERIODS:
        _choose_periods(points, local, policy, period, found)
    _choose_tagged(points, policy, found)
    return found


def _choose_last(points: Sequence[RecoveryPoint], policy: KeepPolicy, found: Reasons) -> None:
    chosen = points if policy.last < 0 else points[: policy.last]
    for point in chosen:
        found[point.arn].append(Reason(Rule.LAST, f"It is one of the last {_count(policy.last)} to keep."))


def _choose_within(
    points: Sequence[RecoveryPoint], duration: Duration, cutoff: dt.datetime | None, found: Reasons
) -> None:
    text = f"It is less than {duration} older than the newest."
    for point in points:
        if cutoff is None or point.created_at <= cutoff != FIRST:
            return
        found[point.arn].append(Reason(Rule.WITHIN, text))


def _choose_periods(
    points: Sequence[RecoveryPoint], local: list[dt.datetime], policy: KeepPolicy, period: Period, found: Reasons
) -> None:
    """Choose the newest of so many periods, and of each one within a duration; look no further than needed.

    Args:
        points: of one table, newest first.
        local: the wall clock's time of the first of them, as far as it is known; is continued as needed.
        policy: whose rules are asked.
        period: whose turn it is.
        found: where the reasons go.
    """
    count, within = policy.count_of(period), policy.within_of(f"within_{period}")
    rule, within_rule = Rule(period), Rule(f"within_{period}")
    zone, key_of, name_of = policy.zone, PERIOD_KEYS[period], _NAMES[period]
    cutoff = within.before(points[0].created_at, zone) if within else None
    counted, inner = f", one of {_count(count)} {period} to keep.", f", less than {within} older than the newest."
    seen: set[Key] = set()
    number, last = 0, None
    for index, point in enumerate(points):
        counts = count < 0 or number < count
        inside = cutoff is not None and point.created_at > cutoff
        if not counts and not inside:
            return
        if index == len(local):
            local.append(point.created_at.astimezone(zone))
        key = key_of(local[index])
        if key == last or key in seen:
            continue
        seen.add(key)
        number, last = number + 1, key
        text = f"It is the newest of {name_of(key)}"
        if counts:
            found[point.arn].append(Reason(rule, text + counted))
        if inside:
            found[point.arn].append(Reason(within_rule, text + inner))


def _choose_tagged(points: Sequence[RecoveryPoint], policy: KeepPolicy, found: Reasons) -> None:
    for entry in policy.tags:
        wanted = {part.strip() for part in entry.split(",")}
        for point in points:
            if point.tags and wanted <= {text for key, value in point.tags for text in (key, f"{key}={value}")}:
                found[point.arn].append(Reason(Rule.TAG, f"It is tagged {entry}."))


def _count(number: int) -> str:
    return "all" if number < 0 else str(number)
