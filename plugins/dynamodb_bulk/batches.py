"""Writing items with BatchWriteItem: full batches at the pace of the table, patient resending, and an end in sight.

A batch has at most 25 items and 16 MB. What DynamoDB does not take (``UnprocessedItems``, throttling, a server
error, a lost connection) is sent again, only that, together with items that are still to come, so that batches stay
full. How fast, and after which pauses, is for ``dynamodb_bulk.pacing`` to say. Two limits keep it from going on for
ever: a deadline for the whole load, and a stall limit for the time in which not one item is accepted.

One thread reads, decides and keeps the accounts; the others only send.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

import orjson
from botocore.config import Config
from botocore.exceptions import ClientError

from dynamodb_bulk.errors import LoadDeadlineError, LoadStalledError, TableMissingError, WriteRefusedError
from dynamodb_bulk.pacing import Governor, Pacer
from dynamodb_bulk.patience import TRANSPORT_ERRORS, Effects, error_code, is_retryable, is_throttling
from dynamodb_bulk.transport import Transport

MAX_BATCH_ITEMS = 25

# AWS counts 16 MB on the wire; the rest is room for the request around the items.
MAX_BATCH_BYTES = 15 * 1024 * 1024

_DEFAULT_WORKERS = 4
_NONE_REFUSED = b'{"UnprocessedItems":{}}'
_OPERATION = "BatchWriteItem"
_UNIT_BYTES = 1024

# How fast the expected cost of an item follows what DynamoDB says it was.
_COST_MEMORY = 0.8


class DynamoDBClient(Protocol):
    """The two calls of boto3's DynamoDB client that a load needs, if it is not botocore's own."""

    def batch_write_item(self, *, RequestItems: Any) -> Any:
        """Put up to 25 items."""
        ...

    def describe_table(self, *, TableName: str) -> Any:
        """Return a table's state and key schema."""
        ...


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a load behaves.

    Args:
        max_reject_ratio: share of the rows (0 to 1) that may be rejected; more of them, and nothing is
            written.
        workers: requests under way at once.
        deadline_seconds: the whole load, reading and writing, ends in this time or fails.
        stall_seconds: the load fails when DynamoDB accepts no item for so long.
        pause_seconds: upper bound of the first pause before items are sent again.
        longest_pause_seconds: the bound up to which the pauses grow.
        max_wcu: write capacity units per second that the load may consume; no limit of its own if None.
        capacity_share: share of the table's provisioned write capacity (0 to 1) that the load may consume.
        checkpoint_seconds: how often a load with a checkpoint keeps how far it is.
    """

    max_reject_ratio: float = 0.05
    workers: int = _DEFAULT_WORKERS
    deadline_seconds: float = 3600.0
    stall_seconds: float = 120.0
    pause_seconds: float = 0.05
    longest_pause_seconds: float = 10.0
    max_wcu: float | None = None
    capacity_share: float | None = None
    checkpoint_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_reject_ratio <= 1:
            raise ValueError(f"max_reject_ratio is {self.max_reject_ratio}; it must be from 0 to 1")
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}; it must be 1 or more")
        for name in (
            "deadline_seconds",
            "stall_seconds",
            "pause_seconds",
            "longest_pause_seconds",
            "checkpoint_seconds",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be more than 0")
        if self.max_wcu is not None and self.max_wcu <= 0:
            raise ValueError(f"max_wcu is {self.max_wcu}; it must be more than 0")
        if self.capacity_share is not None and not 0 < self.capacity_share <= 1:
            raise ValueError(f"capacity_share is {self.capacity_share}; it must be more than 0 and at most 1")


class WriteCounts(NamedTuple):
    """What was written, and what it took."""

    written: int
    batches: int
    resent: int


class Landed(NamedTuple):
    """Up to which line every row to be written is, and how many of them there are."""

    line: int
    written: int


def bulk_client_config(workers: int = _DEFAULT_WORKERS) -> Config:
    """Return the botocore settings that suit a load: it does its own resending, with its own limits."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=max(workers, 10),
        connect_timeout=5,
        read_timeout=20,
    )


