import gc
import re
import weakref
from datetime import timedelta

import pytest
from moto.backup.models import backup_backends

from local_aws import control
from local_aws.backup.states import RecoveryPointStatus

TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
DAY = timedelta(days=1).total_seconds()


@pytest.fixture(params=["advanced", "plain"])
def point(request, aws):
    """A recovery point of either form; the plain one has slashes in its ARN, which travel as %2F in the path."""
    if request.param == "plain":
        aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    return aws.recovery_point()


def describe(aws, arn):
    return aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)


def in_vault(aws, **filters):
    listed = aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault, **filters)
    return [point["RecoveryPointArn"] for point in listed["RecoveryPoints"]]


def test_both_forms_can_be_described(aws, point):
    described = describe(aws, point)
    assert described["RecoveryPointArn"] == point
    assert described["Status"] == "COMPLETED"
    assert (described["ResourceArn"], described["ResourceType"]) == (TABLE_ARN, "DynamoDB")
    assert described["BackupVaultName"] == aws.vault
    assert described["StorageClass"] == "WARM"
    assert described["CreationDate"] == aws.now
    assert described["CompletionDate"] == aws.now + timedelta(seconds=aws.job_seconds)


def test_the_arn_of_a_plain_one_is_dynamodbs(aws):
    aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    assert re.fullmatch(rf"{TABLE_ARN}/backup/\d{{16}}-[0-9a-f]{{8}}", aws.recovery_point())


def test_the_arn_of_an_advanced_one_is_aws_backups(aws):
    assert re.fullmatch(r"arn:aws:backup:us-east-1:123456789012:recovery-point:[0-9a-f-]{36}", aws.recovery_point())


def test_its_size_is_that_of_the_items(aws):
    small = describe(aws, aws.recovery_point())["BackupSizeInBytes"]
    aws.put("C", note={"S": "x" * 1000})
    large = describe(aws, aws.recovery_point())["BackupSizeInBytes"]
    assert 1000 < large - small < 1100


def test_it_is_creating_while_its_job_runs(aws):
    arn = aws.start()["RecoveryPointArn"]
    assert in_vault(aws) == []
    aws.wait(50)
    assert describe(aws, arn)["Status"] == "CREATING"
    assert "BackupSizeInBytes" not in describe(aws, arn)
    aws.wait(50)
    assert describe(aws, arn)["Status"] == "COMPLETED"


def test_an_advanced_one_is_encrypted_with_the_vaults_key(aws):
    aws.backup.create_backup_vault(BackupVaultName="keyed", EncryptionKeyArn=KEY)
    arn = aws.recovery_point(BackupVaultName="keyed")
    described = aws.backup.describe_recovery_point(BackupVaultName="keyed", RecoveryPointArn=arn)
    assert (described["EncryptionKeyArn"], described["IsEncrypted"]) == (KEY, True)


def test_it_is_only_found_in_its_own_vault(aws, refused, point):
    aws.backup.create_backup_vault(BackupVaultName="other-vault")
    with refused("ResourceNotFoundException", "other-vault"):
        aws.backup.describe_recovery_point(BackupVaultName="other-vault", RecoveryPointArn=point)
    with refused("ResourceNotFoundException", "nowhere"):
        aws.backup.describe_recovery_point(BackupVaultName="nowhere", RecoveryPointArn=point)


