import random
from collections import defaultdict
from hashlib import blake2b
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_bulk.winners import KeyLog, KeyRun, LineSet, Superseded, find_superseded


def hashed(key: int) -> bytes:
    return blake2b(str(key).encode(), digest_size=16).digest()


def runs_of(keys: list[int], cuts: list[int]) -> list[KeyRun]:
    """Lay down keys, one for each line from 1 on, in shards cut at the given places."""
    runs = []
    edges = [0, *sorted(cuts), len(keys)]
    for start, end in pairwise(edges):
        log = KeyLog()
        middle = (start + end) // 2
        for first, last in ((start, middle), (middle, end)):
            log.add(range(first + 1, last + 1), [hashed(key) for key in keys[first:last]])
        data = log.to_bytes()
        runs.append(KeyRun(lambda at, length, data=data: data[at : at + length]))  # type: ignore[misc]
        assert log.count == end - start
    return runs


def expected(keys: list[int]) -> list[Superseded]:
    lines = defaultdict(list)
    for line, key in enumerate(keys, start=1):
        lines[key].append(line)
    return sorted(Superseded(later, line) for found in lines.values() for line, later in pairwise(found))


@settings(max_examples=200)
@given(
    keys=st.lists(st.integers(0, 12), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    most=st.sampled_from([1, 5, 1000]),
    sample=st.integers(0, 8),
)
def test_all_rows_but_the_last_of_each_key_are_found(keys: list[int], cuts: list[int], most: int, sample: int) -> None:
    cuts = [min(cut, len(keys)) for cut in cuts]
    edges = [0, *sorted(cuts), len(keys)]
    found: list[tuple[int, int]] = []
    sampled = find_superseded(
        runs_of(keys, cuts),
        found=lambda shard, line: found.append((shard, line)),
        sample_size=sample,
        most_at_once=most,
    )
    wanted = expected(keys)
    assert sorted(line for _, line in found) == sorted(entry.line for entry in wanted)
    assert all(edges[shard] < line <= edges[shard + 1] for shard, line in found)
    assert sampled == wanted[:sample]


def test_many_keys_with_few_repeated() -> None:
    draw = random.Random(1)
    keys = list(range(30_000))
    for place in draw.sample(range(30_000), 40):
        keys[place] = draw.randrange(30_000)
    found: list[int] = []
    runs = runs_of(keys, [7000, 7001, 20_000])
    find_superseded(runs, found=lambda _, line: found.append(line), sample_size=3, most_at_once=2000)
    assert sorted(found) == sorted(entry.line for entry in expected(keys))
    assert 0 < len(found) <= 40


@settings(max_examples=100)
@given(first=st.integers(1, 10**12), lines=st.integers(1, 400), data=st.data())
def test_a_set_of_lines_holds_what_was_added(first: int, lines: int, data: st.DataObject) -> None:
    members = data.draw(st.sets(st.integers(first, first + lines - 1)))
    made = LineSet(first, lines)
    for line in members:
        made.add(line)
    for held in (made, LineSet.from_bytes(made.to_bytes())):
        assert {line for line in range(first, first + lines) if line in held} == members
        assert held.count == len(members)
        assert held.first_line == first
        start = data.draw(st.integers(first, first + lines - 1))
        end = data.draw(st.integers(start, first + lines - 1))
        # It may take a neighbour for one in between, but it never overlooks one.
        assert held.any_in(start, end) or not members & set(range(start, end + 1))
        near = set(range(start - 7, end + 8))
        assert not held.any_in(start, end) or members & near


def test_a_set_of_few_lines_is_short() -> None:
    lines = LineSet(1, 1_000_000)
    for line in range(1, 1_000_000, 200_000):
        lines.add(line)
    assert len(lines.to_bytes()) < 2000


@pytest.mark.parametrize("count", [0, 1])
def test_a_shard_without_rows(count: int) -> None:
    assert find_superseded(runs_of([1] * count, [0, 0]), found=lambda *_: None, sample_size=5) == []
