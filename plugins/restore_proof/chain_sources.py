"""Where a chain of evidence packs is read from: the bucket itself, or a copy of it in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import ClientError

from restore_proof.chain import evidence_root
from restore_proof.evidence import PACK_NAME

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1024 * 1024


class BucketSource:
    """A table's evidence as it lies in S3.

    Args:
        s3: a client that may list the bucket and read its objects.
        bucket: its name.
        table: whose evidence is read.
    """

    def __init__(self, s3: S3Client, bucket: str, table: str) -> None:
        self.s3, self.bucket, self.root = s3, bucket, evidence_root(table)

    def read(self, key: str) -> bytes | None:
        """Return an object's content; None if there is none."""
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if _is_missing(error):
                return None
            raise

    def sha256(self, key: str) -> str | None:
        """Return the SHA-256 of an object of any size; None if there is none."""
        try:
            body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"]
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        digest = hashlib.sha256()
        for chunk in body.iter_chunks(_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()

    def packs(self) -> Sequence[str]:
        """Return the keys of all packs of the table."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.root)
        keys = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
        return [key for key in keys if _is_pack(key.removeprefix(self.root))]


class FolderSource:
    """A copy of ``s3://<bucket>/evidence/<table>/`` in a folder.

    Args:
        folder: where head.json and the folders of the drills lie.
        table: whose evidence it is.
    """

    def __init__(self, folder: Path, table: str) -> None:
        self.folder, self.root = folder.resolve(), evidence_root(table)

    def read(self, key: str) -> bytes | None:
        """Return a file's content; None if there is none."""
        path = self._path(key)
        return path.read_bytes() if path is not None else None

    def sha256(self, key: str) -> str | None:
        """Return the SHA-256 of a file of any size; None if there is none."""
        path = self._path(key)
        if path is None:
            return None
        stream: BinaryIO
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def packs(self) -> Sequence[str]:
        """Return the keys of all packs in the folder."""
        return [f"{self.root}{path.parent.name}/{path.name}" for path in self.folder.glob(f"*/{PACK_NAME}")]

    def _path(self, key: str) -> Path | None:
        """Return where an object lies in the copy. A key from a forged pack leads nowhere else."""
        path = (self.folder / key.removeprefix(self.root)).resolve()
        inside = key.startswith(self.root) and path.is_relative_to(self.folder)
        return path if inside and path.is_file() else None


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in {"NoSuchKey", "404"}


def _is_pack(name: str) -> bool:
    return name.count("/") == 1 and name.endswith(f"/{PACK_NAME}")
