"""Which services AWS Backup may protect in this Region, and which it manages fully.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRegionSettings.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from local_aws.backup.exceptions import InvalidParameterValueException
from local_aws.backup.states import RESOURCE_TYPE

OPT_IN_TYPES: Final = (
    "Aurora",
    "CloudFormation",
    "DocumentDB",
    "DynamoDB",
    "EBS",
    "EC2",
    "EFS",
    "EKS",
    "FSx",
    "Neptune",
    "RDS",
    "Redshift",
    "Redshift Serverless",
    "S3",
    "SAP HANA on Amazon EC2",
    "Storage Gateway",
    "Timestream",
    "VirtualMachine",
)
MANAGEMENT_TYPES: Final = ("DynamoDB", "EFS")


@dataclass(frozen=True)
class OptInChange:
    """That some opt-in preferences were set: what UpdateRegionSettings named of them."""

    opt_in: Mapping[str, bool]


class RegionSettings:
    """Opt-in and management preferences. DynamoDB starts with both on, the rest with neither."""

    def __init__(self) -> None:
        self._opt_in = {name: name == RESOURCE_TYPE for name in OPT_IN_TYPES}
        self._management = {name: name == RESOURCE_TYPE for name in MANAGEMENT_TYPES}

    def opted_in(self, resource_type: str) -> bool:
        return self._opt_in[resource_type]

    def fully_managed(self, resource_type: str) -> bool:
        return self._management[resource_type]

    def update(self, opt_in: Mapping[str, bool] | None, management: Mapping[str, bool] | None) -> None:
        """Change some preferences and leave the rest.

        Raises:
            InvalidParameterValueException: An unknown resource type.
        """
        _check_known(opt_in or {}, self._opt_in)
        _check_known(management or {}, self._management)
        self._opt_in.update(opt_in or {})
        self._management.update(management or {})

    def to_result(self) -> dict[str, dict[str, bool]]:
        return {
            "ResourceTypeOptInPreference": dict(self._opt_in),
            "ResourceTypeManagementPreference": dict(self._management),
        }


def _check_known(given: Mapping[str, bool], known: Mapping[str, bool]) -> None:
    for name in given:
        if name not in known:
            raise InvalidParameterValueException(f"Invalid resource type {name!r}: must be one of {sorted(known)}.")
