"""Plans and selections in templates, and what stands around: notifications, groups, policies, topics, keys."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/AWSBackup"
TABLE_ARN = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders"


@pytest.fixture
def deploy(
    clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Create or update the stack `s`; returns its description."""
    with started():
        client = clients("cloudformation")

        def run(resources: dict[str, Any], outputs: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
            template = {"Resources": resources, "Outputs": {k: {"Value": v} for k, v in (outputs or {}).items()}}
            template |= members.pop("template", {})
            call = client.update_stack if client.describe_stacks()["Stacks"] else client.create_stack
            call(StackName="s", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"], **members)
            stack: dict[str, Any] = client.describe_stacks(StackName="s")["Stacks"][0]
            return {**stack, "Outputs": {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}}

        yield run


VAULT = {"Vault": {"Type": "AWS::Backup::BackupVault", "Properties": {"BackupVaultName": "v-one"}}}


def plan(schedule: str = "cron(0 5 ? * * *)", tags: dict[str, str] | None = None, **rule: Any) -> dict[str, Any]:
    rule = {
        "RuleName": "daily",
        "TargetBackupVault": {"Ref": "Vault"},
        "ScheduleExpression": schedule,
        "StartWindowMinutes": "60",
        "CompletionWindowMinutes": 120,
        "Lifecycle": {"MoveToColdStorageAfterDays": "31", "DeleteAfterDays": 366},
        "RecoveryPointTags": {"managed-by": "us"},
        **rule,
    }
    properties = {"BackupPlan": {"BackupPlanName": "p", "BackupPlanRule": [rule]}, "BackupPlanTags": tags or {"a": "1"}}
    return {**VAULT, "Plan": {"Type": "AWS::Backup::BackupPlan", "Properties": properties}}


def selection(**document: Any) -> dict[str, Any]:
    document = {"SelectionName": "one", "IamRoleArn": ROLE_ARN, "Resources": [TABLE_ARN], **document}
    properties = {"BackupPlanId": {"Ref": "Plan"}, "BackupSelection": document}
    return {"Selection": {"Type": "AWS::Backup::BackupSelection", "Properties": properties}}


PLAN_OUTPUTS = {
    "Id": {"Ref": "Plan"},
    "Arn": {"Fn::GetAtt": ["Plan", "BackupPlanArn"]},
    "Version": {"Fn::GetAtt": ["Plan", "VersionId"]},
}
SELECTION_OUTPUTS = {"Selection": {"Ref": "Selection"}}


def test_a_plan_is_made_as_described(deploy: Any, clients: Callable[..., Any]) -> None:
    stack = deploy(plan(), PLAN_OUTPUTS)

    made = clients("backup").get_backup_plan(BackupPlanId=stack["Outputs"]["Id"])
    (rule,) = made["BackupPlan"]["Rules"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert (made["BackupPlanArn"], made["VersionId"]) == (stack["Outputs"]["Arn"], stack["Outputs"]["Version"])
    assert made["BackupPlan"]["BackupPlanName"] == "p"
    assert (rule["StartWindowMinutes"], rule["CompletionWindowMinutes"]) == (60, 120)
    assert rule["Lifecycle"]["MoveToColdStorageAfterDays"] == 31
    assert rule["RecoveryPointTags"] == {"managed-by": "us"}
    assert rule["TargetBackupVaultName"] == "v-one"
    assert clients("backup").list_tags(ResourceArn=made["BackupPlanArn"])["Tags"] == {"a": "1"}


def test_a_changed_plan_is_a_new_version_and_keeps_its_selection(deploy: Any, clients: Callable[..., Any]) -> None:
    outputs = PLAN_OUTPUTS | SELECTION_OUTPUTS
    first = deploy({**plan(), **selection()}, outputs)["Outputs"]

    second = deploy({**plan("cron(0 7 ? * * *)", {"b": "2"}), **selection()}, outputs)["Outputs"]

    backup = clients("backup")
    assert (second["Id"], second["Selection"]) == (first["Id"], first["Selection"])
    assert second["Version"] != first["Version"]
    now = backup.get_backup_plan(BackupPlanId=first["Id"])["BackupPlan"]["Rules"][0]
    assert now["ScheduleExpression"] == "cron(0 7 ? * * *)"
    assert backup.list_tags(ResourceArn=second["Arn"])["Tags"] == {"b": "2"}


def test_an_update_elsewhere_makes_no_new_version(deploy: Any, clients: Callable[..., Any]) -> None:
    parameters = {"template": {"Parameters": {"Note": {"Type": "String", "Default": "x"}}}}
    first = deploy({**plan(), **selection()}, PLAN_OUTPUTS | SELECTION_OUTPUTS, **parameters)["Outputs"]

    changed = [{"ParameterKey": "Note", "ParameterValue": "y"}]
    outputs = PLAN_OUTPUTS | SELECTION_OUTPUTS
    second = deploy({**plan(), **selection()}, outputs, Parameters=changed, **parameters)["Outputs"]

    assert second == first
    assert len(clients("backup").list_backup_plan_versions(BackupPlanId=first["Id"])["BackupPlanVersionsList"]) == 1


def test_a_changed_selection_is_another_one(deploy: Any, clients: Callable[..., Any]) -> None:
    tag = {"ConditionType": "STRINGEQUALS", "ConditionKey": "backup", "ConditionValue": "daily"}
    outputs = PLAN_OUTPUTS | SELECTION_OUTPUTS
    first = deploy({**plan(), **selection()}, outputs)["Outputs"]

    second = deploy({**plan(), **selection(Resources=[], ListOfTags=[tag])}, outputs)["Outputs"]

    assert second["Selection"] != first["Selection"]
    listed = clients("backup").list_backup_selections(BackupPlanId=first["Id"])["BackupSelectionsList"]
    assert [entry["SelectionId"] for entry in listed] == [second["Selection"]]


def test_plan_and_selection_go_with_the_stack(deploy: Any, clients: Callable[..., Any]) -> None:
    deploy({**plan(), **selection()})

    clients("cloudformation").delete_stack(StackName="s")

    assert clients("cloudformation").describe_stacks()["Stacks"] == []
    assert clients("backup").list_backup_plans()["BackupPlansList"] == []


def test_what_was_deleted_by_hand_is_not_missed(deploy: Any, clients: Callable[..., Any]) -> None:
    made = deploy({**plan(), **selection()}, PLAN_OUTPUTS | SELECTION_OUTPUTS)["Outputs"]
    backup = clients("backup")
    backup.delete_backup_selection(BackupPlanId=made["Id"], SelectionId=made["Selection"])
    backup.delete_backup_plan(BackupPlanId=made["Id"])

    clients("cloudformation").delete_stack(StackName="s")

    assert clients("cloudformation").describe_stacks()["Stacks"] == []


@pytest.mark.parametrize(
    ("resources", "named"),
    [
        (plan(Colour="red"), "Colour"),
        ({**plan(), **selection(Colour="red")}, "Colour"),
    ],
)
def test_what_is_not_applied_is_refused_and_nothing_stays(
    deploy: Any, clients: Callable[..., Any], resources: dict[str, Any], named: str
) -> None:
    stack = deploy(resources, {"Id": {"Ref": "Plan"}})

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert named in stack["StackStatusReason"]
    assert stack["Outputs"] == {}
    assert clients("backup").list_backup_plans()["BackupPlansList"] == []
    assert clients("backup").list_backup_vaults()["BackupVaultList"] == []


def notified(events: list[str] | None) -> dict[str, Any]:
    vault: dict[str, Any] = {"Type": "AWS::Backup::BackupVault", "Properties": {"BackupVaultName": "v-one"}}
    if events:
        vault["Properties"]["Notifications"] = {"SNSTopicArn": {"Ref": "Topic"}, "BackupVaultEvents": events}
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "backup.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": {"Ref": "Topic"},
            }
        ],
    }
    return {
        "Vault": vault,
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "told"}},
        "TopicPolicy": {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {"Topics": [{"Ref": "Topic"}], "PolicyDocument": document},
        },
    }


