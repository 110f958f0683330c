"""A story in which every served operation succeeds at least once, and jobs are seen in each of their states."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from botocore import xform_name

from local_aws import control
from local_aws.conformance.samples import ROLE, TABLE_ARN

VAULT: Final = "orders-vault"
VAULT_ARN: Final = f"arn:aws:backup:us-east-1:123456789012:backup-vault:{VAULT}"
JOB_SECONDS: Final = 100.0
PLAN: Final = {"BackupPlanName": "p", "Rules": [{"RuleName": "r", "TargetBackupVaultName": VAULT}]}
FULL_RULE: Final = {
    "RuleName": "r",
    "TargetBackupVaultName": VAULT,
    "ScheduleExpression": "cron(0 5 ? * * *)",
    "ScheduleExpressionTimezone": "Europe/Berlin",
    "StartWindowMinutes": 60,
    "CompletionWindowMinutes": 600,
    "Lifecycle": {"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91},
    "RecoveryPointTags": {"a": "b"},
    "CopyActions": [{"DestinationBackupVaultArn": VAULT_ARN}],
}
FULL_SELECTION: Final = {
    "SelectionName": "s",
    "IamRoleArn": ROLE,
    "Resources": ["arn:aws:dynamodb:*:*:table/*"],
    "NotResources": ["arn:aws:s3:::*"],
    "ListOfTags": [{"ConditionType": "STRINGEQUALS", "ConditionKey": "a", "ConditionValue": "b"}],
    "Conditions": {"StringNotEquals": [{"ConditionKey": "aws:ResourceTag/a", "ConditionValue": "c"}]},
}
TESTING_PLAN: Final = {
    "RestoreTestingPlanName": "tests",
    "ScheduleExpression": "cron(0 * * * ? *)",
    "RecoveryPointSelection": {
        "Algorithm": "LATEST_WITHIN_WINDOW",
        "IncludeVaults": ["*"],
        "RecoveryPointTypes": ["SNAPSHOT"],
    },
}
TESTING_SELECTION: Final = {
    "RestoreTestingSelectionName": "tables",
    "ProtectedResourceType": "DynamoDB",
    "IamRoleArn": ROLE,
    "ProtectedResourceArns": [TABLE_ARN],
    "ValidationWindowHours": 1,
}
DENY_ALL: Final = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"},
}


@dataclass
class World:
    """An AWS with a table and a vault, whose clock stands still until it is moved."""

    backup: Any
    dynamodb: Any

    def prepare(self) -> None:
        """Make the table and the vault."""
        self.dynamodb.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.dynamodb.put_item(TableName="orders", Item={"order_id": {"S": "A"}})
        self.call("CreateBackupVault", BackupVaultName=VAULT)

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        """Call an operation by its name in the model."""
        return dict(getattr(self.backup, xform_name(operation))(**members))

    def wait(self, seconds: float = JOB_SECONDS) -> None:
        """Move the clock, by default as long as a job takes."""
        control.advance_clock(timedelta(seconds=seconds))

    def start(self, **members: Any) -> dict[str, Any]:
        """Start a backup of the table."""
        return self.call("StartBackupJob", BackupVaultName=VAULT, ResourceArn=TABLE_ARN, IamRoleArn=ROLE, **members)

    def restore(self, arn: str, target: str) -> str:
        """Start a restore, and return its job's id."""
        metadata = {"targetTableName": target, "encryptionType": "Default"}
        return str(
            self.call("StartRestoreJob", RecoveryPointArn=arn, Metadata=metadata, IamRoleArn=ROLE)["RestoreJobId"]
        )

    def watch(self, *looks: Callable[[], object]) -> None:
        """Look again and again while a job goes through its states."""
        for _ in range(11):
            for look in looks:
                look()
            self.wait(JOB_SECONDS / 10)


def tell(world: World) -> None:
    """Run the whole story."""
    _settings(world)
    _vaults(world)
    point = _backups(world)
    _copies(world, point)
    _restores(world, point)
    _restore_testing(world, point)
    _recovery_points(world, point)
    _plans(world)
    _reports(world)


