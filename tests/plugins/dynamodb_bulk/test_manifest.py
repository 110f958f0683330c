"""Manifests: what is written comes back, and nothing that was changed does."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dynamodb_bulk import manifest as module
from dynamodb_bulk.manifest import (
    ManifestEntry,
    ManifestError,
    ManifestWriter,
    join_manifests,
    read_manifest,
    read_manifest_blocks,
)
from dynamodb_bulk.sums import Fingerprint, FingerprintBuilder

KEYS = ("id",)


def item(number: int) -> dict[str, Any]:
    return {"id": {"S": f"i-{number}"}, "amount": {"N": str(number)}}


ITEMS = [item(number) for number in range(200)]


def with_manifest(items: Sequence[dict[str, Any]], buckets: int = 16) -> tuple[Fingerprint, bytes]:
    sink, builder = io.BytesIO(), FingerprintBuilder(KEYS, buckets=buckets)
    with ManifestWriter(sink, KEYS, buckets=buckets) as writer:
        for start in range(0, len(items), 30):
            writer.add_items(builder.add_items(items[start : start + 30]))
    return builder.build(), sink.getvalue()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ITEMS", 50)


@pytest.mark.parametrize("block", [1, 7, 60, 4096])
def test_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "BLOCK_ITEMS", block)
    fingerprint, data = with_manifest(ITEMS)
    entries = list(read_manifest(io.BytesIO(data), like=fingerprint))
    assert [entry.key for entry in entries] == [f'{{"id":{{"S":"i-{number}"}}}}' for number in range(200)]
    assert (entries[0].bucket, entries[0].digest) == FingerprintBuilder(KEYS, buckets=16).add(ITEMS[0])
    assert max(len(part.keys) for part in read_manifest_blocks(io.BytesIO(data), like=fingerprint)) <= block


def test_items_given_one_by_one_are_the_same() -> None:
    fingerprint, data = with_manifest(ITEMS)
    sink, builder = io.BytesIO(), FingerprintBuilder(KEYS, buckets=16)
    with ManifestWriter(sink, KEYS, buckets=16) as writer:
        for each in ITEMS:
            bucket, digest = builder.add(each)
            writer.add(ManifestEntry(bucket, json.dumps({"id": each["id"]}), digest))
    assert sink.getvalue() == data
    assert builder.build() == fingerprint


@pytest.mark.parametrize("key", ["é\n\x00", "\ud800", '"\\', "", "\u2028"])
def test_a_key_may_have_any_characters(key: str) -> None:
    fingerprint, data = with_manifest([{"id": {"S": key}}, item(1)])
    (entry, _) = read_manifest(io.BytesIO(data), like=fingerprint)
    assert json.loads(entry.key) == {"id": {"S": key}}
    assert entry.key.isascii()


def test_an_item_takes_little_room() -> None:
    _, data = with_manifest([item(number) for number in range(5000)])
    assert len(data) < 5000 * 25


def test_the_sink_stays_open() -> None:
    sink = io.BytesIO()
    with ManifestWriter(sink, KEYS):
        pass
    assert not sink.closed


def test_an_empty_table_has_one_too() -> None:
    fingerprint, data = with_manifest([])
    assert list(read_manifest(io.BytesIO(data), like=fingerprint)) == []


@pytest.mark.usefixtures("small_blocks")
def test_cut_off_anywhere_it_is_refused() -> None:
    fingerprint, data = with_manifest(ITEMS)
    for keep in range(0, len(data), 5):
        with pytest.raises(ManifestError, match=r"cut off after \d+ items|first line"):
            list(read_manifest(io.BytesIO(data[:keep]), like=fingerprint))


@pytest.mark.usefixtures("small_blocks")
def test_changed_anywhere_it_is_refused() -> None:
    fingerprint, data = with_manifest(ITEMS)
    rng = random.Random(7)
    for at in rng.sample(range(len(data)), 400):
        changed = bytearray(data)
        changed[at] ^= 1 << rng.randrange(8)
        with pytest.raises(ManifestError):
            list(read_manifest(io.BytesIO(changed), like=fingerprint))


def test_one_that_was_left_by_an_error_is_refused() -> None:
    sink, builder = io.BytesIO(), FingerprintBuilder(KEYS, buckets=16)

    def write_and_fail() -> None:
        with ManifestWriter(sink, KEYS, buckets=16) as writer:
            writer.add_items(builder.add_items(ITEMS[:1]))
            raise RuntimeError("the scan broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        write_and_fail()
    with pytest.raises(ManifestError, match="cut off after 1 items"):
        list(read_manifest(io.BytesIO(sink.getvalue()), like=builder.build()))


def split(data: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Take a manifest apart by its documented form: header, blocks, end."""
    at = data.index(b"\n") + 1
    header, blocks = data[:at], []
    while count := struct.unpack_from(">I", data, at)[0]:
        length = 24 + 20 * count + struct.unpack_from(">I", data, at + 4)[0]
        blocks.append(data[at : at + length])
        at += length
    return header, blocks, data[at:]