class TestTags:
    def test_an_advanced_one_takes_the_tables_and_the_requests(self, bare_aws):
        bare_aws.make_table(Tags=[{"Key": "team", "Value": "shop"}, {"Key": "env", "Value": "table"}])
        bare_aws.backup.create_backup_vault(BackupVaultName=bare_aws.vault)
        arn = bare_aws.recovery_point(RecoveryPointTags={"env": "request", "run": "1"})
        tags = bare_aws.backup.list_tags(ResourceArn=arn)["Tags"]
        assert tags == {"team": "shop", "env": "request", "run": "1"}

    def test_they_can_be_changed(self, aws):
        arn = aws.recovery_point(RecoveryPointTags={"a": "1", "b": "2"})
        aws.backup.tag_resource(ResourceArn=arn, Tags={"c": "3"})
        aws.backup.untag_resource(ResourceArn=arn, TagKeyList=["a"])
        assert aws.backup.list_tags(ResourceArn=arn)["Tags"] == {"b": "2", "c": "3"}

    def test_a_plain_one_has_none(self, aws, refused):
        aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
        arn = aws.recovery_point(RecoveryPointTags={"a": "1"})
        with refused("InvalidParameterValueException", "cannot be tagged"):
            aws.backup.list_tags(ResourceArn=arn)
        with refused("InvalidParameterValueException", "cannot be tagged"):
            aws.backup.tag_resource(ResourceArn=arn, Tags={"b": "2"})

    def test_they_are_in_the_tagging_api(self, aws, clients):
        arn = aws.recovery_point(RecoveryPointTags={"managed-by": "me"})
        found = clients("resourcegroupstaggingapi").get_resources(TagFilters=[{"Key": "managed-by", "Values": ["me"]}])
        assert [resource["ResourceARN"] for resource in found["ResourceTagMappingList"]] == [arn]


class TestRestoreMetadata:
    def test_default_encryption(self, aws, point):
        reply = aws.backup.get_recovery_point_restore_metadata(BackupVaultName=aws.vault, RecoveryPointArn=point)
        assert reply["RecoveryPointArn"] == point
        assert reply["ResourceType"] == "DynamoDB"
        metadata = reply["RestoreMetadata"]
        assert metadata.pop("aws:backup:request-id")
        assert metadata == {"encryptionType": "Default"}

    def test_a_customer_key(self, bare_aws):
        bare_aws.make_table(SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY})
        bare_aws.backup.create_backup_vault(BackupVaultName=bare_aws.vault)
        arn = bare_aws.recovery_point()
        metadata = bare_aws.backup.get_recovery_point_restore_metadata(
            BackupVaultName=bare_aws.vault, RecoveryPointArn=arn
        )["RestoreMetadata"]
        assert (metadata["encryptionType"], metadata["kmsMasterKeyArn"]) == ("KMS", KEY)


