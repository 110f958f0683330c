"""Retention plans: what may go, and what may never."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_retention.plan import (
    DELETABLE_STATUSES,
    USABLE_STATUSES,
    Decision,
    InventoryError,
    PolicyError,
    RetentionPlan,
    RetentionPolicy,
    Rule,
    plan,
)
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Depth, Proof, Result

CALM = settings(deadline=None, max_examples=50)
"""No deadline an example: how long one takes says more about the machine's other work than about ours."""

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
WEEK = RetentionPolicy(older_than_days=7, keep_newest=2)
PROVEN = Proof(Result.PROVEN)


def point(age: float, name: str = "", **changes: Any) -> RecoveryPoint:
    """Return a recovery point of ours that is `age` days old."""
    fields: dict[str, Any] = {
        "arn": f"arn:aws:backup:us-east-1:123456789012:recovery-point:{name or age}",
        "table_name": "orders",
        "status": "COMPLETED",
        "created_at": NOW - dt.timedelta(days=age),
        "managed": True,
    }
    return RecoveryPoint(**fields | changes)


def arns(decisions: tuple[Decision, ...]) -> list[str]:
    return [decision.point.arn.rpartition(":")[2] for decision in decisions]


def decision_on(made: RetentionPlan, wanted: RecoveryPoint) -> Decision:
    (found,) = (each for each in made.keep + made.delete + made.blocked if each.point == wanted)
    return found


class TestRules:
    def test_an_empty_inventory_has_an_empty_plan(self) -> None:
        assert plan([], {}, WEEK, NOW) == RetentionPlan(keep=(), delete=(), blocked=())

    def test_the_old_go_and_the_newest_stay(self) -> None:
        made = plan([point(age) for age in (30, 9, 10, 20)], {}, WEEK, NOW)
        assert (arns(made.keep), arns(made.delete), made.blocked) == (["9", "10"], ["20", "30"], ())
        assert made.keep[0].rules == {Rule.NEWEST}
        assert made.delete[0].rules == {Rule.OLD}
        assert "20.0 d old" in made.delete[0].reasons[0].text

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_as_many_as_the_floor_or_fewer_all_stay(self, count: int) -> None:
        made = plan([point(100 + number) for number in range(count)], {}, WEEK, NOW)
        assert (len(made.keep), made.delete) == (count, ())

    @pytest.mark.parametrize(("age", "goes"), [(6.9, False), (7, False), (7.001, True)])
    def test_only_what_is_older_than_the_limit_goes(self, age: float, goes: bool) -> None:
        made = plan([point(1), point(2), point(age)], {}, WEEK, NOW)
        assert bool(made.delete) is goes

    def test_every_table_has_its_own_newest(self) -> None:
        points = [point(age, f"{table}-{age}", table_name=table) for table in "ba" for age in (10, 20, 30)]
        made = plan(points, {}, RetentionPolicy(older_than_days=7, keep_newest=1), NOW)
        assert arns(made.keep) == ["a-10", "b-10"]
        assert arns(made.delete) == ["a-20", "a-30", "b-20", "b-30"]

    def test_the_order_of_the_inventory_makes_no_difference(self) -> None:
        points = [point(10, name) for name in "abcdef"] + [point(age) for age in range(3, 20)]
        expected = plan(points, {}, WEEK, NOW)
        for seed in range(5):
            assert plan(random.Random(seed).sample(points, len(points)), {}, WEEK, NOW) == expected

    def test_equally_old_ones_are_told_apart_by_their_arn(self) -> None:
        made = plan([point(10, name) for name in "cab"], {}, WEEK, NOW)
        assert (arns(made.keep), arns(made.delete)) == (["a", "b"], ["c"])

    def test_foreign_ones_stay_and_do_not_count_as_newest(self) -> None:
        points = [point(age, managed=False) for age in (1, 2, 300)] + [point(20), point(30), point(40)]
        made = plan(points, {}, WEEK, NOW)
        assert arns(made.delete) == ["40"]
        assert decision_on(made, points[2]).rules == {Rule.FOREIGN}

    def test_what_is_no_tables_stays(self) -> None:
        volume = point(300, resource_type="EBS")
        made = plan([volume, point(8), point(9)], {}, WEEK, NOW)
        assert decision_on(made, volume).rules == {Rule.NOT_A_TABLE}
        assert made.delete == ()

    @pytest.mark.parametrize("status", ["CREATING", "DELETING", "PARTIAL", "STOPPED", "SOMETHING_NEW", ""])
    def test_other_statuses_are_blocked_and_do_not_count_as_newest(self, status: str) -> None:
        odd = [point(1, "odd-1", status=status), point(300, "odd-300", status=status)]
        made = plan([*odd, point(20), point(30), point(40)], {}, WEEK, NOW)
        assert (arns(made.blocked), arns(made.delete)) == (["odd-1", "odd-300"], ["40"])
        assert f"status is {status}" in made.blocked[0].reasons[0].text

    def test_an_expired_one_does_not_stand_in_for_one_that_can_be_restored(self) -> None:
        points = [point(8, status="EXPIRED"), point(9, status="EXPIRED"), point(20), point(30), point(40)]
        made = plan(points, {}, WEEK, NOW)
        assert (arns(made.keep), arns(made.delete)) == (["8", "9", "20", "30"], ["40"])

    def test_an_old_expired_one_goes(self) -> None:
        made = plan([point(8), point(9), point(40, status="EXPIRED")], {}, WEEK, NOW)
        assert arns(made.delete) == ["40"]

    def test_one_that_a_restore_uses_stays(self) -> None:
        used = point(40)
        made = plan([point(8), point(9), used, point(50)], {}, WEEK, NOW, in_use={used.arn})
        assert decision_on(made, used).rules == {Rule.IN_USE}
        assert arns(made.delete) == ["50"]

    def test_every_rule_that_applies_is_said(self) -> None:
        young = point(1)
        made = plan([young], {young.arn: PROVEN}, WEEK, NOW, in_use=[young.arn])
        assert made.keep[0].rules == {Rule.YOUNG, Rule.NEWEST, Rule.NEWEST_PROVEN, Rule.IN_USE}

    def test_a_point_listed_twice_counts_once(self) -> None:
        made = plan([point(8), point(8), point(9), point(10)], {}, WEEK, NOW)
        assert (arns(made.keep), arns(made.delete)) == (["8", "9"], ["10"])

    def test_one_arn_for_two_points_is_refused(self) -> None:
        with pytest.raises(InventoryError, match="two different"):
            plan([point(8, "same"), point(9, "same")], {}, WEEK, NOW)

    def test_it_is_json_ready(self) -> None:
        made = plan([point(8), point(9), point(40, size_bytes=7)], {}, WEEK, NOW).to_dict()
        assert made["delete"][0] | {"reasons": None} == {
            "arn": point(40).arn,
            "table_name": "orders",
            "vault_name": "",
            "status": "COMPLETED",
            "created_at": "2026-10-21T12:00:00+00:00",
            "size_bytes": 7,
            "rules": ["old"],
            "reasons": None,
        }


