import json
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from local_aws import control

ACCOUNT = "123456789012"
HOUR = 3600
TABLE_ARN = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders"
PLAN = {
    "RestoreTestingPlanName": "weekly",
    "ScheduleExpression": "cron(0 14 * * ? *)",
    "RecoveryPointSelection": {
        "Algorithm": "LATEST_WITHIN_WINDOW",
        "IncludeVaults": ["*"],
        "RecoveryPointTypes": ["SNAPSHOT"],
    },
}


@pytest.fixture
def testing(aws):
    return Restores(aws)


class Restores:
    """Restore testing on the orders table."""

    def __init__(self, aws):
        self.aws, self.backup = aws, aws.backup

    def plan(self, choice=(), **members):
        selection = {**PLAN["RecoveryPointSelection"], **dict(choice)}
        plan = {**PLAN, "RecoveryPointSelection": selection, **members}
        return self.backup.create_restore_testing_plan(RestoreTestingPlan=plan)["RestoreTestingPlanArn"]

    def selection(self, name="tables", **members):
        selection = {
            "RestoreTestingSelectionName": name,
            "ProtectedResourceType": "DynamoDB",
            "IamRoleArn": self.aws.role,
            "ProtectedResourceArns": ["*"],
            **members,
        }
        self.backup.create_restore_testing_selection(RestoreTestingPlanName="weekly", RestoreTestingSelection=selection)

    def fire(self):
        """Let the clock pass 14:00, and the restores end."""
        self.aws.wait(2 * HOUR + self.aws.job_seconds)

    def jobs(self):
        return self.backup.list_restore_jobs()["RestoreJobs"]

    def judge(self, job, status="SUCCESSFUL", **members):
        self.backup.put_restore_validation_result(RestoreJobId=job["RestoreJobId"], ValidationStatus=status, **members)

    def tables(self):
        return [name for name in self.aws.dynamodb.list_tables()["TableNames"] if name != "orders"]


def test_a_plan_is_made_read_changed_listed_and_deleted(aws, testing, refused):
    arn = testing.plan(StartWindowHours=2)
    assert arn.startswith(f"arn:aws:backup:us-east-1:{ACCOUNT}:restore-testing-plan:weekly-")
    plan = aws.backup.get_restore_testing_plan(RestoreTestingPlanName="weekly")["RestoreTestingPlan"]
    assert plan["RestoreTestingPlanArn"] == arn
    assert plan["CreationTime"] == aws.now
    assert plan["ScheduleExpression"] == "cron(0 14 * * ? *)"
    assert plan["ScheduleExpressionTimezone"] == "Etc/UTC"
    assert plan["StartWindowHours"] == 2
    assert plan["RecoveryPointSelection"]["SelectionWindowDays"] == 30

    aws.wait(60)
    changed = aws.backup.update_restore_testing_plan(
        RestoreTestingPlanName="weekly",
        RestoreTestingPlan={"RecoveryPointSelection": {"Algorithm": "RANDOM_WITHIN_WINDOW"}},
    )
    assert changed["UpdateTime"] == aws.now + timedelta(seconds=60)
    plan = aws.backup.get_restore_testing_plan(RestoreTestingPlanName="weekly")["RestoreTestingPlan"]
    assert plan["RecoveryPointSelection"]["Algorithm"] == "RANDOM_WITHIN_WINDOW"
    assert plan["RecoveryPointSelection"]["IncludeVaults"] == ["*"]
    assert plan["StartWindowHours"] == 2

    (listed,) = aws.backup.list_restore_testing_plans()["RestoreTestingPlans"]
    assert listed["RestoreTestingPlanName"] == "weekly"
    aws.backup.delete_restore_testing_plan(RestoreTestingPlanName="weekly")
    with refused("ResourceNotFoundException", "weekly"):
        aws.backup.get_restore_testing_plan(RestoreTestingPlanName="weekly")


