from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.session import AioSession
from airflow.providers.amazon.aws.hooks.cloud_formation import CloudFormationHook
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import BaseTrigger
from botocore.awsrequest import AWSResponse

from backup_flows.lease import LeaseStore
from backup_flows.stack import StackTrigger
from backup_flows.triggers import (
    MAX_CLOCK_POLL_SECONDS,
    AwsClockTrigger,
    RecoveryPointsGoneTrigger,
    TableLeaseTrigger,
)

LEASES = "orders-backup-leases"
RIVAL = "orders_backup_restore/earlier"
OWN = "orders_backup_restore/later"
STACK_ARGUMENTS = {
    "stack_name": "orders-backup",
    "stack_waiter_name": "stack_update_complete",
    "waiter_delay": 7,
    "waiter_max_attempts": 11,
    "aws_conn_id": "other",
    "region_name": "eu-west-1",
}


async def first_event(trigger: BaseTrigger) -> dict[str, Any]:
    """Run a trigger to its event, and check that it ends with it."""
    events = [event.payload async for event in trigger.run()]
    assert len(events) == 1
    return dict(events[0])


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (StackTrigger, STACK_ARGUMENTS),
        (
            RecoveryPointsGoneTrigger,
            {
                "vaults": {"arn:one": "orders-vault"},
                "aws_conn_id": "other",
                "region_name": "eu-west-1",
                "poll_seconds": 2.5,
                "give_up_after": 60.0,
            },
        ),
        (
            TableLeaseTrigger,
            {
                "lease_table": LEASES,
                "table_name": "orders",
                "owner": OWN,
                "as_of": "2026-11-02T06:00:00+00:00",
                "aws_conn_id": "other",
                "region_name": "eu-west-1",
                "poll_seconds": 2.5,
                "lease_seconds": 60,
            },
        ),
        (
            AwsClockTrigger,
            {"until": "2026-11-02T06:02:00+00:00", "aws_conn_id": "other", "region_name": "eu-west-1"},
        ),
    ],
    ids=lambda value: value.__name__ if inspect.isclass(value) else "",
)
def test_a_trigger_survives_the_way_to_the_triggerer(kind: type[BaseTrigger], arguments: dict[str, Any]):
    path, sent = kind(**arguments).serialize()
    received = json.loads(json.dumps(sent))
    assert import_string(path) is kind
    assert {name: received[name] for name in arguments} == arguments
    again = import_string(path)(**received)
    assert again.serialize() == (path, sent)


class TestLease:
    @pytest.fixture
    def store(self, flow) -> LeaseStore:
        return LeaseStore(flow.dynamodb, LEASES, clock=flow.now, lease_seconds=60)

    @pytest.fixture
    def trigger(self) -> TableLeaseTrigger:
        return TableLeaseTrigger(
            lease_table=LEASES, table_name="orders", owner=OWN, as_of="2026-11-02", aws_conn_id="aws_default"
        )

    @pytest.fixture
    def on_sleep(self, monkeypatch) -> Callable[[Callable[[int], None]], list[float]]:
        """Let a function be called in place of each pause; return the pauses asked for."""

        def instead(act: Callable[[int], None]) -> list[float]:
            pauses: list[float] = []

            async def sleep(seconds: float) -> None:
                pauses.append(seconds)
                assert len(pauses) < 50, "the trigger never comes to its end"
                act(len(pauses))

            monkeypatch.setattr("backup_flows.triggers.asyncio.sleep", sleep)
            return pauses

        return instead

    def test_a_free_lease_wakes_the_task_at_once(self, store, trigger, on_sleep):
        pauses = on_sleep(lambda _: None)
        assert asyncio.run(first_event(trigger)) == {"status": "success", "owner": None}
        assert pauses == []
        assert store.read("orders").queue.keys() == {OWN}

    def test_it_wakes_the_task_when_the_lease_is_given_back(self, store, trigger, on_sleep):
        store.try_acquire("orders", RIVAL, "2026-11-01", run_is_over=lambda _: False)

        def act(pause: int) -> None:
            if pause == 3:
                store.release("orders", RIVAL)

        pauses = on_sleep(act)
        assert asyncio.run(first_event(trigger))["status"] == "success"
        assert len(pauses) == 3
        assert all(3.5 <= seconds <= 6.5 for seconds in pauses)
        assert store.read("orders").owner is None

    def test_it_wakes_the_task_when_the_owners_time_is_up(self, flow, store, trigger, on_sleep):
        store.try_acquire("orders", RIVAL, "2026-11-01", run_is_over=lambda _: False)
        pauses = on_sleep(lambda _: flow.wait(30))
        assert asyncio.run(first_event(trigger)) == {"status": "success", "owner": RIVAL}
        assert len(pauses) == 2

    def test_one_that_may_give_up_wakes_the_task_although_the_lease_is_held(self, store, trigger, on_sleep):
        store.try_acquire("orders", RIVAL, "2026-11-01", run_is_over=lambda _: False)
        pauses = on_sleep(lambda _: None)
        trigger.give_up_after = 0.0
        assert asyncio.run(first_event(trigger)) == {"status": "waited", "owner": RIVAL}
        assert pauses == []

    def test_it_lets_an_earlier_date_go_first(self, flow, store, trigger, on_sleep):
        store.show_up("orders", RIVAL, "2026-11-01")

        def act(pause: int) -> None:
            if pause == 2:
                store.release("orders", RIVAL)

        pauses = on_sleep(act)
        asyncio.run(first_event(trigger))
        assert len(pauses) == 2


