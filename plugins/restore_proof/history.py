"""The history of a table's drills: how long each part took, and RPO and RTO against their targets.

One record is kept for each drill, whatever it came to. A record says what was true at its own moment, with the targets
of that moment; what takes the records before it as well (the age of the newest proven recovery point) is worked out
when the history is read (`series`), so that drills which end side by side can't spoil each other's figures.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from restore_proof.evidence import Drill
from restore_proof.verdict import Verdict

FORMAT: Final = "restore-history"
VERSION: Final = 1
FOLDER: Final = "history"
"""Below the bucket: ``history/<table>/<as_of>-<drill id>.json``."""

BACKUP: Final = "backup"
RESTORE: Final = "restore"
REPAIR: Final = "settings"
PROOF: Final = "proof"
PARTS: Final = (BACKUP, RESTORE, REPAIR, PROOF)
"""Names of a drill's phases: waiting for the backup, for the restore, re-applying settings, proving."""
RTO_PARTS: Final = (RESTORE, REPAIR)
"""What has to be over before a restored table can take its source's place."""


class HistoryFormatError(ValueError):
    """Stored bytes are not a history record that this version reads."""


@dataclass(frozen=True)
class Targets:
    """What a table's protection is held against."""

    rpo: dt.timedelta
    rto: dt.timedelta


@dataclass(frozen=True)
class Surroundings:
    """What held around a drill and is not part of it.

    Attributes:
        targets: of the table; None where it is not protected by a rule.
        newest_usable_at: when the table's newest recovery point that can be restored was made (aware).
        looked_at: when that was looked up (aware).
        estimate: what the drill was expected to cost (`restore_proof.costs.Cost.to_dict`).
        cost: what it did cost.
        restore_job_id: the restore job, if one was started.
    """

    targets: Targets | None = None
    newest_usable_at: dt.datetime | None = None
    looked_at: dt.datetime | None = None
    estimate: Mapping[str, Any] | None = None
    cost: Mapping[str, Any] | None = None
    restore_job_id: str | None = None


@dataclass(frozen=True)
class Record:
    """One drill of one table.

    Attributes:
        as_of: the date that it stands for, ``YYYY-MM-DD``.
        drill_id: tells the drills of one date apart.
        label: the verdict, with its depth.
        decided_at: when the verdict was reached (aware).
        backed_up_at: when the recovery point was made (aware).
        seconds: how long each part took, by name (`PARTS`).
        usable_age: age in seconds of the newest usable recovery point, when the drill began.
        rpo_target, rto_target: in seconds.
        estimated_usd, actual_usd: what the drill was expected to cost, and did cost by the price file.
        report: where the evidence is.
        restore_job_id: attempts of a drill may share their restore.
    """

    table: str
    as_of: str
    drill_id: str
    run: str
    recovery_point_arn: str
    label: str
    proven: bool
    decided_at: dt.datetime
    backed_up_at: dt.datetime | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    usable_age: float | None = None
    rpo_target: float | None = None
    rto_target: float | None = None
    estimated_usd: float | None = None
    actual_usd: float | None = None
    report: str | None = None
    restore_job_id: str | None = None

    @property
    def rto(self) -> float | None:
        """Seconds until the restored table could have taken its source's place; None where none was proven right."""
        if not self.proven or RESTORE not in self.seconds:
            return None
        return round(sum(self.seconds.get(part, 0.0) for part in RTO_PARTS), 3)

    @property
    def point_age(self) -> float | None:
        """How old the recovery point was at the verdict, in seconds."""
        return _age(self.backed_up_at, self.decided_at)

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "table": self.table,
            "as_of": self.as_of,
            "drill_id": self.drill_id,
            "run": self.run,
            "recovery_point_arn": self.recovery_point_arn,
            "verdict": self.label,
            "proven": self.proven,
            "decided_at": self.decided_at.astimezone(dt.UTC).isoformat(),
            "backed_up_at": self.backed_up_at.astimezone(dt.UTC).isoformat() if self.backed_up_at else None,
            "seconds": dict(self.seconds),
            "rpo": {"point": self.point_age, "newest_usable": self.usable_age, "target": self.rpo_target},
            "rto": {"actual": self.rto, "target": self.rto_target},
            "cost_usd": {"estimated": self.estimated_usd, "actual": self.actual_usd},
            "report": self.report,
            "restore_job_id": self.restore_job_id,
        }
        return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Record:
        """Read a stored record.

        Raises:
            HistoryFormatError: if it is something else, or of another version.
        """
        try:
            document = json.loads(content)
            if (document["format"], document["version"]) != (FORMAT, VERSION):
                raise HistoryFormatError(f"This JSON is not a {FORMAT!r} document of version {VERSION}.")
            backed_up_at = document["backed_up_at"]
            return cls(
                table=document["table"],
                as_of=document["as_of"],
                drill_id=document["drill_id"],
                run=document["run"],
                recovery_point_arn=document["recovery_point_arn"],
                label=document["verdict"],
                proven=document["proven"],
                decided_at=_moment(document["decided_at"]),
                backed_up_at=_moment(backed_up_at) if backed_up_at else None,
                seconds=document["seconds"],
                usable_age=document["rpo"]["newest_usable"],
                rpo_target=document["rpo"]["target"],
                rto_target=document["rto"]["target"],
                estimated_usd=document["cost_usd"]["estimated"],
                actual_usd=document["cost_usd"]["actual"],
                report=document["report"],
                restore_job_id=document["restore_job_id"],
            )
        except HistoryFormatError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise HistoryFormatError(f"These bytes are not a history record: {error!r}") from error


