"""A random sample of a table's items, and looking at the same items again; both cost in proportion to the sample.

A sample is drawn from random scan segments: DynamoDB can't be asked for a random item, but a Scan may be cut into up
to a million segments, and those of a small one are a few neighbours by the hash of their hash key. What is drawn is
kept as a fingerprint and a manifest, as of a whole table: so the sample of the source before and after a backup and
the same items of the restored table are judged by `dynamodb_bulk.compare.judge`, by the very same rules.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.ParallelScan
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Self

from botocore.exceptions import ClientError

from dynamodb_bulk.canonical import Item
from dynamodb_bulk.manifest import ManifestWriter, read_manifest_blocks
from dynamodb_bulk.patience import Effects, error_code
from dynamodb_bulk.point_reads import read_points
from dynamodb_bulk.read_pace import ReadPace
from dynamodb_bulk.scan import (
    DEFAULT_PATIENCE_SECONDS,
    MAX_SEGMENTS,
    PAGE_ITEMS,
    ScanPage,
    checked_items,
    missing_table,
    parsed_answer,
    request_json,
    scan_request,
)
from dynamodb_bulk.sums import DEFAULT_BUCKETS, Fingerprint, FingerprintBuilder
from dynamodb_bulk.wire import open_transport

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LEAST_SEGMENTS = 100
"""A sample comes from at least so many segments, where the table has items in as many."""
SHARE_SEGMENTS = 1000
"""A share of a table is so many of its thousandths, at least: a finer share takes more segments."""
SHARE_SEGMENT_ITEMS = 1000
"""A share of a large table is drawn from segments of about so many items."""
LARGE = 8
"""A segment of so many times the items that it should have is too large; where most are, the cut was too coarse."""
_THREADS = 8


@dataclass(frozen=True)
class SampleSize:
    """How large a sample is to be: so many items, or a share of the table; exactly one of the two.

    Attributes:
        items: about so many items, from many small segments.
        share: segments that make up this share of the table, above 0 and at most 1.
    """

    items: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.items is None) == (self.share is None):
            raise ValueError("A sample has either a number of items or a share of the table.")
        if self.items is not None and self.items < 1:
            raise ValueError(f"A sample has 1 item or more, not {self.items}.")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"A sample's share is above 0 and at most 1, not {self.share}.")

    @property
    def segment_items(self) -> int:
        """How many items a segment should have."""
        return math.ceil(self.items / LEAST_SEGMENTS) if self.items is not None else SHARE_SEGMENT_ITEMS

    @property
    def page_items(self) -> int:
        """How many items a page of a segment has at most; a segment that needs a second one is a large one."""
        return min(PAGE_ITEMS, LARGE * self.segment_items)

    def segments(self, expected_items: int) -> int:
        """Return into how many segments a table of about so many items is cut."""
        least = LEAST_SEGMENTS if self.share is None else max(SHARE_SEGMENTS, math.ceil(LEAST_SEGMENTS / self.share))
        return min(MAX_SEGMENTS, max(least, expected_items // self.segment_items))

    def wanted(self, segments: int) -> int:
        """Return how many of the segments are read; as many as it takes, where a number of items is wanted."""
        return segments if self.share is None else max(1, math.ceil(self.share * segments))

    def enough(self, taken: int, *, in_a_segment: bool) -> bool:
        """Tell whether so many items are a sample.

        Segments are read to their end: what stands late in the largest one must be as likely to be drawn as the rest.
        Only what would make a sample of twice its size is left.
        """
        if self.items is None:
            return False
        return taken >= (2 * self.items if in_a_segment else self.items)


@dataclass(frozen=True)
class PointFigures:
    """What reading a sample cost.

    Attributes:
        bytes: bytes received.
        seconds: how long it took.
        capacity_units: read capacity units used, as DynamoDB says (an estimate where it does not).
    """

    bytes: int = 0
    seconds: float = 0.0
    capacity_units: float = 0.0


@dataclass(frozen=True)
class Sample:
    """A sample that was drawn.

    Attributes:
        fingerprint: of the sampled items alone.
        segments_read: segments that items came from; one that is empty does not count.
        segments: segments that the table was cut into.
        whole: whether the table has no other items: then it is no sample, but all of it.
    """

    fingerprint: Fingerprint
    segments_read: int
    segments: int
    whole: bool
    figures: PointFigures


def draw_sample(
    client: DynamoDBClient,
    table_name: str,
    *,
    key_names: Sequence[str],
    size: SampleSize,
    seed: str,
    expected_items: int = 0,
    manifest_sink: BinaryIO,
    buckets: int = DEFAULT_BUCKETS,
    max_rcu: float | None = None,
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
    effects: Effects | None = None,
) -> Sample:
    """Draw a sample of a table's items, read consistently; the same seed draws from the same segments.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read.
        key_names: its key attributes, hash key first.
        size: how large the sample is to be; a smaller table is read whole.
        seed: decides which segments are read, and in which order.
        expected_items: about how many items the table has; a wrong number makes the sample clumsier, not wrong.
        manifest_sink: where the manifest goes; it stays open.
        buckets: as for `dynamodb_bulk.fingerprint.take_fingerprint`.
        max_rcu: read capacity units a second to stay below; without limit when None.
        patience_seconds: for so long a page is asked for again while DynamoDB throttles or can't be reached.
        effects: clock, sleep and chance.

    Raises:
        TableMissingError, ScanAnswerError, CallDeadlineError: as `dynamodb_bulk.scan.scan_table`.
    """
    effects = effects or Effects()
    began = effects.clock()
    builder = FingerprintBuilder(key_names, buckets=buckets)
    with _SegmentReader(client, table_name, size.page_items, max_rcu, patience_seconds, effects) as reader:
        drawing = _Drawing(reader, size, seed, size.segments(expected_items))
        with ManifestWriter(manifest_sink, key_names, buckets=buckets) as writer:
            for page in drawing.pages():
                writer.add_items(builder.add_items(page.items))
        units, size_bytes = reader.capacity_units, reader.size
    return Sample(
        fingerprint=builder.build(),
        segments_read=len(drawing.filled),
        segments=drawing.segments,
        whole=drawing.whole,
        figures=PointFigures(size_bytes, round(effects.clock() - began, 3), round(units, 1)),
    )


def look_again(
    client: DynamoDBClient,
    table_name: str,
    keys: Iterable[bytes],
    *,
    key_names: Sequence[str],
    manifest_sink: BinaryIO,
    buckets: int = DEFAULT_BUCKETS,
    max_rcu: float | None = None,
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
    effects: Effects | None = None,
) -> tuple[Fingerprint, PointFigures]:
    """Return the fingerprint of those items of a table that have certain keys; what is absent is left out.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read: the sample's own, or a restored one.
        keys: keys in canonical form, no key twice, such as `manifest_keys` yields.
        key_names: the key attributes, hash key first.
        manifest_sink: where the manifest goes; it stays open.
        buckets: as many as those of the sample's fingerprint.
        max_rcu: read capacity units a second to stay below; without limit when None.
        patience_seconds: for so long it is tried again while DynamoDB throttles or can't be reached.
        effects: clock, sleep and chance.

    Raises:
        TableMissingError, ScanAnswerError, KeysUnansweredError, CallDeadlineError: as
            `dynamodb_bulk.point_reads.read_points`.
    """
    effects = effects or Effects()
    began = effects.clock()
    builder, bytes_read, units = FingerprintBuilder(key_names, buckets=buckets), 0, 0.0
    with ManifestWriter(manifest_sink, key_names, buckets=buckets) as manifest:
        pages = read_points(
            client,
            table_name,
            keys,
            key_names=key_names,
            max_rcu=max_rcu,
            patience_seconds=patience_seconds,
            effects=effects,
        )
        for page in pages:
            if page.items:
                manifest.add_items(builder.add_items(page.items))
            bytes_read, units = bytes_read + page.size, units + page.capacity_units
    return builder.build(), PointFigures(bytes_read, round(effects.clock() - began, 3), round(units, 1))


def manifest_keys(manifest: IO[bytes], *, like: Fingerprint) -> Iterator[bytes]:
    """Yield the keys of a manifest in canonical form.

    Raises:
        ManifestError: if it is damaged or does not belong to the fingerprint; known only at its end.
    """
    for block in read_manifest_blocks(manifest, like=like):
        yield from block.keys


class _Drawing:
    """Which segments are read, and in which order."""

    def __init__(self, reader: _SegmentReader, size: SampleSize, seed: str, segments: int) -> None:
        self.segments = segments
        self.filled: set[int] = set()
        self.whole = False
        self._reader = reader
        self._size = size
        self._chance = random.Random(seed)  # noqa: S311  # to be drawn alike by anybody who knows the seed, on purpose

    def pages(self) -> Iterator[ScanPage]:
        """Yield the sample's pages, those of one segment one after the other."""
        first, order = self._cut()
        taken, done, more = 0, 0, deque(first)
        while more or order:
            if not more:
                more.extend(self._begin(order))
            page = more.popleft()
            if page.items:
                self.filled.add(page.segment)
                taken += len(page.items)
                yield page
            if page.last_key is None:
                done += 1
            elif not self._size.enough(taken, in_a_segment=True):
                more.extendleft(self._reader.read(self.segments, [(page.segment, page.last_key)]))
                continue
            if self._size.enough(taken, in_a_segment=False):
                break
        self.whole = done == self.segments

    def _begin(self, order: deque[int]) -> list[ScanPage]:
        """Return the first pages of the next few segments."""
        return self._reader.read(self.segments, [(order.popleft(), None) for _ in range(min(_THREADS, len(order)))])

    def _cut(self) -> tuple[list[ScanPage], deque[int]]:
        """Draw the order of the segments and return the first ones' pages, after the cut was found to be fine enough.

        What is known of a table's size is hours old: where most of the segments that are tried are too large, it was
        much too low.
        """
        while True:
            order = list(range(self.segments))
            self._chance.shuffle(order)
            left = deque(order[: self._size.wanted(self.segments)])
            first = self._begin(left)
            finer = min(MAX_SEGMENTS, LARGE * self.segments)
            if self._size.share is not None or finer == self.segments:
                return first, left
            if 2 * sum(page.last_key is not None for page in first) <= len(first):
                return first, left
            self.segments = finer


