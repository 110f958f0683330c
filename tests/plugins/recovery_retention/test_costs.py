"""What deletions free."""

from __future__ import annotations

import datetime as dt

import pytest

from recovery_retention.costs import GB, Prices, saving
from recovery_retention.recovery_point import RecoveryPoint

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def point(gigabytes: float | None, cold_for: float | None = None) -> RecoveryPoint:
    return RecoveryPoint(
        arn="a",
        table_name="orders",
        status="COMPLETED",
        created_at=NOW - dt.timedelta(days=200),
        managed=True,
        size_bytes=None if gigabytes is None else int(gigabytes * GB),
        cold_at=None if cold_for is None else NOW - dt.timedelta(days=cold_for),
    )


@pytest.mark.parametrize(
    ("points", "size", "monthly", "early", "unsized"),
    [
        ([], 0, 0, 0, 0),
        ([point(100)], 100, 10, 0, 0),
        ([point(100, cold_for=-5)], 100, 10, 0, 0),
        ([point(100, cold_for=90)], 100, 3, 0, 0),
        ([point(100, cold_for=30)], 100, 3, 6, 0),
        ([point(None), point(1.5)], 1.5, 0.15, 0, 1),
    ],
)
def test_sizes_and_dollars(
    points: list[RecoveryPoint], size: float, monthly: float, early: float, unsized: int
) -> None:
    saved = saving(points, NOW)
    assert (saved.points, saved.size_bytes, saved.unsized) == (len(points), size * GB, unsized)
    assert saved.monthly == pytest.approx(monthly)
    assert saved.early == pytest.approx(early)


def test_prices_may_be_others() -> None:
    assert saving([point(100)], NOW, Prices(warm=0.5)).to_dict() == {
        "points": 1,
        "unsized": 0,
        "size_bytes": 100 * GB,
        "monthly_dollars": 50.0,
        "early_dollars": 0.0,
    }


def test_it_is_told_in_a_line() -> None:
    text = saving([point(100, cold_for=30), point(None)], NOW).text
    assert text == (
        "2 points (1 of unknown size), 100.000 GB, 3.00 $ a month, less 6.00 $ once for leaving cold storage early"
    )
