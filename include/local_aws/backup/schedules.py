"""When a rule runs: AWS's six-field cron expressions, and rates.

Fields and wildcards as https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html lists
them. Daylight saving time as https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html says: a
local time that does not exist is skipped, one that exists twice counts once.
"""

import calendar
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from local_aws.backup.exceptions import InvalidParameterValueException

DEFAULT_EXPRESSION: Final = "cron(0 5 ? * * *)"
DEFAULT_TIMEZONE: Final = "Etc/UTC"
SHORTEST_PERIOD: Final = timedelta(hours=1)
"""https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html: hourly at most."""

_YEARS: Final = (1970, 2199)
_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_RATE: Final = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
_UNITS: Final = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}

DaysOfMonth = Callable[[int, int], set[int]]
"""The days that a field means in a year's month."""


class InvalidSchedule(InvalidParameterValueException):
    """A schedule expression or time zone that AWS would refuse."""


class Schedule(ABC):
    """The instants of a rule."""

    @abstractmethod
    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant (UTC) after `instant`; None: there is none any more."""

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the instants after the one and up to the other."""
        following = self.next_after(after)
        while following is not None and following <= until:
            yield following
            following = self.next_after(following)


@dataclass(frozen=True)
class RateSchedule(Schedule):
    """Every `period`, counted from `anchor`."""

    period: timedelta
    anchor: datetime

    def next_after(self, instant: datetime) -> datetime | None:
        periods = max((instant - self.anchor) // self.period, 0) + 1
        return self.anchor + periods * self.period


@dataclass(frozen=True)
class CronSchedule(Schedule):
    """What the six fields of a cron expression mean, in a time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: DaysOfMonth
    months: tuple[int, ...]
    years: tuple[int, ...]
    timezone: ZoneInfo

    def next_after(self, instant: datetime) -> datetime | None:
        for day in self._dates(instant.astimezone(self.timezone).date()):
            for hour in self.hours:
                for minute in self.minutes:
                    found = self._instant(day, hour, minute)
                    if found is not None and found > instant:
                        return found
        return None

    def _dates(self, first: date) -> Iterator[date]:
        for year in self.years:
            if year < first.year:
                continue
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                for day in sorted(self.days(year, month)):
                    if (found := date(year, month, day)) >= first:
                        yield found

    def _instant(self, day: date, hour: int, minute: int) -> datetime | None:
        # fold=0 is the first of two equal local times; one that does not exist does not survive the round trip.
        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.timezone)
        instant = local.astimezone(UTC)
        exists = instant.astimezone(self.timezone).replace(tzinfo=None) == local.replace(tzinfo=None)
        return instant if exists else None


def parse_schedule(expression: str, timezone: str = DEFAULT_TIMEZONE, *, anchor: datetime) -> Schedule:
    """Read a schedule expression: ``cron(minutes hours day-of-month month day-of-week year)`` or ``rate(n unit)``.

    Args:
        expression: As AWS takes it.
        timezone: An IANA name; a rate has no use for it.
        anchor: From when on a rate counts, timezone-aware.

    Raises:
        InvalidSchedule: Which part is wrong.
    """
    zone = _zone(timezone)
    if (rate := _RATE.fullmatch(expression)) is not None:
        return _rate(expression, int(rate[1]), rate[2], anchor)
    if not (expression.startswith("cron(") and expression.endswith(")")):
        raise InvalidSchedule(f"Invalid schedule expression {expression!r}: neither cron(...) nor rate(...).")
    fields = expression.removeprefix("cron(").removesuffix(")").split()
    if len(fields) != 6:
        raise InvalidSchedule(f"Invalid schedule expression {expression!r}: a cron expression has six fields.")
    minutes, hours, day_of_month, months, day_of_week, years = (field.upper() for field in fields)
    return CronSchedule(
        minutes=_numbers(expression, "minutes", minutes, 0, 59),
        hours=_numbers(expression, "hours", hours, 0, 23),
        days=_days(expression, day_of_month, day_of_week),
        months=_numbers(expression, "month", months, 1, 12, _MONTHS),
        years=_numbers(expression, "year", years, *_YEARS),
        timezone=zone,
    )


def check_at_most_hourly(expression: str, schedule: Schedule) -> None:
    """Refuse what would run more often than once an hour.

    Raises:
        InvalidSchedule: It would.
    """
    too_often = (isinstance(schedule, RateSchedule) and schedule.period < SHORTEST_PERIOD) or (
        isinstance(schedule, CronSchedule) and len(schedule.minutes) > 1
    )
    if too_often:
        raise InvalidSchedule(f"Invalid schedule expression {expression!r}: backups can be hourly at most.")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSchedule(f"Invalid time zone {name!r}: not an IANA time zone.") from error


def _rate(expression: str, number: int, unit: str, anchor: datetime) -> RateSchedule:
    if number < 1 or (number == 1) == unit.endswith("s"):
        raise InvalidSchedule(f"Invalid schedule expression {expression!r}: 1 unit, or more units.")
    try:
        return RateSchedule(number * _UNITS[unit.removesuffix("s")], anchor)
    except OverflowError as error:
        raise InvalidSchedule(f"Invalid schedule expression {expression!r}: too long a period.") from error


def _numbers(
    expression: str, name: str, field: str, low: int, high: int, names: dict[str, int] | None = None
) -> tuple[int, ...]:
    """Return the numbers that a field of `*`, `,`, `-` and `/` means, in order."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, stop = low, high
        else:
            start = _number(expression, name, first, low, high, names)
            stop = _number(expression, name, last, low, high, names) if dash else (high if slash else start)
        if stop < start or (slash and not (step.isdecimal() and int(step) > 0)):
            raise _bad_field(expression, name, field)
        found.update(range(start, stop + 1, int(step) if slash else 1))
    return tuple(sorted(found))


def _number(expression: str, name: str, text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    number = (names or {}).get(text)
    if number is None:
        if not (text.isascii() and text.isdecimal()):
            raise _bad_field(expression, name, text)
        number = int(text)
    if not low <= number <= high:
        raise _bad_field(expression, name, text)
    return number


def _days(expression: str, day_of_month: str, day_of_week: str) -> DaysOfMonth:
    if (day_of_month == "?") == (day_of_week == "?"):
        raise InvalidSchedule(
            f"Invalid schedule expression {expression!r}: one of day-of-month and day-of-week must be ?, and not both."
        )
    if day_of_week == "?":
        return _any_of([_day_of_month(expression, part) for part in day_of_month.split(",")])
    return _any_of([_day_of_week(expression, part) for part in day_of_week.split(",")])


def _any_of(parts: list[DaysOfMonth]) -> DaysOfMonth:
    return lambda year, month: set[int]().union(*(part(year, month) for part in parts))


def _day_of_month(expression: str, part: str) -> DaysOfMonth:
    if part == "L":
        return lambda year, month: {_length(year, month)}
    if part == "LW":
        return lambda year, month: {_nearest_weekday(year, month, _length(year, month))}
    if part.endswith("W"):
        wanted = _number(expression, "day-of-month", part.removesuffix("W"), 1, 31, None)
        return lambda year, month: {_nearest_weekday(year, month, wanted)} if wanted <= _length(year, month) else set()
    numbers = _numbers(expression, "day-of-month", part, 1, 31)
    return lambda year, month: {day for day in numbers if day <= _length(year, month)}


def _day_of_week(expression: str, part: str) -> DaysOfMonth:
    if part == "L":
        part = "SAT"
    if "#" in part:
        name, _, nth = part.partition("#")
        weekday = _number(expression, "day-of-week", name, 1, 7, _WEEKDAYS)
        index = _number(expression, "day-of-week", nth, 1, 5, None) - 1
        return lambda year, month: set(_weekdays(year, month, {weekday})[index : index + 1])
    if part.endswith("L"):
        weekday = _number(expression, "day-of-week", part.removesuffix("L"), 1, 7, _WEEKDAYS)
        return lambda year, month: set(_weekdays(year, month, {weekday})[-1:])
    numbers = set(_numbers(expression, "day-of-week", part, 1, 7, _WEEKDAYS))
    return lambda year, month: set(_weekdays(year, month, numbers))


def _weekdays(year: int, month: int, numbers: set[int]) -> list[int]:
    # AWS counts from Sunday = 1, Python from Monday = 0.
    wanted = {(number - 2) % 7 for number in numbers}
    first = date(year, month, 1).weekday()
    return [day for day in range(1, _length(year, month) + 1) if (first + day - 1) % 7 in wanted]


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """Return the weekday of the month that is nearest to its day `day`."""
    weekday = date(year, month, day).weekday()
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < _length(year, month) else day - 2
    return day


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _bad_field(expression: str, name: str, text: str) -> InvalidSchedule:
    return InvalidSchedule(f"Invalid schedule expression {expression!r}: {name} {text!r} is not valid.")
