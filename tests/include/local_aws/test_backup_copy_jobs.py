import json

import boto3
import pytest

from local_aws import control
from local_aws.backup.policy_grants import grants

ACCOUNT, OTHER = "123456789012", "210987654321"
FAR = "eu-west-1"


def vault_arn(name="copies", region="us-east-1", account=ACCOUNT):
    return f"arn:aws:backup:{region}:{account}:backup-vault:{name}"


@pytest.fixture
def copies(aws):
    """A second vault beside the first."""
    control.configure(copy_seconds=100)
    aws.backup.create_backup_vault(BackupVaultName="copies")
    return vault_arn()


@pytest.fixture
def other_account(aws, clients, endpoint_url):
    """Clients in another account."""
    credentials = clients("sts").assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/backup-admin", RoleSessionName="test")[
        "Credentials"
    ]
    session = boto3.Session(
        credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], "us-east-1"
    )
    return lambda service: session.client(service, endpoint_url=endpoint_url)


def start(aws, arn, destination, **members):
    request = {
        "RecoveryPointArn": arn,
        "SourceBackupVaultName": aws.vault,
        "DestinationBackupVaultArn": destination,
        "IamRoleArn": aws.role,
    }
    return aws.backup.start_copy_job(**{**request, **members})["CopyJobId"]


def job_of(aws, job_id):
    return aws.backup.describe_copy_job(CopyJobId=job_id)["CopyJob"]


def copied(aws, arn, destination, **members):
    job_id = start(aws, arn, destination, **members)
    aws.wait()
    return job_of(aws, job_id)


def test_a_copy_goes_through_its_states_on_the_clock(aws, copies):
    job_id = start(aws, aws.recovery_point(), copies)
    seen = [job_of(aws, job_id)["State"]]
    for _ in range(11):
        aws.wait(10)
        if (state := job_of(aws, job_id)["State"]) != seen[-1]:
            seen.append(state)
    assert seen == ["CREATED", "RUNNING", "COMPLETED"]


def test_a_completed_copy_says_what_it_did(aws, copies):
    arn = aws.recovery_point(Lifecycle={"DeleteAfterDays": 30})
    job = copied(aws, arn, copies)
    point = aws.backup.describe_recovery_point(
        BackupVaultName="copies", RecoveryPointArn=job["DestinationRecoveryPointArn"]
    )
    assert job["SourceRecoveryPointArn"] == arn != job["DestinationRecoveryPointArn"]
    assert job["SourceBackupVaultArn"] == vault_arn(aws.vault)
    assert job["DestinationBackupVaultArn"] == copies
    assert job["AccountId"] == ACCOUNT
    assert job["ResourceArn"] == f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders"
    assert job["ResourceType"] == "DynamoDB"
    assert job["MessageCategory"] == "SUCCESS"
    assert job["BackupSizeInBytes"] == point["BackupSizeInBytes"] > 0
    assert job["DestinationRecoveryPointLifecycle"]["DeleteAfterDays"] == 30
    assert (job["CompletionDate"] - job["CreationDate"]).total_seconds() == 100
    assert point["Status"] == "COMPLETED"
    assert point["SourceBackupVaultArn"] == vault_arn(aws.vault)
    assert point["Lifecycle"]["DeleteAfterDays"] == 30
    assert point["BackupVaultName"] == "copies"


def test_a_copy_outlives_its_original_and_restores_the_same(aws, copies):
    arn = aws.recovery_point()
    copy = copied(aws, arn, copies)["DestinationRecoveryPointArn"]
    aws.put("C")
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.wait()
    aws.restore(copy)
    aws.wait()
    assert aws.orders("orders-restored") == ["A", "B"]


def test_a_copy_takes_the_tags_of_its_original(aws, copies):
    arn = aws.recovery_point(RecoveryPointTags={"run": "1"})
    copy = copied(aws, arn, copies)["DestinationRecoveryPointArn"]
    assert aws.backup.list_tags(ResourceArn=copy)["Tags"] == {"run": "1"}


def test_a_copy_may_have_a_lifecycle_of_its_own(aws, copies):
    job = copied(aws, aws.recovery_point(Lifecycle={"DeleteAfterDays": 7}), copies, Lifecycle={"DeleteAfterDays": 70})
    assert job["DestinationRecoveryPointLifecycle"]["DeleteAfterDays"] == 70


def test_a_copy_in_another_region_is_restored_there(aws, clients, copies):
    far = clients("backup", FAR)
    far.create_backup_vault(BackupVaultName="far")
    job = copied(aws, aws.recovery_point(), vault_arn("far", FAR))
    assert job["State"] == "COMPLETED"
    copy = job["DestinationRecoveryPointArn"]
    assert copy.startswith(f"arn:aws:backup:{FAR}:{ACCOUNT}:recovery-point:")
    far.start_restore_job(
        RecoveryPointArn=copy,
        Metadata={"targetTableName": "far-orders", "encryptionType": "Default"},
        IamRoleArn=aws.role,
    )
    aws.wait()
    items = clients("dynamodb", FAR).scan(TableName="far-orders")["Items"]
    assert sorted(item["order_id"]["S"] for item in items) == ["A", "B"]


