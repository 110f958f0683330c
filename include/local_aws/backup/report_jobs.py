"""Report jobs: a report is written to a bucket, each morning or on demand.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartReportJob.html.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, cast

from moto.backup.models import backup_backends
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends

from local_aws.backup.exceptions import ResourceNotFoundException
from local_aws.backup.job_register import LISTED_FOR
from local_aws.backup.report_files import as_csv, as_json, rows_of
from local_aws.backup.report_plans import ALL_REGIONS, ReportPlan
from local_aws.settings import SETTINGS

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

RUNNING_FROM: Final = 0.2
"""Share of `job_seconds` spent CREATED."""


class ReportJobStatus(StrEnum):
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(eq=False)
class ReportJob:
    """One report job. `keys` are those of the objects that it wrote."""

    job_id: str
    sequence: int
    plan: ReportPlan
    template: str
    bucket: str
    created_at: datetime
    status: ReportJobStatus = ReportJobStatus.CREATED
    status_message: str | None = None
    ended_at: datetime | None = None
    keys: tuple[str, ...] = ()

    def to_result(self) -> dict[str, Any]:
        """Return a ReportJob."""
        return {
            "ReportJobId": self.job_id,
            "ReportPlanArn": self.plan.report_plan_arn,
            "ReportTemplate": self.template,
            "CreationTime": self.created_at,
            "CompletionTime": self.ended_at,
            "Status": str(self.status),
            "StatusMessage": self.status_message,
            "ReportDestination": {"S3BucketName": self.bucket, "S3Keys": list(self.keys)},
        }


class ReportJobs:
    """The report jobs of one account and Region."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._jobs: dict[str, ReportJob] = {}
        self._by_token: dict[str, ReportJob] = {}

    def __iter__(self) -> Iterator[ReportJob]:
        return iter(list(self._jobs.values()))

    def get(self, job_id: str) -> ReportJob:
        """Return a job.

        Raises:
            ResourceNotFoundException: No such job.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise ResourceNotFoundException(f"Report job {job_id} does not exist.")
        return job

    def start(self, plan: ReportPlan, now: datetime, token: str | None = None) -> ReportJob:
        """Start a report of the 24 hours before now, or return the job that the same token started."""
        if token is not None and token in self._by_token:
            return self._by_token[token]
        backend = self._backend
        job = ReportJob(
            job_id=backend.new_id(),
            sequence=backend.next_sequence(),
            plan=plan,
            template=plan.template,
            bucket=str(plan.channel["S3BucketName"]),
            created_at=now,
        )
        self._jobs[job.job_id] = job
        if token is not None:
            self._by_token[token] = job
        plan.attempted_at = now
        seconds = SETTINGS.job_seconds
        backend.agenda.add(now + timedelta(seconds=seconds * RUNNING_FROM), lambda _at: self._run(job))
        backend.agenda.add(now + timedelta(seconds=seconds), lambda at: self._finish(job, at))
        backend.agenda.add(now + timedelta(seconds=seconds) + LISTED_FOR, lambda _at: self._forget(job, token))
        return job

    def _forget(self, job: ReportJob, token: str | None) -> None:
        self._jobs.pop(job.job_id, None)
        if token is not None:
            self._by_token.pop(token, None)

    @staticmethod
    def _run(job: ReportJob) -> None:
        job.status = ReportJobStatus.RUNNING

    def _finish(self, job: ReportJob, at: datetime) -> None:
        job.ended_at = at
        try:
            job.keys = tuple(self._write(job, at))
        except MissingBucket:
            job.status = ReportJobStatus.FAILED
            job.status_message = f"The bucket {job.bucket} does not exist."
            return
        job.status = ReportJobStatus.COMPLETED
        job.plan.succeeded_at = at

    def _write(self, job: ReportJob, at: datetime) -> Iterator[str]:
        backend, plan = self._backend, job.plan
        rows = rows_of(job.template, self._regions(plan), job.created_at)
        prefix = str(plan.channel.get("S3KeyPrefix") or "").strip("/")
        folder = f"{prefix}/" if prefix else ""
        start = f"{folder}Backup/{backend.region_name}/{at:%Y/%m/%d}/{plan.report_plan_name}_{job.job_id}"
        storage = s3_backends[backend.account_id][backend.partition]
        for kind in plan.formats:
            key = f"{start}.{kind.lower()}"
            content = as_json(rows) if kind == "JSON" else as_csv(job.template, rows)
            storage.put_object(job.bucket, key, content)
            yield key

    def _regions(self, plan: ReportPlan) -> list["BackupBackend"]:
        backend = self._backend
        names = list(plan.setting.get("Regions") or [backend.region_name])
        known = backup_backends[backend.account_id]
        if ALL_REGIONS in names:
            names = list(known)  # where nothing was ever asked for, there are no jobs
        return [cast("BackupBackend", known[name]) for name in names]
