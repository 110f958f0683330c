"""Fingerprints in S3: taken before and after a backup job, bound to the recovery point that the job made.

Layout below the bucket::

    intents/<token>/before.{fingerprint.json.gz,manifest.bin,meta.json}    taken before the job started
    recovery-points/<table>/<id>/binding.json                              what is bound, and how
    recovery-points/<table>/<id>/bound/<token>/{before,after}.{fingerprint.json.gz,manifest.bin,meta.json}
    recovery-points/<table>/<id>/settings.json

A fingerprint taken before the job is kept under the job's *token*: a run that is cleared adopts its job, and
must then be judged by the fingerprint that preceded that job, not by a fresh one. Each binding has copies of its own:
of several that are made at once, ``binding.json`` alone says which holds.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from backup_flows.defaults import SCAN_LIMIT
from backup_flows.keys import recovery_point_prefix
from backup_flows.store import get_bytes, get_for_update, get_json, put_bytes, put_if, put_json
from dynamodb_bulk.compare import Manifests
from dynamodb_bulk.fingerprint import Fingerprint, take_fingerprint
from dynamodb_bulk.scan import ScanProgress, table_key_names
from restore_proof.verdict import Depth

log = logging.getLogger(__name__)

GZIP = "application/gzip"
BINARY = "application/octet-stream"
BOUND_BY_RUN = "run"
BOUND_BY_BRACKETS = "brackets"
BOUND_BY_RECORDS = "records"
MAX_BIND_TRIES = 20
"""Bindings follow each other two deep at most; the rest is for conflicts that S3 asks to try again."""
REPORT_SECONDS = 300.0
"""A scan that is slow, or has come far, tells how far it is after that time also where nothing has doubled."""
SCAN_SECONDS = 0.95 * SCAN_LIMIT.total_seconds()
"""A scan that takes longer gives up by itself, and says how far it came. Airflow's own time limit, a little later, is
no ordinary error: nobody would put on record why the table can't be read."""


class ScanDeadlineError(TimeoutError):
    """A table, or a part of one, could not be read in the time that its task has; the message says how far it came."""


class FingerprintMissingError(LookupError):
    """A fingerprint that must be in S3 is not there; the message names the key."""


class FingerprintTooLateError(RuntimeError):
    """The fingerprint was taken after its backup job had started, so it can't vouch for the recovery point."""


class BindingContentionError(RuntimeError):
    """What is bound to a recovery point changed under every attempt to bind something to it."""


class FingerprintAlteredError(ValueError):
    """A fingerprint in S3 is not the one that was bound to its recovery point."""


@dataclass(frozen=True)
class ScanFigures:
    """What reading a table came to.

    Attributes:
        items: items read.
        bytes: bytes received.
        seconds: how long it took; of the slowest part, where several were read side by side.
        capacity_units: read capacity units used, as DynamoDB says (an estimate where it does not).
        parts: into how many parts the table was cut.
    """

    items: int = 0
    bytes: int = 0
    seconds: float = 0.0
    capacity_units: float = 0.0
    parts: int = 1


