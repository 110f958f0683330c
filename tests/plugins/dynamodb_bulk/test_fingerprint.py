"""Fingerprints and manifests."""

from __future__ import annotations

import gzip
import io
import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from dynamodb_bulk import fingerprint as module
from dynamodb_bulk import manifest
from dynamodb_bulk.canonical import CanonicalFormError
from dynamodb_bulk.checkpoints import LocalCheckpoints
from dynamodb_bulk.errors import TableMissingError
from dynamodb_bulk.fingerprint import (
    DEFAULT_BUCKETS,
    CheckpointDamagedError,
    Fingerprint,
    FingerprintBuilder,
    FingerprintFormatError,
    FingerprintMismatchError,
    Shard,
    ShardFingerprint,
    ShardsIncompleteError,
    TableReplacedError,
    merge_shards,
    plan_shards,
    read_manifest,
    take_fingerprint,
    take_shard,
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
            (lambda document: document | {"version": 1}, "version 1"),
            (lambda document: document | {"format": "other"}, "not a 'dynamodb-fingerprint'"),
            (lambda document: {k: v for k, v in document.items() if k != "sha256"}, "SHA-256"),
            (lambda document: [document], "not a 'dynamodb-fingerprint'"),
        ],
    )
    def test_a_changed_one_is_refused(self, change: Callable[[Any], Any], message: str) -> None:
        document = json.loads(gzip.decompress(fingerprint_of(ITEMS).to_bytes()))
        with pytest.raises(FingerprintFormatError, match=message):
            Fingerprint.from_bytes(gzip.compress(json.dumps(change(document)).encode()))

    @pytest.mark.parametrize(
        "data", [b"", b"text", gzip.compress(b"text", mtime=0), fingerprint_of(ITEMS).to_bytes()[:-9]]
    )
    def test_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(FingerprintFormatError):
            Fingerprint.from_bytes(data)


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


class FakeTable:
    """A client of one table, whose items are given by segment and page."""

    def __init__(self, segments: list[list[list[dict[str, Any]]]]) -> None:
        self.segments = segments
        self.table_id = "id-1"
        self.exists = True
        self.scans = 0
        self.before_scan: Callable[[int], None] = lambda number: None
        self._lock = threading.Lock()

    def describe_table(self, *, TableName: str) -> dict[str, Any]:
        if not self.exists:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "DescribeTable")
        return {"Table": {"TableId": self.table_id, "ItemCount": 3}}

    def scan(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self.scans += 1
            self.before_scan(self.scans)
        pages = self.segments[request["Segment"] % len(self.segments)]
        if request["Segment"] >= len(self.segments):
            pages = [[]]
        number = int(request["ExclusiveStartKey"]["page"]["N"]) if "ExclusiveStartKey" in request else 0
        answer: dict[str, Any] = {"Items": pages[number], "Count": len(pages[number])}
        if number + 1 < len(pages):
            answer["LastEvaluatedKey"] = {"page": {"N": str(number + 1)}}
        return answer


def cut(items: Sequence[dict[str, Any]], segments: int, rng: random.Random) -> list[list[list[dict[str, Any]]]]:
    """Spread items over segments and pages as chance has it."""
    table: list[list[list[dict[str, Any]]]] = [[[]] for _ in range(segments)]
    for each in rng.sample(list(items), len(items)):
        pages = rng.choice(table)
        if rng.random() < 0.3:
            pages.append([])
        pages[-1].append(each)
    return table


names = st.sampled_from(["a", "b", "é", "N", ""])
values: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.one_of(
        st.builds(lambda text: {"S": text}, st.sampled_from(["", "1", "x", "\U0001f600"])),
        st.builds(lambda number: {"N": number}, st.sampled_from(["1", "1.0", "10", "1E1", "-0", "0", "0.10", "0.1"])),
        st.builds(lambda data: {"B": data}, st.sampled_from(["", "AA==", "AQ=="])),
        st.builds(lambda flag: {"BOOL": flag}, st.booleans()),
        st.just({"NULL": True}),
        st.builds(lambda many: {"SS": many}, st.permutations(["x", "1", "y"]).map(lambda many: many[:2])),
        st.builds(lambda many: {"NS": many}, st.permutations(["1", "2.0", "3"]).map(lambda many: many[:2])),
        st.builds(lambda many: {"BS": many}, st.permutations(["AA==", "AQ==", ""]).map(lambda many: many[:2])),
    ),
    lambda children: st.one_of(
        st.builds(lambda many: {"L": many}, st.lists(children, max_size=2)),
        st.builds(lambda many: {"M": many}, st.dictionaries(names, children, max_size=2)),
    ),
    max_leaves=4,
)
contents = st.dictionaries(
    st.integers(0, 5), st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=2), max_size=5
)


