import csv
import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_bulk.csv_rows import Reject, Row, SourceTap, inspect_header, read_rows
from dynamodb_bulk.errors import EmptyFileError, HeaderError, NotCsvError, SourceError
from dynamodb_bulk.schema import TableSchema, load_schema, parse_schema
from dynamodb_bulk.values import item_size

ORDERS = load_schema(Path(__file__).parents[3] / "include" / "data" / "orders_schema.yaml")
HEADER = "order_id,item_id,customer_id,product,amount,currency,time_stamp,transaction_date\n"
GOOD = '3801,23,421,"Salmon",2756,USD,2020-09-02T03:54:12Z,9-2-2020\n'
SMALL = parse_schema(
    json.dumps(
        {
            "version": 1,
            "empty_values": "store",
            "columns": [
                {"name": "k", "key": "hash"},
                {"name": "r", "key": "range"},
                {"name": "a"},
                {"name": "b", "required": False},
            ],
        }
    ),
    "small.json",
)


def read(data: bytes | str, schema: TableSchema = ORDERS, **options: int) -> list[Row | Reject]:
    content = data.encode() if isinstance(data, str) else data
    return list(read_rows(io.BytesIO(content), schema, "orders.csv", **options))


def rows(found: list[Row | Reject]) -> list[Row]:
    return [row for row in found if isinstance(row, Row)]


def rejects(found: list[Row | Reject]) -> list[Reject]:
    return [row for row in found if isinstance(row, Reject)]


def order(line: int = 1, **cells: str) -> str:
    """A row of the orders file as text; cells are put in as they are, quotes and all."""
    values = {
        "order_id": str(line),
        "item_id": "1",
        "customer_id": "c",
        "product": "p",
        "amount": "1",
        "currency": "USD",
        "time_stamp": "2020-09-02T03:54:12Z",
        "transaction_date": "9-2-2020",
        **cells,
    }
    return ",".join(values.values()) + "\n"


def test_a_row_becomes_a_typed_item() -> None:
    (row,) = rows(read(HEADER + GOOD))
    assert row.line == 2
    assert row.item == {
        "order_id": {"S": "3801"},
        "item_id": {"S": "23"},
        "customer_id": {"S": "421"},
        "product": {"S": "Salmon"},
        "amount": {"N": "2756"},
        "currency": {"S": "USD"},
        "time_stamp": {"S": "2020-09-02T03:54:12Z"},
        "time_stamp_utc": {"S": "2020-09-02T03:54:12Z"},
        "transaction_date": {"S": "9-2-2020"},
        "transaction_date_iso": {"S": "2020-09-02"},
    }


@pytest.mark.parametrize(
    "data",
    [
        HEADER + GOOD,
        (HEADER + GOOD).replace("\n", "\r\n"),
        (HEADER + GOOD).replace("\n", "\r"),
        "\ufeff" + HEADER + GOOD,
        (HEADER + GOOD).rstrip("\n"),
        "\n\n" + HEADER + "\n" + GOOD + "\n\n",
        '"order_id"' + HEADER.removeprefix("order_id") + GOOD,
        HEADER.replace(",", " , ") + GOOD,
    ],
    ids=["lf", "crlf", "cr", "bom", "no end", "blank lines", "quoted header", "spaces in header"],
)
def test_line_ends_marks_and_blank_lines_do_not_matter(data: str) -> None:
    assert [row.item for row in rows(read(data))] == [row.item for row in rows(read(HEADER + GOOD))]


def test_columns_may_stand_in_any_order() -> None:
    turned = "\n".join(",".join(reversed(line.split(","))) for line in (HEADER + GOOD).splitlines())
    (row,) = rows(read(turned))
    assert row.item == rows(read(HEADER + GOOD))[0].item


def test_quoted_cells_hold_commas_quotes_and_line_ends() -> None:
    data = HEADER + order(1, product='"a, ""b""\nc\r\nd"') + order(2)
    found = rows(read(data))
    assert found[0].item["product"] == {"S": 'a, "b"\nc\r\nd'}
    assert [row.line for row in found] == [2, 5]


def test_a_quote_inside_an_unquoted_cell_is_a_character() -> None:
    (row,) = rows(read(HEADER + order(1, product='pan 12"')))
    assert row.item["product"] == {"S": 'pan 12"'}


def test_text_is_kept_as_it_is() -> None:
    (row,) = rows(read(HEADER + order(1, product="  Crème brûlée 🍮  ", customer_id=" ")))
    assert row.item["product"] == {"S": "  Crème brûlée 🍮  "}
    assert row.item["customer_id"] == {"S": " "}


