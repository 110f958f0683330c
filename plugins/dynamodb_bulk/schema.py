"""The schema of a CSV file as data: which columns there are, which are keys, and what becomes of them.

A schema is a JSON or YAML file. Every column has a ``name`` and a ``type`` (string, number, date,
timestamp). ``key: hash`` and ``key: range`` mark the table's keys. ``required: false`` allows the
column to be missing from a file. ``empty`` says what an empty cell becomes: ``omit`` (no attribute),
``store`` (an empty string) or ``reject`` (the row is rejected); ``empty_values`` is the default for all
columns, and an empty key is always rejected. Dates and timestamps list the ``formats`` they may come
in, are stored as given, and are written once more, normalised, to the attribute ``normalised_as``.
"""

import json
import re
from datetime import UTC, date, datetime
from itertools import permutations
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from dynamodb_bulk.errors import SchemaError

ColumnType = Literal["string", "number", "date", "timestamp"]
EmptyRule = Literal["omit", "store", "reject"]

# DynamoDB allows 64 KB for a common attribute name and 255 bytes for one that is a key; no CSV needs more.
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)]

# Names of months, AM/PM and the like depend on the locale of the machine that reads the file.
_DIRECTIVES = frozenset("YymdjHMSfz%")
_PROBES = tuple(datetime(*day, tzinfo=UTC) for day in ((2001, 2, 3), (2011, 12, 10), (2026, 5, 4)))


class Column(BaseModel):
    """One column of the file and what is stored for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    type: ColumnType = "string"
    key: Literal["hash", "range"] | None = None
    required: bool = True
    empty: EmptyRule | None = None
    formats: tuple[str, ...] = ()
    normalised_as: Name | None = None

    @property
    def attribute_type(self) -> Literal["S", "N"]:
        """DynamoDB's type of the stored attribute."""
        return "N" if self.type == "number" else "S"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.key and not self.required:
            raise ValueError(f"column {self.name!r} is a key and cannot be optional: drop 'required: false'")
        if self.key and self.empty not in (None, "reject"):
            raise ValueError(f"column {self.name!r} is a key: an empty key is always rejected, drop 'empty'")
        if self.type == "number" and self.empty == "store":
            raise ValueError(f"column {self.name!r}: a number cannot be stored empty; use 'omit' or 'reject'")
        if self.type in ("date", "timestamp"):
            self._check_formats()
        elif self.formats or self.normalised_as:
            raise ValueError(
                f"column {self.name!r} of type {self.type} takes no 'formats' and no 'normalised_as'; "
                "they belong to dates and timestamps"
            )
        return self

    def _check_formats(self) -> None:
        if not self.formats:
            raise ValueError(f"column {self.name!r} of type {self.type} needs 'formats', such as ['%Y-%m-%d']")
        for wanted in self.formats:
            strange = sorted({f"%{found}" for found in re.findall("%(.?)", wanted) if found not in _DIRECTIVES})
            if strange:
                raise ValueError(
                    f"column {self.name!r}: format {wanted!r} uses {', '.join(strange)}; "
                    f"only {', '.join(f'%{d}' for d in sorted(_DIRECTIVES))} are read the same everywhere"
                )
            if any(_read(probe.strftime(wanted), wanted) != probe.date() for probe in _PROBES):
                raise ValueError(f"column {self.name!r}: format {wanted!r} does not name year, month and day")
        for one, other in permutations(self.formats, 2):
            for probe in _PROBES:
                if _read(probe.strftime(one), other) not in (None, probe.date()):
                    raise ValueError(
                        f"column {self.name!r}: {probe.strftime(one)} is a different day by {one!r} and by "
                        f"{other!r}; keep one of the two"
                    )


def _read(text: str, wanted: str) -> date | None:
    try:
        return datetime.strptime(text, wanted).date()
    except ValueError:
        return None


class TableSchema(BaseModel):
    """The columns of a file and the items that its rows become."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    empty_values: EmptyRule = "omit"
    allow_no_rows: bool = False
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns, in the order of the schema."""
        return tuple(column.name for column in self.columns)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The hash key's column, and the range key's where there is one."""
        return tuple(column for kind in ("hash", "range") for column in self.columns if column.key == kind)

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of the key attributes, hash key first."""
        return tuple(column.name for column in self.key_columns)

    def empty_rule(self, column: Column) -> EmptyRule:
        """Return what an empty cell of `column` becomes."""
        if column.key:
            return "reject"
        rule = column.empty or self.empty_values
        return "omit" if rule == "store" and column.type == "number" else rule

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.delimiter in '"\r\n\0':
            raise ValueError("'delimiter' cannot be a quote, a line end or a NUL; use ',' or ';' or a tab")
        for kind, least in (("hash", 1), ("range", 0)):
            found = [column.name for column in self.columns if column.key == kind]
            if not least <= len(found) <= 1:
                raise ValueError(
                    f"{len(found)} columns have 'key: {kind}' ({', '.join(found) or 'none'}); a table has "
                    f"{'exactly' if least else 'at most'} one {kind} key"
                )
        attributes = [*self.column_names, *(c.normalised_as for c in self.columns if c.normalised_as)]
        twice = sorted({name for name in attributes if attributes.count(name) > 1})
        if twice:
            raise ValueError(f"attribute names are used twice: {', '.join(twice)}; rename a column or its twin")
        return self


def parse_schema(text: str, name: str) -> TableSchema:
    """Read a schema from JSON or YAML text.

    Args:
        text: the schema file's content.
        name: the file's name for messages; ``.json`` is read as JSON, anything else as YAML.

    Raises:
        SchemaError: naming the file, the field and the remedy.
    """
    try:
        content = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        kind = "JSON" if name.endswith(".json") else "YAML"
        raise SchemaError(f"Schema {name} is not valid {kind}: {error}") from error
    try:
        return TableSchema.model_validate(content)
    except ValidationError as error:
        raise SchemaError(f"Schema {name} is not usable: {_explain(error)}") from error


def load_schema(path: str | Path) -> TableSchema:
    """Read a schema from a file, see :func:`parse_schema`."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SchemaError(f"Schema {path} does not exist; name a .json or .yaml file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"Schema {path} cannot be read as UTF-8 text: {error}") from error
    return parse_schema(text, str(path))


def _explain(error: ValidationError) -> str:
    found = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        given = "" if problem["type"] in ("missing", "value_error") else f" (given: {problem['input']!r:.60})"
        found.append(f"{place + ': ' if place else ''}{problem['msg'].removeprefix('Value error, ')}{given}")
    return "; ".join(found)
