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
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.scan import MAX_THREADS, PAGE_ITEMS, ScanAnswerError, ScanProgress, scan_table, table_key_names


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

    def __init__(self, segments: list[list[list[dict[str, Any]]]], units: float | None = None) -> None:
        self.segments = segments
        self.units = units
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
        if self.units is not None:
            answer["ConsumedCapacity"] = {"TableName": "orders", "CapacityUnits": self.units}
        return answer


def test_an_empty_page_is_not_the_end() -> None:
    table: Any = PagedTable([[[], [], [{"order_id": {"S": "a"}}], []], [[]]])
    assert keys(scan_table(table, "orders", segments=2)) == ["a"]
    assert len(table.requests) == 5


@pytest.mark.parametrize("consistent", [True, False])
def test_requests_carry_what_was_asked_for(consistent: bool) -> None:
    table: Any = PagedTable([[[]], [[]]])
    list(scan_table(table, "orders", segments=2, consistent_read=consistent, page_limit=9))
    common = {
        "TableName": "orders",
        "ConsistentRead": consistent,
        "TotalSegments": 2,
        "Limit": 9,
        "ReturnConsumedCapacity": "TOTAL",
    }
    assert sorted(table.requests, key=lambda request: request["Segment"]) == [
        {**common, "Segment": 0},
        {**common, "Segment": 1},
    ]


def test_reading_is_consistent_unless_asked_otherwise() -> None:
    table: Any = PagedTable([[[]]])
    list(scan_table(table, "orders", segments=1))
    assert table.requests[0]["ConsistentRead"] is True


def test_pages_of_small_items_are_cut_by_their_number() -> None:
    table: Any = PagedTable([[[]]])
    list(scan_table(table, "orders", segments=1))
    assert table.requests[0]["Limit"] == PAGE_ITEMS


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


def one_item_pages(segments: int, pages: int) -> list[list[list[dict[str, Any]]]]:
    return [[[{"order_id": {"S": f"{segment}-{page}"}}] for page in range(pages)] for segment in range(segments)]


@pytest.mark.parametrize("only", [[0], [2, 1], [3, 3], []])
def test_a_shard_reads_its_segments_only(only: list[int]) -> None:
    table: Any = PagedTable(one_item_pages(4, 3))
    found = keys(scan_table(table, "orders", segments=4, only_segments=only))
    assert found == sorted(f"{segment}-{page}" for segment in set(only) for page in range(3))


@pytest.mark.parametrize("only", [[4], [-1]])
def test_a_segment_that_is_not_there_is_refused(only: list[int]) -> None:
    with pytest.raises(ValueError, match="only_segments"):
        list(scan_table(Mock(), "orders", segments=4, only_segments=only))


@pytest.mark.parametrize("taken", range(7))
def test_a_scan_goes_on_where_it_was_left(taken: int) -> None:
    table: Any = PagedTable(one_item_pages(2, 3))
    pages = scan_table(table, "orders", segments=2)
    first = [next(pages) for _ in range(taken)]
    pages.close()
    position = {page.segment: page.last_key for page in first}
    seen: list[ScanProgress] = []
    rest = list(scan_table(table, "orders", segments=2, resume=position, progress=seen.append))
    assert sorted(keys(first) + keys(rest)) == sorted(f"{segment}-{page}" for segment in range(2) for page in range(3))
    if taken < 6:
        assert seen[-1].segments_done == 2


def test_many_segments_are_not_all_held_at_once() -> None:
    under_way: list[int] = []

    class Counting(PagedTable):
        def scan(self, **request: Any) -> dict[str, Any]:
            answer = super().scan(**request)
            with self._lock:
                under_way.append(len(self.requests) - taken)
            return answer

    table: Any = Counting(one_item_pages(200, 1))
    taken = 0
    for page in scan_table(table, "orders", segments=200):
        taken += len(page.items)
    assert taken == 200
    assert max(under_way) <= MAX_THREADS + 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"Items": [{"order_id": {"S": "a"}}], "Count": 2}, "states 2 items and has 1"),
        ({"Items": [], "Count": 1}, "states 1 items and has 0"),
        ({"Count": 3}, "states 3 items and has 0"),
    ],
)
def test_an_answer_that_contradicts_itself_ends_the_scan(answer: dict[str, Any], message: str) -> None:
    table = Mock()
    table.scan.return_value = answer
    with pytest.raises(ScanAnswerError, match=message):
        list(scan_table(table, "orders", segments=1))


def test_a_scan_that_does_not_advance_ends() -> None:
    table = Mock()
    table.scan.return_value = {"Items": [], "LastEvaluatedKey": {"order_id": {"S": "a"}}}
    with pytest.raises(ScanAnswerError, match="does not advance"):
        list(scan_table(table, "orders", segments=1))
    assert table.scan.call_count == 2


class Time:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    @property
    def effects(self) -> Effects:
        return Effects(clock=lambda: self.now, sleep=self.sleep, draw=lambda: 0.5)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("segments", [1, 3])
def test_a_limited_scan_takes_no_more_capacity_than_allowed(segments: int) -> None:
    time = Time()
    table: Any = PagedTable(one_item_pages(segments, 60 // segments), units=5.0)
    found = keys(scan_table(table, "orders", segments=segments, max_rcu=10, effects=time.effects))
    assert len(found) == 60
    # 60 pages of 5 units at 10 units a second; the last of them needs not be waited for.
    # Several threads that sleep add their sleeps to the clock here, so only one has an upper limit.
    assert time.now - 100 >= (60 - segments) * 5 / 10
    assert segments > 1 or time.now - 100 <= 30


def test_pages_of_a_limited_scan_suit_the_limit() -> None:
    table: Any = PagedTable(one_item_pages(1, 3), units=2.5)
    list(scan_table(table, "orders", segments=1, max_rcu=10, effects=Time().effects))
    assert [request["Limit"] for request in table.requests] == [25, 4, 4]
    table.requests.clear()
    list(scan_table(table, "orders", segments=1, max_rcu=10, page_limit=3, effects=Time().effects))
    assert [request["Limit"] for request in table.requests] == [3, 3, 3]


def test_progress_tells_the_rate_and_what_is_left() -> None:
    time, seen = Time(), []
    table: Any = PagedTable(one_item_pages(1, 5), units=10.0)
    pages = scan_table(
        table, "orders", segments=1, max_rcu=10, effects=time.effects, progress=seen.append, expected_items=10
    )
    list(pages)
    assert seen[-1].items == 5
    assert seen[-1].capacity_units == 50
    assert seen[-1].size > 5 * len("order_id")
    assert seen[-1].seconds == pytest.approx(4.0)
    assert seen[-1].items_per_second == pytest.approx(5 / 4)
    assert seen[-1].eta_seconds == pytest.approx(4.0)
    assert ScanProgress(0, 0, 0, 1).items_per_second == 0
    assert ScanProgress(5, 1, 0, 1, seconds=1, expected_items=4).eta_seconds is None
