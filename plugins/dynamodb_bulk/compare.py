"""Judging a restored table against what the source held before and after its backup was taken.

Three fingerprints come in: the source's right before the backup job was started, the source's after it
completed, and the restored table's.

* before = after: the table was quiet, the backup can hold one content only, and the restored table must have
  exactly that. (A change that was made and undone again between the two scans stays invisible.)
* before ≠ after: the table was being written, it was *drifting*. A bucket that is equal in all three is
  settled. In the others each item is judged by itself: one that was the same before and after (also: absent
  both times) must have been restored so; one that changed in between is right if it came back as it was
  before or as it was after; if it came back as something else, that may be a version in between, which
  nobody recorded: it counts as *unverifiable*, and no more than a stated share of all items may be that.
* An item that was deleted or added in between may also be *absent*: deleted already when the backup was taken, or
  not yet added. A loss looks the same, so absent items are never counted as right, and a restored table in which
  nothing is right is not proven. A backup taken late explains all of the deleted ones, one taken early all of the
  added ones. Where both kinds are absent the smaller number counts towards that share as well.

Only the items of buckets that are not equal in all three are looked at. Beyond a limit they are sorted on disk
instead of in memory, so that even a table that came back altogether different can be judged.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from dynamodb_bulk.canonical import readable
from dynamodb_bulk.manifest import ManifestError, read_manifest_blocks
from dynamodb_bulk.spill import DEFAULT_MEMORY_BYTES, DuplicateKeyError, SpillingSorter, join
from dynamodb_bulk.sums import Fingerprint

DEFAULT_MAX_UNVERIFIABLE_RATIO = 0.05
"""A drifting table of which more than one item in twenty changed twice during a backup proves too little."""
DEFAULT_LIST_CAP = 100
EXAMPLES = 5
"""So many keys the sentences for a reader name."""

OpenManifest = Callable[[], BinaryIO]
"""Opens a manifest for reading; whoever calls it closes what it returns."""


class Outcome(StrEnum):
    """What a comparison came to."""

    EQUAL = "equal"
    """The table was quiet, and the restored one has exactly its content."""
    EQUAL_DRIFTING = "equal_drifting"
    """The table was being written; every item that can be verified is right, and enough of them can be."""
    DIFFERENT = "different"
    """Something is missing, extra or changed that should not be."""
    UNDECIDED = "undecided"
    """Nothing is known to be wrong, but too little could be verified."""


class DifferenceKind(StrEnum):
    """In what way an item of the restored table is not what it should be."""

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"
    UNVERIFIABLE = "unverifiable"


VIOLATIONS = (DifferenceKind.MISSING, DifferenceKind.EXTRA, DifferenceKind.CHANGED)
"""What may not be; an unverifiable item may, in limits."""


@dataclass(frozen=True)
class Manifests:
    """Where the manifests of the three scans are; `after` may be left out if before and after are equal."""

    before: OpenManifest
    restored: OpenManifest
    after: OpenManifest | None = None


@dataclass(frozen=True, order=True)
class Difference:
    """One item that differs, with its hash at each of the three looks (None: it was not there).

    Attributes:
        key: the item's key as JSON text, for example ``{"order_id":{"S":"o-1"}}``.
    """

    key: str
    kind: DifferenceKind
    before: str | None
    after: str | None
    restored: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as JSON-ready values, the key decoded."""
        return {
            "kind": str(self.kind),
            "key": json.loads(self.key),
            "before": self.before,
            "after": self.after,
            "restored": self.restored,
        }


