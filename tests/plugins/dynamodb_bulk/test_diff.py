"""The difference of two live tables."""

from __future__ import annotations

import io
import json
import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_bulk.diff import (
    DiffSettings,
    KeysDifferError,
    ScanRepeatedError,
    Side,
    TableDiff,
    changed_paths,
    diff_tables,
)
from dynamodb_bulk.errors import TableMissingError
from dynamodb_bulk.fingerprint import FingerprintMismatchError, take_fingerprint
from dynamodb_bulk.scan import ScanProgress

Table = Mapping[str, dict[str, Any]]
"""A table for these tests: key to the other attributes."""


class FakeTable:
    """A client of one table that answers a page of three items at a time."""

    def __init__(self, table: Table, key: str = "id") -> None:
        self.table = dict(table)
        self.key = key
        self.scans = 0
        self.on_scan: Callable[[int], None] = lambda number: None
        self.twice: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def describe_table(self, *, TableName: str) -> dict[str, Any]:
        return {"Table": {"KeySchema": [{"AttributeName": self.key, "KeyType": "HASH"}], "ItemCount": len(self.table)}}

    def scan(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self.scans += 1
            self.on_scan(self.scans)
            keys = sorted(self.table)
        own = keys[request["Segment"] :: request["TotalSegments"]]
        start = own.index(request["ExclusiveStartKey"]["id"]["S"]) + 1 if "ExclusiveStartKey" in request else 0
        answer: dict[str, Any] = {
            "Items": [{"id": {"S": key}, **self.table[key]} for key in own[start : start + 3]],
        }
        if start + 3 < len(own):
            answer["LastEvaluatedKey"] = {"id": {"S": own[start + 2]}}
        elif request["Segment"] == 0:
            answer["Items"] += self.twice
        return answer


QUIET: Table = {f"k{number:03}": {"v": {"S": "content"}, "n": {"N": str(number)}} for number in range(100)}


def without(table: Table, *keys: str) -> dict[str, Any]:
    return {key: rest for key, rest in table.items() if key not in keys}


def side(table: Table | FakeTable) -> Side:
    client: Any = table if isinstance(table, FakeTable) else FakeTable(table)
    return Side(client, "t")


def diff(left: Table | FakeTable, right: Table | FakeTable, buckets: int = 16, **options: Any) -> TableDiff:
    return diff_tables(side(left), side(right), buckets=buckets, settings=DiffSettings(segments=2, **options))


def named(found: TableDiff) -> dict[str, str]:
    return {json.loads(difference.key)["id"]["S"]: str(difference.kind) for difference in found.differences}


def test_equal_tables_are_equal_and_read_once_each() -> None:
    one, other = FakeTable(QUIET), FakeTable(dict(reversed(QUIET.items())))
    found = diff(one, other)
    assert (found.equal, found.items_left, found.items_right, found.total, found.looked_at) == (True, 100, 100, 0, 0)
    assert one.scans == other.scans == 2 * 17


def test_numbers_and_sets_written_otherwise_are_equal() -> None:
    one = {"a": {"n": {"N": "1.50"}, "s": {"SS": ["x", "y"]}, "b": {"B": "AA=="}}}
    other = {"a": {"b": {"B": "AA=="}, "s": {"SS": ["y", "x"]}, "n": {"N": "1.5"}}}
    assert diff(one, other).equal


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        (without(QUIET, "k007"), {"k007": "missing"}),
        ({**QUIET, "new": {}}, {"new": "extra"}),
        ({**QUIET, "k042": {"v": {"S": "other"}}}, {"k042": "changed"}),
        (
            without({**QUIET, "new": {}, "k042": {"v": {"S": "other"}}}, "k007"),
            {"k007": "missing", "k042": "changed", "new": "extra"},
        ),
        ({}, dict.fromkeys(QUIET, "missing")),
    ],
)
@pytest.mark.parametrize("memory_bytes", [1, 4000, 1 << 30])
def test_exactly_what_differs_is_named(right: Table, expected: dict[str, str], memory_bytes: int) -> None:
    found = diff(QUIET, right, memory_bytes=memory_bytes)
    assert named(found) == expected
    assert list(named(found)) == sorted(expected)
    assert found.total == len(expected)
    assert [found.missing, found.extra, found.changed] == [
        sum(kind == wanted for kind in expected.values()) for wanted in ("missing", "extra", "changed")
    ]
    assert (found.moved_left, found.moved_right) == (0, 0)


