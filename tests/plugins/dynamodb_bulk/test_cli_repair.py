"""The commands ``diff --changes``, ``repair`` and ``undo``: one after the other, as a person would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_bulk import cli_tools
from dynamodb_bulk.__main__ import main

REGION = ["--region", "us-east-1"]
RESTORED = {"a": "x", "b": "good", "c": "lost"}
LIVE = {"a": "x", "b": "damaged", "d": "new"}


@pytest.fixture(scope="module")
def session() -> Iterator[boto3.Session]:
    with mock_aws():
        yield boto3.Session(region_name="us-east-1")


@pytest.fixture
def dynamodb(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # A session keeps what it parsed to make a client, which takes longer than all that is tested here.
    monkeypatch.setattr(cli_tools.boto3, "Session", lambda **_: session)
    client = session.client("dynamodb")
    for table, content in {"restored": RESTORED, "live": LIVE}.items():
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for name, note in content.items():
            client.put_item(TableName=table, Item={"id": {"S": name}, "note": {"S": note}})
    yield client
    for table in ("restored", "live"):
        client.delete_table(TableName=table)


@pytest.fixture
def changes(dynamodb: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "changes.jsonl"
    assert main(["diff", "restored", "live", *REGION, "--changes", str(path)]) == 1
    capsys.readouterr()
    return path


def content(dynamodb: Any) -> dict[str, str]:
    return {item["id"]["S"]: item["note"]["S"] for item in dynamodb.scan(TableName="live")["Items"]}


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_diff_writes_what_a_repair_reads(changes: Path) -> None:
    header, *lines = map(json.loads, changes.read_text().splitlines())
    assert header == {"changes": 1, "table": "live", "key_names": ["id"], "source": "restored"}
    assert [(line["class"], line["key"]["id"]["S"]) for line in lines] == [
        ("changed", "b"),
        ("missing", "c"),
        ("extra", "d"),
    ]
    assert (lines[0]["old"]["note"], lines[0]["new"]["note"]) == ({"S": "damaged"}, {"S": "good"})


def test_without_apply_nothing_is_written(dynamodb: Any, changes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repair", str(changes), *REGION]) == 0
    text = capsys.readouterr().out
    assert "of 2 chosen items 2 would be written (1 changed, 1 missing)" in text
    assert "dry run" in text
    assert content(dynamodb) == LIVE


def test_repaired_and_undone(dynamodb: Any, changes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undo, outcome = tmp_path / "undo.jsonl", tmp_path / "outcome.jsonl"
    apply = ["--apply", "--undo-file", str(undo), "--outcome", str(outcome), "--json", *REGION]
    assert main(["repair", str(changes), *apply]) == 0
    assert told(capsys)["repaired"] == 2
    assert content(dynamodb) == {**RESTORED, "d": "new"}
    assert [json.loads(line)["outcome"] for line in outcome.read_text().splitlines()] == ["repaired"] * 2

    # Run again, it finds all done; and what was written to the undo file stays there.
    assert main(["repair", str(changes), *apply]) == 0
    assert told(capsys)["already"] == 2
    assert len(undo.read_text().splitlines()) == 3

    again = ["--apply", "--undo-file", str(tmp_path / "redo.jsonl"), *REGION]
    assert main(["undo", str(undo), *REGION]) == 0
    assert content(dynamodb) != LIVE
    assert main(["undo", str(undo), *again]) == 0
    assert content(dynamodb) == LIVE
    assert main(["undo", str(tmp_path / "redo.jsonl"), "--apply", "--undo-file", str(undo), *REGION]) == 0
    assert content(dynamodb) == {**RESTORED, "d": "new"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--class", "extra"], {"a": "x", "b": "damaged"}),
        (["--class", "changed", "--class", "extra"], {"a": "x", "b": "good"}),
        (["--key", '{"id": "c"}'], {**LIVE, "c": "lost"}),
        (["--where", 'old:note = "damaged"'], {**LIVE, "b": "good"}),
    ],
)
def test_what_is_chosen_is_repaired_and_nothing_else(
    dynamodb: Any, changes: Path, tmp_path: Path, options: list[str], expected: dict[str, str]
) -> None:
    undo = ["--apply", "--undo-file", str(tmp_path / "undo")]
    assert main(["repair", str(changes), *undo, *options, *REGION]) == 0
    assert content(dynamodb) == expected


def test_keys_from_a_file_and_keys_without_a_change(
    dynamodb: Any, changes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    keys.write_text('{"id": "b"}\n\n{"id": {"S": "z"}}\n')
    assert main(["repair", str(changes), "--keys", str(keys), "--json", *REGION]) == 0
    found = told(capsys)
    assert (found["planned"], found["keys_without_a_change"]) == (1, ['{"id":{"S":"z"}}'])


def test_what_changed_meanwhile_is_left_and_makes_another_exit_code(
    dynamodb: Any, changes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dynamodb.put_item(TableName="live", Item={"id": {"S": "b"}, "note": {"S": "by a user"}})
    assert main(["repair", str(changes), *REGION]) == 1
    assert main(["repair", str(changes), "--apply", "--undo-file", str(tmp_path / "undo"), *REGION]) == 1
    assert "1 left" in (text := capsys.readouterr().out)
    assert '{"id":{"S":"b"}}: it changed meanwhile: note' in text
    assert content(dynamodb) == {**LIVE, "b": "by a user", "c": "lost"}


def test_a_folder_with_the_parts_of_an_undo_file(
    dynamodb: Any, changes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undo = tmp_path / "undo.jsonl"
    assert main(["repair", str(changes), "--apply", "--undo-file", str(undo), *REGION]) == 0
    header, *lines = undo.read_bytes().splitlines(keepends=True)
    parts = tmp_path / "parts"
    parts.mkdir()
    assert main(["undo", str(parts), *REGION]) == 2
    for number, line in enumerate(lines):
        (parts / f"{number}.jsonl").write_bytes(header + line)
    capsys.readouterr()
    assert main(["undo", str(parts), "--apply", "--undo-file", str(tmp_path / "redo"), "--json", *REGION]) == 0
    assert told(capsys)["repaired"] == 2
    assert content(dynamodb) == LIVE


@pytest.mark.parametrize("parts", [False, True])
def test_what_was_written_last_is_undone_first(dynamodb: Any, changes: Path, tmp_path: Path, parts: bool) -> None:
    """Between two repairs somebody wrote: that is what the undo brings back, not what was there before the first."""
    undo = tmp_path / "undo"
    undo.mkdir()
    for number, stands in enumerate(["damaged", "by a user"]):
        dynamodb.put_item(TableName="live", Item={"id": {"S": "b"}, "note": {"S": stands}})
        assert main(["diff", "restored", "live", *REGION, "--changes", str(changes)]) == 1
        path = undo / (f"{number}.jsonl" if parts else "all.jsonl")
        assert main(["repair", str(changes), "--class", "changed", "--apply", "--undo-file", str(path), *REGION]) == 0
        assert content(dynamodb)["b"] == "good"
    given = undo if parts else undo / "all.jsonl"
    assert main(["undo", str(given), "--apply", "--undo-file", str(tmp_path / "redo"), *REGION]) == 1
    assert content(dynamodb)["b"] == "by a user"


def test_a_file_is_not_written_to_while_it_is_worked_by(
    dynamodb: Any, changes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["undo", str(changes), "--apply", "--undo-file", str(changes), *REGION]) == 2
    assert "another" in capsys.readouterr().err
    assert content(dynamodb) == LIVE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--apply"], "--undo-file"),
        (["--table", "other"], "'live'"),
        (["--key", "b"], "key"),
        (["--where", "note like x"], "filter"),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_written(
    dynamodb: Any, changes: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["repair", str(changes), *options, *REGION]) == 2
    assert said in capsys.readouterr().err
    assert content(dynamodb) == LIVE
