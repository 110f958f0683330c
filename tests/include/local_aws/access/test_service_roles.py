"""Jobs can do what the role that they are handed lets AWS Backup do."""

import json

import pytest

ACCOUNT = "123456789012"
MANAGED = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyFor"
PLAIN = {"ResourceTypeManagementPreference": {"DynamoDB": False}}


def role_of(aws):
    return aws.role.rpartition("/")[2]


def finished_backup(aws, **members):
    job_id = aws.start(**members)["BackupJobId"]
    aws.wait()
    return aws.job(job_id)


def finished_restore(aws, arn, **members):
    job_id = aws.restore(arn, **members)
    aws.wait()
    return aws.backup.describe_restore_job(RestoreJobId=job_id)


@pytest.fixture(params=["advanced", "plain"])
def kind(request, aws, people):
    """Both kinds of recovery points, on an AWS that enforces IAM."""
    if request.param == "plain":
        aws.backup.update_region_settings(**PLAIN)
    return request.param


def test_with_awss_own_policies_backup_restore_and_deletion_work(aws, kind):
    arn = finished_backup(aws)["RecoveryPointArn"]
    restored = finished_restore(aws, arn)
    assert restored["Status"] == "COMPLETED"
    assert aws.orders("orders-restored") == ["A", "B"]
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.wait(10)
    assert aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"] == []


def test_a_role_without_rights_fails_the_backup_job(aws, people, kind):
    people.iam.detach_role_policy(RoleName=role_of(aws), PolicyArn=MANAGED + "Backup")
    job = finished_backup(aws)
    assert (job["State"], job["MessageCategory"]) == ("FAILED", "AccessDenied")
    assert f":assumed-role/{role_of(aws)}/" in job["StatusMessage"]
    action = "StartAwsBackupJob" if kind == "advanced" else "CreateBackup"
    assert f"is not authorized to perform: dynamodb:{action} on resource:" in job["StatusMessage"]
    assert "RecoveryPointArn" not in job


def test_a_role_without_rights_fails_the_restore_job(aws, people, kind):
    arn = finished_backup(aws)["RecoveryPointArn"]
    people.iam.detach_role_policy(RoleName=role_of(aws), PolicyArn=MANAGED + "Restores")
    job = finished_restore(aws, arn)
    assert job["Status"] == "FAILED"
    action = "RestoreTableFromAwsBackup" if kind == "advanced" else "RestoreTableFromBackup"
    assert f"dynamodb:{action}" in job["StatusMessage"]
    assert aws.dynamodb.list_tables()["TableNames"] == ["orders"]


def test_copying_tags_takes_the_right_to_tag(aws, people):
    table = aws.dynamodb.describe_table(TableName="orders")["Table"]["TableArn"]
    aws.dynamodb.tag_resource(ResourceArn=table, Tags=[{"Key": "team", "Value": "orders"}])
    arn = finished_backup(aws)["RecoveryPointArn"]
    without = finished_restore(aws, arn, CopySourceTagsToRestoredResource=True)
    assert (without["Status"], "dynamodb:TagResource" in without["StatusMessage"]) == ("FAILED", True)
    may = {"Effect": "Allow", "Action": "dynamodb:TagResource", "Resource": "*"}
    people.iam.put_role_policy(
        RoleName=role_of(aws),
        PolicyName="tag",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": may}),
    )
    assert finished_restore(aws, arn, CopySourceTagsToRestoredResource=True)["Status"] == "COMPLETED"


@pytest.mark.parametrize("why", ["missing", "not trusted"])
def test_a_role_that_aws_backup_cannot_assume_fails_the_job(aws, people, why):
    role = f"arn:aws:iam::{ACCOUNT}:role/AWSBackupNone"
    if why == "not trusted":
        role = people.role("AWSBackupOther", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    job = finished_backup(aws, IamRoleArn=role)
    assert job["State"] == "FAILED"
    assert f"IAM Role {role} cannot be assumed by AWS Backup" in job["StatusMessage"]


def test_a_deletion_without_rights_answers_200_and_the_point_expires(aws, people):
    aws.backup.update_region_settings(**PLAIN)
    arn = finished_backup(aws)["RecoveryPointArn"]
    point = {"BackupVaultName": aws.vault, "RecoveryPointArn": arn}
    people.iam.detach_role_policy(RoleName=role_of(aws), PolicyArn=MANAGED + "Backup")
    answer = aws.backup.delete_recovery_point(**point)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    aws.wait(10)
    left = aws.backup.describe_recovery_point(**point)
    assert left["Status"] == "EXPIRED"
    assert "dynamodb:DeleteBackup" in left["StatusMessage"]
    people.iam.attach_role_policy(RoleName=role_of(aws), PolicyArn=MANAGED + "Backup")
    aws.backup.delete_recovery_point(**point)
    aws.wait(10)
    assert aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"] == []


def test_a_lifecycle_without_rights_expires_the_point(aws, people):
    arn = finished_backup(aws, Lifecycle={"DeleteAfterDays": 1})["RecoveryPointArn"]
    people.iam.detach_role_policy(RoleName=role_of(aws), PolicyArn=MANAGED + "Backup")
    people.iam.detach_role_policy(RoleName=role_of(aws), PolicyArn=MANAGED + "Restores")
    people.iam.delete_role(RoleName=role_of(aws))
    aws.wait(2 * 86_400)
    left = aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    assert (left["Status"], "cannot be assumed" in left["StatusMessage"]) == ("EXPIRED", True)


def test_a_copy_takes_rights_at_both_vaults(aws, people):
    arn = finished_backup(aws)["RecoveryPointArn"]
    vaults = {
        name: aws.backup.create_backup_vault(BackupVaultName=name)["BackupVaultArn"] for name in ("near", "guarded")
    }
    deny = {"Effect": "Deny", "Principal": "*", "Action": "backup:CopyIntoBackupVault", "Resource": "*"}
    aws.backup.put_backup_vault_access_policy(
        BackupVaultName="guarded", Policy=json.dumps({"Version": "2012-10-17", "Statement": deny})
    )

    def copied(vault_arn):
        job_id = aws.backup.start_copy_job(
            RecoveryPointArn=arn,
            SourceBackupVaultName=aws.vault,
            DestinationBackupVaultArn=vault_arn,
            IamRoleArn=aws.role,
        )["CopyJobId"]
        aws.wait()
        return aws.backup.describe_copy_job(CopyJobId=job_id)["CopyJob"]

    assert copied(vaults["near"])["State"] == "COMPLETED"
    refused = copied(vaults["guarded"])
    assert refused["State"] == "FAILED"
    assert "backup:CopyIntoBackupVault" in refused["StatusMessage"]
    only_near = {
        "Effect": "Deny",
        "Action": "backup:CopyFromBackupVault",
        "Resource": "*",
        "Condition": {"ForAnyValue:ArnNotLike": {"backup:CopyTargets": [vaults["near"]]}},
    }
    aws.backup.delete_backup_vault_access_policy(BackupVaultName="guarded")
    people.iam.put_role_policy(
        RoleName=role_of(aws),
        PolicyName="targets",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": only_near}),
    )
    assert copied(vaults["near"])["State"] == "COMPLETED"
    assert "backup:CopyFromBackupVault" in copied(vaults["guarded"])["StatusMessage"]
