"""Real CSV, row by row: from a stream of bytes to DynamoDB items and rejected rows, in constant memory.

Read is what RFC 4180 describes, with LF, CRLF or CR line ends, a UTF-8 byte order mark or none, and
quoted cells that hold delimiters, quotes (doubled) and line ends. A blank line is no row. A row's number
is the physical line on which it starts, the first line of the file being 1.

A row with broken quoting must not swallow the rows behind it. So only its first physical line is
rejected and reading resumes at the next one: each physical line ends up in an item or in a reject.
"""

import csv
import hashlib
import io
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from dynamodb_bulk.errors import EmptyFileError, HeaderError, NotCsvError
from dynamodb_bulk.schema import Column, TableSchema
from dynamodb_bulk.values import (
    BadValueError,
    WireItem,
    item_size,
    normalise_date,
    normalise_number,
    normalise_timestamp,
    shown,
)

MAX_ITEM_BYTES = 400 * 1024
MAX_HASH_KEY_BYTES = 2048
MAX_RANGE_KEY_BYTES = 1024
MAX_RAW_BYTES = 2048
KEY_HASH_BYTES = 16

# A longer record can only be a mistake (a quote that is never closed), and memory must stay bounded.
MAX_RECORD_CHARACTERS = 4 * 1024 * 1024

# More than a number or a normalised date or timestamp takes.
_TYPED_BYTES = 40

# UTF-8 takes no more for a character.
_CHARACTER_BYTES = 4

_READ_BYTES = 256 * 1024
SURROGATE = re.compile("[\ud800-\udfff]")
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_OTHER_DELIMITERS = (",", ";", "\t", "|")


class Readable(Protocol):
    """Anything that hands out bytes: an open file, the body of an S3 object."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, and none at the end."""
        ...


class Row(NamedTuple):
    """A row that became an item.

    Args:
        line: the line on which the row starts.
        item: the item in DynamoDB's low-level form.
        key: a hash of the item's key, equal for equal keys only.
        size: the item's size in bytes by DynamoDB's count, or an upper bound far below the limit.
    """

    line: int
    item: WireItem
    key: bytes
    size: int


class Reject(NamedTuple):
    """A row that cannot become an item, and why; `field` is None where the whole row is at fault."""

    line: int
    field: str | None
    reason: str
    raw: str


class Header(NamedTuple):
    """The columns of a file, as they stand in its first record."""

    columns: tuple[str, ...]
    line: int


class _Line(NamedTuple):
    number: int
    text: str
    too_long: bool
    size: int


class Record(NamedTuple):
    """A record of a file: where it starts, its cells, its text, and what is wrong with it, if anything is."""

    line: int
    fields: list[str]
    raw: str
    problem: str | None


class _BrokenRecordError(Exception):
    """The record under the reader cannot be read to its end."""


class SourceTap(io.RawIOBase):
    """Passes a stream's bytes on, and counts and hashes them on their way.

    Args:
        source: what is read; it is not closed.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.bytes_read = 0

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with the next bytes and return how many there were."""
        chunk = self._source.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._hash.update(chunk)
        self.bytes_read += len(chunk)
        return len(chunk)

    def sha256(self) -> str:
        """Return the hash of all bytes passed on so far, in hex."""
        return self._hash.hexdigest()