class TestNewestProven:
    def test_it_stays_however_old_and_older_ones_go(self) -> None:
        points = [point(age) for age in (8, 9, 100, 200)]
        made = plan(points, {point(100).arn: PROVEN, point(200).arn: PROVEN}, WEEK, NOW)
        assert (arns(made.keep), arns(made.delete)) == (["8", "9", "100"], ["200"])
        assert made.keep[2].rules == {Rule.NEWEST_PROVEN}

    @pytest.mark.parametrize("result", [Result.FAILED, Result.UNPROVEN])
    def test_other_verdicts_protect_nothing(self, result: Result) -> None:
        made = plan([point(8), point(9), point(100)], {point(100).arn: Proof(result)}, WEEK, NOW)
        assert arns(made.delete) == ["100"]

    def test_a_drifting_one_counts_only_where_none_is_proven(self) -> None:
        points = [point(age) for age in (8, 9, 100, 200)]
        drifting = {point(100).arn: Proof(Result.PROVEN_DRIFTING)}
        assert arns(plan(points, drifting, WEEK, NOW).delete) == ["200"]
        assert arns(plan(points, drifting | {point(200).arn: PROVEN}, WEEK, NOW).delete) == ["100"]

    def test_a_deeper_proof_is_not_dropped_for_a_shallower(self) -> None:
        points = [point(age) for age in (8, 9, 100, 200, 300)]
        verdicts = {
            point(100).arn: Proof(Result.PROVEN, Depth.SAMPLED),
            point(200).arn: PROVEN,
            point(300).arn: PROVEN,
        }
        made = plan(points, verdicts, WEEK, NOW)
        assert arns(made.delete) == ["300"]
        assert "PROVEN@sampled" in decision_on(made, points[2]).reasons[0].text

    def test_an_expired_one_does_not_stand_in_for_one_that_can_be_restored(self) -> None:
        points = [point(8), point(9), point(100, status="EXPIRED"), point(200), point(300)]
        made = plan(points, {each.arn: PROVEN for each in points[2:]}, WEEK, NOW)
        assert arns(made.delete) == ["300"]

    def test_every_table_has_its_own(self) -> None:
        points = [point(age, f"{table}-{age}", table_name=table) for table in "ab" for age in (8, 9, 100, 200)]
        verdicts = {each.arn: PROVEN for each in points if each.arn.endswith(("a-100", "b-200"))}
        assert arns(plan(points, verdicts, WEEK, NOW).delete) == ["a-200", "b-100"]


