"""The stack from its deployment to its teardown, with IAM enforced and Airflow working as the stack's roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local_stack import LocalStack
from run_local import failure_text

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RUN_SECONDS = 600
STACK = "orders-backup"


@pytest.fixture
def airflow(tmp_path) -> Iterator[LocalStack]:
    with LocalStack(
        tmp_path / "home",
        aws_args=["--job-seconds=1", "--restore-seconds=1", "--delete-seconds=1"],
        enforce_iam=True,
        schedule=False,
    ) as stack:
        yield stack


def run(stack: LocalStack, dag_id: str, **conf: Any) -> str:
    run_id = stack.trigger_dag(dag_id, conf)
    state = stack.wait_run(dag_id, run_id, timeout=RUN_SECONDS)
    assert state == "success", failure_text(stack, dag_id, run_id)
    return run_id


def test_protected_proved_and_torn_down(airflow):
    deployed = run(airflow, "backup_stack")
    proof = airflow.rest.xcom("backup_stack", deployed, "try_everything", "verdict")
    assert proof == "PROTECTED"
    assert ":assumed-role/orders-backup-operator-us-east-1/" in airflow.rest.xcom(
        "backup_stack", deployed, "try_everything", "tried_by"
    )
    run(airflow, "deny_delete_proof")

    # The other DAGs, too, find all that they need in their role.
    run(airflow, "table_backup", settle_seconds=0)
    run(airflow, "retention_cleanup", mode="preview")

    # A person is asked, and says no: nothing is deleted.
    teardown = "backup_stack_teardown"
    asked = airflow.trigger_dag(teardown, {})
    airflow.answer_task(teardown, asked, "approve", "Reject", timeout=RUN_SECONDS)
    airflow.wait_run(teardown, asked, timeout=RUN_SECONDS)
    assert airflow.rest.task_instance(teardown, asked, "delete_stack")["state"] == "skipped"
    assert airflow.aws_client("backup").describe_backup_vault(BackupVaultName="orders-vault")

    run(airflow, teardown, confirm=STACK)
    assert airflow.aws_client("cloudformation").describe_stacks()["Stacks"] == []
    assert airflow.aws_client("backup").list_backup_vaults()["BackupVaultList"] == []
    assert airflow.aws_client("dynamodb").list_tables()["TableNames"] == []
