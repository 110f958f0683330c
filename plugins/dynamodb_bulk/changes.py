"""Changes to a table's items, one line of JSON each: what a diff found, what a repair writes, what an undo reverts.

The first line says of which table the changes are, and what its key is; each other line is one item::

    {"changes": 1, "table": "orders", "key_names": ["id"], "source": "orders-restored-20260105-1a2b3c4d"}
    {"class": "changed", "key": {"id": {"S": "a"}}, "paths": ["n"], "old": {...}, "new": {...}}

``old`` is the item as it stands in the table, ``new`` the item as it shall be, both type-exact in DynamoDB's JSON
(binary as base64). One of them is null where the item is ``missing`` (no old) or ``extra`` (no new).

Undoing is no other thing than repairing: an undo file has the same lines with old and new exchanged.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Self

from dynamodb_bulk.canonical import CanonicalFormError, canonical_item, canonical_key, parse_form, readable
from dynamodb_bulk.diff import TableDifference, TableDifferenceKind, changed_paths
from dynamodb_bulk.errors import BulkError

FORMAT = 1

_CLASS_OF = {
    (False, True): TableDifferenceKind.MISSING,
    (True, False): TableDifferenceKind.EXTRA,
    (True, True): TableDifferenceKind.CHANGED,
}


class ChangesFileError(BulkError):
    """A file of changes can't be read as one, or belongs to another table."""


@dataclass(frozen=True)
class ChangesHeader:
    """Of which table the changes are.

    Attributes:
        table: the table that they are to be made in.
        key_names: its key attributes, hash key first.
        source: the table that they bring it in line with; None if it is none.
    """

    table: str
    key_names: tuple[str, ...]
    source: str | None = None

    def to_line(self) -> bytes:
        """Return the first line of the file."""
        document = {"changes": FORMAT, "table": self.table, "key_names": list(self.key_names), "source": self.source}
        return _line(document)

    @classmethod
    def from_line(cls, line: bytes, name: str) -> Self:
        """Read the first line of a file.

        Args:
            line: the line.
            name: the file's name for messages.

        Raises:
            ChangesFileError: it is none.
        """
        document = _parsed(line, name, 1)
        if document.get("changes") != FORMAT:
            raise ChangesFileError(
                f"{name} does not begin as a file of changes (format {FORMAT}) does. Write one with the command diff "
                "and its option --changes."
            )
        try:
            return cls(str(document["table"]), tuple(map(str, document["key_names"])), document.get("source"))
        except (KeyError, TypeError) as error:
            raise ChangesFileError(f"{name}: its first line lacks the table or its key: {error!r}.") from error


@dataclass(frozen=True)
class Change:
    """One item that is to be brought from one content to another.

    Attributes:
        key: the item's key as JSON text.
        old: the item as the table is expected to hold it, in canonical form; None: it has none.
        new: the item as it shall be; None: it shall go.
    """

    key: str
    old: bytes | None = field(repr=False)
    new: bytes | None = field(repr=False)

    @property
    def kind(self) -> TableDifferenceKind:
        """In what way the table's item differs from what it shall be."""
        return _CLASS_OF[self.old is not None, self.new is not None]

    @property
    def old_item(self) -> dict[str, Any] | None:
        """The item as it is expected, in wire form."""
        return None if self.old is None else parse_form(self.old)

    @property
    def new_item(self) -> dict[str, Any] | None:
        """The item as it shall be, in wire form."""
        return None if self.new is None else parse_form(self.new)

    @property
    def key_item(self) -> dict[str, Any]:
        """The key's attributes, in wire form."""
        key: dict[str, Any] = json.loads(self.key)
        return key

    def inverse(self) -> Change:
        """Return the change that takes this one back."""
        return Change(self.key, old=self.new, new=self.old)

    def paths(self) -> tuple[str, ...]:
        """Name the attributes that differ, where the item stays."""
        old, new = self.old_item, self.new_item
        return () if old is None or new is None else changed_paths(old, new)

    def to_line(self) -> bytes:
        """Return the change as a line of the file."""
        document: dict[str, Any] = {"class": str(self.kind), "key": self.key_item}
        if self.kind is TableDifferenceKind.CHANGED:
            document["paths"] = list(self.paths())
        return _line({**document, "old": self.old_item, "new": self.new_item})

    @classmethod
    def of_difference(cls, difference: TableDifference) -> Self:
        """Return the change that brings the right table's item in line with the left table's."""
        return cls(difference.key, old=difference.right, new=difference.left)


