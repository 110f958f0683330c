"""Drills whose processes are killed at each phase in turn: the right verdict, one restore job, no table left behind.

The runs overlap, so that waiting for what was lost costs its time once. A fault holds one call of AWS up, and the run
that makes it is killed there; the next fault is set when the run that was killed at such a call has got past it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import pytest

from local_stack import SCHEDULER, TRIGGERER
from run_local import failure_text
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

DRILL = "restore_drill"
START = "drill.restore.start_restore_job"
WAIT = "drill.restore.wait_for_restore_job"
WORKER = "worker"
HELD_SECONDS = 60
"""Longer than it takes to kill who waits for the answer; a call that was held up is made all the same."""
RECOVERY_SECONDS = 480


class Kill(NamedTuple):
    """A kill point.

    :param phase: of the drill.
    :param who: is killed: the task's own process, or a component with all that it forked.
    :param task: that is at work.
    :param held: the call of AWS that the task is caught in, service and operation; None: it is deferred.
    :param after: whether AWS has done what it was asked for.
    """

    phase: str
    who: str
    task: str
    held: tuple[str, str] | None = None
    after: bool = False


# The latest phase first: who was killed at one of them is past the calls that are held up after it.
KILLS = [
    Kill("dropping", WORKER, "drill.drop_restored_table", ("dynamodb", "DeleteTable")),
    Kill("proving", WORKER, "drill.prove", ("dynamodb", "Scan")),
    Kill("proving", SCHEDULER, "drill.prove", ("dynamodb", "Scan")),
    Kill("waiting", TRIGGERER, WAIT),
    Kill("after StartRestoreJob", WORKER, START, ("backup", "StartRestoreJob"), after=True),
    Kill("before StartRestoreJob", SCHEDULER, START, ("backup", "StartRestoreJob")),
    Kill("choosing", WORKER, "choose", ("backup", "ListBackupVaults")),
]


class Struck(NamedTuple):
    """A run that was killed."""

    kill: Kill
    run_id: str


def index_of(task_id: str) -> int:
    return 0 if "." in task_id else -1


def state_of(site, run_id: str, task_id: str) -> str | None:
    found = [task for task in site.stack.rest.task_instances(DRILL, run_id) if task["task_id"] == task_id]
    return found[0]["state"] if found else None


def start(site) -> str:
    return site.stack.trigger_dag(DRILL, {"stack_name": site.name, "mode": "newest"})


def strike(site, kill: Kill, held_clock) -> str:
    """Start a drill and kill it at its point; return the run's id."""
    if kill.held is None:
        with held_clock():
            run_id = start(site)
            wait_until(lambda: state_of(site, run_id, kill.task) == "deferred", timeout=480, what=f"{run_id} to wait")
            site.stack.kill(kill.who)
        jobs = len(site.restore_jobs())
        wait_until(
            lambda: all(job["Status"] == "COMPLETED" for job in site.restore_jobs()),
            timeout=60,
            what=f"the end of {jobs} restore jobs that nobody watches",
        )
        site.stack.start_component(kill.who)
        return run_id
    service, operation = kill.held
    fault = {"kind": "slow", "service": service, "operation": operation, "seconds": HELD_SECONDS, "after": kill.after}
    site.stack.aws_admin("POST", "/local-aws/faults", fault)
    run_id = start(site)
    wait_until(
        lambda: not site.stack.aws_admin("GET", "/local-aws/faults")["faults"],
        timeout=480,
        what=f"{run_id} to call {operation}",
    )
    assert state_of(site, run_id, kill.task) == "running"
    if kill.who == WORKER:
        assert site.stack.kill_task(DRILL, run_id, kill.task, index_of(kill.task))
    else:
        site.stack.kill(kill.who)
        site.stack.start_component(kill.who)
    return run_id


def past(site, struck: Struck) -> bool:
    site.stack.check()
    return state_of(site, struck.run_id, struck.kill.task) == "success"


@pytest.fixture(scope="module")
def drilled(airflow, deploy, back_up_bound) -> Any:
    """A site with one recovery point, which all drills restore."""
    site = deploy(airflow, "killed-drills")
    site.put("1", product="one")
    site.put("2", product="two")
    back_up_bound(site)
    yield site
    airflow.aws_admin("DELETE", "/local-aws/faults")
    # New recovery points of other tests must not start drills.
    airflow.rest.set_paused(DRILL, True)


def test_each_drill_has_its_verdict_one_restore_and_leaves_no_table(drilled, held_clock):
    site, struck = drilled, []
    for kill in KILLS:
        for earlier in struck:
            if earlier.kill.held is not None and earlier.kill.held == kill.held:
                wait_until(
                    lambda earlier=earlier: past(site, earlier),
                    timeout=RECOVERY_SECONDS,
                    what=f"{earlier} to get past its kill",
                )
        struck.append(Struck(kill, strike(site, kill, held_clock)))

    for one in struck:
        ended = site.wait(one.run_id, dag_id=DRILL)
        assert ended == "success", (one, failure_text(site.stack, DRILL, one.run_id))
        assert state_of(site, one.run_id, "drill.drop_restored_table") == "success", one
        if one.kill.held is not None:
            tried = site.stack.rest.task_instance(DRILL, one.run_id, one.kill.task, index_of(one.kill.task))
            assert tried["try_number"] > 1, one
    verdicts = site.drill_verdicts()
    assert Counter(verdict["label"] for verdict in verdicts.values()) == {"PROVEN": len(KILLS)}
    assert {verdict["run"] for verdict in verdicts.values()} == {f"{DRILL}/{one.run_id}" for one in struck}
    jobs = site.restore_jobs()
    assert [job["Status"] for job in jobs] == ["COMPLETED"] * len(KILLS)
    assert {job["CreatedResourceArn"].rpartition("/")[2] for job in jobs} == {
        verdict["restored_table_name"] for verdict in verdicts.values()
    }
    # What was held up at AWS comes to pass as well, and finds that it was done.
    wait_until(lambda: not site.restored_tables(), timeout=HELD_SECONDS, what="the last held DeleteTable")
    assert len(site.restore_jobs()) == len(KILLS)
