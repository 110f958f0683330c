from datetime import timedelta

import pytest

from local_aws import control
from local_aws.backup.states import RestoreJobStatus

TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"


def describe(aws, job_id):
    return aws.backup.describe_restore_job(RestoreJobId=job_id)


def table(aws, name="orders-restored"):
    return aws.dynamodb.describe_table(TableName=name)["Table"]


def test_a_job_goes_through_its_states_on_the_clock(aws):
    job_id = aws.restore(aws.recovery_point())
    seen = [describe(aws, job_id)["Status"]]
    for _ in range(21):
        aws.wait(5)
        if describe(aws, job_id)["Status"] != seen[-1]:
            seen.append(describe(aws, job_id)["Status"])
    assert seen == ["PENDING", "RUNNING", "COMPLETED"]


def test_the_table_is_creating_and_then_active(aws):
    arn = aws.recovery_point()
    job_id = aws.restore(arn)
    with pytest.raises(aws.dynamodb.exceptions.ResourceNotFoundException):
        table(aws)
    aws.wait(50)
    making = table(aws)
    assert making["TableStatus"] == "CREATING"
    assert making["RestoreSummary"]["RestoreInProgress"] is True
    assert making["RestoreSummary"]["SourceBackupArn"] == arn
    assert making["RestoreSummary"]["SourceTableArn"] == TABLE_ARN
    assert "CreatedResourceArn" not in describe(aws, job_id)
    aws.wait(50)
    made = table(aws)
    assert made["TableStatus"] == "ACTIVE"
    assert made["RestoreSummary"]["RestoreInProgress"] is False
    assert describe(aws, job_id)["CreatedResourceArn"] == made["TableArn"]
    assert aws.orders("orders-restored") == ["A", "B"]


def test_a_completed_job_says_what_it_did(aws):
    arn = aws.recovery_point()
    job_id = aws.restore(arn)
    aws.wait()
    job = describe(aws, job_id)
    assert job["Status"] == "COMPLETED"
    assert job["PercentDone"] == "100.00%"
    assert job["RecoveryPointArn"] == arn
    assert job["RecoveryPointCreationDate"] == aws.now
    assert job["SourceResourceArn"] == TABLE_ARN
    assert job["ResourceType"] == "DynamoDB"
    assert job["IamRoleArn"] == aws.role
    assert job["CreationDate"] == aws.now + timedelta(seconds=aws.job_seconds)
    assert job["CompletionDate"] == aws.now + timedelta(seconds=2 * aws.job_seconds)
    assert job["ExpectedCompletionTimeMinutes"] == 2
    assert job["BackupSizeInBytes"] > 0
    point = aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    assert point["LastRestoreTime"] == job["CompletionDate"]


def test_a_plain_recovery_point_can_be_restored(aws):
    aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    aws.restore(aws.recovery_point())
    aws.wait()
    assert aws.orders("orders-restored") == ["A", "B"]


@pytest.mark.parametrize("key", ["targetTableName", "TargetTableName", "TARGETTABLENAME"])
def test_metadata_keys_in_any_case(aws, key):
    job_id = aws.restore(aws.recovery_point(), Metadata={key: "orders-restored", "EncryptionType": "Default"})
    aws.wait()
    assert describe(aws, job_id)["Status"] == "COMPLETED"
    metadata = aws.backup.get_restore_job_metadata(RestoreJobId=job_id)["Metadata"]
    assert metadata == {"targetTableName": "orders-restored", "encryptionType": "Default"}


