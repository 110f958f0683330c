"""Fingerprints and manifests."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from dynamodb_bulk.fingerprint import (
    DEFAULT_BUCKETS,
    Fingerprint,
    FingerprintBuilder,
    FingerprintFormatError,
    FingerprintMismatchError,
    ManifestEntry,
    ManifestError,
    ManifestWriter,
    read_manifest,
    take_fingerprint,
)

CALM = settings(deadline=None, max_examples=25)
"""No deadline an example: how long one takes says more about the machine's other work than about ours."""

KEYS = ("id",)


def item(number: int, text: str = "x") -> dict[str, Any]:
    return {"id": {"S": f"i-{number}"}, "amount": {"N": str(number)}, "text": {"S": text}}


def fingerprint_of(items: Sequence[dict[str, Any]], buckets: int = 16) -> Fingerprint:
    builder = FingerprintBuilder(KEYS, buckets=buckets)
    for each in items:
        builder.add(each)
    return builder.build()


def with_manifest(items: Sequence[dict[str, Any]], buckets: int = 16) -> tuple[Fingerprint, bytes]:
    sink, builder = io.BytesIO(), FingerprintBuilder(KEYS, buckets=buckets)
    with ManifestWriter(sink, KEYS, buckets=buckets) as writer:
        for each in items:
            bucket, digest = builder.add(each)
            writer.add(ManifestEntry(bucket, json.dumps({"id": each["id"]}, separators=(",", ":")), digest))
    return builder.build(), sink.getvalue()


ITEMS = [item(number) for number in range(200)]


class TestFingerprint:
    def test_order_makes_no_difference(self) -> None:
        reordered = random.Random(3).sample(ITEMS, len(ITEMS))
        assert fingerprint_of(reordered) == fingerprint_of(ITEMS)
        assert fingerprint_of(reordered).digest == fingerprint_of(ITEMS).digest

    @pytest.mark.parametrize(
        "mutate",
        [
            pytest.param(lambda items: items[1:], id="one removed"),
            pytest.param(lambda items: [*items, item(999)], id="one added"),
            pytest.param(lambda items: [*items, items[7]], id="one doubled"),
            pytest.param(lambda items: [*items, items[7], items[7]], id="one twice more"),
            pytest.param(lambda items: [item(0, "y"), *items[1:]], id="one altered"),
            pytest.param(
                lambda items: [
                    {**items[0], "text": {"S": "moved"}},
                    {**items[1], "amount": items[0]["amount"]},
                    *items[2:],
                ],
                id="values moved",
            ),
            pytest.param(lambda items: [{**items[0], "amount": {"S": "0"}}, *items[1:]], id="type changed"),
            pytest.param(lambda items: [{**items[0], "more": {"S": ""}}, *items[1:]], id="empty attribute added"),
        ],
    )
    def test_every_change_shows(self, mutate: Callable[[list[Any]], list[Any]]) -> None:
        changed = fingerprint_of(mutate(ITEMS))
        assert changed != fingerprint_of(ITEMS)
        assert changed.digest != fingerprint_of(ITEMS).digest

    def test_swapped_values_show(self) -> None:
        one, other = item(1, "a"), item(2, "b")
        assert fingerprint_of([one, other]) != fingerprint_of([item(1, "b"), item(2, "a")])

    def test_a_change_shows_in_its_own_bucket_only(self) -> None:
        before, after = fingerprint_of(ITEMS), fingerprint_of([item(0, "y"), *ITEMS[1:]])
        bucket, _ = FingerprintBuilder(KEYS, buckets=16).add(ITEMS[0])
        assert before.unequal_buckets(after) == {bucket}
        assert before.unequal_buckets(before) == frozenset()

    def test_items_spread_over_the_buckets(self) -> None:
        counts = fingerprint_of(ITEMS).counts
        assert sum(counts) == 200
        assert min(counts) > 0
        assert max(counts) < 40

    @CALM
    @given(st.lists(st.integers(0, 50), max_size=30), st.integers(0, 30))
    def test_parts_merge_to_the_whole(self, numbers: list[int], cut: int) -> None:
        whole = [item(number) for number in numbers]
        merged = fingerprint_of(whole[:cut]).merge(fingerprint_of(whole[cut:]))
        assert merged == fingerprint_of(whole)
        assert merged.item_count == len(numbers)

    def test_equal_terms_do_not_cancel_out(self) -> None:
        assert any(fingerprint_of([ITEMS[0]] * 2).sums)

    @pytest.mark.parametrize("other", [FingerprintBuilder(KEYS, buckets=8), FingerprintBuilder(["k"], buckets=16)])
    def test_what_was_taken_otherwise_is_not_compared(self, other: FingerprintBuilder) -> None:
        with pytest.raises(FingerprintMismatchError):
            fingerprint_of(ITEMS).unequal_buckets(other.build())
        with pytest.raises(FingerprintMismatchError):
            fingerprint_of(ITEMS).merge(other.build())

    @pytest.mark.parametrize(("keys", "buckets"), [([], 16), (KEYS, 0), (KEYS, (1 << 20) + 1)])
    def test_impossible_settings_are_refused(self, keys: Sequence[str], buckets: int) -> None:
        with pytest.raises(ValueError, match=r"key attributes|buckets must be"):
            FingerprintBuilder(keys, buckets=buckets)


