"""What calls to IAM, STS and CloudFormation need.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html.
"""

from collections.abc import Iterable
from typing import Final

from moto.cloudformation.models import cloudformation_backends
from moto.iam.models import Role, iam_backends

from local_aws.access.permissions import Call, Permission, pass_role, request_tags, tag_mapping

_IAM_NAMES: Final = (
    ("RoleName", "role"),
    ("UserName", "user"),
    ("GroupName", "group"),
    ("InstanceProfileName", "instance-profile"),
    ("PolicyName", "policy"),
)
_ALWAYS_ALLOWED: Final = frozenset({"GetCallerIdentity", "GetSessionToken"})
"""See https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no policy can deny it."""


def iam(call: Call) -> Iterable[Permission]:
    """Return what a call to IAM needs."""
    keys = request_tags(tag_mapping(call.parameters.get("Tags")))
    if policy_arn := call.text("PolicyArn"):
        keys["iam:policyarn"] = (policy_arn,)
    if boundary := call.text("PermissionsBoundary"):
        keys["iam:permissionsboundary"] = (boundary,)
    yield Permission(f"iam:{call.operation}", _iam_resource(call), keys)


def sts(call: Call) -> Iterable[Permission]:
    """Return what a call to STS needs: to assume a role, its trust policy has to allow it."""
    if call.operation in _ALWAYS_ALLOWED:
        return
    role_arn = call.text("RoleArn")
    if role_arn is None:
        yield Permission(f"sts:{call.operation}", None)
        return
    keys = request_tags(tag_mapping(call.parameters.get("Tags")))
    for parameter, key in (("ExternalId", "sts:externalid"), ("RoleSessionName", "sts:rolesessionname")):
        if value := call.text(parameter):
            keys[key] = (value,)
    role = find_role(role_arn)
    trust = None if role is None else role.assume_role_policy_document
    yield Permission(f"sts:{call.operation}", role_arn, keys, trust, policy_must_allow=True)


def cloudformation(call: Call) -> Iterable[Permission]:
    """Return what a call to CloudFormation needs. What the stack then makes is not looked at again."""
    name = call.text("StackName")
    resource = None if name is None else _stack_arn(call, name)
    yield Permission(f"cloudformation:{call.operation}", resource)
    yield from pass_role(call.text("RoleARN"), "cloudformation.amazonaws.com")


def find_role(role_arn: str) -> Role | None:
    """Return a role by its ARN, whatever its account; None if there is none."""
    parts = role_arn.split(":", 5)
    if len(parts) != 6:
        return None
    for account_id, by_partition in list(iam_backends.items()):
        if account_id == parts[4]:
            roles = list(by_partition[parts[1]].roles.values())
            return next((role for role in roles if role.arn == role_arn), None)
    return None


def _iam_resource(call: Call) -> str | None:
    for parameter, kind in _IAM_NAMES:
        if name := call.text(parameter):
            return _role_arn(call, name) if kind == "role" else call.arn(f"{kind}/{name}", regional=False)
    # SimulatePrincipalPolicy names whom it asks about by an ARN.
    return call.text("PolicyArn") or call.text("PolicySourceArn")


def _role_arn(call: Call, name: str) -> str:
    for role in list(iam_backends[call.account_id][call.partition].roles.values()):
        if role.name == name:
            return str(role.arn)
    path = call.text("Path") or "/"
    return call.arn(f"role{path}{name}", regional=False)


def _stack_arn(call: Call, name: str) -> str:
    if name.startswith("arn:"):
        return name
    for stack in cloudformation_backends[call.account_id][call.region].stacks.values():
        if stack.name == name:
            return str(stack.stack_id)
    return call.arn(f"stack/{name}/new")
