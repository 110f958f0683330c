"""Backup plans out of ``protection.yaml``: parameters for the stack's template, or documents for the operators.

Entries of one rule share a plan, since a selection belongs to a plan and not to one of its rules. A table that an
entry names is taken out of what tags select, so that no table is backed up by two plans.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backup_flows.ownership import PLAN_TAG
from backup_flows.protection import Protection, ProtectionRule, Table, TableEntry
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG

NO_COLD_STORAGE = "0"
"""What the template takes for "never"."""
MAX_NAME = 50


class NoStackRuleError(ValueError):
    """No entry of the file speaks of the stack's table."""


@dataclass(frozen=True)
class PlanDocuments:
    """A plan and what is assigned to it, as CreateBackupPlan and CreateBackupSelection take them."""

    plan: dict[str, Any]
    selections: tuple[dict[str, Any], ...]


def template_parameters(protection: Protection, table: Table) -> dict[str, str]:
    """Return the parameters of the stack's template that its plan's rule is made of.

    Args:
        protection: the file.
        table: the stack's table, whose rule it is.

    Raises:
        NoStackRuleError: the file does not protect that table.
    """
    selected = protection.select([table])
    if not selected:
        raise NoStackRuleError(
            f"protection.yaml protects no table {table.name}: add an entry for it, by name or by one of its tags "
            f"({', '.join(f'{key}={value}' for key, value in sorted(table.tags.items())) or 'it has none'})."
        )
    rule = selected[0].rule
    return {
        "BackupSchedule": rule.schedule,
        "BackupScheduleTimezone": rule.timezone,
        "StartWindowMinutes": str(rule.start_minutes),
        "CompletionWindowMinutes": str(rule.completion_minutes),
        "MoveToColdStorageAfterDays": NO_COLD_STORAGE if rule.cold_after_days is None else str(rule.cold_after_days),
        "DeleteAfterDays": str(rule.delete_after_days),
    }


def plan_documents(
    protection: Protection, *, prefix: str, stack_vault: str, role_arn: str, arn_prefix: str
) -> list[PlanDocuments]:
    """Return the plans that do what the file says, for those who make them without the stack.

    Args:
        protection: the file.
        prefix: of the plans' names.
        stack_vault: where no vault is named.
        role_arn: the role that AWS Backup takes on.
        arn_prefix: what ARNs of the Region's tables begin with, ``arn:aws:dynamodb:<region>:<account>:table/``.
    """
    named = sorted(entry.arn or f"{arn_prefix}{entry.name}" for entry in protection.tables if entry.tag is None)
    groups: dict[tuple[Any, ...], tuple[ProtectionRule, list[TableEntry]]] = {}
    for entry in protection.tables:
        rule = protection.rule(entry)
        groups.setdefault(_made_alike(rule), (rule, []))[1].append(entry)
    found = []
    names: set[str] = set()
    for rule, entries in groups.values():
        name = _free_name(f"{prefix}-{rule.tier}", names)
        selections = _selections(entries, role_arn=role_arn, arn_prefix=arn_prefix, named=named)
        found.append(PlanDocuments(_plan(name, rule, stack_vault), tuple(selections)))
    return found


def _made_alike(rule: ProtectionRule) -> tuple[Any, ...]:
    """Return what of a rule AWS Backup gets to know; targets and proofs are not among it."""
    return (
        rule.tier,
        rule.schedule,
        rule.timezone,
        rule.vault,
        rule.start_window,
        rule.completion_window,
        rule.cold_after_days,
        rule.delete_after_days,
    )


def _free_name(wanted: str, taken: set[str]) -> str:
    candidates = (wanted[: MAX_NAME - 4] + suffix for suffix in ("", *(f"-{n}" for n in range(2, 302))))
    name = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(name)
    return name


def _plan(name: str, rule: ProtectionRule, stack_vault: str) -> dict[str, Any]:
    return {
        "BackupPlanName": name,
        "Rules": [
            {
                "RuleName": rule.tier,
                "TargetBackupVaultName": rule.vault_or(stack_vault),
                "ScheduleExpression": rule.schedule,
                "ScheduleExpressionTimezone": rule.timezone,
                "StartWindowMinutes": rule.start_minutes,
                "CompletionWindowMinutes": rule.completion_minutes,
                "Lifecycle": rule.lifecycle,
                "RecoveryPointTags": {MANAGED_BY_TAG: MANAGED_BY, PLAN_TAG: name},
            }
        ],
    }


def _selections(
    entries: Sequence[TableEntry], *, role_arn: str, arn_prefix: str, named: list[str]
) -> list[dict[str, Any]]:
    common = {"IamRoleArn": role_arn}
    found: list[dict[str, Any]] = []
    arns = sorted(entry.arn or f"{arn_prefix}{entry.name}" for entry in entries if entry.tag is None)
    if arns:
        found.append({"SelectionName": "by-arn", **common, "Resources": arns})
    for number, entry in enumerate((entry for entry in entries if entry.tag is not None), 1):
        conditions = [
            {"ConditionKey": f"aws:ResourceTag/{key}", "ConditionValue": value}
            for key, value in sorted((entry.tag or {}).items())
        ]
        selection = {
            "SelectionName": f"by-tag-{number}",
            **common,
            # Conditions have to hold together, where ListOfTags asks for any. Naming the type of resource makes it
            # a matter of DynamoDB tables alone.
            "Resources": [f"{arn_prefix}*"],
            "Conditions": {"StringEquals": conditions},
        }
        if named:
            selection["NotResources"] = named
        found.append(selection)
    return found
