"""Cure: a moto table is ACTIVE at once, has no TableId, and forgets table class and encryption changes.

AWS answers item requests on a table that is still CREATING with ResourceNotFoundException, refuses to
change or delete it with ResourceInUseException, and shows ``RestoreSummary.RestoreInProgress``. Tables made
by a restore get these states here; tables from CreateTable stay ACTIVE at once, as moto has it.

See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.dynamodb.exceptions import DynamodbException, ResourceInUseException, ResourceNotFoundException
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler, DynamoResult
from moto.moto_api._internal import mock_random

_RESTORE: Final = "local_aws_restore"
_TABLE_ID: Final = "local_aws_table_id"
_TABLE_CLASS: Final = "local_aws_table_class"
_MARK: Final = "_local_aws_table_status"

_ITEM_OPERATIONS: Final = (
    "put_item",
    "get_item",
    "update_item",
    "delete_item",
    "query",
    "scan",
    "batch_write_item",
    "batch_get_item",
    "transact_write_items",
    "transact_get_items",
)
_CHANGING_OPERATIONS: Final = ("delete_table", "update_table", "update_time_to_live")


class ContinuousBackupsUnavailable(DynamodbException):
    """AWS's answer to a point-in-time recovery change on a table that is being created."""

    def __init__(self, table_name: str) -> None:
        super().__init__(
            "com.amazonaws.dynamodb.v20120810#ContinuousBackupsUnavailableException",
            f"Backups are being enabled for the table: {table_name}. Please retry later",
        )


@dataclass(frozen=True)
class _Restore:
    source_backup_arn: str | None
    source_table_arn: str
    backed_up_at: datetime
    in_progress: bool

    def summary(self) -> dict[str, Any]:
        backup = {"SourceBackupArn": self.source_backup_arn} if self.source_backup_arn is not None else {}
        return {
            **backup,
            "SourceTableArn": self.source_table_arn,
            "RestoreDateTime": self.backed_up_at,
            "RestoreInProgress": self.in_progress,
        }


def mark_restoring(
    table: Table, *, source_backup_arn: str | None, source_table_arn: str, backed_up_at: datetime
) -> None:
    """Make `table` CREATING, being restored from that backup."""
    restore = _Restore(source_backup_arn, source_table_arn, backed_up_at, in_progress=True)
    setattr(table, _RESTORE, restore)


def mark_restored(table: Table) -> None:
    """Make `table` ACTIVE, if it was being restored."""
    restore: _Restore | None = getattr(table, _RESTORE, None)
    if restore is not None:
        setattr(table, _RESTORE, replace(restore, in_progress=False))


def status_of(table: Table) -> str:
    """Return TableStatus."""
    restore: _Restore | None = getattr(table, _RESTORE, None)
    return "CREATING" if restore is not None and restore.in_progress else "ACTIVE"


def table_id(table: Table) -> str:
    """Return the table's TableId, given once: a table made again under its old name has another one."""
    identifier: str = table.__dict__.setdefault(_TABLE_ID, str(mock_random.uuid4()))
    return identifier


def table_class(table: Table) -> str | None:
    """Return STANDARD or STANDARD_INFREQUENT_ACCESS, None where it was never named."""
    return getattr(table, _TABLE_CLASS, None)


def set_table_class(table: Table, name: str | None) -> None:
    """Set the table class; None keeps what it is."""
    if name is not None:
        setattr(table, _TABLE_CLASS, name)


def set_encryption(table: Table, specification: Mapping[str, Any]) -> None:
    """Apply an SSESpecification (Enabled, SSEType, KMSMasterKeyId) as UpdateTable does."""
    if not specification.get("Enabled"):
        table.sse_specification = None
        return
    table.sse_specification = dict(specification)
    if "KMSMasterKeyId" not in table.sse_specification:
        default_key = table._get_default_encryption_key(table.account_id, table.region_name)
        table.sse_specification["KMSMasterKeyId"] = default_key


