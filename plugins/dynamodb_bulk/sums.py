"""Fingerprint of a table's whole content: the same items in any order have the same fingerprint.

Every item is hashed in its canonical form (`dynamodb_bulk.canonical`) and added, modulo 2**128, to one of
`buckets` sums; the CRC-32 of its primary key's form, modulo `buckets`, says to which. Each bucket also counts its
items. So two scans that see the same items in any order, cut into any segments, agree; parts taken apart can be
merged; and where two tables differ, the unequal buckets say which small part of them to look at.

A sum is used, not an exclusive or, since two equal terms would cancel out in the latter. The fingerprint
finds accidents and careless tampering. It is no signature: someone free to write millions of items of his
choice could look for a set of them with a given sum.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from dynamodb_bulk.canonical import (
    DIGEST_BYTES,
    Item,
    canonical_items,
    canonical_key,
    canonical_keys,
    form_digests,
    item_digest,
)
from dynamodb_bulk.garbage import collector_paused

FINGERPRINT_FORMAT = "dynamodb-fingerprint"
VERSION = 2
DEFAULT_BUCKETS = 4096
MAX_BUCKETS = 1 << 20
MODULUS = 1 << (8 * DIGEST_BYTES)

_AT_ONCE = 512


class FingerprintFormatError(ValueError):
    """Stored bytes are not a fingerprint that this version reads, or were changed after they were written."""


class FingerprintMismatchError(ValueError):
    """Two fingerprints can't be compared or merged, since they were not taken in the same way."""


class HashedItems(NamedTuple):
    """Items that were added to a fingerprint: their buckets, their keys' canonical forms, and their hashes."""

    buckets: Sequence[int]
    keys: Sequence[bytes]
    digests: Sequence[bytes]


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
        return hashlib.sha256(json_bytes(self.to_document())).hexdigest()

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
        return sealed_bytes(self.to_document())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            FingerprintFormatError: if the bytes are something else, of another version, or were changed.
        """
        return cls.from_document(unsealed_document(data, FINGERPRINT_FORMAT))

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
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
    def from_document(cls, body: dict[str, Any]) -> Self:
        """Read what `to_document` returned.

        Raises:
            FingerprintFormatError: if a part is missing, or the parts contradict each other.
        """
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
    """Takes items in any order, and makes a `Fingerprint` of them; constant memory."""

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
        bucket = bucket_of(canonical_key(item, self._key_names), len(self._counts))
        digest = item_digest(item)
        self.add_hashed(bucket, digest)
        return bucket, digest

    def add_items(self, items: Sequence[Item]) -> HashedItems:
        """Add items that DynamoDB answered, several times as fast as one by one.

        Raises:
            CanonicalFormError: if an item is not in DynamoDB's wire form, or lacks a key attribute.
        """
        with collector_paused:
            keys = canonical_keys(items, self._key_names)
            digests: list[bytes] = []
            # The forms of a whole page, which are needed for a moment only, would take several times its room.
            for start in range(0, len(items), _AT_ONCE):
                digests += form_digests(canonical_items(items[start : start + _AT_ONCE]))
            hashed = HashedItems(buckets_of(keys, len(self._counts)), keys, digests)
            self.add_all_hashed(hashed)
        return hashed

    def add_hashed(self, bucket: int, digest: bytes) -> None:
        """Add one item of which bucket and hash are known already, as from a manifest."""
        self._counts[bucket] += 1
        self._sums[bucket] += int.from_bytes(digest, "big")

    def add_all_hashed(self, hashed: HashedItems) -> None:
        """Add items of which buckets and hashes are known already.

        Raises:
            IndexError: if a bucket is beyond the last one.
        """
        counts, sums, number = self._counts, self._sums, int.from_bytes
        for bucket, digest in zip(hashed.buckets, hashed.digests, strict=True):
            counts[bucket] += 1
            # Reduced once at the end: Python's integers do not overflow, and a modulo costs more than the sum.
            sums[bucket] += number(digest, "big")

    def add_fingerprint(self, other: Fingerprint) -> None:
        """Add all items of another fingerprint.

        Raises:
            FingerprintMismatchError: if it was taken with other keys or another number of buckets.
        """
        merged = self.build().merge(other)
        self._counts, self._sums = list(merged.counts), list(merged.sums)

    def build(self) -> Fingerprint:
        """Return the fingerprint of all items added so far."""
        return Fingerprint(self._key_names, tuple(self._counts), tuple(total % MODULUS for total in self._sums))


def bucket_of(key: bytes, buckets: int) -> int:
    """Return the bucket of an item by the canonical form of its key."""
    return zlib.crc32(key) % buckets


def buckets_of(keys: Iterable[bytes], buckets: int) -> list[int]:
    """Return the buckets of items by the canonical forms of their keys."""
    checksum = zlib.crc32
    return [checksum(key) % buckets for key in keys]


def sealed_bytes(document: dict[str, Any]) -> bytes:
    """Return a document as gzipped JSON that carries its own SHA-256; the same document, the same bytes."""
    sealed = {**document, "sha256": hashlib.sha256(json_bytes(document)).hexdigest()}
    buffer = io.BytesIO()
    # Neither a file name nor the time of day goes into the header, so that equal content gives equal bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(json_bytes(sealed))
    return buffer.getvalue()


def unsealed_document(data: bytes, kind: str) -> dict[str, Any]:
    """Read what `sealed_bytes` wrote.

    Raises:
        FingerprintFormatError: if the bytes are something else, of another version, or were changed.
    """
    try:
        document = json.loads(gzip.decompress(data))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise FingerprintFormatError(f"These bytes are not gzipped JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != kind:
        raise FingerprintFormatError(f"This JSON is not a {kind!r} document.")
    if document.get("version") != VERSION:
        raise FingerprintFormatError(
            f"The fingerprint has version {document.get('version')!r}; version {VERSION} is read here. "
            "Use the release that wrote it, or take the fingerprint again."
        )
    stated = document.pop("sha256", None)
    if hashlib.sha256(json_bytes(document)).hexdigest() != stated:
        raise FingerprintFormatError("The fingerprint does not have the SHA-256 that it states: it was changed.")
    return document


def json_bytes(document: object) -> bytes:
    """Return a document as JSON in one fixed way: ASCII, names sorted, no white space."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")
