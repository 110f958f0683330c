"""Which resources a selection of a backup plan chooses.

A resource is chosen if one of ``Resources`` or one of ``ListOfTags`` fits it (any resource, if neither is given),
all ``Conditions`` hold and none of ``NotResources`` fits:
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupSelection.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

TAG_PREFIX: Final = "aws:ResourceTag/"
RESTORE_TEST_TAG: Final = "awsbackup-restore-test"
"""What AWS's restore testing made carries it, and plans leave it alone:
https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing.html"""


class ChosenBy(StrEnum):
    """How a selection came to choose a resource. The Region's opt-in matters only where no ARN names it."""

    ARN = "arn"
    TAG = "tag"


_CONDITIONS: Final[Mapping[str, Callable[[str | None, str], bool]]] = MappingProxyType(
    {
        "StringEquals": lambda tag, value: tag == value,
        "StringNotEquals": lambda tag, value: tag != value,
        "StringLike": lambda tag, value: tag is not None and _like(tag, value),
        "StringNotLike": lambda tag, value: tag is None or not _like(tag, value),
    }
)


def chosen_by(selection: Mapping[str, Any], arn: str, tags: Mapping[str, str]) -> ChosenBy | None:
    """Tell whether a selection chooses a resource, and by what.

    :param selection: a BackupSelection, as GetBackupSelection returns it.
    :param arn: of the resource.
    :param tags: of the resource.
    :return: None if it does not choose it.
    """
    if RESTORE_TEST_TAG in tags or _fits_any(selection.get("NotResources"), arn):
        return None
    if not all(_holds(selection.get("Conditions") or {}, name, tags) for name in _CONDITIONS):
        return None
    resources = selection.get("Resources") or []
    # A bare * names no type of resource, so the opt-in decides.
    if _fits_any([pattern for pattern in resources if pattern != "*"], arn):
        return ChosenBy.ARN
    listed = selection.get("ListOfTags") or []
    anything = not resources and not listed
    if anything or "*" in resources or any(_has(tags, condition) for condition in listed):
        return ChosenBy.TAG
    return None


def _fits_any(patterns: Iterable[str] | None, arn: str) -> bool:
    return any(_like(arn, pattern) for pattern in patterns or ())


def _like(text: str, pattern: str) -> bool:
    # For AWS * is the only wildcard.
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))


def _key(condition: Mapping[str, Any]) -> str:
    return str(condition["ConditionKey"]).removeprefix(TAG_PREFIX)


def _has(tags: Mapping[str, str], condition: Mapping[str, Any]) -> bool:
    return tags.get(_key(condition)) == str(condition["ConditionValue"])


def _holds(conditions: Mapping[str, Any], operator: str, tags: Mapping[str, str]) -> bool:
    holds = _CONDITIONS[operator]
    return all(holds(tags.get(_key(c)), str(c["ConditionValue"])) for c in conditions.get(operator) or ())
