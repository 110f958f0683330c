"""Vaults, tables and roles in templates, the life of a stack, and the project's own template."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cfnlint import api as cfn_lint

REGION = "us-east-1"
ACCOUNT = "123456789012"
TEMPLATE = Path(__file__).parents[3] / "include" / "cloudformation" / "orders_backup.yaml"
STACK = "orders-backup"


class Stacks:
    """CloudFormation, with the two or three questions that each test asks."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def deploy(self, resources: dict[str, Any], **members: Any) -> str:
        """Create or update the stack `s`; returns its status."""
        template = {"Resources": resources, **members.pop("template", {})}
        return self.deploy_body("s", json.dumps(template), **members)

    def deploy_body(self, name: str, body: str, **members: Any) -> str:
        known = [stack["StackName"] for stack in self.client.describe_stacks()["Stacks"]]
        call = self.client.update_stack if name in known else self.client.create_stack
        call(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"], **members)
        return self.status(name)

    def stack(self, name: str = "s") -> dict[str, Any]:
        return dict(self.client.describe_stacks(StackName=name)["Stacks"][0])

    def status(self, name: str = "s") -> str:
        return str(self.stack(name)["StackStatus"])

    def outputs(self, name: str = "s") -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self.stack(name)["Outputs"]}

    def reasons(self, name: str = "s") -> str:
        events = self.client.describe_stack_events(StackName=name)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)

    def delete(self, name: str = "s") -> None:
        self.client.delete_stack(StackName=name)


@pytest.fixture
def stacks(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator[Stacks]:
    with started():
        yield Stacks(clients("cloudformation"))


# Vaults.


def vault(name: str = "v-one", **properties: Any) -> dict[str, Any]:
    return {"Vault": {"Type": "AWS::Backup::BackupVault", "Properties": {"BackupVaultName": name, **properties}}}


def vault_tags(backup: Any, name: str = "v-one") -> dict[str, str]:
    arn = backup.describe_backup_vault(BackupVaultName=name)["BackupVaultArn"]
    return dict(backup.list_tags(ResourceArn=arn)["Tags"])


def test_a_vault_is_made_as_described(stacks: Stacks, clients: Callable[..., Any]) -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
    outputs = {
        "Ref": {"Value": {"Ref": "Vault"}},
        "Name": {"Value": {"Fn::GetAtt": ["Vault", "BackupVaultName"]}},
        "Arn": {"Value": {"Fn::GetAtt": ["Vault", "BackupVaultArn"]}},
    }

    status = stacks.deploy(
        vault(
            EncryptionKeyArn=key,
            BackupVaultTags={"team": "orders"},
            LockConfiguration={"MinRetentionDays": "1", "MaxRetentionDays": 30},
        ),
        template={"Outputs": outputs},
    )

    described = clients("backup").describe_backup_vault(BackupVaultName="v-one")
    assert status == "CREATE_COMPLETE"
    assert stacks.outputs() == {"Ref": "v-one", "Name": "v-one", "Arn": described["BackupVaultArn"]}
    assert (described["EncryptionKeyArn"], described["Locked"]) == (key, True)
    assert (described["MinRetentionDays"], described["MaxRetentionDays"]) == (1, 30)
    assert vault_tags(clients("backup")) == {"team": "orders"}


def test_a_vault_is_updated_in_place(stacks: Stacks, clients: Callable[..., Any]) -> None:
    backup = clients("backup")
    stacks.deploy(vault(BackupVaultTags={"old": "1", "same": "1"}, LockConfiguration={"MinRetentionDays": 1}))
    made = backup.describe_backup_vault(BackupVaultName="v-one")
    backup.tag_resource(ResourceArn=made["BackupVaultArn"], Tags={"by-hand": "1"})

    assert stacks.deploy(vault(BackupVaultTags={"same": "2"})) == "UPDATE_COMPLETE"

    described = backup.describe_backup_vault(BackupVaultName="v-one")
    assert described["CreationDate"] == made["CreationDate"]
    assert described["Locked"] is False
    assert vault_tags(backup) == {"same": "2", "by-hand": "1"}


def vault_protection(backup: Any) -> dict[str, Any]:
    def answer(call: str, member: str) -> Any:
        try:
            return getattr(backup, call)(BackupVaultName="v-one").get(member)
        except backup.exceptions.ResourceNotFoundException:
            return None

    policy = answer("get_backup_vault_access_policy", "Policy")
    return {
        "deny": None if policy is None else json.loads(policy)["Statement"][0]["Action"],
        "topic": answer("get_backup_vault_notifications", "SNSTopicArn"),
        "locked": answer("describe_backup_vault", "Locked"),
        "for good at": answer("describe_backup_vault", "LockDate"),
    }


def test_a_vaults_protection_is_made_updated_and_taken_away(stacks: Stacks, clients: Callable[..., Any]) -> None:
    def policy(action: str) -> dict[str, Any]:
        statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}
        return {"AccessPolicy": {"Version": "2012-10-17", "Statement": [statement]}}

    def notifications(topic: str) -> dict[str, Any]:
        return {"Notifications": {"SNSTopicArn": topic, "BackupVaultEvents": ["BACKUP_JOB_COMPLETED"]}}

    backup = clients("backup")
    topics = [clients("sns").create_topic(Name=name)["TopicArn"] for name in ("one", "two")]
    lock = {"LockConfiguration": {"MinRetentionDays": 7}}

    stacks.deploy(vault(**policy("backup:DeleteRecoveryPoint"), **notifications(topics[0]), **lock))
    made = vault_protection(backup)
    status = stacks.deploy(vault(**policy("backup:DeleteBackupVault"), **notifications(topics[1]), **lock))
    updated = vault_protection(backup)
    stacks.deploy(vault())

    assert status == "UPDATE_COMPLETE"
    governed = {"locked": True, "for good at": None}
    assert made == {"deny": "backup:DeleteRecoveryPoint", "topic": topics[0], **governed}
    assert updated == {"deny": "backup:DeleteBackupVault", "topic": topics[1], **governed}
    assert vault_protection(backup) == {"deny": None, "topic": None, "locked": False, "for good at": None}


