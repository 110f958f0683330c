"""Real CSV, block by block: the same records as line by line, at the speed of csv.reader.

A block is cut off at a line end that looks like the end of a record (an even number of quotes before it) and
parsed whole. Where csv.reader finds nothing to object to in it and comes to its end outside of quotes, the cut
was a record's end, and the block's records are those of one pass over the file: a CSV reader that stands at a
record's end remembers nothing of what was before. In any other case (broken quoting, bytes that are not UTF-8,
NUL bytes, a record longer than the block) the records are read line by line, by the rules of ``csv_rows``.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

from dynamodb_bulk.csv_rows import (
    MAX_RECORD_CHARACTERS,
    Header,
    Lines,
    Readable,
    Record,
    read_records,
    take_header,
)
from dynamodb_bulk.garbage import collector_paused
from dynamodb_bulk.schema import TableSchema

BLOCK_BYTES = 256 * 1024
_PREVIEW_BYTES = 16 * 1024
_PASSED_BYTES = 1024 * 1024
_LINES_READ = attrgetter("line_num")
_BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Records that csv.reader read without any objection.

    Args:
        rows: their cells; a blank line is an empty row.
        lines: the line on which each of them starts.
        texts: the physical lines of the block.
        first_line: the number of the first of `texts`.
        size: length in bytes.
    """

    rows: list[list[str]]
    lines: Sequence[int]
    texts: list[str]
    first_line: int
    size: int

    def records(self) -> Iterator[Record]:
        """Yield the records one by one, blank lines left out."""
        ends = [*self.lines[1:], self.first_line + len(self.texts)]
        for fields, line, end in zip(self.rows, self.lines, ends, strict=True):
            if fields:
                raw = "".join(self.texts[line - self.first_line : end - self.first_line])
                yield Record(line, fields, raw, None)


