"""A damaged table repaired from a proven restore: shown, approved, killed in the middle, gone on with, taken back."""

from __future__ import annotations

from typing import Any

import pytest

from run_local import failure_text
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REPAIR = "table_repair"
ALL = ["missing", "changed", "extra"]
WRITE_UNITS = 5
"""A second, so that there is time to kill the task that writes: it takes about ten seconds."""


def items(site, table: str | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    """Return everything that a table holds, by key."""
    pages = site.dynamodb.get_paginator("scan").paginate(TableName=table or site.table, ConsistentRead=True)
    return {(item["order_id"]["S"], item["item_id"]["S"]): item for page in pages for item in page["Items"]}


def damage(site) -> int:
    """Change, lose and add items of the live table; return how many."""
    keys = sorted(items(site))
    for order, item in keys[:40]:
        site.dynamodb.update_item(
            TableName=site.table,
            Key={"order_id": {"S": order}, "item_id": {"S": item}},
            UpdateExpression="SET amount = :a, by_mistake = :b",
            ExpressionAttributeValues={":a": {"N": "0"}, ":b": {"BOOL": True}},
        )
    for order, item in keys[40:45]:
        site.dynamodb.delete_item(TableName=site.table, Key={"order_id": {"S": order}, "item_id": {"S": item}})
    site.dynamodb.put_item(TableName=site.table, Item={"order_id": {"S": "none"}, "item_id": {"S": "1"}})
    return 46


def start(site, **params: Any) -> str:
    return site.stack.trigger_dag(REPAIR, {"stack_name": site.name, "dry_run": False, **params})


def receipt(site, run_id: str) -> dict[str, Any]:
    """Wait for a run's end and return its receipt."""
    state = site.wait(run_id, dag_id=REPAIR)
    assert state == "success", failure_text(site.stack, REPAIR, run_id)
    return site.xcom(run_id, "receipt", dag_id=REPAIR)


def test_a_damaged_table_is_repaired_and_the_repair_taken_back(site, orders):
    proven = site.proven(site.start(orders.source, orders.new_day(orders=40), keep_restored_table=True))
    good = items(site)
    damaged_items = damage(site)
    damaged = items(site)

    # A preview is a run that ends by itself, and writes nothing.
    shown = start(site, source=proven["restored_table"], dry_run=True)
    assert site.wait(shown, dag_id=REPAIR) == "success", failure_text(site.stack, REPAIR, shown)
    assert site.xcom(shown, "preview", dag_id=REPAIR)["planned"] == damaged_items - 1
    assert site.task(shown, "write", dag_id=REPAIR)["state"] == "skipped"

    run_id = start(site, source=proven["report"], classes=ALL, max_wcu=WRITE_UNITS)
    site.reach(run_id, "approve", "awaiting_input", dag_id=REPAIR)
    assert items(site) == damaged
    assert site.lease()["owner"] is None
    site.answer(run_id, "approve", "Approve", dag_id=REPAIR)

    # Killed while it writes, it goes on where it was.
    site.reach(run_id, "write", "running", dag_id=REPAIR)
    wait_until(lambda: items(site) != damaged, timeout=120, what="the first repaired item")
    assert site.stack.kill_task(REPAIR, run_id, "write")
    assert good != items(site) != damaged
    repaired = receipt(site, run_id)
    assert items(site) == good == items(site, proven["restored_table"])
    assert repaired["check"]["equal"] is True
    assert (repaired["account"]["chosen"], repaired["account"]["repaired"]) == (damaged_items, damaged_items)
    assert site.task(run_id, "write", dag_id=REPAIR)["try_number"] == 2
    assert repaired["approved_by"]

    taken_back = receipt(site, start(site, mode="undo", undo=repaired["receipt"], confirm=site.table))
    assert items(site) == damaged
    assert taken_back["check"]["equal"] is True
    assert site.lease()["owner"] is None
