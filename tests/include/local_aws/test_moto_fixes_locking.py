"""Threads against one emulated table, switched a million times a second."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any

import pytest
from moto.backup.responses import BackupResponse
from moto.core.responses import BaseResponse

from local_aws import mock_aws
from local_aws.moto_fixes import locking

THREADS = 8


@pytest.fixture
def dynamodb(clients: Callable[..., Any]) -> Iterator[Any]:
    """The table `counters` (one string key, `k`); threads switch as often as Python can."""
    before = sys.getswitchinterval()
    with mock_aws():
        client = clients("dynamodb")
        client.create_table(
            TableName="counters",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        sys.setswitchinterval(1e-6)
        try:
            yield client
        finally:
            sys.setswitchinterval(before)


def in_threads(work: Callable[[int], Any], times: int) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(times)))


def test_no_atomic_add_is_lost(dynamodb: Any) -> None:
    def add(_: int) -> None:
        dynamodb.update_item(
            TableName="counters",
            Key={"k": {"S": "one"}},
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    in_threads(add, 200)

    item = dynamodb.get_item(TableName="counters", Key={"k": {"S": "one"}})["Item"]
    assert item["n"] == {"N": "200"}


def test_a_conditional_put_has_one_winner(dynamodb: Any) -> None:
    def claim(number: int) -> bool:
        try:
            dynamodb.put_item(
                TableName="counters",
                Item={"k": {"S": f"lease-{number // THREADS}"}, "owner": {"N": str(number)}},
                ConditionExpression="attribute_not_exists(k)",
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    wins = in_threads(claim, 20 * THREADS)

    assert [sum(wins[lease * THREADS : (lease + 1) * THREADS]) for lease in range(20)] == [1] * 20


def test_scans_stand_writes(dynamodb: Any) -> None:
    def write_or_scan(number: int) -> int:
        if number % 4 == 0:
            return int(dynamodb.scan(TableName="counters", Select="COUNT")["Count"])
        dynamodb.put_item(TableName="counters", Item={"k": {"S": str(number)}})
        return 0

    counts = in_threads(write_or_scan, 200)

    assert max(counts) > 0
    assert dynamodb.scan(TableName="counters")["Count"] == 150


@pytest.mark.parametrize("service", ["dynamodb", "backup"])
def test_a_request_waits_for_who_holds_the_lock(dynamodb: Any, clients: Callable[..., Any], service: str) -> None:
    call = {"dynamodb": dynamodb.list_tables, "backup": clients("backup").list_backup_vaults}[service]
    answered = Event()

    def ask() -> None:
        call()
        answered.set()

    asking = Thread(target=ask)
    with locking.state_lock:
        asking.start()
        assert not answered.wait(0.2)
    asking.join(10)
    assert answered.is_set()


def test_a_request_to_another_service_does_not_wait(dynamodb: Any, clients: Callable[..., Any]) -> None:
    with locking.state_lock, ThreadPoolExecutor(1) as pool:
        identity = pool.submit(clients("sts").get_caller_identity).result(timeout=10)

    assert identity["Account"] == "123456789012"


def test_the_lock_is_put_in_once_and_serves_subclasses() -> None:
    call_action = BaseResponse.call_action

    locking.install()

    assert BaseResponse.call_action is call_action
    assert BackupResponse.call_action is call_action
