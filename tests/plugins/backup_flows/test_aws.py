from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from backup_flows.aws import AWS_CONN_ID, RETENTION_CONN_ID, client, is_local, retention_conn_id, server_time
from local_aws import mock_aws

LOCAL = '{"conn_type": "aws", "login": "testing", "password": "testing", "extra": {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:1"}}'  # noqa: E501


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("http://127.0.0.1:5566", True),
        ("http://local-aws:5566", True),
        ("https://backup.us-east-1.amazonaws.com", False),
        ("https://backup.cn-north-1.amazonaws.com.cn", False),
        ("https://dynamodb.us-east-1.api.aws", False),
        ("http://amazonaws.com.example.org", True),
        ("http://notamazonaws.com", True),
    ],
)
def test_the_endpoint_tells_an_emulator_from_aws(endpoint: str, local: bool):
    assert is_local(SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint))) is local


def test_a_client_of_boto3_without_an_endpoint_is_aws():
    assert is_local(boto3.client("backup", region_name="us-east-1")) is False


def test_a_client_is_made_from_the_airflow_connection(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", LOCAL)
    made = client("dynamodb")
    assert made.meta.service_model.service_name == "dynamodb"
    assert made.meta.endpoint_url == "http://127.0.0.1:1"
    assert made.meta.region_name == "eu-west-1"
    assert made.meta.config.retries["mode"] == "standard"
    assert made.meta.config.connect_timeout == 10


def answering(date: str) -> Any:
    answer = {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
    return SimpleNamespace(get_caller_identity=lambda: answer)


@pytest.mark.parametrize(
    "header", ["Sun, 01 Nov 2026 06:00:07 GMT", "Sun, 01 Nov 2026 06:00:07 +0000", "Sun, 01 Nov 2026 07:00:07 +0100"]
)
def test_awss_time_is_the_date_of_an_answer(header: str):
    moment = server_time(answering(header))
    assert moment == dt.datetime(2026, 11, 1, 6, 0, 7, tzinfo=dt.UTC)
    assert moment.utcoffset() == dt.timedelta(0)


def test_sts_dates_its_answers():
    with mock_aws():
        found = server_time(boto3.client("sts", region_name="us-east-1"))
    assert abs(dt.datetime.now(tz=dt.UTC) - found) < dt.timedelta(minutes=1)


def test_the_one_that_may_delete_is_used_where_it_is_defined(connection, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_AWS_BACKUP_RETENTION", raising=False)
    assert retention_conn_id() == AWS_CONN_ID
    monkeypatch.setenv("AIRFLOW_CONN_AWS_BACKUP_RETENTION", '{"conn_type": "aws"}')
    assert retention_conn_id() == RETENTION_CONN_ID
