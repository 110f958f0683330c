"""Who works on AWS: the IAM principal behind a client, and sessions of other roles."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException"})
"""How services say that IAM refused a call: those that speak XML leave the ending out."""


class UnknownPrincipalError(RuntimeError):
    """The IAM role behind a session can't be named; the message says what to give instead."""


def principal_arn(sts: Any, iam: Any) -> str:
    """Return the ARN under which policies know the caller (``aws:PrincipalArn``).

    For a session of a role that is the role's ARN, path included, which STS does not tell.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn

    :raises UnknownPrincipalError: the caller may not read its own role.
    """
    arn = str(sts.get_caller_identity()["Arn"])
    role = session_role_name(arn)
    if role is None:
        return arn
    try:
        return str(iam.get_role(RoleName=role)["Role"]["Arn"])
    except ClientError as error:
        raise UnknownPrincipalError(
            f"{arn} may not call iam:GetRole on its own role, so its full ARN is not known: allow that, or give the "
            f"role's ARN as the stack's parameter DeployPrincipalArn. IAM said: {error}"
        ) from error


def session_role_name(arn: str) -> str | None:
    """Return the name of the role behind a session's ARN (``...:assumed-role/<role>/<session>``), else None."""
    kind, _, rest = arn.split(":", 5)[-1].partition("/")
    return rest.split("/")[0] if kind == "assumed-role" else None


def is_role(caller_arn: str, role_arn: str) -> bool:
    """Say whether a caller is a session of a role of the same account."""
    name = session_role_name(caller_arn)
    return name == role_arn.rsplit("/", 1)[-1] and caller_arn.split(":")[4] == role_arn.split(":")[4]


def is_denied(error: ClientError) -> bool:
    """Say whether IAM or a resource's policy refused the call; nothing else counts as refused."""
    return error.response["Error"]["Code"] in DENIED_CODES


def role_clients(
    clients: Callable[[str], Any], role_arn: str, *, session_name: str, policy: str | None = None
) -> Callable[[str], Any]:
    """Return what makes clients of a session of ``role_arn``, taken on by the caller behind ``clients``.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html

    :param policy: a session policy (JSON): the session may do what both it and the role's policies allow.
    """
    import boto3

    sts = clients("sts")
    request = {"RoleArn": role_arn, "RoleSessionName": session_name[:64], "DurationSeconds": 3600}
    given = sts.assume_role(**request, **({"Policy": policy} if policy else {}))["Credentials"]
    session = boto3.session.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=sts.meta.region_name,
    )

    @cache
    def client(service: str) -> Any:
        # Wherever the caller's own clients go, to AWS or to a local one.
        own = clients(service).meta
        make: Any = session.client
        return make(service, endpoint_url=own.endpoint_url, config=own.config)

    return client
