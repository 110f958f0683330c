"""Fingerprint of a table's whole content: the same items in any order have the same fingerprint.

Every item is hashed in its canonical form (`dynamodb_bulk.canonical`) and added, modulo 2**128, to one of
`buckets` sums; the hash of its primary key says to which. Each bucket also counts its items. So two scans
that see the same items in any order, cut into any segments, agree; parts taken apart can be merged; and
where two tables differ, the unequal buckets say which small part of them to look at.

A sum is used, not an exclusive or, since two equal terms would cancel out in the latter. The fingerprint
finds accidents and careless tampering. It is no signature: someone free to write millions of items of his
choice could look for a set of them with a given sum.

Beside the fingerprint a **manifest** may be written: one line an item, with its bucket, key and hash. It is
what names the keys when two fingerprints differ (`dynamodb_bulk.compare`), and what a drifting table is
judged by.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self, cast

from dynamodb_bulk.canonical import DIGEST_BYTES, Item, item_digest, key_digest, readable_key
from dynamodb_bulk.scan import DEFAULT_SEGMENTS, ProgressCallback, scan_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FINGERPRINT_FORMAT = "dynamodb-fingerprint"
MANIFEST_FORMAT = "dynamodb-manifest"
VERSION = 1
DEFAULT_BUCKETS = 4096
MAX_BUCKETS = 1 << 20
MODULUS = 1 << (8 * DIGEST_BYTES)


class FingerprintFormatError(ValueError):
    """Stored bytes are not a fingerprint that this version reads, or were changed after they were written."""


class FingerprintMismatchError(ValueError):
    """Two fingerprints can't be compared or merged, since they were not taken in the same way."""


class ManifestError(ValueError):
    """A manifest can't be read, is cut off, or does not belong to its fingerprint."""


@dataclass(frozen=True)
class Fingerprint:
    """What a table held, in a few kilobytes.

    Attributes:
        key_names: the table's key attributes, hash key first.
        counts: items by bucket.
        sums: sum of the items' hashes modulo 2**128, by bucket.
    """

    key_names: tuple[str, ...]
    counts: tuple[int, ...]
    sums: tuple[int, ...]

    @property
    def buckets(self) -> int:
        """How many buckets the items are spread over."""
        return len(self.counts)

    @property
    def item_count(self) -> int:
        """How many items the table held, counted one by one."""
        return sum(self.counts)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole fingerprint, as 64 hexadecimal digits: equal if and only if the content is."""
        return hashlib.sha256(_json_bytes(self._body())).hexdigest()

    def merge(self, other: Fingerprint) -> Fingerprint:
        """Return the fingerprint of two disjoint sets of items, such as two scan segments, taken together.

        Raises:
            FingerprintMismatchError: if they were taken with other keys or another number of buckets.
        """
        self.ensure_comparable(other)
        return Fingerprint(
            key_names=self.key_names,
            counts=tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            sums=tuple((a + b) % MODULUS for a, b in zip(self.sums, other.sums, strict=True)),
        )

    def unequal_buckets(self, other: Fingerprint) -> frozenset[int]:
        """Return the numbers of the buckets in which the two differ; none means equal content.

        Raises:
            FingerprintMismatchError: if they were taken with other keys or another number of buckets.
        """
        self.ensure_comparable(other)
        return frozenset(
            bucket
            for bucket in range(self.buckets)
            if self.counts[bucket] != other.counts[bucket] or self.sums[bucket] != other.sums[bucket]
        )

    def ensure_comparable(self, other: Fingerprint) -> None:
        """Check that the other one was taken in the same way.

        Raises:
            FingerprintMismatchError: if it was taken with other keys or another number of buckets.
        """
        if self.key_names != other.key_names or self.buckets != other.buckets:
            raise FingerprintMismatchError(
                f"One fingerprint has keys {self.key_names} and {self.buckets} buckets, the other has keys "
                f"{other.key_names} and {other.buckets} buckets. Take both with the same settings."
            )

    def to_bytes(self) -> bytes:
        """Return it as gzipped JSON that carries its own SHA-256; the same content, the same bytes."""
        body = self._body()
        return _gzip(_json_bytes({**body, "sha256": hashlib.sha256(_json_bytes(body)).hexdigest()}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            FingerprintFormatError: if the bytes are something else, of another version, or were changed.
        """
        try:
            document = json.loads(gzip.decompress(data))
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise FingerprintFormatError(f"These bytes are not gzipped JSON: {error}") from error
        if not isinstance(document, dict) or document.get("format") != FINGERPRINT_FORMAT:
            raise FingerprintFormatError(f"This JSON is not a {FINGERPRINT_FORMAT!r} document.")
        if document.get("version") != VERSION:
            raise FingerprintFormatError(
                f"The fingerprint has version {document.get('version')!r}; version {VERSION} is read here. "
                "Use the release that wrote it, or take the fingerprint again."
            )
        stated = document.pop("sha256", None)
        if hashlib.sha256(_json_bytes(document)).hexdigest() != stated:
            raise FingerprintFormatError("The fingerprint does not have the SHA-256 that it states: it was changed.")
        return cls._from_body(document)

    def _body(self) -> dict[str, Any]:
        return {
            "format": FINGERPRINT_FORMAT,
            "version": VERSION,
            "key_names": list(self.key_names),
            "buckets": self.buckets,
            "item_count": self.item_count,
            # Empty buckets are left out: a small table fills few of them.
            "filled": [
                [bucket, count, f"{total:032x}"]
                for bucket, (count, total) in enumerate(zip(self.counts, self.sums, strict=True))
                if count or total
            ],
        }

    @classmethod
    def _from_body(cls, body: dict[str, Any]) -> Self:
        try:
            counts, sums = [0] * int(body["buckets"]), [0] * int(body["buckets"])
            for bucket, count, total in body["filled"]:
                counts[bucket], sums[bucket] = int(count), int(total, 16)
            fingerprint = cls(tuple(map(str, body["key_names"])), tuple(counts), tuple(sums))
            stated_count = body["item_count"]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise FingerprintFormatError(f"The fingerprint document is malformed: {error!r}") from error
        if fingerprint.item_count != stated_count:
            raise FingerprintFormatError(
                f"The fingerprint states {stated_count} items; its buckets hold {fingerprint.item_count}."
            )
        return fingerprint