@dataclass(frozen=True)
class Comparison:
    """What came of comparing a restored table with its source.

    Attributes:
        outcome: the judgement.
        drifting: whether the source was written to between its two fingerprints.
        compared: distinct items that were judged, the ones in settled buckets included.
        proven: how many of them came back right; ``compared`` less the absent and the differing ones.
        changed_between: items that differ between the source's two fingerprints; None if unknown.
        missing: items that should be in the restored table and are not; None if unknown, as are the next
            three.
        extra: items that should not be in the restored table.
        changed: items restored with another content than they had.
        unverifiable: items that changed in between and came back as neither of their two known contents.
        absent_deleted: items that were deleted in between and did not come back: deleted already when the backup
            was taken, or lost. None if unknown.
        absent_added: items that were added in between and did not come back: not yet there, or lost.
        max_unverifiable_ratio: the share of `compared` that may stay unverified (`unverifiable_ratio`).
        unequal_buckets: buckets that are not equal in all three fingerprints.
        differences: the first of them, ordered by key.
        reasons: sentences for a reader.
    """

    outcome: Outcome
    drifting: bool
    items_before: int
    items_after: int
    items_restored: int
    compared: int | None
    proven: int | None
    changed_between: int | None
    missing: int | None
    extra: int | None
    changed: int | None
    unverifiable: int | None
    absent_deleted: int | None
    absent_added: int | None
    max_unverifiable_ratio: float
    buckets: int
    unequal_buckets: int
    differences: tuple[Difference, ...]
    differences_total: int | None
    reasons: tuple[str, ...]

    @property
    def keys_named(self) -> bool:
        """Whether the single items were looked at; without manifests only the buckets are known."""
        return self.differences_total is not None

    @property
    def stood_still(self) -> int | None:
        """Items that were the same before and after, and came back so; None if unknown.

        Damage to any of them would have been found. Of an item that changed in between it may not be: within the
        limit, a content that nobody knows and an absence are excused.
        """
        known = (self.compared, self.changed_between, self.missing, self.extra, self.changed)
        if None in known:
            return None
        compared, *others = (count or 0 for count in known)
        return compared - sum(others)

    @property
    def unverifiable_ratio(self) -> float | None:
        """Share of the compared items that could not be verified, from 0 to 1; None if unknown.

        These are the unverifiable ones, and of the absent ones those that no single moment of the backup explains.
        """
        if None in (self.compared, self.unverifiable, self.absent_deleted, self.absent_added):
            return None
        unverified = _unverified(self.unverifiable or 0, self.absent_deleted or 0, self.absent_added or 0)
        return unverified / self.compared if self.compared else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready values."""
        return {
            "outcome": str(self.outcome),
            "drifting": self.drifting,
            "items_before": self.items_before,
            "items_after": self.items_after,
            "items_restored": self.items_restored,
            "compared": self.compared,
            "proven": self.proven,
            "changed_between": self.changed_between,
            "missing": self.missing,
            "extra": self.extra,
            "changed": self.changed,
            "unverifiable": self.unverifiable,
            "absent_deleted": self.absent_deleted,
            "absent_added": self.absent_added,
            "unverifiable_ratio": self.unverifiable_ratio,
            "max_unverifiable_ratio": self.max_unverifiable_ratio,
            "buckets": self.buckets,
            "unequal_buckets": self.unequal_buckets,
            "keys_named": self.keys_named,
            "differences_total": self.differences_total,
            "differences": [difference.to_dict() for difference in self.differences],
            "reasons": list(self.reasons),
        }


def judge(
    before: Fingerprint,
    after: Fingerprint,
    restored: Fingerprint,
    *,
    manifests: Manifests | None = None,
    max_unverifiable_ratio: float = DEFAULT_MAX_UNVERIFIABLE_RATIO,
    list_cap: int = DEFAULT_LIST_CAP,
    diff_sink: BinaryIO | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    spill_folder: str | Path | None = None,
) -> Comparison:
    """Judge a restored table; see the module's text for the rules.

    Args:
        before: the source's fingerprint right before the backup job was started.
        after: the source's fingerprint after the job completed.
        restored: the restored table's fingerprint.
        manifests: the manifests of the three scans. They are read only where the fingerprints differ. Without
            them a quiet table can still be judged (the differing keys stay unnamed), a drifting one can't.
        max_unverifiable_ratio: the share of items, from 0 to 1, that may stay unverified.
        list_cap: how many differences the result lists.
        diff_sink: binary file that gets every difference as one line of JSON, ordered by key. It stays open.
        memory_bytes: of so much the items of unequal buckets are held in memory; the rest goes to disk.
        spill_folder: where it goes; the system's folder for temporary files if None.

    Raises:
        FingerprintMismatchError: if the fingerprints were taken in different ways.
        ManifestError: if a manifest is damaged, or does not add up to its fingerprint.
    """
    if not 0 <= max_unverifiable_ratio <= 1:
        raise ValueError(f"max_unverifiable_ratio must be from 0 to 1, not {max_unverifiable_ratio}.")
    drifted = before.unequal_buckets(after)
    wrong = before.unequal_buckets(restored)
    unequal = drifted | wrong
    tally: _Tally | None = _Tally.of_settled(before, unequal, list_cap, diff_sink)
    if unequal and tally is not None:
        if manifests is None:
            tally = None
        else:
            with ExitStack() as stack:
                room = max(1, memory_bytes // 3)
                sides = [stack.enter_context(SpillingSorter(memory_bytes=room, folder=spill_folder)) for _ in range(3)]
                _judge_items(before, after, restored, unequal, manifests, tally, sides)
    if tally is None:
        outcome, reasons = _conclude_from_buckets(drifted, wrong)
    else:
        outcome, reasons = _conclude_from_items(tally, drifted, wrong, max_unverifiable_ratio)
    counts = tally.counts if tally else None
    return Comparison(
        outcome=outcome,
        drifting=bool(drifted),
        items_before=before.item_count,
        items_after=after.item_count,
        items_restored=restored.item_count,
        compared=tally.compared if tally else None,
        proven=tally.proven if tally else None,
        changed_between=tally.changed_between if tally else None,
        missing=counts[DifferenceKind.MISSING] if counts is not None else None,
        extra=counts[DifferenceKind.EXTRA] if counts is not None else None,
        changed=counts[DifferenceKind.CHANGED] if counts is not None else None,
        unverifiable=counts[DifferenceKind.UNVERIFIABLE] if counts is not None else None,
        absent_deleted=tally.absent_deleted if tally else None,
        absent_added=tally.absent_added if tally else None,
        max_unverifiable_ratio=max_unverifiable_ratio,
        buckets=before.buckets,
        unequal_buckets=len(unequal),
        differences=tuple(tally.listed) if tally else (),
        differences_total=tally.counts.total() if tally else None,
        reasons=reasons,
    )


@dataclass
class _Tally:
    """Running result of the item-by-item look; differences come to it in the order of their keys."""

    compared: int
    proven: int
    list_cap: int
    sink: BinaryIO | None
    changed_between: int = 0
    absent_deleted: int = 0
    absent_added: int = 0
    counts: Counter[DifferenceKind] = field(default_factory=Counter)
    listed: list[Difference] = field(default_factory=list)
    examples: list[Difference] = field(default_factory=list)

    @classmethod
    def of_settled(cls, before: Fingerprint, unequal: frozenset[int], list_cap: int, sink: BinaryIO | None) -> _Tally:
        settled = sum(count for bucket, count in enumerate(before.counts) if bucket not in unequal)
        return cls(compared=settled, proven=settled, list_cap=list_cap, sink=sink)

    def add(self, difference: Difference) -> None:
        self.counts[difference.kind] += 1
        if len(self.listed) < self.list_cap:
            self.listed.append(difference)
        if difference.kind in VIOLATIONS and len(self.examples) < EXAMPLES:
            self.examples.append(difference)
        if self.sink is not None:
            self.sink.write(json.dumps(difference.to_dict(), separators=(",", ":")).encode("ascii") + b"\n")


def _judge_items(
    before: Fingerprint,
    after: Fingerprint,
    restored: Fingerprint,
    unequal: frozenset[int],
    manifests: Manifests,
    tally: _Tally,
    sides: list[SpillingSorter],
) -> None:
    items_before, items_restored, items_after = sides
    _load(manifests.before, before, unequal, items_before)
    if manifests.after is not None:
        _load(manifests.after, after, unequal, items_after)
    elif before != after:
        raise ManifestError("The table was drifting: its items can't be judged without the manifest taken after.")
    _load(manifests.restored, restored, unequal, items_restored)
    try:
        for key, found in join(sides if manifests.after is not None else sides[:2]):
            was, came_back = found[0], found[1]
            became = found[2] if manifests.after is not None else was
            tally.compared += 1
            tally.changed_between += was != became
            kind = _difference_kind(was, became, came_back)
            if kind is None and came_back is not None:
                tally.proven += 1
            elif kind is None:
                tally.absent_deleted += became is None
                tally.absent_added += was is None
            else:
                tally.add(Difference(readable(key), kind, _hex(was), _hex(became), _hex(came_back)))
    except DuplicateKeyError as error:
        raise ManifestError(f"The manifest has the key {readable(error.key)} twice, which no table can.") from error


def _difference_kind(was: bytes | None, became: bytes | None, came_back: bytes | None) -> DifferenceKind | None:
    if came_back in (was, became):
        return None
    if was != became:
        return DifferenceKind.UNVERIFIABLE
    if came_back is None:
        return DifferenceKind.MISSING
    return DifferenceKind.EXTRA if was is None else DifferenceKind.CHANGED


def _load(open_manifest: OpenManifest, like: Fingerprint, wanted: frozenset[int], items: SpillingSorter) -> None:
    """Keep the wanted buckets' items of a manifest; it is read to its end, which checks it as a whole."""
    with closing(open_manifest()) as source:
        for block in read_manifest_blocks(source, like=like):
            for bucket, key, digest in zip(*block, strict=True):
                if bucket in wanted:
                    items.add(key, digest)


