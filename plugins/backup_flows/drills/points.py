"""The recovery points that a drill may choose from, over all vaults. No Airflow DAG code here."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from aws_backup.hooks.backup import BackupHook
from aws_backup.states import Outcome, StateKind, classify
from backup_flows.drills.errors import RecoveryPointGoneError, RecoveryPointNotUsableError
from recovery_retention.recovery_point import DYNAMODB, table_name_of

log = logging.getLogger(__name__)

DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})


@dataclass(frozen=True)
class Point:
    """A recovery point of a DynamoDB table.

    Attributes:
        created_at: when its backup was started (aware); what a backup holds is of about this moment.
        completed_at: when its backup had ended, if AWS says it.
        delete_at: when AWS's lifecycle deletes it; None: never, or not known.
    """

    arn: str
    table: str
    table_arn: str
    vault: str
    status: str
    created_at: dt.datetime
    completed_at: dt.datetime | None = None
    delete_at: dt.datetime | None = None
    size_bytes: int | None = None

    @classmethod
    def from_api(cls, answer: Mapping[str, Any], *, vault: str) -> Point:
        """Take a point from DescribeRecoveryPoint or a member of ListRecoveryPointsByBackupVault.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/API_RecoveryPointByBackupVault.html
        """
        return cls(
            arn=answer["RecoveryPointArn"],
            table=table_name_of(answer["ResourceArn"]),
            table_arn=answer["ResourceArn"],
            vault=answer.get("BackupVaultName") or vault,
            status=answer["Status"],
            created_at=answer["CreationDate"],
            completed_at=answer.get("CompletionDate"),
            delete_at=(answer.get("CalculatedLifecycle") or {}).get("DeleteAt"),
            size_bytes=answer.get("BackupSizeInBytes"),
        )

    @property
    def usable(self) -> bool:
        """Whether it can be restored: COMPLETED or AVAILABLE, and none of CREATING, PARTIAL, EXPIRED, DELETING."""
        return classify(StateKind.RECOVERY_POINT, self.status) is Outcome.SUCCESS

    def to_dict(self) -> dict[str, Any]:
        """Return the point as JSON-ready values, as the tasks of a drill hand it on."""
        return {
            "recovery_point_arn": self.arn,
            "table": self.table,
            "table_arn": self.table_arn,
            "vault": self.vault,
            "status": self.status,
            "created_at": self.created_at.isoformat(),
            "completed_at": self.completed_at.isoformat() if self.completed_at else None,
            "delete_at": self.delete_at.isoformat() if self.delete_at else None,
            "size_bytes": self.size_bytes,
        }


def vault_names(hook: BackupHook) -> list[str]:
    """Return the names of all vaults of the account and Region.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupVaults.html
    """
    pages = hook.client.get_paginator("list_backup_vaults").paginate()
    return [vault["BackupVaultName"] for page in pages for vault in page["BackupVaultList"]]


def list_points(hook: BackupHook, *, table_arn: str | None = None) -> Iterator[Point]:
    """Yield the recovery points of DynamoDB tables in all vaults, whatever their status.

    A vault that may not be looked into is left out, with a warning: its points could not be restored either.

    :param table_arn: only those of this table.
    """
    filters = {"ByResourceArn": table_arn} if table_arn else {"ByResourceType": DYNAMODB}
    for vault in vault_names(hook):
        try:
            for answer in hook.list_recovery_points(vault, **filters):
                yield Point.from_api(answer, vault=vault)
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED:
                raise
            log.warning("Vault %s may not be looked into, so its recovery points are left out: %s", vault, error)


def find_point(hook: BackupHook, arn: str, *, vault: str | None = None) -> Point:
    """Return a recovery point by its ARN.

    :param vault: where it is looked for first; all vaults otherwise.
    :raises RecoveryPointGoneError: no vault holds it.
    """
    answer = hook.find_recovery_point(vault, arn) if vault else None
    if vault and answer is not None:
        return Point.from_api(answer, vault=vault)
    for name in vault_names(hook):
        answer = hook.find_recovery_point(name, arn)
        if answer is not None:
            return Point.from_api(answer, vault=name)
    raise RecoveryPointGoneError(
        f"no vault of this account and Region holds the recovery point {arn}: it was deleted, or its lifecycle has "
        "ended. Choose another one (AWS Backup > Vaults, or leave the ARN out to take the newest)."
    )


_REMEDIES: Final[Mapping[str, str]] = {
    "CREATING": "its backup still runs: try again when that has completed",
    "PARTIAL": "its backup did not complete: choose another one",
    "EXPIRED": "its lifecycle has ended and AWS could not delete it: choose another one, and delete this one by hand",
    "DELETING": "it is being deleted: choose another one",
    "STOPPED": "its continuous backup was stopped: choose another one",
}


def ensure_usable(point: Point) -> Point:
    """Return the point if it can be restored.

    :raises RecoveryPointNotUsableError: names its status and the remedy.
    """
    if not point.usable:
        remedy = _REMEDIES.get(point.status, "choose another one")
        raise RecoveryPointNotUsableError(f"recovery point {point.arn} of {point.table} is {point.status}: {remedy}.")
    if table_name_of(point.table_arn) == point.table_arn:
        raise RecoveryPointNotUsableError(
            f"recovery point {point.arn} is of {point.table_arn}, which is no DynamoDB table: give one of a table."
        )
    return point
