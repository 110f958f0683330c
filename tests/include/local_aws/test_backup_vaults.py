from datetime import timedelta

import pytest

from local_aws import control


@pytest.mark.parametrize("name", ["ab", "orders-vault", "orders_vault", "A" * 50])
def test_names_that_aws_takes(bare_aws, name):
    made = bare_aws.backup.create_backup_vault(BackupVaultName=name)
    assert made["BackupVaultName"] == name
    assert made["BackupVaultArn"] == f"arn:aws:backup:us-east-1:123456789012:backup-vault:{name}"
    assert made["CreationDate"] == bare_aws.now


@pytest.mark.parametrize("name", ["a", "v!", "with space", "dot.ted", "A" * 51, "ümlaut"])
def test_names_that_aws_refuses(bare_aws, refused, name):
    with refused("InvalidParameterValueException", "Invalid backup vault name"):
        bare_aws.backup.create_backup_vault(BackupVaultName=name)
    assert bare_aws.backup.list_backup_vaults()["BackupVaultList"] == []


def test_the_same_request_makes_one_vault(bare_aws):
    first = bare_aws.backup.create_backup_vault(BackupVaultName="v1", CreatorRequestId="request")
    bare_aws.wait(5)
    again = bare_aws.backup.create_backup_vault(BackupVaultName="v1", CreatorRequestId="request")
    assert again["BackupVaultArn"] == first["BackupVaultArn"]
    assert again["CreationDate"] == first["CreationDate"]
    assert len(bare_aws.backup.list_backup_vaults()["BackupVaultList"]) == 1


def test_another_request_for_the_same_name_is_refused(bare_aws, refused):
    bare_aws.backup.create_backup_vault(BackupVaultName="v1", CreatorRequestId="one")
    with refused("AlreadyExistsException"):
        bare_aws.backup.create_backup_vault(BackupVaultName="v1", CreatorRequestId="two")
    with refused("AlreadyExistsException"):
        bare_aws.backup.create_backup_vault(BackupVaultName="v1")


def test_describes_key_state_and_count(bare_aws):
    key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    bare_aws.backup.create_backup_vault(BackupVaultName="plain")
    bare_aws.backup.create_backup_vault(BackupVaultName="keyed", EncryptionKeyArn=key)
    plain = bare_aws.backup.describe_backup_vault(BackupVaultName="plain")
    keyed = bare_aws.backup.describe_backup_vault(BackupVaultName="keyed")
    assert plain["EncryptionKeyArn"].startswith("arn:aws:kms:us-east-1:123456789012:key/")
    assert plain["NumberOfRecoveryPoints"] == 0
    assert (plain["VaultState"], plain["VaultType"], plain["Locked"]) == ("AVAILABLE", "BACKUP_VAULT", False)
    assert keyed["EncryptionKeyArn"] == key
    assert keyed["EncryptionKeyType"] == "CUSTOMER_MANAGED_KMS_KEY"


def test_a_bad_key_is_refused(bare_aws, refused):
    with refused("InvalidParameterValueException", "KMS key"):
        bare_aws.backup.create_backup_vault(BackupVaultName="v1", EncryptionKeyArn="not-an-arn")


def test_missing_vaults_are_not_found(bare_aws, refused):
    with refused("ResourceNotFoundException", "nowhere"):
        bare_aws.backup.describe_backup_vault(BackupVaultName="nowhere")
    with refused("ResourceNotFoundException", "nowhere"):
        bare_aws.backup.delete_backup_vault(BackupVaultName="nowhere")


def test_only_an_empty_vault_can_be_deleted(aws, refused):
    arn = aws.recovery_point()
    assert aws.backup.describe_backup_vault(BackupVaultName=aws.vault)["NumberOfRecoveryPoints"] == 1
    with refused("InvalidRequestException", "contains recovery points"):
        aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    with refused("InvalidRequestException", "contains recovery points"):  # it is only DELETING yet
        aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    aws.wait(10)
    aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    assert aws.backup.list_backup_vaults()["BackupVaultList"] == []


def test_an_empty_vault_may_seem_full_for_a_while(aws, refused):
    control.configure(vault_lag_seconds=60)
    arn = aws.recovery_point()
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.wait(10)
    assert aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"] == []
    aws.wait(59)
    with refused("InvalidRequestException", "contains recovery points"):
        aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    aws.wait(1)
    aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    assert aws.backup.list_backup_vaults()["BackupVaultList"] == []


def test_lists_in_pages(bare_aws):
    names = [f"vault-{number}" for number in range(5)]
    for name in names:
        bare_aws.backup.create_backup_vault(BackupVaultName=name)
    pages = list(bare_aws.backup.get_paginator("list_backup_vaults").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["BackupVaultList"]) for page in pages] == [2, 2, 1]
    assert [vault["BackupVaultName"] for page in pages for vault in page["BackupVaultList"]] == names


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"ByVaultType": "BACKUP_VAULT"}, 1),
        ({"ByVaultType": "LOGICALLY_AIR_GAPPED_BACKUP_VAULT"}, 0),
        ({"ByShared": True}, 0),
        ({"ByShared": False}, 1),
    ],
)
def test_lists_by_kind(aws, filters, count):
    assert len(aws.backup.list_backup_vaults(**filters)["BackupVaultList"]) == count


