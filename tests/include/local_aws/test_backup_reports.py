import csv
import io
import json
from datetime import timedelta

import pytest

from local_aws import control

BUCKET = "reports-of-orders"
FAR = "eu-west-1"


@pytest.fixture
def bucket(aws, clients):
    """A bucket for reports, with a function that reads an object of it."""
    storage = clients("s3")
    storage.create_bucket(Bucket=BUCKET)
    return lambda key: storage.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()


def plan(aws, template="BACKUP_JOB_REPORT", *formats, name="daily", **setting):
    channel = {"S3BucketName": BUCKET, "S3KeyPrefix": "audit/"}
    return aws.backup.create_report_plan(
        ReportPlanName=name,
        ReportDeliveryChannel={**channel, "Formats": list(formats)} if formats else channel,
        ReportSetting={"ReportTemplate": template, **setting},
    )


def job(aws, job_id):
    return aws.backup.describe_report_job(ReportJobId=job_id)["ReportJob"]


def reported(aws, bucket, template="BACKUP_JOB_REPORT", **setting):
    """Run a report on demand and return its rows, from CSV."""
    plan(aws, template, **setting)
    job_id = aws.backup.start_report_job(ReportPlanName="daily")["ReportJobId"]
    aws.wait()
    (key,) = job(aws, job_id)["ReportDestination"]["S3Keys"]
    return list(csv.DictReader(io.StringIO(bucket(key))))


def test_a_report_on_demand_goes_through_its_states(aws, bucket):
    made = plan(aws, "BACKUP_JOB_REPORT", "CSV", "JSON")
    job_id = aws.backup.start_report_job(ReportPlanName="daily")["ReportJobId"]
    seen = [job(aws, job_id)["Status"]]
    for _ in range(10):
        aws.wait(10)
        if (status := job(aws, job_id)["Status"]) != seen[-1]:
            seen.append(status)
    assert seen == ["CREATED", "RUNNING", "COMPLETED"]
    done = job(aws, job_id)
    assert done["ReportPlanArn"] == made["ReportPlanArn"]
    assert done["CompletionTime"] - done["CreationTime"] == timedelta(seconds=100)
    destination = done["ReportDestination"]
    assert destination["S3BucketName"] == BUCKET
    start = f"audit/Backup/us-east-1/2026/03/01/daily_{job_id}"
    assert destination["S3Keys"] == [f"{start}.csv", f"{start}.json"]
    (described,) = aws.backup.list_report_plans()["ReportPlans"]
    assert described["LastAttemptedExecutionTime"] == aws.now
    assert described["LastSuccessfulExecutionTime"] == done["CompletionTime"]


def test_backup_jobs_are_reported(aws, bucket):
    arn = aws.recovery_point()
    control.inject_fault("StartBackupJob", "FAILED", "It rained.")
    aws.start()
    aws.wait()
    aws.start()
    done, failed, active = reported(aws, bucket)
    assert done["reportTimePeriodEnd"] == "2026-03-01T12:03:20Z"
    assert (done["accountId"], done["region"]) == ("123456789012", "us-east-1")
    assert (done["jobStatus"], done["jobRunTime"], done["recoveryPointArn"]) == ("COMPLETED", "00:01:40", arn)
    assert (done["creationDate"], done["completionDate"]) == ("2026-03-01T12:00:00.000Z", "2026-03-01T12:01:40.000Z")
    assert (done["backupVaultName"], done["iamRoleArn"]) == (aws.vault, aws.role)
    assert int(done["backupSizeInBytes"]) > 0
    assert (failed["jobStatus"], failed["statusMessage"]) == ("FAILED", "It rained.")
    # What is active is reported as it is when the report is written.
    assert (active["jobStatus"], active["resourceName"]) == ("COMPLETED", "orders")


def test_only_the_last_day_is_reported(aws, bucket):
    aws.recovery_point()
    aws.wait(86_400)
    assert reported(aws, bucket) == []


def test_restores_and_copies_have_reports_of_their_own(aws, bucket):
    aws.backup.create_backup_vault(BackupVaultName="copies")
    copies = "arn:aws:backup:us-east-1:123456789012:backup-vault:copies"
    arn = aws.recovery_point()
    restore = aws.restore(arn)
    copy = aws.backup.start_copy_job(
        RecoveryPointArn=arn,
        SourceBackupVaultName=aws.vault,
        DestinationBackupVaultArn=copies,
        IamRoleArn=aws.role,
    )["CopyJobId"]
    aws.wait(600)
    (row,) = reported(aws, bucket, "RESTORE_JOB_REPORT")
    assert (row["restoreJobId"], row["jobStatus"], row["recoveryPointArn"]) == (restore, "COMPLETED", arn)
    assert row["createdResourceArn"].endswith(":table/orders-restored")
    aws.backup.delete_report_plan(ReportPlanName="daily")
    (row,) = reported(aws, bucket, "COPY_JOB_REPORT")
    assert (row["copyJobId"], row["sourceRecoveryPointArn"], row["destinationBackupVaultArn"]) == (copy, arn, copies)
    assert (
        row["destinationRecoveryPointArn"]
        == (aws.backup.describe_copy_job(CopyJobId=copy)["CopyJob"]["DestinationRecoveryPointArn"])
    )