class TestClock:
    UNTIL = dt.datetime(2026, 11, 2, 6, 2, tzinfo=dt.UTC)

    def test_it_fires_once_awss_clock_is_there(self, flow, monkeypatch):
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            flow.wait(seconds)

        monkeypatch.setattr("backup_flows.triggers.asyncio.sleep", sleep)
        trigger = AwsClockTrigger(until=self.UNTIL.isoformat(), aws_conn_id="aws_default")
        event = asyncio.run(first_event(trigger))
        assert event == {"status": "success", "aws_time": self.UNTIL.isoformat()}
        assert sum(pauses) == 120
        assert max(pauses) <= MAX_CLOCK_POLL_SECONDS

    def test_a_moment_in_the_past_needs_no_pause(self, flow, monkeypatch):
        async def sleep(seconds: float) -> None:
            raise AssertionError(f"slept {seconds} s for nothing")

        monkeypatch.setattr("backup_flows.triggers.asyncio.sleep", sleep)
        trigger = AwsClockTrigger(until=flow.now().isoformat(), aws_conn_id="aws_default")
        assert asyncio.run(first_event(trigger))["aws_time"] == flow.now().isoformat()


class TestStack:
    @pytest.fixture
    def answers(self, monkeypatch, connection) -> Callable[..., list[str]]:
        """Let the asynchronous CloudFormation client find the stack in these states, one after the other."""

        def script(*states: str) -> list[str]:
            left = list(states)

            def answer(**_: Any) -> Any:
                stack = {
                    "StackName": "orders-backup",
                    "CreationTime": dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
                    "StackStatus": left.pop(0),
                }
                return AWSResponse(None, 200, {}, None), {
                    "Stacks": [stack],
                    "ResponseMetadata": {"HTTPStatusCode": 200},
                }

            @asynccontextmanager
            async def client():
                session = AioSession()
                async with session.create_client("cloudformation", region_name="us-east-1") as made:
                    made.meta.events.register("before-call.cloudformation", answer)
                    yield made

            async def get_async_conn(_hook: Any) -> Any:
                return client()

            monkeypatch.setattr(CloudFormationHook, "get_async_conn", get_async_conn)
            return left

        return script

    @pytest.mark.parametrize(
        ("waiter", "states"),
        [
            ("stack_create_complete", ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"]),
            ("stack_update_complete", ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]),
        ],
    )
    def test_it_waits_until_the_stack_stands(self, answers, waiter: str, states: list[str]):
        left = answers(*states)
        trigger = StackTrigger(
            **{**STACK_ARGUMENTS, "stack_waiter_name": waiter, "waiter_delay": 0, "aws_conn_id": "aws_default"}
        )
        assert asyncio.run(first_event(trigger)) == {"status": "success", "stack_name": "orders-backup"}
        assert left == []

    def test_a_failed_stack_ends_it_at_once(self, answers):
        left = answers("CREATE_IN_PROGRESS", "CREATE_FAILED", "CREATE_FAILED")
        trigger = StackTrigger(stack_name="orders-backup", stack_waiter_name="stack_create_complete", waiter_delay=0)
        event = asyncio.run(first_event(trigger))
        assert event["status"] != "success"
        assert left == ["CREATE_FAILED"]
