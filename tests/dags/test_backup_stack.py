"""How the stack's deployment is wired."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from airflow.sdk.exceptions import ParamValidationError


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["backup_stack"]


def test_it_deploys_and_then_looks_for_itself(dag):
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "skip_switch": set(),
        "deploy_stack": {"skip_switch"},
        "check_resources": {"deploy_stack"},
    }


def test_the_template_is_the_projects(dag):
    template = Path(dag.get_task("deploy_stack").template_path)
    assert template.is_absolute()
    assert "AWS::DynamoDB::Table" in template.read_text(encoding="utf-8")


def test_it_has_no_past_and_one_run_at_a_time(dag):
    assert dag.schedule is None
    assert dag.max_active_runs == 1
    assert dag.get_task("check_resources").retries == 0


def test_the_stack_that_is_deployed_is_the_one_that_is_checked(dag):
    asked = dag.get_task("check_resources").op_kwargs["stack_name"]
    assert asked == dag.get_task("deploy_stack").stack_name == "{{ params.stack_name }}"


@pytest.mark.parametrize("name", ["", "1st", "a b", "a_b", "a" * 129, None])
def test_the_form_refuses_what_cloudformation_would(dag, name):
    with pytest.raises(ParamValidationError):
        copy.copy(dag.params.get_param("stack_name")).resolve(name)