def test_tags_of_a_vault(bare_aws):
    arn = bare_aws.backup.create_backup_vault(BackupVaultName="v1", BackupVaultTags={"team": "shop", "env": "test"})[
        "BackupVaultArn"
    ]
    bare_aws.backup.tag_resource(ResourceArn=arn, Tags={"env": "prod", "tier": "gold"})
    bare_aws.backup.untag_resource(ResourceArn=arn, TagKeyList=["team"])
    assert bare_aws.backup.list_tags(ResourceArn=arn)["Tags"] == {"env": "prod", "tier": "gold"}


def test_tags_come_in_pages(bare_aws):
    tags = {f"key-{number}": str(number) for number in range(3)}
    arn = bare_aws.backup.create_backup_vault(BackupVaultName="v1", BackupVaultTags=tags)["BackupVaultArn"]
    first = bare_aws.backup.list_tags(ResourceArn=arn, MaxResults=2)
    rest = bare_aws.backup.list_tags(ResourceArn=arn, MaxResults=2, NextToken=first["NextToken"])
    assert {**first["Tags"], **rest["Tags"]} == tags
    assert "NextToken" not in rest


@pytest.mark.parametrize("tags", [{"aws:team": "x"}, {"": "x"}, {"k" * 129: "x"}, {"k": "v" * 257}, {"k": "<script>"}])
def test_bad_tags_are_refused(aws, refused, tags):
    arn = aws.backup.describe_backup_vault(BackupVaultName=aws.vault)["BackupVaultArn"]
    with refused("InvalidParameterValueException", "tag"):
        aws.backup.tag_resource(ResourceArn=arn, Tags=tags)
    assert aws.backup.list_tags(ResourceArn=arn)["Tags"] == {}


def test_fifty_tags_at_most(aws, refused):
    arn = aws.backup.describe_backup_vault(BackupVaultName=aws.vault)["BackupVaultArn"]
    aws.backup.tag_resource(ResourceArn=arn, Tags={f"key-{number}": "" for number in range(50)})
    aws.backup.tag_resource(ResourceArn=arn, Tags={"key-0": "again"})
    with refused("LimitExceededException"):
        aws.backup.tag_resource(ResourceArn=arn, Tags={"one-more": ""})


def test_only_what_exists_in_aws_backup_can_be_tagged(aws, refused):
    with refused("ResourceNotFoundException"):
        aws.backup.list_tags(ResourceArn="arn:aws:backup:us-east-1:123456789012:backup-vault:nowhere")
    with refused("InvalidParameterValueException", "arn:aws:backup"):
        aws.backup.list_tags(ResourceArn="arn:aws:dynamodb:us-east-1:123456789012:table/orders")


def test_tags_of_a_deleted_vault_do_not_come_back(bare_aws):
    arn = bare_aws.backup.create_backup_vault(BackupVaultName="v1", BackupVaultTags={"a": "b"})["BackupVaultArn"]
    bare_aws.backup.delete_backup_vault(BackupVaultName="v1")
    bare_aws.backup.create_backup_vault(BackupVaultName="v1")
    assert bare_aws.backup.list_tags(ResourceArn=arn)["Tags"] == {}


@pytest.mark.parametrize(
    "bounds",
    [
        {"MinRetentionDays": 0},
        {"MaxRetentionDays": 36_501},
        {"MinRetentionDays": 10, "MaxRetentionDays": 9},
        {"ChangeableForDays": 2},
    ],
)
def test_lock_bounds(aws, refused, bounds):
    with refused("InvalidParameterValueException"):
        aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, **bounds)
    assert aws.backup.describe_backup_vault(BackupVaultName=aws.vault)["Locked"] is False


def test_a_governance_lock_can_be_taken_off(aws, refused):
    arn = aws.recovery_point()
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, MinRetentionDays=1)
    locked = aws.backup.describe_backup_vault(BackupVaultName=aws.vault)
    assert (locked["Locked"], locked["MinRetentionDays"]) == (True, 1)
    assert "LockDate" not in locked
    with refused("InvalidRequestException", "locked"):
        aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.backup.delete_backup_vault_lock_configuration(BackupVaultName=aws.vault)
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)


def test_a_compliance_lock_is_for_good_after_its_date(aws, refused):
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, ChangeableForDays=3)
    lock_date = aws.backup.describe_backup_vault(BackupVaultName=aws.vault)["LockDate"]
    assert lock_date == aws.now + timedelta(days=3)
    aws.wait(timedelta(days=3).total_seconds() - 1)
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, ChangeableForDays=4)
    aws.wait(timedelta(days=4).total_seconds())
    with refused("InvalidRequestException", "immutable"):
        aws.backup.delete_backup_vault_lock_configuration(BackupVaultName=aws.vault)
    with refused("InvalidRequestException", "immutable"):
        aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, MinRetentionDays=1)


def test_a_compliance_lock_in_its_grace_time_can_become_a_governance_lock(aws):
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, ChangeableForDays=3)
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, MinRetentionDays=1)
    assert "LockDate" not in aws.backup.describe_backup_vault(BackupVaultName=aws.vault)
