"""Restored tables that are wrong as ordered."""

from collections.abc import Iterator
from typing import Any

import pytest

from local_aws import control

KEYS = {"S": "S", "N": "N", "B": "B"}


@pytest.fixture
def orders(aws: Any) -> Iterator[Any]:
    """The orders table with 20 items of all types of attributes, and a vault."""
    values = [{"S": "x"}, {"N": "5"}, {"BOOL": True}, {"NULL": True}, {"SS": ["a", "b"]}, {"B": b"b"}]
    values += [{"L": [{"N": "1"}]}, {"M": {"a": {"S": "b"}}}, {"N": "0"}]
    for number in range(18):
        aws.put(f"order-{number}", value=values[number % len(values)])
    yield aws
    control.clear_faults()


def content(aws: Any, table: str) -> dict[tuple[str, str], dict[str, Any]]:
    items = aws.dynamodb.scan(TableName=table)["Items"]
    return {(item["order_id"]["S"], item["item_id"]["S"]): item for item in items}


def restored(aws: Any, target: str = "orders-restored") -> dict[tuple[str, str], dict[str, Any]]:
    aws.restore(aws.recovery_point(), target)
    aws.wait()
    return content(aws, target)


@pytest.mark.parametrize(
    ("lost", "altered", "added"), [(3, 0, 0), (0, 9, 0), (0, 0, 4), (2, 3, 1), (99, 0, 0)], ids=str
)
def test_a_restored_table_is_spoiled_as_ordered(orders: Any, lost: int, altered: int, added: int) -> None:
    before = content(orders, "orders")
    control.order_fault({"kind": "spoil", "table": "orders", "lost": lost, "altered": altered, "added": added})
    after = restored(orders)
    assert len(before.keys() - after.keys()) == min(lost, len(before))
    assert len(after.keys() - before.keys()) == added
    assert sum(before[key] != after[key] for key in before.keys() & after.keys()) == altered
    assert content(orders, "orders") == before


def test_the_recovery_point_is_sound_and_the_next_restore_too(orders: Any) -> None:
    before = content(orders, "orders")
    control.order_fault({"kind": "spoil", "lost": 1})
    point = orders.recovery_point()
    orders.restore(point, "first")
    orders.restore(point, "second")
    orders.wait()
    assert len(content(orders, "first")) == len(before) - 1
    assert content(orders, "second") == before


def test_a_bad_day_can_be_played_again(orders: Any) -> None:
    point = orders.recovery_point()
    found = []
    for target, seed in (("first", 1), ("again", 1), ("other", 2)):
        control.order_fault({"kind": "spoil", "lost": 4, "altered": 4, "added": 2, "seed": seed})
        orders.restore(point, target)
        orders.wait()
        found.append(content(orders, target))
    assert found[0] == found[1] != found[2]


def test_another_tables_restore_is_left_alone(orders: Any) -> None:
    control.order_fault({"kind": "spoil", "table": "customers", "lost": 1})
    assert restored(orders) == content(orders, "orders")
    assert [fault["table"] for fault in control.faults()] == ["customers"]


@pytest.mark.parametrize(("kind", "values"), [("N", ["1", "2"]), ("B", [b"a", b"b"]), ("S", ["a", "b"])])
def test_a_table_of_one_key_and_nothing_else(aws: Any, kind: str, values: list[Any]) -> None:
    aws.dynamodb.create_table(
        TableName="keys",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": kind}],
        BillingMode="PAY_PER_REQUEST",
    )
    for value in values:
        aws.dynamodb.put_item(TableName="keys", Item={"k": {kind: value}})
    control.order_fault({"kind": "spoil", "altered": 1, "added": 1})
    aws.restore(aws.recovery_point("keys"), "keys-restored")
    aws.wait()
    items = aws.dynamodb.scan(TableName="keys-restored")["Items"]
    assert len(items) == 3
    assert sum("altered" in item for item in items) >= 1
    assert len({str(item["k"]) for item in items}) == 3


def test_lists_that_lag_behind(aws: Any) -> None:
    control.configure(list_lag_seconds=150)
    job_id = aws.start()["BackupJobId"]
    aws.wait(100)
    assert aws.state(job_id) == "COMPLETED"
    point = aws.job(job_id)["RecoveryPointArn"]
    listed = lambda: (  # noqa: E731
        [job["BackupJobId"] for job in aws.backup.list_backup_jobs()["BackupJobs"]],
        [
            found["RecoveryPointArn"]
            for found in aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"]
        ],
    )
    assert listed() == ([], [])
    aws.wait(50)
    assert listed() == ([job_id], [point])
