"""The operators of plans and selections on the local AWS: what they make, change, leave alone and refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import boto3
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
from botocore.exceptions import ClientError

from aws_backup.hooks.backup import BackupHook
from aws_backup.operators.backup_plans import (
    BackupCreatePlanOperator,
    BackupCreateSelectionOperator,
    BackupDeletePlanOperator,
    BackupDeleteSelectionOperator,
    BackupPlanBaseOperator,
    BackupUpdatePlanOperator,
)
from aws_backup.plan_errors import (
    PlanAmbiguousError,
    PlanExistsError,
    PlanNotDeletedError,
    PlanNotOursError,
    SelectionExistsError,
)
from local_aws import mock_aws

pytestmark = pytest.mark.component

AWS: dict[str, Any] = {"aws_conn_id": None, "region_name": "us-east-1"}
OURS = {"managed-by": "us"}
ROLE = "arn:aws:iam::123456789012:role/AWSBackup-orders"
TABLES = "arn:aws:dynamodb:us-east-1:123456789012:table/"


def plan_document(**rule: Any) -> dict[str, Any]:
    return {
        "BackupPlanName": "orders",
        "Rules": [{"RuleName": "daily", "TargetBackupVaultName": "vault", "StartWindowMinutes": 60, **rule}],
    }


def selection_document(*tables: str, **members: Any) -> dict[str, Any]:
    arns = [TABLES + table for table in tables]
    return {"SelectionName": "tables", "IamRoleArn": ROLE, "Resources": arns, **members}


@pytest.fixture
def backup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client that all hooks use, on an AWS with one vault."""
    with mock_aws():
        client = boto3.client("backup", region_name="us-east-1")
        client.create_backup_vault(BackupVaultName="vault")
        monkeypatch.setattr(BackupHook, "get_client_type", lambda *args, **kwargs: client)
        yield client


@pytest.fixture
def run(context: Any) -> Callable[..., Any]:
    """Make and execute an operator."""

    def execute(operator: Callable[..., Any], **arguments: Any) -> Any:
        return operator(task_id="t", **AWS, **arguments).execute(context)

    return execute


@pytest.fixture
def plan_id(backup: Any, run: Callable[..., Any]) -> str:
    """A plan of ours."""
    return str(run(BackupCreatePlanOperator, backup_plan=plan_document(), tags=OURS))


def versions(backup: Any, plan_id: str) -> int:
    return len(backup.list_backup_plan_versions(BackupPlanId=plan_id)["BackupPlanVersionsList"])


def selections(backup: Any, plan_id: str) -> dict[str, dict[str, Any]]:
    listed = backup.list_backup_selections(BackupPlanId=plan_id)["BackupSelectionsList"]
    return {
        one["SelectionId"]: backup.get_backup_selection(BackupPlanId=plan_id, SelectionId=one["SelectionId"])[
            "BackupSelection"
        ]
        for one in listed
    }


# -- plans


def test_a_plan_is_created_with_its_tags(backup, run, plan_id, pushed):
    plan = backup.get_backup_plan(BackupPlanId=plan_id)
    assert plan["BackupPlan"]["Rules"][0]["StartWindowMinutes"] == 60
    assert backup.list_tags(ResourceArn=plan["BackupPlanArn"])["Tags"] == OURS
    assert pushed()["version_id"] == plan["VersionId"]
    assert pushed()["changes"] == ["created"]
    assert pushed()["backup_plan"]["backup_plan_id"] == plan_id


@pytest.mark.parametrize("if_exists", ["skip", "update"])
def test_creating_it_again_changes_nothing(backup, run, plan_id, pushed, if_exists):
    assert run(BackupCreatePlanOperator, backup_plan=plan_document(), if_exists=if_exists) == plan_id
    assert versions(backup, plan_id) == 1
    assert pushed()["changes"] == []


def test_a_create_whose_answer_was_lost_makes_no_second_plan(backup, run, plan_id, monkeypatch):
    monkeypatch.setattr(BackupHook, "find_plans", lambda hook, name: [])
    assert run(BackupCreatePlanOperator, backup_plan=plan_document(), tags=OURS) == plan_id