def _settings(world: World) -> None:
    settings = world.call("DescribeRegionSettings")
    world.call(
        "UpdateRegionSettings",
        ResourceTypeOptInPreference=settings["ResourceTypeOptInPreference"],
        ResourceTypeManagementPreference=settings["ResourceTypeManagementPreference"],
    )
    world.call("GetSupportedResourceTypes")
    world.call("UpdateGlobalSettings", GlobalSettings={"isCrossAccountBackupEnabled": "true"})
    world.call("DescribeGlobalSettings")


def _vaults(world: World) -> None:
    name = {"BackupVaultName": "v2"}
    vault_arn = world.call("CreateBackupVault", **name)["BackupVaultArn"]
    world.call("PutBackupVaultLockConfiguration", **name, MinRetentionDays=1, ChangeableForDays=3)
    world.call("DescribeBackupVault", **name)
    world.call("ListBackupVaults")
    world.call("DeleteBackupVaultLockConfiguration", **name)
    news = {"SNSTopicArn": "arn:aws:sns:us-east-1:123456789012:news", "BackupVaultEvents": ["BACKUP_JOB_FAILED"]}
    world.call("PutBackupVaultNotifications", **name, **news)
    world.call("GetBackupVaultNotifications", **name)
    world.call("DeleteBackupVaultNotifications", **name)
    world.call("PutBackupVaultAccessPolicy", **name, Policy=json.dumps(DENY_ALL))
    world.call("GetBackupVaultAccessPolicy", **name)
    world.call("DeleteBackupVaultAccessPolicy", **name)
    world.call("TagResource", ResourceArn=vault_arn, Tags={"a": "b"})
    world.call("ListTags", ResourceArn=vault_arn)
    world.call("UntagResource", ResourceArn=vault_arn, TagKeyList=["a"])
    world.call("DeleteBackupVault", **name)


