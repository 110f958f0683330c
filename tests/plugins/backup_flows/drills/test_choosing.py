"""Which recovery point is the newest, and which tables are most at risk."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from aws_backup.exceptions import UnknownStateError
from backup_flows.drills.choosing import Proofs, newest_usable, risk_order
from backup_flows.drills.errors import NoRecoveryPointError, RecoveryPointNotUsableError
from backup_flows.drills.points import Point, ensure_usable

DAY = dt.timedelta(days=1)
NOON = dt.datetime(2026, 11, 8, 12, tzinfo=dt.UTC)


def point(day: int, *, table: str = "orders", status: str = "COMPLETED", **more: Any) -> Point:
    """Return a point made at noon of a day, counted from the 1st of November."""
    made = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC) + day * DAY
    arn = f"arn:aws:backup:us-east-1:1:recovery-point:{table}-{day}"
    return Point(arn, table, f"arn:aws:dynamodb:us-east-1:1:table/{table}", "vault", status, made, **more)


class TestNewestUsable:
    def test_it_is_the_newest_made_before_the_moment(self):
        assert newest_usable([point(2), point(0), point(1)], table="orders", before=NOON) == point(2)

    def test_one_made_at_the_moment_or_later_does_not_count(self):
        assert newest_usable([point(6), point(7), point(8)], table="orders", before=NOON) == point(6)

    @pytest.mark.parametrize("status", ["CREATING", "PARTIAL", "EXPIRED", "DELETING", "STOPPED"])
    def test_one_that_can_not_be_restored_does_not_count(self, status: str):
        points = [point(1), point(2, status="AVAILABLE"), point(3, status=status)]
        assert newest_usable(points, table="orders", before=NOON) == point(2, status="AVAILABLE")

    @pytest.mark.parametrize(
        ("points", "told"),
        [
            ([], "no vault holds any. Back it up"),
            ([point(9)], "its first one that is still there was made at 2026-11-10T12:00:00"),
            ([point(1, status="EXPIRED"), point(2, status="PARTIAL")], "the 2 made until then are EXPIRED, PARTIAL"),
        ],
    )
    def test_where_there_is_none_it_is_said_what_there_is_instead(self, points, told: str):
        with pytest.raises(NoRecoveryPointError, match="orders has no usable recovery point made before") as refused:
            newest_usable(points, table="orders", before=NOON)
        assert told in str(refused.value)

    def test_a_status_that_nobody_knows_is_no_usable_one(self):
        with pytest.raises(UnknownStateError):
            newest_usable([point(1, status="MELTED")], table="orders", before=NOON)


class TestEnsureUsable:
    @pytest.mark.parametrize(
        ("status", "remedy"),
        [("CREATING", "try again when"), ("EXPIRED", "delete this one by hand"), ("DELETING", "choose another")],
    )
    def test_each_status_has_its_remedy(self, status: str, remedy: str):
        with pytest.raises(RecoveryPointNotUsableError, match=rf"orders is {status}: .*{remedy}"):
            ensure_usable(point(1, status=status))

    def test_what_is_of_no_table_is_refused(self):
        volume = Point("arn:x", "v", "v", "vault", "COMPLETED", NOON)
        with pytest.raises(RecoveryPointNotUsableError, match="no DynamoDB table"):
            ensure_usable(volume)


class TestRiskOrder:
    def order(self, points: list[Point], proofs: dict[str, Proofs]) -> list[str]:
        by_table: dict[str, list[Point]] = {}
        for one in points:
            by_table.setdefault(one.table, []).append(one)
        return [choice.point.arn.rpartition(":")[2] for choice in risk_order(by_table, proofs, before=NOON)]

    def test_never_proven_goes_before_longest_unproven(self):
        points = [point(d, table=name) for name in ("fresh", "stale", "never", "oldest") for d in (1, 3)]
        points.append(point(0, table="oldest"))
        proofs = {
            "fresh": Proofs(NOON - DAY, frozenset(), frozenset()),
            "stale": Proofs(NOON - 30 * DAY, frozenset(), frozenset()),
        }
        assert self.order(points, proofs) == ["oldest-3", "never-3", "stale-3", "fresh-3"]

    def test_points_about_to_be_lost_unproven_come_last_the_soonest_first(self):
        lost = [point(d, delete_at=NOON + hours * dt.timedelta(hours=1)) for d, hours in ((1, 30), (2, 20), (3, 200))]
        assert self.order([*lost, point(5)], {}) == ["orders-5", "orders-2", "orders-1"]

    def test_one_that_a_newer_proof_replaces_or_that_has_a_verdict_is_left(self):
        lost = [point(d, delete_at=NOON + DAY) for d in (1, 2, 3, 4)]
        proven, known = frozenset({lost[1].arn}), frozenset({lost[1].arn, lost[2].arn})
        proofs = {"orders": Proofs(NOON - DAY, proven, known)}
        assert self.order([*lost, point(5)], proofs) == ["orders-5", "orders-4"]

    def test_each_point_is_named_once(self):
        assert self.order([point(1, delete_at=NOON + DAY)], {}) == ["orders-1"]

    def test_a_table_without_a_usable_point_at_that_date_is_left(self):
        points = [point(1, table="gone", status="EXPIRED"), point(9, table="later"), point(1)]
        assert self.order(points, {}) == ["orders-1"]

    def test_every_choice_says_why(self):
        proofs = {"orders": Proofs(NOON, frozenset(), frozenset())}
        (choice,) = risk_order({"orders": [point(1)]}, proofs, before=NOON)
        assert choice.why == "the table was proven last at 2026-11-08T12:00:00+00:00"
