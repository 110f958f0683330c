"""The command that loads a file: what it prints, writes and returns."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_bulk import cli_load
from dynamodb_bulk.cli_load import LoadBar

SCHEMA = """
version: 1
columns:
  - {name: id, type: string, key: hash}
  - {name: amount, type: number}
"""
REGION = ["--region", "us-east-1"]


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    return tmp_path


def load(text: str, *arguments: str, table: str = "orders") -> int:
    Path("rows.csv").write_text(text)
    parser = argparse.ArgumentParser()
    cli_load.add_arguments(parser)
    given = parser.parse_args(["rows.csv", table, "--schema", "schema.yaml", *REGION, *arguments])
    return cli_load.run(given)


def items(dynamodb: Any) -> dict[str, str]:
    return {item["id"]["S"]: item["amount"]["N"] for item in dynamodb.scan(TableName="orders")["Items"]}


def test_the_last_row_of_a_key_is_loaded_and_every_row_accounted_for(
    dynamodb: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load("id,amount\na,1\nb,2\na,3.50\n") == 0
    assert "rows_in 3 = written 2 + rejected 0 + duplicates 1" in capsys.readouterr().out
    assert items(dynamodb) == {"a": "3.5", "b": "2"}
    assert sorted(path.name for path in folder.iterdir()) == ["rows.csv", "schema.yaml"]


def test_rejected_rows_are_kept_and_named(dynamodb: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load("id,amount\na,1\nb,many\n", "--max-reject-ratio", "0.5", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["written"], told["rejected"], told["rejects_name"]) == (1, 1, "orders.rejects.jsonl")
    (line,) = (folder / "orders.rejects.jsonl").read_text().splitlines()
    assert "many" in line


def test_too_many_of_them_end_it_before_anything_is_written(
    dynamodb: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load("id,amount\na,1\nb,many\n", "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"] == "TooManyRejectsError"
    assert items(dynamodb) == {}
    assert "many" in (folder / "orders.rejects.jsonl").read_text()


@pytest.mark.parametrize(
    ("text", "arguments", "table", "error"),
    [
        ("id,amount\na,1\n", (), "nowhere", "TableMissingError"),
        ("id,price\na,1\n", (), "orders", "HeaderError"),
        ("", (), "orders", "EmptyFileError"),
        ("id,amount\na,1\n", ("--workers", "0"), "orders", "ValueError"),
        ("id,amount\na,1\n", ("--max-wcu", "-1"), "orders", "ValueError"),
        ("id,amount\na,1\n", ("--profile", "nobody"), "orders", "ProfileNotFound"),
        ("id,amount\na,1\n", ("--rejects", "/nowhere/at/all"), "orders", "FileNotFoundError"),
    ],
)
def test_what_goes_wrong_has_a_name_and_a_code_and_leaves_no_empty_file(
    dynamodb: Any,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    arguments: tuple[str, ...],
    table: str,
    error: str,
) -> None:
    assert load(text, *arguments, "--json", table=table) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["error"] == error
    assert told.err.startswith(f"{error}: ")
    assert sorted(path.name for path in folder.iterdir()) == ["rows.csv", "schema.yaml"]


def test_a_checkpoint_is_gone_with_success(dynamodb: Any, folder: Path) -> None:
    assert load("id,amount\na,1\n", "--checkpoint", "kept") == 0
    assert [path for path in (folder / "kept").rglob("*") if path.is_file()] == []


def test_a_folder_with_other_files_is_no_place_for_a_checkpoint(
    dynamodb: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "photos").mkdir()
    (folder / "photos" / "one.jpg").write_bytes(b"stays")
    assert load("id,amount\na,1\n", "--checkpoint", ".") == 2
    assert "name one that is empty" in capsys.readouterr().err
    assert (folder / "photos" / "one.jpg").read_bytes() == b"stays"
    assert sorted(path.name for path in folder.iterdir()) == ["photos", "rows.csv", "schema.yaml"]


@pytest.mark.parametrize("read", ["rows.csv", "./rows.csv", "schema.yaml"])
def test_rejects_do_not_replace_what_is_read(
    dynamodb: Any, folder: Path, capsys: pytest.CaptureFixture[str], read: str
) -> None:
    assert load("id,amount\na,1\n", "--rejects", read) == 2
    assert "which is read; name another file by --rejects" in capsys.readouterr().err
    assert (folder / "rows.csv").read_text() == "id,amount\na,1\n"
    assert (folder / "schema.yaml").read_text() == SCHEMA


def test_a_file_in_s3_is_loaded_like_one_on_disk(
    dynamodb: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="orders-in")
    s3.put_object(Bucket="orders-in", Key="rows.csv", Body=b"id,amount\nz,26\n")
    parser = argparse.ArgumentParser()
    cli_load.add_arguments(parser)
    options = ["--schema", "schema.yaml", *REGION]
    assert cli_load.run(parser.parse_args(["s3://orders-in/rows.csv", "orders", *options])) == 0
    assert items(dynamodb) == {"z": "26"}
    assert cli_load.run(parser.parse_args(["s3://orders-in", "orders", *options])) == 2
    assert "expected s3://bucket/key" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_tells_how_fast_it_goes_and_how_long_it_takes() -> None:
    clock = iter([0.0, 0.05, 10.0, 30.0])
    stream = Terminal()
    bar = LoadBar(stream=stream, clock=lambda: next(clock))
    for written in (1_000, 1_500, 3_000, 9_000):
        bar.written("orders", written, 9_000)
    bar.close()
    first, later, last = (line.strip() for line in stream.getvalue().split("\r")[1:])
    assert first == "orders [##----------------------]  11% 1,000 of 9,000 items written"
    # What stood there before it began is not of its own doing.
    assert later == "orders [########----------------]  33% 3,000 of 9,000 items written, 200/s, about 0:30 left"
    assert last == "orders [########################] 100% 9,000 of 9,000 items written, 267/s"
