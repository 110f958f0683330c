"""Selections of a restore testing plan: whose recovery points are tested.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_RestoreTestingSelectionForCreate.html.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from local_aws.backup.exceptions import InvalidParameterValueException
from local_aws.backup.validation import check_choice, check_kms_key_arn, check_role_arn, require

MAX_ARNS: Final = 30
MAX_CONDITIONS: Final = 30
MAX_VALIDATION_HOURS: Final = 168
RESOURCE_TYPES: Final = (
    "Aurora",
    "DocumentDB",
    "DynamoDB",
    "EBS",
    "EC2",
    "EFS",
    "FSx",
    "Neptune",
    "RDS",
    "S3",
)
OVERRIDES: Final = ("encryptionType", "kmsMasterKeyArn")
"""What may be overridden for a table,
https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing-inferred-metadata.html."""

_ALL: Final = ("*",)
_TAG_KEY: Final = "aws:ResourceTag/"
_RESOURCE_ARN: Final = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:\d{0,12}:.+")


@dataclass(frozen=True)
class TestingSelection:
    """One selection of one restore testing plan.

    Attributes:
        arns: The tables, or `*`.
        equal: Tags that the latest recovery point must have, where `arns` is `*`.
        not_equal: Tags that it must not have.
    """

    name: str
    plan_name: str
    resource_type: str
    role_arn: str
    arns: tuple[str, ...]
    equal: tuple[tuple[str, str], ...]
    not_equal: tuple[tuple[str, str], ...]
    overrides: Mapping[str, str]
    validation_hours: int
    created_at: datetime
    creator_request_id: str | None

    def chooses(self, resource_arn: str, tags: Mapping[str, str]) -> bool:
        """Tell whether a resource is selected.

        Args:
            resource_arn: Of the table.
            tags: Of its latest recovery point.
        """
        if self.arns != _ALL:
            return resource_arn in self.arns
        return all(tags.get(key) == value for key, value in self.equal) and all(
            tags.get(key) != value for key, value in self.not_equal
        )

    def to_document(self) -> dict[str, Any]:
        """Return what an update starts from."""
        document: dict[str, Any] = {
            "IamRoleArn": self.role_arn,
            "ProtectedResourceArns": list(self.arns),
            "ProtectedResourceType": self.resource_type,
            "RestoreMetadataOverrides": dict(self.overrides),
            "ValidationWindowHours": self.validation_hours,
        }
        if self.equal or self.not_equal:
            document["ProtectedResourceConditions"] = {
                "StringEquals": _key_values(self.equal),
                "StringNotEquals": _key_values(self.not_equal),
            }
        return document

    def to_list_result(self) -> dict[str, Any]:
        """Return a RestoreTestingSelectionForList."""
        return {
            "RestoreTestingPlanName": self.plan_name,
            "RestoreTestingSelectionName": self.name,
            "CreationTime": self.created_at,
            "IamRoleArn": self.role_arn,
            "ProtectedResourceType": self.resource_type,
            "ValidationWindowHours": self.validation_hours,
        }

    def to_result(self) -> dict[str, Any]:
        """Return a RestoreTestingSelectionForGet."""
        return {**self.to_document(), **self.to_list_result(), "CreatorRequestId": self.creator_request_id}


def read_selection(
    document: Mapping[str, Any], *, name: str, plan_name: str, creator_request_id: str | None, now: datetime
) -> TestingSelection:
    """Read and check a selection's document.

    Args:
        document: A RestoreTestingSelectionForCreate, its name aside.
        name: Of the selection, checked.
        plan_name: Of its plan.
        creator_request_id: Of the request that made it.
        now: When that was.

    Raises:
        MissingParameterValueException: It lacks something.
        InvalidParameterValueException: Something in it is wrong.
    """
    resource_type = require("ProtectedResourceType", document.get("ProtectedResourceType"))
    check_choice("ProtectedResourceType", resource_type, RESOURCE_TYPES)
    hours = document.get("ValidationWindowHours") or 0
    if not 0 <= hours <= MAX_VALIDATION_HOURS:
        raise InvalidParameterValueException(f"Invalid ValidationWindowHours {hours}: 0 to {MAX_VALIDATION_HOURS}.")
    conditions = document.get("ProtectedResourceConditions") or {}
    equal = _conditions(conditions.get("StringEquals"))
    not_equal = _conditions(conditions.get("StringNotEquals"))
    return TestingSelection(
        name=name,
        plan_name=plan_name,
        resource_type=resource_type,
        role_arn=check_role_arn(document.get("IamRoleArn")),
        arns=_arns(document.get("ProtectedResourceArns"), conditioned=bool(equal or not_equal)),
        equal=equal,
        not_equal=not_equal,
        overrides=_overrides(document.get("RestoreMetadataOverrides") or {}),
        validation_hours=hours,
        created_at=now,
        creator_request_id=creator_request_id,
    )


def _arns(given: list[str] | None, *, conditioned: bool) -> tuple[str, ...]:
    arns = tuple(given or (_ALL if conditioned else ()))
    require("ProtectedResourceArns", "".join(arns))
    if arns == _ALL:
        return arns
    if conditioned:
        raise InvalidParameterValueException(
            "A selection has either ProtectedResourceArns or ProtectedResourceConditions; with conditions the only"
            " ARN can be '*'."
        )
    if len(arns) > MAX_ARNS:
        raise InvalidParameterValueException(f"A selection can have at most {MAX_ARNS} ProtectedResourceArns.")
    for arn in arns:
        if not _RESOURCE_ARN.fullmatch(arn):
            raise InvalidParameterValueException(f"Invalid ProtectedResourceArns {arn!r}.")
    return arns


def _conditions(given: list[Mapping[str, str]] | None) -> tuple[tuple[str, str], ...]:
    conditions = given or []
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidParameterValueException(f"A selection can have at most {MAX_CONDITIONS} conditions.")
    for condition in conditions:
        if not str(condition.get("Key", "")).startswith(_TAG_KEY):
            raise InvalidParameterValueException(f"Invalid condition key {condition.get('Key')!r}: {_TAG_KEY}...")
    return tuple((condition["Key"].removeprefix(_TAG_KEY), condition["Value"]) for condition in conditions)


def _key_values(pairs: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"Key": f"{_TAG_KEY}{key}", "Value": value} for key, value in pairs]


def _overrides(given: Mapping[str, str]) -> dict[str, str]:
    spelling = {key.lower(): key for key in OVERRIDES}
    overrides: dict[str, str] = {}
    for key, value in given.items():
        if key.lower() not in spelling:
            raise InvalidParameterValueException(
                f"Restore metadata {key!r} cannot be overridden. For a table these can: {', '.join(OVERRIDES)}."
            )
        overrides[spelling[key.lower()]] = value
    encryption = check_choice("encryptionType", overrides.get("encryptionType"), ("Default", "KMS"))
    if key_arn := overrides.get("kmsMasterKeyArn"):
        if encryption != "KMS":
            raise InvalidParameterValueException("kmsMasterKeyArn can only be given with encryptionType KMS.")
        check_kms_key_arn(key_arn)
    return overrides
