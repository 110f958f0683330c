"""Recovery points of all ages on a local AWS, and the tasks of the cleanup by a policy of the test's own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.utils.skipmixin import XCOM_SKIPMIXIN_KEY
from airflow.sdk.execution_time.context import OutletEventAccessors, set_current_context
from moto.backup.models import backup_backends
from moto.s3.models import s3_backends

from aws_backup.hooks.backup import BackupHook
from backup_flows import restores
from backup_flows.as_of import run_key
from backup_flows.drills.ledger import keep_choice
from backup_flows.keys import drill_choice_key, drill_verdict_key, verdict_key
from backup_flows.retention import deletion, tasks
from backup_flows.retention.tasks import (
    ask_or_go,
    due_deletions,
    guard_deletion,
    plan_retention,
    protect_points,
    receipt,
    request_drills,
    sweep_old_files,
    sweep_restored_tables,
)
from local_aws import control
from local_aws.backup.states import RecoveryPointStatus
from restore_proof.verdict import Depth, Result, Subject, Verdict

DAY = 86400.0
OURS = {"managed-by": "dynamodb-backup-proof", "dag": "table_backup", "run": "table_backup/run", "table": "orders"}
PARAMS = {"mode": "as configured", "max_deletions": 500, "accept_inventory": False, "sweep_older_than_minutes": 60}
APPROVED = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "ann"}}
REJECTED = {"chosen_options": ["Reject"], "responded_by_user": {"id": "1", "name": "ann"}}
TIMED_OUT = {"chosen_options": ["Reject"], "responded_by_user": None}


@dataclass
class Shop:
    """The cleanup's world, and the moves that tests make in it.

    Attributes:
        folder: where the policy file is.
        new_context: makes a task's context.
        unfinished: runs that are not over, as (dag_id, run_id).
        answer: what a person answers to the approval; None: nobody was asked.
    """

    flow: Any
    folder: Path
    new_context: Callable[..., dict[str, Any]]
    unfinished: set[tuple[str, str]] = field(default_factory=set)
    answer: dict[str, Any] | None = None

    # --- the world

    def __post_init__(self) -> None:
        self.hook = BackupHook(aws_conn_id="aws_default")
        self.policy()

    def policy(self, *lines: str, **run: Any) -> None:
        """Write the policy: rules (``last: 1`` unless given) of all tables, and how cleanups run."""
        rules = lines or ("last: 1", "daily: 0", "weekly: 0", "monthly: 0", "floor: 1", "prove_first: false")
        run = {"mode": "apply", "approve_above": 100, **run}
        text = ["version: 1", "defaults:", "  retention:", *(f"    {line}" for line in rules), "retention:"]
        text += [f"  {name}: {str(value).lower()}" for name, value in run.items()]
        text += ["tables:", "  - {name: orders, tier: daily}"]
        (self.folder / "protection.yaml").write_text("\n".join(text), encoding="utf-8")

    def back_up(self, *, tags: dict[str, str] | None = None, **members: Any) -> str:
        """Make a recovery point of ours; return its ARN."""
        flow = self.flow
        job = flow.backup.start_backup_job(
            BackupVaultName="orders-vault",
            ResourceArn=flow.resources["table_arn"],
            IamRoleArn=flow.resources["role_arn"],
            RecoveryPointTags=OURS if tags is None else tags,
            **members,
        )
        flow.wait()
        return str(flow.backup.describe_backup_job(BackupJobId=job["BackupJobId"])["RecoveryPointArn"])

    def points(self, count: int = 3, *, apart: float = 10, age: float = 30, **members: Any) -> list[str]:
        """Make recovery points some days apart, oldest first; the newest is `age` days old."""
        made = []
        for number in range(count):
            made.append(self.back_up(**members))
            self.flow.wait((apart if number < count - 1 else age) * DAY)
        return made

    def there(self) -> set[str]:
        """Return the ARNs of the points that the vault holds."""
        return {point["RecoveryPointArn"] for point in self.hook.list_recovery_points("orders-vault")}

    def describe(self, arn: str) -> dict[str, Any]:
        return dict(self.flow.backup.describe_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=arn))

    def expire(self, arn: str) -> None:
        """Let AWS have failed to delete a point by its lifecycle."""
        backend = backup_backends["123456789012"]["us-east-1"]
        backend.recovery_points.get("orders-vault", arn).status = RecoveryPointStatus.EXPIRED

    def judge(self, arn: str, result: Result, depth: Depth = Depth.FULL, *, drill: str = "", crashed: bool = False):
        """Leave a verdict on a point, and of a drill, its own too."""
        subject = Subject(arn, "orders", "orders-restored-20261101-0a1b2c3d", "2026-11-01", "a_dag/a_run")
        verdict = Verdict(subject, result, depth, ("because",), self.flow.now(), {} if crashed else {"compared": 1})
        keys = [verdict_key("orders", arn)]
        keys += [drill_verdict_key("orders", arn, "2026-11-01", drill)] if drill else []
        for key in keys:
            self.flow.s3.put_object(Bucket=self.flow.bucket, Key=key, Body=verdict.to_json())

    def choose(self, arn: str, run_id: str = "manual__1", *, days_ago: float = 0) -> None:
        """Let a run of ``restore_drill`` have chosen a point, and nothing more."""
        key = run_key("restore_drill", run_id)
        keep_choice(
            self.flow.s3, self.flow.bucket, as_of="2026-11-01", key=key, run=("restore_drill", run_id),
            chosen=[{"table": "orders", "chosen": {"recovery_point_arn": arn}}],
        )  # fmt: skip
        record = s3_backends["123456789012"]["aws"].get_object(self.flow.bucket, drill_choice_key("2026-11-01", key))
        record.last_modified -= dt.timedelta(days=days_ago)

    def start_restore(self, arn: str, context: dict[str, Any] | None = None) -> str:
        """Start to restore a point as the DAGs do; return the table's name."""
        context = context or self.flow.context
        with set_current_context(context):
            planned = restores.plan_restore.function(self.flow.resources, {"recovery_point_arn": arn})
        self.flow.backup.start_restore_job(
            RecoveryPointArn=arn,
            Metadata={"targetTableName": planned["target_table"], "encryptionType": "Default"},
            IamRoleArn=self.flow.resources["role_arn"],
        )
        return str(planned["target_table"])

    # --- the run

    def context(self, run: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        """Return the context of a task of the cleanup."""
        own = {"dag_id": "retention_cleanup", "run_type": "scheduled", **(run or {})}
        context = self.new_context(run=own, **{**PARAMS, **params})
        ti = context["ti"]
        ti.get_dr_count.side_effect = self._count
        pushed = context["pushed"] = {}
        ti.xcom_push.side_effect = lambda key, value: pushed.update({key: value})
        ti.xcom_pull.side_effect = lambda task_ids, key="": (
            self._answered(key) if task_ids == "approve" else pushed.get(key)
        )
        return context

    def _answered(self, key: str) -> Any:
        """Return what the approval hands on: an agreement, or for a refusal what it made Airflow skip."""
        agreed = (self.answer or {}).get("chosen_options") == ["Approve"]
        if key == XCOM_SKIPMIXIN_KEY:
            return {"skipped": ["go"]} if self.answer is not None and not agreed else None
        return self.answer if agreed else None

    def _count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return sum((dag_id, run_id) in self.unfinished for run_id in run_ids)

    def call(self, decorated: Any, context: dict[str, Any], *args: Any) -> Any:
        """Call the function under a ``@task`` decorator."""
        if decorated is due_deletions and tasks.PLAN_DIGEST not in context["pushed"]:
            self.call(ask_or_go, context, *args)  # as the DAG does before
        with set_current_context(context):
            return decorated.function(*args)

    def plan(self, **params: Any) -> dict[str, Any]:
        """Plan; return the plan's document."""
        planned = self.call(plan_retention, self.context(**params))
        return dict(self.flow.document(planned["plan"].removeprefix(f"s3://{self.flow.bucket}/")))

    def delete(self, arguments: dict[str, Any], context: dict[str, Any]) -> None:
        """Do what one mapped deletion does, with its wait."""
        operator = deletion.RetireRecoveryPointOperator(
            task_id="delete_recovery_point",
            is_deletable=guard_deletion,
            files_of=tasks.files_of,
            deferrable=False,
            waiter_delay=0.01,
            waiter_max_attempts=5,
            **arguments,
        )
        with set_current_context(context):
            operator.execute(context)

    def run(
        self,
        *,
        run: dict[str, Any] | None = None,
        answer: dict[str, Any] | None = None,
        die_after: int | None = None,
        **params: Any,
    ) -> dict[str, Any]:
        """Run all tasks in their order; return the receipt, as it lies in S3.

        :param answer: what a person answers if one is asked.
        :param die_after: the run dies after so many deletions, before its receipt.
        """
        context = self.context(run, **params)
        self.events = context["outlet_events"] = OutletEventAccessors()
        planned = self.call(plan_retention, context)
        drills = self.call(request_drills, context, planned)
        protected = self.call(protect_points, context, planned)
        asked = self.call(ask_or_go, context, planned) == "approve"
        self.answer = answer if asked else None
        tables = files = None
        if not asked or (answer or {}).get("chosen_options") == ["Approve"]:
            due = self.call(due_deletions, context, planned)
            for number, arguments in enumerate(due):
                if number == die_after:
                    return {}
                try:
                    self.delete(arguments, context)
                except Exception as error:
                    self.errors.append(str(error))
            tables = self.call(sweep_restored_tables, context, planned)
            files = self.call(sweep_old_files, context, planned)
        try:
            self.call(receipt, context, planned, drills, protected, tables, files)
        except tasks.RetentionIncompleteError as error:
            self.errors.append(str(error))
        return dict(self.flow.document(f"{tasks.files_of(context).prefix}receipt.json"))

    errors: list[str] = field(default_factory=list)


@pytest.fixture
def shop(flow, tmp_path, monkeypatch, new_context) -> Shop:
    """A freshly deployed stack with a policy that applies: only the newest point stays."""
    # The clock stands still while a task waits, so nothing may take time.
    control.configure(delete_seconds=0)
    made = Shop(flow, tmp_path, new_context)
    monkeypatch.setattr(tasks, "project_file", lambda _name: tmp_path / "protection.yaml")
    return made