def test_a_renamed_vault_is_a_new_one(stacks: Stacks, clients: Callable[..., Any]) -> None:
    stacks.deploy(vault())

    assert stacks.deploy(vault("v-two")) == "UPDATE_COMPLETE"

    names = [entry["BackupVaultName"] for entry in clients("backup").list_backup_vaults()["BackupVaultList"]]
    assert names == ["v-two"]


def test_a_replaced_vault_can_be_retained(stacks: Stacks, clients: Callable[..., Any]) -> None:
    def retained(name: str) -> dict[str, Any]:
        return {"Vault": {**vault(name)["Vault"], "UpdateReplacePolicy": "Retain"}}

    stacks.deploy(retained("v-one"))
    stacks.deploy(retained("v-two"))

    names = {entry["BackupVaultName"] for entry in clients("backup").list_backup_vaults()["BackupVaultList"]}
    assert names == {"v-one", "v-two"}


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"BackupVaultName": "v!"}, "v!"),
        ({"Color": "red"}, "does not apply these properties of AWS::Backup::BackupVault: Color"),
        ({"Notifications": {"BackupVaultEvents": ["BACKUP_JOB_COMPLETED"]}}, "SNSTopicArn"),
        ({"AccessPolicy": {"Version": "2012-10-17", "Statement": [{"Effect": "Deny"}]}}, "Principal"),
        ({"LockConfiguration": {"MinRetentionDays": 0}}, "MinRetentionDays"),
    ],
)
def test_the_rules_of_the_api_hold_for_templates(
    stacks: Stacks, clients: Callable[..., Any], properties: dict[str, Any], reason: str
) -> None:
    assert stacks.deploy(vault(**properties)) == "ROLLBACK_COMPLETE"

    assert reason in stacks.reasons()
    assert clients("backup").list_backup_vaults()["BackupVaultList"] == []


def test_a_vault_that_exists_already_fails_the_stack_and_stays(stacks: Stacks, clients: Callable[..., Any]) -> None:
    backup = clients("backup")
    backup.create_backup_vault(BackupVaultName="v-one")

    assert stacks.deploy(vault()) == "ROLLBACK_COMPLETE"

    assert "already exists" in stacks.reasons()
    assert backup.describe_backup_vault(BackupVaultName="v-one")["BackupVaultName"] == "v-one"


def test_a_deleted_stack_deletes_its_vault_also_if_somebody_did_before(
    stacks: Stacks, clients: Callable[..., Any]
) -> None:
    backup = clients("backup")
    for by_hand in (False, True):
        stacks.deploy(vault())
        if by_hand:
            backup.delete_backup_vault(BackupVaultName="v-one")
        stacks.delete()

        assert backup.list_backup_vaults()["BackupVaultList"] == []
        assert stacks.client.describe_stacks()["Stacks"] == []


# Plans and selections.


SERVICE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/AWSBackupRole"


def rule(name: str = "daily", **members: Any) -> dict[str, Any]:
    return {"RuleName": name, "TargetBackupVault": {"Ref": "Vault"}, **members}


