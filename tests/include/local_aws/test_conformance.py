"""botocore's service model of AWS Backup as the judge: every operation is reached, every reply has its shape."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from moto.core.responses import EmptyResult

from local_aws import control
from local_aws.backup.responses import BackupResponse
from local_aws.backup.served import ALWAYS_REFUSED, SERVED
from local_aws.conformance.__main__ import main
from local_aws.conformance.judge import MODEL, Judge
from local_aws.conformance.left_out import REASONS
from local_aws.conformance.report import Finding, examine, table
from local_aws.conformance.samples import ROLE, TABLE_ARN, input_of
from local_aws.conformance.story import FULL_RULE, FULL_SELECTION, TESTING_PLAN, TESTING_SELECTION, World, tell

ROOT = Path(__file__).resolve().parents[3]
ALL = tuple(MODEL.operation_names)


@pytest.fixture(scope="module")
def findings():
    """What the conformance command finds."""
    return examine()


def naive(value):
    """Times as moto's parser gives them."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, dict):
        return {key: naive(each) for key, each in value.items()}
    return [naive(each) for each in value] if isinstance(value, list) else value


@pytest.fixture
def judge(aws):
    with Judge(aws.backup) as judge:
        yield judge


def call(aws, operation, **members):
    return getattr(aws.backup, xform_name(operation))(**members)


def test_the_model_still_has_all_that_is_served():
    assert set(ALL) >= SERVED


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
    assert code in {shape.name for shape in MODEL.operation_model(operation).error_shapes}
    assert status == 400
    assert message.startswith(f"{operation} is not served by the local AWS")


@pytest.mark.parametrize("operation", sorted(SERVED))
def test_what_is_served_is_reached(aws, operation):
    refusal = refusal_of(aws, operation)
    if refusal is not None:
        code, status, message = refusal
        assert code in {shape.name for shape in MODEL.operation_model(operation).error_shapes}
        assert status == 400
        assert "not served" not in message


@pytest.mark.parametrize("operation", sorted(SERVED))
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


def test_all_that_is_served_conforms_and_all_else_says_so(findings):
    wrong = {finding.operation: finding.remark for finding in findings if not finding.conforms}
    assert wrong == {}
    assert [finding.operation for finding in findings if finding.served] == sorted(SERVED)
    assert len(findings) == len(ALL)


def test_the_documented_coverage_is_up_to_date(findings):
    assert (ROOT / "docs" / "local-aws-coverage.md").read_text(encoding="utf-8") == table(findings)


def test_every_served_operation_can_succeed_in_the_models_shape(bare_aws):
    control.configure(copy_seconds=bare_aws.job_seconds)
    with Judge(bare_aws.backup) as judge:
        world = World(bare_aws.backup, bare_aws.dynamodb)
        world.prepare()
        tell(world)
    assert judge.faults == {}
    assert judge.passed == SERVED - ALWAYS_REFUSED


def test_what_is_left_out_has_a_reason():
    assert set(REASONS) == set(ALL) - SERVED


def test_the_judge_finds_what_is_wrong(aws, monkeypatch):
    def wrong(self):
        return 201, {"status": 201, "Content-Type": "text/html"}, '{"Weather": "rain"}'

    monkeypatch.setattr(BackupResponse, "list_backup_vaults", wrong)
    with Judge(aws.backup) as judge:
        call(aws, "ListBackupVaults")
    assert judge.passed == set()
    (faults,) = judge.faults.values()
    assert faults == [
        "HTTP 201 instead of 200",
        "the model has no .Weather",
        "the reply is text/html, not JSON",
    ]


def test_the_command_prints_and_writes(capsys, monkeypatch, tmp_path):
    findings = [Finding("A", True, True), Finding("B", False, True, "Why."), Finding("C", True, False, "Wrong.")]
    monkeypatch.setattr("local_aws.conformance.__main__.examine", lambda: findings)
    assert main(["--write", str(tmp_path / "t.md")]) == 1
    printed = capsys.readouterr().out
    assert "3 operations: 2 served, 1 of them conforming; 1 left out, 1 of them answering" in printed
    assert "| B | no | Why. |" in (tmp_path / "t.md").read_text()
    findings.pop()
    assert main([]) == 0


NOWHERE = {"BackupVaultName": "nowhere"}
NOWHERE_TO = {"TargetBackupVaultName": "nowhere"}
NO_POINT = {"RecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:none"}
NO_RESOURCE = {"ResourceArn": "arn:aws:backup:us-east-1:123456789012:backup-vault:none"}
START = {"BackupVaultName": "orders-vault", "ResourceArn": TABLE_ARN, "IamRoleArn": ROLE}
RESTORE = {**NO_POINT, "Metadata": {"targetTableName": "orders-restored"}}
REPORT_PLAN = {"ReportPlanName": "r", "ReportDeliveryChannel": {"S3BucketName": "reports"}}
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
        ("UpdateReportPlan", {"ReportPlanName": "none"}),
        ("DeleteReportPlan", {"ReportPlanName": "none"}),
        ("CreateReportPlan", {**REPORT_PLAN, "ReportSetting": {"ReportTemplate": "CONTROL_COMPLIANCE_REPORT"}}),
        ("ListReportPlans", BAD_PAGE),
        ("StartReportJob", {"ReportPlanName": "none"}),
        ("DescribeReportJob", {"ReportJobId": "none"}),
        ("ListReportJobs", {"ByStatus": "DONE"}),
        ("ListBackupJobSummaries", {"State": "DONE"}),
        ("ListCopyJobSummaries", {"State": "DONE"}),
        ("ListRestoreJobSummaries", {"State": "DONE"}),
    ],
)
def test_errors_are_declared_by_the_model(aws, judge, operation, members):
    with pytest.raises(ClientError) as raised:
        call(aws, operation, **members)
    assert judge.refused == {operation: {raised.value.response["Error"]["Code"]}}
    assert type(raised.value).__name__ == raised.value.response["Error"]["Code"]
