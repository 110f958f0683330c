"""Documents of plans and selections: what AWS adds to them taken off, and how two of them differ, in words.

AWS fills in what a rule leaves out, so a plan that is read back is never the one that was sent:
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupRuleInput.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

RULE_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "ScheduleExpression": "cron(0 5 ? * * *)",
        "ScheduleExpressionTimezone": "Etc/UTC",
        "StartWindowMinutes": 480,
        "CompletionWindowMinutes": 10_080,
        "EnableContinuousBackup": False,
    }
)
_NUMBERS: Final = frozenset(
    {"StartWindowMinutes", "CompletionWindowMinutes", "MoveToColdStorageAfterDays", "DeleteAfterDays"}
)


def normal_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule with AWS's defaults filled in, and without its id and what says nothing."""
    given = {name: plain(name, value) for name, value in rule.items() if name != "RuleId"}
    normal = {**RULE_DEFAULTS, **{name: value for name, value in given.items() if value not in (None, {}, [], "")}}
    if normal["ScheduleExpressionTimezone"] == "UTC":
        normal["ScheduleExpressionTimezone"] = "Etc/UTC"
    return normal


def plain(name: str, value: Any) -> Any:
    """Return a value without empty members, its numbers as numbers: a template makes text of them."""
    if isinstance(value, Mapping):
        members = {key: plain(key, member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in (None, {}, [])}
    if isinstance(value, (list, tuple)):
        return [plain(name, member) for member in value]
    if name in _NUMBERS and isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value)
    return value


def plan_request(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan's document as CreateBackupPlan and UpdateBackupPlan take it."""
    request: dict[str, Any] = plain("", plan)
    request["Rules"] = [{name: value for name, value in rule.items() if name != "RuleId"} for rule in request["Rules"]]
    return request


def plan_diff(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return how a wanted plan differs from the present one, a line each; nothing if it does not.

    :param present: a BackupPlan, as GetBackupPlan returns it.
    :param wanted: a BackupPlanInput.
    """
    return [
        *_members("plan", _rest(present), _rest(wanted)),
        *_named("rule", _rules(present), _rules(wanted)),
    ]


def selection_diff(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return how a wanted selection differs from the present one, a line each; nothing if it does not."""
    return list(_members("selection", _unordered(present), _unordered(wanted)))


def _rules(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(rule["RuleName"]): normal_rule(rule) for rule in plan.get("Rules") or ()}


def _rest(plan: Mapping[str, Any]) -> dict[str, Any]:
    rest: dict[str, Any] = plain("", {name: value for name, value in plan.items() if name != "Rules"})
    return rest


def _unordered(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Sort what AWS may return in another order."""
    normal: dict[str, Any] = plain("", selection)
    for name in ("Resources", "NotResources", "ListOfTags"):
        if name in normal:
            normal[name] = _sorted(normal[name])
    if "Conditions" in normal:
        normal["Conditions"] = {operator: _sorted(entries) for operator, entries in normal["Conditions"].items()}
    return normal


def _sorted(values: list[Any]) -> list[Any]:
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))


def _named(
    kind: str, present: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    for name in sorted({*present, *wanted}):
        if name not in wanted:
            yield f"{kind} {name}: removed"
        elif name not in present:
            yield f"{kind} {name}: added: {_text(wanted[name])}"
        else:
            yield from _members(f"{kind} {name}", present[name], wanted[name])


def _members(what: str, present: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*present, *wanted}):
        before, after = present.get(name), wanted.get(name)
        if before != after:
            yield f"{what}: {name}: {_text(before)} -> {_text(after)}"


def _text(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, sort_keys=True, default=str)
