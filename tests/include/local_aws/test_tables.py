"""Snapshots and restored tables, seen through the DynamoDB API."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_aws import control, tables

REGION = "us-east-1"
ACCOUNT = "123456789012"
KEY = {"order_id": {"S": "A"}, "item_id": {"S": "1"}}
BACKUP_ARN = f"arn:aws:backup:{REGION}:{ACCOUNT}:recovery-point:1"
NO_SKEW = timedelta(0)


@pytest.fixture
def dynamodb(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    """An empty AWS whose clock stands still."""
    with started():
        control.hold_clock(datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        try:
            yield clients("dynamodb")
        finally:
            control.reset()


def make_table(client: Any, name: str = "orders", **settings: Any) -> None:
    client.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "order_id", "KeyType": "HASH"},
            {"AttributeName": "item_id", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("order_id", "item_id")],
        BillingMode="PAY_PER_REQUEST",
        **settings,
    )


@pytest.fixture
def orders(dynamodb: Any) -> Any:
    """The table `orders` with one item, A/1, of many types."""
    make_table(dynamodb)
    dynamodb.put_item(
        TableName="orders",
        Item={
            **KEY,
            "amount": {"N": "1"},
            "tags": {"SS": ["x", "y"]},
            "sizes": {"NS": ["1", "2"]},
            "notes": {"L": [{"S": "one"}]},
            "address": {"M": {"city": {"S": "Bonn"}}},
        },
    )
    return dynamodb


def now() -> Any:
    return control.CLOCK.now()


def snapshot(table: str = "orders", skew: timedelta = NO_SKEW) -> tables.TableSnapshot:
    return tables.snapshot_table(ACCOUNT, REGION, table, now=now(), skew=skew)


def restore(taken: tables.TableSnapshot, target: str = "restored", **settings: Any) -> str:
    request: dict[str, Any] = {"encryption_type": "Default", "kms_key_arn": None, "tags": None}
    return tables.begin_restore(
        ACCOUNT, REGION, taken, target, **{**request, **settings}, source_backup_arn=BACKUP_ARN, now=now()
    )


def finish(target: str = "restored") -> None:
    tables.finish_restore(ACCOUNT, REGION, target, now=now())


def content(client: Any, table: str) -> list[Any]:
    return sorted(client.scan(TableName=table)["Items"], key=str)


def update(**members: Any) -> Callable[[Any], None]:
    return lambda client: client.update_item(TableName="orders", Key=KEY, **members)


def expression(text: str, **values: Any) -> Callable[[Any], None]:
    return update(
        UpdateExpression=text,
        **({"ExpressionAttributeValues": {f":{name}": value for name, value in values.items()}} if values else {}),
    )


def legacy(action: str, name: str, value: Any = None) -> Callable[[Any], None]:
    change = {"Action": action} | ({"Value": value} if value else {})
    return update(AttributeUpdates={name: change})


def transact(*operations: dict[str, Any]) -> Callable[[Any], None]:
    return lambda client: client.transact_write_items(TransactItems=list(operations))


def partiql(statement: str) -> Callable[[Any], None]:
    return lambda client: client.execute_statement(Statement=statement)


WRITES: dict[str, Callable[[Any], None]] = {
    "put over": lambda client: client.put_item(TableName="orders", Item={**KEY, "amount": {"N": "2"}}),
    "put new": lambda client: client.put_item(TableName="orders", Item={**KEY, "item_id": {"S": "2"}}),
    "delete": lambda client: client.delete_item(TableName="orders", Key=KEY),
    "batch put": lambda client: client.batch_write_item(
        RequestItems={"orders": [{"PutRequest": {"Item": {**KEY, "amount": {"N": "9"}}}}]}
    ),
    "batch delete": lambda client: client.batch_write_item(RequestItems={"orders": [{"DeleteRequest": {"Key": KEY}}]}),
    "SET": expression("SET amount = :n", n={"N": "5"}),
    "SET arithmetic": expression("SET amount = amount + :n", n={"N": "5"}),
    "SET nested": expression("SET address.city = :c", c={"S": "Köln"}),
    "SET list element": expression("SET notes[0] = :s", s={"S": "two"}),
    "SET list_append": expression("SET notes = list_append(notes, :s)", s={"L": [{"S": "two"}]}),
    "REMOVE": expression("REMOVE amount"),
    "REMOVE nested": expression("REMOVE address.city"),
    "ADD number": expression("ADD amount :n", n={"N": "5"}),
    "ADD set": expression("ADD tags :t", t={"SS": ["z"]}),
    "DELETE from set": expression("DELETE tags :t", t={"SS": ["x"]}),
    "legacy PUT": legacy("PUT", "amount", {"N": "5"}),
    "legacy ADD number": legacy("ADD", "amount", {"N": "5"}),
    "legacy ADD set": legacy("ADD", "sizes", {"NS": ["3"]}),
    "legacy DELETE": legacy("DELETE", "amount"),
    "legacy DELETE from set": legacy("DELETE", "tags", {"SS": ["x"]}),
    "transaction put": transact({"Put": {"TableName": "orders", "Item": KEY}}),
    "transaction delete": transact({"Delete": {"TableName": "orders", "Key": KEY}}),
    "transaction update": transact(
        {
            "Update": {
                "TableName": "orders",
                "Key": KEY,
                "UpdateExpression": "SET address.city = :c",
                "ExpressionAttributeValues": {":c": {"S": "Köln"}},
            }
        }
    ),
    "PartiQL update": partiql("UPDATE orders SET status = 'seen' WHERE order_id = 'A' AND item_id = '1'"),
    "PartiQL delete": partiql("DELETE FROM orders WHERE order_id = 'A' AND item_id = '1'"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_changes_the_table_and_never_the_snapshot(orders: Any, write: Callable[[Any], None]) -> None:
    taken = snapshot()
    before = content(orders, "orders")

    write(orders)

    assert content(orders, "orders") != before
    assert sorted(taken.items_as_json(), key=str) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_to_the_restored_table_reaches_neither_snapshot_nor_source(
    orders: Any, write: Callable[[Any], None]
) -> None:
    taken = snapshot()
    before = content(orders, "orders")
    orders.delete_table(TableName="orders")
    restore(taken, "orders")
    finish("orders")

    write(orders)

    assert content(orders, "orders") != before
    restore(taken, "again")
    finish("again")
    assert content(orders, "again") == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_skewed_snapshot_leaves_the_last_writes_out(orders: Any, write: Callable[[Any], None]) -> None:
    tables.keep_write_journal(timedelta(minutes=2))
    orders.put_item(TableName="orders", Item={**KEY, "item_id": {"S": "earlier"}})
    before = content(orders, "orders")
    control.advance_clock(timedelta(seconds=100))
    write(orders)
    after = content(orders, "orders")
    control.advance_clock(timedelta(seconds=30))

    assert sorted(snapshot(skew=timedelta(seconds=60)).items_as_json(), key=str) == before
    assert sorted(snapshot(skew=timedelta(seconds=30)).items_as_json(), key=str) == after
    assert sorted(snapshot().items_as_json(), key=str) == after


def test_a_skewed_snapshot_undoes_many_writes_of_one_key_in_order(orders: Any) -> None:
    tables.keep_write_journal(timedelta(minutes=2))
    for second in range(10):
        control.advance_clock(timedelta(seconds=1))
        expression("SET amount = :n", n={"N": str(second)})(orders)

    amounts = [snapshot(skew=timedelta(seconds=back)).items_as_json()[0]["amount"]["N"] for back in range(10)]

    assert amounts == ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]
    assert snapshot(skew=timedelta(seconds=30)).taken_at == now() - timedelta(seconds=30)


def test_a_skewed_snapshot_never_splits_a_transaction(orders: Any) -> None:
    ticks = iter(range(1000))
    start = now()
    tables.keep_write_journal(timedelta(minutes=2))
    # A clock that moves with every look at it: what AWS's does, too.
    tables.use_clock(lambda: start + timedelta(milliseconds=next(ticks)))
    try:
        for number in range(5):
            transact(
                *(
                    {"Put": {"TableName": "orders", "Item": {**KEY, "item_id": {"S": f"{number}-{half}"}}}}
                    for half in range(2)
                )
            )(orders)
        end = start + timedelta(milliseconds=next(ticks))
        counts = {
            tables.snapshot_table(ACCOUNT, REGION, "orders", now=end, skew=timedelta(milliseconds=back)).item_count
            for back in range(1, 20)
        }
    finally:
        tables.use_clock(control.CLOCK.now)

    assert len(counts) > 3
    assert all(count % 2 == 1 for count in counts)  # item A/1 of the fixture, and whole transactions


def test_a_failed_transaction_was_never_written(orders: Any) -> None:
    tables.keep_write_journal(timedelta(minutes=2))
    before = content(orders, "orders")
    control.advance_clock(timedelta(seconds=100))
    with pytest.raises(orders.exceptions.TransactionCanceledException):
        transact(
            {"Put": {"TableName": "orders", "Item": {**KEY, "amount": {"N": "77"}}}},
            {"Put": {"TableName": "orders", "Item": {**KEY, "item_id": {"S": "new"}}}},
            {
                "ConditionCheck": {
                    "TableName": "orders",
                    "Key": {**KEY, "item_id": {"S": "nobody"}},
                    "ConditionExpression": "attribute_exists(order_id)",
                }
            },
        )(orders)

    assert content(orders, "orders") == before
    expression("SET amount = :n", n={"N": "5"})(orders)
    control.advance_clock(timedelta(seconds=10))
    assert sorted(snapshot(skew=timedelta(seconds=60)).items_as_json(), key=str) == before


@pytest.mark.parametrize(
    ("key", "exists"), [(KEY, True), ({**KEY, "item_id": {"S": "new"}}, False)], ids=["existing", "new item"]
)
def test_a_failed_update_leaves_no_trace(orders: Any, key: dict[str, Any], exists: bool) -> None:
    tables.keep_write_journal(timedelta(minutes=2))
    before = content(orders, "orders")
    control.advance_clock(timedelta(seconds=100))

    with pytest.raises(orders.exceptions.ClientError, match="exceeded the maximum allowed size"):
        orders.update_item(
            TableName="orders",
            Key=key,
            UpdateExpression="SET note = :s, big = :b",
            ExpressionAttributeValues={":s": {"S": "first"}, ":b": {"S": "x" * 410_000}},
        )

    assert content(orders, "orders") == before
    assert bool(orders.get_item(TableName="orders", Key=key).get("Item")) is exists
    assert sorted(snapshot(skew=timedelta(seconds=60)).items_as_json(), key=str) == before


@pytest.mark.parametrize("window", [None, timedelta(seconds=10)])
def test_a_skew_beyond_the_journal_is_refused(orders: Any, window: timedelta | None) -> None:
    tables.keep_write_journal(window)

    with pytest.raises(tables.JournalTooShort, match="keep_write_journal"):
        snapshot(skew=timedelta(seconds=60))


def test_the_journal_forgets_what_has_left_its_window(orders: Any) -> None:
    tables.keep_write_journal(timedelta(seconds=10))
    table = tables._table(ACCOUNT, REGION, "orders")
    for number in range(50):
        control.advance_clock(timedelta(seconds=1))
        expression("SET amount = :n", n={"N": str(number)})(orders)

    assert len(table.__dict__[tables.write_journal.ATTRIBUTE]) == 10


def test_the_journal_is_empty_while_it_is_off(orders: Any) -> None:
    expression("SET amount = :n", n={"N": "3"})(orders)

    assert tables.write_journal.ATTRIBUTE not in tables._table(ACCOUNT, REGION, "orders").__dict__


def test_a_naive_time_is_refused(orders: Any) -> None:
    with pytest.raises(ValueError, match="timezone-aware"):
        tables.snapshot_table(ACCOUNT, REGION, "orders", now=now().replace(tzinfo=None))


def test_a_snapshot_says_what_it_holds(orders: Any) -> None:
    make_table(orders, "tagged", Tags=[{"Key": "backup", "Value": "daily"}], TableClass="STANDARD_INFREQUENT_ACCESS")

    taken, tagged = snapshot(), snapshot("tagged")

    described = orders.describe_table(TableName="orders")["Table"]
    assert taken.table_arn == described["TableArn"]
    assert taken.table_id == described["TableId"]
    assert (taken.table_name, taken.item_count, taken.taken_at) == ("orders", 1, now())
    assert (tagged.tags, tagged.table_class, tagged.item_count) == (
        {"backup": "daily"},
        "STANDARD_INFREQUENT_ACCESS",
        0,
    )
    assert (tagged.size_bytes, taken.billing_mode) == (0, "PAY_PER_REQUEST")


def test_reads_of_missing_keys_leave_nothing_in_a_snapshot(orders: Any) -> None:
    for number in range(3):
        orders.get_item(TableName="orders", Key={"order_id": {"S": f"no-{number}"}, "item_id": {"S": "1"}})

    assert snapshot().item_count == 1


def test_a_snapshot_shares_the_stored_items(orders: Any) -> None:
    stored = tables._table(ACCOUNT, REGION, "orders").all_items()

    assert [id(item) for item in snapshot()._items()] == [id(item) for item in stored]


@pytest.mark.parametrize("name", ["orders", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders"])
def test_a_table_is_found_by_name_and_by_arn(orders: Any, name: str) -> None:
    assert snapshot(name).table_name == "orders"
    assert tables.table_exists(ACCOUNT, REGION, name)


def test_a_missing_table_is_named(dynamodb: Any) -> None:
    assert not tables.table_exists(ACCOUNT, REGION, "nothing")
    for call in (
        lambda: snapshot("nothing"),
        lambda: tables.table_tags(ACCOUNT, REGION, "nothing"),
        lambda: finish("nothing"),
    ):
        with pytest.raises(tables.TableNotFound, match="'nothing' in us-east-1"):
            call()


# What a restore brings back.


def make_rich_table(client: Any, billing: dict[str, Any], capacity: dict[str, Any]) -> None:
    client.create_table(
        TableName="rich",
        KeySchema=[
            {"AttributeName": "h", "KeyType": "HASH"},
            {"AttributeName": "r", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "h", "AttributeType": "S"},
            {"AttributeName": "r", "AttributeType": "N"},
            {"AttributeName": "g", "AttributeType": "S"},
            {"AttributeName": "l", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-g",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
                **capacity,
            }
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by-l",
                "KeySchema": [
                    {"AttributeName": "h", "KeyType": "HASH"},
                    {"AttributeName": "l", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
            }
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        SSESpecification={"Enabled": True, "SSEType": "KMS"},
        DeletionProtectionEnabled=True,
        TableClass="STANDARD_INFREQUENT_ACCESS",
        Tags=[{"Key": "team", "Value": "orders"}],
        **billing,
        **capacity,
    )
    client.update_time_to_live(TableName="rich", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    client.update_continuous_backups(
        TableName="rich", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    client.put_item(TableName="rich", Item={"h": {"S": "a"}, "r": {"N": "1"}, "g": {"S": "G"}, "l": {"S": "L"}})


PROVISIONED = {"ProvisionedThroughput": {"ReadCapacityUnits": 7, "WriteCapacityUnits": 3}}


@pytest.fixture(params=["PAY_PER_REQUEST", "PROVISIONED"])
def rich(request: pytest.FixtureRequest, dynamodb: Any) -> Any:
    """The table `rich`, with everything that a table can have, restored as `restored`."""
    on_demand = request.param == "PAY_PER_REQUEST"
    make_rich_table(dynamodb, {"BillingMode": request.param}, {} if on_demand else PROVISIONED)
    control.advance_clock(timedelta(minutes=5))
    restore(snapshot("rich"))
    finish()
    return dynamodb


def described(client: Any, table: str) -> dict[str, Any]:
    return dict(client.describe_table(TableName=table)["Table"])


@pytest.mark.parametrize("part", ["KeySchema", "AttributeDefinitions", "BillingModeSummary", "TableClassSummary"])
def test_a_restored_table_has_the_sources(rich: Any, part: str) -> None:
    assert described(rich, "restored")[part] == described(rich, "rich")[part]


def test_a_restored_table_has_the_sources_throughput_and_indexes(rich: Any) -> None:
    source, restored = described(rich, "rich"), described(rich, "restored")

    assert restored["ProvisionedThroughput"] == source["ProvisionedThroughput"]
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        (index,), (of_source,) = restored[kind], source[kind]
        assert index == {**of_source, "IndexArn": of_source["IndexArn"].replace("table/rich/", "table/restored/")}


def test_the_indexes_of_a_restored_table_answer_queries(rich: Any) -> None:
    found = rich.query(
        TableName="restored",
        IndexName="by-g",
        KeyConditionExpression="g = :g",
        ExpressionAttributeValues={":g": {"S": "G"}},
    )["Items"]

    assert found == [{"h": {"S": "a"}, "r": {"N": "1"}, "g": {"S": "G"}}]


def test_a_restored_table_has_nothing_of_what_aws_does_not_restore(rich: Any) -> None:
    restored = described(rich, "restored")

    assert restored["DeletionProtectionEnabled"] is False
    assert not {"StreamSpecification", "LatestStreamArn", "SSEDescription"} & set(restored)
    assert rich.list_tags_of_resource(ResourceArn=restored["TableArn"])["Tags"] == []
    ttl = rich.describe_time_to_live(TableName="restored")["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "DISABLED"}
    recovery = rich.describe_continuous_backups(TableName="restored")["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "DISABLED"


def test_a_restored_table_is_a_table_of_its_own(rich: Any) -> None:
    restored = described(rich, "restored")

    assert restored["TableId"] != described(rich, "rich")["TableId"]
    assert restored["CreationDateTime"] == now()
    assert content(rich, "restored") == content(rich, "rich")


def test_a_table_without_range_key_is_restored_too(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName="flat",
        KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "h", "AttributeType": "B"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName="flat", Item={"h": {"B": b"\x00\xff"}, "n": {"N": "1"}})
    tables.keep_write_journal(timedelta(minutes=2))
    control.advance_clock(timedelta(seconds=100))
    dynamodb.update_item(
        TableName="flat",
        Key={"h": {"B": b"\x00\xff"}},
        UpdateExpression="ADD n :n",
        ExpressionAttributeValues={":n": {"N": "1"}},
    )
    dynamodb.put_item(TableName="flat", Item={"h": {"B": b"new"}})

    restore(snapshot("flat", skew=timedelta(seconds=60)))
    finish()

    assert content(dynamodb, "restored") == [{"h": {"B": b"\x00\xff"}, "n": {"N": "1"}}]
    assert len(content(dynamodb, "flat")) == 2


def test_restored_tags_are_those_asked_for(orders: Any) -> None:
    restore(snapshot(), tags={"managed-by": "me"})

    assert tables.table_tags(ACCOUNT, REGION, "restored") == {"managed-by": "me"}


def kms_key(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


@pytest.mark.parametrize(
    ("source", "asked", "expected"),
    [
        ("aws-owned", "Default", None),
        ("customer", "Default", None),
        ("aws-owned", None, None),
        ("customer", None, "source's"),
        ("aws-owned", "KMS", "aws-managed"),
        ("aws-owned", "KMS with key", "named"),
        ("customer", "KMS with key", "named"),
    ],
)
def test_a_restored_table_is_encrypted_as_asked(
    clients: Callable[..., Any], dynamodb: Any, source: str, asked: str | None, expected: str | None
) -> None:
    keys = {"source's": kms_key(clients("kms")), "named": kms_key(clients("kms"))}
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": keys["source's"]}
    make_table(dynamodb, **({"SSESpecification": encrypted} if source == "customer" else {}))
    kind, key = ("KMS", keys["named"]) if asked == "KMS with key" else (asked, None)

    restore(snapshot(), encryption_type=kind, kms_key_arn=key)
    finish()

    description = described(dynamodb, "restored").get("SSEDescription")
    if expected is None:
        assert description is None
    else:
        assert (description["Status"], description["SSEType"]) == ("ENABLED", "KMS")
        aliases = clients("kms").list_aliases()["Aliases"]
        keys["aws-managed"] = next(
            (
                f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{alias['TargetKeyId']}"
                for alias in aliases
                if alias["AliasName"] == "alias/aws/dynamodb" and "TargetKeyId" in alias
            ),
            "none",
        )
        assert description["KMSMasterKeyArn"] == keys[expected]


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        (
            {"encryption_type": "KMS", "kms_key_arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/none"},
            tables.EncryptionKeyNotFound,
            "key/none not found",
        ),
        ({"encryption_type": "KMS", "kms_key_arn": "key"}, tables.EncryptionKeyNotFound, "key not found"),
        ({"encryption_type": "Default", "kms_key_arn": "key"}, ValueError, "KMS only"),
        ({"encryption_type": "SSE"}, ValueError, "one of"),
    ],
)
def test_a_wrong_encryption_is_refused_and_makes_no_table(
    orders: Any, settings: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        restore(snapshot(), **settings)

    assert not tables.table_exists(ACCOUNT, REGION, "restored")


def test_a_restore_never_overwrites(orders: Any) -> None:
    taken = snapshot()
    restore(taken)

    with pytest.raises(tables.TableAlreadyExists, match="restored"):
        restore(taken)
    with pytest.raises(tables.TableAlreadyExists, match="orders"):
        restore(taken, "orders")


def test_a_restore_shows_where_it_comes_from_and_when_it_is_done(orders: Any) -> None:
    taken = snapshot()
    control.advance_clock(timedelta(minutes=1))
    arn = restore(taken)
    while_restoring = described(orders, "restored")
    finish()
    after = described(orders, "restored")

    assert arn == after["TableArn"]
    assert (while_restoring["TableStatus"], after["TableStatus"]) == ("CREATING", "ACTIVE")
    summary = {
        "SourceBackupArn": BACKUP_ARN,
        "SourceTableArn": taken.table_arn,
        "RestoreDateTime": taken.taken_at,
    }
    assert while_restoring["RestoreSummary"] == {**summary, "RestoreInProgress": True}
    assert after["RestoreSummary"] == {**summary, "RestoreInProgress": False}
    assert tables.table_state(ACCOUNT, REGION, "restored") == "ACTIVE"


def test_the_indexes_of_a_table_are_creating_as_long_as_it_is(dynamodb: Any) -> None:
    make_rich_table(dynamodb, {"BillingMode": "PAY_PER_REQUEST"}, {})
    restore(snapshot("rich"))

    def index_status() -> str:
        return str(described(dynamodb, "restored")["GlobalSecondaryIndexes"][0]["IndexStatus"])

    assert index_status() == "CREATING"
    finish()
    assert index_status() == "ACTIVE"
    assert described(dynamodb, "rich")["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE"


ON_ITEMS: dict[str, Callable[[Any], Any]] = {
    "get": lambda client: client.get_item(TableName="restored", Key=KEY),
    "put": lambda client: client.put_item(TableName="restored", Item=KEY),
    "update": lambda client: client.update_item(TableName="restored", Key=KEY, UpdateExpression="REMOVE amount"),
    "delete": lambda client: client.delete_item(TableName="restored", Key=KEY),
    "scan": lambda client: client.scan(TableName="restored"),
    "scan by ARN": lambda client: client.scan(TableName=f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/restored"),
    "query": lambda client: client.query(
        TableName="restored",
        KeyConditionExpression="order_id = :o",
        ExpressionAttributeValues={":o": {"S": "A"}},
    ),
    "batch write": lambda client: client.batch_write_item(RequestItems={"restored": [{"PutRequest": {"Item": KEY}}]}),
    "batch get": lambda client: client.batch_get_item(RequestItems={"restored": {"Keys": [KEY]}}),
    "transact write": lambda client: client.transact_write_items(
        TransactItems=[{"Put": {"TableName": "restored", "Item": KEY}}]
    ),
    "transact get": lambda client: client.transact_get_items(
        TransactItems=[{"Get": {"TableName": "restored", "Key": KEY}}]
    ),
}


@pytest.mark.parametrize("request_items", ON_ITEMS.values(), ids=ON_ITEMS.keys())
def test_a_table_that_is_creating_serves_no_items(orders: Any, request_items: Callable[[Any], Any]) -> None:
    restore(snapshot())

    with pytest.raises(orders.exceptions.ResourceNotFoundException):
        request_items(orders)

    finish()
    request_items(orders)


ON_TABLES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "update": (
        "ResourceInUseException",
        lambda client: client.update_table(TableName="restored", DeletionProtectionEnabled=False),
    ),
    "TTL": (
        "ResourceInUseException",
        lambda client: client.update_time_to_live(
            TableName="restored", TimeToLiveSpecification={"Enabled": True, "AttributeName": "x"}
        ),
    ),
    "recovery": (
        "ContinuousBackupsUnavailableException",
        lambda client: client.update_continuous_backups(
            TableName="restored", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        ),
    ),
    "delete": ("ResourceInUseException", lambda client: client.delete_table(TableName="restored")),
}


@pytest.mark.parametrize(("code", "change"), ON_TABLES.values(), ids=ON_TABLES.keys())
def test_a_table_that_is_creating_cannot_be_changed(orders: Any, code: str, change: Callable[[Any], Any]) -> None:
    restore(snapshot())

    with pytest.raises(orders.exceptions.ClientError) as raised:
        change(orders)

    assert raised.value.response["Error"]["Code"] == code
    finish()
    change(orders)
