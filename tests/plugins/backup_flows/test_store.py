from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from backup_flows.store import get_bytes, get_json, put_bytes, put_json, put_once

BUCKET = "a-bucket"


@pytest.fixture
def s3(aws):
    client = aws("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def test_what_is_not_there_is_none(s3):
    assert get_bytes(s3, BUCKET, "a.json") is None
    assert get_json(s3, BUCKET, "a.json") is None


def test_a_bucket_that_is_not_there_is_an_error_not_a_missing_document(s3):
    with pytest.raises(ClientError, match="NoSuchBucket"):
        get_bytes(s3, "no-such-bucket", "a.json")


def test_documents_come_back_as_they_were(s3):
    assert put_json(s3, BUCKET, "a/b.json", {"ü": [1, None], "a": "x"}) == f"s3://{BUCKET}/a/b.json"
    assert get_json(s3, BUCKET, "a/b.json") == {"ü": [1, None], "a": "x"}
    head = s3.head_object(Bucket=BUCKET, Key="a/b.json")
    assert head["ContentType"] == "application/json"
    put_bytes(s3, BUCKET, "raw", b"\x00\xff", content_type="application/gzip")
    assert get_bytes(s3, BUCKET, "raw") == b"\x00\xff"


def test_the_first_one_stands(s3):
    assert put_once(s3, BUCKET, "once", b"first", content_type="text/plain") is True
    assert put_once(s3, BUCKET, "once", b"second", content_type="text/plain") is False
    assert get_bytes(s3, BUCKET, "once") == b"first"


def test_an_error_is_not_taken_for_an_object_that_stood_there(s3):
    with pytest.raises(ClientError, match="NoSuchBucket"):
        put_once(s3, "no-such-bucket", "once", b"", content_type="text/plain")
