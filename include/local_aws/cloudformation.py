"""CloudFormation of the local AWS: vaults, plans and selections, and stacks that are what their templates say.

moto knows no AWS::Backup type. `BackupVault` goes through the backup backend's own `create_backup_vault` and
`delete_backup_vault`, so that every rule of the API holds for templates too.

Importing this module makes the types known; `install` mends the rest. moto's own CloudFormation, which is
slow to load, is not loaded before somebody uses it.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from moto.backup.models import backup_backends
from moto.core.common_models import CloudFormationModel

from local_aws import storage
from local_aws.cfn_plans import BackupPlan, BackupSelection
from local_aws.moto_fixes import cfn_identities, cfn_keys, cfn_roles, cfn_stacks, cfn_tables, cfn_topics
from local_aws.moto_fixes.cfn_models import AddedType, attribute
from local_aws.moto_fixes.cfn_properties import refuse_unserved, replace_tags, same_name, undone_on_failure
from local_aws.moto_fixes.cfn_stacks import TemplateError

_TYPE: Final = "AWS::Backup::BackupVault"
_SERVED: Final = frozenset(
    {"AccessPolicy", "BackupVaultName", "BackupVaultTags", "EncryptionKeyArn", "LockConfiguration", "Notifications"}
)


class BackupVault(AddedType, CloudFormationModel):
    """AWS::Backup::BackupVault.

    See
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-backup-backupvault.html.
    """

    TYPE = _TYPE
    NAME_PROPERTY = "BackupVaultName"
    ATTRIBUTES = frozenset({"BackupVaultArn", "BackupVaultName"})

    def __init__(self, vault: Any, properties: Mapping[str, Any]) -> None:
        self.name: str = vault.backup_vault_name
        self.arn: str = vault.backup_vault_arn
        self.properties = properties

    @property
    def physical_resource_id(self) -> str:
        return self.name

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """Return what Fn::GetAtt asks for."""
        values = {"BackupVaultArn": self.arn, "BackupVaultName": self.name}
        return attribute(values, attribute_name, owner=f"resource {self.name}")

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "BackupVault":
        properties = cloudformation_json["Properties"]
        refuse_unserved(_TYPE, properties, _SERVED)
        backend: Any = backup_backends[account_id][region_name]
        vault = backend.create_backup_vault(
            resource_name, properties.get("BackupVaultTags", {}), properties.get("EncryptionKeyArn"), None
        )
        with undone_on_failure(lambda: backend.delete_backup_vault(resource_name)):
            _apply(backend, resource_name, {}, properties)
        return cls(vault, properties)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "BackupVault",
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "BackupVault":
        properties, before = cloudformation_json["Properties"], original_resource.properties
        name = original_resource.name
        if not same_name(properties.get("BackupVaultName"), name):
            new = cls.create_from_cloudformation_json(
                properties["BackupVaultName"], cloudformation_json, account_id, region_name
            )
            if cloudformation_json.get("UpdateReplacePolicy") != "Retain":
                cls.delete_from_cloudformation_json(name, cloudformation_json, account_id, region_name)
            return new
        refuse_unserved(_TYPE, properties, _SERVED)
        if properties.get("EncryptionKeyArn") != before.get("EncryptionKeyArn"):
            raise TemplateError(
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                f"Rename {name} and update the stack again. Changed: EncryptionKeyArn"
            )
        backend: Any = backup_backends[account_id][region_name]
        _apply(backend, name, before, properties)
        return cls(backend.describe_backup_vault(name), properties)

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        backend = backup_backends[account_id][region_name]
        if resource_name in backend.vaults:  # whoever deleted it by hand has done the stack's work
            backend.delete_backup_vault(resource_name)


RESOURCE_TYPES: Final = (BackupPlan, BackupSelection, BackupVault)
"""What this adds to the types that moto knows. A type is known as soon as its class is."""


def install() -> None:
    """Make stacks hold what their templates say. Safe to call twice."""
    cfn_stacks.install()
    cfn_tables.install()
    cfn_roles.install()
    cfn_identities.install()
    cfn_keys.install()
    cfn_topics.install()
    storage.install()


def _apply(backend: Any, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    arn = backend.describe_backup_vault(name).backup_vault_arn
    replace_tags(backend, arn, before.get("BackupVaultTags", {}), after.get("BackupVaultTags", {}))
    _apply_lock(backend, name, before.get("LockConfiguration"), after.get("LockConfiguration"))
    _apply_access_policy(backend, name, before.get("AccessPolicy"), after.get("AccessPolicy"))
    _apply_notifications(backend, name, before.get("Notifications"), after.get("Notifications"))


def _apply_lock(backend: Any, name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
    if after is not None and after != before:
        days = [after.get(key) for key in ("MinRetentionDays", "MaxRetentionDays", "ChangeableForDays")]
        backend.put_backup_vault_lock_configuration(name, *(None if n is None else int(n) for n in days))
    elif after is None and before is not None:
        backend.delete_backup_vault_lock_configuration(name)


def _apply_access_policy(backend: Any, name: str, before: Any, after: Any) -> None:
    if after == before:
        return
    if after is None:
        backend.access_policies.delete(name)
    else:
        backend.access_policies.put(name, json.dumps(after, default=str))


def _apply_notifications(
    backend: Any, name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    if after is not None and after != before:
        backend.vault_notifications.put(name, after.get("SNSTopicArn"), after.get("BackupVaultEvents", []))
    elif after is None and before is not None:
        backend.vault_notifications.delete(name)
