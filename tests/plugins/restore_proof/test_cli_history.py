"""Reading a history out of S3, and ``python -m restore_proof history``."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from backup_flows.keys import history_key
from local_aws import mock_aws
from restore_proof.__main__ import main
from restore_proof.history import HistoryFormatError, Record
from restore_proof.history_reader import read_history, tables_with_history

pytestmark = pytest.mark.component

BUCKET = "evidence-bucket"
ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:1"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def put(s3: Any) -> Callable[..., None]:
    """Put the record of a drill into the bucket."""

    def put(table: str, as_of: str, drill_id: str = "0a1b2c3d", **changes: Any) -> None:
        decided = dt.datetime.fromisoformat(f"{as_of}T12:00:00+00:00")
        values: dict[str, Any] = {
            "run": "restore_drill/r",
            "recovery_point_arn": ARN,
            "label": "PROVEN",
            "proven": True,
            "decided_at": decided,
            "backed_up_at": decided - dt.timedelta(hours=7),
            "seconds": {"restore": 90.0},
            "rto_target": 60.0,
            "actual_usd": 0.0125,
        }
        record = Record(table, as_of, drill_id, **values | changes)
        s3.put_object(Bucket=BUCKET, Key=history_key(table, as_of, drill_id), Body=record.to_json())

    return put


def test_a_history_of_many_pages_is_read_whole_and_in_order(s3: Any, put: Callable[..., None]) -> None:
    days = [f"2026-{month:02}-{day:02}" for month in (9, 10) for day in range(1, 13)]
    for day in days:
        put("orders", day)
    put("orders", days[0], "ffffffff")
    put("orders-eu", days[0])
    found = read_history(s3, BUCKET, "orders", page_size=7)
    assert [record.as_of for record in found] == [days[0], *days]
    assert tables_with_history(s3, BUCKET, page_size=1) == ["orders", "orders-eu"]


def test_a_span_has_both_its_ends(s3: Any, put: Callable[..., None]) -> None:
    for day in range(1, 6):
        put("orders", f"2026-11-0{day}")
    found = read_history(s3, BUCKET, "orders", since=dt.date(2026, 11, 2), until=dt.date(2026, 11, 4))
    assert [record.as_of for record in found] == ["2026-11-02", "2026-11-03", "2026-11-04"]


def test_a_record_that_is_none_is_named(s3: Any, put: Callable[..., None]) -> None:
    put("orders", "2026-11-01")
    key = history_key("orders", "2026-11-02", "0a1b2c3d")
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"[]")
    with pytest.raises(HistoryFormatError, match=f"s3://{BUCKET}/{key}"):
        read_history(s3, BUCKET, "orders")


def test_the_command_writes_csv_and_json_alike(put: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    put("orders", "2026-11-01")
    put("stock", "2026-11-02", proven=False, label="FAILED")
    assert main(["history", "--bucket", BUCKET, "--format", "csv"]) == 0
    by_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert main(["history", "--bucket", BUCKET, "--format", "json"]) == 0
    by_json = json.loads(capsys.readouterr().out)
    assert [row["table"] for row in by_json] == ["orders", "stock"]
    assert [row["rto_seconds"] for row in by_json] == [90.0, None]
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in by_json]
    assert by_csv == as_text


def test_the_command_marks_what_misses_its_target(put: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    put("orders", "2026-11-01")
    put("stock", "2026-11-01")
    assert main(["history", "--bucket", BUCKET, "--table", "orders"]) == 0
    head, row, *_, last = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["table", "as", "of", "verdict"]
    assert row.split() == ["orders", "2026-11-01", "PROVEN", "-", "90", "-", "-", "90", "!", "-", "25200", "0.0125"]
    assert last.startswith("1 drills.")
    assert "misses its target (1)" in last


def test_no_history_is_no_error(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--bucket", BUCKET]) == 0
    assert "0 drills." in capsys.readouterr().out


def test_a_bucket_that_is_not_there_is_told(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--bucket", "nobodys-bucket"]) == 2
    assert "NoSuchBucket" in capsys.readouterr().err
