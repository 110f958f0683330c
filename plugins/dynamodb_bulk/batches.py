"""Writing items with BatchWriteItem: full batches, patient resending, and an end in sight.

A batch has at most 25 items and 16 MB. What DynamoDB does not take (``UnprocessedItems``, throttling,
a server error, a lost connection) is sent again after a random pause whose upper bound doubles, and only
that. Two limits keep it from going on for ever: a deadline for the whole load, and a stall limit for the
time in which not one item is accepted.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from botocore.config import Config
from botocore.exceptions import ClientError

from dynamodb_bulk.csv_rows import Row
from dynamodb_bulk.errors import LoadDeadlineError, LoadStalledError, TableMissingError, WriteRefusedError
from dynamodb_bulk.patience import CONNECTION_ERRORS, error_code, full_jitter, is_retryable

MAX_BATCH_ITEMS = 25

# AWS counts 16 MB on the wire; the rest is room for the request around the items.
MAX_BATCH_BYTES = 15 * 1024 * 1024

# JSON writes a character as six bytes at worst, so smaller items need not be measured: 25 of them fit.
_MEASURED_BYTES = 64 * 1024
_JSON_FACTOR = 6
_JSON_OVERHEAD = 1024

_DEFAULT_WORKERS = 4


class DynamoDBClient(Protocol):
    """The two calls of boto3's DynamoDB client that a load needs."""

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Any]]) -> Any:
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
    """

    max_reject_ratio: float = 0.05
    workers: int = _DEFAULT_WORKERS
    deadline_seconds: float = 3600.0
    stall_seconds: float = 120.0
    pause_seconds: float = 0.05
    longest_pause_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_reject_ratio <= 1:
            raise ValueError(f"max_reject_ratio is {self.max_reject_ratio}; it must be from 0 to 1")
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}; it must be 1 or more")
        for name in ("deadline_seconds", "stall_seconds", "pause_seconds", "longest_pause_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be more than 0")


@dataclass(frozen=True, slots=True)
class Effects:
    """What a load takes from the world around it; tests put their own in.

    Args:
        clock: seconds that only grow.
        sleep: waits for a number of seconds.
        draw: a random number from 0 to 1.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random


class Batch(NamedTuple):
    """Items of one request, and the lines of the file that they came from."""

    first_line: int
    last_line: int
    requests: list[dict[str, Any]]


class WriteCounts(NamedTuple):
    """What was written, and what it took."""

    written: int
    batches: int
    resent: int


def bulk_client_config(workers: int = _DEFAULT_WORKERS) -> Config:
    """Return the botocore settings that suit a load: it does its own resending, with its own limits."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=max(workers, 10),
        connect_timeout=5,
        read_timeout=20,
    )


def pack(rows: Iterable[Row]) -> Iterator[Batch]:
    """Yield batches within DynamoDB's limits, in the order of `rows`; no two rows may have the same key."""
    lines: list[int] = []
    requests: list[dict[str, Any]] = []
    total = 0
    for row in rows:
        length = _wire_length(row)
        if requests and (len(requests) == MAX_BATCH_ITEMS or total + length > MAX_BATCH_BYTES):
            yield Batch(lines[0], lines[-1], requests)
            lines, requests, total = [], [], 0
        lines.append(row.line)
        requests.append({"PutRequest": {"Item": row.item}})
        total += length
    if requests:
        yield Batch(lines[0], lines[-1], requests)


def _wire_length(row: Row) -> int:
    if row.size <= _MEASURED_BYTES:
        return row.size * _JSON_FACTOR + _JSON_OVERHEAD
    return len(json.dumps(row.item)) + _JSON_OVERHEAD


