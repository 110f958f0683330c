"""Conditional writes: which request, on which condition, within DynamoDB's limits."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dynamodb_bulk.canonical import canonical_item, readable_key
from dynamodb_bulk.changes import Change
from dynamodb_bulk.conditional import MAX_COMPARED, ConditionalWrite, conditional_write

KEY = {"id": {"S": "a"}, "n": {"N": "1"}}
MAX_EXPRESSION = 4096
MAX_OPERATORS = 300


def write(old: dict[str, Any] | None, new: dict[str, Any] | None) -> tuple[ConditionalWrite, dict[str, Any]]:
    forms = [None if item is None else canonical_item({**KEY, **item}) for item in (old, new)]
    made = conditional_write("t", Change(readable_key(KEY, ("id", "n")), old=forms[0], new=forms[1]))
    return made, json.loads(made.body)


def spelled_out(request: dict[str, Any], expression: str) -> str:
    """Return an expression with names and values in place of what stands for them."""
    values = {name: json.dumps(value) for name, value in request.get("ExpressionAttributeValues", {}).items()}
    for token, text in sorted({**request["ExpressionAttributeNames"], **values}.items(), key=lambda one: -len(one[0])):
        expression = expression.replace(token, text)
    return expression


def test_a_missing_item_is_put_if_it_is_still_missing() -> None:
    made, request = write(None, {"v": {"S": "x"}})
    assert (made.operation, made.replaces) == ("PutItem", False)
    assert request["Item"] == {**KEY, "v": {"S": "x"}}
    assert spelled_out(request, request["ConditionExpression"]) == "attribute_not_exists(id)"


def test_an_extra_item_is_deleted_if_it_is_still_the_same() -> None:
    made, request = write({"v": {"S": "x"}, "w": {"N": "2"}}, None)
    assert (made.operation, made.replaces, request["Key"]) == ("DeleteItem", True, KEY)
    assert (
        spelled_out(request, request["ConditionExpression"])
        == 'attribute_exists(id) AND v = {"S": "x"} AND w = {"N": "2"}'
    )


def test_a_changed_item_is_updated_where_it_differs_if_all_of_it_is_still_the_same() -> None:
    old = {"same": {"S": "x"}, "v": {"S": "old"}, "gone": {"N": "2"}}
    made, request = write(old, {"same": {"S": "x"}, "v": {"S": "new"}, "added": {"BOOL": True}})
    assert (made.operation, made.replaces, made.complete) == ("UpdateItem", False, True)
    assert (
        spelled_out(request, request["UpdateExpression"]) == 'SET added = {"BOOL": true}, v = {"S": "new"} REMOVE gone'
    )
    condition = spelled_out(request, request["ConditionExpression"]).split(" AND ")
    assert sorted(condition) == sorted(
        [
            "attribute_exists(id)",
            "attribute_not_exists(added)",
            'gone = {"N": "2"}',
            'same = {"S": "x"}',
            'v = {"S": "old"}',
        ]
    )


def test_an_item_that_is_nothing_but_its_key_is_not_made_by_an_update() -> None:
    _, request = write({}, {"v": {"S": "x"}})
    assert "attribute_exists(id)" in spelled_out(request, request["ConditionExpression"])


@pytest.mark.parametrize(
    ("attributes", "touched", "operation", "complete"),
    [
        (MAX_COMPARED, 1, "UpdateItem", True),
        (MAX_COMPARED + 1, 1, "UpdateItem", False),
        (MAX_COMPARED, MAX_COMPARED, "UpdateItem", True),
        (3000, MAX_COMPARED, "UpdateItem", False),
        (3000, MAX_COMPARED + 1, "PutItem", False),
        (3000, 3000, "DeleteItem", False),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_expressions_keep_to_the_limits(
    attributes: int, touched: int, operation: str, complete: bool, gone: bool
) -> None:
    old = {f"attribute {number}": {"N": str(number)} for number in range(attributes)}
    written = {f"attribute {number}": {"S": "written"} for number in range(touched)}
    new = None if operation == "DeleteItem" else {**old, **written}
    if new is not None and gone:
        new = {name: value for name, value in new.items() if name not in written}
    made, request = write(old, new)
    assert (made.operation, made.complete) == (operation, complete)
    assert made.replaces is (operation != "UpdateItem")
    for name in ("ConditionExpression", "UpdateExpression"):
        expression = request.get(name, "")
        assert len(expression.encode()) <= MAX_EXPRESSION
        assert sum(expression.count(part) for part in ("=", " AND ", "attribute_", ",")) <= MAX_OPERATORS
    names = request["ExpressionAttributeNames"]
    compared = {names[token] for token in re.findall(r"#[0-9]+", request["ConditionExpression"])} - {"id"}
    assert len(compared) == min(attributes, MAX_COMPARED)
    assert compared <= set(written) if touched >= MAX_COMPARED else compared > set(written)
    used = re.findall(r"#[0-9]+", request["ConditionExpression"] + request.get("UpdateExpression", ""))
    assert set(used) == set(names)