class Lines:
    """Physical lines for csv.reader; remembers those of the record at hand and takes lines back.

    Args:
        source: the bytes, from the beginning of a record.
        limit: characters that a record may have.
        first_line: the number of the first line.
        encoding: ``utf-8-sig`` at the beginning of a file, where a byte order mark may stand, else ``utf-8``.
        passed: called with a number of bytes, from the beginning of `source`, that nobody will ask for again.
    """

    def __init__(
        self,
        source: Readable,
        limit: int,
        *,
        first_line: int = 1,
        encoding: str = "utf-8-sig",
        passed: Callable[[int], object] | None = None,
    ) -> None:
        # newline="" keeps line ends as they are; a byte that is not UTF-8 comes through as a lone
        # surrogate, so that it costs its own row only.
        self._text = io.TextIOWrapper(
            io.BufferedReader(source if isinstance(source, io.RawIOBase) else SourceTap(source), _READ_BYTES),
            encoding=encoding,
            errors="surrogateescape",
            newline="",
        )
        self._limit = limit
        self._number = first_line - 1
        self._passed = passed
        self._bytes_read = 0
        self._returned: deque[_Line] = deque()
        self._characters = 0
        self.taken: list[_Line] = []
        self.position = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._read()
        self.taken.append(line)
        self.position += line.size
        self._characters += len(line.text)
        if line.too_long or self._characters > self._limit:
            raise _BrokenRecordError(f"longer than {self._limit} characters; is a quote never closed?")
        return line.text

    @property
    def next_line(self) -> int:
        """The number of the line that is handed out next."""
        return self._returned[0].number if self._returned else self._number + 1

    def start_record(self) -> None:
        """Forget the lines of the last record."""
        self.taken = []
        self._characters = 0
        if self._passed:
            self._passed(self.position)

    def give_back_all_but_first(self) -> None:
        """Keep the first line of the record at hand; the others are read again."""
        self._returned.extendleft(reversed(self.taken[1:]))
        self.position -= sum(line.size for line in self.taken[1:])
        del self.taken[1:]

    def _read(self) -> _Line:
        text = self._text.readline(self._limit)
        if not text:
            raise StopIteration
        self._number += 1
        rest = text
        size = _byte_length(text)
        while len(rest) == self._limit and rest[-1] not in "\r\n":
            rest = self._text.readline(self._limit)
            size += _byte_length(rest)
            # The rest of a line that is too long is only counted.
            if self._passed:
                self._passed(self._bytes_read + size)
        self._bytes_read += size
        return _Line(self._number, text, rest is not text, size)


def _byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def inspect_header(stream: Readable, schema: TableSchema, name: str) -> Header:
    """Check that a file is CSV, has the header that the schema asks for, and a row; reads no further.

    Args:
        stream: the file's bytes from its beginning.
        schema: what the file should hold.
        name: the file's name for messages.

    Raises:
        EmptyFileError: no byte, or no row and the schema does not allow that.
        NotCsvError: binary, not UTF-8, or no CSV.
        HeaderError: columns are missing, unknown or repeated.
    """
    records = read_records(Lines(stream, MAX_RECORD_CHARACTERS), schema.delimiter)
    header = take_header(records, schema, name)
    if not schema.allow_no_rows and next(records, None) is None:
        raise no_rows(name)
    return header


def no_rows(name: str) -> EmptyFileError:
    """Return the error for a file that has a header and nothing else."""
    return EmptyFileError(
        f"{name} has a header and no row; expected at least one (the schema's 'allow_no_rows' permits none)"
    )


def read_rows(
    stream: Readable, schema: TableSchema, name: str, *, max_record: int = MAX_RECORD_CHARACTERS
) -> Iterator[Row | Reject]:
    """Yield an item or a reject for each row of a file, in the order of the file.

    Args:
        stream: the file's bytes from its beginning, read once, in pieces; it is not closed.
        schema: what the file should hold.
        name: the file's name for messages.
        max_record: characters that one record may have.

    Raises:
        EmptyFileError: no byte at all.
        NotCsvError: binary, not UTF-8, or no CSV.
        HeaderError: columns are missing, unknown or repeated.
    """
    records = read_records(Lines(stream, max_record), schema.delimiter)
    builder = ItemBuilder(schema, take_header(records, schema, name).columns)
    for record in records:
        try:
            item, key, size = builder.build(record)
        except RowProblemError as problem:
            yield reject(record, problem)
        else:
            yield Row(record.line, item, key, size)