def test_a_plan_that_says_something_else_is_not_taken_in_silence(backup, run, plan_id):
    wanted = plan_document(StartWindowMinutes=90)
    with pytest.raises(PlanExistsError, match="StartWindowMinutes: 60 -> 90"):
        run(BackupCreatePlanOperator, backup_plan=wanted)
    with pytest.raises(PlanExistsError, match="if_exists is 'fail'"):
        run(BackupCreatePlanOperator, backup_plan=plan_document(), if_exists="fail")
    assert versions(backup, plan_id) == 1


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (BackupCreatePlanOperator, {"if_exists": "update"}),
        (BackupUpdatePlanOperator, {}),
    ],
)
def test_a_plan_is_updated_in_place_and_keeps_its_selections(
    backup, run, plan_id, pushed, monkeypatch, operator, arguments
):
    run(BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=selection_document("orders"))
    before = selections(backup, plan_id)
    wanted = plan_document(ScheduleExpression="cron(0 6 ? * * *)")
    told = mock.Mock(spec=["debug", "info", "warning"])
    monkeypatch.setattr(BackupPlanBaseOperator, "log", told)
    assert run(operator, backup_plan=wanted, **arguments) == plan_id
    change = 'rule daily: ScheduleExpression: "cron(0 5 ? * * *)" -> "cron(0 6 ? * * *)"'
    assert pushed()["changes"] == [change]
    told.info.assert_any_call("Backup plan %s: %s", plan_id, change)
    assert versions(backup, plan_id) == 2
    assert selections(backup, plan_id) == before
    run(operator, backup_plan=wanted, **arguments)
    assert versions(backup, plan_id) == 2


def test_an_update_by_id_may_rename_the_plan(backup, run, plan_id):
    run(BackupUpdatePlanOperator, backup_plan_id=plan_id, backup_plan={**plan_document(), "BackupPlanName": "other"})
    assert backup.get_backup_plan(BackupPlanId=plan_id)["BackupPlan"]["BackupPlanName"] == "other"


def test_there_is_no_update_of_a_plan_that_is_not_there(backup, run):
    with pytest.raises(AirflowNotFoundException, match="'orders'"):
        run(BackupUpdatePlanOperator, backup_plan=plan_document())


def test_two_plans_of_one_name_are_told_apart_by_id_only(backup, run, plan_id, monkeypatch):
    twins = [{"BackupPlanId": "1"}, {"BackupPlanId": "2"}]
    monkeypatch.setattr(BackupHook, "find_plans", lambda hook, name: twins)
    with pytest.raises(PlanAmbiguousError, match="1, 2"):
        run(BackupUpdatePlanOperator, backup_plan=plan_document())


@pytest.mark.parametrize("named", ["id", "name"])
def test_a_plan_of_ours_is_deleted_with_its_selections(backup, run, plan_id, named):
    run(BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=selection_document("orders"))
    by = {"backup_plan_id": plan_id} if named == "id" else {"backup_plan_name": "orders"}
    with pytest.raises(PlanNotDeletedError, match="delete_selections"):
        run(BackupDeletePlanOperator, required_tags=OURS, **by)
    run(BackupDeletePlanOperator, required_tags=OURS, delete_selections=True, **by)
    assert backup.list_backup_plans()["BackupPlansList"] == []
    run(BackupDeletePlanOperator, required_tags=OURS, delete_selections=True, **by)
    with pytest.raises(AirflowNotFoundException):
        run(BackupDeletePlanOperator, required_tags=OURS, if_missing="fail", **by)


def test_a_foreign_plan_and_its_selections_stay(backup, run, plan_id):
    selection_id = run(
        BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=selection_document("orders")
    )
    others = {"managed-by": "others"}
    for operator, arguments in (
        (BackupDeletePlanOperator, {"delete_selections": True}),
        (BackupDeleteSelectionOperator, {"selection_id": selection_id}),
    ):
        with pytest.raises(PlanNotOursError, match="managed-by=others") as refused:
            run(operator, backup_plan_id=plan_id, required_tags=others, **arguments)
        assert isinstance(refused.value, AirflowFailException)
        with pytest.raises(ValueError, match="guard is required"):
            run(operator, backup_plan_id=plan_id, required_tags={}, **arguments)
    assert list(selections(backup, plan_id)) == [selection_id]


# -- selections


def test_a_selection_is_created_once(backup, run, plan_id, pushed):
    first = run(BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=selection_document("a", "b"))
    assert pushed()["changes"] == ["created"]
    again = run(BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=selection_document("b", "a"))
    assert again == first
    assert list(selections(backup, plan_id)) == [first]


