"""Addresses outside of the console: Airflow's own pages, and the AWS Backup console.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

_DOMAINS: Final[Mapping[str, str]] = {"aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com"}


def dag(base: str, dag_id: str) -> str:
    """Return the page of a DAG.

    Args:
        base: path below which Airflow's UI lies, without a slash at its end.
        dag_id: the DAG.
    """
    return f"{base}/dags/{quote(dag_id, safe='')}"


def run(base: str, dag_id: str, run_id: str) -> str:
    """Return the page of a DAG run."""
    return f"{dag(base, dag_id)}/runs/{quote(run_id, safe='')}"


def run_by_name(base: str, name: str | None) -> str | None:
    """Return the page of a run that is named ``<dag_id>/<run_id>``; None where it is not."""
    dag_id, slash, run_id = (name or "").partition("/")
    return run(base, dag_id, run_id) if slash and dag_id and run_id else None


def aws(arn: str, region: str, place: str) -> str:
    """Return a page of the AWS Backup console.

    Args:
        arn: of anything there: its partition decides which console is meant.
        region: AWS Region.
        place: after the ``#``.
    """
    domain = _DOMAINS.get(arn.split(":")[1] if arn.startswith("arn:") else "", "aws.amazon.com")
    return f"https://{region}.console.{domain}/backup/home?region={quote(region, safe='')}#{place}"


def backup_job(arn: str, region: str, job_id: str) -> str:
    """Return the page of a backup job."""
    return aws(arn, region, f"/jobs/backup/details/{quote(job_id, safe='')}")


def restore_job(arn: str, region: str, job_id: str) -> str:
    """Return the page of a restore job."""
    return aws(arn, region, f"/jobs/restore/details/{quote(job_id, safe='')}")


def recovery_point(arn: str, region: str, vault: str) -> str:
    """Return the page of a recovery point; an ARN of a DynamoDB backup has slashes in it."""
    return aws(arn, region, f"/backupvaults/details/{quote(vault, safe='')}/{quote(arn, safe='')}")
