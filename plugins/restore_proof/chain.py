"""The chain of a table's evidence packs: is every pack there, as it was written, in the order it was written?

Each pack carries the SHA-256, the key and the position of the one before it; a head file names the newest pack, its
hash, and how many there are. So the chain is walked from its head back to the first pack, and every pack is vouched
for by what was written after it. Where a link does not hold, the walk ends: what lies behind it is not vouched for.
The packs behind are looked at by themselves, to say whether more than this one link is wrong.

What the chain can't see: somebody who may write to the bucket can cut packs off its end and write the head to fit, or
write the whole chain anew. Who noted a head elsewhere (each report states its hash) has the means to see that, too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from restore_proof.evidence import (
    CLAIM,
    DIFF_NAME,
    PACK_NAME,
    REPORT_NAME,
    EvidenceFormatError,
    pack_sha256,
    read_pack,
)

HEAD_NAME = "head.json"


class Source(Protocol):
    """Where a table's evidence lies; keys are those that packs and head speak of."""

    def read(self, key: str) -> bytes | None:
        """Return an object's content; None if there is none."""

    def sha256(self, key: str) -> str | None:
        """Return the SHA-256 of an object of any size; None if there is none."""

    def packs(self) -> Sequence[str]:
        """Return the keys of all packs, in any order."""


class Fault(StrEnum):
    """What may be wrong with a chain."""

    HEAD_MISSING = "head_missing"
    HEAD_UNREADABLE = "head_unreadable"
    HEAD_CHANGED = "head_changed"
    PACK_MISSING = "pack_missing"
    PACK_CHANGED = "pack_changed"
    DIFF_MISSING = "diff_missing"
    DIFF_CHANGED = "diff_changed"
    CUT = "cut"


@dataclass(frozen=True)
class Head:
    """What the head file says: how many packs there are, and key and hash of the newest."""

    count: int
    sha256: str
    pack: str

    @classmethod
    def read(cls, content: bytes) -> Head:
        """Take a head file's content.

        Raises:
            EvidenceFormatError: it is none.
        """
        try:
            document = json.loads(content)
            head = cls(int(document["count"]), str(document["sha256"]), str(document["pack"]))
        except (ValueError, KeyError, TypeError) as error:
            raise EvidenceFormatError(f"This is not the head of a chain of evidence: {error!r}") from error
        return head

    def to_json(self) -> bytes:
        """Return the head as it is stored."""
        return json.dumps({"count": self.count, "pack": self.pack, "sha256": self.sha256}, sort_keys=True).encode()


@dataclass(frozen=True)
class BrokenLink:
    """The first link that does not hold, seen from the newest pack.

    Attributes:
        position: of the pack in the chain, from 1 for the oldest; None where it is not known.
        key: of the object that is wrong.
        message: what is wrong, and what to do.
    """

    fault: Fault
    key: str
    message: str
    position: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the link as JSON-ready values."""
        return {"fault": str(self.fault), "position": self.position, "key": self.key, "message": self.message}


@dataclass(frozen=True)
class Segment:
    """Packs behind a broken link that hold together among themselves.

    Attributes:
        newest: key of the newest of them.
        length: how many there are.
        from_first: whether they reach back to a first pack.
    """

    newest: str
    length: int
    from_first: bool


@dataclass(frozen=True)
class ChainReport:
    """What came of walking a chain.

    Attributes:
        table: whose chain it is.
        head: what the head file says; None if it says nothing.
        verified: keys of the packs that the chain vouches for, newest first.
        broken: the first link that does not hold; None if all do.
        diffs: files of differences that are not what their packs tell of.
        unlinked: packs that lie beside the chain, by key, with what is known of each.
        abandoned: packs of attempts that died, whose drills were recorded by a later attempt.
        behind: what lies behind a broken link.
    """

    table: str
    head: Head | None
    verified: tuple[str, ...] = ()
    broken: BrokenLink | None = None
    diffs: tuple[BrokenLink, ...] = ()
    unlinked: Mapping[str, str] = field(default_factory=dict)
    abandoned: tuple[str, ...] = ()
    behind: tuple[Segment, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every pack that there is belongs to the chain, unchanged."""
        return self.broken is None and not self.diffs and not self.unlinked

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "table": self.table,
            "whole": self.is_whole,
            "head": {"count": self.head.count, "sha256": self.head.sha256, "pack": self.head.pack}
            if self.head is not None
            else None,
            "verified": len(self.verified),
            "broken": self.broken.to_dict() if self.broken is not None else None,
            "diffs": [link.to_dict() for link in self.diffs],
            "unlinked": dict(self.unlinked),
            "abandoned": list(self.abandoned),
            "behind": [
                {"newest": segment.newest, "length": segment.length, "from_first": segment.from_first}
                for segment in self.behind
            ],
        }


