"""What a plan's deletions free, in bytes and in money: an estimate by prices that the user may change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recovery_retention.proving import COLD_DAYS, DAY
from recovery_retention.recovery_point import RecoveryPoint

GB = 1024**3
MONTH = 30 * DAY


@dataclass(frozen=True)
class Prices:
    """Dollars for a GB and month, of warm and of cold storage (us-east-1: https://aws.amazon.com/backup/pricing/)."""

    warm: float = 0.10
    cold: float = 0.03


@dataclass(frozen=True)
class Saving:
    """What goes with some recovery points.

    Attributes:
        points: how many.
        unsized: how many of them have no known size; they count for nothing in the rest.
        size_bytes: their size.
        monthly: dollars that they cost a month.
        early: dollars that AWS asks for all the same, where points leave cold storage before 90 days in it are over.
    """

    points: int
    unsized: int
    size_bytes: int
    monthly: float
    early: float

    @property
    def text(self) -> str:
        """The saving as a line for people."""
        early = f", less {self.early:.2f} $ once for leaving cold storage early" if self.early else ""
        unsized = f" ({self.unsized} of unknown size)" if self.unsized else ""
        return f"{self.points} points{unsized}, {self.size_bytes / GB:.3f} GB, {self.monthly:.2f} $ a month{early}"

    def to_dict(self) -> dict[str, Any]:
        """Return the saving as JSON-ready values."""
        return {
            "points": self.points,
            "unsized": self.unsized,
            "size_bytes": self.size_bytes,
            "monthly_dollars": round(self.monthly, 2),
            "early_dollars": round(self.early, 2),
        }


def saving(points: Iterable[RecoveryPoint], now: dt.datetime, prices: Prices | None = None) -> Saving:
    """Return what would be saved by deleting some points.

    Args:
        points: to be deleted.
        now: when (aware).
        prices: dollars for a GB and month.
    """
    prices = prices or Prices()
    known = list(points)
    size, monthly, early = 0, 0.0, 0.0
    for point in known:
        gigabytes = (point.size_bytes or 0) / GB
        size += point.size_bytes or 0
        if point.cold_at is not None and point.cold_at <= now:
            monthly += gigabytes * prices.cold
            left = max(dt.timedelta(), point.cold_at + COLD_DAYS * DAY - now)
            early += gigabytes * prices.cold * (left / MONTH)
        else:
            monthly += gigabytes * prices.warm
    return Saving(len(known), sum(point.size_bytes is None for point in known), size, monthly, early)
