from __future__ import annotations

import pytest

from backup_flows.lease import LeaseLostError, LeaseStore
from backup_flows.leasing import ensure_lease, lease_table, release_lease


@pytest.fixture
def operator(flow):
    return lease_table(flow.resources)


def test_the_lease_of_the_runs_table_is_taken_and_given_back(flow, operator, context, in_task):
    lease = operator.execute(context)
    assert (lease["table_name"], lease["lease_table"]) == ("orders", "orders-backup-leases")
    ensure_lease(lease)
    assert in_task(release_lease, context, flow.resources) is True
    assert in_task(release_lease, context, flow.resources) is False


def test_a_run_that_lost_its_lease_is_stopped_before_it_writes(flow, operator, context, in_task):
    lease = operator.execute(context)
    in_task(release_lease, context, flow.resources)
    with pytest.raises(LeaseLostError, match="orders"):
        ensure_lease(lease)


def test_a_lease_taken_again_is_not_the_old_one(flow, operator, context, in_task, new_context):
    lease = operator.execute(context)
    in_task(release_lease, context, flow.resources)
    other = new_context(run={"run_id": "manual__2"})
    operator.execute(other)
    in_task(release_lease, other, flow.resources)
    again = operator.execute(context)
    assert again["fence"] > lease["fence"]
    with pytest.raises(LeaseLostError):
        ensure_lease(lease)
    ensure_lease(again)


def test_checking_it_keeps_it(flow, operator, context):
    lease = operator.execute(context)
    flow.wait(899)
    ensure_lease(lease)
    held = LeaseStore(flow.dynamodb, "orders-backup-leases", clock=flow.now).read("orders")
    assert held.expires_at == int(flow.now().timestamp()) + 900


def test_the_configuration_says_how_long_and_how_often(flow, context, monkeypatch):
    monkeypatch.setenv("AIRFLOW__BACKUP_FLOWS__LEASE_SECONDS", "30")
    monkeypatch.setenv("AIRFLOW__BACKUP_FLOWS__LEASE_POLL_SECONDS", "0.5")
    operator = lease_table(flow.resources)
    assert (operator.lease_seconds, operator.poll_seconds) == (30, 0.5)
    lease = operator.execute(context)
    flow.wait(20)
    ensure_lease(lease)
    held = LeaseStore(flow.dynamodb, "orders-backup-leases", clock=flow.now).read("orders")
    assert held.expires_at == int(flow.now().timestamp()) + 30