def plan(*rules: dict[str, Any], tags: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    body = {"BackupPlanName": "p-one", "BackupPlanRule": list(rules or (rule(),)), **members}
    return {
        **vault(),
        "Plan": {"Type": "AWS::Backup::BackupPlan", "Properties": {"BackupPlan": body, "BackupPlanTags": tags or {}}},
    }


def plan_selection(**members: Any) -> dict[str, Any]:
    body = {"SelectionName": "s-one", "IamRoleArn": SERVICE_ROLE, "Resources": ["*"], **members}
    properties = {"BackupPlanId": {"Ref": "Plan"}, "BackupSelection": body}
    return {"Selection": {"Type": "AWS::Backup::BackupSelection", "Properties": properties}}


def only_plan(backup: Any) -> dict[str, Any]:
    (listed,) = backup.list_backup_plans()["BackupPlansList"]
    return dict(backup.get_backup_plan(BackupPlanId=listed["BackupPlanId"]))


def only_selection(backup: Any) -> dict[str, Any]:
    plan_id = only_plan(backup)["BackupPlanId"]
    (listed,) = backup.list_backup_selections(BackupPlanId=plan_id)["BackupSelectionsList"]
    return dict(backup.get_backup_selection(BackupPlanId=plan_id, SelectionId=listed["SelectionId"]))


def test_a_plan_and_its_selection_are_made_as_described(stacks: Stacks, clients: Callable[..., Any]) -> None:
    copies = f"arn:aws:backup:eu-west-1:{ACCOUNT}:backup-vault:copies"
    full = rule(
        ScheduleExpression="cron(0 3 ? * SUN *)",
        ScheduleExpressionTimezone="Europe/Berlin",
        StartWindowMinutes={"Ref": "Window"},
        CompletionWindowMinutes=600,
        EnableContinuousBackup="false",
        Lifecycle={"MoveToColdStorageAfterDays": "31", "DeleteAfterDays": 366},
        RecoveryPointTags={"kind": "weekly"},
        CopyActions=[{"DestinationBackupVaultArn": copies, "Lifecycle": {"DeleteAfterDays": "30"}}],
    )
    outputs = {
        "Plan": {"Ref": "Plan"},
        "Arn": {"Fn::GetAtt": ["Plan", "BackupPlanArn"]},
        "Version": {"Fn::GetAtt": ["Plan", "VersionId"]},
        "Selection": {"Ref": "Selection"},
        "SelectionId": {"Fn::GetAtt": ["Selection", "SelectionId"]},
        "SelectionPlan": {"Fn::GetAtt": ["Selection", "BackupPlanId"]},
    }
    tagged = {"ListOfTags": [{"ConditionType": "STRINGEQUALS", "ConditionKey": "a", "ConditionValue": "b"}]}
    conditions = {"StringLike": [{"ConditionKey": "aws:ResourceTag/stage", "ConditionValue": "prod*"}]}

    status = stacks.deploy(
        {
            **plan(full, tags={"team": "orders"}),
            **plan_selection(**tagged, NotResources=["arn:aws:s3:::*"], Conditions=conditions),
        },
        template={
            "Parameters": {"Window": {"Type": "Number", "Default": 120}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        },
    )

    assert status == "CREATE_COMPLETE"
    made, chosen = only_plan(clients("backup")), only_selection(clients("backup"))
    (kept,) = made["BackupPlan"]["Rules"]
    assert kept.pop("RuleId")
    assert kept == {
        "RuleName": "daily",
        "TargetBackupVaultName": "v-one",
        "ScheduleExpression": "cron(0 3 ? * SUN *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "StartWindowMinutes": 120,
        "CompletionWindowMinutes": 600,
        "EnableContinuousBackup": False,
        "Lifecycle": {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 366},
        "RecoveryPointTags": {"kind": "weekly"},
        "CopyActions": [{"DestinationBackupVaultArn": copies, "Lifecycle": {"DeleteAfterDays": 30}}],
    }
    assert clients("backup").list_tags(ResourceArn=made["BackupPlanArn"])["Tags"] == {"team": "orders"}
    assert chosen["BackupSelection"] == {
        "SelectionName": "s-one",
        "IamRoleArn": SERVICE_ROLE,
        "Resources": ["*"],
        "NotResources": ["arn:aws:s3:::*"],
        **tagged,
        "Conditions": conditions,
    }
    assert stacks.outputs() == {
        "Plan": made["BackupPlanId"],
        "Arn": made["BackupPlanArn"],
        "Version": made["VersionId"],
        "Selection": chosen["SelectionId"],
        "SelectionId": chosen["SelectionId"],
        "SelectionPlan": made["BackupPlanId"],
    }


def test_a_plan_is_updated_in_place_and_keeps_its_selection(stacks: Stacks, clients: Callable[..., Any]) -> None:
    backup = clients("backup")
    stacks.deploy({**plan(tags={"old": "1", "same": "1"}), **plan_selection()})
    before, selected = only_plan(backup), only_selection(backup)

    changed = plan(rule(Lifecycle={"DeleteAfterDays": 9}), rule("weekly"), tags={"same": "2"}, BackupPlanName="p-two")
    assert stacks.deploy({**changed, **plan_selection()}) == "UPDATE_COMPLETE"

    after = only_plan(backup)
    assert after["BackupPlanId"] == before["BackupPlanId"]
    assert after["VersionId"] != before["VersionId"]
    assert after["BackupPlan"]["BackupPlanName"] == "p-two"
    assert [each["RuleName"] for each in after["BackupPlan"]["Rules"]] == ["daily", "weekly"]
    assert after["BackupPlan"]["Rules"][0]["Lifecycle"] == {"DeleteAfterDays": 9}
    assert backup.list_tags(ResourceArn=after["BackupPlanArn"])["Tags"] == {"same": "2"}
    assert only_selection(backup)["SelectionId"] == selected["SelectionId"]


def test_a_plan_that_stays_the_same_gets_no_version(stacks: Stacks, clients: Callable[..., Any]) -> None:
    stacks.deploy({**plan(), **plan_selection()})
    before = only_plan(clients("backup"))

    assert stacks.deploy({**plan(tags={"new": "1"}), **plan_selection()}) == "UPDATE_COMPLETE"

    assert only_plan(clients("backup"))["VersionId"] == before["VersionId"]


def test_a_changed_selection_is_a_new_one(stacks: Stacks, clients: Callable[..., Any]) -> None:
    backup = clients("backup")
    stacks.deploy({**plan(), **plan_selection()})
    before = only_selection(backup)

    assert stacks.deploy({**plan(), **plan_selection(Resources=["arn:aws:dynamodb:*:*:table/*"])}) == "UPDATE_COMPLETE"

    after = only_selection(backup)
    assert after["SelectionId"] != before["SelectionId"]
    assert after["BackupSelection"]["Resources"] == ["arn:aws:dynamodb:*:*:table/*"]


def test_a_selection_and_a_plan_can_leave_a_stack(stacks: Stacks, clients: Callable[..., Any]) -> None:
    backup = clients("backup")
    stacks.deploy({**plan(), **plan_selection()})
    assert stacks.deploy(plan()) == "UPDATE_COMPLETE"
    assert backup.list_backup_selections(BackupPlanId=only_plan(backup)["BackupPlanId"])["BackupSelectionsList"] == []
    assert stacks.deploy(vault()) == "UPDATE_COMPLETE"
    assert backup.list_backup_plans()["BackupPlansList"] == []


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_deleted_stack_deletes_its_plan_and_selection(
    stacks: Stacks, clients: Callable[..., Any], by_hand: bool
) -> None:
    backup = clients("backup")
    stacks.deploy({**plan(), **plan_selection()})
    if by_hand:
        selected = only_selection(backup)
        backup.delete_backup_selection(BackupPlanId=selected["BackupPlanId"], SelectionId=selected["SelectionId"])
        backup.delete_backup_plan(BackupPlanId=selected["BackupPlanId"])
    stacks.delete()

    assert stacks.client.describe_stacks()["Stacks"] == []
    assert backup.list_backup_plans()["BackupPlansList"] == []


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (plan(rule(ScheduleExpression="daily")), "Error in rule daily : Invalid schedule expression"),
        (plan(rule(StartWindowMinutes="soon")), "whole numbers"),
        (plan(rule(TargetBackupVaultName="v-one")), "BackupPlanRule: TargetBackupVaultName"),
        (plan(Rules=[]), "BackupPlan: Rules"),
        ({**plan(), **plan_selection(Resources=["orders"])}, "Invalid ARN"),
        ({**plan(), **plan_selection(Tags=[])}, "BackupSelection: Tags"),
        ({"Plan": {"Type": "AWS::Backup::BackupPlan", "Properties": {}}}, "[BackupPlan] not found"),
    ],
)
def test_the_rules_of_the_api_hold_for_plans_in_templates(
    stacks: Stacks, clients: Callable[..., Any], resources: dict[str, Any], reason: str
) -> None:
    assert stacks.deploy(resources) == "ROLLBACK_COMPLETE"

    assert reason in stacks.reasons()
    assert clients("backup").list_backup_plans()["BackupPlansList"] == []