def test_the_points_own_metadata_can_be_sent_back(aws):
    arn = aws.recovery_point()
    metadata = aws.backup.get_recovery_point_restore_metadata(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    job_id = aws.restore(
        arn, Metadata={**metadata["RestoreMetadata"], "targetTableName": "back", "kmsMasterKeyArn": "Not Applicable"}
    )
    aws.wait()
    assert describe(aws, job_id)["Status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("metadata", "code", "text"),
    [
        ({}, "MissingParameterValueException", "targetTableName"),
        ({"encryptionType": "Default"}, "MissingParameterValueException", "targetTableName"),
        ({"targetTableName": "ab"}, "InvalidParameterValueException", "targetTableName"),
        ({"targetTableName": "a" * 256}, "InvalidParameterValueException", "targetTableName"),
        ({"targetTableName": "with space"}, "InvalidParameterValueException", "targetTableName"),
        ({"targetTableName": "abc", "encryptionType": "AES"}, "InvalidParameterValueException", "encryptionType"),
        ({"targetTableName": "abc", "billingMode": "x"}, "InvalidParameterValueException", "billingMode"),
        (
            {"targetTableName": "abc", "kmsMasterKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k"},
            "InvalidParameterValueException",
            "encryptionType KMS",
        ),
        (
            {"targetTableName": "abc", "encryptionType": "KMS", "kmsMasterKeyArn": "key"},
            "InvalidParameterValueException",
            "KMS key",
        ),
    ],
)
def test_bad_metadata_is_refused(aws, refused, metadata, code, text):
    arn = aws.recovery_point()
    with refused(code, text):
        aws.restore(arn, Metadata=metadata)
    assert aws.backup.list_restore_jobs()["RestoreJobs"] == []


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"IamRoleArn": "role"}, "InvalidParameterValueException"),
        ({"ResourceType": "EFS"}, "InvalidParameterValueException"),
        (
            {"RecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:missing"},
            "ResourceNotFoundException",
        ),
    ],
)
def test_what_cannot_be_restored_is_refused(aws, refused, members, code):
    arn = aws.recovery_point()
    with refused(code):
        aws.restore(arn, **members)


def test_a_role_and_a_type_may_be_left_out(aws):
    job_id = aws.backup.start_restore_job(
        RecoveryPointArn=aws.recovery_point(), Metadata={"targetTableName": "orders-restored"}
    )["RestoreJobId"]
    aws.wait()
    assert describe(aws, job_id)["Status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("state", "code"),
    [("CREATING", "InvalidRequestException"), ("PARTIAL", "InvalidRequestException")],
)
def test_only_a_finished_recovery_point_can_be_restored(aws, refused, state, code):
    if state == "PARTIAL":
        control.inject_fault("StartBackupJob", "PARTIAL")
    arn = aws.start()["RecoveryPointArn"]
    aws.wait(aws.job_seconds if state == "PARTIAL" else 50)
    with refused(code, state):
        aws.restore(arn)


def test_a_recovery_point_that_is_being_deleted_is_not_found(aws, refused):
    arn = aws.recovery_point()
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    with refused("ResourceNotFoundException"):
        aws.restore(arn)


class TestEncryption:
    def test_a_customer_key(self, aws, clients):
        key = clients("kms").create_key()["KeyMetadata"]["Arn"]
        aws.restore(
            aws.recovery_point(),
            Metadata={"targetTableName": "orders-restored", "encryptionType": "KMS", "kmsMasterKeyArn": key},
        )
        aws.wait()
        encryption = table(aws)["SSEDescription"]
        assert (encryption["Status"], encryption["SSEType"], encryption["KMSMasterKeyArn"]) == ("ENABLED", "KMS", key)

    def test_a_key_that_does_not_exist_fails_the_job(self, aws):
        key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        job_id = aws.restore(
            aws.recovery_point(),
            Metadata={"targetTableName": "orders-restored", "encryptionType": "KMS", "kmsMasterKeyArn": key},
        )
        aws.wait()
        job = describe(aws, job_id)
        assert job["Status"] == "FAILED"
        assert key in job["StatusMessage"]


