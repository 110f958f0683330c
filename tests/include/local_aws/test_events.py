"""Events as a consumer meets them: in a queue, through a rule on the default bus."""

import json
from datetime import timedelta

import pytest

from local_aws import control

ACCOUNT = "123456789012"
JOB = "Backup Job State Change"
RESTORE = "Restore Job State Change"
POINT = "Recovery Point State Change"
VAULT = "Backup Vault State Change"


class Inbox:
    """A queue, and the rules that fill it."""

    def __init__(self, clients, region="us-east-1"):
        self.sqs, self.events = clients("sqs", region), clients("events", region)
        self.url = self.sqs.create_queue(QueueName="inbox")["QueueUrl"]
        self.arn = f"arn:aws:sqs:{region}:{ACCOUNT}:inbox"

    def rule(self, pattern, name="all", state="ENABLED", targets=()):
        self.events.put_rule(Name=name, EventPattern=json.dumps(pattern), State=state)
        self.events.put_targets(Rule=name, Targets=[*targets, {"Id": "queue", "Arn": self.arn}])

    def read(self):
        """Return what arrived since the last time, oldest first."""
        bodies = []
        while messages := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return bodies


@pytest.fixture
def inbox(aws, clients):
    inbox = Inbox(clients)
    inbox.rule({"source": ["aws.backup"]})
    return inbox


def details(events, about):
    return [event["detail"] for event in events if event["detail-type"] == about]


def test_a_backup_tells_of_each_state(aws, inbox):
    started = aws.start(Lifecycle={"DeleteAfterDays": 7})
    aws.wait()
    events = inbox.read()
    created, pending, running, completed = details(events, JOB)
    assert created == {
        "backupJobId": started["BackupJobId"],
        "state": "CREATED",
        "creationDate": "2026-03-01T12:00:00.000Z",
    }
    assert (pending["state"], pending["statusMessage"]) == ("PENDING", "")
    assert running["state"] == "RUNNING"
    assert running["expectedCompletionDate"] == "Mar 1, 2026 12:01:40 PM"
    size = aws.job(started["BackupJobId"])["BackupSizeInBytes"]
    assert completed == {
        "backupJobId": started["BackupJobId"],
        "backupSizeInBytes": str(size),
        "backupVaultArn": f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:orders-vault",
        "backupVaultName": "orders-vault",
        "bytesTransferred": str(size),
        "creationDate": "2026-03-01T12:00:00.000Z",
        "iamRoleArn": aws.role,
        "resourceArn": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders",
        "resourceType": "DynamoDB",
        "state": "COMPLETED",
        "completionDate": "2026-03-01T12:01:40.000Z",
        "startBy": "2026-03-01T20:00:00.000Z",
        "percentDone": 100,
    }
    creating, done = details(events, POINT)
    assert (creating["status"], done["status"]) == ("CREATING", "COMPLETED")
    assert done["isEncrypted"] == "true"
    assert done["storageClass"] == "WARM"
    assert done["lifecycle"] == {"deleteAfterDays": 7}
    assert done["calculatedLifeCycle"] == {"deleteAt": "2026-03-08T12:00:00.000Z"}


def test_what_all_events_have(aws, inbox):
    arn = aws.recovery_point()
    (event,) = [event for event in inbox.read() if event["detail"].get("state") == "COMPLETED"]
    del event["detail"], event["id"]
    assert event == {
        "version": "0",
        "detail-type": JOB,
        "source": "aws.backup",
        "account": ACCOUNT,
        "time": "2026-03-01T12:01:40Z",
        "region": "us-east-1",
        "resources": [arn],
    }


@pytest.mark.parametrize("end", ["FAILED", "EXPIRED", "ABORTED", "PARTIAL"])
def test_a_backup_that_ends_badly_says_why(aws, inbox, end):
    control.inject_fault("StartBackupJob", end, "It rained.")
    aws.start()
    aws.wait(2 * aws.job_seconds)
    events = inbox.read()
    last = details(events, JOB)[-1]
    assert (last["state"], last["statusMessage"]) == (end, '"It rained."')
    assert last["completionDate"]
    if end != "PARTIAL":
        assert {tuple(event["resources"]) for event in events if event["detail-type"] == JOB} == {()}


