"""What the stack's roles can do when IAM is enforced, each as a session: their work, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from email.utils import format_datetime
from typing import Any

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from aws_backup.hooks.backup import BackupHook
from aws_backup.operators.backup import BackupDeleteRecoveryPointOperator
from backup_flows.attempts import REFUSED, attempts, try_all
from backup_flows.deny_proof import open_ground, survey
from backup_flows.principals import is_denied, principal_arn, role_clients
from backup_flows.project_files import project_file
from backup_flows.repair_request import REPAIR, UNDO, RepairRequest, look_at_tables
from backup_flows.repair_work import check_undo, dry_run, find_differences, gather_undo, write_changes
from backup_flows.resources import look_up
from backup_flows.restores import delete_restored_table
from backup_flows.stack import STACK_TEMPLATE, Resources, read_resources, stack_outputs, start_deployment
from backup_flows.teardown import delete_tables, empty_bucket, start_deletion, stop_schedule, take_stock, write_receipt
from local_aws import control
from local_aws.clock import CLOCK
from restore_proof.verdict import Result

ACCOUNT = "123456789012"
TRUST = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
ADMIN = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DEPLOYER = f"arn:aws:iam::{ACCOUNT}:role/team/deployer"


def document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def dated(parsed: dict[str, Any], **_: Any) -> None:
    """Date an answer by the clock that stands still here; AWS has only one clock, too."""
    parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = format_datetime(CLOCK.now(), usegmt=True)


@pytest.fixture
def become(monkeypatch) -> Callable[[Callable[[str], Any]], None]:
    """Let Airflow's connections lead to a session of a role."""

    def run_as(clients: Callable[[str], Any]) -> None:
        for service in ("application-autoscaling", "backup", "cloudformation", "dynamodb", "iam", "kms", "s3", "sts"):
            clients(service)  # made before sessions are made to lead here
        clients("sts").meta.events.register("after-call.sts.GetCallerIdentity", dated)
        monkeypatch.setattr(boto3.Session, "client", lambda _session, service_name, **_: clients(service_name))
        monkeypatch.setattr(AwsBaseHook, "get_client_type", lambda hook, **_: clients(hook.client_type))

    return run_as


@pytest.fixture
def deployed(aws, deploy_flow):
    """The stack, deployed by a role of its own, with IAM enforced; and that role's session."""
    iam = aws("iam")
    iam.create_role(RoleName="deployer", Path="/team/", AssumeRolePolicyDocument=document(TRUST))
    iam.put_role_policy(RoleName="deployer", PolicyName="admin", PolicyDocument=document(ADMIN))
    flow = deploy_flow(DeployPrincipalArn=DEPLOYER)
    control.configure(enforce_iam=True)
    return flow, role_clients(aws, DEPLOYER, session_name="pipeline")


def repair(dynamodb: Any, s3: Any, request: RepairRequest) -> dict[str, Any]:
    """Look, find, try and write, as the DAG table_repair does."""
    look_at_tables(dynamodb, table=request.table, source=request.source)
    found = gather_undo(s3, request) if request.mode == UNDO else find_differences(dynamodb, s3, request)
    dry_run(dynamodb, s3, request, found)
    return write_changes(dynamodb, s3, request, found.sha256, attempt="1", before_batch=lambda: None)


def resources_of(flow) -> Resources:
    return read_resources(flow.clients("cloudformation"), "orders-backup")


def test_the_operator_can_do_all_of_a_runs_work(deployed, become, context):
    flow, _ = deployed
    operator = role_clients(flow.clients, flow.resources["operator_role_arn"], session_name="airflow")
    become(operator)
    run = type(flow)(operator, flow.resources, context)
    assert look_up("orders-backup").table == "orders"
    for number in range(20):
        run.put(str(number), product="Salmon")
    binding = run.back_up()
    plan, job = run.restore(binding)
    assert run.prove(binding, plan, job).proof.result is Result.PROVEN
    good = run.scan()
    run.remove("1")
    run.put("2", product="Damaged")
    run.put("new", product="Tuna")
    request = RepairRequest(
        mode=REPAIR,
        bucket=run.bucket,
        lease_table=flow.resources["lease_table"],
        table="orders",
        source=plan["target_table"],
        undo_prefix=None,
        prefix="repairs/orders/1/",
        classes=("missing", "changed", "extra"),
    )
    assert repair(operator("dynamodb"), operator("s3"), request)["repaired"] == 3
    assert run.scan() == good
    undo = replace(request, mode=UNDO, source=None, undo_prefix="repairs/orders/1/undo/", prefix="repairs/orders/2/")
    assert repair(operator("dynamodb"), operator("s3"), undo)["repaired"] == 3
    assert check_undo(operator("dynamodb"), operator("s3"), undo)["equal"]
    delete_restored_table(operator("dynamodb"), plan["target_table"], source="orders")
    assert plan["target_table"] not in run.tables()


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c("dynamodb").delete_table(TableName="orders"),
        lambda c: c("dynamodb").update_table(TableName="orders", DeletionProtectionEnabled=False),
        lambda c: c("s3").delete_bucket(Bucket=f"orders-backup-{ACCOUNT}-us-east-1"),
        lambda c: c("iam").list_roles(),
        lambda c: c("sts").assume_role(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/orders-backup-retention-us-east-1", RoleSessionName="test"
        ),
        lambda c: c("cloudformation").delete_stack(StackName="orders-backup"),
        lambda c: c("backup").update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False}),
    ],
)
def test_the_operator_can_do_no_more(deployed, call):
    flow, _ = deployed
    operator = role_clients(flow.clients, flow.resources["operator_role_arn"], session_name="airflow")
    with pytest.raises(ClientError) as refused:
        call(operator)
    assert is_denied(refused.value)


