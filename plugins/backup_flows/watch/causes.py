"""Why a scheduled backup is missing or went wrong, and what to do about it.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aws_backup.selections import ChosenBy, chosen_by
from backup_flows.protection import ProtectedTable
from backup_flows.watch.facts import Job, Plan, TableFacts


class Cause(StrEnum):
    """What is to blame."""

    OPT_IN_OFF = "opt-in off"
    NO_PLAN = "no plan"
    NOT_SELECTED = "not selected"
    OTHER_SCHEDULE = "other schedule"
    PLAN_TOO_NEW = "plan too new"
    NO_TABLE = "no table"
    ROLE = "role lacks a right"
    WINDOW = "window too short"
    TWO_JOBS = "two jobs at once"
    VAULT = "no vault"
    LOCK = "retention against the lock"
    KEY = "key not usable"
    STOPPED = "stopped"
    PARTIAL = "partial"
    POINT_GONE = "recovery point gone"
    OTHER = "other"


REMEDIES: Final[Mapping[Cause, str]] = MappingProxyType(
    {
        Cause.OPT_IN_OFF: (
            "AWS Backup's service opt-in for DynamoDB is off in this Region, so plans pass over tables that they "
            "select by tag only. Switch it on (AWS Backup > Settings > Service opt-in, or UpdateRegionSettings with "
            "DynamoDB: true), or select the table by its ARN."
        ),
        Cause.NO_PLAN: (
            "No backup plan exists in this Region. Run the DAG backup_stack, or make the plan that protection.yaml "
            "asks for (BackupCreatePlanOperator)."
        ),
        Cause.NOT_SELECTED: (
            "No selection of any backup plan chooses the table. Run the DAG backup_stack to put the assignment back, "
            "or assign the table by its ARN or tag (BackupCreateSelectionOperator)."
        ),
        Cause.OTHER_SCHEDULE: (
            "The plans that choose the table are due at other times than protection.yaml says. Make the two agree: "
            "update the plan (DAG backup_stack, BackupUpdatePlanOperator) or the tier's schedule in the file."
        ),
        Cause.PLAN_TOO_NEW: (
            "The plan that chooses the table was made after this backup was due. Nothing to mend: the next one is due "
            "by the plan; back the table up on demand (DAG table_backup) if it can't wait."
        ),
        Cause.NO_TABLE: (
            "protection.yaml names a table that does not exist. Create or restore it, or take its entry out of the "
            "file."
        ),
        Cause.ROLE: (
            "The role of the selection lacks a right. Attach AWS's managed policies for AWS Backup (for backup and "
            "for restores), let the role trust backup.amazonaws.com, then back the table up on demand (DAG "
            "table_backup)."
        ),
        Cause.WINDOW: (
            "The window is too short: the job could not start or complete in time. Widen the start or completion "
            "window in protection.yaml and in the plan, or move the schedule away from other work on the table."
        ),
        Cause.TWO_JOBS: (
            "Two jobs wanted the table at once, and AWS Backup runs one backup or copy of a resource at a time. Move "
            "one of the two schedules, or widen the start window so that the second can wait."
        ),
        Cause.VAULT: "The rule's vault does not exist. Run the DAG backup_stack to make it, or correct the rule.",
        Cause.LOCK: (
            "The rule's retention is outside what the vault's lock allows. Change delete_after_days in "
            "protection.yaml and in the plan to lie between the lock's bounds."
        ),
        Cause.KEY: (
            "The KMS key can't be used: look whether it is disabled or waits for its deletion, and whether its policy "
            "lets the selection's role use it."
        ),
        Cause.STOPPED: (
            "Someone stopped the job (console, CLI, or a task that was killed). Back the table up on demand (DAG "
            "table_backup)."
        ),
        Cause.PARTIAL: (
            "The recovery point lacks a part, so nothing is proved by it. Look at the job in the AWS Backup console "
            "and back the table up again (DAG table_backup)."
        ),
        Cause.POINT_GONE: (
            "The backup was made and its recovery point is gone since. Find out who deleted it (CloudTrail: "
            "DeleteRecoveryPoint), restrict deletion (DAG deny_delete_proof), and back the table up again (DAG "
            "table_backup)."
        ),
        Cause.OTHER: "Look at the job and its message in the AWS Backup console, then back the table up on demand.",
    }
)

NO_JOB_REMEDY: Final = (
    "A plan chooses the table and was due, yet AWS Backup made no job. Look in CloudTrail and in AWS Backup's events "
    "for the rule, and whether the account was suspended; back the table up on demand (DAG table_backup)."
)

# AWS documents no list of messages; these words are in the ones that are public. The first that fits counts.
_MESSAGES: Final[Sequence[tuple[re.Pattern[str], Cause]]] = tuple(
    (re.compile(words, re.IGNORECASE), cause)
    for words, cause in (
        (r"running job|same resource|already in progress|concurrent", Cause.TWO_JOBS),
        (r"\bkms\b|encryption key|key policy", Cause.KEY),
        (r"not authori[sz]ed|access ?denied|cannot be assumed|assume|permission|insufficient privileges", Cause.ROLE),
        (r"retention|vault lock|lifecycle", Cause.LOCK),
        (r"vault .*(not exist|not found|cannot be found)|(no such|unknown) .*vault", Cause.VAULT),
        (r"opt(ed)?[- ]?in", Cause.OPT_IN_OFF),
        (r"table .*(not exist|not found)|requested resource not found", Cause.NO_TABLE),
        (r"before completion|window|expired", Cause.WINDOW),
        (r"\brole\b", Cause.ROLE),
    )
)


def why_ended_badly(job: Job, others: Iterable[Job]) -> Cause:
    """Tell why a job ended in FAILED, EXPIRED, ABORTED or PARTIAL.

    Args:
        job: the job.
        others: jobs of the same table, itself among them.
    """
    if job.state == "PARTIAL":
        return Cause.PARTIAL
    if job.state == "ABORTED":
        return Cause.STOPPED
    named = next((cause for words, cause in _MESSAGES if words.search(job.message or "")), None)
    if named is not None:
        return named
    if job.state != "EXPIRED":
        return Cause.OTHER
    return Cause.TWO_JOBS if any(_overlap(job, other) for other in others if other is not job) else Cause.WINDOW


def why_missing(
    table: ProtectedTable, instant: dt.datetime, facts: TableFacts, plans: Sequence[Plan], *, opted_in: bool
) -> list[Cause]:
    """Tell why no job was made, going by the settings as they are now.

    Returns:
        All that apply; none where the settings would have made one.
    """
    if not plans:
        return [Cause.NO_PLAN]
    chosen = [(plan, how) for plan in plans if (how := _how(plan, table.arn, facts.tags)) is not None]
    causes = [] if chosen else [Cause.NOT_SELECTED]
    if not opted_in and all(how is ChosenBy.TAG for _, how in chosen):
        causes.append(Cause.OPT_IN_OFF)
    if chosen and not any(_has_schedule(plan, table) for plan, _ in chosen):
        causes.append(Cause.OTHER_SCHEDULE)
    if chosen and all(plan.created_at > instant for plan, _ in chosen):
        causes.append(Cause.PLAN_TOO_NEW)
    return causes


def _how(plan: Plan, arn: str, tags: Mapping[str, str]) -> ChosenBy | None:
    ways = {chosen_by(selection, arn, tags) for selection in plan.selections}
    return next((way for way in (ChosenBy.ARN, ChosenBy.TAG) if way in ways), None)


def _has_schedule(plan: Plan, table: ProtectedTable) -> bool:
    wanted = table.rule.schedule.replace(" ", ""), table.rule.timezone.removeprefix("Etc/")
    return any(
        wanted
        == (
            str(rule.get("ScheduleExpression") or "cron(0 5 ? * * *)").replace(" ", ""),
            str(rule.get("ScheduleExpressionTimezone") or "UTC").removeprefix("Etc/"),
        )
        for rule in plan.rules
    )


def _overlap(job: Job, other: Job) -> bool:
    """Tell whether the other job had the table while this one waited for it."""
    far = dt.datetime.max.replace(tzinfo=dt.UTC)
    return other.created_at <= (job.completed_at or far) and (other.completed_at or far) >= job.created_at
