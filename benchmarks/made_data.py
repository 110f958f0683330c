"""The tables and files that the benchmarks work on: functions of an index, so that nothing need be kept.

A made table is named ``bench-<items>-<differences>``. Two of them with the same number of items differ in just
that many items, so the server needs no memory of what it holds, and a table may be as large as it likes.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

HASH_KEY, RANGE_KEY = "order_id", "item_id"
KEY_NAMES = (HASH_KEY, RANGE_KEY)
PAGE_BYTES = 1024 * 1024
"""Where DynamoDB ends a page, by its own count of an item's size."""

COLUMNS = (
    "order_id",
    "item_id",
    "customer_id",
    "product",
    "amount",
    "quantity",
    "currency",
    "time_stamp",
    "status",
    "notes",
)

SCHEMA_YAML = """
version: 1
columns:
  - {name: order_id, type: string, key: hash}
  - {name: item_id, type: string, key: range}
  - {name: customer_id, type: string}
  - {name: product, type: string}
  - {name: amount, type: number}
  - {name: quantity, type: number}
  - {name: currency, type: string}
  - {name: time_stamp, type: string}
  - {name: status, type: string}
  - {name: notes, type: string}
"""
"""The schema of a made CSV file. Text and numbers only: the baseline does no more with a row than that."""

MIXED_SCHEMA_YAML = """
version: 1
columns:
  - {name: order_id, type: string, key: hash}
  - {name: item_id, type: number, key: range}
  - {name: amount, type: number}
  - {name: product, type: string, empty: store}
  - {name: placed, type: date, formats: ["%d.%m.%Y"], normalised_as: placed_day}
  - {name: notes, type: string}
"""
"""The schema of a made file whose values are as different as a CSV file's can be."""

_PRODUCTS = ("Salmon fillet, skin on", "Jalapeño peppers", "Crème fraîche", '"00" pizza flour', "Basmati rice, 5 kg")
_NOTES = (
    "leave at the door",
    "ring twice,\nthen wait",
    'the "blue" gate — behind the café',
    "no onions; nuts are fine",
    "call before, please: the bell is broken and the dog is friendly",
)
_NO_NUMBER = "not a number"
_MIXED_NUMBERS = (
    "0",
    "-0.00",
    "195.70",
    "0012.5",
    "1e3",
    "-1.5E-7",
    "12345678901234567890123456789012345678",
    "0.00000000000000000000000000000000000001",
    "-99999999999999999999999999999999999999",
    "1E+125",
    _NO_NUMBER,
)
_MIXED_TEXTS = (
    "plain",
    "",
    'the "blue" gate, at the back',
    "one\ntwo\r\nthree",
    "Crème fraîche — 15 %",
    "魚の切り身",
    "\U0001f41f and \U0001f35e",
    " spaces around ",
    "tab\tand \\ backslash",
    "e\u0301 is not é",
)
_TABLE = re.compile(r"bench-(\d+)-(\d+)")
_KINDS = 3
_CHANGED, _MISSING, _EXTRA = range(_KINDS)

_ITEM = (
    '{"order_id":{"S":"o-%08d"},"item_id":{"S":"i-%03d"},"customer_id":{"S":"c-%06d"},"product":{"S":"%s"},'
    '"amount":{"N":"%s"},"quantity":{"N":"%d"},"currency":{"S":"USD"},"time_stamp":{"S":"%s"},'
    '"tags":{"SS":["t%d","a%d","m%d"]},"notes":{"S":"%s"}}'
)


def table_name(items: int, differences: int = 0) -> str:
    """Return the name of a made table."""
    return f"bench-{items}-{differences}"


