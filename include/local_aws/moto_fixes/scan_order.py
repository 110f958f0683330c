"""The order in which a table is scanned, kept from page to page instead of being made anew for each.

A table that has been scanned carries a sorted list of its items. A new key is put into it when the next page is
asked for; a deleted one stays until then as a gap. Replaced items are looked up when their turn comes, so a slot
may show an item as it once was, but always its key.

`local_aws.moto_fixes.copy_on_write` reports every key that comes or goes. Call all of this with the state lock
held.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import chain
from typing import Any, Final

from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

ATTRIBUTE: Final = "local_aws_scan_order"
"""Name under which a table carries its order; a copy of the table must not take it along."""

_FEW: Final = 500
"""Up to so many new keys are put in one by one; more are sorted in with all others."""

_SPARSE: Final = 1000
"""From so many gaps on an order is made anew, if half of it is gaps."""


class ScanOrder:
    """A table's items by key.

    Args:
        table: The table as it is now.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._key = _key_function(table)
        self._items: list[Item] = []
        self._new: list[Item] = []
        self._gaps = 0
        self._make()

    def added(self, item: Item) -> None:
        self._new.append(item)

    def removed(self) -> None:
        self._gaps += 1

    def after(self, start_key: Mapping[str, Any] | None) -> Iterator[Item]:
        """Yield what follows a key, or all, as it is stored now."""
        self._settle()
        items = self._items
        position = bisect_right(items, _position(self._table, start_key), key=self._key) if start_key else 0
        for index in range(position, len(items)):
            slot = items[index]
            item = current(self._table, slot.hash_key, slot.range_key)
            if item is not None:
                items[index] = item  # what it replaced can be let go
                yield item

    def _settle(self) -> None:
        if self._gaps > _SPARSE and self._gaps > len(self._items) // 2:
            self._make()
        elif len(self._new) > _FEW:
            # Old and new are one sorted run each but for the new ones' own order: cheap to merge.
            self._items.extend(sorted(self._new, key=self._key))
            self._items.sort(key=self._key)
            self._items = list(_without_doubles(self._items, self._key))
        else:
            for item in self._new:
                self._put(item)
        self._new = []

    def _make(self) -> None:
        rows: Any = self._table.items.values()
        items = chain.from_iterable(row.values() for row in rows) if self._table.has_range_key else rows
        self._items = sorted(items, key=self._key)
        self._gaps = 0

    def _put(self, item: Item) -> None:
        key = self._key(item)
        index = bisect_left(self._items, key, key=self._key)
        if index < len(self._items) and self._key(self._items[index]) == key:
            self._items[index] = item  # into the gap that it left when it was deleted
        else:
            self._items.insert(index, item)


def order_of(table: Table) -> ScanOrder:
    """Return the table's order, made now if it never was."""
    order: ScanOrder | None = table.__dict__.get(ATTRIBUTE)
    if order is None:
        order = ScanOrder(table)
        table.__dict__[ATTRIBUTE] = order
    return order


def key_added(table: Table, item: Item) -> None:
    """Report an item under a key that was not there."""
    if (order := table.__dict__.get(ATTRIBUTE)) is not None:
        order.added(item)


def key_removed(table: Table) -> None:
    """Report that a key is not there any more."""
    if (order := table.__dict__.get(ATTRIBUTE)) is not None:
        order.removed()


def current(table: Table, hash_key: DynamoType, range_key: DynamoType | None) -> Item | None:
    """Return the stored item of that key, without leaving an empty row behind as moto's own lookup does."""
    found: Any = table.items.get(hash_key)
    if range_key is not None and found is not None:
        found = found.get(range_key)
    return found  # type: ignore[no-any-return]


def _key_function(table: Table) -> Callable[[Item], Any]:
    if table.has_range_key:
        return lambda item: (_comparable(item.hash_key), _comparable(item.range_key))
    return lambda item: _comparable(item.hash_key)


def _comparable(key: DynamoType | None) -> Any:
    if key is None:
        return None
    return Decimal(key.value) if key.type == "N" else key.value


def _position(table: Table, start_key: Mapping[str, Any]) -> Any:
    hash_key = _comparable(DynamoType(start_key[table.hash_key_attr]))
    if table.range_key_attr is None:
        return hash_key
    return hash_key, _comparable(DynamoType(start_key[table.range_key_attr]))


def _without_doubles(items: list[Item], key_of: Callable[[Item], Any]) -> Iterator[Item]:
    # A key that was deleted and put again stands twice.
    before: Any = None
    for item in items:
        key = key_of(item)
        if key != before:
            yield item
        before = key
