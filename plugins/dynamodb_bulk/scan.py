"""Reading a whole DynamoDB table: a Scan in parallel segments, page by page, without boto3's parser.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import ClientError

from dynamodb_bulk.canonical import Item
from dynamodb_bulk.errors import BulkError, TableMissingError
from dynamodb_bulk.garbage import collector_paused
from dynamodb_bulk.patience import Effects, error_code
from dynamodb_bulk.read_pace import ReadPace
from dynamodb_bulk.transport import Transport
from dynamodb_bulk.wire import open_transport

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFAULT_SEGMENTS = 4
MAX_SEGMENTS = 1_000_000
"""What the Scan operation takes as TotalSegments at most."""
MAX_THREADS = 32
"""So many segments are read at the same time; the others wait: more requests at a time only queue at the client."""
DEFAULT_PATIENCE_SECONDS = 300.0
"""How long one page is asked for again and again, while DynamoDB throttles, fails or can't be reached."""

PAGE_ITEMS = 4096
"""A page has so many items at most, though DynamoDB would let small ones fill a megabyte: what is parsed takes more
than ten times the room of the answer. It costs half a capacity unit a page, as DynamoDB rounds each page up."""

_LONGEST_NAP = 0.5


class ScanAnswerError(BulkError):
    """DynamoDB's answer to a Scan contradicts itself; to go on might leave a gap."""


class ScanStoppedError(BulkError):
    """The scan was stopped while one of its threads was waiting."""


@dataclass(frozen=True)
class ScanPage:
    """One page of a scan.

    Attributes:
        segment: the segment that it came from.
        items: in wire form; binary as base64 text or as bytes.
        last_key: where the segment goes on behind this page; None if it ends with it.
        size: the length of the answer in bytes.
    """

    segment: int
    items: Sequence[Item]
    last_key: Item | None = None
    size: int = 0


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan has come.

    Attributes:
        items: items read.
        pages: pages read; an empty one counts too.
        segments_done: segments read to their end.
        segments: segments to be read.
        size: bytes received.
        seconds: time since the scan began.
        capacity_units: read capacity used, as DynamoDB says; an estimate where it does not.
        expected_items: how many items there may be, as the caller said.
    """

    items: int
    pages: int
    segments_done: int
    segments: int
    size: int = field(default=0, compare=False)
    seconds: float = field(default=0.0, compare=False)
    capacity_units: float = field(default=0.0, compare=False)
    expected_items: int | None = field(default=None, compare=False)

    @property
    def items_per_second(self) -> float:
        """Items read a second, since the scan began."""
        return self.items / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the expected number of items is read, at the rate so far; None if that says nothing."""
        if not self.expected_items or not self.items or self.expected_items < self.items:
            return None
        return (self.expected_items - self.items) * self.seconds / self.items


ProgressCallback = Callable[[ScanProgress], None]
Positions = Mapping[int, Item | None]
"""By segment: the key behind which it goes on, or None if it is done. A segment that is not in it was not begun."""


def scan_table(
    client: DynamoDBClient,
    table_name: str,
    *,
    segments: int = DEFAULT_SEGMENTS,
    consistent_read: bool = True,
    projection: Sequence[str] | None = None,
    page_limit: int | None = None,
    progress: ProgressCallback | None = None,
    only_segments: Sequence[int] | None = None,
    resume: Positions | None = None,
    max_rcu: float | None = None,
    expected_items: int | None = None,
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
    effects: Effects | None = None,
) -> Iterator[ScanPage]:
    """Yield every item of a table, a page at a time, the segments side by side and in no particular order.

    At most one page a segment that is being read is held in memory. What passes by itself (throttling, a server's
    error, a lost connection) is asked for again, with pauses, for a limited time; the client's own retries do
    not apply.

    Args:
        client: a low-level DynamoDB client; it is used from several threads, which boto3 allows.
        table_name: the table to read.
        segments: into how many parts the table is cut.
        consistent_read: whether each page shows all writes that had succeeded before it was asked for. It
            costs twice the read capacity.
        projection: top-level attributes to return; all when None.
        page_limit: at most so many items a page, `PAGE_ITEMS` when None; DynamoDB's own limit of 1 MB holds besides.
        progress: called after every page, in the calling thread.
        only_segments: the segments that are read, of `segments`; all when None.
        resume: where an earlier scan of the same segments was left: the `last_key` of each segment's last page.
        max_rcu: read capacity units a second to stay below, over all segments; without limit when None.
        expected_items: about how many items there are, for the progress.
        patience_seconds: for so long a page is asked for again and again.
        effects: clock, sleep and chance.

    Raises:
        TableMissingError: if there is no such table, or there is none any more.
        ScanAnswerError: if an answer contradicts itself.
        CallDeadlineError: if a page did not come for `patience_seconds`.
        botocore.exceptions.ClientError: for any other refusal by DynamoDB.
    """
    if not 1 <= segments <= MAX_SEGMENTS:
        raise ValueError(f"segments must be from 1 to {MAX_SEGMENTS}, not {segments}.")
    numbers = range(segments) if only_segments is None else sorted(set(only_segments))
    if any(not 0 <= number < segments for number in numbers):
        raise ValueError(f"only_segments must be from 0 to {segments - 1}, not {list(numbers)}.")
    request = scan_request(
        table_name, segments, consistent_read, projection, PAGE_ITEMS if page_limit is None else page_limit
    )
    run = _Run(client, request, numbers, resume or {}, max_rcu, patience_seconds, effects or Effects())
    try:
        yield from run.pages(progress, expected_items)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            raise missing_table(table_name) from error
        raise


