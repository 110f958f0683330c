"""The canonical byte form of a DynamoDB item: equal items, and only equal items, have equal bytes.

Items are taken in DynamoDB's low-level wire form (``{"S": "x"}``, ``{"N": "1"}``, ...), as boto3's client
returns them (binary as ``bytes``) or as the HTTP body carries them (binary as base64 text).

The form, to the byte. ``u32(n)`` is n as four bytes, most significant first; ``text(s)`` is s in UTF-8,
where a lone surrogate, which UTF-8 proper cannot hold, takes the three bytes that UTF-8's rule would give it.

====================  ==============================================================================
value                 bytes
====================  ==============================================================================
``{"S": s}``          ``S`` u32(length) text(s)
``{"N": n}``          ``N`` u32(length) number(n)
``{"B": b}``          ``B`` u32(length) b
``{"BOOL": true}``    ``T``
``{"BOOL": false}``   ``F``
``{"NULL": true}``    ``Z``
``{"SS": [...]}``     ``s`` u32(count), then each element as u32(length) text, in byte order
``{"NS": [...]}``     ``n`` u32(count), then each element as u32(length) number, in byte order
``{"BS": [...]}``     ``b`` u32(count), then each element as u32(length) bytes, in byte order
``{"L": [...]}``      ``L`` u32(count), then each element's own form, in the list's order
``{"M": {...}}``      ``M`` u32(count), then per entry u32(length) text(name), value's form; by name's bytes
an item               as a map
====================  ==============================================================================

``number(n)`` is ASCII: ``0`` for every zero (there is no minus zero in DynamoDB); else ``-`` when negative,
the significant digits without leading or trailing zeros, ``E``, and the decimal exponent of the last digit.
So 100, 100.00, 1E+2 and 0001e2 are all ``1E2``, and 1.50 is ``15E-1``.

Every length and count stands before what it measures and every value starts with its type, so the form can be
read back in one way only: two different items can't share it. The type letter keeps ``{"N": "1"}`` apart from
``{"S": "1"}``, and an empty string, binary, list or map apart from each other and from an absent attribute.

The hash of an item is the 16-byte BLAKE2b of its form, personalised with ``ddb-item-v1``; that of a key, which
is the item with its key attributes only, is personalised with ``ddb-key-v1``.

Rules for numbers: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

AttributeValue = Mapping[str, Any]
"""One value in wire form: a mapping with exactly one entry, type descriptor to content."""

Item = Mapping[str, AttributeValue]
"""One item in wire form: attribute name to value."""

MAX_SIGNIFICANT_DIGITS = 38
MAX_MAGNITUDE = 125
"""Exponent of the first digit of the largest number that DynamoDB stores."""
MIN_MAGNITUDE = -130
"""Exponent of the first digit of the smallest positive number that DynamoDB stores."""

DIGEST_BYTES = 16
_ITEM_PERSON = b"ddb-item-v1"
_KEY_PERSON = b"ddb-key-v1"

# DynamoDB's numbers are ASCII; \d would also take other scripts' digits, hence the spelled-out class.
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?")


class CanonicalFormError(ValueError):
    """A value is not in DynamoDB's wire form, so it has no canonical form."""


