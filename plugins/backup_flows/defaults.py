"""What all DAGs share: default arguments, time limits, retries by kind of work, assets, tags.

Retries by kind: tasks that only read or that are safe to run twice are repeated a few times; a task that
starts something on AWS is repeated too, because its idempotency token makes the second try find the first
try's job; a proof is not repeated, because a second look must not turn a FAILED verdict into a pass.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from backup_flows.notify import on_deadline_missed, on_task_failure

OWNER = "data-protection"
TAGS = ["backup"]
START_DATE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

TASK_LIMIT = dt.timedelta(minutes=30)
"""``execution_timeout`` of a task that does not say otherwise."""
BACKUP_LIMIT = dt.timedelta(hours=10)
"""AWS's default start window is 8 hours; then the job itself."""
LOAD_LIMIT = dt.timedelta(hours=6)
"""Handling a large order file: staging it, and each step of its load."""
RESTORE_LIMIT = dt.timedelta(hours=10)
"""95 % of restores take less than an hour; a large table with indexes may take many."""
SCAN_LIMIT = dt.timedelta(hours=4)
"""Reading a large table, or one part of it."""
MAPPED_MAY_BE_SKIPPED = "none_failed_min_one_success"
"""Trigger rule of what follows mapped tasks that are skipped where there is nothing to map over."""

DEFAULT_ARGS: dict[str, Any] = {
    "owner": OWNER,
    "retries": 2,
    "retry_delay": dt.timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": dt.timedelta(minutes=10),
    "execution_timeout": TASK_LIMIT,
    "on_failure_callback": on_task_failure,
}

NO_RETRY: dict[str, Any] = {"retries": 0}

ORDERS_TABLE = Asset(name="orders_table", uri="dynamodb-table://orders", group="backup")
RECOVERY_POINT = Asset(name="orders_recovery_point", uri="aws-backup://orders/recovery-point", group="backup")
VERDICT = Asset(name="orders_verdict", uri="aws-backup://orders/verdict", group="backup")
DRILL_REQUEST = Asset(name="drill_request", uri="aws-backup://drill-request", group="backup")
"""One event per recovery point that is to be proven before it is lost: ``recovery_point_arn``, ``table``, ``vault``,
``reason`` and ``lost_at`` (ISO 8601; null: only our own cleanup waits for it) in the event's extra."""
DRILL_VERDICT = Asset(name="drill_verdict", uri="aws-backup://drill-verdict", group="backup")
"""One event for each verdict of a drill: extra ``table, recovery_point_arn, verdict, as_of, report, reason``."""


def deadline(limit: dt.timedelta) -> DeadlineAlert:
    """Return the alert of a run that is not over ``limit`` after it was queued.

    DAGs with a teardown have no ``dagrun_timeout``: Airflow would mark the teardown skipped.
    """
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # Seconds, which Airflow reads as well: with a timedelta here, Airflow 3.3 answers every clear of a task
        # with an internal error (https://github.com/apache/airflow/issues/70368).
        interval=limit.total_seconds(),  # type: ignore[arg-type]
        callback=AsyncCallback(on_deadline_missed, kwargs={}),
    )