def table_key_names(client: DynamoDBClient, table_name: str) -> tuple[str, ...]:
    """Return the names of a table's key attributes, hash key first.

    Raises:
        TableMissingError: if there is no such table.
    """
    try:
        schema = client.describe_table(TableName=table_name)["Table"]["KeySchema"]
    except client.exceptions.ResourceNotFoundException as error:
        raise missing_table(table_name) from error
    return tuple(
        element["AttributeName"] for element in sorted(schema, key=lambda element: element["KeyType"] != "HASH")
    )


class _Run:
    """One scan on its way."""

    def __init__(
        self,
        client: Any,
        request: Mapping[str, Any],
        numbers: Sequence[int],
        resume: Positions,
        max_rcu: float | None,
        patience_seconds: float,
        effects: Effects,
    ) -> None:
        self._request = request
        self._segments = len(numbers)
        self._waiting = [number for number in reversed(numbers) if number not in resume or resume[number] is not None]
        self._resume = resume
        self._threads = max(1, min(len(self._waiting), MAX_THREADS))
        self._patience_seconds = patience_seconds
        self._effects = replace(effects, sleep=self._nap)
        self._sleep = effects.sleep
        self._stopped = threading.Event()
        self._transport: Transport = open_transport(client, pool=self._threads, effects=self._effects)
        self._pace = ReadPace(max_rcu, effects=self._effects, threads=self._threads)

    def pages(self, progress: ProgressCallback | None, expected_items: int | None) -> Iterator[ScanPage]:
        """Yield the pages of all segments."""
        began = self._effects.clock()
        seen = ScanProgress(0, 0, self._segments - len(self._waiting), self._segments, expected_items=expected_items)
        name = f"scan-{self._request['TableName']}"
        executor = ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix=name)
        try:
            # One request a segment is under way; the next is sent only when its page has been taken, and a segment
            # is begun only when another is done, which bounds the memory without a queue.
            pending: dict[Future[bytes], tuple[int, Item | None]] = {}
            for _ in range(min(self._threads, len(self._waiting))):
                self._begin(executor, pending)
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    page = self._take(executor, pending, future)
                    seen = replace(
                        seen,
                        items=seen.items + len(page.items),
                        pages=seen.pages + 1,
                        segments_done=seen.segments_done + (page.last_key is None),
                        size=seen.size + page.size,
                        seconds=self._effects.clock() - began,
                        capacity_units=self._pace.units,
                    )
                    yield page
                    # What was parsed takes many times the room of the answer, so no page lives longer than it must.
                    del page
                    if progress is not None:
                        progress(seen)
        finally:
            self._stopped.set()
            executor.shutdown(wait=True, cancel_futures=True)
            self._transport.close()

    def _begin(self, executor: ThreadPoolExecutor, pending: dict[Future[bytes], tuple[int, Item | None]]) -> None:
        number = self._waiting.pop()
        start = self._resume.get(number)
        pending[executor.submit(self._fetch, number, start)] = (number, start)

    def _take(
        self,
        executor: ThreadPoolExecutor,
        pending: dict[Future[bytes], tuple[int, Item | None]],
        future: Future[bytes],
    ) -> ScanPage:
        """Make a page of an answer, and ask for what comes next before anybody works on it."""
        segment, start = pending.pop(future)
        answer = future.result()
        with collector_paused:
            parsed = parsed_answer(answer)
        items = checked_items(parsed, segment)
        # An empty page is not the end: only a missing LastEvaluatedKey is.
        last_key = parsed.get("LastEvaluatedKey") or None
        if last_key is not None and last_key == start:
            raise ScanAnswerError(f"The scan of segment {segment} does not advance: it came back to {last_key}.")
        capacity = parsed.get("ConsumedCapacity") or {}
        self._pace.spent(capacity.get("CapacityUnits"), len(items), len(answer), self._request["ConsistentRead"])
        if last_key is not None:
            pending[executor.submit(self._fetch, segment, last_key)] = (segment, last_key)
        elif self._waiting:
            self._begin(executor, pending)
        return ScanPage(segment=segment, items=items, last_key=last_key, size=len(answer))

    def _fetch(self, segment: int, start: Item | None) -> bytes:
        self._pace.wait()
        body: dict[str, Any] = {**self._request, "Segment": segment}
        if start is not None:
            body["ExclusiveStartKey"] = start
        limit = self._pace.page_items
        if limit is not None:
            body["Limit"] = min(limit, body["Limit"])
        deadline = self._effects.clock() + self._patience_seconds
        return self._transport.call("Scan", request_json(body), deadline=deadline)

    def _nap(self, seconds: float) -> None:
        """Sleep, but wake up when the scan is stopped."""
        left = seconds
        while left > 0:
            if self._stopped.is_set():
                raise ScanStoppedError("The scan was stopped while a page of it was waiting to be asked for again.")
            self._sleep(min(left, _LONGEST_NAP))
            left -= _LONGEST_NAP


