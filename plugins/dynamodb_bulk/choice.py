"""Which of the changes that a diff found are to be made: by class, by key, by filter. All three must fit."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

from dynamodb_bulk.canonical import CanonicalFormError, canonical_key, readable
from dynamodb_bulk.changes import Change
from dynamodb_bulk.diff import TableDifferenceKind
from dynamodb_bulk.errors import BulkError
from dynamodb_bulk.filters import Filter, parse_filter

DEFAULT_CLASSES = (TableDifferenceKind.MISSING, TableDifferenceKind.CHANGED)
"""What only the live table has may have been written after the backup: it goes only where that is asked for."""
ALL_CLASSES = tuple(TableDifferenceKind)


class ChoiceError(BulkError):
    """What was chosen can't be understood."""


class Choice:
    """Chooses changes, and keeps account of the keys that it was given and has not met.

    Args:
        classes: of which classes.
        keys: of which items, by their keys' JSON text; None: of all.
        filters: all of these must be true.
    """

    def __init__(
        self,
        *,
        classes: Iterable[TableDifferenceKind] = DEFAULT_CLASSES,
        keys: Collection[str] | None = None,
        filters: Sequence[Filter] = (),
    ) -> None:
        self.classes = frozenset(classes)
        self.keys = None if keys is None else frozenset(keys)
        self.filters = tuple(filters)
        self._met: set[str] = set()

    @classmethod
    def of(
        cls,
        key_names: Sequence[str],
        *,
        classes: Iterable[str] = DEFAULT_CLASSES,
        keys: Iterable[str | Mapping[str, Any]] | None = None,
        filters: Iterable[str] = (),
    ) -> Self:
        """Return the choice that texts stand for.

        Args:
            key_names: the table's key attributes, hash key first.
            classes: names of classes.
            keys: keys as JSON, type-exact (``{"id": {"S": "a"}}``) or plain (``{"id": "a"}``); None: all.
            filters: see :mod:`dynamodb_bulk.filters`.

        Raises:
            ChoiceError: a class or a key is none.
            FilterError: a filter is none.
        """
        try:
            kinds = [TableDifferenceKind(name) for name in classes]
        except ValueError as error:
            raise ChoiceError(f"{error}: the classes are {', '.join(ALL_CLASSES)}.") from error
        if not kinds:
            raise ChoiceError(f"No class is chosen, so there is nothing to do: name one of {', '.join(ALL_CLASSES)}.")
        chosen = None if keys is None else {_key(key, key_names) for key in keys}
        return cls(classes=kinds, keys=chosen, filters=[parse_filter(text) for text in filters])

    @property
    def unmet_keys(self) -> tuple[str, ...]:
        """The keys that were asked for and are no key of any change so far."""
        return () if self.keys is None else tuple(sorted(self.keys - self._met))

    def select(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Yield those of the changes that are chosen."""
        for change in changes:
            if self.keys is not None:
                if change.key not in self.keys:
                    continue
                self._met.add(change.key)
            if change.kind in self.classes and all(one.matches(change) for one in self.filters):
                yield change

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON-ready values."""
        return {
            "classes": sorted(self.classes),
            "keys": None if self.keys is None else len(self.keys),
            "filters": [one.text for one in self.filters],
        }


def _key(written: str | Mapping[str, Any], key_names: Sequence[str]) -> str:
    try:
        key = json.loads(written, parse_float=Decimal, parse_int=Decimal) if isinstance(written, str) else written
        typed = {name: value if isinstance(value, Mapping) else _typed(value) for name, value in key.items()}
        if typed.keys() != set(key_names):
            raise ChoiceError(
                f"The key {written!r} has not exactly the table's key attributes, {', '.join(key_names)}."
            )
        return readable(canonical_key(typed, key_names))
    except (ValueError, TypeError, AttributeError, CanonicalFormError) as error:
        raise ChoiceError(
            f'{written!r} is no key of an item: {error}. Write it as JSON, for example {{"id": {{"S": "a"}}}}.'
        ) from error


def _typed(value: object) -> dict[str, str]:
    """Return a plain value of a key in wire form: text or number; binary has to be written type-exact."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return {"N": str(value)}
    raise TypeError(f"{value!r} is neither text nor number")
