"""BatchWriteItem's limits, refused writes, item sizes, numbers: what AWS takes and what it refuses."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from local_aws.moto_fixes import item_size, write_faults
from local_aws.moto_fixes.numbers import TooManyDigits, canonical_number

FULL_ITEM_BYTES = 400 * 1024


@pytest.fixture
def dynamodb(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    """Two tables, `left` and `right`, with keys `h` (S) and `r` (N)."""
    with started():
        client = clients("dynamodb")
        for name in ("left", "right"):
            client.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}, {"AttributeName": "r", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "h", "AttributeType": "S"},
                    {"AttributeName": "r", "AttributeType": "N"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        try:
            yield client
        finally:
            write_faults.accept_writes()


def key(number: int | str) -> dict[str, Any]:
    return {"h": {"S": "x"}, "r": {"N": str(number)}}


def put(number: int | str, **attributes: Any) -> dict[str, Any]:
    return {"PutRequest": {"Item": {**key(number), **attributes}}}


def delete(number: int | str) -> dict[str, Any]:
    return {"DeleteRequest": {"Key": key(number)}}


def count(client: Any, table: str = "left") -> int:
    return int(client.scan(TableName=table, Select="COUNT")["Count"])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "26 in one table": ({"left": [put(n) for n in range(26)]}, "less than or equal to 25"),
    "26 in two tables": (
        {"left": [put(n) for n in range(13)], "right": [put(n) for n in range(13)]},
        "Too many items requested for the BatchWriteItem call",
    ),
    "one key twice": ({"left": [put(1, a={"S": "1"}), put(1, a={"S": "2"})]}, "contains duplicates"),
    "one number twice": ({"left": [put("1"), put("1.0")]}, "contains duplicates"),
    "put and delete": ({"left": [put(1), delete(1)]}, "contains duplicates"),
    "delete twice": ({"left": [delete(1), delete(1)]}, "contains duplicates"),
    "too large": ({"left": [put(1), put(2, big={"S": "x" * FULL_ITEM_BYTES})]}, "maximum allowed size"),
    "key missing": ({"left": [put(1), {"PutRequest": {"Item": {"h": {"S": "x"}}}}]}, "Missing the key r"),
    "key of another type": (
        {"left": [put(1), {"PutRequest": {"Item": {"h": {"S": "x"}, "r": {"S": "1"}}}}]},
        "Type mismatch",
    ),
    "delete by part of the key": (
        {"left": [put(1), {"DeleteRequest": {"Key": {"h": {"S": "x"}}}}]},
        "does not match the schema",
    ),
    "delete by more than the key": (
        {"left": [put(1), {"DeleteRequest": {"Key": {**key(2), "a": {"S": "x"}}}}]},
        "does not match the schema",
    ),
    "delete by another type": (
        {"left": [put(1), {"DeleteRequest": {"Key": {"h": {"S": "x"}, "r": {"S": "1"}}}}]},
        "does not match the schema",
    ),
    "empty key": (
        {"left": [put(1), {"PutRequest": {"Item": {"h": {"S": ""}, "r": {"N": "1"}}}}]},
        "cannot contain an empty string",
    ),
    "neither put nor delete": ({"left": [put(1), {}]}, "exactly one of PutRequest and DeleteRequest"),
}


@pytest.mark.parametrize(("batch", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_batch_is_refused_as_a_whole(dynamodb: Any, batch: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message) as raised:
        dynamodb.batch_write_item(RequestItems=batch)

    assert raised.value.response["Error"]["Code"] == "ValidationException"
    assert (count(dynamodb), count(dynamodb, "right")) == (0, 0)


def test_a_batch_to_a_missing_table_is_refused_as_a_whole(dynamodb: Any) -> None:
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.batch_write_item(RequestItems={"left": [put(1)], "nothing": [put(1)]})

    assert count(dynamodb) == 0


def test_a_full_batch_over_two_tables_with_equal_keys_is_written(dynamodb: Any) -> None:
    dynamodb.put_item(TableName="right", Item=key(99))

    reply = dynamodb.batch_write_item(
        RequestItems={"left": [put(n) for n in range(12)], "right": [*(put(n) for n in range(12)), delete(99)]}
    )

    assert reply["UnprocessedItems"] == {}
    assert "ConsumedCapacity" not in reply
    assert (count(dynamodb), count(dynamodb, "right")) == (12, 12)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("TOTAL", {"TableName": "left", "CapacityUnits": 2.0}),
        ("INDEXES", {"TableName": "left", "CapacityUnits": 2.0, "Table": {"CapacityUnits": 2.0}}),
    ],
)
def test_capacity_is_reported_when_asked_for(dynamodb: Any, level: str, expected: dict[str, Any]) -> None:
    reply = dynamodb.batch_write_item(RequestItems={"left": [put(1), put(2)]}, ReturnConsumedCapacity=level)

    assert reply["ConsumedCapacity"] == [expected]


def test_refused_writes_of_a_batch_come_back_as_they_were_sent(dynamodb: Any) -> None:
    write_faults.refuse_writes(0.5, seed=1)
    sent = [put(n, b={"B": b"\x00\xff"}, m={"M": {"l": {"L": [{"NS": ["1", "2"]}]}}}) for n in range(25)]

    unprocessed = dynamodb.batch_write_item(RequestItems={"left": sent})["UnprocessedItems"]["left"]

    assert 0 < len(unprocessed) < 25
    assert all(request in sent for request in unprocessed)
    assert count(dynamodb) == 25 - len(unprocessed)
    assert write_faults.refused_writes() == len(unprocessed)


def test_unprocessed_writes_sent_again_and_again_arrive(dynamodb: Any) -> None:
    write_faults.refuse_writes(0.3, seed=2)
    left: dict[str, Any] = {"left": [put(n) for n in range(25)]}
    rounds = 0
    while left:
        left = dynamodb.batch_write_item(RequestItems=left)["UnprocessedItems"]
        rounds += 1

    assert rounds > 1
    assert count(dynamodb) == 25


SINGLE: dict[str, Callable[[Any], Any]] = {
    "batch": lambda client: client.batch_write_item(RequestItems={"left": [put(1), put(2)]}),
    "put": lambda client: client.put_item(TableName="left", Item=key(1)),
    "update": lambda client: client.update_item(TableName="left", Key=key(1), UpdateExpression="REMOVE a"),
    "delete": lambda client: client.delete_item(TableName="left", Key=key(0)),
}


@pytest.fixture
def impatient(clients: Callable[..., Any]) -> Any:
    """A client that tries each call once."""
    return clients("dynamodb", attempts=1)


@pytest.mark.parametrize("write", SINGLE.values(), ids=SINGLE.keys())
def test_a_write_of_which_nothing_is_taken_is_throttled(
    dynamodb: Any, impatient: Any, write: Callable[[Any], Any]
) -> None:
    dynamodb.put_item(TableName="left", Item=key(0))
    write_faults.refuse_writes(1.0, tables=frozenset({"left"}))

    with pytest.raises(impatient.exceptions.ProvisionedThroughputExceededException):
        write(impatient)

    assert count(dynamodb) == 1
    write_faults.accept_writes()
    write(dynamodb)


def test_only_the_named_tables_refuse_writes(dynamodb: Any) -> None:
    write_faults.refuse_writes(1.0, tables=frozenset({"right"}))

    dynamodb.put_item(TableName="left", Item=key(1))

    assert count(dynamodb) == 1


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_lies_between_none_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        write_faults.refuse_writes(share)


# Sizes: 1 byte of name "h", 1 of its value, 1 of name "r", 2 of the number 1, 3 of the name "big".
OVERHEAD = 1 + 1 + 1 + 2 + 3


@pytest.mark.parametrize(("excess", "taken"), [(0, True), (1, False)])
@pytest.mark.parametrize("way", ["put", "batch", "update"])
def test_the_limit_of_an_item_is_400_kb_to_the_byte(dynamodb: Any, way: str, excess: int, taken: bool) -> None:
    big = {"S": "x" * (FULL_ITEM_BYTES - OVERHEAD + excess)}

    def write() -> None:
        if way == "put":
            dynamodb.put_item(TableName="left", Item={**key(1), "big": big})
        elif way == "batch":
            dynamodb.batch_write_item(RequestItems={"left": [put(1, big=big)]})
        else:
            dynamodb.update_item(
                TableName="left",
                Key=key(1),
                UpdateExpression="SET big = :big",
                ExpressionAttributeValues={":big": big},
            )

    if taken:
        write()
        assert count(dynamodb) == 1
    else:
        with pytest.raises(ClientError, match="maximum allowed size"):
            write()
        assert count(dynamodb) == 0


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "abc"}, 3),
        ({"S": "äö"}, 4),
        ({"B": b"\x00\x01"}, 2),
        ({"B": "AAE="}, 2),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"N": "0"}, 1),
        ({"N": "7"}, 2),
        ({"N": "12345"}, 4),
        ({"N": "-12345"}, 5),
        ({"N": "12000"}, 2),
        ({"SS": ["a", "bc"]}, 3),
        ({"NS": ["1", "22"]}, 4),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"BOOL": False}]}, 3 + 1 + 2 + 1 + 1),
        ({"M": {"key": {"S": "ab"}}}, 3 + 1 + 3 + 2),
    ],
)
def test_a_value_has_the_size_that_aws_documents(value: dict[str, Any], size: int) -> None:
    assert item_size.value_size(value) == size


# Numbers.


@pytest.mark.parametrize(
    ("given_number", "kept"),
    [
        ("01", "1"),
        ("1.50", "1.5"),
        ("1e2", "100"),
        ("-0", "0"),
        ("0.0", "0"),
        ("+5", "5"),
        ("-001.10", "-1.1"),
        ("1E-3", "0.001"),
        ("123456789012345678901234567890123456.78", "123456789012345678901234567890123456.78"),
        ("1e125", "1" + "0" * 125),
    ],
)
def test_a_number_is_kept_not_its_text(dynamodb: Any, given_number: str, kept: str) -> None:
    dynamodb.put_item(
        TableName="left",
        Item={
            **key(1),
            "n": {"N": given_number},
            "s": {"NS": [given_number]},
            "m": {"M": {"deep": {"L": [{"N": given_number}]}}},
        },
    )

    item = dynamodb.get_item(TableName="left", Key=key(1))["Item"]

    assert item["n"] == {"N": kept}
    assert item["s"] == {"NS": [kept]}
    assert item["m"] == {"M": {"deep": {"L": [{"N": kept}]}}}


def test_a_number_key_is_kept_and_found_by_its_value(dynamodb: Any) -> None:
    dynamodb.put_item(TableName="left", Item=key("1.50"))

    assert dynamodb.get_item(TableName="left", Key=key("1.5"))["Item"] == key("1.5")
    assert dynamodb.scan(TableName="left")["Items"] == [key("1.5")]


@pytest.mark.parametrize("way", ["put", "update"])
def test_more_than_38_digits_are_refused(dynamodb: Any, way: str) -> None:
    number = {"N": "1" * 39}

    def write() -> None:
        if way == "put":
            dynamodb.put_item(TableName="left", Item={**key(1), "n": number})
        else:
            dynamodb.update_item(
                TableName="left",
                Key=key(1),
                UpdateExpression="SET n = :n",
                ExpressionAttributeValues={":n": number},
            )

    with pytest.raises(ClientError, match="more than 38 significant digits"):
        write()


@pytest.mark.parametrize("number", ["abc", "", " 1", "NaN", "Infinity"])
def test_what_is_no_number_is_refused(dynamodb: Any, number: str) -> None:
    with pytest.raises(ClientError, match="cannot be converted to a numeric value"):
        dynamodb.put_item(TableName="left", Item={**key(1), "n": {"N": number}})


@pytest.mark.parametrize(
    "change",
    [
        {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": "1"}}},
        {"UpdateExpression": "SET n = n + :n", "ExpressionAttributeValues": {":n": {"N": "1"}}},
        {"UpdateExpression": "SET n = n - :n", "ExpressionAttributeValues": {":n": {"N": "-1"}}},
        {"AttributeUpdates": {"n": {"Action": "ADD", "Value": {"N": "1"}}}},
    ],
)
def test_sums_are_exact_to_38_digits(dynamodb: Any, change: dict[str, Any]) -> None:
    dynamodb.put_item(TableName="left", Item={**key(1), "n": {"N": "9" * 36 + ".5"}})

    dynamodb.update_item(TableName="left", Key=key(1), **change)

    assert dynamodb.get_item(TableName="left", Key=key(1))["Item"]["n"] == {"N": "1" + "0" * 36 + ".5"}


@pytest.mark.parametrize(
    "value", [{"BOOL": True}, {"B": b"\x01"}, {"NULL": True}, {"BS": [b"\x01"]}, {"N": "2"}, {"L": [{"S": "x"}]}]
)
def test_a_legacy_update_keeps_the_type(dynamodb: Any, value: dict[str, Any]) -> None:
    dynamodb.put_item(TableName="left", Item=key(1))

    dynamodb.update_item(TableName="left", Key=key(1), AttributeUpdates={"a": {"Action": "PUT", "Value": value}})

    assert dynamodb.get_item(TableName="left", Key=key(1))["Item"]["a"] == value


@given(digits=st.text("0123456789", min_size=1, max_size=38), exponent=st.integers(-80, 80), sign=st.sampled_from("+-"))
def test_a_canonical_number_is_the_same_number_once_and_for_all(digits: str, exponent: int, sign: str) -> None:
    number = f"{sign}{digits}E{exponent}"

    kept = canonical_number(number)

    assert Decimal(kept) == Decimal(number)
    assert canonical_number(kept) == kept
    assert re.fullmatch(r"0|-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", kept)


@pytest.mark.parametrize("number", ["1" * 39, "1" + "0" * 37 + "1", f"1.{'0' * 37}1", "9" * 40 + "E-20"])
def test_a_number_of_too_many_digits_is_refused(number: str) -> None:
    with pytest.raises(TooManyDigits, match="38 significant digits"):
        canonical_number(number)