class TestTags:
    @pytest.mark.parametrize(("copy", "expected"), [(True, {"team": "shop"}), (False, {}), (None, {})])
    def test_the_tables_tags_come_back_on_demand(self, bare_aws, copy, expected):
        bare_aws.make_table(Tags=[{"Key": "team", "Value": "shop"}])
        bare_aws.backup.create_backup_vault(BackupVaultName=bare_aws.vault)
        members = {} if copy is None else {"CopySourceTagsToRestoredResource": copy}
        bare_aws.restore(bare_aws.recovery_point(RecoveryPointTags={"run": "1"}), **members)
        bare_aws.wait()
        tags = bare_aws.dynamodb.list_tags_of_resource(ResourceArn=table(bare_aws)["TableArn"])["Tags"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == expected


class TestTarget:
    def test_an_existing_one_fails_the_job_and_stays_as_it_is(self, aws):
        aws.make_table("taken")
        aws.put("mine", table="taken")
        job_id = aws.restore(aws.recovery_point(), "taken")
        aws.wait()
        job = describe(aws, job_id)
        assert job["Status"] == "FAILED"
        assert job["StatusMessage"].startswith("Table already exists: taken")
        assert "CreatedResourceArn" not in job
        assert aws.orders("taken") == ["mine"]

    def test_of_two_restores_to_one_name_the_second_fails(self, aws):
        arn = aws.recovery_point()
        first, second = aws.restore(arn), aws.restore(arn)
        aws.wait()
        assert [describe(aws, job_id)["Status"] for job_id in (first, second)] == ["COMPLETED", "FAILED"]

    def test_two_restores_to_two_names_run_beside_each_other(self, aws):
        arn = aws.recovery_point()
        jobs = [aws.restore(arn, name) for name in ("one", "two")]
        aws.wait()
        assert [describe(aws, job_id)["Status"] for job_id in jobs] == ["COMPLETED", "COMPLETED"]
        aws.put("C", table="one")
        assert aws.orders("two") == ["A", "B"]


class TestIdempotency:
    def test_the_same_token_is_the_same_job(self, aws):
        arn = aws.recovery_point()
        first = aws.restore(arn, IdempotencyToken="one")
        aws.wait()
        assert aws.restore(arn, IdempotencyToken="one") == first
        assert len(aws.backup.list_restore_jobs()["RestoreJobs"]) == 1

    def test_the_same_token_in_another_spelling_is_the_same_job(self, aws):
        arn = aws.recovery_point()
        first = aws.restore(arn, IdempotencyToken="one")
        metadata = {"TARGETTABLENAME": "orders-restored", "EncryptionType": "Default"}
        assert aws.restore(arn, IdempotencyToken="one", Metadata=metadata) == first

    def test_a_token_used_for_something_else_is_refused(self, aws, refused):
        arn = aws.recovery_point()
        job_id = aws.restore(arn, IdempotencyToken="one")
        with refused("InvalidParameterValueException", job_id):
            aws.restore(arn, "other-name", IdempotencyToken="one")


class TestFaults:
    @pytest.mark.parametrize("end_state", ["FAILED", "ABORTED"])
    def test_a_job_ends_as_ordered(self, aws, end_state):
        control.inject_fault("StartRestoreJob", end_state, "Insufficient capacity.", table="orders")
        job_id = aws.restore(aws.recovery_point())
        aws.wait()
        job = describe(aws, job_id)
        assert (job["Status"], job["StatusMessage"]) == (end_state, "Insufficient capacity.")
        assert "orders-restored" not in aws.dynamodb.list_tables()["TableNames"]

    def test_it_does_not_strike_a_backup(self, aws):
        control.inject_fault("StartRestoreJob", "FAILED")
        assert aws.recovery_point()


class TestLists:
    @pytest.fixture
    def jobs(self, aws):
        """Of two tables: a COMPLETED, a FAILED, a PENDING one, a minute or more apart."""
        aws.make_table("customers")
        orders, customers = aws.recovery_point(), aws.recovery_point("customers")  # made at 0 and 100
        done = aws.restore(orders)  # 200
        aws.wait(120)
        control.inject_fault("StartRestoreJob", "FAILED")
        failed = aws.restore(customers, "customers-restored")  # 320
        aws.wait(120)
        pending = aws.restore(orders, "again")  # 440
        return {"done": done, "failed": failed, "pending": pending}

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, ["pending", "failed", "done"]),
            ({"ByStatus": "COMPLETED"}, ["done"]),
            ({"ByStatus": "PENDING"}, ["pending"]),
            ({"ByResourceType": "DynamoDB"}, ["pending", "failed", "done"]),
            ({"ByResourceType": "EFS"}, []),
            ({"ByAccountId": "210987654321"}, []),
            ({"ByParentJobId": "any"}, []),
            ({"ByRestoreTestingPlanArn": "arn:aws:backup:us-east-1:123456789012:restore-testing-plan:x"}, []),
            ({"ByCreatedAfter": 200}, ["pending", "failed"]),
            ({"ByCreatedBefore": 440}, ["failed", "done"]),
            ({"ByCompleteAfter": 300}, ["failed"]),
            ({"ByCompleteBefore": 420}, ["done"]),
        ],
    )
    def test_filters(self, aws, jobs, filters, expected):
        sent = {
            name: aws.now + timedelta(seconds=value) if isinstance(value, int) else value
            for name, value in filters.items()
        }
        listed = aws.backup.list_restore_jobs(**sent)["RestoreJobs"]
        assert [job["RestoreJobId"] for job in listed] == [jobs[name] for name in expected]

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, ["pending", "done"]),
            ({"ByStatus": "COMPLETED"}, ["done"]),
            ({"ByRecoveryPointCreationDateAfter": 0}, []),
            ({"ByRecoveryPointCreationDateAfter": -1}, ["pending", "done"]),
            ({"ByRecoveryPointCreationDateBefore": 0}, []),
        ],
    )
    def test_by_protected_resource(self, aws, jobs, filters, expected):
        sent = {
            name: aws.now + timedelta(seconds=value) if isinstance(value, int) else value
            for name, value in filters.items()
        }
        listed = aws.backup.list_restore_jobs_by_protected_resource(ResourceArn=TABLE_ARN, **sent)["RestoreJobs"]
        assert [job["RestoreJobId"] for job in listed] == [jobs[name] for name in expected]

    def test_pages(self, aws, jobs):
        pages = aws.backup.get_paginator("list_restore_jobs").paginate(PaginationConfig={"PageSize": 1})
        assert [job["RestoreJobId"] for page in pages for job in page["RestoreJobs"]] == [
            jobs[name] for name in ("pending", "failed", "done")
        ]

    def test_an_unknown_status_is_refused(self, aws, refused):
        with refused("InvalidParameterValueException", "ByStatus"):
            aws.backup.list_restore_jobs(ByStatus="CREATED")


def test_a_table_deleted_while_it_is_restored_fails_the_job(aws):
    job_id = aws.restore(aws.recovery_point())
    aws.wait(50)
    from moto.dynamodb.models import dynamodb_backends  # AWS refuses this, so no request can play it

    del dynamodb_backends["123456789012"]["us-east-1"].tables["orders-restored"]
    aws.wait(50)
    job = describe(aws, job_id)
    assert job["Status"] == "FAILED"
    assert "deleted while it was restored" in job["StatusMessage"]


def test_a_missing_job_is_not_found(aws, refused):
    with refused("ResourceNotFoundException", "no-such-job"):
        describe(aws, "no-such-job")
    with refused("ResourceNotFoundException", "no-such-job"):
        aws.backup.get_restore_job_metadata(RestoreJobId="no-such-job")


def test_the_states_are_the_models(aws):
    model = aws.backup.meta.service_model
    assert {status.value for status in RestoreJobStatus} == set(model.shape_for("RestoreJobStatus").enum)
