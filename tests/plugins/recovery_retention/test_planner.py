"""Plans by policies: what may go, what never may, and what is proven first."""

from __future__ import annotations

import datetime as dt
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_retention.durations import Duration
from recovery_retention.plan import DELETABLE_STATUSES, USABLE_STATUSES, Decision, Rule
from recovery_retention.planner import CleanupPlan, plan_cleanup
from recovery_retention.policy import COUNTS, WITHINS, KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances, Vault, why_bad
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Depth, Proof, Result

CALM = settings(deadline=None, max_examples=60)
"""No deadline an example: how long one takes says more about the machine's other work than about ours."""

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
PROVEN = Proof(Result.PROVEN)
FAILED = Proof(Result.FAILED)
LAST = KeepPolicy(last=2, prove_first=False)
FIRST_PROVE = KeepPolicy(last=2)


def point(age: float, name: str = "", **changes: Any) -> RecoveryPoint:
    """Return a recovery point of ours that is `age` days old."""
    fields: dict[str, Any] = {
        "arn": f"arn:aws:backup:us-east-1:123456789012:recovery-point:{name or age}",
        "table_name": "orders",
        "status": "COMPLETED",
        "created_at": NOW - dt.timedelta(days=age),
        "managed": True,
        "vault_name": "vault",
    }
    return RecoveryPoint(**fields | changes)


def planned(points: list[RecoveryPoint], policy: KeepPolicy = LAST, **around: Any) -> CleanupPlan:
    return plan_cleanup(points, PolicySet(policy), NOW, Circumstances(**around))


def names(decisions: tuple[Decision, ...]) -> list[str]:
    return [decision.point.arn.rpartition(":")[2] for decision in decisions]


def decision_on(made: CleanupPlan, wanted: RecoveryPoint) -> Decision:
    (found,) = (each for each in made.keep + made.delete + made.blocked if each.point == wanted)
    return found


