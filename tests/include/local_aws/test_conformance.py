"""botocore's service model of AWS Backup as the judge: every operation is reached, every reply has its shape."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import ParamValidator
from moto.core.responses import EmptyResult

from local_aws import control
from local_aws.backup.responses import BackupResponse
from local_aws.backup.served import ALWAYS_REFUSED, MOTOS, OURS, SERVED

MODEL = get_session().get_service_model("backup")
ALL = tuple(MODEL.operation_names)
ROLE = "arn:aws:iam::123456789012:role/AWSBackupRole"
TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
# A slash inside, as in the ARN of a plain recovery point: it must survive the path as %2F.
SLASHED_ARN = f"{TABLE_ARN}/backup/0157000000000000-0a1b2c3d"
INSTANT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def sample(shape, name="", *, everything, depth=0):
    """Return a valid value of an input shape: with required members only, or with all of them."""
    match shape.type_name:
        case "structure":
            members = shape.members if everything and depth < 4 else shape.required_members
            return {
                member: sample(shape.members[member], member, everything=everything, depth=depth + 1)
                for member in members
            }
        case "list":
            return [sample(shape.member, name, everything=everything, depth=depth + 1)]
        case "map":
            return {"some-key": sample(shape.value, name, everything=everything, depth=depth + 1)}
        case "string":
            if shape.enum:
                return shape.enum[0]
            return SLASHED_ARN if name.lower().endswith("arn") else "some-text"
        case "integer" | "long":
            return max(7, shape.metadata.get("min", 0))
        case "boolean":
            return True
        case "timestamp":
            return INSTANT
    raise AssertionError(f"no sample for {shape.type_name}")


def input_of(operation, *, everything):
    shape = MODEL.operation_model(operation).input_shape
    return sample(shape, everything=everything) if shape is not None else {}


def naive(value):
    """Times as moto's parser gives them."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, dict):
        return {key: naive(each) for key, each in value.items()}
    return [naive(each) for each in value] if isinstance(value, list) else value


