"""What DynamoDB's own API shows of recovery points, and what it refuses on their account.

Plain recovery points are DynamoDB backups of the type AWS_BACKUP; advanced ones are none at all. Neither is deleted
by DynamoDB, only from its vault. While a backup runs its table stays.

See https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/UsageNotesAWS.html and
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ListBackups.html.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final

from moto.backup.models import backup_backends
from moto.core.responses import ActionResult
from moto.dynamodb.exceptions import BackupNotFoundException, MockValidationException, ResourceInUseException
from moto.dynamodb.responses import DynamoHandler, DynamoResult

from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.states import RecoveryPointStatus
from local_aws.tables import TableSnapshot

DEFAULT_LIMIT: Final = 100
_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "USER": frozenset({"USER"}),
    "SYSTEM": frozenset({"SYSTEM"}),
    "AWS_BACKUP": frozenset({"AWS_BACKUP"}),
    "ALL": frozenset({"USER", "SYSTEM"}),  # so says the API reference
}
_MARK: Final = "_local_aws_dynamodb_view"


def install() -> None:
    """Teach DynamoDB's API about recovery points. Safe to call twice."""
    if hasattr(DynamoHandler.list_backups, _MARK):
        return
    setattr(_list_backups, _MARK, True)
    handler: Any = DynamoHandler
    handler.list_backups = _list_backups
    handler.describe_backup = _unless_a_point(handler.describe_backup, _describe)
    handler.delete_backup = _unless_a_point(handler.delete_backup, _refuse_deletion)
    handler.delete_table = _unless_being_backed_up(handler.delete_table)


def _list_backups(self: DynamoHandler) -> ActionResult:
    wanted = _TYPES.get(self.body.get("BackupType") or "USER")
    if wanted is None:
        raise MockValidationException(f"Invalid BackupType: must be one of {', '.join(_TYPES)}.")
    summaries = [backup.summary for backup in self.dynamodb_backend.list_backups(self.body.get("TableName"))]
    summaries += [_summary(point) for point in _plain_points(self) if _is_of(point, self.body.get("TableName"))]
    after, before = _instant(self.body.get("TimeRangeLowerBound")), _instant(self.body.get("TimeRangeUpperBound"))
    matching = [
        summary
        for summary in summaries
        if summary["BackupType"] in wanted
        and (after is None or _aware(summary["BackupCreationDateTime"]) >= after)
        and (before is None or _aware(summary["BackupCreationDateTime"]) < before)
    ]
    return DynamoResult(_page(matching, self.body.get("ExclusiveStartBackupArn"), self.body.get("Limit")))


def _page(summaries: Iterable[dict[str, Any]], after_arn: str | None, limit: int | None) -> dict[str, Any]:
    ordered = sorted(summaries, key=lambda summary: str(summary["BackupArn"]))
    left = [summary for summary in ordered if after_arn is None or summary["BackupArn"] > after_arn]
    page = left[: limit or DEFAULT_LIMIT]
    result: dict[str, Any] = {"BackupSummaries": page}
    if len(page) < len(left):
        result["LastEvaluatedBackupArn"] = page[-1]["BackupArn"]
    return result


def _unless_a_point(
    stock: Callable[[DynamoHandler], ActionResult], answer: Callable[[RecoveryPoint], ActionResult]
) -> Callable[[DynamoHandler], ActionResult]:
    @wraps(stock)
    def handler(self: DynamoHandler) -> ActionResult:
        arn = str(self.body.get("BackupArn"))
        for point in _plain_points(self):
            if point.arn == arn:
                return answer(point)
        if arn not in self.dynamodb_backend.backups:  # an advanced one's ARN, too
            raise BackupNotFoundException(arn)
        return stock(self)

    return handler


def _unless_being_backed_up(stock: Callable[[DynamoHandler], ActionResult]) -> Callable[[DynamoHandler], ActionResult]:
    @wraps(stock)
    def delete_table(self: DynamoHandler) -> ActionResult:
        name = str(self.body.get("TableName")).rsplit("/", 1)[-1]
        table = self.dynamodb_backend.tables.get(name)
        if table is not None and _backend(self).backup_jobs.is_busy_with(table.table_arn):
            raise ResourceInUseException(
                f"Attempt to change a resource which is still in use: Table is being backed up: {name}"
            )
        return stock(self)

    return delete_table


def _describe(point: RecoveryPoint) -> ActionResult:
    return DynamoResult({"BackupDescription": _description(point)})


def _refuse_deletion(point: RecoveryPoint) -> ActionResult:
    # AWS documents that it cannot be deleted here, and not with which error.
    raise MockValidationException(
        f"Backup {point.arn} was made by AWS Backup and cannot be deleted by DynamoDB."
        f" Delete it from backup vault {point.vault.backup_vault_name}."
    )


def _plain_points(handler: DynamoHandler) -> list[RecoveryPoint]:
    return [point for point in _backend(handler).recovery_points if not point.advanced]


def _backend(handler: DynamoHandler) -> Any:
    return backup_backends[handler.current_account][handler.region]


def _is_of(point: RecoveryPoint, table: str | None) -> bool:
    return table is None or table in (point.table_name, point.resource_arn)


def _details(point: RecoveryPoint) -> dict[str, Any]:
    making = point.status is RecoveryPointStatus.CREATING
    return {
        "BackupArn": point.arn,
        "BackupName": f"awsbackup-{point.arn.rpartition('/')[2]}",
        "BackupSizeBytes": point.size_bytes or 0,
        "BackupStatus": "CREATING" if making else "AVAILABLE",
        "BackupType": "AWS_BACKUP",
        "BackupCreationDateTime": point.created_at,
    }


def _summary(point: RecoveryPoint) -> dict[str, Any]:
    return _details(point) | {
        "TableName": point.table_name,
        "TableArn": point.resource_arn,
        "TableId": point.snapshot.table_id,
    }


def _description(point: RecoveryPoint) -> dict[str, Any]:
    snapshot: TableSnapshot = point.snapshot
    return {
        "BackupDetails": _details(point),
        "SourceTableDetails": {
            "TableName": snapshot.table_name,
            "TableArn": snapshot.table_arn,
            "TableId": snapshot.table_id,
            "KeySchema": [dict(element) for element in snapshot.key_schema],
            "TableCreationDateTime": snapshot.taken_at,
            "ProvisionedThroughput": dict(snapshot.throughput) or {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
            "BillingMode": snapshot.billing_mode,
            "ItemCount": snapshot.item_count,
            "TableSizeBytes": point.size_bytes or 0,
        },
    }


def _instant(given: Any) -> datetime | None:
    if given is None:
        return None
    return _aware(given) if isinstance(given, datetime) else datetime.fromtimestamp(float(given), UTC)


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
