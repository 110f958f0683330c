"""The keep rules choose what restic would, and handle the calendar's corners."""

from __future__ import annotations

import datetime as dt
import json
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from recovery_retention.keep_rules import choose
from recovery_retention.plan import Rule
from recovery_retention.policy import KeepPolicy
from recovery_retention.recovery_point import RecoveryPoint

FROZEN = json.loads(Path(__file__).with_name("restic_cases.json").read_text(encoding="utf-8"))
"""Histories and policies with what restic kept; `benchmarks/restic_oracle.py --freeze` writes them."""


def point(moment: str | dt.datetime, name: str = "", tags: tuple[tuple[str, str], ...] = ()) -> RecoveryPoint:
    at = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return RecoveryPoint(name or str(moment), "orders", "COMPLETED", at, managed=True, tags=tags)


def kept(moments: list[str], **rules: Any) -> list[str]:
    points = sorted((point(moment) for moment in moments), key=lambda each: each.created_at, reverse=True)
    return list(choose(points, KeepPolicy.from_dict(rules)))


def test_there_are_as_many_frozen_cases_as_promised_with_every_rule_and_zone() -> None:
    assert len(FROZEN["cases"]) == 200
    rules = {name for case in FROZEN["cases"] for name in case["policy"]}
    periods = {"hourly", "daily", "weekly", "monthly", "yearly"}
    assert rules == {"last", "within", "tags", "timezone", *periods, *(f"within_{name}" for name in periods)}
    assert any(case["policy"][name] == -1 for case in FROZEN["cases"] for name in periods & case["policy"].keys())
    # Where everything is kept or nothing goes, little is shown.
    assert sum(0 < len(case["kept"]) < len(case["history"]) for case in FROZEN["cases"]) > 100


@pytest.mark.parametrize("batch", range(10))
def test_the_same_points_are_kept_as_restic_kept(batch: int) -> None:
    for number, case in list(enumerate(FROZEN["cases"]))[batch::10]:
        points = [
            point(entry["time"], str(index), tuple((tag, "") for tag in entry["tags"]))
            for index, entry in enumerate(case["history"])
        ]
        points.sort(key=lambda each: each.created_at, reverse=True)
        chosen = sorted(int(arn) for arn in choose(points, KeepPolicy.from_dict(case["policy"])))
        assert chosen == case["kept"], f"case {number}: {case['policy']}"


class TestPeriods:
    def test_a_period_without_a_point_does_not_count(self) -> None:
        days = ["2026-01-01T05:00Z", "2026-03-01T05:00Z", "2026-03-01T04:00Z", "2026-11-01T05:00Z"]
        assert kept(days, daily=3) == ["2026-11-01T05:00Z", "2026-03-01T05:00Z", "2026-01-01T05:00Z"]

    def test_the_week_53_is_one_week_in_two_years(self) -> None:
        days = ["2020-12-28T05:00Z", "2020-12-31T05:00Z", "2021-01-03T05:00Z", "2021-01-04T05:00Z"]
        assert kept(days, weekly=2) == ["2021-01-04T05:00Z", "2021-01-03T05:00Z"]
        assert kept(days, yearly=2) == ["2021-01-04T05:00Z", "2020-12-31T05:00Z"]

    def test_a_leap_day_is_a_day_of_february(self) -> None:
        days = ["2024-02-28T05:00Z", "2024-02-29T05:00Z", "2024-03-01T05:00Z"]
        assert kept(days, monthly=-1) == ["2024-03-01T05:00Z", "2024-02-29T05:00Z"]
        assert kept(days, daily=-1) == days[::-1]

    def test_a_day_is_the_zones_day(self) -> None:
        moments = ["2026-06-01T21:30+00:00", "2026-06-01T22:30+00:00"]
        assert kept(moments, daily=9) == moments[1:]
        assert kept(moments, daily=9, timezone="Europe/Berlin") == moments[::-1]

    @pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
    def test_days_on_which_clocks_change_have_their_own_number_of_hours(self, day: str, hours: int) -> None:
        start = dt.datetime.fromisoformat(day).replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).astimezone(dt.UTC)
        moments = [(start + dt.timedelta(minutes=20 * number)).isoformat() for number in range(3 * hours)]
        assert len(kept(moments, hourly=-1, timezone="Europe/Berlin")) == hours
        assert len(kept(moments, daily=-1, timezone="Europe/Berlin")) == 1

    def test_every_rule_that_keeps_a_point_is_named(self) -> None:
        (reasons,) = choose(
            [point("2026-06-01T05:00Z", tags=(("team", "a"),))],
            KeepPolicy.from_dict(
                {"last": 1, "daily": 1, "yearly": -1, "within": "1d", "within_weekly": "1m", "tags": ["team=a"]}
            ),
        ).values()
        assert [reason.rule for reason in reasons] == [
            Rule.LAST,
            Rule.WITHIN,
            Rule.DAILY,
            Rule.WITHIN_WEEKLY,
            Rule.YEARLY,
            Rule.TAG,
        ]
        texts = [reason.text for reason in reasons]
        assert "newest of day 2026-06-01, one of 1 daily" in texts[2]
        assert "week 2026-W23" in texts[3]


class TestTags:
    POINTS = [point("2026-06-01T05:00Z", "a", (("keep", "yes"), ("team", "x"))), point("2026-05-01T05:00Z", "b")]

    @pytest.mark.parametrize(
        ("tags", "chosen"),
        [
            (["keep"], ["a"]),
            (["keep=yes"], ["a"]),
            (["keep=no"], []),
            (["keep,team=x"], ["a"]),
            (["keep,team=y"], []),
            (["other", "team"], ["a"]),
        ],
    )
    def test_all_of_one_entry_any_of_the_entries(self, tags: list[str], chosen: list[str]) -> None:
        assert list(choose(self.POINTS, KeepPolicy.from_dict({"tags": tags}))) == chosen


def test_no_points_no_choice() -> None:
    assert choose([], KeepPolicy(last=1, within_daily=KeepPolicy(last=1).prove_ahead)) == {}
