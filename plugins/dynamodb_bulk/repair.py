"""Make changes in a live table, each only where the item still is what it was seen to be.

In batches of a hundred: the items are read, consistently, and those that are no longer what the change says are left
alone and reported. What is about to be written goes to the undo file first, and is durable there before the first
write. Then each item is written by one conditional request (``dynamodb_bulk.conditional``), several at a time, paced,
and with patience while the table throttles.

So it may be stopped at any moment and run again: what is done is found done, what the table's users changed meanwhile
is left, and the undo file of each run has all that this run may have written.

One window remains. A delete, and the replacement of a very wide item, can meet an attribute that their condition could
not speak of; only DynamoDB's answer brings what stood there. It goes into the undo file, and then back into the table.
A run that is killed, or whose answer is lost, after DynamoDB made the write and before that line is kept, loses the
attribute, and does not know it.

Every chosen item is accounted for as exactly one of `Outcome`.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html#WorkingWithItems.ConditionalUpdate
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError

from dynamodb_bulk.canonical import canonical_item, canonical_key, readable
from dynamodb_bulk.changes import Change, ChangesHeader
from dynamodb_bulk.conditional import ConditionalWrite, conditional_write
from dynamodb_bulk.errors import BulkError, CallDeadlineError, TableMissingError
from dynamodb_bulk.outcomes import DEFAULT_LIST_CAP, Account, Done, Outcome, RepairResult
from dynamodb_bulk.pacing import Governor
from dynamodb_bulk.patience import Effects, error_code, full_jitter
from dynamodb_bulk.transport import Transport
from dynamodb_bulk.wire import open_transport

BATCH_ITEMS = 100
"""As many as one BatchGetItem takes."""
DEFAULT_WORKERS = 8
DEFAULT_PATIENCE_SECONDS = 300.0
_UNIT_BYTES = 1024
_READ_UNIT_BYTES = 4096
_COST_MEMORY = 0.8
_LONGEST_PAUSE = 10.0
_CONDITION_FAILED = "ConditionalCheckFailedException"
_ITEM_REFUSED = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException"})


class RepairStoppedError(BulkError):
    """A repair came to a stop; run again, it goes on where it stopped."""


class UndoSink(Protocol):
    """Keeps undo lines durably."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Keep these lines; they are safe when this returns."""
        ...


@dataclass(frozen=True)
class RepairSettings:
    """How changes are made.

    Attributes:
        dry_run: only look which of them could be made.
        workers: writes under way at once.
        max_wcu: write capacity units a second to stay below; without limit when None.
        max_rcu: read capacity units a second to stay below; without limit when None.
        patience_seconds: for so long one request is repeated while DynamoDB throttles or can't be reached.
        list_cap: how many items that were left or failed the result names.
    """

    dry_run: bool = True
    workers: int = DEFAULT_WORKERS
    max_wcu: float | None = None
    max_rcu: float | None = None
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS
    list_cap: int = DEFAULT_LIST_CAP


def make_changes(
    client: Any,
    header: ChangesHeader,
    changes: Iterable[Change],
    *,
    undo: UndoSink | None = None,
    told: Callable[[Done], None] | None = None,
    before_batch: Callable[[], None] | None = None,
    settings: RepairSettings | None = None,
    effects: Effects | None = None,
) -> RepairResult:
    """Make changes in a table, or look which could be made.

    Args:
        client: a low-level DynamoDB client.
        header: of which table they are.
        changes: the chosen ones.
        undo: where to keep what takes them back; needed unless it is a dry run.
        told: called with what became of each item, from the calling thread.
        before_batch: called before each batch; what it raises ends the run.
        settings: how it is done.
        effects: clock, sleep and chance.

    Raises:
        RepairStoppedError: DynamoDB refused for a reason that has nothing to do with the item, or for too long.
        TableMissingError: the table is not there.
        AccountingError: the figures do not add up.
        ValueError: something is to be written, and there is no place for the undo lines.
    """
    settings = settings or RepairSettings()
    if undo is None and not settings.dry_run:
        raise ValueError("Nothing is written without a place for the undo file; name one.")
    effects = effects or Effects()
    account = Account(settings.list_cap, told)
    with closing(open_transport(client, pool=settings.workers, effects=effects)) as transport:
        run = _Repair(transport, header, undo, settings, effects)
        with ThreadPoolExecutor(settings.workers, thread_name_prefix="repair") as pool:
            for batch in _batches(changes):
                if before_batch is not None:
                    before_batch()
                account.chosen += len(batch)
                for done in run.batch(batch, pool):
                    account.add(done)
    return account.result()