@dataclass(frozen=True)
class Taken:
    """One fingerprint in S3.

    Attributes:
        prefix: ``fingerprint.json.gz`` and ``manifest.bin`` are appended to it.
        taken_at: AWS's time when the scan ended, ISO 8601.
        digest: one hash over the whole fingerprint.
        figures: what the scan came to (:class:`ScanFigures` as a dict); empty in records of earlier releases.
        depth: what of the table was looked at (:class:`restore_proof.verdict.Depth`).
        about: of a sample, its ``seed``, ``segments_read`` and ``segments``; of canaries, ``written_at``.
    """

    prefix: str
    taken_at: str
    digest: str
    items: int
    figures: dict[str, Any] = field(default_factory=dict)
    depth: str = "full"
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Binding:
    """What vouches for one recovery point.

    Attributes:
        drifting: the table was written to between the two fingerprints.
        depth: how deep a proof by them looks (:class:`restore_proof.verdict.Depth`).
        notes: what else a reader of the verdict should know, as sentences.
        bound_by: how it came to be: by the ``run`` that made the backup, or afterwards by ``brackets``, that is by
            point-in-time restores, or by ``records`` alone.
    """

    recovery_point_arn: str
    table: str
    table_arn: str
    vault: str
    backup_job_id: str
    created_at: str
    size_bytes: int | None
    before: Taken
    after: Taken
    drifting: bool
    as_of: str
    dag_id: str
    run_id: str
    depth: str = "full"
    notes: tuple[str, ...] = ()
    bound_by: str = BOUND_BY_RUN

    @property
    def made_by_run(self) -> bool:
        """Whether a run of ours made the recovery point; a drill binds what somebody else made, too."""
        return self.bound_by == BOUND_BY_RUN

    @property
    def prefix(self) -> str:
        """Return the S3 prefix of everything about the recovery point."""
        return recovery_point_prefix(self.table, self.recovery_point_arn)

    def as_dict(self) -> dict[str, Any]:
        """Return the binding as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Binding:
        """Return the binding that :meth:`as_dict` wrote."""
        return cls(
            **{
                **document,
                "before": Taken(**document["before"]),
                "after": Taken(**document["after"]),
                "notes": tuple(document.get("notes", ())),
            }
        )


def take(
    dynamodb: Any,
    s3: Any,
    *,
    bucket: str,
    prefix: str,
    table: str,
    key_names: tuple[str, ...] | None = None,
    max_rcu: float | None = None,
    clock: Callable[[], dt.datetime],
) -> tuple[Taken, Fingerprint]:
    """Scan a table consistently and put its fingerprint and manifest into S3 below ``prefix``.

    :param key_names: the table's key attributes, hash key first; read from the table if not given.
    :param max_rcu: read capacity units a second to stay below; None: no limit.
    :param clock: AWS's clock.
    """
    names = key_names or table_key_names(dynamodb, table)
    meter = ScanMeter(table)
    with tempfile.TemporaryFile() as sink:
        fingerprint = take_fingerprint(
            dynamodb, table, key_names=names, manifest_sink=sink, progress=meter, max_rcu=max_rcu
        )
        sink.seek(0)
        taken = keep(
            s3,
            bucket=bucket,
            prefix=prefix,
            fingerprint=fingerprint,
            manifest=sink,
            figures=meter.figures,
            clock=clock,
        )
    return taken, fingerprint


def keep(
    s3: Any,
    *,
    bucket: str,
    prefix: str,
    fingerprint: Fingerprint,
    manifest: BinaryIO,
    figures: ScanFigures,
    clock: Callable[[], dt.datetime],
    depth: str = "full",
    about: dict[str, Any] | None = None,
) -> Taken:
    """Put a fingerprint and its manifest into S3 below ``prefix``.

    :param manifest: stands at its beginning.
    :param depth: what of the table it is of.
    :param about: more on that, see :class:`Taken`.
    :param clock: AWS's clock.
    """
    s3.upload_fileobj(manifest, bucket, f"{prefix}manifest.bin", ExtraArgs={"ContentType": BINARY})
    put_bytes(s3, bucket, f"{prefix}fingerprint.json.gz", fingerprint.to_bytes(), content_type=GZIP)
    taken = Taken(
        prefix=prefix,
        taken_at=clock().isoformat(),
        digest=fingerprint.digest,
        items=fingerprint.item_count,
        figures=asdict(figures),
        depth=depth,
        about=about or {},
    )
    # Written last: who finds it finds the other two.
    put_json(s3, bucket, f"{prefix}meta.json", asdict(taken))
    log.info(
        "Fingerprint: %s items, %.1f MB in %.1f s, %.1f read capacity units, %s",
        figures.items,
        figures.bytes / 1e6,
        figures.seconds,
        figures.capacity_units,
        taken.digest,
    )
    return taken


def find(s3: Any, bucket: str, prefix: str) -> Taken | None:
    """Return the fingerprint that was completely taken below ``prefix``, if there is one."""
    meta = get_json(s3, bucket, f"{prefix}meta.json")
    return Taken(**meta) if meta is not None else None


def load(s3: Any, bucket: str, prefix: str) -> Fingerprint:
    """Read a fingerprint.

    :raises FingerprintMissingError: there is none below ``prefix``.
    """
    key = f"{prefix}fingerprint.json.gz"
    content = get_bytes(s3, bucket, key)
    if content is None:
        raise FingerprintMissingError(f"s3://{bucket}/{key} is missing: the recovery point can't be proven by it.")
    return Fingerprint.from_bytes(content)


def load_bound(s3: Any, bucket: str, taken: Taken) -> Fingerprint:
    """Read a fingerprint, and check that it is the very one that was taken.

    :raises FingerprintMissingError: it is not there.
    :raises FingerprintAlteredError: it was replaced by another one since.
    """
    fingerprint = load(s3, bucket, taken.prefix)
    if fingerprint.digest != taken.digest:
        raise FingerprintAlteredError(
            f"s3://{bucket}/{taken.prefix}fingerprint.json.gz is {fingerprint.digest}, but the one taken at "
            f"{taken.taken_at} was {taken.digest}: get that one back from the bucket's older versions."
        )
    return fingerprint


def manifest_opener(s3: Any, bucket: str, prefix: str, folder: Path) -> Callable[[], BinaryIO]:
    """Return a function that opens a manifest, fetched from S3 into ``folder`` when it is first needed."""
    local = folder / (prefix.strip("/").replace("/", "_") + ".manifest.bin")

    def opener() -> BinaryIO:
        if not local.exists():
            s3.download_file(bucket, f"{prefix}manifest.bin", str(local))
        return local.open("rb")

    return opener


def manifests_of(s3: Any, bucket: str, binding: Binding, restored_prefix: str, folder: Path) -> Manifests:
    """Return openers for the three manifests that a judgement may need."""
    return Manifests(
        before=manifest_opener(s3, bucket, binding.before.prefix, folder),
        after=manifest_opener(s3, bucket, binding.after.prefix, folder),
        restored=manifest_opener(s3, bucket, restored_prefix, folder),
    )


def ensure_taken_before(before: Taken, job_created_at: str) -> None:
    """Check that a fingerprint preceded the job that it is to vouch for.

    ``taken_at`` has whole seconds, rounded down, so only a difference of a second or more is an offence.

    :raises FingerprintTooLateError: it did not.
    """
    if dt.datetime.fromisoformat(before.taken_at) > dt.datetime.fromisoformat(job_created_at):
        raise FingerprintTooLateError(
            f"the fingerprint was taken at {before.taken_at}, but the backup job was created at {job_created_at}: "
            "it does not show what the table held then. Trigger the DAG with force_new to make a new backup."
        )


def find_binding(s3: Any, bucket: str, table: str, recovery_point_arn: str) -> Binding | None:
    """Return what is bound to a recovery point, if anything is."""
    document = get_json(s3, bucket, f"{recovery_point_prefix(table, recovery_point_arn)}binding.json")
    return Binding.from_dict(document) if document is not None else None


def yields_to_run(standing: Binding, depth: str) -> bool:
    """Say whether what is bound gives way to the fingerprints that the run took which made the backup.

    A drill may have come between the end of the backup job and the run's own binding. What it found out afterwards
    stands only where it is as good: by brackets, and as deep.

    :param depth: of the run's fingerprints.
    """
    if standing.made_by_run:
        return False
    deeper = Depth(depth).rank - Depth(standing.depth).rank
    return deeper > 0 or (deeper == 0 and standing.bound_by == BOUND_BY_RECORDS)


def bind(s3: Any, bucket: str, binding: Binding) -> Binding:
    """Bind fingerprints to a recovery point.

    The first binding stands, but one that a drill made gives way to a better one of the run that made the backup
    (:func:`yields_to_run`). The fingerprints are copied beside it, so that what vouches for a recovery point does not
    hang on the record of the job that made it.

    :return: the binding that holds.
    :raises BindingContentionError: what is bound changed under every attempt.
    """
    key, own = f"{binding.prefix}binding.json", None
    for _ in range(MAX_BIND_TRIES):
        content, condition = get_for_update(s3, bucket, key)
        if content is not None:
            standing = Binding.from_dict(json.loads(content))
            if not binding.made_by_run or not yields_to_run(standing, binding.depth):
                return standing
            log.warning("What a drill bound (%s, %s) gives way to the run's own", standing.bound_by, standing.depth)
        own = own or _copied(s3, bucket, binding)
        body = json.dumps(own.as_dict(), indent=2, sort_keys=True).encode()
        if put_if(s3, bucket, key, body, condition, content_type="application/json"):
            return own
    raise BindingContentionError(
        f"s3://{bucket}/{key} changed under {MAX_BIND_TRIES} attempts to bind fingerprints; clear this task."
    )


def _copied(s3: Any, bucket: str, binding: Binding) -> Binding:
    """Copy a binding's fingerprints to where no other binding has any; return it with the copies' prefixes."""
    document = binding.as_dict()
    token = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
    for side, taken in (("before", binding.before), ("after", binding.after)):
        target = f"{binding.prefix}bound/{token}/{side}."
        for name in ("fingerprint.json.gz", "manifest.bin", "meta.json"):
            s3.copy({"Bucket": bucket, "Key": f"{taken.prefix}{name}"}, bucket, f"{target}{name}")
        document[side]["prefix"] = target
    return Binding.from_dict(document)


class ScanMeter:
    """Progress callback of a scan: keeps its figures, logs as it doubles and every few minutes, ends it in time.

    :param name: what is being read, for the log.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures = ScanFigures()
        self._due = 10_000
        self._told_at = 0.0

    def __call__(self, progress: ScanProgress) -> None:
        """Take note of how far the scan is."""
        self.figures = ScanFigures(
            items=progress.items,
            bytes=progress.size,
            seconds=round(progress.seconds, 3),
            capacity_units=round(progress.capacity_units, 1),
        )
        if progress.seconds >= SCAN_SECONDS and progress.segments_done < progress.segments:
            raise ScanDeadlineError(
                f"{self.name} was not read in {progress.seconds:.0f} s: only {progress.items} items, "
                f"{progress.size / 1e6:.1f} MB, {progress.segments_done} of {progress.segments} segments. Raise "
                "max_rcu or the table's read capacity, or let a task read less (scan_part_mb)."
            )
        if progress.items < self._due and progress.seconds - self._told_at < REPORT_SECONDS:
            return
        self._due, self._told_at = max(self._due, progress.items * 2), progress.seconds
        log.info(
            "%s: %s items, %.1f MB, %.0f items/s so far%s",
            self.name,
            progress.items,
            progress.size / 1e6,
            progress.items_per_second,
            f", {progress.eta_seconds:.0f} s to go" if progress.eta_seconds is not None else "",
        )
