"""Callers get what their policies allow, and AWS's refusal for the rest."""

import json

import pytest
from botocore.exceptions import ClientError

from local_aws import control

ACCOUNT = "123456789012"
VAULT_ARN = f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:orders-vault"
TABLE_ARN = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders"


def allow(action, resource="*", **condition):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def deny(action, resource="*", **condition):
    return {**allow(action, resource, **condition), "Effect": "Deny"}


def test_nothing_is_enforced_unless_asked_for(aws, people):
    control.configure(enforce_iam=False)
    powerless = people.user("powerless")
    assert powerless("backup").describe_backup_vault(BackupVaultName=aws.vault)["BackupVaultArn"] == VAULT_ARN


def test_a_user_without_policies_is_denied_and_root_is_not(aws, people, denied):
    nobody = people.user("nobody")("backup")
    with pytest.raises(ClientError) as raised:
        nobody.describe_backup_vault(BackupVaultName=aws.vault)
    reply = raised.value.response
    assert reply["Error"]["Code"] == "AccessDeniedException"
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert reply["Error"]["Message"] == (
        f"User: arn:aws:iam::{ACCOUNT}:user/nobody is not authorized to perform: backup:DescribeBackupVault"
        f" on resource: {VAULT_ARN} because no identity-based policy allows the backup:DescribeBackupVault action"
    )
    assert aws.backup.describe_backup_vault(BackupVaultName=aws.vault)["BackupVaultArn"] == VAULT_ARN


def test_dynamodb_denies_with_its_own_status(people):
    with pytest.raises(ClientError) as raised:
        people.user("nobody")("dynamodb").scan(TableName="orders")
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert f"dynamodb:Scan on resource: {TABLE_ARN}" in raised.value.response["Error"]["Message"]


def test_allows_by_exact_arn_and_wildcard(aws, people, denied):
    user = people.user(
        "clerk", allow("backup:Describe*", VAULT_ARN), allow("dynamodb:Get?tem", "arn:aws:dynamodb:*:*:table/ord*")
    )
    assert user("backup").describe_backup_vault(BackupVaultName=aws.vault)["Locked"] is False
    key = {"order_id": {"S": "A"}, "item_id": {"S": "1"}}
    assert user("dynamodb").get_item(TableName="orders", Key=key)["Item"] == key
    with denied("backup-vault:another"):
        user("backup").describe_backup_vault(BackupVaultName="another")
    with denied("dynamodb:PutItem"):
        user("dynamodb").put_item(TableName="orders", Item=key)


def test_an_explicit_deny_beats_every_allow(aws, people, denied):
    arn = aws.recovery_point()
    user = people.user("almighty", allow("*"), deny("backup:DeleteRecoveryPoint", arn.rpartition(":")[0] + ":*"))
    client = user("backup")
    assert client.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)["Status"] == "COMPLETED"
    with denied(f"on resource: {arn} with an explicit deny in an identity-based policy"):
        client.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)


def test_a_deny_on_other_arns_does_not_matter(aws, people):
    arn = aws.recovery_point()
    user = people.user("careful", allow("*"), deny("backup:DeleteRecoveryPoint", arn + "0"))
    user("backup").delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    assert aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)["Status"] == "DELETING"


def test_groups_and_managed_policies_count(aws, people, denied):
    user = people.user("member")
    iam = people.iam
    iam.create_group(GroupName="readers")
    iam.put_group_policy(
        GroupName="readers",
        PolicyName="inline",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allow("backup:ListBackupVaults")}),
    )
    with denied("backup:ListBackupVaults"):
        user("backup").list_backup_vaults()
    iam.add_user_to_group(GroupName="readers", UserName="member")
    assert len(user("backup").list_backup_vaults()["BackupVaultList"]) == 1
    managed = iam.create_policy(
        PolicyName="no-lists",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": deny("backup:List*")}),
    )["Policy"]["Arn"]
    iam.attach_user_policy(UserName="member", PolicyArn=managed)
    with denied("with an explicit deny in an identity-based policy"):
        user("backup").list_backup_vaults()