def test_a_restore_tells_of_each_state(aws, inbox):
    arn = aws.recovery_point()
    inbox.read()
    job_id = aws.restore(arn)
    aws.wait()
    events = inbox.read()
    assert {tuple(event["resources"]) for event in events} == {(arn,)}
    created, pending, running, completed = details(events, RESTORE)
    assert created == {"restoreJobId": job_id, "creationDate": "2026-03-01T12:01:40.000Z", "state": "CREATED"}
    assert [each["status"] for each in (pending, running, completed)] == ["PENDING", "RUNNING", "COMPLETED"]
    assert completed["createdResourceArn"] == f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders-restored"
    assert completed["recoveryPointArn"] == arn
    assert completed["sourceResourceArn"] == f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders"
    assert completed["percentDone"] == 0  # never wait for 100
    assert isinstance(completed["backupSizeInBytes"], str)
    assert "createdResourceArn" not in running


def test_a_restore_that_fails_says_why(aws, inbox):
    arn = aws.recovery_point()
    control.inject_fault("StartRestoreJob", "FAILED", "It rained.")
    aws.restore(arn)
    aws.wait()
    last = details(inbox.read(), RESTORE)[-1]
    assert (last["status"], last["statusMessage"]) == ("FAILED", "It rained.")


def test_a_deletion_is_told_and_a_changed_lifecycle_is_not(aws, inbox):
    arn = aws.recovery_point()
    inbox.read()
    point = {"BackupVaultName": aws.vault, "RecoveryPointArn": arn}
    aws.backup.update_recovery_point_lifecycle(**point, Lifecycle={"DeleteAfterDays": 9})
    assert inbox.read() == []
    aws.backup.delete_recovery_point(**point)
    aws.wait()
    (event,) = inbox.read()
    assert (event["detail-type"], event["resources"], event["detail"]["status"]) == (POINT, [arn], "DELETING")


def test_vaults_and_region_settings_tell_too(aws, inbox):
    aws.backup.create_backup_vault(BackupVaultName="v2")
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName="v2", MinRetentionDays=1)
    aws.backup.delete_backup_vault_lock_configuration(BackupVaultName="v2")
    aws.backup.delete_backup_vault(BackupVaultName="v2")
    aws.backup.update_region_settings(ResourceTypeOptInPreference={"Aurora": True})
    events = inbox.read()
    assert details(events, VAULT) == [
        {"backupVaultName": "v2", "state": "CREATED"},
        {"backupVaultName": "v2", "state": "MODIFIED", "isLocked": "true"},
        {"backupVaultName": "v2", "state": "MODIFIED", "isLocked": "false"},
        {"backupVaultName": "v2", "state": "DELETED"},
    ]
    assert details(events, "Region Setting State Change") == [
        {
            "modifiedAt": "2026-03-01T12:00:00.000Z",
            "ResourceTypeOptInPreference": {"Aurora": True},
            "state": "MODIFIED",
        }
    ]


def test_plans_tell_too(aws, inbox):
    plan = {"BackupPlanName": "p", "Rules": [{"RuleName": "daily", "TargetBackupVaultName": aws.vault}]}
    made = aws.backup.create_backup_plan(BackupPlan=plan)
    changed = aws.backup.update_backup_plan(BackupPlanId=made["BackupPlanId"], BackupPlan=plan)
    aws.backup.delete_backup_plan(BackupPlanId=made["BackupPlanId"])
    events = inbox.read()
    now = "2026-03-01T12:00:00.000Z"
    plan_id, first, second = made["BackupPlanId"], made["VersionId"], changed["VersionId"]
    assert details(events, "Backup Plan State Change") == [
        {"backupPlanId": plan_id, "versionId": first, "creationDate": now, "state": "CREATED"},
        {"backupPlanId": plan_id, "versionId": second, "modifiedAt": now, "state": "MODIFIED"},
        {"backupPlanId": plan_id, "versionId": second, "deletionDate": now, "state": "DELETED"},
    ]
    assert {tuple(event["resources"]) for event in events} == {(made["BackupPlanArn"],)}


