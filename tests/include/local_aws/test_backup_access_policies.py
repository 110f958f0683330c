import json

import pytest

DENY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "backup:DeleteRecoveryPoint", "Resource": "*"},
    ],
}


def test_a_policy_is_put_replaced_got_and_deleted(aws, refused):
    with refused("ResourceNotFoundException", "no access policy"):
        aws.backup.get_backup_vault_access_policy(BackupVaultName=aws.vault)
    for document in (json.dumps(DENY), json.dumps({**DENY, "Id": "second"})):
        aws.backup.put_backup_vault_access_policy(BackupVaultName=aws.vault, Policy=document)
        got = aws.backup.get_backup_vault_access_policy(BackupVaultName=aws.vault)
        assert got["Policy"] == document
        assert got["BackupVaultArn"].endswith(f":backup-vault:{aws.vault}")
    aws.backup.delete_backup_vault_access_policy(BackupVaultName=aws.vault)
    with refused("ResourceNotFoundException"):
        aws.backup.get_backup_vault_access_policy(BackupVaultName=aws.vault)


def test_the_policy_goes_with_its_vault(aws, refused):
    aws.backup.put_backup_vault_access_policy(BackupVaultName=aws.vault, Policy=json.dumps(DENY))
    aws.backup.delete_backup_vault(BackupVaultName=aws.vault)
    aws.backup.create_backup_vault(BackupVaultName=aws.vault)
    with refused("ResourceNotFoundException"):
        aws.backup.get_backup_vault_access_policy(BackupVaultName=aws.vault)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be an object"),
        (json.dumps({"Version": "2020-01-01", "Statement": DENY["Statement"]}), "Version"),
        (json.dumps({"Version": "2012-10-17"}), "statements"),
        (json.dumps({"Statement": [{**DENY["Statement"][0], "Effect": "Forbid"}]}), "Effect"),
        (json.dumps({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}), "Principal"),
        (json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Resource": "*"}}), "Action"),
        (json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*"}}), "Resource"),
        (json.dumps({**DENY, "Id": "x" * 20_480}), "20480"),
    ],
)
def test_what_is_no_policy_is_refused(aws, refused, document, complaint):
    with refused("InvalidParameterValueException", complaint):
        aws.backup.put_backup_vault_access_policy(BackupVaultName=aws.vault, Policy=document)


def test_a_policy_needs_its_vault(aws, refused):
    for call, members in (
        ("put_backup_vault_access_policy", {"Policy": json.dumps(DENY)}),
        ("get_backup_vault_access_policy", {}),
        ("delete_backup_vault_access_policy", {}),
    ):
        with refused("ResourceNotFoundException", "nowhere"):
            getattr(aws.backup, call)(BackupVaultName="nowhere", **members)
