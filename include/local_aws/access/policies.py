"""Policy documents: statements, and whether one concerns a request.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from local_aws.access.conditions import UnknownOperator, conditions_hold
from local_aws.access.patterns import Context, UnknownVariable, fill, like

ANYTHING: Final = "*"


@dataclass(frozen=True)
class Ask:
    """One action on one resource, as a policy sees it.

    Attributes:
        action: Like "backup:DeleteRecoveryPoint".
        resource: ARN, "*" for an action on none, or None where it is not known: a statement then concerns it
            if it allows the action on anything at all, or denies it on everything.
        context: Condition keys in lower case, with their values.
        principals: All names of the caller in a Principal element: ARNs and the account's number.
        account_id: The caller's account, whose root stands for everybody in it.
        service: The service that acts, where none of an account's principals does.
    """

    action: str
    resource: str | None
    context: Context
    principals: frozenset[str] = frozenset()
    account_id: str = ""
    service: str | None = None


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, which `members` are."""

    members: Mapping[str, Any]

    @property
    def denies(self) -> bool:
        return bool(self.members.get("Effect") == "Deny")

    def concerns(self, ask: Ask) -> bool:
        """Tell whether action, resource and conditions are those of a request. Looks at no principal."""
        if not self._names_action(ask.action) or not self._names_resource(ask):
            return False
        try:
            return conditions_hold(self.members.get("Condition") or {}, ask.context)
        except UnknownOperator:
            # AWS takes no such policy. One that got here anyhow errs on the safe side.
            return self.denies

    def grants_to(self, ask: Ask) -> str | None:
        """Return how the Principal element names the caller: "direct", "account", or None: not at all."""
        if "NotPrincipal" in self.members:
            return None if _named(self.members["NotPrincipal"], ask) else "direct"
        return _named(self.members.get("Principal"), ask)

    def _names_action(self, action: str) -> bool:
        if "NotAction" in self.members:
            return not any(like(each, action, ignore_case=True) for each in _listed(self.members["NotAction"]))
        return any(like(each, action, ignore_case=True) for each in _listed(self.members.get("Action")))

    def _names_resource(self, ask: Ask) -> bool:
        if "NotResource" in self.members:
            return ask.resource is None or not _resource_in(self.members["NotResource"], ask)
        if "Resource" not in self.members:  # as in a role's trust policy, which is about the role itself
            return True
        if ask.resource is None:
            return not self.denies or ANYTHING in _listed(self.members["Resource"])
        return _resource_in(self.members["Resource"], ask)


def statements(document: str) -> tuple[Statement, ...]:
    """Return the statements of a policy document.

    Raises:
        ValueError: It is not JSON.
    """
    return _parsed(document)


@lru_cache(maxsize=1024)
def _parsed(document: str) -> tuple[Statement, ...]:
    policy = json.loads(document)
    return tuple(Statement(members) for members in _listed(policy.get("Statement")))


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]


def _resource_in(patterns: Any, ask: Ask) -> bool:
    for pattern in _listed(patterns):
        try:
            if like(fill(pattern, ask.context), ask.resource or ANYTHING):
                return True
        except UnknownVariable:
            continue
    return False


def _named(principal: Any, ask: Ask) -> str | None:
    if principal is None:
        return None
    if isinstance(principal, str):
        return "direct" if principal == ANYTHING else None
    if ask.service is not None and ask.service in _listed(principal.get("Service")):
        return "direct"
    names = _listed(principal.get("AWS"))
    if ANYTHING in names and ask.service is None:
        return "direct"
    if any(name in ask.principals for name in names):
        return "direct"
    if ask.account_id and any(_is_account(name, ask.account_id) for name in names):
        return "account"
    return None


def _is_account(name: str, account_id: str) -> bool:
    return name == account_id or (name.endswith(":root") and f"::{account_id}:" in name)
