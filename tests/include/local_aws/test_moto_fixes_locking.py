"""Threads against one emulated table, switched a million times a second."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import BaseResponse
from moto.dynamodb.responses import DynamoHandler
from moto.sts.responses import TokenResponse

from local_aws import mock_aws
from local_aws.backup.responses import BackupResponse
from local_aws.moto_fixes import locking

THREADS = 8


@pytest.fixture
def dynamodb(make_client: Callable[..., Any]) -> Iterator[Any]:
    """The table `counters` (one string key, `k`); threads switch as often as Python can."""
    before = sys.getswitchinterval()
    with mock_aws():
        client = make_client("dynamodb")
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


def test_a_scan_stands_writes_and_sees_whole_transactions(dynamodb: Any) -> None:
    def work(number: int) -> int:
        if number % 2:
            return sum(int(item["n"]["N"]) for item in dynamodb.scan(TableName="counters")["Items"])
        moves = {f"fresh-{number}": 1, "account": -1}
        dynamodb.transact_write_items(
            TransactItems=[
                {
                    "Update": {
                        "TableName": "counters",
                        "Key": {"k": {"S": key}},
                        "UpdateExpression": "ADD n :n",
                        "ExpressionAttributeValues": {":n": {"N": str(amount)}},
                    }
                }
                for key, amount in moves.items()
            ]
        )
        return 0

    sums = in_threads(work, 200)

    assert set(sums) == {0}
    assert dynamodb.scan(TableName="counters")["Count"] == 101


CALLS: dict[str, tuple[type[BaseResponse], str, bool]] = {
    "dynamodb": (DynamoHandler, "list_tables", True),
    "backup": (BackupResponse, "list_backup_vaults", True),
    "cloudformation": (CloudFormationResponse, "list_stacks", True),
    "sts": (TokenResponse, "get_caller_identity", False),
}


@pytest.mark.parametrize("service", CALLS)
def test_the_requests_to_the_guarded_services_hold_the_lock(
    dynamodb: Any, make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    handler, operation, guarded = CALLS[service]
    stock = getattr(handler, operation)
    held = []

    def watched(self: BaseResponse) -> Any:
        with ThreadPoolExecutor(1) as other_thread:
            free = other_thread.submit(locking.state_lock.acquire, blocking=False).result()
            if free:
                other_thread.submit(locking.state_lock.release).result()
        held.append(not free)
        return stock(self)

    monkeypatch.setattr(handler, operation, watched)
    getattr(make_client(service), operation)()

    assert held == [guarded]


def test_a_request_to_another_service_does_not_wait(dynamodb: Any, make_client: Callable[..., Any]) -> None:
    with locking.state_lock, ThreadPoolExecutor(1) as pool:
        identity = pool.submit(make_client("sts").get_caller_identity).result(timeout=10)

    assert identity["Account"] == "123456789012"


def test_the_lock_is_put_in_once() -> None:
    call_action = BaseResponse.call_action

    locking.install()

    assert BaseResponse.call_action is call_action
