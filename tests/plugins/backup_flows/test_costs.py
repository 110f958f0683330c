"""From what is known before a drill, and after it, to what it uses."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from backup_flows.costs import ASSUMED_TABLE_HOURS, actual_work, expected_work
from restore_proof.costs import Work

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
FIGURES = {"items": 5, "bytes": 999, "capacity_units": 21.5}
BINDING = {"size_bytes": 4096 * 100, "depth": "full", "before": {"figures": FIGURES}}
EXPECTED = Work(restored_bytes=1000, read_units=50.0, table_hours=2.0, s3_puts=1, s3_gets=2)
JOB = {"state": "COMPLETED", "creation_date": (NOW - dt.timedelta(minutes=90)).isoformat(), "job_id": "r"}


class TestExpected:
    def test_reading_costs_what_it_did_at_backup_time(self) -> None:
        work = expected_work(BINDING, point={})
        assert (work.restored_bytes, work.read_units, work.table_hours) == (409_600, 21.5, ASSUMED_TABLE_HOURS)
        assert not work.remarks

    def test_aws_word_on_the_size_and_its_storage_goes_first(self) -> None:
        work = expected_work(BINDING, point={"BackupSizeInBytes": 7, "StorageClass": "COLD"})
        assert (work.restored_bytes, work.from_cold) == (7, True)

    @pytest.mark.parametrize(
        ("changes", "units", "remarks"),
        [
            ({"before": {"figures": {}}}, 100.0, 1),
            ({"before": {}, "depth": "schema"}, 0.0, 0),
            ({"before": {"figures": {"capacity_units": 3}}, "depth": "sampled"}, 3.0, 0),
        ],
    )
    def test_what_was_not_measured_is_reckoned_by_the_size_for_a_full_proof_only(
        self, changes: dict[str, Any], units: float, remarks: int
    ) -> None:
        work = expected_work(BINDING | changes, point={})
        assert work.read_units == units
        assert len(work.remarks) == remarks

    @pytest.mark.parametrize(
        ("settings", "capacity"),
        [
            (None, (None, None)),
            ({"billing_mode": "PAY_PER_REQUEST", "provisioned_throughput": None}, (None, None)),
            ({"billing_mode": "PROVISIONED", "provisioned_throughput": {"read": 5, "write": 6}}, (5, 6)),
        ],
    )
    def test_a_provisioned_table_comes_back_provisioned(self, settings: Any, capacity: Any) -> None:
        work = expected_work(BINDING, point={}, settings=settings)
        assert (work.read_capacity, work.write_capacity) == capacity

    def test_a_size_that_nobody_knows_stays_unknown(self) -> None:
        assert expected_work({"before": {}}, point={}).restored_bytes is None

    def test_the_tables_own_size_stands_in_for_a_size_that_nobody_knows_and_for_no_other(self) -> None:
        work = expected_work({"before": {}}, point={}, table_bytes=4096 * 7)
        assert (work.restored_bytes, work.read_units) == (4096 * 7, 7.0)
        assert "the table's is taken" in work.remarks[0]
        assert expected_work(BINDING, point={}, table_bytes=1) == expected_work(BINDING, point={})


class TestActual:
    def test_it_is_measured(self) -> None:
        figures = {"scan restored": {"capacity_units": 33.0}, "scan before": {"capacity_units": 99.0}}
        work = actual_work(EXPECTED, restore={**JOB, "size_bytes": 2000}, figures=figures, ended_at=NOW)
        assert (work.restored_bytes, work.read_units, work.table_hours) == (2000, 33.0, 1.5)
        assert not work.remarks

    def test_a_proof_that_died_is_counted_as_if_it_had_read_all(self) -> None:
        work = actual_work(EXPECTED, restore=JOB, figures={}, ended_at=NOW)
        assert (work.restored_bytes, work.read_units) == (1000, 50.0)
        assert "not known, so all of it is counted" in work.remarks[0]

    @pytest.mark.parametrize("restore", [{}, {**JOB, "state": "FAILED", "size_bytes": 5}, {**JOB, "state": "ABORTED"}])
    def test_without_a_completed_restore_nothing_was_restored_or_read(self, restore: dict[str, Any]) -> None:
        work = actual_work(EXPECTED, restore=restore, figures={}, ended_at=NOW)
        assert (work.restored_bytes, work.read_units, work.table_hours) == (0, 0.0, 0.0)

    @pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
    @pytest.mark.parametrize(("minutes", "hours"), [(90, 2.0), (180, 3.0)])
    def test_a_restore_that_outlives_the_drill_is_counted_as_expected(
        self, state: str, minutes: int, hours: float
    ) -> None:
        created = (NOW - dt.timedelta(minutes=minutes)).isoformat()
        restore = {"state": state, "creation_date": created, "job_id": "r", "size_bytes": None}
        work = actual_work(replace(EXPECTED, restore_tests=1), restore=restore, figures={}, ended_at=NOW)
        assert (work.restored_bytes, work.read_units, work.table_hours, work.restore_tests) == (1000, 0.0, hours, 1)
        assert work.remarks == (f"The restore was {state} when the drill was over; it is counted as expected.",)

    def test_attempts_that_share_a_restore_pay_for_it_once(self) -> None:
        figures = {"scan restored": {"capacity_units": 33.0}}
        work = actual_work(EXPECTED, restore=JOB, figures=figures, ended_at=NOW, restored_before="0a1b2c3d")
        assert (work.restored_bytes, work.read_units) == (0, 33.0)
        assert work.remarks == ("The restore is counted with the attempt 0a1b2c3d.",)

    @pytest.mark.parametrize(("state", "tests"), [("COMPLETED", 1), ("FAILED", 0)])
    def test_a_restore_test_is_paid_for_when_it_restored(self, state: str, tests: int) -> None:
        expected = expected_work(BINDING, point={}, tested=True)
        work = actual_work(expected, restore={**JOB, "state": state}, figures={}, ended_at=NOW)
        assert work.restore_tests == tests
