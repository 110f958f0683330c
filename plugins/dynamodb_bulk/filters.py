"""Simple questions about an item's attributes, as text: ``status = "paid"``, ``address.city begins_with "Ro"``.

A filter is a path, an operator and, for most operators, a value::

    [old:|new:]PATH  =  !=  <  <=  >  >=  begins_with  contains   VALUE
    [old:|new:]PATH  exists  not_exists

PATH is written as a diff names it: ``address.city``, ``tags[2]``; a name with other characters than letters, digits,
``_`` and ``-`` stands in quotes, as in JSON. VALUE is JSON: ``"text"``, ``12.50``, ``true`` or ``null``; it fits a
string, a number, a boolean or a null and nothing else, so ``n = "1"`` is not true of the number 1. Texts are compared
by their UTF-8 bytes, as DynamoDB does. ``contains`` finds a part of a text, an element of a set, a value in a list.

The item that is asked is the one that shall be (``new``), or the one that stands (``old``) where it shall go; ``old:``
and ``new:`` name one of them, of which no filter but ``not_exists`` is true where there is no such item.

Nothing in a filter is ever run as code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from dynamodb_bulk.changes import Change
from dynamodb_bulk.errors import BulkError

_FILTER = re.compile(
    r"\s*(?:(?P<side>old|new):)?"
    r'(?P<path>(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*")(?:\.(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*")|\[[0-9]{1,6}\])*)'
    r"\s*(?P<operator>!=|<=|>=|=|<|>|\b(?:begins_with|contains|not_exists|exists)\b)"
    r"\s*(?P<value>.*?)\s*",
    re.DOTALL,
)
_STEP = re.compile(r'\.?(?:(?P<plain>[A-Za-z0-9_-]+)|(?P<quoted>"(?:[^"\\]|\\.)*"))|\[(?P<index>[0-9]+)\]')
_WITHOUT_VALUE = frozenset({"exists", "not_exists"})
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}

Value = str | Decimal | bool | None
Path = tuple[str | int, ...]


class FilterError(BulkError):
    """A filter can't be understood."""


@dataclass(frozen=True)
class Filter:
    """One question about an item.

    Attributes:
        text: as it was written.
        side: ``old`` or ``new``; empty: whichever there is, `new` first.
        path: names and indexes on the way to the attribute.
        operator: how it is compared.
        value: with what.
    """

    text: str
    side: str
    path: Path
    operator: str
    value: Value = None

    def matches(self, change: Change) -> bool:
        """Tell whether it is true of the item of a change."""
        item = self._item(change)
        found = None if item is None else _follow(item, self.path)
        if self.operator in _WITHOUT_VALUE:
            return (found is None) is (self.operator == "not_exists")
        if found is None:
            return False
        ((kind, content),) = found.items()
        return _compare(kind, content, self.operator, self.value)

    def _item(self, change: Change) -> dict[str, Any] | None:
        if self.side == "old":
            return change.old_item
        if self.side == "new" or change.new is not None:
            return change.new_item
        return change.old_item


def parse_filter(text: str) -> Filter:
    """Read a filter.

    Raises:
        FilterError: it is none; the message shows how one looks.
    """
    match = _FILTER.fullmatch(text)
    if match is None:
        raise FilterError(
            f"The filter {text!r} can't be understood. Write it as PATH OPERATOR VALUE with JSON for the value, for "
            'example: status = "paid", amount >= 12.5, address.city begins_with "Ro", note not_exists.'
        )
    operator, written = match["operator"], match["value"]
    path = tuple(_steps(match["path"], text))
    if operator in _WITHOUT_VALUE:
        if written:
            raise FilterError(f"The filter {text!r} has a value after {operator}, which takes none. Leave it out.")
        return Filter(text, match["side"] or "", path, operator)
    return Filter(text, match["side"] or "", path, operator, _value(written, operator, text))


def _steps(path: str, text: str) -> list[str | int]:
    steps: list[str | int] = []
    for step in _STEP.finditer(path):
        if step["index"] is not None:
            steps.append(int(step["index"]))
        elif step["plain"] is not None:
            steps.append(step["plain"])
        else:
            try:
                steps.append(str(json.loads(step["quoted"])))
            except ValueError as error:
                raise FilterError(f"The filter {text!r} has a quoted name that is not JSON: {error}.") from error
    return steps


def _value(written: str, operator: str, text: str) -> Value:
    try:
        value: object = json.loads(written, parse_int=Decimal, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, InvalidOperation) as error:
        raise FilterError(
            f'The value of the filter {text!r} is not JSON: {error}. Text stands in double quotes: "paid".'
        ) from error
    if value is not None and not isinstance(value, str | Decimal | bool):
        raise FilterError(f"The value of the filter {text!r} is no text, number, boolean or null.")
    if operator in _ORDERINGS and (value is None or isinstance(value, bool)):
        raise FilterError(f"The filter {text!r} orders by a value that has no order. Use = or !=.")
    if operator == "begins_with" and not isinstance(value, str):
        raise FilterError(f"The filter {text!r} needs a text after begins_with.")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _follow(item: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    """Return the value at the end of a path, in wire form; None if there is none."""
    found: Any = {"M": item}
    for step in path:
        ((kind, content),) = found.items()
        in_map = isinstance(step, str) and kind == "M" and step in content
        in_list = isinstance(step, int) and kind == "L" and step < len(content)
        if not (in_map or in_list):
            return None
        found = content[step]
    value: Mapping[str, Any] = found
    return value


def _compare(kind: str, content: Any, operator: str, value: Value) -> bool:
    if operator == "contains":
        return _contains(kind, content, value)
    equal = _plain(kind, content) == (_kind_of(value), value)
    if operator in {"=", "!="}:
        return equal is (operator == "=")
    own_kind, own = _plain(kind, content)
    if own_kind != _kind_of(value):
        return False
    if operator == "begins_with":
        return bool(str(own).startswith(str(value)))
    one, other = (part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in (own, value))
    return _ORDERINGS[operator](one, other)


def _contains(kind: str, content: Any, value: Value) -> bool:
    if kind == "S":
        return isinstance(value, str) and value in content
    if kind in {"SS", "NS"}:
        return any(_plain(kind[0], element) == (_kind_of(value), value) for element in content)
    if kind == "L":
        return any(_plain(*next(iter(element.items()))) == (_kind_of(value), value) for element in content)
    return False


def _plain(kind: str, content: Any) -> tuple[str, Any]:
    """Return what a value is compared by; what is none of text, number, boolean and null equals nothing."""
    if kind == "N":
        return kind, Decimal(content)
    return kind, None if kind == "NULL" else content


def _kind_of(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "BOOL"
    return "S" if isinstance(value, str) else "N"
