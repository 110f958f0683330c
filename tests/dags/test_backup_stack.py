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
        "rule_parameters": {"skip_switch"},
        "deploy_stack": {"rule_parameters"},
        "check_resources": {"deploy_stack"},
        "proof_wanted": {"check_resources"},
        "open_probe": {"proof_wanted"},
        "wait_for_probe": {"open_probe"},
        "try_everything": {"wait_for_probe"},
        "close_probe": {"open_probe", "try_everything"},
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


def test_the_probe_is_removed_whatever_happens(dag):
    assert dag.get_task("open_probe").is_setup
    assert dag.get_task("close_probe").is_teardown
    assert dag.get_task("close_probe").on_failure_fail_dagrun
    assert dag.get_task("wait_for_probe").deferrable
    assert dag.get_task("try_everything").retries == 0


def test_the_parameters_form_takes_values_only(dag):
    param = dag.params.get_param("parameters")
    assert copy.copy(param).resolve({"DeleteAfterDays": 400, "BackupTag": "x"}) == {
        "DeleteAfterDays": 400,
        "BackupTag": "x",
    }
    with pytest.raises(ParamValidationError):
        copy.copy(param).resolve({"BackupTag": ["x"]})