class Feed:
    """The bytes of a stream that are not used up yet.

    Args:
        stream: where the bytes come from.
        length: how many bytes to take at most; all when None.
        used_up: called with all bytes, in order, once they are used up.
    """

    def __init__(self, stream: Readable, *, length: int | None = None, used_up: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._left = length
        self._used_up = used_up
        self.data = b""
        self.ended = False
        self.position = 0

    def fill(self, size: int) -> None:
        """Hold `size` bytes at least, or all that are left."""
        pieces = [self.data]
        held = len(self.data)
        while held < size and not self.ended:
            wanted = size - held
            piece = self._stream.read(wanted if self._left is None else min(wanted, self._left))
            if self._left is not None:
                self._left -= len(piece)
            self.ended = not piece
            pieces.append(piece)
            held += len(piece)
        self.data = b"".join(pieces)

    def holds_more(self) -> bool:
        """Tell whether there is a byte left."""
        self.fill(1)
        return bool(self.data)

    def use(self, size: int) -> None:
        """Use up `size` of the bytes held."""
        self._used_up(self.data[:size])
        self.data = self.data[size:]
        self.position += size

    def use_all(self, size: int) -> bool:
        """Use up the next `size` bytes, held or not; tell whether there were so many."""
        while size:
            self.fill(min(size, BLOCK_BYTES))
            taken = min(size, len(self.data))
            if not taken:
                return False
            self.use(taken)
            size -= taken
        return True


class _Preview(io.RawIOBase):
    """Reads a feed's bytes; uses up none but those that are passed over, lest a line without end fill the memory."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._cursor = 0
        self.used = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # The more is held, the more is added at once: all that is held is copied each time.
        self._feed.fill(self._cursor + max(min(len(buffer), _PREVIEW_BYTES), self._cursor // 2))
        piece = self._feed.data[self._cursor : self._cursor + len(buffer)]
        buffer[: len(piece)] = piece
        self._cursor += len(piece)
        return len(piece)

    def pass_over(self, position: int) -> None:
        """Use up the bytes before `position`, counted from the beginning, if they are many."""
        size = position - self.used
        if size >= _PASSED_BYTES:
            self._feed.use(size)
            self._cursor -= size
            self.used = position


class CsvBlocks:
    """Reads records from a feed that stands at the beginning of one.

    Args:
        feed: the bytes.
        delimiter: what separates the cells.
        next_line: the number of the first line.
        block_bytes: bytes that are parsed at once.
    """

    def __init__(self, feed: Feed, delimiter: str, *, next_line: int = 1, block_bytes: int = BLOCK_BYTES) -> None:
        # csv's limit holds for the whole process, and is only ever raised.
        if csv.field_size_limit() < MAX_RECORD_CHARACTERS:
            csv.field_size_limit(MAX_RECORD_CHARACTERS)
        self._feed = feed
        self._delimiter = delimiter
        self._block_bytes = block_bytes
        self.next_line = next_line

    def read_header(self, schema: TableSchema, name: str) -> Header:
        """Read the header of a file that stands at its beginning.

        Raises:
            EmptyFileError, NotCsvError, HeaderError: it is not the one that the schema asks for.
        """
        self._feed.fill(len(_BOM))
        if self._feed.data.startswith(_BOM):
            self._feed.use(len(_BOM))
        lines, preview = self._lines()
        header = take_header(read_records(lines, self._delimiter), schema, name)
        self._use(lines, preview)
        return header

    def __iter__(self) -> Iterator[Block | list[Record]]:
        """Yield the records: blocks of good ones, lists where some need a closer look."""
        feed = self._feed
        while feed.holds_more():
            # A record may be longer than a block, so a second try has twice as much.
            found = self._next_block(self._block_bytes) or self._next_block(self._block_bytes * 2)
            if found is None:
                yield self._read_carefully(self._block_bytes // 2)
            else:
                feed.use(found.size)
                self.next_line += len(found.texts)
                yield found

    def _next_block(self, size: int) -> Block | None:
        """Return the next block, of at most `size` bytes, if it can be parsed whole."""
        self._feed.fill(size)
        data = self._feed.data[:size]
        for end in self._ends(data):
            block = self._parse(data[:end])
            if block is not None:
                return block
        return None

    def _ends(self, data: bytes) -> list[int]:
        """Return where data may be cut, the best place first."""
        if self._feed.ended and len(data) == len(self._feed.data):
            return [len(data)]
        marks = [mark for mark in (b"\n", b"\r") if mark in data]
        if b"\r\n" in data:
            marks.remove(b"\r")
        return [end for mark in marks for end in _cuts(data, mark)]

    def _parse(self, data: bytes) -> Block | None:
        if len(data) > MAX_RECORD_CHARACTERS or b"\0" in data:
            return None
        try:
            texts = list(io.StringIO(data.decode("utf-8"), newline=""))
            reader = csv.reader(texts, delimiter=self._delimiter, strict=True)
            with collector_paused:
                # After each record the reader is asked how many lines it has read.
                read = list(zip(reader, map(_LINES_READ, repeat(reader)), strict=False))
        except (UnicodeDecodeError, csv.Error):
            return None
        rows = [row for row, _ in read]
        lines: Sequence[int] = range(self.next_line, self.next_line + len(rows))
        if len(rows) != len(texts):
            lines = [self.next_line, *(self.next_line + end for _, end in read[:-1])]
        return Block(rows, lines, texts, self.next_line, len(data))

    def _read_carefully(self, until: int) -> list[Record]:
        """Read records line by line up to the first one that ends at or behind `until`."""
        lines, preview = self._lines()
        records = []
        for record in read_records(lines, self._delimiter):
            records.append(record)
            # What is used up cannot be read again, so the lines that were read ahead over it are taken too.
            if lines.position >= max(until, preview.used):
                break
        self._use(lines, preview)
        return records

    def _lines(self) -> tuple[Lines, _Preview]:
        preview = _Preview(self._feed)
        return (
            Lines(
                preview,
                MAX_RECORD_CHARACTERS,
                first_line=self.next_line,
                encoding="utf-8",
                passed=preview.pass_over,
            ),
            preview,
        )

    def _use(self, lines: Lines, preview: _Preview) -> None:
        self.next_line = lines.next_line
        self._feed.use(lines.position - preview.used)


def _cuts(data: bytes, mark: bytes) -> list[int]:
    """Return the places behind a line end at which to cut, the best one first."""
    # A CR that comes last may be the first half of a CRLF.
    last = data.rfind(mark, 0, len(data) - (mark == b"\r")) + 1
    even = last
    odd = data.count(b'"', 0, even) & 1
    while odd and even > len(data) // 2:
        before = data.rfind(mark, 0, even - 1) + 1
        odd ^= data.count(b'"', before, even) & 1
        even = before
    # Where quotes stand inside of unquoted cells their number says nothing; a try shows.
    cuts = [last] if odd or even == last else [even, last]
    return [cut for cut in cuts if cut]