def write_change(sink: BinaryIO, difference: TableDifference) -> None:
    """Write the change that brings the right table's item in line with the left table's."""
    sink.write(Change.of_difference(difference).to_line())


def read_changes(lines: Iterable[bytes], name: str) -> tuple[ChangesHeader, Iterator[Change]]:
    """Read a file of changes; what comes after the first line is read as it is asked for.

    A last line without an end is what a crash left: what it says was not done, and it is passed over.

    Args:
        lines: the file's lines.
        name: its name for messages.

    Raises:
        ChangesFileError: it is no such file. Also while it is read on, naming the line.
    """
    rest = iter(lines)
    header = _header(next(rest, b""), name)
    return header, _changes(rest, header, name)


def read_newest_first(file: BinaryIO, name: str) -> tuple[ChangesHeader, Iterator[Change]]:
    """Read a file of changes from its end, as `read_changes` does from its beginning.

    An undo file may name an item more than once; what was written last has to be taken back first.

    Args:
        file: at its beginning; it is read on while the changes are asked for.
        name: its name for messages.

    Raises:
        ChangesFileError: it is no such file. Also while it is read on, naming the line.
    """
    first = file.readline()
    header = _header(first, name)
    starts, start = array("Q"), len(first)
    for line in file:
        if line.endswith(b"\n"):
            starts.append(start)
        start += len(line)
    return header, _changes_back(file, starts, header, name)


def _header(first: bytes, name: str) -> ChangesHeader:
    if not first.endswith(b"\n"):
        raise ChangesFileError(f"{name} is empty, or was cut off in its first line; there is nothing to do by it.")
    return ChangesHeader.from_line(first, name)


def _changes(lines: Iterator[bytes], header: ChangesHeader, name: str) -> Iterator[Change]:
    for number, line in enumerate(lines, start=2):
        if not line.endswith(b"\n"):
            return
        yield _change(_parsed(line, name, number), header.key_names, f"{name}, line {number}")


def _changes_back(file: BinaryIO, starts: Sequence[int], header: ChangesHeader, name: str) -> Iterator[Change]:
    for index in reversed(range(len(starts))):
        file.seek(starts[index])
        number = index + 2
        yield _change(_parsed(file.readline(), name, number), header.key_names, f"{name}, line {number}")


def _change(document: Mapping[str, Any], key_names: Sequence[str], place: str) -> Change:
    try:
        old, new = (document[side] for side in ("old", "new"))
        key = canonical_key(document["key"], key_names)
        if any(item is not None and canonical_key(item, key_names) != key for item in (old, new)):
            raise ChangesFileError(f"{place}: the item has another key than the line says. Take the diff again.")
        forms = [None if item is None else canonical_item(item) for item in (old, new)]
        change = Change(readable(key), old=forms[0], new=forms[1])
        if (old, new) == (None, None) or document["class"] != change.kind:
            raise ChangesFileError(f"{place}: its class does not fit its items. Take the diff again.")
    except (KeyError, TypeError, AttributeError, CanonicalFormError) as error:
        raise ChangesFileError(f"{place} is no change of an item: {error}. Take the diff again.") from error
    return change


def _parsed(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise ChangesFileError(f"{name}, line {number} is not JSON: {error}. Take the diff again.") from error
    if not isinstance(document, dict):
        raise ChangesFileError(f"{name}, line {number} is not a JSON object. Take the diff again.")
    return document


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
