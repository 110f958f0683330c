"""What is said of points by themselves: who may be touched, which is the newest proven, what contradicts itself."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from recovery_retention.plan import (
    Decision,
    InventoryError,
    Reason,
    RetentionPlan,
    Rule,
    distinct,
    newest_first,
    newest_proven,
    status_reason,
    untouchable,
)
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Depth, Proof, Result

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
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


def test_what_others_made_and_what_is_no_tables_is_not_touched() -> None:
    foreign, volume = untouchable(point(1, managed=False)), untouchable(point(1, resource_type="EBS"))
    assert foreign is not None
    assert volume is not None
    assert (foreign.rule, volume.rule) == (Rule.FOREIGN, Rule.NOT_A_TABLE)
    assert untouchable(point(1)) is None


def test_a_status_that_is_not_deletable_is_named() -> None:
    reason = status_reason(point(1, status="CREATING"))
    assert reason.rule is Rule.STATUS
    assert "CREATING" in reason.text


def test_a_point_listed_twice_counts_once_and_one_arn_for_two_is_refused() -> None:
    assert distinct([point(1), point(1)]) == [point(1)]
    with pytest.raises(InventoryError, match="two different recovery points"):
        distinct([point(1, "a"), point(2, "a")])


def test_they_are_ordered_by_table_and_newest_first() -> None:
    points = [point(2, "b"), point(1, "a"), point(2, "a2"), point(3, "c", table_name="baskets")]
    assert [each.arn.rpartition(":")[2] for each in sorted(points, key=newest_first)] == ["c", "a", "a2", "b"]


def test_a_plan_is_json_ready() -> None:
    free_at = NOW + dt.timedelta(days=1)
    decision = Decision(point(1), (Reason(Rule.LOCKED, "Locked."),), free_at=free_at, approval="It is PROVEN.")
    entry = RetentionPlan(keep=(), delete=(), blocked=(decision,)).to_dict()["blocked"][0]
    assert entry["rules"] == ["locked"]
    assert entry["reasons"] == ["Locked."]
    assert entry["free_at"] == free_at.isoformat()
    assert entry["approval"] == "It is PROVEN."


class TestNewestProven:
    def of(self, points: list[RecoveryPoint], verdicts: dict[float, Proof]) -> set[str]:
        by_arn = {point(age).arn: proof for age, proof in verdicts.items()}
        return {arn.rpartition(":")[2] for arn in newest_proven(points, by_arn)}

    def test_it_is_the_newest(self) -> None:
        assert self.of([point(10), point(20), point(30)], {20: PROVEN, 30: PROVEN}) == {"20"}

    @pytest.mark.parametrize("result", [Result.FAILED, Result.UNPROVEN])
    def test_other_verdicts_count_for_nothing(self, result: Result) -> None:
        assert self.of([point(10)], {10: Proof(result)}) == set()

    def test_a_drifting_one_counts_only_where_none_is_proven(self) -> None:
        drifting = Proof(Result.PROVEN_DRIFTING)
        assert self.of([point(10), point(20)], {10: drifting, 20: drifting}) == {"10"}
        assert self.of([point(10), point(20)], {10: drifting, 20: PROVEN}) == {"20"}

    def test_a_deeper_proof_is_not_dropped_for_a_shallower(self) -> None:
        verdicts = {10: Proof(Result.PROVEN, Depth.SAMPLED), 20: PROVEN, 30: PROVEN}
        assert self.of([point(10), point(20), point(30)], verdicts) == {"10", "20"}

    def test_an_expired_one_does_not_stand_in_for_one_that_can_be_restored(self) -> None:
        points = [point(10, status="EXPIRED"), point(20), point(30)]
        assert self.of(points, {10: PROVEN, 20: PROVEN, 30: PROVEN}) == {"10", "20"}
