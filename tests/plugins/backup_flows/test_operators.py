from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from backup_flows.lease import LeaseStore
from backup_flows.operators import (
    AcquireTableLeaseOperator,
    DeployStackOperator,
    LeaseTimeoutError,
    SettleOperator,
    StackFailedError,
    lease_owner,
    run_is_over,
)
from backup_flows.project_files import project_file
from backup_flows.stack import (
    DEPLOY_PRINCIPAL,
    STACK_TEMPLATE,
    StackTrigger,
    UnconfirmedComplianceLockError,
    stack_parameters,
)
from backup_flows.triggers import AwsClockTrigger, TableLeaseTrigger

LEASES = "orders-backup-leases"
RIVAL = "orders_backup_restore/earlier"
OWN = "orders_backup_restore/manual__1"


@pytest.mark.parametrize(("unfinished", "over"), [(0, True), (1, False)])
def test_a_run_is_over_when_airflow_knows_none_that_is_unfinished(new_context, unfinished: int, over: bool):
    context = new_context(unfinished_runs=unfinished)
    assert run_is_over("a_dag/manual__2026-11-01T06:00:00+00:00/a", context) is over
    context["ti"].get_dr_count.assert_called_once_with(
        dag_id="a_dag", run_ids=["manual__2026-11-01T06:00:00+00:00/a"], states=["queued", "running"]
    )


def test_a_run_holds_leases_under_its_dag_and_its_own_name(context):
    assert lease_owner(context) == OWN


class TestLease:
    @pytest.fixture
    def store(self, flow) -> LeaseStore:
        return LeaseStore(flow.dynamodb, LEASES, clock=flow.now, lease_seconds=900)

    @pytest.fixture
    def operator(self) -> AcquireTableLeaseOperator:
        # As templates leave them: text.
        return AcquireTableLeaseOperator(
            task_id="acquire_lease",
            table_name="orders",
            lease_table=LEASES,
            lease_seconds="900",
            poll_seconds="2.5",
            wait_timeout=3600,
        )

    def test_a_free_lease_is_taken_and_kept_when_the_task_runs_twice(self, store, operator, context):
        lease = {"table_name": "orders", "lease_table": LEASES, "owner": OWN, "fence": 1}
        assert operator.execute(context) == lease
        assert operator.execute(context) == lease
        assert store.read("orders").owner == OWN

    def test_a_taken_one_is_waited_for_deferred_and_in_the_queue(self, flow, store, operator, context):
        store.try_acquire("orders", RIVAL, "2026-10-31", run_is_over=lambda _: False)
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        assert isinstance(deferred.value.trigger, TableLeaseTrigger)
        assert deferred.value.trigger.serialize()[1] == {
            "lease_table": LEASES,
            "table_name": "orders",
            "owner": OWN,
            "as_of": "2026-11-01T06:00:00+00:00",
            "aws_conn_id": "aws_default",
            "region_name": None,
            "poll_seconds": 2.5,
            "lease_seconds": 900,
            "give_up_after": None,
        }
        assert deferred.value.method_name == "try_again"
        assert deferred.value.timeout == dt.timedelta(seconds=3600)
        assert store.read("orders").queue.keys() == {OWN}
        flow.wait(600)
        store.release("orders", RIVAL)
        assert operator.try_again(context, event={"status": "success"}, **deferred.value.kwargs)["fence"] == 2

    def test_the_time_waited_so_far_counts(self, flow, store, operator, context):
        store.try_acquire("orders", RIVAL, "2026-10-31", run_is_over=lambda _: False)
        with pytest.raises(TaskDeferred) as first:
            operator.execute(context)
        flow.wait(600)
        with pytest.raises(TaskDeferred) as second:
            operator.try_again(context, event={}, **first.value.kwargs)
        assert second.value.timeout == dt.timedelta(seconds=3000)
        assert second.value.kwargs == first.value.kwargs

    def test_who_waited_too_long_leaves_the_queue_and_is_told_the_owner(self, flow, store, operator, context):
        store.try_acquire("orders", RIVAL, "2026-10-31", run_is_over=lambda _: False)
        began = flow.now().isoformat()
        context["ti"].get_dr_count.return_value = 1
        flow.wait(3600)
        with pytest.raises(LeaseTimeoutError, match=rf"3600 s .* orders, held by {RIVAL}"):
            operator.try_again(context, event={}, waiting_since=began)
        assert store.read("orders").queue == {}
        assert store.read("orders").owner == RIVAL

    @pytest.mark.parametrize("unfinished", [0, 1], ids=["its run is over", "its run lives"])
    def test_an_expired_lease_is_taken_over_only_from_a_run_that_is_over(
        self, flow, store, operator, new_context, unfinished: int
    ):
        store.try_acquire("orders", RIVAL, "2026-10-31", run_is_over=lambda _: False)
        flow.wait(901)
        context = new_context(unfinished_runs=unfinished)
        if unfinished:
            with pytest.raises(TaskDeferred):
                operator.execute(context)
            assert store.read("orders").owner == RIVAL
        else:
            assert operator.execute(context)["fence"] == 2
        context["ti"].get_dr_count.assert_called_once_with(
            dag_id="orders_backup_restore", run_ids=["earlier"], states=["queued", "running"]
        )