def test_a_selection_that_says_something_else_is_replaced_only_when_allowed(backup, run, plan_id, pushed):
    arguments = {"backup_plan_id": plan_id, "backup_selection": selection_document("a", "b")}
    first = run(BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=selection_document("a"))
    with pytest.raises(SelectionExistsError, match="Resources"):
        run(BackupCreateSelectionOperator, **arguments)
    with pytest.raises(SelectionExistsError, match="'fail'"):
        run(BackupCreateSelectionOperator, **arguments, if_exists="fail")
    assert list(selections(backup, plan_id)) == [first]
    second = run(BackupCreateSelectionOperator, **arguments, if_exists="replace")
    assert second != first
    assert {key: value["Resources"] for key, value in selections(backup, plan_id).items()} == {
        second: [f"{TABLES}a", f"{TABLES}b"]
    }
    assert pushed()["changes"] == [f'selection: Resources: ["{TABLES}a"] -> ["{TABLES}a", "{TABLES}b"]']


def test_a_replacement_that_aws_refuses_leaves_the_old_assignment(backup, run, plan_id):
    old = selection_document("a")
    run(BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=old)
    with pytest.raises(ClientError):
        run(
            BackupCreateSelectionOperator,
            backup_plan_id=plan_id,
            backup_selection=selection_document("a", IamRoleArn="no role"),
            if_exists="replace",
        )
    assert list(selections(backup, plan_id).values()) == [old]


@pytest.mark.parametrize("named", ["id", "name"])
def test_a_selection_is_deleted_and_may_be_gone(backup, run, plan_id, named):
    selection_id = run(BackupCreateSelectionOperator, backup_plan_id=plan_id, backup_selection=selection_document("a"))
    arguments = {
        "backup_plan_id": plan_id,
        "required_tags": OURS,
        **({"selection_id": selection_id} if named == "id" else {"selection_name": "tables"}),
    }
    run(BackupDeleteSelectionOperator, **arguments)
    assert selections(backup, plan_id) == {}
    run(BackupDeleteSelectionOperator, **arguments)
    with pytest.raises(AirflowNotFoundException):
        run(BackupDeleteSelectionOperator, **arguments, if_missing="fail")


# -- arguments


@pytest.mark.parametrize(
    ("operator", "arguments", "match"),
    [
        (BackupCreatePlanOperator, {"backup_plan": {}}, "BackupPlanName"),
        (BackupCreatePlanOperator, {"backup_plan": plan_document(), "if_exists": "replace"}, "if_exists"),
        (BackupDeletePlanOperator, {"required_tags": OURS}, "backup_plan_id or backup_plan_name"),
        (BackupDeletePlanOperator, {"required_tags": OURS, "if_missing": "x"}, "if_missing"),
        (BackupCreateSelectionOperator, {"backup_plan_id": "", "backup_selection": {}}, "SelectionName"),
        (
            BackupCreateSelectionOperator,
            {"backup_plan_id": "p", "backup_selection": selection_document(), "if_exists": "update"},
            "if_exists",
        ),
        (BackupDeleteSelectionOperator, {"backup_plan_id": "p", "required_tags": OURS}, "selection_id"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_call(run, operator, arguments, match):
    with pytest.raises(ValueError, match=match):
        run(operator, **arguments)


@pytest.mark.parametrize(
    ("operator", "fields"),
    [
        (BackupCreatePlanOperator(task_id="t", backup_plan={}), {"backup_plan", "tags"}),
        (BackupUpdatePlanOperator(task_id="t", backup_plan={}), {"backup_plan", "backup_plan_id"}),
        (
            BackupDeletePlanOperator(task_id="t", required_tags={}),
            {"backup_plan_id", "backup_plan_name", "required_tags"},
        ),
        (
            BackupCreateSelectionOperator(task_id="t", backup_plan_id="p", backup_selection={}),
            {"backup_plan_id", "backup_selection"},
        ),
        (
            BackupDeleteSelectionOperator(task_id="t", backup_plan_id="p", required_tags={}),
            {"backup_plan_id", "selection_id", "selection_name", "required_tags"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_template_fields(operator, fields):
    assert set(operator.template_fields) == fields | {"aws_conn_id", "region_name", "verify"}
    assert all(hasattr(operator, field) for field in operator.template_fields)
