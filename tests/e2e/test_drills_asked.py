"""Drills that an asset's event asks for, with schedules on: only then does Airflow start runs by assets."""

from __future__ import annotations

import pytest

from local_stack import LocalStack
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DRILL = "restore_drill"


@pytest.fixture(scope="module")
def site(tmp_path_factory, impatient, deploy):
    aws_args = ["--job-seconds=2", "--restore-seconds=2", "--delete-seconds=1"]
    with LocalStack(tmp_path_factory.mktemp("asked"), aws_args=aws_args, env=impatient) as stack:
        # Named as runs that an asset starts expect it.
        yield deploy(stack, "orders-backup")


def test_an_event_that_asks_for_a_recovery_point_has_it_drilled(site, back_up_bound):
    """As the DAG retention_cleanup asks for one that is about to be lost unproven; another one is newer."""
    site.put("1", product="old")
    asked = back_up_bound(site).recovery_point_arn
    site.put("1", product="new")
    back_up_bound(site)
    site.stack.wait_dag(DRILL)
    site.stack.rest.set_paused(DRILL, False)
    (asset,) = site.stack.api("GET", "/assets", name_pattern="drill_request")["assets"]
    extra = {"recovery_point_arn": asked, "table": site.table, "vault": site.vault, "reason": "lost soon"}

    site.stack.api("POST", "/assets/events", {"asset_id": asset["id"], "extra": extra})

    def started():
        # Unpaused, the schedule makes a run of its own, for the week before.
        return [run for run in site.stack.rest.runs(DRILL) if run["run_type"] == "asset_triggered"]

    (run,) = wait_until(started, timeout=240, what="the run that the event starts")
    assert site.wait(run["dag_run_id"], dag_id=DRILL) == "success", site.stack.rest.task_instances(
        DRILL, run["dag_run_id"]
    )
    (verdict,) = site.drill_verdicts().values()
    assert (verdict["label"], verdict["recovery_point_arn"]) == ("PROVEN", asked)
    assert verdict["run"] == f"{DRILL}/{run['dag_run_id']}"
    assert site.restored_tables() == []
