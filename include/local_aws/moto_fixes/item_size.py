"""Cure: moto refuses items above 405,000 bytes by a size of its own, AWS above 400 KB by documented rules.

moto counts a number by its text and measures an item again for each attribute that is added to it, which
makes wide items slow to load. Here an item is measured once, by AWS's rules, against 409,600 bytes.

See https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html (sizes) and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html (the limit).
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal
from functools import wraps
from typing import Any, Final

from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict

MAX_ITEM_BYTES: Final = 400 * 1024
"""Largest item that DynamoDB stores, attribute names and values together."""

_CONTAINER_BYTES: Final = 3
_ELEMENT_BYTES: Final = 1
_PLAIN_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_SIZE: Final = "local_aws_size"
_MARK: Final = "_local_aws_item_size"


def stored_size(item: Item) -> int:
    """Return the bytes that DynamoDB stores for `item`: attribute names and values. Measured once."""
    size: int | None = item.__dict__.get(_SIZE)
    if size is None:
        size = item.__dict__[_SIZE] = attributes_size(item.attrs)
    return size


def forget_size(item: Item) -> None:
    """Measure `item` again when it is asked next: it was changed."""
    item.__dict__.pop(_SIZE, None)


def attributes_size(attributes: Mapping[str, Any]) -> int:
    """Return the bytes that DynamoDB stores for a map of attribute name to DynamoType or DynamoDB JSON."""
    return sum(len(name.encode()) + value_size(value) for name, value in attributes.items())


def value_size(value: "DynamoType | Mapping[str, Any]") -> int:
    """Return the bytes that DynamoDB stores for one attribute value."""
    kind, content = (value.type, value.value) if isinstance(value, DynamoType) else next(iter(value.items()))
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "L":
        return _CONTAINER_BYTES + sum(_ELEMENT_BYTES + value_size(element) for element in content)
    if kind == "M":
        return _CONTAINER_BYTES + sum(
            _ELEMENT_BYTES + len(name.encode()) + value_size(element) for name, element in content.items()
        )
    if kind in ("SS", "NS", "BS"):
        return sum(_scalar_size(kind[0], element) for element in content)
    return _scalar_size(kind, content)


def _scalar_size(kind: str, content: Any) -> int:
    if kind == "N":
        return _number_size(content)
    if isinstance(content, bytes):
        return len(content)
    return len(b64decode(content)) if kind == "B" else len(content.encode())


def _number_size(text: str) -> int:
    # One byte for two significant digits and one for the rest (exponent); a negative number takes one more.
    if _PLAIN_NUMBER.fullmatch(text):
        sign = text[0] == "-"
        significant = len(text.lstrip("-").replace(".", "").strip("0"))
    else:
        negative, digits, _ = Decimal(text).as_tuple()
        sign = bool(negative)
        significant = len("".join(map(str, digits)).strip("0"))
    return (significant + 1) // 2 + 1 + sign


def install() -> None:
    """Measure items once, by AWS's rules. Safe to call twice."""
    if hasattr(Item.__init__, _MARK):
        return

    @wraps(Item.__init__)
    def init(self: Item, hash_key: DynamoType, range_key: DynamoType | None, attrs: dict[str, Any]) -> None:
        self.hash_key = hash_key
        self.range_key = range_key
        self.attrs = LimitedSizeDict.__new__(LimitedSizeDict)
        for name, value in attrs.items():
            dict.__setitem__(self.attrs, name, DynamoType(value))
        if stored_size(self) > MAX_ITEM_BYTES:
            raise ItemSizeTooLarge

    def set_item(self: LimitedSizeDict, name: str, value: Any) -> None:
        if isinstance(value, DynamoType):
            others = sum(
                len(key.encode()) + value_size(held)
                for key, held in self.items()
                if key != name and isinstance(held, DynamoType)
            )
            if others + len(name.encode()) + value_size(value) > MAX_ITEM_BYTES:
                raise ItemSizeTooLarge
        dict.__setitem__(self, name, value)

    setattr(init, _MARK, True)
    Item.__init__ = init  # type: ignore[method-assign]
    LimitedSizeDict.__setitem__ = set_item  # type: ignore[method-assign]
