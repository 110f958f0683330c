"""Prove a restored table against what is bound to its recovery point; write the verdict and the evidence."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from backup_flows import fingerprints
from backup_flows.depths import Place, take_like
from backup_flows.evidence import record_evidence, versions
from backup_flows.fingerprints import Binding, Taken
from backup_flows.keys import evidence_prefix, settings_key
from backup_flows.scan_parts import Part, merge_parts
from backup_flows.store import get_bytes, put_bytes
from dynamodb_bulk.compare import Comparison, judge
from dynamodb_bulk.fingerprint import Fingerprint
from restore_proof.depth_words import at_depth, nothing_to_go_by
from restore_proof.evidence import DIFF_NAME, Drill, Phase
from restore_proof.settings import (
    SettingsComparison,
    compare_settings,
    settings_from_json,
    settings_to_json,
)
from restore_proof.settings_reading import record_settings
from restore_proof.verdict import Depth, Result, Subject, Verdict, fail_closed, verdict_from_comparison

RESTORED = "restored."
"""Prefix of the restored table's fingerprint, beside the evidence."""


@dataclass(frozen=True)
class ProofRequest:
    """What a proof needs to know.

    Attributes:
        restore: summary of the restore job (``aws_backup.summaries.JobSummary``).
        phases: name, start, end (ISO 8601) of what came before the proof.
        encryption_type: what the restore job was asked for, if it was one of ours.
        restore_tested: whether AWS's restore testing restored the table, in its own way.
        parts: what the restored table was read in; empty if the proof reads it itself.
        max_rcu: read capacity units a second that the proof may use when it reads the table itself.
        load: figures of the load that the backup followed, for the evidence.
    """

    bucket: str
    binding: Binding
    restored_table: str
    restore: Mapping[str, Any]
    as_of: str
    run: str
    drill_id: str
    requested_by: str
    phases: Sequence[tuple[str, str, str]] = ()
    encryption_type: str | None = None
    restore_tested: bool = False
    parts: Sequence[Part] = ()
    max_rcu: float | None = None
    load: Mapping[str, Any] | None = None

    @property
    def subject(self) -> Subject:
        """Return what the verdict is about."""
        return Subject(
            recovery_point_arn=self.binding.recovery_point_arn,
            table_name=self.binding.table,
            restored_table_name=self.restored_table,
            as_of=self.as_of,
            run=self.run,
        )

    @property
    def prefix(self) -> str:
        """Return where the evidence goes."""
        return evidence_prefix(self.binding.table, self.as_of, self.drill_id)


@dataclass
class Findings:
    """What a proof found so far; what is there when it crashes still goes into the evidence."""

    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    scans: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    comparison: Comparison | None = None
    settings: SettingsComparison | None = None
    diff: Path | None = None


def record_source_settings(
    dynamodb: Any, s3: Any, *, bucket: str, binding: Binding, now: dt.datetime, scaling: Any = None
) -> None:
    """Keep the source table's settings beside its recovery point, once.

    :param scaling: a client of Application Auto Scaling; without one, auto scaling is left out.
    """
    key = settings_key(binding.table, binding.recovery_point_arn)
    if get_bytes(s3, bucket, key) is None:
        recorded = record_settings(dynamodb, binding.table, recorded_at=now, scaling=scaling)
        put_bytes(s3, bucket, key, settings_to_json(recorded), content_type="application/json")


def prove(
    dynamodb: Any, s3: Any, request: ProofRequest, *, clock: Callable[[], dt.datetime], scaling: Any = None
) -> Verdict:
    """Compare every item of the restored table, type-exact, with what the source held at backup time.

    Fails closed: whatever goes wrong leaves a ``FAILED`` verdict and its evidence behind before it goes on.

    :param clock: AWS's clock.
    :param scaling: a client of Application Auto Scaling; without one, auto scaling is not compared.
    :return: the verdict, recorded; the caller raises on one that is not proven.
    """
    found = Findings()
    started = clock()
    recorded: list[Verdict] = []

    def record(verdict: Verdict) -> None:
        recorded.append(_recorded(s3, request, verdict, found, started=started, now=clock()))

    with tempfile.TemporaryDirectory() as folder:
        fail_closed(
            lambda: _validate(dynamodb, s3, request, found, Path(folder), clock=clock, scaling=scaling),
            subject=request.subject,
            record=record,
            clock=clock,
            depth=Depth(request.binding.depth),
        )
    return recorded[-1]