class FingerprintBuilder:
    """Takes items one by one, in any order, and makes a `Fingerprint` of them; constant memory."""

    def __init__(self, key_names: Sequence[str], *, buckets: int = DEFAULT_BUCKETS) -> None:
        if not key_names:
            raise ValueError("A table has one or two key attributes; none was given.")
        if not 1 <= buckets <= MAX_BUCKETS:
            raise ValueError(f"buckets must be from 1 to {MAX_BUCKETS}, not {buckets}.")
        self._key_names = tuple(key_names)
        self._counts = [0] * buckets
        self._sums = [0] * buckets

    def add(self, item: Item) -> tuple[int, bytes]:
        """Add one item, and return its bucket and its 16-byte hash.

        Raises:
            CanonicalFormError: if the item is not in DynamoDB's wire form, or lacks a key attribute.
        """
        bucket = int.from_bytes(key_digest(item, self._key_names), "big") % len(self._counts)
        digest = item_digest(item)
        self.add_hashed(bucket, digest)
        return bucket, digest

    def add_hashed(self, bucket: int, digest: bytes) -> None:
        """Add one item of which bucket and hash are known already, as from a manifest."""
        self._counts[bucket] += 1
        self._sums[bucket] = (self._sums[bucket] + int.from_bytes(digest, "big")) % MODULUS

    def build(self) -> Fingerprint:
        """Return the fingerprint of all items added so far."""
        return Fingerprint(self._key_names, tuple(self._counts), tuple(self._sums))


class ManifestEntry(NamedTuple):
    """One item of a manifest: its bucket, its key as JSON text, and its hash."""

    bucket: int
    key: str
    digest: bytes


class ManifestWriter:
    """Writes a manifest, gzipped, one line an item, to a binary sink that the caller opens and closes.

    Use it as a context manager: only a manifest that was left without an error gets its last line, which
    states the number of items; one without that line is refused by `read_manifest`.
    """

    def __init__(self, sink: BinaryIO, key_names: Sequence[str], *, buckets: int = DEFAULT_BUCKETS) -> None:
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=sink, mtime=0, compresslevel=6)
        # A small write costs a GzipFile far more than it costs a buffer.
        self._lines = io.BufferedWriter(cast("io.RawIOBase", self._gzip), buffer_size=1 << 16)
        self._count = 0
        header = {
            "format": MANIFEST_FORMAT,
            "version": VERSION,
            "key_names": list(key_names),
            "buckets": buckets,
        }
        self._lines.write(_json_bytes(header) + b"\n")

    def add(self, entry: ManifestEntry) -> None:
        """Write one item's line."""
        # The key is JSON text already; as part of a JSON array it needs no second quoting.
        self._lines.write(b'[%d,%s,"%s"]\n' % (entry.bucket, entry.key.encode("ascii"), entry.digest.hex().encode()))
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: object, traceback: object) -> None:
        if exc_type is None:
            self._lines.write(_json_bytes({"items": self._count}) + b"\n")
        self._lines.close()


