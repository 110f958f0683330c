"""The one place that answers "for which date is this run?" and "what time is it?".

Airflow 3 gives a manual or asset-triggered run no logical date and no data interval (the context keys are
absent), so a DAG that reads ``ds`` breaks when somebody presses *Trigger*. Everything here works on
``as_of`` instead: the logical date where there is one, else the moment the run was due (``run_after``).

See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dag-run.html
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any


def utcnow() -> dt.datetime:
    """Return the current time (aware, UTC). Logic takes ``now`` as an argument; only task edges call this."""
    return dt.datetime.now(tz=dt.UTC)


def run_as_of(context: Mapping[str, Any]) -> dt.datetime:
    """Return the moment that a run stands for (aware, UTC).

    :param context: the task context. Only ``dag_run`` is read.
    :return: ``dag_run.logical_date``, or ``dag_run.run_after`` for a run that has none.
    """
    dag_run = context["dag_run"]
    moment: dt.datetime = dag_run.logical_date or dag_run.run_after
    return moment.astimezone(dt.UTC)


def as_of_date(context: Mapping[str, Any]) -> str:
    """Return the run's date as ``YYYY-MM-DD`` (UTC)."""
    return run_as_of(context).date().isoformat()


def run_key(dag_id: str, run_id: str) -> str:
    """Return eight hex digits that stand for one run in names with a small alphabet (tables, S3 keys)."""
    return hashlib.sha256(f"{dag_id}/{run_id}".encode()).hexdigest()[:8]
