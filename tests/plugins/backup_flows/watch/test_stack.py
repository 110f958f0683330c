"""The stack as it is deployed, and plans made without it: three days played, watched date by date."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from aws_backup.operators.backup_plans import BackupCreatePlanOperator, BackupCreateSelectionOperator
from backup_flows import resources
from backup_flows.preflight import Flight, Kept, find_concerns
from backup_flows.principals import role_clients
from backup_flows.protection import Table
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.protection_plans import plan_documents, template_parameters
from backup_flows.watch import tasks
from backup_flows.watch.causes import REMEDIES, Cause
from backup_flows.watch.tasks import ScheduledBackupsBrokenError
from local_aws import control

ROOT = Path(__file__).resolve().parents[4]


def at(day: int, hour: int = 8, minute: int = 30) -> dt.datetime:
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=dt.UTC)


@pytest.fixture
def stack(deploy_flow, watch_on):
    """The stack with the plan that protection.yaml asks for, watched by that very file."""
    table = Table("orders", "arn:aws:dynamodb:us-east-1:123456789012:table/orders", {"backup": "daily"})
    parameters = template_parameters(load_protection(ROOT / PROTECTION_FILE), table)
    return watch_on(deploy_flow(**parameters), ROOT / PROTECTION_FILE)


def statuses(watched, summary):
    return {finding["table"]: finding["status"] for finding in watched.report(summary)["findings"]}


def points(watched, table):
    found = watched.flow.backup.list_recovery_points_by_backup_vault(
        BackupVaultName=watched.flow.resources["vault"],
        ByResourceArn=watched.arns.get(table, watched.flow.resources["table_arn"]),
    )
    return [point["CreatedBy"]["BackupPlanId"] for point in found["RecoveryPoints"]]


def test_three_days_of_the_stacks_plan_are_green_by_backfill(stack):
    stack.until(at(5, 9))
    assert points(stack, "orders") == [stack.flow.resources["plan_id"]] * 3
    for day in (3, 4, 5):
        summary = stack.watch(at(day))
        assert (summary["outcome"], summary["counts"]) == ("GOOD", {"FOUND": 1, "MET": 1})
        assert stack.verdict(summary)


def test_the_opt_in_off_hits_the_table_that_has_the_tag_and_not_the_one_that_is_named(stack):
    stack.table("ledger", backup="daily")
    stack.until(at(3, 9))
    assert statuses(stack, stack.watch(at(3))) == {"ledger": "FOUND", "orders": "FOUND"}
    stack.flow.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    stack.until(at(4, 9))
    summary = stack.watch(at(4))
    assert statuses(stack, summary) == {"ledger": "MISSING", "orders": "FOUND"}
    with pytest.raises(ScheduledBackupsBrokenError) as broken:
        stack.verdict(summary)
    assert REMEDIES[Cause.OPT_IN_OFF] in str(broken.value)
    assert "orders due" not in str(broken.value)


def test_plans_made_by_operator_out_of_the_file_do_the_same_without_the_stacks(watched, context):
    watched.table("ledger", watch="yes", team="sales")
    watched.table("stock", watch="yes")
    watched.protect(
        {"name": "stock", "tier": "12-hourly"},
        {"tag": {"watch": "yes"}, "tier": "daily"},
    )
    found, aws = watched.flow.resources, {"aws_conn_id": "aws_default"}
    documents = plan_documents(
        load_protection(watched.file),
        prefix="ours",
        stack_vault=found["vault"],
        role_arn=found["role_arn"],
        arn_prefix=found["table_arn"].rpartition("/")[0] + "/",
    )
    for number, document in enumerate(documents):
        plan = BackupCreatePlanOperator(task_id=f"plan_{number}", backup_plan=document.plan, **aws)
        plan_id = plan.execute(context)
        for selection in document.selections:
            BackupCreateSelectionOperator(
                task_id="select", backup_plan_id=plan_id, backup_selection=selection, **aws
            ).execute(context)
    watched.until(at(4, 9))
    # The 12-hourly rule was due on the evening of the 2nd, after the plans were made, too.
    assert len(points(watched, "stock")) == 4
    assert len(points(watched, "ledger")) == 2
    for day in (3, 4):
        summary = watched.watch(at(day))
        assert (summary["outcome"], summary["counts"]) == ("GOOD", {"FOUND": 3, "MET": 2})


@pytest.fixture
def as_operator(stack, monkeypatch):
    """Let the tasks call as the operator role, on an AWS that enforces IAM."""
    control.configure(enforce_iam=True)
    flow = stack.flow
    of_role = role_clients(flow.clients, flow.resources["operator_role_arn"], session_name="airflow")

    def client(service, **_):
        # GetCallerIdentity needs no right, and the test's own client tells the local clock's time.
        return flow.clients(service) if service == "sts" else of_role(service)

    for module in (tasks, resources):
        monkeypatch.setattr(module, "client", client)
    monkeypatch.setattr(AwsBaseHook, "get_client_type", lambda hook, **_: client(hook.client_type))
    return client


def test_the_operator_role_may_do_all_that_the_watch_does(stack, as_operator):
    stack.until(at(3, 9))
    assert stack.watch(at(3))["outcome"] == "GOOD"
    stack.flow.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    stack.table("ledger", backup="daily")
    stack.until(at(4, 9))
    # What is missing takes looking at plans, selections and the table itself.
    assert statuses(stack, stack.watch(at(4))) == {"ledger": "MISSING", "orders": "FOUND"}


def test_the_operator_role_may_look_at_all_that_the_preflight_asks(stack, as_operator):
    found = stack.flow.resources
    kept = Kept("the story", {"DeleteAfterDays": 35}, 60, 120)
    flight = Flight(
        found["role_arn"], {found["vault"]: [kept]}, [found["table_arn"]], ["orders-restored-20261101-0a1b2c3d"]
    )
    assert list(find_concerns(as_operator, flight)) == []
