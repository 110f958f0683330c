"""What a call needs: actions on resources, as the Service Authorization Reference lists them.

See https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NO_RESOURCE: Final = "*"


@dataclass(frozen=True)
class Call:
    """A call as it came in.

    Attributes:
        service: As IAM calls it, for example "backup".
        operation: Like "StartBackupJob".
        parameters: The members of its input.
        account_id: The account that it goes to.
        region: The Region that it goes to.
        partition: Like "aws".
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    account_id: str
    region: str
    partition: str

    def arn(self, rest: str, *, service: str | None = None, regional: bool = True) -> str:
        """Return an ARN of this call's account and Region: `rest` comes after the account."""
        region = self.region if regional else ""
        return f"arn:{self.partition}:{service or self.service}:{region}:{self.account_id}:{rest}"

    def text(self, name: str) -> str | None:
        value = self.parameters.get(name)
        return str(value) if value else None


@dataclass(frozen=True)
class Permission:
    """One thing that a call needs to be allowed.

    Attributes:
        action: Like "backup:StartBackupJob".
        resource: Its ARN, "*" for none, None: not known here.
        keys: Condition keys of this permission alone, in lower case.
        policy: The resource's own policy, if it has one.
        policy_must_allow: Whether that policy has to allow it.
    """

    action: str
    resource: str | None = NO_RESOURCE
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    policy: str | None = None
    policy_must_allow: bool = False

    @property
    def shown_resource(self) -> str | None:
        """The resource as messages name it, None where there is none."""
        return None if self.resource == NO_RESOURCE else self.resource

    @property
    def resource_account(self) -> str | None:
        parts = (self.resource or "").split(":", 5)
        return parts[4] or None if len(parts) == 6 else None


Rule = Callable[[Call], Iterable[Permission]]


def pass_role(role_arn: str | None, to_service: str) -> list[Permission]:
    """Return the permission that handing a role to a service takes; none if no role is given."""
    if not role_arn:
        return []
    return [Permission("iam:PassRole", role_arn, {"iam:passedtoservice": (to_service,)})]


def request_tags(tags: Mapping[str, str] | None) -> dict[str, tuple[str, ...]]:
    """Return the condition keys of the tags that a call brings along."""
    if not tags:
        return {}
    return {"aws:tagkeys": tuple(tags)} | {f"aws:requesttag/{key.lower()}": (value,) for key, value in tags.items()}


def resource_tags(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the condition keys of the tags that a resource has."""
    return {f"aws:resourcetag/{key.lower()}": (value,) for key, value in tags.items()}


def tag_mapping(tags: Any) -> dict[str, str]:
    """Read tags given either as a mapping or as a list of Key and Value."""
    if isinstance(tags, Mapping):
        return dict(tags)
    return {tag["Key"]: tag.get("Value", "") for tag in tags or []}
