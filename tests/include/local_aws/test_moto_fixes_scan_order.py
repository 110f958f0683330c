"""Pages of a scan while keys come and go: each key that stays is seen once, in order."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from random import Random
from typing import Any

import pytest


@pytest.fixture
def table(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator["Rows"]:
    with started():
        yield Rows(clients("dynamodb"))


class Rows:
    """A table with a number for a hash key, and a model of what it holds."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.model: dict[int, int] = {}
        client.create_table(
            TableName="rows",
            KeySchema=[{"AttributeName": "n", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "n", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def put(self, *numbers: int, value: int = 0) -> None:
        requests = [
            {"PutRequest": {"Item": {"n": {"N": str(number)}, "v": {"N": str(value)}}}}
            for number in dict.fromkeys(numbers)
        ]
        for start in range(0, len(requests), 25):
            self.client.batch_write_item(RequestItems={"rows": requests[start : start + 25]})
        self.model.update(dict.fromkeys(numbers, value))

    def delete(self, *numbers: int) -> None:
        for number in numbers:
            self.client.delete_item(TableName="rows", Key={"n": {"N": str(number)}})
            self.model.pop(number, None)

    def page(self, limit: int, after: int | None = None) -> list[int]:
        start = {} if after is None else {"ExclusiveStartKey": {"n": {"N": str(after)}}}
        found = self.client.scan(TableName="rows", Limit=limit, **start)["Items"]
        return [int(item["n"]["N"]) for item in found]

    def check(self) -> None:
        pages = self.client.get_paginator("scan").paginate(TableName="rows", PaginationConfig={"PageSize": 7})
        found = [(int(item["n"]["N"]), int(item["v"]["N"])) for page in pages for item in page["Items"]]
        assert found == sorted(self.model.items())


def test_numbers_are_in_the_order_of_their_values(table: Rows) -> None:
    table.put(10, 9, -1, 100)
    assert table.page(9) == [-1, 9, 10, 100]


def test_keys_that_come_between_two_pages_are_found_behind_the_start_key_only(table: Rows) -> None:
    table.put(10, 20, 30)
    assert table.page(1) == [10]
    table.put(5, 15, 40)
    assert table.page(9, after=10) == [15, 20, 30, 40]


def test_a_page_starts_behind_a_key_that_was_deleted(table: Rows) -> None:
    table.put(10, 20, 30)
    assert table.page(1) == [10]
    table.delete(10)
    assert table.page(9, after=10) == [20, 30]


def test_a_key_that_was_deleted_and_put_again_is_seen_once(table: Rows) -> None:
    table.put(10, 20)
    table.check()
    table.delete(10)
    table.put(10, value=7)
    table.check()


def test_a_replaced_item_is_seen_as_it_is_now(table: Rows) -> None:
    table.put(10, value=1)
    table.check()
    table.put(10, value=2)
    table.check()


def test_many_new_keys_between_two_pages(table: Rows) -> None:
    table.put(*range(0, 40, 2))
    table.check()
    table.delete(*range(0, 8, 2))
    table.put(*range(0, 700))
    table.check()


def test_a_table_that_was_emptied_of_most(table: Rows) -> None:
    table.put(*range(1300))
    assert table.page(3) == [0, 1, 2]
    requests = [{"DeleteRequest": {"Key": {"n": {"N": str(number)}}}} for number in range(1290)]
    for start in range(0, len(requests), 25):
        table.client.batch_write_item(RequestItems={"rows": requests[start : start + 25]})
    for number in range(1290):
        del table.model[number]
    table.check()


def test_what_a_failed_transaction_put_is_not_seen(table: Rows) -> None:
    table.put(1, 2)
    table.check()
    with pytest.raises(table.client.exceptions.TransactionCanceledException):
        table.client.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": "rows", "Item": {"n": {"N": "3"}}}},
                {
                    "Put": {
                        "TableName": "rows",
                        "Item": {"n": {"N": "1"}},
                        "ConditionExpression": "attribute_not_exists(n)",
                    }
                },
            ]
        )
    table.check()


def test_an_update_that_makes_an_item_is_seen_and_one_that_fails_is_not(table: Rows) -> None:
    table.check()
    update = {"TableName": "rows", "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": {":v": {"N": "4"}}}
    table.client.update_item(Key={"n": {"N": "8"}}, **update)
    table.model[8] = 4
    with pytest.raises(table.client.exceptions.ConditionalCheckFailedException):
        table.client.update_item(Key={"n": {"N": "9"}}, ConditionExpression="attribute_exists(n)", **update)
    table.check()


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_writes_and_scans(table: Rows, seed: int) -> None:
    random = Random(seed)
    for _ in range(25):
        table.put(*(random.randrange(60) for _ in range(random.randrange(1, 20))), value=random.randrange(9))
        table.delete(*(random.randrange(60) for _ in range(random.randrange(8))))
        if random.random() < 0.6:
            table.check()
    table.check()


def test_an_item_is_measured_anew_after_an_update(table: Rows) -> None:
    """Two items of 600 kB do not fit into one page of 1 MB, though they did before they grew."""
    for number in (1, 2, 3):
        table.client.update_item(
            TableName="rows",
            Key={"n": {"N": str(number)}},
            UpdateExpression="SET v = :v",
            ExpressionAttributeValues={":v": {"S": "small"}},
        )
    assert table.page(9) == [1, 2, 3]
    for number in (1, 2, 3):
        table.client.update_item(
            TableName="rows",
            Key={"n": {"N": str(number)}},
            UpdateExpression="SET v = :v",
            ExpressionAttributeValues={":v": {"S": "x" * 390_000}},
        )
    assert table.page(9) == [1, 2]
