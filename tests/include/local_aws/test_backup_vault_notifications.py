import json

import pytest
from botocore.session import get_session

from local_aws import control
from local_aws.backup.notifications import EVENTS
from local_aws.outbox import may_publish

ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:vault-news"
LET_BACKUP_PUBLISH = {
    "Effect": "Allow",
    "Principal": {"Service": "backup.amazonaws.com"},
    "Action": "SNS:Publish",
    "Resource": TOPIC,
}


class News:
    """A topic that tells a queue."""

    def __init__(self, aws, clients):
        self.aws, self.sns, self.sqs = aws, clients("sns"), clients("sqs")
        self.topic = self.sns.create_topic(Name="vault-news")["TopicArn"]
        self.url = self.sqs.create_queue(QueueName="news")["QueueUrl"]
        queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:news"
        self.subscription = self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]

    def let(self, *statements):
        self.sns.set_topic_attributes(
            TopicArn=self.topic,
            AttributeName="Policy",
            AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}),
        )

    def ask_for(self, *events):
        self.aws.backup.put_backup_vault_notifications(
            BackupVaultName=self.aws.vault, SNSTopicArn=self.topic, BackupVaultEvents=list(events)
        )

    def read(self):
        messages = []
        while some := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in some:
                messages.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    def states(self):
        return [
            (message["MessageAttributes"]["EventType"]["Value"], message["MessageAttributes"]["State"]["Value"])
            for message in self.read()
        ]


@pytest.fixture
def news(aws, clients):
    news = News(aws, clients)
    news.let(LET_BACKUP_PUBLISH)
    return news


def test_the_events_are_those_of_the_service_model():
    assert set(get_session().get_service_model("backup").shape_for("BackupVaultEvent").enum) == EVENTS


def test_settings_are_put_replaced_read_and_deleted(aws, refused):
    name = {"BackupVaultName": aws.vault}
    with refused("ResourceNotFoundException"):
        aws.backup.get_backup_vault_notifications(**name)
    aws.backup.put_backup_vault_notifications(**name, SNSTopicArn=TOPIC, BackupVaultEvents=["COPY_JOB_FAILED"])
    aws.backup.put_backup_vault_notifications(
        **name, SNSTopicArn=TOPIC, BackupVaultEvents=["BACKUP_JOB_STARTED", "BACKUP_JOB_COMPLETED"]
    )
    reply = aws.backup.get_backup_vault_notifications(**name)
    assert reply["BackupVaultName"] == aws.vault
    assert reply["BackupVaultArn"].endswith(f":backup-vault:{aws.vault}")
    assert reply["SNSTopicArn"] == TOPIC
    assert reply["BackupVaultEvents"] == ["BACKUP_JOB_STARTED", "BACKUP_JOB_COMPLETED"]
    for _ in range(2):
        aws.backup.delete_backup_vault_notifications(**name)
        with refused("ResourceNotFoundException"):
            aws.backup.get_backup_vault_notifications(**name)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"BackupVaultName": "nowhere"}, "ResourceNotFoundException"),
        ({"SNSTopicArn": "vault-news"}, "InvalidParameterValueException"),
        ({"SNSTopicArn": f"{TOPIC}.fifo"}, "InvalidParameterValueException"),
        ({"SNSTopicArn": TOPIC.replace(ACCOUNT, "210987654321")}, "InvalidParameterValueException"),
        ({"BackupVaultEvents": ["BACKUP_JOB_MAYBE"]}, "InvalidParameterValueException"),
        ({"BackupVaultEvents": []}, "MissingParameterValueException"),
    ],
)
def test_bad_settings_are_refused(aws, refused, members, code):
    request = {"BackupVaultName": aws.vault, "SNSTopicArn": TOPIC, "BackupVaultEvents": ["COPY_JOB_FAILED"]}
    with refused(code):
        aws.backup.put_backup_vault_notifications(**{**request, **members})


def test_a_completed_backup_is_told_as_aws_tells_it(aws, news):
    news.ask_for("BACKUP_JOB_COMPLETED")
    job_id = aws.start()["BackupJobId"]
    aws.wait()
    (message,) = news.read()
    assert message["Subject"] == "Notification from AWS Backup"
    assert message["TopicArn"] == TOPIC
    assert message["Message"] == (
        "An AWS Backup job was completed successfully."
        f" Recovery point ARN: {aws.job(job_id)['RecoveryPointArn']}."
        f" Backed up Resource ARN : arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders."
        f" Backup Job Id : {job_id}"
    )
    assert message["MessageAttributes"] == {
        "EventType": {"Type": "String", "Value": "BACKUP_JOB"},
        "State": {"Type": "String", "Value": "COMPLETED"},
        "AccountId": {"Type": "String", "Value": ACCOUNT},
        "Id": {"Type": "String", "Value": job_id},
        "StartTime": {"Type": "String", "Value": "2026-03-01T12:00:00.000Z"},
    }


