"""From the text of a CSV cell to what DynamoDB stores: numbers, dates, timestamps and their sizes.

Numbers follow DynamoDB's own rules: up to 38 significant digits, a magnitude between 1E-130 and
9.99...E+125, zeroes at both ends without meaning. They are exact decimals and never pass through a float.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache

MAX_DIGITS = 38
MIN_MAGNITUDE = -130
MAX_MAGNITUDE = 125

# Decimal() alone also takes NaN, Infinity, underscores and the digits of every script.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

# strptime takes the digits of every script; a date written so was not meant to be one.
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")

# Beyond this many places a number is written with an exponent, as a row of zeroes helps nobody.
_PLAIN_PLACES = 40

_SHOWN_CHARACTERS = 40

# An item in DynamoDB's low-level form, with the two types that a CSV file can give.
WireItem = dict[str, dict[str, str]]


class BadValueError(ValueError):
    """A cell's text is no value of its column's type; the message is the reason."""


def shown(text: str) -> str:
    """Quote a value for a message, cut to a readable length."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "...")


def normalise_number(text: str) -> str:
    """Return the text that DynamoDB's number type stores for `text`, exactly.

    Args:
        text: the cell, without spaces around it.

    Returns:
        The number without needless zeroes: plain digits where that is short, else with an exponent.

    Raises:
        BadValueError: not a decimal number, or outside of what DynamoDB can hold.
    """
    if not _NUMBER.fullmatch(text):
        raise BadValueError(f"{shown(text)} is not a decimal number")
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation as error:
        raise BadValueError(f"{shown(text)} is outside of 1E-130 to 9.99E+125") from error
    if not isinstance(exponent, int):
        raise BadValueError(f"{shown(text)} is not a finite number")
    # Not Decimal.normalize(): that one rounds to the precision of the current context (28 digits).
    kept = len(digits)
    while kept and digits[kept - 1] == 0:
        kept -= 1
    if not kept:
        return "0"
    if kept > MAX_DIGITS:
        raise BadValueError(f"{shown(text)} has {kept} significant digits, DynamoDB keeps {MAX_DIGITS}")
    exponent += len(digits) - kept
    magnitude = exponent + kept - 1
    if not MIN_MAGNITUDE <= magnitude <= MAX_MAGNITUDE:
        raise BadValueError(f"{shown(text)} is outside of 1E-130 to 9.99E+125")
    number = Decimal((sign, digits[:kept], exponent))
    if exponent > -_PLAIN_PLACES and magnitude < _PLAIN_PLACES:
        return format(number, "f")
    return str(number)


@lru_cache(maxsize=8192)
def normalise_date(text: str, formats: tuple[str, ...]) -> str:
    """Return the date in `text` as YYYY-MM-DD.

    Args:
        text: the cell, without spaces around it.
        formats: accepted formats in strptime's notation; the first one that fits decides.

    Raises:
        BadValueError: no format fits.
    """
    return _parse(text, formats, "date").date().isoformat()


@lru_cache(maxsize=8192)
def normalise_timestamp(text: str, formats: tuple[str, ...]) -> str:
    """Return the instant in `text` as ISO 8601 in UTC, with a Z.

    Args:
        text: the cell, without spaces around it.
        formats: accepted formats in strptime's notation; one without ``%z`` means UTC.

    Raises:
        BadValueError: no format fits, or the instant lies outside of the years 1 to 9999 in UTC.
    """
    moment = _parse(text, formats, "timestamp")
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise BadValueError(f"{shown(text)} is outside of the years 1 to 9999 in UTC") from error
    precision = "microseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _parse(text: str, formats: tuple[str, ...], kind: str) -> datetime:
    if text.isascii() or not _FOREIGN_DIGIT.search(text):
        for wanted in formats:
            try:
                return datetime.strptime(text, wanted)
            except ValueError:
                continue
    raise BadValueError(f"{shown(text)} is no {kind} of the form {' or '.join(formats)}")


def item_size(item: WireItem) -> int:
    """Return the size in bytes that DynamoDB counts against its limit of 400 KB for an item of S and N."""
    size = 0
    for name, value in item.items():
        size += _utf8_length(name)
        for kind, text in value.items():
            size += _number_size(text) if kind == "N" else _utf8_length(text)
    return size


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _number_size(text: str) -> int:
    mantissa = text.partition("E")[0]
    digits = mantissa.lstrip("-").replace(".", "").strip("0")
    return (len(digits) + 1) // 2 + 1 + mantissa.startswith("-")
