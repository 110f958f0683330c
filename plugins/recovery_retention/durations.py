"""Durations as retention policies write them: ``1y2m3d4h``, reckoned on the calendar."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Self

_UNITS = {"y": "years", "m": "months", "d": "days", "h": "hours"}
_PART = re.compile(r"([0-9]{1,6})([ymdh])")
_WHOLE = re.compile(r"(?:[0-9]{1,6}[ymdh])+")


class DurationError(ValueError):
    """A text is not a duration."""

    def __init__(self, text: Any) -> None:
        self.text = text
        super().__init__(f"{text!r} is not a duration: write years, months, days and hours, such as 1y6m, 35d or 12h.")

    def __reduce__(self) -> tuple[type[DurationError], tuple[Any]]:
        return type(self), (self.text,)


@dataclass(frozen=True, order=False)
class Duration:
    """Years, months, days and hours. A day is a calendar's day: 23 to 25 hours where clocks are changed."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1y2m3d4h``, any part of it, each unit once.

        Raises:
            DurationError: if it is anything else.
        """
        if not isinstance(text, str) or not _WHOLE.fullmatch(text):
            raise DurationError(text)
        found = _PART.findall(text)
        if len({unit for _, unit in found}) < len(found):
            raise DurationError(text)
        return cls(**{_UNITS[unit]: int(number) for number, unit in found})

    def before(self, moment: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
        """Return the moment so long before another, on the wall clock of a zone (UTC).

        A day that its month lacks runs over into the next: a month before 31 March is 3 March (2 in a leap
        year), which is how restic reckons too. What would lie before the year 1 is the first moment there is.
        """
        local = moment.astimezone(zone)
        month = local.year * 12 + local.month - 1 - self.years * 12 - self.months
        if month < 12:
            return FIRST
        try:
            start = local.replace(year=month // 12, month=month % 12 + 1, day=1)
            wall = start + dt.timedelta(days=local.day - 1 - self.days)
            return wall.astimezone(dt.UTC) - dt.timedelta(hours=self.hours)
        except OverflowError:
            return FIRST

    def __bool__(self) -> bool:
        return any((self.years, self.months, self.days, self.hours))

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number) or "0d"


FIRST = dt.datetime.min.replace(tzinfo=dt.UTC)
"""Before everything."""