class KeyAttributeMissingError(CanonicalFormError):
    """An item lacks an attribute of the table's primary key."""

    def __init__(self, attribute: str, present: Iterable[str]) -> None:
        self.attribute = attribute
        self.present = tuple(sorted(present))
        super().__init__(
            f"The item has no key attribute {attribute!r} (it has: {', '.join(self.present) or 'nothing'}). "
            "Pass the key attribute names of this table, hash key first, and don't project them away."
        )

    def __reduce__(self) -> tuple[type[KeyAttributeMissingError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.attribute, self.present)


def canonical_number(text: str) -> str:
    """Normalise a DynamoDB number: equal numbers, and only equal numbers, give equal text.

    Args:
        text: the number as it stands in the wire form, for example ``"-01.50"`` or ``"1E+2"``.

    Returns:
        ``"0"``, or sign, significant digits, ``E`` and the exponent of the last digit, for example
        ``"-15E-1"``.

    Raises:
        CanonicalFormError: if it is no number, or outside of what DynamoDB can store (38 digits,
            magnitude 1E-130 to 9.99E+125).
    """
    match = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if match is None or not (match[2] or match[3]):
        raise CanonicalFormError(f"{_shown(text)} is not a number in DynamoDB's form.")
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    significant = digits.rstrip("0")
    last = exponent - len(fraction) + len(digits) - len(significant)
    first = last + len(significant) - 1
    if len(significant) > MAX_SIGNIFICANT_DIGITS or not MIN_MAGNITUDE <= first <= MAX_MAGNITUDE:
        raise CanonicalFormError(
            f"{_shown(text)} is outside of DynamoDB's numbers: at most {MAX_SIGNIFICANT_DIGITS} digits, "
            f"magnitude 1E{MIN_MAGNITUDE} to 9.99E{MAX_MAGNITUDE}."
        )
    return f"{'-' if sign == '-' else ''}{significant}E{last}"


def canonical_value(value: AttributeValue) -> bytes:
    """Return the canonical form of one attribute value.

    Raises:
        CanonicalFormError: if the value is not in DynamoDB's wire form.
    """
    # This runs for every attribute of every item: it asks forgiveness, which is far cheaper than permission.
    try:
        ((descriptor, content),) = value.items()
        encode = _ENCODERS[descriptor]
    except (AttributeError, TypeError, ValueError) as error:
        raise CanonicalFormError(
            f"{_shown(value)} is not an attribute value: one type descriptor is expected."
        ) from error
    except KeyError as error:
        raise CanonicalFormError(f"{_shown(descriptor)} is not a type descriptor of DynamoDB.") from error
    return encode(content)


def canonical_item(item: Item) -> bytes:
    """Return the canonical form of a whole item; the order of its attributes makes no difference.

    Raises:
        CanonicalFormError: if a value is not in DynamoDB's wire form; the attribute is named.
    """
    return _map(item)


def canonical_key(item: Item, key_names: Sequence[str]) -> bytes:
    """Return the canonical form of an item's primary key: the item that has the key attributes only.

    Args:
        item: an item, or at least its key attributes.
        key_names: the table's key attributes, hash key first.

    Raises:
        KeyAttributeMissingError: if the item lacks one of them.
    """
    return _map(key_attributes(item, key_names))


def key_attributes(item: Item, key_names: Sequence[str]) -> dict[str, AttributeValue]:
    """Return the key attributes of an item, in the order of `key_names`.

    Raises:
        KeyAttributeMissingError: if the item lacks one of them.
    """
    try:
        return {name: item[name] for name in key_names}
    except KeyError as error:
        raise KeyAttributeMissingError(error.args[0], item) from error


def readable_key(item: Item, key_names: Sequence[str]) -> str:
    """Return an item's primary key as JSON that a person can read and a program can look the item up with.

    Numbers stand as DynamoDB would print them, binary as base64. One key has one text: it may be compared.

    Raises:
        KeyAttributeMissingError: if the item lacks a key attribute.
        CanonicalFormError: if a key attribute is no string, number or binary (DynamoDB has no other keys).
    """
    shown: dict[str, dict[str, str]] = {}
    for name, value in key_attributes(item, key_names).items():
        ((descriptor, content),) = value.items()
        if descriptor == "S":
            shown[name] = {"S": content}
        elif descriptor == "N":
            shown[name] = {"N": plain_number(content)}
        elif descriptor == "B":
            shown[name] = {"B": base64.b64encode(_as_bytes(content)).decode("ascii")}
        else:
            raise CanonicalFormError(f"Key attribute {name!r} has type {descriptor!r}; a key is S, N or B.")
    return json.dumps(shown, separators=(",", ":"))


def plain_number(text: str) -> str:
    """Return a DynamoDB number without superfluous zeros, and without an exponent where that stays short."""
    canonical = canonical_number(text)
    if canonical == "0":
        return canonical
    mantissa, _, exponent_text = canonical.partition("E")
    exponent = int(exponent_text)
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    if exponent == 0:
        return canonical.removesuffix("E0")
    if exponent > 0 and len(digits) + exponent <= MAX_SIGNIFICANT_DIGITS:
        return sign + digits + "0" * exponent
    if exponent < 0 and -exponent <= MAX_SIGNIFICANT_DIGITS:
        padded = digits.rjust(-exponent + 1, "0")
        return f"{sign}{padded[:exponent]}.{padded[exponent:]}"
    return canonical


def item_digest(item: Item) -> bytes:
    """Return the 16-byte BLAKE2b digest of an item's canonical form."""
    return hashlib.blake2b(_map(item), digest_size=DIGEST_BYTES, person=_ITEM_PERSON).digest()


def key_digest(item: Item, key_names: Sequence[str]) -> bytes:
    """Return the 16-byte BLAKE2b digest of an item's primary key."""
    return hashlib.blake2b(canonical_key(item, key_names), digest_size=DIGEST_BYTES, person=_KEY_PERSON).digest()


def _sized(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def _as_text(content: object) -> bytes:
    if not isinstance(content, str):
        raise CanonicalFormError(f"{_shown(content)} is not a string.")
    return content.encode("utf-8", "surrogatepass")


def _as_number(content: Any) -> bytes:
    return canonical_number(content).encode("ascii")


def _as_bytes(content: object) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if isinstance(content, str):
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise CanonicalFormError(f"{_shown(content)} is not base64.") from error
    # boto3's resource layer wraps binary in an object that carries the bytes in `value`.
    wrapped = getattr(content, "value", None)
    if isinstance(wrapped, bytes | bytearray):
        return bytes(wrapped)
    raise CanonicalFormError(f"{_shown(content)} is not binary.")


def _string(content: object) -> bytes:
    data = _as_text(content)
    return b"S" + len(data).to_bytes(4, "big") + data


def _number(content: Any) -> bytes:
    data = canonical_number(content).encode("ascii")
    return b"N" + len(data).to_bytes(4, "big") + data


def _binary(content: object) -> bytes:
    data = _as_bytes(content)
    return b"B" + len(data).to_bytes(4, "big") + data


def _set(letter: bytes, convert: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encode(content: Any) -> bytes:
        if isinstance(content, str | bytes | Mapping) or not isinstance(content, Iterable):
            raise CanonicalFormError(f"{_shown(content)} is not a list of set elements.")
        elements = sorted(convert(element) for element in content)
        return letter + len(elements).to_bytes(4, "big") + b"".join(map(_sized, elements))

    return encode


def _boolean(content: object) -> bytes:
    if not isinstance(content, bool):
        raise CanonicalFormError(f"{_shown(content)} is not a boolean.")
    return b"T" if content else b"F"


def _null(content: object) -> bytes:
    if content is not True:
        raise CanonicalFormError(f"NULL has the content true, not {_shown(content)}.")
    return b"Z"


def _list(content: Any) -> bytes:
    if isinstance(content, str | bytes | Mapping) or not isinstance(content, Sequence):
        raise CanonicalFormError(f"{_shown(content)} is not a list of attribute values.")
    return b"L" + len(content).to_bytes(4, "big") + b"".join(map(canonical_value, content))


def _map(content: Any) -> bytes:
    if not isinstance(content, dict) and not isinstance(content, Mapping):
        raise CanonicalFormError(f"{_shown(content)} is not a map of attribute values.")
    entries: list[tuple[bytes, bytes]] = []
    name: object = None
    try:
        for name, value in content.items():
            entries.append((_name(name), canonical_value(value)))
    except CanonicalFormError as error:
        raise CanonicalFormError(f"Attribute {_shown(name)}: {error}") from error
    # A name is its key in the order, since no two are equal: values are never compared.
    entries.sort()
    parts = [b"M", len(entries).to_bytes(4, "big")]
    for encoded, form in entries:
        parts += (len(encoded).to_bytes(4, "big"), encoded, form)
    return b"".join(parts)


@functools.lru_cache(maxsize=4096)
def _name(name: str) -> bytes:
    """Encode an attribute's name, of which a table has few, in many items."""
    return _as_text(name)


def _shown(content: object) -> str:
    """Show a value in a message, shortened: an item may be 400 KB, and is somebody's data."""
    text = ascii(content)
    return text if len(text) <= 60 else f"{text[:57]}..."


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "S": _string,
    "N": _number,
    "B": _binary,
    "BOOL": _boolean,
    "NULL": _null,
    "SS": _set(b"s", _as_text),
    "NS": _set(b"n", _as_number),
    "BS": _set(b"b", _as_bytes),
    "L": _list,
    "M": _map,
}