def test_spaces_around_typed_cells_are_no_matter_and_dates_stay_as_given() -> None:
    (row,) = rows(read(HEADER + order(1, amount=" 7.50 ", transaction_date=" 9-2-2020")))
    assert row.item["amount"] == {"N": "7.5"}
    assert row.item["transaction_date"] == {"S": " 9-2-2020"}
    assert row.item["transaction_date_iso"] == {"S": "2020-09-02"}


def test_date_forms_may_be_mixed_in_a_file() -> None:
    data = HEADER + order(1, transaction_date="9-2-2020") + order(2, transaction_date="2020-09-02")
    assert [row.item["transaction_date_iso"]["S"] for row in rows(read(data))] == ["2020-09-02", "2020-09-02"]


def test_empty_cells_are_omitted_with_their_twins() -> None:
    (row,) = rows(read(HEADER + "1,1,,,,,,\n"))
    assert row.item == {"order_id": {"S": "1"}, "item_id": {"S": "1"}}


def test_empty_cells_are_stored_where_the_schema_says_so() -> None:
    (row,) = rows(read("k,r,a\n1,1,\n", SMALL))
    assert row.item == {"k": {"S": "1"}, "r": {"S": "1"}, "a": {"S": ""}}


def test_an_optional_column_that_is_there_is_read() -> None:
    (row,) = rows(read("b,k,r,a\nx,1,1,2\n", SMALL))
    assert row.item["b"] == {"S": "x"}


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ("1,2,3\n", None, "the row is too short: 3 fields, the header has 8"),
        (order().rstrip("\n") + ",more\n", None, "the row is too long: 9 fields, the header has 8"),
        ("   \n", None, "the row is too short: 1 fields"),
        (order(order_id=""), "order_id", "is an empty key"),
        (order(item_id=""), "item_id", "is an empty key"),
        (order(amount="twelve"), "amount", "'twelve' is not a decimal number"),
        (order(amount="NaN"), "amount", "'NaN' is not a decimal number"),
        (order(amount="inf"), "amount", "'inf' is not a decimal number"),
        (order(amount="1e400"), "amount", "'1e400' is outside of"),
        (order(amount="1" * 39), "amount", "39 significant digits"),
        (order(transaction_date="31-12-2020"), "transaction_date", "is no date of the form"),
        (order(time_stamp="noon"), "time_stamp", "is no timestamp of the form"),
        (order(order_id="k" * 2049), "order_id", "the hash key has 2049 bytes, DynamoDB takes 2048"),
        (order(order_id="é" * 1025), "order_id", "the hash key has 2050 bytes"),
        (order(item_id="k" * 1025), "item_id", "the range key has 1025 bytes, DynamoDB takes 1024"),
        (order(product="p" * 409_600), None, "DynamoDB takes 409600"),
        (order(product="a\0b"), "product", "holds a NUL byte"),
        (order(product='"a" b'), None, "broken quoting: ',' expected after '\"'"),
    ],
)
def test_a_bad_row_is_rejected_and_the_others_are_not(row: str, field: str | None, reason: str) -> None:
    found = read(HEADER + order(91) + row + order(92))
    assert [entry.item["order_id"]["S"] for entry in rows(found)] == ["91", "92"]
    (reject,) = rejects(found)
    assert (reject.line, reject.field) == (3, field)
    assert reason in reject.reason
    assert row.startswith(reject.raw[:2048])
    assert len(reject.raw) <= 2048


@pytest.mark.parametrize(
    ("product", "rejected"),
    [("p" * 409_420, False), ("p" * 409_600, True), ("p" * 200_000 + "é" * 105_000, True)],
)
def test_an_item_may_have_400_kilobytes(product: str, rejected: bool) -> None:
    found = read(HEADER + order(product=product))
    assert bool(rejects(found)) is rejected


def test_the_size_of_an_item_decides_to_the_byte() -> None:
    (row,) = rows(read(HEADER + order(product="p")))
    assert row.size >= item_size(row.item)
    fits = "p" * (400 * 1024 - item_size(row.item) + 1)
    assert rows(read(HEADER + order(product=fits)))[0].size == 400 * 1024
    assert rejects(read(HEADER + order(product=fits + "p")))


def test_a_row_that_is_not_utf8_is_rejected_alone() -> None:
    data = HEADER.encode() + order(1).encode() + order(2).encode().replace(b",p,", b",p\xff\xe9,")
    found = read(data + order(3, product="é").encode())
    assert [row.item["order_id"]["S"] for row in rows(found)] == ["1", "3"]
    (reject,) = rejects(found)
    assert (reject.line, reject.field, reject.reason) == (3, "product", "is not valid UTF-8")
    assert "p\\xff\\xe9" in reject.raw


def test_bytes_that_encode_a_surrogate_are_not_utf8() -> None:
    (reject,) = rejects(read(HEADER.encode() + order().encode().replace(b",p,", b",\xed\xa0\x80,")))
    assert reject.reason == "is not valid UTF-8"


