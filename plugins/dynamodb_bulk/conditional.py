"""One write that happens only if the item is still what it was seen to be.

Nothing can be asked of an item as a whole: a condition names attributes. So the write says of every attribute that the
item was seen with that it has that value, and of those that it adds that they are not there. What it can't name is
an attribute that somebody added meanwhile under a new name; where the item stays, it is therefore *updated*
attribute by attribute, which leaves such an attribute alone. The answer brings the item as it was before the write
(``ALL_OLD``), so that the caller can see whether it was the one expected.

DynamoDB's limits for an expression (4 KB of text, 300 operators and functions) leave room for `MAX_COMPARED`
attributes. Of an item with more of them, those that are written to come first, and the rest as far as there is room.
Where more than `MAX_COMPARED` attributes are written to, the item is put as a whole.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dynamodb_bulk.changes import Change

MAX_COMPARED = 100
"""Each takes at most two operators or functions and 31 bytes of the expression: 200 of 300, and 3.1 of 4 KB."""


@dataclass(frozen=True)
class ConditionalWrite:
    """A request that is ready to be sent.

    Attributes:
        operation: ``PutItem``, ``UpdateItem`` or ``DeleteItem``.
        body: the request as JSON.
        replaces: whether attributes that it does not know would be lost by it.
        complete: whether its condition speaks of every attribute that the item was seen with.
    """

    operation: str
    body: bytes
    replaces: bool
    complete: bool


def conditional_write(table: str, change: Change) -> ConditionalWrite:
    """Return the request that makes a change, on condition that the item is what the change says it was.

    Args:
        table: the table's name.
        change: what to make of which item.
    """
    old, new, key = change.old_item, change.new_item, change.key_item
    if old is None:
        return _request("PutItem", table, {"Item": new}, _Expression(key), replaces=False)
    touched = _touched(old, new, key)
    expression = _Expression(key)
    complete = expression.compare(old, touched)
    if new is None:
        return _request("DeleteItem", table, {"Key": key}, expression, replaces=True, complete=complete)
    if len(touched) > MAX_COMPARED:
        return _request("PutItem", table, {"Item": new}, expression, replaces=True, complete=complete)
    update = expression.update(new, touched)
    return _request(
        "UpdateItem", table, {"Key": key, "UpdateExpression": update}, expression, replaces=False, complete=complete
    )


def _touched(old: dict[str, Any], new: dict[str, Any] | None, key: dict[str, Any]) -> list[str]:
    names = old.keys() if new is None else old.keys() | new.keys()
    other = new or {}
    return sorted(name for name in names if name not in key and (new is None or old.get(name) != other.get(name)))


class _Expression:
    """The condition of a write, and the names and values that stand in for each other."""

    def __init__(self, key: dict[str, Any]) -> None:
        self._key = key
        self._hash = next(iter(key))
        self._tokens: dict[str, str] = {}
        self._terms: list[str] = []
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def compare(self, old: dict[str, Any], touched: Sequence[str]) -> bool:
        """Ask for the item to be there as it was seen; tell whether there was room for all of it."""
        self._terms.append(f"attribute_exists({self._name(self._hash)})")
        rest = sorted(old.keys() - self._key.keys() - set(touched))
        wanted = [*touched, *rest]
        for name in wanted[:MAX_COMPARED]:
            if name in old:
                self._terms.append(f"{self._name(name)} = {self._value(':o', name, old[name])}")
            else:
                self._terms.append(f"attribute_not_exists({self._name(name)})")
        return len(wanted) <= MAX_COMPARED

    def update(self, new: dict[str, Any], touched: Sequence[str]) -> str:
        """Return the update of the attributes that are to be another."""
        sets = [f"{self._name(name)} = {self._value(':n', name, new[name])}" for name in touched if name in new]
        removes = [self._name(name) for name in touched if name not in new]
        clauses = [f"{verb} {', '.join(parts)}" for verb, parts in (("SET", sets), ("REMOVE", removes)) if parts]
        return " ".join(clauses)

    def condition(self) -> str:
        """Return the condition; an item that was not there must still not be there."""
        return " AND ".join(self._terms) or f"attribute_not_exists({self._name(self._hash)})"

    def _name(self, attribute: str) -> str:
        token = self._tokens.setdefault(attribute, str(len(self._tokens)))
        self.names[f"#{token}"] = attribute
        return f"#{token}"

    def _value(self, prefix: str, attribute: str, value: Any) -> str:
        placeholder = f"{prefix}{self._tokens[attribute]}"
        self.values[placeholder] = value
        return placeholder


def _request(
    operation: str,
    table: str,
    request: dict[str, Any],
    expression: _Expression,
    *,
    replaces: bool,
    complete: bool = True,
) -> ConditionalWrite:
    document = {
        "TableName": table,
        **request,
        "ConditionExpression": expression.condition(),
        "ExpressionAttributeNames": expression.names,
        "ReturnValues": "ALL_OLD",
        "ReturnConsumedCapacity": "TOTAL",
    }
    if expression.values:
        document["ExpressionAttributeValues"] = expression.values
    return ConditionalWrite(operation, json.dumps(document).encode("ascii"), replaces, complete)