def test_a_copy_into_another_account_needs_both_sides_consent(aws, copies, other_account):
    there = other_account("backup")
    there.create_backup_vault(BackupVaultName="vaulted")
    destination = vault_arn("vaulted", account=OTHER)
    arn = aws.recovery_point()

    refused = copied(aws, arn, destination)
    assert (refused["State"], "isCrossAccountBackupEnabled" in refused["StatusMessage"]) == ("FAILED", True)

    aws.backup.update_global_settings(GlobalSettings={"isCrossAccountBackupEnabled": "true"})
    refused = copied(aws, arn, destination)
    assert (refused["State"], "backup:CopyIntoBackupVault" in refused["StatusMessage"]) == ("FAILED", True)

    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "backup:CopyIntoBackupVault",
            "Resource": "*",
        },
    }
    there.put_backup_vault_access_policy(BackupVaultName="vaulted", Policy=json.dumps(policy))
    job = copied(aws, arn, destination)
    assert job["State"] == "COMPLETED"
    (point,) = there.list_recovery_points_by_backup_vault(BackupVaultName="vaulted")["RecoveryPoints"]
    assert point["RecoveryPointArn"] == job["DestinationRecoveryPointArn"]
    assert point["ResourceArn"] == f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders"


def test_the_global_settings_hold_in_all_regions(aws, clients, refused):
    far = clients("backup", FAR)
    assert far.describe_global_settings()["GlobalSettings"]["isCrossAccountBackupEnabled"] == "false"
    far.update_global_settings(GlobalSettings={"isCrossAccountBackupEnabled": "true"})
    reply = aws.backup.describe_global_settings()
    assert reply["GlobalSettings"]["isCrossAccountBackupEnabled"] == "true"
    assert reply["LastUpdateTime"] == aws.now
    for bad in ({"isItRaining": "true"}, {"isCrossAccountBackupEnabled": "yes"}):
        with refused("InvalidParameterValueException"):
            aws.backup.update_global_settings(GlobalSettings=bad)


@pytest.mark.parametrize(
    ("destination", "text"),
    [
        (vault_arn("nowhere"), "does not exist"),
        (vault_arn("nowhere", FAR), "does not exist"),
        (vault_arn("nowhere", "mars-north-1"), "Region mars-north-1"),
    ],
)
def test_a_missing_destination_fails_the_job(aws, copies, destination, text):
    job = copied(aws, aws.recovery_point(), destination)
    assert job["State"] == "FAILED"
    assert text in job["StatusMessage"]
    assert "DestinationRecoveryPointArn" not in job


def test_a_destination_that_goes_away_fails_the_job(aws, copies):
    aws.backup.create_backup_vault(BackupVaultName="short-lived")
    job_id = start(aws, aws.recovery_point(), vault_arn("short-lived"))
    aws.backup.delete_backup_vault(BackupVaultName="short-lived")
    aws.wait()
    assert job_of(aws, job_id)["State"] == "FAILED"


@pytest.mark.parametrize(
    ("days", "state"), [(6, "FAILED"), (7, "COMPLETED"), (30, "COMPLETED"), (31, "FAILED"), (None, "FAILED")]
)
def test_a_locked_destination_keeps_its_bounds(aws, copies, days, state):
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName="copies", MinRetentionDays=7, MaxRetentionDays=30)
    job = copied(aws, aws.recovery_point(), copies, Lifecycle={"DeleteAfterDays": -1 if days is None else days})
    assert job["State"] == state
    if state == "FAILED":
        assert "retention" in job["StatusMessage"]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"SourceBackupVaultName": "nowhere"}, "ResourceNotFoundException"),
        ({"RecoveryPointArn": f"arn:aws:backup:us-east-1:{ACCOUNT}:recovery-point:none"}, "ResourceNotFoundException"),
        ({"DestinationBackupVaultArn": "copies"}, "InvalidParameterValueException"),
        ({"IamRoleArn": "me"}, "InvalidParameterValueException"),
        ({"Lifecycle": {"DeleteAfterDays": 0}}, "InvalidParameterValueException"),
    ],
)
def test_bad_requests_are_refused(aws, copies, refused, members, code):
    arn = aws.recovery_point()
    with refused(code):
        start(aws, arn, copies, **members)


def test_a_plain_recovery_point_cannot_be_copied(aws, copies, refused):
    aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    arn = aws.recovery_point()
    with refused("InvalidRequestException", "advanced features"):
        start(aws, arn, copies)


