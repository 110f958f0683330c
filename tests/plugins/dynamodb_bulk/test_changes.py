"""Files of changes: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from dynamodb_bulk.canonical import canonical_item
from dynamodb_bulk.changes import (
    Change,
    ChangesFileError,
    ChangesHeader,
    read_changes,
    read_newest_first,
    write_change,
)
from dynamodb_bulk.diff import TableDifference, TableDifferenceKind

HEADER = ChangesHeader("orders", ("id",), source="orders-restored")
KEY = '{"id":{"S":"a"}}'


def form(**attributes: Any) -> bytes:
    return canonical_item({"id": {"S": "a"}, **attributes})


def lines(*changes: Change) -> list[bytes]:
    return [HEADER.to_line(), *(change.to_line() for change in changes)]


CHANGES = [
    Change(KEY, old=None, new=form(n={"N": "1"})),
    Change(KEY, old=form(b={"B": "AAE="}, s={"SS": ["x", "y"]}), new=None),
    Change(KEY, old=form(n={"N": "1"}, m={"M": {"x": {"S": ""}}}), new=form(n={"S": "1"}, m={"M": {"x": {"S": "ü"}}})),
]


@pytest.mark.parametrize(("change", "kind"), list(zip(CHANGES, TableDifferenceKind, strict=True)))
def test_what_is_written_is_read_back(change: Change, kind: TableDifferenceKind) -> None:
    header, found = read_changes(lines(change), "f")
    assert header == HEADER
    assert list(found) == [change]
    assert change.kind == kind
    assert change.inverse().inverse() == change


def test_a_line_tells_what_differs_and_has_both_items() -> None:
    line = json.loads(CHANGES[2].to_line())
    assert line == {
        "class": "changed",
        "key": {"id": {"S": "a"}},
        "paths": ["m.x", "n"],
        "old": {"id": {"S": "a"}, "m": {"M": {"x": {"S": ""}}}, "n": {"N": "1"}},
        "new": {"id": {"S": "a"}, "m": {"M": {"x": {"S": "ü"}}}, "n": {"S": "1"}},
    }
    assert "paths" not in json.loads(CHANGES[0].to_line())


def test_the_left_table_is_what_the_right_one_shall_be() -> None:
    sink = io.BytesIO()
    write_change(sink, TableDifference(KEY, TableDifferenceKind.CHANGED, ("n",), form(n={"N": "1"}), form()))
    line = json.loads(sink.getvalue())
    assert (line["old"], line["new"]) == ({"id": {"S": "a"}}, {"id": {"S": "a"}, "n": {"N": "1"}})


def test_items_written_by_hand_are_taken_in_their_canonical_form() -> None:
    line = json.dumps(
        {"class": "missing", "key": {"id": {"S": "a"}}, "old": None, "new": {"n": {"N": "1.0"}, "id": {"S": "a"}}}
    )
    (change,) = read_changes([HEADER.to_line(), line.encode() + b"\n"], "f")[1]
    assert change.new == form(n={"N": "1"})


def test_a_line_that_a_crash_cut_off_is_passed_over() -> None:
    whole = lines(*CHANGES)
    found = list(read_changes([*whole[:-1], whole[-1][:-1]], "f")[1])
    assert found == CHANGES[:-1]


@pytest.mark.parametrize("torn", [b"", b"{", CHANGES[0].to_line()[:-1]])
def test_read_from_its_end_it_is_the_same_file(torn: bytes) -> None:
    header, found = read_newest_first(io.BytesIO(b"".join([*lines(*CHANGES), torn])), "f")
    assert header == HEADER
    assert list(found) == CHANGES[::-1]


def test_read_from_its_end_a_bad_line_is_refused_by_the_same_number() -> None:
    whole = lines(*CHANGES)
    _, found = read_newest_first(io.BytesIO(b"".join([*whole[:2], b"[]\n", *whole[2:]])), "f")
    assert [next(found), next(found)] == [CHANGES[2], CHANGES[1]]
    with pytest.raises(ChangesFileError, match="line 3"):
        next(found)
    with pytest.raises(ChangesFileError, match="f"):
        read_newest_first(io.BytesIO(b"[]\n"), "f")


@pytest.mark.parametrize(
    "first", [b"", b'{"changes": 1', b"[]\n", b"{}\n", b'{"changes": 2}\n', b'{"changes": 1}\n', b"{\n"]
)
def test_another_file_is_refused(first: bytes) -> None:
    with pytest.raises(ChangesFileError, match="f"):
        read_changes([first], "f")


@pytest.mark.parametrize(
    "line",
    [
        {"class": "missing", "key": {"id": {"S": "a"}}, "old": None, "new": None},
        {"class": "extra", "key": {"id": {"S": "a"}}, "old": None, "new": {"id": {"S": "a"}}},
        {"class": "missing", "key": {"id": {"S": "a"}}, "old": None, "new": {"id": {"S": "b"}}},
        {"class": "missing", "key": {"id": {"S": "a"}}, "old": None, "new": {"id": {"S": "a"}, "n": {"N": "x"}}},
        {"class": "missing", "key": {"no": {"S": "a"}}, "old": None, "new": {"id": {"S": "a"}}},
        {"class": "missing", "key": {"id": {"S": "a"}}, "new": {"id": {"S": "a"}}},
        {"kind": "missing", "key": {"id": {"S": "a"}}, "left": {"id": {"S": "a"}}, "right": None},
        [],
    ],
)
def test_a_line_that_is_no_change_is_refused_by_its_number(line: Any) -> None:
    _, found = read_changes([*lines(CHANGES[0]), json.dumps(line).encode() + b"\n"], "f")
    next(found)
    with pytest.raises(ChangesFileError, match="line 3"):
        next(found)