def unknown_members(reply, shape, path=""):
    """Yield what a raw reply has and the model has not: boto3 drops it silently."""
    if shape.type_name == "structure" and isinstance(reply, dict):
        known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, value in reply.items():
            if name in known:
                yield from unknown_members(value, known[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif shape.type_name == "list" and isinstance(reply, list):
        for value in reply:
            yield from unknown_members(value, shape.member, f"{path}[]")


class Judge:
    """Watches a client's replies. `passed` are the operations that succeeded as the model says."""

    def __init__(self, client):
        self.client = client
        self.passed = set()
        self.refused = {}

    def __enter__(self):
        self.client.meta.events.register_last("after-call.backup", self.check)
        return self

    def __exit__(self, *_):
        self.client.meta.events.unregister("after-call.backup", self.check)

    def check(self, http_response, parsed, model, **_):
        assert http_response.headers.get("Content-Type", "").startswith("application/json") or (
            not http_response.content
        )
        if http_response.status_code >= 300:
            self.check_error(http_response, parsed, model)
        else:
            self.check_success(http_response, parsed, model)

    def check_success(self, http_response, parsed, model):
        assert http_response.status_code == model.http.get("responseCode", 200)
        reply = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
        if model.output_shape is not None:
            raw = json.loads(http_response.content or b"{}")
            assert list(unknown_members(raw, model.output_shape)) == []
            assert not ParamValidator().validate(reply, model.output_shape).has_errors()
        self.passed.add(model.name)

    def check_error(self, http_response, parsed, model):
        code = parsed["Error"]["Code"]
        shapes = {shape.name: shape for shape in model.error_shapes}
        assert code in shapes, f"{model.name} does not declare {code}"
        expected = shapes[code].metadata.get("error", {}).get("httpStatusCode", 400)
        assert http_response.status_code == expected
        assert http_response.headers["x-amzn-errortype"] == code
        assert parsed["Error"]["Message"]
        self.refused.setdefault(model.name, set()).add(code)


@pytest.fixture
def judge(aws):
    with Judge(aws.backup) as judge:
        yield judge


def call(aws, operation, **members):
    return getattr(aws.backup, xform_name(operation))(**members)


def test_the_model_still_has_all_that_is_served():
    assert set(ALL) >= SERVED
    assert not OURS & MOTOS


def refusal_of(aws, operation):
    """Return (code, status, message) of the operation's refusal of a minimal request, None where it succeeds."""
    try:
        call(aws, operation, **input_of(operation, everything=False))
    except ClientError as error:
        reply = error.response
        return reply["Error"]["Code"], reply["ResponseMetadata"]["HTTPStatusCode"], reply["Error"]["Message"]
    return None


@pytest.mark.parametrize("operation", sorted(set(ALL) - SERVED))
def test_what_is_not_served_says_so(aws, operation):
    code, status, message = refusal_of(aws, operation)
    assert (code, status) == ("InvalidRequestException", 400)
    assert message.startswith(f"{operation} is not served by the local AWS")


@pytest.mark.parametrize("operation", sorted(SERVED))
def test_what_is_served_is_reached(aws, operation):
    refusal = refusal_of(aws, operation)
    if refusal is not None:
        code, status, message = refusal
        assert code in {shape.name for shape in MODEL.operation_model(operation).error_shapes}
        assert status == 400
        assert "not served" not in message


@pytest.mark.parametrize("operation", sorted(OURS))
def test_every_member_of_a_request_arrives(aws, monkeypatch, operation):
    arrived = []

    def record(self):
        arrived.append(dict(self.params))
        return EmptyResult()

    monkeypatch.setattr(BackupResponse, xform_name(operation), record)
    sent = input_of(operation, everything=True)
    call(aws, operation, **sent)
    assert arrived == [naive(sent)]


def copy_of(point, destination):
    return {
        "RecoveryPointArn": point["RecoveryPointArn"],
        "SourceBackupVaultName": point["BackupVaultName"],
        "DestinationBackupVaultArn": destination,
        "IamRoleArn": ROLE,
    }


TESTING_PLAN = {
    "RestoreTestingPlanName": "tests",
    "ScheduleExpression": "cron(0 * * * ? *)",
    "RecoveryPointSelection": {
        "Algorithm": "LATEST_WITHIN_WINDOW",
        "IncludeVaults": ["*"],
        "RecoveryPointTypes": ["SNAPSHOT"],
    },
}
TESTING_SELECTION = {
    "RestoreTestingSelectionName": "tables",
    "ProtectedResourceType": "DynamoDB",
    "IamRoleArn": ROLE,
    "ProtectedResourceArns": [TABLE_ARN],
    "ValidationWindowHours": 1,
}


def judge_restore_testing(aws, point):
    plan, selection = {"RestoreTestingPlanName": "tests"}, {"RestoreTestingSelectionName": "tables"}
    call(aws, "CreateRestoreTestingPlan", RestoreTestingPlan=TESTING_PLAN)
    call(aws, "UpdateRestoreTestingPlan", **plan, RestoreTestingPlan={"StartWindowHours": 1})
    call(aws, "GetRestoreTestingPlan", **plan)
    call(aws, "ListRestoreTestingPlans")
    call(aws, "CreateRestoreTestingSelection", **plan, RestoreTestingSelection=TESTING_SELECTION)
    update = {"ValidationWindowHours": 2}
    call(aws, "UpdateRestoreTestingSelection", **plan, **selection, RestoreTestingSelection=update)
    call(aws, "GetRestoreTestingSelection", **plan, **selection)
    call(aws, "ListRestoreTestingSelections", **plan)
    call(aws, "GetRestoreTestingInferredMetadata", **point)
    aws.wait(3600 + 2 * aws.job_seconds)
    job_id = call(aws, "ListRestoreJobs")["RestoreJobs"][0]["RestoreJobId"]
    call(aws, "PutRestoreValidationResult", RestoreJobId=job_id, ValidationStatus="SUCCESSFUL")
    call(aws, "DescribeRestoreJob", RestoreJobId=job_id)
    call(aws, "DeleteRestoreTestingSelection", **plan, **selection)
    call(aws, "DeleteRestoreTestingPlan", **plan)
    aws.wait(3600)


def test_every_served_operation_can_succeed_in_the_models_shape(aws, judge):
    plan = {"BackupPlanName": "p", "Rules": [{"RuleName": "r", "TargetBackupVaultName": aws.vault}]}
    channel = {"S3BucketName": "reports"}
    settings = call(aws, "DescribeRegionSettings")
    call(
        aws,
        "UpdateRegionSettings",
        ResourceTypeOptInPreference=settings["ResourceTypeOptInPreference"],
        ResourceTypeManagementPreference=settings["ResourceTypeManagementPreference"],
    )
    call(aws, "GetSupportedResourceTypes")
    vault_arn = call(aws, "CreateBackupVault", BackupVaultName="v2")["BackupVaultArn"]
    call(aws, "PutBackupVaultLockConfiguration", BackupVaultName="v2", MinRetentionDays=1, ChangeableForDays=3)
    call(aws, "DescribeBackupVault", BackupVaultName="v2")
    call(aws, "ListBackupVaults")
    call(aws, "DeleteBackupVaultLockConfiguration", BackupVaultName="v2")
    news = {"SNSTopicArn": "arn:aws:sns:us-east-1:123456789012:news", "BackupVaultEvents": ["BACKUP_JOB_FAILED"]}
    call(aws, "PutBackupVaultNotifications", BackupVaultName="v2", **news)
    call(aws, "GetBackupVaultNotifications", BackupVaultName="v2")
    call(aws, "DeleteBackupVaultNotifications", BackupVaultName="v2")
    call(aws, "TagResource", ResourceArn=vault_arn, Tags={"a": "b"})
    call(aws, "ListTags", ResourceArn=vault_arn)
    call(aws, "UntagResource", ResourceArn=vault_arn, TagKeyList=["a"])
    call(aws, "DeleteBackupVault", BackupVaultName="v2")

    stopped = aws.start()["BackupJobId"]
    call(aws, "StopBackupJob", BackupJobId=stopped)
    aws.wait()
    control.inject_fault("StartBackupJob", "FAILED", "No.")
    aws.start()
    aws.wait()
    job = aws.start(Lifecycle={"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91}, RecoveryPointTags={"a": "b"})
    for _ in range(11):
        call(aws, "DescribeBackupJob", BackupJobId=job["BackupJobId"])
        call(aws, "ListBackupJobs")
        aws.wait(aws.job_seconds / 10)
    point = {"BackupVaultName": aws.vault, "RecoveryPointArn": job["RecoveryPointArn"]}

    there = vault_arn.replace("v2", aws.vault)
    copy = call(aws, "StartCopyJob", **copy_of(point, there))["CopyJobId"]
    for _ in range(2):
        call(aws, "DescribeCopyJob", CopyJobId=copy)
        call(aws, "ListCopyJobs")
        aws.wait()
    call(aws, "UpdateGlobalSettings", GlobalSettings={"isCrossAccountBackupEnabled": "true"})
    call(aws, "DescribeGlobalSettings")

    control.inject_fault("StartRestoreJob", "FAILED", "No.")
    aws.restore(job["RecoveryPointArn"], "never")
    aws.wait()
    restore = aws.restore(job["RecoveryPointArn"])
    for _ in range(11):
        call(aws, "DescribeRestoreJob", RestoreJobId=restore)
        call(aws, "ListRestoreJobs")
        call(aws, "ListRestoreJobsByProtectedResource", ResourceArn=TABLE_ARN)
        aws.wait(aws.job_seconds / 10)
    call(aws, "GetRestoreJobMetadata", RestoreJobId=restore)
    judge_restore_testing(aws, point)

    call(aws, "DescribeRecoveryPoint", **point)
    call(aws, "GetRecoveryPointRestoreMetadata", **point)
    call(aws, "ListRecoveryPointsByBackupVault", BackupVaultName=aws.vault)
    call(aws, "ListRecoveryPointsByResource", ResourceArn=TABLE_ARN)
    call(aws, "ListProtectedResources")
    call(aws, "ListProtectedResourcesByBackupVault", BackupVaultName=aws.vault)
    call(aws, "DescribeProtectedResource", ResourceArn=TABLE_ARN)
    call(aws, "UpdateRecoveryPointLifecycle", **point, Lifecycle={"DeleteAfterDays": 7})

    policy = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"},
    }
    call(aws, "PutBackupVaultAccessPolicy", BackupVaultName=aws.vault, Policy=json.dumps(policy))
    call(aws, "GetBackupVaultAccessPolicy", BackupVaultName=aws.vault)
    call(aws, "DeleteBackupVaultAccessPolicy", BackupVaultName=aws.vault)
    hold = call(aws, "CreateLegalHold", Title="t", Description="d", RecoveryPointSelection={"VaultNames": [aws.vault]})
    call(aws, "GetLegalHold", LegalHoldId=hold["LegalHoldId"])
    call(aws, "ListLegalHolds")
    call(aws, "ListRecoveryPointsByLegalHold", LegalHoldId=hold["LegalHoldId"])
    call(aws, "CancelLegalHold", LegalHoldId=hold["LegalHoldId"], CancelDescription="d")

    call(aws, "DeleteRecoveryPoint", **point)
    call(aws, "DescribeRecoveryPoint", **point)

    plan_id = {"BackupPlanId": call(aws, "CreateBackupPlan", BackupPlan=plan)["BackupPlanId"]}
    call(aws, "UpdateBackupPlan", **plan_id, BackupPlan={**plan, "Rules": [FULL_RULE]})
    call(aws, "GetBackupPlan", **plan_id, MaxScheduledRunsPreview=2)
    call(aws, "ListBackupPlans")
    call(aws, "ListBackupPlanVersions", **plan_id)
    exported = call(aws, "ExportBackupPlanTemplate", **plan_id)
    call(aws, "GetBackupPlanFromJSON", **{name: exported[name] for name in ("BackupPlanTemplateJson",)})
    template = call(aws, "ListBackupPlanTemplates")["BackupPlanTemplatesList"][0]["BackupPlanTemplateId"]
    call(aws, "GetBackupPlanFromTemplate", BackupPlanTemplateId=template)
    selection = call(aws, "CreateBackupSelection", **plan_id, BackupSelection=FULL_SELECTION)
    selected = {**plan_id, "SelectionId": selection["SelectionId"]}
    call(aws, "GetBackupSelection", **selected)
    call(aws, "ListBackupSelections", **plan_id)
    aws.wait(timedelta(days=2).total_seconds())
    assert [
        job["CreatedBy"]["BackupRuleName"] for job in call(aws, "ListBackupJobs")["BackupJobs"] if "CreatedBy" in job
    ]
    call(aws, "DeleteBackupSelection", **selected)
    call(aws, "DeleteBackupPlan", **plan_id)
    report = {"ReportPlanName": "r", "ReportDeliveryChannel": channel}
    call(aws, "CreateReportPlan", **report, ReportSetting={"ReportTemplate": "BACKUP_JOB_REPORT"})
    call(aws, "DescribeReportPlan", ReportPlanName="r")
    call(aws, "ListReportPlans")
    call(aws, "DeleteReportPlan", ReportPlanName="r")
    assert judge.passed == SERVED - ALWAYS_REFUSED


FULL_RULE = {
    "RuleName": "r",
    "TargetBackupVaultName": "orders-vault",
    "ScheduleExpression": "cron(0 5 ? * * *)",
    "ScheduleExpressionTimezone": "Europe/Berlin",
    "StartWindowMinutes": 60,
    "CompletionWindowMinutes": 600,
    "Lifecycle": {"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91},
    "RecoveryPointTags": {"a": "b"},
    "CopyActions": [{"DestinationBackupVaultArn": "arn:aws:backup:us-east-1:123456789012:backup-vault:orders-vault"}],
}
FULL_SELECTION = {
    "SelectionName": "s",
    "IamRoleArn": ROLE,
    "Resources": ["arn:aws:dynamodb:*:*:table/*"],
    "NotResources": ["arn:aws:s3:::*"],
    "ListOfTags": [{"ConditionType": "STRINGEQUALS", "ConditionKey": "a", "ConditionValue": "b"}],
    "Conditions": {"StringNotEquals": [{"ConditionKey": "aws:ResourceTag/a", "ConditionValue": "c"}]},
}
NOWHERE = {"BackupVaultName": "nowhere"}
NOWHERE_TO = {"TargetBackupVaultName": "nowhere"}
NO_POINT = {"RecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:none"}
NO_RESOURCE = {"ResourceArn": "arn:aws:backup:us-east-1:123456789012:backup-vault:none"}
START = {"BackupVaultName": "orders-vault", "ResourceArn": TABLE_ARN, "IamRoleArn": ROLE}
RESTORE = {**NO_POINT, "Metadata": {"targetTableName": "orders-restored"}}
BAD_PAGE = {"NextToken": "nonsense"}


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("CreateBackupVault", {"BackupVaultName": "v!"}),
        ("CreateBackupVault", {"BackupVaultName": "orders-vault"}),
        ("DescribeBackupVault", NOWHERE),
        ("DeleteBackupVault", NOWHERE),
        ("ListBackupVaults", BAD_PAGE),
        ("PutBackupVaultLockConfiguration", NOWHERE),
        ("PutBackupVaultLockConfiguration", {"BackupVaultName": "orders-vault", "MinRetentionDays": 0}),
        ("DeleteBackupVaultLockConfiguration", NOWHERE),
        ("UpdateRegionSettings", {"ResourceTypeOptInPreference": {"Mainframe": True}}),
        ("StartBackupJob", {**START, "BackupVaultName": "nowhere"}),
        ("StartBackupJob", {**START, "IamRoleArn": ""}),
        ("StartBackupJob", {**START, "StartWindowMinutes": 1}),
        ("StopBackupJob", {"BackupJobId": "none"}),
        ("DescribeBackupJob", {"BackupJobId": "none"}),
        ("ListBackupJobs", {"ByState": "DONE"}),
        ("ListBackupJobs", BAD_PAGE),
        ("DescribeRecoveryPoint", {"BackupVaultName": "orders-vault", **NO_POINT}),
        ("GetRecoveryPointRestoreMetadata", {"BackupVaultName": "orders-vault", **NO_POINT}),
        ("UpdateRecoveryPointLifecycle", {"BackupVaultName": "orders-vault", **NO_POINT}),
        ("DeleteRecoveryPoint", {"BackupVaultName": "orders-vault", **NO_POINT}),
        ("ListRecoveryPointsByBackupVault", NOWHERE),
        ("ListRecoveryPointsByResource", {"ResourceArn": TABLE_ARN, **BAD_PAGE}),
        ("DisassociateRecoveryPoint", {"BackupVaultName": "orders-vault", **NO_POINT}),
        ("DisassociateRecoveryPointFromParent", {"BackupVaultName": "orders-vault", **NO_POINT}),
        ("PutBackupVaultAccessPolicy", {"BackupVaultName": "orders-vault", "Policy": "{"}),
        ("GetBackupVaultAccessPolicy", {"BackupVaultName": "orders-vault"}),
        ("DeleteBackupVaultAccessPolicy", NOWHERE),
        ("CreateLegalHold", {"Title": "", "Description": "d"}),
        ("GetLegalHold", {"LegalHoldId": "none"}),
        ("CancelLegalHold", {"LegalHoldId": "none", "CancelDescription": "d"}),
        ("ListLegalHolds", BAD_PAGE),
        ("StartRestoreJob", RESTORE),
        ("StartRestoreJob", {**NO_POINT, "Metadata": {}}),
        ("StartCopyJob", {**copy_of({**NO_POINT, "BackupVaultName": "orders-vault"}, "no ARN")}),
        ("DescribeCopyJob", {"CopyJobId": "none"}),
        ("ListCopyJobs", {"ByState": "DONE"}),
        ("UpdateGlobalSettings", {"GlobalSettings": {"isItRaining": "true"}}),
        ("GetBackupVaultNotifications", {"BackupVaultName": "orders-vault"}),
        ("DescribeRestoreJob", {"RestoreJobId": "none"}),
        ("PutRestoreValidationResult", {"RestoreJobId": "none", "ValidationStatus": "FAILED"}),
        ("CreateRestoreTestingPlan", {"RestoreTestingPlan": {**TESTING_PLAN, "ScheduleExpression": "daily"}}),
        ("GetRestoreTestingPlan", {"RestoreTestingPlanName": "none"}),
        ("UpdateRestoreTestingPlan", {"RestoreTestingPlanName": "none", "RestoreTestingPlan": {}}),
        ("DeleteRestoreTestingPlan", {"RestoreTestingPlanName": "none"}),
        ("ListRestoreTestingSelections", {"RestoreTestingPlanName": "none"}),
        (
            "CreateRestoreTestingSelection",
            {"RestoreTestingPlanName": "none", "RestoreTestingSelection": TESTING_SELECTION},
        ),
        ("GetRestoreJobMetadata", {"RestoreJobId": "none"}),
        ("ListRestoreJobs", {"ByStatus": "DONE"}),
        ("ListRestoreJobsByProtectedResource", {"ResourceArn": TABLE_ARN, "ByStatus": "DONE"}),
        ("DescribeProtectedResource", {"ResourceArn": TABLE_ARN}),
        ("ListProtectedResources", BAD_PAGE),
        ("ListProtectedResourcesByBackupVault", NOWHERE),
        ("TagResource", {**NO_RESOURCE, "Tags": {"a": "b"}}),
        ("TagResource", {"ResourceArn": TABLE_ARN, "Tags": {"a": "b"}}),
        ("UntagResource", {**NO_RESOURCE, "TagKeyList": ["a"]}),
        ("ListTags", NO_RESOURCE),
        ("CreateBackupPlan", {"BackupPlan": {"BackupPlanName": "p", "Rules": []}}),
        ("CreateBackupPlan", {"BackupPlan": {"BackupPlanName": "p", "Rules": [{**FULL_RULE, **NOWHERE_TO}]}}),
        ("UpdateBackupPlan", {"BackupPlanId": "none", "BackupPlan": {"BackupPlanName": "p", "Rules": [FULL_RULE]}}),
        ("GetBackupPlan", {"BackupPlanId": "none"}),
        ("ListBackupPlans", BAD_PAGE),
        ("ListBackupPlanVersions", {"BackupPlanId": "none"}),
        ("ExportBackupPlanTemplate", {"BackupPlanId": "none"}),
        ("GetBackupPlanFromJSON", {"BackupPlanTemplateJson": "[1]"}),
        ("GetBackupPlanFromTemplate", {"BackupPlanTemplateId": "none"}),
        ("ListBackupPlanTemplates", BAD_PAGE),
        ("CreateBackupSelection", {"BackupPlanId": "none", "BackupSelection": FULL_SELECTION}),
        ("GetBackupSelection", {"BackupPlanId": "none", "SelectionId": "none"}),
        ("ListBackupSelections", {"BackupPlanId": "none"}),
        ("DeleteBackupSelection", {"BackupPlanId": "none", "SelectionId": "none"}),
        ("DeleteBackupPlan", {"BackupPlanId": "none"}),
        ("DescribeReportPlan", {"ReportPlanName": "none"}),
    ],
)
def test_errors_are_declared_by_the_model(aws, judge, operation, members):
    with pytest.raises(ClientError) as raised:
        call(aws, operation, **members)
    assert judge.refused == {operation: {raised.value.response["Error"]["Code"]}}
    assert type(raised.value).__name__ == raised.value.response["Error"]["Code"]