def test_only_items_of_unequal_buckets_are_kept() -> None:
    found = diff(QUIET, {**QUIET, "k042": {}}, buckets=4096)
    assert found.unequal_buckets == 1
    assert found.looked_at < 10


def test_the_list_is_capped_and_the_stream_is_not() -> None:
    sink = io.BytesIO()
    found = diff_tables(side(QUIET), side({}), diff_sink=sink, settings=DiffSettings(list_cap=3, segments=1))
    assert (len(found.differences), found.total) == (3, 100)
    lines = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert [line["key"]["id"]["S"] for line in lines] == sorted(QUIET)
    assert lines[0] == {"kind": "missing", "key": {"id": {"S": "k000"}}}


def test_content_is_told_only_when_asked_for() -> None:
    left, right = {"a": {"v": {"S": "secret"}, "n": {"N": "1.0"}}}, {"a": {"v": {"S": "other"}, "n": {"N": "1"}}}
    found = diff(left, right)
    assert found.to_dict()["differences"] == [{"kind": "changed", "key": {"id": {"S": "a"}}, "paths": ["v"]}]
    assert "secret" not in repr(found)
    (told,) = found.to_dict(values=True)["differences"]
    assert told["left"] == {"id": {"S": "a"}, "n": {"N": "1"}, "v": {"S": "secret"}}
    assert told["right"]["v"] == {"S": "other"}
    sink = io.BytesIO()
    diff_tables(side(left), side(right), diff_sink=sink, settings=DiffSettings(values=True, segments=1))
    assert json.loads(sink.getvalue()) == told


@pytest.mark.parametrize(
    ("left", "right", "paths"),
    [
        ({"a": {"S": "x"}}, {"a": {"S": "x"}}, ()),
        ({"a": {"S": "x"}}, {"a": {"N": "1"}}, ("a",)),
        ({"a": {"S": "x"}}, {"b": {"S": "x"}}, ("a", "b")),
        ({"a": {"SS": ["x"]}}, {"a": {"SS": ["x", "y"]}}, ("a",)),
        ({"a": {"BOOL": True}}, {"a": {"BOOL": False}}, ("a",)),
        ({"a": {"M": {"b": {"S": "1"}, "c": {"S": "1"}}}}, {"a": {"M": {"b": {"S": "2"}}}}, ("a.b", "a.c")),
        ({"a": {"L": [{"S": "1"}, {"S": "2"}]}}, {"a": {"L": [{"S": "1"}, {"S": "3"}, {"S": "4"}]}}, ("a[1]", "a[2]")),
        (
            {"a": {"L": [{"M": {"b": {"L": [{"N": "1"}]}}}]}},
            {"a": {"L": [{"M": {"b": {"L": [{"N": "2"}]}}}]}},
            ("a[0].b[0]",),
        ),
        ({"a": {"M": {}}}, {"a": {"L": []}}, ("a",)),
        ({"a.b": {"S": "1"}, "a": {"M": {"b": {"S": "1"}}}}, {"a": {"M": {}}}, ("a.b", '"a.b"')),
        ({"": {"S": "1"}, "é": {"S": "1"}, 'x"[0]': {"S": "1"}}, {}, ('""', '"x\\"[0]"', '"\\u00e9"')),
    ],
)
def test_changed_attributes_are_named_by_path(left: Any, right: Any, paths: tuple[str, ...]) -> None:
    assert changed_paths(left, right) == paths
    assert changed_paths(right, left) == paths


def test_paths_are_capped() -> None:
    many = {f"a{number:03}": {"S": "x"} for number in range(500)}
    assert changed_paths(many, {}, limit=3) == ("a000", "a001", "a002")