def test_retention_deletes_as_its_role(deployed, become, context):
    flow, _ = deployed
    flow.back_up()
    (point,) = BackupHook(aws_conn_id="aws_default").list_recovery_points("orders-vault")
    retention = role_clients(flow.clients, flow.resources["retention_role_arn"], session_name="airflow")
    become(retention)
    operator = BackupDeleteRecoveryPointOperator(
        task_id="delete",
        backup_vault_name="orders-vault",
        recovery_point_arn=point["RecoveryPointArn"],
        required_tags={"managed-by": "dynamodb-backup-proof"},
        deferrable=False,
        wait_for_completion=False,
    )
    operator.execute(context)
    flow.wait(60)
    assert BackupHook(aws_conn_id="aws_default").find_recovery_point("orders-vault", point["RecoveryPointArn"]) is None


def test_the_deployer_is_known_by_its_role_and_path(deployed):
    _, pipeline = deployed
    assert principal_arn(pipeline("sts"), pipeline("iam")) == DEPLOYER


def test_the_deployer_updates_the_stack_and_nobody_else_changes_the_vault(deployed):
    flow, pipeline = deployed
    template = project_file(STACK_TEMPLATE).read_text(encoding="utf-8")
    before = stack_outputs(flow.clients("cloudformation"), "orders-backup")
    selections = flow.backup.list_backup_selections(BackupPlanId=before["PlanId"])["BackupSelectionsList"]
    version = flow.backup.get_backup_plan(BackupPlanId=before["PlanId"])["VersionId"]
    request = {"stack_name": "orders-backup", "template_body": template, "tags": {}, "exists": True}
    assert start_deployment(pipeline("cloudformation"), parameters={"BackupSchedule": "cron(0 3 ? * * *)"}, **request)
    after = flow.backup.get_backup_plan(BackupPlanId=before["PlanId"])
    assert after["VersionId"] != version
    assert after["BackupPlan"]["Rules"][0]["ScheduleExpression"] == "cron(0 3 ? * * *)"
    assert flow.backup.list_backup_selections(BackupPlanId=before["PlanId"])["BackupSelectionsList"] == selections

    policy = flow.backup.get_backup_vault_access_policy(BackupVaultName="orders-vault")["Policy"]
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
        # Even the account's root user, by the vault's own policy.
        flow.backup.put_backup_vault_access_policy(BackupVaultName="orders-vault", Policy=policy)
    pipeline("backup").put_backup_vault_access_policy(BackupVaultName="orders-vault", Policy=policy)


def test_even_the_deployer_and_the_root_user_may_not_delete_recovery_points(deployed):
    flow, pipeline = deployed
    resources = resources_of(flow)
    developer = role_clients(
        role_clients(flow.clients, resources.operator_role_arn, session_name="airflow"),
        resources.developer_role_arn,
        session_name="developer",
    )
    open_ground(resources, developer, token="one")
    flow.wait()
    on_points = [
        attempt
        for attempt in attempts(survey(resources, flow.clients))
        if attempt.action.endswith(("RecoveryPoint", "RecoveryPointLifecycle"))
    ]
    for clients in (pipeline, flow.clients):
        assert {trial.outcome for trial in try_all("powerful", clients, on_points)} == {REFUSED}


def test_the_deployer_takes_the_stack_down(deployed):
    flow, pipeline = deployed
    stock = take_stock(pipeline, "orders-backup")
    stop_schedule(pipeline, stock)
    delete_tables(pipeline, stock)
    empty_bucket(pipeline, stock)
    start_deletion(pipeline("cloudformation"), "orders-backup")
    assert write_receipt(pipeline, stock, {}, now=flow.now())["status"] == "DELETED"
