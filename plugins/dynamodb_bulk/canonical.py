r"""The canonical byte form of a DynamoDB item: equal items, and only equal items, have equal bytes.

Items are taken in DynamoDB's low-level wire form (``{"S": "x"}``, ``{"N": "1"}``, ...), as boto3's client returns
them (binary as ``bytes``) or as the HTTP body carries them (binary as base64 text).

The form is the item's own wire form, written as JSON in the one way that is left when every choice is taken away:

* UTF-8, no white space. A string has its characters as they are, but for ``"``, ``\`` and those below U+0020,
  which are escaped: as ``\"``, ``\\``, ``\b``, ``\t``, ``\n``, ``\f``, ``\r`` where there is such a short
  form, else as ``\u00`` and two lower-case hexadecimal digits. A lone surrogate, which UTF-8 proper cannot hold,
  takes the three bytes that UTF-8's rule would give it.
* The names in an item and in a map (``M``) stand in the order of their UTF-8 bytes.
* A number (``N``) has no plus sign, no needless zeros and no minus before zero. It is written out where at most 38
  places suffice for it, before the point (with the zeros that end a whole number) or behind it; else as its
  significant digits, ``E`` and the decimal exponent of the last of them: ``100``, ``-1.5``, ``0.05``, ``15E100``.
* Binary (``B``) is base64 with padding, in the standard alphabet.
* The elements of a set (``SS``, ``NS``, ``BS``), each in its form, stand in the order of their UTF-8 bytes before
  escaping.

So ``{"b": {"NS": ["1.0", "05"]}, "a": {"N": "1E2"}}`` becomes ``{"a":{"N":"100"},"b":{"NS":["1","5"]}}``. JSON can
be read back in one way only and every value keeps its type descriptor: two different items can't share a form.

The form of a primary key is the same, but has the key attributes only, the hash key before the range key.

The hash of an item is the 16-byte BLAKE2b of its form, personalised with ``ddb-item-v2``.

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

import orjson

AttributeValue = Mapping[str, Any]
"""One value in wire form: a mapping with exactly one entry, type descriptor to content."""

Item = Mapping[str, AttributeValue]
"""One item in wire form: attribute name to value."""

MAX_SIGNIFICANT_DIGITS = 38
MAX_MAGNITUDE = 125
"""Exponent of the first digit of the largest number that DynamoDB stores."""
MIN_MAGNITUDE = -130
"""Exponent of the first digit of the smallest positive number that DynamoDB stores."""
MAX_PLACES = 38
"""A number is written without an exponent where it needs so many places before or behind the point at most."""

DIGEST_BYTES = 16
ITEM_PERSON = b"ddb-item-v2"

_KEY_TYPES = frozenset({"S", "N", "B"})

# DynamoDB's numbers are ASCII; \d would also take other scripts' digits, hence the spelled-out class.
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?")

# What in a page's JSON may not be in its canonical form yet: numbers and binary that do not look it, and sets. It is
# sought in all of a page at once, since looking at every value in Python costs as much as parsing it.
# `{"N":"` can only be where it seems to be: inside of a string a quote has a backslash before it, and behind the
# quote that ends a string there is a comma, a colon or a bracket. Each pattern begins with its whole descriptor,
# which is found many times as fast as alternatives are tried at every value.
_SUSPECT_NUMBER = re.compile(
    rb'\{"N":"(?!(?:[1-9][0-9]{0,37}|0|-?(?:0|[1-9][0-9]{0,17})\.[0-9]{0,18}[1-9]|-[1-9][0-9]{0,37})")([^"]*)"'
)
_STRING_SET = re.compile(rb'\{"SS":\[(?:"([^\]\\]*)"|((?:"(?:[^"\\]++|\\.)*+",?)*+))\]')
_OTHER_SET = re.compile(rb'\{"([NB]S)":(\[(?:"(?:[^"\\]++|\\.)*+",?)*+\])')
_SUSPECT_BINARY = re.compile(
    rb'\{"B":"(?!(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?")([^"]*)"'
)


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
        The number as the canonical form has it, for example ``"-1.5"``, ``"100"`` or ``"15E100"``.

    Raises:
        CanonicalFormError: if it is no number, or outside of what DynamoDB can store (38 digits,
            magnitude 1E-130 to 9.99E+125).
    """
    if not isinstance(text, str):
        raise CanonicalFormError(f"{_shown(text)} is not a number in DynamoDB's form.")
    return _normal_number(text)


@functools.lru_cache(maxsize=16384)
def _normal_number(text: str) -> str:
    match = _NUMBER.fullmatch(text)
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
    minus = "-" if sign == "-" else ""
    if last >= 0 and len(significant) + last <= MAX_PLACES:
        return f"{minus}{significant}{'0' * last}"
    if -MAX_PLACES <= last < 0:
        padded = significant.rjust(1 - last, "0")
        return f"{minus}{padded[:last]}.{padded[last:]}"
    return f"{minus}{significant}E{last}"