def test_a_failed_update_leaves_the_plan_as_it_was(stacks: Stacks, clients: Callable[..., Any]) -> None:
    stacks.deploy({**plan(), **plan_selection()})
    before = only_plan(clients("backup"))["BackupPlan"]

    assert stacks.deploy({**plan(rule(StartWindowMinutes=5)), **plan_selection()}) == "UPDATE_ROLLBACK_COMPLETE"

    assert "StartWindowMinutes" in stacks.reasons()
    assert only_plan(clients("backup"))["BackupPlan"] == before
    assert only_selection(clients("backup"))["BackupSelection"]["SelectionName"] == "s-one"


# Tables.


def table(**properties: Any) -> dict[str, Any]:
    return {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": "t-one",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "h", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "h", "KeyType": "HASH"}],
                **properties,
            },
        }
    }


def described(client: Any) -> dict[str, Any]:
    return dict(client.describe_table(TableName="t-one")["Table"])


def recovery(client: Any) -> Any:
    described = client.describe_continuous_backups(TableName="t-one")["ContinuousBackupsDescription"]
    description = described["PointInTimeRecoveryDescription"]
    return description["PointInTimeRecoveryStatus"], description.get("RecoveryPeriodInDays")


def time_to_live(client: Any) -> Any:
    description = client.describe_time_to_live(TableName="t-one")["TimeToLiveDescription"]
    return description["TimeToLiveStatus"], description.get("AttributeName")


