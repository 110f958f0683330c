"""Clean up after runs that are over: restored tables that they left, and files that nobody needs any more.

Only what is named in here, by pattern, is ever deleted.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backup_flows.keys import restore_record_key
from backup_flows.protection_retention import RetentionRun
from backup_flows.restores import delete_restored_table
from backup_flows.store import get_json
from recovery_retention.names import RUN_TAG, ensure_deletable_table, parse_restored_name, run_tag
from recovery_retention.sweep import RestoredTable, SweepPlan, plan_sweep

log = logging.getLogger(__name__)

OBJECTS_AT_ONCE: Final = 1000
_DATE: Final = r"\d{4}-\d{2}-\d{2}"
SWEEPABLE: Final[Mapping[str, re.Pattern[str]]] = {
    "staging/": re.compile(rf"staging/[^/]+/as_of={_DATE}/[^/]+"),
    "rejects/": re.compile(rf"rejects/[^/]+/as_of={_DATE}/[^/]+"),
    "loads/": re.compile(r"loads/[^/]+/[^/]+-[0-9a-f]{16}/.+"),
    "fleet/": re.compile(rf"fleet/{_DATE}-[^/]+/.+"),
    "intents/": re.compile(r"intents/.+"),
    "brackets/": re.compile(r"brackets/[^/]+/[^/]+/.+"),
    # What tasks read of a large restored table, one part each; the whole that was made of it stays beside it.
    "evidence/": re.compile(r"evidence/[^/]+/[^/]+/restored\.parts/.+"),
}
"""What may be swept, by prefix. Never what vouches for recovery points: fingerprints, verdicts, evidence, history."""


@dataclass(frozen=True)
class SweptFiles:
    """Files of one prefix that are older than their limit.

    Attributes:
        deleted: how many were deleted; in a preview none.
    """

    prefix: str
    older_than_days: int
    found: int
    size_bytes: int
    deleted: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))


def file_limits(settings: RetentionRun) -> dict[str, int]:
    """Return how many days files stay, by prefix."""
    scratch = settings.scratch_days
    return {
        "staging/": settings.staged_days,
        "rejects/": settings.rejects_days,
        "loads/": scratch,
        "fleet/": scratch,
        "intents/": scratch,
        "brackets/": scratch,
        "evidence/": scratch,
    }


def sweep_files(s3: Any, bucket: str, limits: Mapping[str, int], *, now: dt.datetime, delete: bool) -> list[SweptFiles]:
    """Delete files that are older than their limits. In a versioned bucket their older versions stay.

    Args:
        limits: days, by prefix of `SWEEPABLE`.
        now: the present, on AWS's clock.
        delete: whether to delete them; else they are only counted.
    """
    swept = []
    for prefix, days in limits.items():
        pattern = SWEEPABLE[prefix]
        old = [
            (entry["Key"], entry["Size"])
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for entry in page.get("Contents", [])
            if pattern.fullmatch(entry["Key"]) and now - entry["LastModified"] > dt.timedelta(days=days)
        ]
        deleted = _delete(s3, bucket, [key for key, _ in old]) if delete else 0
        swept.append(SweptFiles(prefix, days, len(old), sum(size for _, size in old), deleted))
    return swept


def _delete(s3: Any, bucket: str, keys: list[str]) -> int:
    deleted = 0
    for start in range(0, len(keys), OBJECTS_AT_ONCE):
        part = keys[start : start + OBJECTS_AT_ONCE]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in part], "Quiet": True})
        errors = answer.get("Errors", [])
        for error in errors[:3]:
            log.warning("s3://%s/%s stays: %s %s", bucket, error["Key"], error["Code"], error.get("Message", ""))
        deleted += len(part) - len(errors)
    return deleted


def find_restored_tables(
    dynamodb: Any, s3: Any, *, bucket: str, sources: Collection[str]
) -> list[tuple[RestoredTable, dict[str, Any]]]:
    """Return every table named like a restored copy of a source, with the record of who made it ({} if none).

    A source is one of those given, or what our own record of that very table names: a drill may restore any table.
    A tag may hold a run's name in an altered form, so a run is only believed where the record spells it out.
    """
    found = []
    for page in dynamodb.get_paginator("list_tables").paginate():
        for name in page["TableNames"]:
            parts = parse_restored_name(name)
            if parts is None:
                continue
            record = get_json(s3, bucket, restore_record_key(name)) or {}
            if parts.source not in sources and (record.get("table"), record.get("source")) != (name, parts.source):
                continue
            try:
                table = dynamodb.describe_table(TableName=name)["Table"]
            except dynamodb.exceptions.ResourceNotFoundException:
                continue
            tags = {
                tag["Key"]: tag["Value"]
                for tag in dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"]).get("Tags", [])
                if record or tag["Key"] != RUN_TAG
            }
            restored = RestoredTable(
                name=name,
                created_at=table["CreationDateTime"],
                status=table["TableStatus"],
                tags=tags,
                recorded_run=record.get("run"),
                deletion_protected=table.get("DeletionProtectionEnabled", False),
            )
            found.append((restored, record))
    return found


def sources_of(tables: Iterable[tuple[RestoredTable, Mapping[str, Any]]], sources: Collection[str]) -> frozenset[str]:
    """Return the allow-list of a sweep: the given sources, and those that records of the found tables name."""
    return frozenset({*sources, *(str(record["source"]) for _, record in tables if record.get("source"))})


def decide_sweep(
    tables: Iterable[tuple[RestoredTable, dict[str, Any]]],
    *,
    sources: Collection[str],
    older_than: dt.timedelta,
    now: dt.datetime,
    is_active: Callable[[str, str], bool],
) -> SweepPlan:
    """Choose the restored tables whose run is over.

    :param is_active: tells of a run (dag_id, run_id) whether it is queued or running.
    """
    known = list(tables)
    active = {
        run_tag(record["dag_id"], record["run_id"])
        for _, record in known
        if record and is_active(record["dag_id"], record["run_id"])
    }
    return plan_sweep(
        [table for table, _ in known],
        allowed_sources=set(sources),
        older_than=older_than,
        now=now,
        active_runs=active,
    )


def drop_swept(dynamodb: Any, decided: SweepPlan, *, sources: Collection[str]) -> list[str]:
    """Drop the tables that were chosen; return those that are gone."""
    gone = []
    for decision in decided.sweep:
        name = decision.table.name
        source = ensure_deletable_table(name, sources).source
        try:
            delete_restored_table(dynamodb, name, source=source)
        except dynamodb.exceptions.ResourceNotFoundException:
            log.info("Table %s is gone already", name)
        gone.append(name)
    return gone
