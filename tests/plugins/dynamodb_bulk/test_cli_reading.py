"""The commands that read tables: what they print, write and return."""

from __future__ import annotations

import argparse
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_bulk import cli_compare, cli_diff, cli_fingerprint, cli_tools
from dynamodb_bulk.fingerprint import Fingerprint, read_manifest
from dynamodb_bulk.scan import ScanProgress

SESSION = boto3.Session
REGION = ["--region", "us-east-1"]


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    # Made once: no test here writes to it.
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        for table, names in {"one": "abc", "same": "cab", "other": "abd"}.items():
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            for name in names:
                note = {"S": "changed" if (table, name) == ("other", "b") else "x"}
                client.put_item(TableName=table, Item={"id": {"S": name}, "note": note})
        yield client


def run(command: ModuleType, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args(arguments))
    return code


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    # A session keeps what it parsed to make a client, which takes longer than all that is tested here.
    monkeypatch.setattr(cli_tools.boto3, "Session", session)


@functools.cache
def session(**options: Any) -> boto3.Session:
    return SESSION(**options)


@pytest.fixture(scope="module")
def taken(dynamodb: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fingerprint and manifest of each table."""
    folder = tmp_path_factory.mktemp("taken")
    for table in ("one", "same", "other"):
        files = ["--output", str(folder / table), "--manifest", str(folder / f"{table}.manifest")]
        assert run(cli_fingerprint, table, *REGION, *files) == 0
    return folder


class TestFingerprint:
    def test_prints_what_it_writes(self, dynamodb: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        output, manifest = tmp_path / "f", tmp_path / "m"
        code = run(
            cli_fingerprint, "one", *REGION, "--json", "--output", str(output), "--manifest", str(manifest),
            "--segments", "2", "--buckets", "64",
        )  # fmt: skip
        told = printed(capsys)
        fingerprint = Fingerprint.from_bytes(output.read_bytes())
        assert code == 0
        assert (told["digest"], told["items"], told["buckets"]) == (fingerprint.digest, 3, 64)
        assert told["bytes"] > 0
        with manifest.open("rb") as source:
            keys = {entry.key for entry in read_manifest(source, like=fingerprint)}
        assert keys == {f'{{"id":{{"S":"{name}"}}}}' for name in "abc"}

    def test_equal_tables_print_one_hash(self, dynamodb: Any, capsys: pytest.CaptureFixture[str]) -> None:
        hashes = []
        for table in ("one", "same", "other"):
            assert run(cli_fingerprint, table, *REGION, "--eventual", "--max-rcu", "1000") == 0
            hashes.append(capsys.readouterr().out.split()[-1])
        assert hashes[0] == hashes[1] != hashes[2]

    def test_the_state_goes_away_with_success(self, dynamodb: Any, tmp_path: Path) -> None:
        options = [
            "--state",
            str(tmp_path / "state"),
            "--manifest",
            str(tmp_path / "m"),
            "--output",
            str(tmp_path / "f"),
        ]
        (tmp_path / "m").write_bytes(b"what a killed run left")
        assert run(cli_fingerprint, "one", *REGION, *options) == 0
        assert list((tmp_path / "state").glob("*")) == []
        like = Fingerprint.from_bytes((tmp_path / "f").read_bytes())
        with (tmp_path / "m").open("rb") as source:
            assert len(list(read_manifest(source, like=like))) == 3

    def test_a_folder_with_other_files_is_no_place_for_the_state(
        self, dynamodb: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "state").write_text("of something else")
        (tmp_path / "orders.csv").write_text("all there is")
        assert run(cli_fingerprint, "one", *REGION, "--state", str(tmp_path)) == 2
        assert "'orders.csv'" in capsys.readouterr().err
        assert (tmp_path / "orders.csv").read_text() == "all there is"

    def test_a_state_whose_first_save_was_killed_is_no_obstacle(self, dynamodb: Any, tmp_path: Path) -> None:
        (tmp_path / "manifest-000000").write_bytes(b"half")
        (tmp_path / ".draft-x").write_bytes(b"half")
        assert run(cli_fingerprint, "one", *REGION, "--state", str(tmp_path)) == 0
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (["nowhere"], "TableMissingError"),
            (["one", "--segments", "0"], "ValueError"),
            (["one", "--buckets", "0"], "ValueError"),
            (["one", "--max-rcu", "-1"], "ValueError"),
            (["one", "--profile", "nobody"], "ProfileNotFound"),
            (["one", "--output", "/nowhere/at/all"], "FileNotFoundError"),
        ],
    )
    def test_what_goes_wrong_has_a_name_and_a_code(
        self, dynamodb: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
    ) -> None:
        assert run(cli_fingerprint, *arguments, *REGION, "--json") == 2
        told = capsys.readouterr()
        assert json.loads(told.out)["error"] == error
        assert told.err.startswith(f"{error}: ")

    def test_wrong_usage_has_the_same_code(self) -> None:
        with pytest.raises(SystemExit) as caught:
            run(cli_fingerprint)
        assert caught.value.code == 2


class TestCompare:
    def test_equal(self, taken: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(cli_compare, str(taken / "one"), str(taken / "same"), "--json") == 0
        told = printed(capsys)
        assert (told["equal"], told["unequal_buckets"], told["left"] == told["right"]) == (True, 0, True)
        assert run(cli_compare, str(taken / "one"), str(taken / "same")) == 0
        assert capsys.readouterr().out.startswith("equal: 3 items, ")

    def test_different_without_manifests(self, taken: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(cli_compare, str(taken / "one"), str(taken / "other"), "--json") == 1
        told = printed(capsys)
        assert (told["equal"], told["unequal_buckets"], told["differences_total"]) == (False, 3, None)

    def test_different_with_manifests(self, taken: Path, capsys: pytest.CaptureFixture[str]) -> None:
        manifests = ["--left-manifest", str(taken / "one.manifest"), "--right-manifest", str(taken / "other.manifest")]
        files = [str(taken / "one"), str(taken / "other")]
        assert run(cli_compare, *files, *manifests, "--output", str(taken / "diff"), "--json") == 1
        expected = [("changed", "b"), ("missing", "c"), ("extra", "d")]
        assert [(each["kind"], each["key"]["id"]["S"]) for each in printed(capsys)["differences"]] == expected
        lines = [json.loads(line) for line in (taken / "diff").read_text().splitlines()]
        assert [(line["kind"], line["key"]["id"]["S"]) for line in lines] == expected
        assert run(cli_compare, *files, *manifests, "--list", "1") == 1
        text = capsys.readouterr().out.splitlines()
        assert text[0].endswith("1 missing, 1 extra, 1 changed")
        assert text[1:] == ['changed  {"id":{"S":"b"}}', "and 2 more"]

    def test_half_the_manifests_are_refused(self, taken: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(cli_compare, str(taken / "one"), str(taken / "one"), "--left-manifest", "x") == 2
        assert "both sides" in capsys.readouterr().err

    def test_other_files_are_refused(self, taken: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(cli_compare, str(taken / "one"), str(taken / "one.manifest"), "--json") == 2
        told = printed(capsys)
        assert told["error"] == "FingerprintFormatError"
        assert told["message"].startswith(f"{taken / 'one.manifest'} is not a fingerprint")


class TestDiff:
    def test_equal(self, dynamodb: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(cli_diff, "one", "same", *REGION) == 0
        assert capsys.readouterr().out == "equal: 3 items\n"

    def test_different(self, dynamodb: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(cli_diff, "one", "other", *REGION, "--json", "--output", str(tmp_path / "diff")) == 1
        told = printed(capsys)
        assert (told["missing"], told["extra"], told["changed"], told["equal"]) == (1, 1, 1, False)
        assert told["differences"][0] == {"kind": "changed", "key": {"id": {"S": "b"}}, "paths": ["note"]}
        assert [json.loads(line) for line in (tmp_path / "diff").read_text().splitlines()] == told["differences"]
        assert run(cli_diff, "one", "other", *REGION, "--list", "1") == 1
        assert capsys.readouterr().out.splitlines()[1:] == ['changed  {"id":{"S":"b"}}: note', "and 2 more"]

    def test_values_are_told_only_when_asked_for(self, dynamodb: Any, capsys: pytest.CaptureFixture[str]) -> None:
        run(cli_diff, "one", "other", *REGION, "--json", "--values")
        assert printed(capsys)["differences"][0]["right"] == {"id": {"S": "b"}, "note": {"S": "changed"}}

    def test_the_second_table_may_be_elsewhere(self, dynamodb: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(cli_diff, "one", "one", *REGION, "--right-region", "eu-west-1", "--json") == 2
        assert "There is no DynamoDB table 'one'" in printed(capsys)["message"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestBar:
    def test_draws_on_a_terminal_only(self) -> None:
        for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
            bar = cli_tools.Bar(stream=stream)
            bar.show("orders", ScanProgress(1, 1, 1, 1))
            bar.close()
            assert bool(stream.getvalue()) == drawn

    def test_draws_at_a_humane_pace_and_always_the_end(self) -> None:
        now, stream = [0.0], Terminal()
        bar = cli_tools.Bar(stream=stream, clock=lambda: now[0])
        for step in range(100):
            now[0] = step / 100
            bar.show("orders", ScanProgress(step, step, 0, 1))
        bar.show("orders", ScanProgress(100, 100, 1, 1))
        bar.close()
        assert 10 <= stream.getvalue().count("\r") <= 12
        assert "100% 100 items" in stream.getvalue().split("\r")[-1]
        assert stream.getvalue().endswith("\n")

    @pytest.mark.parametrize(
        ("seen", "text"),
        [
            (
                ScanProgress(500, 1, 0, 4, size=2_500_000, seconds=2.0, expected_items=1000),
                "orders [############------------]  50% 500 items, 2.5 MB, 250/s, about 0:02 left",
            ),
            (
                ScanProgress(2000, 1, 0, 4, seconds=2.0, expected_items=1000),
                "orders [#######################-]  99% 2,000 items, 0.0 MB, 1,000/s",
            ),
            (ScanProgress(5, 1, 0, 4), "orders [------------------------]   0% 5 items, 0.0 MB, 0/s"),
            (
                ScanProgress(5, 1, 0, 4, seconds=1.0, expected_items=100_000),
                "orders [------------------------]   0% 5 items, 0.0 MB, 5/s, about 5:33:19 left",
            ),
        ],
    )
    def test_says_what_is_known(self, seen: ScanProgress, text: str) -> None:
        assert cli_tools.bar_text("orders", seen) == text


def test_a_bug_is_not_hidden() -> None:
    def work() -> int:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        cli_tools.guarded(argparse.Namespace(json=False), work)


def test_a_user_may_stop_it(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise KeyboardInterrupt

    assert cli_tools.guarded(argparse.Namespace(json=False), work) == 2
    assert capsys.readouterr().err == "Stopped.\n"
