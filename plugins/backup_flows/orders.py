"""The retailer's order file: find it, stage it in S3, load it into the orders table."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from backup_flows.as_of import utcnow
from backup_flows.aws import AWS_CONN_ID, client, server_time
from backup_flows.defaults import NO_RETRY, ORDERS_TABLE
from backup_flows.keys import rejects_key, staged_key
from backup_flows.lease import LeaseStore
from backup_flows.leasing import lease_seconds
from backup_flows.project_files import project_file, project_home
from dynamodb_bulk.errors import (
    AccountingError,
    KeySchemaMismatchError,
    SchemaError,
    SourceError,
    TableMissingError,
    TooManyRejectsError,
    WriteRefusedError,
)

log = logging.getLogger(__name__)

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

SCHEMA_FILE = "include/data/orders_schema.yaml"
DEFAULT_SOURCE = "include/data/daily/order_data_{as_of}.csv"
S3_SCHEME = "s3://"


class BadSourceError(AirflowFailException):
    """The order file can't be used; the message names it and says what was expected. Not retried."""


class BadLoadError(AirflowFailException):
    """The load was refused for a reason that another try does not change. Not retried."""


def source_of(template: str, as_of: str) -> str:
    """Return the place of a date's order file: ``{as_of}`` becomes ``YYYY-MM-DD``."""
    return template.replace("{as_of}", as_of)


