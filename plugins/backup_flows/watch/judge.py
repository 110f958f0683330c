"""Hold what was due against what happened. Pure: every fact is handed in, and so is the time.

Where a finding rests on a guess, it is none: what neither jobs, nor what earlier watches saw of them, nor recovery
points show is UNKNOWN.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backup_flows.protection import ProtectedTable, TableEntry
from backup_flows.watch.causes import NO_JOB_REMEDY, REMEDIES, Cause, why_ended_badly, why_missing
from backup_flows.watch.facts import Job, Plan, Point, PointSurvey, TableFacts
from backup_flows.watch.report import Finding, Freshness, Outcome, Period, Report, Status

SLACK = dt.timedelta(minutes=1)
"""AWS stamps jobs by the clock of another machine than the one that calls them up."""
PRESENT = dt.timedelta(days=1)
"""A run this close to its moment speaks of the present: what is gone now was not there then."""


class Source(StrEnum):
    """What a finding rests on."""

    JOBS = "jobs"
    STORE = "stored watch"
    POINTS = "recovery points"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Due:
    """One backup that is due by ``protection.yaml``.

    Attributes:
        until: when the table's next one is due, or far away; a job made from ``instant`` on and before it is this
            one's.
    """

    table: ProtectedTable
    instant: dt.datetime
    until: dt.datetime

    @property
    def start_by(self) -> dt.datetime:
        """End of the start window."""
        return self.instant + self.table.rule.start_window

    @property
    def complete_by(self) -> dt.datetime:
        """End of both windows."""
        return self.start_by + self.table.rule.completion_window


@dataclass(frozen=True)
class Evidence:
    """The facts of one watch.

    Attributes:
        jobs: that were listed or stored, by table ARN.
        covers: tells what the jobs of a span of time are known by, or None if they are not known without gaps.
        points: the survey of recovery points.
        plans: returns the plans that are there now; asked only where something is missing.
        opted_in: whether the Region's opt-in for DynamoDB is on.
        look: describes a table (by ARN); None if it is gone.
    """

    jobs: Mapping[str, Sequence[Job]]
    covers: Callable[[dt.datetime, dt.datetime], Source | None]
    points: PointSurvey
    plans: Callable[[], Sequence[Plan]]
    opted_in: bool
    look: Callable[[str], TableFacts | None]


def dues(tables: Sequence[ProtectedTable], period: Period) -> list[Due]:
    """Return the backups that are due in a period, by table and time."""
    found = []
    for table in tables:
        # The next one may lie as far off as the tier's schedule goes; a year is beyond every tier.
        instants = table.rule.instants(period.start, period.end)
        later = next(table.rule.parsed_schedule.between(period.end, period.end + dt.timedelta(days=400)), None)
        ends = [*instants[1:], later or period.end + dt.timedelta(days=400)]
        found += [Due(table, at, until) for at, until in zip(instants, ends, strict=True)] if instants else []
    return found


def settled_at(tables: Sequence[ProtectedTable], period: Period) -> dt.datetime:
    """Return when all of a period's backups have to be over: the time at which the watch can speak."""
    return max([period.end, *(due.complete_by for due in dues(tables, period))])


def judge(
    tables: Sequence[ProtectedTable],
    missing: Sequence[TableEntry],
    period: Period,
    evidence: Evidence,
    *,
    now: dt.datetime,
) -> Report:
    """Judge a period.

    Args:
        tables: that are protected.
        missing: entries of the file whose table does not exist.
        period: whose backups are meant.
        evidence: the facts.
        now: the present.
    """
    moment = min(now, settled_at(tables, period))
    return Report(
        period=period,
        moment=moment,
        findings=(
            *(_no_table(entry) for entry in missing),
            *(_judge_due(due, evidence, now) for due in dues(tables, period)),
        ),
        freshness=tuple(_freshness(table, evidence, moment, now) for table in tables),
        orphans=tuple(evidence.points.orphans),
        orphan_count=evidence.points.orphan_count,
    )


def _no_table(entry: TableEntry) -> Finding:
    return Finding(
        table=entry.label, status=Status.NO_TABLE, causes=(Cause.NO_TABLE,), remedies=(REMEDIES[Cause.NO_TABLE],)
    )


