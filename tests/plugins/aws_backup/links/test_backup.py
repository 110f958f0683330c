from __future__ import annotations

from typing import Any

import pytest

from aws_backup.links.backup import (
    BackupJobLink,
    BackupPlanLink,
    BackupRecoveryPointLink,
    BackupRestoreJobLink,
    BackupVaultLink,
)

AT = {"region_name": "eu-west-1", "aws_domain": "aws.amazon.com"}
HOME = "https://console.aws.amazon.com/backup/home?region=eu-west-1"
PLAIN = "arn:aws:dynamodb:eu-west-1:1:table/orders/backup/0157"


@pytest.mark.parametrize(
    ("link", "values", "expected"),
    [
        (BackupJobLink(), {"backup_job_id": "job-1"}, "#/jobs/backup/details/job-1"),
        (BackupRestoreJobLink(), {"restore_job_id": "r-1"}, "#/jobs/restore/details/r-1"),
        (BackupPlanLink(), {"backup_plan_id": "p-1"}, "#/backupplan/details/p-1"),
        (BackupVaultLink(), {"backup_vault_name": "v"}, "#/backupvaults/details/v"),
        (
            BackupRecoveryPointLink(),
            {"backup_vault_name": "v", "recovery_point_arn": PLAIN},
            "#/backupvaults/details/v/arn%3Aaws%3Adynamodb%3Aeu-west-1%3A1%3Atable%2Forders%2Fbackup%2F0157",
        ),
    ],
)
def test_links_lead_to_the_console(link: Any, values: dict[str, str], expected: str) -> None:
    assert link.format_link(**AT, **values) == HOME + expected


@pytest.mark.parametrize(
    "link", [BackupJobLink(), BackupRestoreJobLink(), BackupVaultLink(), BackupPlanLink(), BackupRecoveryPointLink()]
)
def test_a_link_without_its_value_is_empty(link: Any) -> None:
    assert link.format_link(**AT) == ""


def test_keys_are_distinct() -> None:
    links = [BackupJobLink, BackupRestoreJobLink, BackupVaultLink, BackupPlanLink, BackupRecoveryPointLink]
    assert len({link.key for link in links}) == len({link.name for link in links}) == len(links)
