"""Which row of each key is written: the last one of the file, whatever the number of shards and threads.

Before anything is written, every row is reduced to a record of 24 bytes: the hash of its key and the line on which
it starts. The records of a shard are laid down in partitions by the first byte of the hash, so that all rows of a
key, whatever their shard, are in the same partition. Partitions are then gone through one after the other, as many
at a time as memory allows; within one, a dictionary finds the last line of each key. What is kept is one bit per
line: set where the row on it must not be written. Memory is bounded by a shard's records while it is read, and
afterwards by the share of the records that is looked at together, plus that bit.
"""

import heapq
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dynamodb_bulk.csv_rows import KEY_HASH_BYTES

PARTITIONS = 256
MOST_RECORDS_AT_ONCE = 32_768

_RECORD = struct.Struct(f">{KEY_HASH_BYTES}sQ")
_HEADER = struct.Struct(f">{PARTITIONS}Q")
_LINE = struct.Struct(">Q").pack

ReadRange = Callable[[int, int], bytes]


class Superseded(NamedTuple):
    """A row that is not written, and the next row with its key, by their lines."""

    replaced_by: int
    line: int


class KeyLog:
    """Collects the keys of a shard's rows."""

    def __init__(self) -> None:
        self._partitions = [bytearray() for _ in range(PARTITIONS)]
        self.count = 0

    def add(self, lines: Sequence[int], keys: Sequence[bytes]) -> None:
        """Add rows in the order of the file."""
        partitions = self._partitions
        line_bytes = _LINE
        for line, key in zip(lines, keys, strict=True):
            partitions[key[0]] += key + line_bytes(line)
        self.count += len(keys)

    def to_bytes(self) -> bytes:
        """Return the records, partition by partition, with the partitions' lengths before them."""
        return _HEADER.pack(*map(len, self._partitions)) + b"".join(self._partitions)


class KeyRun:
    """The keys of a shard as they were laid down.

    Args:
        read_range: returns so many bytes from such a position of what ``KeyLog.to_bytes`` returned.
    """

    def __init__(self, read_range: ReadRange) -> None:
        self._read_range = read_range
        self._lengths = _HEADER.unpack(read_range(0, _HEADER.size))

    def records_in(self, first: int, last: int) -> int:
        """Return how many records the partitions `first` to `last` have, `last` not included."""
        return int(sum(self._lengths[first:last])) // _RECORD.size

    def read(self, first: int, last: int) -> bytes:
        """Return the records of the partitions `first` to `last`, `last` not included."""
        length = sum(self._lengths[first:last])
        return self._read_range(_HEADER.size + sum(self._lengths[:first]), length) if length else b""


class LineSet:
    """A set of lines of a shard, one bit for each line.

    Args:
        first_line: the shard's first line.
        lines: how many lines it has.
    """

    def __init__(self, first_line: int, lines: int) -> None:
        self.first_line = first_line
        self._bits = bytearray((lines >> 3) + 1)
        self.count = 0

    def add(self, line: int) -> None:
        """Add a line that is not in the set yet."""
        place = line - self.first_line
        self._bits[place >> 3] |= 1 << (place & 7)
        self.count += 1

    def __contains__(self, line: int) -> bool:
        place = line - self.first_line
        return bool(self._bits[place >> 3] >> (place & 7) & 1)

    def any_in(self, first: int, last: int) -> bool:
        """Tell whether there may be one from `first` to `last`, both included; at times says yes for a neighbour."""
        first, last = first - self.first_line, last - self.first_line
        return any(self._bits[first >> 3 : (last >> 3) + 1])

    def to_bytes(self) -> bytes:
        """Return the set in a form that is short where few lines are in it."""
        return zlib.compress(struct.pack(">QQ", self.first_line, self.count) + bytes(self._bits), level=1)

    @classmethod
    def from_bytes(cls, data: bytes) -> "LineSet":
        """Return the set that :meth:`to_bytes` wrote."""
        content = zlib.decompress(data)
        found = cls(0, 0)
        found.first_line, found.count = struct.unpack_from(">QQ", content)
        found._bits = bytearray(content[16:])
        return found


def find_superseded(
    runs: Sequence[KeyRun],
    *,
    found: Callable[[int, int], None],
    sample_size: int,
    most_at_once: int = MOST_RECORDS_AT_ONCE,
) -> list[Superseded]:
    """Find all rows that a later row with the same key replaces.

    Args:
        runs: the keys of all shards, in the order of the file.
        found: called with the index of the shard and the line, once for each such row, in no particular order.
        sample_size: how many of them to return.
        most_at_once: records that are looked at together, unless a single partition has more.

    Returns:
        Those whose replacing rows come first in the file, in that order.
    """
    sample: list[Superseded] = []
    for first, last in _groups(runs, most_at_once):
        chunks = [run.read(first, last) for run in runs]
        latest: dict[bytes, int] = {}
        for chunk in chunks:
            latest.update(_RECORD.iter_unpack(chunk))
        if len(latest) * _RECORD.size == sum(map(len, chunks)):
            continue
        lost = list(_replaced_in(chunks, found))
        sample = heapq.nsmallest(sample_size, [*sample, *heapq.nsmallest(sample_size, lost)])
    return sample


def _groups(runs: Sequence[KeyRun], most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of partitions that have at most `most` records together, or are a single one."""
    first = 0
    held = 0
    for partition in range(PARTITIONS):
        count = sum(run.records_in(partition, partition + 1) for run in runs)
        if held and held + count > most:
            yield first, partition
            first, held = partition, 0
        held += count
    yield first, PARTITIONS


def _replaced_in(chunks: Sequence[bytes], found: Callable[[int, int], None]) -> Iterator[Superseded]:
    """Yield the rows that have a successor, from the last of the file to the first."""
    successor: dict[bytes, int] = {}
    for shard in range(len(chunks) - 1, -1, -1):
        # The records of each partition are in the order of the file, and a key is in one partition only.
        for key, line in reversed(list(_RECORD.iter_unpack(chunks[shard]))):
            later = successor.get(key)
            if later is not None:
                found(shard, line)
                yield Superseded(later, line)
            successor[key] = line
