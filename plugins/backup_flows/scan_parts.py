"""A fingerprint in parts: a large table is read by several mapped tasks, whose results are put together.

Layout below the bucket, for a fingerprint whose prefix is ``<prefix>``::

    <prefix>parts/<plan>/<index>.{shard.json.gz,figures.json}    one part each
    <prefix>parts/<plan>/<index>.<digest>.manifest.bin           its manifest, told by the part's own fingerprint
    <prefix>parts/<plan>/<index>.error.json                      instead, of a part that can't be read

A part that is read again drops its own result first and then replaces it, so a task may be retried; of two tries at
once, one's fingerprint is never taken for the other's manifest. The whole is made of the parts of one plan only: those
of an earlier one were read at another time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from backup_flows import fingerprints
from backup_flows.fingerprints import BINARY, GZIP, SCAN_SECONDS, ScanFigures, Taken
from backup_flows.store import get_bytes, get_json, put_bytes, put_json
from dynamodb_bulk.fingerprint import (
    Fingerprint,
    Shard,
    ShardFingerprint,
    join_manifests,
    merge_shards,
    plan_shards,
    take_shard,
)
from dynamodb_bulk.scan import table_key_names

log = logging.getLogger(__name__)

PART_BYTES = 2 * 1024**3
"""What one mapped task reads, about."""
MAX_PARTS = 256
"""More are never planned, the parts become larger instead: Airflow maps a task to 1024 at most."""
PARTS_AT_ONCE = 16
"""Mapped tasks of one kind that a run has at work at the same time; each gets its share of a read limit."""
SHARD = "shard.json.gz"
_UNIT_BYTES = 4096
"""What one read capacity unit reads consistently, at best: small pages are rounded up."""


class PartMissingError(LookupError):
    """A part of a fingerprint is not in S3; the message names the key."""


class PartUnreadableError(RuntimeError):
    """A part of a table could not be read; the message is the reader's own."""


@dataclass(frozen=True)
class Part:
    """What one mapped task reads.

    Attributes:
        table: the table.
        key_names: its key attributes, hash key first.
        prefix: the S3 prefix of the fingerprint that the part belongs to; may be left empty and set later.
        plan: tells the plans of one fingerprint apart.
        shard: the arguments of :class:`dynamodb_bulk.fingerprint.Shard`.
        max_rcu: read capacity units a second that this part may use; None: no limit.
    """

    table: str
    key_names: tuple[str, ...]
    prefix: str
    plan: str
    shard: dict[str, int]
    max_rcu: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON-ready values, as XCom carries them."""
        return {**asdict(self), "key_names": list(self.key_names)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Part:
        """Return the part that :meth:`to_dict` wrote."""
        return cls(**{**document, "key_names": tuple(document["key_names"])})

    def key(self, name: str) -> str:
        """Return the S3 key of one of the part's files."""
        return f"{self.prefix}parts/{self.plan}/{self.shard['index']:04d}.{name}"

    def manifest_key(self, shard: ShardFingerprint) -> str:
        """Return the S3 key of the manifest that belongs to what was read of the part."""
        return self.key(f"{shard.fingerprint.digest}.manifest.bin")


def plan_parts(
    dynamodb: Any,
    *,
    table: str,
    prefix: str,
    plan: str,
    expected_bytes: int,
    part_bytes: int = PART_BYTES,
    key_names: Sequence[str] | None = None,
    max_rcu: float | None = None,
) -> list[Part]:
    """Cut a table into parts; none if one task can as well read it whole.

    :param expected_bytes: what is known of the table's size. DynamoDB's own figure may be six hours old, so the
        larger of the two counts. A table that is not there yet (a restore's target) is of the expected size.
    :param max_rcu: read capacity units a second for all parts together. Where it is low, the parts are made smaller:
        each must be read in the time that its task has.
    """
    names = tuple(key_names) if key_names is not None else table_key_names(dynamodb, table)
    if max_rcu is not None:
        # Half of the time, as no page uses its last unit up, and the table may be larger than it is known to be.
        part_bytes = max(1, min(part_bytes, int(max_rcu / PARTS_AT_ONCE * _UNIT_BYTES * SCAN_SECONDS / 2)))
    shards = plan_shards(max(expected_bytes, _told_size(dynamodb, table)), shard_bytes=part_bytes, max_shards=MAX_PARTS)
    if len(shards) == 1:
        return []
    share = max_rcu / min(len(shards), PARTS_AT_ONCE) if max_rcu is not None else None
    return [Part(table, names, prefix, plan, shard.to_dict(), share) for shard in shards]


def _told_size(dynamodb: Any, table: str) -> int:
    try:
        described = dynamodb.describe_table(TableName=table)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return 0
    return int(described.get("TableSizeBytes") or 0)


