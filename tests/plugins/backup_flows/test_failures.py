"""What a task fails by reaches the tasks after it, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.context import set_current_context

from backup_flows.failures import FAILURE, TellsFailure, tell_failure, tells_failure


@pytest.mark.parametrize("error", [ValueError("bad"), AirflowTaskTimeout("too late"), KeyError()])
def test_a_failure_is_told_and_goes_on(context, error: BaseException):
    with pytest.raises(type(error)) as raised, tell_failure(context):
        raise error
    assert raised.value is error
    told = {"type": type(error).__name__, "message": str(error) or type(error).__name__}
    context["ti"].xcom_push.assert_called_once_with(key=FAILURE, value=told)


@pytest.mark.parametrize(
    "end", [AirflowSkipException("nothing to do"), TaskDeferred(trigger=None, method_name="x"), KeyboardInterrupt()]
)
def test_what_is_no_failure_is_not_told(context, end: BaseException):
    with pytest.raises(type(end)), tell_failure(context):
        raise end
    context["ti"].xcom_push.assert_not_called()


def test_what_can_not_be_told_does_not_hide_the_failure(context):
    context["ti"].xcom_push.side_effect = ConnectionError("no api-server")
    with pytest.raises(ValueError, match="bad") as raised, tell_failure(context):
        raise ValueError("bad")
    assert "no api-server" in raised.value.__notes__[0]


def test_a_tasks_function_keeps_its_name_and_result(context):
    @tells_failure
    def double(number: int) -> int:
        """Double it."""
        return number * 2

    with set_current_context(context):
        assert double(4) == 8
        with pytest.raises(TypeError):
            double(None)  # type: ignore[arg-type]
    assert (double.__name__, double.__doc__) == ("double", "Double it.")
    assert context["ti"].xcom_push.call_args.kwargs["value"]["type"] == "TypeError"


def test_an_operator_tells_before_and_after_it_was_deferred(context):
    class Base:
        def execute(self, context: Any) -> Any:
            raise ValueError("at once")

        def execute_complete(self, context: Any, event: Any = None) -> Any:
            raise ValueError(f"in the end: {event}")

    class Telling(TellsFailure, Base):
        pass

    with pytest.raises(ValueError, match="at once"):
        Telling().execute(context)
    with pytest.raises(ValueError, match="in the end"):
        Telling().execute_complete(context, {"x": 1})
    told = [call.kwargs["value"]["message"] for call in context["ti"].xcom_push.call_args_list]
    assert told == ["at once", "in the end: {'x': 1}"]
