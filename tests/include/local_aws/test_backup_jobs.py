from datetime import timedelta

import pytest
from moto.dynamodb.models import dynamodb_backends

from local_aws import control
from local_aws.backup.states import BACKUP_JOB_OVER, BackupJobState

EIGHT_HOURS = timedelta(hours=8).total_seconds()


def test_a_job_goes_through_its_states_on_the_clock(aws):
    job_id = aws.start()["BackupJobId"]
    seen = [aws.state(job_id)]
    for _ in range(21):
        aws.wait(5)
        if aws.state(job_id) != seen[-1]:
            seen.append(aws.state(job_id))
    assert seen == ["CREATED", "PENDING", "RUNNING", "COMPLETED"]


def test_progress_is_not_made_by_asking(aws):
    job_id = aws.start()["BackupJobId"]
    assert {aws.state(job_id) for _ in range(10)} == {"CREATED"}


def test_progress_is_made_without_asking(aws):
    job_id = aws.start()["BackupJobId"]
    aws.wait(3 * aws.job_seconds)
    job = aws.job(job_id)
    assert job["State"] == "COMPLETED"
    assert job["CompletionDate"] == aws.now + timedelta(seconds=aws.job_seconds)


def test_a_completed_job_says_what_it_did(aws):
    started = aws.start(RecoveryPointTags={"run": "1"}, Lifecycle={"DeleteAfterDays": 7})
    aws.wait()
    job = aws.job(started["BackupJobId"])
    assert job["MessageCategory"] == "SUCCESS"
    assert job["PercentDone"] == "100.0"
    assert job["ResourceType"] == "DynamoDB"
    assert job["ResourceName"] == "orders"
    assert job["BackupVaultName"] == aws.vault
    assert job["IamRoleArn"] == aws.role
    assert job["AccountId"] == "123456789012"
    assert job["CreationDate"] == aws.now
    assert job["StartBy"] == aws.now + timedelta(hours=8)
    assert job["RecoveryPointLifecycle"]["DeleteAfterDays"] == 7
    assert "StatusMessage" not in job
    point = aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=job["RecoveryPointArn"])
    assert job["BackupSizeInBytes"] == job["BytesTransferred"] == point["BackupSizeInBytes"] > 0


def test_percent_done_rises_while_running(aws):
    job_id = aws.start()["BackupJobId"]
    percents = []
    for _ in range(4):
        aws.wait(25)
        percents.append(float(aws.job(job_id)["PercentDone"]))
    assert percents == [25.0, 50.0, 75.0, 100.0]


def test_the_recovery_point_is_named_at_once_in_the_advanced_form(aws):
    started = aws.start()
    assert started["RecoveryPointArn"].startswith("arn:aws:backup:us-east-1:123456789012:recovery-point:")
    assert aws.job(started["BackupJobId"])["RecoveryPointArn"] == started["RecoveryPointArn"]


def test_the_recovery_point_is_named_at_the_end_in_the_plain_form(aws):
    aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    started = aws.start()
    assert "RecoveryPointArn" not in started
    aws.wait(50)
    assert "RecoveryPointArn" not in aws.job(started["BackupJobId"])
    aws.wait(50)
    arn = aws.job(started["BackupJobId"])["RecoveryPointArn"]
    assert arn.startswith("arn:aws:dynamodb:us-east-1:123456789012:table/orders/backup/")


def test_the_backup_holds_the_table_as_at_the_request(aws):
    arn = aws.start()["RecoveryPointArn"]
    aws.put("C")
    aws.dynamodb.delete_item(TableName="orders", Key={"order_id": {"S": "A"}, "item_id": {"S": "1"}})
    aws.wait()
    aws.restore(arn)
    aws.wait()
    assert aws.orders("orders-restored") == ["A", "B"]


