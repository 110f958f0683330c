"""Taking the fingerprint of a table: whole, in shards that are merged, or resumed where it broke off.

What a fingerprint is stands in `dynamodb_bulk.sums`, what a manifest is in `dynamodb_bulk.manifest`; both in
detail, and what they do not protect against, in docs/fingerprint.md.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import orjson
from botocore.exceptions import ClientError

from dynamodb_bulk.canonical import Item
from dynamodb_bulk.checkpoints import CheckpointStore
from dynamodb_bulk.errors import BulkError, TableMissingError
from dynamodb_bulk.manifest import (
    MANIFEST_FORMAT,
    ManifestEntry,
    ManifestError,
    ManifestWriter,
    join_manifests,
    read_manifest,
)
from dynamodb_bulk.patience import Effects, error_code
from dynamodb_bulk.scan import DEFAULT_PATIENCE_SECONDS, DEFAULT_SEGMENTS, ProgressCallback, scan_table
from dynamodb_bulk.sums import (
    DEFAULT_BUCKETS,
    FINGERPRINT_FORMAT,
    MAX_BUCKETS,
    VERSION,
    Fingerprint,
    FingerprintBuilder,
    FingerprintFormatError,
    FingerprintMismatchError,
    HashedItems,
    sealed_bytes,
    unsealed_document,
)
from dynamodb_bulk.wire import open_transport

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = [
    "DEFAULT_BUCKETS",
    "FINGERPRINT_FORMAT",
    "MANIFEST_FORMAT",
    "MAX_BUCKETS",
    "VERSION",
    "CheckpointDamagedError",
    "Fingerprint",
    "FingerprintBuilder",
    "FingerprintFormatError",
    "FingerprintMismatchError",
    "HashedItems",
    "ManifestEntry",
    "ManifestError",
    "ManifestWriter",
    "Shard",
    "ShardFingerprint",
    "ShardsIncompleteError",
    "TableReplacedError",
    "join_manifests",
    "merge_shards",
    "plan_shards",
    "read_manifest",
    "take_fingerprint",
    "take_shard",
]

SHARD_FORMAT = "dynamodb-fingerprint-shard"
STATE_FORMAT = "dynamodb-fingerprint-state"
MAX_SHARDS = 1000
"""Airflow maps a task to 1024 at most, as it is configured by default."""
SHARD_BYTES = 2 * 1024**3
SAVE_SECONDS = 15.0
"""How much work a fingerprint that is killed has to do again, at most."""
SAVE_BYTES = 4 * 1024 * 1024
"""So much of the manifest is held until it is saved, at most."""

STATE_DOCUMENT = "state"
"""The document of a checkpoint that says how far the scan is."""
PART_DOCUMENTS = r"manifest-\d{6}"
"""Pattern of the documents that hold the manifest so far; the first of them comes before the state."""
_PART = "manifest-{:06}"


class TableReplacedError(BulkError):
    """The table was deleted and made anew while it was being read."""


class ShardsIncompleteError(BulkError):
    """The shards of a fingerprint do not cover the table exactly once."""


class CheckpointDamagedError(BulkError):
    """A part of a fingerprint's checkpoint is gone, though its state says that it is there."""


@dataclass(frozen=True)
class Shard:
    """A part of a table that is read by itself.

    Attributes:
        index: which one, from 0.
        of: how many there are.
        segments: into how many scan segments each of them is cut.
    """

    index: int
    of: int
    segments: int = DEFAULT_SEGMENTS

    def __post_init__(self) -> None:
        if self.segments < 1 or not 0 <= self.index < self.of:
            raise ValueError(f"There is no shard {self.index} of {self.of} with {self.segments} segments.")

    @property
    def total_segments(self) -> int:
        """Into how many segments the whole table is cut."""
        return self.of * self.segments

    @property
    def segment_numbers(self) -> range:
        """Those that belong to this shard."""
        return range(self.index * self.segments, (self.index + 1) * self.segments)

    def to_dict(self) -> dict[str, int]:
        """Return the shard as JSON-ready values, which are the arguments to make it again."""
        return asdict(self)