def test_a_plan_has_tags(aws, testing):
    arn = aws.backup.create_restore_testing_plan(RestoreTestingPlan=PLAN, Tags={"team": "orders"})[
        "RestoreTestingPlanArn"
    ]
    assert aws.backup.list_tags(ResourceArn=arn)["Tags"] == {"team": "orders"}


def test_a_selection_is_made_read_changed_listed_and_deleted(aws, testing, refused):
    testing.plan()
    testing.selection(ProtectedResourceArns=[TABLE_ARN], ValidationWindowHours=3)
    name = {"RestoreTestingPlanName": "weekly", "RestoreTestingSelectionName": "tables"}
    selection = aws.backup.get_restore_testing_selection(**name)["RestoreTestingSelection"]
    assert selection["ProtectedResourceArns"] == [TABLE_ARN]
    assert selection["ValidationWindowHours"] == 3
    conditions = {"StringEquals": [{"Key": "aws:ResourceTag/tier", "Value": "gold"}]}
    with refused("InvalidParameterValueException", "either"):
        aws.backup.update_restore_testing_selection(
            **name, RestoreTestingSelection={"ProtectedResourceConditions": conditions}
        )
    aws.backup.update_restore_testing_selection(
        **name, RestoreTestingSelection={"ProtectedResourceArns": ["*"], "ProtectedResourceConditions": conditions}
    )
    selection = aws.backup.get_restore_testing_selection(**name)["RestoreTestingSelection"]
    assert selection["ProtectedResourceConditions"]["StringEquals"] == conditions["StringEquals"]
    assert selection["ValidationWindowHours"] == 3
    (listed,) = aws.backup.list_restore_testing_selections(RestoreTestingPlanName="weekly")["RestoreTestingSelections"]
    assert listed["RestoreTestingSelectionName"] == "tables"
    with refused("InvalidRequestException", "selections first"):
        aws.backup.delete_restore_testing_plan(RestoreTestingPlanName="weekly")
    aws.backup.delete_restore_testing_selection(**name)
    with refused("ResourceNotFoundException"):
        aws.backup.get_restore_testing_selection(**name)
    aws.backup.delete_restore_testing_plan(RestoreTestingPlanName="weekly")


def test_a_test_restores_on_schedule_and_takes_its_table_away(aws, testing):
    arn = aws.recovery_point()
    plan_arn = testing.plan()
    testing.selection(ValidationWindowHours=2)
    testing.fire()
    (job,) = testing.jobs()
    assert job["Status"] == "COMPLETED"
    assert job["CreatedBy"] == {"RestoreTestingPlanArn": plan_arn}
    assert job["RecoveryPointArn"] == arn
    assert job["CreationDate"] == aws.now + timedelta(hours=2)
    assert "ValidationStatus" not in job
    (table,) = testing.tables()
    assert job["CreatedResourceArn"].endswith(f":table/{table}")
    assert table.startswith("awsbackup-restore-test-")
    assert aws.orders(table) == ["A", "B"]

    aws.wait(2 * HOUR + 10)
    (job,) = testing.jobs()
    assert (job["ValidationStatus"], job["DeletionStatus"]) == ("TIMED_OUT", "SUCCESSFUL")
    assert testing.tables() == []


def test_a_plan_fires_again_and_tells_when_it_did(aws, testing):
    aws.recovery_point()
    testing.plan()
    testing.selection()
    aws.wait(2 * 24 * HOUR)
    assert len(testing.jobs()) == 2
    plan = aws.backup.get_restore_testing_plan(RestoreTestingPlanName="weekly")["RestoreTestingPlan"]
    assert plan["LastExecutionTime"] == aws.now + timedelta(days=1, hours=2)


