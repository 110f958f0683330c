"""Cure: moto's CloudFormation knows no AWS::IAM::Group, and neither updates nor deletes an AWS::IAM::ManagedPolicy.

See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-group.html and
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-managedpolicy.html.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from moto.core.common_models import CloudFormationModel
from moto.iam.exceptions import DeleteConflictException
from moto.iam.models import Group as IamGroup
from moto.iam.models import IAMBackend, ManagedPolicy, iam_backends
from moto.utilities.utils import get_partition

from local_aws.moto_fixes.cfn_models import AddedType, attribute
from local_aws.moto_fixes.cfn_properties import refuse_unserved, same_name, undone_on_failure
from local_aws.moto_fixes.cfn_stacks import TemplateError

_GROUP: Final = "AWS::IAM::Group"
_POLICY: Final = "AWS::IAM::ManagedPolicy"
_GROUP_SERVED: Final = frozenset({"GroupName", "ManagedPolicyArns", "Path", "Policies"})
_POLICY_SERVED: Final = frozenset({"Description", "ManagedPolicyName", "Path", "PolicyDocument"})
"""Who has a policy is said where the role or group is described; Roles, Users and Groups are refused."""
_MAX_VERSIONS: Final = 5
_MARK: Final = "_local_aws_cfn_identities"


class Group(AddedType, CloudFormationModel):
    """AWS::IAM::Group."""

    TYPE = _GROUP
    NAME_PROPERTY = "GroupName"
    ATTRIBUTES = frozenset({"Arn"})

    def __init__(self, group: IamGroup) -> None:
        self.name = group.name
        self.arn = group.arn

    @property
    def physical_resource_id(self) -> str:
        return self.name

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """Return what Fn::GetAtt asks for."""
        return attribute({"Arn": str(self.arn)}, attribute_name, owner=f"resource {self.name}")

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "Group":
        properties = cloudformation_json.get("Properties", {})
        refuse_unserved(_GROUP, properties, _GROUP_SERVED)
        backend = _backend(account_id, region_name)
        group = backend.create_group(resource_name, properties.get("Path", "/"))
        with undone_on_failure(lambda: _delete_group(backend, group)):
            _give_policies(backend, group, properties)
        return cls(group)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "Group",
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "Group":
        properties = cloudformation_json.get("Properties", {})
        refuse_unserved(_GROUP, properties, _GROUP_SERVED)
        backend = _backend(account_id, region_name)
        group = backend.get_group(original_resource.name)
        if not same_name(properties.get("GroupName"), group.name) or properties.get("Path", "/") != group.path:
            raise TemplateError(f"The local AWS does not replace groups: {group.name} keeps its GroupName and Path.")
        _give_policies(backend, group, properties)
        return cls(group)

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        backend = _backend(account_id, region_name)
        if resource_name not in backend.groups:
            return  # whoever deleted it by hand has done the stack's work
        group = backend.get_group(resource_name)
        if group.users:
            raise DeleteConflictException(f"Cannot delete group {resource_name}: remove its users first.")
        _delete_group(backend, group)


def install() -> None:
    """Let managed policies be updated and deleted; `Group` is known once this is imported. Safe to call twice."""
    if hasattr(ManagedPolicy.update_from_cloudformation_json, _MARK):
        return
    stock_create = ManagedPolicy.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def create(
        cls: type[ManagedPolicy],
        /,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> ManagedPolicy:
        properties = cloudformation_json["Properties"]
        refuse_unserved(_POLICY, properties, _POLICY_SERVED)
        # moto takes a missing path for part of the ARN, and a date for no JSON.
        given = {"Path": "/", **properties, "PolicyDocument": json.loads(_document(properties["PolicyDocument"]))}
        policy: ManagedPolicy = stock_create(
            cls, resource_name, {"Properties": given}, account_id, region_name, **kwargs
        )
        return policy

    def update(
        cls: type[ManagedPolicy],
        /,
        original_resource: ManagedPolicy,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> ManagedPolicy:
        properties = cloudformation_json["Properties"]
        refuse_unserved(_POLICY, properties, _POLICY_SERVED)
        backend = _backend(account_id, region_name)
        policy = backend.get_policy(original_resource.arn)
        if not same_name(properties.get("ManagedPolicyName"), policy.name):
            raise TemplateError(f"The local AWS does not replace managed policies: {policy.name} keeps its name.")
        _set_document(backend, policy, _document(properties["PolicyDocument"]))
        return policy

    def delete(self: ManagedPolicy, account_id: str, region_name: str) -> None:
        backend = _backend(account_id, region_name)
        if self.arn not in backend.managed_policies:
            return  # whoever deleted it by hand has done the stack's work
        if self.attachment_count:
            raise DeleteConflictException(f"Cannot delete policy {self.arn}: it is attached to entities.")
        backend.delete_policy(self.arn)

    setattr(update, _MARK, True)
    ManagedPolicy.create_from_cloudformation_json = classmethod(create)  # type: ignore[assignment]
    ManagedPolicy.update_from_cloudformation_json = classmethod(update)  # type: ignore[assignment]
    ManagedPolicy.delete = delete  # type: ignore[attr-defined]


def _backend(account_id: str, region_name: str) -> IAMBackend:
    return iam_backends[account_id][get_partition(region_name)]


def _document(document: Any) -> str:
    # YAML reads an unquoted 2012-10-17 as a date.
    return document if isinstance(document, str) else json.dumps(document, default=str)


def _set_document(backend: IAMBackend, policy: ManagedPolicy, document: str) -> None:
    present = next(version for version in policy.versions if version.is_default)
    if json.loads(present.document) == json.loads(document):
        return
    if len(policy.versions) >= _MAX_VERSIONS:
        oldest = next(version for version in policy.versions if not version.is_default)
        backend.delete_policy_version(policy.arn, oldest.version_id)
    backend.create_policy_version(policy.arn, document, True)


def _give_policies(backend: IAMBackend, group: IamGroup, properties: Mapping[str, Any]) -> None:
    wanted = list(properties.get("ManagedPolicyArns", []))
    for arn in set(group.managed_policies) - set(wanted):
        backend.detach_group_policy(arn, group.name)
    for arn in wanted:
        backend.attach_group_policy(arn, group.name)
    inline = {policy["PolicyName"]: _document(policy["PolicyDocument"]) for policy in properties.get("Policies", [])}
    for name in set(group.policies) - set(inline):
        backend.delete_group_policy(group.name, name)
    for name, document in inline.items():
        backend.put_group_policy(group.name, name, document)


def _delete_group(backend: IAMBackend, group: IamGroup) -> None:
    _give_policies(backend, group, {})
    backend.delete_group(group.name)
