"""Filters: what they are true of, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_bulk.canonical import canonical_item
from dynamodb_bulk.changes import Change
from dynamodb_bulk.filters import FilterError, parse_filter

ITEM: dict[str, Any] = {
    "id": {"S": "a"},
    "status": {"S": "paid"},
    "amount": {"N": "12.5"},
    "big": {"N": "12345678901234567890123456789012345678"},
    "open": {"BOOL": True},
    "note": {"NULL": True},
    "blob": {"B": "AAE="},
    "tags": {"L": [{"S": "x"}, {"M": {"deep": {"N": "7"}}}]},
    "colours": {"SS": ["blue", "red"]},
    "sizes": {"NS": ["1", "2.5"]},
    "address": {"M": {"city": {"S": "Rome"}, "a.b": {"S": "dotted"}}},
    "odd name": {"S": "quoted"},
    "exists": {"S": "a name like an operator"},
}


def change(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Change:
    forms = [None if item is None else canonical_item({"id": {"S": "a"}, **item}) for item in (old, new)]
    return Change('{"id":{"S":"a"}}', old=forms[0], new=forms[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('status = "paid"', True),
        ('status="paid"', True),
        ('status != "paid"', False),
        ('status = "open"', False),
        ('absent != "paid"', False),
        ('status begins_with "pa"', True),
        ('status begins_with "ai"', False),
        ('status contains "ai"', True),
        ("amount = 12.50", True),
        ('amount = "12.5"', False),
        ('amount != "12.5"', True),
        ("amount >= 12.5", True),
        ("amount > 12.5", False),
        ("amount < 1e2", True),
        ("amount <= -3", False),
        ('amount < "z"', False),
        ('status >= "p"', True),
        ("big = 12345678901234567890123456789012345678", True),
        ("big > 12345678901234567890123456789012345677", True),
        ("open = true", True),
        ("open = false", False),
        ("open = 1", False),
        ("note = null", True),
        ("note = false", False),
        ("note exists", True),
        ("absent exists", False),
        ("absent not_exists", True),
        ("status not_exists", False),
        ('blob = "AAE="', False),
        ("tags[1].deep = 7", True),
        ("tags[2] exists", False),
        ('tags contains "x"', True),
        ('tags contains "y"', False),
        ('colours contains "red"', True),
        ('colours contains "re"', False),
        ("sizes contains 2.50", True),
        ('sizes contains "1"', False),
        ("amount contains 1", False),
        ('address.city = "Rome"', True),
        ('address."a.b" = "dotted"', True),
        ('"odd name" = "quoted"', True),
        ("status.deeper exists", False),
        ("status[0] exists", False),
        ("exists exists", True),
    ],
)
def test_what_it_is_true_of(text: str, expected: bool) -> None:
    assert parse_filter(text).matches(change(None, ITEM)) is expected


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        ("n = 1", {"n": {"N": "1"}}, {"n": {"N": "2"}}, False),
        ("n = 2", {"n": {"N": "1"}}, {"n": {"N": "2"}}, True),
        ("old:n = 1", {"n": {"N": "1"}}, {"n": {"N": "2"}}, True),
        ("new:n = 1", {"n": {"N": "1"}}, {"n": {"N": "2"}}, False),
        ("n = 1", {"n": {"N": "1"}}, None, True),
        ("new:n = 1", {"n": {"N": "1"}}, None, False),
        ("new:n != 1", {"n": {"N": "1"}}, None, False),
        ("old:n not_exists", None, {"n": {"N": "1"}}, True),
    ],
)
def test_which_of_the_two_items_is_asked(text: str, old: Any, new: Any, expected: bool) -> None:
    assert parse_filter(text).matches(change(old, new)) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "status",
        "status = paid",
        "status =",
        'status like "p%"',
        "status exists 1",
        "status = [1]",
        "status = NaN",
        "status = Infinity",
        "open < true",
        "note >= null",
        "amount begins_with 1",
        "a..b = 1",
        "a[x] = 1",
        '__import__("os").system("true")',
        '"unclosed = 1',
        "n = 1 or 1 = 1",
    ],
)
def test_what_is_no_filter_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(FilterError, match="filter"):
        parse_filter(text)