def test_json_and_csv_say_the_same(aws, bucket):
    aws.recovery_point()
    plan(aws, "BACKUP_JOB_REPORT", "CSV", "JSON")
    job_id = aws.backup.start_report_job(ReportPlanName="daily")["ReportJobId"]
    aws.wait()
    table, document = (bucket(key) for key in job(aws, job_id)["ReportDestination"]["S3Keys"])
    rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(io.StringIO(table))]
    items = json.loads(document)["reportItems"]
    assert [{name: str(value) for name, value in item.items()} for item in items] == rows
    assert len(rows) == 1


def test_a_report_comes_every_morning_until_the_plan_is_gone(aws, bucket):
    plan(aws)
    aws.wait(3 * 86_400)
    jobs = aws.backup.list_report_jobs(ByReportPlanName="daily")["ReportJobs"]
    assert [each["CreationTime"].hour for each in jobs] == [3, 3, 3]
    assert {each["Status"] for each in jobs} == {"COMPLETED"}
    aws.backup.delete_report_plan(ReportPlanName="daily")
    aws.wait(2 * 86_400)
    assert len(aws.backup.list_report_jobs()["ReportJobs"]) == 3


def test_a_missing_bucket_fails_the_job(aws):
    plan(aws)
    job_id = aws.backup.start_report_job(ReportPlanName="daily")["ReportJobId"]
    aws.wait()
    failed = job(aws, job_id)
    assert failed["Status"] == "FAILED"
    assert BUCKET in failed["StatusMessage"]
    assert [each["ReportJobId"] for each in aws.backup.list_report_jobs(ByStatus="FAILED")["ReportJobs"]] == [job_id]
    assert aws.backup.list_report_jobs(ByStatus="COMPLETED")["ReportJobs"] == []


@pytest.mark.parametrize(("regions", "seen"), [(["us-east-1"], 0), ([FAR], 1), (["*"], 1), (["us-east-1", FAR], 1)])
def test_a_report_covers_the_regions_that_it_names(aws, clients, bucket, regions, seen):
    far = clients("backup", FAR)
    far.create_backup_vault(BackupVaultName=aws.vault)
    clients("dynamodb", FAR).create_table(
        TableName="far",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table = f"arn:aws:dynamodb:{FAR}:123456789012:table/far"
    far.start_backup_job(BackupVaultName=aws.vault, ResourceArn=table, IamRoleArn=aws.role)
    aws.wait()
    assert [row["region"] for row in reported(aws, bucket, Regions=regions)] == [FAR] * seen


def test_a_token_starts_one_report(aws, bucket):
    plan(aws)
    first, second = (
        aws.backup.start_report_job(ReportPlanName="daily", IdempotencyToken="t")["ReportJobId"] for _ in range(2)
    )
    assert first == second


def test_a_plan_is_updated_in_place(aws, bucket):
    made = plan(aws)
    aws.backup.update_report_plan(ReportPlanName="daily", ReportSetting={"ReportTemplate": "COPY_JOB_REPORT"})
    aws.backup.update_report_plan(ReportPlanName="daily", ReportPlanDescription="for the auditors")
    now = aws.backup.describe_report_plan(ReportPlanName="daily")["ReportPlan"]
    assert now["ReportPlanArn"] == made["ReportPlanArn"]
    assert now["ReportSetting"] == {"ReportTemplate": "COPY_JOB_REPORT"}
    assert now["ReportPlanDescription"] == "for the auditors"
    assert now["ReportDeliveryChannel"] == {"S3BucketName": BUCKET, "S3KeyPrefix": "audit/"}
    aws.backup.tag_resource(ResourceArn=now["ReportPlanArn"], Tags={"a": "b"})
    assert aws.backup.list_tags(ResourceArn=now["ReportPlanArn"])["Tags"] == {"a": "b"}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"ReportPlanName": "1st"}, "ReportPlanName"),
        ({"ReportSetting": {"ReportTemplate": "RESOURCE_COMPLIANCE_REPORT"}}, "BACKUP_JOB_REPORT"),
        ({"ReportDeliveryChannel": {"S3BucketName": BUCKET, "Formats": ["PDF"]}}, "PDF"),
        ({"ReportSetting": {"ReportTemplate": "COPY_JOB_REPORT", "Accounts": ["210987654321"]}}, "Accounts"),
        ({"ReportSetting": {"ReportTemplate": "COPY_JOB_REPORT", "Regions": ["mars-north-1"]}}, "mars-north-1"),
        (
            {
                "ReportSetting": {"ReportTemplate": "COPY_JOB_REPORT", "Regions": [FAR]},
                "ReportDeliveryChannel": {"S3BucketName": BUCKET, "Formats": ["JSON"]},
            },
            "CSV only",
        ),
    ],
)
def test_plans_that_cannot_be_are_refused(aws, refused, members, text):
    good = {
        "ReportPlanName": "daily",
        "ReportDeliveryChannel": {"S3BucketName": BUCKET},
        "ReportSetting": {"ReportTemplate": "BACKUP_JOB_REPORT"},
    }
    with refused("InvalidParameterValueException", text):
        aws.backup.create_report_plan(**{**good, **members})


def test_a_name_is_taken_once_and_twenty_plans_are_enough(aws, refused):
    plan(aws)
    with refused("AlreadyExistsException", "daily"):
        plan(aws)
    for number in range(19):
        plan(aws, name=f"p{number}")
    with refused("LimitExceededException", "20"):
        plan(aws, name="one_more")
