"""Allowed or denied, and why: IAM's policy evaluation logic.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from local_aws.access.policies import Ask, Statement

IDENTITY: Final = "identity-based policy"
RESOURCE: Final = "resource-based policy"
BOUNDARY: Final = "permissions boundary"
SESSION: Final = "session policy"


@dataclass(frozen=True)
class Policies:
    """All policies that have a say about a request. None: there is no policy of that kind.

    Attributes:
        identity: Of the caller: inline, managed, of its groups.
        boundary: The caller's permissions boundary.
        session: Passed when the role was assumed.
        resource: Of the resource.
        resource_must_allow: Whether an identity policy is not enough, as for a role's trust policy.
        crosses_accounts: Whether the resource is another account's: then both sides must allow.
        everything_allowed: The caller is an account's root user, whom no policy has to allow anything.
    """

    identity: tuple[Statement, ...] = ()
    boundary: tuple[Statement, ...] | None = None
    session: tuple[Statement, ...] | None = None
    resource: tuple[Statement, ...] | None = None
    resource_must_allow: bool = False
    crosses_accounts: bool = False
    everything_allowed: bool = False


@dataclass(frozen=True)
class Denial:
    """Why a request is denied.

    Attributes:
        kind: The kind of the policy that denies it, or that would have to allow it.
        explicit: Whether a Deny statement says so.
    """

    kind: str
    explicit: bool

    def reason(self, action: str) -> str:
        """Return AWS's words for it.

        See https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html.
        """
        if self.explicit:
            article = "an" if self.kind == IDENTITY else "a"
            return f"with an explicit deny in {article} {self.kind}"
        return f"because no {self.kind} allows the {action} action"


def decide(ask: Ask, policies: Policies) -> Denial | None:
    """Evaluate a request.

    Returns:
        None if it is allowed, else why not.
    """
    return _explicit(ask, policies) or _implicit(ask, policies)


def _explicit(ask: Ask, policies: Policies) -> Denial | None:
    for kind, statements in (
        (IDENTITY, policies.identity),
        (BOUNDARY, policies.boundary),
        (SESSION, policies.session),
    ):
        if any(statement.denies and statement.concerns(ask) for statement in statements or ()):
            return Denial(kind, explicit=True)
    for statement in policies.resource or ():
        if statement.denies and statement.grants_to(ask) is not None and statement.concerns(ask):
            return Denial(RESOURCE, explicit=True)
    return None


def _implicit(ask: Ask, policies: Policies) -> Denial | None:
    granted = _resource_grants(ask, policies.resource)
    if (policies.resource_must_allow or policies.crosses_accounts) and granted is None:
        return Denial(RESOURCE, explicit=False)
    if policies.everything_allowed:
        return None
    if granted == "direct" and not policies.crosses_accounts:
        return None
    if not _allowed(ask, policies.identity):
        return Denial(IDENTITY, explicit=False)
    if policies.boundary is not None and not _allowed(ask, policies.boundary):
        return Denial(BOUNDARY, explicit=False)
    if policies.session is not None and not _allowed(ask, policies.session):
        return Denial(SESSION, explicit=False)
    return None


def _allowed(ask: Ask, statements: Iterable[Statement]) -> bool:
    return any(not statement.denies and statement.concerns(ask) for statement in statements)


def _resource_grants(ask: Ask, statements: Iterable[Statement] | None) -> str | None:
    """Return the strongest way in which a resource's policy allows a request: "direct", "account" or None."""
    grants = {
        statement.grants_to(ask) for statement in statements or () if not statement.denies and statement.concerns(ask)
    }
    return next((grant for grant in ("direct", "account") if grant in grants), None)