def test_a_vault_tells_its_topic(deploy: Any, clients: Callable[..., Any]) -> None:
    made = deploy(notified(["BACKUP_JOB_COMPLETED"]), {"Topic": {"Ref": "Topic"}})["Outputs"]

    told = clients("backup").get_backup_vault_notifications(BackupVaultName="v-one")
    policy = clients("sns").get_topic_attributes(TopicArn=made["Topic"])["Attributes"]["Policy"]
    assert (told["SNSTopicArn"], told["BackupVaultEvents"]) == (made["Topic"], ["BACKUP_JOB_COMPLETED"])
    assert json.loads(policy)["Statement"][0]["Principal"] == {"Service": "backup.amazonaws.com"}

    deploy(notified(None))
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        clients("backup").get_backup_vault_notifications(BackupVaultName="v-one")


def test_an_updated_topic_keeps_its_subscriptions(deploy: Any, clients: Callable[..., Any]) -> None:
    made = deploy(notified(["BACKUP_JOB_COMPLETED"]), {"Topic": {"Ref": "Topic"}})["Outputs"]
    sns = clients("sns")
    sns.subscribe(TopicArn=made["Topic"], Protocol="email", Endpoint="a@b.example")
    changed = notified(["RESTORE_JOB_COMPLETED"])
    changed["Topic"]["Properties"]["DisplayName"] = "Backups"

    deploy(changed, {"Topic": {"Ref": "Topic"}})

    assert len(sns.list_subscriptions_by_topic(TopicArn=made["Topic"])["Subscriptions"]) == 1
    assert sns.get_topic_attributes(TopicArn=made["Topic"])["Attributes"]["DisplayName"] == "Backups"


