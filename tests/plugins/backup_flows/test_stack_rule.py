"""The stack's plan has the rule that protection.yaml says, a deployment's own parameters before it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backup_flows.protection import Protection
from backup_flows.stack import STACK_TEMPLATE
from backup_flows.stack_rule import TABLE_DEFAULTS, merge_parameters, rule_parameters

ROOT = Path(__file__).resolve().parents[3]
PREFIX = "arn:aws:dynamodb:us-east-1:123456789012:table/"
PROTECTION = Protection.model_validate(
    {
        "version": 1,
        "tables": [
            {"name": "orders", "tier": "daily", "window": {"start_minutes": 90, "completion_minutes": 240}},
            {"tag": {"backup": "weekly"}, "tier": "weekly"},
            {"arn": f"{PREFIX}by-arn", "tier": "monthly"},
        ],
    }
)


@pytest.mark.parametrize(
    ("given", "present", "schedule", "start"),
    [
        ({}, {}, "cron(0 5 ? * * *)", "90"),
        ({"BackupSchedule": "cron(0 3 ? * * *)"}, {}, "cron(0 3 ? * * *)", "90"),
        ({}, {"BackupSchedule": "cron(0 3 ? * * *)"}, "cron(0 5 ? * * *)", "90"),
        ({"StartWindowMinutes": 61}, {}, "cron(0 5 ? * * *)", "61"),
        ({"TableName": "sales", "BackupTag": "weekly"}, {}, "cron(0 5 ? * SUN *)", "60"),
        ({}, {"TableName": "by-arn"}, "cron(0 5 1 * ? *)", "60"),
        ({"StartWindowMinutes": ""}, {}, "cron(0 5 ? * * *)", "90"),
    ],
)
def test_the_run_goes_before_the_file_and_the_file_before_the_stack(given, present, schedule, start):
    found = merge_parameters(PROTECTION, given, present, arn_prefix=PREFIX)
    assert (found["BackupSchedule"], found["StartWindowMinutes"]) == (schedule, start)
    assert found.get("TableName") == given.get("TableName")


def test_a_table_that_the_file_does_not_protect_keeps_the_stacks_rule():
    given = {"TableName": "other", "BackupTag": "never", "DeleteAfterDays": 50}
    found = merge_parameters(PROTECTION, given, {}, arn_prefix=PREFIX)
    assert found == {"TableName": "other", "BackupTag": "never", "DeleteAfterDays": "50"}


def test_what_the_template_takes_by_default_is_known():
    template = (ROOT / STACK_TEMPLATE).read_text(encoding="utf-8")
    declared = dict(re.findall(r"^  (\w+):\n(?:    .*\n)*?    Default: (.*)\n", template, flags=re.MULTILINE))
    assert {name: declared[name] for name in TABLE_DEFAULTS} == TABLE_DEFAULTS


def test_a_deployment_takes_the_rule_of_the_projects_file(flow, in_task, new_context):
    found = in_task(rule_parameters, new_context(parameters={"DeleteAfterDays": 400}))
    assert found == {
        "BackupSchedule": "cron(0 5 ? * * *)",
        "BackupScheduleTimezone": "Etc/UTC",
        "StartWindowMinutes": "60",
        "CompletionWindowMinutes": "120",
        "MoveToColdStorageAfterDays": "31",
        "DeleteAfterDays": "400",
    }
