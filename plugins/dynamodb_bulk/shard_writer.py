"""The second pass of a load: the rows that were chosen, shard after shard, to the table.

Each shard is checked against what the first pass found, so that a file replaced in between does not go unnoticed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO

from dynamodb_bulk.batches import BatchWriter, Landed, pack
from dynamodb_bulk.checkpoints import CheckpointStore
from dynamodb_bulk.columns import RowConverter
from dynamodb_bulk.csv_blocks import CsvBlocks, Feed
from dynamodb_bulk.csv_rows import Reject, Row
from dynamodb_bulk.errors import SourceChangedError
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.schema import TableSchema
from dynamodb_bulk.survey import Decision, Layout, Shard, document, required
from dynamodb_bulk.winners import LineSet


@dataclass(frozen=True, slots=True)
class ShardResult:
    """How far a shard is written.

    Args:
        line: all rows to be written up to this line are.
        written: how many they are.
        batches: requests sent for them.
        resent: items that were sent again.
        done: whether the shard is complete.
        replaced_keys: of rows that a later row replaces: line and key.
    """

    line: int
    written: int = 0
    batches: int = 0
    resent: int = 0
    done: bool = False
    replaced_keys: tuple[tuple[int, tuple[str, ...]], ...] = ()

    def to_bytes(self) -> bytes:
        """Return the result as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ShardResult":
        """Return the result that :meth:`to_bytes` wrote."""
        content = json.loads(data)
        content["replaced_keys"] = tuple((line, tuple(key)) for line, key in content["replaced_keys"])
        return cls(**content)


def find_result(store: CheckpointStore, index: int) -> ShardResult | None:
    """Return how far a shard is written, if anything is known."""
    data = store.get(document(index, "written.json"))
    return None if data is None else ShardResult.from_bytes(data)


class ShardWriter:
    """Writes shards of one file.

    Args:
        writer: writes the items.
        schema: what the columns are and become.
        store: has the lines of each shard that are left out, and takes how far a shard is written.
        layout: the file.
        decision: which rows are written.
        source_name: the file's name for messages.
        effects: the clock.
        checkpoint_seconds: how often to keep how far a shard is written; never if None.
    """

    def __init__(
        self,
        writer: BatchWriter,
        schema: TableSchema,
        store: CheckpointStore,
        layout: Layout,
        decision: Decision,
        *,
        source_name: str,
        effects: Effects,
        checkpoint_seconds: float | None,
    ) -> None:
        self._writer = writer
        self._schema = schema
        self._store = store
        self._layout = layout
        self._decision = decision
        self._source_name = source_name
        self._effects = effects
        self._checkpoint_seconds = checkpoint_seconds
        self._converter = RowConverter(schema, layout.columns)

    def skip_header(self, stream: BinaryIO) -> None:
        """Read over the header of a file that stands at its beginning.

        Raises:
            SourceChangedError: it is not the one surveyed.
        """
        self._read_over(stream, self._layout.header_bytes, self._layout.header_sha256)

    def write(self, stream: BinaryIO, shard: Shard, known: ShardResult | None) -> ShardResult:
        """Write what is not yet written of a shard, whose first byte comes next in `stream`.

        Raises:
            TableError: the table is gone, refuses the items or stays behind the deadline.
            SourceChangedError: the shard is not the one surveyed; rows of it may have been written.
        """
        if known is not None and known.done:
            self._read_over(stream, shard.end - shard.start, shard.sha256)
            return known
        base = known or ShardResult(line=shard.first_line - 1)
        began = self._writer.counts
        keys: dict[int, tuple[str, ...]] = {}
        saved_at = self._effects.clock()

        def result(line: int, written: int, *, done: bool) -> ShardResult:
            counts = self._writer.counts
            return ShardResult(
                line=line,
                written=base.written + written,
                batches=base.batches + counts.batches - began.batches,
                resent=base.resent + counts.resent - began.resent,
                done=done,
                replaced_keys=tuple(sorted(keys.items())) if done else (),
            )

        def landed(so_far: Landed) -> None:
            nonlocal saved_at
            if self._checkpoint_seconds is not None and self._effects.clock() - saved_at >= self._checkpoint_seconds:
                self._save(shard, result(so_far.line, so_far.written, done=False))
                saved_at = self._effects.clock()

        try:
            counts = self._writer.write(pack(self._requests(stream, shard, base.line, keys)), landed=landed)
            complete = result(shard.first_line + shard.lines - 1, counts.written - began.written, done=True)
            if complete.written != self._decision.to_write[shard.index]:
                raise changed(self._source_name)
        except SourceChangedError:
            # What was written is not of the file surveyed. Were it kept, a load of that file would leave it out.
            if self._checkpoint_seconds is not None:
                self._save(shard, base)
            raise
        if self._checkpoint_seconds is not None:
            self._save(shard, complete)
        return complete

    def _save(self, shard: Shard, result: ShardResult) -> None:
        self._store.put(document(shard.index, "written.json"), result.to_bytes())

    def _requests(
        self, stream: BinaryIO, shard: Shard, written_to: int, keys: dict[int, tuple[str, ...]]
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        """Yield the items of a shard that are to be written, and note the keys of some that are not."""
        left_out = LineSet.from_bytes(required(self._store, document(shard.index, "skip.bin")))
        last_line = shard.first_line + shard.lines - 1
        shown = {line for line, _ in self._decision.replacements}
        digest = hashlib.sha256()
        feed = Feed(stream, length=shard.end - shard.start, used_up=digest.update)
        reader = CsvBlocks(feed, self._schema.delimiter, next_line=shard.first_line)
        before = shard.first_line
        for found in reader:
            first, last = before, reader.next_line - 1
            if last > last_line:
                raise changed(self._source_name)
            before = reader.next_line
            if any(first <= line <= last for line in shown):
                for record in found if isinstance(found, list) else found.records():
                    if record.line in shown:
                        keys[record.line] = self._key_of(self._converter.convert(record))
            skip: Callable[[int], bool] | None = None
            if first <= written_to:
                skip = lambda line: line <= written_to or line in left_out  # noqa: E731
            elif left_out.any_in(first, last):
                skip = left_out.__contains__
            yield self._converter.requests_of(found, skip)
        if digest.hexdigest() != shard.sha256:
            raise changed(self._source_name)

    def _key_of(self, row: Row | Reject) -> tuple[str, ...]:
        if not isinstance(row, Row):
            raise changed(self._source_name)
        return tuple(text for name in self._schema.key_names for text in row.item[name].values())

    def _read_over(self, stream: BinaryIO, length: int, sha256: str) -> None:
        digest = hashlib.sha256()
        feed = Feed(stream, length=length, used_up=digest.update)
        if not feed.use_all(length) or digest.hexdigest() != sha256:
            raise changed(self._source_name)


def changed(source_name: str) -> SourceChangedError:
    """Return the error for a file that is not the one surveyed."""
    return SourceChangedError(
        f"{source_name} changed while it was being loaded, so the table may hold rows of both versions; "
        "load the file again once it rests, with an empty checkpoint if it stays as it is now"
    )
