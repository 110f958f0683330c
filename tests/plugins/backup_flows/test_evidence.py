"""Which of several verdicts on a recovery point holds, also where drills record theirs side by side."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup_flows import evidence
from backup_flows.evidence import VerdictContentionError, hold_verdict, outweighs, read_verdict, record_verdict
from backup_flows.keys import drill_verdict_key, verdict_key
from restore_proof.verdict import Depth, Result, Subject, Verdict

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:0f1e"
BUCKET = "evidence-bucket"
KEY = verdict_key("orders", ARN)


def verdict(result: Result = Result.PROVEN, depth: Depth = Depth.FULL, minute: int = 0, **changes: Any) -> Verdict:
    subject = Subject(ARN, "orders", "orders-restored-20261103-0a1b2c3d", "2026-11-03", "restore_drill/manual__1")
    decided_at = NOW + dt.timedelta(minutes=minute)
    return replace(Verdict(subject, result, depth, ("because",), decided_at, {"compared": 1}), **changes)


def crash(minute: int = 0, result: Result = Result.FAILED) -> Verdict:
    return verdict(result, minute=minute, counts={})


PROVEN, DRIFTING, FAILED = Result.PROVEN, Result.PROVEN_DRIFTING, Result.FAILED

ORDERED = [
    pytest.param(verdict(PROVEN), verdict(FAILED, minute=1), id="a proof, then a look that failed"),
    pytest.param(verdict(FAILED), verdict(PROVEN, minute=1), id="a failure, then a proof"),
    pytest.param(verdict(PROVEN), verdict(DRIFTING, minute=1), id="two proofs of one depth"),
    pytest.param(crash(), verdict(FAILED, minute=1), id="a crash, then a look"),
    pytest.param(verdict(FAILED), crash(minute=1), id="a failure, then a crash"),
    pytest.param(crash(minute=1), verdict(PROVEN), id="a crash after a proof"),
    pytest.param(crash(minute=1, result=Result.UNPROVEN), verdict(DRIFTING), id="nothing bound after a proof"),
    pytest.param(verdict(PROVEN, Depth.SCHEMA, minute=1), verdict(PROVEN), id="a shallower proof after a deeper one"),
    pytest.param(verdict(PROVEN, Depth.SAMPLED), verdict(PROVEN, minute=1), id="a deeper proof after a shallower one"),
    pytest.param(verdict(PROVEN), verdict(FAILED, Depth.SCHEMA, minute=1), id="a deeper proof, then a shallow failure"),
]


@pytest.mark.parametrize(("lighter", "heavier"), ORDERED)
def test_the_order_of_recording_does_not_matter(lighter: Verdict, heavier: Verdict) -> None:
    assert outweighs(heavier, lighter) is True
    assert outweighs(lighter, heavier) is False


def test_of_two_alike_the_one_recorded_last_holds() -> None:
    assert outweighs(verdict(FAILED), verdict(PROVEN)) is True
    assert outweighs(verdict(PROVEN), verdict(FAILED)) is True


@pytest.fixture
def s3(aws: Callable[[str], Any]) -> Any:
    """S3 with an empty bucket."""
    made = aws("s3")
    made.create_bucket(Bucket=BUCKET)
    return made


def record(s3: Any, recorded: Verdict, drill_id: str) -> None:
    record_verdict(s3, bucket=BUCKET, verdict=recorded, drill_id=drill_id)


@pytest.mark.parametrize(("lighter", "heavier"), ORDERED)
@pytest.mark.parametrize("turned", [False, True], ids=["lighter first", "heavier first"])
def test_each_drill_leaves_its_own_and_the_heavier_one_holds(
    s3: Any, lighter: Verdict, heavier: Verdict, turned: bool
) -> None:
    for drill_id, each in [("heavier", heavier), ("lighter", lighter)][:: 1 if turned else -1]:
        record(s3, each, drill_id)
    assert read_verdict(s3, BUCKET, KEY) == heavier
    for drill_id, each in (("lighter", lighter), ("heavier", heavier)):
        assert read_verdict(s3, BUCKET, drill_verdict_key("orders", ARN, "2026-11-03", drill_id)) == each


class Raced:
    """S3 where something happens right before each write of the verdict that holds."""

    def __init__(self, s3: Any, before: Callable[[int], None]) -> None:
        self.s3, self.before, self.writes = s3, before, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.s3, name)

    def put_object(self, **request: Any) -> Any:
        if request["Key"] == KEY:
            self.writes += 1
            self.before(self.writes)
        return self.s3.put_object(**request)


@pytest.mark.parametrize("there", [None, verdict(FAILED)], ids=["no verdict yet", "a failure"])
def test_a_crash_takes_no_proof_away_that_is_recorded_meanwhile(s3: Any, there: Verdict | None) -> None:
    if there is not None:
        record(s3, there, "first")
    proof = verdict(PROVEN, minute=1)
    raced = Raced(s3, lambda write: record(s3, proof, "rival") if write == 1 else None)
    record(raced, crash(minute=2), "crashed")
    assert raced.writes == 1
    assert read_verdict(s3, BUCKET, KEY) == proof


def test_a_failure_is_recorded_over_a_proof_that_was_faster(s3: Any) -> None:
    failure = verdict(FAILED, minute=2)
    raced = Raced(s3, lambda write: record(s3, verdict(PROVEN, minute=1), "rival") if write == 1 else None)
    record(raced, failure, "failed")
    assert raced.writes == 2
    assert read_verdict(s3, BUCKET, KEY) == failure


def test_a_verdict_that_never_rests_is_an_error_that_names_it(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_VERDICT_TRIES", 3)
    raced = Raced(s3, lambda write: record(s3, verdict(FAILED, reasons=(str(write),)), "rival"))
    with pytest.raises(VerdictContentionError, match=KEY):
        record(raced, verdict(PROVEN, minute=1), "own")
    assert raced.writes == 3


def test_an_error_of_s3_is_not_taken_for_a_lost_race(s3: Any) -> None:
    def refuse(_write: int) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")

    with pytest.raises(ClientError, match="AccessDenied"):
        record(Raced(s3, refuse), verdict(), "own")


class Broken:
    """S3 that is lost when one object is written."""

    def __init__(self, s3: Any, key: str) -> None:
        self.s3, self.key = s3, key

    def __getattr__(self, name: str) -> Any:
        return getattr(self.s3, name)

    def put_object(self, **request: Any) -> Any:
        if request["Key"] == self.key:
            raise ClientError({"Error": {"Code": "InternalError", "Message": "lost"}}, "PutObject")
        return self.s3.put_object(**request)


OWN = drill_verdict_key("orders", ARN, "2026-11-03", "own")


@pytest.mark.parametrize("lost", [KEY, OWN], ids=["the one that holds", "the drill's own"])
def test_no_drill_is_over_before_its_verdict_holds(s3: Any, lost: str) -> None:
    """Its own verdict ends a drill: nobody would move the other one after that."""
    record(s3, verdict(PROVEN), "earlier")
    failure = verdict(FAILED, minute=1)
    with pytest.raises(ClientError, match="InternalError"):
        record(Broken(s3, lost), failure, "own")
    assert read_verdict(s3, BUCKET, OWN) is None
    record(s3, failure, "own")
    assert read_verdict(s3, BUCKET, OWN) == read_verdict(s3, BUCKET, KEY) == failure


def test_a_verdict_that_is_on_record_is_made_to_hold_once(s3: Any) -> None:
    record(s3, verdict(PROVEN), "earlier")
    failure = verdict(FAILED, minute=1)
    assert hold_verdict(s3, bucket=BUCKET, verdict=failure) is True
    assert read_verdict(s3, BUCKET, KEY) == failure
    unwritten = Broken(s3, KEY)
    assert hold_verdict(unwritten, bucket=BUCKET, verdict=failure) is False
    assert hold_verdict(unwritten, bucket=BUCKET, verdict=verdict(PROVEN)) is False


@pytest.mark.parametrize("looked", [verdict(PROVEN), verdict(FAILED)], ids=["a proof", "a failure"])
@pytest.mark.parametrize("raced", [False, True], ids=["before", "at once"])
def test_a_drill_that_has_looked_keeps_its_verdict_when_a_lost_try_of_it_crashes(
    s3: Any, looked: Verdict, raced: bool
) -> None:
    crashed = crash(minute=1)
    if raced:
        first = [looked]

        class Overtaken(Broken):
            def put_object(self, **request: Any) -> Any:
                if request["Key"] == self.key and first:
                    record(self.s3, first.pop(), "own")
                return self.s3.put_object(**request)

        kept = record_verdict(Overtaken(s3, OWN), bucket=BUCKET, verdict=crashed, drill_id="own")
    else:
        record(s3, looked, "own")
        kept = record_verdict(s3, bucket=BUCKET, verdict=crashed, drill_id="own")
    assert kept == read_verdict(s3, BUCKET, OWN) == looked
    assert outweighs(crashed, looked) or read_verdict(s3, BUCKET, KEY) == looked


def test_a_crash_gives_way_to_a_look_of_the_same_drill(s3: Any) -> None:
    record(s3, crash(), "own")
    assert record_verdict(s3, bucket=BUCKET, verdict=verdict(minute=1), drill_id="own") == verdict(minute=1)
    assert read_verdict(s3, BUCKET, OWN) == verdict(minute=1)