def test_batches_need_every_table(aws, people, denied):
    aws.make_table("other")
    user = people.user("writer", allow("dynamodb:BatchWriteItem", TABLE_ARN))("dynamodb")
    put = [{"PutRequest": {"Item": {"order_id": {"S": "C"}, "item_id": {"S": "1"}}}}]
    user.batch_write_item(RequestItems={"orders": put})
    with denied("table/other"):
        user.batch_write_item(RequestItems={"orders": put, "other": put})
    assert aws.orders("other") == []


def test_transactions_need_the_actions_of_their_parts(aws, people, denied):
    user = people.user("writer", allow(["dynamodb:PutItem", "dynamodb:GetItem"], TABLE_ARN))("dynamodb")
    key = {"order_id": {"S": "A"}, "item_id": {"S": "1"}}
    user.transact_write_items(TransactItems=[{"Put": {"TableName": "orders", "Item": key}}])
    assert user.transact_get_items(TransactItems=[{"Get": {"TableName": "orders", "Key": key}}])["Responses"]
    with denied("dynamodb:DeleteItem"):
        user.transact_write_items(TransactItems=[{"Delete": {"TableName": "orders", "Key": key}}])
    assert aws.orders("orders") == ["A", "B"]


def test_an_index_is_a_resource_of_its_own(aws, people, denied):
    user = people.user("reader", allow("dynamodb:Query", TABLE_ARN))("dynamodb")
    question = {
        "TableName": "orders",
        "KeyConditionExpression": "order_id = :o",
        "ExpressionAttributeValues": {":o": {"S": "A"}},
    }
    assert user.query(**question)["Count"] == 1
    with denied(f"{TABLE_ARN}/index/by-date"):
        user.query(**question, IndexName="by-date")


@pytest.mark.parametrize("part", ["key", "token"])
def test_wrong_credentials_are_not_known(aws, people, denied, part):
    role = people.role("Reader", allow("*"))
    keys = people.sts.assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    key, token = keys["AccessKeyId"], keys["SessionToken"]
    wrong = (key[:-1] + "0", token) if part == "key" else (key, token + "0")
    client = people.client("backup", wrong[0], keys["SecretAccessKey"], wrong[1])
    with denied("security token", "UnrecognizedClientException"):
        client.list_backup_vaults()


def test_an_inactive_key_is_not_known(people, denied):
    people.iam.create_user(UserName="gone")
    key = people.iam.create_access_key(UserName="gone")["AccessKey"]
    client = people.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
    assert client.get_caller_identity()["Arn"].endswith(":user/gone")
    people.iam.update_access_key(UserName="gone", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with denied("security token", "InvalidClientTokenId"):
        client.get_caller_identity()


# Roles


def test_a_session_has_its_roles_rights(aws, people, denied):
    session = people.assume(people.role("Reader", allow("backup:DescribeBackupVault")))
    assert session("backup").describe_backup_vault(BackupVaultName=aws.vault)["BackupVaultArn"] == VAULT_ARN
    with denied(f"User: arn:aws:sts::{ACCOUNT}:assumed-role/Reader/session is not authorized"):
        session("backup").delete_backup_vault(BackupVaultName=aws.vault)


def test_a_session_policy_and_a_boundary_narrow_a_role(aws, people, denied):
    narrow = {"Version": "2012-10-17", "Statement": allow("backup:List*")}
    role = people.role("Wide", allow("*"))
    session = people.assume(role, Policy=json.dumps(narrow))("backup")
    session.list_backup_vaults()
    with denied("because no session policy allows the backup:DescribeBackupVault action"):
        session.describe_backup_vault(BackupVaultName=aws.vault)
    boundary = people.iam.create_policy(PolicyName="edge", PolicyDocument=json.dumps(narrow))["Policy"]["Arn"]
    people.iam.put_role_permissions_boundary(RoleName="Wide", PermissionsBoundary=boundary)
    bounded = people.assume(role)("backup")
    bounded.list_backup_vaults()
    with denied("because no permissions boundary allows"):
        bounded.describe_backup_vault(BackupVaultName=aws.vault)


def test_a_trust_policy_is_honoured(people, denied):
    people.user("friend")
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/friend"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "secret"}},
    }
    role = people.role("Trusting", allow("*"), trust=trust)
    key = people.iam.create_access_key(UserName="friend")["AccessKey"]
    friend = people.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
    stranger = people.user("stranger", allow("sts:AssumeRole"))("sts")
    with denied(f"sts:AssumeRole on resource: {role}", "AccessDenied"):
        friend.assume_role(RoleArn=role, RoleSessionName="session")
    with denied("because no resource-based policy allows", "AccessDenied"):
        stranger.assume_role(RoleArn=role, RoleSessionName="session", ExternalId="secret")
    assert friend.assume_role(RoleArn=role, RoleSessionName="session", ExternalId="secret")["Credentials"]


