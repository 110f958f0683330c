"""Reading a whole DynamoDB table: a Scan in parallel segments, page by page.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamodb_bulk.canonical import Item
from dynamodb_bulk.errors import TableMissingError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFAULT_SEGMENTS = 4
MAX_SEGMENTS = 1_000_000
"""What the Scan operation takes as TotalSegments at most."""
MAX_THREADS = 32
"""Segments beyond this number wait for a thread: more requests at a time only queue at the client."""


@dataclass(frozen=True)
class ScanPage:
    """One page of a scan: the items in wire form, and the segment they came from."""

    segment: int
    items: Sequence[Item]


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan has come."""

    items: int
    pages: int
    segments_done: int
    segments: int


ProgressCallback = Callable[[ScanProgress], None]


def scan_table(
    client: DynamoDBClient,
    table_name: str,
    *,
    segments: int = DEFAULT_SEGMENTS,
    consistent_read: bool = True,
    projection: Sequence[str] | None = None,
    page_limit: int | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[ScanPage]:
    """Yield every item of a table, a page at a time, the segments side by side and in no particular order.

    At most one page a segment is held in memory. Retries are botocore's, as the client's configuration says.

    Args:
        client: a low-level DynamoDB client; it is used from several threads, which boto3 allows.
        table_name: the table to read.
        segments: how many parts are read at the same time.
        consistent_read: whether each page shows all writes that had succeeded before it was asked for. It
            costs twice the read capacity.
        projection: top-level attributes to return; all when None.
        page_limit: at most so many items a page; DynamoDB's own limit of 1 MB when None.
        progress: called after every page, in the calling thread.

    Raises:
        TableMissingError: if there is no such table.
        botocore.exceptions.ClientError: for any other refusal by DynamoDB, once botocore's retries are used
        up.
    """
    if not 1 <= segments <= MAX_SEGMENTS:
        raise ValueError(f"segments must be from 1 to {MAX_SEGMENTS}, not {segments}.")
    request = _request(table_name, segments, consistent_read, projection, page_limit)
    pages = items = done = 0
    executor = ThreadPoolExecutor(max_workers=min(segments, MAX_THREADS), thread_name_prefix=f"scan-{table_name}")
    try:
        # One request a segment is under way; the next is sent only when its page has been taken, which bounds
        # the memory without a queue.
        pending: dict[Future[Mapping[str, Any]], int] = {
            executor.submit(_fetch, client, request, segment, None): segment for segment in range(segments)
        }
        while pending:
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                segment = pending.pop(future)
                response = future.result()
                # An empty page is not the end: only a missing LastEvaluatedKey is.
                last_key = response.get("LastEvaluatedKey")
                if last_key:
                    pending[executor.submit(_fetch, client, request, segment, last_key)] = segment
                else:
                    done += 1
                page = response.get("Items", [])
                pages += 1
                items += len(page)
                yield ScanPage(segment=segment, items=page)
                if progress is not None:
                    progress(ScanProgress(items=items, pages=pages, segments_done=done, segments=segments))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            raise _missing(table_name) from error
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def table_key_names(client: DynamoDBClient, table_name: str) -> tuple[str, ...]:
    """Return the names of a table's key attributes, hash key first.

    Raises:
        TableMissingError: if there is no such table.
    """
    try:
        schema = client.describe_table(TableName=table_name)["Table"]["KeySchema"]
    except client.exceptions.ResourceNotFoundException as error:
        raise _missing(table_name) from error
    return tuple(
        element["AttributeName"] for element in sorted(schema, key=lambda element: element["KeyType"] != "HASH")
    )


def _request(
    table_name: str,
    segments: int,
    consistent_read: bool,
    projection: Sequence[str] | None,
    page_limit: int | None,
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "TableName": table_name,
        "ConsistentRead": consistent_read,
        "TotalSegments": segments,
    }
    if page_limit is not None:
        request["Limit"] = page_limit
    if projection is not None:
        # Placeholders, because an attribute may be called like one of DynamoDB's 573 reserved words.
        names = {f"#p{index}": name for index, name in enumerate(dict.fromkeys(projection))}
        request["ProjectionExpression"] = ", ".join(names)
        request["ExpressionAttributeNames"] = names
    return request


def _fetch(
    client: DynamoDBClient, request: Mapping[str, Any], segment: int, start_key: Item | None
) -> Mapping[str, Any]:
    if start_key is None:
        return client.scan(**request, Segment=segment)
    return client.scan(**request, Segment=segment, ExclusiveStartKey=start_key)


def _missing(table_name: str) -> TableMissingError:
    return TableMissingError(
        f"There is no DynamoDB table {table_name!r} to read. Check its name, and the Region and account "
        "of the connection; a table that is still being restored can't be read before it is ACTIVE."
    )