def identities(effect: str = "Deny", attached: bool = True) -> dict[str, Any]:
    statement = {"Effect": effect, "Action": "backup:DeleteRecoveryPoint", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    policies = [{"Ref": "Policy"}] if attached else []
    return {
        "Policy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"ManagedPolicyName": "deny", "PolicyDocument": document},
        },
        "Group": {"Type": "AWS::IAM::Group", "Properties": {"GroupName": "people", "ManagedPolicyArns": policies}},
    }


def default_effect(iam: Any, arn: str) -> str:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return str(document["Statement"][0]["Effect"])


def test_a_group_has_its_policies_and_a_policy_gets_new_versions(deploy: Any, clients: Callable[..., Any]) -> None:
    iam = clients("iam")
    outputs = {"Policy": {"Ref": "Policy"}, "Group": {"Fn::GetAtt": ["Group", "Arn"]}}
    made = deploy(identities(), outputs)["Outputs"]
    assert made == {"Policy": f"arn:aws:iam::{ACCOUNT}:policy/deny", "Group": f"arn:aws:iam::{ACCOUNT}:group/people"}
    attached = iam.list_attached_group_policies(GroupName="people")["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [made["Policy"]]

    for effect in ("Allow", "Deny", "Allow", "Deny", "Allow", "Deny"):
        assert deploy(identities(effect), outputs)["Outputs"] == made
        assert default_effect(iam, made["Policy"]) == effect
    assert len(iam.list_policy_versions(PolicyArn=made["Policy"])["Versions"]) == 5

    deploy(identities(attached=False), outputs)
    assert iam.list_attached_group_policies(GroupName="people")["AttachedPolicies"] == []


def test_a_parameter_at_its_default_has_a_previous_value(deploy: Any, clients: Callable[..., Any]) -> None:
    parameters = {"Hour": {"Type": "String", "Default": "5"}, "Note": {"Type": "String", "Default": "x"}}
    resources = plan({"Fn::Sub": "cron(0 ${Hour} ? * * *)"})  # type: ignore[arg-type]
    deploy(resources, PLAN_OUTPUTS, template={"Parameters": parameters})
    kept = {"ParameterKey": "Hour", "UsePreviousValue": True}
    changed = {"ParameterKey": "Note", "ParameterValue": "y"}
    parameters["Hour"]["Default"] = "9"

    stack = deploy(resources, PLAN_OUTPUTS, template={"Parameters": parameters}, Parameters=[kept, changed])

    made = clients("backup").get_backup_plan(BackupPlanId=stack["Outputs"]["Id"])["BackupPlan"]
    assert made["Rules"][0]["ScheduleExpression"] == "cron(0 5 ? * * *)"
    assert {"ParameterKey": "Hour", "ParameterValue": "5"} in stack["Parameters"]


def test_the_caller_without_a_user_is_the_root_user(deploy: Any, clients: Callable[..., Any]) -> None:
    assert clients("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"


def test_a_group_with_users_is_not_deleted(deploy: Any, clients: Callable[..., Any]) -> None:
    iam, cloudformation = clients("iam"), clients("cloudformation")
    deploy(identities())
    iam.create_user(UserName="ann")
    iam.add_user_to_group(GroupName="people", UserName="ann")

    cloudformation.delete_stack(StackName="s")
    assert cloudformation.describe_stacks()["Stacks"][0]["StackStatus"] == "DELETE_FAILED"
    assert [group["GroupName"] for group in iam.list_groups()["Groups"]] == ["people"]

    iam.remove_user_from_group(GroupName="people", UserName="ann")
    cloudformation.delete_stack(StackName="s")
    assert iam.list_groups()["Groups"] == []
    assert iam.list_policies(Scope="Local")["Policies"] == []


def key(days: int = 7, statement_id: str = "One") -> dict[str, Any]:
    statement = {"Sid": statement_id, "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    properties = {"KeyPolicy": document, "EnableKeyRotation": "true", "PendingWindowInDays": days}
    return {"Key": {"Type": "AWS::KMS::Key", "Properties": properties}}


def test_a_key_is_updated_in_place_and_pends_its_deletion(deploy: Any, clients: Callable[..., Any]) -> None:
    kms = clients("kms")
    first = deploy(key(), {"Arn": {"Fn::GetAtt": ["Key", "Arn"]}})["Outputs"]["Arn"]
    second = deploy(key(statement_id="Two"), {"Arn": {"Fn::GetAtt": ["Key", "Arn"]}})["Outputs"]["Arn"]

    policy = json.loads(kms.get_key_policy(KeyId=first, PolicyName="default")["Policy"])
    assert second == first
    assert policy["Statement"][0]["Sid"] == "Two"
    assert kms.get_key_rotation_status(KeyId=first)["KeyRotationEnabled"] is True

    clients("cloudformation").delete_stack(StackName="s")
    described = kms.describe_key(KeyId=first)["KeyMetadata"]
    assert described["KeyState"] == "PendingDeletion"
