"""AWS's six-field cron expressions: at which instants a rule of a backup plan is due.

Fields and wildcards as AWS lists them:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html. A local time that daylight saving
time skips is left out, one that it repeats counts once, at its first occurrence:
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html

No Airflow import.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DEFAULT_TIMEZONE: Final = "Etc/UTC"
DAY: Final = dt.timedelta(days=1)

_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_EXPRESSION: Final = re.compile(r"cron\(\s*(.+?)\s*\)")
_YEARS: Final = (1970, 2199)

DayTest = Callable[[dt.date], bool]


class ScheduleError(ValueError):
    """A schedule expression or time zone that AWS would refuse; the message says what is wrong with it."""


@dataclass(frozen=True)
class Schedule:
    """When a rule is due.

    Attributes:
        expression: as AWS takes it.
        timezone: IANA name.
    """

    expression: str
    timezone: str
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    years: frozenset[int]
    is_day: DayTest

    def between(self, start: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime]:
        """Yield the instants (UTC) from ``start`` on and before ``end``, in order."""
        zone = ZoneInfo(self.timezone)
        # A local date begins up to 14 hours before, and ends up to 12 hours after, that of UTC.
        day, last = start.astimezone(zone).date() - DAY, end.astimezone(zone).date() + DAY
        while day <= last:
            if day.year in self.years and day.month in self.months and self.is_day(day):
                for instant in self._instants(day, zone):
                    if start <= instant < end:
                        yield instant
            day += DAY

    def _instants(self, day: dt.date, zone: ZoneInfo) -> list[dt.datetime]:
        found = []
        for hour in self.hours:
            for minute in self.minutes:
                local = dt.datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                instant = local.astimezone(dt.UTC)
                if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    found.append(instant)
        return sorted(found)


def parse_schedule(expression: str, timezone: str = DEFAULT_TIMEZONE) -> Schedule:
    """Read ``cron(minutes hours day-of-month month day-of-week year)``.

    Raises:
        ScheduleError: AWS would refuse it; the message names the field.
    """
    match = _EXPRESSION.fullmatch(expression.strip())
    fields = match.group(1).upper().split() if match else []
    if len(fields) != 6:
        raise ScheduleError(
            f"{expression!r} is not cron(minutes hours day-of-month month day-of-week year), "
            "such as cron(0 5 ? * * *) for every day at 05:00"
        )
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"{timezone!r} is no IANA time zone, such as Etc/UTC or Europe/Berlin") from error
    minutes, hours, day_of_month, months, day_of_week, years = fields
    found_minutes = _numbers("minutes", minutes, 0, 59)
    if len(found_minutes) > 1:
        raise ScheduleError(f"{expression!r} is due more than once an hour, and AWS Backup backs up hourly at most")
    return Schedule(
        expression=expression.strip(),
        timezone=timezone,
        minutes=found_minutes,
        hours=_numbers("hours", hours, 0, 23),
        months=_numbers("month", months, 1, 12, _MONTHS),
        years=_numbers("year", years, *_YEARS),
        is_day=_day_test(expression, day_of_month, day_of_week),
    )


def _numbers(name: str, field: str, low: int, high: int, names: Mapping[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isdecimal() and int(step) > 0):
            raise ScheduleError(f"{name} {part!r}: what follows / must be a number above 0")
        first, dash, last = ("*", "", "") if span == "*" else span.partition("-")
        start = low if first == "*" else _number(name, first, low, high, names)
        open_end = high if slash or first == "*" else start
        stop = _number(name, last, low, high, names) if dash else open_end
        if stop < start:
            raise ScheduleError(f"{name} {part!r}: the range runs backwards")
        found.update(range(start, stop + 1, int(step) if slash else 1))
    return frozenset(found)


def _number(name: str, text: str, low: int, high: int, names: Mapping[str, int] | None) -> int:
    number = (names or {}).get(text)
    if number is None and text.isascii() and text.isdecimal():
        number = int(text)
    if number is None or not low <= number <= high:
        raise ScheduleError(f"{name} {text!r} is not between {low} and {high}")
    return number


def _day_test(expression: str, day_of_month: str, day_of_week: str) -> DayTest:
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ScheduleError(f"{expression!r}: exactly one of day-of-month and day-of-week must be ?")
    if day_of_week == "?":
        tests = [_month_day_test(part) for part in day_of_month.split(",")]
    else:
        tests = [_weekday_test(part) for part in day_of_week.split(",")]
    return lambda day: any(test(day) for test in tests)


def _month_day_test(part: str) -> DayTest:
    if part == "L":
        return lambda day: day.day == _length(day)
    if part.endswith("W"):
        wanted = part.removesuffix("W")
        number = None if wanted == "L" else _number("day-of-month", wanted, 1, 31, None)
        return lambda day: day.day == _nearest_weekday(day, number)
    numbers = _numbers("day-of-month", part, 1, 31)
    return lambda day: day.day in numbers


def _weekday_test(part: str) -> DayTest:
    if part == "L":
        part = "SAT"
    if "#" in part:
        name, _, nth = part.partition("#")
        weekday = _number("day-of-week", name, 1, 7, _WEEKDAYS)
        index = _number("day-of-week", nth, 1, 5, None)
        return lambda day: _weekday(day) == weekday and (day.day - 1) // 7 + 1 == index
    if part.endswith("L"):
        weekday = _number("day-of-week", part.removesuffix("L"), 1, 7, _WEEKDAYS)
        return lambda day: _weekday(day) == weekday and day.day + 7 > _length(day)
    numbers = _numbers("day-of-week", part, 1, 7, _WEEKDAYS)
    return lambda day: _weekday(day) in numbers


def _weekday(day: dt.date) -> int:
    """AWS counts from Sunday = 1."""
    return day.isoweekday() % 7 + 1


def _length(day: dt.date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_weekday(day: dt.date, wanted: int | None) -> int | None:
    """Return the day of the month that is the weekday nearest to ``wanted`` (None: the last), in the same month."""
    length = _length(day)
    number = length if wanted is None else wanted
    if number > length:
        return None
    at = day.replace(day=number).weekday()
    if at == calendar.SATURDAY:
        return number - 1 if number > 1 else number + 2
    if at == calendar.SUNDAY:
        return number + 1 if number < length else number - 2
    return number