def test_a_table_that_is_written_to_meanwhile_is_reported() -> None:
    moving = FakeTable(without(QUIET, "k001"))

    def write(number: int) -> None:
        # The first scan of this table takes 34 requests; the write comes at the second scan's first.
        if number == 35:
            moving.table["k001"] = QUIET["k001"]

    moving.on_scan = write
    found = diff(QUIET, moving)
    assert not found.equal
    assert (found.total, found.moved_left, found.moved_right) == (0, 0, 1)


def test_fingerprints_that_are_there_are_not_taken_again() -> None:
    one, other = FakeTable(QUIET), FakeTable(without(QUIET, "k007"))
    taken = tuple(take_fingerprint(each, "t", key_names=["id"], segments=2) for each in (one, other))  # type: ignore[arg-type]
    one.scans = other.scans = 0
    found = diff_tables(side(one), side(other), fingerprints=taken, settings=DiffSettings(segments=2))  # type: ignore[arg-type]
    assert named(found) == {"k007": "missing"}
    assert one.scans == 34


def test_progress_says_what_is_being_done() -> None:
    seen: list[tuple[str, ScanProgress]] = []
    diff_tables(
        side(QUIET),
        side({}),
        progress=lambda doing, how_far: seen.append((doing, how_far)),
        settings=DiffSettings(segments=1),
    )
    assert list(dict.fromkeys(doing for doing, _ in seen)) == ["fingerprint of t", "items of t"]
    assert seen[-1][1].segments_done == 1
    assert max(how_far.items for _, how_far in seen) == 100


def test_the_spill_goes_where_it_is_told(tmp_path: Path) -> None:
    found = diff(QUIET, {}, memory_bytes=1, spill_folder=tmp_path)
    assert found.total == 100
    assert list(tmp_path.iterdir()) == []


class TestRefusals:
    def test_other_keys(self) -> None:
        other: Any = FakeTable({}, key="other")
        with pytest.raises(KeysDifferError, match=r"'t' has the key \('id',\), table 'u' has \('other',\)"):
            diff_tables(side(QUIET), Side(other, "u"))

    def test_a_key_that_comes_twice(self) -> None:
        twice = FakeTable(QUIET)
        twice.twice = [{"id": {"S": "k000"}, "v": {"S": "again"}}]
        with pytest.raises(ScanRepeatedError, match=r'"k000"'):
            diff(QUIET, twice)

    def test_fingerprints_that_do_not_fit(self) -> None:
        one: Any = FakeTable(QUIET)
        pair = tuple(take_fingerprint(one, "t", key_names=["id"], buckets=buckets) for buckets in (4, 8))
        with pytest.raises(FingerprintMismatchError):
            diff_tables(side(one), side(one), fingerprints=pair)  # type: ignore[arg-type]

    def test_a_missing_table(self) -> None:
        gone: Any = FakeTable({})
        gone.exceptions = SimpleNamespace(ResourceNotFoundException=KeyError)
        gone.describe_table = Mock(side_effect=KeyError)
        with pytest.raises(TableMissingError, match="'gone'"):
            diff_tables(side(QUIET), Side(gone, "gone"))


small = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.dictionaries(st.sampled_from("xy"), st.sampled_from([{"S": "1"}, {"S": "2"}, {"NULL": True}]), max_size=2),
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(small, small, st.sampled_from([1, 4, 4096]), st.sampled_from([1, 1 << 20]), st.randoms(use_true_random=False))
def test_against_the_rule_itself(left: Table, right: Table, buckets: int, memory: int, rng: random.Random) -> None:
    left = dict(rng.sample(list(left.items()), len(left)))
    expected = {}
    for key in left.keys() | right.keys():
        if left.get(key) != right.get(key):
            expected[key] = "extra" if key not in left else "missing" if key not in right else "changed"
    found = diff(left, right, buckets=buckets, memory_bytes=memory)
    assert named(found) == expected
    assert found.equal == (not expected)
    for difference in found.differences:
        if str(difference.kind) == "changed":
            key = json.loads(difference.key)["id"]["S"]
            names = {n for n in "xy" if left[key].get(n) != right[key].get(n)}
            assert set(difference.paths) == names