def evidence_root(table: str) -> str:
    """Return the prefix below which a table's evidence lies."""
    return f"evidence/{table}/"


def head_key(table: str) -> str:
    """Return the key of the head of a table's chain."""
    return f"{evidence_root(table)}{HEAD_NAME}"


def verify_chain(source: Source, table: str, *, noted: str | None = None, diffs: bool = False) -> ChainReport:
    """Walk a table's chain from its head to its first pack.

    Args:
        source: where the evidence lies.
        table: whose chain it is.
        noted: SHA-256 of a pack, noted elsewhere at another time, that must be part of the chain.
        diffs: whether the files of differences are read as well, and held against what their packs say.
    """
    return _Walk(source, table, noted, diffs).report()


class _Walk:
    """One walk along one chain."""

    def __init__(self, source: Source, table: str, noted: str | None, diffs: bool) -> None:
        self.source, self.table, self.noted, self.diffs = source, table, noted, diffs
        self.head: Head | None = None
        self.verified: dict[str, str] = {}  # key -> SHA-256
        self.wrong_diffs: list[BrokenLink] = []
        self.earlier: set[str] = set()
        self.listed: list[str] = []
        self._by_hash: dict[str, str] | None = None

    def report(self) -> ChainReport:
        self.listed = sorted(self.source.packs())
        broken = self._walk()
        rest = [key for key in self.listed if key not in self.verified and (broken is None or key != broken.key)]
        abandoned = tuple(key for key in rest if key in self.earlier)
        rest = [key for key in rest if key not in self.earlier]
        return ChainReport(
            table=self.table,
            head=self.head,
            verified=tuple(self.verified),
            broken=broken,
            diffs=tuple(self.wrong_diffs),
            # Behind a broken link nobody can say what belongs to the chain, and what only lies beside it.
            unlinked={key: self._beside(key) for key in rest} if broken is None else {},
            abandoned=abandoned,
            behind=self._segments(rest) if broken is not None else (),
        )

    def _walk(self) -> BrokenLink | None:
        content = self.source.read(head_key(self.table))
        if content is None:
            return self._headless() if self.listed or self.noted else None
        try:
            head = self.head = Head.read(content)
        except EvidenceFormatError as error:
            return self._head_fault(Fault.HEAD_UNREADABLE, f"The head can't be read: {error}")
        key: str | None = head.pack
        sha256: str | None = head.sha256
        position = head.count
        while sha256 is not None:
            if key is None:
                key = self._find(sha256)
            broken, document = self._step(key, sha256, position)
            if broken is not None or document is None:
                return broken
            self.earlier.update(document.get("earlier_attempts", ()))
            key, sha256, position = document.get("previous_key"), document.get("previous_sha256"), position - 1
        if position != 0:
            return self._head_fault(
                Fault.HEAD_CHANGED,
                f"The head counts {head.count} packs, and the chain has {head.count - position}: the head was changed.",
            )
        return self._missed()

    def _step(self, key: str | None, sha256: str, position: int) -> tuple[BrokenLink | None, dict[str, Any] | None]:
        """Hold one pack against what is said of it; return what is wrong, or its document."""
        at_head = not self.verified
        content = self.source.read(key) if key is not None else None
        if key is None or content is None:
            return self._gone(key, sha256, position, at_head=at_head), None
        found = pack_sha256(content)
        if found != sha256:
            return self._differs(key, sha256, found, position, at_head=at_head), None
        try:
            document = read_pack(content)
        except EvidenceFormatError as error:
            return BrokenLink(Fault.PACK_CHANGED, key, f"{key} is linked, but is no pack: {error}", position), None
        if at_head and document.get("position", position) != position:
            told = document["position"]
            message = f"The head counts {position} packs, and its newest is number {told}: the head was changed."
            return self._head_fault(Fault.HEAD_CHANGED, message), None
        self.verified[key] = sha256
        if self.diffs:
            self._check_diff(key, document.get("diff_sha256"), position)
        return None, document

    def _check_diff(self, key: str, told: str | None, position: int) -> None:
        """Hold the file of differences beside a pack against what the pack says of it."""
        name = f"{key.removesuffix(PACK_NAME)}{DIFF_NAME}"
        found = self.source.sha256(name) if told is not None else None
        if found == told:
            return
        if found is None:
            fault, message = Fault.DIFF_MISSING, f"{name} is missing, of which pack {position} tells."
        else:
            fault = Fault.DIFF_CHANGED
            message = f"{name} was changed: its SHA-256 is {found}, and pack {position} tells of {told}."
        message = f"{message} The bucket's older versions may have it as it was."
        self.wrong_diffs.append(BrokenLink(fault, name, message, position))

    def _headless(self) -> BrokenLink:
        return self._head_fault(
            Fault.HEAD_MISSING,
            f"There are {len(self.listed)} packs and no head: it was removed, or the copy at hand lacks it.",
        )

    def _head_fault(self, fault: Fault, message: str) -> BrokenLink:
        return BrokenLink(fault, head_key(self.table), f"{message} Look at the older versions of the head.")

    def _gone(self, key: str | None, sha256: str, position: int, *, at_head: bool) -> BrokenLink:
        if at_head:
            other = self._find(sha256)
            if other is not None:
                message = f"The head names {key}, which is not there; {other} has the hash that it tells."
                return self._head_fault(Fault.HEAD_CHANGED, f"{message} So the head was changed.")
            where = f"the newest of {position}, of which the head tells"
        else:
            where = f"number {position} of {self.head.count if self.head else '?'}, of which the next one tells"
        message = (
            f"The pack {key or 'with SHA-256 ' + sha256} is missing, {where}. It was removed, unless the copy at hand "
            "lacks it; the bucket's older versions may have it."
        )
        return BrokenLink(Fault.PACK_MISSING, key or head_key(self.table), message, position)

    def _differs(self, key: str, told: str, found: str, position: int, *, at_head: bool) -> BrokenLink:
        if at_head:
            # Two say different things, and each may be the one that was changed. The report beside the pack states
            # the pack's hash as well.
            other = self._find(told)
            page = self.source.read(f"{key.removesuffix(PACK_NAME)}{REPORT_NAME}") or b""
            if other is not None or (found.encode() in page and told.encode() not in page):
                message = f"The head tells of SHA-256 {told} for {key}, which has {found}: the head was changed."
                return self._head_fault(Fault.HEAD_CHANGED, message)
        teller = "the head tells" if at_head else "the next pack tells"
        message = (
            f"Pack {position}, {key}, was changed: its SHA-256 is {found}, and {teller} of {told}. The bucket's older "
            "versions may have it as it was."
        )
        return BrokenLink(Fault.PACK_CHANGED, key, message, position)

    def _missed(self) -> BrokenLink | None:
        if self.noted is None or self.noted in self.verified.values():
            return None
        message = (
            f"The chain holds together, but no pack in it has the SHA-256 {self.noted} that was noted: packs were cut "
            "off its end, or it was written anew. Look at the older versions of the head."
        )
        return BrokenLink(Fault.CUT, head_key(self.table), message)

    def _find(self, sha256: str) -> str | None:
        """Return the key of the pack with a hash. Packs of version 1 tell the hash of the one before them, no key."""
        if self._by_hash is None:
            contents = ((key, self.source.read(key)) for key in self.listed)
            self._by_hash = {pack_sha256(content): key for key, content in contents if content is not None}
        return self._by_hash.get(sha256)

    def _beside(self, key: str) -> str:
        """Say what a pack that lies beside the chain may be."""
        if self.source.read(key) == CLAIM:
            return "A drill is just writing it, or died before it did (another attempt of the drill repairs that)."
        document = self._document(key)
        if document is None:
            return "It is no evidence pack: somebody else put it there."
        previous = document.get("previous_sha256")
        if self.head is not None and previous == self.head.sha256:
            return (
                "It was to follow the newest pack. A drill is just writing it, or died before the head named it "
                "(another attempt of the drill repairs that), or the head was set back."
            )
        if previous is None or previous in self.verified.values():
            return (
                "It was to follow a pack that another one follows. Its drill died when it had lost a race "
                "(another attempt of the drill repairs that), or it was taken out of the chain."
            )
        return "It follows no pack of this chain: somebody else put it there, or the chain was written anew."

    def _segments(self, keys: Collection[str]) -> tuple[Segment, ...]:
        """Return the packs behind a broken link as the pieces that they form among themselves."""
        documents = {key: document for key in keys if (document := self._document(key)) is not None}
        hashes = {pack_sha256(self.source.read(key) or b""): key for key in documents}
        inner = {hashes.get(str(document.get("previous_sha256"))) for document in documents.values()}
        segments = []
        for tail in sorted(documents.keys() - inner):
            length, at = 0, tail
            while True:
                length, previous = length + 1, documents[at].get("previous_sha256")
                if previous is None or previous not in hashes:
                    break
                at = hashes[previous]
            segments.append(Segment(tail, length, from_first=previous is None))
        return tuple(segments)

    def _document(self, key: str) -> dict[str, Any] | None:
        try:
            return read_pack(self.source.read(key) or b"")
        except EvidenceFormatError:
            return None