def _judge_due(due: Due, evidence: Evidence, now: dt.datetime) -> Finding:
    of_table = evidence.jobs.get(due.table.arn, ())
    made = [job for job in of_table if job.plan_id and due.instant - SLACK <= job.created_at < due.until - SLACK]
    if made:
        return _judge_job(due, max(made, key=_merit), of_table, evidence, now)
    point = next(iter(_witnesses(due, evidence.points)), None)
    if point is not None:
        completed = point.completed_at or point.created_at
        status = Status.FOUND if completed <= due.complete_by + SLACK else Status.LATE
        return _finding(
            due,
            status,
            source=Source.POINTS,
            point_arn=point.arn,
            causes=[Cause.WINDOW] if status is Status.LATE else [],
        )
    if now < due.start_by:
        return _finding(due, Status.NOT_YET, source=Source.JOBS)
    facts = evidence.look(due.table.arn)
    if facts is not None and facts.created_at > due.instant:
        return _finding(due, Status.NOT_EXPECTED, source=Source.NOTHING, message="the table was made later")
    source = evidence.covers(due.instant - SLACK, due.start_by + SLACK)
    if source is None:
        return _finding(
            due,
            Status.UNKNOWN,
            source=Source.NOTHING,
            message="AWS Backup lists jobs for 30 days, no earlier watch looked at that day, and no recovery point of "
            "a plan is left of it",
        )
    causes = (
        why_missing(due.table, due.instant, facts, evidence.plans(), opted_in=evidence.opted_in)
        if facts is not None
        else [Cause.NO_TABLE]
    )
    return _finding(due, Status.MISSING, source=source, causes=causes, remedy=NO_JOB_REMEDY)


def _judge_job(due: Due, job: Job, of_table: Sequence[Job], evidence: Evidence, now: dt.datetime) -> Finding:
    source = evidence.covers(job.created_at, job.created_at) or Source.STORE
    causes: list[Cause] = []
    if job.state == "COMPLETED":
        in_time = (job.completed_at or job.created_at) <= due.complete_by + SLACK
        status = Status.FOUND if in_time else Status.LATE
        if not in_time:
            causes = [Cause.WINDOW]
    elif job.is_over:
        status, causes = Status(job.state), [why_ended_badly(job, of_table)]
    elif source is Source.STORE:
        # An earlier watch saw it under way, and nobody has seen its end.
        status = Status.UNKNOWN
    elif now <= due.complete_by:
        status = Status.NOT_YET
    else:
        status, causes = Status.LATE, [Cause.WINDOW]
    return _finding(
        due, status, source=source, causes=causes, job_id=job.job_id, point_arn=job.point_arn, message=_words(job)
    )


def _words(job: Job) -> str | None:
    if job.state == "COMPLETED" and job.category not in {None, "", "SUCCESS"}:
        return f"completed with issues ({job.category}): {job.message or 'AWS gives no reason'}"
    return job.message


def _merit(job: Job) -> tuple[bool, bool, dt.datetime]:
    """A completed job vouches for the backup whatever others came to; among equals the last counts."""
    return job.state == "COMPLETED", not job.is_over, job.created_at


def _witnesses(due: Due, points: PointSurvey) -> Iterator[Point]:
    found = points.witnesses.get(due.table.arn, ())
    yield from (p for p in found if due.instant - SLACK <= p.created_at < due.until - SLACK)


def _finding(
    due: Due,
    status: Status,
    *,
    source: Source,
    causes: Sequence[Cause] = (),
    remedy: str = REMEDIES[Cause.OTHER],
    job_id: str | None = None,
    point_arn: str | None = None,
    message: str | None = None,
) -> Finding:
    remedies = tuple(REMEDIES[cause] for cause in causes)
    if status.outcome is Outcome.BROKEN and not remedies:
        remedies = (remedy,)
    return Finding(
        table=due.table.name,
        status=status,
        tier=due.table.rule.tier,
        due=due.instant,
        complete_by=due.complete_by,
        job_id=job_id,
        point_arn=point_arn,
        message=message,
        source=str(source),
        causes=tuple(causes),
        remedies=remedies,
    )


def _freshness(table: ProtectedTable, evidence: Evidence, moment: dt.datetime, now: dt.datetime) -> Freshness:
    target = table.rule.rpo
    newest = evidence.points.newest.get(table.arn)
    age = None if newest is None else moment - newest.created_at

    def told(status: Status, *causes: Cause, message: str | None = None) -> Freshness:
        return Freshness(
            table=table.name,
            status=status,
            target=target,
            age=age,
            point_arn=newest.arn if newest else None,
            message=message,
            causes=causes,
            remedies=tuple(REMEDIES[cause] for cause in causes),
        )

    if age is not None and age <= target:
        return told(Status.MET)
    facts = evidence.look(table.arn)
    if facts is not None and facts.created_at > moment - target:
        return told(Status.NOT_EXPECTED, message="the table is younger than its target")
    gone = [
        job
        for job in evidence.jobs.get(table.arn, ())
        if job.state == "COMPLETED"
        and job.created_at >= moment - target
        and (job.completed_at or job.created_at) <= moment
    ]
    if gone:
        message = f"job {gone[-1].job_id} made {gone[-1].point_arn}, which is gone since"
        if now - moment <= PRESENT:
            return told(Status.TOO_OLD, Cause.POINT_GONE, message=message)
        return told(Status.UNKNOWN, message=f"{message}; whether it was there then, nothing tells")
    if evidence.covers(moment - target, moment) is None:
        return told(
            Status.UNKNOWN,
            message="no recovery point of that time is left, and the jobs of that time are not known without gaps",
        )
    return told(Status.TOO_OLD, message="see what this period's jobs came to" if newest else "there is none at all")
