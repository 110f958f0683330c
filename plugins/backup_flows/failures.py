"""Why a task failed, told to the tasks after it: an exception's text is otherwise in the task's log alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

P = ParamSpec("P")
R = TypeVar("R")

FAILURE = "failure"
"""XCom key: ``type`` and ``message`` of what a task failed by. Airflow clears it when the task runs again."""


@contextmanager
def tell_failure(context: Any) -> Iterator[None]:
    """Push what the block fails by, a task's time limit included, to XCom; then let it go on."""
    try:
        yield
    except AirflowSkipException:
        raise
    except (Exception, AirflowTaskTimeout) as error:
        told = {"type": type(error).__name__, "message": str(error) or type(error).__name__}
        try:
            context["ti"].xcom_push(key=FAILURE, value=told)
        except Exception as lost:
            error.add_note(f"It could not be told to the tasks after this one either: {lost!r}")
        raise


def tells_failure(function: Callable[P, R]) -> Callable[P, R]:
    """Let a task's function tell what it fails by; stands below ``@task``."""

    @functools.wraps(function)
    def telling(*args: P.args, **kwargs: P.kwargs) -> R:
        with tell_failure(get_current_context()):
            return function(*args, **kwargs)

    return telling


class TellsFailure:
    """Let an operator tell what it fails by, before and after it was deferred; stands first among its bases."""

    def execute(self, context: Any) -> Any:
        """Run, and tell."""
        with tell_failure(context):
            return super().execute(context)  # type: ignore[misc]

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> Any:
        """Resume, and tell."""
        with tell_failure(context):
            return super().execute_complete(context, event)  # type: ignore[misc]
