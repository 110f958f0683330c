"""The undo file on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamodb_bulk.canonical import canonical_item
from dynamodb_bulk.changes import Change, ChangesFileError, ChangesHeader, read_changes
from dynamodb_bulk.undo import UndoFile

HEADER = ChangesHeader("orders", ("id",))


def change(name: str, size: int = 1) -> Change:
    item = {"id": {"S": name}, "v": {"S": "x" * size}}
    return Change(f'{{"id":{{"S":"{name}"}}}}', old=canonical_item(item), new=None)


def read(path: Path) -> list[Change]:
    with path.open("rb") as file:
        header, changes = read_changes(file, str(path))
        assert header == HEADER
        return list(changes)


def test_lines_are_on_disk_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "undo"
    with UndoFile(path, HEADER) as undo:
        assert read(path) == []
        undo.write([change("a").to_line()])
        assert read(path) == [change("a")]


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("torn", [b"", b"{", change("torn", 200_000).to_line()[:-1]])
def test_a_file_that_a_crash_left_is_gone_on_with(tmp_path: Path, torn: bytes, size: int) -> None:
    path = tmp_path / "undo"
    with UndoFile(path, HEADER) as undo:
        undo.write([change("a", size).to_line()])
    with path.open("ab") as file:
        file.write(torn)
    with UndoFile(path, HEADER) as undo:
        undo.write([change("b").to_line()])
    assert read(path) == [change("a", size), change("b")]


@pytest.mark.parametrize("first", [b"", HEADER.to_line()[:1], HEADER.to_line()[:-1]])
def test_a_file_without_a_whole_first_line_is_begun_anew(tmp_path: Path, first: bytes) -> None:
    path = tmp_path / "undo"
    path.write_bytes(first)
    with UndoFile(path, HEADER) as undo:
        undo.write([change("a").to_line()])
    assert read(path) == [change("a")]


@pytest.mark.parametrize(
    "first",
    [
        ChangesHeader("other", ("id",)).to_line(),
        b"precious notes\n",
        b"precious notes without an end",
        b'{"precious": "one line without an end"}',
        b"\x00" * 100_000,
        ChangesHeader("other", ("id",)).to_line()[:-1],
    ],
)
def test_another_file_is_left_alone(tmp_path: Path, first: bytes) -> None:
    path = tmp_path / "undo"
    path.write_bytes(first)
    with pytest.raises(ChangesFileError, match=r"undo(, line 1)? .*(Write one|[Nn]ame another file|Take the diff)"):
        UndoFile(path, HEADER)
    assert path.read_bytes() == first
