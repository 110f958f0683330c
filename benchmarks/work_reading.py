"""Reads: fingerprints and differences, this project's and those made by hand with boto3."""

from __future__ import annotations

from typing import Any

from made_data import HASH_KEY, KEY_NAMES, RANGE_KEY
from metering import Job, Meter, Outcome, make_client, make_table

from dynamodb_bulk.diff import Side, diff_tables
from dynamodb_bulk.fingerprint import take_fingerprint


def fingerprint_ours(job: Job, meter: Meter) -> Outcome:
    """Take a table's fingerprint."""
    client = make_client(job)
    with meter.running():
        found = take_fingerprint(client, job["table"], key_names=KEY_NAMES)
    return {"items": found.item_count, "digest": found.digest, "buckets": found.buckets}


def fingerprint_resource(job: Job, meter: Meter) -> Outcome:
    """Read a table into a dict with boto3's resource, as a comparison by hand does."""
    table = make_table(job, job["table"])
    with meter.running():
        items = _read_all(table)
    return {"items": len(items)}


def _read_all(table: Any) -> dict[tuple[Any, Any], Any]:
    items = {}
    start: dict[str, Any] = {}
    while True:
        page = table.scan(ConsistentRead=True, **start)
        for item in page["Items"]:
            items[item[HASH_KEY], item[RANGE_KEY]] = item
        if "LastEvaluatedKey" not in page:
            return items
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def diff_ours(job: Job, meter: Meter) -> Outcome:
    """Find every difference of two tables."""
    client = make_client(job)
    with meter.running():
        found = diff_tables(Side(client, job["table"]), Side(client, job["other"]))
    kinds = [found.missing, found.extra, found.changed]
    return {"items": found.items_left, "differences": found.total, "kinds": kinds, "looked_at": found.looked_at}


def diff_resource(job: Job, meter: Meter) -> Outcome:
    """Read two tables into dicts and compare those."""
    tables = [make_table(job, name) for name in (job["table"], job["other"])]
    with meter.running():
        left, right = (_read_all(table) for table in tables)
        missing = sum(key not in right for key in left)
        extra = sum(key not in left for key in right)
        changed = sum(key in right and right[key] != item for key, item in left.items())
    total = missing + extra + changed
    return {"items": len(left), "differences": total, "kinds": [missing, extra, changed], "looked_at": 0}
