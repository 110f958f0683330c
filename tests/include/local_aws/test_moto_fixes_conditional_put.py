"""S3 with many at once: one winner of a conditional write, and whole reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.s3.responses import S3Response

from local_aws.moto_fixes import conditional_put

THREADS = 16
ROUNDS = 15
BUCKET = "conditional"


@pytest.fixture
def s3(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    with started():
        client = clients("s3")
        client.create_bucket(Bucket=BUCKET)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            yield client
        finally:
            sys.setswitchinterval(interval)


def winners(s3: Any, key: str, condition: dict[str, str]) -> list[int]:
    """Write one object from many threads; return who was let through."""

    def write(number: int) -> int | None:
        try:
            s3.put_object(Bucket=BUCKET, Key=key, Body=b"%d" % number, **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            return None
        return number

    with ThreadPoolExecutor(THREADS) as pool:
        return [number for number in pool.map(write, range(THREADS)) if number is not None]


@pytest.mark.parametrize("existing", [False, True], ids=["a new object", "a known ETag"])
def test_one_writer_wins(s3: Any, existing: bool) -> None:
    for number in range(ROUNDS):
        key = f"head-{number}"
        condition = {"IfNoneMatch": "*"}
        if existing:
            condition = {"IfMatch": s3.put_object(Bucket=BUCKET, Key=key, Body=b"first")["ETag"]}
        won = winners(s3, key, condition)
        assert len(won) == 1
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"%d" % won[0]


def test_an_object_can_be_read_while_it_is_replaced(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="head", Body=b"0")

    def work(number: int) -> bytes:
        if number % 2:
            return bytes(s3.get_object(Bucket=BUCKET, Key="head")["Body"].read())
        s3.put_object(Bucket=BUCKET, Key="head", Body=b"%d" % number)
        return b"0"

    with ThreadPoolExecutor(THREADS) as pool:
        read = set(pool.map(work, range(20 * THREADS)))
    assert read <= {b"%d" % number for number in range(0, 20 * THREADS, 2)}


def test_the_lock_is_put_in_once() -> None:
    before = S3Response.put_object, S3Response.delete_object
    conditional_put.install()
    assert (S3Response.put_object, S3Response.delete_object) == before