def read_manifest(source: IO[bytes], *, like: Fingerprint) -> Iterator[ManifestEntry]:
    """Yield a manifest's items, and check at the end that they are the ones the fingerprint was made of.

    Args:
        source: the manifest, as `ManifestWriter` wrote it; the caller closes it.
        like: the fingerprint that was taken together with the manifest.

    Raises:
        ManifestError: if it is no manifest, is cut off, or does not add up to the fingerprint. As this is
            known only at the end, nothing may be concluded from the items before the iterator is exhausted.
    """
    builder = FingerprintBuilder(like.key_names, buckets=like.buckets)
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as lines:
            _check_manifest_header(next(lines, b""), like)
            trailer: dict[str, Any] | None = None
            for line in lines:
                if trailer is not None:
                    raise ManifestError("The manifest goes on behind its last line.")
                parsed = json.loads(line)
                if isinstance(parsed, dict):
                    trailer = parsed
                    continue
                bucket, key, digest = parsed
                entry = ManifestEntry(int(bucket), json.dumps(key, separators=(",", ":")), bytes.fromhex(digest))
                builder.add_hashed(entry.bucket, entry.digest)
                yield entry
    except ManifestError:
        raise
    except (OSError, EOFError, zlib.error, ValueError, TypeError, IndexError) as error:
        raise ManifestError(f"The manifest can't be read: {error!r}") from error
    found = builder.build()
    if trailer is None or trailer.get("items") != found.item_count:
        raise ManifestError(f"The manifest is cut off after {found.item_count} items.")
    if found != like:
        raise ManifestError(
            f"The manifest ({found.item_count} items) does not add up to its fingerprint ({like.item_count} "
            "items): one of the two was changed, or they belong to different scans."
        )


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
) -> Fingerprint:
    """Read a whole table and return its fingerprint.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read.
        key_names: the key attributes that items are told apart by, hash key first; see `table_key_names`.
            For a restored table pass the source table's.
        segments: how many parts of the table are read at the same time.
        manifest_sink: where the manifest goes, if one is wanted: a binary file open for writing. It stays
            open.
        progress: called after every page.
        buckets: over how many buckets items are spread; all fingerprints to be compared need the same number.
        consistent_read: whether to read consistently, which a proof needs and which costs twice the capacity.

    Raises:
        TableMissingError: if there is no such table.
        CanonicalFormError: if an item lacks a key attribute.
    """
    builder = FingerprintBuilder(key_names, buckets=buckets)
    with ExitStack() as stack:
        manifest = (
            stack.enter_context(ManifestWriter(manifest_sink, key_names, buckets=buckets))
            if manifest_sink is not None
            else None
        )
        pages = scan_table(client, table_name, segments=segments, consistent_read=consistent_read, progress=progress)
        for page in pages:
            for item in page.items:
                bucket, digest = builder.add(item)
                if manifest is not None:
                    manifest.add(ManifestEntry(bucket, readable_key(item, key_names), digest))
    return builder.build()


def _check_manifest_header(line: bytes, like: Fingerprint) -> None:
    header = json.loads(line) if line else {}
    if not isinstance(header, dict) or header.get("format") != MANIFEST_FORMAT:
        raise ManifestError(f"The first line is not that of a {MANIFEST_FORMAT!r} document.")
    if header.get("version") != VERSION:
        raise ManifestError(f"The manifest has version {header.get('version')!r}; version {VERSION} is read here.")
    if header.get("key_names") != list(like.key_names) or header.get("buckets") != like.buckets:
        raise ManifestError("The manifest has other keys or another number of buckets than its fingerprint.")


def _json_bytes(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def _gzip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    # Neither a file name nor the time of day goes into the header, so that equal content gives equal bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(data)
    return buffer.getvalue()
