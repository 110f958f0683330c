"""What watches saw of backup jobs, kept by day: AWS Backup lists a job for 30 days only.

One document per day (UTC) of the jobs' creation. A day is *whole* once a watch listed all of it, after it was over;
then a job that is not in it was not made. What a later watch saw of a job replaces what an earlier one saw.
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobs.html

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from backup_flows.store import get_bytes, put_bytes
from backup_flows.watch.facts import Job

DAY = dt.timedelta(days=1)
LISTED_FOR = dt.timedelta(days=30)
LISTED_FOR_CERTAIN = LISTED_FOR - dt.timedelta(hours=1)


@dataclass(frozen=True)
class DayOfJobs:
    """The jobs made on one day.

    Attributes:
        whole: whether all of its jobs are among them.
        seen_at: when a watch looked last.
    """

    day: dt.date
    whole: bool
    seen_at: dt.datetime
    jobs: tuple[Job, ...]

    def to_json(self) -> bytes:
        """Write it; equal contents give equal bytes."""
        document = {
            "day": self.day.isoformat(),
            "whole": self.whole,
            "seen_at": self.seen_at.isoformat(),
            "jobs": [job.to_dict() for job in sorted(self.jobs, key=lambda job: (job.created_at, job.job_id))],
        }
        return json.dumps(document, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> DayOfJobs:
        """Read what ``to_json`` wrote."""
        document = json.loads(content)
        return cls(
            day=dt.date.fromisoformat(document["day"]),
            whole=document["whole"],
            seen_at=dt.datetime.fromisoformat(document["seen_at"]),
            jobs=tuple(Job.from_dict(job) for job in document["jobs"]),
        )


def day_key(day: dt.date) -> str:
    """Return the key of a day's jobs."""
    return f"watch/jobs/{day.isoformat()}.json"


def report_key(start: dt.datetime, end: dt.datetime) -> str:
    """Return the key of a period's report."""
    return f"watch/reports/{start:%Y-%m-%dT%H%MZ}_{end:%Y-%m-%dT%H%MZ}.json"


def days_of(start: dt.datetime, end: dt.datetime) -> Iterator[dt.date]:
    """Yield the days (UTC) that a span touches, its end included."""
    day = start.astimezone(dt.UTC).date()
    while day <= end.astimezone(dt.UTC).date():
        yield day
        day += DAY


def day_start(day: dt.date) -> dt.datetime:
    """Return a day's first instant."""
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)


def listed_span(now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Return the span of time whose jobs AWS Backup lists for certain."""
    return now - LISTED_FOR_CERTAIN, now


def read_days(s3: Any, bucket: str, days: Iterable[dt.date]) -> dict[dt.date, DayOfJobs]:
    """Read the days that are stored."""
    found = {}
    for day in days:
        content = get_bytes(s3, bucket, day_key(day))
        if content is not None:
            found[day] = DayOfJobs.from_json(content)
    return found


def merge_day(day: dt.date, stored: DayOfJobs | None, listed: Iterable[Job], *, now: dt.datetime) -> DayOfJobs:
    """Put what AWS lists now over what is stored of a day.

    Args:
        listed: jobs of any days.
        now: when they were listed.
    """
    jobs = {job.job_id: job for job in stored.jobs} if stored else {}
    # A watch that looked later than this one, which a backfill makes possible, saw more of the same jobs.
    outdated = stored is not None and stored.seen_at > now
    for job in listed:
        if job.created_at.date() == day and not (outdated and job.job_id in jobs):
            jobs[job.job_id] = job
    since, until = listed_span(now)
    whole = since <= day_start(day) and day_start(day) + DAY <= until
    seen_at = max(stored.seen_at, now) if stored else now
    return DayOfJobs(day, whole or (stored is not None and stored.whole), seen_at, tuple(jobs.values()))


def write_day(s3: Any, bucket: str, day: DayOfJobs, stored: DayOfJobs | None) -> bool:
    """Store a day if that adds anything; return whether it did.

    Two watches at once may both write: each document holds all that AWS lists, so the last one lacks nothing.
    """
    if stored is not None and (stored.whole, set(stored.jobs)) == (day.whole, set(day.jobs)):
        return False
    put_bytes(s3, bucket, day_key(day.day), day.to_json(), content_type="application/json")
    return True