def test_broken_quoting_costs_its_own_line_only() -> None:
    data = HEADER + order(1) + order(2, product='"never closed') + order(3) + order(4, product='"a, b"') + order(5)
    found = read(data)
    assert [row.item["order_id"]["S"] for row in rows(found)] == ["1", "3", "4", "5"]
    assert [reject.line for reject in rejects(found)] == [3]
    assert "broken quoting" in rejects(found)[0].reason


def test_a_quote_never_closed_costs_its_own_line_only() -> None:
    data = HEADER + order(1, product='"never closed') + "".join(order(number) for number in range(2, 50))
    found = read(data)
    assert [row.item["order_id"]["S"] for row in rows(found)] == [str(number) for number in range(2, 50)]
    assert [(reject.line, reject.raw) for reject in rejects(found)] == [(2, order(1, product='"never closed').rstrip())]


def test_a_file_cut_off_inside_a_quoted_cell() -> None:
    found = read(HEADER + order(1) + order(2, product='"cut off')[:20])
    assert len(rows(found)) == 1
    assert [reject.line for reject in rejects(found)] == [3]


def test_a_record_beyond_the_limit_is_rejected_line_by_line() -> None:
    data = HEADER + order(1, product='"' + "x\n" * 300 + '"') + order(2)
    found = read(data, max_record=400)
    assert [row.item["order_id"]["S"] for row in rows(found)] == ["2"]
    # The record has 301 physical lines; each is accounted for.
    assert [reject.line for reject in rejects(found)] == list(range(2, 303))
    assert "longer than 400 characters" in rejects(found)[0].reason


def test_a_line_beyond_the_limit_is_one_reject() -> None:
    data = HEADER + order(1, product="x" * 5000) + order(2)
    found = read(data, max_record=400)
    assert [row.line for row in rows(found)] == [3]
    (reject,) = rejects(found)
    assert reject.line == 2
    assert reject.reason == "the row is longer than 400 characters; is a quote never closed?"


def test_a_cell_longer_than_the_csv_modules_own_limit() -> None:
    csv.field_size_limit(131_072)
    (row,) = rows(read(HEADER + order(product="x" * 300_000)))
    assert len(row.item["product"]["S"]) == 300_000


@pytest.mark.parametrize("length", [2046, 2047, 2048, 2049])
def test_the_raw_text_of_a_reject_is_cut_between_characters(length: int) -> None:
    (reject,) = rejects(read(HEADER + "a" * length + "é烏\n"))
    assert len(reject.raw.encode()) <= 2048
    assert ("a" * length + "é烏").startswith(reject.raw)
    assert len(reject.raw.encode()) > 2044


def test_line_numbers_are_those_of_an_editor() -> None:
    data = HEADER + order(1, product='"two\nlines"') + "\n" + "bad\n" + order(2)
    found = read(data)
    assert [entry.line for entry in found] == [2, 5, 6]


def test_keys_that_read_the_same_when_joined_are_different() -> None:
    found = rows(read("k,r,a\nab,c,1\na,bc,2\nab,c,3\n", SMALL))
    assert found[0].key != found[1].key
    assert found[0].key == found[2].key


def test_number_keys_are_equal_by_value() -> None:
    schema = parse_schema('{"version": 1, "columns": [{"name": "n", "type": "number", "key": "hash"}]}', "numbers.json")
    first, second, third = rows(read("n\n1.0\n1\n10\n", schema))
    assert first.key == second.key != third.key


def test_another_delimiter() -> None:
    schema = SMALL.model_copy(update={"delimiter": ";"})
    (row,) = rows(read('k;r;a\n1;2;"x;y, z"\n', schema))
    assert row.item["a"] == {"S": "x;y, z"}


@pytest.mark.parametrize("delimiter", ["\x01", "\x1f", "|", " "])
def test_a_control_character_as_delimiter_is_no_sign_of_a_binary_file(delimiter: str) -> None:
    schema = SMALL.model_copy(update={"delimiter": delimiter})
    (row,) = rows(read(f"k{delimiter}r{delimiter}a\n1{delimiter}2{delimiter}x\n", schema))
    assert row.item["a"] == {"S": "x"}
    with pytest.raises(NotCsvError, match="is not UTF-8 text"):
        read(f"k{delimiter}r{delimiter}a\x02\n", schema)


