"""A process that writes to the table `orders` without pause, and what its writes must have led to.

Run as ``fire_writer.py <address> <number> <stop file>``: writes until the stop file exists, then prints one JSON line
for each request: [begun, ended, ticket]. Times are of the machine's monotonic clock, which all processes share; the
ticket is the value that the shared counter had after the request, null where it did not touch it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

KEYS = 20
Rows = dict[str, dict[str, Any]]


def key(writer: int, item: str) -> dict[str, Any]:
    return {"order_id": {"S": f"writer-{writer}"}, "item_id": {"S": item}}


COUNTER = {"order_id": {"S": "shared"}, "item_id": {"S": "counter"}}


def number(step: int) -> dict[str, str]:
    return {"N": str(step)}


def items_of(step: int) -> tuple[str, list[str]]:
    """Return the kind of a step, and the items that it touches."""
    kind = ("put", "add", "count", "batch", "delete", "transact")[step % 6]
    chosen = f"item-{step % KEYS}"
    items = {"batch": [f"batch-{n}" for n in range(5)], "transact": ["left", "right"], "count": []}
    return kind, items.get(kind, [f"item-{step * 7 % KEYS}"] if kind == "delete" else [chosen])


def replay(rows: Rows, step: int) -> None:
    """Do to `rows` (item id: attributes besides the key) what the step does to the table."""
    kind, items = items_of(step)
    for item in items:
        if kind == "delete":
            rows.pop(item, None)
        elif kind == "add":
            row = rows.setdefault(item, {})
            row["n"] = number(int(row.get("n", {"N": "0"})["N"]) + 1)
            row["step"] = number(step)
        else:
            rows[item] = {"step": number(step)}


def write(client: Any, writer: int, step: int) -> int | None:
    """Send the step's request; returns the shared counter where it was counted up."""
    kind, items = items_of(step)
    new = [{**key(writer, item), "step": number(step)} for item in items]
    if kind == "put":
        client.put_item(TableName="orders", Item=new[0])
    elif kind == "add":
        client.update_item(
            TableName="orders",
            Key=key(writer, items[0]),
            UpdateExpression="ADD n :one SET step = :step",
            ExpressionAttributeValues={":one": {"N": "1"}, ":step": number(step)},
        )
    elif kind == "count":
        counted = client.update_item(
            TableName="orders",
            Key=COUNTER,
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        return int(counted["Attributes"]["n"]["N"])
    elif kind == "batch":
        reply = client.batch_write_item(RequestItems={"orders": [{"PutRequest": {"Item": item}} for item in new]})
        if reply["UnprocessedItems"]:
            raise RuntimeError(f"unprocessed: {reply['UnprocessedItems']}")
    elif kind == "delete":
        client.delete_item(TableName="orders", Key=key(writer, items[0]))
    else:
        client.transact_write_items(TransactItems=[{"Put": {"TableName": "orders", "Item": item}} for item in new])
    return None


def main(address: str, writer: int, stop: Path) -> None:
    import boto3
    from botocore.config import Config

    client = boto3.Session("testing", "testing", region_name="us-east-1").client(
        "dynamodb", endpoint_url=address, config=Config(retries={"total_max_attempts": 1})
    )
    log = []
    while not stop.exists():
        begun = time.monotonic()
        ticket = write(client, writer, len(log))
        log.append((begun, time.monotonic(), ticket))
    sys.stdout.write("".join(f"{json.dumps(entry)}\n" for entry in log))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
