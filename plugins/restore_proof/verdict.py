"""The verdict on a recovery point: was its restore proven right, and how deep did the proof look?

A verdict fails closed. A validator that crashes, or ends without a word, leaves `FAILED` behind
(`fail_closed`), and a recovery point without a verdict counts as not proven.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from dynamodb_bulk.compare import Comparison, Outcome

FORMAT = "restore-verdict"
VERSION = 1


class Result(StrEnum):
    """What a proof came to."""

    PROVEN = "PROVEN"
    """The restored table has exactly the content that the source had when it was backed up."""
    PROVEN_DRIFTING = "PROVEN_DRIFTING"
    """The source was being written during the backup; all that can be verified is right."""
    FAILED = "FAILED"
    """The restored table is wrong, or the proof crashed."""
    UNPROVEN = "UNPROVEN"
    """Nothing is known to be wrong, but too little could be verified."""


class Depth(StrEnum):
    """How deep a proof looked."""

    FULL = "full"
    """At every item."""
    SAMPLED = "sampled"
    """At a random sample of the items, demanded by their keys."""
    CANARY = "canary"
    """At items that were written for this purpose, demanded by their keys."""
    SCHEMA = "schema"
    """At keys, indexes and settings; at no item."""

    @property
    def rank(self) -> int:
        """A number that is greater for a deeper proof."""
        return {Depth.SCHEMA: 1, Depth.CANARY: 2, Depth.SAMPLED: 3, Depth.FULL: 4}[self]

    @property
    def blind_to(self) -> str:
        """What a proof of this depth can't see, as a sentence."""
        return {
            Depth.FULL: "A change that was made and undone again between the two fingerprints of the source.",
            Depth.SAMPLED: "Whatever is wrong in items outside of the sample, and items that should not be there.",
            Depth.CANARY: "Whatever is wrong in any item but the canaries.",
            Depth.SCHEMA: "The items: whether they came back at all, and what is in them.",
        }[self]


@dataclass(frozen=True)
class Proof:
    """Result and depth together: what retention needs to know of a verdict."""

    result: Result
    depth: Depth = Depth.FULL

    @property
    def label(self) -> str:
        """Text for people: ``PROVEN`` alone means full depth, else ``PROVEN@sampled`` and so on."""
        return str(self.result) if self.depth is Depth.FULL else f"{self.result}@{self.depth}"


@dataclass(frozen=True)
class Subject:
    """What a verdict is about.

    Attributes:
        recovery_point_arn: the recovery point that was restored.
        table_name: the table that was backed up.
        restored_table_name: the table that it was restored to.
        as_of: the date that the run stands for, ``YYYY-MM-DD``.
        run: who did it, ``<dag_id>/<run_id>``.
    """

    recovery_point_arn: str
    table_name: str
    restored_table_name: str
    as_of: str
    run: str


class VerdictFormatError(ValueError):
    """Stored bytes are not a verdict that this version reads."""


class RestoreNotProvenError(RuntimeError):
    """A verdict says that a recovery point was not proven.

    Attributes:
        label: the verdict, for example ``FAILED``.
        table_name: the table that was backed up.
        reasons: why, as sentences.
        report: where the report is, if there is one.
    """

    def __init__(self, label: str, table_name: str, reasons: Sequence[str], report: str | None = None) -> None:
        self.label = label
        self.table_name = table_name
        self.reasons = tuple(reasons)
        self.report = report
        where = f" The report is at {report}." if report else ""
        super().__init__(f"The restore of table {table_name!r} is {label}: {' '.join(self.reasons)}{where}")

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, tuple[str, ...], str | None]]:
        return type(self), (self.label, self.table_name, self.reasons, self.report)


