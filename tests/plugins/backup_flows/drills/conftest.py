"""A run of drills on the local AWS, its tasks called one after the other as the scheduler would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from aws_backup.exceptions import RestoreJobFailedError
from aws_backup.operators.backup import BackupStartRestoreJobOperator
from aws_backup.summaries import summarise_restore_job
from backup_flows import restores
from backup_flows.drills import budgeting, concluding, tasks
from backup_flows.drills.flow import ADOPTED_TASKS, DRILL_TASKS
from backup_flows.failures import FAILURE
from backup_flows.fingerprints import Binding

DRILL = "restore_drill"
FORM = {
    "mode": "newest",
    "table": "",
    "recovery_point_arn": "",
    "as_of": "",
    "max_drills": 10,
    "restore_testing_plan_arn": "",
}


@dataclass
class Run:
    """One run of the DAG, its tasks called one after the other as the scheduler would."""

    flow: Any
    in_task: Callable[..., Any]
    context: dict[str, Any]
    states: dict[str, str] = field(default_factory=dict)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    group: str = "drill"

    def __post_init__(self) -> None:
        ti = self.context["ti"]
        ti.map_index = 0
        ti.get_task_states.side_effect = self._states
        ti.xcom_pull.side_effect = lambda task_ids, key, map_indexes: self.xcoms.get(
            (task_ids.removeprefix(f"{self.group}."), key)
        )

    def _states(self, *, dag_id: str, run_ids: list[str], task_ids: list[str], map_index: int) -> dict[str, Any]:
        known = {f"{self.group}.{name}_{map_index}": state for name, state in self.states.items()}
        return {run_ids[0]: {k: v for k, v in known.items() if k.removesuffix(f"_{map_index}") in task_ids}}

    def call(self, name: str, decorated: Any, *args: Any) -> Any:
        """Call a task; its state, result and what it pushed are kept, and None returned if it failed or was skipped."""
        ti = self.context["ti"]
        ti.task_id = f"{self.group}.{name}"
        ti.xcom_push.side_effect = lambda key, value: self.xcoms.__setitem__((name, key), value)
        for key in [key for key in self.xcoms if key[0] == name]:
            del self.xcoms[key]
        try:
            result = self.in_task(decorated, self.context, *args)
        except AirflowSkipException:
            self.states[name] = "skipped"
            return None
        except Exception:
            self.states[name] = "failed"
            return None
        self.states[name] = "success"
        self.xcoms[name, "return_value"] = result
        return result

    def choose(self) -> list[dict[str, Any]]:
        return list(self.in_task(tasks.choose, self.context))

    def start(self, plan: dict[str, Any]) -> str:
        """Start or adopt the restore job, as the operator does."""
        name = "restore.start_restore_job"
        self.context["ti"].task_id = f"{self.group}.{name}"
        operator = BackupStartRestoreJobOperator(
            task_id=f"{self.group}.{name}",
            recovery_point_arn=plan["recovery_point_arn"],
            target_table_name=plan["target_table"],
            iam_role_arn=plan["role_arn"],
            intent_bucket=plan["bucket"],
            force_new=self.context["params"]["force_new"],
            wait_for_completion=False,
            deferrable=False,
        )
        job_id = str(operator.execute(self.context))
        self.states[name] = "success"
        self.xcoms[name, "return_value"] = job_id
        return job_id

    def restore(self, order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Go on until the restored table is there; None if the drill is over before."""
        binding = self.call("prepare", tasks.prepare, order)
        if binding is None or self.call("check_budget", budgeting.check_budget, order, binding) is None:
            return None
        plan = self.call(
            "restore.plan_restore", restores.plan_restore, order, binding, "drill.restore.start_restore_job"
        )
        job_id = self.start(plan)
        self.flow.wait()
        job = dict(summarise_restore_job(self.flow.backup.describe_restore_job(RestoreJobId=job_id)))
        if job["state"] != "COMPLETED":
            self.states["restore.wait_for_restore_job"] = "failed"
            told = RestoreJobFailedError(job_id=job_id, state=job["state"], status_message=job["status_message"])
            self.xcoms["restore.wait_for_restore_job", FAILURE] = {"type": "x", "message": str(told)}
            return plan, job
        self.states["restore.wait_for_restore_job"] = "success"
        self.call("restore.tag_restored_table", restores.tag_restored_table, plan, job)
        return plan, job

    def prove(self, order: dict[str, Any], plan: dict[str, Any], job: dict[str, Any]) -> Any:
        return self.call("prove", tasks.prove_restored, order, plan, self.xcoms["prepare", "return_value"], job)

    def conclude(self, order: dict[str, Any]) -> Any:
        names = DRILL_TASKS if self.group == "drill" else ADOPTED_TASKS
        return self.call("conclude", concluding.conclude_drill, order, names)

    def drill(self, order: dict[str, Any], *, spoil: Callable[[str], None] | None = None) -> Any:
        """Do a whole drill.

        :param spoil: called with the restored table's name before it is proven.
        :return: what it concluded; None if it was skipped.
        """
        restored = self.restore(order)
        plan = restored[0] if restored else None
        if restored is not None and restored[1]["state"] == "COMPLETED":
            if spoil is not None:
                spoil(order["target_table"])
            self.prove(order, *restored)
        elif restored is not None:
            self.states["prove"] = "upstream_failed"
        else:
            self.states["prove"] = "skipped" if self.states["prepare"] == "skipped" else "upstream_failed"
        if plan is not None:
            self.call("drop_restored_table", tasks.drop_restored, order, plan)
        return self.conclude(order)

    def verdicts(self, binding: Binding) -> dict[str, dict[str, Any]]:
        """Return what all drills of a recovery point left."""
        return {key.rpartition("/")[2]: self.flow.document(key) for key in self.flow.keys(f"{binding.prefix}verdicts/")}

    def restore_jobs(self) -> list[str]:
        """Return the ids of all restore jobs."""
        return [job["RestoreJobId"] for job in self.flow.backup.list_restore_jobs()["RestoreJobs"]]


@pytest.fixture
def new_run(flow, in_task, new_context, monkeypatch) -> Callable[..., Run]:
    """Make a run of the DAG for 2026-11-02; keywords that are no params are attributes of the run."""

    def make(run_id: str = "manual__1", **given: Any) -> Run:
        attributes = {"dag_id": DRILL, "run_id": run_id, "logical_date": None}
        for name in ("run_type", "logical_date", "data_interval_end"):
            if name in given:
                attributes[name] = given.pop(name)
        return Run(flow, in_task, new_context(run=attributes, **{**FORM, **given}))

    return make


@pytest.fixture
def binding(flow) -> Binding:
    flow.put("1", amount={"N": "1"})
    flow.put("2", amount={"N": "2"})
    return flow.back_up()


@pytest.fixture
def run(new_run, binding) -> Run:
    return new_run()


@pytest.fixture
def order(run) -> dict[str, Any]:
    (only,) = run.choose()
    return only
