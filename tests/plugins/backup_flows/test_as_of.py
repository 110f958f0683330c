from __future__ import annotations

import datetime as dt
import re

import pytest

from backup_flows.as_of import as_of_date, run_as_of, run_key, utcnow

BERLIN = dt.timezone(dt.timedelta(hours=1))


def at(*parts: int, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=zone)


@pytest.mark.parametrize(
    ("logical_date", "run_after", "moment", "date"),
    [
        (at(2026, 11, 1, 6), at(2026, 11, 2, 6), at(2026, 11, 1, 6), "2026-11-01"),
        (None, at(2026, 11, 2, 6), at(2026, 11, 2, 6), "2026-11-02"),
        (at(2026, 11, 2, 0, 30, zone=BERLIN), at(2026, 11, 9), at(2026, 11, 1, 23, 30), "2026-11-01"),
        (None, at(2026, 11, 2, 0, 30, zone=BERLIN), at(2026, 11, 1, 23, 30), "2026-11-01"),
    ],
    ids=["a scheduled run", "a manual run has no logical date", "another time zone", "both"],
)
def test_a_run_stands_for_its_logical_date_or_for_when_it_was_due(
    new_context, logical_date, run_after, moment, date: str
):
    context = new_context(run={"logical_date": logical_date, "run_after": run_after})
    found = run_as_of(context)
    assert (found, found.utcoffset()) == (moment, dt.timedelta(0))
    assert as_of_date(context) == date


def test_the_run_key_is_short_stable_and_of_its_own_for_each_run():
    key = run_key("orders", "manual__1")
    assert re.fullmatch(r"[0-9a-f]{8}", key)
    assert run_key("orders", "manual__1") == key
    assert len({key, run_key("orders", "manual__2"), run_key("others", "manual__1")}) == 3


def test_now_is_aware_and_utc():
    assert utcnow().utcoffset() == dt.timedelta(0)
