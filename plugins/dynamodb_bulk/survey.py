"""The first pass of a load: what is in the file, and which of its rows are to be written.

The file is gone through in shards, pieces that end where a record ends. Of each shard are kept, in a checkpoint
store: what was counted, the rejected rows, and the keys of all others. Then :func:`decide` goes through the keys of
all shards together, and leaves with each shard the set of the lines that are not to be written: those of rejected
rows, and of rows that a later row with the same key replaces. Nothing of it depends on where the shards are cut.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from dynamodb_bulk.accounting import SAMPLE_SIZE, ByteSink, RejectLog
from dynamodb_bulk.checkpoints import CheckpointStore
from dynamodb_bulk.columns import RowConverter
from dynamodb_bulk.csv_blocks import Block, CsvBlocks, Feed
from dynamodb_bulk.csv_rows import Header, Record, Reject, no_rows
from dynamodb_bulk.errors import CheckpointMismatchError, CheckpointMissingError, TooManyRejectsError
from dynamodb_bulk.schema import TableSchema
from dynamodb_bulk.sources import OpenSource
from dynamodb_bulk.winners import KeyLog, KeyRun, LineSet, find_superseded

CLAIM = "load.json"
"""The document that is put before all others: what a checkpoint is of."""

_CHECKPOINT_VERSION = 2
_HEADER = "header.sha256"


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of a file that begins and ends where a record does.

    Args:
        index: its place among the file's shards.
        start: offset of its first byte.
        end: offset of the byte behind its last.
        first_line: the number of its first physical line.
        lines: how many physical lines it has.
        sha256: hash of its bytes, in hex.
    """

    index: int
    start: int
    end: int
    first_line: int
    lines: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardSurvey:
    """What the first pass found in a shard.

    Args:
        shard: the shard.
        rows_in: rows read.
        rejected: rows that cannot become items.
        rejects_sample: the first of them.
    """

    shard: Shard
    rows_in: int
    rejected: int
    rejects_sample: tuple[Reject, ...]

    def to_bytes(self) -> bytes:
        """Return the survey as JSON."""
        content = {**asdict(self), "rejects_sample": [list(entry) for entry in self.rejects_sample]}
        return json.dumps(content).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ShardSurvey":
        """Return the survey that :meth:`to_bytes` wrote."""
        content = json.loads(data)
        content["shard"] = Shard(**content["shard"])
        content["rejects_sample"] = tuple(Reject(*entry) for entry in content["rejects_sample"])
        return cls(**content)


@dataclass(frozen=True, slots=True)
class Decision:
    """Which rows of a file are to be written, as far as all shards together decide it.

    Args:
        duplicates: rows that a later row with the same key replaces.
        replacements: line and replacing line of the first of them.
        to_write: rows to be written, by shard.
    """

    duplicates: int
    replacements: tuple[tuple[int, int], ...]
    to_write: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Return the decision as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Decision":
        """Return the decision that :meth:`to_bytes` wrote."""
        content = json.loads(data)
        return cls(
            duplicates=content["duplicates"],
            replacements=tuple((line, replaced_by) for line, replaced_by in content["replacements"]),
            to_write=tuple(content["to_write"]),
        )


def document(index: int, name: str) -> str:
    """Return the name of a shard's document in the checkpoint store."""
    return f"shards/{index:05d}/{name}"


def find_survey(store: CheckpointStore, index: int) -> ShardSurvey | None:
    """Return what is known of a shard, if it was surveyed to its end."""
    data = store.get(document(index, "survey.json"))
    return None if data is None else ShardSurvey.from_bytes(data)


