"""The retailer's order file: find it, and stage it in S3."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import IO, Any, BinaryIO

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from backup_flows.aws import client
from backup_flows.defaults import LOAD_LIMIT, NO_RETRY
from backup_flows.keys import staged_key
from backup_flows.project_files import project_file, project_home
from dynamodb_bulk.errors import SourceError

log = logging.getLogger(__name__)

SCHEMA_FILE = "include/data/orders_schema.yaml"
DEFAULT_SOURCE = "include/data/daily/order_data_{as_of}.csv"
S3_SCHEME = "s3://"
SINGLE_PUT_BYTES = 5 * 1024**3
"""What S3 takes in one request at most: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
UPLOAD_PART_BYTES = 64 * 1024**2
MAX_UPLOAD_PARTS = 10_000


class BadSourceError(AirflowFailException):
    """The order file can't be used; the message names it and says what was expected. Not retried."""


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
        if size > SINGLE_PUT_BYTES:
            return _upload_in_parts(s3, copy, size, bucket, key), size
        # The answer to this very request names the version. To ask for it afterwards (a managed upload does not
        # tell) would give the file of another run of the same date, if that run was staging just then.
        answer = s3.put_object(Bucket=bucket, Key=key, Body=copy, ContentType="text/csv")
    return answer["VersionId"], size


def _upload_in_parts(s3: Any, copy: IO[bytes], size: int, bucket: str, key: str) -> str:
    """Put a file into the bucket that is too large for one request; return its version, as the last answer names it."""
    part_bytes = max(UPLOAD_PART_BYTES, -(-size // MAX_UPLOAD_PARTS))
    place = {"Bucket": bucket, "Key": key}
    upload = {**place, "UploadId": s3.create_multipart_upload(**place, ContentType="text/csv")["UploadId"]}
    parts: list[dict[str, Any]] = []
    try:
        while block := copy.read(part_bytes):
            number = len(parts) + 1
            answer = s3.upload_part(**upload, PartNumber=number, Body=block)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except BaseException:
        # Parts that belong to no object are paid for all the same.
        with contextlib.suppress(Exception):
            s3.abort_multipart_upload(**upload)
        raise
    return str(done["VersionId"])


@task(task_id="stage", execution_timeout=LOAD_LIMIT, **NO_RETRY)
def stage(resources: dict[str, Any]) -> dict[str, Any]:
    """Put the date's order file into the bucket. The only task that reads local paths."""
    params = get_current_context()["params"]
    return stage_order_file(
        client("s3"),
        source=source_of(params["source"], resources["as_of"]),
        bucket=resources["bucket"],
        key=staged_key(resources["as_of"]),
    )
