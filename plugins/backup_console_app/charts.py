"""Lines of small charts, worked out here and drawn by a template as inline SVG.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 190
LEFT: Final = 74
RIGHT: Final = 14
TOP: Final = 14
BOTTOM: Final = 26
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_UNITS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True)
class Measured:
    """One value.

    Attributes:
        seconds: what was measured.
        label: of what it was measured.
        good: whether the drill was proven; others are drawn hollow.
    """

    at: dt.datetime
    seconds: float
    label: str
    good: bool = True


@dataclass(frozen=True)
class Dot:
    """A value's place on the chart."""

    x: float
    y: float
    text: str
    mood: str
    good: bool


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart, ready to be drawn on `WIDTH` by `HEIGHT`."""

    title: str
    dots: Sequence[Dot]
    line: str
    target: Tick | None
    rows: Sequence[Tick]
    columns: Sequence[Tick]
    met: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def chart(title: str, measured: Sequence[Measured], target: dt.timedelta | None) -> Chart:
    """Lay a chart out.

    Args:
        title: what is measured.
        measured: in any order.
        target: which no value should be above; None if there is none.
    """
    values = sorted(measured, key=lambda value: value.at)
    limit = target.total_seconds() if target is not None else None
    top = _ceiling(max([value.seconds for value in values] + ([limit] if limit is not None else []), default=1.0))

    def y(seconds: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, seconds / top), 1)

    first, last = (values[0].at, values[-1].at) if values else (None, None)
    span = (last - first).total_seconds() if first and last else 0.0

    def x(at: dt.datetime) -> float:
        share = (at - first).total_seconds() / span if first and span else 0.5
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)

    dots = [
        Dot(
            x(value.at),
            y(value.seconds),
            f"{value.label}: {duration(value.seconds)}",
            "bad" if limit is not None and value.seconds > limit else "good",
            value.good,
        )
        for value in values
    ]
    return Chart(
        title=title,
        dots=dots,
        line=" ".join(f"{dot.x},{dot.y}" for dot in dots),
        target=Tick(y(limit), f"target {duration(limit)}") if limit is not None else None,
        rows=[Tick(y(top * part), duration(top * part)) for part in (0, 0.5, 1)],
        columns=_days(first, last, x),
        met=sum(dot.mood == "good" for dot in dots),
    )


def _days(first: dt.datetime | None, last: dt.datetime | None, x: Callable[[dt.datetime], float]) -> list[Tick]:
    """Mark the first and the last day; the time beside it where they are one."""
    if first is None or last is None:
        return []
    form = "%Y-%m-%d" if first.date() != last.date() or first == last else "%Y-%m-%d %H:%M"
    return [Tick(x(at), f"{at:{form}}") for at in dict.fromkeys((first, last))]


def _ceiling(seconds: float) -> float:
    """Return a round number of the fitting unit, not below a value."""
    seconds = max(seconds, 1.0)
    unit = next(size for size, _ in _UNITS if seconds >= size)
    amount = seconds / unit
    power = 10.0 ** math.floor(math.log10(amount))
    return unit * power * next(step for step in _STEPS if amount <= step * power)


def duration(seconds: float) -> str:
    """Return a span in its two largest units."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    for (size, name), (smaller, smaller_name) in itertools.pairwise(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            part = int(rest // smaller)
            return f"{int(whole)} {name} {part} {smaller_name}" if part and whole < 10 else f"{int(whole)} {name}"
    return f"{int(seconds)} s"
