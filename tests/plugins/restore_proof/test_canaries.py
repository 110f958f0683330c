"""Canaries fit any key, have every type, and take nobody's place."""

from __future__ import annotations

import datetime as dt
from itertools import product
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_bulk.canonical import canonical_key, item_digest
from restore_proof.canaries import (
    MARKER,
    CanaryCollisionError,
    key_types,
    make_canaries,
    to_json_ready,
    write_canaries,
)

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
SHAPES = [(hash_type,) for hash_type in "SNB"] + list(product("SNB", repeat=2))


def make(keys: Any, nonce: str = "one", count: int = 5) -> list[dict[str, Any]]:
    return make_canaries(keys, count=count, prefix="backup-canary", nonce=nonce, written_at=NOW)


@pytest.mark.parametrize("shape", SHAPES, ids="".join)
@mock_aws
def test_canaries_fit_every_kind_of_key(shape: tuple[str, ...]) -> None:
    client = boto3.client("dynamodb", region_name="us-east-1")
    names = ["h", "r"][: len(shape)]
    described = client.create_table(
        TableName="t",
        # In an order that nobody promised.
        KeySchema=[
            {"AttributeName": name, "KeyType": {"h": "HASH", "r": "RANGE"}[name]} for name in names
        ][::-1] if len(names) == 1 else [
            {"AttributeName": "h", "KeyType": "HASH"}, {"AttributeName": "r", "KeyType": "RANGE"}
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind} for name, kind in zip(names, shape, strict=True)
        ],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]  # fmt: skip
    keys = key_types(described)
    assert keys == tuple(zip(names, shape, strict=True))
    items = make(keys)
    assert len({canonical_key(item, names) for item in items}) == 5
    write_canaries(client, "t", items, names)
    found = client.scan(TableName="t", ConsistentRead=True)["Items"]
    assert {item_digest(item) for item in found} == {item_digest(item) for item in items}


@pytest.fixture
def client() -> Any:
    with mock_aws():
        made = boto3.client("dynamodb", region_name="us-east-1")
        made.create_table(
            TableName="t",
            KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "h", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield made


def test_new_canaries_take_the_place_of_old_ones(client: Any) -> None:
    for nonce in ("one", "two"):
        write_canaries(client, "t", make([("h", "S")], nonce), ["h"])
    found = client.scan(TableName="t")["Items"]
    assert [item[MARKER] for item in found] == [{"S": "two"}] * 5


def test_an_item_of_somebody_else_is_left_alone_and_named(client: Any) -> None:
    theirs = {"h": {"S": "backup-canary-002"}, "price": {"N": "5"}}
    client.put_item(TableName="t", Item=theirs)
    with pytest.raises(CanaryCollisionError, match=r"backup-canary-002.*canary_prefix"):
        write_canaries(client, "t", make([("h", "S")]), ["h"])
    assert client.get_item(TableName="t", Key={"h": theirs["h"]})["Item"] == theirs


def test_two_writings_differ_in_every_item() -> None:
    one, two = (make([("h", "S")], nonce) for nonce in ("one", "two"))
    assert all(item_digest(a) != item_digest(b) for a, b in zip(one, two, strict=True))


def test_as_json_they_are_still_the_same_items() -> None:
    for item in make([("h", "B")]):
        assert item_digest(to_json_ready(item)) == item_digest(item)