class TestStoredFingerprint:
    @CALM
    @given(st.lists(st.integers(), max_size=20))
    def test_comes_back_as_it_was(self, numbers: list[int]) -> None:
        fingerprint = fingerprint_of([item(number % 10**30) for number in numbers])
        assert Fingerprint.from_bytes(fingerprint.to_bytes()) == fingerprint

    def test_equal_content_has_equal_bytes(self) -> None:
        assert fingerprint_of(ITEMS).to_bytes() == fingerprint_of(ITEMS[::-1]).to_bytes()

    def test_a_small_table_takes_little_room(self) -> None:
        assert len(fingerprint_of(ITEMS[:10], DEFAULT_BUCKETS).to_bytes()) < 1000

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda document: document | {"item_count": 199}, "SHA-256"),
            (lambda document: document | {"filled": document["filled"][1:]}, "SHA-256"),
            (lambda document: document | {"version": 2}, "version 2"),
            (lambda document: document | {"format": "other"}, "not a 'dynamodb-fingerprint'"),
            (lambda document: {k: v for k, v in document.items() if k != "sha256"}, "SHA-256"),
            (lambda document: [document], "not a 'dynamodb-fingerprint'"),
        ],
    )
    def test_a_changed_one_is_refused(self, change: Callable[[Any], Any], message: str) -> None:
        document = json.loads(gzip.decompress(fingerprint_of(ITEMS).to_bytes()))
        with pytest.raises(FingerprintFormatError, match=message):
            Fingerprint.from_bytes(gzip.compress(json.dumps(change(document)).encode()))

    @pytest.mark.parametrize("data", [b"", b"text", gzip.compress(b"text"), fingerprint_of(ITEMS).to_bytes()[:-9]])
    def test_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(FingerprintFormatError):
            Fingerprint.from_bytes(data)


class TestManifest:
    def test_comes_back_as_it_was(self) -> None:
        fingerprint, data = with_manifest(ITEMS)
        entries = list(read_manifest(io.BytesIO(data), like=fingerprint))
        assert [entry.key for entry in entries] == [f'{{"id":{{"S":"i-{number}"}}}}' for number in range(200)]
        assert entries[0].digest == FingerprintBuilder(KEYS, buckets=16).add(ITEMS[0])[1]

    def test_equal_items_have_equal_bytes(self) -> None:
        assert with_manifest(ITEMS)[1] == with_manifest(ITEMS)[1]

    def test_the_sink_stays_open(self) -> None:
        sink = io.BytesIO()
        with ManifestWriter(sink, KEYS):
            pass
        assert not sink.closed

    def test_an_empty_table_has_one_too(self) -> None:
        fingerprint, data = with_manifest([])
        assert list(read_manifest(io.BytesIO(data), like=fingerprint)) == []

    @pytest.mark.parametrize("keep", [0, 5, 100, -1, -9])
    def test_a_cut_off_one_is_refused(self, keep: int) -> None:
        fingerprint, data = with_manifest(ITEMS)
        with pytest.raises(ManifestError):
            list(read_manifest(io.BytesIO(data[:keep]), like=fingerprint))

    def test_one_that_was_left_by_an_error_is_refused(self) -> None:
        sink, builder = io.BytesIO(), FingerprintBuilder(KEYS, buckets=16)

        def write_and_fail() -> None:
            with ManifestWriter(sink, KEYS, buckets=16) as writer:
                bucket, digest = builder.add(ITEMS[0])
                writer.add(ManifestEntry(bucket, '{"id":{"S":"i-0"}}', digest))
                raise RuntimeError("the scan broke off")

        with pytest.raises(RuntimeError, match="broke off"):
            write_and_fail()
        with pytest.raises(ManifestError, match="cut off after 1 items"):
            list(read_manifest(io.BytesIO(sink.getvalue()), like=builder.build()))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda lines: [*lines[:5], *lines[6:]], "cut off"),
            (lambda lines: [lines[0], lines[2], lines[2], *lines[3:]], "does not add up"),
            (lambda lines: [*lines, lines[1]], "goes on behind"),
            (lambda lines: lines[1:], "first line"),
            (lambda lines: [lines[0].replace(b":1}", b":2}"), *lines[1:]], "version 2"),
            (lambda lines: [lines[0].replace(b":16,", b":32,"), *lines[1:]], "another number of buckets"),
            (lambda lines: [lines[0], b"[1]", *lines[2:]], "can't be read"),
            (lambda lines: [lines[0], b'[99,{"id":{"S":"i-0"}},"00"]', *lines[2:]], "can't be read"),
        ],
    )
    def test_a_changed_one_is_refused(self, change: Callable[[list[bytes]], list[bytes]], message: str) -> None:
        fingerprint, data = with_manifest(ITEMS)
        lines = change(gzip.decompress(data).splitlines())
        with pytest.raises(ManifestError, match=message):
            list(read_manifest(io.BytesIO(gzip.compress(b"\n".join(lines))), like=fingerprint))


class TestTakeFingerprint:
    @pytest.mark.parametrize("segments", [1, 3])
    def test_of_a_table_is_that_of_its_items(self, segments: int) -> None:
        sink, seen = io.BytesIO(), []
        with mock_aws():
            client = boto3.client("dynamodb", region_name="us-east-1")
            client.create_table(
                TableName="things",
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            for each in ITEMS[:40]:
                client.put_item(TableName="things", Item=each)
            taken = take_fingerprint(
                client, "things", key_names=KEYS, segments=segments, manifest_sink=sink, progress=seen.append
            )
        assert taken == fingerprint_of(ITEMS[:40], DEFAULT_BUCKETS)
        assert {entry.key for entry in read_manifest(io.BytesIO(sink.getvalue()), like=taken)} == {
            f'{{"id":{{"S":"i-{number}"}}}}' for number in range(40)
        }
        assert seen[-1].items == 40
