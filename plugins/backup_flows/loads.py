"""Load the staged order file into the orders table: in one task, or in many where the file is large.

::

    plan_load -> survey_shard (mapped) -> decide_load -> write_shard (mapped) -> load

A file of one shard is loaded by ``load`` alone; the mapped tasks then have nothing to map over and are skipped. The
steps hand on what they found through S3 (:mod:`dynamodb_bulk.shards`), and a load that was killed goes on where it
stood. What was written under a lease that the run has lost since does not count: another run may have loaded its own
file meanwhile.
"""

from __future__ import annotations

import datetime as dt
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

from airflow.sdk import get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

from backup_flows.aws import AWS_CONN_ID, client, server_time
from backup_flows.defaults import LOAD_LIMIT, MAPPED_MAY_BE_SKIPPED, ORDERS_TABLE
from backup_flows.keys import load_prefix, rejects_key
from backup_flows.leasing import ensure_lease, ensure_run_holds_lease
from backup_flows.orders import SCHEMA_FILE, VersionedObject
from backup_flows.project_files import project_file
from dynamodb_bulk.checkpoints import CheckpointStore, S3Checkpoints
from dynamodb_bulk.errors import (
    AccountingError,
    CheckpointMismatchError,
    CheckpointMissingError,
    KeySchemaMismatchError,
    SchemaError,
    SourceError,
    TableMissingError,
    TooManyRejectsError,
    WriteRefusedError,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

SHARDS_AT_ONCE = 8
"""Shards of one load that are written at the same time; each gets its share of a write limit."""
SHARD_MEGABYTES = 64
FIRST_REPORT = 10_000
"""So many items are written when a load first tells how far it is; then each time the number has doubled."""
REPORT_SECONDS = 300.0
"""A load that is slow, or has come far, tells how far it is after that time also where the number has not doubled."""
LEASE_CHECK_SECONDS = 60.0
"""How often a load makes sure, while it writes, that its run still holds the table."""

FINAL_LOAD_ERRORS = (
    AccountingError,
    KeySchemaMismatchError,
    SchemaError,
    SourceError,
    TableMissingError,
    TooManyRejectsError,
    WriteRefusedError,
)
"""What another try does not change. A stalled load, or a file that changed while it was read, may do better."""

_WRITTEN = "written.json"
_STARTED = "started"
_DECISION = "decision.json"


class BadLoadError(AirflowFailException):
    """The load was refused for a reason that another try does not change. Not retried."""


class FencedCheckpoints:
    """A load's checkpoint, in which what was *written* counts under one lease only.

    What a file contains does not depend on who holds the table; what is in the table does.

    :param store: keeps everything.
    :param fence: fencing number of the lease under which the load writes.
    """

    def __init__(self, store: CheckpointStore, fence: int) -> None:
        self._store = store
        self._fence = fence

    def _name(self, name: str) -> str:
        return f"fence-{self._fence}/{name}" if name.endswith(_WRITTEN) else name

    def put(self, name: str, data: bytes) -> None:
        """Keep a document."""
        self._store.put(self._name(name), data)

    def get(self, name: str) -> bytes | None:
        """Return a document, or None where there is none."""
        return self._store.get(self._name(name))

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """Return a part of a document."""
        return self._store.get_range(self._name(name), start, length)

    def clear(self) -> None:
        """Remove all documents."""
        self._store.clear()


def shard_bytes() -> int:
    """Return how much of a file one mapped task loads (``[backup_flows] load_shard_mb``, default 64)."""
    megabytes: float = conf.getfloat("backup_flows", "load_shard_mb", fallback=SHARD_MEGABYTES)
    return max(1, int(megabytes * 1024 * 1024))


def load_settings(*, max_reject_ratio: float, max_wcu: float | None, writers: int = 1) -> Any:
    """Return the settings of one of ``writers`` tasks that load a file side by side.

    :return: a :class:`dynamodb_bulk.batches.LoadSettings`.
    """
    from dynamodb_bulk.batches import LoadSettings

    return LoadSettings(
        max_reject_ratio=max_reject_ratio,
        max_wcu=max_wcu / writers if max_wcu is not None else None,
        # Before Airflow's own limit, so that the load itself says how far it came.
        deadline_seconds=0.95 * LOAD_LIMIT.total_seconds(),
    )


def make_job(
    s3: Any, *, staged: dict[str, Any], table: str, bucket: str, prefix: str, fence: int, settings: Any
) -> Any:
    """Return what all steps of a load agree on, a :class:`dynamodb_bulk.shards.LoadJob`."""
    from dynamodb_bulk.schema import load_schema
    from dynamodb_bulk.shards import LoadJob
    from dynamodb_bulk.sources import s3_source

    return LoadJob(
        table,
        s3_source(VersionedObject(s3, staged["version_id"]), staged["bucket"], staged["key"]),
        load_schema(project_file(SCHEMA_FILE)),
        source_name=staged["source"],
        store=FencedCheckpoints(S3Checkpoints(s3, bucket, prefix), fence),
        settings=settings,
    )


def load_order_file(
    dynamodb: Any,
    s3: Any,
    *,
    job: Any,
    rejects: tuple[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Load a staged order file into a table; the refused rows go to the rejects file in S3.

    :param job: see :func:`make_job`; its checkpoint lets the same call go on after it was killed.
    :param rejects: bucket and key of the rejects file; it is written only if rows were refused.
    :param progress: called with items written and items to write, after each batch; tells the log if not given.
    :return: the load's report as plain JSON.
    :raises BadLoadError: too many rows were refused (nothing was written), or the file or the table is wrong.
    """
    from dynamodb_bulk.load import load_csv

    def do() -> Any:
        with rejects_file(s3, *rejects) as (sink, address):
            return load_csv(
                dynamodb,
                job.table_name,
                job.open_source,
                job.schema,
                source_name=job.source_name,
                rejects=sink,
                rejects_name=address,
                settings=job.settings,
                progress=progress or LoadMeter(job.table_name),
                checkpoint=job.store,
            )

    with final_errors():
        return tell(anew_if_outdated(job.store, do))


@contextmanager
def final_errors() -> Iterator[None]:
    """Turn what another try does not change into the error that Airflow does not retry.

    :raises BadLoadError: for any of ``FINAL_LOAD_ERRORS``.
    """
    try:
        yield
    except FINAL_LOAD_ERRORS as error:
        raise BadLoadError(str(error)) from error


def anew_if_outdated(checkpoint: CheckpointStore, do: Callable[[], T]) -> T:
    """Do a step of a load; if its checkpoint is of a table that was made anew since, do it without."""
    try:
        return do()
    except CheckpointMismatchError as error:
        log.warning("%s Starting anew.", error)
        checkpoint.clear()
        return do()


def tell(report: Any) -> dict[str, Any]:
    """Log what a load came to, and return it as plain JSON."""
    log.info("%s", report.summary())
    if report.seconds > 0:
        log.info(
            "Loaded at %.0f items/s, %.2f MB/s", report.written / report.seconds, report.bytes / report.seconds / 1e6
        )
    content: dict[str, Any] = report.as_dict()
    return content


@contextmanager
def rejects_file(s3: Any, bucket: str, key: str) -> Iterator[tuple[IO[bytes], str]]:
    """Yield where the refused rows go, and its ``s3://`` address.

    They are in S3 when the block ends, also where the load failed: they tell why.
    """
    with tempfile.TemporaryFile() as sink:
        try:
            yield sink, f"s3://{bucket}/{key}"
        finally:
            if sink.tell():
                sink.seek(0)
                s3.upload_fileobj(sink, bucket, key, ExtraArgs={"ContentType": "application/jsonl"})


class LoadMeter:
    """Progress callback of a load: logs each time the number of written items has doubled, and every few minutes.

    :param name: what is loaded, for the log.
    :param clock: seconds that only grow.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._due = FIRST_REPORT
        self._told_at = clock()
        self._began: tuple[float, int] | None = None

    def __call__(self, written: int, to_write: int) -> None:
        """Take note of how far the load is."""
        now = self._clock()
        # What an earlier try wrote says nothing of how fast this one is.
        began, before = self._began = self._began or (now, written)
        if written < self._due and now - self._told_at < REPORT_SECONDS:
            return
        self._due, self._told_at = max(FIRST_REPORT, written * 2), now
        rate = (written - before) / (now - began) if now > began else 0.0
        log.info(
            "%s: %s of %s items written (%.0f %%)%s",
            self._name,
            written,
            to_write,
            100 * written / max(1, to_write),
            f", {rate:.0f} items/s so far, {(to_write - written) / rate:.0f} s to go" if rate else "",
        )


class WatchedLease:
    """Progress callback of a load that ends it where the run has lost its table's lease; else extends the lease.

    A worker that was cut off for long goes on when it wakes up: by then its run may be over, and another run may have
    loaded its own file.

    :param lease: what the lease operator returned.
    :param then: the callback that tells how far the load is.
    """

    def __init__(self, lease: dict[str, Any], then: Callable[[int, int], None]) -> None:
        self._lease = lease
        self._then = then
        self._checked_at = time.monotonic()

    def __call__(self, written: int, to_write: int) -> None:
        """Take note of how far the load is.

        :raises backup_flows.lease.LeaseLostError: the run must not write any more.
        """
        self._then(written, to_write)
        if time.monotonic() - self._checked_at >= LEASE_CHECK_SECONDS:
            ensure_lease(self._lease)
            self._checked_at = time.monotonic()


def _writing_client() -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    from dynamodb_bulk.batches import bulk_client_config

    return AwsBaseHook(aws_conn_id=AWS_CONN_ID, client_type="dynamodb", config=bulk_client_config()).conn


def _job(resources: dict[str, Any], staged: dict[str, Any], lease: dict[str, Any], *, writers: int = 1) -> Any:
    params = get_current_context()["params"]
    settings = load_settings(max_reject_ratio=params["max_reject_ratio"], max_wcu=params["max_wcu"], writers=writers)
    with final_errors():
        return make_job(
            client("s3"),
            staged=staged,
            table=resources["table"],
            bucket=resources["bucket"],
            prefix=load_prefix(resources["table"], resources["run_key"], staged["version_id"]),
            fence=lease["fence"],
            settings=settings,
        )


def _rejects(resources: dict[str, Any]) -> tuple[str, str]:
    """Return bucket and key of the rows that the run's load refuses."""
    return resources["bucket"], rejects_key(resources["as_of"], resources["run_key"])


@task(task_id="plan_load", execution_timeout=LOAD_LIMIT)
def plan_load(resources: dict[str, Any], staged: dict[str, Any], lease: dict[str, Any]) -> list[int]:
    """Cut the staged file into shards, one mapped task each; none if ``load`` does it all by itself."""
    from dynamodb_bulk import shards

    if staged["bytes"] <= shard_bytes():
        return []
    job = _job(resources, staged, lease)
    started = server_time(client("sts")).isoformat()
    with final_errors():
        count = anew_if_outdated(
            job.store, lambda: shards.plan_load(client("dynamodb"), job, shard_bytes=shard_bytes())
        )
    job.store.put(_STARTED, started.encode())
    log.info("%s (%s bytes) is loaded in %s shards", staged["source"], staged["bytes"], count)
    return list(range(count))


@task(task_id="survey_shard", max_active_tis_per_dagrun=SHARDS_AT_ONCE, execution_timeout=LOAD_LIMIT)
def survey_shard(shard: int, resources: dict[str, Any], staged: dict[str, Any], lease: dict[str, Any]) -> None:
    """Find out what is in a shard of the file; nothing is written to the table."""
    from dynamodb_bulk import shards

    with final_errors():
        found = shards.survey_planned_shard(_job(resources, staged, lease), shard)
    log.info(
        "Shard %s: %s rows, %s refused, %s bytes",
        shard,
        found.rows_in,
        found.rejected,
        found.shard.end - found.shard.start,
    )


@task(task_id="decide_load", execution_timeout=LOAD_LIMIT)
def decide_load(resources: dict[str, Any], staged: dict[str, Any], lease: dict[str, Any]) -> None:
    """Decide which row of each key is written (the last one), and put the refused rows aside."""
    from dynamodb_bulk import shards

    job = _job(resources, staged, lease)
    with final_errors(), rejects_file(client("s3"), *_rejects(resources)) as (sink, address):
        decision = shards.decide_load(job, rejects=sink, rejects_name=address)
    log.info("%s items to write", sum(decision.to_write))


@task(task_id="write_shard", max_active_tis_per_dagrun=SHARDS_AT_ONCE, execution_timeout=LOAD_LIMIT)
def write_shard(
    shard: int, planned: list[int], resources: dict[str, Any], staged: dict[str, Any], lease: dict[str, Any]
) -> None:
    """Write the chosen rows of a shard; one that was interrupted goes on where it stood."""
    from dynamodb_bulk import shards

    ensure_lease(lease)
    job = _job(resources, staged, lease, writers=min(len(planned), SHARDS_AT_ONCE))
    meter = LoadMeter(f"{resources['table']} shard {shard + 1} of {len(planned)}")
    with final_errors():
        written = shards.write_planned_shard(_writing_client(), job, shard, progress=WatchedLease(lease, meter))
    log.info("Shard %s: %s items written, %s sent again", shard, written.written, written.resent)


@task(
    task_id="load",
    outlets=[ORDERS_TABLE],
    # The mapped tasks before it are skipped where there is one shard only.
    trigger_rule=MAPPED_MAY_BE_SKIPPED,
    execution_timeout=LOAD_LIMIT,
)
def load(planned: list[int], resources: dict[str, Any], staged: dict[str, Any]) -> dict[str, Any]:
    """Load the staged file, or account for the shards that were loaded. Loading a file twice changes nothing.

    :return: the load's report, plus ``ended_at``: AWS's time after the last write, from which it settles, and
        ``shards``: into how many the file was cut.
    """
    context = get_current_context()
    lease = ensure_run_holds_lease(context)
    job, rejects = _job(resources, staged, lease), _rejects(resources)
    if planned and _is_handed_on(job.store):
        # Asked before the account is closed: nothing that may fail comes after that.
        ended = server_time(client("sts"))
        report = _account(job, rejects, ended)
    else:
        meter = WatchedLease(lease, LoadMeter(resources["table"]))
        report = load_order_file(_writing_client(), client("s3"), job=job, rejects=rejects, progress=meter)
        ended = server_time(client("sts"))
    report["ended_at"] = ended.isoformat()
    report["shards"] = max(1, len(planned))
    context["outlet_events"][ORDERS_TABLE].extra = {
        "table": resources["table"],
        "as_of": resources["as_of"],
        "written": report["written"],
    }
    return report


def _is_handed_on(store: CheckpointStore) -> bool:
    """Say whether what the steps of a load handed on is still there.

    Where it is not, the shards were accounted for before, by a task that died before Airflow knew of it or that was
    cleared since. Then the file is loaded once more, which changes nothing.
    """
    started = store.get(_STARTED) is not None
    if started and store.get(_DECISION) is not None:
        return True
    log.warning("The shards of this load were accounted for before: the file is loaded once more, by this task alone")
    if started:
        # What was to be forgotten is so in part. What this task itself kept, on an earlier try, has no such mark.
        store.clear()
    return False


def _account(job: Any, rejects: tuple[str, str], now: dt.datetime) -> dict[str, Any]:
    """Put the shards' results together, and forget what the steps handed on: a cleared load starts anew."""
    from dynamodb_bulk.shards import finish_load
    from dynamodb_bulk.survey import required

    started = dt.datetime.fromisoformat(required(job.store, _STARTED).decode())
    bucket, key = rejects
    try:
        with final_errors():
            report = finish_load(job, rejects_name=f"s3://{bucket}/{key}", seconds=(now - started).total_seconds())
    except CheckpointMissingError as error:
        raise BadLoadError(
            f"{error} What was written under an earlier lease of the table does not count, as another run may have "
            "loaded its own file since. Clear the task write_shard with all its map indexes; nothing else is lost."
        ) from error
    job.store.clear()
    return tell(report)


def load_staged(resources: Any, staged: Any, lease: Any) -> Any:
    """Wire the load of a staged file.

    :param resources: what ``preflight`` returned.
    :param staged: what ``stage`` returned.
    :param lease: what the lease operator returned.
    :return: the load's report.
    """
    planned: Any = plan_load(resources, staged, lease)
    surveyed = survey_shard.partial(resources=resources, staged=staged, lease=lease).expand(shard=planned)
    decided: Any = decide_load(resources, staged, lease)
    written = write_shard.partial(planned=planned, resources=resources, staged=staged, lease=lease).expand(
        shard=planned
    )
    loaded: Any = load(planned, resources, staged)
    surveyed >> decided >> written >> loaded
    return loaded
