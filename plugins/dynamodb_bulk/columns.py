"""Rows to items a block at a time: each column is checked and converted in one go, then the items are put together.

What comes out is what ``csv_rows.ItemBuilder`` makes of the same rows one by one; a block with a row that it would
reject, or that needs a closer look, is left to it. Most blocks have none, and cost a fraction this way.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import repeat
from json.encoder import encode_basestring
from typing import NamedTuple

import orjson

from dynamodb_bulk.csv_blocks import Block
from dynamodb_bulk.csv_rows import (
    KEY_HASH_BYTES,
    MAX_HASH_KEY_BYTES,
    MAX_ITEM_BYTES,
    MAX_RANGE_KEY_BYTES,
    ItemBuilder,
    Record,
    Reject,
    Row,
    RowProblemError,
    reject,
)
from dynamodb_bulk.schema import Column, TableSchema
from dynamodb_bulk.values import (
    BadValueError,
    WireItem,
    normalise_date,
    normalise_number,
    normalise_timestamp,
)

# What the hash of a whole number or decimal fraction needs no Decimal for. At most 36 digits, so none is lost.
_PLAIN_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]{0,17}))(?:\.([0-9]{0,17}[1-9])?0*)?", re.ASCII)
# A column, each cell with a line end behind it, whose numbers are all as they are stored already.
_NORMAL_NUMBERS = re.compile(r"(?:(?:-?[1-9][0-9]{0,17}|0|-?(?:0|[1-9][0-9]{0,17})\.[0-9]{0,16}[1-9])?\n)*+", re.ASCII)
_UTC_FORMAT = "%Y-%m-%dT%H:%M:%S%z"
_UTC = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z")
_CHARACTER_BYTES = 4
# A key of so many characters is within DynamoDB's limit, whatever they are.
_KEY_CHARACTERS = {"hash": MAX_HASH_KEY_BYTES // _CHARACTER_BYTES, "range": MAX_RANGE_KEY_BYTES // _CHARACTER_BYTES}
_REQUEST_BEGIN = '{"PutRequest":{"Item":{'
_REQUEST_END = "}}}"
_NEGATIVE_ZERO = "-0"
_MAX_BLOCK_BYTES = 300 * 1024


class _LeaveToBuilderError(Exception):
    """A block has a row that is not for the fast way."""


def encode(item: WireItem) -> bytes:
    """Return the request that puts an item, as one of those that BatchWriteItem takes."""
    return orjson.dumps({"PutRequest": {"Item": item}})


class KeyedRows(NamedTuple):
    """Rows that can become items: the lines on which they start and the hashes of their keys."""

    lines: Sequence[int]
    keys: Sequence[bytes]
    rejects: Sequence[Reject]


class BuiltRows(NamedTuple):
    """The requests that put the items of rows, and the lines of the rows."""

    lines: Sequence[int]
    requests: Sequence[bytes]


class _Cells(NamedTuple):
    position: int
    column: Column
    rejects_empty: bool
    stores_empty: bool
    normalise: Callable[[str], str] | None
    max_characters: int | None
    names: tuple[str, ...]


class RowConverter:
    """Converts the rows of one file; made once per file, as its header orders the columns.

    Args:
        schema: what the columns are and become.
        header: the names of the columns in the order of the file.
    """

    def __init__(self, schema: TableSchema, header: tuple[str, ...]) -> None:
        self._builder = ItemBuilder(schema, header)
        self._width = len(header)
        self._cells = [
            _Cells(
                position=header.index(column.name),
                column=column,
                rejects_empty=schema.empty_rule(column) == "reject",
                stores_empty=schema.empty_rule(column) == "store",
                normalise=_normaliser(column),
                max_characters=_KEY_CHARACTERS.get(column.key or ""),
                names=tuple(
                    orjson.dumps(name).decode() for name in (column.name, column.normalised_as) if name is not None
                ),
            )
            for column in schema.columns
            if column.name in header
        ]
        self._keys = [
            next(cells for cells in self._cells if cells.column.name == column.name) for column in schema.key_columns
        ]
        self._ordered = [*self._keys, *(cells for cells in self._cells if cells not in self._keys)]
        # A row is never longer than its block. So where a block and all names fit into an item, each row does.
        self._fits = self._builder.overhead + _MAX_BLOCK_BYTES <= MAX_ITEM_BYTES

    def keys_of(self, found: Block | Sequence[Record]) -> KeyedRows:
        """Check rows, and hash the keys of those that can become items."""
        if isinstance(found, Block):
            try:
                rows, lines = self._regular(found)
                columns = list(zip(*rows, strict=True))
                for cells in self._cells if rows else ():
                    if cells.normalise is not None or cells.rejects_empty:
                        self._texts(cells, columns[cells.position])
                return KeyedRows(lines, self._hash_keys(columns) if rows else [], [])
            except _LeaveToBuilderError:
                found = list(found.records())
        built = [self.convert(record) for record in found]
        rows_ = [row for row in built if isinstance(row, Row)]
        rejects = [row for row in built if isinstance(row, Reject)]
        return KeyedRows([row.line for row in rows_], [row.key for row in rows_], rejects)

    def requests_of(self, found: Block | Sequence[Record], skip: Callable[[int], bool] | None) -> BuiltRows:
        """Build the requests that put the items of all rows that can become some.

        Args:
            found: the rows.
            skip: tells for a line whether the row on it is left out; None where none is.
        """
        if isinstance(found, Block):
            try:
                block = found
                if skip is not None:
                    kept = [(row, line) for row, line in zip(found.rows, found.lines, strict=True) if not skip(line)]
                    block = found._replace(rows=[row for row, _ in kept], lines=[line for _, line in kept])
                rows, lines = self._regular(block)
                return BuiltRows(lines, self._build(rows))
            except _LeaveToBuilderError:
                found = list(found.records())
        built = [self.convert(record) for record in found if skip is None or not skip(record.line)]
        rows_ = [row for row in built if isinstance(row, Row)]
        return BuiltRows([row.line for row in rows_], [encode(row.item) for row in rows_])

    def convert(self, record: Record) -> Row | Reject:
        """Convert a single row."""
        try:
            item, key, size = self._builder.build(record)
        except RowProblemError as problem:
            return reject(record, problem)
        return Row(record.line, item, key, size)

    def _regular(self, block: Block) -> tuple[list[list[str]], Sequence[int]]:
        """Return a block's rows and their lines, if all rows have the header's width."""
        if block.size > _MAX_BLOCK_BYTES or not self._fits:
            raise _LeaveToBuilderError
        rows, lines = block.rows, block.lines
        if [] in rows:
            lines = [line for row, line in zip(rows, lines, strict=True) if row]
            rows = [row for row in rows if row]
        if set(map(len, rows)) - {self._width}:
            raise _LeaveToBuilderError
        return rows, lines

    def _texts(self, cells: _Cells, given: Sequence[str]) -> Sequence[str]:
        """Return a column normalised; an empty cell stays empty."""
        texts = given
        if cells.normalise is not None and not (cells.normalise is _number and _are_normal_numbers(given)):
            try:
                texts = list(map(cells.normalise, given))
            except BadValueError as error:
                raise _LeaveToBuilderError from error
        if cells.rejects_empty and "" in texts:
            raise _LeaveToBuilderError
        if cells.max_characters is not None and max(map(len, _stored(cells, given, texts))) > cells.max_characters:
            raise _LeaveToBuilderError
        return texts

    def _hash_keys(self, columns: Sequence[Sequence[str]]) -> list[bytes]:
        keys = []
        for cells in self._keys:
            given = columns[cells.position]
            keys.append(_stored(cells, given, self._texts(cells, given)))
        joined = map("\0".join, zip(*keys, strict=True))
        return [blake2b(text, digest_size=KEY_HASH_BYTES).digest() for text in map(str.encode, joined)]

    def _build(self, rows: list[list[str]]) -> list[bytes]:
        """Return the requests for rows, put together as text: what is the same for all of them is made once."""
        if not rows:
            return []
        columns = list(zip(*rows, strict=True))
        # Key attributes come first. They are never left out, so what follows can bring its comma along.
        parts: list[Iterable[str]] = []
        lead = _REQUEST_BEGIN
        for cells in self._ordered:
            given = columns[cells.position]
            texts = self._texts(cells, given)
            kind = cells.column.attribute_type
            stored = _stored(cells, given, texts)
            if kind == "S":
                stored = _json_text(stored)
            may_miss = "" in texts
            if may_miss and cells.stores_empty:
                stored = [text if full else "" for text, full in zip(stored, texts, strict=True)]
            lead = _add_part(parts, lead, cells.names[0], kind, stored, None if cells.stores_empty else texts, may_miss)
            if cells.column.normalised_as:
                lead = _add_part(parts, lead, cells.names[1], "S", texts, texts, may_miss)
        parts.append(repeat(f"{lead.removesuffix(',')}{_REQUEST_END}"))
        return list(map(str.encode, map("".join, zip(*parts, strict=False))))


def _stored(cells: _Cells, given: Sequence[str], texts: Sequence[str]) -> Sequence[str]:
    """Return what is stored of a column: a number is normalised, a date is as it was given."""
    return texts if cells.column.attribute_type == "N" else given


def _add_part(
    parts: list[Iterable[str]],
    lead: str,
    name: str,
    kind: str,
    values: Sequence[str],
    present: Sequence[str] | None,
    may_miss: bool,
) -> str:
    """Add an attribute to the parts that requests are put together of; return what comes before the next one.

    Args:
        parts: what comes before.
        lead: text that is still to come before the attribute.
        name: the attribute's name, as JSON.
        kind: its type.
        values: its values as JSON, without quotes.
        present: is empty where the attribute is left out; None where it never is.
        may_miss: whether `present` is empty anywhere.
    """
    begin = f'{name}:{{"{kind}":"'
    if present is None or not may_miss:
        parts += [repeat(lead + begin), values]
        return '"},'
    parts += [
        repeat(lead.removesuffix(",")),
        [f',{begin}{value}"}}' if there else "" for value, there in zip(values, present, strict=True)],
    ]
    return ","


def _json_text(texts: Sequence[str]) -> Sequence[str]:
    """Return texts as they stand between the quotes of JSON."""
    joined = "".join(texts)
    if '"' in joined or "\\" in joined or not joined.isprintable():
        return [encode_basestring(text)[1:-1] for text in texts]
    return texts


def _normaliser(column: Column) -> Callable[[str], str] | None:
    """Return what normalises a cell of a column, cached; what is empty but for spaces becomes empty."""
    if column.type == "number":
        return _number
    if column.type == "date":
        return _cached(partial(normalise_date, formats=column.formats))
    if column.type == "timestamp":
        cached = _cached(partial(normalise_timestamp, formats=column.formats))
        return partial(_utc_timestamp, cached) if column.formats[0] == _UTC_FORMAT else cached
    return None


def _cached(normalise: Callable[[str], str]) -> Callable[[str], str]:
    return lru_cache(maxsize=8192)(lambda text: normalise(text.strip()) if text.strip() else "")


def _are_normal_numbers(texts: Sequence[str]) -> bool:
    """Tell whether ``_number`` would leave all of them as they are, at a tenth of the cost of asking it."""
    joined = "\n".join([*texts, ""])
    # A cell with a line end in it would pass for two.
    return _NORMAL_NUMBERS.fullmatch(joined) is not None and joined.count("\n") == len(texts)


def _number(text: str) -> str:
    """Do what ``normalise_number`` does, without a Decimal where the number is a plain one."""
    match = _PLAIN_NUMBER.fullmatch(text)
    if match is None:
        return normalise_number(text.strip()) if text.strip() else ""
    whole, fraction = match.groups()
    if fraction:
        return f"{whole}.{fraction}"
    return "0" if whole == _NEGATIVE_ZERO else str(whole)


def _utc_timestamp(otherwise: Callable[[str], str], text: str) -> str:
    """Do what ``normalise_timestamp`` does: a timestamp in UTC by the first format is normal already."""
    match = _UTC.fullmatch(text)
    return text if match and _is_day(match[1]) else otherwise(text)


@lru_cache(maxsize=8192)
def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
