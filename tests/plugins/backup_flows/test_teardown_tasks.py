from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from backup_flows.stack import StackTrigger
from backup_flows.teardown import TeardownIncompleteError, take_stock
from backup_flows.teardown_plan import DELETE, PointDecision, Stock
from backup_flows.teardown_tasks import (
    DeleteStackOperator,
    WaitForPointsGoneOperator,
    WrongConfirmationError,
    ask_or_go,
    take_stock_task,
)
from backup_flows.triggers import RecoveryPointsGoneTrigger


@pytest.fixture
def point(flow) -> PointDecision:
    flow.back_up()
    (listed,) = flow.backup.list_recovery_points_by_backup_vault(BackupVaultName="orders-vault")["RecoveryPoints"]
    return PointDecision("orders-vault", listed["RecoveryPointArn"], DELETE, "ours")


def waiting(stock: Stock, refused: dict[str, str] | None = None) -> WaitForPointsGoneOperator:
    return WaitForPointsGoneOperator(task_id="wait_until_gone", stock=stock.as_dict(), refused=refused or {})


def fired(trigger: RecoveryPointsGoneTrigger) -> dict[str, Any]:
    async def first() -> dict[str, Any]:
        (event,) = [event async for event in trigger.run()]
        return dict(event.payload)

    return asyncio.run(first())


class TestConfirmation:
    def test_the_name_of_another_stack_confirms_nothing(self, new_context, in_task):
        with pytest.raises(WrongConfirmationError, match="'orders-backup'"):
            in_task(take_stock_task, new_context(confirm="orders"))

    @pytest.mark.parametrize(("confirm", "then"), [("", "approve"), ("orders-backup", "go")])
    def test_a_person_is_asked_unless_it_was_typed_out(self, new_context, in_task, confirm, then):
        assert in_task(ask_or_go, new_context(confirm=confirm)) == then

    def test_the_list_is_for_the_next_tasks_and_for_the_person(self, flow, new_context, in_task):
        taken = in_task(take_stock_task, new_context(confirm=""))
        assert Stock.from_dict(taken["stock"]) == take_stock(flow.clients, "orders-backup")
        assert "`orders-vault`" in taken["description"]


class TestWait:
    def test_it_waits_deferred_for_what_is_still_there(self, flow, context, point):
        with pytest.raises(TaskDeferred) as deferred:
            waiting(Stock("orders-backup", "CREATE_COMPLETE", points=(point,))).execute(context)
        assert isinstance(deferred.value.trigger, RecoveryPointsGoneTrigger)
        assert deferred.value.trigger.vaults == {point.arn: "orders-vault"}
        assert deferred.value.timeout > dt.timedelta(hours=3)

    def test_what_was_refused_is_not_waited_for(self, flow, context, point):
        stock = Stock("orders-backup", "CREATE_COMPLETE", points=(point,))
        assert waiting(stock, {point.arn: "AccessDenied"}).execute(context) == 0

    def test_what_does_not_go_fails_with_its_name(self, context, point):
        operator = waiting(Stock("orders-backup", "CREATE_COMPLETE", points=(point,)))
        assert operator.execute_complete(context, {"left": []}) == 1
        with pytest.raises(TeardownIncompleteError, match=point.arn):
            operator.execute_complete(context, {"left": [point.arn]})

    def test_the_trigger_fires_when_they_are_gone_or_when_it_gives_up(self, flow, point):
        arguments = {"vaults": {point.arn: point.vault}, "aws_conn_id": "aws_default", "poll_seconds": 0.01}
        assert fired(RecoveryPointsGoneTrigger(**arguments, give_up_after=0)) == {"left": [point.arn]}
        flow.backup.delete_recovery_point(BackupVaultName=point.vault, RecoveryPointArn=point.arn)
        flow.wait(60)
        assert fired(RecoveryPointsGoneTrigger(**arguments)) == {"left": []}


class TestDeleteStack:
    def test_it_waits_deferred_and_tells_how_it_ended(self, flow, context):
        operator = DeleteStackOperator(task_id="delete_stack", stack_name="orders-backup")
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        assert isinstance(deferred.value.trigger, StackTrigger)
        assert deferred.value.trigger.serialize()[1]["stack_waiter_name"] == "stack_delete_complete"
        # The orders table is protected, and CloudFormation keeps what it can't delete.
        assert operator.execute_complete(context, {"status": "error"}) == "DELETE_FAILED"

    def test_no_stack_is_nothing_to_wait_for(self, flow, context):
        assert DeleteStackOperator(task_id="delete_stack", stack_name="never-was").execute(context) == "DELETED"
