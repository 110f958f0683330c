"""The verdict on a recovery point, as its tags tell it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup_flows import point_tags
from backup_flows.evidence import record_verdict
from backup_flows.point_tags import mirror_verdict
from restore_proof.verdict import Depth, Result, Subject, Verdict

TAGS = {"verdict", "verdict-depth", "verdict-decided-at"}
PLAIN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/backup/01571234567890-0a1b2c3d"


@pytest.fixture(scope="module")
def point(shared_flow: Any) -> str:
    """The ARN of a recovery point that carries tags of its own."""
    started = shared_flow.backup.start_backup_job(
        BackupVaultName=shared_flow.resources["vault"],
        ResourceArn=shared_flow.resources["table_arn"],
        IamRoleArn=shared_flow.resources["role_arn"],
        RecoveryPointTags={"managed-by": "dynamodb-backup-proof"},
    )
    shared_flow.wait()
    return str(shared_flow.backup.describe_backup_job(BackupJobId=started["BackupJobId"])["RecoveryPointArn"])


@pytest.fixture
def flow(shared_flow: Any, point: str) -> Any:
    """The stack; verdicts and tags of the test before are gone."""
    shared_flow.forget("recovery-points/")
    shared_flow.backup.untag_resource(ResourceArn=point, TagKeyList=sorted(TAGS))
    return shared_flow


def verdict_on(point: str, now: dt.datetime, **changes: Any) -> Verdict:
    subject = Subject(point, "orders", "orders-restored-20261101-0a1b2c3d", "2026-11-01", "restore_drill/manual__1")
    return replace(Verdict(subject, Result.PROVEN, Depth.FULL, ("Equal.",), now, {"compared": 1}), **changes)


def record(flow: Any, verdict: Verdict, drill_id: str = "one") -> None:
    record_verdict(flow.s3, bucket=flow.bucket, verdict=verdict, drill_id=drill_id)


def mirror(flow: Any, point: str, backup: Any = None) -> bool:
    return mirror_verdict(backup or flow.backup, flow.s3, bucket=flow.bucket, table="orders", recovery_point_arn=point)


def tags(flow: Any, point: str) -> dict[str, str]:
    return dict(flow.backup.list_tags(ResourceArn=point)["Tags"])


@pytest.mark.parametrize("result", Result)
def test_the_tags_tell_result_depth_and_moment_beside_what_is_there(flow: Any, point: str, result: Result) -> None:
    record(flow, verdict_on(point, flow.now(), result=result))
    assert mirror(flow, point) is True
    assert tags(flow, point) == {
        "backup": "daily",
        "managed-by": "dynamodb-backup-proof",
        "verdict": str(result),
        "verdict-depth": "full",
        "verdict-decided-at": f"{flow.now():%Y-%m-%dT%H:%M:%SZ}",
    }


def test_a_later_verdict_takes_the_place_of_an_earlier_one(flow: Any, point: str) -> None:
    record(flow, verdict_on(point, flow.now()))
    mirror(flow, point)
    record(flow, verdict_on(point, flow.now(), result=Result.FAILED), "two")
    mirror(flow, point)
    assert tags(flow, point)["verdict"] == "FAILED"


def test_a_crash_that_takes_no_proof_away_does_not_take_its_tags_away(flow: Any, point: str) -> None:
    record(flow, verdict_on(point, flow.now()))
    record(flow, verdict_on(point, flow.now(), result=Result.FAILED, counts={}), "two")
    assert mirror(flow, point) is True
    assert tags(flow, point)["verdict"] == "PROVEN"


def test_without_a_verdict_nothing_is_told(flow: Any, point: str) -> None:
    assert mirror(flow, point) is False
    assert TAGS.isdisjoint(tags(flow, point))


class Backup:
    """AWS Backup, where something happens right after each tagging."""

    def __init__(self, flow: Any, after: Any) -> None:
        self.flow, self.after, self.calls = flow, after, 0

    def tag_resource(self, **request: Any) -> None:
        self.flow.backup.tag_resource(**request)
        self.calls += 1
        self.after(self.calls)


def test_a_verdict_that_another_drill_records_meanwhile_is_told(flow: Any, point: str) -> None:
    record(flow, verdict_on(point, flow.now()))

    def rival(call: int) -> None:
        if call == 1:
            record(flow, verdict_on(point, flow.now(), result=Result.FAILED), "rival")

    backup = Backup(flow, rival)
    assert mirror(flow, point, backup) is True
    assert (backup.calls, tags(flow, point)["verdict"]) == (2, "FAILED")


def test_verdicts_without_end_are_left_to_the_drills_that_make_them(flow: Any, point: str) -> None:
    record(flow, verdict_on(point, flow.now()))

    def rival(call: int) -> None:
        later = flow.now() + dt.timedelta(seconds=call)
        record(flow, verdict_on(point, later), f"rival-{call}")

    backup = Backup(flow, rival)
    assert mirror(flow, point, backup) is False
    assert backup.calls == point_tags.MAX_LOOKS


class Refusing:
    """AWS Backup that fails every call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, 0

    def tag_resource(self, **_: Any) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "TagResource"),
        ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "gone"}}, "TagResource"),
        OSError("no network"),
    ],
    ids=["no right", "the point is gone", "no network"],
)
def test_what_can_not_be_tagged_fails_nothing(flow: Any, point: str, error: Exception) -> None:
    record(flow, verdict_on(point, flow.now()))
    backup = Refusing(error)
    assert mirror(flow, point, backup) is False
    assert backup.calls == 1


def test_a_verdict_that_can_not_be_read_fails_nothing(flow: Any, point: str) -> None:
    record(flow, verdict_on(point, flow.now()))
    key = next(key for key in flow.keys("recovery-points/") if key.endswith("/verdict.json"))
    flow.s3.put_object(Bucket=flow.bucket, Key=key, Body=b"{}")
    assert mirror(flow, point) is False
    assert TAGS.isdisjoint(tags(flow, point))


def test_a_plain_dynamodb_backup_is_not_even_tried(flow: Any) -> None:
    record(flow, verdict_on(PLAIN, flow.now()))
    backup = Refusing()
    assert mirror(flow, PLAIN, backup) is False
    assert backup.calls == 0