def take_part(dynamodb: Any, s3: Any, *, bucket: str, part: Part) -> dict[str, Any]:
    """Read one part consistently and put its fingerprint and manifest into S3.

    :return: the part's figures: ``items``, ``bytes``, ``seconds``, ``capacity_units``.
    """
    shard = Shard(**part.shard)
    meter = fingerprints.ScanMeter(f"{part.table} part {shard.index + 1} of {shard.of}")
    # What was read before may be of a table that was made anew since: it must not stand where this fails.
    s3.delete_object(Bucket=bucket, Key=part.key(SHARD))
    with tempfile.TemporaryFile() as sink:
        taken = take_shard(
            dynamodb,
            part.table,
            shard=shard,
            key_names=part.key_names,
            manifest_sink=sink,
            progress=meter,
            max_rcu=part.max_rcu,
        )
        sink.seek(0)
        s3.upload_fileobj(sink, bucket, part.manifest_key(taken), ExtraArgs={"ContentType": BINARY})
    figures = asdict(meter.figures)
    put_json(s3, bucket, part.key("figures.json"), figures)
    # Last: who finds it finds the other two.
    put_bytes(s3, bucket, part.key(SHARD), taken.to_bytes(), content_type=GZIP)
    return figures


def record_unreadable(s3: Any, *, bucket: str, part: Part, error: Exception) -> dict[str, str]:
    """Put on record why a part can't be read, so that what needs it fails with that reason."""
    record = {"type": type(error).__name__, "message": str(error)}
    put_json(s3, bucket, part.key("error.json"), record)
    s3.delete_object(Bucket=bucket, Key=part.key(SHARD))
    return record


def merge_parts(
    s3: Any, *, bucket: str, prefix: str, parts: Sequence[Part], clock: Callable[[], dt.datetime]
) -> tuple[Taken, Fingerprint]:
    """Make the table's fingerprint of its parts', and keep it below ``prefix``.

    :param clock: AWS's clock.
    :raises PartUnreadableError: a part could not be read.
    :raises PartMissingError: a part was not read.
    """
    shards = [_shard_of(s3, bucket, part) for part in parts]
    merged = merge_shards(shards)
    figures = _total([_figures_of(s3, bucket, part) for part in parts])
    with tempfile.TemporaryFile() as sink:
        keys = [part.manifest_key(shard) for part, shard in zip(parts, shards, strict=True)]
        join_manifests(_manifests(s3, bucket, keys), sink, like=merged)
        sink.seek(0)
        taken = fingerprints.keep(
            s3, bucket=bucket, prefix=prefix, fingerprint=merged, manifest=sink, figures=figures, clock=clock
        )
    log.info("Fingerprint of %s: put together of %s parts", parts[0].table, len(parts))
    return taken, merged


def _shard_of(s3: Any, bucket: str, part: Part) -> ShardFingerprint:
    content = get_bytes(s3, bucket, part.key(SHARD))
    if content is not None:
        return ShardFingerprint.from_bytes(content)
    failed = get_json(s3, bucket, part.key("error.json"))
    if failed is not None:
        raise PartUnreadableError(
            f"part {part.shard['index'] + 1} of {part.shard['of']} of table {part.table} could not be read: "
            f"{failed['type']}: {failed['message']}"
        )
    raise PartMissingError(
        f"s3://{bucket}/{part.key(SHARD)} is missing: part {part.shard['index'] + 1} of "
        f"{part.shard['of']} of table {part.table} was not read. Clear the task that plans the parts."
    )


def _figures_of(s3: Any, bucket: str, part: Part) -> ScanFigures:
    document = get_json(s3, bucket, part.key("figures.json"))
    if document is None:
        raise PartMissingError(f"s3://{bucket}/{part.key('figures.json')} is missing: clear the task that reads it.")
    return ScanFigures(**document)


def _total(figures: Sequence[ScanFigures]) -> ScanFigures:
    """Add figures up; the parts were read side by side, so the longest says how long it took at least."""
    return ScanFigures(
        items=sum(part.items for part in figures),
        bytes=sum(part.bytes for part in figures),
        seconds=max(part.seconds for part in figures),
        capacity_units=math.fsum(part.capacity_units for part in figures),
        parts=len(figures),
    )


def _manifests(s3: Any, bucket: str, keys: Sequence[str]) -> Iterator[IO[bytes]]:
    """Open the parts' manifests one after the other, each fetched when its turn comes and dropped after it."""
    for key in keys:
        with contextlib.ExitStack() as stack:
            copy = stack.enter_context(tempfile.TemporaryFile())
            s3.download_fileobj(bucket, key, copy)
            copy.seek(0)
            yield copy
