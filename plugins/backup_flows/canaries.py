"""Canaries of a table: written once for each backup job, and remembered, so that any later proof can demand them.

Layout below the bucket::

    intents/<token>/canaries.json          those that were written for one job
    canaries/<table>/<written at>.json     the same, for recovery points that other than our own jobs make
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from typing import Any

from backup_flows.keys import canaries_prefix
from backup_flows.protection_proof import ProofSettings
from backup_flows.store import get_json, put_json
from dynamodb_bulk.canonical import canonical_key
from restore_proof.canaries import key_types, make_canaries, to_json_ready, write_canaries

log = logging.getLogger(__name__)

RECORD = "canaries.json"
TIME_FORMAT = "%Y%m%dT%H%M%SZ"


def plant(
    dynamodb: Any,
    s3: Any,
    *,
    bucket: str,
    prefix: str,
    table: str,
    proof: ProofSettings,
    nonce: str,
    clock: Callable[[], dt.datetime],
) -> dict[str, Any]:
    """Write a table's canaries for one backup job, once.

    :param prefix: what lies there is about this job.
    :param nonce: tells the job's canaries from others.
    :param clock: AWS's clock.
    :return: the record: ``written_at`` (ISO 8601, when the last one was there), ``key_names`` and ``items``.
    :raises restore_proof.canaries.CanaryCollisionError: an item of somebody else's has the key of one.
    """
    standing = get_json(s3, bucket, f"{prefix}{RECORD}")
    if standing is not None:
        return standing
    keys = key_types(dynamodb.describe_table(TableName=table)["Table"])
    names = [name for name, _ in keys]
    items = make_canaries(keys, count=proof.canaries, prefix=proof.canary_prefix, nonce=nonce, written_at=clock())
    write_canaries(dynamodb, table, items, names)
    written_at = clock().astimezone(dt.UTC)
    record = {"table": table, "written_at": written_at.isoformat(), "key_names": names, "items": to_json_ready(items)}
    put_json(s3, bucket, f"{canaries_prefix(table)}{written_at.strftime(TIME_FORMAT)}.json", record)
    # Last: who finds it finds the other one.
    put_json(s3, bucket, f"{prefix}{RECORD}", record)
    log.info("%s canaries were written to %s", len(items), table)
    return record


def generations(s3: Any, bucket: str, table: str) -> Iterator[tuple[dt.datetime, str]]:
    """Yield when canaries were written to a table, and the key of the record, oldest first."""
    prefix = canaries_prefix(table)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for entry in page.get("Contents", ()):
            written = entry["Key"].removeprefix(prefix).removesuffix(".json")
            yield dt.datetime.strptime(written, TIME_FORMAT).replace(tzinfo=dt.UTC), entry["Key"]


def canary_keys(record: dict[str, Any]) -> list[bytes]:
    """Return the keys of a record's canaries in canonical form."""
    return [canonical_key(item, record["key_names"]) for item in record["items"]]
