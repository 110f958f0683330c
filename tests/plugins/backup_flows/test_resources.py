from __future__ import annotations

import logging
import socket
import traceback

import pytest
from botocore.exceptions import ClientError

from backup_flows.guards import SettleTooShortError
from backup_flows.resources import (
    AwsUnreachableError,
    BackupNotOptedInError,
    check_resources,
    ensure_opted_in,
    look_up,
    preflight,
)
from backup_flows.stack import MissingResourcesError


@pytest.fixture
def silent_port():
    """An address of this machine at which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        # Bound, and not listening: nobody else can take it while the test lasts.
        yield held.getsockname()[1]


def test_nothing_listening_is_one_clear_line(silent_port: int, monkeypatch):
    address = f"http://127.0.0.1:{silent_port}"
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT",
        f"aws://testing:testing@/?region_name=us-east-1&endpoint_url=http%3A%2F%2F127.0.0.1%3A{silent_port}",
    )
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(AwsUnreachableError) as unreachable:
        look_up("orders-backup")
    told = str(unreachable.value)
    assert address in told
    assert "make run" in told
    assert "\n" not in told
    assert unreachable.value.__suppress_context__ is True
    assert unreachable.value.__cause__ is None
    printed = "".join(traceback.format_exception(unreachable.value))
    assert printed.count("Traceback") == 1
    assert "urllib3" not in printed


def test_what_a_run_works_on_is_looked_up(flow, in_task, new_context):
    context = new_context(run={"run_id": "manual__7"}, delete_after_days=7)
    found = in_task(preflight, context)
    assert found["table"] == "orders"
    assert found["bucket"] == flow.bucket
    assert found["as_of"] == "2026-11-01"
    assert found["lifecycle"] == {"DeleteAfterDays": 7}
    assert len(found["run_key"]) == 8
    assert in_task(preflight, new_context(run={"run_id": "manual__8"}))["run_key"] != found["run_key"]
    assert in_task(check_resources, context, "orders-backup") == look_up("orders-backup").as_dict()


def test_all_that_is_missing_is_named_with_the_dag_that_makes_it(flow, in_task, context):
    flow.dynamodb.delete_table(TableName="orders-backup-leases")
    flow.backup.delete_backup_vault(BackupVaultName="orders-vault")
    with pytest.raises(MissingResourcesError) as missing:
        in_task(preflight, context)
    told = str(missing.value)
    for part in ("lease table orders-backup-leases", "backup vault orders-vault", "backup_stack"):
        assert part in told
    assert "bucket" not in told


def test_without_the_stack_the_run_stops_first(aws, in_task, context):
    with pytest.raises(MissingResourcesError, match=r"orders-backup does not exist.*backup_stack"):
        in_task(preflight, context)


def test_the_opt_in_for_dynamodb_is_a_condition(flow, in_task, context):
    flow.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    with pytest.raises(BackupNotOptedInError, match="Service opt-in"):
        in_task(preflight, context)


@pytest.mark.parametrize("advanced", [True, False])
def test_advanced_backup_is_none_but_its_lack_is_told(flow, caplog, advanced: bool):
    flow.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": advanced})
    with caplog.at_level(logging.WARNING, logger="backup_flows.resources"):
        ensure_opted_in(flow.backup)
    assert ("Advanced DynamoDB backup is off" in caplog.text) is not advanced


def test_a_settle_time_that_proves_nothing_is_refused_on_aws(flow, in_task, new_context):
    """The clients of this test are boto3's own, of which the endpoint is AWS's."""
    with pytest.raises(SettleTooShortError, match="at least 60"):
        in_task(preflight, new_context(settle_seconds=30))
    assert in_task(preflight, new_context(settle_seconds=60))["table"] == "orders"


@pytest.mark.parametrize(
    ("operation", "told"), [("AssumeRole", MissingResourcesError), ("DescribeStacks", ClientError)]
)
def test_before_there_is_a_role_the_dag_that_makes_it_is_named(monkeypatch, operation, told):
    def refused(_service):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no such role"}}, operation)

    monkeypatch.setattr("backup_flows.resources.client", refused)
    with pytest.raises(told, match="no such role") as error:
        look_up("orders-backup")
    assert ("run the DAG backup_stack first" in str(error.value)) == (told is MissingResourcesError)
