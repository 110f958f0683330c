import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from moto import mock_aws

from dynamodb_bulk.errors import SourceChangedError, SourceError, SourceNotFoundError, SourceUnavailableError
from dynamodb_bulk.sources import local_source, s3_source

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def aws() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="orders-bucket")
        yield client


@pytest.fixture
def s3(aws: Any) -> Any:
    aws.put_object(Bucket="orders-bucket", Key="staging/order_data.csv", Body=CONTENT)
    return aws


def test_a_local_file_is_opened_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(CONTENT)
    source = local_source(path)
    for _ in range(2):
        with source() as stream:
            assert stream.read() == CONTENT


@pytest.mark.parametrize(("name", "what"), [("nothing.csv", "is not there"), (".", "is a folder")])
def test_a_local_file_that_is_not_there(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(SourceNotFoundError, match=what) as raised:
        local_source(tmp_path / name)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("range_bytes", [1000, 10_240, 10_239, 1_000_000])
def test_an_object_is_read_in_ranges(s3: Any, range_bytes: int) -> None:
    source = s3_source(s3, "orders-bucket", "staging/order_data.csv", range_bytes=range_bytes)
    for _ in range(2):
        with source() as stream:
            assert b"".join(iter(partial(stream.read, 777), b"")) == CONTENT


@pytest.mark.parametrize("start", [0, 1, 5000, 10_239, 10_240, 99_999])
def test_an_object_can_be_read_from_anywhere(s3: Any, start: int) -> None:
    with s3_source(s3, "orders-bucket", "staging/order_data.csv", range_bytes=1000)() as stream:
        assert stream.read(10) == CONTENT[:10]
        assert stream.seek(start) == start
        assert stream.read(300) == CONTENT[start : start + 300]
        assert stream.seek(-5, io.SEEK_END) == len(CONTENT) - 5
        assert stream.read() == CONTENT[-5:]


def test_an_empty_object(s3: Any) -> None:
    s3.put_object(Bucket="orders-bucket", Key="empty.csv", Body=b"")
    with s3_source(s3, "orders-bucket", "empty.csv")() as stream:
        assert stream.read() == b""


@pytest.mark.parametrize(("bucket", "key"), [("orders-bucket", "nothing.csv"), ("no-bucket", "order_data.csv")])
def test_an_object_that_is_not_there(s3: Any, bucket: str, key: str) -> None:
    with pytest.raises(SourceNotFoundError, match=f"s3://{bucket}/{key} does not exist"):
        s3_source(s3, bucket, key)


def test_an_object_replaced_between_two_reads(s3: Any) -> None:
    source = s3_source(s3, "orders-bucket", "staging/order_data.csv")
    with source() as stream:
        assert len(stream.read()) == len(CONTENT)
    s3.put_object(Bucket="orders-bucket", Key="staging/order_data.csv", Body=b"new")
    with source() as stream, pytest.raises(SourceChangedError, match="was replaced while"):
        stream.read()


class Denying:
    """An S3 client whose role may not read."""

    def head_object(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    def get_object(self, **_: Any) -> Any:
        raise AssertionError("not reached")


def test_an_object_that_may_not_be_read() -> None:
    with pytest.raises(SourceError, match=r"s3://b/k cannot be read: .*Forbidden.*s3:GetObject"):
        s3_source(Denying(), "b", "k")


class Breaking:
    """An S3 client whose answers break off, or never come, for as long as there is trouble."""

    def __init__(self, *trouble: bytes | Exception) -> None:
        self.trouble = list(trouble)
        self.calls = 0

    def head_object(self, **_: Any) -> Any:
        return {"ETag": '"1"', "ContentLength": 10}

    def get_object(self, *, Range: str, **_: Any) -> Any:
        self.calls += 1
        first, last = Range.removeprefix("bytes=").split("-")
        content = self.trouble.pop(0) if self.trouble else b"0123456789"[int(first) : int(last) + 1]
        if isinstance(content, Exception):
            raise content
        return {"Body": io.BytesIO(content)}


CUT = ConnectionClosedError(endpoint_url="http://127.0.0.1:9")


@pytest.mark.parametrize("trouble", [(b"01234",), (CUT,), (CUT, b"")])
def test_an_answer_that_breaks_off_is_asked_for_again(trouble: tuple[bytes | Exception, ...]) -> None:
    client = Breaking(*trouble)
    with s3_source(client, "b", "k", range_bytes=6)() as stream:
        assert stream.read() == b"0123456789"
    assert client.calls == 2 + len(trouble)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [((b"01234",) * 9, "5 bytes came where 10 were asked for"), ((CUT,) * 9, "Connection was closed")],
)
def test_an_answer_cut_short_is_no_end_of_file(trouble: tuple[bytes | Exception, ...], message: str) -> None:
    client = Breaking(*trouble)
    with (
        s3_source(client, "b", "k")() as stream,
        pytest.raises(SourceUnavailableError, match=f"s3://b/k cannot be read now: {message}.*attempts: 3"),
    ):
        stream.read()
    assert client.calls == 3


def test_an_endpoint_that_does_not_answer() -> None:
    class Silent(Breaking):
        def head_object(self, **_: Any) -> Any:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    with pytest.raises(SourceUnavailableError, match=r"s3://b/k cannot be read now: .*http://127\.0\.0\.1:9"):
        s3_source(Silent(), "b", "k")


@pytest.mark.parametrize(("code", "status", "passes"), [("SlowDown", 503, True), ("AccessDenied", 403, False)])
def test_what_may_pass_is_told_from_what_will_not(code: str, status: int, passes: bool) -> None:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    source = s3_source(Breaking(ClientError(answer, "GetObject")), "b", "k")
    with source() as stream, pytest.raises(SourceUnavailableError if passes else SourceError):
        stream.read()
