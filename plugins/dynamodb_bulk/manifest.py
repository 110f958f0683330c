"""The manifest beside a fingerprint: bucket, key and hash of every item.

It names the keys when two fingerprints differ (`dynamodb_bulk.compare`), and is what a drifting table is judged by.
An item takes 20 bytes for its bucket and its hash, which do not compress, and a few for its key, which does.

The file, to the byte; all numbers are unsigned, most significant byte first::

    header    one line of JSON in ASCII: {"buckets":4096,"format":"dynamodb-manifest","key_names":[...],"version":2}
    blocks    u32  items in the block, 1 or more
              u32  length of the compressed keys in bytes
              16   BLAKE2b of the three parts that follow, 16 bytes, personalised with ddb-manifest-v2
              u32  for each item: its bucket
              16   for each item: its hash
              ...  the items' keys in canonical form, joined by line feeds, compressed by zlib
    end       u32  0
              u64  items in the manifest

Blocks may stand in any order, so that the manifests of a table's shards can be joined by copying.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, BinaryIO, NamedTuple, Self

from dynamodb_bulk.canonical import DIGEST_BYTES, key_form_of, readable
from dynamodb_bulk.sums import (
    DEFAULT_BUCKETS,
    VERSION,
    Fingerprint,
    FingerprintBuilder,
    HashedItems,
    buckets_of,
    json_bytes,
)

MANIFEST_FORMAT = "dynamodb-manifest"
BLOCK_ITEMS = 4096
"""A block is written when it has so many items: enough for keys to compress well, little to hold in memory."""

_PERSON = b"ddb-manifest-v2"
_BLOCK_HEAD = struct.Struct(">II16s")
_COUNT = struct.Struct(">I")
_TOTAL = struct.Struct(">Q")
_MAX_HEADER_BYTES = 1 << 16
_MAX_BLOCK_ITEMS = 1 << 20
# A key has at most 2 KB + 1 KB, and base64 or escapes make more of it.
_MAX_KEYS_BYTES = 1 << 30


class ManifestError(ValueError):
    """A manifest can't be read, is cut off, or does not belong to its fingerprint."""


class ManifestEntry(NamedTuple):
    """One item of a manifest: its bucket, its key as JSON text, and its hash."""

    bucket: int
    key: str
    digest: bytes


