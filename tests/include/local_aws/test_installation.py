import boto3
import moto
from moto.backup.models import backup_backends
from moto.core.responses import BaseResponse
from moto.dynamodb.responses import DynamoHandler

import local_aws
from local_aws.backup.models import BackupBackend


def vault_names():
    client = boto3.client("backup", region_name="us-east-1")
    client.create_backup_vault(BackupVaultName="only-one")
    client.update_region_settings(ResourceTypeOptInPreference={"EFS": True})  # moto alone has no such operation
    return [vault["BackupVaultName"] for vault in client.list_backup_vaults()["BackupVaultList"]]


def test_installing_twice_changes_nothing_more():
    local_aws.install()
    patched = BaseResponse.call_action, DynamoHandler.call_action, backup_backends.backend
    local_aws.install()
    assert patched == (BaseResponse.call_action, DynamoHandler.call_action, backup_backends.backend)
    assert backup_backends.backend is BackupBackend


def test_installing_keeps_what_is_there():
    with local_aws.mock_aws():
        boto3.client("backup", region_name="us-east-1").create_backup_vault(BackupVaultName="kept")
        local_aws.install()
        assert "kept" in backup_backends["123456789012"]["us-east-1"].vaults


def test_as_a_context_manager_each_starts_empty():
    for _ in range(2):
        with local_aws.mock_aws():
            assert vault_names() == ["only-one"]


@local_aws.mock_aws
def test_as_a_decorator():
    assert vault_names() == ["only-one"]


def test_with_a_configuration():
    with local_aws.mock_aws(config={"core": {"mock_credentials": True}}):
        assert vault_names() == ["only-one"]


def test_motos_own_mock_is_ours_too_once_installed():
    local_aws.install()
    with moto.mock_aws():
        assert vault_names() == ["only-one"]
