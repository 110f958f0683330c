"""Appending to a chain of evidence: many at once, and dying at every step."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import jsonschema
import moto.s3.urls
import pytest
from botocore.exceptions import ClientError
from moto.s3.models import S3Backend

from backup_flows import chain
from backup_flows.chain import ChainContentionError
from backup_flows.evidence import record_evidence
from backup_flows.keys import drill_verdict_key, verdict_key
from local_aws import mock_aws
from restore_proof.__main__ import main
from restore_proof.chain import ChainReport, head_key, verify_chain
from restore_proof.chain_sources import BucketSource
from restore_proof.evidence import Drill, pack_schema, read_pack
from restore_proof.verdict import Depth, Result, Subject, Verdict

BUCKET, TABLE = "evidence-bucket", "orders"
ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:0f1e"
NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
HEAD = head_key(TABLE)
PARALLEL = 20


class Died(BaseException):
    """The process died: nothing that it does catches this."""


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def record(s3: Any, drill_id: str, **changes: Any) -> Verdict:
    verdict = Verdict(
        Subject(ARN, TABLE, f"{TABLE}-restored", "2026-11-03", "dag/run"),
        Result.PROVEN,
        Depth.FULL,
        ("All is right.",),
        NOW,
        {"proven": 3},
    )
    drill = Drill(drill_id, "admin", {}, {}, [], {})
    return record_evidence(s3, bucket=BUCKET, verdict=verdict, drill=drill, written_at=NOW, **changes)


def verified(s3: Any) -> ChainReport:
    return verify_chain(BucketSource(s3, BUCKET, TABLE), TABLE, diffs=True)


def document(s3: Any, key: str) -> dict[str, Any]:
    return dict(json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()))


def pack_of(s3: Any, drill_id: str) -> dict[str, Any]:
    return document(s3, f"evidence/{TABLE}/2026-11-03-{drill_id}/pack.json")


class Between:
    """S3 where something happens before or after chosen writes.

    Args:
        s3: the real one.
        key_ends: which writes are meant.
        before: is called with the number of the write before it is made; may raise instead.
        after: the same when it was made.
    """

    def __init__(
        self,
        s3: Any,
        key_ends: str,
        before: Callable[[int], None] = lambda _: None,
        after: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.s3, self.key_ends, self.before, self.after, self.writes = s3, key_ends, before, after, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.s3, name)

    def put_object(self, **request: Any) -> Any:
        if not request["Key"].endswith(self.key_ends):
            return self.s3.put_object(**request)
        self.writes += 1
        self.before(self.writes)
        answer = self.s3.put_object(**request)
        self.after(self.writes)
        return answer


def test_fifty_drills_make_one_chain_and_the_command_reads_it(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(50):
        record(s3, f"drill{number}")
    report = verified(s3)
    assert (report.is_whole, len(report.verified)) == (True, 50)
    command = ["verify-chain", "--bucket", BUCKET, "--table", TABLE]
    assert main(command) == 0
    assert "whole: 50 packs of orders" in capsys.readouterr().out
    key = f"evidence/{TABLE}/2026-11-03-drill19/pack.json"
    content = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=key, Body=content.replace(b"PROVEN", b"PROVEM", 1))
    assert main(command) == 1
    assert capsys.readouterr().out.startswith(f"broken: Pack 20, {key}, was changed")
    assert main([*command[:-1], "no-such-table"]) == 2
    assert main(["verify-chain", "--bucket", "no-such-bucket", "--table", TABLE]) == 2


def test_twenty_drills_at_once_do_not_fork_the_chain(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # moto loads this module anew for each request, for a moment without it: that is no race of ours.
    monkeypatch.setattr(S3Backend, "_url_module", moto.s3.urls)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(PARALLEL) as pool:
            drills = [f"drill{number}" for number in range(PARALLEL)]
            list(pool.map(lambda drill: record(s3, drill), drills))
    finally:
        sys.setswitchinterval(interval)
    report = verified(s3)
    assert (report.broken, report.unlinked, report.abandoned) == (None, {}, ())
    assert sorted(report.verified) == sorted(f"evidence/{TABLE}/2026-11-03-{drill}/pack.json" for drill in drills)
    for drill in drills:
        jsonschema.validate(pack_of(s3, drill), pack_schema())


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_lost_race_is_run_again(s3: Any, times: int) -> None:
    def rival(move: int) -> None:
        if move <= times:
            record(s3, f"rival{move}")

    raced = Between(s3, HEAD, rival)
    record(raced, "own")
    assert raced.writes == times + 1
    assert verified(s3).is_whole
    assert pack_of(s3, "own")["position"] == times + 1


STEPS = {
    "before it takes its place": ("pack.json", 1, "before"),
    "before the pack": ("pack.json", 2, "before"),
    "between pack and head": (HEAD, 1, "before"),
    "after the head": (HEAD, 1, "after"),
    "after the report": ("report.html", 1, "after"),
    "between its verdict and the one that holds": (verdict_key(TABLE, ARN), 1, "before"),
}


@pytest.mark.parametrize("rivals", [0, 2], ids=["alone", "overtaken"])
@pytest.mark.parametrize(("key_ends", "number", "when"), STEPS.values(), ids=STEPS.keys())
def test_a_drill_that_dies_at_any_step_is_repaired_by_its_retry(
    s3: Any, key_ends: str, number: int, when: str, rivals: int
) -> None:
    record(s3, "earlier")

    def die(write: int) -> None:
        if write == number:
            raise Died

    with pytest.raises(Died):
        record(Between(s3, key_ends, **{when: die}), "own")
    for rival in range(rivals):
        record(s3, f"rival{rival}")
    died = verified(s3)
    assert died.broken is None
    again = record(s3, "own")
    report = verified(s3)
    assert (report.broken, report.unlinked) == (None, {})
    assert len(report.verified) == len(died.verified) + 1
    assert document(s3, verdict_key(TABLE, ARN)) == again.to_dict()
    assert document(s3, drill_verdict_key(TABLE, ARN, "2026-11-03", "own")) == again.to_dict()
    assert again.evidence is not None
    page = again.evidence.removeprefix(f"s3://{BUCKET}/")
    assert b"PROVEN" in s3.get_object(Bucket=BUCKET, Key=page)["Body"].read()


def test_a_pack_that_never_got_into_the_chain_is_named_until_the_retry(s3: Any) -> None:
    def die(_write: int) -> None:
        raise Died

    record(s3, "earlier")
    with pytest.raises(Died):
        record(Between(s3, HEAD, die), "own")
    own = f"evidence/{TABLE}/2026-11-03-own/pack.json"
    assert list(verified(s3).unlinked) == [own]
    record(s3, "own")
    assert verified(s3).abandoned == (own,)
    assert verified(s3).is_whole


@pytest.mark.parametrize("overtaken", [0, 1, 3])
def test_a_head_that_was_moved_though_the_answer_got_lost_is_not_moved_twice(s3: Any, overtaken: int) -> None:
    """The client repeats the write, which S3 then refuses; others may have appended meanwhile."""
    record(s3, "earlier")
    refused = ClientError({"Error": {"Code": "PreconditionFailed", "Message": ""}}, "PutObject")

    def lose_the_answer(write: int) -> None:
        if write == 1:
            for rival in range(overtaken):
                record(s3, f"rival{rival}")
            raise refused

    lost = Between(s3, HEAD, after=lose_the_answer)
    record(lost, "own")
    assert lost.writes == 1
    report = verified(s3)
    assert (report.is_whole, len(report.verified)) == (True, 2 + overtaken)
    assert pack_of(s3, "own")["position"] == 2


def test_two_processes_of_one_drill_spoil_nothing(s3: Any) -> None:
    """A worker that was given up for dead comes back while the retry is at work."""

    def come_back(move: int) -> None:
        if move == 1:
            record(s3, "own")

    record(Between(s3, HEAD, come_back), "own")
    report = verified(s3)
    assert (report.is_whole, len(report.verified)) == (True, 2)


def test_a_head_that_never_rests_is_an_error_that_names_it(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "MAX_CHAIN_TRIES", 5)

    def rival(move: int) -> None:
        record(s3, f"rival{move}")

    raced = Between(s3, HEAD, rival)
    with pytest.raises(ChainContentionError, match=HEAD):
        record(raced, "own")
    assert raced.writes == 5


def test_an_error_of_s3_is_not_taken_for_a_lost_race(s3: Any) -> None:
    def refuse(_write: int) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")

    with pytest.raises(ClientError, match="AccessDenied"):
        record(Between(s3, HEAD, refuse), "own")


def test_the_file_of_differences_is_vouched_for(s3: Any, tmp_path: Any) -> None:
    diff = tmp_path / "diff.jsonl"
    diff.write_bytes(b'{"kind": "missing"}\n')
    record(s3, "own", diff=diff)
    assert verified(s3).is_whole
    assert read_pack(s3.get_object(Bucket=BUCKET, Key=verified(s3).verified[0])["Body"].read())["diff_sha256"]
    s3.put_object(Bucket=BUCKET, Key=f"evidence/{TABLE}/2026-11-03-own/diff.jsonl", Body=b"")
    assert [str(each.fault) for each in verified(s3).diffs] == ["diff_changed"]
