"""Where a CSV file comes from: a local path, or an S3 object that stays the same one when opened twice.

A source is a function that opens the file anew on each call. Every function here raises
``SourceNotFoundError`` at once where there is nothing to open.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from botocore.exceptions import ClientError

from dynamodb_bulk.errors import SourceChangedError, SourceError, SourceNotFoundError, SourceUnavailableError
from dynamodb_bulk.patience import CONNECTION_ERRORS, is_retryable

OpenSource = Callable[[], BinaryIO]

_RANGE_BYTES = 4 * 1024 * 1024
_READ_ATTEMPTS = 3
_BUFFER_BYTES = 64 * 1024
_NOT_FOUND = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchVersion"})
_CHANGED = frozenset({"412", "PreconditionFailed", "416", "InvalidRange"})


class S3Client(Protocol):
    """The two calls of boto3's S3 client that a source needs."""

    def head_object(self, *, Bucket: str, Key: str) -> Any:
        """Return an object's ETag and length."""
        ...

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str, Range: str) -> Any:
        """Return a range of an object's bytes."""
        ...


def local_source(path: str | Path) -> OpenSource:
    """Return a source that reads a local file.

    Raises:
        SourceNotFoundError: there is no such file.
    """
    place = Path(path)
    if not place.is_file():
        kind = "a folder" if place.is_dir() else "not there"
        raise SourceNotFoundError(f"{place} is {kind}; expected a CSV file")
    return lambda: place.open("rb")


def s3_source(client: S3Client, bucket: str, key: str, *, range_bytes: int = _RANGE_BYTES) -> OpenSource:
    """Return a source that reads an S3 object, pinned to the content it has now.

    The object is read in ranges, not through one long response: S3 closes a connection that idles
    while the table is being written.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html

    Args:
        client: boto3's S3 client.
        bucket: the bucket's name.
        key: the object's key.
        range_bytes: bytes per request, which is also what is held in memory.

    Raises:
        SourceNotFoundError: there is no such bucket or key.
        SourceError: the object may not be read.
        SourceUnavailableError: S3 does not answer.
    """
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise _explain(error, f"s3://{bucket}/{key}") from error
    except CONNECTION_ERRORS as error:
        raise _unavailable(f"s3://{bucket}/{key}", str(error)) from error
    return lambda: io.BufferedReader(
        _S3Object(client, bucket, key, head["ETag"], head["ContentLength"], range_bytes),
        buffer_size=_BUFFER_BYTES,
    )


class _S3Object(io.RawIOBase):
    def __init__(self, client: S3Client, bucket: str, key: str, etag: str, length: int, range_bytes: int) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._name = f"s3://{bucket}/{key}"
        self._etag = etag
        self._length = length
        self._range_bytes = range_bytes
        self._position = 0
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position - len(self._chunk)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._length}[whence]
        self._position = max(0, start + offset)
        self._chunk = memoryview(b"")
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._chunk and self._position < self._length:
            self._fetch()
        count = min(len(buffer), len(self._chunk))
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count

    def _fetch(self) -> None:
        last = min(self._position + self._range_bytes, self._length) - 1
        wanted = last - self._position + 1
        problem = ""
        # botocore repeats a request that failed, but not an answer whose body broke off.
        for _ in range(_READ_ATTEMPTS):
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket,
                    Key=self._key,
                    IfMatch=self._etag,
                    Range=f"bytes={self._position}-{last}",
                )
                body: bytes = answer["Body"].read()
            except ClientError as error:
                raise _explain(error, self._name) from error
            except CONNECTION_ERRORS as error:
                problem = str(error)
                continue
            if len(body) == wanted:
                self._position = last + 1
                self._chunk = memoryview(body)
                return
            problem = f"{len(body)} bytes came where {wanted} were asked for"
        raise _unavailable(self._name, f"{problem} (attempts: {_READ_ATTEMPTS})")


def _unavailable(name: str, problem: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"{name} cannot be read now: {problem}; check that the endpoint answers, and run the load again"
    )


def _explain(error: ClientError, name: str) -> Exception:
    code = error.response.get("Error", {}).get("Code", "")
    if code in _NOT_FOUND:
        return SourceNotFoundError(f"{name} does not exist ({code}); expected a CSV file")
    if code in _CHANGED:
        return SourceChangedError(f"{name} was replaced while it was being read ({code}); run the load again")
    if is_retryable(error):
        return _unavailable(name, str(error))
    return SourceError(f"{name} cannot be read: {error}; check the role's right to s3:GetObject")
