"""Durations on the calendar."""

from __future__ import annotations

import datetime as dt
import pickle
import zoneinfo
from typing import Any

import pytest

from recovery_retention.durations import FIRST, Duration, DurationError

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("text", ["1y2m3d4h", "35d", "12h", "1y", "6m"])
def test_it_is_written_as_it_is_read(text: str) -> None:
    assert str(Duration.parse(text)) == text


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1d1d", "1w", "1d ", "1.5d", "1D", 5, None, "9999999d"])
def test_anything_else_is_refused_with_a_remedy(text: Any) -> None:
    with pytest.raises(DurationError, match="such as 1y6m, 35d or 12h") as refused:
        Duration.parse(text)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


@pytest.mark.parametrize(
    ("moment", "text", "before"),
    [
        ("2026-03-31T12:00+00:00", "1m", "2026-03-03T12:00+00:00"),
        ("2024-03-31T12:00+00:00", "1m", "2024-03-02T12:00+00:00"),
        ("2024-02-29T12:00+00:00", "1y", "2023-03-01T12:00+00:00"),
        ("2026-01-15T12:00+00:00", "1y1m1d1h", "2024-12-14T11:00+00:00"),
        ("2026-05-05T00:00+00:00", "35d", "2026-03-31T00:00+00:00"),
    ],
)
def test_before(moment: str, text: str, before: str) -> None:
    assert Duration.parse(text).before(dt.datetime.fromisoformat(moment), dt.UTC) == dt.datetime.fromisoformat(before)


@pytest.mark.parametrize(("text", "hours"), [("1d", 23), ("24h", 24)])
def test_a_day_is_the_calendars_and_an_hour_the_clocks(text: str, hours: int) -> None:
    noon = dt.datetime(2026, 3, 29, 12, tzinfo=BERLIN)
    assert noon.astimezone(dt.UTC) - Duration.parse(text).before(noon, BERLIN) == dt.timedelta(hours=hours)


@pytest.mark.parametrize("text", ["5000y", "999999d", "24312m"])
def test_before_all_time_is_the_first_moment(text: str) -> None:
    assert Duration.parse(text).before(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), BERLIN) == FIRST


def test_none_is_false() -> None:
    assert not Duration()
    assert not Duration.parse("0d")
    assert Duration(hours=1)
