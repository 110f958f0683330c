"""What stands in the reports of AWS Backup Audit Manager about jobs.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/choosing-report-template.html. The columns are those of AWS's
samples; what a job does not have is empty. `statusMessage` is in no sample: it is here since a report is there to tell
why a job failed.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from local_aws.backup.backup_jobs import BackupJob
from local_aws.backup.copy_jobs import CopyJob
from local_aws.backup.events import iso
from local_aws.backup.restore_jobs import RestoreJob

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

PERIOD: Final = timedelta(hours=24)
Row = dict[str, Any]
Rows = Callable[["BackupBackend"], Iterable[tuple[BackupJob | CopyJob | RestoreJob, Row]]]


def rows_of(template: str, backends: Iterable["BackupBackend"], now: datetime) -> list[Row]:
    """Return a report's rows: of the jobs that ended in the 24 hours before now, and of those not over by then.

    Args:
        template: One of `TEMPLATES`.
        backends: The Regions that are reported on.
        now: The end of the period.
    """
    since = now - PERIOD
    rows = []
    for backend in backends:
        start = {
            "reportTimePeriodStart": _second(since),
            "reportTimePeriodEnd": _second(now),
            "accountId": backend.account_id,
            "region": backend.region_name,
        }
        for job, row in TEMPLATES[template](backend):
            if job.created_at <= now and (job.ended_at is None or job.ended_at > since):
                rows.append(start | row)
    return rows


def as_json(rows: Iterable[Row]) -> bytes:
    """Return a report as JSON; members without a value are left out."""
    items = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return json.dumps({"reportItems": items}, indent=2).encode()


def as_csv(template: str, rows: Iterable[Row]) -> bytes:
    """Return a report as CSV, its first line the names of the columns, also where it has no rows."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS[template], restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _backup_rows(backend: "BackupBackend") -> Iterable[tuple[BackupJob, Row]]:
    for job in backend.backup_jobs.listed():
        shown = job.to_result(backend.account_id)
        yield (
            job,
            {
                "backupJobId": job.job_id,
                "jobStatus": shown["State"],
                "statusMessage": shown["StatusMessage"],
                "resourceType": shown["ResourceType"],
                "resourceArn": shown["ResourceArn"],
                "resourceName": shown["ResourceName"],
                **_rule(shown),
                "initiationDate": iso(shown["InitiationDate"]),
                "startWindowEnd": iso(shown["StartBy"]),
                **_times(job),
                "recoveryPointArn": shown["RecoveryPointArn"],
                "backupSizeInBytes": shown["BackupSizeInBytes"],
                "backupVaultName": shown["BackupVaultName"],
                "backupVaultArn": shown["BackupVaultArn"],
                "iamRoleArn": shown["IamRoleArn"],
            },
        )


def _copy_rows(backend: "BackupBackend") -> Iterable[tuple[CopyJob, Row]]:
    for job in backend.copy_jobs.listed():
        shown = job.to_result(backend.account_id)
        yield (
            job,
            {
                "copyJobId": job.job_id,
                "jobStatus": shown["State"],
                "statusMessage": shown["StatusMessage"],
                "resourceType": shown["ResourceType"],
                "resourceArn": shown["ResourceArn"],
                "resourceName": shown["ResourceName"],
                **_rule(shown),
                **_times(job),
                "backupSizeInBytes": shown["BackupSizeInBytes"],
                "sourceRecoveryPointArn": shown["SourceRecoveryPointArn"],
                "sourceBackupVaultArn": shown["SourceBackupVaultArn"],
                "destinationRecoveryPointArn": shown["DestinationRecoveryPointArn"],
                "destinationBackupVaultArn": shown["DestinationBackupVaultArn"],
                "iamRoleArn": shown["IamRoleArn"],
            },
        )


def _restore_rows(backend: "BackupBackend") -> Iterable[tuple[RestoreJob, Row]]:
    for job in backend.restore_jobs.listed():
        shown = job.to_result(backend.account_id)
        yield (
            job,
            {
                "restoreJobId": job.job_id,
                "jobStatus": shown["Status"],
                "statusMessage": shown["StatusMessage"],
                "resourceType": shown["ResourceType"],
                "recoveryPointArn": shown["RecoveryPointArn"],
                **_times(job),
                "backupSizeInBytes": shown["BackupSizeInBytes"],
                "createdResourceArn": shown["CreatedResourceArn"],
                "iamRoleArn": shown["IamRoleArn"],
            },
        )


def _rule(shown: Mapping[str, Any]) -> Row:
    by = shown["CreatedBy"] or {}
    return {
        "backupPlanArn": by.get("BackupPlanArn"),
        "backupRuleId": by.get("BackupRuleId"),
        "backupPlanName": by.get("BackupPlanName"),
        "backupRuleName": by.get("BackupRuleName"),
        "backupRuleSchedule": by.get("BackupRuleCron"),
        "backupRuleTimezone": by.get("BackupRuleTimezone"),
    }


def _times(job: BackupJob | CopyJob | RestoreJob) -> Row:
    return {
        "creationDate": iso(job.created_at),
        "completionDate": iso(job.ended_at),
        "jobRunTime": _clock_time(job.ended_at - job.created_at) if job.ended_at is not None else None,
    }


def _clock_time(span: timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}"


def _second(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


TEMPLATES: Final[Mapping[str, Rows]] = {
    "BACKUP_JOB_REPORT": _backup_rows,
    "COPY_JOB_REPORT": _copy_rows,
    "RESTORE_JOB_REPORT": _restore_rows,
}
_PERIOD_AND_PLACE: Final = ("reportTimePeriodStart", "reportTimePeriodEnd", "accountId", "region")
_STATUS: Final = ("jobStatus", "statusMessage", "resourceType")
_RESOURCE: Final = ("resourceArn", "resourceName")
_PLAN: Final = (
    "backupPlanArn",
    "backupRuleId",
    "backupPlanName",
    "backupRuleName",
    "backupRuleSchedule",
    "backupRuleTimezone",
)
_TIMES: Final = ("creationDate", "completionDate", "jobRunTime")
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "BACKUP_JOB_REPORT": (
        *_PERIOD_AND_PLACE,
        "backupJobId",
        *_STATUS,
        *_RESOURCE,
        *_PLAN,
        "initiationDate",
        "startWindowEnd",
        *_TIMES,
        "recoveryPointArn",
        "backupSizeInBytes",
        "backupVaultName",
        "backupVaultArn",
        "iamRoleArn",
    ),
    "COPY_JOB_REPORT": (
        *_PERIOD_AND_PLACE,
        "copyJobId",
        *_STATUS,
        *_RESOURCE,
        *_PLAN,
        *_TIMES,
        "backupSizeInBytes",
        "sourceRecoveryPointArn",
        "sourceBackupVaultArn",
        "destinationRecoveryPointArn",
        "destinationBackupVaultArn",
        "iamRoleArn",
    ),
    "RESTORE_JOB_REPORT": (
        *_PERIOD_AND_PLACE,
        "restoreJobId",
        *_STATUS,
        "recoveryPointArn",
        *_TIMES,
        "backupSizeInBytes",
        "createdResourceArn",
        "iamRoleArn",
    ),
}