def install() -> None:
    """Teach moto table states, ids, classes and encryption changes. Safe to call twice."""
    if hasattr(Table.describe, _MARK):
        return
    _install_describe()
    for operation in _ITEM_OPERATIONS:
        _guard(operation, _refuse_items)
    for operation in _CHANGING_OPERATIONS:
        _guard(operation, _refuse_changes)
    _guard("update_continuous_backups", _refuse_continuous_backups)
    _install_table_settings()


def _install_describe() -> None:
    stock = Table.describe

    @wraps(stock)
    def describe(self: Table, base_key: str = "TableDescription") -> dict[str, Any]:
        result = stock(self, base_key)
        description = result[base_key]
        description["TableId"] = table_id(self)
        description["TableStatus"] = status_of(self)
        # moto hands out the index's own dicts here; what is added below must not end up in them.
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            description[kind] = [_describe_index(self, copy(index)) for index in description[kind]]
        if (restore := getattr(self, _RESTORE, None)) is not None:
            description["RestoreSummary"] = restore.summary()
        if (name := table_class(self)) is not None:
            description["TableClassSummary"] = {"TableClass": name}
        return result

    setattr(describe, _MARK, True)
    Table.describe = describe  # type: ignore[method-assign]


def _describe_index(table: Table, index: dict[str, Any]) -> dict[str, Any]:
    index["IndexArn"] = f"{table.table_arn}/index/{index['IndexName']}"
    if status_of(table) == "CREATING" and "IndexStatus" in index:
        index["IndexStatus"] = "CREATING"
    return index


def _guard(operation: str, refuse: Callable[[DynamoDBBackend, str], None]) -> None:
    stock: Callable[[DynamoHandler], ActionResult] = getattr(DynamoHandler, operation)

    @wraps(stock)
    def guarded(self: DynamoHandler) -> ActionResult:
        for table_name in _tables_named(self.body):
            refuse(self.dynamodb_backend, table_name)
        return stock(self)

    setattr(DynamoHandler, operation, guarded)


def _tables_named(body: Mapping[str, Any]) -> Iterator[str]:
    if "TableName" in body:
        yield body["TableName"]
    yield from body.get("RequestItems", ())
    for entry in body.get("TransactItems", ()):
        yield from (operation["TableName"] for operation in entry.values() if "TableName" in operation)


def _is_creating(backend: DynamoDBBackend, table_name: str) -> bool:
    table = backend.tables.get(table_name.rsplit("/", 1)[-1])
    return table is not None and status_of(table) == "CREATING"


def _refuse_items(backend: DynamoDBBackend, table_name: str) -> None:
    if _is_creating(backend, table_name):
        raise ResourceNotFoundException()


def _refuse_changes(backend: DynamoDBBackend, table_name: str) -> None:
    if _is_creating(backend, table_name):
        raise ResourceInUseException(
            f"Attempt to change a resource which is still in use: Table is being created: {table_name}"
        )


def _refuse_continuous_backups(backend: DynamoDBBackend, table_name: str) -> None:
    if _is_creating(backend, table_name):
        raise ContinuousBackupsUnavailable(table_name)


def _install_table_settings() -> None:
    for operation in ("create_table", "update_table"):
        _keep_settings(operation)


def _keep_settings(operation: str) -> None:
    stock: Callable[[DynamoHandler], ActionResult] = getattr(DynamoHandler, operation)

    @wraps(stock)
    def keep_settings(self: DynamoHandler) -> ActionResult:
        stock(self)
        table = self.dynamodb_backend.get_table(self.body["TableName"])
        set_table_class(table, self.body.get("TableClass"))
        if operation == "update_table" and (specification := self.body.get("SSESpecification")):
            set_encryption(table, specification)
        return DynamoResult(table.describe())

    setattr(DynamoHandler, operation, keep_settings)
