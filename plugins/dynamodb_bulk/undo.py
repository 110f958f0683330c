"""The undo file of a repair on disk: its lines are safe there before what they undo is written to the table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dynamodb_bulk.changes import ChangesFileError, ChangesHeader


class UndoFile:
    """Appends undo lines to a file; a file of the same table that is there already is gone on with.

    Args:
        path: the file.
        header: of which table the changes are.

    Raises:
        ChangesFileError: the file is there, and is of another table, or no file of changes at all.
    """

    def __init__(self, path: Path, header: ChangesHeader) -> None:
        self._path = path
        self._file = path.open("a+b")
        try:
            self._begin(header)
        except BaseException:
            self._file.close()
            raise

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines; they are on the disk when this returns."""
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _begin(self, header: ChangesHeader) -> None:
        self._file.seek(0)
        first = self._file.readline()
        if not first.endswith(b"\n"):
            self._ensure_ours(first, header)
            # New, or cut off in its first line: nothing was written to the table yet.
            self._file.truncate(0)
            self.write([header.to_line()])
            return
        standing = ChangesHeader.from_line(first, str(self._path))
        if (standing.table, standing.key_names) != (header.table, header.key_names):
            raise ChangesFileError(
                f"{self._path} undoes changes of table {standing.table!r}, not of {header.table!r}. Name another file."
            )
        self._drop_torn_line()

    def _ensure_ours(self, torn: bytes, header: ChangesHeader) -> None:
        """Refuse a file whose only line has no end, unless that line is the beginning of this very header."""
        if not header.to_line().startswith(torn):
            raise ChangesFileError(
                f"{self._path} is there, and is no undo file of table {header.table!r}: it has one line without an "
                "end, which is not how one begins. Nothing was written to it; name another file."
            )

    def _drop_torn_line(self) -> None:
        """Cut off a last line without an end; what it says was not written to the table."""
        size = end = self._file.seek(0, os.SEEK_END)
        while end:
            self._file.seek(max(0, end - 65536))
            block = self._file.read(end - max(0, end - 65536))
            if b"\n" in block:
                end = end - len(block) + block.rindex(b"\n") + 1
                break
            end -= len(block)
        if end != size:
            self._file.truncate(end)
