"""Checks that the service model states and clients do not make: patterns, bounds, choices."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from local_aws.backup.exceptions import (
    InvalidParameterValueException,
    LimitExceededException,
    MissingParameterValueException,
)

_VAULT_NAME: Final = re.compile(r"[a-zA-Z0-9\-_]{2,50}")
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}")
_KMS_KEY_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/[\w/-]+")
_TABLE_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_TAG_TEXT: Final = re.compile(r"[\w\s+\-=._:/@]*")

MAX_TAGS: Final = 50
MAX_WINDOW_MINUTES: Final = 52_560_000  # 100 years, the service model's own bound
MIN_START_WINDOW_MINUTES: Final = 60


def require(name: str, value: str | None) -> str:
    """Return `value`, or refuse a request that lacks it."""
    if not value:
        raise MissingParameterValueException(f"{name} is required.")
    return value


def check_vault_name(name: str | None) -> str:
    """Return a vault name that matches the service model's pattern."""
    given = require("BackupVaultName", name)
    if not _VAULT_NAME.fullmatch(given):
        raise InvalidParameterValueException(
            f"Invalid backup vault name {given!r}: 2 to 50 letters, digits, hyphens or underscores."
        )
    return given


def check_role_arn(arn: str | None) -> str:
    given = require("IamRoleArn", arn)
    if not _ROLE_ARN.fullmatch(given):
        raise InvalidParameterValueException(f"Invalid IAM role ARN {given!r}.")
    return given


def check_kms_key_arn(arn: str) -> str:
    if not _KMS_KEY_ARN.fullmatch(arn):
        raise InvalidParameterValueException(f"Invalid KMS key ARN {arn!r}.")
    return arn


def check_table_name(name: str) -> str:
    if not _TABLE_NAME.fullmatch(name):
        raise InvalidParameterValueException(
            f"Invalid targetTableName {name!r}: 3 to 255 letters, digits, underscores, dots or hyphens."
        )
    return name


def check_choice(name: str, value: str | None, choices: Collection[str]) -> str | None:
    """Return `value` if it is absent or one of `choices`."""
    if value is not None and value not in choices:
        raise InvalidParameterValueException(f"Invalid {name} {value!r}: must be one of {sorted(choices)}.")
    return value


def check_window(name: str, minutes: int | None, *, minimum: int, default: int) -> int:
    """Return a job window in minutes, `default` when it is not given."""
    if minutes is None:
        return default
    if not minimum <= minutes <= MAX_WINDOW_MINUTES:
        raise InvalidParameterValueException(
            f"Invalid {name} {minutes}: must be between {minimum} and {MAX_WINDOW_MINUTES} minutes."
        )
    return minutes


def check_tags(tags: Mapping[str, str], *, existing: Collection[str] = ()) -> None:
    """Refuse tags that AWS would refuse.

    See https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html.

    Args:
        tags: The new ones.
        existing: Keys that the resource has already, for the limit of 50.
    """
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or not _TAG_TEXT.fullmatch(key):
            raise InvalidParameterValueException(f"Invalid tag key {key!r}: 1 to 128 allowed characters.")
        if key.lower().startswith("aws:"):
            raise InvalidParameterValueException(f"Invalid tag key {key!r}: the prefix aws: is reserved.")
        if len(value) > 256 or not _TAG_TEXT.fullmatch(value):
            raise InvalidParameterValueException(f"Invalid value of tag {key!r}: at most 256 allowed characters.")
    if len({*existing, *tags}) > MAX_TAGS:
        raise LimitExceededException(f"A resource can have at most {MAX_TAGS} tags.")