def survey_shard(
    found: Iterator[Block | list[Record]],
    reader: CsvBlocks,
    feed: Feed,
    converter: RowConverter,
    store: CheckpointStore,
    *,
    index: int,
    start: int,
    shard_bytes: int | None,
    digest: Callable[[], str],
    expected: Shard | None = None,
) -> ShardSurvey:
    """Read a shard and keep what is found.

    Args:
        found: what `reader` yields.
        reader: stands at the shard's first line.
        feed: where `reader` reads from.
        converter: checks the rows.
        store: takes what is found.
        index: the shard's place.
        start: offset of the shard's first byte in the file.
        shard_bytes: the shard ends with the first block after so many bytes; with the feed if None.
        digest: returns the hash, in hex, of the bytes that the feed used up since the shard's beginning.
        expected: the shard as it was planned; where it is another now, nothing is kept.
    """
    first_line, began = reader.next_line, feed.position
    keys = KeyLog()
    sink = io.BytesIO()
    rejects = RejectLog(sink)
    unfit: list[int] = []
    for piece in found:
        rows = converter.keys_of(piece)
        keys.add(rows.lines, rows.keys)
        for entry in rows.rejects:
            rejects.add(entry)
            unfit.append(entry.line)
        if shard_bytes is not None and feed.position - began >= shard_bytes:
            break
    shard = Shard(
        index=index,
        start=start,
        end=start + feed.position - began,
        first_line=first_line,
        lines=reader.next_line - first_line,
        sha256=digest(),
    )
    lines = LineSet(shard.first_line, shard.lines)
    for line in unfit:
        lines.add(line)
    survey = ShardSurvey(shard, keys.count + rejects.count, rejects.count, rejects.sample)
    if expected is not None and shard != expected:
        return survey
    store.put(document(index, "keys.bin"), keys.to_bytes())
    store.put(document(index, "rejects.jsonl"), sink.getvalue())
    store.put(document(index, "unfit.bin"), lines.to_bytes())
    # Written last: where it is, the others are.
    store.put(document(index, "survey.json"), survey.to_bytes())
    return survey