def _conclude_from_buckets(drifted: frozenset[int], wrong: frozenset[int]) -> tuple[Outcome, tuple[str, ...]]:
    unnamed = "Without manifests the keys can't be named."
    if wrong - drifted:
        return Outcome.DIFFERENT, (
            f"{len(wrong - drifted)} buckets did not change during the backup, yet came back otherwise.",
            unnamed,
        )
    return Outcome.UNDECIDED, (
        f"The table was written to during the backup: {len(drifted)} buckets changed, and can be judged only "
        "item by item.",
        unnamed,
    )


def _conclude_from_items(
    tally: _Tally,
    drifted: frozenset[int],
    wrong: frozenset[int],
    limit: float,
) -> tuple[Outcome, tuple[str, ...]]:
    counts: Mapping[DifferenceKind, int] = tally.counts
    reasons = []
    if drifted:
        reasons.append(
            f"The table was written to during the backup: {tally.changed_between} items changed, "
            f"in {len(drifted)} buckets."
        )
    violations = sum(counts[kind] for kind in VIOLATIONS)
    if violations or (wrong and not drifted):
        found = ", ".join(f"{counts[kind]} {kind}" for kind in VIOLATIONS)
        return Outcome.DIFFERENT, (
            *reasons,
            f"The restored table is not what was backed up: {found}.",
            *_examples(tally.examples, violations),
        )
    if not drifted:
        return Outcome.EQUAL, (f"All {tally.compared} items came back exactly as they were.",)
    reasons += _absences(tally)
    if not tally.proven:
        return Outcome.UNDECIDED, (
            *reasons,
            f"Not one of the {tally.compared} items came back as it was before or after it, so nothing is proven.",
        )
    unverifiable = counts[DifferenceKind.UNVERIFIABLE]
    unverified = _unverified(unverifiable, tally.absent_deleted, tally.absent_added)
    if unverified > limit * tally.compared:
        neither = ", since they came back as neither of their two known contents" if unverified == unverifiable else ""
        return Outcome.UNDECIDED, (
            *reasons,
            f"{unverified} of {tally.compared} items can't be verified{neither}; at most {limit:.2%} may be so.",
        )
    return Outcome.EQUAL_DRIFTING, (
        *reasons,
        f"{tally.proven} of {tally.compared} items came back as they were before or after it; "
        f"{unverified} can't be verified (at most {limit:.2%} may be so).",
    )


def _unverified(unverifiable: int, absent_deleted: int, absent_added: int) -> int:
    """Return how many items count towards the limit.

    Absent items of one kind are what a backup of the one end of the window looks like; of both kinds, a loss does.
    """
    return unverifiable + min(absent_deleted, absent_added)


def _absences(tally: _Tally) -> tuple[str, ...]:
    deleted, added = tally.absent_deleted, tally.absent_added
    if deleted and added:
        return (
            f"{deleted} items that were deleted and {added} that were added meanwhile did not come back. A late backup "
            f"explains the ones, an early one the others: {min(deleted, added)} count as not verified.",
        )
    if deleted:
        return (f"{deleted} items that were deleted meanwhile did not come back, which is right for a late backup.",)
    if added:
        return (f"{added} items that were added meanwhile did not come back, which is right for an early backup.",)
    return ()


def _examples(wrong: Sequence[Difference], total: int) -> tuple[str, ...]:
    if not wrong:
        return ()
    listed = "; ".join(f"{difference.kind} {difference.key}" for difference in wrong)
    more = f"; and {total - len(wrong)} more" if total > len(wrong) else ""
    return (f"By key: {listed}{more}.",)


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()
