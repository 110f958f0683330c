"""Collect the facts of one watch from AWS and from what earlier watches stored."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import ClientError

from aws_backup.hooks.backup import BackupHook
from backup_flows.protection import ProtectedTable
from backup_flows.watch.facts import Job, Plan, Point, PointSurvey, TableFacts
from backup_flows.watch.judge import SLACK, Evidence, Source
from backup_flows.watch.report import Period
from backup_flows.watch.store import (
    DAY,
    DayOfJobs,
    day_start,
    days_of,
    listed_span,
    merge_day,
    read_days,
    write_day,
)

log = logging.getLogger(__name__)

DYNAMODB = "DynamoDB"


@dataclass(frozen=True)
class Surroundings:
    """Where to look.

    Attributes:
        clients: returns a low-level client for a service name.
        bucket: of what watches store.
        vault: of the stack, for rules that name none.
        table_arn: of any table of the account and Region.
    """

    hook: BackupHook
    clients: Callable[[str], Any]
    bucket: str
    vault: str
    table_arn: str

    @property
    def arn_prefix(self) -> str:
        """What the ARNs of this account's and Region's tables begin with."""
        return self.table_arn.rpartition("/")[0] + "/"


def gather(
    around: Surroundings, tables: Sequence[ProtectedTable], period: Period, moment: dt.datetime, now: dt.datetime
) -> Evidence:
    """Collect the evidence of a period, and store what is seen of jobs.

    Args:
        tables: that are protected.
        moment: for which the watch speaks.
        now: the present, on AWS's clock.
    """
    earliest = min([period.start, *(moment - table.rule.rpo for table in tables)]) - SLACK
    days = watch_jobs(around, earliest, moment, now)
    jobs: dict[str, list[Job]] = {}
    for day in days.values():
        for job in day.jobs:
            jobs.setdefault(job.table_arn, []).append(job)
    since, _ = listed_span(now)

    def covers(start: dt.datetime, end: dt.datetime) -> Source | None:
        if start >= since:
            return Source.JOBS
        for day in days_of(start, end):
            known = days.get(day)
            if max(start, day_start(day)) < since and not (known is not None and known.whole):
                return None
        return Source.STORE

    return Evidence(
        jobs=jobs,
        covers=covers,
        points=survey_points(around, tables, period, moment),
        plans=functools.cache(lambda: tuple(read_plans(around.hook))),
        opted_in=is_opted_in(around.clients("backup")),
        look=functools.cache(lambda arn: look_at_table(around.clients("dynamodb"), arn)),
    )


def watch_jobs(
    around: Surroundings, earliest: dt.datetime, moment: dt.datetime, now: dt.datetime
) -> dict[dt.date, DayOfJobs]:
    """List the jobs of the days between, put them over what is stored of those days, and store the outcome."""
    s3 = around.clients("s3")
    days = list(days_of(earliest, moment))
    stored = read_days(s3, around.bucket, days)
    since, _ = listed_span(now)
    start, end = max(day_start(days[0]), since), min(day_start(days[-1]) + DAY, now)
    listed: list[Job] = []
    if start < end:
        filters = {"ByResourceType": DYNAMODB, "ByCreatedAfter": start - SLACK, "ByCreatedBefore": end + SLACK}
        listed = [Job.from_api(job) for job in around.hook.list_backup_jobs(**filters)]
    found = {}
    for day in days:
        before = stored.get(day)
        if before is None and day_start(day) + DAY <= since:
            continue
        merged = merge_day(day, before, listed, now=now)
        write_day(s3, around.bucket, merged, before)
        found[day] = merged
    log.info("%s jobs listed from %s to %s; %s of %s days were stored", len(listed), start, end, len(stored), len(days))
    return found


def survey_points(
    around: Surroundings, tables: Sequence[ProtectedTable], period: Period, moment: dt.datetime
) -> PointSurvey:
    """Look through the recovery points of all vaults that protected tables use."""
    survey = PointSurvey(
        moment=moment,
        since=period.start - SLACK,
        plan_ids=frozenset(plan["BackupPlanId"] for plan in around.hook.list_plans()),
        table_arns=frozenset(_table_arns(around)),
        own=around.arn_prefix,
    )
    for vault in sorted({around.vault, *(table.rule.vault_or(around.vault) for table in tables)}):
        try:
            survey.add(map(Point.from_api, around.hook.list_recovery_points(vault, ByResourceType=DYNAMODB)))
        except AirflowNotFoundException:
            log.warning("Backup vault %s does not exist, so there is no recovery point in it", vault)
    return survey


def _table_arns(around: Surroundings) -> Iterator[str]:
    for page in around.clients("dynamodb").get_paginator("list_tables").paginate():
        for name in page["TableNames"]:
            yield f"{around.arn_prefix}{name}"


def read_plans(hook: BackupHook) -> Iterator[Plan]:
    """Read every plan with its rules and selections; one that is deleted meanwhile is left out."""
    for listed in hook.list_plans():
        plan_id = listed["BackupPlanId"]
        try:
            document = hook.get_plan(plan_id)["BackupPlan"]
            selections = tuple(
                hook.get_selection(plan_id, selection["SelectionId"])["BackupSelection"]
                for selection in hook.list_selections(plan_id)
            )
        except AirflowNotFoundException:
            continue
        yield Plan(
            plan_id=plan_id,
            name=document["BackupPlanName"],
            created_at=listed["CreationDate"].astimezone(dt.UTC),
            rules=tuple(document["Rules"]),
            selections=selections,
        )


def is_opted_in(backup: Any) -> bool:
    """Tell whether the Region's service opt-in for DynamoDB is on.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRegionSettings.html
    """
    return bool(backup.describe_region_settings()["ResourceTypeOptInPreference"].get(DYNAMODB) is not False)


def look_at_table(dynamodb: Any, arn: str) -> TableFacts | None:
    """Describe a table, or return None if it is gone."""
    try:
        table = dynamodb.describe_table(TableName=arn.rpartition("/")[2])["Table"]
        pages = dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
        tags = {tag["Key"]: tag["Value"] for page in pages for tag in page.get("Tags", [])}
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    return TableFacts(table["CreationDateTime"].astimezone(dt.UTC), tags)
