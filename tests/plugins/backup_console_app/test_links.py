"""Addresses outside of the console."""

from __future__ import annotations

import pytest

from backup_console_app import links

ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:1"
PLAIN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/backup/01"


def test_runs_have_their_page_in_airflow_whatever_their_ids_are():
    assert (
        links.run("/air", "a_dag", "manual__2026-11-20T00:00:00+00:00/x")
        == "/air/dags/a_dag/runs/manual__2026-11-20T00%3A00%3A00%2B00%3A00%2Fx"
    )
    assert links.run_by_name("", "a_dag/manual__1") == "/dags/a_dag/runs/manual__1"


@pytest.mark.parametrize("name", [None, "", "a_dag", "/run", "a_dag/"])
def test_what_names_no_run_has_no_page(name):
    assert links.run_by_name("", name) is None


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        (ARN, "us-east-1.console.aws.amazon.com"),
        (ARN.replace("arn:aws:", "arn:aws-cn:"), "us-east-1.console.amazonaws.cn"),
        (ARN.replace("arn:aws:", "arn:aws-us-gov:"), "us-east-1.console.amazonaws-us-gov.com"),
        ("", "us-east-1.console.aws.amazon.com"),
    ],
)
def test_the_partition_decides_which_console_is_meant(arn, host):
    assert links.backup_job(arn, "us-east-1", "job-1") == (
        f"https://{host}/backup/home?region=us-east-1#/jobs/backup/details/job-1"
    )


def test_an_arn_with_slashes_is_one_part_of_the_address():
    assert links.recovery_point(PLAIN, "us-east-1", "v").endswith(
        "#/backupvaults/details/v/arn%3Aaws%3Adynamodb%3Aus-east-1%3A123456789012%3Atable%2Forders%2Fbackup%2F01"
    )
    assert "#/jobs/restore/details/a%2Fb" in links.restore_job(ARN, "us-east-1", "a/b")
