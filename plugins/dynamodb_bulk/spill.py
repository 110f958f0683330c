"""Sorting and joining more records than fit into memory.

Records are gathered in memory; where they outgrow a limit they are sorted and written to a temporary file as a
*run*. Reading merges the runs. The file is deleted when the sorter is closed, and by the system if the process dies.
"""

from __future__ import annotations

import heapq
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Self

DEFAULT_MEMORY_BYTES = 48 * 1024 * 1024
"""Records that are held in memory before they go to disk, as Python stores them."""

# Two bytes objects and the tuple around them, beside their content.
_RECORD_OVERHEAD = 136
_LENGTHS = struct.Struct(">II")
_READ_BYTES = 64 * 1024
_SMALLEST_READ = 4 * 1024

Record = tuple[bytes, bytes]
"""A key and what belongs to it."""


class DuplicateKeyError(ValueError):
    """One side of a join has a key twice, which no table can."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"The key {self.key.decode('utf-8', 'replace')} comes twice, which it can in no table."


class _Run(NamedTuple):
    start: int
    end: int


class SpillingSorter:
    """Takes records in any order and yields them sorted by key, in bounded memory.

    Use it as a context manager, or close it: it may hold a temporary file.

    Args:
        memory_bytes: records are written to disk when they take more than this.
        folder: where the temporary file goes; the system's folder for such files if None.
    """

    def __init__(self, *, memory_bytes: int = DEFAULT_MEMORY_BYTES, folder: str | Path | None = None) -> None:
        if memory_bytes < 1:
            raise ValueError(f"memory_bytes must be 1 or more, not {memory_bytes}.")
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._held: list[Record] = []
        self._held_bytes = 0
        self._runs: list[_Run] = []
        self._file: IO[bytes] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def runs(self) -> int:
        """How many sorted runs were written to disk; none if all records fit into memory."""
        return len(self._runs)

    def add(self, key: bytes, value: bytes) -> None:
        """Take one record."""
        self._held.append((key, value))
        self._count += 1
        self._held_bytes += len(key) + len(value) + _RECORD_OVERHEAD
        if self._held_bytes > self._memory_bytes:
            self._spill()

    def __iter__(self) -> Iterator[Record]:
        self._held.sort()
        if not self._runs:
            return iter(self._held)
        return heapq.merge(*map(self._read, self._runs), self._held)

    def close(self) -> None:
        """Forget all records, and delete the temporary file."""
        self._held, self._runs, self._held_bytes, self._count = [], [], 0, 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: object, traceback: object) -> None:
        self.close()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="dynamodb-bulk-", dir=self._folder)  # noqa: SIM115
        self._held.sort()
        start = self._file.seek(0, 2)
        for key, value in self._held:
            self._file.write(_LENGTHS.pack(len(key), len(value)))
            self._file.write(key)
            self._file.write(value)
        self._file.flush()
        self._runs.append(_Run(start, self._file.tell()))
        self._held, self._held_bytes = [], 0

    def _read(self, run: _Run) -> Iterator[Record]:
        """Yield a run's records; several runs share the file, so each read says where."""
        file = self._file
        if file is None:
            raise ValueError("The sorter was closed while its records were being read.")
        # All runs are read at the same time: the more there are, the less each may hold.
        step = max(_SMALLEST_READ, min(_READ_BYTES, self._memory_bytes // len(self._runs)))
        buffer, at, position = b"", 0, run.start
        while True:
            need = _LENGTHS.size
            if len(buffer) - at >= need:
                key_length, value_length = _LENGTHS.unpack_from(buffer, at)
                need += key_length + value_length
                if len(buffer) - at >= need:
                    middle = at + _LENGTHS.size + key_length
                    yield buffer[at + _LENGTHS.size : middle], buffer[middle : at + need]
                    at += need
                    continue
            if position >= run.end and at == len(buffer):
                return
            file.seek(position)
            more = file.read(min(max(step, need), run.end - position))
            if not more:
                raise OSError("A temporary file is shorter than what was written to it; is the disk full?")
            position += len(more)
            buffer, at = buffer[at:] + more, 0


def join(sides: Sequence[SpillingSorter]) -> Iterator[tuple[bytes, list[bytes | None]]]:
    """Yield each key of any side, in order, with what each side has for it, or None.

    Raises:
        DuplicateKeyError: if a side has a key twice.
    """
    streams = [iter(side) for side in sides]
    heads = [next(stream, None) for stream in streams]
    while True:
        waiting = [head[0] for head in heads if head is not None]
        if not waiting:
            return
        key = min(waiting)
        found: list[bytes | None] = [None] * len(sides)
        for number, head in enumerate(heads):
            if head is not None and head[0] == key:
                found[number] = head[1]
                heads[number] = following = next(streams[number], None)
                if following is not None and following[0] == key:
                    raise DuplicateKeyError(key)
        yield key, found