def test_trust_in_the_account_leaves_it_to_identity_policies(people, denied):
    role = people.role("Shared", allow("*"))
    with denied("because no identity-based policy allows", "AccessDenied"):
        people.user("plain")("sts").assume_role(RoleArn=role, RoleSessionName="session")
    may = people.user("may", allow("sts:AssumeRole", role))("sts")
    assert may.assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]


def test_a_role_that_does_not_exist_cannot_be_assumed(people, denied):
    with denied("sts:AssumeRole", "AccessDenied"):
        people.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/none", RoleSessionName="session")


def test_everybody_may_ask_who_they_are(people):
    session = people.assume(people.role("Mute", deny("*")))
    assert session("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/Mute/session"


# Passing roles


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ({}, True),
        ({"StringEquals": {"iam:PassedToService": "backup.amazonaws.com"}}, True),
        ({"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}, False),
    ],
)
def test_a_role_is_passed_only_where_that_is_allowed(aws, people, denied, condition, passes):
    starter = people.user("starter", allow("backup:StartBackupJob"), allow("iam:PassRole", aws.role, **condition))
    request = {"BackupVaultName": aws.vault, "ResourceArn": TABLE_ARN, "IamRoleArn": aws.role}
    if passes:
        assert starter("backup").start_backup_job(**request)["BackupJobId"]
    else:
        with denied(f"iam:PassRole on resource: {aws.role}"):
            starter("backup").start_backup_job(**request)
        assert aws.backup.list_backup_jobs()["BackupJobs"] == []


# Conditions that policies use


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"StringEquals": {"aws:RequestTag/team": "orders"}}, True),
        ({"StringEquals": {"aws:RequestTag/team": "other"}}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "tier"]}}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["tier"]}}, False),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/mak*"}}, True),
        ({"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/mak*"}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, True),
        ({"Null": {"aws:RequestTag/team": "true"}}, False),
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
        ({"StringLike": {"aws:username": "${aws:username}"}}, True),
    ],
)
def test_conditions_decide(people, denied, condition, allowed):
    maker = people.user("maker", allow("backup:CreateBackupVault", **condition))("backup")
    request = {"BackupVaultName": "made", "BackupVaultTags": {"team": "orders"}}
    if allowed:
        assert maker.create_backup_vault(**request)["BackupVaultName"] == "made"
    else:
        with denied("backup:CreateBackupVault"):
            maker.create_backup_vault(**request)


def test_a_deny_whose_condition_does_not_hold_denies_nothing(aws, people, denied):
    guarded = deny("backup:DeleteBackupVault", "*", StringEquals={"aws:ResourceTag/keep": "yes"})
    user = people.user("cleaner", allow("*"), guarded)("backup")
    for name, keep in (("kept", "yes"), ("spare", "no")):
        aws.backup.create_backup_vault(BackupVaultName=name, BackupVaultTags={"keep": keep})
    with denied("explicit deny"):
        user.delete_backup_vault(BackupVaultName="kept")
    user.delete_backup_vault(BackupVaultName="spare")
    left = {vault["BackupVaultName"] for vault in aws.backup.list_backup_vaults()["BackupVaultList"]}
    assert left == {aws.vault, "kept"}


# S3 and CloudFormation, which the stack's users need


