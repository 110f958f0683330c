"""Verdicts, and that a proof can't end without one."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from dynamodb_bulk.compare import Comparison, Outcome, judge
from dynamodb_bulk.fingerprint import FingerprintBuilder
from restore_proof.verdict import (
    Depth,
    Proof,
    RestoreNotProvenError,
    Result,
    Subject,
    Verdict,
    VerdictFormatError,
    fail_closed,
    verdict_from_comparison,
)

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
SUBJECT = Subject(
    recovery_point_arn="arn:aws:backup:us-east-1:123456789012:recovery-point:0f1e",
    table_name="orders",
    restored_table_name="orders-restored-20261103-0a1b2c3d",
    as_of="2026-11-03",
    run="orders_backup_restore/manual__1",
)


def verdict(result: Result = Result.PROVEN, depth: Depth = Depth.FULL, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "subject": SUBJECT,
        "result": result,
        "depth": depth,
        "reasons": ("All 3 items came back.",),
        "decided_at": NOW,
        "counts": {"compared": 3, "missing": None},
        "evidence": "s3://bucket/evidence/",
    }
    return Verdict(**fields | changes)


def comparison(outcome: Outcome) -> Comparison:
    empty = FingerprintBuilder(["id"], buckets=1).build()
    made = judge(empty, empty, empty)
    return Comparison(**{**made.__dict__, "outcome": outcome, "reasons": ("said by the comparison",)})


class TestLabels:
    @pytest.mark.parametrize(
        ("result", "depth", "label"),
        [
            (Result.PROVEN, Depth.FULL, "PROVEN"),
            (Result.PROVEN, Depth.SAMPLED, "PROVEN@sampled"),
            (Result.PROVEN_DRIFTING, Depth.FULL, "PROVEN_DRIFTING"),
            (Result.FAILED, Depth.SCHEMA, "FAILED@schema"),
        ],
    )
    def test_alone_means_full(self, result: Result, depth: Depth, label: str) -> None:
        assert Proof(result, depth).label == label
        assert verdict(result, depth).to_dict()["label"] == label

    def test_depths_are_ranked_and_say_what_they_can_not_see(self) -> None:
        assert sorted(Depth, key=lambda depth: depth.rank) == [Depth.SCHEMA, Depth.CANARY, Depth.SAMPLED, Depth.FULL]
        assert len({depth.blind_to for depth in Depth}) == len(Depth)


class TestStoredVerdict:
    @pytest.mark.parametrize("result", Result)
    @pytest.mark.parametrize("depth", Depth)
    def test_comes_back_as_it_was(self, result: Result, depth: Depth) -> None:
        assert Verdict.from_json(verdict(result, depth).to_json()) == verdict(result, depth)

    def test_time_is_stored_in_utc(self) -> None:
        local = NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))
        stored = verdict(decided_at=local).to_json()
        assert json.loads(stored)["decided_at"] == "2026-11-03T12:00:00+00:00"
        assert Verdict.from_json(stored).decided_at == NOW

    def test_a_time_without_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            verdict(decided_at=NOW.replace(tzinfo=None))

    @pytest.mark.parametrize(
        "change",
        [
            {"version": 2}, {"format": "other"}, {"result": "FINE"}, {"depth": "deep"}, {"reasons": None},
            {"decided_at": "yesterday"}, {"decided_at": "2026-11-03T12:00:00"}, {"counts": 3}, {"decided_at": None},
        ],
    )  # fmt: skip
    def test_a_changed_one_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(VerdictFormatError):
            Verdict.from_json(json.dumps(verdict().to_dict() | change).encode())

    @pytest.mark.parametrize("data", [b"", b"PROVEN", b"[]", b"{}", b'"x"', b"null"])
    def test_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(VerdictFormatError):
            Verdict.from_json(data)


class TestFromComparison:
    @pytest.mark.parametrize(
        ("outcome", "result"),
        [
            (Outcome.EQUAL, Result.PROVEN),
            (Outcome.EQUAL_DRIFTING, Result.PROVEN_DRIFTING),
            (Outcome.DIFFERENT, Result.FAILED),
            (Outcome.UNDECIDED, Result.UNPROVEN),
        ],
    )
    def test_each_outcome_has_its_result(self, outcome: Outcome, result: Result) -> None:
        made = verdict_from_comparison(comparison(outcome), SUBJECT, decided_at=NOW, evidence="s3://e")
        assert (made.result, made.depth, made.subject, made.evidence) == (result, Depth.FULL, SUBJECT, "s3://e")
        assert made.reasons == ("said by the comparison",)

    @pytest.mark.parametrize("outcome", Outcome)
    def test_an_alarm_fails_every_outcome(self, outcome: Outcome) -> None:
        made = verdict_from_comparison(comparison(outcome), SUBJECT, decided_at=NOW, alarms=["index lost"])
        assert made.result is Result.FAILED
        assert made.reasons[-1] == "index lost"

    def test_counts_are_taken_over(self) -> None:
        made = verdict_from_comparison(comparison(Outcome.EQUAL), SUBJECT, decided_at=NOW)
        assert made.counts["compared"] == 0
        assert set(made.counts) >= {"missing", "extra", "changed", "unverifiable", "items_restored"}

    def test_every_outcome_is_known(self) -> None:
        results = {verdict_from_comparison(comparison(outcome), SUBJECT, decided_at=NOW).result for outcome in Outcome}
        assert results == set(Result)


class TestRaising:
    @pytest.mark.parametrize("result", [Result.PROVEN, Result.PROVEN_DRIFTING])
    def test_a_proven_one_does_not_raise(self, result: Result) -> None:
        made = verdict(result)
        assert made.is_proven
        made.raise_unless_proven()

    @pytest.mark.parametrize("result", [Result.FAILED, Result.UNPROVEN])
    def test_any_other_does_and_says_where_the_report_is(self, result: Result) -> None:
        made = verdict(result, reasons=("1 missing.",))
        assert not made.is_proven
        with pytest.raises(RestoreNotProvenError) as caught:
            made.raise_unless_proven()
        message = str(pickle.loads(pickle.dumps(caught.value)))
        assert message == (
            f"The restore of table 'orders' is {result}: 1 missing. The report is at s3://bucket/evidence/."
        )


class TimeLimit(BaseException):
    """Stands for what ends a task from outside, and is no ordinary error."""


class TestFailClosed:
    def run(self, validate: Callable[[], Any], recorded: list[Verdict], depth: Depth = Depth.FULL) -> Verdict:
        return fail_closed(validate, subject=SUBJECT, record=recorded.append, clock=lambda: NOW, depth=depth)

    @pytest.mark.parametrize("result", Result)
    def test_a_verdict_is_recorded_and_returned(self, result: Result) -> None:
        recorded: list[Verdict] = []
        assert self.run(lambda: verdict(result), recorded) == verdict(result)
        assert recorded == [verdict(result)]

    @pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt(), TimeLimit("too slow")])
    def test_a_crash_leaves_failed_and_goes_on(self, error: BaseException) -> None:
        recorded: list[Verdict] = []

        def crash() -> Verdict:
            raise error

        with pytest.raises(type(error)) as caught:
            self.run(crash, recorded, Depth.SAMPLED)
        assert caught.value is error
        (left,) = recorded
        assert (left.result, left.subject, left.decided_at) == (Result.FAILED, SUBJECT, NOW)
        assert left.depth is Depth.SAMPLED
        assert f"{type(error).__name__}: {error}" in left.reasons[0]

    @pytest.mark.parametrize("returned", [None, True, "PROVEN"])
    def test_a_validator_that_says_nothing_leaves_failed(self, returned: Any) -> None:
        recorded: list[Verdict] = []
        with pytest.raises(TypeError, match="not a verdict"):
            self.run(lambda: returned, recorded)
        assert [left.result for left in recorded] == [Result.FAILED]

    def test_when_nothing_can_be_recorded_the_first_error_goes_on_and_tells_it(self) -> None:
        def crash() -> Verdict:
            raise RuntimeError("first")

        def refuse(_: Verdict) -> None:
            raise OSError("bucket gone")

        with pytest.raises(RuntimeError, match="first") as caught:
            fail_closed(crash, subject=SUBJECT, record=refuse, clock=lambda: NOW)
        assert "bucket gone" in caught.value.__notes__[0]

    def test_a_verdict_that_can_not_be_recorded_is_an_error(self) -> None:
        def refuse(_: Verdict) -> None:
            raise OSError("bucket gone")

        with pytest.raises(OSError, match="bucket gone"):
            fail_closed(verdict, subject=SUBJECT, record=refuse, clock=lambda: NOW)
