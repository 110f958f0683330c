"""The evidence pack of a restore drill: a JSON document, and the same as one HTML page for people.

The pack says what was restored, by whom, when and how long each phase took, what the fingerprints were, what
differed, and what the verdict is. It carries SHA-256 and key of the pack that was written before it for the same
table, so that a pack which is changed or taken out later breaks the chain (`restore_proof.chain`).
`pack.schema.json` describes it; `pack-1.schema.json` what earlier releases wrote, which is still read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from dynamodb_bulk.compare import Comparison
from dynamodb_bulk.fingerprint import Fingerprint
from restore_proof.report import render_report
from restore_proof.settings import SettingsComparison
from restore_proof.verdict import Verdict

FORMAT = "restore-evidence"
VERSION = 2
READABLE: Final = (1, 2)
"""Version 1 knew neither key nor position of the pack before it, nor cost, nor the hash of the differences."""
PACK_NAME = "pack.json"
CLAIM: Final = b"{}\n"
"""What stands in a pack's place from the moment when a drill took that place until it wrote the pack."""
REPORT_NAME = "report.html"
DIFF_NAME = "diff.jsonl"
DIFFERENCE_CAP = 100
"""So many differences a pack lists; all of them are in the diff file beside it."""


class EvidenceFormatError(ValueError):
    """Stored bytes are not an evidence pack that this version reads."""


