"""A year of daily backups, weekly drills and nightly cleanups: what is left is what the policy says, every day."""

from __future__ import annotations

import datetime as dt
import zoneinfo

from recovery_retention.durations import Duration
from recovery_retention.keep_rules import choose
from recovery_retention.planner import plan_cleanup
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Proof, Result

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
POLICY = KeepPolicy(daily=7, weekly=5, monthly=6, yearly=2, timezone="Europe/Berlin", min_age=Duration(hours=12))
START = dt.date(2023, 6, 1)  # Over a leap day, both changes of the clock and an end of a year.


def test_what_is_left_is_what_the_rules_choose_of_all_that_ever_was() -> None:
    every: list[RecoveryPoint] = []
    there: list[RecoveryPoint] = []
    verdicts: dict[str, Proof] = {}
    for number in range(400):
        day = START + dt.timedelta(days=number)
        made = dt.datetime(day.year, day.month, day.day, 2, 30, tzinfo=BERLIN).astimezone(dt.UTC)
        backup = RecoveryPoint(day.isoformat(), "orders", "COMPLETED", made, managed=True, vault_name="vault")
        every.insert(0, backup)
        there.insert(0, backup)
        if day.weekday() == 6:
            verdicts[backup.arn] = Proof(Result.PROVEN)
        now = made + dt.timedelta(hours=20)

        plan = plan_cleanup(there, PolicySet(POLICY), now, Circumstances(verdicts=verdicts))
        kept = {decision.point.arn for decision in plan.keep}

        wanted = set(choose(every, POLICY))
        proven = [point.arn for point in every if point.arn in verdicts][:1]
        assert kept == wanted | set(proven), day
        # Seven days are kept by rule, and a drill comes every week: nothing ever has to wait for one.
        assert (plan.blocked, plan.drills) == ((), ()), day
        there = [point for point in there if point.arn in kept]
        again = plan_cleanup(there, PolicySet(POLICY), now, Circumstances(verdicts=verdicts))
        assert again.delete == ()
    assert 7 < len(there) < 25


def test_without_any_drill_nothing_goes_and_one_is_asked_for_every_day() -> None:
    there: list[RecoveryPoint] = []
    for number in range(30):
        made = dt.datetime(2026, 1, 1, 5, tzinfo=dt.UTC) + dt.timedelta(days=number)
        there.insert(0, RecoveryPoint(str(number), "orders", "COMPLETED", made, managed=True))
        plan = plan_cleanup(there, PolicySet(KeepPolicy(daily=7)), made + dt.timedelta(hours=1))
        assert plan.delete == ()
        assert [drill.point.arn for drill in plan.drills] == ([str(number)] if number >= 7 else [])
