"""What the watch knows of jobs, recovery points, plans and tables, in its own plain words.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

USABLE = frozenset({"COMPLETED", "AVAILABLE"})
"""AWS names both for a recovery point that can be restored from."""
JOB_OVER = frozenset({"COMPLETED", "FAILED", "ABORTED", "EXPIRED", "PARTIAL"})


@dataclass(frozen=True)
class Job:
    """A backup job. ``plan_id`` is None where somebody, or a DAG, started it on demand."""

    job_id: str
    table_arn: str
    vault: str
    state: str
    created_at: dt.datetime
    completed_at: dt.datetime | None = None
    message: str | None = None
    category: str | None = None
    point_arn: str | None = None
    role_arn: str | None = None
    plan_id: str | None = None
    rule: str | None = None

    @classmethod
    def from_api(cls, job: Mapping[str, Any]) -> Self:
        """Take an entry of ListBackupJobs.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupJob.html
        """
        creator = job.get("CreatedBy") or {}
        return cls(
            job_id=job["BackupJobId"],
            table_arn=job["ResourceArn"],
            vault=job.get("BackupVaultName", ""),
            state=job["State"],
            created_at=job["CreationDate"].astimezone(dt.UTC),
            completed_at=_utc(job.get("CompletionDate")),
            message=job.get("StatusMessage"),
            category=job.get("MessageCategory"),
            point_arn=job.get("RecoveryPointArn"),
            role_arn=job.get("IamRoleArn"),
            plan_id=creator.get("BackupPlanId"),
            rule=creator.get("BackupRuleName") or creator.get("BackupRuleId"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Take what ``to_dict`` wrote."""
        times = {
            name: dt.datetime.fromisoformat(document[name]) if document.get(name) else None
            for name in ("created_at", "completed_at")
        }
        return cls(**{**document, **times})

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self.state in JOB_OVER


@dataclass(frozen=True)
class Point:
    """A recovery point."""

    arn: str
    table_arn: str
    vault: str
    status: str
    created_at: dt.datetime
    completed_at: dt.datetime | None = None
    plan_id: str | None = None

    @classmethod
    def from_api(cls, point: Mapping[str, Any]) -> Self:
        """Take an entry of ListRecoveryPointsByBackupVault.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_RecoveryPointByBackupVault.html
        """
        return cls(
            arn=point["RecoveryPointArn"],
            table_arn=point["ResourceArn"],
            vault=point.get("BackupVaultName", ""),
            status=point["Status"],
            created_at=point["CreationDate"].astimezone(dt.UTC),
            completed_at=_utc(point.get("CompletionDate")),
            plan_id=(point.get("CreatedBy") or {}).get("BackupPlanId"),
        )

    def was_usable(self, moment: dt.datetime) -> bool:
        """Tell whether it was there, complete, at a moment; what it is now is all that is known of its state."""
        return self.status in USABLE and (self.completed_at or self.created_at) <= moment


@dataclass(frozen=True)
class Plan:
    """A backup plan that is there now, with its documents as AWS returns them."""

    plan_id: str
    name: str
    created_at: dt.datetime
    rules: tuple[Mapping[str, Any], ...]
    selections: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class TableFacts:
    """What explains a table's missing backups."""

    created_at: dt.datetime
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Orphan:
    """A recovery point whose plan or table is gone."""

    point_arn: str
    table_arn: str
    gone: str

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass
class PointSurvey:
    """What matters of all recovery points, kept while they pass by: a vault may hold a million.

    Attributes:
        moment: for which the newest usable point is sought.
        since: points before it are of no use as witnesses of the period.
        newest: by table ARN.
        witnesses: points that plans made in the period, by table ARN.
        orphans: the first of them; ``orphan_count`` is how many there are.
    """

    moment: dt.datetime
    since: dt.datetime
    plan_ids: frozenset[str]
    table_arns: frozenset[str]
    own: str
    orphan_limit: int = 100
    newest: dict[str, Point] = field(default_factory=dict)
    witnesses: dict[str, list[Point]] = field(default_factory=dict)
    orphans: list[Orphan] = field(default_factory=list)
    orphan_count: int = 0

    def add(self, points: Iterable[Point]) -> None:
        """Take points in, in any order."""
        for point in points:
            present = self.newest.get(point.table_arn)
            if point.was_usable(self.moment) and (present is None or present.created_at < point.created_at):
                self.newest[point.table_arn] = point
            if point.plan_id and point.status in USABLE and self.since <= point.created_at <= self.moment:
                self.witnesses.setdefault(point.table_arn, []).append(point)
            self._look_for_orphan(point)

    def _look_for_orphan(self, point: Point) -> None:
        if not point.table_arn.startswith(self.own):
            # A copy out of another account or Region: its table and plan are not ours to judge.
            return
        gone = []
        if point.table_arn not in self.table_arns:
            gone.append("table")
        if point.plan_id and point.plan_id not in self.plan_ids:
            gone.append("plan")
        if gone:
            self.orphan_count += 1
            if len(self.orphans) < self.orphan_limit:
                self.orphans.append(Orphan(point.arn, point.table_arn, " and ".join(gone)))


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.astimezone(dt.UTC) if moment is not None else None
