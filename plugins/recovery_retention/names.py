"""Names and tags of restored tables, and the guard that stands before every deletion of a table.

A restored table is called ``<source table>-restored-<yyyymmdd>-<8 hex digits>``. The guard lets nothing be
deleted that is not called so, for a source that the caller lists; a protected table itself never is.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

MANAGED_BY_TAG = "managed-by"
MANAGED_BY = "dynamodb-backup-proof"
RUN_TAG = "run"
KEEP_TAG = "keep"
"""A restored table with this tag, whatever its value, is never swept."""

MAX_TABLE_NAME = 255
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html"""
MAX_TAG_VALUE = 256
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Tagging.html"""

_RESTORED = re.compile(r"(?P<source>[A-Za-z0-9_.-]+)-restored-(?P<date>[0-9]{8})-(?P<run>[0-9a-f]{8})")
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")


class UndeletableTableError(PermissionError):
    """A table may not be deleted: it is not a restored table of a source that is allowed."""

    def __init__(self, table_name: str, allowed_sources: Collection[str]) -> None:
        self.table_name = table_name
        self.allowed_sources = tuple(sorted(allowed_sources))
        allowed = ", ".join(self.allowed_sources) or "none"
        super().__init__(
            f"Refused to delete table {table_name!r}: only '<source>-restored-<yyyymmdd>-<8 hex digits>' "
            f"may be, for these sources: {allowed}. If it really has to go, delete it by hand."
        )

    def __reduce__(self) -> tuple[type[UndeletableTableError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.table_name, self.allowed_sources)


class RestoredNameTooLongError(ValueError):
    """A source table's name leaves no room for the ending that its restored tables get."""


@dataclass(frozen=True)
class RestoredName:
    """The parts of a restored table's name."""

    source: str
    date: dt.date
    run_hash: str


def restored_table_name(source: str, as_of: dt.date, run_id: str) -> str:
    """Return the name of the table that a run restores a source table to; the same run, the same name.

    Args:
        source: the table that was backed up.
        as_of: the date that the run stands for.
        run_id: the run's identifier, of which the name carries a hash.

    Raises:
        RestoredNameTooLongError: if the name would be longer than a table's name may be.
    """
    day = as_of.isoformat()[:10].replace("-", "")
    name = f"{source}-restored-{day}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"
    if len(name) > MAX_TABLE_NAME:
        raise RestoredNameTooLongError(
            f"A restored table of {source!r} would have a name of {len(name)} characters; DynamoDB takes "
            f"{MAX_TABLE_NAME}. Restore it by hand, or under a shorter source name."
        )
    return name


def parse_restored_name(name: str) -> RestoredName | None:
    """Take a restored table's name apart; None if it is any other name."""
    match = _RESTORED.fullmatch(name)
    if match is None or len(name) > MAX_TABLE_NAME:
        return None
    try:
        date = dt.datetime.strptime(match["date"], "%Y%m%d").date()
    except ValueError:
        return None
    return RestoredName(match["source"], date, match["run"])


def ensure_deletable_table(name: str, allowed_sources: Collection[str]) -> RestoredName:
    """Return the parts of a restored table's name, or refuse: call this before every DeleteTable.

    Args:
        name: the table about to be deleted.
        allowed_sources: the tables whose restored copies may be deleted.

    Raises:
        UndeletableTableError: if the name is not that of a restored copy of one of them.
    """
    if isinstance(allowed_sources, str):
        # "orders" in "orders-archive" is true for text: a lone name must not be taken for a list of letters.
        raise TypeError("allowed_sources is a collection of table names, not one name.")
    parts = parse_restored_name(name)
    if parts is None or parts.source not in allowed_sources or name in allowed_sources:
        raise UndeletableTableError(name, allowed_sources)
    return parts


def run_tag(dag_id: str, run_id: str) -> str:
    """Return the tag value that says which run made a table: ``<dag_id>/<run_id>``.

    What a tag may not hold is replaced by ``_``; a value that had to be changed or is too long ends in a
    hash of the original, so that two runs never share one.
    """
    original = f"{dag_id}/{run_id}"
    value = _NOT_IN_TAG.sub("_", original)
    if value == original and len(value) <= MAX_TAG_VALUE:
        return value
    ending = f"-{hashlib.sha256(original.encode()).hexdigest()[:12]}"
    return value[: MAX_TAG_VALUE - len(ending)] + ending
