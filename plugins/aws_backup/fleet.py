"""Many backup jobs watched by listing them: the calls of a round grow with pages of jobs, not with jobs.

Nothing here sleeps or calls AWS; the trigger and the sensor do, and hand over the pages.
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobs.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from aws_backup.exceptions import UnknownStateError
from aws_backup.states import Outcome, StateKind, classify
from aws_backup.summaries import JobSummary, summarise_backup_job

NOT_FOUND: Final = "NOT_FOUND"
"""Stands for the state of a job that AWS does not know, long enough after it was started."""


class BackupJobFleet:
    """The jobs that are waited for, and what is known of each.

    :param job_ids: their ids.
    """

    def __init__(self, job_ids: Iterable[str]) -> None:
        self._known: dict[str, JobSummary | None] = dict.fromkeys(job_ids)
        self._unlisted: set[str] = set(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def begin_round(self) -> None:
        """Begin to look at a new listing."""
        self._unlisted = {job_id for job_id, summary in self._known.items() if not _is_over(summary)}

    def see(self, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Take note of a page of ListBackupJobs, or of single answers of DescribeBackupJob."""
        for job in jobs:
            job_id = job["BackupJobId"]
            if job_id in self._known:
                self._known[job_id] = summarise_backup_job(job)
                self._unlisted.discard(job_id)

    def see_missing(self, job_id: str) -> None:
        """Take note that AWS does not know a job at all."""
        self._unlisted.discard(job_id)
        self._known[job_id] = JobSummary(
            job_id=job_id,
            state=NOT_FOUND,
            status_message="AWS does not know this job; it keeps job records for 30 days only.",
        )

    @property
    def unlisted(self) -> list[str]:
        """Jobs in progress that the listings since ``begin_round`` did not show."""
        return sorted(self._unlisted)

    @property
    def in_progress(self) -> list[str]:
        """Jobs that have not ended, as far as is known."""
        return [job_id for job_id, summary in self._known.items() if not _is_over(summary)]

    @property
    def summaries(self) -> list[JobSummary]:
        """What is known of each job, in the order of their ids as given."""
        return [summary for summary in self._known.values() if summary is not None]

    def describe(self) -> str:
        """Return in a few words how far the jobs are."""
        left = len(self.in_progress)
        return f"{left} of {len(self)} in progress"


def ended_well(summary: JobSummary) -> bool:
    """Tell whether a job made a whole recovery point."""
    state = summary.get("state")
    return state != NOT_FOUND and _outcome(state) is Outcome.SUCCESS


def bad_ends(summaries: Sequence[JobSummary]) -> list[JobSummary]:
    """Return the jobs that ended, and not well."""
    return [summary for summary in summaries if _is_over(summary) and not ended_well(summary)]


def listing_filters(created_after: str | None) -> dict[str, Any]:
    """Return the arguments of ListBackupJobs.

    :param created_after: ISO 8601, a moment before the first of the jobs was started.
    """
    return {"ByCreatedAfter": datetime.fromisoformat(created_after)} if created_after else {}


def _is_over(summary: JobSummary | None) -> bool:
    if summary is None:
        return False
    return summary["state"] == NOT_FOUND or _outcome(summary["state"]) is not Outcome.IN_PROGRESS


def _outcome(state: str | None) -> Outcome:
    try:
        return classify(StateKind.BACKUP_JOB, state)
    except UnknownStateError:
        # One job in a state that nobody knows must neither be waited for for ever nor fail all the others.
        return Outcome.FAILURE