def make_record(verdict: Verdict, drill: Drill, around: Surroundings) -> Record:
    """Return what is kept of a drill for good.

    Args:
        verdict: what it came to.
        drill: what was done; its phases are the parts, its ``backup`` says when the recovery point was made.
        around: targets, the newest usable recovery point, and cost.
    """
    created = drill.backup.get("created_at")
    seconds: dict[str, float] = {}
    for phase in drill.phases:
        seconds[phase.name] = round(seconds.get(phase.name, 0.0) + max(0.0, phase.seconds), 3)
    return Record(
        table=verdict.subject.table_name,
        as_of=verdict.subject.as_of,
        drill_id=drill.drill_id,
        run=verdict.subject.run,
        recovery_point_arn=verdict.subject.recovery_point_arn,
        label=verdict.proof.label,
        proven=verdict.is_proven,
        decided_at=verdict.decided_at,
        backed_up_at=_moment(created) if created else None,
        seconds=seconds,
        usable_age=_age(around.newest_usable_at, around.looked_at),
        rpo_target=around.targets.rpo.total_seconds() if around.targets else None,
        rto_target=around.targets.rto.total_seconds() if around.targets else None,
        estimated_usd=around.estimate["total_usd"] if around.estimate else None,
        actual_usd=around.cost["total_usd"] if around.cost else None,
        report=verdict.evidence,
        restore_job_id=around.restore_job_id,
    )


COLUMNS: Final = (
    "table",
    "as_of",
    "decided_at",
    "verdict",
    "proven",
    "backup_seconds",
    "restore_seconds",
    "settings_seconds",
    "proof_seconds",
    "rto_seconds",
    "rto_target_seconds",
    "rto_met",
    "point_age_seconds",
    "rpo_usable_seconds",
    "rpo_proven_seconds",
    "rpo_target_seconds",
    "rpo_usable_met",
    "rpo_proven_met",
    "estimated_usd",
    "actual_usd",
    "drill_id",
    "run",
    "recovery_point_arn",
    "report",
)
"""Of a row of the series, in this order; None is what was not measured."""


def series(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the drills of one table or many as flat rows (`COLUMNS`), oldest verdict first, ready to be charted.

    ``rpo_proven_seconds`` is how old the newest recovery point was, at that moment, of those that had been proven by
    then; ``rpo_usable_seconds`` the same of those that could be restored at all.
    """
    newest: dict[str, dt.datetime] = {}
    rows = []
    for record in sorted(records, key=lambda one: (one.decided_at, one.table, one.as_of, one.drill_id)):
        if record.proven and record.backed_up_at is not None:
            newest[record.table] = max(newest.get(record.table, record.backed_up_at), record.backed_up_at)
        rows.append(_row(record, _age(newest.get(record.table), record.decided_at)))
    return rows


def _row(record: Record, proven_age: float | None) -> dict[str, Any]:
    return {
        "table": record.table,
        "as_of": record.as_of,
        "decided_at": record.decided_at.astimezone(dt.UTC).isoformat(),
        "verdict": record.label,
        "proven": record.proven,
        **{f"{part}_seconds": record.seconds.get(part) for part in PARTS},
        "rto_seconds": record.rto,
        "rto_target_seconds": record.rto_target,
        "rto_met": _met(record.rto, record.rto_target),
        "point_age_seconds": record.point_age,
        "rpo_usable_seconds": record.usable_age,
        "rpo_proven_seconds": proven_age,
        "rpo_target_seconds": record.rpo_target,
        "rpo_usable_met": _met(record.usable_age, record.rpo_target),
        "rpo_proven_met": _met(proven_age, record.rpo_target),
        "estimated_usd": record.estimated_usd,
        "actual_usd": record.actual_usd,
        "drill_id": record.drill_id,
        "run": record.run,
        "recovery_point_arn": record.recovery_point_arn,
        "report": record.report,
    }


def _met(actual: float | None, target: float | None) -> bool | None:
    return None if actual is None or target is None else actual <= target


def _age(made: dt.datetime | None, at: dt.datetime | None) -> float | None:
    if made is None or at is None:
        return None
    return round(max(0.0, (at - made).total_seconds()), 3)


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
