"""Whether a table can take a file's items, and how much of its write capacity."""

from typing import Any

from botocore.exceptions import ClientError

from dynamodb_bulk.batches import DynamoDBClient, LoadSettings
from dynamodb_bulk.errors import CapacityUnknownError, KeySchemaMismatchError, TableError, TableMissingError
from dynamodb_bulk.patience import CONNECTION_ERRORS, Effects, error_code, full_jitter, is_retryable
from dynamodb_bulk.schema import TableSchema

_DESCRIBE_ATTEMPTS = 5
_USABLE = frozenset({"ACTIVE", "UPDATING"})


def check_table(client: DynamoDBClient, table_name: str, schema: TableSchema, *, effects: Effects | None = None) -> Any:
    """Make sure that a table is there and has the schema's keys; return its description.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html

    Raises:
        TableMissingError: no such table, or it is not usable yet or any more.
        KeySchemaMismatchError: the table's keys have other names or types.
        TableError: the table may not be described, or nothing answers.
    """
    table = _describe(client, table_name, effects or Effects())
    if table["TableStatus"] not in _USABLE:
        raise TableMissingError(
            f"Table {table_name} is {table['TableStatus']}; wait until it is ACTIVE, or create it anew"
        )
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    actual = {
        (entry["KeyType"].lower(), entry["AttributeName"], types[entry["AttributeName"]])
        for entry in table["KeySchema"]
    }
    expected: set[tuple[str, str, str]] = {
        (column.key or "", column.name, column.attribute_type) for column in schema.key_columns
    }
    if actual != expected:
        raise KeySchemaMismatchError(
            f"Table {table_name} has the keys {_listed(actual)}, the schema has {_listed(expected)}; load "
            "into another table, or correct the schema"
        )
    return table


def write_limit(settings: LoadSettings, table_name: str, table: Any) -> float | None:
    """Return the write capacity units per second that a load may consume, or None where it has no limit of its own.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/capacity-mode.html

    Raises:
        CapacityUnknownError: a share of a capacity is asked for, but the table has none provisioned.
    """
    limits = [settings.max_wcu] if settings.max_wcu is not None else []
    if settings.capacity_share is not None:
        provisioned = table.get("ProvisionedThroughput", {}).get("WriteCapacityUnits", 0)
        if not provisioned:
            raise CapacityUnknownError(
                f"Table {table_name} has no provisioned write capacity to take a share of; it is billed per request. "
                "Name an absolute limit, max_wcu, instead of capacity_share."
            )
        limits.append(settings.capacity_share * provisioned)
    return min(limits) if limits else None


def _describe(client: DynamoDBClient, table_name: str, effects: Effects) -> Any:
    # The client is made for a load and retries nothing itself, so one bad moment is forgiven here.
    for attempt in range(1, _DESCRIBE_ATTEMPTS + 1):
        try:
            return client.describe_table(TableName=table_name)["Table"]
        except (ClientError, *CONNECTION_ERRORS) as error:
            if isinstance(error, ClientError) and error_code(error) == "ResourceNotFoundException":
                raise TableMissingError(
                    f"Table {table_name} does not exist; create it, or check name, region and account"
                ) from error
            if attempt == _DESCRIBE_ATTEMPTS or not is_retryable(error):
                raise TableError(
                    f"Table {table_name} cannot be described: {error}; check that the endpoint answers and "
                    "the right to dynamodb:DescribeTable"
                ) from error
        effects.sleep(full_jitter(attempt, first=0.2, longest=2.0, draw=effects.draw))
    raise TableError(f"Table {table_name} was not described")


def _listed(keys: set[tuple[str, str, str]]) -> str:
    return ", ".join(f"{name} ({kind}, {type_})" for kind, name, type_ in sorted(keys))
