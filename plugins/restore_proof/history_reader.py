"""Read the history of drills from S3, for a page, a notebook or the command line.

``DataFrame(series(read_history(s3, bucket, "orders"))).plot(x="decided_at", y="rto_seconds")`` charts it in a notebook.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from restore_proof.history import FOLDER, HistoryFormatError, Record

AT_ONCE: Final = 8
"""Records that are read side by side; boto3's clients keep ten connections."""


def read_history(
    s3: Any,
    bucket: str,
    table: str,
    *,
    since: dt.date | None = None,
    until: dt.date | None = None,
    page_size: int = 1000,
) -> list[Record]:
    """Return the records of a table's drills, in order of their dates.

    Args:
        s3: a boto3 client.
        bucket: the project's bucket.
        table: a table's name.
        since: only drills that stand for this date or a later one.
        until: only drills that stand for this date or an earlier one.
        page_size: keys that S3 lists at a time.

    Raises:
        HistoryFormatError: a record is not readable; names its key.
    """
    keys = list(_keys(s3, bucket, table, since, until, page_size))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda key: _read(s3, bucket, key), keys))


def tables_with_history(s3: Any, bucket: str, *, page_size: int = 1000) -> list[str]:
    """Return the names of the tables that have a history."""
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=f"{FOLDER}/", Delimiter="/", PaginationConfig={"PageSize": page_size}
    )
    return sorted(
        prefix["Prefix"].removeprefix(f"{FOLDER}/").rstrip("/")
        for page in pages
        for prefix in page.get("CommonPrefixes", [])
    )


def _keys(
    s3: Any, bucket: str, table: str, since: dt.date | None, until: dt.date | None, page_size: int
) -> Iterator[str]:
    prefix = f"{FOLDER}/{table}/"
    # Keys begin with their date, and S3 lists them in order: what is older need not be listed at all.
    start = {"StartAfter": f"{prefix}{since.isoformat()}"} if since is not None else {}
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page_size}, **start
    )
    for page in pages:
        for entry in page.get("Contents", []):
            key: str = entry["Key"]
            day = key.removeprefix(prefix)[: len("YYYY-MM-DD")]
            if until is not None and day > until.isoformat():
                return
            if key.endswith(".json"):
                yield key


def _read(s3: Any, bucket: str, key: str) -> Record:
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        return Record.from_json(content)
    except HistoryFormatError as error:
        raise HistoryFormatError(f"s3://{bucket}/{key}: {error}") from error