def _validate(
    dynamodb: Any,
    s3: Any,
    request: ProofRequest,
    found: Findings,
    folder: Path,
    *,
    clock: Callable[[], dt.datetime],
    scaling: Any,
) -> Verdict:
    binding, bucket = request.binding, request.bucket
    before = fingerprints.load_bound(s3, bucket, binding.before)
    after = fingerprints.load_bound(s3, bucket, binding.after)
    found.fingerprints.update(before=before, after=after)
    found.scans.update(before=binding.before.figures, after=binding.after.figures)
    restored_prefix = f"{request.prefix}{RESTORED}"
    taken, restored = _read_restored(dynamodb, s3, request, before.key_names, restored_prefix, clock=clock)
    found.fingerprints["restored"] = restored
    found.scans["restored"] = taken.figures
    manifests = fingerprints.manifests_of(s3, bucket, binding, restored_prefix, folder)
    diff = folder / DIFF_NAME
    with diff.open("wb") as sink:
        found.comparison = judge(before, after, restored, manifests=manifests, diff_sink=sink)
    found.diff = diff
    recorded = get_bytes(s3, bucket, settings_key(binding.table, binding.recovery_point_arn))
    if recorded is not None:
        found.settings = compare_settings(
            settings_from_json(recorded),
            record_settings(dynamodb, request.restored_table, recorded_at=clock(), scaling=scaling),
            encryption_type=request.encryption_type,  # type: ignore[arg-type]
            restore_tested=request.restore_tested,
            recorded_late=not binding.made_by_run,
        )
    return _concluded(binding, found.comparison, found.settings, request.subject, decided_at=clock())


def _concluded(
    binding: Binding,
    comparison: Comparison,
    settings: SettingsComparison | None,
    subject: Subject,
    *,
    decided_at: dt.datetime,
) -> Verdict:
    """Return the verdict, in the words of its depth."""
    depth = Depth(binding.depth)
    verdict = verdict_from_comparison(
        comparison,
        subject,
        decided_at=decided_at,
        depth=depth,
        alarms=settings.alarms if settings is not None else (),
    )
    nothing = nothing_to_go_by(depth, comparison, settings_known=settings is not None)
    if nothing is not None and verdict.is_proven:
        verdict = replace(verdict, result=Result.UNPROVEN, reasons=(nothing, *verdict.reasons))
    return at_depth(verdict, comparison, binding.before.about, binding.notes)


def _read_restored(
    dynamodb: Any,
    s3: Any,
    request: ProofRequest,
    key_names: tuple[str, ...],
    prefix: str,
    *,
    clock: Callable[[], dt.datetime],
) -> tuple[Taken, Fingerprint]:
    if request.parts:
        return merge_parts(s3, bucket=request.bucket, prefix=prefix, parts=request.parts, clock=clock)
    place = Place(dynamodb, s3, request.bucket, prefix, request.restored_table, request.max_rcu, clock)
    return take_like(place, request.binding.before, key_names)


def _recorded(
    s3: Any, request: ProofRequest, verdict: Verdict, found: Findings, *, started: dt.datetime, now: dt.datetime
) -> Verdict:
    drill = Drill(
        drill_id=request.drill_id,
        requested_by=request.requested_by,
        backup=request.binding.as_dict(),
        restore=dict(request.restore),
        phases=[
            *(
                Phase(name, dt.datetime.fromisoformat(start), dt.datetime.fromisoformat(end))
                for name, start, end in request.phases
            ),
            Phase("proof", started, max(started, verdict.decided_at)),
        ],
        versions=versions(),
        figures={
            **({"load": dict(request.load)} if request.load is not None else {}),
            **{f"scan {name}": dict(scan) for name, scan in found.scans.items() if scan},
        },
    )
    return record_evidence(
        s3,
        bucket=request.bucket,
        verdict=verdict,
        drill=drill,
        written_at=now,
        comparison=found.comparison,
        fingerprints=found.fingerprints,
        settings=found.settings,
        diff=found.diff,
    )


def summary(verdict: Verdict, phases: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Return what people want to see first: verdict, counts, where the report is, how long things took."""
    return {
        "verdict": verdict.proof.label,
        "counts": dict(verdict.counts),
        "reasons": list(verdict.reasons),
        "report": verdict.evidence,
        "recovery_point_arn": verdict.subject.recovery_point_arn,
        "restored_table": verdict.subject.restored_table_name,
        "timings": {
            name: round((dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds(), 3)
            for name, start, end in phases
        },
    }
