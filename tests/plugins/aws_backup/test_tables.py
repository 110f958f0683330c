from __future__ import annotations

from collections.abc import Mapping

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from aws_backup.tables import table_status, target_table


def test_the_status_of_a_table_and_of_none() -> None:
    client = boto3.client("dynamodb", region_name="us-east-1")
    with Stubber(client) as stub:
        stub.add_response("describe_table", {"Table": {"TableStatus": "CREATING"}}, {"TableName": "orders"})
        stub.add_client_error("describe_table", "ResourceNotFoundException")
        stub.add_client_error("describe_table", "AccessDeniedException")
        assert table_status(client, "orders") == "CREATING"
        assert table_status(client, "orders") is None
        with pytest.raises(ClientError, match="AccessDenied"):
            table_status(client, "orders")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"targetTableName": "t"}, "t"),
        ({"encryptionType": "Default", "TargetTableName": "t"}, "t"),
        ({"TARGETTABLENAME": "t"}, "t"),
        ({"encryptionType": "Default"}, None),
        ({}, None),
    ],
)
def test_the_target_is_found_in_any_case(metadata: Mapping[str, str], expected: str | None) -> None:
    assert target_table(metadata) == expected
