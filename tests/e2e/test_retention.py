"""The retention DAG by the rules of a file that says apply: scheduled and triggered runs delete, a backfill never does.

The local AWS's clock is moved on by weeks; the cleanup goes by AWS's clock, not by Airflow's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local_stack import LocalStack
from recovery_retention.keep_rules import choose
from recovery_retention.policy import KeepPolicy
from recovery_retention.recovery_point import RecoveryPoint
from run_local import failure_text
from stack_environment import PROJECT
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

CLEANUP = "retention_cleanup"
STACK = "orders-backup"
OURS = {"managed-by": "dynamodb-backup-proof", "dag": "table_backup", "run": "table_backup/run", "table": STACK}
RUN_SECONDS = 480
RULES = {"last": 2, "weekly": 2, "monthly": 3}
FILE = """\
version: 1
defaults:
  retention: {last: 2, daily: 0, weekly: 2, monthly: 3, floor: 1, min_age: 1h, prove_first: false}
retention: {mode: apply, approve_above: 8}
tables:
  - {name: orders, tier: daily}
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """An Airflow of its own, whose project has the file above, and whose local AWS may be played into the future."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "include", project / "include", ignore=shutil.ignore_patterns("local_aws", "__pycache__"))
    Path(project / "include" / "protection.yaml").write_text(FILE, encoding="utf-8")
    with LocalStack(
        tmp_path_factory.mktemp("retention"),
        aws_args=["--job-seconds=0", "--delete-seconds=0"],
        env={"BACKUP_PROJECT_HOME": str(project)},
    ) as stack:
        yield stack


def back_up(site):
    """Make a recovery point of ours, and return it as the rules see it."""
    started = site.backup.start_backup_job(
        BackupVaultName=site.vault, ResourceArn=site.table_arn, IamRoleArn=site.role_arn, RecoveryPointTags=OURS
    )

    def completed():
        job = site.backup.describe_backup_job(BackupJobId=started["BackupJobId"])
        return job if job["State"] == "COMPLETED" else None

    job = wait_until(completed, timeout=60, what="a backup job's completion")
    return RecoveryPoint(job["RecoveryPointArn"], STACK, "COMPLETED", job["CreationDate"], managed=True)


def move_on(stack, days):
    stack.aws_admin("POST", "/local-aws/clock", {"advance_seconds": timedelta(days=days).total_seconds()})


def finished(stack, run_id):
    """Wait for a run's end, and return its receipt."""
    state = stack.wait_run(CLEANUP, run_id, timeout=RUN_SECONDS)
    assert state == "success", failure_text(stack, CLEANUP, run_id)
    return stack.rest.xcom(CLEANUP, run_id, "receipt")


def backfill(stack, day):
    """Backfill one day, and return its run. No scheduled run may stand for it: a backfill leaves such days out."""
    stack.rest.create_backfill(CLEANUP, f"{day}T00:00:00Z", f"{day}T23:59:59Z", max_active_runs=1)

    def made():
        return [run["dag_run_id"] for run in stack.rest.runs(CLEANUP) if run["run_type"] == "backfill"]

    (run_id,) = wait_until(made, timeout=RUN_SECONDS, what="the backfill's run")
    return run_id


def test_a_scheduled_run_deletes_and_on_ten_days_what_is_left_is_what_the_rules_say(played, deploy):
    site = deploy(played, STACK)
    policy = KeepPolicy(**RULES)
    every: list[RecoveryPoint] = []

    def live(days, apart):
        for _ in range(days // apart):
            every.insert(0, back_up(site))
            move_on(played, apart)

    def wanted():
        return set(choose(every, policy))

    live(12, 2)
    played.wait_dag(CLEANUP)
    played.rest.set_paused(CLEANUP, False)
    (run,) = wait_until(lambda: played.rest.runs(CLEANUP), timeout=120, what="the scheduled run")
    assert run["run_type"] == "scheduled"
    receipt = finished(played, run["dag_run_id"])
    assert len(receipt["deleted"]) == len(every) - len(wanted()) > 0
    assert set(site.recovery_points()) == wanted()

    for day in range(9):
        live(9 + day, 3)
        finished(played, played.rest.trigger(CLEANUP, {"mode": "as configured"}))
        assert set(site.recovery_points()) == wanted(), f"sampled day {day}"
    assert datetime.now(UTC) < every[0].created_at

    # A backfill stands for the past, in which nothing can be deleted, whatever the file says.
    live(6, 2)
    before = set(site.recovery_points())
    assert 0 < len(before - wanted()) <= 8, "nothing is due, or a person would be asked: then this shows nothing"
    receipt = finished(played, backfill(played, datetime.now(UTC).date() - timedelta(days=3)))
    assert (receipt["mode"], receipt["deleted"], receipt["answer"]) == ("preview", [], "nobody was asked")
    assert set(site.recovery_points()) == before

    # More than eight wait for a person, who says no: nothing goes.
    live(24, 2)
    before = set(site.recovery_points())
    asked = played.rest.trigger(CLEANUP)
    site.answer(asked, "approve", "Reject", dag_id=CLEANUP)
    receipt = finished(played, asked)
    assert (receipt["deleted"], receipt["answer"].partition(":")[0]) == ([], "refused")
    assert set(site.recovery_points()) == before != wanted()