def test_with_a_skew_the_last_writes_are_missing(aws):
    control.configure(snapshot_skew_seconds=60)
    aws.put("settled")
    aws.wait(61)
    aws.put("late")
    aws.wait(30)
    arn = aws.start()["RecoveryPointArn"]
    aws.wait()
    aws.restore(arn)
    aws.wait()
    assert aws.orders("orders-restored") == ["A", "B", "settled"]


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"BackupVaultName": "nowhere"}, "ResourceNotFoundException", "nowhere"),
        ({"BackupVaultName": "v!"}, "InvalidParameterValueException", "vault name"),
        (
            {"ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/missing"},
            "ResourceNotFoundException",
            "missing",
        ),
        ({"ResourceArn": "orders"}, "InvalidParameterValueException", "Invalid resource ARN"),
        ({"ResourceArn": "arn:aws:s3:::bucket"}, "InvalidParameterValueException", "Unsupported resource type"),
        (
            {"ResourceArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"},
            "InvalidParameterValueException",
            "us-east-1",
        ),
        (
            {"ResourceArn": "arn:aws:dynamodb:us-east-1:210987654321:table/orders"},
            "InvalidParameterValueException",
            "123456789012",
        ),
        ({"IamRoleArn": "AWSBackupRole"}, "InvalidParameterValueException", "role"),
        ({"StartWindowMinutes": 59}, "InvalidParameterValueException", "StartWindowMinutes"),
        ({"StartWindowMinutes": 52_560_001}, "InvalidParameterValueException", "StartWindowMinutes"),
        ({"CompleteWindowMinutes": 0}, "InvalidParameterValueException", "CompleteWindowMinutes"),
        ({"Lifecycle": {"DeleteAfterDays": 0}}, "InvalidParameterValueException", "DeleteAfterDays"),
        ({"Lifecycle": {"DeleteAfterDays": 36_501}}, "InvalidParameterValueException", "DeleteAfterDays"),
        (
            {"Lifecycle": {"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 119}},
            "InvalidParameterValueException",
            "90 days",
        ),
        ({"RecoveryPointTags": {"aws:x": "y"}}, "InvalidParameterValueException", "tag key"),
        ({"Index": "ENABLED"}, "InvalidParameterValueException", "Index"),
        (
            {"LogicallyAirGappedBackupVaultArn": "arn:aws:backup:us-east-1:123456789012:backup-vault:air"},
            "InvalidRequestException",
            "air-gapped",
        ),
    ],
)
def test_what_cannot_be_backed_up_is_refused(aws, refused, members, code, text):
    with refused(code, text):
        aws.start(**members)
    assert aws.backup.list_backup_jobs()["BackupJobs"] == []


