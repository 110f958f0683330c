"""Cutting a CSV file into pieces that many processes can read, without cutting through a record.

A record may hold line ends between quotes, and a quote may stand in a cell without meaning anything. So whether a
line end is the end of a record can only be told by one who has read all that is before it. The whole file is
therefore gone through once, by the block (see ``csv_blocks``), which takes about as long as csv.reader alone; what
many processes are wanted for, checking, writing and waiting, takes far longer. So the pieces hold what one pass of
csv.reader finds, in any file.
"""

import hashlib
from typing import BinaryIO

from dynamodb_bulk.csv_blocks import BLOCK_BYTES, CsvBlocks, Feed
from dynamodb_bulk.csv_rows import no_rows
from dynamodb_bulk.schema import TableSchema
from dynamodb_bulk.survey import Layout, Shard


def cut_shards(
    stream: BinaryIO,
    schema: TableSchema,
    *,
    source_name: str,
    shard_bytes: int,
    max_shards: int,
) -> Layout:
    """Read a file to its end and return where it can be cut.

    Args:
        stream: the file, from its beginning; it can be asked for its length.
        schema: what the file should hold.
        source_name: the file's name for messages.
        shard_bytes: bytes that a shard has at least, but for the last one.
        max_shards: shards become larger than `shard_bytes` rather than more than that.

    Raises:
        EmptyFileError, NotCsvError, HeaderError: the file cannot be loaded.
    """
    length = stream.seek(0, 2)
    stream.seek(0)
    # Rounded up, and a shard ends with the block that reaches its size: so there can't be more than that.
    least = max(1, shard_bytes, -(-length // max_shards))
    total = hashlib.sha256()
    part = hashlib.sha256()

    def used_up(data: bytes) -> None:
        total.update(data)
        part.update(data)

    feed = Feed(stream, used_up=used_up)
    reader = CsvBlocks(feed, schema.delimiter, block_bytes=min(BLOCK_BYTES, least))
    header = reader.read_header(schema, source_name)
    header_bytes, header_sha256, first_line = feed.position, part.hexdigest(), reader.next_line
    shards: list[Shard] = []
    rows = False
    found = iter(reader)
    while feed.holds_more():
        part = hashlib.sha256()
        start, line = feed.position, reader.next_line
        for piece in found:
            rows = rows or bool(piece if isinstance(piece, list) else any(piece.rows))
            if feed.position - start >= least:
                break
        shards.append(Shard(len(shards), start, feed.position, line, reader.next_line - line, part.hexdigest()))
    if not rows and not schema.allow_no_rows:
        raise no_rows(source_name)
    return Layout(
        columns=header.columns,
        header_bytes=header_bytes,
        header_sha256=header_sha256,
        first_line=first_line,
        shards=tuple(shards),
        size=feed.position,
        sha256=total.hexdigest(),
    )
