from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_bulk.values import (
    BadValueError,
    item_size,
    normalise_date,
    normalise_number,
    normalise_timestamp,
)

DATES = ("%m-%d-%Y", "%Y-%m-%d")
STAMPS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2756", "2756"),
        ("195.70", "195.7"),
        ("+007.50", "7.5"),
        ("-0", "0"),
        ("0.000", "0"),
        ("0e99999", "0"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1E+2", "100"),
        ("100e-2", "1"),
        ("-1.20e3", "-1200"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("0.12345678901234567890123456789012345678", "0.12345678901234567890123456789012345678"),
        ("123456789012345678901234567890123456780000", "1.2345678901234567890123456789012345678E+41"),
        ("1e-130", "1E-130"),
        ("9.9999999999999999999999999999999999999E+125", "9.9999999999999999999999999999999999999E+125"),
        ("1" + "0" * 125, "1E+125"),
    ],
)
def test_numbers_are_written_as_dynamodb_keeps_them(text: str, expected: str) -> None:
    assert normalise_number(text) == expected
    assert Decimal(expected) == Decimal(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "not a decimal number"),
        ("inf", "not a decimal number"),
        ("-Infinity", "not a decimal number"),
        ("1_000", "not a decimal number"),
        ("1,000.00", "not a decimal number"),
        ("0x10", "not a decimal number"),
        ("٣", "not a decimal number"),
        ("12 000", "not a decimal number"),
        (".", "not a decimal number"),
        ("1e", "not a decimal number"),
        ("--1", "not a decimal number"),
        ("1e126", "outside of"),
        ("1e-131", "outside of"),
        ("1" + "0" * 126, "outside of"),
        ("1e999999999999999999999", "outside of"),
        ("1e-999999999999999999999", "outside of"),
        ("123456789012345678901234567890123456789", "39 significant digits"),
        ("1.00000000000000000000000000000000000001", "39 significant digits"),
    ],
)
def test_what_dynamodb_cannot_hold_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadValueError, match=reason):
        normalise_number(text)


@given(
    sign=st.sampled_from(["", "-", "+"]),
    digits=st.integers(min_value=0, max_value=10**38 - 1),
    exponent=st.integers(min_value=-130, max_value=88),
    padding=st.text("0", max_size=5),
)
def test_normalising_keeps_the_number_and_is_stable(sign: str, digits: int, exponent: int, padding: str) -> None:
    text = f"{sign}{padding}{digits}e{exponent}"
    normalised = normalise_number(text)
    assert Decimal(normalised) == Decimal(text)
    assert normalise_number(normalised) == normalised


def test_equal_numbers_have_one_text() -> None:
    assert {normalise_number(text) for text in ("100", "1e2", "+100.000", "0100", "1000E-1")} == {"100"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9-2-2020", "2020-09-02"),
        ("09-02-2020", "2020-09-02"),
        ("2020-09-02", "2020-09-02"),
        ("2-29-2024", "2024-02-29"),
        ("12-31-0999", "0999-12-31"),
    ],
)
def test_dates(text: str, expected: str) -> None:
    assert normalise_date(text, DATES) == expected


def test_a_format_may_have_words_of_any_script_but_a_date_only_plain_digits() -> None:
    formats = ("%Y年%m月%d日",)
    assert normalise_date("2020年9月02日", formats) == "2020-09-02"
    with pytest.raises(BadValueError, match="is no date of the form"):
        normalise_date("2020年٩月02日", formats)


@pytest.mark.parametrize("text", ["2-29-2023", "13-1-2020", "9/2/2020", "2020-9", "yesterday", "9-2-٢٠٢٠", ""])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(BadValueError, match="is no date of the form %m-%d-%Y or %Y-%m-%d"):
        normalise_date(text, DATES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-09-02T03:54:12Z", "2020-09-02T03:54:12Z"),
        ("2020-09-02T03:54:12+02:00", "2020-09-02T01:54:12Z"),
        ("2020-09-01T23:30:00-0800", "2020-09-02T07:30:00Z"),
        ("2020-09-02T03:54:12.250Z", "2020-09-02T03:54:12.250000Z"),
        ("2020-09-02 03:54:12", "2020-09-02T03:54:12Z"),
    ],
)
def test_timestamps(text: str, expected: str) -> None:
    assert normalise_timestamp(text, STAMPS) == expected


@pytest.mark.parametrize("text", ["2020-09-02", "2020-09-02T25:00:00Z", "2020-09-02T03:54:60Z", "1598997252"])
def test_what_is_no_timestamp(text: str) -> None:
    with pytest.raises(BadValueError, match="is no timestamp of the form"):
        normalise_timestamp(text, STAMPS)


def test_a_timestamp_that_utc_cannot_hold() -> None:
    with pytest.raises(BadValueError, match="outside of the years"):
        normalise_timestamp("9999-12-31T23:59:59-05:00", STAMPS)


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": {"S": ""}}, 1),
        ({"a": {"S": "xyz"}}, 4),
        ({"é": {"S": "烏龍"}}, 2 + 6),
        ({"n": {"N": "0"}}, 1 + 1),
        ({"n": {"N": "7"}}, 1 + 1 + 1),
        ({"n": {"N": "1234"}}, 1 + 2 + 1),
        ({"n": {"N": "-12345"}}, 1 + 3 + 1 + 1),
        ({"n": {"N": "1.5E+100"}}, 1 + 1 + 1),
        ({"n": {"N": "1200"}}, 1 + 1 + 1),
        ({"a": {"S": "x"}, "n": {"N": "10"}}, 2 + 3),
    ],
)
def test_item_sizes(item: dict[str, dict[str, str]], size: int) -> None:
    assert item_size(item) == size
