"""Reading and overwriting must not grow the process."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.core.common_models import BaseModel
from moto.core.model_instances import model_data
from moto.dynamodb.models.dynamo_type import Item

from local_aws import mock_aws

ITEMS = 200


@pytest.fixture
def table(make_client: Callable[..., Any]) -> Iterator[Any]:
    with mock_aws():
        client = make_client("dynamodb")
        client.create_table(
            TableName="many",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for number in range(ITEMS):
            client.put_item(TableName="many", Item=item(number))
        yield client


def item(number: int) -> dict[str, Any]:
    return {"k": {"S": str(number)}, "v": {"S": "x" * 50}}


def scan(client: Any) -> None:
    client.scan(TableName="many")


def overwrite(client: Any) -> None:
    for number in range(20):
        client.put_item(TableName="many", Item=item(number))


def update(client: Any) -> None:
    for number in range(20):
        client.update_item(
            TableName="many",
            Key={"k": {"S": str(number)}},
            UpdateExpression="ADD n :n",
            ExpressionAttributeValues={":n": {"N": "1"}},
        )


def transact(client: Any) -> None:
    for number in range(5):
        client.transact_write_items(TransactItems=[{"Put": {"TableName": "many", "Item": item(number)}}])


def living_items() -> int:
    gc.collect()
    # isinstance() would ask every object for its class, which sets lazy proxies of other libraries to work.
    return sum(type(thing) is Item for thing in gc.get_objects())


@pytest.mark.parametrize("work", [scan, overwrite, update, transact])
def test_work_leaves_no_items_behind(table: Any, work: Callable[[Any], None]) -> None:
    work(table)
    before = living_items()

    for _ in range(3):
        work(table)

    assert before >= ITEMS
    # Not more: what other tests of this process left may go meanwhile.
    assert living_items() <= before


def test_deleted_items_are_let_go(table: Any) -> None:
    before = living_items()

    for number in range(ITEMS):
        table.delete_item(TableName="many", Key={"k": {"S": str(number)}})

    assert living_items() <= before - ITEMS


def test_no_model_of_moto_keeps_its_instances(table: Any) -> None:
    scan(table)

    tracked = {
        f"{service}.{name}": len(model.instances_tracked)
        for service, models in model_data.items()
        for name, model in models.items()
    }

    assert tracked["dynamodb.Item"] == 0
    assert not [name for name, count in tracked.items() if count]


def test_model_instances_are_still_made_with_arguments() -> None:
    class Model(BaseModel):
        def __init__(self, name: str, *, size: int) -> None:
            self.name = name
            self.size = size

    made = Model("a", size=2)

    assert (made.name, made.size) == ("a", 2)