def canonical_value(value: AttributeValue) -> bytes:
    """Return the canonical form of one attribute value.

    Raises:
        CanonicalFormError: if the value is not in DynamoDB's wire form.
    """
    return _dump(_normal_value(value))


def canonical_item(item: Item) -> bytes:
    """Return the canonical form of a whole item; the order of its attributes makes no difference.

    Raises:
        CanonicalFormError: if a value is not in DynamoDB's wire form; the attribute is named.
    """
    return _dump(_normal_map(item))


def canonical_items(items: Sequence[Item]) -> list[bytes]:
    """Return the canonical forms of items that DynamoDB answered, several times as fast as one by one.

    What is not DynamoDB's wire form at all is not always refused, as it is by `canonical_item`; the two agree on
    everything that is.

    Raises:
        CanonicalFormError: if a value is not in DynamoDB's wire form; the attribute is named.
    """
    try:
        joined = b"\n".join([orjson.dumps(item, None, orjson.OPT_SORT_KEYS) for item in items])
        return _repaired(joined) if items else []
    except (TypeError, CanonicalFormError):
        # Binary as bytes, a lone surrogate, or something that shall be refused with its attribute's name.
        return [canonical_item(item) for item in items]


def canonical_key(item: Item, key_names: Sequence[str]) -> bytes:
    """Return the canonical form of an item's primary key.

    Args:
        item: an item, or at least its key attributes.
        key_names: the table's key attributes, hash key first.

    Raises:
        KeyAttributeMissingError: if the item lacks one of them.
        CanonicalFormError: if a key attribute is no string, number or binary (DynamoDB has no other keys).
    """
    key = key_attributes(item, key_names)
    for name, value in key.items():
        if not _KEY_TYPES.issuperset(value):
            raise CanonicalFormError(f"Key attribute {name!r} is {_shown(dict(value))}; a key is S, N or B.")
    return _dump(_normal_map(key), sort=False)


def canonical_keys(items: Sequence[Item], key_names: Sequence[str]) -> list[bytes]:
    """Return the canonical forms of the primary keys of items that DynamoDB answered, see `canonical_items`.

    Raises:
        KeyAttributeMissingError: if an item lacks a key attribute.
        CanonicalFormError: if a key attribute is not in DynamoDB's wire form.
    """
    try:
        keys: list[dict[str, AttributeValue]]
        # Written out for the two kinds of key that there are: a loop over the names takes twice the time.
        if len(key_names) == 1:
            (name,) = key_names
            keys = [{name: item[name]} for item in items]
        elif len(key_names) == 2:
            first, second = key_names
            keys = [{first: item[first], second: item[second]} for item in items]
        else:
            keys = [key_attributes(item, key_names) for item in items]
        joined = b"\n".join(map(orjson.dumps, keys))
        return _repaired(joined) if items else []
    except (KeyError, TypeError, CanonicalFormError):
        return [canonical_key(item, key_names) for item in items]


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

    Numbers are in canonical form, binary is base64, the text is ASCII. One key has one text: it may be compared.

    Raises:
        KeyAttributeMissingError: if the item lacks a key attribute.
        CanonicalFormError: if a key attribute is no string, number or binary (DynamoDB has no other keys).
    """
    return readable(canonical_key(item, key_names))


def readable(form: bytes) -> str:
    """Return a canonical form as ASCII text."""
    text = form.decode("utf-8", "surrogatepass")
    return text if text.isascii() else json.dumps(json.loads(text), separators=(",", ":"))


def parse_form(form: bytes) -> dict[str, Any]:
    """Return the item, or the key, that a canonical form stands for, binary as base64 text."""
    parsed: dict[str, Any] = json.loads(form.decode("utf-8", "surrogatepass"))
    return parsed


def key_form_of(text: str) -> bytes:
    """Return the canonical form of a key that `readable_key` gave as text.

    Raises:
        CanonicalFormError: if the text is something else.
    """
    try:
        parsed = json.loads(text)
        if not parsed:
            raise CanonicalFormError(f"{_shown(text)} is not the text of a key: it has no attribute.")
        return canonical_key(parsed, tuple(parsed))
    except (ValueError, TypeError, AttributeError) as error:
        raise CanonicalFormError(f"{_shown(text)} is not the text of a key: {error}") from error


def item_digest(item: Item) -> bytes:
    """Return the 16-byte BLAKE2b digest of an item's canonical form."""
    return form_digests([canonical_item(item)])[0]


def form_digests(forms: Iterable[bytes]) -> list[bytes]:
    """Return the 16-byte BLAKE2b digests of items given in canonical form."""
    # A copy of a prepared state is cheaper than a new state with its parameters.
    fresh = hashlib.blake2b(digest_size=DIGEST_BYTES, person=ITEM_PERSON).copy
    digests = []
    for form in forms:
        state = fresh()
        state.update(form)
        digests.append(state.digest())
    return digests


