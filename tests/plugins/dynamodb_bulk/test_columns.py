import io
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_bulk.columns import RowConverter, encode
from dynamodb_bulk.csv_blocks import Block, CsvBlocks, Feed
from dynamodb_bulk.csv_rows import Reject, Row, read_rows
from dynamodb_bulk.schema import TableSchema, parse_schema

FORMATS = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S"]


def schema(**changes: Any) -> TableSchema:
    columns = [
        {"name": "k", "key": "hash"},
        {"name": "r", "type": changes.pop("range_type", "string"), "key": "range"},
        {"name": "text"},
        {"name": "full", "empty": changes.pop("full_empty", "omit")},
        {"name": "n", "type": "number"},
        {"name": "day", "type": "date", "formats": ["%Y-%m-%d", "%m/%d/%Y"], "normalised_as": "day_iso"},
        {"name": "at", "type": "timestamp", "formats": changes.pop("formats", FORMATS), "normalised_as": "at_utc"},
        {"name": 'odd "name"\n', "required": False},
    ]
    return parse_schema(json.dumps({"version": 1, "columns": columns, **changes}), "test.json")


SCHEMAS = [
    schema(),
    schema(empty_values="store"),
    schema(empty_values="reject"),
    schema(range_type="number", full_empty="reject"),
    schema(formats=list(reversed(FORMATS))),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
NUMBERS = st.sampled_from(
    ["0", "-0", "-0.0", "1", "1.50", "1.05", "007", "1e3", "+1", ".5", "5.", " 7 ", "", "  ", "x", "1" * 40, "9" * 37]  # noqa: RUF005
    + ["123456789012345678.123456789012345678", "1234567890123456789", "1,5", "٣", "0.000", "100", "-2.10", "1\n"]
)
DAYS = st.sampled_from(["2026-11-01", "11/01/2026", "2026-02-30", "", " ", "1/2/2026", " 2026-11-01", "0001-01-01"])
TIMES = st.sampled_from(
    ["2026-11-01T07:01:26Z", "2026-11-01T07:01:26+01:00", "2026-11-01 07:01:26", "2026-11-01T24:00:00Z", "noon", ""]  # noqa: RUF005
    + ["2026-02-30T07:01:26Z", "2026-11-01T07:01:60Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", " "]
    + ["2026-11-01T07:01:26Z ", "20261101T07:01:26Z", "2026-11-01T07:01:26z", "٢٠٢٦-11-01T07:01:26Z"]
)
ROW = st.tuples(
    st.sampled_from(["a", "b", "é", "", "k" * 3]),
    st.sampled_from(["1", "01", "1.0", "2", "", "x" * 400]),
    TEXT,
    TEXT,
    NUMBERS | st.integers(-99, 99).map(str) | st.decimals(-99, 99, places=2).map(str),
    DAYS | st.dates().map(str),
    TIMES | st.datetimes().map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}Z"),
    TEXT,
)
GOOD_ROW = st.tuples(
    st.sampled_from(["a", "b", "é"]),
    st.sampled_from(["1", "1.0", "2"]),
    TEXT,
    TEXT.filter(bool),
    st.decimals(-99, 99, places=2).map(str),
    st.dates(min_value=date(1000, 1, 1)).map(str),
    st.just("2026-11-01T07:01:26Z"),
    TEXT.filter(bool),
)


def as_csv(schema_: TableSchema, rows: list[tuple[str, ...]]) -> bytes:
    quoted = (",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows)
    header = ",".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in schema_.column_names)
    return ("\n".join([header, *quoted]) + "\n").encode()


def blocks_of(data: bytes, schema_: TableSchema) -> tuple[RowConverter, list[Any]]:
    reader = CsvBlocks(Feed(io.BytesIO(data), used_up=len), ",")
    header = reader.read_header(schema_, "file")
    return RowConverter(schema_, header.columns), list(reader)


def check(schema_: TableSchema, rows: list[tuple[str, ...]]) -> None:
    data = as_csv(schema_, rows)
    expected = list(read_rows(io.BytesIO(data), schema_, "file"))
    good = [row for row in expected if isinstance(row, Row)]
    converter, found = blocks_of(data, schema_)
    keyed = [converter.keys_of(piece) for piece in found]
    assert [line for part in keyed for line in part.lines] == [row.line for row in good]
    assert [key for part in keyed for key in part.keys] == [row.key for row in good]
    assert [entry for part in keyed for entry in part.rejects] == [row for row in expected if isinstance(row, Reject)]
    built = [converter.requests_of(piece, None) for piece in found]
    assert [line for part in built for line in part.lines] == [row.line for row in good]
    requests = [json.loads(request) for part in built for request in part.requests]
    assert requests == [{"PutRequest": {"Item": row.item}} for row in good]


@settings(max_examples=300)
@given(schema_=st.sampled_from(SCHEMAS), rows=st.lists(ROW, min_size=1, max_size=6))
def test_blocks_give_what_single_rows_give(schema_: TableSchema, rows: list[tuple[str, ...]]) -> None:
    check(schema_, rows)