@pytest.mark.parametrize(
    ("asked", "end", "told"),
    [
        (["BACKUP_JOB_STARTED"], "COMPLETED", ["RUNNING"]),
        (["BACKUP_JOB_STARTED", "BACKUP_JOB_COMPLETED"], "COMPLETED", ["RUNNING", "COMPLETED"]),
        (["BACKUP_JOB_COMPLETED", "BACKUP_JOB_FAILED"], "FAILED", ["FAILED"]),
        (["BACKUP_JOB_COMPLETED"], "EXPIRED", ["EXPIRED"]),
        (["BACKUP_JOB_EXPIRED"], "EXPIRED", ["EXPIRED"]),
        (["BACKUP_JOB_COMPLETED"], "ABORTED", ["ABORTED"]),
        (["BACKUP_JOB_SUCCESSFUL"], "FAILED", []),
        (["BACKUP_JOB_FAILED"], "COMPLETED", []),
        (["RESTORE_JOB_STARTED", "COPY_JOB_FAILED"], "FAILED", []),
    ],
)
def test_only_what_was_asked_for_is_told(aws, news, asked, end, told):
    news.ask_for(*asked)
    control.inject_fault("StartBackupJob", end, "As ordered.")
    aws.start()
    aws.wait(2 * aws.job_seconds)
    assert news.states() == [("BACKUP_JOB", state) for state in told]


@pytest.mark.parametrize(("end", "told"), [(None, ["RUNNING", "COMPLETED"]), ("FAILED", ["RUNNING", "FAILED"])])
def test_restores_are_told(aws, news, end, told):
    arn = aws.recovery_point()
    news.ask_for("RESTORE_JOB_STARTED", "RESTORE_JOB_COMPLETED")
    if end:
        control.inject_fault("StartRestoreJob", end, "As ordered.")
    aws.restore(arn)
    aws.wait()
    assert news.states() == [("RESTORE_JOB", state) for state in told]


@pytest.mark.parametrize(("destination", "told"), [("copies", ["RUNNING", "COMPLETED"]), ("nowhere", ["FAILED"])])
def test_copies_are_told(aws, news, destination, told):
    aws.backup.create_backup_vault(BackupVaultName="copies")
    arn = aws.recovery_point()
    news.ask_for("COPY_JOB_STARTED", "COPY_JOB_SUCCESSFUL", "COPY_JOB_FAILED")
    aws.backup.start_copy_job(
        RecoveryPointArn=arn,
        SourceBackupVaultName=aws.vault,
        DestinationBackupVaultArn=f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:{destination}",
        IamRoleArn=aws.role,
    )
    aws.wait()
    assert news.states() == [("COPY_JOB", state) for state in told]


def test_a_changed_recovery_point_is_told(aws, news):
    news.ask_for("RECOVERY_POINT_MODIFIED")
    point = {"BackupVaultName": aws.vault, "RecoveryPointArn": aws.recovery_point()}
    assert news.read() == []
    aws.wait(1)
    aws.backup.update_recovery_point_lifecycle(**point, Lifecycle={"DeleteAfterDays": 9})
    aws.backup.delete_recovery_point(**point)
    aws.wait()
    assert news.states() == [("RECOVERY_POINT", "COMPLETED"), ("RECOVERY_POINT", "DELETING")]


def test_a_topic_that_does_not_let_aws_backup_publish_hears_nothing(aws, clients, caplog):
    news = News(aws, clients)
    news.ask_for("BACKUP_JOB_COMPLETED")
    aws.recovery_point()
    assert news.read() == []
    assert "backup.amazonaws.com" in caplog.text


def test_a_topic_that_does_not_exist_harms_nobody(aws, caplog):
    aws.backup.put_backup_vault_notifications(
        BackupVaultName=aws.vault, SNSTopicArn=TOPIC, BackupVaultEvents=["BACKUP_JOB_COMPLETED"]
    )
    assert aws.recovery_point()
    assert "does not exist" in caplog.text


def test_a_subscription_can_filter_by_attribute(aws, news):
    news.sns.set_subscription_attributes(
        SubscriptionArn=news.subscription,
        AttributeName="FilterPolicy",
        AttributeValue=json.dumps({"State": ["FAILED"]}),
    )
    news.ask_for("BACKUP_JOB_COMPLETED")
    aws.recovery_point()
    control.inject_fault("StartBackupJob", "FAILED", "As ordered.")
    aws.start()
    aws.wait()
    assert news.states() == [("BACKUP_JOB", "FAILED")]


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([LET_BACKUP_PUBLISH], True),
        ([{**LET_BACKUP_PUBLISH, "Action": ["SNS:Subscribe", "sns:*"]}], True),
        ([{**LET_BACKUP_PUBLISH, "Principal": {"Service": ["events.amazonaws.com", "backup.amazonaws.com"]}}], True),
        ([{**LET_BACKUP_PUBLISH, "Principal": "*"}], True),
        ([{**LET_BACKUP_PUBLISH, "Principal": {"Service": "events.amazonaws.com"}}], False),
        ([{**LET_BACKUP_PUBLISH, "Action": "SNS:Subscribe"}], False),
        ([{**LET_BACKUP_PUBLISH, "Principal": {"AWS": "*"}, "Condition": {"StringEquals": {"a": "b"}}}], False),
        ([LET_BACKUP_PUBLISH, {**LET_BACKUP_PUBLISH, "Effect": "Deny"}], False),
        ([], False),
    ],
)
def test_the_topics_policy_decides(statements, allowed):
    assert may_publish({"Statement": statements}) is allowed