class TestPolicy:
    @pytest.mark.parametrize(("days", "newest"), [(-1, 1), (7, 0), (7, -1)])
    def test_an_unsafe_one_is_refused(self, days: int, newest: int) -> None:
        with pytest.raises(PolicyError):
            RetentionPolicy(older_than_days=days, keep_newest=newest)

    def test_a_moment_without_time_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            plan([], {}, WEEK, NOW.replace(tzinfo=None))


points_strategy = st.lists(
    st.builds(
        lambda age, table, status, managed: (age, table, status, managed),
        st.integers(-2, 40),
        st.sampled_from(["orders", "stock"]),
        st.sampled_from(["COMPLETED", "AVAILABLE", "EXPIRED", "CREATING", "DELETING", "PARTIAL"]),
        st.integers(0, 4).map(bool),
    ),
    max_size=25,
).map(
    lambda rows: [
        point(age, f"{number:03}", table_name=table, status=status, managed=managed)
        for number, (age, table, status, managed) in enumerate(rows)
    ]
)
policies = st.builds(RetentionPolicy, older_than_days=st.integers(0, 30), keep_newest=st.integers(1, 4))
proofs = st.builds(Proof, st.sampled_from(Result), st.sampled_from(Depth))


@st.composite
def inventories(draw: st.DrawFn) -> tuple[list[RecoveryPoint], dict[str, Proof], RetentionPolicy, set[str]]:
    points = draw(points_strategy)
    judged = draw(st.lists(st.sampled_from(points), unique=True)) if points else []
    used = draw(st.lists(st.sampled_from(points), unique=True, max_size=3)) if points else []
    return points, {each.arn: draw(proofs) for each in judged}, draw(policies), {each.arn for each in used}


class TestProperties:
    @CALM
    @given(inventories())
    def test_every_point_is_in_exactly_one_list_with_a_reason(self, inventory: Any) -> None:
        points, verdicts, policy, used = inventory
        made = plan(points, verdicts, policy, NOW, in_use=used)
        decisions = made.keep + made.delete + made.blocked
        assert sorted(each.point.arn for each in decisions) == sorted(each.arn for each in points)
        assert all(each.reasons for each in decisions)

    @CALM
    @given(inventories())
    def test_some_are_never_deleted(self, inventory: Any) -> None:
        points, verdicts, policy, used = inventory
        made = plan(points, verdicts, policy, NOW, in_use=used)
        for gone in (each.point for each in made.delete):
            assert gone.managed
            assert gone.status in DELETABLE_STATUSES
            assert gone.arn not in used
            assert NOW - gone.created_at > dt.timedelta(days=policy.older_than_days)

    @CALM
    @given(inventories())
    def test_the_newest_of_every_table_are_never_deleted(self, inventory: Any) -> None:
        points, verdicts, policy, used = inventory
        gone = {each.point.arn for each in plan(points, verdicts, policy, NOW, in_use=used).delete}
        for table in ("orders", "stock"):
            for statuses in (USABLE_STATUSES, DELETABLE_STATUSES):
                ours = [p for p in points if p.managed and p.table_name == table and p.status in statuses]
                newest = sorted(ours, key=lambda p: (-p.created_at.timestamp(), p.arn))[: policy.keep_newest]
                assert gone.isdisjoint(each.arn for each in newest)

    @CALM
    @given(inventories())
    def test_the_newest_proven_of_every_table_is_never_deleted(self, inventory: Any) -> None:
        points, verdicts, policy, used = inventory
        gone = {each.point.arn for each in plan(points, verdicts, policy, NOW, in_use=used).delete}
        for table in ("orders", "stock"):
            proven = [
                p
                for p in points
                if p.managed
                and p.table_name == table
                and p.status in DELETABLE_STATUSES
                and p.arn in verdicts
                and verdicts[p.arn].result is Result.PROVEN
            ]
            if proven:
                newest = max(p.created_at for p in proven)
                assert not all(p.arn in gone for p in proven if p.created_at == newest)

    @CALM
    @given(inventories())
    def test_a_second_plan_on_the_survivors_deletes_nothing(self, inventory: Any) -> None:
        points, verdicts, policy, used = inventory
        gone = {each.point for each in plan(points, verdicts, policy, NOW, in_use=used).delete}
        survivors = [each for each in points if each not in gone]
        assert plan(survivors, verdicts, policy, NOW, in_use=used).delete == ()
