"""Guards: the skip switch of each DAG, and what must hold before a run touches anything."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import Variable, get_current_context, task

log = logging.getLogger(__name__)

MIN_SETTLE_SECONDS = 60
"""AWS speaks of "up to a minute" before and after a backup request; less proves nothing there."""


def skip_variable(dag_id: str) -> str:
    """Return the name of the Airflow Variable that switches a DAG off."""
    return f"skip_{dag_id}"


def is_on(value: Any) -> bool:
    """Say whether a skip switch is set: true, 1, yes, on (any case)."""
    return str(value).strip().lower() in {"true", "1", "yes", "on"}


@task.short_circuit(task_id="skip_switch")
def skip_switch() -> bool:
    """Go on unless the DAG's skip Variable is set; say so, and how to undo it, when it is."""
    context = get_current_context()
    name = skip_variable(context["dag_run"].dag_id)
    if not is_on(Variable.get(name, default="false")):
        return True
    log.warning("Skipped: the Airflow Variable %s is on. Set it to false, or delete it, to run again.", name)
    return False


class SettleTooShortError(ValueError):
    """A settle time that proves nothing on real AWS was asked for."""


def ensure_settle_allowed(settle_seconds: int, *, local: bool) -> None:
    """Refuse a settle time below AWS's minute of uncertainty, except on a local AWS.

    :raises SettleTooShortError: names the least value.
    """
    if not local and settle_seconds < MIN_SETTLE_SECONDS:
        raise SettleTooShortError(
            f"settle_seconds is {settle_seconds}, but on AWS a backup may miss what was written up to a minute "
            f"before its request: give at least {MIN_SETTLE_SECONDS} (the default is 120)."
        )