def decide(surveys: Sequence[ShardSurvey], store: CheckpointStore) -> Decision:
    """Find out which rows are to be written, and keep for each shard the lines that are not."""
    skipped = [LineSet.from_bytes(required(store, document(at, "unfit.bin"))) for at in range(len(surveys))]
    runs = [KeyRun(_reader_of(store, document(at, "keys.bin"))) for at in range(len(surveys))]
    sample = find_superseded(runs, found=lambda at, line: skipped[at].add(line), sample_size=SAMPLE_SIZE)
    for at, lines in enumerate(skipped):
        store.put(document(at, "skip.bin"), lines.to_bytes())
    return Decision(
        duplicates=sum(lines.count - survey.rejected for lines, survey in zip(skipped, surveys, strict=True)),
        replacements=tuple((entry.line, entry.replaced_by) for entry in sample),
        to_write=tuple(survey.rows_in - lines.count for lines, survey in zip(skipped, surveys, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """A file as the first pass found it.

    Args:
        columns: its header.
        header_bytes: length of the header, with what may stand before it.
        header_sha256: hash of those bytes.
        first_line: the line behind the header.
        shards: the pieces of the rest, in order.
        size: length of the file in bytes.
        sha256: hash of the file.
    """

    columns: tuple[str, ...]
    header_bytes: int
    header_sha256: str
    first_line: int
    shards: tuple[Shard, ...]
    size: int
    sha256: str

    def to_bytes(self) -> bytes:
        """Return the layout as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Layout":
        """Return the layout that :meth:`to_bytes` wrote."""
        content = json.loads(data)
        content["columns"] = tuple(content["columns"])
        content["shards"] = tuple(Shard(**shard) for shard in content["shards"])
        return cls(**content)


class _Hashes:
    """The hash of all bytes used up, and that of those since the last shard's beginning."""

    def __init__(self) -> None:
        self.total = hashlib.sha256()
        self.part = hashlib.sha256()

    def update(self, data: bytes) -> None:
        self.total.update(data)
        self.part.update(data)


def claim(store: CheckpointStore, table_name: str, table: Any, schema: TableSchema) -> None:
    """Make sure that a checkpoint belongs to this load: the same table, not one made anew, and the same schema.

    Raises:
        CheckpointMismatchError: it belongs to another.
    """
    own = {
        "version": _CHECKPOINT_VERSION,
        "table": table_name,
        "table_id": table.get("TableId"),
        "schema": hash_of(schema.model_dump_json().encode()),
    }
    found = store.get(CLAIM)
    if found is None:
        store.put(CLAIM, json.dumps(own).encode())
    elif json.loads(found) != own:
        raise CheckpointMismatchError(
            f"The checkpoint was left by another load ({found.decode()}, this one is {json.dumps(own)}): the table was "
            "made anew, or it is another table or schema. Start with an empty checkpoint."
        )


def survey_file(
    open_source: OpenSource, schema: TableSchema, store: CheckpointStore, *, source_name: str, shard_bytes: int
) -> tuple[Layout, list[ShardSurvey]]:
    """Read a file once, all of it in this process, and keep what is found; shards that are known are only hashed.

    Raises:
        SourceError: the file is not there, not CSV, empty, or has a wrong header.
        CheckpointMismatchError: the header, or a shard that is known, has changed.
    """
    known = store.get("file.json")
    if known is not None:
        layout = Layout.from_bytes(known)
        return layout, [
            ShardSurvey.from_bytes(required(store, document(shard.index, "survey.json"))) for shard in layout.shards
        ]
    hashes = _Hashes()
    surveys: list[ShardSurvey] = []
    with closing(open_source()) as stream:
        feed = Feed(stream, used_up=hashes.update)
        reader = CsvBlocks(feed, schema.delimiter)
        header, header_bytes, header_sha256 = _read_header(reader, feed, hashes, schema, source_name)
        _claim_header(store, header_sha256, source_name)
        first_line = reader.next_line
        converter = RowConverter(schema, header.columns)
        found = iter(reader)
        while feed.holds_more():
            hashes.part = hashlib.sha256()
            survey = find_survey(store, len(surveys))
            if survey is not None:
                _pass_over(feed, reader, survey.shard, hashes, source_name)
            else:
                survey = survey_shard(
                    found,
                    reader,
                    feed,
                    converter,
                    store,
                    index=len(surveys),
                    start=feed.position,
                    shard_bytes=shard_bytes,
                    digest=lambda: hashes.part.hexdigest(),
                )
            surveys.append(survey)
    if not any(survey.rows_in for survey in surveys) and not schema.allow_no_rows:
        raise no_rows(source_name)
    layout = Layout(
        columns=header.columns,
        header_bytes=header_bytes,
        header_sha256=header_sha256,
        first_line=first_line,
        shards=tuple(survey.shard for survey in surveys),
        size=feed.position,
        sha256=hashes.total.hexdigest(),
    )
    store.put("file.json", layout.to_bytes())
    return layout, surveys


def _read_header(
    reader: CsvBlocks, feed: Feed, hashes: _Hashes, schema: TableSchema, source_name: str
) -> tuple[Header, int, str]:
    header = reader.read_header(schema, source_name)
    return header, feed.position, hashes.part.hexdigest()


def _claim_header(store: CheckpointStore, sha256: str, source_name: str) -> None:
    """Make sure that the shards that are known were read by the same header: it says which cell is the key."""
    known = store.get(_HEADER)
    if known is None:
        store.put(_HEADER, sha256.encode())
    elif known != sha256.encode():
        raise CheckpointMismatchError(
            f"{source_name} is not the file that the checkpoint was made of: its header has changed. Start with an "
            "empty checkpoint."
        )


def _pass_over(feed: Feed, reader: CsvBlocks, shard: Shard, hashes: _Hashes, source_name: str) -> None:
    complete = feed.position == shard.start and feed.use_all(shard.end - shard.start)
    if not complete or hashes.part.hexdigest() != shard.sha256:
        raise CheckpointMismatchError(
            f"{source_name} is not the file that the checkpoint was made of: lines {shard.first_line} to "
            f"{shard.first_line + shard.lines - 1} have changed. Start with an empty checkpoint."
        )
    reader.next_line = shard.first_line + shard.lines


def decide_rows(
    store: CheckpointStore,
    surveys: Sequence[ShardSurvey],
    *,
    max_reject_ratio: float,
    source_name: str,
    rejects: ByteSink,
    rejects_name: str,
) -> Decision:
    """Hand on the rejected rows; decide which others are written.

    Raises:
        TooManyRejectsError: more rows were rejected than allowed.
    """
    for survey in surveys:
        if survey.rejected:
            rejects.write(required(store, document(survey.shard.index, "rejects.jsonl")))
    rows_in = sum(survey.rows_in for survey in surveys)
    rejected = sum(survey.rejected for survey in surveys)
    # Divided, not multiplied: 0.29 * 100 is a little less than 29.
    if rows_in and rejected / rows_in > max_reject_ratio:
        raise TooManyRejectsError(source_name, rows_in, rejected, max_reject_ratio, rejects_name)
    known = store.get("decision.json")
    if known is not None:
        return Decision.from_bytes(known)
    decision = decide(surveys, store)
    store.put("decision.json", decision.to_bytes())
    return decision


def required(store: CheckpointStore, name: str) -> bytes:
    """Return a document that must be there.

    Raises:
        CheckpointMissingError: it is not.
    """
    data = store.get(name)
    if data is None:
        raise CheckpointMissingError(
            f"The load's checkpoint has no {name}: the step that writes it has not run, or the checkpoint was removed "
            "meanwhile. Start the load anew with an empty checkpoint."
        )
    return data


def hash_of(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def _reader_of(store: CheckpointStore, name: str) -> Any:
    return lambda start, length: store.get_range(name, start, length)