def _dump(content: object, *, sort: bool = True) -> bytes:
    try:
        return orjson.dumps(content, None, orjson.OPT_SORT_KEYS if sort else None)
    except TypeError:
        # A lone surrogate, which orjson refuses. Python sorts by code point, which is the order of the UTF-8 bytes.
        text = json.dumps(content, ensure_ascii=False, sort_keys=sort, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")


def _repaired(joined: bytes) -> list[bytes]:
    """Split forms at the line ends, and replace what is in them but not yet canonical."""
    joined = _SUSPECT_NUMBER.sub(_number_match, joined)
    if b"[" in joined:
        joined = _STRING_SET.sub(_string_set_match, joined)
        if b'{"NS":[' in joined or b'{"BS":[' in joined:
            joined = _OTHER_SET.sub(_other_set_match, joined)
    if b'{"B":"' in joined:
        joined = _SUSPECT_BINARY.sub(_binary_match, joined)
    return joined.split(b"\n")


def _number_match(match: re.Match[bytes]) -> bytes:
    return b'{"N":"%b"' % canonical_number(match[1].decode()).encode()


def _string_set_match(match: re.Match[bytes]) -> bytes:
    plain, escaped = match.groups()
    if plain is None:
        return b'{"SS":%b' % orjson.dumps(sorted(orjson.loads(b"[%b]" % escaped)))
    # Without an escape in them, strings are in their form already, and nothing in them looks like a separator.
    elements = plain.split(b'","')
    elements.sort()
    return b'{"SS":["%b"]' % b'","'.join(elements)


def _other_set_match(match: re.Match[bytes]) -> bytes:
    kind, elements = match.groups()
    return b'{"%b":%b' % (kind, orjson.dumps(_NORMALISERS[kind.decode()](orjson.loads(elements))))


def _binary_match(match: re.Match[bytes]) -> bytes:
    return b'{"B":"%b"' % _binary(match[1].decode()).encode()


def _normal_value(value: AttributeValue) -> dict[str, Any]:
    # This runs for every attribute: it asks forgiveness, which is far cheaper than permission.
    try:
        ((descriptor, content),) = value.items()
        normalise = _NORMALISERS[descriptor]
    except (AttributeError, TypeError, ValueError) as error:
        raise CanonicalFormError(
            f"{_shown(value)} is not an attribute value: one type descriptor is expected."
        ) from error
    except KeyError as error:
        raise CanonicalFormError(f"{_shown(descriptor)} is not a type descriptor of DynamoDB.") from error
    return {descriptor: normalise(content)}


def _string(content: object) -> str:
    if not isinstance(content, str):
        raise CanonicalFormError(f"{_shown(content)} is not a string.")
    return content


def _binary(content: object) -> str:
    return base64.b64encode(_as_bytes(content)).decode("ascii")


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


def _set_of(normalise: Callable[[Any], str]) -> Callable[[Any], list[str]]:
    def normalise_set(content: Any) -> list[str]:
        if isinstance(content, str | bytes | Mapping) or not isinstance(content, Iterable):
            raise CanonicalFormError(f"{_shown(content)} is not a list of set elements.")
        # By code point, which is the order of the UTF-8 bytes.
        return sorted(map(normalise, content))

    return normalise_set


def _boolean(content: object) -> bool:
    if not isinstance(content, bool):
        raise CanonicalFormError(f"{_shown(content)} is not a boolean.")
    return content


def _null(content: object) -> bool:
    if content is not True:
        raise CanonicalFormError(f"NULL has the content true, not {_shown(content)}.")
    return True


def _list(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str | bytes | Mapping) or not isinstance(content, Sequence):
        raise CanonicalFormError(f"{_shown(content)} is not a list of attribute values.")
    return list(map(_normal_value, content))


def _normal_map(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) and not isinstance(content, Mapping):
        raise CanonicalFormError(f"{_shown(content)} is not a map of attribute values.")
    name: object = None
    normal: dict[str, Any] = {}
    try:
        for name, value in content.items():
            normal[_string(name)] = _normal_value(value)
    except CanonicalFormError as error:
        raise CanonicalFormError(f"Attribute {_shown(name)}: {error}") from error
    return normal


def _shown(content: object) -> str:
    """Show a value in a message, shortened: an item may be 400 KB, and is somebody's data."""
    text = ascii(content)
    return text if len(text) <= 60 else f"{text[:57]}..."


_NORMALISERS: dict[str, Callable[[Any], Any]] = {
    "S": _string,
    "N": canonical_number,
    "B": _binary,
    "BOOL": _boolean,
    "NULL": _null,
    "SS": _set_of(_string),
    "NS": _set_of(canonical_number),
    "BS": _set_of(_binary),
    "L": _list,
    "M": _normal_map,
}
