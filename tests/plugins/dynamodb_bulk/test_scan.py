"""Reading whole tables in segments."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from dynamodb_bulk.errors import TableMissingError
from dynamodb_bulk.scan import ScanProgress, scan_table, table_key_names


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    # Made once: no test here writes to it.
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="orders",
            # The range key comes first here: the order in the answer is not the order of the key.
            KeySchema=[
                {"AttributeName": "item_id", "KeyType": "RANGE"},
                {"AttributeName": "order_id", "KeyType": "HASH"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "order_id", "AttributeType": "S"},
                {"AttributeName": "item_id", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        for number in range(30):
            client.put_item(
                TableName="orders",
                Item={"order_id": {"S": f"o-{number}"}, "item_id": {"S": "i"}, "name": {"S": "x"}},
            )
        yield client


def keys(pages: Any) -> list[str]:
    return sorted(item["order_id"]["S"] for page in pages for item in page.items)


@pytest.mark.parametrize("segments", [1, 2, 7, 40])
@pytest.mark.parametrize("page_limit", [None, 4])
def test_every_item_comes_exactly_once(dynamodb: Any, segments: int, page_limit: int | None) -> None:
    found = keys(scan_table(dynamodb, "orders", segments=segments, page_limit=page_limit))
    assert found == sorted(f"o-{number}" for number in range(30))


def test_progress_ends_with_everything_done(dynamodb: Any) -> None:
    seen: list[ScanProgress] = []
    list(scan_table(dynamodb, "orders", segments=3, page_limit=5, progress=seen.append))
    assert seen[-1] == ScanProgress(items=30, pages=len(seen), segments_done=3, segments=3)
    assert [progress.items for progress in seen] == sorted(progress.items for progress in seen)


def test_a_projection_may_name_reserved_words(dynamodb: Any) -> None:
    (page,) = scan_table(dynamodb, "orders", segments=1, projection=["name", "order_id", "name"])
    assert {frozenset(item) for item in page.items} == {frozenset({"name", "order_id"})}


def test_a_missing_table_is_named(dynamodb: Any) -> None:
    with pytest.raises(TableMissingError, match="'nowhere'"):
        list(scan_table(dynamodb, "nowhere"))
    with pytest.raises(TableMissingError, match="'nowhere'"):
        table_key_names(dynamodb, "nowhere")


def test_key_names_start_with_the_hash_key(dynamodb: Any) -> None:
    assert table_key_names(dynamodb, "orders") == ("order_id", "item_id")


@pytest.mark.parametrize("segments", [0, -1, 1_000_001])
def test_the_number_of_segments_has_limits(segments: int) -> None:
    with pytest.raises(ValueError, match="segments must be"):
        list(scan_table(Mock(), "orders", segments=segments))


class PagedTable:
    """A client whose pages are given by hand, one list of pages a segment."""

    def __init__(self, segments: list[list[list[dict[str, Any]]]]) -> None:
        self.segments = segments
        self.requests: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def scan(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self.requests.append(request)
        pages = self.segments[request["Segment"]]
        number = int(request["ExclusiveStartKey"]["page"]["N"]) if "ExclusiveStartKey" in request else 0
        answer: dict[str, Any] = {"Items": pages[number]}
        if number + 1 < len(pages):
            answer["LastEvaluatedKey"] = {"page": {"N": str(number + 1)}}
        return answer


def test_an_empty_page_is_not_the_end() -> None:
    table: Any = PagedTable([[[], [], [{"order_id": {"S": "a"}}], []], [[]]])
    assert keys(scan_table(table, "orders", segments=2)) == ["a"]
    assert len(table.requests) == 5


@pytest.mark.parametrize("consistent", [True, False])
def test_requests_carry_what_was_asked_for(consistent: bool) -> None:
    table: Any = PagedTable([[[]], [[]]])
    list(scan_table(table, "orders", segments=2, consistent_read=consistent, page_limit=9))
    common = {"TableName": "orders", "ConsistentRead": consistent, "TotalSegments": 2, "Limit": 9}
    assert sorted(table.requests, key=lambda request: request["Segment"]) == [
        {**common, "Segment": 0},
        {**common, "Segment": 1},
    ]


def test_reading_is_consistent_unless_asked_otherwise() -> None:
    table: Any = PagedTable([[[]]])
    list(scan_table(table, "orders", segments=1))
    assert table.requests[0]["ConsistentRead"] is True


def test_no_page_is_fetched_far_ahead_of_the_reader() -> None:
    table: Any = PagedTable([[[{"order_id": {"S": str(page)}}] for page in range(50)]])
    pages = scan_table(table, "orders", segments=1)
    next(pages)
    next(pages)
    pages.close()
    assert len(table.requests) <= 3


def test_an_error_in_one_segment_ends_the_scan() -> None:
    refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Scan")

    class Refusing(PagedTable):
        def scan(self, **request: Any) -> dict[str, Any]:
            if request["Segment"] == 1:
                raise refused
            return super().scan(**request)

    table: Any = Refusing([[[]], [[]]])
    with pytest.raises(ClientError) as caught:
        list(scan_table(table, "orders", segments=2))
    assert caught.value is refused