class _SegmentReader:
    """Reads single pages of segments, a few side by side; answers come in the order in which they were wanted."""

    def __init__(
        self,
        client: Any,
        table_name: str,
        page_limit: int,
        max_rcu: float | None,
        patience_seconds: float,
        effects: Effects,
    ) -> None:
        self.size = 0
        self._table_name = table_name
        self._page_limit = page_limit
        self._patience_seconds = patience_seconds
        self._effects = effects
        self._transport = open_transport(client, pool=_THREADS, effects=effects)
        self._pace = ReadPace(max_rcu, effects=effects, threads=_THREADS)
        self._executor = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix=f"sample-{table_name}")

    @property
    def capacity_units(self) -> float:
        """Read capacity units used so far."""
        return self._pace.units

    def read(self, segments: int, wanted: Sequence[tuple[int, Item | None]]) -> list[ScanPage]:
        """Return a page for each segment and the key that it goes on behind.

        Args:
            segments: how many there are.
            wanted: which of them.
        """
        try:
            pages = list(self._executor.map(lambda one: self._page(segments, *one), wanted))
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise missing_table(self._table_name) from error
            raise
        self.size += sum(page.size for page in pages)
        return pages

    def _page(self, segments: int, segment: int, start: Item | None) -> ScanPage:
        self._pace.wait()
        limit = min(self._page_limit, self._pace.page_items or PAGE_ITEMS)
        body: dict[str, Any] = {**scan_request(self._table_name, segments, True, None, limit), "Segment": segment}
        if start is not None:
            body["ExclusiveStartKey"] = start
        deadline = self._effects.clock() + self._patience_seconds
        answer = self._transport.call("Scan", request_json(body), deadline=deadline)
        parsed = parsed_answer(answer)
        items = checked_items(parsed, segment)
        units = (parsed.get("ConsumedCapacity") or {}).get("CapacityUnits")
        self._pace.spent(units, len(items), len(answer), consistent=True)
        return ScanPage(segment, items, parsed.get("LastEvaluatedKey") or None, len(answer))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._transport.close()
