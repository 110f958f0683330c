"""Scans: pages, segments, order, filters, and what a page costs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from moto.dynamodb.models.dynamo_type import DynamoType

from local_aws.moto_fixes.scan_segments import segment_of

KEY_VALUES: dict[str, Callable[[int], Any]] = {
    "S": lambda number: f"key-{number}",
    "N": lambda number: str(number * 7 - 100),
    "B": lambda number: number.to_bytes(3, "little"),
}


@pytest.fixture
def dynamodb(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    with started():
        yield clients("dynamodb")


def make_table(client: Any, kind: str = "S", items: int = 0, size: int = 1, **settings: Any) -> None:
    client.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}, {"AttributeName": "r", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "h", "AttributeType": kind},
            {"AttributeName": "r", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
        **settings,
    )
    for number in range(items):
        client.put_item(
            TableName="t",
            Item={
                "h": {kind: KEY_VALUES[kind](number // 3)},
                "r": {"N": str(number)},
                "v": {"S": "x" * size},
                "odd": {"BOOL": bool(number % 2)},
            },
        )


def pages(client: Any, **members: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    while True:
        page = client.scan(TableName="t", **members, **start)
        found.append(page)
        if "LastEvaluatedKey" not in page:
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [int(item["r"]["N"]) for page in found for item in page["Items"]]


@pytest.mark.parametrize("kind", ["S", "N", "B"])
@pytest.mark.parametrize("limit", [1, 4, 30])
def test_pages_hold_every_item_once(dynamodb: Any, kind: str, limit: int) -> None:
    make_table(dynamodb, kind, 30)

    found = pages(dynamodb, Limit=limit)

    assert sorted(numbers(found)) == list(range(30))
    assert all(page["Count"] == page["ScannedCount"] <= limit for page in found)


def test_a_page_that_ends_at_the_limit_has_a_last_key_though_nothing_follows(dynamodb: Any) -> None:
    make_table(dynamodb, items=4)

    found = pages(dynamodb, Limit=2)

    assert [page["Count"] for page in found] == [2, 2, 0]


def test_a_page_holds_at_most_one_megabyte(dynamodb: Any) -> None:
    make_table(dynamodb, items=12, size=300_000)

    assert [page["Count"] for page in pages(dynamodb)] == [3, 3, 3, 3]


def test_items_of_one_partition_key_come_in_the_order_of_their_sort_key(dynamodb: Any) -> None:
    make_table(dynamodb)
    for number in (10, 9, 100, -1):
        dynamodb.put_item(TableName="t", Item={"h": {"S": "one"}, "r": {"N": str(number)}})

    assert numbers(pages(dynamodb, Limit=3)) == [-1, 9, 10, 100]


def test_a_scan_goes_on_though_the_last_key_was_deleted(dynamodb: Any) -> None:
    make_table(dynamodb, items=10)
    first = dynamodb.scan(TableName="t", Limit=5)
    dynamodb.delete_item(TableName="t", Key=first["LastEvaluatedKey"])

    rest = dynamodb.scan(TableName="t", ExclusiveStartKey=first["LastEvaluatedKey"])

    assert sorted(numbers([first, rest])) == list(range(10))


@pytest.mark.parametrize("kind", ["S", "N", "B"])
@pytest.mark.parametrize("total", [1, 3, 8])
def test_segments_part_the_table(dynamodb: Any, kind: str, total: int) -> None:
    make_table(dynamodb, kind, 60)

    parts = [numbers(pages(dynamodb, Segment=n, TotalSegments=total, Limit=7)) for n in range(total)]

    assert sorted(number for part in parts for number in part) == list(range(60))
    assert sum(bool(part) for part in parts) > total // 2
    rows = [{number // 3 for number in part} for part in parts]
    assert sum(map(len, rows)) == 20  # no partition key in two segments


def test_segments_above_256_are_used() -> None:
    used = {segment_of(DynamoType({"S": str(number)}), 1000) for number in range(5000)}

    assert len(used) > 900
    assert max(used) > 256


@pytest.mark.parametrize(("left", "right"), [({"N": "1"}, {"N": "1.0"}), ({"B": b"\x01"}, {"B": "AQ=="})])
def test_equal_keys_share_a_segment_however_they_are_written(left: Any, right: Any) -> None:
    assert segment_of(DynamoType(left), 997) == segment_of(DynamoType(right), 997)


def test_filters_count_what_was_read(dynamodb: Any) -> None:
    make_table(dynamodb, items=10)

    by_expression = dynamodb.scan(
        TableName="t", FilterExpression="odd = :true", ExpressionAttributeValues={":true": {"BOOL": True}}
    )
    by_legacy = pages(
        dynamodb,
        Limit=4,
        ScanFilter={"odd": {"ComparisonOperator": "EQ", "AttributeValueList": [{"BOOL": True}]}},
    )

    assert (by_expression["Count"], by_expression["ScannedCount"]) == (5, 10)
    assert [(page["Count"], page["ScannedCount"]) for page in by_legacy] == [(2, 4), (2, 4), (1, 2)]


@pytest.mark.parametrize(("operator", "expected"), [("NULL", [0, 1, 2]), ("NOT_NULL", [])], ids=["NULL", "NOT_NULL"])
def test_a_legacy_filter_on_a_missing_attribute(dynamodb: Any, operator: str, expected: list[int]) -> None:
    make_table(dynamodb, items=3)

    found = dynamodb.scan(TableName="t", ScanFilter={"none": {"ComparisonOperator": operator}})

    assert sorted(numbers([found])) == expected


def test_projections_and_counts(dynamodb: Any) -> None:
    make_table(dynamodb, items=3)

    projected = dynamodb.scan(TableName="t", ProjectionExpression="r")["Items"]
    counted = dynamodb.scan(TableName="t", Select="COUNT")

    assert sorted(projected, key=str) == [{"r": {"N": str(number)}} for number in range(3)]
    assert counted["Count"] == 3
    assert "Items" not in counted


def test_an_index_is_scanned(dynamodb: Any) -> None:
    make_table(
        dynamodb,
        items=4,
        LocalSecondaryIndexes=[
            {
                "IndexName": "keys",
                "KeySchema": [{"AttributeName": "h", "KeyType": "HASH"}, {"AttributeName": "r", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )

    found = dynamodb.scan(TableName="t", IndexName="keys")["Items"]

    assert sorted(int(item["r"]["N"]) for item in found) == [0, 1, 2, 3]
    assert all(set(item) == {"h", "r"} for item in found)


EVERY_TYPE = {
    "s": {"S": "ä"},
    "n": {"N": "-1.5"},
    "b": {"B": b"\x00\xff"},
    "yes": {"BOOL": True},
    "no": {"BOOL": False},
    "nothing": {"NULL": True},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2"]},
    "bs": {"BS": [b"\x00", b"\x01"]},
    "l": {"L": [{"S": ""}, {"B": b""}, {"L": []}, {"M": {}}]},
    "m": {"M": {"b": {"B": b"\x00"}, "deep": {"M": {"l": {"L": [{"NS": ["7"]}]}}}}},
}


@pytest.mark.parametrize("way", ["get", "scan", "query", "batch get", "old values"])
def test_every_type_comes_back_as_it_was_put(dynamodb: Any, way: str) -> None:
    make_table(dynamodb)
    key = {"h": {"S": "k"}, "r": {"N": "1"}}
    item = {**key, **EVERY_TYPE}
    dynamodb.put_item(TableName="t", Item=item)

    found = {
        "get": lambda: dynamodb.get_item(TableName="t", Key=key)["Item"],
        "scan": lambda: dynamodb.scan(TableName="t")["Items"][0],
        "query": lambda: dynamodb.query(
            TableName="t", KeyConditionExpression="h = :h", ExpressionAttributeValues={":h": {"S": "k"}}
        )["Items"][0],
        "batch get": lambda: dynamodb.batch_get_item(RequestItems={"t": {"Keys": [key]}})["Responses"]["t"][0],
        "old values": lambda: dynamodb.delete_item(TableName="t", Key=key, ReturnValues="ALL_OLD")["Attributes"],
    }[way]()

    assert found == item