class Parcel:
    """Items of neighbouring rows that are sent together at first.

    Args:
        lines: the lines of the rows, in order.
        requests: their items, as ``columns.encode`` returns them.
    """

    __slots__ = ("count", "first_line", "last_line", "remaining", "requests")

    def __init__(self, lines: Sequence[int], requests: list[bytes]) -> None:
        self.first_line = lines[0]
        self.last_line = lines[-1]
        self.requests = requests
        self.count = self.remaining = len(requests)


def pack(groups: Iterable[tuple[Sequence[int], Sequence[bytes]]]) -> Iterator[Parcel]:
    """Yield parcels within DynamoDB's limits, in order; no two items may have the same key.

    Args:
        groups: lines and items of any number of rows, and so on.
    """
    lines: list[int] = []
    requests: list[bytes] = []
    for more_lines, more_requests in groups:
        lines += more_lines
        requests += more_requests
        start = 0
        while len(requests) - start >= MAX_BATCH_ITEMS:
            end = start + _fitting(requests, start)
            yield Parcel(lines[start:end], requests[start:end])
            start = end
        del lines[:start], requests[:start]
    while requests:
        end = _fitting(requests, 0)
        yield Parcel(lines[:end], requests[:end])
        del lines[:end], requests[:end]


def _fitting(requests: Sequence[bytes], start: int) -> int:
    """Return how many of the requests from `start` on go into one batch."""
    batch = requests[start : start + MAX_BATCH_ITEMS]
    if sum(map(len, batch)) <= MAX_BATCH_BYTES:
        return len(batch)
    held = 0
    for count, request in enumerate(batch):
        held += len(request) + 1
        if held > MAX_BATCH_BYTES and count:
            return count
    return len(batch)


class _Leftover(NamedTuple):
    """An item that is still to be sent, the parcel that it belongs to, and whether it was refused before."""

    request: bytes
    parcel: Parcel
    again: bool


class _Shipment(NamedTuple):
    """What goes out in one request: items, the parcel of each, how many are sent again, and what is expected."""

    requests: list[bytes]
    parcels: Sequence[Parcel]
    again: int
    units: float


class _Outcome(NamedTuple):
    shipment: _Shipment
    sent_at: float
    answer: bytes | Exception


class _InlineLanes:
    """Sends in the calling thread, one request after the other."""

    def __init__(self, send: Callable[[_Shipment], _Outcome]) -> None:
        self._send = send
        self._done: deque[_Outcome] = deque()
        self.busy = 0

    def put(self, shipment: _Shipment) -> None:
        self._done.append(self._send(shipment))
        self.busy += 1

    def take(self, timeout: float | None) -> _Outcome | None:
        if not self._done:
            return None
        self.busy -= 1
        return self._done.popleft()

    def close(self) -> None:
        self._done.clear()


class _ThreadLanes:
    """Sends in a fixed number of threads."""

    def __init__(self, send: Callable[[_Shipment], _Outcome], workers: int) -> None:
        self._send = send
        self._tasks: SimpleQueue[_Shipment | None] = SimpleQueue()
        self._done: SimpleQueue[_Outcome | BaseException] = SimpleQueue()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"load-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        self.busy = 0

    def _run(self) -> None:
        while (shipment := self._tasks.get()) is not None:
            if self._stopped.is_set():
                continue
            try:
                self._done.put(self._send(shipment))
            except BaseException as error:
                self._done.put(error)

    def put(self, shipment: _Shipment) -> None:
        self.busy += 1
        self._tasks.put(shipment)

    def take(self, timeout: float | None) -> _Outcome | None:
        try:
            outcome = self._done.get() if timeout is None else self._done.get(timeout > 0, timeout)
        except Empty:
            return None
        self.busy -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def close(self) -> None:
        self._stopped.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()