def read_records(lines: Lines, delimiter: str) -> Iterator[Record]:
    """Yield the records of a file, broken ones too; blank lines are left out."""
    # The limit is csv's own and holds for the whole process. It is only ever raised: an item may have
    # 400 KB in one cell, and what is longer is turned away by `Lines`.
    if csv.field_size_limit() < MAX_RECORD_CHARACTERS:
        csv.field_size_limit(MAX_RECORD_CHARACTERS)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.start_record()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _BrokenRecordError) as error:
            lines.give_back_all_but_first()
            first = lines.taken[0]
            problem = f"the row is {error}" if first.too_long else f"broken quoting: {error}"
            yield Record(first.number, [], first.text, problem)
        else:
            if fields:
                raw = "".join([line.text for line in lines.taken])
                yield Record(lines.taken[0].number, fields, raw, None)


def reject(record: Record, problem: "RowProblemError") -> Reject:
    """Return the reject for a record that cannot become an item."""
    return Reject(record.line, problem.field, problem.reason, cut_raw(record.raw))


def cut_raw(raw: str) -> str:
    """Return at most 2 KB of a record for the rejects file, with bytes that are not UTF-8 made visible."""
    data = raw.rstrip("\r\n")[:MAX_RAW_BYTES].encode("utf-8", "surrogateescape")
    if len(data) > MAX_RAW_BYTES:
        end = MAX_RAW_BYTES
        while data[end] & 0xC0 == 0x80 and end > MAX_RAW_BYTES - 4:
            end -= 1
        data = data[:end]
    return data.decode("utf-8", "backslashreplace")


# --- header ---------------------------------------------------------------------------------------


def take_header(records: Iterator[Record], schema: TableSchema, name: str) -> Header:
    """Take the first record, which must be the header that the schema asks for.

    Raises:
        EmptyFileError, NotCsvError, HeaderError: it is not.
    """
    expected = f"expected a UTF-8 CSV file with the header {schema.delimiter.join(schema.column_names)}"
    record = next(records, None)
    if record is None or not record.raw.strip():
        raise EmptyFileError(f"{name} is empty; {expected}")
    # Some files are separated by a control character on purpose.
    strange = _NO_TEXT.search(record.raw.replace(schema.delimiter, ""))
    if strange:
        hint = " (it looks like UTF-16)" if record.raw[:2] in ("\udcff\udcfe", "\udcfe\udcff") else ""
        raise NotCsvError(f"{name} is not UTF-8 text{hint}; {expected}")
    if record.problem:
        raise NotCsvError(f"{name} does not begin with a CSV header: {record.problem}; {expected}")
    columns = tuple(field.strip() for field in record.fields)
    problems = _header_problems(columns, schema)
    if problems:
        raise HeaderError(f"{name}, line {record.line}: {'; '.join(problems)}; {expected}")
    return Header(columns, record.line)


def _header_problems(columns: tuple[str, ...], schema: TableSchema) -> list[str]:
    needed = [column.name for column in schema.columns if column.required]
    # Counted once: where a file of another kind has but one line, that has as many cells as the file.
    counts = Counter(columns)
    found = {
        "missing": [column for column in needed if column not in counts],
        "unknown": [column for column in counts if column not in schema.column_names],
        "repeated": [column for column, count in counts.items() if count > 1],
    }
    problems = [f"{kind} columns: {', '.join(map(shown, names[:20]))}" for kind, names in found.items() if names]
    if problems and len(columns) == 1:
        other = next((d for d in _OTHER_DELIMITERS if d != schema.delimiter and d in columns[0]), None)
        if other:
            problems.append(f"the columns seem to be separated by {other!r}, not by {schema.delimiter!r}")
    return problems


# --- rows to items --------------------------------------------------------------------------------


