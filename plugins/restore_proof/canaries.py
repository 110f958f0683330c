"""Canaries: items of our own in a table, written before a backup and demanded from what is restored from it.

They cost a few writes whatever the table's size, and show that a backup holds what was written just before it. They
say nothing about any other item. An application that scans the table sees them, as do its streams: a table gets them
only where its owner asks for it. Their keys begin with a prefix (in a number key: lie near its lowest value), and an
item of somebody else's that has such a key is never overwritten.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MARKER: Final = "backup_canary"
"""Attribute that every canary has: what tells one writing from another."""
LOWEST: Final = -(10**37)
"""Canaries with a number for a key count up from here: 38 digits fit, and nobody counts orders so far below zero."""

Item = dict[str, dict[str, Any]]


class CanaryCollisionError(RuntimeError):
    """An item that is no canary has a canary's key; it was left as it is."""

    def __init__(self, table_name: str, key: Mapping[str, Any]) -> None:
        self.table_name = table_name
        self.key = dict(key)
        super().__init__(
            f"Table {table_name!r} has an item of its own with the key {dict(key)}, which a canary would overwrite. "
            "Give the table another canary_prefix in protection.yaml."
        )

    def __reduce__(self) -> tuple[type[CanaryCollisionError], tuple[str, dict[str, Any]]]:
        return type(self), (self.table_name, self.key)


def key_types(described: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return name and type of each key attribute, hash key first.

    Args:
        described: a table as DescribeTable describes it.
    """
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in described["AttributeDefinitions"]}
    schema = sorted(described["KeySchema"], key=lambda element: element["KeyType"] != "HASH")
    return tuple((element["AttributeName"], types[element["AttributeName"]]) for element in schema)


def make_canaries(
    keys: Sequence[tuple[str, str]], *, count: int, prefix: str, nonce: str, written_at: dt.datetime
) -> list[Item]:
    """Make canaries with a value of every type, in DynamoDB's wire form; binary is bytes.

    Args:
        keys: name and type of each key attribute, hash key first.
        count: how many.
        prefix: what their keys begin with, where these are text or binary.
        nonce: what tells this writing from others.
        written_at: now (aware).
    """
    return [
        {
            MARKER: {"S": nonce},
            f"{MARKER}_written_at": {"S": written_at.astimezone(dt.UTC).isoformat()},
            f"{MARKER}_values": {
                "M": {
                    "text": {"S": f"é\t{number} \U0001f41f"},
                    "empty": {"S": ""},
                    "number": {"N": f"{number}.5"},
                    "binary": {"B": bytes([0, 255, number % 256])},
                    "flag": {"BOOL": number % 2 == 0},
                    "nothing": {"NULL": True},
                    "list": {"L": [{"N": str(number)}, {"S": str(number)}]},
                    "texts": {"SS": ["a", f"b{number}"]},
                    "numbers": {"NS": ["-1", f"{number}.25"]},
                    "binaries": {"BS": [b"\x00", bytes([1, number % 256])]},
                }
            },
            **{name: _key_value(kind, prefix, number) for name, kind in keys},
        }
        for number in range(count)
    ]


def _key_value(kind: str, prefix: str, number: int) -> dict[str, Any]:
    text = f"{prefix}-{number:03}"
    if kind == "N":
        return {"N": str(LOWEST + number)}
    return {"B": text.encode()} if kind == "B" else {"S": text}


def write_canaries(client: DynamoDBClient, table_name: str, items: Iterable[Item], keys: Sequence[str]) -> None:
    """Write canaries over the ones that are there, and over nothing else.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html

    Args:
        client: a low-level DynamoDB client.
        table_name: the table.
        items: what `make_canaries` returned.
        keys: names of the key attributes, hash key first.

    Raises:
        CanaryCollisionError: if an item of somebody else's has the key of one.
    """
    for item in items:
        try:
            client.put_item(
                TableName=table_name,
                Item=item,
                ConditionExpression="attribute_not_exists(#key) OR attribute_exists(#marker)",
                ExpressionAttributeNames={"#key": keys[0], "#marker": MARKER},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise CanaryCollisionError(table_name, {name: item[name] for name in keys}) from error
            raise


def to_json_ready(value: Any) -> Any:
    """Return an item, or a part of it, with its binary as base64 text, as JSON and the HTTP body carry it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {name: to_json_ready(part) for name, part in value.items()}
    return [to_json_ready(part) for part in value] if isinstance(value, list) else value
