"""Choosing among changes."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_bulk.canonical import canonical_item, readable_key
from dynamodb_bulk.changes import Change
from dynamodb_bulk.choice import Choice, ChoiceError
from dynamodb_bulk.filters import FilterError

KEYS = ("id", "n")


def change(name: str, number: str, *, old: bool, new: bool) -> Change:
    item = {"id": {"S": name}, "n": {"N": number}}
    stands, comes = canonical_item({**item, "v": {"S": "old"}}), canonical_item({**item, "v": {"S": "new"}})
    return Change(readable_key(item, KEYS), old=stands if old else None, new=comes if new else None)


MISSING = change("a", "1", old=False, new=True)
CHANGED = change("a", "2", old=True, new=True)
EXTRA = change("b", "1", old=True, new=False)
ALL = [MISSING, CHANGED, EXTRA]


def chosen(**options: Any) -> list[Change]:
    return list(Choice.of(KEYS, **options).select(ALL))


def test_what_only_the_live_table_has_goes_only_where_that_is_asked_for() -> None:
    assert chosen() == [MISSING, CHANGED]
    assert chosen(classes=["extra"]) == [EXTRA]


@pytest.mark.parametrize(
    "key", ['{"n":{"N":"2.0"},"id":{"S":"a"}}', '{"id": "a", "n": 2}', {"id": "a", "n": 2}, {"id": {"S": "a"}, "n": 2}]
)
def test_keys_may_be_type_exact_or_plain_in_any_order(key: Any) -> None:
    assert chosen(keys=[key]) == [CHANGED]


def test_a_key_that_no_change_has_is_told() -> None:
    choice = Choice.of(KEYS, keys=[{"id": "a", "n": 1}, {"id": "z", "n": 1}, {"id": "b", "n": 1}])
    assert list(choice.select(ALL)) == [MISSING]
    assert choice.unmet_keys == ('{"id":{"S":"z"},"n":{"N":"1"}}',)


def test_no_keys_are_none_and_not_all() -> None:
    assert chosen(keys=[]) == []
    assert chosen(keys=None) == [MISSING, CHANGED]


def test_all_filters_must_be_true() -> None:
    assert chosen(filters=['id = "a"', "n > 1"]) == [CHANGED]
    assert chosen(filters=['v = "new"', "old:v exists"]) == [CHANGED]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"classes": ["lost"]}, ChoiceError),
        ({"classes": []}, ChoiceError),
        ({"keys": ["a"]}, ChoiceError),
        ({"keys": ['{"id": "a"}']}, ChoiceError),
        ({"keys": ['{"id": "a", "n": true}']}, ChoiceError),
        ({"keys": ['{"id": "a", "n": 1, "v": 2}']}, ChoiceError),
        ({"keys": ["[1]"]}, ChoiceError),
        ({"filters": ["n ~ 1"]}, FilterError),
    ],
)
def test_what_can_not_be_understood_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Choice.of(KEYS, **options)
