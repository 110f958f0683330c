from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from backup_flows import fingerprints
from backup_flows.defaults import SCAN_LIMIT
from backup_flows.fingerprints import ScanDeadlineError
from backup_flows.scan_parts import (
    MAX_PARTS,
    PARTS_AT_ONCE,
    Part,
    PartMissingError,
    PartUnreadableError,
    merge_parts,
    plan_parts,
    record_unreadable,
    take_part,
)
from dynamodb_bulk.scan import ScanProgress

PREFIX = "evidence/orders/2026-11-01-0a1b2c3d/restored."
UNIT_BYTES = 4096


def plan(flow, expected_bytes: int = 300, **more: Any) -> list[Part]:
    return plan_parts(
        flow.dynamodb,
        table="orders",
        prefix=PREFIX,
        plan="p0",
        expected_bytes=expected_bytes,
        **{"part_bytes": 100, **more},
    )


def merge(flow, parts: list[Part]) -> Any:
    return merge_parts(flow.s3, bucket=flow.bucket, prefix=PREFIX, parts=parts, clock=flow.now)


@pytest.fixture
def parts(flow) -> list[Part]:
    """The parts of a table of a few items, all of them read."""
    for n in range(20):
        flow.put(str(n))
    planned = plan(flow)
    for part in planned:
        take_part(flow.dynamodb, flow.s3, bucket=flow.bucket, part=part)
    return planned


class TestReadAgain:
    def test_a_part_that_is_read_again_takes_the_place_of_what_was_read_before(self, flow, parts):
        flow.put("99")
        for part in parts:
            take_part(flow.dynamodb, flow.s3, bucket=flow.bucket, part=part)
        assert merge(flow, parts)[0].items == 21

    def test_one_that_can_not_be_read_any_more_does_not_stand_by_what_was_read_before(self, flow, parts):
        """A restore that is made anew is read in the parts that were planned for the one before it."""
        record_unreadable(flow.s3, bucket=flow.bucket, part=parts[1], error=RuntimeError("throttled"))
        with pytest.raises(PartUnreadableError, match=r"part 2 of 3 of table orders .*RuntimeError: throttled"):
            merge(flow, parts)

    def test_one_that_is_killed_while_it_is_read_again_does_not_either(self, flow, parts, monkeypatch):
        def killed(*_: Any, **__: Any) -> None:
            raise SystemExit(143)

        monkeypatch.setattr("backup_flows.scan_parts.take_shard", killed)
        with pytest.raises(SystemExit):
            take_part(flow.dynamodb, flow.s3, bucket=flow.bucket, part=parts[1])
        with pytest.raises(PartMissingError, match=r"part 2 of 3 of table orders was not read"):
            merge(flow, parts)

    def test_one_that_can_be_read_after_all_counts(self, flow, parts):
        record_unreadable(flow.s3, bucket=flow.bucket, part=parts[1], error=RuntimeError("throttled"))
        take_part(flow.dynamodb, flow.s3, bucket=flow.bucket, part=parts[1])
        assert merge(flow, parts)[0].items == 20

    def test_two_processes_that_read_a_part_of_a_moving_table_leave_what_belongs_together(
        self, flow, parts, monkeypatch, tmp_path
    ):
        """The first try still runs, and puts its manifest there right before the second puts its fingerprint."""
        part, real = parts[0], flow.s3.put_object
        raced: list[str] = []

        class Raced:
            def __getattr__(self, name: str) -> Any:
                return getattr(flow.s3, name)

            def put_object(self, **request: Any) -> Any:
                if request["Key"].endswith("shard.json.gz") and not raced:
                    raced.append(request["Key"])
                    for n in range(20):
                        flow.put(str(n), product="moved")
                    take_part(flow.dynamodb, flow.s3, bucket=flow.bucket, part=part)
                return real(**request)

        take_part(flow.dynamodb, Raced(), bucket=flow.bucket, part=part)
        for other in parts[1:]:
            take_part(flow.dynamodb, flow.s3, bucket=flow.bucket, part=other)
        taken, merged = merge(flow, parts)
        with fingerprints.manifest_opener(flow.s3, flow.bucket, taken.prefix, tmp_path)() as manifest:
            assert len(list(fingerprints_of(manifest, merged))) == 20


def fingerprints_of(manifest: Any, merged: Any) -> Any:
    from dynamodb_bulk.fingerprint import read_manifest

    return read_manifest(manifest, like=merged)


class TestLimits:
    def test_a_read_limit_is_shared_by_the_parts_that_are_read_at_the_same_time(self, flow):
        few, many = plan(flow, max_rcu=30.0), plan(flow, expected_bytes=10_000, max_rcu=32.0)
        assert {part.max_rcu for part in few} == {10.0}
        assert {part.max_rcu for part in many} == {32.0 / PARTS_AT_ONCE}
        assert {part.max_rcu for part in plan(flow)} == {None}

    def test_under_a_read_limit_a_part_is_no_larger_than_what_can_be_read_in_its_time(self, flow):
        size, part_bytes = 20 * 1024**3, 2 * 1024**3
        assert len(plan(flow, expected_bytes=size, part_bytes=part_bytes)) == 10
        assert len(plan(flow, expected_bytes=size, part_bytes=part_bytes, max_rcu=10_000.0)) == 10
        limited = plan(flow, expected_bytes=size, part_bytes=part_bytes, max_rcu=100.0)
        seconds = size / len(limited) / UNIT_BYTES / limited[0].max_rcu
        assert seconds < 0.6 * SCAN_LIMIT.total_seconds()

    def test_there_are_never_more_parts_than_airflow_maps(self, flow):
        assert len(plan(flow, expected_bytes=10**15, max_rcu=1.0)) == MAX_PARTS

    def test_a_small_table_is_read_by_one_task_also_under_a_limit(self, flow):
        assert plan(flow, expected_bytes=10**6, part_bytes=2 * 1024**3, max_rcu=10.0) == []


class TestDeadline:
    def progress(self, seconds: float, done: int) -> ScanProgress:
        return ScanProgress(items=5, pages=1, segments_done=done, segments=4, size=2_000_000, seconds=seconds)

    def test_a_scan_says_how_far_it_came_before_airflow_kills_its_task(self):
        meter = fingerprints.ScanMeter("orders part 2 of 3")
        meter(self.progress(SCAN_LIMIT.total_seconds() / 2, 0))
        with pytest.raises(ScanDeadlineError, match=r"orders part 2 of 3.* 5 items, 2\.0 MB.*max_rcu"):
            meter(self.progress((SCAN_LIMIT - dt.timedelta(minutes=1)).total_seconds(), 3))

    def test_one_that_is_done_is_done(self):
        fingerprints.ScanMeter("orders")(self.progress(SCAN_LIMIT.total_seconds(), 4))
