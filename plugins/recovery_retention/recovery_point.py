"""A recovery point, as far as retention needs to know it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
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
        tags: its tags, key and value.
        delete_at: when AWS's lifecycle deletes it; None: never, or not known.
        cold_after_days: after how many days from its making it goes to cold storage; None: never.
        cold_at: when it goes, or went, there.
        legal_holds: the legal holds on it, by identifier.
        resource_arn: ARN of the table; empty where it is not known, and the name has to do.
    """

    arn: str
    table_name: str
    status: str
    created_at: dt.datetime
    managed: bool
    vault_name: str = ""
    resource_type: str = DYNAMODB
    size_bytes: int | None = None
    tags: tuple[tuple[str, str], ...] = ()
    delete_at: dt.datetime | None = None
    cold_after_days: int | None = None
    cold_at: dt.datetime | None = None
    legal_holds: tuple[str, ...] = ()
    resource_arn: str = ""

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None:
            raise RecoveryPointFormatError(f"The creation time of {self.arn} has no time zone.")

    @property
    def group(self) -> tuple[str, str]:
        """Vault and table: only points of one group stand in for each other.

        A vault may hold copies of tables that other Regions or accounts call by the same name.
        """
        return self.vault_name, self.resource_arn or self.table_name

    @classmethod
    def from_api(
        cls,
        response: Mapping[str, Any],
        *,
        managed: bool,
        tags: Mapping[str, str] | None = None,
        legal_holds: Iterable[str] = (),
    ) -> Self:
        """Take a recovery point from an answer of AWS Backup.

        Args:
            response: a member of ListRecoveryPointsByBackupVault, or the answer of DescribeRecoveryPoint.
                https://docs.aws.amazon.com/aws-backup/latest/devguide/API_RecoveryPointByBackupVault.html
            managed: whether this project made it.
            tags: its tags, of which AWS tells apart (ListTags).
            legal_holds: identifiers of the legal holds on it, of which AWS tells apart too.

        Raises:
            RecoveryPointFormatError: if ARN, resource, status or creation time are missing.
        """
        calculated = response.get("CalculatedLifecycle") or {}
        cold_after = (response.get("Lifecycle") or {}).get("MoveToColdStorageAfterDays")
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
                tags=tuple(sorted((tags or {}).items())),
                delete_at=calculated.get("DeleteAt"),
                # -1 stands for never, as a left out number does.
                cold_after_days=cold_after if cold_after and cold_after > 0 else None,
                cold_at=calculated.get("MoveToColdStorageAt"),
                legal_holds=tuple(sorted(legal_holds)),
                resource_arn=resource_arn,
            )
        except KeyError as error:
            raise RecoveryPointFormatError(
                f"AWS Backup gave no {error.args[0]} for recovery point {response.get('RecoveryPointArn', '(no ARN)')}."
            ) from error


def table_name_of(resource_arn: str) -> str:
    """Return the table's name from its ARN; of a resource that is no table, the whole ARN."""
    head, found, name = resource_arn.partition(":table/")
    return name if found and ":dynamodb:" in f"{head}:" else resource_arn