class RowProblemError(Exception):
    """A row cannot become an item; `field` is None where the whole row is at fault."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


class ItemBuilder:
    """Builds items from the records of one file; made once per file, as the header orders the columns."""

    def __init__(self, schema: TableSchema, header: tuple[str, ...]) -> None:
        self._width = len(header)
        self._header = header
        self._cells = [
            (header.index(column.name), column, schema.empty_rule(column), _normaliser(column))
            for column in schema.columns
            if column.name in header
        ]
        names = [*header, *(column.normalised_as or "" for column in schema.columns)]
        self.overhead = sum(len(name.encode("utf-8")) + _TYPED_BYTES for name in names)
        self._keys = [
            (column, MAX_HASH_KEY_BYTES if column.key == "hash" else MAX_RANGE_KEY_BYTES)
            for column in schema.key_columns
        ]

    def build(self, record: Record) -> tuple[WireItem, bytes, int]:
        """Return a record's item, the hash of its key, and its size or an upper bound of it."""
        self._check_record(record)
        item: WireItem = {}
        for position, column, when_empty, normalise in self._cells:
            text = record.fields[position]
            if not text or (normalise and not text.strip()):
                if when_empty == "reject":
                    raise RowProblemError(column.name, "is an empty key" if column.key else "is empty")
                if when_empty == "store":
                    item[column.name] = {"S": ""}
            elif normalise is None:
                item[column.name] = {"S": text}
            else:
                _add_typed(item, column, text, normalise)
        key = self._hash_key(item)
        size = self.overhead + len(record.raw) * _CHARACTER_BYTES
        if size <= MAX_ITEM_BYTES:
            return item, key, size
        size = item_size(item)
        if size > MAX_ITEM_BYTES:
            raise RowProblemError(None, f"the item has {size} bytes, DynamoDB takes {MAX_ITEM_BYTES}")
        return item, key, size

    def _check_record(self, record: Record) -> None:
        # A row that is not text is named so, whatever else is wrong with it.
        if not record.raw.isascii() and SURROGATE.search(record.raw):
            raise RowProblemError(self._field_with(SURROGATE, record.fields), "is not valid UTF-8")
        if record.problem:
            raise RowProblemError(None, record.problem)
        if "\0" in record.raw:
            raise RowProblemError(self._field_with(re.compile("\0"), record.fields), "holds a NUL byte")
        if len(record.fields) != self._width:
            kind = "short" if len(record.fields) < self._width else "long"
            raise RowProblemError(
                None, f"the row is too {kind}: {len(record.fields)} fields, the header has {self._width}"
            )

    def _field_with(self, pattern: re.Pattern[str], fields: list[str]) -> str | None:
        if len(fields) != self._width:
            return None
        return next((self._header[i] for i, text in enumerate(fields) if pattern.search(text)), None)

    def _hash_key(self, item: WireItem) -> bytes:
        parts = []
        for column, limit in self._keys:
            text = item[column.name][column.attribute_type]
            parts.append(text)
            if len(text) * _CHARACTER_BYTES > limit and len(text.encode("utf-8")) > limit:
                raise RowProblemError(
                    column.name,
                    f"the {column.key} key has {len(text.encode('utf-8'))} bytes, DynamoDB takes {limit}",
                )
        # No row with a NUL comes so far. With one between them, no part of a key can pass for a part of another.
        return hashlib.blake2b("\0".join(parts).encode("utf-8"), digest_size=KEY_HASH_BYTES).digest()


def _add_typed(item: WireItem, column: Column, text: str, normalise: Callable[[str], str]) -> None:
    try:
        normalised = normalise(text.strip())
    except BadValueError as error:
        raise RowProblemError(column.name, str(error)) from error
    if column.type == "number":
        item[column.name] = {"N": normalised}
        return
    item[column.name] = {"S": text}
    if column.normalised_as:
        item[column.normalised_as] = {"S": normalised}


def _normaliser(column: Column) -> Callable[[str], str] | None:
    formats = column.formats
    if column.type == "number":
        return normalise_number
    if column.type == "date":
        return lambda text: normalise_date(text, formats)
    if column.type == "timestamp":
        return lambda text: normalise_timestamp(text, formats)
    return None