@pytest.mark.parametrize(
    "members",
    [
        {"StartWindowMinutes": 60},
        {"Lifecycle": {"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 120}},
        {"Lifecycle": {"MoveToColdStorageAfterDays": -1, "DeleteAfterDays": -1}},
        {"Index": "DISABLED"},
    ],
)
def test_what_is_just_allowed(aws, members):
    assert aws.state(aws.start(**members)["BackupJobId"]) == "CREATED"


class TestIdempotency:
    def test_the_same_token_is_the_same_job(self, aws):
        first = aws.start(IdempotencyToken="one")
        aws.wait()
        again = aws.start(IdempotencyToken="one")
        assert again["BackupJobId"] == first["BackupJobId"]
        assert again["CreationDate"] == first["CreationDate"]
        assert len(aws.backup.list_backup_jobs()["BackupJobs"]) == 1

    def test_it_stays_the_same_job_after_a_bad_end(self, aws):
        control.inject_fault("StartBackupJob", "FAILED")
        first = aws.start(IdempotencyToken="one")
        aws.wait()
        assert aws.start(IdempotencyToken="one")["BackupJobId"] == first["BackupJobId"]
        assert aws.state(first["BackupJobId"]) == "FAILED"

    def test_it_stays_the_same_job_when_the_vault_is_gone(self, aws):
        control.inject_fault("StartBackupJob", "FAILED")
        first = aws.start(IdempotencyToken="one")
        aws.wait()
        aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
        assert aws.start(IdempotencyToken="one")["BackupJobId"] == first["BackupJobId"]

    def test_other_tokens_and_no_token_are_other_jobs(self, aws):
        ids = {aws.start(**members)["BackupJobId"] for members in ({"IdempotencyToken": "a"}, {}, {})}
        assert len(ids) == 3

    @pytest.mark.parametrize(
        "other", [{"RecoveryPointTags": {"a": "b"}}, {"StartWindowMinutes": 61}, {"Lifecycle": {"DeleteAfterDays": 1}}]
    )
    def test_a_token_used_for_something_else_is_refused(self, aws, refused, other):
        job_id = aws.start(IdempotencyToken="one")["BackupJobId"]
        with refused("InvalidParameterValueException", job_id):
            aws.start(IdempotencyToken="one", **other)

    def test_a_refused_request_does_not_use_its_token_up(self, aws, refused):
        with refused("ResourceNotFoundException"):
            aws.start("missing", IdempotencyToken="one")
        assert aws.state(aws.start(IdempotencyToken="one")["BackupJobId"]) == "CREATED"


class TestOneJobPerTable:
    def test_the_second_waits_for_the_first(self, aws):
        first, second = aws.start()["BackupJobId"], aws.start()["BackupJobId"]
        aws.wait(99)
        assert (aws.state(first), aws.state(second)) == ("RUNNING", "CREATED")
        aws.wait(1)
        assert aws.state(first) == "COMPLETED"
        aws.wait(100)
        job = aws.job(second)
        assert job["State"] == "COMPLETED"
        assert job["CompletionDate"] == aws.now + timedelta(seconds=200)

    def test_the_second_holds_the_table_as_it_is_at_its_turn(self, aws):
        aws.start()
        second = aws.start()["RecoveryPointArn"]
        aws.put("C")
        aws.wait(200)
        aws.restore(second)
        aws.wait()
        assert aws.orders("orders-restored") == ["A", "B", "C"]

    def test_another_table_does_not_wait(self, aws):
        aws.make_table("customers")
        aws.start()
        other = aws.start("customers")["BackupJobId"]
        aws.wait()
        assert aws.state(other) == "COMPLETED"

    def test_they_take_turns_in_order(self, aws):
        ids = [aws.start()["BackupJobId"] for _ in range(3)]
        aws.wait(300)
        ends = [aws.job(job_id)["CompletionDate"] for job_id in ids]
        assert ends == [aws.now + timedelta(seconds=seconds) for seconds in (100, 200, 300)]

    def test_the_second_expires_at_the_end_of_its_start_window(self, aws):
        control.configure(job_seconds=2 * EIGHT_HOURS)
        aws.start()
        second = aws.start(StartWindowMinutes=60)["BackupJobId"]
        aws.wait(3599)
        assert aws.state(second) == "CREATED"
        aws.wait(1)
        job = aws.job(second)
        assert job["State"] == "EXPIRED"
        assert job["StatusMessage"] == "Backup job failed because there was a running job for the same resource."
        assert job["CompletionDate"] == aws.now + timedelta(hours=1)
        assert "RecoveryPointArn" not in job

    def test_a_waiting_job_that_was_stopped_gives_its_place_up(self, aws):
        aws.start()
        second, third = aws.start()["BackupJobId"], aws.start()["BackupJobId"]
        aws.backup.stop_backup_job(BackupJobId=second)
        aws.wait(200)
        assert (aws.state(second), aws.state(third)) == ("ABORTED", "COMPLETED")

    def test_a_job_whose_table_is_gone_at_its_turn_fails(self, aws):
        aws.start()
        second = aws.start()["BackupJobId"]
        aws.wait(50)
        del dynamodb_backends["123456789012"]["us-east-1"].tables["orders"]  # no call can: the first job holds it
        aws.wait(50)
        job = aws.job(second)
        assert job["State"] == "FAILED"
        assert "orders" in job["StatusMessage"]


def test_the_completion_window_counts_from_the_request(aws):
    control.configure(job_seconds=EIGHT_HOURS / 2)
    job_id = aws.start(CompleteWindowMinutes=120)["BackupJobId"]
    aws.wait(7199)
    assert aws.state(job_id) == "RUNNING"
    aws.wait(1)
    job = aws.job(job_id)
    assert (job["State"], job["StatusMessage"]) == ("EXPIRED", "Backup job expired before completion.")
    points = aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"]
    assert points == []


def test_a_job_fails_when_its_vault_is_deleted_before_it_runs(aws):
    job_id = aws.start()["BackupJobId"]
    aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    aws.wait()
    job = aws.job(job_id)
    assert job["State"] == "FAILED"
    assert aws.vault in job["StatusMessage"]


class TestStop:
    @pytest.mark.parametrize("after", [0, 15, 50])
    def test_a_job_is_stopped_from_any_state(self, aws, after):
        job_id = aws.start()["BackupJobId"]
        aws.wait(after)
        aws.backup.stop_backup_job(BackupJobId=job_id)
        assert aws.state(job_id) == "ABORTING"
        aws.backup.stop_backup_job(BackupJobId=job_id)
        aws.wait(10)
        job = aws.job(job_id)
        assert (job["State"], job["StatusMessage"]) == ("ABORTED", "Backup job was stopped by user.")
        assert "RecoveryPointArn" not in job
        aws.wait()
        assert aws.state(job_id) == "ABORTED"

    def test_the_next_job_of_the_table_gets_its_turn(self, aws):
        first, second = aws.start()["BackupJobId"], aws.start()["BackupJobId"]
        aws.backup.stop_backup_job(BackupJobId=first)
        aws.wait(110)
        assert aws.state(second) == "COMPLETED"

    def test_a_job_that_is_over_cannot_be_stopped(self, aws, refused):
        job_id = aws.start()["BackupJobId"]
        aws.wait()
        with refused("InvalidRequestException", "COMPLETED"):
            aws.backup.stop_backup_job(BackupJobId=job_id)
        assert aws.state(job_id) == "COMPLETED"

    def test_a_missing_job_is_not_found(self, aws, refused):
        with refused("ResourceNotFoundException", "no-such-job"):
            aws.backup.stop_backup_job(BackupJobId="no-such-job")


class TestFaults:
    @pytest.mark.parametrize("end_state", ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"])
    def test_a_job_ends_as_ordered(self, aws, end_state):
        control.inject_fault("StartBackupJob", end_state, "Insufficient permissions.", table="orders")
        job_id = aws.start()["BackupJobId"]
        aws.wait(110)
        job = aws.job(job_id)
        assert (job["State"], job["StatusMessage"]) == (end_state, "Insufficient permissions.")
        assert job["State"] in {state.value for state in BACKUP_JOB_OVER}
        assert job["PercentDone"] == "0.0"
        points = aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"]
        assert [point["Status"] for point in points] == (["PARTIAL"] if end_state == "PARTIAL" else [])
        assert ("RecoveryPointArn" in job) is (end_state == "PARTIAL")

    def test_only_as_often_as_ordered(self, aws):
        control.inject_fault("StartBackupJob", "FAILED", count=2)
        ids = [aws.start()["BackupJobId"] for _ in range(3)]
        aws.wait(300)
        assert [aws.state(job_id) for job_id in ids] == ["FAILED", "FAILED", "COMPLETED"]

    def test_only_the_table_that_it_is_for(self, aws):
        aws.make_table("customers")
        control.inject_fault("StartBackupJob", "FAILED", table="customers")
        good, bad = aws.start()["BackupJobId"], aws.start("customers")["BackupJobId"]
        aws.wait()
        assert (aws.state(good), aws.state(bad)) == ("COMPLETED", "FAILED")

    def test_completed_with_issues(self, aws):
        control.inject_fault("StartBackupJob", "COMPLETED", "Some tags are missing.", message_category="AccessDenied")
        job_id = aws.start()["BackupJobId"]
        aws.wait()
        job = aws.job(job_id)
        assert (job["State"], job["MessageCategory"]) == ("COMPLETED", "AccessDenied")
        assert job["StatusMessage"] == "Some tags are missing."
        assert "RecoveryPointArn" in job

    def test_an_expired_job_does_not_hold_the_table(self, aws):
        control.inject_fault("StartBackupJob", "EXPIRED")
        aws.start()
        second = aws.start()["BackupJobId"]
        aws.wait()
        assert aws.state(second) == "COMPLETED"


class TestLists:
    @pytest.fixture
    def jobs(self, aws):
        """Two tables, two vaults, three jobs a minute apart: COMPLETED, FAILED, CREATED."""
        aws.make_table("customers")
        aws.backup.create_backup_vault(BackupVaultName="other-vault")
        done = aws.start()["BackupJobId"]
        aws.wait(120)
        control.inject_fault("StartBackupJob", "FAILED", "No.")
        failed = aws.start("customers", BackupVaultName="other-vault")["BackupJobId"]
        aws.wait(120)
        created = aws.start()["BackupJobId"]
        return {"done": done, "failed": failed, "created": created}

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, ["created", "failed", "done"]),
            ({"ByState": "COMPLETED"}, ["done"]),
            ({"ByState": "FAILED"}, ["failed"]),
            ({"ByResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders"}, ["created", "done"]),
            ({"ByBackupVaultName": "other-vault"}, ["failed"]),
            ({"ByResourceType": "DynamoDB"}, ["created", "failed", "done"]),
            ({"ByResourceType": "EFS"}, []),
            ({"ByAccountId": "123456789012"}, ["created", "failed", "done"]),
            ({"ByAccountId": "*"}, ["created", "failed", "done"]),
            ({"ByAccountId": "210987654321"}, []),
            ({"ByParentJobId": "any"}, []),
            ({"ByMessageCategory": "SUCCESS"}, ["done"]),
            ({"ByMessageCategory": "*"}, ["created", "failed", "done"]),
            ({"ByState": "COMPLETED", "ByBackupVaultName": "other-vault"}, []),
        ],
    )
    def test_filters(self, aws, jobs, filters, expected):
        listed = aws.backup.list_backup_jobs(**filters)["BackupJobs"]
        assert [job["BackupJobId"] for job in listed] == [jobs[name] for name in expected]

    @pytest.mark.parametrize(
        ("name", "seconds", "expected"),
        [
            ("ByCreatedAfter", 0, ["created", "failed"]),
            ("ByCreatedAfter", -1, ["created", "failed", "done"]),
            ("ByCreatedBefore", 120, ["done"]),
            ("ByCreatedBefore", 121, ["failed", "done"]),
            ("ByCompleteAfter", 100, ["failed"]),
            ("ByCompleteAfter", 99, ["failed", "done"]),
            ("ByCompleteBefore", 220, ["done"]),
            ("ByCompleteBefore", 100, []),
        ],
    )
    def test_times(self, aws, jobs, name, seconds, expected):
        listed = aws.backup.list_backup_jobs(**{name: aws.now + timedelta(seconds=seconds)})["BackupJobs"]
        assert [job["BackupJobId"] for job in listed] == [jobs[key] for key in expected]

    def test_an_unknown_state_is_refused(self, aws, refused):
        with refused("InvalidParameterValueException", "ByState"):
            aws.backup.list_backup_jobs(ByState="DONE")

    def test_a_listed_job_is_the_described_job(self, aws, jobs):
        (listed,) = aws.backup.list_backup_jobs(ByState="COMPLETED")["BackupJobs"]
        described = aws.job(jobs["done"])
        del described["ResponseMetadata"]
        assert listed == described

    def test_jobs_are_gone_after_thirty_days(self, aws, jobs, refused):
        aws.wait(timedelta(days=30).total_seconds() - 200)
        assert len(aws.backup.list_backup_jobs()["BackupJobs"]) == 2
        aws.wait(201)
        assert aws.backup.list_backup_jobs()["BackupJobs"] == []
        with refused("ResourceNotFoundException", jobs["done"]):
            aws.job(jobs["done"])


