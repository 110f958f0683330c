"""Cure: moto tells a caller without a user of its own that it is "user/moto", which nobody is.

Such a caller stands for the account's root user (see `local_aws.access.callers`), and a policy that is to name it
needs the ARN under which it is known.
"""

from typing import Final

from moto.sts.models import STSBackend

_NOBODY: Final = ":user/moto"
_MARK: Final = "_local_aws_caller_identity"


def install() -> None:
    """Let GetCallerIdentity name the root user. Safe to call twice."""
    stock = STSBackend.get_caller_identity
    if hasattr(stock, _MARK):
        return

    def get_caller_identity(self: STSBackend, access_key_id: str, region: str) -> tuple[str, str, str]:
        user_id, arn, account_id = stock(self, access_key_id, region)
        if arn.endswith(_NOBODY):
            return account_id, f"arn:{self.partition}:iam::{account_id}:root", account_id
        return user_id, arn, account_id

    setattr(get_caller_identity, _MARK, True)
    STSBackend.get_caller_identity = get_caller_identity  # type: ignore[method-assign]
