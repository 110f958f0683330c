"""What is proven before it is lost, and what keeps AWS's lifecycle from it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from recovery_retention.durations import Duration
from recovery_retention.plan import Rule
from recovery_retention.planner import CleanupPlan, plan_cleanup
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances, Vault, lifecycle_until
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Depth, Proof, Result

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
POLICY = KeepPolicy(last=2, prove_ahead=Duration(days=3))
PROVEN = Proof(Result.PROVEN)
FAILED = Proof(Result.FAILED)


def point(age: float, expires_in: float | None = None, **changes: Any) -> RecoveryPoint:
    made = RecoveryPoint(
        arn=str(age),
        table_name="orders",
        status="COMPLETED",
        created_at=NOW - dt.timedelta(days=age),
        managed=True,
        vault_name="vault",
        delete_at=None if expires_in is None else NOW + dt.timedelta(days=expires_in),
    )
    return replace(made, **changes)


def planned(points: list[RecoveryPoint], policy: KeepPolicy = POLICY, **around: Any) -> CleanupPlan:
    return plan_cleanup(points, PolicySet(policy), NOW, Circumstances(**around))


def arns(decisions: Any) -> list[str]:
    return [each.point.arn for each in decisions]


class TestOwnDeletions:
    POINTS = [point(age) for age in (1, 2, 3, 4)]

    def test_without_any_proof_nothing_goes_and_the_newest_is_drilled(self) -> None:
        made = planned(self.POINTS)
        assert made.delete == ()
        assert [each.point.arn for each in made.keep if Rule.PROVE_FIRST in each.rules] == ["3", "4"]
        (drill,) = made.drills
        assert (drill.point.arn, drill.by, drill.waiting) == ("1", None, ("3", "4"))
        assert made.rescues == ()

    @pytest.mark.parametrize("result", [Result.PROVEN, Result.PROVEN_DRIFTING])
    def test_a_newer_proof_releases_the_older(self, result: Result) -> None:
        made = planned(self.POINTS, verdicts={"1": Proof(result)})
        assert (arns(made.delete), made.drills) == (["3", "4"], ())

    def test_an_older_proof_does_not(self) -> None:
        points = [*self.POINTS, point(5)]
        made = planned(points, verdicts={"4": PROVEN})
        assert (arns(made.delete), arns(made.drills)) == (["5"], ["1"])
        assert made.drills[0].waiting == ("3",)

    def test_a_shallow_proof_does_not(self) -> None:
        shallow = {"1": Proof(Result.PROVEN, Depth.SAMPLED)}
        assert arns(planned(self.POINTS, verdicts=shallow).drills) == ["1"]
        enough = replace(POLICY, min_depth=Depth.SAMPLED)
        assert planned(self.POINTS, enough, verdicts=shallow).drills == ()

    @pytest.mark.parametrize(("attempts", "drilled"), [(2, ["1"]), (3, ["2"])])
    def test_one_that_no_drill_proves_deep_enough_is_not_drilled_for_ever(
        self, attempts: int, drilled: list[str]
    ) -> None:
        shallow = {"1": Proof(Result.PROVEN, Depth.SAMPLED)}
        made = planned(self.POINTS, verdicts=shallow, attempts={"1": attempts})
        assert (made.delete, arns(made.drills)) == ((), drilled)
        worn = planned(self.POINTS, verdicts=shallow, attempts={"1": 3, "2": 3, "3": 3, "4": 3})
        assert (worn.drills, "1" in arns(worn.keep)) == ((), True)

    def test_a_failed_one_is_bad_and_the_next_ones_turn_comes(self) -> None:
        made = planned([*self.POINTS, point(5)], verdicts={"1": FAILED, "3": FAILED})
        assert arns(made.drills) == ["2"]
        assert arns(made.delete) == ["3"]
        assert made.delete[0].approval == "It is known to be bad: its drill FAILED."

    @pytest.mark.parametrize(("attempts", "drilled"), [(2, ["1"]), (3, ["2"])])
    def test_so_many_attempts_make_it_bad(self, attempts: int, drilled: list[str]) -> None:
        points = [*self.POINTS, point(5)]
        made = planned(points, attempts={"1": attempts}, verdicts={"1": Proof(Result.UNPROVEN)})
        assert arns(made.drills) == drilled

    def test_all_bad_ones_are_for_a_person(self) -> None:
        made = planned(self.POINTS, verdicts={each.arn: FAILED for each in self.POINTS})
        assert (arns(made.delete), made.drills) == (["3", "4"], ())
        assert all("FAILED" in (each.approval or "") for each in made.delete)

    def test_while_a_drill_runs_no_other_is_ordered(self) -> None:
        made = planned(self.POINTS, in_use={"2"})
        assert (made.delete, made.drills) == ((), ())

    def test_it_can_be_switched_off(self) -> None:
        made = planned(self.POINTS, replace(POLICY, prove_first=False))
        assert (arns(made.delete), made.drills) == (["3", "4"], ())

    def test_where_nothing_is_about_to_be_lost_nothing_is_drilled(self) -> None:
        assert planned(self.POINTS[:2]).drills == ()


class TestLifecycle:
    @pytest.mark.parametrize(("expires_in", "drilled"), [(-0.1, True), (3, True), (3.1, False), (None, False)])
    def test_it_is_asked_for_in_time(self, expires_in: float | None, drilled: bool) -> None:
        made = planned([point(1), point(33, expires_in)])
        assert bool(made.drills) is drilled
        assert bool(made.rescues) is drilled

    def test_the_first_loss_is_the_date_to_be_ready_by(self) -> None:
        made = planned([point(1), point(33, 2), point(34, 1)])
        assert made.drills[0].by == NOW + dt.timedelta(days=1)
        assert made.drills[0].waiting == ("33", "34")

    def test_the_lifecycle_is_extended_with_both_numbers(self) -> None:
        (rescue,) = planned([point(1), point(199, 1, cold_after_days=30)]).rescues
        assert rescue.action == "extend"
        assert rescue.lifecycle == {"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 205}
        assert rescue.to_dict()["lost_at"] == "2026-12-01T12:00:00+00:00"

    @pytest.mark.parametrize(
        ("around", "action"),
        [
            ({}, "extend"),
            ({"may_extend": False}, "hold"),
            ({"vaults": {"vault": Vault(locked=True)}}, "hold"),
            ({"vaults": {"vault": Vault(max_days=35)}}, "hold"),
            ({"vaults": {"vault": Vault(max_days=39)}}, "extend"),
            ({"vaults": {"vault": Vault(locked=True)}, "may_hold": False}, "alarm"),
        ],
    )
    def test_what_is_allowed_is_done(self, around: dict[str, Any], action: str) -> None:
        (rescue,) = planned([point(1), point(33, 1)], **around).rescues
        assert rescue.action == action
        assert "2026-12-01T12:00+00:00" in rescue.text

    def test_what_somebody_else_holds_needs_neither_rescue_nor_drill(self) -> None:
        made = planned([point(1), point(33, 1, legal_holds=("audit",))])
        assert (made.rescues, made.drills) == ((), ())
        both = planned([point(1), point(33, 1, legal_holds=("ours", "audit"))], our_holds={"33": "ours"})
        assert (both.rescues, both.drills, both.releases) == ((), (), ())

    @pytest.mark.parametrize("expires_in", [1, -9])
    def test_what_we_hold_needs_no_rescue_and_is_drilled_until_there_is_a_verdict(self, expires_in: float) -> None:
        points = [point(33, expires_in, legal_holds=("h",))]
        made = planned(points, our_holds={"33": "h"}, attempts={"33": 2})
        assert (made.rescues, made.releases, arns(made.drills)) == ((), (), ["33"])
        bad = planned(points, our_holds={"33": "h"}, attempts={"33": 3})
        assert (bad.drills, bad.releases) == ((), ("h",))

    def test_the_newest_proven_one_under_our_hold_asks_for_a_drill_of_a_newer_one(self) -> None:
        points = [point(1), point(33, -1, legal_holds=("h",))]
        made = planned(points, verdicts={"33": PROVEN}, our_holds={"33": "h"})
        assert (made.rescues, made.releases, arns(made.drills)) == ((), (), ["1"])

    @pytest.mark.parametrize(
        ("around", "released"),
        [
            ({}, ()),
            ({"verdicts": {"33": PROVEN}}, ()),
            ({"verdicts": {"33": FAILED}}, ("h",)),
            ({"attempts": {"33": 3}}, ("h",)),
            ({"verdicts": {"1": PROVEN}}, ("h",)),
            ({"verdicts": {"33": PROVEN, "1": PROVEN}}, ("h",)),
        ],
    )
    def test_one_that_our_hold_kept_beyond_its_expiry_keeps_it_until_there_is_a_verdict(
        self, around: dict[str, Any], released: tuple[str, ...]
    ) -> None:
        points = [point(1), point(33, -2, status="EXPIRED", legal_holds=("h",))]
        made = planned(points, our_holds={"33": "h"}, **around)
        # AWS restores no EXPIRED one: the drill is of one that it does.
        assert (made.releases, arns(made.drills)) == (released, ["1"] if not released else [])
        assert made.delete == ()

    @pytest.mark.parametrize(
        ("verdicts", "released"),
        [
            ({}, ()),
            ({"33": FAILED}, ("h",)),
            ({"1": PROVEN}, ("h",)),
            ({"40": PROVEN}, ()),
            # The only proof there is would be lost.
            ({"33": PROVEN}, ()),
            ({"33": PROVEN, "1": PROVEN}, ("h",)),
        ],
    )
    def test_our_hold_is_released_after_the_verdict(
        self, verdicts: dict[str, Proof], released: tuple[str, ...]
    ) -> None:
        points = [point(1), point(33, 1, legal_holds=("h",)), point(40)]
        assert planned(points, verdicts=verdicts, our_holds={"33": "h"}).releases == released

    def test_a_hold_on_points_of_two_tables_stays_while_one_needs_it(self) -> None:
        points = [point(1), point(33, 1, legal_holds=("h",)), point(34, 1, legal_holds=("h",), table_name="stock")]
        points.append(point(2, table_name="stock"))
        holds = {"33": "h", "34": "h"}
        assert planned(points, verdicts={"1": PROVEN}, our_holds=holds).releases == ()
        assert planned(points, verdicts={"1": PROVEN, "2": PROVEN}, our_holds=holds).releases == ("h",)
        assert planned(points, replace(POLICY, prove_first=False), our_holds=holds).releases == ("h",)

    def test_the_newest_proven_one_is_kept_and_stands_for_nothing_before_a_newer_one_is_proven(self) -> None:
        points = [point(1), point(33, 1), point(40)]
        policy = replace(POLICY, last=1)
        made = planned(points, policy, verdicts={"33": PROVEN})
        assert (arns(made.delete), arns(made.rescues), arns(made.drills)) == ([], ["33"], ["1"])
        assert (made.drills[0].by, made.drills[0].waiting) == (NOW + dt.timedelta(days=1), ("33", "40"))
        assert made.rescues[0].action == "extend"
        assert "the newest that is proven" in made.rescues[0].text

        moved = [points[0], replace(points[1], delete_at=NOW + dt.timedelta(days=6)), points[2]]
        after = planned(moved, policy, verdicts={"33": PROVEN})
        assert (arns(after.delete), after.rescues, after.drills) == (["40"], (), ())
        newer = planned(points, policy, verdicts={"33": PROVEN, "1": PROVEN})
        assert (arns(newer.delete), newer.rescues, newer.drills) == (["33", "40"], (), ())

    def test_an_older_proof_that_lasts_still_stands_for_what_is_older(self) -> None:
        points = [point(1), point(33, 1), point(34), point(40), point(41)]
        verdicts = {"33": PROVEN, "40": PROVEN}
        made = planned(points, replace(POLICY, last=1, keep_proven=2), verdicts=verdicts)
        assert (arns(made.delete), arns(made.rescues), made.drills[0].waiting) == (["41"], ["33"], ("33", "34"))

    @pytest.mark.parametrize(
        ("around", "action", "remedy"),
        [
            ({"may_extend": False}, "hold", "until a newer one is proven"),
            ({"may_extend": False, "may_hold": False}, "alarm", "prove a newer one"),
        ],
    )
    def test_the_newest_proven_one_is_kept_by_what_is_allowed(
        self, around: dict[str, Any], action: str, remedy: str
    ) -> None:
        (rescue,) = planned([point(33, 1)], verdicts={"33": PROVEN}, **around).rescues
        assert rescue.action == action
        assert remedy in rescue.text

    def test_a_proven_one_that_somebody_holds_stays_and_stands(self) -> None:
        points = [point(1), point(33, 1, legal_holds=("audit",)), point(40)]
        made = planned(points, replace(POLICY, last=1), verdicts={"33": PROVEN})
        assert (arns(made.delete), made.rescues, made.drills) == (["40"], (), ())

    def test_where_nothing_has_to_be_proven_first_its_lifecycle_is_left_alone(self) -> None:
        assert planned([point(33, 1)], replace(POLICY, prove_first=False), verdicts={"33": PROVEN}).rescues == ()

    @pytest.mark.parametrize(
        ("cold", "vault", "wanted"),
        [
            (None, Vault(), {"DeleteAfterDays": 10}),
            (1, Vault(), {"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91}),
            (None, Vault(min_days=20), {"DeleteAfterDays": 20}),
            (None, Vault(max_days=9), None),
            (1, Vault(max_days=90), None),
            (None, Vault(locked=True), None),
        ],
    )
    def test_a_lifecycle_stays_within_bounds(self, cold: int | None, vault: Vault, wanted: Any) -> None:
        until = NOW + dt.timedelta(days=4.5)
        assert lifecycle_until(point(5, cold_after_days=cold), until, vault) == wanted
