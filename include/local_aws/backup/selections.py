"""Selections: which tables a plan backs up.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupSelection.html,
https://docs.aws.amazon.com/aws-backup/latest/devguide/assigning-resources-json.html and
https://repost.aws/knowledge-center/backup-assign-resources: a resource is chosen if one of `Resources` or of
`ListOfTags` fits it (any, if neither is given), all `Conditions` hold, and none of `NotResources` fits. A negated
condition also holds where the tag is missing, as in IAM's policies.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from local_aws.backup.exceptions import InvalidParameterValueException, LimitExceededException
from local_aws.backup.plan_rules import check_name
from local_aws.backup.validation import check_choice, check_role_arn, require

MAX_ARNS: Final = 500
MAX_WILDCARD_ARNS: Final = 30
RESTORE_TEST_TAG: Final = "awsbackup-restore-test"
"""Tag of what restore testing made: plans leave it alone."""

_TAG_PREFIX: Final = "aws:ResourceTag/"
_ARN: Final = re.compile(r"arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:\S+|arn:[^:\s]+:[^:\s*]+:\*")
_OPERATORS: Final[Mapping[str, Callable[[str | None, str], bool]]] = {
    "StringEquals": lambda tag, value: tag == value,
    "StringNotEquals": lambda tag, value: tag != value,
    "StringLike": lambda tag, value: tag is not None and _fits(value, tag),
    "StringNotLike": lambda tag, value: tag is None or not _fits(value, tag),
}


@dataclass(frozen=True)
class TagCondition:
    """What one tag of a resource has to be."""

    operator: str
    key: str
    value: str

    def holds(self, tags: Mapping[str, str]) -> bool:
        return _OPERATORS[self.operator](tags.get(self.key), self.value)


@dataclass(frozen=True)
class Selection:
    """One selection of one plan.

    Attributes:
        any_tag: One of them is enough (`ListOfTags`).
        conditions: All of them have to hold (`Conditions`).
        document: As the request gave it.
    """

    selection_id: str
    sequence: int
    name: str
    role_arn: str
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    any_tag: tuple[TagCondition, ...]
    conditions: tuple[TagCondition, ...]
    document: Mapping[str, Any]
    created_at: datetime
    creator_request_id: str | None

    def chooses(self, arn: str, tags: Mapping[str, str]) -> bool:
        """Tell whether it chooses a resource of this ARN and these tags."""
        for_a_test = RESTORE_TEST_TAG in tags or arn.rpartition("/")[2].startswith(RESTORE_TEST_TAG)
        if for_a_test or any(_fits(pattern, arn) for pattern in self.not_resources):
            return False
        wanted = (not self.resources and not self.any_tag) or (
            any(_fits(pattern, arn) for pattern in self.resources)
            or any(condition.holds(tags) for condition in self.any_tag)
        )
        return wanted and all(condition.holds(tags) for condition in self.conditions)

    def names_type_of(self, arn: str) -> bool:
        """Tell whether it chooses this ARN by resource type, so that the Region's opt-in does not matter."""
        return any(_fits(pattern, arn) and _names_type(pattern) for pattern in self.resources)

    def to_list_result(self, plan_id: str) -> dict[str, Any]:
        """Return a BackupSelectionsListMember."""
        return {
            "SelectionId": self.selection_id,
            "SelectionName": self.name,
            "BackupPlanId": plan_id,
            "CreationDate": self.created_at,
            "CreatorRequestId": self.creator_request_id,
            "IamRoleArn": self.role_arn,
        }


def read_selection(
    document: Mapping[str, Any], *, selection_id: str, sequence: int, now: datetime, creator_request_id: str | None
) -> Selection:
    """Read a BackupSelection.

    Raises:
        MissingParameterValueException: It lacks a name or a role.
        InvalidParameterValueException: A name, ARN or condition that AWS would refuse.
        LimitExceededException: Too many ARNs.
    """
    return Selection(
        selection_id=selection_id,
        sequence=sequence,
        name=check_name("SelectionName", document.get("SelectionName")),
        role_arn=check_role_arn(document.get("IamRoleArn")),
        resources=_patterns("Resources", document.get("Resources")),
        not_resources=_patterns("NotResources", document.get("NotResources")),
        any_tag=tuple(_listed_tag(condition) for condition in document.get("ListOfTags") or ()),
        conditions=_conditions(document.get("Conditions") or {}),
        document={member: value for member, value in document.items() if value},
        created_at=now,
        creator_request_id=creator_request_id,
    )


def _patterns(member: str, arns: Iterable[str] | None) -> tuple[str, ...]:
    given = tuple(arns or ())
    wildcards = sum("*" in arn for arn in given)
    if len(given) > MAX_ARNS or wildcards > MAX_WILDCARD_ARNS:
        raise LimitExceededException(
            f"{member} can have at most {MAX_ARNS} ARNs, {MAX_WILDCARD_ARNS} of them with wildcards."
        )
    for arn in given:
        if arn != "*" and not _ARN.fullmatch(arn):
            raise InvalidParameterValueException(f"Invalid ARN in {member}: {arn!r}.")
        if "*" in _resource_part(arn)[:-1]:
            raise InvalidParameterValueException(f"Invalid ARN in {member}: {arn!r}: a wildcard must be at its end.")
    return given


def _resource_part(arn: str) -> str:
    return arn.split(":", 5)[-1]


def _names_type(pattern: str) -> bool:
    parts = pattern.split(":", 5)
    return len(parts) == 6 and parts[5] != "*"


def _listed_tag(document: Mapping[str, Any]) -> TagCondition:
    check_choice("ConditionType", require("ConditionType", document.get("ConditionType")), ["STRINGEQUALS"])
    key = require("ConditionKey", document.get("ConditionKey"))
    return TagCondition("StringEquals", key.removeprefix(_TAG_PREFIX), document.get("ConditionValue") or "")


def _conditions(document: Mapping[str, Any]) -> tuple[TagCondition, ...]:
    read = []
    for operator in _OPERATORS:
        for condition in document.get(operator) or ():
            key = require("ConditionKey", condition.get("ConditionKey"))
            if not key.startswith(_TAG_PREFIX) or key == _TAG_PREFIX:
                raise InvalidParameterValueException(f"Invalid ConditionKey {key!r}: must be {_TAG_PREFIX}<tag key>.")
            read.append(TagCondition(operator, key.removeprefix(_TAG_PREFIX), condition.get("ConditionValue") or ""))
    return tuple(read)


def _fits(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # For AWS the only wildcard is *.
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