class TestSettle:
    @staticmethod
    def settle(context: dict[str, Any], since: str, seconds: int | str = "120") -> str:
        return SettleOperator(task_id="settle", since=since, seconds=seconds).execute(context)

    def test_it_waits_on_awss_clock_from_the_moment_given(self, flow, context):
        wrote_at = flow.now()
        flow.wait(50)
        with pytest.raises(TaskDeferred) as deferred:
            self.settle(context, wrote_at.isoformat())
        trigger = deferred.value.trigger
        assert isinstance(trigger, AwsClockTrigger)
        assert trigger.until == (wrote_at + dt.timedelta(seconds=121)).isoformat()
        assert dt.timedelta(seconds=70) < deferred.value.timeout < dt.timedelta(hours=1)
        operator = SettleOperator(task_id="settle", since="", seconds=0)
        resumed = getattr(operator, deferred.value.method_name)
        assert resumed(context, event={"status": "success", "aws_time": trigger.until}) == trigger.until

    def test_what_has_settled_already_is_not_waited_for(self, flow, context):
        wrote_at = flow.now()
        flow.wait(121)
        assert self.settle(context, wrote_at.isoformat()) == flow.now().isoformat()

    def test_no_moment_means_now(self, flow, context):
        with pytest.raises(TaskDeferred) as deferred:
            self.settle(context, "")
        assert deferred.value.trigger.until == (flow.now() + dt.timedelta(seconds=121)).isoformat()

    def test_zero_seconds_are_no_wait(self, flow, context):
        assert self.settle(context, flow.now().isoformat(), 0) == flow.now().isoformat()


