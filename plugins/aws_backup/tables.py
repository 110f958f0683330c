"""The little that a restore has to know of its target table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from aws_backup.polling import error_code

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

DELETING: Final = "DELETING"


def table_status(client: DynamoDBClient, table: str) -> str | None:
    """Return a DynamoDB table's status, or None if there is no such table.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html
    """
    try:
        return str(client.describe_table(TableName=table)["Table"]["TableStatus"])
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise


def target_table(metadata: Mapping[str, str]) -> str | None:
    """Return the table that a restore's metadata asks for; AWS takes the key in any case.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-dynamodb.html
    """
    return next((value for key, value in metadata.items() if key.lower() == "targettablename"), None)