def plan_shards(
    table_bytes: int,
    *,
    shard_bytes: int = SHARD_BYTES,
    max_shards: int = MAX_SHARDS,
    segments: int = DEFAULT_SEGMENTS,
) -> list[Shard]:
    """Cut a table into shards of about equal size.

    Args:
        table_bytes: the table's size; ``TableSizeBytes`` of DescribeTable, hours old, is good enough.
        shard_bytes: how large a shard should be.
        max_shards: at most so many.
        segments: scan segments in each, which are read at the same time.
    """
    if min(shard_bytes, max_shards, segments) < 1 or table_bytes < 0:
        raise ValueError("shard_bytes, max_shards and segments must be 1 or more, table_bytes 0 or more.")
    count = max(1, min(max_shards, math.ceil(table_bytes / shard_bytes)))
    return [Shard(index, count, segments) for index in range(count)]


@dataclass(frozen=True)
class ShardFingerprint:
    """The fingerprint of one shard; `merge_shards` makes the table's of all."""

    shard: Shard
    table_name: str
    table_id: str | None
    consistent_read: bool
    fingerprint: Fingerprint

    def to_bytes(self) -> bytes:
        """Return it as gzipped JSON that carries its own SHA-256; the same content, the same bytes."""
        return sealed_bytes(
            {
                "format": SHARD_FORMAT,
                "version": VERSION,
                "shard": self.shard.to_dict(),
                "table_name": self.table_name,
                "table_id": self.table_id,
                "consistent_read": self.consistent_read,
                "fingerprint": self.fingerprint.to_document(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            FingerprintFormatError: if the bytes are something else, of another version, or were changed.
        """
        document = unsealed_document(data, SHARD_FORMAT)
        try:
            return cls(
                shard=Shard(**document["shard"]),
                table_name=document["table_name"],
                table_id=document["table_id"],
                consistent_read=document["consistent_read"],
                fingerprint=Fingerprint.from_document(document["fingerprint"]),
            )
        except (KeyError, TypeError) as error:
            raise FingerprintFormatError(f"The shard's document is malformed: {error!r}") from error


def take_fingerprint(
    client: DynamoDBClient,
    table_name: str,
    *,
    key_names: Sequence[str],
    segments: int = DEFAULT_SEGMENTS,
    manifest_sink: BinaryIO | None = None,
    progress: ProgressCallback | None = None,
    buckets: int = DEFAULT_BUCKETS,
    consistent_read: bool = True,
    max_rcu: float | None = None,
    checkpoint: CheckpointStore | None = None,
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
    effects: Effects | None = None,
) -> Fingerprint:
    """Read a whole table and return its fingerprint.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read.
        key_names: the key attributes that items are told apart by, hash key first; see `table_key_names`.
            For a restored table pass the source table's.
        segments: into how many parts the table is cut, which are read at the same time.
        manifest_sink: where the manifest goes, if one is wanted: a binary file open for writing. It stays
            open.
        progress: called after every page.
        buckets: over how many buckets items are spread; all fingerprints to be compared need the same number.
        consistent_read: whether to read consistently, which a proof needs and which costs twice the capacity.
        max_rcu: read capacity units a second to stay below; without limit when None.
        checkpoint: where the state, and the manifest so far, are kept now and then, so that a scan that was
            killed goes on from there when it is called again in the same way, with an empty sink.
        patience_seconds: for so long a page is asked for again while DynamoDB throttles or can't be reached.
        effects: clock, sleep and chance.

    Raises:
        TableMissingError: if there is no such table, or there is none any more.
        TableReplacedError: if it was deleted and made anew meanwhile.
        CanonicalFormError: if an item lacks a key attribute.
        CallDeadlineError: if a page did not come for `patience_seconds`.
        CheckpointDamagedError: if a part of the checkpoint is missing.
    """
    return take_shard(
        client,
        table_name,
        shard=Shard(0, 1, segments),
        key_names=key_names,
        manifest_sink=manifest_sink,
        progress=progress,
        buckets=buckets,
        consistent_read=consistent_read,
        max_rcu=max_rcu,
        checkpoint=checkpoint,
        patience_seconds=patience_seconds,
        effects=effects,
    ).fingerprint


def take_shard(
    client: DynamoDBClient,
    table_name: str,
    *,
    shard: Shard,
    key_names: Sequence[str],
    manifest_sink: BinaryIO | None = None,
    progress: ProgressCallback | None = None,
    buckets: int = DEFAULT_BUCKETS,
    consistent_read: bool = True,
    max_rcu: float | None = None,
    checkpoint: CheckpointStore | None = None,
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
    effects: Effects | None = None,
) -> ShardFingerprint:
    """Read one shard of a table; otherwise as `take_fingerprint`. A shard that is read again gives the same.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read.
        shard: the part to read, one of those that `plan_shards` returned.
        key_names: as for `take_fingerprint`, as are all the others; `max_rcu` is for this shard alone.

    Raises:
        TableMissingError, TableReplacedError, CanonicalFormError, CallDeadlineError: as `take_fingerprint`.
    """
    effects = effects or Effects()
    table = _describe(client, table_name, effects, patience_seconds)
    taking = _Taking(
        table_name, table.get("TableId"), shard, tuple(key_names), buckets, consistent_read, manifest_sink, checkpoint
    )
    taking.resume()
    saved_at = effects.clock()
    pages = scan_table(
        client,
        table_name,
        segments=shard.total_segments,
        only_segments=shard.segment_numbers,
        resume=taking.positions,
        consistent_read=consistent_read,
        progress=progress,
        max_rcu=max_rcu,
        expected_items=(table.get("ItemCount") or 0) // shard.of,
        patience_seconds=patience_seconds,
        effects=effects,
    )
    with taking.open_manifest() as manifest:
        for page in pages:
            hashed = taking.builder.add_items(page.items)
            if manifest is not None:
                manifest.add_items(hashed)
            taking.positions[page.segment] = page.last_key
            if effects.clock() - saved_at >= SAVE_SECONDS or taking.unsaved_bytes >= SAVE_BYTES:
                taking.save(manifest)
                saved_at = effects.clock()
            # Not kept until the next page has been parsed as well.
            del page
        # Inside, so that the manifest gets no end if the table turns out to be another one.
        now = _describe(client, table_name, effects, patience_seconds)
        _ensure_same(table, now, table_name)
    if checkpoint is not None:
        checkpoint.clear()
    return taking.result()


def merge_shards(parts: Iterable[ShardFingerprint]) -> Fingerprint:
    """Make the table's fingerprint of its shards', in any order.

    Raises:
        ShardsIncompleteError: if one is missing or there twice, or they are of different tables or cuts.
        FingerprintMismatchError: if they were taken with other keys or another number of buckets.
    """
    found = sorted(parts, key=lambda part: part.shard.index)
    if not found:
        raise ShardsIncompleteError("There is no shard to merge.")
    first = found[0]
    for part in found:
        for what in ("table_name", "table_id", "consistent_read"):
            if getattr(part, what) != getattr(first, what):
                raise ShardsIncompleteError(
                    f"Shards {first.shard.index} and {part.shard.index} differ in {what}: "
                    f"{getattr(first, what)!r} and {getattr(part, what)!r}. Take all shards of one table alike."
                )
    whole = {Shard(index, first.shard.of, first.shard.segments) for index in range(first.shard.of)}
    if len(found) != len(whole) or {part.shard for part in found} != whole:
        raise ShardsIncompleteError(
            f"Table {first.table_name!r} was cut into {len(whole)} shards, but these came: "
            f"{[part.shard.index for part in found]}. Take what is missing, and pass each shard once."
        )
    builder = FingerprintBuilder(first.fingerprint.key_names, buckets=first.fingerprint.buckets)
    for part in found:
        builder.add_fingerprint(part.fingerprint)
    return builder.build()


class _Recorder(io.RawIOBase):
    """Passes on what is written, and keeps a copy of it until it is taken."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.unsaved = bytearray()

    def write(self, data: Any, /) -> int:
        self._sink.write(data)
        self.unsaved += data
        return len(data)


class _Taking:
    """A shard's fingerprint on its way, with what it takes to go on after a kill."""

    def __init__(
        self,
        table_name: str,
        table_id: str | None,
        shard: Shard,
        key_names: tuple[str, ...],
        buckets: int,
        consistent_read: bool,
        sink: BinaryIO | None,
        store: CheckpointStore | None,
    ) -> None:
        self.positions: dict[int, Item | None] = {}
        self.builder = FingerprintBuilder(key_names, buckets=buckets)
        self._table_name = table_name
        self._table_id = table_id
        self._shard = shard
        self._key_names = key_names
        self._buckets = buckets
        self._consistent_read = consistent_read
        self._sink = sink
        self._store = store
        self._recorder = _Recorder(sink) if sink is not None and store is not None else None
        self._written: int | None = None
        self._parts = 0

    @property
    def unsaved_bytes(self) -> int:
        """How much of the manifest is held until it is saved."""
        return len(self._recorder.unsaved) if self._recorder is not None else 0

    def resume(self) -> None:
        """Take up what was saved, if it is of the same fingerprint; else start anew.

        Raises:
            CheckpointDamagedError: if a part of the manifest is missing.
        """
        if self._store is None:
            return
        state = self._usable(self._store.get(STATE_DOCUMENT))
        if state is None:
            self._store.clear()
            return
        self.builder.add_fingerprint(Fingerprint.from_document(state["fingerprint"]))
        self.positions = {int(number): key for number, key in state["positions"]}
        self._written, self._parts = state["manifest_items"], state["manifest_parts"]
        if self._sink is not None:
            for number in range(self._parts):
                part = self._store.get(_PART.format(number))
                if part is None:
                    raise CheckpointDamagedError(
                        f"Part {_PART.format(number)} of the checkpoint of table {self._table_name!r} is missing. "
                        "Remove the checkpoint, and take the fingerprint from its beginning."
                    )
                self._sink.write(part)

    def _usable(self, saved: bytes | None) -> dict[str, Any] | None:
        if saved is None:
            return None
        try:
            state = unsealed_document(saved, STATE_FORMAT)
        except FingerprintFormatError:
            # Of another release, or damaged: to read the table from its beginning is always right.
            return None
        return state if state["of"] == self._identity() else None

    def _identity(self) -> dict[str, Any]:
        return {
            "table_name": self._table_name,
            "table_id": self._table_id,
            "shard": self._shard.to_dict(),
            "key_names": list(self._key_names),
            "buckets": self._buckets,
            "consistent_read": self._consistent_read,
            "manifest": self._sink is not None,
        }

    def open_manifest(self) -> ManifestWriter | nullcontext[None]:
        """Return the manifest, to be used as a context manager; nothing in it if none is wanted."""
        if self._sink is None:
            return nullcontext()
        sink = self._sink if self._recorder is None else cast("BinaryIO", self._recorder)
        return ManifestWriter(sink, self._key_names, buckets=self._buckets, written=self._written)

    def save(self, manifest: ManifestWriter | None) -> None:
        """Keep what a later call needs to go on from here."""
        if self._store is None:
            return
        if manifest is not None and self._recorder is not None:
            manifest.flush()
            # Before the state that counts it: a part more than that does no harm, one less would be a gap.
            self._store.put(_PART.format(self._parts), bytes(self._recorder.unsaved))
            self._recorder.unsaved.clear()
            self._parts += 1
        state = {
            "format": STATE_FORMAT,
            "version": VERSION,
            "of": self._identity(),
            "positions": sorted(self.positions.items()),
            "manifest_parts": self._parts,
            "manifest_items": manifest.count if manifest is not None else 0,
            "fingerprint": self.builder.build().to_document(),
        }
        self._store.put(STATE_DOCUMENT, sealed_bytes(state))

    def result(self) -> ShardFingerprint:
        """Return the finished fingerprint."""
        return ShardFingerprint(
            self._shard, self._table_name, self._table_id, self._consistent_read, self.builder.build()
        )


def _describe(client: DynamoDBClient, table_name: str, effects: Effects, patience_seconds: float) -> dict[str, Any]:
    transport = open_transport(client, pool=1, effects=effects)
    try:
        deadline = effects.clock() + patience_seconds
        answer = transport.call("DescribeTable", orjson.dumps({"TableName": table_name}), deadline=deadline)
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        raise TableMissingError(
            f"There is no DynamoDB table {table_name!r} to read. Check its name, and the Region and account of the "
            "connection; if it was there when the scan began, it was deleted meanwhile."
        ) from error
    finally:
        transport.close()
    table: dict[str, Any] = orjson.loads(answer)["Table"]
    return table


def _ensure_same(before: dict[str, Any], after: dict[str, Any], table_name: str) -> None:
    """Check that the table was the same one all the time: a scan goes on in a namesake without a word."""
    if before.get("TableId") != after.get("TableId"):
        raise TableReplacedError(
            f"Table {table_name!r} was deleted and made anew while it was being read: its id was "
            f"{before.get('TableId')} and is {after.get('TableId')}. Take the fingerprint again."
        )