def meaning(value: dict[str, Any]) -> Any:
    """What a value says, in Python's own terms: equal meanings, equal values. An oracle for the tests."""
    ((descriptor, content),) = value.items()
    match descriptor:
        case "N":
            return "N", float(content)
        case "SS" | "BS":
            return descriptor, frozenset(content)
        case "NS":
            return descriptor, frozenset(map(float, content))
        case "L":
            return descriptor, tuple(map(meaning, content))
        case "M":
            return descriptor, frozenset((name, meaning(entry)) for name, entry in content.items())
        case _:
            return descriptor, content


def table_meaning(content: dict[int, dict[str, Any]]) -> dict[int, Any]:
    return {key: {name: meaning(value) for name, value in rest.items()} for key, rest in content.items()}


def rows(content: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": {"N": str(key)}, **rest} for key, rest in content.items()]


class TestEqualIfAndOnlyIfContentIs:
    @settings(deadline=None, max_examples=80)
    @given(contents, contents, st.booleans(), st.randoms(use_true_random=False), st.sampled_from([1, 2, 5]))
    def test_of_whole_tables(
        self,
        one: dict[int, dict[str, Any]],
        other: dict[int, dict[str, Any]],
        same: bool,
        rng: random.Random,
        segments: int,
    ) -> None:
        other = one if same else other
        taken = take_fingerprint(client_of(rows(one), 1, rng), "t", key_names=KEYS, buckets=4)
        merged = take_in_shards(client_of(rows(other), segments, rng), segments, rng)
        assert (taken == merged) == (table_meaning(one) == table_meaning(other))
        assert (taken.digest == merged.digest) == (taken == merged)
        assert bool(taken.unequal_buckets(merged)) == (taken != merged)

    def test_a_client_and_a_page_have_one_fingerprint(self) -> None:
        # boto3's client returns binary as bytes, the HTTP body has it as base64.
        one, other = FingerprintBuilder(KEYS), FingerprintBuilder(KEYS)
        one.add_items([{"id": {"B": b"\x00"}, "v": {"BS": [b"b", b"a"]}}])
        other.add({"id": {"B": "AA=="}, "v": {"BS": ["YQ==", "Yg=="]}})
        assert one.build() == other.build()


def client_of(items: Sequence[dict[str, Any]], segments: int, rng: random.Random) -> Any:
    return FakeTable(cut(items, segments, rng))


def take_in_shards(client: Any, count: int, rng: random.Random) -> Fingerprint:
    shards = [Shard(index, count, 1) for index in range(count)]
    # One of them twice: a shard that is retried gives the same.
    parts = [take_shard(client, "t", shard=shard, key_names=KEYS, buckets=4) for shard in shards]
    assert take_shard(client, "t", shard=shards[-1], key_names=KEYS, buckets=4) == parts[-1]
    return merge_shards(rng.sample(parts, len(parts)))


class TestShards:
    @pytest.mark.parametrize(("size", "expected"), [(0, 1), (1, 1), (100, 1), (101, 2), (1000, 10), (10**9, 50)])
    def test_a_plan_has_shards_by_size(self, size: int, expected: int) -> None:
        shards = plan_shards(size, shard_bytes=100, max_shards=50, segments=3)
        assert len(shards) == expected
        numbers = [number for shard in shards for number in shard.segment_numbers]
        assert numbers == list(range(shards[0].total_segments))

    @pytest.mark.parametrize("shard", [(1, 1, 1), (-1, 1, 1), (0, 0, 1), (0, 1, 0)])
    def test_a_shard_that_can_not_be_is_refused(self, shard: tuple[int, int, int]) -> None:
        with pytest.raises(ValueError, match="There is no shard"):
            Shard(*shard)

    @pytest.mark.parametrize("options", [{"shard_bytes": 0}, {"max_shards": 0}, {"segments": 0}])
    def test_a_plan_that_can_not_be_is_refused(self, options: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="must be 1 or more"):
            plan_shards(1, **options)

    def parts(self) -> list[ShardFingerprint]:
        client: Any = client_of(ITEMS[:30], 3, random.Random(1))
        return [take_shard(client, "t", shard=Shard(index, 3, 1), key_names=KEYS) for index in range(3)]

    def test_a_part_comes_back_as_it_was(self) -> None:
        for part in self.parts():
            assert ShardFingerprint.from_bytes(part.to_bytes()) == part

    def test_a_part_is_not_taken_for_a_whole(self) -> None:
        data = self.parts()[0].to_bytes()
        with pytest.raises(FingerprintFormatError, match="not a 'dynamodb-fingerprint' document"):
            Fingerprint.from_bytes(data)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda parts: [], "no shard"),
            (lambda parts: parts[1:], r"cut into 3 shards, but these came: \[1, 2\]"),
            (lambda parts: [*parts, parts[1]], r"these came: \[0, 1, 1, 2\]"),
            (lambda parts: [parts[0], parts[1], parts[1]], r"these came: \[0, 1, 1\]"),
            (lambda parts: [*parts[:2], other_shard(parts[2], shard=Shard(2, 3, 2))], "3 shards, but these came"),
            (lambda parts: [*parts[:2], other_shard(parts[2], table_name="u")], "differ in table_name: 't' and 'u'"),
            (lambda parts: [*parts[:2], other_shard(parts[2], table_id="id-2")], "differ in table_id"),
            (lambda parts: [*parts[:2], other_shard(parts[2], consistent_read=False)], "differ in consistent_read"),
        ],
    )
    def test_what_is_not_the_whole_table_is_not_merged(
        self, change: Callable[[list[ShardFingerprint]], list[ShardFingerprint]], message: str
    ) -> None:
        with pytest.raises(ShardsIncompleteError, match=message):
            merge_shards(change(self.parts()))


