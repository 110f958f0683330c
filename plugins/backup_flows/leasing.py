"""Take and release the lease of the orders table, as setup and teardown of load and backup."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.configuration import conf

from backup_flows.as_of import utcnow
from backup_flows.aws import client
from backup_flows.lease import LeaseLostError, LeaseStore
from backup_flows.operators import AcquireTableLeaseOperator, lease_owner

log = logging.getLogger(__name__)

LEASE_TASK = "acquire_lease"
LEASE_WAIT = dt.timedelta(hours=24)


def lease_seconds() -> int:
    """Return how long a claim on a table goes unquestioned (``[backup_flows] lease_seconds``, default 900)."""
    seconds: int = conf.getint("backup_flows", "lease_seconds", fallback=900)
    return seconds


def lease_table(resources: Any) -> AcquireTableLeaseOperator:
    """Return the task that takes the table's lease.

    ``[backup_flows] lease_seconds`` (default 900) says how long a claim goes unquestioned, and
    ``[backup_flows] lease_poll_seconds`` (default 5) how often those who wait look.
    """
    return AcquireTableLeaseOperator(
        task_id=LEASE_TASK,
        table_name=resources["table"],
        lease_table=resources["lease_table"],
        lease_seconds=lease_seconds(),
        poll_seconds=conf.getfloat("backup_flows", "lease_poll_seconds", fallback=5.0),
        wait_timeout=LEASE_WAIT.total_seconds(),
        execution_timeout=dt.timedelta(minutes=30),
        # A worker that dies while it takes the lease has it or stands in the queue: the next try finds both.
        retries=5,
    )


@task(task_id="release_lease", retries=5)
def release_lease(resources: dict[str, Any]) -> bool:
    """Give the table's lease back, whatever became of the run.

    :return: False if the run did not hold it any more.
    """
    owner = lease_owner(get_current_context())
    held = LeaseStore(client("dynamodb"), resources["lease_table"], clock=utcnow).release(resources["table"], owner)
    log.info("Lease of %s %s", resources["table"], "released" if held else "was not held")
    return held


def ensure_lease(lease: dict[str, Any]) -> None:
    """Check, before a write or a fingerprint, that the run still holds its table's lease.

    :raises backup_flows.lease.LeaseLostError: it does not.
    """
    store = LeaseStore(client("dynamodb"), lease["lease_table"], clock=utcnow, lease_seconds=lease_seconds())
    store.ensure_held(lease["table_name"], lease["owner"], lease["fence"])


def ensure_run_holds_lease(context: Any) -> dict[str, Any]:
    """Check that the run still holds the lease that it took; return what the lease operator returned.

    For tasks that can't take it as an argument: right after a setup, Airflow allows no trigger rule but the default.

    :raises backup_flows.lease.LeaseLostError: it does not.
    """
    lease: dict[str, Any] | None = context["ti"].xcom_pull(task_ids=LEASE_TASK)
    if lease is None:
        raise LeaseLostError(f"this run has no lease: its task {LEASE_TASK} has not ended well. Clear that task.")
    ensure_lease(lease)
    return lease
