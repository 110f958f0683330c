"""Sorting and joining more records than fit into memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_bulk.spill import DuplicateKeyError, Record, SpillingSorter, join

MEMORY = [1, 200, 1000, 1 << 30]
records = st.dictionaries(st.binary(max_size=4), st.binary(max_size=20), max_size=30)


def sorter_of(content: list[Record], memory_bytes: int = 1 << 30) -> SpillingSorter:
    sorter = SpillingSorter(memory_bytes=memory_bytes)
    for key, value in content:
        sorter.add(key, value)
    return sorter


@given(records, st.sampled_from(MEMORY), st.randoms(use_true_random=False))
def test_records_come_back_sorted(content: dict[bytes, bytes], memory: int, rng: random.Random) -> None:
    with sorter_of(rng.sample(list(content.items()), len(content)), memory) as sorter:
        assert list(sorter) == sorted(content.items())
        assert list(sorter) == sorted(content.items())
        assert len(sorter) == len(content)


def test_large_records_cross_the_reading_buffer() -> None:
    rng = random.Random(5)
    content = [(rng.randbytes(rng.randrange(2000)), rng.randbytes(rng.randrange(400_000))) for _ in range(40)]
    with sorter_of(content, 1_000_000) as sorter:
        assert sorter.runs > 3
        assert list(sorter) == sorted(content)


def test_memory_decides_what_goes_to_disk() -> None:
    content = [(b"%d" % number, b"x" * 100) for number in range(100)]
    with sorter_of(content, 1 << 20) as small, sorter_of(content, 10_000) as large:
        assert (small.runs, large.runs > 1) == (0, True)


def test_the_file_goes_to_the_folder_and_goes_away(tmp_path: Path) -> None:
    with SpillingSorter(memory_bytes=1, folder=tmp_path) as sorter:
        sorter.add(b"k", b"v")
        assert sorter.runs == 1
        assert list(sorter) == [(b"k", b"v")]
    assert list(tmp_path.iterdir()) == []
    assert list(sorter) == []


def test_memory_must_be_something() -> None:
    with pytest.raises(ValueError, match="memory_bytes"):
        SpillingSorter(memory_bytes=0)


@given(st.lists(records, min_size=1, max_size=3), st.sampled_from(MEMORY))
def test_a_join_has_every_key_once(sides: list[dict[bytes, bytes]], memory: int) -> None:
    joined = list(join([sorter_of(list(side.items()), memory) for side in sides]))
    expected = sorted({key for side in sides for key in side})
    assert joined == [(key, [side.get(key) for side in sides]) for key in expected]


@pytest.mark.parametrize("memory", MEMORY)
def test_a_key_that_comes_twice_is_named(memory: int) -> None:
    twice = sorter_of([(b"a", b"1"), (b"b", b"1"), (b"a", b"2")], memory)
    with pytest.raises(DuplicateKeyError, match="key a comes twice") as caught:
        list(join([sorter_of([(b"a", b"1")]), twice]))
    assert caught.value.key == b"a"