class MadeTable:
    """A table's content, by its name.

    Args:
        name: as :func:`table_name` makes it; any other name is an empty table.
    """

    def __init__(self, name: str) -> None:
        found = _TABLE.fullmatch(name)
        self.items, self.differences = (int(found[1]), int(found[2])) if found else (0, 0)
        self._places = {number * self.items // self.differences: number for number in range(self.differences)}
        # Extra items stand behind the others, so that all others have the same index in every table.
        self.end = self.items + self.differences

    def has(self, index: int) -> bool:
        """Tell whether the table has an item with this index."""
        if index >= self.items:
            return (index - self.items) % _KINDS == _EXTRA
        number = self._places.get(index)
        # A difference of the kind "extra" takes nothing away from here.
        return number is None or number % _KINDS != _MISSING

    def item(self, index: int) -> str:
        """Return an item as JSON in DynamoDB's wire form."""
        number = self._places.get(index, -1)
        changed = number >= 0 and number % _KINDS == _CHANGED
        return _ITEM % (
            index,
            index % 7,
            index % 4001,
            _escaped(_PRODUCTS[index % len(_PRODUCTS)]),
            _amount(index + changed),
            index % 9 + 1,
            _time_stamp(index),
            index % 11,
            index % 13,
            index % 17,
            _escaped(_NOTES[index % len(_NOTES)]),
        )


def key_of(index: int) -> dict[str, Any]:
    """Return the key of an item in wire form."""
    return {HASH_KEY: {"S": f"o-{index:08d}"}, RANGE_KEY: {"S": f"i-{index % 7:03d}"}}


def index_of(key: dict[str, Any]) -> int:
    """Return the index of the item with this key."""
    return int(key[HASH_KEY]["S"][2:])


def write_csv(path: Path, rows: int) -> None:
    """Write a file of so many rows, all with different keys, for the schema above."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_row(index) for index in range(rows))


def _row(index: int) -> tuple[str, ...]:
    return (
        f"o-{index:08d}",
        f"i-{index % 7:03d}",
        f"c-{index % 4001:06d}",
        _PRODUCTS[index % len(_PRODUCTS)],
        _amount(index),
        str(index % 9 + 1),
        "USD",
        _time_stamp(index),
        "paid",
        _NOTES[index % len(_NOTES)],
    )


def write_mixed_csv(path: Path, rows: int) -> int:
    """Write a file for the mixed schema, with keys that come again and rows that no table takes.

    Returns:
        How many items it stands for.
    """
    items: set[tuple[str, Decimal]] = set()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("order_id", "item_id", "amount", "product", "placed", "notes"))
        writer.writeheader()
        for index in range(rows):
            # Every seventh row has the key of one before it, with the number written in another way.
            again = index % 7 == 6
            key = index - 5 if again else index
            row = {
                "order_id": f"o-{key // 3}",
                "item_id": f"{key % 3}.50" if again else f"{key % 3}.5",
                "amount": _MIXED_NUMBERS[index % len(_MIXED_NUMBERS)],
                "product": _MIXED_TEXTS[index % len(_MIXED_TEXTS)],
                "placed": f"{index % 28 + 1:02d}.{index % 12 + 1:02d}.2026",
                "notes": _MIXED_TEXTS[index * 3 % len(_MIXED_TEXTS)] * (index % 3),
            }
            writer.writerow(row)
            item = mixed_item(row)
            if item is not None:
                items.add((row["order_id"], Decimal(row["item_id"])))
    return len(items)


def mixed_item(row: dict[str, str]) -> dict[str, Any] | None:
    """Return the item that a row of a mixed file stands for; None where it stands for none."""
    if row["amount"] == _NO_NUMBER:
        return None
    day, month, year = row["placed"].split(".")
    item = {
        "order_id": {"S": row["order_id"]},
        "item_id": {"N": row["item_id"]},
        "amount": {"N": row["amount"]},
        "product": {"S": row["product"]},
        "placed": {"S": row["placed"]},
        "placed_day": {"S": f"{year}-{month}-{day}"},
    }
    return {**item, "notes": {"S": row["notes"]}} if row["notes"] else item


def nasty_files(rows: int) -> Iterator[tuple[str, bytes]]:
    """Yield CSV files that are easily cut in the wrong place: name and content."""
    for name, line_end in (("LF", "\n"), ("CRLF", "\r\n"), ("CR", "\r")):
        yield f"quoted newlines, {name}", _nasty(rows, line_end)
    yield "BOM, quoted newlines, CRLF", b"\xef\xbb\xbf" + _nasty(rows, "\r\n")
    yield "no newline at the end", _nasty(rows, "\n").rstrip(b"\n")
    yield "nothing quoted", b"a,b,c\n" + b"".join(b"%d,plain,text\n" % index for index in range(rows))


def _nasty(rows: int, line_end: str) -> bytes:
    """Return rows whose cells look like rows: quotes, commas and line ends of all kinds inside of quotes."""
    cells = (
        "plain",
        "",
        'say ""hi""',
        "one\ntwo",
        'x","y\r\n1,2,3\r\n"',
        '""',
        "\n\n",
        '\n"\n',
        "ünï—cödé\r",
        "a,b,c\n9,9,9\n",
    )
    table = [("a", "b", "c")]
    for index in range(rows):
        table.append((str(index), cells[index % len(cells)], cells[(index * 7 + index // 10) % len(cells)]))
    return "".join(",".join(map(_quoted, row)) + line_end for row in table).encode("utf-8")


def _quoted(cell: str) -> str:
    # csv.writer would leave a CR bare where lines end with LF alone.
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in '",\r\n') else cell


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _amount(index: int) -> str:
    # As DynamoDB returns numbers: without zeroes at the end.
    return f"{index * 37 % 100_000 / 100:.2f}".rstrip("0").rstrip(".") or "0"


def _time_stamp(index: int) -> str:
    return f"2026-11-{index % 28 + 1:02d}T{index % 24:02d}:{index % 60:02d}:{index * 7 % 60:02d}Z"
