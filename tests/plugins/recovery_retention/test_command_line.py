"""The command that tries a policy out."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from recovery_retention.command_line import main
from recovery_retention.recovery_point import RecoveryPoint

NOW = "2026-11-30T12:00:00+00:00"


def entry(name: str, made: str, **more: Any) -> dict[str, Any]:
    """Return a point as `aws backup list-recovery-points-by-backup-vault` prints it."""
    return {
        "RecoveryPointArn": f"arn:aws:backup:us-east-1:123456789012:recovery-point:{name}",
        "BackupVaultName": "vault",
        "ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
        "ResourceType": "DynamoDB",
        "Status": "COMPLETED",
        "CreationDate": made,
        "BackupSizeInBytes": 1024**3,
        "IsEncrypted": True,
        **more,
    }


POINTS = [
    entry("a", "2026-11-30T05:00:00+00:00", Verdict="PROVEN"),
    entry("b", "2026-11-29T05:00:00+00:00"),
    entry("c", "2026-11-28T06:00:00+01:00", LegalHolds=["hold-1"]),
    entry("d", "2026-11-27T05:00:00Z", Verdict="FAILED"),
    entry("e", "2026-11-26T05:00:00Z", Tags={"keep": "yes"}),
]


def run(tmp_path: Path, points: Any, policy: str = "last: 1\ntags: [keep]\n", *options: str) -> int:
    (tmp_path / "points.json").write_text(json.dumps(points))
    (tmp_path / "policy.yaml").write_text(policy)
    return main(
        [
            "plan", "--policy", str(tmp_path / "policy.yaml"), "--points", str(tmp_path / "points.json"), "--now", NOW,
            *options,
        ]
    )  # fmt: skip


def test_the_table_says_every_point_with_its_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"RecoveryPoints": POINTS}, "last: 1\ntags: [keep]\n", "--assume-managed") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:6]] == [
        ["delete", "orders", "2026-11-29", "05:00", "b", "unwanted"],
        ["delete", "orders", "2026-11-27", "05:00", "d", "unwanted", "bad"],
        ["blocked", "orders", "2026-11-28", "05:00", "c", "legal_hold"],
        ["keep", "orders", "2026-11-30", "05:00", "a", "last", "floor", "newest_proven", "keep_proven"],
        ["keep", "orders", "2026-11-26", "05:00", "e", "tag"],
    ]
    assert lines[7] == "2 to delete, 1 blocked, 2 kept."
    assert "2 points, 2.000 GB, 0.20 $ a month" in lines[8]
    assert lines[9].startswith("A person has to agree: arn:")
    assert "FAILED" in lines[9]


def test_the_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, POINTS, "last: 1\n", "--assume-managed", "--format", "json", "--approve-above", "0") == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["arn"][-1] for each in document["delete"]] == ["b", "d", "e"]
    assert document["saving"]["monthly_dollars"] == 0.3
    assert len(document["approval"]) == 2
    assert document["now"] == NOW


def test_points_that_do_not_say_whose_they_are_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, POINTS) == 0
    assert "0 to delete, 0 blocked, 5 kept." in capsys.readouterr().out


def test_what_is_to_be_proven_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [
        entry("new", "2026-11-29T05:00:00Z"),
        entry("old", "2026-10-29T05:00:00Z", CalculatedLifecycle={"DeleteAt": "2026-12-01T05:00:00Z"}),
    ]
    assert run(tmp_path, points, "last: 1\n", "--assume-managed") == 0
    told = capsys.readouterr().out
    assert "Prove first: arn:aws:backup:us-east-1:123456789012:recovery-point:new, by 2026-12-01 05:00; 1 wait" in told
    assert "Extend: arn:aws:backup:us-east-1:123456789012:recovery-point:old: AWS deletes it on 2026-12-01" in told


def test_a_locked_vault_is_told_with_the_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [
        entry("new", "2026-11-29T05:00:00Z", Verdict="PROVEN"),
        entry("old", "2026-10-29T05:00:00Z", CalculatedLifecycle={"DeleteAt": "2026-12-20T05:00:00Z"}),
    ]
    document = {"RecoveryPoints": points, "Vaults": {"vault": {"Locked": True}}}
    assert run(tmp_path, document, "last: 1\n", "--assume-managed") == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("blocked"))
    assert line.split()[-2:] == ["locked", "2026-12-20"]


def test_a_wrong_inventory_is_an_alarm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [*POINTS, entry("future", "2026-12-24T05:00:00Z")]
    assert run(tmp_path, points, "last: 1\n", "--assume-managed") == 3
    told = capsys.readouterr().out
    assert "Alarm: The clock is behind" in told
    assert "0 to delete" in told


def test_tables_have_their_own_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = "default: {last: 1, prove_first: false}\ntables:\n  orders: {last: -1}\n"
    assert run(tmp_path, POINTS, policy, "--assume-managed") == 0
    assert "0 to delete, 0 blocked, 5 kept." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("points", "policy", "message"),
    [
        (POINTS, "dialy: 1\n", "policy.yaml: dialy: not known"),
        (POINTS, "default: {last: 1}\ntables: {orders: {floor: 0}}\n", "policy.yaml: tables.orders: floor must be 1"),
        (POINTS, "default: {last: 1}\ndaily: 3\n", "daily stands beside default"),
        (POINTS, "- last\n", "is no mapping"),
        (POINTS, "last: [\n", "policy.yaml: can't be read"),
        ({}, "last: 1\n", "no list RecoveryPoints"),
        ([entry("a", "yesterday")], "last: 1\n", "RecoveryPoints[0]: 'yesterday' is no moment"),
        ([entry("a", "2026-11-30T05:00:00")], "last: 1\n", "RecoveryPoints[0]: '2026-11-30T05:00:00' has no time zone"),
        ([entry("a", NOW, Verdict="GOOD")], "last: 1\n", "RecoveryPoints[0]: 'GOOD'"),
        ([{"Status": "COMPLETED"}], "last: 1\n", "RecoveryPoints[0]: AWS Backup gave no ResourceArn"),
        (["text"], "last: 1\n", "RecoveryPoints[0]"),
        ([entry("a", NOW), entry("a", "2026-11-29T05:00:00Z")], "last: 1\n", "two different recovery points"),
    ],
)
def test_a_mistake_is_told_with_file_and_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], points: Any, policy: str, message: str
) -> None:
    assert run(tmp_path, points, policy) == 2
    told = capsys.readouterr()
    assert (message in told.err, told.out) == (True, "")


def test_without_now_the_clock_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "points.json").write_text(json.dumps(POINTS))
    (tmp_path / "policy.yaml").write_text("last: 1")
    arguments = ["plan", "--policy", str(tmp_path / "policy.yaml"), "--points", str(tmp_path / "points.json")]
    moment = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    assert main([*arguments, "--format", "json"], clock=lambda: moment) == 0
    assert json.loads(capsys.readouterr().out)["now"] == moment.isoformat()


def test_a_point_carries_what_aws_says_of_lifecycle_tags_and_holds() -> None:
    answer = entry(
        "a",
        "",
        CreationDate=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        Lifecycle={"MoveToColdStorageAfterDays": -1, "DeleteAfterDays": 35},
        CalculatedLifecycle={"DeleteAt": dt.datetime(2026, 12, 6, tzinfo=dt.UTC)},
    )
    point = RecoveryPoint.from_api(answer, managed=True, tags={"b": "2", "a": "1"}, legal_holds=["y", "x"])
    assert (point.tags, point.legal_holds) == ((("a", "1"), ("b", "2")), ("x", "y"))
    assert (point.cold_after_days, point.cold_at) == (None, None)
    assert point.delete_at == dt.datetime(2026, 12, 6, tzinfo=dt.UTC)
