"""The tasks of the DAG that tears the stack down, and the waits between them."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, get_current_context, task

from backup_flows.as_of import utcnow
from backup_flows.aws import client, deploy_conn_id, retention_conn_id
from backup_flows.defaults import NO_RETRY
from backup_flows.teardown import (
    Clients,
    TeardownIncompleteError,
    delete_points,
    delete_tables,
    empty_bucket,
    points_left,
    start_deletion,
    stop_schedule,
    take_stock,
    write_receipt,
)
from backup_flows.teardown_plan import Stock

log = logging.getLogger(__name__)


class WrongConfirmationError(ValueError):
    """The stack's name was typed out, but it is another's."""


def deploy_clients() -> Clients:
    """Return what makes clients of the deployer; Airflow's operator role goes with the stack."""
    conn_id = deploy_conn_id()
    return functools.cache(lambda service: client(service, aws_conn_id=conn_id))


@task(task_id="take_stock", **NO_RETRY)
def take_stock_task() -> dict[str, Any]:
    """List what is there and what is to be deleted; delete nothing."""
    params = get_current_context()["params"]
    if params["confirm"] not in ("", params["stack_name"]):
        raise WrongConfirmationError(
            f"confirm is {params['confirm']!r}, but the stack is {params['stack_name']!r}: type that name out, or "
            "leave confirm empty to be asked."
        )
    stock = take_stock(deploy_clients(), params["stack_name"])
    description = stock.describe()
    for line in description.splitlines():
        log.info("%s", line)
    return {"stock": stock.as_dict(), "description": description}


@task.branch(task_id="ask_or_go", **NO_RETRY)
def ask_or_go() -> str:
    """Ask a person, unless the stack's name was typed out."""
    return "go" if get_current_context()["params"]["confirm"] else "approve"


@task(task_id="go", trigger_rule="none_failed_min_one_success", **NO_RETRY)
def go() -> None:
    """Begin: from here on things are deleted."""
    log.info("Approved.")


@task(task_id="stop_schedule", retries=2)
def stop_schedule_task(stock: dict[str, Any]) -> int:
    """Take the assignments off the plan."""
    return stop_schedule(deploy_clients(), Stock.from_dict(stock))


@task(task_id="delete_points", retries=2, execution_timeout=dt.timedelta(hours=2))
def delete_points_task(stock: dict[str, Any]) -> dict[str, str]:
    """Delete the recovery points that may go, as the retention role; each is decided about once more."""
    before = Stock.from_dict(stock)
    now = take_stock(deploy_clients(), before.stack)
    agreed = {point.arn for point in before.due}
    conn_id = retention_conn_id()
    retention = functools.cache(lambda service: client(service, aws_conn_id=conn_id))
    due = [point for point in now.due if point.arn in agreed]
    return delete_points(retention, due) if due else {}


@task(task_id="delete_tables", retries=2)
def delete_tables_task(stock: dict[str, Any]) -> list[str]:
    """Drop the restored copies and unprotect the orders table."""
    return delete_tables(deploy_clients(), Stock.from_dict(stock))


@task(task_id="empty_bucket", retries=2, execution_timeout=dt.timedelta(hours=2))
def empty_bucket_task(stock: dict[str, Any]) -> int:
    """Empty the stack's bucket, unless recovery points stay that need what is in it."""
    return empty_bucket(deploy_clients(), Stock.from_dict(stock))


@task(task_id="receipt", **NO_RETRY)
def receipt_task(stock: dict[str, Any], refused: dict[str, str]) -> dict[str, Any]:
    """Leave a receipt of what was deleted and what was kept, and why."""
    return write_receipt(deploy_clients(), Stock.from_dict(stock), refused, now=utcnow())


class WaitForPointsGoneOperator(BaseOperator):
    """Wait deferred until the recovery points that AWS agreed to delete are gone: it deletes them when it sees fit.

    :param stock: what `take_stock` found. (templated)
    :param refused: the ARNs that AWS refused to delete. (templated)
    :return: the number of recovery points that are gone.
    """

    template_fields: Sequence[str] = ("stock", "refused")

    def __init__(
        self, *, stock: Any, refused: Any, wait_timeout: float = 3 * 3600, poll_seconds: float = 10.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stock = stock
        self.refused = refused
        self.wait_timeout = wait_timeout
        self.poll_seconds = poll_seconds

    def execute(self, context: Any) -> int:
        from backup_flows.triggers import RecoveryPointsGoneTrigger

        due = [point for point in Stock.from_dict(self.stock).due if point.arn not in self.refused]
        left = points_left(deploy_clients(), due)
        if not left:
            return len(due)
        self.log.info("%s of %s recovery points are still there", len(left), len(due))
        self.defer(
            trigger=RecoveryPointsGoneTrigger(
                vaults={point.arn: point.vault for point in due if point.arn in left},
                aws_conn_id=deploy_conn_id(),
                poll_seconds=self.poll_seconds,
                give_up_after=self.wait_timeout,
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.wait_timeout + 600),
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> int:
        """Fail if some are still there; a locked or refused one is not among them."""
        if event["left"]:
            raise TeardownIncompleteError(
                f"AWS accepted the deletion and did not delete: {', '.join(event['left'])}. It says EXPIRED where the "
                "role that made a point may not delete it: give that role its rights back and run this DAG again."
            )
        return len(Stock.from_dict(self.stock).due)


class DeleteStackOperator(BaseOperator):
    """Delete a CloudFormation stack and wait deferred. What it may not delete stays; the receipt judges that.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html

    :param stack_name: name of the stack. (templated)
    :return: the stack's status, ``DELETED`` if there is none any more.
    """

    template_fields: Sequence[str] = ("stack_name",)
    ui_color = "#f3d9d9"

    def __init__(self, *, stack_name: str, wait_timeout: float = 3600, waiter_delay: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack_name = stack_name
        self.wait_timeout = wait_timeout
        self.waiter_delay = waiter_delay

    def execute(self, context: Any) -> str:
        from backup_flows.stack import StackTrigger

        if not start_deletion(deploy_clients()("cloudformation"), self.stack_name):
            self.log.info("There is no stack %s", self.stack_name)
            return "DELETED"
        self.defer(
            trigger=StackTrigger(
                stack_name=self.stack_name,
                stack_waiter_name="stack_delete_complete",
                waiter_delay=self.waiter_delay,
                waiter_max_attempts=max(1, int(self.wait_timeout // self.waiter_delay)),
                aws_conn_id=deploy_conn_id(),
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.wait_timeout),
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:
        """Return how the deletion ended, in CloudFormation's words."""
        from backup_flows.stack import describe_stack, failure_reasons

        cloudformation = deploy_clients()("cloudformation")
        stack = describe_stack(cloudformation, self.stack_name)
        if stack is None:
            return "DELETED"
        for reason in failure_reasons(cloudformation, self.stack_name, limit=20):
            self.log.warning("%s", reason)
        return str(stack["StackStatus"])