def other_shard(part: ShardFingerprint, **changes: Any) -> ShardFingerprint:
    return replace(part, **changes)


class TestBadDays:
    def test_a_table_that_is_not_there_is_named(self) -> None:
        client: Any = FakeTable([[[]]])
        client.exists = False
        with pytest.raises(TableMissingError, match="'t'"):
            take_fingerprint(client, "t", key_names=KEYS)

    def test_a_table_that_goes_away_leaves_no_whole_manifest(self) -> None:
        client: Any = FakeTable([[ITEMS[:3], ITEMS[3:6]]])
        sink = io.BytesIO()

        def leave(number: int) -> None:
            client.exists = False

        client.before_scan = leave
        with pytest.raises(TableMissingError, match="deleted meanwhile"):
            take_fingerprint(client, "t", key_names=KEYS, manifest_sink=sink, buckets=16)
        with pytest.raises(module.ManifestError, match="cut off after 6 items"):
            list(read_manifest(io.BytesIO(sink.getvalue()), like=fingerprint_of(ITEMS[:6])))

    def test_a_table_that_is_replaced_is_noticed(self) -> None:
        client: Any = FakeTable([[ITEMS[:3], ITEMS[3:6]]])

        def replace_table(number: int) -> None:
            client.table_id = "id-2"

        client.before_scan = replace_table
        with pytest.raises(TableReplacedError, match=r"'t' was deleted and made anew .* id-1 and is id-2"):
            take_fingerprint(client, "t", key_names=KEYS)

    def test_an_item_without_its_key_is_an_error(self) -> None:
        client: Any = FakeTable([[[{"other": {"S": "x"}}]]])
        with pytest.raises(CanonicalFormError, match="no key attribute 'id'"):
            take_fingerprint(client, "t", key_names=KEYS)


class KilledError(Exception):
    """Stands for a kill: nothing may be done after it."""


