"""protection.yaml is the one source of plan rules: for the stack's template, and for plans made by operator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backup_flows.protection import Protection, Table
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.protection_plans import NoStackRuleError, plan_documents, template_parameters
from backup_flows.stack import STACK_TEMPLATE

ROOT = Path(__file__).resolve().parents[3]
PREFIX = "arn:aws:dynamodb:us-east-1:123456789012:table/"
ROLE = "arn:aws:iam::123456789012:role/AWSBackup"
ORDERS = Table("orders", f"{PREFIX}orders", {"backup": "daily"})


def protection(*tables, **others):
    return Protection.model_validate({"version": 1, "tables": list(tables), **others})


def documents(described):
    return plan_documents(described, prefix="ours", stack_vault="vault", role_arn=ROLE, arn_prefix=PREFIX)


def test_the_templates_defaults_are_what_the_file_says():
    template = (ROOT / STACK_TEMPLATE).read_text(encoding="utf-8")
    declared = dict(re.findall(r"^  (\w+):\n(?:    .*\n)*?    Default: (.*)\n", template, flags=re.MULTILINE))
    wanted = template_parameters(load_protection(ROOT / PROTECTION_FILE), ORDERS)
    assert {name: declared[name].strip("\"'") for name in wanted} == wanted


def test_never_to_cold_storage_has_a_word_of_its_own():
    found = template_parameters(protection({"name": "orders", "tier": "weekly"}), ORDERS)
    assert found == {
        "BackupSchedule": "cron(0 5 ? * SUN *)",
        "BackupScheduleTimezone": "Etc/UTC",
        "StartWindowMinutes": "60",
        "CompletionWindowMinutes": "120",
        "MoveToColdStorageAfterDays": "0",
        "DeleteAfterDays": "366",
    }


def test_a_stack_whose_table_is_not_protected_is_told():
    with pytest.raises(NoStackRuleError, match="backup=daily"):
        template_parameters(protection({"name": "other", "tier": "daily"}), ORDERS)


def test_entries_of_one_rule_share_a_plan_and_no_table_has_two():
    found = documents(
        protection(
            {"name": "orders", "tier": "daily"},
            {"tag": {"backup": "daily"}, "tier": "daily", "targets": {"rpo_hours": 30}},
            {"tag": {"backup": "weekly", "team": "sales"}, "tier": "weekly", "vault": "other"},
            {"arn": f"{PREFIX}stock", "tier": "daily", "lifecycle": {"delete_after_days": 60}},
        )
    )
    named = [f"{PREFIX}orders", f"{PREFIX}stock"]
    rules = [(document.plan["BackupPlanName"], document.plan["Rules"][0]) for document in found]
    assert [(name, rule["TargetBackupVaultName"], rule["Lifecycle"]) for name, rule in rules] == [
        ("ours-daily", "vault", {"DeleteAfterDays": 366}),
        ("ours-weekly", "other", {"DeleteAfterDays": 366}),
        ("ours-daily-2", "vault", {"DeleteAfterDays": 60}),
    ]
    assert [[selection["Resources"] for selection in document.selections] for document in found] == [
        [[f"{PREFIX}orders"], [f"{PREFIX}*"]],
        [[f"{PREFIX}*"]],
        [[f"{PREFIX}stock"]],
    ]
    (weekly,) = found[1].selections
    assert weekly["NotResources"] == named
    assert weekly["Conditions"]["StringEquals"] == [
        {"ConditionKey": "aws:ResourceTag/backup", "ConditionValue": "weekly"},
        {"ConditionKey": "aws:ResourceTag/team", "ConditionValue": "sales"},
    ]