def _batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Cut changes into what can be read at once: no more than a hundred, and no item twice."""
    batch: dict[str, Change] = {}
    for change in changes:
        if len(batch) == BATCH_ITEMS or change.key in batch:
            yield list(batch.values())
            batch = {}
        batch[change.key] = change
    if batch:
        yield list(batch.values())


class _Repair:
    """The means of one run."""

    def __init__(
        self,
        transport: Transport,
        header: ChangesHeader,
        undo: UndoSink | None,
        settings: RepairSettings,
        effects: Effects,
    ) -> None:
        self._transport = transport
        self._header = header
        self._undo = undo
        self._settings = settings
        self._effects = effects
        self._governor = None if settings.max_wcu is None else Governor(settings.max_wcu)
        self._read_governor = None if settings.max_rcu is None else Governor(settings.max_rcu)
        self._cost = 1.0
        self._keeping = threading.Lock()

    def batch(self, batch: Sequence[Change], pool: ThreadPoolExecutor) -> Iterator[Done]:
        """Yield what became of each of up to a hundred items."""
        due = []
        live = self._paced_read(batch)
        for change in batch:
            stands = live.get(change.key)
            if stands == change.new:
                yield _done(change, Outcome.ALREADY)
            elif stands != change.old:
                yield _done(change, Outcome.LEFT, _how_changed(change, stands))
            elif self._settings.dry_run:
                yield _done(change, Outcome.PLANNED)
            else:
                due.append(change)
        if due:
            self._keep([change.inverse() for change in due])
            yield from self._write_all(due, pool)

    # --- writing --------------------------------------------------------------------------------------

    def _keep(self, changes: Sequence[Change]) -> None:
        """Have what takes writes back kept durably; workers may ask for it at once."""
        if self._undo is not None:
            with self._keeping:
                self._undo.write([change.to_line() for change in changes])

    def _write_all(self, due: Sequence[Change], pool: ThreadPoolExecutor) -> Iterator[Done]:
        under_way: list[tuple[float, Future[Done]]] = []
        for change in due:
            units = self._await_turn(change)
            under_way.append((units, pool.submit(self._write, change)))
        # All of them are heard before the first failure ends the run: what was written shall be told.
        failures = [error for _, future in under_way if (error := future.exception()) is not None]
        for units, future in under_way:
            if future.exception() is None:
                done = future.result()
                self._settle(units, done.units)
                yield done
        if failures:
            raise failures[0]

    def _await_turn(self, change: Change) -> float:
        """Wait until a write may go out; return how much it is expected to consume."""
        if self._governor is None:
            return 0.0
        clock = self._effects.clock
        size = max(len(change.old or b""), len(change.new or b""))
        units = self._cost * -(-size // _UNIT_BYTES)
        if (wait := self._governor.ready_at() - clock()) > 0:
            self._effects.sleep(wait)
        self._governor.sent(clock(), units)
        return units

    def _settle(self, expected: float, consumed: float) -> None:
        if self._governor is None or not consumed:
            return
        self._governor.settled(expected, consumed)
        # Indexes make an item cost more than its own size says.
        self._cost = max(0.1, self._cost * _COST_MEMORY + consumed * self._cost / expected * (1 - _COST_MEMORY))

    def _write(self, change: Change) -> Done:
        """Write one item; this is what runs in the workers."""
        write = conditional_write(self._header.table, change)
        try:
            answer = self._call(write.operation, write.body)
        except ClientError as error:
            return self._refused(change, write, error)
        units = _units(answer)
        was = _form(answer.get("Attributes"))
        if was == change.old:
            return _done(change, Outcome.REPAIRED, units=units)
        if not write.replaces:
            return _done(change, Outcome.REPAIRED, f"kept what was added to it meanwhile: {_how(change, was)}", units)
        return self._put_back(change, write, was, units)

    def _refused(self, change: Change, write: ConditionalWrite, error: ClientError) -> Done:
        if error_code(error) in _ITEM_REFUSED:
            return _done(change, Outcome.FAILED, str(error))
        if error_code(error) != _CONDITION_FAILED:
            raise self._explain(error) from error
        stands = self._read([change.key]).get(change.key)
        if stands == change.new:
            # An earlier try of this very write came through, but its answer did not.
            return _done(change, Outcome.REPAIRED, _UNSEEN if write.replaces else "")
        return _done(change, Outcome.LEFT, _how_changed(change, stands))

    def _put_back(self, change: Change, write: ConditionalWrite, was: bytes | None, units: float) -> Done:
        """Bring back what somebody added at the very moment in which the item was replaced, or deleted."""
        back = Change(change.key, old=change.new, new=was)
        try:
            # Else a run that is killed now takes what it met with it.
            self._keep([back])
        finally:
            done = self._bring_back(change, back, write, units)
        return done

    def _bring_back(self, change: Change, back: Change, write: ConditionalWrite, units: float) -> Done:
        was = back.new
        request = conditional_write(self._header.table, back)
        try:
            answer = self._call(request.operation, request.body)
        except ClientError as error:
            if error_code(error) not in {_CONDITION_FAILED, *_ITEM_REFUSED}:
                raise self._explain(error) from error
            if self._read([change.key]).get(change.key) != was:
                reason = "it was written to twice while it was being written; what stood there first is lost"
                return _done(change, Outcome.FAILED, reason, units, lost=was)
            answer = {}
        reason = f"{write.operation} met an item that had just changed, and put it back: {_how(change, was)}"
        return _done(change, Outcome.LEFT, reason, units + _units(answer))

    # --- reading --------------------------------------------------------------------------------------

    def _paced_read(self, batch: Sequence[Change]) -> dict[str, bytes]:
        """Read the items of a batch when their turn has come; what they consume is worked out from their size."""
        keys = [change.key for change in batch]
        if self._read_governor is None:
            return self._read(keys)
        clock = self._effects.clock
        if (wait := self._read_governor.ready_at() - clock()) > 0:
            self._effects.sleep(wait)
        found = self._read(keys)
        self._read_governor.sent(clock(), sum(-(-len(found.get(key, b"?")) // _READ_UNIT_BYTES) for key in keys))
        return found

    def _read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the canonical form of the items that are there, by key."""
        table, key_names = self._header.table, self._header.key_names
        wanted: list[Any] = [json.loads(key) for key in keys]
        found: dict[str, bytes] = {}
        fruitless = 0
        gives_up_at = self._effects.clock() + self._settings.patience_seconds
        while wanted:
            request = {"RequestItems": {table: {"Keys": wanted, "ConsistentRead": True}}}
            try:
                answer = self._call("BatchGetItem", json.dumps(request).encode("ascii"))
            except ClientError as error:
                raise self._explain(error) from error
            items = answer.get("Responses", {}).get(table, [])
            for item in items:
                found[readable(canonical_key(item, key_names))] = canonical_item(item)
            wanted = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            fruitless = 0 if items else fruitless + 1
            if wanted and fruitless:
                if self._effects.clock() >= gives_up_at:
                    raise RepairStoppedError(f"Table {table} gives none of {len(wanted)} items back. {_AGAIN}")
                self._effects.sleep(full_jitter(fruitless, first=0.05, longest=_LONGEST_PAUSE, draw=self._effects.draw))
        return found

    def _call(self, operation: str, body: bytes) -> dict[str, Any]:
        deadline = self._effects.clock() + self._settings.patience_seconds
        try:
            answer: dict[str, Any] = json.loads(self._transport.call(operation, body, deadline=deadline) or b"{}")
        except CallDeadlineError as error:
            raise RepairStoppedError(f"Table {self._header.table}: {error} {_AGAIN}") from error
        return answer

    def _explain(self, error: ClientError) -> Exception:
        table = self._header.table
        if error_code(error) == "ResourceNotFoundException":
            return TableMissingError(f"Table {table} is not there: {error}. Check its name, Region and account.")
        return RepairStoppedError(
            f"Table {table} refused: {error}. Check the rights to dynamodb:BatchGetItem, PutItem, UpdateItem and "
            f"DeleteItem. {_AGAIN}"
        )


_UNSEEN = "the answer was lost: whether somebody had just added to it is not known"
_AGAIN = "What was repaired stays so, and is in the undo file; run it again to go on."


def _done(change: Change, outcome: Outcome, reason: str = "", units: float = 0.0, *, lost: bytes | None = None) -> Done:
    return Done(change.key, str(change.kind), outcome, reason, units, lost)


def _how_changed(change: Change, stands: bytes | None) -> str:
    if stands is None:
        return "it is not there any more"
    if change.old is None:
        return "it is there, with another content than it shall have"
    return f"it changed meanwhile: {_how(change, stands)}"


def _how(change: Change, stands: bytes | None) -> str:
    if stands is None:
        return "it was gone"
    return ", ".join(Change(change.key, old=change.old, new=stands).paths())


def _form(item: Any) -> bytes | None:
    return canonical_item(item) if item else None


def _units(answer: dict[str, Any]) -> float:
    return float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))
