"""The difference of two live tables, item by item: one more scan of each, in memory that does not grow with them.

DynamoDB can't be read by bucket. So the fingerprints of both tables are compared first; where they differ both
tables are scanned once more, only the items of unequal buckets are kept, and those are joined by key. What is kept
beyond a limit goes to disk.

The differences are those that the second scans saw. Where a table was written to between its two scans, the buckets
that moved are counted, so that a reader knows that the picture is not of one moment.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dynamodb_bulk.canonical import canonical_items, canonical_keys, form_digests, parse_form, readable
from dynamodb_bulk.errors import BulkError
from dynamodb_bulk.fingerprint import take_fingerprint
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.scan import (
    DEFAULT_PATIENCE_SECONDS,
    DEFAULT_SEGMENTS,
    ProgressCallback,
    ScanProgress,
    scan_table,
    table_key_names,
)
from dynamodb_bulk.spill import DEFAULT_MEMORY_BYTES, DuplicateKeyError, SpillingSorter, join
from dynamodb_bulk.sums import DEFAULT_BUCKETS, Fingerprint, FingerprintBuilder, HashedItems, buckets_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFAULT_LIST_CAP = 100
MAX_PATHS = 100
"""So many changed attributes of one item are named; an item that has more is another item."""

_PLAIN_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class KeysDifferError(BulkError):
    """The two tables have different keys, so that their items can't be told to be the same ones."""


class ScanRepeatedError(BulkError):
    """A scan returned one key twice, so that nothing may be concluded from it."""


class TableDifferenceKind(StrEnum):
    """In what way an item differs, as seen from the left table."""

    MISSING = "missing"
    """The left table has it, the right one has not."""
    EXTRA = "extra"
    """The right table has it, the left one has not."""
    CHANGED = "changed"
    """Both have it, with different content."""


@dataclass(frozen=True)
class Side:
    """One of the two tables.

    Attributes:
        client: a low-level DynamoDB client.
        table_name: the table.
    """

    client: DynamoDBClient
    table_name: str


@dataclass(frozen=True)
class TableDifference:
    """One item that differs.

    Attributes:
        key: the item's key as JSON text.
        kind: in what way.
        paths: the attributes that differ, such as ``address.city`` or ``tags[2]``; only of a changed item.
        left: the left table's item in canonical form; None if it has none.
        right: the right table's item.
    """

    key: str
    kind: TableDifferenceKind
    paths: tuple[str, ...]
    left: bytes | None = field(repr=False)
    right: bytes | None = field(repr=False)

    def to_dict(self, *, values: bool = False) -> dict[str, Any]:
        """Return the difference as JSON-ready values; the items' content, which is somebody's data, if asked for."""
        document: dict[str, Any] = {"kind": str(self.kind), "key": json.loads(self.key)}
        if self.kind is TableDifferenceKind.CHANGED:
            document["paths"] = list(self.paths)
        if values:
            document["left"] = None if self.left is None else parse_form(self.left)
            document["right"] = None if self.right is None else parse_form(self.right)
        return document


@dataclass(frozen=True)
class TableDiff:
    """What came of comparing two live tables.

    Attributes:
        items_left: items of the left table, at its first scan.
        items_right: items of the right table, at its first scan.
        unequal_buckets: buckets in which the two fingerprints differ.
        looked_at: items of those buckets that the second scans kept, on both sides.
        missing: items that the left table has and the right one has not.
        extra: items that the right table has and the left one has not.
        changed: items with different content.
        moved_left: unequal buckets that were written to between the left table's two scans; at least so many.
        moved_right: the same of the right table.
        differences: the first of them, ordered by key.
    """

    items_left: int
    items_right: int
    buckets: int
    unequal_buckets: int
    looked_at: int
    missing: int
    extra: int
    changed: int
    moved_left: int
    moved_right: int
    differences: tuple[TableDifference, ...]

    @property
    def equal(self) -> bool:
        """Whether the tables had the same content when they were scanned first."""
        return not self.unequal_buckets

    @property
    def total(self) -> int:
        """How many items differ."""
        return self.missing + self.extra + self.changed

    def to_dict(self, *, values: bool = False) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {
            "equal": self.equal,
            "items_left": self.items_left,
            "items_right": self.items_right,
            "buckets": self.buckets,
            "unequal_buckets": self.unequal_buckets,
            "looked_at": self.looked_at,
            "missing": self.missing,
            "extra": self.extra,
            "changed": self.changed,
            "differences_total": self.total,
            "moved_left": self.moved_left,
            "moved_right": self.moved_right,
            "differences": [difference.to_dict(values=values) for difference in self.differences],
        }


