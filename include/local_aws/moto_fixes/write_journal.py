"""A short memory of each table's writes, so that a snapshot can show the table as it was a moment ago.

moto keeps no history. AWS Backup promises what was committed up to a minute before the request and leaves
the last minute open, so a snapshot has to be able to leave that minute out.
`local_aws.moto_fixes.copy_on_write` reports every write here; the journal is off, and costs one comparison
a write, until `keep` is called.

See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateBackup.html for the promise.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

ATTRIBUTE: Final = "local_aws_write_journal"
"""Name under which a table carries its journal; a copy of the table takes the records along."""

_OWN_WINDOW: Final = "local_aws_write_journal_window"


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """One write: when, on which key, and what the key held before (None: nothing)."""

    at: datetime
    hash_key: DynamoType
    range_key: DynamoType | None
    before: Item | None


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Journal:
    def __init__(self) -> None:
        self.window: timedelta | None = None
        self.clock: Callable[[], datetime] = _utc_now
        self.instant: datetime | None = None


_journal: Final = _Journal()


def keep(window: timedelta | None) -> None:
    """Keep the writes of the last `window`; None, the default: none. Earlier writes stay unknown."""
    if window is not None and window <= timedelta(0):
        raise ValueError(f"The journal window must be longer than zero, got {window}; None switches it off.")
    _journal.window = window


def keep_for(table: Table, window: timedelta | None) -> None:
    """Keep the writes of one table for as long, though those of others are kept for less; None: no more."""
    if window is not None:
        table.__dict__[_OWN_WINDOW] = window
    else:
        table.__dict__.pop(_OWN_WINDOW, None)
        if _journal.window is None:
            table.__dict__.pop(ATTRIBUTE, None)


def window(table: Table) -> timedelta | None:
    """Return how far back the journal of a table reaches, None when it is off."""
    return _window_of(table)


def _window_of(table: Table) -> timedelta | None:
    own: timedelta | None = table.__dict__.get(_OWN_WINDOW)
    if own is None or (_journal.window is not None and _journal.window > own):
        return _journal.window
    return own


def use_clock(clock: Callable[[], datetime] | None) -> None:
    """Take the time of each write from `clock` (returns aware datetimes); None: the machine's clock again."""
    _journal.clock = clock or _utc_now


@contextmanager
def one_instant() -> Iterator[None]:
    """Give all writes inside one time, so that no snapshot splits them. Call with the state lock held."""
    if _journal.instant is not None:
        yield
        return
    _journal.instant = _journal.clock()
    try:
        yield
    finally:
        _journal.instant = None


def record(table: Table, hash_key: DynamoType, range_key: DynamoType | None, before: Item | None) -> None:
    """Remember that a key of `table` is being overwritten; forget what has left the window."""
    kept = _window_of(table)
    if kept is None:
        return
    at = _journal.instant or _journal.clock()
    records = _records_of(table)
    records.append(WriteRecord(at, hash_key, range_key, before))
    horizon = at - kept
    while records[0].at <= horizon:
        records.popleft()


def writes_after(table: Table, instant: datetime) -> Iterator[WriteRecord]:
    """Yield the writes of `table` later than `instant`, newest first."""
    for entry in reversed(_records_of(table)):
        if entry.at <= instant:
            return
        yield entry


def _records_of(table: Table) -> "deque[WriteRecord]":
    attributes: dict[str, Any] = table.__dict__
    records: deque[WriteRecord] = attributes.setdefault(ATTRIBUTE, deque())
    return records