def test_a_single_line_of_very_many_cells_is_refused_at_once() -> None:
    began = time.process_time()
    with pytest.raises(HeaderError, match=r"unknown columns: '0', '1', .*repeated columns: '7'"):
        read(",".join(map(str, [*range(100_000), 7])) + "\n")
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", EmptyFileError, "orders.csv is empty"),
        (b"\xef\xbb\xbf", EmptyFileError, "orders.csv is empty"),
        (b"\n \r\n\n", EmptyFileError, "orders.csv is empty"),
        (HEADER.encode(), EmptyFileError, "a header and no row"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", NotCsvError, "is not UTF-8 text"),
        (b"PK\x03\x04\x14\x00", NotCsvError, "is not UTF-8 text"),
        (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", HeaderError, "unknown columns: '%PDF-1.4'"),
        ((HEADER + GOOD).encode("utf-16"), NotCsvError, "looks like UTF-16"),
        (b'"order_id,item_id', NotCsvError, "does not begin with a CSV header: broken quoting"),
        (b'{"order_id": 1}\n', HeaderError, "missing columns: 'order_id', 'item_id'"),
        (b"order_id,item_id\n1,2\n", HeaderError, "missing columns: 'customer_id', 'product'"),
        (HEADER.replace("amount", "Amount").encode() + GOOD.encode(), HeaderError, "unknown columns: 'Amount'"),
        (HEADER.strip().encode() + b",note\n" + GOOD.encode(), HeaderError, "unknown columns: 'note'"),
        (HEADER.strip().encode() + b",\n" + GOOD.encode(), HeaderError, "unknown columns: ''"),
        (HEADER.strip().encode() + b",amount\n", HeaderError, "repeated columns: 'amount'"),
        (HEADER.replace(",", ";").encode(), HeaderError, "seem to be separated by ';', not by ','"),
        (GOOD.encode() * 2, HeaderError, "line 1: missing columns"),
    ],
)
def test_a_file_that_is_no_such_csv_is_named_with_what_was_expected(
    data: bytes, error: type[SourceError], message: str
) -> None:
    with pytest.raises(error) as raised:
        inspect_header(io.BytesIO(data), ORDERS, "orders.csv")
    assert message in str(raised.value)
    assert "orders.csv" in str(raised.value)
    assert "expected" in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n\x00", b"a,b\n1,2\n"])
def test_reading_rows_refuses_such_files_too(data: bytes) -> None:
    with pytest.raises(SourceError):
        read(data)


def test_inspecting_the_header_reads_no_further_than_the_first_row() -> None:
    stream = io.BytesIO((HEADER + GOOD * 50_000).encode())
    header = inspect_header(stream, ORDERS, "orders.csv")
    assert header.columns == ORDERS.column_names
    assert header.line == 1
    assert stream.tell() < 1_000_000


def test_a_file_without_rows_where_the_schema_allows_it() -> None:
    schema = ORDERS.model_copy(update={"allow_no_rows": True})
    assert inspect_header(io.BytesIO(HEADER.encode()), schema, "orders.csv").columns == ORDERS.column_names


def test_the_stream_stays_open_and_is_read_in_pieces() -> None:
    class Body:
        """Like the body of an S3 response: nothing but read()."""

        def __init__(self, data: bytes) -> None:
            self.inner = io.BytesIO(data)
            self.largest = 0

        def read(self, size: int, /) -> bytes:
            self.largest = max(self.largest, size)
            return self.inner.read(min(size, 1000))

    body = Body((HEADER + "".join(order(number) for number in range(5000))).encode())
    assert sum(1 for _ in read_rows(body, ORDERS, "orders.csv")) == 5000
    assert 0 < body.largest <= 1024 * 1024
    assert not body.inner.closed


def test_the_tap_counts_and_hashes_what_passes() -> None:
    tap = SourceTap(io.BytesIO(b"abc"))
    assert tap.read() == b"abc"
    assert tap.bytes_read == 3
    assert tap.sha256() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=150)
@given(
    table=st.lists(st.tuples(CELL.filter(bool), CELL.filter(bool), CELL), min_size=1, max_size=8),
    line_end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
)
def test_what_a_csv_writer_wrote_is_what_is_read(table: list[tuple[str, str, str]], line_end: str, bom: bool) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerow(("k", "r", "a"))
    writer.writerows(table)
    found = read(text.getvalue().encode("utf-8-sig" if bom else "utf-8"), SMALL)
    assert rejects(found) == []
    assert [tuple(value["S"] for value in row.item.values()) for row in rows(found)] == table
    assert all(row.size >= item_size(row.item) for row in rows(found))


@settings(max_examples=150)
@given(data=st.lists(st.sampled_from(["a", ",", '"', "\n", "1,2,3\n", "\r", "é", "\x00"]), max_size=60))
def test_any_text_is_read_to_its_end_and_each_line_is_met_once(data: list[str]) -> None:
    content = "".join(data)
    found = read("k,r,a\n" + content, SMALL)
    lines = [entry.line for entry in found]
    assert lines == sorted(set(lines))
    assert all(entry.item["k"]["S"] for entry in rows(found))
    physical = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert all(physical[entry.line - 2] for entry in found)
