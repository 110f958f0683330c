from __future__ import annotations

import datetime as dt
import json

import pytest

from aws_backup.summaries import summarise_backup_job, summarise_recovery_point, summarise_restore_job

MADE = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)
DONE = dt.datetime(2026, 1, 2, 3, 9, tzinfo=dt.UTC)


def test_a_backup_job() -> None:
    summary = summarise_backup_job(
        {
            "BackupJobId": "job-1",
            "State": "COMPLETED",
            "ResourceArn": "table",
            "RecoveryPointArn": "point",
            "BackupVaultName": "v",
            "BackupSizeInBytes": 2048,
            "MessageCategory": "SUCCESS",
            "CreationDate": MADE,
            "CompletionDate": DONE,
            "PercentDone": "100.0",
        }
    )
    assert summary == {
        "job_id": "job-1",
        "state": "COMPLETED",
        "status_message": None,
        "resource_arn": "table",
        "recovery_point_arn": "point",
        "backup_vault_name": "v",
        "size_bytes": 2048,
        "message_category": "SUCCESS",
        "creation_date": "2026-01-02T03:04:05.678000+00:00",
        "completion_date": "2026-01-02T03:09:00+00:00",
    }


def test_a_restore_job() -> None:
    summary = summarise_restore_job(
        {
            "RestoreJobId": "restore-1",
            "Status": "COMPLETED",
            "RecoveryPointArn": "point",
            "CreatedResourceArn": "made",
            "CreationDate": MADE,
        }
    )
    assert summary["job_id"] == "restore-1"
    assert summary["created_resource_arn"] == "made"
    assert summary["completion_date"] is None


def test_a_recovery_point() -> None:
    summary = summarise_recovery_point(
        {"RecoveryPointArn": "point", "Status": "EXPIRED", "StatusMessage": "no rights", "CreationDate": MADE}
    )
    assert summary["recovery_point_arn"] == "point"
    assert summary["status_message"] == "no rights"
    assert "job_id" not in summary


@pytest.mark.parametrize(
    "summary",
    [
        summarise_backup_job({"BackupJobId": "j", "State": "RUNNING", "CreationDate": MADE}),
        summarise_restore_job({"RestoreJobId": "j", "Status": "RUNNING", "CreationDate": MADE}),
        summarise_recovery_point({"RecoveryPointArn": "p", "Status": "CREATING", "CreationDate": MADE}),
    ],
)
def test_a_summary_is_plain_json(summary: object) -> None:
    assert json.loads(json.dumps(summary)) == summary