class TestDecisions:
    def test_what_no_rule_keeps_goes(self) -> None:
        made = planned([point(age) for age in (1, 2, 3, 4)])
        assert (names(made.keep), names(made.delete), made.blocked) == (["1", "2"], ["3", "4"], ())
        assert made.keep[0].rules == {Rule.LAST, Rule.FLOOR}
        assert made.delete[0].rules == {Rule.UNWANTED}
        assert "3.0 d old, and no rule keeps it" in made.delete[0].reasons[0].text

    @pytest.mark.parametrize("other", ["dynamodb:eu-west-1:123456789012", "dynamodb:us-east-1:210987654321"])
    def test_tables_of_one_name_in_other_regions_or_accounts_are_judged_apart(self, other: str) -> None:
        here = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
        points = [point(5, resource_arn=here), point(2, resource_arn=f"arn:aws:{other}:table/orders")]
        verdicts = {each.arn: PROVEN for each in points}
        policies = PolicySet(KeepPolicy(last=9), {"orders": KeepPolicy(last=1)})
        made = plan_cleanup(points, policies, NOW, Circumstances(verdicts=verdicts))
        assert (names(made.keep), made.delete) == (["2", "5"], ())
        # A copy is of the very table that its original is of, so these do stand in for each other.
        alike = [replace(each, resource_arn=here) for each in points]
        assert names(plan_cleanup(alike, policies, NOW, Circumstances(verdicts=verdicts)).delete) == ["5"]

    def test_a_table_goes_by_its_own_policy(self) -> None:
        points = [point(age, f"{table}-{age}", table_name=table) for table in ("orders", "stock") for age in (1, 2, 3)]
        made = plan_cleanup(points, PolicySet(LAST, {"stock": replace(LAST, last=-1)}), NOW)
        assert names(made.delete) == ["orders-3"]

    def test_a_copy_in_another_vault_replaces_nothing(self) -> None:
        points = [point(age, f"{vault}-{age}", vault_name=vault) for vault in ("vault", "far") for age in (1, 2, 3)]
        assert names(planned(points).delete) == ["far-3", "vault-3"]

    def test_foreign_ones_go_only_where_the_policy_manages_all(self) -> None:
        points = [point(1), point(2), point(3, managed=False), point(4, resource_type="EBS")]
        assert decision_on(planned(points), points[2]).rules == {Rule.FOREIGN}
        made = planned(points, replace(LAST, manage="all"))
        assert names(made.delete) == ["3"]
        assert decision_on(made, points[3]).rules == {Rule.NOT_A_TABLE}

    @pytest.mark.parametrize("status", ["CREATING", "DELETING", "PARTIAL", "SOMETHING_NEW"])
    def test_other_statuses_are_blocked(self, status: str) -> None:
        made = planned([point(1), point(2), point(3, status=status)])
        assert made.blocked[0].rules == {Rule.STATUS}

    def test_a_legal_hold_blocks(self) -> None:
        made = planned([point(1), point(2), point(3, legal_holds=("hold-1",))])
        assert made.blocked[0].rules == {Rule.LEGAL_HOLD}
        assert made.blocked[0].free_at is None
        assert "hold-1" in made.blocked[0].reasons[0].text

    def test_a_lock_blocks_until_aws_deletes(self) -> None:
        free = NOW + dt.timedelta(days=9)
        made = planned([point(1), point(2), point(3, delete_at=free), point(4)], vaults={"vault": Vault(locked=True)})
        assert (names(made.blocked), [each.free_at for each in made.blocked]) == (["3", "4"], [free, None])
        assert made.to_dict()["blocked"][0]["free_at"] == "2026-12-09T12:00:00+00:00"
        assert "2026-12-09" in made.blocked[0].reasons[0].text
        assert "for as long as the lock" in made.blocked[1].reasons[0].text

    def test_what_is_in_use_stays(self) -> None:
        used = point(9)
        assert decision_on(planned([point(1), point(2), used], in_use={used.arn}), used).rules == {Rule.IN_USE}

    @pytest.mark.parametrize(("age", "goes"), [(6.9, False), (7, False), (7.01, True)])
    def test_the_young_stay(self, age: float, goes: bool) -> None:
        made = planned([point(1), point(2), point(age)], replace(LAST, min_age=Duration(days=7)))
        assert bool(made.delete) is goes

    def test_one_that_is_bad_or_expired_stands_in_for_no_good_one(self) -> None:
        points = [point(0.1, "bad"), point(0.2, "expired", status="EXPIRED"), point(0.3, "good"), point(0.4, "older")]
        policy = KeepPolicy(daily=1, prove_first=False)
        made = planned(points, policy, verdicts={points[0].arn: FAILED})
        assert (names(made.keep), names(made.delete)) == (["bad", "good"], ["expired", "older"])

    @pytest.mark.parametrize("alarms", [("The clock is behind.",), ("Incomplete.", "Empty.")])
    def test_an_alarm_keeps_everything(self, alarms: tuple[str, ...]) -> None:
        points = [point(age) for age in range(1, 9)]
        made = plan_cleanup(points, PolicySet(LAST), NOW, alarms=alarms)
        assert made.delete == ()
        assert decision_on(made, points[7]).rules == {Rule.INVENTORY}
        assert alarms[0] in decision_on(made, points[7]).reasons[0].text
        assert made.to_dict()["alarms"] == list(alarms)

    def test_now_needs_a_time_zone(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            plan_cleanup([], PolicySet(LAST), dt.datetime(2026, 1, 1))

    def test_it_is_json(self) -> None:
        made = planned([point(age, delete_at=NOW) for age in (1, 2, 3)], FIRST_PROVE)
        document = json.loads(json.dumps(made.to_dict()))
        assert set(document) == {"keep", "delete", "blocked", "drills", "rescues", "releases", "alarms"}
        assert document["drills"][0]["by"] == "2026-11-30T12:00:00+00:00"


class TestProven:
    def test_so_many_proven_ones_stay(self) -> None:
        points = [point(age) for age in range(1, 8)]
        verdicts = {each.arn: PROVEN for each in points[2:]}
        assert names(planned(points, replace(LAST, keep_proven=3), verdicts=verdicts).delete) == ["6", "7"]

    def test_only_deep_enough_ones_count(self) -> None:
        points = [point(age) for age in range(1, 8)]
        verdicts = {each.arn: Proof(Result.PROVEN, Depth.SAMPLED) for each in points[2:5]} | {points[5].arn: PROVEN}
        made = planned(points, verdicts=verdicts)
        # The newest of any depth stays as well.
        assert names(made.keep) == ["1", "2", "3", "6"]
        assert Rule.KEEP_PROVEN in decision_on(made, points[5]).rules
        assert decision_on(made, points[2]).rules == {Rule.NEWEST_PROVEN}

    def test_deleting_a_proven_or_a_bad_one_needs_a_person(self) -> None:
        points = [point(age) for age in range(1, 7)]
        verdicts = {points[2].arn: PROVEN, points[3].arn: PROVEN, points[4].arn: FAILED}
        made = planned(points, verdicts=verdicts, attempts={points[5].arn: 3})
        assert [each.approval for each in made.delete] == [
            "It is PROVEN.",
            "It is known to be bad: its drill FAILED.",
            "It counts as bad: 3 drills brought no proof.",
        ]
        assert Rule.BAD in made.delete[1].rules
        assert len(made.approval_reasons(10)) == 3
        assert made.approval_reasons(2)[0] == "3 recovery points would go, more than 2."

    def test_few_ordinary_deletions_need_nobody(self) -> None:
        assert planned([point(age) for age in (1, 2, 3)]).approval_reasons(1) == ()


points_strategy = st.lists(
    st.builds(
        point,
        # Some of one instant, some an hour apart, around leap days and ends of years.
        st.one_of(st.integers(0, 30), st.integers(0, 2000), st.floats(0, 3, allow_nan=False)),
        st.uuids().map(str),
        table_name=st.sampled_from(["orders", "stock"]),
        vault_name=st.sampled_from(["vault", "vault", "far"]),
        managed=st.sampled_from([True, True, True, False]),
        status=st.sampled_from(["COMPLETED", "COMPLETED", "COMPLETED", "AVAILABLE", "EXPIRED", "CREATING"]),
        tags=st.sampled_from([(), (), (("keep", "yes"),)]),
        delete_at=st.sampled_from([None, NOW + dt.timedelta(days=1), NOW + dt.timedelta(days=90)]),
        legal_holds=st.sampled_from([(), (), (), ("hold",)]),
    ),
    max_size=30,
)
durations = st.builds(Duration, st.integers(0, 2), st.integers(0, 13), st.integers(0, 40), st.integers(0, 30))
rules = st.dictionaries(st.sampled_from(COUNTS), st.integers(-1, 8), max_size=3)
withins = st.dictionaries(st.sampled_from(WITHINS), durations, max_size=2)


@st.composite
def policies(draw: st.DrawFn) -> KeepPolicy:
    chosen: dict[str, Any] = {"min_age": Duration(hours=1), **draw(rules), **draw(withins)}
    return KeepPolicy(
        **chosen,
        tags=draw(st.sampled_from([(), ("keep",)])),
        keep_proven=draw(st.integers(1, 3)),
        floor=draw(st.integers(1, 4)),
        min_depth=draw(st.sampled_from(Depth)),
        timezone=draw(st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"])),
        manage=draw(st.sampled_from(["ours", "all"])),
        prove_first=draw(st.booleans()),
    )


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[RecoveryPoint], KeepPolicy, Circumstances]:
    points = draw(points_strategy)
    some = st.lists(st.sampled_from(points), unique=True) if points else st.just([])
    proofs = st.builds(Proof, st.sampled_from(Result), st.sampled_from(Depth))
    around = Circumstances(
        verdicts={each.arn: draw(proofs) for each in draw(some)},
        attempts={each.arn: draw(st.integers(0, 4)) for each in draw(some)},
        in_use={each.arn for each in draw(some)[:2]},
        vaults={"far": Vault(locked=draw(st.booleans()))},
    )
    return points, draw(policies()), around


def groups(points: list[RecoveryPoint]) -> list[list[RecoveryPoint]]:
    keys = {(each.vault_name, each.table_name) for each in points}
    return [[each for each in points if (each.vault_name, each.table_name) == key] for key in sorted(keys)]


def gone(points: list[RecoveryPoint], policy: KeepPolicy, around: Circumstances) -> set[str]:
    return {each.point.arn for each in plan_cleanup(points, PolicySet(policy), NOW, around).delete}


class TestProperties:
    @CALM
    @given(fleets())
    def test_every_point_is_in_exactly_one_list_with_a_reason(self, fleet: Any) -> None:
        points, policy, around = fleet
        made = plan_cleanup(points, PolicySet(policy), NOW, around)
        decisions = made.keep + made.delete + made.blocked
        assert sorted(each.point.arn for each in decisions) == sorted(each.arn for each in points)
        assert all(each.reasons for each in decisions)

    @CALM
    @given(fleets())
    def test_some_never_go(self, fleet: Any) -> None:
        points, policy, around = fleet
        deleted = gone(points, policy, around)
        for each in points:
            if each.arn in deleted:
                assert each.managed or policy.manage == "all"
                assert each.status in DELETABLE_STATUSES
                assert each.arn not in around.in_use
                assert not each.legal_holds
                assert not around.vault_of(each).locked
                assert NOW - each.created_at > dt.timedelta(hours=1)

    @CALM
    @given(fleets())
    def test_the_newest_proven_never_goes(self, fleet: Any) -> None:
        points, policy, around = fleet
        deleted = gone(points, policy, around)
        for group in groups(points):
            proven = [
                each
                for each in group
                if (each.managed or policy.manage == "all")
                and each.status in DELETABLE_STATUSES
                and (proof := around.verdicts.get(each.arn)) is not None
                and proof.result is Result.PROVEN
            ]
            deep = [each for each in proven if around.verdicts[each.arn].depth.rank >= policy.min_depth.rank]
            for some in (proven, deep):
                if some:
                    newest = max(each.created_at for each in some)
                    assert not all(each.arn in deleted for each in some if each.created_at == newest)
            assert sum(each.arn not in deleted for each in deep) >= min(len(deep), policy.keep_proven)

    @CALM
    @given(fleets())
    def test_no_table_goes_under_its_floor(self, fleet: Any) -> None:
        points, policy, around = fleet
        deleted = gone(points, policy, around)
        for group in groups(points):
            good = [
                each
                for each in group
                if (each.managed or policy.manage == "all")
                and each.status in USABLE_STATUSES
                and why_bad(each, policy, around) is None
            ]
            assert sum(each.arn not in deleted for each in good) >= min(len(good), policy.floor)

    @CALM
    @given(fleets(), st.data())
    def test_one_more_rule_never_deletes_more(self, fleet: Any, data: st.DataObject) -> None:
        points, policy, around = fleet
        name = data.draw(st.sampled_from([*COUNTS, *WITHINS, "tags"]))
        value: Any = data.draw(
            st.integers(-1, 9) if name in COUNTS else durations if name in WITHINS else st.just(("keep",))
        )
        without = replace(policy, **{name: Duration() if name in WITHINS else () if name == "tags" else 0})
        more = replace(policy, **{name: value})
        assert gone(points, more, around) <= gone(points, without, around)

    @CALM
    @given(fleets(), st.randoms(use_true_random=False))
    def test_neither_order_nor_a_second_asking_makes_a_difference(self, fleet: Any, shuffle: random.Random) -> None:
        points, policy, around = fleet
        made = plan_cleanup(points, PolicySet(policy), NOW, around)
        mixed = shuffle.sample(points, len(points))
        assert plan_cleanup([*mixed, *mixed[:3]], PolicySet(policy), NOW, around) == made

    @CALM
    @given(fleets())
    def test_a_second_run_deletes_nothing_new(self, fleet: Any) -> None:
        points, policy, around = fleet
        deleted = gone(points, policy, around)
        assert gone([each for each in points if each.arn not in deleted], policy, around) == set()

    @CALM
    @given(fleets())
    def test_an_alarm_keeps_all(self, fleet: Any) -> None:
        points, policy, around = fleet
        assert plan_cleanup(points, PolicySet(policy), NOW, around, alarms=["wrong"]).delete == ()

    @CALM
    @given(fleets())
    def test_nothing_untested_goes_that_no_newer_proof_replaces(self, fleet: Any) -> None:
        points, policy, around = fleet
        deleted = gone(points, replace(policy, prove_first=True), around)
        for each in points:
            if each.arn in deleted and each.status in USABLE_STATUSES and each.arn not in around.verdicts:
                newer = [
                    other
                    for other in points
                    if (other.vault_name, other.table_name) == (each.vault_name, each.table_name)
                    and other.created_at >= each.created_at
                    and (proof := around.verdicts.get(other.arn)) is not None
                    and proof.result in (Result.PROVEN, Result.PROVEN_DRIFTING)
                ]
                assert newer or around.attempts.get(each.arn, 0) >= policy.max_proof_attempts