@dataclass(frozen=True)
class Phase:
    """One phase of a drill: its name, and when it began and ended (both aware)."""

    name: str
    started_at: dt.datetime
    ended_at: dt.datetime

    def __post_init__(self) -> None:
        if self.started_at.tzinfo is None or self.ended_at.tzinfo is None:
            raise ValueError(f"Phase {self.name!r} has a time without time zone.")

    @property
    def seconds(self) -> float:
        """How long it took, in seconds."""
        return (self.ended_at - self.started_at).total_seconds()

    def to_dict(self) -> dict[str, Any]:
        """Return the phase as JSON-ready values."""
        return {
            "name": self.name,
            "started_at": _iso(self.started_at),
            "ended_at": _iso(self.ended_at),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Drill:
    """What a drill did, beside its verdict.

    Attributes:
        drill_id: what tells the drills of one date apart.
        requested_by: who triggered the run: a user's name, or what scheduled it.
        backup: what is known of the backup job: its id, recovery point ARN, times, size (JSON-ready).
        restore: what is known of the restore job: its id, times (JSON-ready).
        phases: its phases in order.
        versions: what did it, by name: this project, Airflow, the provider, boto3.
        figures: what was loaded and read, by what it was: rows, items, bytes, seconds, capacity units (JSON-ready).
        cost: what the drill cost, and was expected to (JSON-ready); None if nobody reckoned.
    """

    drill_id: str
    requested_by: str
    backup: Mapping[str, Any]
    restore: Mapping[str, Any]
    phases: Sequence[Phase]
    versions: Mapping[str, str]
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cost: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Link:
    """The pack that a pack follows in its table's chain.

    Attributes:
        sha256: of its stored bytes.
        key: where it is stored.
        position: how many packs the chain has up to it.
    """

    sha256: str
    key: str
    position: int


@dataclass(frozen=True)
class Evidence:
    """An evidence pack, ready to be stored.

    Attributes:
        pack: the pack as JSON.
        report: the page as HTML.
        sha256: SHA-256 of `pack`, which the table's next pack carries.
    """

    pack: bytes
    report: bytes
    sha256: str


def make_evidence(
    verdict: Verdict,
    drill: Drill,
    *,
    written_at: dt.datetime,
    comparison: Comparison | None = None,
    fingerprints: Mapping[str, Fingerprint] | None = None,
    settings: SettingsComparison | None = None,
    previous: Link | None = None,
    earlier_attempts: Sequence[str] = (),
    diff_sha256: str | None = None,
) -> Evidence:
    """Make the evidence pack of a drill.

    Args:
        verdict: what the proof came to.
        drill: what was done.
        written_at: now (aware).
        comparison: what the verdict rests on; None if the proof crashed before it was made.
        fingerprints: those that were taken, by name: ``before``, ``after``, ``restored``.
        settings: what came of comparing the tables' settings, if that was done.
        previous: the pack written before this one for the same table; None for the first.
        earlier_attempts: keys of the packs that earlier attempts of this drill left.
        diff_sha256: SHA-256 of the file of all differences beside the pack; None if there is none.
    """
    document = pack_document(
        verdict,
        drill,
        written_at=written_at,
        comparison=comparison,
        fingerprints=fingerprints,
        settings=settings,
        previous=previous,
        earlier_attempts=earlier_attempts,
        diff_sha256=diff_sha256,
    )
    pack = json.dumps(document, indent=2, sort_keys=True).encode("ascii") + b"\n"
    sha256 = pack_sha256(pack)
    return Evidence(pack=pack, report=render_report(document, sha256).encode("utf-8"), sha256=sha256)


def pack_document(
    verdict: Verdict,
    drill: Drill,
    *,
    written_at: dt.datetime,
    comparison: Comparison | None = None,
    fingerprints: Mapping[str, Fingerprint] | None = None,
    settings: SettingsComparison | None = None,
    previous: Link | None = None,
    earlier_attempts: Sequence[str] = (),
    diff_sha256: str | None = None,
) -> dict[str, Any]:
    """Return the evidence pack as JSON-ready values; the arguments are those of `make_evidence`."""
    compared = comparison.to_dict() if comparison is not None else None
    if compared is not None:
        compared["differences"] = compared["differences"][:DIFFERENCE_CAP]
    return {
        "format": FORMAT,
        "version": VERSION,
        "drill_id": drill.drill_id,
        "written_at": _iso(written_at),
        "requested_by": drill.requested_by,
        "verdict": verdict.to_dict(),
        "backup": dict(drill.backup),
        "restore": dict(drill.restore),
        "phases": [phase.to_dict() for phase in drill.phases],
        "seconds_total": _total_seconds(drill.phases),
        "figures": {name: dict(values) for name, values in drill.figures.items()},
        "fingerprints": {
            name: {
                "digest": fingerprint.digest,
                "items": fingerprint.item_count,
                "buckets": fingerprint.buckets,
                "key_names": list(fingerprint.key_names),
            }
            for name, fingerprint in (fingerprints or {}).items()
        },
        "comparison": compared,
        "diff_file": DIFF_NAME,
        "diff_sha256": diff_sha256,
        "settings": settings.to_dict() if settings is not None else None,
        "versions": dict(drill.versions),
        "cost": dict(drill.cost) if drill.cost is not None else None,
        "earlier_attempts": list(earlier_attempts),
        "position": previous.position + 1 if previous is not None else 1,
        "previous_key": previous.key if previous is not None else None,
        "previous_sha256": previous.sha256 if previous is not None else None,
    }


def pack_sha256(pack: bytes) -> str:
    """Return the SHA-256 of a stored pack, as the next pack of the same table carries it."""
    return hashlib.sha256(pack).hexdigest()


def read_pack(pack: bytes) -> dict[str, Any]:
    """Read a stored pack.

    Raises:
        EvidenceFormatError: if it is something else, or of another version.
    """
    try:
        document = json.loads(pack)
    except ValueError as error:
        raise EvidenceFormatError(f"These bytes are not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") not in READABLE:
        raise EvidenceFormatError(f"This JSON is not a {FORMAT!r} document of a version that is read: {READABLE}.")
    return document


def pack_schema(version: int = VERSION) -> dict[str, Any]:
    """Return the JSON schema of the pack (draft 2020-12).

    Args:
        version: of the pack.
    """
    name = "pack.schema.json" if version == VERSION else f"pack-{version}.schema.json"
    schema: dict[str, Any] = json.loads(resources.files("restore_proof").joinpath(name).read_text(encoding="utf-8"))
    return schema


def _iso(moment: dt.datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone.")
    return moment.astimezone(dt.UTC).isoformat()


def _total_seconds(phases: Sequence[Phase]) -> float | None:
    if not phases:
        return None
    first, last = min(phase.started_at for phase in phases), max(phase.ended_at for phase in phases)
    return round((last - first).total_seconds(), 3)
