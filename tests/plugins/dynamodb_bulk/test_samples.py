"""Samples: drawn by a seed, from many places, at a price in proportion; the same items are looked at again."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from typing import Any

import pytest

from dynamodb_bulk.canonical import canonical_key
from dynamodb_bulk.compare import Manifests, Outcome, judge
from dynamodb_bulk.fingerprint import FingerprintBuilder, read_manifest
from dynamodb_bulk.samples import LEAST_SEGMENTS, Sample, SampleSize, draw_sample, look_again, manifest_keys

NAMES = ("id",)


def item(number: int) -> dict[str, Any]:
    return {"id": {"S": f"i-{number:06}"}, "n": {"N": str(number)}}


def hash_of(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())


class Table:
    """A client with one table, ordered and cut into segments by a hash of the key, that counts what is read of it."""

    def __init__(self, count: int) -> None:
        self.items = {canonical_key(item(number), NAMES): item(number) for number in range(count)}
        self.scans = self.scanned = self.points = 0
        self._cuts: dict[int, dict[int, list[Any]]] = {}

    def scan(self, **request: Any) -> dict[str, Any]:
        segments = request["TotalSegments"]
        if segments not in self._cuts:
            cut: dict[int, list[Any]] = {}
            for key, found in sorted(self.items.items(), key=lambda entry: hash_of(entry[0])):
                cut.setdefault(hash_of(key) * segments >> 64, []).append(found)
            self._cuts = {segments: cut}
        found = self._cuts[segments].get(request["Segment"], [])
        start = int(request["ExclusiveStartKey"]["at"]["N"]) if "ExclusiveStartKey" in request else 0
        end = start + request["Limit"]
        self.scans += 1
        self.scanned += len(found[start:end])
        answer: dict[str, Any] = {"Items": found[start:end]}
        if end < len(found):
            answer["LastEvaluatedKey"] = {"at": {"N": str(end)}}
        return answer

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        keys = [canonical_key(key, NAMES) for key in request["RequestItems"]["t"]["Keys"]]
        self.points += len(keys)
        return {"Responses": {"t": [self.items[key] for key in keys if key in self.items]}, "UnprocessedKeys": {}}


def draw(table: Any, size: SampleSize, seed: str = "seed", expected: int | None = None) -> tuple[Sample, list[bytes]]:
    sink = io.BytesIO()
    sample = draw_sample(
        table,
        "t",
        key_names=NAMES,
        size=size,
        seed=seed,
        expected_items=len(table.items) if expected is None else expected,
        manifest_sink=sink,
    )
    sink.seek(0)
    return sample, list(manifest_keys(sink, like=sample.fingerprint))


@pytest.mark.parametrize("expected", [10_000, 0, 77, 10**7], ids=["known", "unknown", "too few", "too many"])
def test_a_sample_has_so_many_items_from_many_segments_and_costs_no_more(expected: int) -> None:
    table = Table(10_000)
    sample, keys = draw(table, SampleSize(items=300), expected=expected)
    assert len(set(keys)) == sample.fingerprint.item_count
    assert 300 <= sample.fingerprint.item_count <= 340
    assert sample.segments_read >= 20
    assert not sample.whole
    # What was read to find out how to cut, and beyond the last item that was needed.
    assert table.scanned <= 340 + 2 * 8 * 24


def test_the_same_seed_draws_the_same_items_and_another_one_others() -> None:
    table = Table(5_000)
    first, again, other = (draw(table, SampleSize(items=100), seed)[1] for seed in ("a", "a", "b"))
    assert first == again
    assert len(set(first) & set(other)) < 20


def test_every_item_is_as_likely_to_be_drawn_wherever_it_stands() -> None:
    table = Table(200)
    drawn = Counter(key for seed in range(200) for key in draw(table, SampleSize(items=20), str(seed))[1])
    assert set(drawn) == set(table.items)
    mean = drawn.total() / 200
    assert 20 <= mean <= 24
    assert max(drawn.values()) < mean + 5 * mean**0.5


class Collections(Table):
    """A table whose hash keys have many items each: they all lie in one segment, one behind the other."""

    def __init__(self, count: int, each: int) -> None:
        super().__init__(count * each)
        self.each = each

    def scan(self, **request: Any) -> dict[str, Any]:
        segments = request["TotalSegments"]
        if segments not in self._cuts:
            cut: dict[int, list[Any]] = {}
            for number, found in enumerate(self.items.values()):
                cut.setdefault(hash_of(b"%d" % (number // self.each)) * segments >> 64, []).append(found)
            self._cuts = {segments: cut}
        return super().scan(**request)


def test_what_stands_late_in_a_large_collection_is_drawn_too_and_the_segments_tell_how_few_there_were() -> None:
    drawn = Counter[int]()
    for seed in range(60):
        sample, keys = draw(Collections(40, 50), SampleSize(items=100), str(seed))
        assert 100 <= len(keys) <= 200
        assert sample.segments_read <= 4
        drawn.update(int(key[-8:-3]) % 50 // 10 for key in keys)
    # Each tenth of a collection as often as the others.
    assert min(drawn.values()) > 0.8 * max(drawn.values())


def test_one_collection_that_is_larger_than_the_sample_does_not_blow_it_up() -> None:
    table = Collections(1, 5_000)
    sample, keys = draw(table, SampleSize(items=100))
    assert (len(keys), sample.segments_read, sample.whole) == (200, 1, False)
    assert table.scanned <= 220


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_a_table_no_larger_than_the_sample_is_read_whole(count: int) -> None:
    table = Table(count)
    sample, keys = draw(table, SampleSize(items=300))
    assert sample.whole
    assert set(keys) == set(table.items)
    builder = FingerprintBuilder(NAMES)
    builder.add_items(list(table.items.values()))
    assert sample.fingerprint == builder.build()


def test_a_table_that_is_much_larger_than_the_sample_is_not_read_whole() -> None:
    assert not draw(Table(3_000), SampleSize(items=300))[0].whole


@pytest.mark.parametrize("share", [0.001, 0.01, 0.2])
def test_a_share_is_of_whole_segments(share: float) -> None:
    table = Table(20_000)
    sample, keys = draw(table, SampleSize(share=share))
    assert 0.4 * share < len(keys) / 20_000 < 1.8 * share
    assert table.scanned == len(keys)
    assert (sample.whole, sample.segments_read >= min(20, 20_000 * share / 2)) == (False, True)


def test_a_share_of_one_is_the_whole_table() -> None:
    table = Table(50)
    sample, keys = draw(table, SampleSize(share=1.0))
    assert (sample.whole, set(keys)) == (True, set(table.items))


@pytest.mark.parametrize(
    "sizes", [{}, {"items": 5, "share": 0.1}, {"items": 0}, {"share": 0.0}, {"share": 1.1}], ids=str
)
def test_a_size_that_makes_no_sense_is_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="A sample"):
        SampleSize(**sizes)


def test_a_cut_is_never_finer_than_dynamodb_takes() -> None:
    assert SampleSize(items=1).segments(10**12) == 1_000_000
    assert SampleSize(items=10**6).segments(10) == LEAST_SEGMENTS
    assert SampleSize(share=0.000001).segments(10**12) == 1_000_000


def test_looking_again_reads_the_sample_alone_and_judges_it_like_a_table() -> None:
    table = Table(3_000)
    before, keys = draw(table, SampleSize(items=200))
    restored = Table(3_000)
    restored.items[keys[5]] = {**restored.items[keys[5]], "n": {"S": "5"}}
    del restored.items[keys[9]]
    sinks = {name: io.BytesIO() for name in ("before", "after", "restored")}
    draw_sample(table, "t", key_names=NAMES, size=SampleSize(items=200), seed="seed", expected_items=3_000,
                manifest_sink=sinks["before"])  # fmt: skip
    after, figures = look_again(table, "t", keys, key_names=NAMES, manifest_sink=sinks["after"])
    assert after == before.fingerprint
    assert (table.points, figures.bytes > 0) == (len(keys), True)
    came_back, _ = look_again(restored, "t", keys, key_names=NAMES, manifest_sink=sinks["restored"])
    assert restored.points == len(keys)
    manifests = Manifests(**{name: (lambda sink=sink: io.BytesIO(sink.getvalue())) for name, sink in sinks.items()})
    result = judge(before.fingerprint, after, came_back, manifests=manifests)
    assert result.outcome is Outcome.DIFFERENT
    assert {(found.kind.value, found.key.encode()) for found in result.differences} == {
        ("changed", keys[5]),
        ("missing", keys[9]),
    }
    sinks["restored"].seek(0)
    assert len(list(read_manifest(sinks["restored"], like=came_back))) == len(keys) - 1