class TestResume:
    @pytest.fixture(autouse=True)
    def _save_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)

    @pytest.mark.parametrize("kill_at", range(1, 10))
    def test_a_killed_scan_goes_on(self, tmp_path: Path, kill_at: int) -> None:
        client: Any = FakeTable([[ITEMS[:20], ITEMS[20:40], []], [[], ITEMS[40:50], ITEMS[50:60]]])
        checkpoint = LocalCheckpoints(tmp_path)

        def kill(number: int) -> None:
            if number == kill_at:
                raise KilledError

        client.before_scan = kill
        if kill_at <= 6:
            with pytest.raises(KilledError):
                take(client, checkpoint, io.BytesIO())
        else:
            take(client, checkpoint, io.BytesIO())
        done_before = client.scans
        client.before_scan = lambda number: None
        sink = io.BytesIO()
        taken = take(client, checkpoint, sink)
        assert taken == fingerprint_of(ITEMS[:60])
        assert keys_in(sink, taken) == keys_of(60)
        assert checkpoint.get("state") is None
        if 2 < kill_at <= 6:
            assert client.scans - done_before < 6

    def killed(self, folder: Path) -> tuple[Any, LocalCheckpoints]:
        """Leave the state of a scan that was killed before its last page."""
        client: Any = FakeTable([[ITEMS[:20], ITEMS[20:40], ITEMS[40:60]], [[]]])
        checkpoint = LocalCheckpoints(folder)

        def kill(number: int) -> None:
            if number == 4:
                raise KilledError

        client.before_scan = kill
        with pytest.raises(KilledError):
            take(client, checkpoint, io.BytesIO())
        assert checkpoint.get("state") is not None
        client.before_scan, client.scans = (lambda number: None), 0
        return client, checkpoint

    @pytest.mark.parametrize(
        ("change", "options"),
        [
            (lambda client, store: setattr(client, "table_id", "id-2"), {}),
            (lambda client, store: None, {"buckets": 32}),
            (lambda client, store: None, {"segments": 3}),
            (lambda client, store: None, {"consistent_read": False}),
            (lambda client, store: store.put("state", b"damaged"), {}),
            (lambda client, store: store.put("state", fingerprint_of([]).to_bytes()), {}),
        ],
        ids=["another table", "buckets", "segments", "consistency", "damaged", "something else"],
    )
    def test_what_does_not_fit_is_read_anew(
        self, tmp_path: Path, change: Callable[[Any, LocalCheckpoints], Any], options: dict[str, Any]
    ) -> None:
        client, checkpoint = self.killed(tmp_path)
        change(client, checkpoint)
        sink = io.BytesIO()
        taken = take(client, checkpoint, sink, **options)
        assert client.scans >= 4
        assert taken == fingerprint_of(ITEMS[:60], options.get("buckets", 16))
        assert keys_in(sink, taken) == keys_of(60)

    def test_what_fits_is_not_read_again(self, tmp_path: Path) -> None:
        client, checkpoint = self.killed(tmp_path)
        assert take(client, checkpoint, io.BytesIO()) == fingerprint_of(ITEMS[:60])
        assert client.scans < 4

    def test_without_a_manifest_it_goes_on_as_well(self, tmp_path: Path) -> None:
        client, checkpoint = self.killed(tmp_path)
        # The state is of a fingerprint with a manifest, so this one starts anew, and is killed in turn.
        client.before_scan = Mock(side_effect=[None, None, None, KilledError])
        with pytest.raises(KilledError):
            take(client, checkpoint, None)
        client.before_scan, client.scans = (lambda number: None), 0
        assert take(client, checkpoint, None) == fingerprint_of(ITEMS[:60])
        assert client.scans < 4

    def test_a_part_that_is_gone_is_named(self, tmp_path: Path) -> None:
        client, checkpoint = self.killed(tmp_path)
        (tmp_path / "manifest-000001").unlink()
        with pytest.raises(CheckpointDamagedError, match="manifest-000001 of the checkpoint of table 't'"):
            take(client, checkpoint, io.BytesIO())

    def test_the_manifest_is_not_gathered_in_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SAVE_SECONDS", 1e9)
        monkeypatch.setattr(module, "SAVE_BYTES", 1)
        monkeypatch.setattr(manifest, "BLOCK_ITEMS", 10)
        saved: list[str] = []

        class Store(LocalCheckpoints):
            def put(self, name: str, data: bytes) -> None:
                saved.append(name)
                super().put(name, data)

        client: Any = FakeTable([[ITEMS[:20], ITEMS[20:40], ITEMS[40:60]]])
        take(client, Store(tmp_path), io.BytesIO(), segments=1)
        assert saved[:4] == ["manifest-000000", "state", "manifest-000001", "state"]


def take(client: Any, checkpoint: LocalCheckpoints, sink: BinaryIO | None, **options: Any) -> Fingerprint:
    chosen = {"key_names": KEYS, "segments": 2, "buckets": 16, **options}
    return take_fingerprint(client, "t", manifest_sink=sink, checkpoint=checkpoint, **chosen)


def keys_in(sink: io.BytesIO, like: Fingerprint) -> list[str]:
    return sorted(entry.key for entry in read_manifest(io.BytesIO(sink.getvalue()), like=like))


def keys_of(count: int) -> list[str]:
    return sorted(f'{{"id":{{"S":"i-{number}"}}}}' for number in range(count))