def test_a_cold_recovery_point_cannot_be_copied(aws, copies, refused):
    arn = aws.recovery_point(Lifecycle={"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 100})
    aws.wait(2 * 86_400)
    with refused("InvalidRequestException", "cold"):
        start(aws, arn, copies)


def test_what_is_being_copied_cannot_be_deleted(aws, copies, refused):
    arn = aws.recovery_point()
    start(aws, arn, copies)
    point = {"BackupVaultName": aws.vault, "RecoveryPointArn": arn}
    with refused("InvalidResourceStateException", "being copied"):
        aws.backup.delete_recovery_point(**point)
    aws.wait()
    aws.backup.delete_recovery_point(**point)


def test_a_token_starts_one_job(aws, copies, refused):
    arn = aws.recovery_point()
    first = start(aws, arn, copies, IdempotencyToken="t")
    assert start(aws, arn, copies, IdempotencyToken="t") == first
    with refused("InvalidParameterValueException", first):
        start(aws, arn, copies, IdempotencyToken="t", Lifecycle={"DeleteAfterDays": 9})


def test_a_copy_can_be_made_to_fail(aws, copies):
    arn = aws.recovery_point()
    control.inject_fault("StartCopyJob", "FAILED", "It rained.")
    job = copied(aws, arn, copies)
    assert (job["State"], job["StatusMessage"]) == ("FAILED", "It rained.")
    assert aws.backup.list_recovery_points_by_backup_vault(BackupVaultName="copies")["RecoveryPoints"] == []


def test_copy_jobs_are_listed_and_filtered(aws, copies):
    arn = aws.recovery_point()
    done = copied(aws, arn, copies)["CopyJobId"]
    lost = copied(aws, arn, vault_arn("nowhere"))["CopyJobId"]

    def listed(**filters):
        pages = aws.backup.get_paginator("list_copy_jobs").paginate(PaginationConfig={"PageSize": 1}, **filters)
        return [job["CopyJobId"] for page in pages for job in page["CopyJobs"]]

    assert listed() == [lost, done]
    assert listed(ByState="FAILED") == [lost]
    assert listed(ByDestinationVaultArn=copies) == [done]
    assert listed(BySourceRecoveryPointArn=arn) == [lost, done]
    assert listed(ByResourceType="EBS") == []
    assert listed(ByMessageCategory="SUCCESS") == [done]
    assert listed(ByCreatedAfter=job_of(aws, done)["CreationDate"]) == [lost]
    assert listed(ByCompleteBefore=job_of(aws, lost)["CompletionDate"]) == [done]
    aws.wait(31 * 86_400)
    assert listed() == []


def test_a_missing_job_and_a_wrong_state_are_refused(aws, refused):
    with refused("ResourceNotFoundException", "none"):
        aws.backup.describe_copy_job(CopyJobId="none")
    with refused("InvalidParameterValueException", "ByState"):
        aws.backup.list_copy_jobs(ByState="DONE")


def test_a_copy_tells_of_each_state(aws, copies, clients):
    queue = clients("sqs").create_queue(QueueName="inbox")["QueueUrl"]
    pattern = {"detail-type": ["Copy Job State Change"]}
    clients("events").put_rule(Name="r", EventPattern=json.dumps(pattern))
    target = {"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:inbox"}
    clients("events").put_targets(Rule="r", Targets=[target])
    arn = aws.recovery_point()
    job = copied(aws, arn, copies)
    messages = clients("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    events = [json.loads(message["Body"]) for message in messages]
    assert {tuple(event["resources"]) for event in events} == {(arn,)}
    created, running, completed = (event["detail"] for event in events)
    assert created["state"] == "CREATED"
    assert "copyJobId" not in created
    assert running["destinationRecoveryPointArn"] == {}
    assert completed["copyJobId"] == job["CopyJobId"]
    assert completed["destinationRecoveryPointArn"] == job["DestinationRecoveryPointArn"]
    assert completed["backupSizeInBytes"] == job["BackupSizeInBytes"]


def planned(aws, *actions):
    """Let a rule with copy actions fire once, and return its copy jobs."""
    rule = {
        "RuleName": "daily",
        "TargetBackupVaultName": aws.vault,
        "ScheduleExpression": "cron(0 13 * * ? *)",
        "Lifecycle": {"DeleteAfterDays": 7},
        "CopyActions": list(actions),
    }
    plan = aws.backup.create_backup_plan(BackupPlan={"BackupPlanName": "p", "Rules": [rule]})
    aws.backup.create_backup_selection(
        BackupPlanId=plan["BackupPlanId"],
        BackupSelection={"SelectionName": "all", "IamRoleArn": aws.role, "Resources": ["*"]},
    )
    aws.wait(3600 + 2 * aws.job_seconds)
    return plan, aws.backup.list_copy_jobs()["CopyJobs"]


def test_a_plans_rule_copies_what_it_backed_up(aws, clients, copies):
    clients("backup", FAR).create_backup_vault(BackupVaultName="far")
    plan, jobs = planned(
        aws,
        {"DestinationBackupVaultArn": copies, "Lifecycle": {"DeleteAfterDays": 30}},
        {"DestinationBackupVaultArn": vault_arn("far", FAR)},
    )
    (backup,) = aws.backup.list_backup_jobs()["BackupJobs"]
    assert [job["State"] for job in jobs] == ["COMPLETED", "COMPLETED"]
    assert {job["DestinationBackupVaultArn"] for job in jobs} == {copies, vault_arn("far", FAR)}
    for job in jobs:
        assert job["CreatedBy"]["BackupPlanId"] == plan["BackupPlanId"]
        assert job["CreatedByBackupJobId"] == backup["BackupJobId"]
        assert job["SourceRecoveryPointArn"] == backup["RecoveryPointArn"]
        assert job["CreationDate"] == backup["CompletionDate"]
    (point,) = aws.backup.list_recovery_points_by_backup_vault(BackupVaultName="copies")["RecoveryPoints"]
    assert point["Lifecycle"]["DeleteAfterDays"] == 30
    assert point["CreatedBy"]["BackupRuleName"] == "daily"


def test_a_plans_copy_of_a_plain_recovery_point_fails(aws, copies):
    aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    _, (job,) = planned(aws, {"DestinationBackupVaultArn": copies})
    assert job["State"] == "FAILED"
    assert "advanced features" in job["StatusMessage"]


ALLOW = {"Effect": "Allow", "Principal": "*", "Action": "backup:CopyIntoBackupVault", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "granted"),
    [
        (ALLOW, True),
        ([{**ALLOW, "Action": ["backup:Copy*"]}], True),
        ([{**ALLOW, "Principal": {"AWS": ACCOUNT}}], True),
        ([{**ALLOW, "Principal": {"AWS": [f"arn:aws:iam::{ACCOUNT}:role/backup"]}}], True),
        ([{**ALLOW, "Principal": {"AWS": [f"arn:aws:iam::{ACCOUNT}:role/other"]}}], False),
        ([{**ALLOW, "Principal": "*"}], True),
        ([{**ALLOW, "Principal": {"AWS": OTHER}}], False),
        ([{**ALLOW, "Principal": {"Service": "backup.amazonaws.com"}}], False),
        ([{**ALLOW, "Action": "backup:StartCopyJob"}], False),
        ([{**ALLOW, "Resource": vault_arn("another")}], False),
        ([ALLOW, {**ALLOW, "Effect": "Deny"}], False),
        ([], False),
        ([{**ALLOW, "Condition": {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}}], True),
        ([{**ALLOW, "Condition": {"StringEquals": {"aws:PrincipalAccount": OTHER}}}], False),
        ([{**ALLOW, "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/backup"}}}], True),
        ([{**ALLOW, "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/admin"}}}], False),
        ([{**ALLOW, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}}], False),
        ([ALLOW, {**ALLOW, "Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}], True),
    ],
)
def test_what_a_vaults_policy_grants(statements, granted):
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    answer = grants(
        policy,
        "backup:CopyIntoBackupVault",
        role_arn=f"arn:aws:iam::{ACCOUNT}:role/backup",
        account_id=ACCOUNT,
        resource_arn=vault_arn(),
        region="us-east-1",
    )
    assert answer is granted


def test_a_vault_may_be_open_to_an_organization(aws, clients, endpoint_url, copies):
    organizations = clients("organizations")
    organization = organizations.create_organization(FeatureSet="ALL")["Organization"]["Id"]
    member = organizations.create_account(AccountName="member", Email="m@example.com")["CreateAccountStatus"]
    credentials = clients("sts").assume_role(
        RoleArn=f"arn:aws:iam::{member['AccountId']}:role/backup-admin", RoleSessionName="test"
    )["Credentials"]
    session = boto3.Session(
        credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], "us-east-1"
    )
    there = session.client("backup", endpoint_url=endpoint_url)
    there.create_backup_vault(BackupVaultName="vaulted")
    aws.backup.update_global_settings(GlobalSettings={"isCrossAccountBackupEnabled": "true"})
    arn = aws.recovery_point()

    states = []
    for opened_to in ("o-stranger00", organization):
        only = {"StringEquals": {"aws:PrincipalOrgID": [opened_to]}}
        document = {"Version": "2012-10-17", "Statement": {**ALLOW, "Principal": "*", "Condition": only}}
        there.put_backup_vault_access_policy(BackupVaultName="vaulted", Policy=json.dumps(document))
        states.append(copied(aws, arn, vault_arn("vaulted", account=member["AccountId"]))["State"])
    assert states == ["FAILED", "COMPLETED"]
