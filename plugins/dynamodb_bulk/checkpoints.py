"""Where a load keeps what it has done, so that one that was killed goes on where it stood.

A checkpoint is a handful of named documents. Each is written whole or not at all, so whatever is found was
complete; what is missing is done again.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError

from dynamodb_bulk.errors import CheckpointError
from dynamodb_bulk.patience import error_code

_NOT_FOUND = frozenset({"NoSuchKey", "404", "NotFound"})
_DRAFT = ".draft-"


class CheckpointStore(Protocol):
    """Keeps named documents; a name may hold slashes."""

    def put(self, name: str, data: bytes) -> None:
        """Keep a document; when this returns it is safe, and until then the one before it is."""
        ...

    def get(self, name: str) -> bytes | None:
        """Return a document, or None where there is none."""
        ...

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """Return `length` bytes of a document that is there, from `start` on."""
        ...

    def clear(self) -> None:
        """Remove all documents."""
        ...


class LocalCheckpoints:
    """Keeps documents as files below a folder, which is made if need be.

    Args:
        folder: used for this one load, and nothing else.
        durable: whether what was put must survive the machine, not the process alone.
    """

    def __init__(self, folder: str | Path, *, durable: bool = True) -> None:
        self._folder = Path(folder)
        self._durable = durable

    def put(self, name: str, data: bytes) -> None:
        """Keep a document."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=_DRAFT)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def get(self, name: str) -> bytes | None:
        """Return a document, or None where there is none."""
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return None

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """Return a part of a document."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def clear(self) -> None:
        """Remove all documents, and the folders that are empty then."""
        found = list(self._folder.rglob("*"))
        files = [path for path in found if not path.is_dir()]
        # What was put last goes first: so what is left of a removal that was killed can be gone on with.
        for path in sorted(files, key=lambda path: (path.lstat().st_mtime_ns, path), reverse=True):
            path.unlink()
        for path in sorted((path for path in found if path.is_dir()), reverse=True):
            path.rmdir()


def own_folder(folder: Path, first: str, *, others: str | None = None) -> LocalCheckpoints:
    """Return a store in a folder, if it holds nothing else: all that is in it is removed with the documents.

    Args:
        folder: the folder, which need not be there.
        first: the document that is put before all others.
        others: pattern of the documents that may be there without the first one; then nothing else may be there at all.

    Raises:
        CheckpointError: the folder holds something, but no checkpoint.
    """
    if folder.is_dir() and (others is not None or not (folder / first).is_file()):
        known = re.compile(rf"{re.escape(_DRAFT)}.*" + (f"|{re.escape(first)}|{others}" if others is not None else ""))
        foreign = sorted(path.name for path in folder.iterdir() if not known.fullmatch(path.name))
        if foreign:
            raise CheckpointError(
                f"{folder} holds {foreign[0]!r} but no checkpoint. A checkpoint's folder is emptied when the work is "
                "done: name one that is empty or not there yet."
            )
    return LocalCheckpoints(folder)


class S3Checkpoints:
    """Keeps documents as S3 objects.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel

    Args:
        client: boto3's S3 client.
        bucket: the bucket's name.
        prefix: what the keys begin with, such as ``checkpoints/orders/2026-11-01/``; used for this one load.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def put(self, name: str, data: bytes) -> None:
        """Keep a document."""
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)

    def get(self, name: str) -> bytes | None:
        """Return a document, or None where there is none."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
        except ClientError as error:
            if error_code(error) in _NOT_FOUND:
                return None
            raise
        data: bytes = answer["Body"].read()
        return data

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """Return a part of a document."""
        if not length:
            return b""
        answer = self._client.get_object(
            Bucket=self._bucket, Key=self._prefix + name, Range=f"bytes={start}-{start + length - 1}"
        )
        data: bytes = answer["Body"].read()
        return data

    def clear(self) -> None:
        """Remove all documents."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            objects = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if objects:
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
                # A refusal comes as part of a good answer. What stays would be taken for what the next load did.
                for refusal in answer.get("Errors", ()):
                    raise CheckpointError(
                        f"s3://{self._bucket}/{refusal.get('Key')} cannot be removed ({refusal.get('Code')}: "
                        f"{refusal.get('Message')}); check the right to s3:DeleteObject, and remove all that is below "
                        f"{self._prefix} before the next load"
                    )
