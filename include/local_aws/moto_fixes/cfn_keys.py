"""Cure: moto's AWS::KMS::Key keeps its policy in a form that can't be read, is not updated, and goes at once.

See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-kms-key.html: a deleted key
is pending deletion for PendingWindowInDays, 30 by default.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from moto.kms.models import Key, kms_backends

from local_aws.moto_fixes.cfn_properties import as_bool, refuse_unserved

_TYPE: Final = "AWS::KMS::Key"
_SERVED: Final = frozenset({"Description", "EnableKeyRotation", "Enabled", "KeyPolicy", "PendingWindowInDays", "Tags"})
_PENDING_DAYS: Final = 30
_PENDING: Final = "local_aws_pending_days"
_MARK: Final = "_local_aws_cfn_keys"


def install() -> None:
    """Apply every property that is served, at creation and at update; refuse others. Safe to call twice."""
    if hasattr(Key.delete, _MARK):
        return
    stock_create = Key.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def create(
        cls: type[Key], /, resource_name: str, cloudformation_json: dict[str, Any], *where: Any, **more: Any
    ) -> Key:
        properties = cloudformation_json["Properties"]
        refuse_unserved(_TYPE, properties, _SERVED)
        document = _document(properties["KeyPolicy"])
        key: Key = stock_create(
            cls, resource_name, {"Properties": {**properties, "KeyPolicy": document}}, *where, **more
        )
        _apply(key, properties)
        return key

    def update(
        cls: type[Key],
        /,
        original_resource: Key,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Key:
        properties = cloudformation_json["Properties"]
        refuse_unserved(_TYPE, properties, _SERVED)
        original_resource.policy = _document(properties["KeyPolicy"])
        original_resource.description = properties.get("Description", "")
        _apply(original_resource, properties)
        return original_resource

    def delete(self: Key, account_id: str, region_name: str) -> None:
        backend = kms_backends[account_id][region_name]
        if self.id in backend.keys and self.key_state != "PendingDeletion":
            backend.schedule_key_deletion(self.id, getattr(self, _PENDING, _PENDING_DAYS))

    setattr(delete, _MARK, True)
    Key.create_from_cloudformation_json = classmethod(create)  # type: ignore[assignment]
    Key.update_from_cloudformation_json = classmethod(update)  # type: ignore[assignment]
    Key.delete = delete  # type: ignore[method-assign]


def _apply(key: Key, properties: Mapping[str, Any]) -> None:
    key.key_rotation_status = as_bool(properties.get("EnableKeyRotation", False))
    key.enabled = as_bool(properties.get("Enabled", True))
    setattr(key, _PENDING, int(properties.get("PendingWindowInDays", _PENDING_DAYS)))


def _document(document: Any) -> str:
    # YAML reads an unquoted 2012-10-17 as a date.
    return document if isinstance(document, str) else json.dumps(document, default=str)