def scan_request(
    table_name: str,
    segments: int,
    consistent_read: bool,
    projection: Sequence[str] | None,
    page_limit: int,
) -> dict[str, Any]:
    """Return what all requests of a scan have in common."""
    request: dict[str, Any] = {
        "TableName": table_name,
        "ConsistentRead": consistent_read,
        "TotalSegments": segments,
        "ReturnConsumedCapacity": "TOTAL",
        "Limit": page_limit,
    }
    if projection is not None:
        # Placeholders, because an attribute may be called like one of DynamoDB's 573 reserved words.
        names = {f"#p{index}": name for index, name in enumerate(dict.fromkeys(projection))}
        request["ProjectionExpression"] = ", ".join(names)
        request["ExpressionAttributeNames"] = names
    return request


def request_json(body: Mapping[str, Any]) -> bytes:
    """Return a request's body; what DynamoDB may have in a key and JSON in UTF-8 can't hold is escaped."""
    try:
        return orjson.dumps(body)
    except TypeError:
        # A lone surrogate in a key, which orjson refuses; escaped, it stays ASCII.
        return json.dumps(body).encode("ascii")


def parsed_answer(answer: bytes, operation: str = "Scan") -> dict[str, Any]:
    """Return what an answer says.

    Raises:
        ScanAnswerError: if it is no JSON object.
    """
    try:
        parsed = orjson.loads(answer)
    except orjson.JSONDecodeError:
        try:
            # Python's own parser also takes lone surrogates.
            parsed = json.loads(answer.decode("utf-8", "surrogatepass"))
        except ValueError as error:
            raise ScanAnswerError(
                f"DynamoDB's answer to a {operation} is not JSON: {error}. Check the endpoint."
            ) from error
    if not isinstance(parsed, dict):
        raise ScanAnswerError(f"DynamoDB's answer to a {operation} is not a JSON object. Check the endpoint.")
    return parsed


def checked_items(parsed: Mapping[str, Any], segment: int) -> list[Item]:
    """Return a page's items.

    Raises:
        ScanAnswerError: if they are not as many as the page says.
    """
    items = parsed.get("Items", [])
    count = parsed.get("Count", len(items))
    if count != len(items):
        raise ScanAnswerError(
            f"A page of segment {segment} states {count} items and has {len(items)}. Nothing may be concluded "
            "from this scan; take it again."
        )
    found: list[Item] = items
    return found


def missing_table(table_name: str) -> TableMissingError:
    """Return the error of a table that is not there."""
    return TableMissingError(
        f"There is no DynamoDB table {table_name!r} to read. Check its name, and the Region and account "
        "of the connection; a table that is still being restored can't be read before it is ACTIVE."
    )
