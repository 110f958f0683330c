"""What a vault's access policy grants to another account."""

from local_aws.access.callers import role_principal
from local_aws.access.decisions import Policies, decide
from local_aws.access.policies import Ask, statements
from local_aws.access.service_roles import request_context


def grants(policy: str, action: str, *, role_arn: str, account_id: str, resource_arn: str, region: str) -> bool:
    """Tell whether a vault's policy lets another account do something under a role, without an explicit denial.

    See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-cross-account-backup.html.

    Args:
        policy: The policy document, JSON.
        action: For example "backup:CopyIntoBackupVault".
        role_arn: The role that AWS Backup was handed; it need not exist here.
        account_id: The account that asks.
        resource_arn: The vault.
        region: Where it is asked for.
    """
    principals, keys = role_principal(role_arn, account_id)
    ask = Ask(action, resource_arn, request_context(region) | keys, principals, account_id)
    # The vault's side alone is asked here; the role's own rights are looked at where IAM is enforced.
    vault_side = Policies(resource=statements(policy), resource_must_allow=True, everything_allowed=True)
    return decide(ask, vault_side) is None
