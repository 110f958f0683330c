"""Restored tables that are wrong on demand: items lost, altered or added. A proof of restores must find each.

What is done to a table follows from its content and the seed alone, so a bad day can be played again.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table

from local_aws.moto_fixes import copy_on_write, scan_order
from local_aws.moto_fixes.locking import state_lock

ADDED_MARK: Final = "-added"
"""What is put behind a key to make an item that was never there."""


@dataclass(frozen=True)
class DataFault:
    """What the next restored table lacks, has wrong, or has too much.

    Attributes:
        table: Name of the table that the recovery point is of; None: any.
        lost: How many items are missing.
        altered: How many have one attribute changed, keys never.
        added: How many there are that never were.
        seed: Which items are chosen.

    Raises:
        ValueError: Nothing is wrong, or a number is not a whole one of zero or more.
    """

    table: str | None = None
    lost: int = 0
    altered: int = 0
    added: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.table, str | None):
            raise ValueError(f"table must be a table's name or null, got {self.table!r}")
        for name in ("lost", "altered", "added", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be a whole number of zero or more, got {value!r}")
        if not (self.lost or self.altered or self.added):
            raise ValueError("A restored table is spoiled by items lost, altered or added: name one of them.")


class DataFaults:
    """Faults that wait for a restore, oldest first. Call with the state lock held."""

    def __init__(self) -> None:
        self._waiting: list[DataFault] = []

    def add(self, fault: DataFault, count: int = 1) -> None:
        """Let the next `count` restores that it fits be spoiled."""
        self._waiting.extend([fault] * count)

    def take(self, table: str) -> DataFault | None:
        """Return and use up the oldest fault for a restore of `table`, if there is one."""
        for index, fault in enumerate(self._waiting):
            if fault.table in (None, table):
                return self._waiting.pop(index)
        return None

    def clear(self) -> None:
        self._waiting.clear()

    def as_list(self) -> list[dict[str, Any]]:
        return [{"kind": "spoil", **asdict(fault)} for fault in self._waiting]


DATA_FAULTS: Final = DataFaults()
"""The faults of this process's local AWS."""


def spoil(account_id: str, region: str, table_name: str, fault: DataFault) -> None:
    """Spoil a table: as many items as the fault says, or as there are."""
    random = Random(fault.seed)  # noqa: S311 - decides which test items are wrong, nothing secret
    with state_lock:
        table: Table = dynamodb_backends[account_id][region].tables[table_name]
        items = table.all_items()
        random.shuffle(items)
        lost, rest = items[: fault.lost], items[fault.lost :]
        for item in lost:
            table.delete_item(item.hash_key, item.range_key)
        for item in rest[: fault.altered]:
            table.put_item(_altered(table, item, random), overwrite=True)
        for number, item in enumerate(items[: fault.added]):
            table.put_item(_moved(table, item, number), overwrite=True)


def _attributes(item: Item) -> dict[str, Any]:
    return {name: value.to_regular_json() for name, value in item.attrs.items()}


def _altered(table: Table, item: Item, random: Random) -> dict[str, Any]:
    attributes = _attributes(item)
    free = sorted(set(attributes) - set(table.attribute_keys))
    if free:
        name = random.choice(free)
        attributes[name] = _another(attributes[name])
    else:
        attributes["altered"] = {"BOOL": True}
    return attributes


def _another(value: dict[str, Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    if kind == "N":
        return {"N": "1" if content == "0" else "0"}
    if kind == "BOOL":
        return {"BOOL": not content}
    changes: dict[str, Callable[[Any], Any]] = {
        "S": lambda text: f"{text}.",
        "B": lambda data: data + b".",
        "L": lambda elements: [*elements, {"NULL": True}],
        "M": lambda members: {**members, "altered": {"NULL": True}},
    }
    if kind in changes:
        return {kind: changes[kind](deepcopy(content))}
    return {"S": "altered"}  # a set or NULL: another type is another value


def _moved(table: Table, item: Item, number: int) -> dict[str, Any]:
    # A key of its own: the last one of the schema, with a mark that no other has.
    attributes = _attributes(item)
    name = table.range_key_attr or table.hash_key_attr
    ((kind, content),) = attributes[name].items()
    taken = True
    while taken:
        number += 1
        marked: dict[str, Any] = {
            "S": f"{content}{ADDED_MARK}-{number}",
            "N": str(number + 10**30),
            "B": (content if isinstance(content, bytes) else b"") + f"{ADDED_MARK}-{number}".encode(),
        }
        attributes[name] = {kind: marked[kind]}
        key = copy_on_write.key_of(table, attributes)
        taken = key is not None and scan_order.current(table, *key) is not None
    return attributes