def ended(items: int) -> bytes:
    return struct.pack(">IQ", 0, items)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, b, e: h + b"".join(b[1:]) + e, "blocks are missing or doubled"),
        (lambda h, b, e: h + b"".join([b[0], b[1], b[0], *b[3:]]) + e, "does not add up"),
        (lambda h, b, e: h + b"".join([*b, b[0]]) + e, "blocks are missing or doubled"),
        (lambda h, b, e: h + b"".join(b[1:]) + ended(150), "does not add up"),
        (lambda h, b, e: h + b"".join(b) + e + b"x", "goes on behind"),
        (lambda h, b, e: b"".join(b) + e, "first line"),
        (lambda h, b, e: h.replace(b":2}", b":1}") + b"".join(b) + e, "version 1"),
        (lambda h, b, e: h.replace(b":16,", b":32,") + b"".join(b) + e, "another number of buckets"),
        (lambda h, b, e: h.replace(b'"id"', b'"ID"') + b"".join(b) + e, "other keys"),
        (lambda h, b, e: h + struct.pack(">II16s", 1 << 31, 1, b"") + e, "claims 2147483648 items"),
    ],
)
def test_parts_put_together_otherwise_are_refused(change: Callable[..., bytes], message: str) -> None:
    fingerprint, data = with_manifest(ITEMS)
    header, blocks, end = split(data)
    assert len(blocks) == 7
    assert header + b"".join(blocks) + end == data
    with pytest.raises(ManifestError, match=message):
        list(read_manifest(io.BytesIO(change(header, blocks, end)), like=fingerprint))


@pytest.mark.usefixtures("small_blocks")
def test_blocks_may_stand_in_any_order() -> None:
    fingerprint, data = with_manifest(ITEMS)
    header, blocks, end = split(data)
    shuffled = header + b"".join(reversed(blocks)) + end
    assert set(read_manifest(io.BytesIO(shuffled), like=fingerprint)) == set(
        read_manifest(io.BytesIO(data), like=fingerprint)
    )


def test_a_key_that_was_exchanged_is_refused() -> None:
    # Both checksums are right, and the hashes add up: only the key is another one.
    fingerprint, _ = with_manifest(ITEMS[:2], buckets=4096)
    builder, sink = FingerprintBuilder(KEYS), io.BytesIO()
    hashed = builder.add_items(ITEMS[:2])
    with ManifestWriter(sink, KEYS) as writer:
        writer.add_items(hashed._replace(keys=list(reversed(hashed.keys))))
    with pytest.raises(ManifestError, match="not that of its key"):
        list(read_manifest(io.BytesIO(sink.getvalue()), like=fingerprint))


def test_a_manifest_is_continued_where_it_was_left() -> None:
    whole, expected = with_manifest(ITEMS[:60])
    sink, builder = io.BytesIO(), FingerprintBuilder(KEYS, buckets=16)
    first = ManifestWriter(sink, KEYS, buckets=16)
    first.add_items(builder.add_items(ITEMS[:30]))
    first.flush()
    assert first.count == 30
    with ManifestWriter(sink, KEYS, buckets=16, written=30) as second:
        second.add_items(builder.add_items(ITEMS[30:60]))
    assert list(read_manifest(io.BytesIO(sink.getvalue()), like=whole)) == list(
        read_manifest(io.BytesIO(expected), like=whole)
    )


class TestJoin:
    PARTS = [ITEMS[:70], [], ITEMS[70:71], ITEMS[71:]]

    def test_the_shards_make_the_whole(self) -> None:
        whole, _ = with_manifest(ITEMS)
        sink = io.BytesIO()
        shards = [io.BytesIO(with_manifest(part)[1]) for part in self.PARTS]
        assert join_manifests(shards, sink, like=whole) == 200
        assert {entry.key for entry in read_manifest(io.BytesIO(sink.getvalue()), like=whole)} == {
            f'{{"id":{{"S":"i-{number}"}}}}' for number in range(200)
        }

    @pytest.mark.parametrize("parts", [PARTS[1:], [*PARTS, PARTS[0]], []])
    def test_a_shard_too_few_or_too_many_is_refused(self, parts: list[list[Any]]) -> None:
        whole, _ = with_manifest(ITEMS)
        with pytest.raises(ManifestError, match="missing, doubled, or of another scan"):
            join_manifests([io.BytesIO(with_manifest(part)[1]) for part in parts], io.BytesIO(), like=whole)

    def test_shards_that_were_taken_otherwise_are_refused(self) -> None:
        whole, _ = with_manifest(ITEMS)
        with pytest.raises(ManifestError, match="other keys or another number of buckets"):
            join_manifests([io.BytesIO(with_manifest(ITEMS, buckets=8)[1])], io.BytesIO(), like=whole)
