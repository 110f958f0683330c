"""How two plans, or two selections, differ: in words, and not at all where AWS only filled something in."""

from __future__ import annotations

import pytest

from aws_backup.plan_documents import plan_diff, plan_request, selection_diff

SENT = {"BackupPlanName": "p", "Rules": [{"RuleName": "daily", "TargetBackupVaultName": "v"}]}
READ = {
    "BackupPlanName": "p",
    "AdvancedBackupSettings": [],
    "Rules": [
        {
            "RuleName": "daily",
            "RuleId": "1",
            "TargetBackupVaultName": "v",
            "ScheduleExpression": "cron(0 5 ? * * *)",
            "ScheduleExpressionTimezone": "UTC",
            "StartWindowMinutes": 480,
            "CompletionWindowMinutes": 10080,
            "EnableContinuousBackup": False,
            "Lifecycle": {},
            "RecoveryPointTags": {},
        }
    ],
}


def with_rule(**members):
    return {"BackupPlanName": "p", "Rules": [{**SENT["Rules"][0], **members}]}


def test_what_aws_fills_in_is_no_difference():
    assert plan_diff(READ, SENT) == []
    assert plan_diff(SENT, READ) == []


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        (with_rule(StartWindowMinutes="480"), []),
        (with_rule(StartWindowMinutes=60), ["rule daily: StartWindowMinutes: 480 -> 60"]),
        (
            with_rule(Lifecycle={"DeleteAfterDays": "35"}),
            ['rule daily: Lifecycle: nothing -> {"DeleteAfterDays": 35}'],
        ),
        ({**SENT, "BackupPlanName": "q"}, ['plan: BackupPlanName: "p" -> "q"']),
        (
            {**SENT, "Rules": [*SENT["Rules"], {"RuleName": "weekly", "TargetBackupVaultName": "w"}]},
            ["rule weekly: added:"],
        ),
        ({**SENT, "Rules": [{**SENT["Rules"][0], "RuleName": "other"}]}, ["rule daily: removed", "rule other: added:"]),
    ],
)
def test_a_difference_is_told_a_line_each(wanted, lines):
    found = plan_diff(READ, wanted)
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


def test_a_plan_that_was_read_can_be_sent():
    request = plan_request(READ)
    assert "RuleId" not in request["Rules"][0]
    assert plan_diff(READ, request) == []


def listed(value):
    return {"ConditionType": "STRINGEQUALS", "ConditionKey": "backup", "ConditionValue": value}


def test_the_order_of_a_selection_says_nothing():
    one = {"SelectionName": "s", "Resources": ["b", "a"], "ListOfTags": [listed("x"), listed("")], "NotResources": []}
    other = {"SelectionName": "s", "Resources": ["a", "b"], "ListOfTags": [listed(""), listed("x")], "Conditions": {}}
    assert selection_diff(one, other) == []


def test_a_selection_that_chooses_something_else_differs():
    assert selection_diff({"Resources": ["a"]}, {"Resources": ["a", "b"]}) == [
        'selection: Resources: ["a"] -> ["a", "b"]'
    ]
