"""Cure: moto knows AWS's own managed policies only if it loads all of them at start.

That takes seconds and much memory. Here one is made when somebody attaches it.

See https://docs.aws.amazon.com/aws-managed-policy/latest/reference/about-managed-policy-reference.html.
"""

import json
from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import Any, Final

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend

_ATTACHING: Final = ("attach_role_policy", "attach_user_policy", "attach_group_policy")
_MARK: Final = "_local_aws_managed_policies"


def install() -> None:
    """Let AWS's own policies be attached by their ARNs. Safe to call twice."""
    if hasattr(IAMBackend.attach_role_policy, _MARK):
        return
    for name in _ATTACHING:
        setattr(IAMBackend, name, _making_first(getattr(IAMBackend, name)))


def make(backend: IAMBackend, arns: Iterable[str]) -> None:
    """Make those policies of AWS that are named and do not exist yet.

    What AWS does not have is left out: it is refused where it is attached.
    """
    for arn in arns:
        name = arn.rsplit("/", 1)[-1]
        if arn in backend.managed_policies or name not in _aws_managed_policies():
            continue
        policy = AWSManagedPolicy.from_data(
            name, backend.account_id, backend.region_name, _aws_managed_policies()[name]
        )
        backend.managed_policies[policy.arn] = policy
        backend.aws_managed_policies.append(policy)


def _making_first(stock: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(stock)
    def attach(self: IAMBackend, policy_arn: str, name: str) -> Any:
        make(self, [policy_arn])
        return stock(self, policy_arn, name)

    setattr(attach, _MARK, True)
    return attach


@lru_cache(maxsize=1)
def _aws_managed_policies() -> dict[str, Any]:
    policies: dict[str, Any] = json.loads(aws_managed_policies_data)
    return policies
