from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup_flows.project_files import project_file
from backup_flows.stack import (
    DEFAULT_VAULT,
    OUTPUT_FIELDS,
    STACK_NAME,
    STACK_TEMPLATE,
    MissingResourcesError,
    Resources,
    UnconfirmedComplianceLockError,
    describe_stack,
    ensure_compliance_lock_is_meant,
    failure_reasons,
    find_missing,
    read_resources,
    stack_outputs,
    stack_parameters,
    start_deployment,
)

NAMES = {
    "bucket": "orders-backup-123456789012-us-east-1",
    "table": "orders",
    "lease_table": "orders-backup-leases",
    "vault": "orders-vault",
    "probe_vault": "orders-vault-probe",
    "operator_role_arn": "arn:aws:iam::123456789012:role/orders-backup-operator-us-east-1",
    "retention_role_arn": "arn:aws:iam::123456789012:role/orders-backup-retention-us-east-1",
    "developer_role_arn": "arn:aws:iam::123456789012:role/orders-backup-developer-us-east-1",
    "region": "us-east-1",
}


@pytest.fixture(scope="module")
def flow(shared_flow):
    return shared_flow


@pytest.fixture(scope="module")
def cloudformation(flow):
    return flow.clients("cloudformation")


@pytest.fixture(scope="module")
def resources(cloudformation) -> Resources:
    return read_resources(cloudformation, STACK_NAME)


def raising(code: str, message: str = "no") -> Any:
    def call(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": message}}, "Call")

    return call


def test_the_resources_are_what_the_stack_says(resources):
    assert {name: value for name, value in resources.as_dict().items() if name in NAMES} == NAMES
    assert resources.table_arn == "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
    assert resources.vault_arn.endswith(":backup-vault:orders-vault")
    assert "AWSBackup" in resources.role_arn


def test_the_template_has_every_output_that_is_read(cloudformation):
    assert set(OUTPUT_FIELDS.values()) <= set(stack_outputs(cloudformation, STACK_NAME))


def test_without_a_stack_the_dag_that_makes_it_is_named(cloudformation):
    assert describe_stack(cloudformation, "other") is None
    assert stack_outputs(cloudformation, "other") == {}
    with pytest.raises(MissingResourcesError, match=r"stack other does not exist in us-east-1.*backup_stack"):
        read_resources(cloudformation, "other")


def test_a_stack_of_somebody_else_lacks_our_outputs_and_they_are_named(cloudformation):
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"TableName": {"Value": "x"}, "BucketName": {"Value": "y"}},
    }
    cloudformation.create_stack(StackName="foreign", TemplateBody=json.dumps(template))
    with pytest.raises(MissingResourcesError) as missing:
        read_resources(cloudformation, "foreign")
    told = str(missing.value)
    assert "foreign (CREATE_COMPLETE)" in told
    assert "BackupRoleArn, DeveloperRoleArn, LeaseTableName" in told
    assert "VaultArn, VaultKeyArn, VaultName" in told
    assert "backup_stack" in told


def test_another_error_than_a_missing_stack_goes_on():
    denied = SimpleNamespace(describe_stacks=raising("AccessDenied"))
    with pytest.raises(ClientError, match="AccessDenied"):
        describe_stack(denied, STACK_NAME)
    wrong = SimpleNamespace(describe_stacks=raising("ValidationError", "1 validation error detected"))
    with pytest.raises(ClientError, match="1 validation error"):
        describe_stack(wrong, "not a name")


def test_nothing_is_missing_from_a_deployed_stack(flow, resources):
    assert find_missing(resources, flow.clients) == []


@pytest.mark.parametrize(
    ("field", "gone", "named"),
    [
        ("bucket", "no-such-bucket", "bucket no-such-bucket"),
        ("table", "no-such-table", "table no-such-table"),
        ("lease_table", "no-such-leases", "lease table no-such-leases"),
        ("vault", "no-such-vault", "backup vault no-such-vault"),
        ("role_arn", "arn:aws:iam::123456789012:role/no-such-role", "role arn:aws:iam::123456789012:role/no-such-role"),
    ],
)
def test_what_is_missing_is_named(flow, resources, field: str, gone: str, named: str):
    assert find_missing(replace(resources, **{field: gone}), flow.clients) == [named]


def test_all_that_is_missing_is_named_at_once(flow, resources):
    gone = replace(resources, bucket="no-bucket", table="no-table", vault="no-vault")
    assert find_missing(gone, flow.clients) == ["bucket no-bucket", "table no-table", "backup vault no-vault"]


def denying(flow, service: str, operation: str, code: str) -> Any:
    """Clients of which one call is refused."""
    other = SimpleNamespace(**{operation: raising(code)})
    return lambda name: other if name == service else flow.clients(name)


def test_an_operator_that_may_not_read_roles_can_work_all_the_same(flow, resources):
    assert find_missing(resources, denying(flow, "iam", "get_role", "AccessDenied")) == []


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("s3", "head_bucket", "403"),
        ("dynamodb", "describe_table", "ThrottlingException"),
        ("iam", "get_role", "Throttling"),
    ],
)
def test_any_other_refusal_is_no_missing_resource(flow, resources, service: str, operation: str, code: str):
    with pytest.raises(ClientError, match=code):
        find_missing(resources, denying(flow, service, operation, code))