@settings(max_examples=150)
@given(schema_=st.sampled_from(SCHEMAS), rows=st.lists(GOOD_ROW, min_size=1, max_size=20))
def test_blocks_of_good_rows_give_what_single_rows_give(schema_: TableSchema, rows: list[tuple[str, ...]]) -> None:
    check(schema_, rows)


@settings(max_examples=150)
@given(rows=st.lists(ROW, min_size=1, max_size=8), left_out=st.sets(st.integers(2, 12)))
def test_rows_that_are_left_out_leave_the_others_as_they_are(rows: list[tuple[str, ...]], left_out: set[int]) -> None:
    data = as_csv(SCHEMAS[0], [tuple(cell.replace("\n", " ").replace("\r", " ") for cell in row) for row in rows])
    converter, found = blocks_of(data, SCHEMAS[0])
    whole = [converter.requests_of(piece, None) for piece in found]
    part = [converter.requests_of(piece, left_out.__contains__) for piece in found]
    kept = {
        line: json.loads(request)
        for piece in whole
        for line, request in zip(piece.lines, piece.requests, strict=True)
        if line not in left_out
    }
    assert kept == {
        line: json.loads(request) for piece in part for line, request in zip(piece.lines, piece.requests, strict=True)
    }


def test_a_key_beyond_the_limit_is_rejected_in_a_block_too() -> None:
    rows = [("a", "1", "t", "f", "1", "2026-11-01", "2026-11-01T07:01:26Z", "o")]
    check(
        SCHEMAS[0],
        [*rows, ("k" * 2049, *rows[0][1:]), ("é" * 1000, *rows[0][1:]), (*rows[0][:1], "r" * 1025, *rows[0][2:])],
    )


def dated(**changes: Any) -> TableSchema:
    """Return a schema whose keys are a date and a timestamp."""
    columns = [
        {"name": "day", "type": "date", "formats": ["%Y-%m-%d", "%Y/%m/%d"], "key": "hash", **changes},
        {"name": "at", "type": "timestamp", "formats": FORMATS, "key": "range"},
        {"name": "text"},
    ]
    return parse_schema(json.dumps({"version": 1, "columns": columns}), "dated.json")


@pytest.mark.parametrize("changes", [{}, {"normalised_as": "day_iso"}])
def test_a_day_written_in_two_ways_is_two_keys_as_it_is_stored_in_two_ways(changes: dict[str, str]) -> None:
    at = "2026-11-01T07:01:26Z"
    days = ["2026-11-01", "2026/11/01", " 2026-11-01", "2026-11-01"]
    rows = [*((day, at, "t") for day in days), *(("2026-11-01", f" {at}"[begin:], "t") for begin in (0, 1))]
    check(dated(**changes), rows)
    converter, found = blocks_of(as_csv(dated(**changes), rows), dated(**changes))
    assert isinstance(found[0], Block)
    keys = converter.keys_of(found[0]).keys
    assert len(set(keys)) == 4
    assert keys[0] == keys[3] == keys[5]


def test_spaces_around_a_day_count_against_the_limit_of_a_key() -> None:
    at = "2026-11-01T07:01:26Z"
    check(dated(), [("2026-11-01", at, "t"), (" " * 2040 + "2026-11-01", at, "t"), ("2026-11-01", at + " " * 1024, "")])


@pytest.mark.parametrize("width", [7, 9])
def test_rows_of_another_width_are_rejected_alone(width: int) -> None:
    row = ("a", "1", "t", "f", "1", "2026-11-01", "2026-11-01T07:01:26Z", "o")
    data = as_csv(SCHEMAS[0], [row])
    data += b",".join([b"x"] * width) + b"\n\n" + ",".join(("b", *row[1:])).encode() + b"\n"
    converter, (block,) = blocks_of(data, SCHEMAS[0])
    assert isinstance(block, Block)
    keyed = converter.keys_of(block)
    assert len(keyed.keys) == 2
    assert [entry.line for entry in keyed.rejects] == [keyed.lines[0] + 1]


def test_a_request_is_what_batch_write_item_takes() -> None:
    assert encode({"k": {"S": 'é"'}}) == '{"PutRequest":{"Item":{"k":{"S":"é\\""}}}}'.encode()


@pytest.mark.parametrize(
    "numbers",
    [["5", "-7.25", "0", ""], ["5\n7"], ["1", "2\n3"], ["\n2", "1"], ["1\n"], ["-0"], ["1.10"], ["1" * 18], ["1" * 19]],
)
def test_a_column_of_normal_numbers_is_told_from_what_only_looks_so(numbers: list[str]) -> None:
    row = ("a", "1", "t", "f", "1", "2026-11-01", "2026-11-01T07:01:26Z", "o")
    check(SCHEMAS[0], [(f"k{place}", *row[1:4], number, *row[5:]) for place, number in enumerate(numbers)])
