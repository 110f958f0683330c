"""Snapshots of DynamoDB tables, and tables made from them: what AWS Backup's data plane needs of moto.

A snapshot costs O(items) references and no copies. That is safe because
`local_aws.moto_fixes.copy_on_write` never changes a stored item in place: a write replaces the item, and
the snapshot keeps the one it saw.

Each function takes `local_aws.moto_fixes.locking.state_lock`, which guards all requests, so that a snapshot
is one instant of the table even while many clients write.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import Any, Final, Literal, cast

from moto.core.exceptions import JsonRESTError, ServiceException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.kms.models import kms_backends

from local_aws.moto_fixes import item_size, table_status, write_journal
from local_aws.moto_fixes.locking import state_lock

EncryptionType = Literal["Default", "KMS"]

_ENCRYPTION_TYPES: Final = ("Default", "KMS")


class TableError(Exception):
    """Base of what can go wrong with a table here."""


class TableNotFound(TableError, KeyError):
    """The table does not exist in that account and region."""

    def __init__(self, table_name: str, region: str) -> None:
        super().__init__(table_name, region)
        self.table_name = table_name
        self.region = region

    def __str__(self) -> str:
        return f"No DynamoDB table {self.table_name!r} in {self.region}. Create it, or correct the name."


class TableAlreadyExists(TableError):
    """A restore never overwrites: its target must not exist."""

    def __init__(self, table_name: str, region: str) -> None:
        super().__init__(table_name, region)
        self.table_name = table_name
        self.region = region

    def __str__(self) -> str:
        return f"Table already exists: {self.table_name} ({self.region}). Restore to a new name, or delete it."


class TableProtected(TableError):
    """The table has deletion protection."""

    def __init__(self, table_name: str) -> None:
        super().__init__(table_name)
        self.table_name = table_name

    def __str__(self) -> str:
        return f"Table {self.table_name} has deletion protection. Turn that off to delete it."


class EncryptionKeyNotFound(TableError):
    """The customer key named for a restored table does not exist."""

    def __init__(self, kms_key_arn: str) -> None:
        super().__init__(kms_key_arn)
        self.kms_key_arn = kms_key_arn

    def __str__(self) -> str:
        return f"KMS key {self.kms_key_arn} not found. Name an existing key, or leave kmsMasterKeyArn out."


class JournalTooShort(TableError):
    """A snapshot was asked for further back than the write journal reaches."""

    def __init__(self, skew: timedelta, window: timedelta | None) -> None:
        super().__init__(skew, window)
        self.skew = skew
        self.window = window

    def __str__(self) -> str:
        kept = "is off" if self.window is None else f"keeps {self.window}"
        return (
            f"A snapshot {self.skew} before its request needs that much write journal, which {kept}. "
            f"Call keep_write_journal({self.skew!r}) first."
        )


@dataclass(frozen=True)
class TableSnapshot:
    """A table's content and settings at one instant. Never changes, whatever becomes of the table.

    Attributes:
        taken_at: The instant it shows (timezone-aware): the request's time, less the skew.
        item_count: Exact, unlike DescribeTable's ItemCount on AWS.
        size_bytes: Bytes of all items by AWS's own rules, worked out on first use and outside the state lock.
        tags: The table's tags as they were. A restore does not bring them back by itself.
        sse_specification: As moto keeps it (Enabled, SSEType, KMSMasterKeyId), None for the key that AWS
        owns.
    """

    table_name: str
    table_arn: str
    table_id: str
    taken_at: datetime
    item_count: int
    tags: dict[str, str]
    billing_mode: str
    table_class: str | None
    sse_specification: Mapping[str, Any] | None
    key_schema: tuple[Mapping[str, str], ...]
    attribute_definitions: tuple[Mapping[str, str], ...]
    throughput: Mapping[str, int]
    global_indexes: tuple[Mapping[str, Any], ...]
    local_indexes: tuple[Mapping[str, Any], ...]
    _rows: Mapping[DynamoType, Any] = field(repr=False, compare=False)

    @cached_property
    def size_bytes(self) -> int:
        return sum(item_size.stored_size(item) for item in self._items())

    def items_as_json(self) -> list[dict[str, Any]]:
        """Return every item as DynamoDB JSON, for tests and reports; copies, so slow on large tables."""
        return [deepcopy(item.to_json()["Attributes"]) for item in self._items()]

    @property
    def has_range_key(self) -> bool:
        return any(element["KeyType"] == "RANGE" for element in self.key_schema)

    def _items(self) -> "chain[Item] | list[Item]":
        if self.has_range_key:
            return chain.from_iterable(row.values() for row in self._rows.values())
        return list(self._rows.values())


def keep_write_journal(window: timedelta | None) -> None:
    """Keep each table's writes of the last `window` for snapshots with a skew; None, the default: none.

    A write made before the call is in every snapshot. So switch it on before the first write, with the
    longest skew that is going to be asked for. Memory: one reference to the replaced item for each write
    inside the window.
    """
    with state_lock:
        write_journal.keep(window)


def use_clock(clock: Callable[[], datetime] | None) -> None:
    """Take the journal's times (timezone-aware datetimes) from `clock`; None: from the machine's clock."""
    with state_lock:
        write_journal.use_clock(clock)


def snapshot_table(
    account_id: str, region: str, table_name: str, *, now: datetime, skew: timedelta = timedelta(0)
) -> TableSnapshot:
    """Take a consistent snapshot of a table: content, keys, indexes, throughput, encryption, tags.

    See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateBackup.html: a backup holds
    what was committed up to a minute before the request, and nothing is promised of the minute around it.

    Args:
        account_id: Account that owns the table.
        region: Region of the table.
        table_name: Name or ARN.
        now: Time of the request, timezone-aware, from the clock given to `use_clock`.
        skew: Leave out what was written during this time before `now`.

    Raises:
        TableNotFound: No such table.
        JournalTooShort: `skew` reaches further back than the write journal.
    """
    if now.tzinfo is None:
        raise ValueError(f"now must be timezone-aware, got {now!r}")
    with state_lock:
        table = _table(account_id, region, table_name)
        rows = _rows_by_reference(table)
        if skew > timedelta(0):
            window = write_journal.window(table)
            if window is None or window < skew:
                raise JournalTooShort(skew, window)
            _undo_writes_after(table, rows, now - skew)
        return _snapshot(table, rows, now - skew)


def begin_restore(
    account_id: str,
    region: str,
    snapshot: TableSnapshot,
    target_table_name: str,
    *,
    encryption_type: str | None,
    kms_key_arn: str | None,
    tags: Mapping[str, str] | None,
    source_backup_arn: str | None,
    now: datetime,
) -> str:
    """Make a table from a snapshot; it is CREATING, and serves no item, until `finish_restore`.

    It gets items, keys, indexes, throughput and billing mode of the snapshot. It gets no TTL, stream,
    point-in-time recovery, deletion protection, auto scaling or tags (but the given ones): AWS brings none
    of them back, see https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CreateBackup.html and
    https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-dynamodb.html.

    Args:
        account_id: Account to restore into.
        region: Region to restore into.
        snapshot: What to restore.
        target_table_name: Name of the new table.
        encryption_type: "Default" (the key that AWS owns), "KMS", or None: as the source table was encrypted.
        kms_key_arn: Customer key, only with "KMS"; without it "KMS" means the key that AWS manages for
        DynamoDB.
        tags: Tags for the new table.
        source_backup_arn: Shown in the table's RestoreSummary; None: restored from no backup, to a point in time.
        now: Time of the request, timezone-aware; the table's creation time.

    Returns:
        ARN of the new table.

    Raises:
        TableAlreadyExists: A table of that name exists, in whatever state.
        EncryptionKeyNotFound: `kms_key_arn` names no key.
        ValueError: The two encryption arguments contradict each other.
    """
    _check_encryption(encryption_type, kms_key_arn)
    with state_lock:
        backend = _backend(account_id, region)
        if target_table_name in backend.tables:
            raise TableAlreadyExists(target_table_name, region)
        table: Table = cast("Any", Table)(  # moto leaves it abstract on paper
            target_table_name,
            account_id=account_id,
            region=region,
            schema=deepcopy(list(snapshot.key_schema)),
            attr=deepcopy(list(snapshot.attribute_definitions)),
            throughput=dict(snapshot.throughput) or None,
            billing_mode=snapshot.billing_mode,
            indexes=deepcopy(list(snapshot.local_indexes)),
            global_indexes=deepcopy(list(snapshot.global_indexes)),
            sse_specification=_encryption_of_restored(snapshot, encryption_type, kms_key_arn),
            tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
        )
        table.created_at = now
        table.items = _shared_rows(snapshot)
        table_status.set_table_class(table, snapshot.table_class)
        table_status.mark_restoring(
            table,
            source_backup_arn=source_backup_arn,
            source_table_arn=snapshot.table_arn,
            backed_up_at=snapshot.taken_at,
        )
        table_status.table_id(table)  # drawn now, not by whoever asks first
        backend.tables[target_table_name] = table
        return str(table.table_arn)


def finish_restore(account_id: str, region: str, target_table_name: str, *, now: datetime) -> None:
    """Make a table that `begin_restore` made ACTIVE, its indexes too.

    Args:
        account_id: As for `begin_restore`.
        region: As for `begin_restore`.
        target_table_name: As for `begin_restore`.
        now: When the restore ended. DescribeTable shows nothing of it: RestoreDateTime is the backup's time.

    Raises:
        TableNotFound: It was deleted meanwhile.
    """
    with state_lock:
        table_status.mark_restored(_table(account_id, region, target_table_name))


def delete_table(account_id: str, region: str, table_name: str) -> None:
    """Delete a table, as DynamoDB's DeleteTable does.

    Raises:
        TableNotFound: No such table.
        TableProtected: It has deletion protection.
    """
    with state_lock:
        table = _table(account_id, region, table_name)
        if table.deletion_protection_enabled:
            raise TableProtected(table_name)
        _backend(account_id, region).delete_table(table.name)


def table_exists(account_id: str, region: str, table_name: str) -> bool:
    """Tell whether a table of that name or ARN exists, in whatever state."""
    try:
        with state_lock:
            _table(account_id, region, table_name)
    except TableNotFound:
        return False
    return True


def table_tags(account_id: str, region: str, table_name: str) -> dict[str, str]:
    """Return the tags of a table.

    Raises:
        TableNotFound: No such table.
    """
    with state_lock:
        return _tags_of(_table(account_id, region, table_name))


def tags_of_tables(account_id: str, region: str) -> dict[str, dict[str, str]]:
    """Return the tags of all tables of an account and Region, by ARN."""
    with state_lock:
        return {table.table_arn: _tags_of(table) for table in _backend(account_id, region).tables.values()}


def table_state(account_id: str, region: str, table_name: str) -> str:
    """Return TableStatus, "ACTIVE" or "CREATING" (a restore under way).

    Raises:
        TableNotFound: No such table.
    """
    with state_lock:
        return table_status.status_of(_table(account_id, region, table_name))


def _backend(account_id: str, region: str) -> DynamoDBBackend:
    return dynamodb_backends[account_id][region]


def _table(account_id: str, region: str, table_name: str) -> Table:
    tables = _backend(account_id, region).tables
    if found := tables.get(table_name):
        return found
    for table in tables.values():
        if table.table_arn == table_name:
            return table
    raise TableNotFound(table_name, region)


def _tags_of(table: Table) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in table.tags}


def _rows_by_reference(table: Table) -> dict[DynamoType, Any]:
    # A read of a missing key leaves an empty row behind in moto (defaultdict); it holds nothing, so it is
    # no row.
    if table.has_range_key:
        return {hash_key: dict(row) for hash_key, row in table.items.items() if row}
    return dict(table.items)


def _undo_writes_after(table: Table, rows: dict[DynamoType, Any], instant: datetime) -> None:
    for write in write_journal.writes_after(table, instant):
        if write.range_key is not None:
            row = rows.setdefault(write.hash_key, {})
            _put_back(row, write.range_key, write.before)
            if not row:
                del rows[write.hash_key]
        else:
            _put_back(rows, write.hash_key, write.before)


def _put_back(row: dict[DynamoType, Any], key: DynamoType, before: Item | None) -> None:
    if before is None:
        row.pop(key, None)
    else:
        row[key] = before


def _snapshot(table: Table, rows: dict[DynamoType, Any], taken_at: datetime) -> TableSnapshot:
    on_demand = table.billing_mode == "PAY_PER_REQUEST"
    return TableSnapshot(
        table_name=table.name,
        table_arn=table.table_arn,
        table_id=table_status.table_id(table),
        taken_at=taken_at,
        item_count=sum(len(row) for row in rows.values()) if table.has_range_key else len(rows),
        tags=_tags_of(table),
        billing_mode=table.billing_mode or "PROVISIONED",
        table_class=table_status.table_class(table),
        sse_specification=deepcopy(table.sse_specification),
        key_schema=tuple(deepcopy(table.schema)),
        attribute_definitions=tuple(deepcopy(table.attr)),
        throughput={} if on_demand else _capacity(table.throughput),
        global_indexes=tuple(_index_definition(index, on_demand) for index in table.global_indexes),
        local_indexes=tuple(deepcopy(index.describe()) for index in table.indexes),
        _rows=rows,
    )


def _capacity(throughput: Mapping[str, Any]) -> dict[str, int]:
    return {unit: int(throughput[unit]) for unit in ("ReadCapacityUnits", "WriteCapacityUnits")}


def _index_definition(index: Any, on_demand: bool) -> dict[str, Any]:
    definition = {"IndexName": index.name, "KeySchema": index.schema, "Projection": index.projection}
    if not on_demand:
        definition["ProvisionedThroughput"] = _capacity(index.throughput)
    return deepcopy(definition)


def _shared_rows(snapshot: TableSnapshot) -> Any:
    # New dicts, the same items: the snapshot must survive both tables' writes, and items are never changed
    # in place.
    rows: defaultdict[DynamoType, Any] = defaultdict(dict)
    if snapshot.has_range_key:
        rows.update((hash_key, dict(row)) for hash_key, row in snapshot._rows.items())
    else:
        rows.update(snapshot._rows)
    return rows


def _check_encryption(encryption_type: str | None, kms_key_arn: str | None) -> None:
    if encryption_type is not None and encryption_type not in _ENCRYPTION_TYPES:
        raise ValueError(f"encryptionType must be one of {_ENCRYPTION_TYPES}, got {encryption_type!r}")
    if kms_key_arn and encryption_type != "KMS":
        raise ValueError(f"kmsMasterKeyArn goes with encryptionType KMS only, got {encryption_type!r}")


def _encryption_of_restored(
    snapshot: TableSnapshot, encryption_type: str | None, kms_key_arn: str | None
) -> dict[str, Any] | None:
    if encryption_type == "Default":
        return None
    if encryption_type is None:
        return cast("dict[str, Any] | None", deepcopy(snapshot.sse_specification))
    specification = {"Enabled": True, "SSEType": "KMS"}
    if kms_key_arn:
        _check_key_exists(kms_key_arn)
        specification["KMSMasterKeyId"] = kms_key_arn
    return specification


def _check_key_exists(kms_key_arn: str) -> None:
    try:
        _, _, _, region, account_id, _ = kms_key_arn.split(":", 5)
        kms_backends[account_id][region].describe_key(kms_key_arn)
    except (ValueError, KeyError, JsonRESTError, ServiceException) as error:
        raise EncryptionKeyNotFound(kms_key_arn) from error