def test_one_verdict_is_taken_and_ends_the_test(aws, testing, refused):
    aws.recovery_point()
    testing.plan()
    testing.selection(ValidationWindowHours=5)
    testing.fire()
    (job,) = testing.jobs()
    testing.judge(job, "VALIDATING")
    testing.judge(job, "SUCCESSFUL", ValidationStatusMessage="Two orders, as expected.")
    (job,) = testing.jobs()
    assert (job["ValidationStatus"], job["ValidationStatusMessage"]) == ("SUCCESSFUL", "Two orders, as expected.")
    assert job["DeletionStatus"] == "DELETING"
    with refused("InvalidRequestException", "SUCCESSFUL"):
        testing.judge(job, "FAILED")
    aws.wait(10)
    (job,) = testing.jobs()
    assert job["DeletionStatus"] == "SUCCESSFUL"
    assert testing.tables() == []
    aws.wait(6 * HOUR)
    (job,) = testing.jobs()
    assert job["ValidationStatus"] == "SUCCESSFUL"


def test_without_a_window_the_table_goes_at_once(aws, testing, refused):
    aws.recovery_point()
    testing.plan()
    testing.selection()
    testing.fire()
    (job,) = testing.jobs()
    assert job["DeletionStatus"] == "SUCCESSFUL"
    assert "ValidationStatus" not in job
    assert testing.tables() == []
    with refused("InvalidRequestException", "deleted"):
        testing.judge(job)


@pytest.mark.parametrize("state", ["ordinary", "running", "failed"])
def test_what_cannot_be_judged(aws, testing, refused, state):
    arn = aws.recovery_point()
    if state == "ordinary":
        aws.restore(arn)
        aws.wait()
    else:
        testing.plan()
        testing.selection(ValidationWindowHours=5)
        if state == "failed":
            control.inject_fault("StartRestoreJob", "FAILED", "It rained.")
        # The recovery point took as long as a job takes; a restore that starts at 14:00 then has half of its time.
        aws.wait(2 * HOUR - aws.job_seconds / 2 if state == "running" else 3 * HOUR)
    with refused("InvalidRequestException"):
        testing.judge(testing.jobs()[0])


def test_bad_verdicts_are_refused(aws, testing, refused):
    job = {"RestoreJobId": aws.restore(aws.recovery_point())}
    with refused("InvalidParameterValueException", "ValidationStatus"):
        testing.judge(job, "FINE")
    with refused("ResourceNotFoundException"):
        testing.judge({"RestoreJobId": "none"})


def test_a_table_that_is_gone_or_protected_is_not_deleted(aws, testing):
    aws.recovery_point()
    testing.plan()
    testing.selection(ValidationWindowHours=1)
    testing.fire()
    (table,) = testing.tables()
    aws.dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
    aws.wait(HOUR + 10)
    (job,) = testing.jobs()
    assert job["DeletionStatus"] == "FAILED"
    assert "deletion protection" in job["DeletionStatusMessage"]
    assert testing.tables() == [table]