class TestLists:
    def test_by_vault_newest_first(self, aws):
        arns = [aws.recovery_point() for _ in range(3)]
        assert in_vault(aws) == arns[::-1]

    def test_by_vault_in_pages(self, aws):
        arns = [aws.recovery_point() for _ in range(3)]
        paginator = aws.backup.get_paginator("list_recovery_points_by_backup_vault")
        pages = list(paginator.paginate(BackupVaultName=aws.vault, PaginationConfig={"PageSize": 2}))
        assert [[point["RecoveryPointArn"] for point in page["RecoveryPoints"]] for page in pages] == [
            [arns[2], arns[1]],
            [arns[0]],
        ]

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"ByResourceArn": TABLE_ARN}, ["second", "first"]),
            ({"ByResourceArn": TABLE_ARN + "x"}, []),
            ({"ByResourceType": "DynamoDB"}, ["customers", "second", "first"]),
            ({"ByResourceType": "EBS"}, []),
            ({"ByBackupPlanId": "plan"}, []),
            ({"ByParentRecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:x"}, []),
            ({"BackupVaultAccountId": "123456789012"}, ["customers", "second", "first"]),
            ({"BackupVaultAccountId": "210987654321"}, []),
            ({"after": 0}, ["customers", "second"]),
            ({"after": 99}, ["customers", "second"]),
            ({"after": 100}, ["customers"]),
            ({"before": 100}, ["first"]),
            ({"after": 0, "before": 200}, ["second"]),
        ],
    )
    def test_filters(self, aws, filters, expected):
        aws.make_table("customers")
        arns = {
            "first": aws.recovery_point(),
            "second": aws.recovery_point(),
            "customers": aws.recovery_point("customers"),
        }
        names = {"after": "ByCreatedAfter", "before": "ByCreatedBefore"}
        sent = {
            names.get(name, name): aws.now + timedelta(seconds=value) if name in names else value
            for name, value in filters.items()
        }
        assert in_vault(aws, **sent) == [arns[name] for name in expected]

    def test_of_a_missing_vault(self, aws, refused):
        with refused("ResourceNotFoundException"):
            aws.backup.list_recovery_points_by_backup_vault(BackupVaultName="nowhere")

    def test_by_resource_has_names_of_its_own(self, aws, point):
        (listed,) = aws.backup.list_recovery_points_by_resource(ResourceArn=TABLE_ARN)["RecoveryPoints"]
        assert listed["RecoveryPointArn"] == point
        assert listed["BackupSizeBytes"] == describe(aws, point)["BackupSizeInBytes"]
        assert not {"BackupSizeInBytes", "BackupVaultName", "ResourceArn", "Lifecycle"} & set(listed)

    def test_by_resource_in_pages(self, aws):
        arns = [aws.recovery_point() for _ in range(3)]
        paginator = aws.backup.get_paginator("list_recovery_points_by_resource")
        pages = paginator.paginate(ResourceArn=TABLE_ARN, ManagedByAWSBackupOnly=True, PaginationConfig={"PageSize": 1})
        assert [page["RecoveryPoints"][0]["RecoveryPointArn"] for page in pages] == arns[::-1]

    def test_by_a_resource_without_any(self, aws):
        assert aws.backup.list_recovery_points_by_resource(ResourceArn=TABLE_ARN)["RecoveryPoints"] == []


