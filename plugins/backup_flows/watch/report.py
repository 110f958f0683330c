"""What a watch reports, as it goes to S3, to the log and to the Asset event.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from backup_flows.watch.causes import Cause
from backup_flows.watch.facts import Orphan


class Outcome(StrEnum):
    """What a status means for the whole."""

    GOOD = "GOOD"
    UNKNOWN = "UNKNOWN"
    BROKEN = "BROKEN"


class Status(StrEnum):
    """What became of one backup that was due, or of one table's target. Bad ends of jobs keep AWS's words."""

    FOUND = "FOUND"
    LATE = "LATE"
    MISSING = "MISSING"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    PARTIAL = "PARTIAL"
    NO_TABLE = "NO_TABLE"
    NOT_YET = "NOT_YET"
    NOT_EXPECTED = "NOT_EXPECTED"
    MET = "MET"
    TOO_OLD = "TOO_OLD"
    UNKNOWN = "UNKNOWN"

    @property
    def outcome(self) -> Outcome:
        """What it means for the whole."""
        if self is Status.UNKNOWN:
            return Outcome.UNKNOWN
        return Outcome.GOOD if self in _GOOD else Outcome.BROKEN


_GOOD = frozenset({Status.FOUND, Status.NOT_YET, Status.NOT_EXPECTED, Status.MET})


@dataclass(frozen=True)
class Period:
    """From ``start`` on and before ``end`` (aware)."""

    start: dt.datetime
    end: dt.datetime

    def __str__(self) -> str:
        return f"[{self.start:%Y-%m-%dT%H:%MZ}, {self.end:%Y-%m-%dT%H:%MZ})"


@dataclass(frozen=True)
class Finding:
    """What became of one backup that was due.

    Attributes:
        table: its name.
        due: the instant of the schedule.
        source: what it rests on.
        remedies: in words; empty where there is nothing to mend.
    """

    table: str
    status: Status
    tier: str | None = None
    due: dt.datetime | None = None
    complete_by: dt.datetime | None = None
    job_id: str | None = None
    point_arn: str | None = None
    message: str | None = None
    source: str = ""
    causes: tuple[Cause, ...] = ()
    remedies: tuple[str, ...] = ()

    def __str__(self) -> str:
        due = f" due {self.due:%Y-%m-%dT%H:%MZ}" if self.due else ""
        parts = [f"{self.table}{due}: {self.status}", f" ({', '.join(self.causes)})" if self.causes else ""]
        parts += [f": {self.message}" if self.message else "", *(f" Remedy: {remedy}" for remedy in self.remedies)]
        return "".join(parts)


@dataclass(frozen=True)
class Freshness:
    """How old a table's newest usable recovery point was, against its target."""

    table: str
    status: Status
    target: dt.timedelta
    age: dt.timedelta | None
    point_arn: str | None = None
    message: str | None = None
    causes: tuple[Cause, ...] = ()
    remedies: tuple[str, ...] = ()

    def __str__(self) -> str:
        age = "none" if self.age is None else f"{_hours(self.age):g} h old"
        parts = [f"{self.table}: newest usable recovery point {age}, target {_hours(self.target):g} h: {self.status}"]
        parts += [f": {self.message}" if self.message else "", *(f" Remedy: {remedy}" for remedy in self.remedies)]
        return "".join(parts)


@dataclass(frozen=True)
class Report:
    """The watch of one period.

    Attributes:
        moment: for which it speaks.
        orphans: recovery points whose plan or table is gone, the first hundred; they break nothing.
    """

    period: Period
    moment: dt.datetime
    findings: tuple[Finding, ...]
    freshness: tuple[Freshness, ...]
    orphans: tuple[Orphan, ...] = ()
    orphan_count: int = 0

    @property
    def outcome(self) -> Outcome:
        """The worst of all: one broken target breaks it; UNKNOWN is never taken for good."""
        outcomes = {entry.status.outcome for entry in self._entries()}
        for outcome in (Outcome.BROKEN, Outcome.UNKNOWN):
            if outcome in outcomes:
                return outcome
        return Outcome.GOOD

    def lines(self, outcome: Outcome) -> list[str]:
        """Return what is of an outcome, one line each."""
        return [str(entry) for entry in self._entries() if entry.status.outcome is outcome]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings, and how many targets, are of each status."""
        return dict(sorted(Counter(str(entry.status) for entry in self._entries()).items()))

    def summary(self) -> dict[str, Any]:
        """Return the little that goes into XCom and the Asset event."""
        return {
            "outcome": str(self.outcome),
            "period_start": self.period.start.isoformat(),
            "period_end": self.period.end.isoformat(),
            "moment": self.moment.isoformat(),
            "counts": self.counts,
            "orphans": self.orphan_count,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **self.summary(),
            "findings": [_plain(finding) for finding in self.findings],
            "freshness": [
                {
                    **_plain(entry),
                    "target": _hours(entry.target),
                    "age": None if entry.age is None else _hours(entry.age),
                    "unit": "hours",
                }
                for entry in self.freshness
            ],
            "orphaned_recovery_points": [orphan.to_dict() for orphan in self.orphans],
            "orphan_remedy": ORPHAN_REMEDY if self.orphan_count else None,
        }

    def _entries(self) -> Iterator[Finding | Freshness]:
        yield from self.findings
        yield from self.freshness


ORPHAN_REMEDY = (
    "These recovery points outlived their table or plan. Their own lifecycle still ends them; keep those that are the "
    "last of a table on purpose, and let the DAG retention_cleanup show what it would do with the others."
)


def _hours(span: dt.timedelta) -> float:
    return round(span / dt.timedelta(hours=1), 2)


def _plain(entry: Finding | Freshness) -> dict[str, Any]:
    return {
        name: value.isoformat()
        if isinstance(value, dt.datetime)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in vars(entry).items()
    }