@pytest.mark.parametrize(
    ("choice", "tested"),
    [
        ({}, True),
        ({"IncludeVaults": [f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:orders-vault"]}, True),
        ({"IncludeVaults": [f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:orders*"]}, True),
        ({"IncludeVaults": [f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:another"]}, False),
        ({"ExcludeVaults": [f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:orders-vault"]}, False),
        ({"RecoveryPointTypes": ["CONTINUOUS"]}, False),
        ({"RecoveryPointTypes": ["CONTINUOUS", "SNAPSHOT"]}, True),
    ],
)
def test_the_plan_chooses_the_recovery_point(aws, testing, choice, tested):
    aws.recovery_point()
    testing.plan(choice)
    testing.selection()
    testing.fire()
    assert len(testing.jobs()) == tested


def test_the_latest_within_the_window_is_restored(aws, testing):
    aws.recovery_point()
    aws.wait(24 * HOUR)
    latest = aws.recovery_point()
    testing.plan({"SelectionWindowDays": 1})
    testing.selection()
    testing.fire()
    assert [job["RecoveryPointArn"] for job in testing.jobs()] == [latest]
    aws.wait(24 * HOUR)
    assert len(testing.jobs()) == 1  # by now it is older than the window


def test_at_random_any_within_the_window_is_restored(aws, testing):
    points = {aws.recovery_point() for _ in range(3)}
    testing.plan({"Algorithm": "RANDOM_WITHIN_WINDOW"})
    testing.selection()
    aws.wait(20 * 24 * HOUR)
    tested = {job["RecoveryPointArn"] for job in testing.jobs()}
    assert tested <= points
    assert len(tested) > 1


@pytest.mark.parametrize(
    ("members", "tested"),
    [
        ({"ProtectedResourceArns": [TABLE_ARN]}, True),
        ({"ProtectedResourceArns": [f"{TABLE_ARN}-other"]}, False),
        ({"ProtectedResourceType": "EBS"}, False),
        ({"ProtectedResourceConditions": {"StringEquals": [{"Key": "aws:ResourceTag/t", "Value": "1"}]}}, True),
        ({"ProtectedResourceConditions": {"StringEquals": [{"Key": "aws:ResourceTag/t", "Value": "2"}]}}, False),
        ({"ProtectedResourceConditions": {"StringNotEquals": [{"Key": "aws:ResourceTag/t", "Value": "1"}]}}, False),
        ({"ProtectedResourceConditions": {"StringNotEquals": [{"Key": "aws:ResourceTag/t", "Value": "2"}]}}, True),
    ],
)
def test_the_selection_chooses_the_table(aws, testing, members, tested):
    aws.recovery_point(RecoveryPointTags={"t": "1"})
    testing.plan()
    testing.selection(**members)
    testing.fire()
    assert len(testing.jobs()) == tested


def test_the_encryption_can_be_overridden(aws, testing, clients):
    key = clients("kms").create_key()["KeyMetadata"]["Arn"]
    aws.recovery_point()
    testing.plan()
    testing.selection(
        ValidationWindowHours=1, RestoreMetadataOverrides={"ENCRYPTIONTYPE": "KMS", "kmsMasterKeyArn": key}
    )
    testing.fire()
    (table,) = testing.tables()
    assert aws.dynamodb.describe_table(TableName=table)["Table"]["SSEDescription"]["KMSMasterKeyArn"] == key


def test_the_inferred_metadata_can_be_read(aws, refused):
    point = {"BackupVaultName": aws.vault, "RecoveryPointArn": aws.recovery_point()}
    metadata = aws.backup.get_restore_testing_inferred_metadata(**point)["InferredMetadata"]
    assert metadata.pop("targetTableName").startswith("awsbackup-restore-test-")
    assert metadata == {"deletionProtection": "false", "encryptionType": "Default"}
    with refused("ResourceNotFoundException"):
        aws.backup.get_restore_testing_inferred_metadata(**{**point, "RecoveryPointArn": "none"})


def test_a_changed_or_deleted_plan_keeps_to_its_new_schedule(aws, testing):
    aws.recovery_point()
    testing.plan()
    testing.selection()
    aws.backup.update_restore_testing_plan(
        RestoreTestingPlanName="weekly", RestoreTestingPlan={"ScheduleExpression": "cron(0 20 * * ? *)"}
    )
    testing.fire()
    assert testing.jobs() == []
    aws.wait(6 * HOUR)
    assert len(testing.jobs()) == 1
    aws.backup.delete_restore_testing_selection(RestoreTestingPlanName="weekly", RestoreTestingSelectionName="tables")
    aws.backup.delete_restore_testing_plan(RestoreTestingPlanName="weekly")
    aws.wait(48 * HOUR)
    assert len(testing.jobs()) == 1


def test_backup_plans_pass_over_tables_of_tests(aws, testing):
    aws.recovery_point()
    testing.plan()
    testing.selection(ValidationWindowHours=100)
    rule = {"RuleName": "r", "TargetBackupVaultName": aws.vault, "ScheduleExpression": "cron(0 16 * * ? *)"}
    plan_id = aws.backup.create_backup_plan(BackupPlan={"BackupPlanName": "p", "Rules": [rule]})["BackupPlanId"]
    everything = {"SelectionName": "all", "IamRoleArn": aws.role, "Resources": ["*"]}
    aws.backup.create_backup_selection(BackupPlanId=plan_id, BackupSelection=everything)
    aws.wait(5 * HOUR)
    assert len(testing.tables()) == 1
    planned = [job for job in aws.backup.list_backup_jobs()["BackupJobs"] if "CreatedBy" in job]
    assert [job["ResourceName"] for job in planned] == ["orders"]


def test_jobs_of_a_plan_can_be_listed_and_their_events_name_it(aws, testing, clients):
    queue = clients("sqs").create_queue(QueueName="inbox")["QueueUrl"]
    pattern = {"detail-type": ["Restore Job State Change"], "detail": {"status": ["COMPLETED"]}}
    clients("events").put_rule(Name="r", EventPattern=json.dumps(pattern))
    target = {"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:inbox"}
    clients("events").put_targets(Rule="r", Targets=[target])
    arn = aws.recovery_point()
    plan_arn = testing.plan()
    testing.selection()
    testing.fire()
    aws.restore(arn)
    (job,) = aws.backup.list_restore_jobs(ByRestoreTestingPlanArn=plan_arn)["RestoreJobs"]
    (message,) = clients("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    detail = json.loads(message["Body"])["detail"]
    assert (detail["restoreJobId"], detail["restoreTestingPlanArn"]) == (job["RestoreJobId"], plan_arn)


def test_the_same_request_makes_one_plan_and_one_selection(aws, testing, refused):
    def make(token):
        return aws.backup.create_restore_testing_plan(RestoreTestingPlan=PLAN, CreatorRequestId=token)

    first = make("a")["RestoreTestingPlanArn"]
    assert make("a")["RestoreTestingPlanArn"] == first
    with refused("AlreadyExistsException"):
        make("b")
    testing.selection()
    with refused("AlreadyExistsException"):
        testing.selection()


@pytest.mark.parametrize(
    "members",
    [
        {"RestoreTestingPlanName": "with-hyphen"},
        {"ScheduleExpression": "rate(1 day)"},
        {"ScheduleExpression": "cron(0 14 * *)"},
        {"ScheduleExpressionTimezone": "Mars/North"},
        {"StartWindowHours": 169},
        {"choice": {"Algorithm": "OLDEST"}},
        {"choice": {"RecoveryPointTypes": ["TAPE"]}},
        {"choice": {"SelectionWindowDays": 366}},
        {"choice": {"IncludeVaults": ["orders-vault"]}},
    ],
)
def test_bad_plans_are_refused(testing, refused, members):
    with refused("InvalidParameterValueException"):
        testing.plan(**members)


@pytest.mark.parametrize("member", ["Algorithm", "IncludeVaults", "RecoveryPointTypes"])
def test_a_plan_must_say_which_recovery_points(testing, member):
    with pytest.raises(ClientError) as raised:
        testing.plan({member: [] if member != "Algorithm" else ""})
    assert raised.value.response["Error"]["Code"] == "MissingParameterValueException"


@pytest.mark.parametrize(
    "members",
    [
        {"name": "with space"},
        {"ProtectedResourceType": "Mainframe"},
        {"ProtectedResourceArns": ["orders"]},
        {"ProtectedResourceArns": [f"{TABLE_ARN}{number}" for number in range(31)]},
        {"ProtectedResourceConditions": {"StringEquals": [{"Key": "t", "Value": "1"}]}},
        {"IamRoleArn": "me"},
        {"ValidationWindowHours": 169},
        {"RestoreMetadataOverrides": {"targetTableName": "mine"}},
        {"RestoreMetadataOverrides": {"encryptionType": "ROT13"}},
        {"RestoreMetadataOverrides": {"kmsMasterKeyArn": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"}},
    ],
)
def test_bad_selections_are_refused(testing, refused, members):
    testing.plan()
    with refused("InvalidParameterValueException"):
        testing.selection(**members)
