"""Operators of the flows: take a table's lease, let writes settle, deploy the stack. All wait deferred."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator

from backup_flows.as_of import run_as_of, utcnow
from backup_flows.aws import AWS_CONN_ID, client, deploy_conn_id, server_time
from backup_flows.lease import LeaseStore
from backup_flows.principals import principal_arn
from backup_flows.triggers import AwsClockTrigger, TableLeaseTrigger

UNFINISHED_RUN_STATES = ["queued", "running"]


class LeaseTimeoutError(TimeoutError):
    """A run waited for a table's lease longer than it may; the message names the owner."""


def lease_owner(context: Mapping[str, Any]) -> str:
    """Return the name under which this run holds leases: ``<dag_id>/<run_id>``."""
    return f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}"


def run_is_over(owner: str, context: Mapping[str, Any]) -> bool:
    """Say whether the run behind a lease has ended or no longer exists.

    :param owner: ``<dag_id>/<run_id>``.
    """
    dag_id, _, run_id = owner.partition("/")
    unfinished = context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=UNFINISHED_RUN_STATES)
    return bool(unfinished == 0)


class AcquireTableLeaseOperator(BaseOperator):
    """Take the lease of a table; wait for it deferred, in order of ``as_of``.

    Safe to run twice: a run that holds the lease keeps it, with the same fencing number.

    :param table_name: the protected table. (templated)
    :param lease_table: DynamoDB table that holds the leases. (templated)
    :param lease_seconds: how long the claim goes unquestioned while the run lives.
    :param wait_timeout: seconds to wait for the lease altogether.
    :return: ``{"table_name", "lease_table", "owner", "fence"}``
    """

    template_fields: Sequence[str] = ("table_name", "lease_table", "lease_seconds", "poll_seconds")
    ui_color = "#f3e9d2"

    def __init__(
        self,
        *,
        table_name: str,
        lease_table: str,
        lease_seconds: int | str = 900,
        poll_seconds: float | str = 5.0,
        wait_timeout: float = 6 * 3600,
        aws_conn_id: str = AWS_CONN_ID,
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table_name = table_name
        self.lease_table = lease_table
        self.lease_seconds = lease_seconds
        self.poll_seconds = poll_seconds
        self.wait_timeout = wait_timeout
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def execute(self, context: Any) -> dict[str, Any]:
        return self._attempt(context, waiting_since=utcnow())

    def try_again(self, context: Any, event: dict[str, Any], waiting_since: str) -> dict[str, Any]:
        """Resume after the trigger saw that an attempt may succeed."""
        return self._attempt(context, waiting_since=dt.datetime.fromisoformat(waiting_since))

    def _attempt(self, context: Any, *, waiting_since: dt.datetime) -> dict[str, Any]:
        owner = lease_owner(context)
        as_of = run_as_of(context).isoformat()
        store = LeaseStore(
            client("dynamodb", aws_conn_id=self.aws_conn_id, region_name=self.region_name),
            self.lease_table,
            clock=utcnow,
            lease_seconds=int(self.lease_seconds),
        )
        lease = store.try_acquire(self.table_name, owner, as_of, run_is_over=lambda other: run_is_over(other, context))
        if lease is not None:
            self.log.info("Lease of table %s acquired, fencing number %s", self.table_name, lease.fence)
            return {
                "table_name": self.table_name,
                "lease_table": self.lease_table,
                "owner": owner,
                "fence": lease.fence,
            }
        present = store.read(self.table_name)
        remaining = waiting_since + dt.timedelta(seconds=self.wait_timeout) - utcnow()
        if remaining <= dt.timedelta(0):
            store.release(self.table_name, owner)
            raise LeaseTimeoutError(
                f"waited {self.wait_timeout:.0f} s for the lease of table {self.table_name}, held by "
                f"{present.owner}. Look at that run; its lease falls free when it ends."
            )
        self.log.info("Table %s is leased to %s; %s wait", self.table_name, present.owner, len(present.queue))
        self.defer(
            trigger=TableLeaseTrigger(
                lease_table=self.lease_table,
                table_name=self.table_name,
                owner=owner,
                as_of=as_of,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                poll_seconds=float(self.poll_seconds),
                lease_seconds=int(self.lease_seconds),
            ),
            method_name="try_again",
            kwargs={"waiting_since": waiting_since.isoformat()},
            timeout=remaining,
        )


def settle_time(seconds: int) -> dt.timedelta:
    """Return how long to wait for ``seconds`` to have passed for certain.

    AWS's ``Date`` is cut to whole seconds, so the moment from which it is counted may be one second off.
    """
    return dt.timedelta(seconds=seconds + 1 if seconds else 0)


class SettleOperator(BaseOperator):
    """Wait until AWS's clock is ``seconds`` past a moment, so that a backup must hold what was written before.

    AWS guarantees a backup to hold what was committed up to a minute before the request, and it may hold what
    came up to a minute after it. See ``CreateBackup`` in the DynamoDB API reference:
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateBackup.html

    :param since: the moment, ISO 8601; empty means now, on AWS's clock. (templated)
    :param seconds: how long after it to wait. (templated)
    :return: AWS's time after the wait, ISO 8601.
    """

    template_fields: Sequence[str] = ("since", "seconds")
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        since: str,
        seconds: int | str,
        aws_conn_id: str = AWS_CONN_ID,
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.seconds = seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def execute(self, context: Any) -> str:
        now = server_time(client("sts", aws_conn_id=self.aws_conn_id, region_name=self.region_name))
        since = dt.datetime.fromisoformat(self.since) if self.since else now
        until = since + settle_time(int(self.seconds))
        if now >= until:
            return now.isoformat()
        self.log.info("Settling until %s on AWS's clock (%s s from now)", until, (until - now).total_seconds())
        self.defer(
            trigger=AwsClockTrigger(
                until=until.isoformat(), aws_conn_id=self.aws_conn_id, region_name=self.region_name
            ),
            method_name="execute_complete",
            timeout=(until - now) + dt.timedelta(minutes=10),
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:
        """Return AWS's time at which the wait ended."""
        return str(event["aws_time"])


class StackFailedError(RuntimeError):
    """CloudFormation did not bring the stack to the wished state; the message carries its reasons."""


class DeployStackOperator(BaseOperator):
    """Create or update a CloudFormation stack, wait deferred, return its outputs.

    Safe to run twice: an unchanged stack is left alone, a stack that is being deployed is waited for.

    :param stack_name: name of the stack. (templated)
    :param template_path: file with the template. (templated)
    :param parameters: template parameters, or JSON of them; those not named, or empty, keep the value that the stack
        has, or get the template's default. (templated)
    :param principal_parameter: the parameter that a new stack is given the deployer's own ARN for, unless named.
    :param tags: tags of the stack, which CloudFormation hands on to the resources.
    :param aws_conn_id: None means ``aws_backup_deploy`` if that is defined, else ``aws_default``.
    :return: the stack's outputs by key.
    """

    template_fields: Sequence[str] = ("stack_name", "template_path", "parameters")
    ui_color = "#dbe7f3"

    IN_PROGRESS = {
        "CREATE_IN_PROGRESS": "stack_create_complete",
        "UPDATE_IN_PROGRESS": "stack_update_complete",
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "stack_update_complete",
    }
    UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}

    def __init__(
        self,
        *,
        stack_name: str,
        template_path: str,
        parameters: Mapping[str, str] | str | None = None,
        principal_parameter: str | None = None,
        tags: Mapping[str, str] | None = None,
        wait_timeout: float = 3600,
        waiter_delay: int = 5,
        aws_conn_id: str | None = None,
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stack_name = stack_name
        self.template_path = template_path
        self.parameters = parameters or {}
        self.principal_parameter = principal_parameter
        self.tags = tags or {}
        self.wait_timeout = wait_timeout
        self.waiter_delay = waiter_delay
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def execute(self, context: Any) -> dict[str, str]:
        from backup_flows.stack import StackTrigger, describe_stack, stack_outputs, start_deployment

        cloudformation = self._client("cloudformation")
        stack = describe_stack(cloudformation, self.stack_name)
        status = stack["StackStatus"] if stack else None
        if status in self.IN_PROGRESS:
            waiter = self.IN_PROGRESS[str(status)]
            self.log.info("Stack %s is %s already; waiting for it", self.stack_name, status)
        elif stack is not None and status not in self.UPDATABLE:
            raise StackFailedError(
                f"stack {self.stack_name} is {status} and can't be updated: {stack.get('StackStatusReason', '-')}. "
                "Delete it (the template retains no data that was never made) and run this DAG again."
            )
        else:
            started = start_deployment(
                cloudformation,
                stack_name=self.stack_name,
                template_body=Path(self.template_path).read_text(encoding="utf-8"),
                parameters=self._parameters(stack),
                tags=self.tags,
                exists=stack is not None,
            )
            if not started:
                self.log.info("Stack %s is up to date", self.stack_name)
                return stack_outputs(cloudformation, self.stack_name)
            waiter = "stack_update_complete" if stack is not None else "stack_create_complete"
        self.defer(
            trigger=StackTrigger(
                stack_name=self.stack_name,
                stack_waiter_name=waiter,
                waiter_delay=self.waiter_delay,
                waiter_max_attempts=max(1, int(self.wait_timeout // self.waiter_delay)),
                aws_conn_id=self._conn_id(),
                region_name=self.region_name,
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.wait_timeout),
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, str]:
        """Return the outputs, or fail with the reasons that CloudFormation gave."""
        from backup_flows.stack import failure_reasons, stack_outputs

        cloudformation = self._client("cloudformation")
        if event.get("status") != "success":
            reasons = failure_reasons(cloudformation, self.stack_name)
            raise StackFailedError(f"stack {self.stack_name} failed: {'; '.join(reasons) or event.get('message')}")
        return stack_outputs(cloudformation, self.stack_name)

    def _conn_id(self) -> str:
        return self.aws_conn_id or deploy_conn_id()

    def _client(self, service: str) -> Any:
        return client(service, aws_conn_id=self._conn_id(), region_name=self.region_name)

    def _parameters(self, stack: Mapping[str, Any] | None) -> dict[str, str]:
        from backup_flows.stack import ensure_compliance_lock_is_meant

        given = json.loads(self.parameters) if isinstance(self.parameters, str) else dict(self.parameters)
        parameters = {name: str(value) for name, value in given.items() if value not in (None, "")}
        present = {entry["ParameterKey"]: entry["ParameterValue"] for entry in (stack or {}).get("Parameters", [])}
        if self.principal_parameter and self.principal_parameter not in {*parameters, *present}:
            parameters[self.principal_parameter] = principal_arn(self._client("sts"), self._client("iam"))
            self.log.info("%s: %s", self.principal_parameter, parameters[self.principal_parameter])
        ensure_compliance_lock_is_meant(parameters, present)
        return parameters
