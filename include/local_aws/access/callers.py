"""Who calls: the principal behind an access key, and the policies that are attached to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from moto.iam.models import IAMBackend, Role, User, iam_backends
from moto.sts.models import AssumedRole, sts_backends

from local_aws.access.decisions import Policies
from local_aws.access.organizations import organization_keys
from local_aws.access.policies import Statement, statements

_KEY_PREFIXES: Final = ("AKIA", "ASIA", "LSIA")
_KEY_LENGTH: Final = 20


class UnknownAccessKey(Exception):
    """An access key of AWS's form that nobody has, that is inactive, or whose session token is another's."""

    def __init__(self, access_key_id: str) -> None:
        super().__init__(access_key_id)
        self.access_key_id = access_key_id

    def __str__(self) -> str:
        return f"Nobody has the access key {self.access_key_id}, or it is inactive, or its session token is wrong."


@dataclass(frozen=True)
class Caller:
    """A principal and its policies.

    Attributes:
        arn: As AccessDenied messages and GetCallerIdentity show it.
        account_id: The account that it belongs to.
        principals: All its names in a Principal element.
        keys: Its own condition keys, in lower case.
        policies: Its own; what resources say is not among them.
    """

    arn: str
    account_id: str
    principals: frozenset[str]
    keys: Mapping[str, tuple[str, ...]] = field(repr=False)
    policies: Policies = field(repr=False)


def find_caller(access_key_id: str | None, session_token: str | None, account_id: str, partition: str) -> Caller:
    """Return whom an access key belongs to.

    A key that does not have AWS's form, such as "testing", stands for the account's root user: tests and
    first steps need no user of their own.

    Args:
        access_key_id: None: the request is not signed.
        session_token: The security token sent along, if any.
        account_id: The account that the request goes to, for keys that belong to nobody.
        partition: Like "aws".

    Raises:
        UnknownAccessKey: A key of AWS's form that is not valid.
    """
    if access_key_id is None:
        return _nobody()
    for owner_account, backend in _backends(partition):
        key = backend.access_keys.get(access_key_id)
        if key is None:
            continue
        if key.role_arn is not None:
            return _assumed(backend, access_key_id, session_token, owner_account, partition)
        if key.user_name is None or key.status != "Active":
            raise UnknownAccessKey(access_key_id)
        return user_caller(backend, backend.get_user(key.user_name), owner_account)
    if access_key_id.startswith(_KEY_PREFIXES) and len(access_key_id) == _KEY_LENGTH:
        raise UnknownAccessKey(access_key_id)
    return root_caller(account_id, partition)


def root_caller(account_id: str, partition: str) -> Caller:
    """Return an account's root user."""
    arn = f"arn:{partition}:iam::{account_id}:root"
    keys = _keys(arn, account_id, "Account", account_id)
    return Caller(arn, account_id, frozenset({arn, account_id}), keys, Policies(everything_allowed=True))


def user_caller(backend: IAMBackend, user: User, account_id: str) -> Caller:
    """Return an IAM user, with the policies of its groups."""
    documents = _documents(user)
    for group in list(backend.groups.values()):
        if user in group.users:
            documents += _documents(group)
    keys = _keys(user.arn, account_id, "User", user.id) | {"aws:username": (user.name,)} | _tag_keys(user.tags or [])
    return Caller(user.arn, account_id, frozenset({user.arn}), keys, Policies(identity=_parsed(documents)))


def role_caller(
    backend: IAMBackend,
    role: Role,
    session_name: str,
    *,
    session_policy: str | None = None,
    session_tags: Iterable[Mapping[str, str]] = (),
) -> Caller:
    """Return a session of a role.

    Args:
        backend: Of the role's account.
        role: The role.
        session_name: RoleSessionName.
        session_policy: The policy passed to AssumeRole, if any.
        session_tags: The tags passed to AssumeRole.
    """
    session_arn = f"arn:{role.partition}:sts::{role.account_id}:assumed-role/{role.name}/{session_name}"
    keys = _keys(role.arn, role.account_id, "AssumedRole", f"{role.id}:{session_name}")
    policies = Policies(
        identity=_parsed(_documents(role)),
        boundary=_boundary(backend, role.permissions_boundary_arn),
        session=None if session_policy is None else statements(session_policy),
    )
    tags = _tag_keys(role.tags or []) | _tag_keys(session_tags)
    return Caller(session_arn, role.account_id, frozenset({role.arn, session_arn}), keys | tags, policies)


def role_principal(role_arn: str, account_id: str) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    """Return a role's names in a Principal element and its condition keys, whether or not the role exists.

    Args:
        role_arn: The role.
        account_id: The account whose policies speak of it.
    """
    return frozenset({role_arn}), _keys(role_arn, account_id, "AssumedRole", role_arn.rpartition("/")[2])


def _assumed(
    backend: IAMBackend, access_key_id: str, session_token: str | None, account_id: str, partition: str
) -> Caller:
    for session in list(sts_backends[account_id][partition].assumed_roles):
        if session.access_key_id == access_key_id and session.session_token == session_token:
            return _session_caller(backend, session)
    raise UnknownAccessKey(access_key_id)


def _session_caller(backend: IAMBackend, session: AssumedRole) -> Caller:
    for role in list(backend.roles.values()):
        if role.arn == session.role_arn:
            return role_caller(backend, role, session.session_name, session_policy=session.policy or None)
    raise UnknownAccessKey(session.access_key_id)  # the role is gone, and its sessions with it


def _nobody() -> Caller:
    return Caller("anonymous", "", frozenset(), {"aws:principaltype": ("Anonymous",)}, Policies())


def _backends(partition: str) -> Iterable[tuple[str, IAMBackend]]:
    for account_id, by_partition in list(iam_backends.items()):
        yield account_id, by_partition[partition]


def _keys(principal_arn: str, account_id: str, kind: str, user_id: str) -> dict[str, tuple[str, ...]]:
    return {
        "aws:principalarn": (principal_arn,),
        "aws:principalaccount": (account_id,),
        "aws:principaltype": (kind,),
        "aws:userid": (user_id,),
        **organization_keys(account_id, principal_arn.split(":")[1]),
    }


def _tag_keys(tags: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    return {f"aws:principaltag/{tag['Key'].lower()}": (tag["Value"],) for tag in tags}


def _documents(holder: Any) -> list[str]:
    inline = [document if isinstance(document, str) else str(document) for document in list(holder.policies.values())]
    return inline + [_default_document(policy) for policy in list(holder.managed_policies.values())]


def _default_document(policy: Any) -> str:
    return str(next(version.document for version in policy.versions if version.is_default))


def _parsed(documents: Iterable[str]) -> tuple[Statement, ...]:
    return tuple(statement for document in documents for statement in statements(document))


def _boundary(backend: IAMBackend, policy_arn: str | None) -> tuple[Statement, ...] | None:
    if not policy_arn:
        return None
    policy = backend.managed_policies.get(policy_arn)
    # A boundary that does not exist allows nothing.
    return () if policy is None else statements(_default_document(policy))
