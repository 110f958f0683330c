"""Calls that go wrong: the shape of errors as SDKs read them, and who is struck."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from local_aws import control
from local_aws.request_faults import RELEASE, RequestFault, RequestFaults


@pytest.fixture
def clean(started: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    with started():
        try:
            yield
        finally:
            control.clear_faults()


@pytest.fixture
def table(clean: None, clients: Callable[..., Any]) -> Any:
    """A client that tries once, and the table `t`."""
    client = clients("dynamodb", attempts=1)
    client.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def put(client: Any, key: str = "a") -> None:
    client.put_item(TableName="t", Item={"k": {"S": key}})


def count(client: Any) -> int:
    return int(client.scan(TableName="t")["Count"])


CALLS: dict[str, tuple[str, Callable[[Any], Any], str, int]] = {
    "items": ("dynamodb", lambda c: c.scan(TableName="t"), "ProvisionedThroughputExceededException", 400),
    "tables": ("dynamodb", lambda c: c.list_tables(), "ThrottlingException", 400),
    "backup": ("backup", lambda c: c.list_backup_vaults(), "ThrottlingException", 400),
    "s3 bucket": ("s3", lambda c: c.list_objects_v2(Bucket="b"), "SlowDown", 503),
    "s3 object": ("s3", lambda c: c.put_object(Bucket="b", Key="k", Body=b"x"), "SlowDown", 503),
    "stacks": ("cloudformation", lambda c: c.list_stacks(), "Throttling", 400),
    "identity": ("sts", lambda c: c.get_caller_identity(), "Throttling", 400),
}


@pytest.mark.parametrize(("service", "call", "code", "status"), CALLS.values(), ids=CALLS)
def test_a_throttled_call_has_its_services_error(
    clean: None, clients: Callable[..., Any], service: str, call: Callable[[Any], Any], code: str, status: int
) -> None:
    client = clients(service, attempts=1)
    control.order_fault({"kind": "throttle", "message": "Slower."})
    with pytest.raises(ClientError) as raised:
        call(client)
    error = raised.value.response
    assert (error["Error"]["Code"], error["Error"]["Message"]) == (code, "Slower.")
    assert error["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("service", "code"),
    [("dynamodb", "InternalServerError"), ("backup", "ServiceUnavailableException"), ("sts", "InternalFailure")],
)
def test_an_ill_service_answers_500(clean: None, clients: Callable[..., Any], service: str, code: str) -> None:
    calls = {"dynamodb": "list_tables", "backup": "list_backup_vaults", "sts": "get_caller_identity"}
    control.order_fault({"kind": "error", "service": service})
    with pytest.raises(ClientError) as raised:
        getattr(clients(service, attempts=1), calls[service])()
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_sdks_retry_what_is_thrown_at_them(table: Any, clients: Callable[..., Any]) -> None:
    for kind in ("throttle", "error", "drop"):
        control.order_fault({"kind": kind, "operation": "PutItem"})
    patient = clients("dynamodb")
    put(patient)
    assert control.faults() == []
    assert count(table) == 1


def test_a_code_of_ones_own(table: Any) -> None:
    control.order_fault({"kind": "error", "code": "RequestLimitExceeded", "status": 400})
    with pytest.raises(table.exceptions.RequestLimitExceeded):
        put(table)


def test_only_the_operation_is_struck_and_only_so_often(table: Any) -> None:
    control.order_fault({"kind": "throttle", "service": "dynamodb", "operation": "PutItem", "count": 2})
    assert count(table) == 0
    for left in (1, None):
        with pytest.raises(table.exceptions.ProvisionedThroughputExceededException):
            put(table)
        assert [fault["count"] for fault in control.faults()] == ([left] if left else [])
    put(table)


def test_another_service_is_not_struck(table: Any, clients: Callable[..., Any]) -> None:
    control.order_fault({"kind": "error", "service": "backup"})
    put(table)
    with pytest.raises(ClientError):
        clients("backup", attempts=1).list_backup_vaults()


@pytest.mark.parametrize(("kind", "error"), [("drop", ConnectionClosedError), ("error", ClientError)])
@pytest.mark.parametrize(("after", "stored"), [(False, 0), (True, 1)])
def test_a_call_may_take_effect_though_it_fails(
    table: Any, kind: str, error: type[Exception], after: bool, stored: int
) -> None:
    control.order_fault({"kind": kind, "operation": "PutItem", "after": after})
    with pytest.raises(error):
        put(table)
    assert count(table) == stored


def test_a_slow_call_waits_and_is_served(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(RELEASE, "wait", waited.append)
    control.order_fault({"kind": "slow", "operation": "PutItem", "seconds": 2.5})
    put(table)
    assert waited == [2.5]
    assert count(table) == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_slow_call_is_done_before_or_after_the_wait(table: Any, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    there: list[int] = []
    monkeypatch.setattr(RELEASE, "wait", lambda _seconds: there.append(count(table)))
    control.order_fault({"kind": "slow", "operation": "PutItem", "seconds": 1, "after": after})
    put(table)
    assert there == [int(after)]
    assert count(table) == 1


def struck(fault: RequestFault, calls: int = 200) -> list[bool]:
    faults = RequestFaults()
    faults.add(fault)
    return [faults.take("dynamodb", "Scan") is not None for _ in range(calls)]


def test_a_share_is_struck_by_the_seed() -> None:
    first = struck(RequestFault("error", share=0.3, seed=1))
    assert first == struck(RequestFault("error", share=0.3, seed=1))
    assert first != struck(RequestFault("error", share=0.3, seed=2))
    assert 40 <= sum(first) <= 80


def test_a_share_may_end_after_a_count() -> None:
    assert sum(struck(RequestFault("error", share=0.5, count=3))) == 3


def test_unprocessed_items_are_ordered_likewise(table: Any) -> None:
    control.order_fault({"kind": "unprocessed", "share": 0.5, "tables": ["t"], "seed": 3})
    requests = [{"PutRequest": {"Item": {"k": {"S": str(number)}}}} for number in range(20)]
    left = table.batch_write_item(RequestItems={"t": requests})["UnprocessedItems"]["t"]
    assert 0 < len(left) < 20
    assert control.faults() == [{"kind": "unprocessed", "share": 0.5}]
    control.clear_faults()
    assert table.batch_write_item(RequestItems={"t": left})["UnprocessedItems"] == {}
    assert count(table) == 20


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ({"kind": "flood"}, "flood"),
        ({"kind": "slow", "seconds": -1}, "seconds"),
        ({"kind": "throttle", "share": 2}, "share"),
        ({"kind": "throttle", "count": 0}, "count"),
        ({"kind": "error", "status": 200}, "status"),
        ({"kind": "error", "service": 5}, "service"),
        ({"kind": "error", "where": "here"}, "where"),
        ({"kind": "unprocessed"}, "share"),
        ({"kind": "unprocessed", "share": "half"}, "share"),
        ({"kind": "spoil"}, "lost"),
        ({"kind": "spoil", "lost": -1}, "lost"),
        ({"kind": "spoil", "lost": 1, "count": 0}, "count"),
        ({"kind": "spoil", "lost": 1, "table": 1}, "table"),
        ({"operation": "StartBackupJob"}, "end_state"),
        ({"end_state": "FAILED"}, "operation"),
    ],
)
def test_a_bad_order_is_refused_and_names_what_is_wrong(order: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        control.order_fault(order)
    assert control.faults() == []


def test_a_file_of_faults(table: Any, tmp_path: Any) -> None:
    path = tmp_path / "bad-day.json"
    path.write_text('{"faults": [{"kind": "throttle", "operation": "PutItem"}, {"kind": "spoil", "lost": 1}]}')
    control.order_faults_of(path)
    assert [fault["kind"] for fault in control.faults()] == ["throttle", "spoil"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"faults": [1]}', '{"faults": [{"kind": "flood"}]}'])
def test_a_file_that_is_none_is_named(tmp_path: Any, content: str) -> None:
    path = tmp_path / "bad-day.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"bad-day\.json"):
        control.order_faults_of(path)