def test_a_missing_job_is_not_found(aws, refused):
    with refused("ResourceNotFoundException", "no-such-job"):
        aws.job("no-such-job")


def test_jobs_belong_to_their_region(aws, clients):
    aws.start()
    assert clients("backup", "eu-west-1").list_backup_jobs()["BackupJobs"] == []


def test_the_states_are_the_models(aws):
    model = aws.backup.meta.service_model
    assert {state.value for state in BackupJobState} == set(model.shape_for("BackupJobState").enum)


def test_a_table_that_is_being_restored_is_backed_up_after_that(aws):
    arn = aws.recovery_point()
    control.configure(restore_seconds=900)
    aws.restore(arn)
    aws.wait(200)
    job_id = aws.start("orders-restored")["BackupJobId"]
    aws.wait(600)
    assert aws.state(job_id) == "CREATED"
    aws.wait(600)
    assert aws.state(job_id) == "CREATED"
    aws.wait()
    assert aws.state(job_id) == "COMPLETED"
    aws.restore(aws.job(job_id)["RecoveryPointArn"], "again")
    aws.wait(900)
    assert aws.orders("again") == ["A", "B"]


def test_a_table_that_is_restored_for_too_long_is_not_backed_up(aws):
    arn = aws.recovery_point()
    control.configure(restore_seconds=7200)
    aws.restore(arn)
    aws.wait(1500)
    job_id = aws.start("orders-restored", StartWindowMinutes=60)["BackupJobId"]
    aws.wait(3600)
    assert aws.state(job_id) == "EXPIRED"