class BatchWriter:
    """Writes items to one table.

    Args:
        transport: the way to DynamoDB.
        table_name: the table.
        key_names: names of its key attributes.
        settings: limits and pauses.
        effects: clock, sleep and chance.
        deadline: the moment, by the clock of `effects`, at which the load must be over.
        progress: called with the number of items written so far, after each batch, from the thread
            that called `write`.
        max_wcu: write capacity units per second that may be consumed; no limit of its own if None.
    """

    def __init__(
        self,
        transport: Transport,
        table_name: str,
        *,
        key_names: Sequence[str],
        settings: LoadSettings,
        effects: Effects,
        deadline: float,
        progress: Callable[[int], None] | None = None,
        max_wcu: float | None = None,
    ) -> None:
        self._transport = transport
        self._table_name = table_name
        self._key_names = key_names
        self._settings = settings
        self._effects = effects
        self._deadline = deadline
        self._progress = progress
        self._landed: Callable[[Landed], None] | None = None
        self._governor = None if max_wcu is None else Governor(max_wcu)
        self._pacer = Pacer(
            first_pause=settings.pause_seconds, longest_pause=settings.longest_pause_seconds, draw=effects.draw
        )
        self._head = b'{"RequestItems":{%b:[' % orjson.dumps(table_name)
        self._tail = b"]}}" if max_wcu is None else b']},"ReturnConsumedCapacity":"TOTAL"}'
        self._leftovers: deque[_Leftover] = deque()
        self._open: deque[Parcel] = deque()
        self._landed_count = 0
        self._refused_since: float | None = None
        self._reason = "none"
        self._cost = 1.0
        self._written = 0
        self._batches = 0
        self._resent = 0

    @property
    def counts(self) -> WriteCounts:
        """What was written so far, over all calls of :meth:`write`."""
        return WriteCounts(self._written, self._batches, self._resent)

    def close(self) -> None:
        """Close the connections that idle."""
        self._transport.close()

    def write(self, parcels: Iterable[Parcel], *, landed: Callable[[Landed], None] | None = None) -> WriteCounts:
        """Write all items and return what was written over all calls; the keys of the items must be distinct.

        Args:
            parcels: the items, in the order of their lines.
            landed: called when all of them up to a line are written, counted from the beginning of this call.

        Raises:
            TableMissingError: the table is not there.
            WriteRefusedError: DynamoDB refused a batch for good.
            LoadStalledError: nothing was accepted for `stall_seconds`.
            LoadDeadlineError: the deadline has come.
        """
        source = iter(parcels)
        self._landed, self._landed_count = landed, 0
        workers = self._settings.workers
        lanes = _InlineLanes(self._send) if workers == 1 else _ThreadLanes(self._send, workers)
        with closing(lanes):
            while (shipment := self._next_shipment(source, lanes)) is not None:
                self._wait_for_turn(shipment, lanes)
                self._put(shipment, lanes)
                while lanes.busy and (outcome := lanes.take(0)) is not None:
                    self._settle(outcome)
        return self.counts

    # --- sending --------------------------------------------------------------------------------------

    def _next_shipment(self, source: Iterator[Parcel], lanes: "_InlineLanes | _ThreadLanes") -> _Shipment | None:
        """Return what is to be sent next, or None when all is written."""
        while True:
            if self._leftovers:
                return self._mixed_shipment(source)
            parcel = self._open_parcel(source)
            if parcel is not None:
                return self._shipment(parcel.requests, [parcel] * parcel.count, again=0)
            if not lanes.busy:
                return None
            outcome = lanes.take(None)
            if outcome is not None:
                self._settle(outcome)

    def _open_parcel(self, source: Iterator[Parcel]) -> Parcel | None:
        parcel = next(source, None)
        if parcel is not None:
            self._open.append(parcel)
        return parcel

    def _mixed_shipment(self, source: Iterator[Parcel]) -> _Shipment:
        """Return what was refused, filled up with what is still to come."""
        if len(self._leftovers) < MAX_BATCH_ITEMS and (parcel := self._open_parcel(source)) is not None:
            self._leftovers.extend(_Leftover(request, parcel, again=False) for request in parcel.requests)
        count = _fitting([entry.request for entry in islice(self._leftovers, MAX_BATCH_ITEMS)], 0)
        entries = [self._leftovers.popleft() for _ in range(count)]
        return self._shipment(
            [entry.request for entry in entries],
            [entry.parcel for entry in entries],
            again=sum(entry.again for entry in entries),
        )

    def _shipment(self, requests: list[bytes], parcels: Sequence[Parcel], *, again: int) -> _Shipment:
        units = 0.0
        if self._governor is not None:
            units = self._cost * sum(-(-len(request) // _UNIT_BYTES) for request in requests)
        return _Shipment(requests, parcels, again, units)

    def _wait_for_turn(self, shipment: _Shipment, lanes: "_InlineLanes | _ThreadLanes") -> None:
        """Return when a shipment may go; meanwhile settle what comes back."""
        clock = self._effects.clock
        rested = False
        while True:
            self._check_limits(shipment)
            if lanes.busy >= self._room():
                outcome = lanes.take(None)
            elif rested or (wait := self._ready_at() - clock()) <= 0:
                return
            elif lanes.busy:
                outcome = lanes.take(wait)
            else:
                self._effects.sleep(max(0.0, min(wait, self._deadline - clock(), self._stalls_at() - clock())))
                rested = True
                continue
            if outcome is not None:
                self._settle(outcome)

    def _room(self) -> int:
        if self._pacer.probing:
            return 1
        # One waits beside those under way, so that no worker waits for the file; more would all be sent in vain when
        # the first of them is refused. What is paced must not queue up at all.
        paced = self._pacer.rate is not None or self._governor is not None
        return self._settings.workers + (0 if paced else 1)

    def _ready_at(self) -> float:
        ready_at = self._pacer.ready_at()
        return ready_at if self._governor is None else max(ready_at, self._governor.ready_at())

    def _put(self, shipment: _Shipment, lanes: "_InlineLanes | _ThreadLanes") -> None:
        now = self._effects.clock()
        self._pacer.sent(now, len(shipment.requests))
        if self._governor is not None:
            self._governor.sent(now, shipment.units)
        lanes.put(shipment)

    def _send(self, shipment: _Shipment) -> _Outcome:
        """Send a shipment once; this is what runs in the workers."""
        sent_at = self._effects.clock()
        body = self._head + b",".join(shipment.requests) + self._tail
        try:
            answer = self._transport.attempt(_OPERATION, body, timeout=max(0.001, self._deadline - sent_at))
        except Exception as error:
            return _Outcome(shipment, sent_at, error)
        return _Outcome(shipment, sent_at, answer)

    # --- answers --------------------------------------------------------------------------------------

    def _settle(self, outcome: _Outcome) -> None:
        """Take note of what became of a shipment."""
        shipment, sent_at, answer = outcome
        now = self._effects.clock()
        count = len(shipment.requests)
        refused: Sequence[int] = ()
        if isinstance(answer, Exception):
            if not is_retryable(answer):
                raise self._explain(answer, shipment) from answer
            refused, self._reason = range(count), str(answer)
        elif answer != _NONE_REFUSED:
            refused = self._read_answer(shipment, answer)
        self._batches += 1
        self._resent += shipment.again
        accepted = count - len(refused)
        if accepted:
            self._written += accepted
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = sent_at
        gives_up_at = min(self._stalls_at(), self._deadline)
        if isinstance(answer, Exception) and not is_throttling(answer):
            self._pacer.failed(now, sent_at=sent_at, gives_up_at=gives_up_at)
        else:
            self._pacer.settled(now, sent_at=sent_at, items=count, accepted=accepted, gives_up_at=gives_up_at)
        self._account(shipment, refused)
        if self._progress:
            self._progress(self._written)

    def _read_answer(self, shipment: _Shipment, answer: bytes) -> Sequence[int]:
        """Return which items of a shipment were refused, by their places in it."""
        content = orjson.loads(answer)
        if self._governor is not None:
            self._settle_capacity(shipment, content.get("ConsumedCapacity", ()))
        refused = [one for left in content.get("UnprocessedItems", {}).values() for one in left]
        if not refused:
            return ()
        self._reason = "UnprocessedItems"
        if len(refused) == len(shipment.requests):
            return range(len(refused))
        places = {self._key(orjson.loads(request)): place for place, request in enumerate(shipment.requests)}
        found = {places.get(self._key(one)) for one in refused}
        if None in found or len(found) < len(refused):
            # The answer names items that were not sent so. To send all of them again is always right.
            return range(len(shipment.requests))
        return sorted(place for place in found if place is not None)

    def _key(self, request: Any) -> tuple[Any, ...]:
        item = request["PutRequest"]["Item"]
        return tuple(
            Decimal(value) if kind == "N" else value for name in self._key_names for kind, value in item[name].items()
        )

    def _settle_capacity(self, shipment: _Shipment, consumed: Iterable[Any]) -> None:
        units = sum(float(entry["CapacityUnits"]) for entry in consumed)
        if self._governor is None or not units:
            return
        self._governor.settled(shipment.units, units)
        # Indexes, and items that replace larger ones, cost more than an item's own size says.
        cost = units * self._cost / shipment.units
        self._cost = max(0.1, self._cost * _COST_MEMORY + cost * (1 - _COST_MEMORY))

    def _account(self, shipment: _Shipment, refused: Sequence[int]) -> None:
        """Put what was refused back, and close the parcels that have arrived whole."""
        for parcel in shipment.parcels:
            parcel.remaining -= 1
        for place in refused:
            shipment.parcels[place].remaining += 1
        self._leftovers.extendleft(
            _Leftover(shipment.requests[place], shipment.parcels[place], again=True) for place in reversed(refused)
        )
        line = None
        while self._open and not self._open[0].remaining:
            parcel = self._open.popleft()
            self._landed_count += parcel.count
            line = parcel.last_line
        if line is not None and self._landed:
            self._landed(Landed(line, self._landed_count))

    # --- limits ---------------------------------------------------------------------------------------

    def _stalls_at(self) -> float:
        # Not from the last acceptance on: reading a slow source is no stall of the table.
        if self._refused_since is None:
            return float("inf")
        return self._refused_since + self._settings.stall_seconds

    def _check_limits(self, shipment: _Shipment) -> None:
        now = self._effects.clock()
        settings = self._settings
        if now >= self._stalls_at():
            raise LoadStalledError(
                f"DynamoDB accepted nothing for {settings.stall_seconds:g} s. {self._state(shipment)} Check that the "
                "table has write capacity and that the endpoint answers."
            )
        if now >= self._deadline:
            raise LoadDeadlineError(
                f"The load took {settings.deadline_seconds:g} s and is not done. {self._state(shipment)} Raise the "
                "deadline or the table's write capacity."
            )

    def _state(self, shipment: _Shipment) -> str:
        first, last = _span(shipment)
        return (
            f"{self._table_name}: {self._written} items are written; {len(shipment.requests)} items of lines "
            f"{first} to {last} still are not (last refusal: {self._reason}). Loading the "
            "file again is safe, as the same rows give the same items."
        )

    def _explain(self, error: Exception, shipment: _Shipment) -> Exception:
        name = self._table_name
        if not isinstance(error, (ClientError, *TRANSPORT_ERRORS)):
            return error
        if isinstance(error, ClientError) and error_code(error) == "ResourceNotFoundException":
            return TableMissingError(
                f"Table {name} is not there any more: {error}. {self._written} items had been written."
            )
        first, last = _span(shipment)
        return WriteRefusedError(
            f"Table {name} refused the items of lines {first} to {last}: {error}. "
            "Check the right to dynamodb:BatchWriteItem, and that the schema's types fit the table's keys "
            f"and indexes. {self._written} items had been written."
        )


def _span(shipment: _Shipment) -> tuple[int, int]:
    return min(parcel.first_line for parcel in shipment.parcels), max(parcel.last_line for parcel in shipment.parcels)