def table_tags(client: Any) -> Any:
    return client.list_tags_of_resource(ResourceArn=described(client)["TableArn"])["Tags"]


def key_of_encryption(client: Any) -> Any:
    return described(client).get("SSEDescription", {}).get("KMSMasterKeyArn")


def indexes(client: Any) -> Any:
    return [index["IndexName"] for index in described(client)["GlobalSecondaryIndexes"]]


def throughput(client: Any) -> Any:
    answer = described(client)
    capacity = answer["ProvisionedThroughput"]
    return answer["BillingModeSummary"]["BillingMode"], capacity["ReadCapacityUnits"], capacity["WriteCapacityUnits"]


INDEX = {
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("h", "g")],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-g",
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}

TABLE_PROPERTIES: dict[str, tuple[dict[str, Any], Callable[[Any], Any], Any, Any]] = {
    "recovery": (
        {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": "true", "RecoveryPeriodInDays": 7}},
        recovery,
        ("ENABLED", 7),
        ("DISABLED", None),
    ),
    "time to live": (
        {"TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True}},
        time_to_live,
        ("ENABLED", "expires"),
        ("DISABLED", None),
    ),
    "deletion protection": (
        {"DeletionProtectionEnabled": "true"},
        lambda client: described(client)["DeletionProtectionEnabled"],
        True,
        False,
    ),
    "encryption": (
        {"SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": "my-key"}},
        key_of_encryption,
        "my-key",
        None,
    ),
    "tags": ({"Tags": [{"Key": "a", "Value": "b"}]}, table_tags, [{"Key": "a", "Value": "b"}], []),
    "index": (INDEX, indexes, ["by-g"], []),
    "throughput": (
        {
            "BillingMode": "PROVISIONED",
            "ProvisionedThroughput": {"ReadCapacityUnits": "5", "WriteCapacityUnits": 2},
        },
        throughput,
        ("PROVISIONED", 5, 2),
        ("PAY_PER_REQUEST", 0, 0),
    ),
    "stream": (
        {"StreamSpecification": {"StreamViewType": "NEW_IMAGE"}},
        lambda client: described(client).get("StreamSpecification"),
        {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        None,
    ),
}


@pytest.mark.parametrize("name", TABLE_PROPERTIES)
def test_a_table_is_made_as_described(stacks: Stacks, clients: Callable[..., Any], name: str) -> None:
    properties, ask, expected, _ = TABLE_PROPERTIES[name]

    assert stacks.deploy(table(**properties)) == "CREATE_COMPLETE"

    assert ask(clients("dynamodb")) == expected


@pytest.mark.parametrize("name", TABLE_PROPERTIES)
def test_a_table_is_updated_in_place(stacks: Stacks, clients: Callable[..., Any], name: str) -> None:
    properties, ask, expected, without = TABLE_PROPERTIES[name]
    dynamodb = clients("dynamodb")
    stacks.deploy(table())
    made = described(dynamodb)
    dynamodb.put_item(TableName="t-one", Item={"h": {"S": "kept"}})
    answers = [ask(dynamodb)]
    for change in (properties, {}):
        assert stacks.deploy(table(**change)) == "UPDATE_COMPLETE"
        answers.append(ask(dynamodb))

    assert answers == [without, expected, without]
    assert described(dynamodb)["TableId"] == made["TableId"]
    assert dynamodb.scan(TableName="t-one")["Count"] == 1


def test_encryption_without_a_key_takes_the_one_that_aws_manages(stacks: Stacks, clients: Callable[..., Any]) -> None:
    stacks.deploy(table(SSESpecification={"SSEEnabled": "true"}))

    answer = described(clients("dynamodb"))["SSEDescription"]
    assert (answer["Status"], answer["SSEType"]) == ("ENABLED", "KMS")
    assert answer["KMSMasterKeyArn"].startswith(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/")


def test_tags_of_others_stay(stacks: Stacks, clients: Callable[..., Any]) -> None:
    dynamodb = clients("dynamodb")
    stacks.deploy(table(Tags=[{"Key": "a", "Value": "1"}]))
    dynamodb.tag_resource(ResourceArn=described(dynamodb)["TableArn"], Tags=[{"Key": "by-hand", "Value": "1"}])

    stacks.deploy(table(Tags=[{"Key": "a", "Value": "2"}]))

    assert table_tags(dynamodb) == [{"Key": "by-hand", "Value": "1"}, {"Key": "a", "Value": "2"}]


def test_a_change_that_would_replace_a_named_table_is_undone(stacks: Stacks, clients: Callable[..., Any]) -> None:
    dynamodb = clients("dynamodb")
    stacks.deploy(table())
    dynamodb.put_item(TableName="t-one", Item={"h": {"S": "kept"}})

    status = stacks.deploy(
        table(
            KeySchema=[{"AttributeName": "other", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "other", "AttributeType": "S"}],
        )
    )

    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert "requires replacing" in stacks.reasons()
    assert described(dynamodb)["KeySchema"] == [{"AttributeName": "h", "KeyType": "HASH"}]
    assert dynamodb.scan(TableName="t-one")["Count"] == 1


@pytest.mark.parametrize(("policy", "left"), [("Retain", ["t-one", "t-two"]), ("Delete", ["t-two"])])
def test_a_renamed_table_is_a_new_one(
    stacks: Stacks, clients: Callable[..., Any], policy: str, left: list[str]
) -> None:
    for name in ("t-one", "t-two"):
        stacks.deploy({"Table": {**table(TableName=name)["Table"], "UpdateReplacePolicy": policy}})

    assert stacks.status() == "UPDATE_COMPLETE"
    assert clients("dynamodb").list_tables()["TableNames"] == left


def test_a_protected_table_outlives_its_stack(stacks: Stacks, clients: Callable[..., Any]) -> None:
    dynamodb = clients("dynamodb")
    stacks.deploy(table(DeletionProtectionEnabled=True))

    stacks.delete()

    assert stacks.status() == "DELETE_FAILED"
    assert dynamodb.list_tables()["TableNames"] == ["t-one"]
    stacks.deploy(table(DeletionProtectionEnabled=False))
    stacks.delete()
    assert dynamodb.list_tables()["TableNames"] == []


# Roles.

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "backup.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
BACKUP_POLICY = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
RESTORE_POLICY = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForRestores"


def role(**properties: Any) -> dict[str, Any]:
    document = {"RoleName": "r-AWSBackup", "AssumeRolePolicyDocument": TRUST, **properties}
    return {"Role": {"Type": "AWS::IAM::Role", "Properties": document}}


def inline(name: str, action: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return {"PolicyName": name, "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


def managed(iam: Any) -> list[str]:
    attached = iam.list_attached_role_policies(RoleName="r-AWSBackup")["AttachedPolicies"]
    return sorted(policy["PolicyArn"] for policy in attached)


def inline_actions(iam: Any) -> dict[str, str]:
    names = iam.list_role_policies(RoleName="r-AWSBackup")["PolicyNames"]
    documents = {name: iam.get_role_policy(RoleName="r-AWSBackup", PolicyName=name) for name in names}
    return {name: answer["PolicyDocument"]["Statement"][0]["Action"] for name, answer in documents.items()}


def test_a_role_is_made_updated_and_deleted(stacks: Stacks, clients: Callable[..., Any]) -> None:
    iam = clients("iam")
    stacks.deploy(
        role(ManagedPolicyArns=[BACKUP_POLICY, RESTORE_POLICY], Policies=[inline("a", "s3:Get*"), inline("b", "s3:*")])
    )
    made = iam.get_role(RoleName="r-AWSBackup")["Role"]

    assert made["AssumeRolePolicyDocument"] == TRUST
    assert managed(iam) == [BACKUP_POLICY, RESTORE_POLICY]
    assert inline_actions(iam) == {"a": "s3:Get*", "b": "s3:*"}
    assert iam.get_policy(PolicyArn=BACKUP_POLICY)["Policy"]["AttachmentCount"] == 1

    other_trust = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": {"Service": "ec2.amazonaws.com"}}]}
    status = stacks.deploy(
        role(
            ManagedPolicyArns=[RESTORE_POLICY],
            Policies=[inline("a", "s3:Put*")],
            AssumeRolePolicyDocument=other_trust,
            MaxSessionDuration=7200,
            Description="changed",
            Tags=[{"Key": "a", "Value": "b"}],
        )
    )

    updated = iam.get_role(RoleName="r-AWSBackup")["Role"]
    assert status == "UPDATE_COMPLETE"
    assert (updated["RoleId"], updated["AssumeRolePolicyDocument"]) == (made["RoleId"], other_trust)
    assert (updated["MaxSessionDuration"], updated["Description"]) == (7200, "changed")
    assert updated["Tags"] == [{"Key": "a", "Value": "b"}]
    assert managed(iam) == [RESTORE_POLICY]
    assert inline_actions(iam) == {"a": "s3:Put*"}

    stacks.delete()
    assert iam.list_roles()["Roles"] == []
    assert stacks.client.describe_stacks()["Stacks"] == []


def test_a_policy_that_does_not_exist_fails_the_stack(stacks: Stacks, clients: Callable[..., Any]) -> None:
    status = stacks.deploy(role(ManagedPolicyArns=["arn:aws:iam::aws:policy/NoSuchPolicy"]))

    assert status == "ROLLBACK_COMPLETE"
    assert "NoSuchPolicy" in stacks.reasons()
    assert clients("iam").list_roles()["Roles"] == []


# The life of a stack.


def test_an_unknown_resource_type_is_refused(stacks: Stacks) -> None:
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::No::Such\]"):
        stacks.deploy({"X": {"Type": "AWS::No::Such"}})

    assert stacks.client.describe_stacks()["Stacks"] == []


def test_an_update_to_an_unknown_resource_type_is_refused(stacks: Stacks) -> None:
    stacks.deploy(vault())
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        stacks.deploy({**vault(), "X": {"Type": "AWS::No::Such"}})

    assert stacks.status() == "CREATE_COMPLETE"


def test_a_stack_that_fails_half_way_takes_back_what_it_made(stacks: Stacks, clients: Callable[..., Any]) -> None:
    clients("backup").create_backup_vault(BackupVaultName="v-one")

    assert stacks.deploy({**table(), **vault()}) == "ROLLBACK_COMPLETE"

    assert clients("dynamodb").list_tables()["TableNames"] == []


def parameters(**values: str) -> dict[str, Any]:
    return {"Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]}


def deployed_by_root(**values: str) -> dict[str, Any]:
    return parameters(DeployPrincipalArn=f"arn:aws:iam::{ACCOUNT}:root", **values)


NAMED = {
    "template": {"Parameters": {"Team": {"Type": "String", "Default": "orders"}}},
    "resources": vault(BackupVaultTags={"team": {"Fn::Sub": "team-${Team}"}}),
}


@pytest.mark.parametrize(
    "same",
    [
        {},
        parameters(Team="orders"),
        {"Parameters": [{"ParameterKey": "Team", "UsePreviousValue": True}]},
        {"Tags": [{"Key": "stack", "Value": "tag"}]},
    ],
    ids=["nothing", "default", "previous", "tags"],
)
def test_an_update_without_change_says_so(stacks: Stacks, same: dict[str, Any]) -> None:
    tags = [{"Key": "stack", "Value": "tag"}]
    stacks.deploy(NAMED["resources"], template=NAMED["template"], Tags=tags)
    pretty = json.dumps({"Resources": NAMED["resources"], **NAMED["template"]}, indent=4)

    with pytest.raises(ClientError, match=r"No updates are to be performed\."):
        stacks.deploy_body("s", pretty, **same)

    assert stacks.status() == "CREATE_COMPLETE"


def test_a_parameter_reaches_what_names_it_in_a_text(stacks: Stacks, clients: Callable[..., Any]) -> None:
    stacks.deploy(NAMED["resources"], template=NAMED["template"])

    status = stacks.deploy(NAMED["resources"], template=NAMED["template"], **parameters(Team="shop"))

    assert status == "UPDATE_COMPLETE"
    assert vault_tags(clients("backup")) == {"team": "team-shop"}


def test_a_resource_that_is_taken_out_is_deleted(stacks: Stacks, clients: Callable[..., Any]) -> None:
    stacks.deploy({**vault(), **table()})

    assert stacks.deploy(vault()) == "UPDATE_COMPLETE"

    assert clients("dynamodb").list_tables()["TableNames"] == []


# The project's own template.


@pytest.fixture
def orders_backup(stacks: Stacks) -> Stacks:
    assert stacks.deploy_body(STACK, TEMPLATE.read_text(), **deployed_by_root()) == "CREATE_COMPLETE"
    return stacks


def test_the_template_passes_the_linter() -> None:
    assert cfn_lint.lint_file(TEMPLATE) == []


def test_the_stack_names_what_it_made(orders_backup: Stacks) -> None:
    outputs = orders_backup.outputs(STACK)

    assert outputs.pop("VaultKeyArn").startswith(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/")
    assert len(outputs.pop("PlanId")) == 36
    assert outputs == {
        "BucketName": f"{STACK}-{ACCOUNT}-{REGION}",
        "TableName": "orders",
        "TableArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders",
        "LeaseTableName": "orders-backup-leases",
        "VaultName": "orders-vault",
        "VaultArn": f"arn:aws:backup:{REGION}:{ACCOUNT}:backup-vault:orders-vault",
        "BackupRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{STACK}-AWSBackup-{REGION}",
        "ProbeVaultName": "orders-vault-probe",
        "ProbeTableName": f"{STACK}-probe",
        "NotificationTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-notifications",
        "OperatorRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{STACK}-operator-{REGION}",
        "RetentionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{STACK}-retention-{REGION}",
        "DeveloperRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{STACK}-developer-{REGION}",
        "DeveloperGroupName": f"{STACK}-developers-{REGION}",
    }


def test_its_bucket_is_versioned_private_and_encrypted(orders_backup: Stacks, clients: Callable[..., Any]) -> None:
    s3, bucket = clients("s3"), orders_backup.outputs(STACK)["BucketName"]

    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    blocks = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(blocks.values()) == {True}
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert controls["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert rules["staged-files-expire"]["Filter"] == {"Prefix": "staging/"}
    assert rules["staged-files-expire"]["Expiration"] == {"Days": 90}
    assert rules["staged-files-expire"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    for name in ("rejects", "loads", "fleet", "intents", "brackets"):
        rule = rules[f"older-versions-of-{name}-expire"]
        assert rule["Filter"] == {"Prefix": f"{name}/"}
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
        assert "Expiration" not in rule
    assert rules["broken-uploads-expire"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == (
        "Deny",
        {"Bool": {"aws:SecureTransport": "false"}},
    )
    assert statement["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]


def test_its_orders_table_is_protected(orders_backup: Stacks, clients: Callable[..., Any]) -> None:
    dynamodb = clients("dynamodb")
    orders = dynamodb.describe_table(TableName="orders")["Table"]

    assert orders["KeySchema"] == [
        {"AttributeName": "order_id", "KeyType": "HASH"},
        {"AttributeName": "item_id", "KeyType": "RANGE"},
    ]
    assert {entry["AttributeType"] for entry in orders["AttributeDefinitions"]} == {"S"}
    assert orders["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert orders["DeletionProtectionEnabled"] is True
    tags = dynamodb.list_tags_of_resource(ResourceArn=orders["TableArn"])["Tags"]
    assert tags == [{"Key": "backup", "Value": "daily"}]
    continuous = dynamodb.describe_continuous_backups(TableName="orders")["ContinuousBackupsDescription"]
    assert continuous["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_its_lease_table_has_one_key_and_no_ttl(orders_backup: Stacks, clients: Callable[..., Any]) -> None:
    dynamodb = clients("dynamodb")
    leases = dynamodb.describe_table(TableName="orders-backup-leases")["Table"]

    assert leases["KeySchema"] == [{"AttributeName": "table_name", "KeyType": "HASH"}]
    assert leases["AttributeDefinitions"] == [{"AttributeName": "table_name", "AttributeType": "S"}]
    assert leases["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    ttl = dynamodb.describe_time_to_live(TableName="orders-backup-leases")["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "DISABLED"


def test_its_vault_and_role_serve_aws_backup(orders_backup: Stacks, clients: Callable[..., Any]) -> None:
    iam, backup = clients("iam"), clients("backup")
    role_name = orders_backup.outputs(STACK)["BackupRoleArn"].rsplit("/", 1)[-1]
    made = iam.get_role(RoleName=role_name)["Role"]
    (statement,) = made["AssumeRolePolicyDocument"]["Statement"]
    attached = iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]

    assert "AWSBackup" in role_name
    assert statement["Principal"] == {"Service": "backup.amazonaws.com"}
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
    assert sorted(policy["PolicyArn"] for policy in attached) == [BACKUP_POLICY, RESTORE_POLICY]
    assert vault_tags(backup, "orders-vault") == {"managed-by": "dynamodb-backup-proof"}


def test_it_can_be_deployed_again_without_change(orders_backup: Stacks) -> None:
    with pytest.raises(ClientError, match=r"No updates are to be performed\."):
        orders_backup.deploy_body(STACK, TEMPLATE.read_text(), **deployed_by_root())


def test_it_backs_up_and_restores(orders_backup: Stacks, clients: Callable[..., Any]) -> None:
    outputs = orders_backup.outputs(STACK)

    started = clients("backup").start_backup_job(
        BackupVaultName=outputs["VaultName"],
        ResourceArn=outputs["TableArn"],
        IamRoleArn=outputs["BackupRoleArn"],
    )

    assert started["RecoveryPointArn"].startswith(f"arn:aws:backup:{REGION}:{ACCOUNT}:recovery-point:")


def test_it_is_torn_down_only_after_the_table_is_unprotected(
    orders_backup: Stacks, clients: Callable[..., Any]
) -> None:
    dynamodb = clients("dynamodb")
    dynamodb.put_item(TableName="orders", Item={"order_id": {"S": "1"}, "item_id": {"S": "1"}})

    orders_backup.delete(STACK)

    assert orders_backup.status(STACK) == "DELETE_FAILED"
    assert dynamodb.scan(TableName="orders")["Count"] == 1

    orders_backup.deploy_body(STACK, TEMPLATE.read_text(), **deployed_by_root(TableDeletionProtection="false"))
    orders_backup.delete(STACK)

    assert orders_backup.client.describe_stacks()["Stacks"] == []
    assert dynamodb.list_tables()["TableNames"] == []
    assert clients("s3").list_buckets()["Buckets"] == []
    assert clients("backup").list_backup_vaults()["BackupVaultList"] == []
    assert clients("iam").list_roles()["Roles"] == []
    assert clients("iam").list_groups()["Groups"] == []
    assert clients("iam").list_policies(Scope="Local")["Policies"] == []
    assert orders_backup.deploy_body(STACK, TEMPLATE.read_text(), **deployed_by_root()) == "CREATE_COMPLETE"