@dataclass(frozen=True)
class DiffSettings:
    """How a diff is taken.

    Attributes:
        segments: into how many parts each table is cut, which are read at the same time.
        consistent_read: whether to read consistently, which costs twice the capacity.
        max_rcu: read capacity units a second to stay below, on each table; without limit when None.
        list_cap: how many differences the result lists.
        values: whether the stream has the items' content, too.
        memory_bytes: of so much the kept items are held in memory; the rest goes to disk.
        spill_folder: where it goes; the system's folder for temporary files if None.
        patience_seconds: for so long a page is asked for again while DynamoDB throttles or can't be reached.
    """

    segments: int = DEFAULT_SEGMENTS
    consistent_read: bool = True
    max_rcu: float | None = None
    list_cap: int = DEFAULT_LIST_CAP
    values: bool = False
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    spill_folder: str | Path | None = None
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS


DiffProgress = Callable[[str, ScanProgress], None]
"""Takes what is being done ("fingerprint of orders", "items of orders") and how far it has come."""


def diff_tables(
    left: Side,
    right: Side,
    *,
    fingerprints: tuple[Fingerprint, Fingerprint] | None = None,
    buckets: int = DEFAULT_BUCKETS,
    diff_sink: BinaryIO | None = None,
    found: Callable[[TableDifference], None] | None = None,
    progress: DiffProgress | None = None,
    settings: DiffSettings | None = None,
    effects: Effects | None = None,
) -> TableDiff:
    """Compare two tables and name every item that differs.

    Args:
        left: the table that is taken for right.
        right: the other one.
        fingerprints: those of the two tables, if they were just taken; else they are taken here.
        buckets: over how many buckets items are spread, where the fingerprints are taken here.
        diff_sink: binary file that gets every difference as one line of JSON, ordered by key. It stays open.
        found: called with every difference, ordered by key.
        progress: called after every page.
        settings: how it is done.
        effects: clock, sleep and chance.

    Raises:
        KeysDifferError: if the tables have different keys.
        ScanRepeatedError: if a scan returned one key twice.
        FingerprintMismatchError: if the given fingerprints were taken in different ways.
        TableMissingError, CallDeadlineError, CanonicalFormError: as `take_fingerprint`.
    """
    run = _Diff(settings or DiffSettings(), effects, progress)
    one, other = fingerprints or run.fingerprints(left, right, buckets)
    unequal = one.unequal_buckets(other)
    counts: Counter[TableDifferenceKind] = Counter()
    listed: list[TableDifference] = []
    looked_at = 0
    moved = (0, 0)
    if unequal:
        with ExitStack() as stack:
            kept = [stack.enter_context(run.sorter()) for _ in range(2)]
            moved = (run.keep(left, one, unequal, kept[0]), run.keep(right, other, unequal, kept[1]))
            looked_at = len(kept[0]) + len(kept[1])
            for difference in _differences(kept):
                counts[difference.kind] += 1
                if len(listed) < run.settings.list_cap:
                    listed.append(difference)
                if found is not None:
                    found(difference)
                if diff_sink is not None:
                    line = json.dumps(difference.to_dict(values=run.settings.values), separators=(",", ":"))
                    diff_sink.write(line.encode("ascii") + b"\n")
    return TableDiff(
        items_left=one.item_count,
        items_right=other.item_count,
        buckets=one.buckets,
        unequal_buckets=len(unequal),
        looked_at=looked_at,
        missing=counts[TableDifferenceKind.MISSING],
        extra=counts[TableDifferenceKind.EXTRA],
        changed=counts[TableDifferenceKind.CHANGED],
        moved_left=moved[0],
        moved_right=moved[1],
        differences=tuple(listed),
    )


def changed_paths(left: dict[str, Any], right: dict[str, Any], *, limit: int = MAX_PATHS) -> tuple[str, ...]:
    """Name what differs between two items in canonical wire form, each by its path, in order.

    A path is written as in DynamoDB's expressions: ``address.city``, ``tags[2]``; a name with other characters
    than letters, digits, ``_`` and ``-`` stands in quotes, as in JSON. An attribute that only one side has, or has
    with another type, is named as a whole.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.Attributes.html
    """
    paths: list[str] = []
    for path in _map_paths("", left, right):
        paths.append(path)
        if len(paths) == limit:
            break
    return tuple(paths)


