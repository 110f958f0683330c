from __future__ import annotations

import pytest
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import DownstreamTasksSkipped

from backup_flows.guards import SettleTooShortError, ensure_settle_allowed, is_on, skip_switch, skip_variable

VARIABLE = "AIRFLOW_VAR_SKIP_ORDERS_BACKUP_RESTORE"


@pytest.mark.parametrize(
    ("value", "on"),
    [
        ("true", True),
        ("TRUE", True),
        (" yes ", True),
        ("1", True),
        ("on", True),
        (True, True),
        ("false", False),
        ("0", False),
        ("", False),
        ("no", False),
        ("maybe", False),
        (None, False),
    ],
)
def test_what_counts_as_on(value, on: bool):
    assert is_on(value) is on


def test_each_dag_has_a_variable_of_its_own():
    assert skip_variable("retention_cleanup") == "skip_retention_cleanup"


@pytest.mark.parametrize(("value", "goes_on"), [("true", False), ("false", True), (None, True)])
def test_the_switch_lets_the_run_go_on_unless_it_is_set(
    context, in_task, monkeypatch, value: str | None, goes_on: bool
):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert in_task(skip_switch, context) is goes_on


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_set_switch_skips_all_that_follows(context, monkeypatch, value: str):
    """As the task runner does it: the operator, within a DAG."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk.execution_time.context import set_current_context

    monkeypatch.setenv(VARIABLE, value)
    with DAG(dag_id="a_dag", schedule=None) as dag:
        switch = skip_switch()
        switch >> EmptyOperator(task_id="next") >> EmptyOperator(task_id="last")
    operator = dag.get_task("skip_switch")
    assert isinstance(operator, ShortCircuitOperator)
    context["task"] = operator
    with set_current_context(context):
        if value == "false":
            assert operator.execute(context) is True
            return
        with pytest.raises(DownstreamTasksSkipped) as skipped:
            operator.execute(context)
    assert set(skipped.value.tasks) == {"next", "last"}


@pytest.mark.parametrize("seconds", [60, 120, 3600])
def test_a_minute_and_more_is_allowed_everywhere(seconds: int):
    ensure_settle_allowed(seconds, local=False)


@pytest.mark.parametrize("seconds", [0, 59])
def test_less_is_allowed_on_a_local_aws_only(seconds: int):
    ensure_settle_allowed(seconds, local=True)
    with pytest.raises(SettleTooShortError, match=rf"{seconds}.*at least 60"):
        ensure_settle_allowed(seconds, local=False)
