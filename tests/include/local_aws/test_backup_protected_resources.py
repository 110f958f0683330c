from datetime import timedelta

TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"


def test_nothing_is_protected_at_first(aws, refused):
    assert aws.backup.list_protected_resources()["Results"] == []
    with refused("ResourceNotFoundException"):
        aws.backup.describe_protected_resource(ResourceArn=TABLE_ARN)


def test_a_table_is_protected_by_its_newest_recovery_point(aws):
    aws.recovery_point()
    newest = aws.recovery_point()
    (resource,) = aws.backup.list_protected_resources()["Results"]
    assert resource["ResourceArn"] == TABLE_ARN
    assert resource["ResourceType"] == "DynamoDB"
    assert resource["LastRecoveryPointArn"] == newest
    assert resource["LastBackupTime"] == aws.now + timedelta(seconds=100)


def test_it_tells_of_the_newest_restore(aws):
    arn = aws.recovery_point()
    aws.restore(arn)
    assert "LatestRestoreJobCreationDate" not in aws.backup.describe_protected_resource(ResourceArn=TABLE_ARN)
    aws.wait()
    described = aws.backup.describe_protected_resource(ResourceArn=TABLE_ARN)
    assert described["LatestRestoreJobCreationDate"] == aws.now + timedelta(seconds=100)
    assert described["LatestRestoreRecoveryPointCreationDate"] == aws.now
    assert described["LatestRestoreExecutionTimeMinutes"] == 1


def test_lists_by_vault_and_in_pages(aws, refused):
    aws.make_table("customers")
    aws.backup.create_backup_vault(BackupVaultName="other-vault")
    aws.recovery_point()
    aws.recovery_point("customers", BackupVaultName="other-vault")
    pages = aws.backup.get_paginator("list_protected_resources").paginate(PaginationConfig={"PageSize": 1})
    assert [page["Results"][0]["ResourceName"] for page in pages] == ["customers", "orders"]
    listed = aws.backup.list_protected_resources_by_backup_vault(BackupVaultName="other-vault")["Results"]
    assert [resource["ResourceName"] for resource in listed] == ["customers"]
    with refused("ResourceNotFoundException"):
        aws.backup.list_protected_resources_by_backup_vault(BackupVaultName="nowhere")


def test_protection_ends_with_the_last_recovery_point(aws):
    arn = aws.recovery_point()
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.wait(10)
    assert aws.backup.list_protected_resources()["Results"] == []
