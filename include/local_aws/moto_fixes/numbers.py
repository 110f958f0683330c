"""Cure: moto gives a number back as it was typed, and adds with 28 digits.

DynamoDB keeps a number, not its text: ``01`` comes back as ``1``, ``1.50`` as ``1.5``, ``1e2`` as ``100``;
it holds 38 significant digits, exactly, and refuses more. moto returns ``01`` and rounds ``SET n = n + :d``
to Python's default precision.

See
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html#HowItWorks.DataTypes.Number.
"""

import re
from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from functools import wraps
from typing import Any, Final

from moto.dynamodb.exceptions import IncorrectDataType, MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType, Item

_PRECISION: Final = 38
_ARITHMETIC: Final = Context(prec=_PRECISION)
_ALREADY_CANONICAL: Final = re.compile(r"-?[1-9][0-9]{0,37}|0")
_MARK: Final = "_local_aws_numbers"


class TooManyDigits(MockValidationException):
    """AWS's answer to a number of more than 38 significant digits."""

    def __init__(self) -> None:
        super().__init__("Attempting to store more than 38 significant digits in a Number")


def canonical_number(text: str) -> str:
    """Return a number as DynamoDB gives it back: plain digits, no leading or trailing zeros.

    Raises:
        TooManyDigits: More than 38 significant digits.
    """
    if _ALREADY_CANONICAL.fullmatch(text):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text  # not a number: moto's own check answers that
    if not number.is_finite() or text != text.strip():
        return text
    if number.is_zero():
        return "0"
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if len(digits) > _PRECISION:
        raise TooManyDigits
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def install() -> None:
    """Keep and add numbers as DynamoDB does. Safe to call twice."""
    if hasattr(DynamoType.__init__, _MARK):
        return

    @wraps(DynamoType.__init__)
    def init(self: DynamoType, type_as_dict: "DynamoType | Mapping[str, Any]") -> None:
        if type(type_as_dict) is DynamoType:
            kind, value = type_as_dict.type, type_as_dict.value
        else:
            kind, value = next(iter(type_as_dict.items()))  # type: ignore[union-attr]
            if kind == "N" and isinstance(value, str):
                value = canonical_number(value)
            elif kind == "NS" and isinstance(value, list):
                value = [canonical_number(element) for element in value]
        if kind == "L":
            value = [DynamoType(element) for element in value]
        elif kind == "M":
            value = {name: DynamoType(element) for name, element in value.items()}
        self.type, self.value = kind, value

    setattr(init, _MARK, True)
    DynamoType.__init__ = init  # type: ignore[method-assign]
    DynamoType.__hash__ = _hash  # type: ignore[method-assign]
    DynamoType.__eq__ = _equals  # type: ignore[method-assign]
    DynamoType.__add__ = _add  # type: ignore[method-assign]
    DynamoType.__sub__ = _subtract  # type: ignore[method-assign]
    _install_legacy_updates()


def _hash(self: DynamoType) -> int:
    # Canonical numbers are equal where their texts are: no need to make a Decimal of each for every lookup.
    value = self.value
    return hash((self.type, value if type(value) is str else self.cast_value))


def _equals(self: DynamoType, other: object) -> bool:
    if not isinstance(other, DynamoType) or self.type != other.type:
        return False
    if type(self.value) is str and type(other.value) is str:
        return bool(self.value == other.value)
    return bool(self.cast_value == other.cast_value)


def _add(self: DynamoType, other: DynamoType) -> DynamoType:
    _check_operands(self, other)
    return DynamoType({"N": str(_ARITHMETIC.add(Decimal(self.value), Decimal(other.value)))})


def _subtract(self: DynamoType, other: DynamoType) -> DynamoType:
    _check_operands(self, other)
    return DynamoType({"N": str(_ARITHMETIC.subtract(Decimal(self.value), Decimal(other.value)))})


def _check_operands(left: DynamoType, right: DynamoType) -> None:
    if not (left.is_number() and right.is_number()):
        raise IncorrectDataType


def _install_legacy_updates() -> None:
    stock = Item.update_with_attribute_updates

    @wraps(stock)
    def update_with_attribute_updates(self: Item, attribute_updates: dict[str, Any]) -> None:
        # moto stores a BOOL, B or BS that comes this way as a string, takes NULL for a removal, and adds
        # inexactly.
        rest = {}
        for name, update in attribute_updates.items():
            action = update.get("Action", "PUT")
            if action == "PUT":
                self.attrs[name] = DynamoType(update["Value"])
            elif action == "ADD" and "N" in update["Value"]:
                self.attrs[name] = self.attrs.get(name, DynamoType({"N": "0"})) + DynamoType(update["Value"])
            else:
                rest[name] = update
        stock(self, rest)

    Item.update_with_attribute_updates = update_with_attribute_updates  # type: ignore[method-assign]