class _Diff:
    """The means of one diff."""

    def __init__(self, settings: DiffSettings, effects: Effects | None, progress: DiffProgress | None) -> None:
        self.settings = settings
        self._effects = effects
        self._progress = progress

    def fingerprints(self, left: Side, right: Side, buckets: int) -> tuple[Fingerprint, Fingerprint]:
        key_names = table_key_names(left.client, left.table_name)
        others = table_key_names(right.client, right.table_name)
        if key_names != others:
            raise KeysDifferError(
                f"Table {left.table_name!r} has the key {key_names}, table {right.table_name!r} has {others}: their "
                "items can't be matched. Compare tables with the same key."
            )
        one, other = (
            take_fingerprint(
                side.client,
                side.table_name,
                key_names=key_names,
                segments=self.settings.segments,
                consistent_read=self.settings.consistent_read,
                buckets=buckets,
                max_rcu=self.settings.max_rcu,
                progress=self._reporter(f"fingerprint of {side.table_name}"),
                patience_seconds=self.settings.patience_seconds,
                effects=self._effects,
            )
            for side in (left, right)
        )
        return one, other

    def sorter(self) -> SpillingSorter:
        return SpillingSorter(memory_bytes=max(1, self.settings.memory_bytes // 2), folder=self.settings.spill_folder)

    def keep(self, side: Side, like: Fingerprint, wanted: frozenset[int], kept: SpillingSorter) -> int:
        """Scan a table, keep the wanted buckets' items, and return how many of the buckets have moved since."""
        builder = FingerprintBuilder(like.key_names, buckets=like.buckets)
        pages = scan_table(
            side.client,
            side.table_name,
            segments=self.settings.segments,
            consistent_read=self.settings.consistent_read,
            max_rcu=self.settings.max_rcu,
            progress=self._reporter(f"items of {side.table_name}"),
            expected_items=like.item_count,
            patience_seconds=self.settings.patience_seconds,
            effects=self._effects,
        )
        for page in pages:
            keys = canonical_keys(page.items, like.key_names)
            buckets = buckets_of(keys, like.buckets)
            places = [place for place, bucket in enumerate(buckets) if bucket in wanted]
            if places:
                forms = canonical_items([page.items[place] for place in places])
                builder.add_all_hashed(HashedItems([buckets[place] for place in places], (), form_digests(forms)))
                for place, form in zip(places, forms, strict=True):
                    kept.add(keys[place], form)
            del page
        now = builder.build()
        return sum(
            (now.counts[bucket], now.sums[bucket]) != (like.counts[bucket], like.sums[bucket]) for bucket in wanted
        )

    def _reporter(self, doing: str) -> ProgressCallback | None:
        progress = self._progress
        return None if progress is None else lambda seen: progress(doing, seen)


def _differences(kept: Sequence[SpillingSorter]) -> Iterator[TableDifference]:
    try:
        for key, (left, right) in join(kept):
            if left == right:
                continue
            kind, paths = TableDifferenceKind.CHANGED, ()  # type: tuple[TableDifferenceKind, tuple[str, ...]]
            if right is None:
                kind = TableDifferenceKind.MISSING
            elif left is None:
                kind = TableDifferenceKind.EXTRA
            else:
                paths = changed_paths(parse_form(left), parse_form(right))
            yield TableDifference(readable(key), kind, paths, left, right)
    except DuplicateKeyError as error:
        raise ScanRepeatedError(
            f"A scan returned the key {readable(error.key)} twice, which it can in no table. Take the diff again."
        ) from error


def _map_paths(base: str, left: dict[str, Any], right: dict[str, Any]) -> Iterator[str]:
    for name in sorted(left.keys() | right.keys()):
        place = name if name and _PLAIN_NAME.issuperset(name) else json.dumps(name)
        path = f"{base}.{place}" if base else place
        if name not in left or name not in right:
            yield path
        else:
            yield from _value_paths(path, left[name], right[name])


def _value_paths(path: str, left: dict[str, Any], right: dict[str, Any]) -> Iterator[str]:
    if left == right:
        return
    if "M" in left and "M" in right:
        yield from _map_paths(path, left["M"], right["M"])
    elif "L" in left and "L" in right:
        one, other = left["L"], right["L"]
        for index in range(max(len(one), len(other))):
            if index < len(one) and index < len(other):
                yield from _value_paths(f"{path}[{index}]", one[index], other[index])
            else:
                yield f"{path}[{index}]"
    else:
        yield path