def split_s3(address: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://bucket/key`` address.

    :raises BadSourceError: one of the two is empty.
    """
    bucket, _, key = address.removeprefix(S3_SCHEME).partition("/")
    if not bucket or not key:
        raise BadSourceError(f"{address} is not an S3 address: expected s3://<bucket>/<key>.")
    return bucket, key


class VersionedObject:
    """boto3's S3 client, held to one version of one object.

    Two runs of one date stage their files under one key. The bucket is versioned, so each loads what it
    staged itself.
    """

    def __init__(self, s3: Any, version_id: str) -> None:
        self.s3 = s3
        self.version_id = version_id

    def head_object(self, **kwargs: Any) -> Any:
        """Head the version."""
        return self.s3.head_object(**kwargs, VersionId=self.version_id)

    def get_object(self, **kwargs: Any) -> Any:
        """Get (a range of) the version."""
        return self.s3.get_object(**kwargs, VersionId=self.version_id)


def open_order_file(s3: Any, source: str) -> BinaryIO:
    """Open an order file: a local path (relative ones start at the project's folder) or an S3 object.

    :raises dynamodb_bulk.errors.SourceNotFoundError: there is no such file or object.
    """
    from dynamodb_bulk.sources import local_source, s3_source

    if source.startswith(S3_SCHEME):
        bucket, key = split_s3(source)
        return s3_source(s3, bucket, key)()
    path = Path(source)
    return local_source(path if path.is_absolute() else project_home() / path)()


def stage_order_file(s3: Any, *, source: str, bucket: str, key: str) -> dict[str, Any]:
    """Check an order file's header and put the file into the bucket.

    :return: ``{"bucket", "key", "version_id", "source", "bytes"}``
    :raises BadSourceError: no such file, not CSV, empty, wrong header; nothing was staged.
    """
    from dynamodb_bulk.csv_rows import inspect_header
    from dynamodb_bulk.schema import load_schema

    schema = load_schema(project_file(SCHEMA_FILE))
    try:
        with contextlib.closing(open_order_file(s3, source)) as stream:
            inspect_header(stream, schema, source)
        with contextlib.closing(open_order_file(s3, source)) as stream:
            version_id, size = _upload(s3, stream, bucket, key)
    except SourceError as error:
        raise BadSourceError(str(error)) from error
    staged = {"bucket": bucket, "key": key, "version_id": version_id, "source": source, "bytes": size}
    log.info("Staged %s as s3://%s/%s (%s bytes)", source, bucket, key, size)
    return staged


def _upload(s3: Any, stream: BinaryIO, bucket: str, key: str) -> tuple[str, int]:
    """Put the file into the bucket; return its version and its size in bytes."""
    with tempfile.TemporaryFile() as copy:
        size = 0
        while block := stream.read(io.DEFAULT_BUFFER_SIZE * 16):
            size += copy.write(block)
        copy.seek(0)
        # The answer to this very request names the version. To ask for it afterwards (a managed upload does not
        # tell) would give the file of another run of the same date, if that run was staging just then.
        answer = s3.put_object(Bucket=bucket, Key=key, Body=copy, ContentType="text/csv")
    return answer["VersionId"], size


def load_order_file(
    dynamodb: Any, s3: Any, *, staged: dict[str, Any], table: str, rejects: tuple[str, str], max_reject_ratio: float
) -> dict[str, Any]:
    """Load a staged order file into a table; the refused rows go to the rejects file in S3.

    :param rejects: bucket and key of the rejects file; it is written only if rows were refused.
    :return: the load's report as plain JSON.
    :raises BadLoadError: too many rows were refused (nothing was written), or the file or the table is wrong.
    """
    from dynamodb_bulk.batches import LoadSettings
    from dynamodb_bulk.load import load_csv
    from dynamodb_bulk.schema import load_schema
    from dynamodb_bulk.sources import s3_source

    bucket, key = rejects
    pinned = VersionedObject(s3, staged["version_id"])
    with tempfile.TemporaryFile() as sink:
        try:
            report = load_csv(
                dynamodb,
                table,
                s3_source(pinned, staged["bucket"], staged["key"]),
                load_schema(project_file(SCHEMA_FILE)),
                source_name=staged["source"],
                rejects=sink,
                rejects_name=f"s3://{bucket}/{key}",
                settings=LoadSettings(max_reject_ratio=max_reject_ratio),
                progress=_progress_logger(table),
            )
        except FINAL_LOAD_ERRORS as error:
            raise BadLoadError(str(error)) from error
        finally:
            # Also when the load fails: the rejects are what tells why.
            if sink.tell():
                sink.seek(0)
                s3.upload_fileobj(sink, bucket, key, ExtraArgs={"ContentType": "application/jsonl"})
    log.info("%s", report.summary())
    return report.as_dict()


def _progress_logger(table: str) -> Any:
    due = 10_000

    def report(written: int, to_write: int) -> None:
        nonlocal due
        if written >= due:
            log.info("%s: %s of %s items written", table, written, to_write)
            due = written * 2

    return report


@task(task_id="stage", **NO_RETRY)
def stage(resources: dict[str, Any]) -> dict[str, Any]:
    """Put the date's order file into the bucket. The only task that reads local paths."""
    params = get_current_context()["params"]
    return stage_order_file(
        client("s3"),
        source=source_of(params["source"], resources["as_of"]),
        bucket=resources["bucket"],
        key=staged_key(resources["as_of"]),
    )


def ensure_lease(lease: dict[str, Any]) -> None:
    """Check, before a write or a fingerprint, that the run still holds its table's lease.

    :raises backup_flows.lease.LeaseLostError: it does not.
    """
    store = LeaseStore(client("dynamodb"), lease["lease_table"], clock=utcnow, lease_seconds=lease_seconds())
    store.ensure_held(lease["table_name"], lease["owner"], lease["fence"])


@task(task_id="load", outlets=[ORDERS_TABLE])
def load(resources: dict[str, Any], staged: dict[str, Any], lease: dict[str, Any]) -> dict[str, Any]:
    """Load the staged file. Loading the same file twice changes nothing.

    :return: the load's report, plus ``ended_at``: AWS's time after the last write, from which it settles.
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    from dynamodb_bulk.batches import bulk_client_config

    ensure_lease(lease)
    context = get_current_context()
    dynamodb: Any = AwsBaseHook(aws_conn_id=AWS_CONN_ID, client_type="dynamodb", config=bulk_client_config()).conn
    report = load_order_file(
        dynamodb,
        client("s3"),
        staged=staged,
        table=resources["table"],
        rejects=(resources["bucket"], rejects_key(resources["as_of"], resources["run_key"])),
        max_reject_ratio=context["params"]["max_reject_ratio"],
    )
    report["ended_at"] = server_time(client("sts")).isoformat()
    context["outlet_events"][ORDERS_TABLE].extra = {
        "table": resources["table"],
        "as_of": resources["as_of"],
        "written": report["written"],
    }
    return report