@dataclass(frozen=True)
class Verdict:
    """A verdict on one recovery point.

    Attributes:
        subject: what it is about.
        result: what the proof came to.
        depth: how deep it looked.
        reasons: why, as sentences.
        decided_at: when (aware).
        counts: items compared, missing and so on, by name.
        evidence: where the evidence pack is, if there is one.
        confidence: of a sample, what it can be trusted to have caught (`restore_proof.confidence`).
    """

    subject: Subject
    result: Result
    depth: Depth
    reasons: tuple[str, ...]
    decided_at: dt.datetime
    counts: Mapping[str, int | None] = field(default_factory=dict)
    evidence: str | None = None
    confidence: Mapping[str, float | int | str] | None = None

    def __post_init__(self) -> None:
        if self.decided_at.tzinfo is None:
            raise ValueError("decided_at has no time zone.")

    @property
    def proof(self) -> Proof:
        """Result and depth."""
        return Proof(self.result, self.depth)

    @property
    def is_proven(self) -> bool:
        """Whether the restore was proven right, be it while the source was drifting."""
        return self.result in (Result.PROVEN, Result.PROVEN_DRIFTING)

    def raise_unless_proven(self) -> None:
        """Raise `RestoreNotProvenError` if the verdict is any other than proven."""
        if not self.is_proven:
            raise RestoreNotProvenError(self.proof.label, self.subject.table_name, self.reasons, self.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready values."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "label": self.proof.label,
            "result": str(self.result),
            "depth": str(self.depth),
            "blind_to": self.depth.blind_to,
            "recovery_point_arn": self.subject.recovery_point_arn,
            "table_name": self.subject.table_name,
            "restored_table_name": self.subject.restored_table_name,
            "as_of": self.subject.as_of,
            "run": self.subject.run,
            "reasons": list(self.reasons),
            "decided_at": self.decided_at.astimezone(dt.UTC).isoformat(),
            "counts": dict(self.counts),
            "evidence": self.evidence,
            **({"confidence": dict(self.confidence)} if self.confidence is not None else {}),
        }

    def to_json(self) -> bytes:
        """Return the verdict as JSON, as it is stored beside the recovery point's fingerprint."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            VerdictFormatError: if it is something else. A caller must then take the recovery point as not
                proven.
        """
        try:
            document = json.loads(data)
            if document["format"] != FORMAT or document["version"] != VERSION:
                raise VerdictFormatError(
                    f"Format {document['format']!r}, version {document['version']!r} is not read here: "
                    f"expected {FORMAT!r}, version {VERSION}."
                )
            return cls(
                subject=Subject(
                    recovery_point_arn=document["recovery_point_arn"],
                    table_name=document["table_name"],
                    restored_table_name=document["restored_table_name"],
                    as_of=document["as_of"],
                    run=document["run"],
                ),
                result=Result(document["result"]),
                depth=Depth(document["depth"]),
                reasons=tuple(document["reasons"]),
                decided_at=dt.datetime.fromisoformat(document["decided_at"]),
                counts=dict(document["counts"]),
                evidence=document["evidence"],
                confidence=document.get("confidence"),
            )
        except VerdictFormatError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VerdictFormatError(f"These bytes are not a verdict: {error!r}") from error


_RESULTS: Mapping[Outcome, Result] = {
    Outcome.EQUAL: Result.PROVEN,
    Outcome.EQUAL_DRIFTING: Result.PROVEN_DRIFTING,
    Outcome.DIFFERENT: Result.FAILED,
    Outcome.UNDECIDED: Result.UNPROVEN,
}


def verdict_from_comparison(
    comparison: Comparison,
    subject: Subject,
    *,
    decided_at: dt.datetime,
    depth: Depth = Depth.FULL,
    alarms: Sequence[str] = (),
    evidence: str | None = None,
) -> Verdict:
    """Turn the comparison of a restored table into a verdict.

    Args:
        comparison: what `dynamodb_bulk.compare.judge` returned.
        subject: what the verdict is about.
        decided_at: now (aware).
        depth: how deep the comparison looked.
        alarms: what else is wrong with the restored table, as sentences: its alarming settings
            (`SettingsComparison.alarms`). Any of them makes the verdict `FAILED`.
        evidence: where the evidence pack is going to be.
    """
    result = Result.FAILED if alarms else _RESULTS[comparison.outcome]
    return Verdict(
        subject=subject,
        result=result,
        depth=depth,
        reasons=(*comparison.reasons, *alarms),
        decided_at=decided_at,
        counts={
            "items_before": comparison.items_before,
            "items_after": comparison.items_after,
            "items_restored": comparison.items_restored,
            "compared": comparison.compared,
            "proven": comparison.proven,
            "missing": comparison.missing,
            "extra": comparison.extra,
            "changed": comparison.changed,
            "changed_between": comparison.changed_between,
            "unverifiable": comparison.unverifiable,
            "absent_deleted": comparison.absent_deleted,
            "absent_added": comparison.absent_added,
        },
        evidence=evidence,
    )


def fail_closed(
    validate: Callable[[], Verdict],
    *,
    subject: Subject,
    record: Callable[[Verdict], object],
    clock: Callable[[], dt.datetime],
    depth: Depth = Depth.FULL,
) -> Verdict:
    """Run a validator so that it can't end without a recorded verdict.

    The verdict is recorded and returned. If the validator raises (a task's time limit and an interrupt
    included), `FAILED` is recorded with the error's text, and the error goes on to the caller. So nothing
    that leaves by an exception without failing, such as a task's deferral, may happen inside of `validate`.

    Args:
        validate: does the proof and returns its verdict.
        subject: what the verdict is about, for the one that a crash leaves.
        record: stores a verdict.
        clock: says what time it is (aware), for the verdict that a crash leaves.
        depth: how deep the validator was to look.
    """
    try:
        verdict = validate()
        if not isinstance(verdict, Verdict):
            raise TypeError(f"The validator returned {type(verdict).__name__}, not a verdict.")
    except BaseException as error:
        failed = Verdict(
            subject=subject,
            result=Result.FAILED,
            depth=depth,
            reasons=(f"The proof itself failed, so nothing is proven: {type(error).__name__}: {error}",),
            decided_at=clock(),
        )
        try:
            record(failed)
        except Exception as recording_error:
            # The first error is the cause, so it goes on; that its verdict is missing must not get lost.
            error.add_note(f"The FAILED verdict could not be recorded either: {recording_error!r}")
        raise
    record(verdict)
    return verdict
