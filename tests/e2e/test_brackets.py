"""A recovery point that the backup plan made, which nobody fingerprinted, is drilled like any other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from local_stack import LocalStack
from run_local import failure_text
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DRILL = "restore_drill"


@pytest.fixture(scope="module")
def stack(tmp_path_factory, impatient):
    aws_args = ["--job-seconds=2", "--restore-seconds=2", "--delete-seconds=1"]
    with LocalStack(tmp_path_factory.mktemp("brackets"), aws_args=aws_args, env=impatient, schedule=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def site(stack, deploy):
    return deploy(stack, "bracketed")


@pytest.fixture
def elapse(stack) -> Callable[[timedelta], object]:
    """Let time pass on the local AWS, which then goes on at its usual pace."""

    def pass_by(time: timedelta) -> None:
        stack.aws_admin("POST", "/local-aws/clock", {"advance_seconds": time.total_seconds()})
        stack.aws_admin("POST", "/local-aws/clock", {"speed": 1})

    return pass_by


def plan_made(site) -> str:
    """Back the table up as a plan does, and return the recovery point's ARN."""
    job = site.backup.start_backup_job(
        BackupVaultName=site.vault, ResourceArn=site.table_arn, IamRoleArn=site.role_arn
    )["BackupJobId"]

    def completed() -> str | None:
        described = site.backup.describe_backup_job(BackupJobId=job)
        return described["RecoveryPointArn"] if described["State"] == "COMPLETED" else None

    return wait_until(completed, timeout=60, what="the end of the backup job")


def test_a_point_of_the_plan_is_bracketed_proven_and_bound_for_good(site, elapse):
    for number in range(20):
        site.put(f"order-{number}", product="Salmon")
    elapse(timedelta(hours=1))
    arn = plan_made(site)
    elapse(timedelta(minutes=10))
    site.put("order-3", product="changed long after the backup")

    run_id = site.stack.trigger_dag(DRILL, {"stack_name": site.name, "recovery_point_arn": arn})
    assert site.wait(run_id, dag_id=DRILL) == "success", failure_text(site.stack, DRILL, run_id)

    (verdict,) = site.drill_verdicts().values()
    assert (verdict["label"], verdict["recovery_point_arn"]) == ("PROVEN", arn)
    assert verdict["counts"]["compared"] == 20
    assert "two point-in-time restores" in " ".join(verdict["reasons"])
    # Both copies are gone, as is the table that was restored from the recovery point.
    assert site.restored_tables() == []
    assert len(site.restore_jobs()) == 1
