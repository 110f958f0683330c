"""Cure: moto changes stored items in place, and its only snapshot is a deep copy of the whole table.

UpdateItem (expressions and legacy AttributeUpdates, alone or in a transaction) edits the stored `Item`, so
whoever holds a reference sees the change; an update that fails half way stays half done. Each transaction
and each native backup copies every item of the table, seconds for 100,000 items, with everybody else
waiting.

Here an update works on a copy that replaces the stored item only if all went well. So an item that was ever
stored never changes, whole tables can be kept by reference, and rolling back is putting references back.
PutItem, DeleteItem, BatchWriteItem and PartiQL replace whole items in moto already; moto does not expire
items by TTL.

Every write is reported to `local_aws.moto_fixes.write_journal`.
"""

from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from functools import wraps
from typing import Any, Final

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

from local_aws.moto_fixes import item_size, scan_order, write_journal
from local_aws.moto_fixes.locking import state_lock
from local_aws.moto_fixes.scan_order import current as find

_MARK: Final = "_local_aws_copy_on_write"


def store(table: Table, item: Item) -> None:
    """Put a finished item into `table`: journal, row and stream. Call with the state lock held."""
    before = find(table, item.hash_key, item.range_key)
    write_journal.record(table, item.hash_key, item.range_key, before)
    if before is None:
        scan_order.key_added(table, item)
    _place(table, item.hash_key, item.range_key, item)
    if table.stream_shard is not None:
        table.stream_shard.add(before, item)


def key_of(table: Table, attributes: Mapping[str, Any]) -> tuple[DynamoType, DynamoType | None] | None:
    """Return hash and range key found in `attributes`, None where one that the table needs is missing."""
    if any(name not in attributes for name in table.table_key_attrs):
        return None
    hash_key = DynamoType(attributes[table.hash_key_attr])
    if table.range_key_attr is None:
        return hash_key, None
    return hash_key, DynamoType(attributes[table.range_key_attr])


def install() -> None:
    """Never change a stored item in place. Safe to call twice."""
    if hasattr(Table.put_item, _MARK):
        return
    _install_put()
    _install_delete()
    _install_update()
    _install_transaction()
    Table.__deepcopy__ = _copy_table  # type: ignore[attr-defined]


def _place(table: Table, hash_key: DynamoType, range_key: DynamoType | None, item: Item) -> None:
    rows: Any = table.items
    if range_key is None:
        rows[hash_key] = item
    else:
        rows[hash_key][range_key] = item


def _take_out(table: Table, hash_key: DynamoType, range_key: DynamoType | None) -> None:
    rows: Any = table.items
    if range_key is None:
        rows.pop(hash_key, None)
    else:
        rows[hash_key].pop(range_key, None)


def _install_put() -> None:
    stock = Table.put_item

    @wraps(stock)
    def put_item(self: Table, item_attrs: dict[str, Any], *args: Any, **kwargs: Any) -> Item:
        with state_lock:
            key = key_of(self, item_attrs)
            before = find(self, *key) if key is not None else None
            item = stock(self, item_attrs, *args, **kwargs)
            write_journal.record(self, item.hash_key, item.range_key, before)
            if before is None:
                scan_order.key_added(self, item)
            return item

    setattr(put_item, _MARK, True)
    Table.put_item = put_item  # type: ignore[method-assign]


def _install_delete() -> None:
    stock = Table.delete_item

    @wraps(stock)
    def delete_item(self: Table, hash_key: DynamoType, range_key: DynamoType | None) -> Item | None:
        with state_lock:
            removed = stock(self, hash_key, range_key)
            if removed is not None:
                write_journal.record(self, hash_key, range_key, removed)
                scan_order.key_removed(self)
            if range_key is not None and not self.items.get(hash_key, True):
                del self.items[hash_key]  # the last item of its row: an empty row is only a leak
            return removed

    Table.delete_item = delete_item  # type: ignore[method-assign]


def _install_update() -> None:
    stock = DynamoDBBackend.update_item

    @wraps(stock)
    def update_item(
        self: DynamoDBBackend, table_name: str, key: dict[str, dict[str, Any]], *args: Any, **kwargs: Any
    ) -> Item:
        with state_lock:
            table = self.get_table(table_name)
            found = key_of(table, key)
            if found is None:
                return stock(self, table_name, key, *args, **kwargs)  # moto's own error for a bad key
            before = find(table, *found)
            if before is not None:
                _place(table, *found, deepcopy(before))
            try:
                item = stock(self, table_name, key, *args, **kwargs)
            except Exception:
                _undo_update(table, *found, before)
                raise
            if (stored := find(table, *found)) is not None:
                item_size.forget_size(stored)  # measured before moto changed it
            if before is not None:  # else moto has put the new item itself, and that was recorded
                write_journal.record(table, *found, before)
            return item

    DynamoDBBackend.update_item = update_item  # type: ignore[method-assign]


def _undo_update(table: Table, hash_key: DynamoType, range_key: DynamoType | None, before: Item | None) -> None:
    if before is not None:
        _place(table, hash_key, range_key, before)
    elif find(table, hash_key, range_key) is not None:
        scan_order.key_removed(table)
        _take_out(table, hash_key, range_key)  # the journal may keep its record: nothing was there before


def _install_transaction() -> None:
    stock = DynamoDBBackend.transact_write_items

    @wraps(stock)
    def transact_write_items(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        with state_lock, write_journal.one_instant():
            stock(self, transact_items)

    DynamoDBBackend.transact_write_items = transact_write_items  # type: ignore[method-assign]


def _copy_table(self: Table, memo: dict[int, Any]) -> Table:
    # What moto keeps to roll a transaction back, and what a native backup holds: all its own but the items,
    # which never change. The journal goes along, so that a rolled back transaction has never been written.
    twin: Table = object.__new__(type(self))
    memo[id(self)] = twin
    for name, value in self.__dict__.items():
        if name == "items":
            twin.items = _copy_rows(self)
        elif name == scan_order.ATTRIBUTE:
            continue  # it belongs to the rows of one table
        elif name == write_journal.ATTRIBUTE:
            twin.__dict__[name] = value.copy()
        else:
            twin.__dict__[name] = deepcopy(value, memo)
    return twin


def _copy_rows(table: Table) -> Any:
    rows: defaultdict[DynamoType, Any] = defaultdict(dict)
    if table.has_range_key:
        rows.update((hash_key, dict(row)) for hash_key, row in table.items.items())
    else:
        rows.update(table.items)
    return rows
