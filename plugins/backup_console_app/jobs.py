"""Backup and restore jobs of the last days, as AWS Backup lists them, with the Airflow run that started each.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from backup_console_app.paging import Page, cut
from backup_console_app.reading import text
from backup_console_app.troubles import attempt
from backup_console_app.world import World
from backup_flows.keys import StateKeyError, recovery_point_prefix, restore_record_key
from backup_flows.protection import table_name

Kind = Literal["backup", "restore"]
KINDS: Final[tuple[Kind, ...]] = ("backup", "restore")
DAYS: Final = 30
"""AWS Backup lists a job for 30 days: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobs.html"""
JOBS_A_PAGE: Final = 50
MAX_JOBS: Final = 20_000
RUN_KEPT: Final = 60.0
_WELL: Final = frozenset({"COMPLETED"})
_UNDER_WAY: Final = frozenset({"CREATED", "PENDING", "RUNNING", "ABORTING"})


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        table: that was backed up, or whose recovery point was restored.
        target: the table that a restore made.
        plan_id: the backup plan or restore testing plan that made it.
        run: ``<dag_id>/<run_id>`` of the Airflow run that started it, where that is known.
        validation: what was told AWS of a restored table.
    """

    kind: Kind
    job_id: str
    state: str
    table: str
    created_at: dt.datetime
    completed_at: dt.datetime | None = None
    message: str | None = None
    point_arn: str | None = None
    target: str | None = None
    plan_id: str | None = None
    run: str | None = None
    size_bytes: int | None = None
    validation: str | None = None

    @property
    def mood(self) -> str:
        """How its state looks: ``good``, ``unsure`` (under way) or ``bad``."""
        return "good" if self.state in _WELL else "unsure" if self.state in _UNDER_WAY else "bad"

    @property
    def took(self) -> dt.timedelta | None:
        """How long it took."""
        return self.completed_at - self.created_at if self.completed_at is not None else None


@dataclass(frozen=True)
class Jobs:
    """One page of jobs.

    Attributes:
        cut_off: whether there are more than are listed.
        states: that any of the listed jobs is in.
    """

    page: Page[Job]
    cut_off: bool
    states: Sequence[str]


@dataclass(frozen=True)
class WantedJobs:
    """Which jobs are shown; empty means all.

    Attributes:
        kind: ``backup`` or ``restore``.
        table: part of the table's name.
        days: how far back, 1 to 30.
    """

    kind: str = ""
    state: str = ""
    table: str = ""
    days: int = DAYS

    @property
    def query(self) -> dict[str, object]:
        """It as a page's address has it."""
        return dict(vars(self))

    def fits(self, job: Job) -> bool:
        """Tell whether a job is wanted."""
        return (not self.state or job.state == self.state) and self.table.lower() in job.table.lower()


def jobs(world: World, wanted: WantedJobs, *, page: int = 1) -> Jobs:
    """Gather one page of jobs, newest first."""
    days = min(max(1, wanted.days), DAYS)
    since = world.now - dt.timedelta(days=days)
    listed = world.each(lambda one: _listed(world, one, days), [one for one in KINDS if wanted.kind in {"", one}])
    every = [job for found, _ in listed for job in found if job.created_at >= since]
    fitting = [job for job in every if wanted.fits(job)]
    fitting.sort(key=lambda job: (job.created_at, job.job_id), reverse=True)
    shown = cut(fitting, page, JOBS_A_PAGE)
    return Jobs(
        page=shown.of(world.each(lambda job: _with_run(world, job), shown.entries)),
        cut_off=any(cut_off for _, cut_off in listed),
        states=sorted({job.state for job in every}),
    )


def _listed(world: World, kind: Kind, days: int) -> tuple[list[Job], bool]:
    operation, result, read = _LISTINGS[kind]
    # Whole hours, so that the same days are the same question for a while.
    since = world.now.replace(minute=0, second=0, microsecond=0) - dt.timedelta(days=days)

    def ask() -> tuple[list[Job], bool]:
        pages = (
            world.clients("backup")
            .get_paginator(operation)
            .paginate(ByResourceType="DynamoDB", ByCreatedAfter=since, PaginationConfig={"PageSize": 1000})
        )
        found: list[Job] = []
        for answer in pages:
            found += [read(entry) for entry in answer[result]]
            if len(found) > MAX_JOBS:
                return found[:MAX_JOBS], True
        return found, False

    return world.kept(("jobs", kind, since), ask, weigh=lambda answer: len(answer[0]))


def _backup_job(entry: Mapping[str, Any]) -> Job:
    return Job(
        kind="backup",
        job_id=entry["BackupJobId"],
        state=entry["State"],
        table=table_name(entry["ResourceArn"]),
        created_at=entry["CreationDate"].astimezone(dt.UTC),
        completed_at=entry.get("CompletionDate"),
        message=entry.get("StatusMessage"),
        point_arn=entry.get("RecoveryPointArn"),
        plan_id=(entry.get("CreatedBy") or {}).get("BackupPlanId"),
        size_bytes=entry.get("BackupSizeInBytes"),
    )


def _restore_job(entry: Mapping[str, Any]) -> Job:
    made = entry.get("CreatedResourceArn")
    return Job(
        kind="restore",
        job_id=entry["RestoreJobId"],
        state=entry["Status"],
        table=table_name(entry.get("SourceResourceArn") or ""),
        created_at=entry["CreationDate"].astimezone(dt.UTC),
        completed_at=entry.get("CompletionDate"),
        message=entry.get("StatusMessage"),
        point_arn=entry.get("RecoveryPointArn"),
        target=table_name(made) if made else None,
        plan_id=(entry.get("CreatedBy") or {}).get("RestoreTestingPlanArn"),
        size_bytes=entry.get("BackupSizeInBytes"),
        validation=entry.get("ValidationStatus"),
    )


_LISTINGS: Final[Mapping[Kind, tuple[str, str, Callable[[Mapping[str, Any]], Job]]]] = {
    "backup": ("list_backup_jobs", "BackupJobs", _backup_job),
    "restore": ("list_restore_jobs", "RestoreJobs", _restore_job),
}


def _with_run(world: World, job: Job) -> Job:
    """Return the job with the run that started it, from what is bound to its recovery point or restored table."""
    try:
        if job.kind == "restore":
            key = restore_record_key(job.target) if job.target else None
        else:
            key = f"{recovery_point_prefix(job.table, job.point_arn)}binding.json" if job.point_arn else None
    except StateKeyError:
        key = None
    if key is None:
        return job
    record = attempt(lambda: world.document(key, seconds=RUN_KEPT)).value
    dag_id, run_id = text(record, "dag_id"), text(record, "run_id")
    mine = job.kind == "restore" or text(record, "backup_job_id") in {None, job.job_id}
    return replace(job, run=f"{dag_id}/{run_id}") if dag_id and run_id and mine else job
