"""A recovery point, as far as retention needs to know it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

DYNAMODB = "DynamoDB"


class RecoveryPointFormatError(ValueError):
    """An answer of AWS Backup lacks what retention has to know of a recovery point."""


@dataclass(frozen=True)
class RecoveryPoint:
    """One recovery point.

    Attributes:
        arn: its ARN.
        table_name: the table it was made of.
        status: as AWS Backup gives it: COMPLETED, AVAILABLE, EXPIRED, ...
        created_at: when it was made (aware).
        managed: whether this project made it, by its tag or by the project's own records.
        vault_name: the vault it lies in.
        resource_type: ``DynamoDB`` for a table.
        size_bytes: its size, if AWS says it.
    """

    arn: str
    table_name: str
    status: str
    created_at: dt.datetime
    managed: bool
    vault_name: str = ""
    resource_type: str = DYNAMODB
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None:
            raise RecoveryPointFormatError(f"The creation time of {self.arn} has no time zone.")

    @classmethod
    def from_api(cls, response: Mapping[str, Any], *, managed: bool) -> Self:
        """Take a recovery point from an answer of AWS Backup.

        Args:
            response: a member of ListRecoveryPointsByBackupVault, or the answer of DescribeRecoveryPoint.
                https://docs.aws.amazon.com/aws-backup/latest/devguide/API_RecoveryPointByBackupVault.html
            managed: whether this project made it.

        Raises:
            RecoveryPointFormatError: if ARN, resource, status or creation time are missing.
        """
        try:
            resource_arn: str = response["ResourceArn"]
            return cls(
                arn=response["RecoveryPointArn"],
                table_name=table_name_of(resource_arn),
                status=response["Status"],
                created_at=response["CreationDate"],
                managed=managed,
                vault_name=response.get("BackupVaultName", ""),
                resource_type=response.get("ResourceType", DYNAMODB),
                size_bytes=response.get("BackupSizeInBytes"),
            )
        except KeyError as error:
            raise RecoveryPointFormatError(
                f"AWS Backup gave no {error.args[0]} for recovery point {response.get('RecoveryPointArn', '(no ARN)')}."
            ) from error


def table_name_of(resource_arn: str) -> str:
    """Return the table's name from its ARN; of a resource that is no table, the whole ARN."""
    head, found, name = resource_arn.partition(":table/")
    return name if found and ":dynamodb:" in f"{head}:" else resource_arn