def test_s3_by_bucket_and_object(people, clients, denied):
    root = clients("s3")
    root.create_bucket(Bucket="staging")
    root.put_object(Bucket="staging", Key="open/a", Body=b"a")
    by_default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    root.put_bucket_encryption(Bucket="staging", ServerSideEncryptionConfiguration={"Rules": [by_default]})
    user = people.user(
        "loader",
        allow(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::staging/open/*"),
        allow("s3:ListBucket", "arn:aws:s3:::staging", StringLike={"s3:prefix": "open/*"}),
        allow("s3:GetEncryptionConfiguration", "arn:aws:s3:::staging"),
    )("s3")
    assert user.get_object(Bucket="staging", Key="open/a")["Body"].read() == b"a"
    user.put_object(Bucket="staging", Key="open/b", Body=b"b")
    user.copy_object(Bucket="staging", Key="open/c", CopySource="staging/open/b")
    assert [entry["Key"] for entry in user.list_objects_v2(Bucket="staging", Prefix="open/")["Contents"]] == [
        "open/a",
        "open/b",
        "open/c",
    ]
    assert user.get_bucket_encryption(Bucket="staging")["ServerSideEncryptionConfiguration"]
    for call, members in (
        (user.put_object, {"Key": "closed/a", "Body": b"x"}),
        (user.list_objects_v2, {"Prefix": "closed/"}),
        (user.delete_object, {"Key": "open/a"}),
        (user.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Enabled"}}),
        (user.copy_object, {"Key": "open/d", "CopySource": "staging/closed/z"}),
    ):
        with denied("not authorized to perform: s3:", "AccessDenied"):
            call(Bucket="staging", **members)


def test_many_objects_are_deleted_each_by_its_own_right(people, clients):
    root = clients("s3")
    root.create_bucket(Bucket="staging")
    for key in ("open/a", "open/b", "closed/c"):
        root.put_object(Bucket="staging", Key=key, Body=b"x")
    user = people.user("cleaner", allow("s3:DeleteObject", "arn:aws:s3:::staging/open/*"))("s3")
    named = [{"Key": key} for key in ("open/a", "open/b", "closed/c")]
    answer = user.delete_objects(Bucket="staging", Delete={"Objects": named})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == ["open/a", "open/b"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("closed/c", "AccessDenied")]
    assert [entry["Key"] for entry in root.list_objects_v2(Bucket="staging")["Contents"]] == ["closed/c"]


def test_a_bucket_policy_knows_its_callers_and_conditions(people, clients, denied):
    root = clients("s3")
    root.create_bucket(Bucket="evidence")
    writer = people.role("Writer", allow("s3:*"))
    spare = {"ArnNotEquals": {"aws:PrincipalArn": writer}}
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    statements = [
        {**deny(action, "arn:aws:s3:::evidence/*", **condition), "Principal": "*"}
        for action, condition in (("s3:PutObject", spare), ("s3:*", plain))
    ]
    root.put_bucket_policy(Bucket="evidence", Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    people.assume(writer)("s3").put_object(Bucket="evidence", Key="pack", Body=b"x")
    reader = people.user("reader", allow("s3:*"))("s3")
    assert reader.get_object(Bucket="evidence", Key="pack")["Body"].read() == b"x"
    with denied("with an explicit deny in a resource-based policy", "AccessDenied"):
        reader.put_object(Bucket="evidence", Key="pack", Body=b"y")


def test_cloudformation_by_stack(people, clients, denied):
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    stacks = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/mine*/*"
    user = people.user("deployer", allow("cloudformation:*", stacks))("cloudformation")
    user.create_stack(StackName="mine-1", TemplateBody=template)
    assert user.describe_stacks(StackName="mine-1")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    with denied("cloudformation:CreateStack", "AccessDenied"):
        user.create_stack(StackName="yours", TemplateBody=template)


def test_iam_by_role(people, denied):
    people.role("Target")
    user = people.user("admin", allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/Tar*"))("iam")
    assert user.get_role(RoleName="Target")["Role"]["RoleName"] == "Target"
    with denied("iam:DeleteRole", "AccessDenied"):
        user.delete_role(RoleName="Target")


def test_other_services_by_the_arn_that_they_are_given(people, clients, denied):
    topics = [clients("sns").create_topic(Name=name)["TopicArn"] for name in ("open", "closed")]
    user = people.user("talker", allow("sns:Publish", topics[0]))("sns")
    assert user.publish(TopicArn=topics[0], Message="m")["MessageId"]
    with denied("sns:Publish", "AccessDenied"):
        user.publish(TopicArn=topics[1], Message="m")
