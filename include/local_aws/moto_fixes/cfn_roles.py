"""Cure: moto's AWS::IAM::Role attaches no managed policy and hardly updates; inline ones are unreadable.

ManagedPolicyArns is ignored on creation; on update so are the trust policy, the policies and the tags, and
the session length is read from a property that does not exist. AWS's own managed policies exist in moto
only if it loads all of them at start; here one is made when a role names it.

See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-role.html.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from moto.iam.exceptions import NotFoundException
from moto.iam.models import IAMBackend, Role, iam_backends
from moto.utilities.utils import get_partition

from local_aws.moto_fixes import managed_policies
from local_aws.moto_fixes.cfn_properties import refuse_unserved, same_name, undone_on_failure
from local_aws.moto_fixes.cfn_stacks import TemplateError

_TYPE: Final = "AWS::IAM::Role"
_SERVED: Final = frozenset(
    {
        "AssumeRolePolicyDocument",
        "Description",
        "ManagedPolicyArns",
        "MaxSessionDuration",
        "Path",
        "PermissionsBoundary",
        "Policies",
        "RoleName",
        "Tags",
    }
)
_HOUR: Final = 3600
_MARK: Final = "_local_aws_cfn_roles"


def install() -> None:
    """Apply every property that is served, at creation and at update; refuse others. Safe to call twice."""
    if hasattr(Role.update_from_cloudformation_json, _MARK):
        return
    stock_create = Role.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def create(
        cls: type[Role],
        /,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Role:
        properties = cloudformation_json["Properties"]
        refuse_unserved(_TYPE, properties, _SERVED)
        backend = iam_backends[account_id][get_partition(region_name)]
        managed_policies.make(backend, properties.get("ManagedPolicyArns", []))
        at_creation = {name: value for name, value in properties.items() if name != "Policies"}
        role: Role = stock_create(cls, resource_name, {"Properties": at_creation}, account_id, region_name, **kwargs)
        with undone_on_failure(lambda: delete(cls, role.name, cloudformation_json, account_id, region_name)):
            _apply_policies(backend, role, properties)
        return role

    def update(
        cls: type[Role],
        /,
        original_resource: Role,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Role:
        properties = cloudformation_json["Properties"]
        refuse_unserved(_TYPE, properties, _SERVED)
        backend = iam_backends[account_id][get_partition(region_name)]
        role = backend.get_role(original_resource.name)
        if not same_name(properties.get("RoleName"), role.name) or properties.get("Path", "/") != role.path:
            raise TemplateError(f"The local AWS does not replace roles: {role.name} keeps its RoleName and Path.")
        managed_policies.make(backend, properties.get("ManagedPolicyArns", []))
        backend.update_assume_role_policy(role.name, _document(properties["AssumeRolePolicyDocument"]))
        backend.update_role(role.name, properties.get("Description", ""), properties.get("MaxSessionDuration", _HOUR))
        backend.put_role_permissions_boundary(role.name, properties.get("PermissionsBoundary", ""))
        role.tags = list(backend._tag_verification(properties.get("Tags", [])).values())
        _apply_policies(backend, role, properties)
        return role

    def delete(
        cls: type[Role],
        /,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        backend = iam_backends[account_id][get_partition(region_name)]
        try:
            role = backend.get_role(resource_name)
        except NotFoundException:
            return  # whoever deleted it by hand has done the stack's work
        _apply_policies(backend, role, {})
        backend.delete_role(resource_name)

    setattr(update, _MARK, True)
    Role.create_from_cloudformation_json = classmethod(create)  # type: ignore[assignment]
    Role.update_from_cloudformation_json = classmethod(update)  # type: ignore[assignment]
    Role.delete_from_cloudformation_json = classmethod(delete)  # type: ignore[assignment]


def _apply_policies(backend: IAMBackend, role: Role, properties: Mapping[str, Any]) -> None:
    wanted = list(properties.get("ManagedPolicyArns", []))
    for arn in set(role.managed_policies) - set(wanted):
        backend.detach_role_policy(arn, role.name)
    for arn in wanted:
        if arn not in role.managed_policies:
            backend.attach_role_policy(arn, role.name)
    inline = {policy["PolicyName"]: _document(policy["PolicyDocument"]) for policy in properties.get("Policies", [])}
    for name in set(role.policies) - set(inline):
        backend.delete_role_policy(role.name, name)
    for name, document in inline.items():
        backend.put_role_policy(role.name, name, document)


def _document(document: Any) -> str:
    # YAML reads an unquoted 2012-10-17 as a date.
    return document if isinstance(document, str) else json.dumps(document, default=str)