def test_a_planned_backup_names_its_rule(aws, inbox):
    rule = {"RuleName": "daily", "TargetBackupVaultName": aws.vault, "ScheduleExpression": "cron(0 13 * * ? *)"}
    plan = aws.backup.create_backup_plan(BackupPlan={"BackupPlanName": "p", "Rules": [rule]})
    aws.backup.create_backup_selection(
        BackupPlanId=plan["BackupPlanId"],
        BackupSelection={"SelectionName": "all", "IamRoleArn": aws.role, "Resources": ["*"]},
    )
    (rule_id,) = (
        rule["RuleId"] for rule in aws.backup.get_backup_plan(BackupPlanId=plan["BackupPlanId"])["BackupPlan"]["Rules"]
    )
    inbox.read()
    aws.wait(7200)
    events = inbox.read()
    creator = {
        "backupPlanId": plan["BackupPlanId"],
        "backupPlanArn": plan["BackupPlanArn"],
        "backupPlanVersion": plan["VersionId"],
        "backupPlanRuleId": rule_id,
    }
    assert details(events, JOB)[-1]["createdBy"] == creator
    assert details(events, POINT)[-1]["createdBy"] == creator


def test_a_rule_gets_what_it_asks_for(aws, clients):
    inbox = Inbox(clients)
    inbox.rule({"source": ["aws.backup"], "detail-type": [JOB], "detail": {"state": ["COMPLETED", "FAILED"]}})
    aws.recovery_point()
    assert [event["detail"]["state"] for event in inbox.read()] == ["COMPLETED"]


def test_a_disabled_rule_gets_nothing(aws, clients):
    inbox = Inbox(clients)
    inbox.rule({"source": ["aws.backup"]}, state="DISABLED")
    aws.recovery_point()
    assert inbox.read() == []


def test_a_target_that_is_not_served_keeps_nothing_from_the_others(aws, clients, caplog):
    inbox = Inbox(clients)
    odd = {"Id": "function", "Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:prove"}
    inbox.rule({"source": ["aws.backup"], "detail": {"state": ["COMPLETED"]}}, targets=[odd])
    aws.recovery_point()
    assert len(inbox.read()) == 1
    assert "arn:aws:lambda" in caplog.text


def test_a_rule_can_also_name_a_topic(aws, clients):
    inbox = Inbox(clients)
    topic = clients("sns").create_topic(Name="told")["TopicArn"]
    clients("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn)
    inbox.events.put_rule(Name="r", EventPattern=json.dumps({"detail": {"state": ["COMPLETED"]}}))
    inbox.events.put_targets(Rule="r", Targets=[{"Id": "topic", "Arn": topic}])
    aws.recovery_point()
    (message,) = inbox.read()
    assert json.loads(message["Message"])["detail"]["state"] == "COMPLETED"


def test_a_target_can_transform_its_input(aws, clients):
    inbox = Inbox(clients)
    transformer = {"InputPathsMap": {"job": "$.detail.backupJobId"}, "InputTemplate": '{"finished": "<job>"}'}
    inbox.events.put_rule(Name="r", EventPattern=json.dumps({"detail": {"state": ["COMPLETED"]}}))
    inbox.events.put_targets(Rule="r", Targets=[{"Id": "q", "Arn": inbox.arn, "InputTransformer": transformer}])
    job_id = aws.start()["BackupJobId"]
    aws.wait()
    assert inbox.read() == [{"finished": job_id}]


def test_a_region_keeps_its_events_to_itself(aws, clients):
    far = Inbox(clients, "eu-west-1")
    far.rule({"source": ["aws.backup"]})
    aws.recovery_point()
    assert far.read() == []


def test_events_come_in_the_order_of_the_clock(aws, inbox):
    aws.start()
    aws.make_table("other")
    aws.wait(5)
    aws.start("other")
    aws.wait(200)
    times = [event["time"] for event in inbox.read()]
    assert times == sorted(times)
    assert len(set(times)) > 4


def test_a_job_of_a_stopped_clock_tells_nothing_yet(aws, inbox):
    aws.start()
    aws.wait(0)
    assert [event["detail"]["state"] for event in inbox.read()] == ["CREATED"]
    control.advance_clock(timedelta(seconds=10))
    assert [event["detail"]["state"] for event in inbox.read()] == ["PENDING"]