class BatchWriter:
    """Writes items to one table.

    Args:
        client: boto3's low-level DynamoDB client, best made with :func:`bulk_client_config`.
        table_name: the table.
        settings: limits and pauses.
        effects: clock, sleep and chance.
        deadline: the moment, by the clock of `effects`, at which the load must be over.
        progress: called with the number of items written so far, after each batch, from the thread
            that called `write`.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table_name: str,
        *,
        settings: LoadSettings,
        effects: Effects,
        deadline: float,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._client = client
        self._table_name = table_name
        self._settings = settings
        self._effects = effects
        self._deadline = deadline
        self._progress = progress
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._last_accepted = effects.clock()
        self._written = 0
        self._batches = 0
        self._resent = 0

    def write(self, rows: Iterable[Row]) -> WriteCounts:
        """Write all `rows` and return what was written; the keys of the rows must be distinct.

        Raises:
            TableMissingError: the table is not there.
            WriteRefusedError: DynamoDB refused a batch for good.
            LoadStalledError: nothing was accepted for `stall_seconds`.
            LoadDeadlineError: the deadline has come.
        """
        self._last_accepted = self._effects.clock()
        if self._settings.workers == 1:
            for batch in pack(rows):
                self._send(batch)
                self._report()
        else:
            self._write_in_threads(pack(rows))
        return WriteCounts(self._written, self._batches, self._resent)

    def _write_in_threads(self, batches: Iterator[Batch]) -> None:
        running: set[Future[None]] = set()
        with ThreadPoolExecutor(self._settings.workers, thread_name_prefix="load") as pool:
            try:
                for batch in batches:
                    running.add(pool.submit(self._send, batch))
                    # Two batches for each worker, so that none waits for the file and memory stays flat.
                    if len(running) >= 2 * self._settings.workers:
                        running = self._settle(running)
                while running:
                    running = self._settle(running)
            except BaseException:
                self._stopped.set()
                raise

    def _settle(self, running: set[Future[None]]) -> set[Future[None]]:
        done, rest = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        self._report()
        return rest

    def _report(self) -> None:
        if self._progress:
            self._progress(self._written)

    def _send(self, batch: Batch) -> None:
        """Send one batch until the last of its items is accepted."""
        began = self._effects.clock()
        waiting = batch.requests
        reason = "none"
        fruitless = 0
        while waiting and not self._stopped.is_set():
            if fruitless:
                self._pause(batch, waiting, began, fruitless, reason)
            self._check_deadline(batch, waiting, reason)
            refused, reason = self._attempt(batch, waiting, again=fruitless > 0)
            # Where some were taken the table has room, so the pauses start small again.
            fruitless = fruitless + 1 if len(refused) == len(waiting) else 1
            waiting = refused

    def _attempt(self, batch: Batch, waiting: list[dict[str, Any]], *, again: bool) -> tuple[list[dict[str, Any]], str]:
        """Send `waiting` once; return what was not accepted, and why."""
        reason = "UnprocessedItems"
        try:
            answer = self._client.batch_write_item(RequestItems={self._table_name: waiting})
            refused = [one for left in answer.get("UnprocessedItems", {}).values() for one in left]
        except (ClientError, *CONNECTION_ERRORS) as error:
            if not is_retryable(error):
                raise self._explain(error, batch) from error
            refused, reason = waiting, str(error)
        with self._lock:
            self._batches += 1
            self._resent += len(waiting) if again else 0
            if len(refused) < len(waiting):
                self._written += len(waiting) - len(refused)
                self._last_accepted = self._effects.clock()
        return refused, reason

    def _pause(self, batch: Batch, waiting: Sequence[Any], began: float, fruitless: int, reason: str) -> None:
        """Wait before `waiting` is sent again; give up if nothing was accepted for too long."""
        settings = self._settings
        now = self._effects.clock()
        with self._lock:
            # Not the last acceptance alone: reading a slow source is no stall of the table.
            stalls_at = max(self._last_accepted, began) + settings.stall_seconds
        if now >= stalls_at:
            raise LoadStalledError(
                f"DynamoDB accepted nothing for {settings.stall_seconds:g} s. "
                f"{self._state(batch, waiting, reason)} Check that the table has write capacity and that the "
                "endpoint answers."
            )
        pause = full_jitter(
            fruitless,
            first=settings.pause_seconds,
            longest=settings.longest_pause_seconds,
            draw=self._effects.draw,
        )
        self._effects.sleep(max(0.0, min(pause, self._deadline - now, stalls_at - now)))

    def _check_deadline(self, batch: Batch, waiting: Sequence[Any], reason: str) -> None:
        if self._effects.clock() >= self._deadline:
            raise LoadDeadlineError(
                f"The load took {self._settings.deadline_seconds:g} s and is not done. "
                f"{self._state(batch, waiting, reason)} Raise the deadline or the table's write capacity."
            )

    def _state(self, batch: Batch, waiting: Sequence[Any], reason: str) -> str:
        return (
            f"{self._table_name}: {self._written} items are written; {len(waiting)} items of lines "
            f"{batch.first_line} to {batch.last_line} still are not (last refusal: {reason}). Loading the "
            "file again is safe, as the same rows give the same items."
        )

    def _explain(self, error: Exception, batch: Batch) -> Exception:
        name = self._table_name
        if isinstance(error, ClientError) and error_code(error) == "ResourceNotFoundException":
            return TableMissingError(
                f"Table {name} is not there any more: {error}. {self._written} items had been written."
            )
        return WriteRefusedError(
            f"Table {name} refused the items of lines {batch.first_line} to {batch.last_line}: {error}. "
            "Check the right to dynamodb:BatchWriteItem, and that the schema's types fit the table's keys "
            f"and indexes. {self._written} items had been written."
        )
