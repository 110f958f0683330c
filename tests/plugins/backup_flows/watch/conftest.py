"""A table that a backup plan of its own backs up daily, on the local AWS's clock; and the watch's tasks over it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.execution_time.context import set_current_context

from backup_flows.watch import tasks

SCHEDULE = "cron(0 5 ? * * *)"
DAY = dt.timedelta(days=1)


class Watched:
    """The surroundings of the DAG ``scheduled_backup_watch``.

    :param flow: the deployed stack.
    :param file: where the protection file goes.
    """

    def __init__(self, flow: Any, file: Path, new_context: Callable[..., dict[str, Any]]) -> None:
        self.flow = flow
        self.file = file
        self.new_context = new_context
        self.arns: dict[str, str] = {}
        self.plan_id = ""

    def table(self, name: str, **tags: str) -> str:
        """Make a table and return its ARN."""
        self.flow.make_table(name)
        arn = self.flow.dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
        if tags:
            self.flow.dynamodb.tag_resource(
                ResourceArn=arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )
        self.arns[name] = arn
        return str(arn)

    def protect(self, *entries: dict[str, Any], **others: Any) -> None:
        """Write the protection file; JSON is YAML."""
        self.file.write_text(json.dumps({"version": 1, "tables": entries, **others}), encoding="utf-8")

    def plan(self, **rule: Any) -> str:
        """Make a plan with one daily rule, and return its id."""
        answer = self.flow.backup.create_backup_plan(
            BackupPlan={
                "BackupPlanName": "ledgers",
                "Rules": [
                    {
                        "RuleName": "daily",
                        "TargetBackupVaultName": self.flow.resources["vault"],
                        "ScheduleExpression": SCHEDULE,
                        "StartWindowMinutes": 60,
                        "CompletionWindowMinutes": 120,
                        "Lifecycle": {"DeleteAfterDays": 35},
                        **rule,
                    }
                ],
            }
        )
        self.plan_id = str(answer["BackupPlanId"])
        return self.plan_id

    def select(self, **selection: Any) -> str:
        """Assign what is to be backed up, and return the selection's id."""
        answer = self.flow.backup.create_backup_selection(
            BackupPlanId=self.plan_id,
            BackupSelection={
                "SelectionName": "ledgers",
                "IamRoleArn": self.flow.resources["role_arn"],
                **selection,
            },
        )
        return str(answer["SelectionId"])

    def until(self, moment: dt.datetime) -> None:
        """Play AWS's clock on to a moment."""
        self.flow.wait((moment - self.flow.now()).total_seconds())

    def context(self, end: dt.datetime, **run: Any) -> dict[str, Any]:
        """Return the context of a run for the 24 hours before ``end``."""
        context = self.new_context(
            run={"dag_id": "scheduled_backup_watch", "run_id": f"backfill__{end:%F}", "logical_date": end - DAY, **run},
            protection_file=str(self.file),
            period_start=None,
            period_end=None,
        )
        context["dag_run"].data_interval_start, context["dag_run"].data_interval_end = end - DAY, end
        return context

    def watch(self, end: dt.datetime) -> dict[str, Any]:
        """Run the DAG's tasks for the 24 hours before ``end``; return what ``watch`` returned, the verdict apart."""
        context = self.context(end)
        with set_current_context(context):
            planned = tasks.plan_watch.function()
            return dict(tasks.watch.function(planned))

    def verdict(self, watched: dict[str, Any]) -> str:
        """Run the DAG's last task."""
        return str(tasks.verdict.function(watched))

    def report(self, watched: dict[str, Any]) -> dict[str, Any]:
        """Read the report."""
        return dict(self.flow.document(watched["report"].split("/", 3)[3]))


@pytest.fixture
def watched(flow: Any, tmp_path: Path, new_context: Callable[..., dict[str, Any]]) -> Watched:
    """A stack, and no plan yet."""
    return Watched(flow, tmp_path / "protection.yaml", new_context)


@pytest.fixture
def watch_on(new_context: Callable[..., dict[str, Any]]) -> Callable[[Any, Path], Watched]:
    """Watch a stack by a protection file."""
    return lambda flow, file: Watched(flow, file, new_context)


@pytest.fixture
def ledger(watched: Watched) -> Watched:
    """A table that a plan's daily rule chooses by tag, and the file names by tag; it is 2026-11-02 06:00."""
    watched.table("ledger", watch="yes")
    watched.protect({"tag": {"watch": "yes"}, "tier": "daily"})
    watched.plan()
    watched.select(ListOfTags=[{"ConditionType": "STRINGEQUALS", "ConditionKey": "watch", "ConditionValue": "yes"}])
    return watched