class TestDeploy:
    @staticmethod
    def operator(**changes: Any) -> DeployStackOperator:
        arguments = {
            "task_id": "deploy_stack",
            "stack_name": "orders-backup",
            "template_path": str(project_file(STACK_TEMPLATE)),
            "tags": {"managed-by": "dynamodb-backup-proof"},
            "principal_parameter": DEPLOY_PRINCIPAL,
            "wait_timeout": 600,
            "waiter_delay": 4,
        }
        return DeployStackOperator(**{**arguments, **changes})

    @pytest.fixture
    def stack_is(self, monkeypatch):
        """Let the stack be found in a state that the local AWS never stays in."""

        def as_described(status: str, reason: str = "because") -> None:
            described = {"StackStatus": status, "StackStatusReason": reason}
            monkeypatch.setattr("backup_flows.stack.describe_stack", lambda *_: described)

        return as_described

    def test_a_new_stack_is_created_and_waited_for_deferred(self, aws, context):
        operator = self.operator()
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        assert isinstance(deferred.value.trigger, StackTrigger)
        sent = deferred.value.trigger.serialize()[1]
        assert sent["stack_waiter_name"] == "stack_create_complete"
        assert (sent["waiter_delay"], sent["waiter_max_attempts"]) == (4, 150)
        assert deferred.value.timeout == dt.timedelta(seconds=600)
        outputs = operator.execute_complete(context, event={"status": "success", "stack_name": "orders-backup"})
        assert outputs["TableName"] == "orders"

    def test_the_deployer_guards_the_vault_and_an_update_by_another_does_not_change_that(self, aws, context):
        with pytest.raises(TaskDeferred):
            self.operator().execute(context)
        root = "arn:aws:iam::123456789012:root"
        assert stack_parameters(aws("cloudformation"), "orders-backup")["DeployPrincipalArn"] == root
        with pytest.raises(TaskDeferred):
            self.operator(parameters='{"DeleteAfterDays": 400, "BackupSchedule": ""}').execute(context)
        now = stack_parameters(aws("cloudformation"), "orders-backup")
        assert (now["DeployPrincipalArn"], now["DeleteAfterDays"]) == (root, "400")
        assert now["BackupSchedule"] == "cron(0 5 ? * * *)"

    def test_a_final_lock_that_is_not_confirmed_sends_nothing(self, aws, context):
        with pytest.raises(UnconfirmedComplianceLockError):
            self.operator(parameters={"VaultLockMode": "compliance"}).execute(context)
        assert aws("cloudformation").describe_stacks()["Stacks"] == []

    def test_who_deploys_has_a_connection_of_its_own(self, aws, context, monkeypatch):
        with pytest.raises(TaskDeferred) as deferred:
            self.operator().execute(context)
        assert deferred.value.trigger.serialize()[1]["aws_conn_id"] == "aws_default"
        monkeypatch.setenv("AIRFLOW_CONN_AWS_BACKUP_DEPLOY", '{"conn_type": "aws"}')
        with pytest.raises(TaskDeferred) as deferred:
            self.operator(parameters={"DeleteAfterDays": "400"}).execute(context)
        assert deferred.value.trigger.serialize()[1]["aws_conn_id"] == "aws_backup_deploy"

    def test_an_unchanged_stack_is_left_alone(self, aws, context):
        with pytest.raises(TaskDeferred):
            self.operator().execute(context)
        assert self.operator().execute(context)["VaultName"] == "orders-vault"

    def test_a_changed_one_is_updated(self, aws, context):
        with pytest.raises(TaskDeferred):
            self.operator().execute(context)
        with pytest.raises(TaskDeferred) as deferred:
            self.operator(parameters={"TableDeletionProtection": "false"}).execute(context)
        assert deferred.value.trigger.serialize()[1]["stack_waiter_name"] == "stack_update_complete"
        table = aws("dynamodb").describe_table(TableName="orders")["Table"]
        assert table["DeletionProtectionEnabled"] is False

    @pytest.mark.parametrize(
        ("status", "waiter"),
        [
            ("CREATE_IN_PROGRESS", "stack_create_complete"),
            ("UPDATE_IN_PROGRESS", "stack_update_complete"),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "stack_update_complete"),
        ],
    )
    def test_one_that_is_being_deployed_is_waited_for(self, aws, context, stack_is, status: str, waiter: str):
        stack_is(status)
        with pytest.raises(TaskDeferred) as deferred:
            self.operator().execute(context)
        assert deferred.value.trigger.serialize()[1]["stack_waiter_name"] == waiter
        assert aws("cloudformation").list_stacks()["StackSummaries"] == []

    @pytest.mark.parametrize("status", ["CREATE_FAILED", "ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"])
    def test_one_that_cannot_be_updated_is_an_error_with_its_reason(self, aws, context, stack_is, status: str):
        stack_is(status, "the bucket exists already")
        with pytest.raises(StackFailedError, match=rf"orders-backup is {status}.*the bucket exists already.*Delete it"):
            self.operator().execute(context)

    def test_a_failed_deployment_tells_the_reasons_of_cloudformation(self, aws, context, monkeypatch):
        reasons = ["Bucket (AWS::S3::Bucket): it exists already", "Vault (AWS::Backup::BackupVault): cancelled"]
        monkeypatch.setattr("backup_flows.stack.failure_reasons", lambda *_: reasons)
        with pytest.raises(StackFailedError) as failed:
            self.operator().execute_complete(context, event={"status": "error", "message": "it failed"})
        assert "; ".join(reasons) in str(failed.value)

    def test_without_reasons_the_triggers_message_does(self, aws, context, monkeypatch):
        monkeypatch.setattr("backup_flows.stack.failure_reasons", lambda *_: [])
        with pytest.raises(StackFailedError, match="orders-backup failed: waited too long"):
            self.operator().execute_complete(context, event={"status": "error", "message": "waited too long"})