class ManifestWriter:
    """Writes a manifest to a binary sink that the caller opens and closes.

    Use it as a context manager: only a manifest that was left without an error gets its end, which states the
    number of items; one without an end is refused by `read_manifest`.

    Args:
        sink: where it goes.
        key_names: the table's key attributes, hash key first.
        buckets: the number of buckets of the fingerprint that is taken together with it.
        written: items that are in the sink already, behind the header, when a broken off manifest is continued.
    """

    def __init__(
        self, sink: BinaryIO, key_names: Sequence[str], *, buckets: int = DEFAULT_BUCKETS, written: int | None = None
    ) -> None:
        self._sink = sink
        self._count = written or 0
        self._buckets: list[int] = []
        self._keys: list[bytes] = []
        self._digests: list[bytes] = []
        if written is None:
            sink.write(_header(key_names, buckets))

    @property
    def count(self) -> int:
        """Items given to it so far."""
        return self._count + len(self._keys)

    def add(self, entry: ManifestEntry) -> None:
        """Write one item."""
        self.add_items(HashedItems([entry.bucket], [key_form_of(entry.key)], [entry.digest]))

    def add_items(self, hashed: HashedItems) -> None:
        """Write items, as `FingerprintBuilder.add_items` returns them."""
        self._buckets += hashed.buckets
        self._keys += hashed.keys
        self._digests += hashed.digests
        if len(self._keys) >= BLOCK_ITEMS:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered for the next block to the sink."""
        count = len(self._keys)
        # A page may have any number of items, and a reader must not have to hold them all.
        for start in range(0, count, BLOCK_ITEMS):
            part = slice(start, start + BLOCK_ITEMS)
            self._sink.write(_block(self._buckets[part], self._keys[part], self._digests[part]))
        self._count += count
        self._buckets, self._keys, self._digests = [], [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: object, traceback: object) -> None:
        self.flush()
        if exc_type is None:
            self._sink.write(_COUNT.pack(0) + _TOTAL.pack(self._count))


def read_manifest(source: IO[bytes], *, like: Fingerprint) -> Iterator[ManifestEntry]:
    """Yield a manifest's items, and check at the end that they are the ones the fingerprint was made of.

    Args:
        source: the manifest, as `ManifestWriter` wrote it; the caller closes it.
        like: the fingerprint that was taken together with the manifest.

    Raises:
        ManifestError: if it is no manifest, is cut off, or does not add up to the fingerprint. As this is
            known only at the end, nothing may be concluded from the items before the iterator is exhausted.
    """
    for block in read_manifest_blocks(source, like=like):
        for bucket, key, digest in zip(*block, strict=True):
            yield ManifestEntry(bucket, readable(key), digest)


def read_manifest_blocks(source: IO[bytes], *, like: Fingerprint) -> Iterator[HashedItems]:
    """Yield a manifest's items a few thousand at a time; otherwise as `read_manifest`.

    Raises:
        ManifestError: as `read_manifest` does.
    """
    builder = FingerprintBuilder(like.key_names, buckets=like.buckets)
    if _read_header(source) != json.loads(_header(like.key_names, like.buckets)):
        raise ManifestError("The manifest has other keys or another number of buckets than its fingerprint.")
    for head, body in _read_blocks(source):
        hashed = _unpacked(head, body)
        if buckets_of(hashed.keys, like.buckets) != hashed.buckets:
            raise ManifestError("The manifest has an item whose bucket is not that of its key: it was changed.")
        builder.add_all_hashed(hashed)
        yield hashed
    found = builder.build()
    if found != like:
        raise ManifestError(
            f"The manifest ({found.item_count} items) does not add up to its fingerprint ({like.item_count} "
            "items): one of the two was changed, or they belong to different scans."
        )


def join_manifests(sources: Iterable[IO[bytes]], sink: BinaryIO, *, like: Fingerprint) -> int:
    """Join the manifests of a table's shards to one.

    The items are not added up again here: whoever reads the result does that.

    Args:
        sources: the shards' manifests; the caller closes them.
        sink: where the joined one goes; it stays open.
        like: the merged fingerprint.

    Returns:
        The number of items in the joined manifest.

    Raises:
        ManifestError: if one of them is damaged, or they don't have as many items as the fingerprint.
    """
    header = _header(like.key_names, like.buckets)
    sink.write(header)
    total = 0
    for source in sources:
        if _read_header(source) != json.loads(header):
            raise ManifestError("A shard's manifest has other keys or another number of buckets than the whole.")
        for head, body in _read_blocks(source):
            sink.write(head)
            sink.write(body)
            total += _COUNT.unpack_from(head)[0]
    if total != like.item_count:
        raise ManifestError(
            f"The shards' manifests have {total} items together, the table has {like.item_count}: one is missing, "
            "doubled, or of another scan."
        )
    sink.write(_COUNT.pack(0) + _TOTAL.pack(total))
    return total


def _header(key_names: Sequence[str], buckets: int) -> bytes:
    header = {"format": MANIFEST_FORMAT, "version": VERSION, "key_names": list(key_names), "buckets": buckets}
    return json_bytes(header) + b"\n"


def _block(buckets: Sequence[int], keys: Sequence[bytes], digests: Sequence[bytes]) -> bytes:
    count = len(keys)
    # Level 1: the others take several times as long for keys that are hardly any smaller.
    packed = zlib.compress(b"\n".join(keys), 1)
    body = b"".join(chain((struct.pack(f">{count}I", *buckets),), digests, (packed,)))
    return _BLOCK_HEAD.pack(count, len(packed), _checksum(body)) + body


def _unpacked(head: bytes, body: bytes) -> HashedItems:
    count, length, _ = _BLOCK_HEAD.unpack(head)
    start, end = 4 * count, len(body) - length
    try:
        keys = zlib.decompress(memoryview(body)[end:]).split(b"\n")
    except zlib.error as error:
        raise ManifestError(f"The manifest can't be read: its keys can't be decompressed ({error}).") from error
    if len(keys) != count:
        raise ManifestError(f"The manifest can't be read: a block of {count} items has {len(keys)} keys.")
    digests = [body[at : at + DIGEST_BYTES] for at in range(start, end, DIGEST_BYTES)]
    return HashedItems(list(struct.unpack_from(f">{count}I", body)), keys, digests)


def _read_header(source: IO[bytes]) -> dict[str, object]:
    line = source.readline(_MAX_HEADER_BYTES)
    try:
        header = json.loads(line)
    except ValueError as error:
        raise ManifestError(f"The first line is not that of a {MANIFEST_FORMAT!r} document.") from error
    if not isinstance(header, dict) or header.get("format") != MANIFEST_FORMAT:
        raise ManifestError(f"The first line is not that of a {MANIFEST_FORMAT!r} document.")
    if header.get("version") != VERSION:
        raise ManifestError(f"The manifest has version {header.get('version')!r}; version {VERSION} is read here.")
    return header


def _read_blocks(source: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the head and the body of each block, which is checked; and check that the end is there."""
    total = 0
    while True:
        (count,) = _COUNT.unpack(_exactly(source, _COUNT.size, total))
        if count == 0:
            break
        head = _COUNT.pack(count) + _exactly(source, _BLOCK_HEAD.size - _COUNT.size, total)
        _, length, checksum = _BLOCK_HEAD.unpack(head)
        if count > _MAX_BLOCK_ITEMS or length > _MAX_KEYS_BYTES:
            raise ManifestError(f"The manifest can't be read: a block claims {count} items, {length} bytes of keys.")
        body = _exactly(source, count * (_COUNT.size + DIGEST_BYTES) + length, total)
        if _checksum(body) != checksum:
            raise ManifestError(f"The manifest was changed: the block behind item {total} has another checksum.")
        total += count
        yield head, body
    (stated,) = _TOTAL.unpack(_exactly(source, _TOTAL.size, total))
    if stated != total:
        raise ManifestError(f"The manifest states {stated} items and has {total}: blocks are missing or doubled.")
    if source.read(1):
        raise ManifestError("The manifest goes on behind its end.")


def _exactly(source: IO[bytes], length: int, total: int) -> bytes:
    try:
        data = source.read(length)
    except OSError as error:
        raise ManifestError(f"The manifest can't be read: {error!r}") from error
    if len(data) != length:
        raise ManifestError(f"The manifest is cut off after {total} items.")
    return data


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16, person=_PERSON).digest()
