"""What a resource policy grants to another account."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any


def grants(policy: str, action: str, *, account_id: str, resource_arn: str) -> bool:
    """Tell whether a resource policy lets an account do something, without an explicit denial.

    Conditions count as met: what they ask about (the organization, the caller) is not known here.

    Args:
        policy: The policy document, JSON.
        action: For example "backup:CopyIntoBackupVault".
        account_id: The account that asks.
        resource_arn: What it would be done to.
    """
    statements = json.loads(policy).get("Statement", [])
    effects = {
        statement["Effect"]
        for statement in ([statements] if isinstance(statements, dict) else statements)
        if _fits(statement, "Action", action.lower(), lower=True)
        and _fits(statement, "Resource", resource_arn)
        and _is_for(statement, account_id)
    }
    return effects == {"Allow"}


def _fits(statement: Mapping[str, Any], member: str, value: str, *, lower: bool = False) -> bool:
    patterns = [text.lower() if lower else text for text in _listed(statement.get(member))]
    excluded = [text.lower() if lower else text for text in _listed(statement.get(f"Not{member}"))]
    if excluded:
        return not any(fnmatchcase(value, pattern) for pattern in excluded)
    return any(fnmatchcase(value, pattern) for pattern in patterns)


def _is_for(statement: Mapping[str, Any], account_id: str) -> bool:
    principal = statement.get("Principal")
    named = _listed(principal.get("AWS")) if isinstance(principal, Mapping) else _listed(principal)
    return any(name in ("*", account_id) or name.split(":")[4:5] == [account_id] for name in named)


def _listed(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [value] if value else []
