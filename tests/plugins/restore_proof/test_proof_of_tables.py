"""From two tables to a verdict and its evidence, every piece in its place."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest

from dynamodb_bulk.compare import Manifests, judge
from dynamodb_bulk.fingerprint import Fingerprint, take_fingerprint
from dynamodb_bulk.scan import table_key_names
from local_aws import mock_aws
from restore_proof.evidence import Drill, Evidence, Phase, make_evidence, pack_schema, read_pack
from restore_proof.settings import compare_settings
from restore_proof.settings_reading import record_settings
from restore_proof.verdict import Result, Subject, Verdict, verdict_from_comparison

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
RESTORED = "orders-restored-20261103-0a1b2c3d"


def order(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": {"S": f"o-{number}"},
        "item_id": {"S": "i-1"},
        "amount": {"N": f"{number}.50"},
        "tags": {"SS": ["b", "a"]},
        "raw": {"B": b"\x00\xff"},
        "lines": {"L": [{"M": {"sku": {"S": "é"}, "gift": {"BOOL": False}, "note": {"NULL": True}}}]},
        **changes,
    }


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        for name in ("orders", RESTORED):
            client.create_table(
                TableName=name,
                KeySchema=[
                    {"AttributeName": "order_id", "KeyType": "HASH"},
                    {"AttributeName": "item_id", "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("order_id", "item_id")],
                BillingMode="PAY_PER_REQUEST",
            )
            for number in range(12):
                client.put_item(TableName=name, Item=order(number))
        yield client


def prove(client: Any, folder: Path) -> tuple[Verdict, Evidence, list[dict[str, Any]]]:
    fingerprints: dict[str, Fingerprint] = {}
    key_names = table_key_names(client, "orders")
    for side, table in (("before", "orders"), ("after", "orders"), ("restored", RESTORED)):
        with (folder / side).open("wb") as sink:
            fingerprints[side] = take_fingerprint(client, table, key_names=key_names, segments=2, manifest_sink=sink)
    manifests = Manifests(
        before=lambda: (folder / "before").open("rb"),
        after=lambda: (folder / "after").open("rb"),
        restored=lambda: (folder / "restored").open("rb"),
    )
    with (folder / "diff.jsonl").open("wb") as diff:
        comparison = judge(**fingerprints, manifests=manifests, diff_sink=diff)
    settings = compare_settings(
        *(record_settings(client, table, recorded_at=NOW) for table in ("orders", RESTORED)),
        encryption_type="Default",
    )
    subject = Subject("arn:aws:backup:us-east-1:1:recovery-point:1", "orders", RESTORED, "2026-11-03", "dag/run")
    verdict = verdict_from_comparison(comparison, subject, decided_at=NOW, alarms=settings.alarms)
    evidence = make_evidence(
        verdict,
        Drill("d", "admin", {}, {}, [Phase("proof", NOW, NOW)], {}),
        written_at=NOW,
        comparison=comparison,
        fingerprints=fingerprints,
        settings=settings,
    )
    return verdict, evidence, [json.loads(line) for line in (folder / "diff.jsonl").read_bytes().splitlines()]


def test_an_exact_copy_is_proven(dynamodb: Any, tmp_path: Path) -> None:
    verdict, evidence, diff = prove(dynamodb, tmp_path)
    assert verdict.result is Result.PROVEN
    assert verdict.counts["compared"] == 12
    assert diff == []
    jsonschema.validate(read_pack(evidence.pack), pack_schema())


def put(client: Any, number: int, **changes: Any) -> None:
    client.put_item(TableName=RESTORED, Item=order(number, **changes))


def delete(client: Any, number: int) -> None:
    key = {"order_id": {"S": f"o-{number}"}, "item_id": {"S": "i-1"}}
    client.delete_item(TableName=RESTORED, Key=key)


@pytest.mark.parametrize(
    ("tamper", "kind", "number"),
    [
        (lambda client: put(client, 3, amount={"N": "3.51"}), "changed", 3),
        (lambda client: put(client, 3, amount={"S": "3.50"}), "changed", 3),
        (lambda client: put(client, 3, tags={"L": [{"S": "a"}, {"S": "b"}]}), "changed", 3),
        (lambda client: put(client, 3, raw={"B": b"\x00"}), "changed", 3),
        (lambda client: put(client, 3, empty={"S": ""}), "changed", 3),
        (lambda client: delete(client, 7), "missing", 7),
        (lambda client: put(client, 99), "extra", 99),
    ],
)
def test_what_was_tampered_with_is_named_and_nothing_else(
    dynamodb: Any, tmp_path: Path, tamper: Callable[[Any], None], kind: str, number: int
) -> None:
    tamper(dynamodb)
    verdict, evidence, diff = prove(dynamodb, tmp_path)
    key = {"order_id": {"S": f"o-{number}"}, "item_id": {"S": "i-1"}}
    assert verdict.result is Result.FAILED
    assert [(entry["kind"], entry["key"]) for entry in diff] == [(kind, key)]
    assert read_pack(evidence.pack)["comparison"]["differences"] == diff
    assert f"o-{number}" in evidence.report.decode()
    assert f'{{"S":"o-{number}"}}' in verdict.reasons[-1]


def test_numbers_and_sets_written_otherwise_are_the_same(dynamodb: Any, tmp_path: Path) -> None:
    put(dynamodb, 3, amount={"N": "03.5E0"}, tags={"SS": ["a", "b"]})
    assert prove(dynamodb, tmp_path)[0].result is Result.PROVEN
