import csv
import io
import random
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_bulk import csv_blocks
from dynamodb_bulk.csv_blocks import Block, CsvBlocks, Feed
from dynamodb_bulk.csv_rows import MAX_RECORD_CHARACTERS, Lines, Record, SourceTap, read_records

PIECES = st.sampled_from(
    [
        b"a",
        b",",
        b'"',
        b'""',
        b"\n",
        b"\r\n",
        b"\r",
        b"1,2,3\n",
        b'"x\ny",z\n',
        b'"x\r\ny ""q""",z\r\n',
        b'pan 12",1\n',
        b'"q" b\n',
        b"\xff",
        b"\0",
        "é烏🍮".encode(),
        "\u2028\x85\x0b\x0c\x1c".encode(),
        b"\xef\xbb\xbf",
    ]
)


def one_by_one(data: bytes, limit: int = MAX_RECORD_CHARACTERS) -> list[Record]:
    """Records by one pass of csv.reader over physical lines."""
    return list(read_records(Lines(SourceTap(io.BytesIO(data)), limit, encoding="utf-8"), ","))


def by_blocks(data: bytes, block_bytes: int) -> tuple[list[Record], int]:
    """Records by blocks, and how many of the pieces were blocks."""
    used = io.BytesIO()
    reader = CsvBlocks(Feed(io.BytesIO(data), used_up=used.write), ",", block_bytes=block_bytes)
    records: list[Record] = []
    blocks = 0
    for found in reader:
        blocks += isinstance(found, Block)
        records += found.records() if isinstance(found, Block) else found
    assert used.getvalue() == data
    return records, blocks


@settings(max_examples=400)
@given(pieces=st.lists(PIECES, max_size=50), block_bytes=st.sampled_from([1, 2, 3, 7, 20, 64, 1000]))
def test_any_bytes_are_read_as_by_one_pass(pieces: list[bytes], block_bytes: int) -> None:
    data = b"".join(pieces)
    records, _ = by_blocks(data, block_bytes)
    assert records == one_by_one(data)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("block_bytes", [200, 1000, 10_000_000])
def test_good_files_are_read_in_blocks(line_end: str, block_bytes: int) -> None:
    draw = random.Random(4)
    cells = ["a", "", "x, y", 'say "hi"', "two\nlines", "two\r\nlines", "é", " "]
    rows = [[draw.choice(cells) for _ in range(3)] for _ in range(500)]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows([["k", *row] for row in rows])
    records, blocks = by_blocks(text.getvalue().encode(), block_bytes)
    assert [record.fields[1:] for record in records] == rows
    # Line ends of another kind inside of cells hide where the records end; it is right then, but slow.
    assert line_end == "\r" or blocks >= len(text.getvalue()) / block_bytes / 4
    assert records == one_by_one(text.getvalue().encode())


def test_a_record_longer_than_a_block_and_one_longer_than_allowed() -> None:
    long = b'1,"' + b"x\n" * 3000 + b'"\n'
    too_long = b'2,"' + b"y" * (MAX_RECORD_CHARACTERS + 10) + b'"\n'
    data = long + b"3,c\n" + too_long + b"4,d\n"
    records, _ = by_blocks(data, 1000)
    assert [record.line for record in records] == [1, 3002, 3003, 3004]
    assert [bool(record.problem) for record in records] == [False, False, True, False]
    assert records == one_by_one(data)


def test_a_stray_quote_in_every_other_line_does_not_confuse() -> None:
    data = b"".join(b'%d,pan %d",x\n%d,"a, b",y\n' % (n, n, n) for n in range(2000))
    records, blocks = by_blocks(data, 5000)
    assert records == one_by_one(data)
    assert blocks > 5


def test_the_reader_goes_on_where_a_feed_stood() -> None:
    data = b"a\nb\nc\nd\n"
    seen = io.BytesIO()
    feed = Feed(io.BytesIO(data), length=6, used_up=seen.write)
    assert feed.use_all(2)
    reader = CsvBlocks(feed, ",", next_line=2)
    assert [record.line for found in reader if isinstance(found, Block) for record in found.records()] == [2, 3]
    assert seen.getvalue() == data[:6]
    assert not feed.use_all(1)
    assert not feed.holds_more()


@settings(max_examples=400)
@given(
    pieces=st.lists(PIECES | st.sampled_from([b"x" * 70, b"\n" * 50]), max_size=50),
    block_bytes=st.sampled_from([1, 20, 64]),
    passed=st.sampled_from([1, 5, 40]),
    limit=st.sampled_from([30, 50]),
)
def test_bytes_that_are_passed_over_early_change_nothing(
    pieces: list[bytes], block_bytes: int, passed: int, limit: int
) -> None:
    data = b"".join(pieces)
    with mock.patch.multiple(csv_blocks, _PASSED_BYTES=passed, MAX_RECORD_CHARACTERS=limit):
        records, _ = by_blocks(data, block_bytes)
    assert records == one_by_one(data, limit)


class Watched(io.BytesIO):
    """Bytes that note how many of them their reader holds."""

    feed: Feed
    most_held = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most_held = max(self.most_held, len(self.feed.data))
        return super().read(size)


@pytest.mark.parametrize(
    ("byte", "count", "problems", "next_line", "held"),
    [
        (b"x", 24 * 2**20, ["broken quoting", "the row is longer than"], 5, 16 * 2**20),
        (b"\n", 2 * 2**20, ["broken quoting"], 2 * 2**20 + 5, 7 * 2**18),
    ],
)
def test_a_line_without_end_and_blank_lines_without_end_do_not_fill_the_memory(
    byte: bytes, count: int, problems: list[str], next_line: int, held: int
) -> None:
    # The stray quote before them has them looked at line by line.
    stream = Watched(b'1,2\n"a"b,3\n' + byte * count + b"\n4,5\n")
    stream.feed = feed = Feed(stream, used_up=len)
    reader = CsvBlocks(feed, ",")
    records = [record for found in reader for record in (found.records() if isinstance(found, Block) else found)]
    assert [record.fields for record in records if not record.problem] == [["1", "2"], ["4", "5"]]
    found_problems = [record.problem for record in records if record.problem]
    assert [found[: len(wanted)] for found, wanted in zip(found_problems, problems, strict=True)] == problems
    assert stream.most_held < held
    assert reader.next_line == next_line
