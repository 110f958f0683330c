"""Small helpers to read and write the documents that the project keeps in S3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

FREE: Final[Mapping[str, str]] = {"IfNoneMatch": "*"}
"""The condition that there is no object at a key."""


def get_bytes(s3: Any, bucket: str, key: str) -> bytes | None:
    """Return an object's content, or None if there is no such object."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise
    content: bytes = answer["Body"].read()
    return content


def get_json(s3: Any, bucket: str, key: str) -> dict[str, Any] | None:
    """Return a JSON object, or None if there is no such key."""
    content = get_bytes(s3, bucket, key)
    if content is None:
        return None
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def put_json(s3: Any, bucket: str, key: str, document: Any) -> str:
    """Write a JSON document (sorted keys, readable) and return its ``s3://`` address."""
    body = json.dumps(document, indent=2, sort_keys=True, default=str, ensure_ascii=False).encode()
    return put_bytes(s3, bucket, key, body, content_type="application/json")


def put_bytes(s3: Any, bucket: str, key: str, body: bytes, *, content_type: str) -> str:
    """Write an object and return its ``s3://`` address."""
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)
    return f"s3://{bucket}/{key}"


def put_once(s3: Any, bucket: str, key: str, body: bytes, *, content_type: str) -> bool:
    """Write an object only if the key is free.

    :return: False if an object stood there already (it is left as it is).
    """
    return put_if(s3, bucket, key, body, FREE, content_type=content_type)


def get_for_update(s3: Any, bucket: str, key: str) -> tuple[bytes | None, Mapping[str, str]]:
    """Return an object's content (None: there is none), and the condition under which it is still the same.

    The condition is what :func:`put_if` takes.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None, FREE
        raise
    return answer["Body"].read(), {"IfMatch": answer["ETag"]}


def put_if(s3: Any, bucket: str, key: str, body: bytes, condition: Mapping[str, str], *, content_type: str) -> bool:
    """Write an object if what is at its key fits a condition.

    Rests on S3's conditional writes:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

    :param condition: `FREE`, or what :func:`get_for_update` returned.
    :return: False if it does not fit (the object there is left as it is).
    """
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict", "412"}:
            return False
        raise
    return True