def _backups(world: World) -> dict[str, str]:
    stopped = world.start()["BackupJobId"]
    world.call("StopBackupJob", BackupJobId=stopped)
    world.wait()
    control.inject_fault("StartBackupJob", "FAILED", "No.")
    world.start()
    world.wait()
    job = world.start(Lifecycle={"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91}, RecoveryPointTags={"a": "b"})
    world.watch(
        lambda: world.call("DescribeBackupJob", BackupJobId=job["BackupJobId"]), lambda: world.call("ListBackupJobs")
    )
    return {"BackupVaultName": VAULT, "RecoveryPointArn": job["RecoveryPointArn"]}


def _copies(world: World, point: dict[str, str]) -> None:
    copy = world.call(
        "StartCopyJob",
        RecoveryPointArn=point["RecoveryPointArn"],
        SourceBackupVaultName=VAULT,
        DestinationBackupVaultArn=VAULT_ARN,
        IamRoleArn=ROLE,
    )["CopyJobId"]
    world.watch(lambda: world.call("DescribeCopyJob", CopyJobId=copy), lambda: world.call("ListCopyJobs"))


def _restores(world: World, point: dict[str, str]) -> None:
    control.inject_fault("StartRestoreJob", "FAILED", "No.")
    world.restore(point["RecoveryPointArn"], "never")
    world.wait()
    restore = world.restore(point["RecoveryPointArn"], "orders-restored")
    world.watch(
        lambda: world.call("DescribeRestoreJob", RestoreJobId=restore),
        lambda: world.call("ListRestoreJobs"),
        lambda: world.call("ListRestoreJobsByProtectedResource", ResourceArn=TABLE_ARN),
    )
    world.call("GetRestoreJobMetadata", RestoreJobId=restore)
    for kind in ("Backup", "Copy", "Restore"):
        world.call(f"List{kind}JobSummaries", State="ANY", ResourceType="ANY")


def _restore_testing(world: World, point: dict[str, str]) -> None:
    plan, selection = {"RestoreTestingPlanName": "tests"}, {"RestoreTestingSelectionName": "tables"}
    world.call("CreateRestoreTestingPlan", RestoreTestingPlan=TESTING_PLAN)
    world.call("UpdateRestoreTestingPlan", **plan, RestoreTestingPlan={"StartWindowHours": 1})
    world.call("GetRestoreTestingPlan", **plan)
    world.call("ListRestoreTestingPlans")
    world.call("CreateRestoreTestingSelection", **plan, RestoreTestingSelection=TESTING_SELECTION)
    update = {"ValidationWindowHours": 2}
    world.call("UpdateRestoreTestingSelection", **plan, **selection, RestoreTestingSelection=update)
    world.call("GetRestoreTestingSelection", **plan, **selection)
    world.call("ListRestoreTestingSelections", **plan)
    world.call("GetRestoreTestingInferredMetadata", **point)
    world.wait(3600 + 2 * JOB_SECONDS)
    job_id = world.call("ListRestoreJobs")["RestoreJobs"][0]["RestoreJobId"]
    world.call("PutRestoreValidationResult", RestoreJobId=job_id, ValidationStatus="SUCCESSFUL")
    world.call("DescribeRestoreJob", RestoreJobId=job_id)
    world.call("DeleteRestoreTestingSelection", **plan, **selection)
    world.call("DeleteRestoreTestingPlan", **plan)
    world.wait(3600)


def _recovery_points(world: World, point: dict[str, str]) -> None:
    world.call("DescribeRecoveryPoint", **point)
    world.call("GetRecoveryPointRestoreMetadata", **point)
    world.call("ListRecoveryPointsByBackupVault", BackupVaultName=VAULT)
    world.call("ListRecoveryPointsByResource", ResourceArn=TABLE_ARN)
    world.call("ListProtectedResources")
    world.call("ListProtectedResourcesByBackupVault", BackupVaultName=VAULT)
    world.call("DescribeProtectedResource", ResourceArn=TABLE_ARN)
    world.call("UpdateRecoveryPointLifecycle", **point, Lifecycle={"DeleteAfterDays": 7})
    hold = world.call("CreateLegalHold", Title="t", Description="d", RecoveryPointSelection={"VaultNames": [VAULT]})[
        "LegalHoldId"
    ]
    world.call("GetLegalHold", LegalHoldId=hold)
    world.call("ListLegalHolds")
    world.call("ListRecoveryPointsByLegalHold", LegalHoldId=hold)
    world.call("CancelLegalHold", LegalHoldId=hold, CancelDescription="d")
    world.call("DeleteRecoveryPoint", **point)
    world.call("DescribeRecoveryPoint", **point)


def _plans(world: World) -> None:
    plan_id = {"BackupPlanId": world.call("CreateBackupPlan", BackupPlan=PLAN)["BackupPlanId"]}
    world.call("UpdateBackupPlan", **plan_id, BackupPlan={**PLAN, "Rules": [FULL_RULE]})
    world.call("GetBackupPlan", **plan_id, MaxScheduledRunsPreview=2)
    world.call("ListBackupPlans")
    world.call("ListBackupPlanVersions", **plan_id)
    exported = world.call("ExportBackupPlanTemplate", **plan_id)
    world.call("GetBackupPlanFromJSON", BackupPlanTemplateJson=exported["BackupPlanTemplateJson"])
    template = world.call("ListBackupPlanTemplates")["BackupPlanTemplatesList"][0]["BackupPlanTemplateId"]
    world.call("GetBackupPlanFromTemplate", BackupPlanTemplateId=template)
    selection = world.call("CreateBackupSelection", **plan_id, BackupSelection=FULL_SELECTION)
    selected = {**plan_id, "SelectionId": selection["SelectionId"]}
    world.call("GetBackupSelection", **selected)
    world.call("ListBackupSelections", **plan_id)
    world.wait(timedelta(days=2).total_seconds())
    world.call("ListBackupJobs")
    world.call("DeleteBackupSelection", **selected)
    world.call("DeleteBackupPlan", **plan_id)


def _reports(world: World) -> None:
    name = {"ReportPlanName": "r"}
    report = {**name, "ReportDeliveryChannel": {"S3BucketName": "reports"}}
    world.call("CreateReportPlan", **report, ReportSetting={"ReportTemplate": "BACKUP_JOB_REPORT"})
    job = world.call("StartReportJob", **name)["ReportJobId"]
    world.watch(lambda: world.call("DescribeReportJob", ReportJobId=job), lambda: world.call("ListReportJobs"))
    world.call("UpdateReportPlan", **report, ReportPlanDescription="d")
    world.call("DescribeReportPlan", **name)
    world.call("ListReportPlans")
    world.call("DeleteReportPlan", **name)
