"""Items by their keys: each key gets exactly one answer, whatever DynamoDB leaves undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from dynamodb_bulk.canonical import canonical_key
from dynamodb_bulk.errors import TableMissingError
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.point_reads import KeysUnansweredError, read_points
from dynamodb_bulk.scan import ScanAnswerError

NAMES = ("order_id", "n")


def item(number: int) -> dict[str, Any]:
    return {"order_id": {"S": f"o-{number}"}, "n": {"N": str(number)}, "raw": {"B": b"\x00\xff"}}


def key(number: int) -> bytes:
    return canonical_key(item(number), NAMES)


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    @property
    def effects(self) -> Effects:
        return Effects(clock=lambda: self.now, sleep=self.sleep, draw=lambda: 0.5)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Table:
    """A client with a table of 250 items that processes only so many keys of each request."""

    def __init__(self, processes: list[int] | None = None) -> None:
        self.processes, self.requests = processes or [], list[dict[str, Any]]()

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        wanted = request["RequestItems"]["orders"]
        asked = wanted["Keys"]
        done = self.processes.pop(0) if self.processes else len(asked)
        there = [int(found["n"]["N"]) for found in asked[:done]]
        answer: dict[str, Any] = {
            # In no order, as DynamoDB has it.
            "Responses": {"orders": [item(number) for number in reversed(there) if number < 250]},
            "UnprocessedKeys": {},
            "ConsumedCapacity": [{"TableName": "orders", "CapacityUnits": float(done)}],
        }
        if done < len(asked):
            answer["UnprocessedKeys"] = {"orders": {"Keys": asked[done:], "ConsistentRead": True}}
        return answer


def read(client: Any, numbers: Iterator[int] | range, clock: Clock | None = None, **options: Any) -> Any:
    pages = read_points(
        client, "orders", map(key, numbers), key_names=NAMES, effects=(clock or Clock()).effects, **options
    )
    found, absent = list[bytes](), list[bytes]()
    for page in pages:
        found += page.keys
        absent += page.absent
    return found, absent


def test_a_hundred_keys_at_a_time_and_each_is_answered_once() -> None:
    table = Table()
    found, absent = read(table, range(240, 260))
    assert sorted(found) == sorted(map(key, range(240, 250)))
    assert absent == list(map(key, range(250, 260)))
    found, absent = read(table, range(250))
    assert (sorted(found), absent) == (sorted(map(key, range(250))), [])
    assert [len(request["RequestItems"]["orders"]["Keys"]) for request in table.requests] == [20, 100, 100, 50]
    assert all(request["RequestItems"]["orders"]["ConsistentRead"] for request in table.requests)


def test_what_was_not_processed_is_asked_for_again_after_a_pause() -> None:
    table, clock = Table([30, 0, 0, 50]), Clock()
    found, absent = read(table, range(120), clock)
    assert (sorted(found), absent) == (sorted(map(key, range(120))), [])
    assert len(clock.pauses) == 4
    # Longer the more often nothing came of it.
    assert clock.pauses[0] < clock.pauses[1] < clock.pauses[2]
    assert clock.pauses[3] == clock.pauses[0]


def test_patience_has_an_end() -> None:
    clock = Clock()
    with pytest.raises(KeysUnansweredError, match="max_rcu"):
        read(Table([0] * 1000), range(5), clock, patience_seconds=60)
    assert 60 <= clock.now < 90


def test_patience_begins_anew_with_everything_that_is_processed() -> None:
    clock = Clock()
    slow = [count for _ in range(40) for count in (0, 0, 0, 0, 0, 1)]
    found, _ = read(Table(slow), range(40), clock, patience_seconds=10)
    assert len(found) == 40
    assert clock.now > 10


def test_a_limit_is_kept() -> None:
    clock = Clock()
    read(Table(), range(250), clock, max_rcu=50)
    assert clock.now >= 250 / 50 - 2


class Lying(Table):
    def __init__(self, lie: dict[str, Any]) -> None:
        super().__init__()
        self.lie = lie

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        return {**super().batch_get_item(**request), **self.lie}


@pytest.mark.parametrize(
    "lie",
    [
        {"Responses": {"orders": [item(1), item(99)]}},
        {"Responses": {"orders": [item(1), item(1)]}},
        {"UnprocessedKeys": {"orders": {"Keys": [{"order_id": {"S": "o-1"}, "n": {"N": "1"}}]}}},
    ],
    ids=["an item that nobody asked for", "an item twice", "both there and not processed"],
)
def test_an_answer_that_contradicts_itself_is_refused(lie: dict[str, Any]) -> None:
    with pytest.raises(ScanAnswerError, match="BatchGetItem contradicts"):
        read(Lying(lie), range(1, 3))


def test_a_refusal_goes_on_and_a_table_that_is_gone_is_named() -> None:
    class Refusing:
        code = "AccessDeniedException"

        def batch_get_item(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "BatchGetItem")

    refusing = Refusing()
    with pytest.raises(ClientError, match="AccessDenied"):
        read(refusing, range(1))
    refusing.code = "ResourceNotFoundException"
    with pytest.raises(TableMissingError, match="'orders'"):
        read(refusing, range(1))


@mock_aws
def test_keys_of_every_type_over_the_wire() -> None:
    client = boto3.client("dynamodb", region_name="us-east-1")
    for kind, values in {"S": ['"quoted" é\n', "x"], "N": ["-1.50", "1E37"], "B": [b"\x00\xff", b"a"]}.items():
        client.create_table(
            TableName=f"by-{kind}",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": kind}],
            BillingMode="PAY_PER_REQUEST",
        )
        client.put_item(TableName=f"by-{kind}", Item={"id": {kind: values[0]}, "v": {"S": "there"}})
        wanted = [canonical_key({"id": {kind: value}}, ("id",)) for value in values]
        (page,) = read_points(client, f"by-{kind}", wanted, key_names=("id",))
        assert (list(page.keys), list(page.absent)) == (wanted[:1], wanted[1:])
        assert [found["v"] for found in page.items] == [{"S": "there"}]
        assert json.loads(wanted[0].decode()) is not None