def deploy(cloudformation: Any, *, name: str, body: str, exists: bool) -> bool:
    return start_deployment(
        cloudformation,
        stack_name=name,
        template_body=body,
        parameters={
            "DeployPrincipalArn": "arn:aws:iam::123456789012:root",
            "VaultName": f"{name}-vault",
            "TableName": f"{name}-orders",
            "LeaseTableName": f"{name}-leases",
        },
        tags={"managed-by": "dynamodb-backup-proof"},
        exists=exists,
    )


def test_a_stack_is_created_updated_and_left_alone(cloudformation):
    body = Path(project_file(STACK_TEMPLATE)).read_text(encoding="utf-8")
    assert deploy(cloudformation, name="second", body=body, exists=False) is True
    stack = describe_stack(cloudformation, "second")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert {"Key": "managed-by", "Value": "dynamodb-backup-proof"} in stack["Tags"]
    assert read_resources(cloudformation, "second").table == "second-orders"
    assert deploy(cloudformation, name="second", body=body, exists=True) is False
    changed = body.replace("NoncurrentDays: 30", "NoncurrentDays: 31")
    assert deploy(cloudformation, name="second", body=changed, exists=True) is True
    assert describe_stack(cloudformation, "second")["StackStatus"] == "UPDATE_COMPLETE"


def test_an_update_keeps_what_it_does_not_name(cloudformation):
    body = Path(project_file(STACK_TEMPLATE)).read_text(encoding="utf-8")
    names = {"VaultName": "third-vault", "TableName": "third-orders", "LeaseTableName": "third-leases"}

    def start(exists: bool, **parameters: str) -> bool:
        request = {"stack_name": "third", "template_body": body, "tags": {}, "exists": exists}
        return start_deployment(cloudformation, parameters=parameters, **request)

    start(False, DeployPrincipalArn="arn:aws:iam::123456789012:root", BackupSchedule="cron(0 3 ? * * *)", **names)
    assert start(True) is False
    assert start(True, DeleteAfterDays="400") is True
    now = stack_parameters(cloudformation, "third")
    assert (now["BackupSchedule"], now["DeleteAfterDays"]) == ("cron(0 3 ? * * *)", "400")
    assert now["VaultName"] == "third-vault"


@pytest.mark.parametrize(
    ("parameters", "present", "meant"),
    [
        ({"VaultLockMode": "governance"}, {}, True),
        ({}, {"VaultLockMode": "none"}, True),
        ({"VaultLockMode": "compliance"}, {}, False),
        ({"VaultLockMode": "compliance", "ComplianceLockConfirmation": "yes"}, {}, False),
        ({"VaultLockMode": "compliance", "ComplianceLockConfirmation": "orders-vault"}, {}, True),
        ({"VaultLockMode": "compliance", "ComplianceLockConfirmation": "orders-vault"}, {"VaultName": "v"}, False),
        ({"VaultLockMode": "compliance", "ComplianceLockConfirmation": "v"}, {"VaultName": "v"}, True),
        ({}, {"VaultLockMode": "compliance", "ComplianceLockConfirmation": "v", "VaultName": "v"}, True),
    ],
)
def test_a_lock_for_good_has_to_be_meant(parameters: dict[str, str], present: dict[str, str], meant: bool):
    if meant:
        ensure_compliance_lock_is_meant(parameters, present)
        return
    vault = present.get("VaultName", "orders-vault")
    with pytest.raises(UnconfirmedComplianceLockError, match=f"ComplianceLockConfirmation the value '{vault}'"):
        ensure_compliance_lock_is_meant(parameters, present)


def test_the_default_vault_is_the_templates(cloudformation):
    assert stack_parameters(cloudformation, STACK_NAME)["VaultName"] == DEFAULT_VAULT


def test_a_refused_update_goes_on():
    refusing = SimpleNamespace(
        update_stack=raising("ValidationError", "Stack is in ROLLBACK_COMPLETE state"),
        get_template_summary=lambda **_: {"Parameters": []},
        describe_stacks=lambda **_: {"Stacks": []},
    )
    with pytest.raises(ClientError, match="ROLLBACK_COMPLETE"):
        deploy(refusing, name="second", body="", exists=True)


def test_the_reasons_of_a_failure_are_the_failed_resources_newest_first():
    def event(name: str, status: str, **more: str) -> dict[str, str]:
        return {"LogicalResourceId": name, "ResourceType": "AWS::S3::Bucket", "ResourceStatus": status, **more}

    events = [
        event("Stack", "ROLLBACK_IN_PROGRESS"),
        event("Bucket", "CREATE_FAILED", ResourceStatusReason="it exists already"),
        event("Table", "CREATE_COMPLETE"),
        event("Vault", "UPDATE_FAILED"),
        *[event(f"More{n}", "CREATE_FAILED", ResourceStatusReason="cancelled") for n in range(9)],
    ]
    found = failure_reasons(SimpleNamespace(describe_stack_events=lambda **_: {"StackEvents": events}), STACK_NAME)
    assert found[:2] == ["Bucket (AWS::S3::Bucket): it exists already", "Vault (AWS::S3::Bucket): -"]
    assert len(found) == 5
