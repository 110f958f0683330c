"""Which organization an account is in, as the condition keys of its callers show it."""

from typing import Final

from moto.organizations.models import organizations_backends

ORGANIZATION_KEY: Final = "aws:principalorgid"


def organization_keys(account_id: str, partition: str) -> dict[str, tuple[str, ...]]:
    """Return ``aws:PrincipalOrgID`` for an account's callers; nothing if the account is in no organization.

    See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html.

    Args:
        account_id: The caller's account.
        partition: Like "aws".
    """
    managing, _ = organizations_backends.master_accounts.get(account_id, (account_id, partition))
    if managing not in organizations_backends:  # looking it up would make a backend for it
        return {}
    organization = organizations_backends[managing][partition].org
    return {ORGANIZATION_KEY: (organization.id,)} if organization is not None else {}