class TestLifecycle:
    def update(self, aws, arn, **lifecycle):
        return aws.backup.update_recovery_point_lifecycle(
            BackupVaultName=aws.vault, RecoveryPointArn=arn, Lifecycle=lifecycle
        )

    def test_dates_count_from_the_creation(self, aws):
        arn = aws.recovery_point(Lifecycle={"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 120})
        described = describe(aws, arn)
        assert described["Lifecycle"] == {"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 120}
        assert described["CalculatedLifecycle"] == {
            "MoveToColdStorageAt": aws.now + timedelta(days=30),
            "DeleteAt": aws.now + timedelta(days=120),
        }

    def test_a_plain_one_never_goes_cold(self, aws):
        aws.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
        arn = aws.recovery_point(Lifecycle={"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 120})
        assert describe(aws, arn)["Lifecycle"] == {"DeleteAfterDays": 120}

    def test_an_update_replaces_all_of_it(self, aws, point):
        reply = self.update(aws, point, DeleteAfterDays=7)
        assert reply["Lifecycle"] == {"DeleteAfterDays": 7}
        assert reply["CalculatedLifecycle"] == {"DeleteAt": aws.now + timedelta(days=7)}
        self.update(aws, point, MoveToColdStorageAfterDays=-1, DeleteAfterDays=-1)
        assert "Lifecycle" not in describe(aws, point)

    def test_ninety_days_in_cold_storage(self, aws, refused, point):
        with refused("InvalidParameterValueException", "90 days"):
            self.update(aws, point, MoveToColdStorageAfterDays=10, DeleteAfterDays=99)

    def test_it_goes_cold_on_its_day_and_the_day_is_then_fixed(self, aws, refused):
        arn = aws.recovery_point(Lifecycle={"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 120})
        aws.wait(30 * DAY - 101)
        assert describe(aws, arn)["StorageClass"] == "WARM"
        aws.wait(1)
        assert describe(aws, arn)["StorageClass"] == "COLD"
        with refused("InvalidRequestException", "MoveToColdStorageAfterDays"):
            self.update(aws, arn, MoveToColdStorageAfterDays=31, DeleteAfterDays=130)
        self.update(aws, arn, MoveToColdStorageAfterDays=30, DeleteAfterDays=130)

    def test_not_in_a_locked_vault(self, aws, refused, point):
        aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, MinRetentionDays=1)
        with refused("InvalidRequestException", "locked"):
            self.update(aws, point, DeleteAfterDays=7)

    def test_not_while_it_is_being_made(self, aws, refused):
        arn = aws.start()["RecoveryPointArn"]
        aws.wait(50)
        with refused("InvalidRequestException", "CREATING"):
            self.update(aws, arn, DeleteAfterDays=7)


class TestDelete:
    def delete(self, aws, arn):
        aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)

    def test_it_is_deleting_and_then_gone(self, aws, refused, point):
        self.delete(aws, point)
        assert describe(aws, point)["Status"] == "DELETING"
        aws.wait(9)
        assert in_vault(aws) == [point]
        aws.wait(1)
        assert in_vault(aws) == []
        with refused("ResourceNotFoundException"):
            describe(aws, point)

    def test_its_tags_go_with_it(self, aws, refused):
        arn = aws.recovery_point(RecoveryPointTags={"a": "1"})
        self.delete(aws, arn)
        aws.wait(10)
        with refused("ResourceNotFoundException"):
            aws.backup.list_tags(ResourceArn=arn)

    def test_not_twice(self, aws, refused, point):
        self.delete(aws, point)
        with refused("InvalidResourceStateException", "DELETING"):
            self.delete(aws, point)
        aws.wait(10)
        with refused("ResourceNotFoundException"):
            self.delete(aws, point)

    def test_not_while_it_is_being_made(self, aws, refused):
        arn = aws.start()["RecoveryPointArn"]
        aws.wait(50)
        with refused("InvalidResourceStateException", "CREATING"):
            self.delete(aws, arn)

    def test_not_while_it_is_being_restored(self, aws, refused, point):
        aws.restore(point)
        with refused("InvalidResourceStateException", "being restored"):
            self.delete(aws, point)
        aws.wait()
        self.delete(aws, point)

    def test_a_restore_that_failed_does_not_hold_it(self, aws, point):
        control.inject_fault("StartRestoreJob", "FAILED")
        aws.restore(point)
        aws.wait()
        self.delete(aws, point)
        assert describe(aws, point)["Status"] == "DELETING"


def test_a_deleted_one_lets_go_of_its_items(aws, point):
    aws.restore(point)
    aws.wait()
    snapshot = weakref.ref(backup_backends["123456789012"]["us-east-1"].recovery_points.find(point).snapshot)
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=point)
    gc.collect()
    assert snapshot() is not None
    aws.wait(10)
    gc.collect()
    assert snapshot() is None
    (job,) = aws.backup.list_backup_jobs()["BackupJobs"]
    assert (job["RecoveryPointArn"], job["ResourceName"]) == (point, "orders")
    assert job["BackupSizeInBytes"] > 0
    assert aws.backup.list_restore_jobs()["RestoreJobs"][0]["RecoveryPointArn"] == point


def test_the_snapshot_never_changes(aws, point):
    aws.dynamodb.update_item(
        TableName="orders",
        Key={"order_id": {"S": "A"}, "item_id": {"S": "1"}},
        UpdateExpression="SET note = :note",
        ExpressionAttributeValues={":note": {"S": "later"}},
    )
    aws.dynamodb.delete_table(TableName="orders")
    aws.restore(point)
    aws.wait()
    items = aws.dynamodb.scan(TableName="orders-restored")["Items"]
    assert sorted(items, key=lambda item: item["order_id"]["S"]) == [
        {"order_id": {"S": "A"}, "item_id": {"S": "1"}},
        {"order_id": {"S": "B"}, "item_id": {"S": "1"}},
    ]


def test_the_states_are_the_models(aws):
    model = aws.backup.meta.service_model
    assert {status.value for status in RecoveryPointStatus} == set(model.shape_for("RecoveryPointStatus").enum)
