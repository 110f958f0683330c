"""Rules of a backup plan: reading them from a plan's document, with AWS's checks.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupRuleInput.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from local_aws.backup.exceptions import InvalidParameterValueException, MissingParameterValueException
from local_aws.backup.lifecycle import Lifecycle
from local_aws.backup.schedules import (
    DEFAULT_EXPRESSION,
    DEFAULT_TIMEZONE,
    Schedule,
    check_at_most_hourly,
    parse_schedule,
)
from local_aws.backup.validation import (
    MIN_START_WINDOW_MINUTES,
    check_tags,
    check_vault_name,
    check_window,
    require,
)

DEFAULT_START_MINUTES: Final = 480
DEFAULT_COMPLETION_MINUTES: Final = 10_080
MAX_CONTINUOUS_DAYS: Final = 35
_NAME: Final = re.compile(r"[a-zA-Z0-9\-_.]{1,50}")
_VAULT_ARN: Final = re.compile(r"arn:aws[a-z-]*:backup:[a-z0-9-]+:\d{12}:backup-vault:[a-zA-Z0-9\-_]{2,50}")
_KEPT: Final = ("IndexActions", "ScanActions")  # they concern no resource type that is served here


@dataclass(frozen=True)
class CopyAction:
    """Where a rule's backup is copied to when it is made, and how long the copy lives; None: as the original."""

    destination_vault_arn: str
    lifecycle: Lifecycle | None

    def to_result(self) -> dict[str, Any]:
        result: dict[str, Any] = {"DestinationBackupVaultArn": self.destination_vault_arn}
        if self.lifecycle is not None:
            result["Lifecycle"] = self.lifecycle.to_result()
        return result


@dataclass(frozen=True)
class RuleCreator:
    """The plan and rule that started a job: `CreatedBy` of the job and of its recovery point."""

    plan_id: str
    plan_arn: str
    plan_name: str
    plan_version: str
    rule_id: str
    rule_name: str
    expression: str
    timezone: str

    def to_result(self) -> dict[str, str]:
        """Return a RecoveryPointCreator."""
        return {
            "BackupPlanId": self.plan_id,
            "BackupPlanArn": self.plan_arn,
            "BackupPlanName": self.plan_name,
            "BackupPlanVersion": self.plan_version,
            "BackupRuleId": self.rule_id,
            "BackupRuleName": self.rule_name,
            "BackupRuleCron": self.expression,
            "BackupRuleTimezone": self.timezone,
        }


@dataclass(frozen=True)
class Rule:
    """One rule of one version of a plan."""

    rule_id: str
    name: str
    vault_name: str
    expression: str
    timezone: str
    schedule: Schedule
    start_window: timedelta
    completion_window: timedelta
    lifecycle: Lifecycle
    tags: Mapping[str, str]
    copy_actions: tuple[CopyAction, ...]
    continuous: bool
    kept: Mapping[str, Any]

    @property
    def retention_days(self) -> float:
        days = self.lifecycle.delete_after_days
        return float("inf") if days is None else days

    def to_result(self) -> dict[str, Any]:
        """Return a BackupRule."""
        result: dict[str, Any] = {
            "RuleId": self.rule_id,
            "RuleName": self.name,
            "TargetBackupVaultName": self.vault_name,
            "ScheduleExpression": self.expression,
            "ScheduleExpressionTimezone": self.timezone,
            "StartWindowMinutes": int(self.start_window.total_seconds() // 60),
            "CompletionWindowMinutes": int(self.completion_window.total_seconds() // 60),
            "EnableContinuousBackup": self.continuous,
            **self.kept,
        }
        if lifecycle := self.lifecycle.to_result():
            result["Lifecycle"] = lifecycle
        if self.tags:
            result["RecoveryPointTags"] = dict(self.tags)
        if self.copy_actions:
            result["CopyActions"] = [action.to_result() for action in self.copy_actions]
        return result


def check_name(what: str, name: str | None) -> str:
    """Return a name that matches the pattern of plan, rule and selection names."""
    given = require(what, name)
    if not _NAME.fullmatch(given):
        raise InvalidParameterValueException(f"Invalid {what} {given!r}: 1 to 50 alphanumeric or '-_.' characters.")
    return given


def read_rules(
    documents: Iterable[Mapping[str, Any]] | None,
    *,
    now: datetime,
    rule_id: Callable[[str], str],
    check_vault: Callable[[str], object],
) -> tuple[Rule, ...]:
    """Read the rules of a plan's document.

    Args:
        documents: Members `Rules` of the document.
        now: From when on rates count.
        rule_id: Gives the id of the rule of a name.
        check_vault: Raises InvalidParameterValueException where a rule's vault does not exist.

    Raises:
        MissingParameterValueException: There is none, or one lacks a member.
        InvalidParameterValueException: One is wrong; the message names it.
    """
    rules: dict[str, Rule] = {}
    for document in documents or ():
        name = check_name("RuleName", document.get("RuleName"))
        if name in rules:
            raise InvalidParameterValueException(f"Error in rule {name} : Rule names of a plan must be unique.")
        try:
            rules[name] = _read(name, document, now, rule_id(name), check_vault)
        except (InvalidParameterValueException, MissingParameterValueException) as error:
            raise type(error)(f"Error in rule {name} : {error.message}") from error
    if not rules:
        raise MissingParameterValueException("Rules is required.")
    return tuple(rules.values())


def _read(
    name: str, document: Mapping[str, Any], now: datetime, rule_id: str, check_vault: Callable[[str], object]
) -> Rule:
    if document.get("TargetLogicallyAirGappedBackupVaultArn"):
        raise InvalidParameterValueException("Logically air-gapped vaults are not served by the local AWS.")
    vault_name = check_vault_name(document.get("TargetBackupVaultName"))
    check_vault(vault_name)
    expression = document.get("ScheduleExpression") or DEFAULT_EXPRESSION
    timezone = document.get("ScheduleExpressionTimezone") or DEFAULT_TIMEZONE
    schedule = parse_schedule(expression, timezone, anchor=now)
    check_at_most_hourly(expression, schedule)
    continuous = bool(document.get("EnableContinuousBackup", False))
    tags = document.get("RecoveryPointTags") or {}
    check_tags(tags)
    return Rule(
        rule_id=rule_id,
        name=name,
        vault_name=vault_name,
        expression=expression,
        timezone=timezone,
        schedule=schedule,
        start_window=_window(document, "StartWindowMinutes", MIN_START_WINDOW_MINUTES, DEFAULT_START_MINUTES),
        completion_window=_window(document, "CompletionWindowMinutes", 1, DEFAULT_COMPLETION_MINUTES),
        lifecycle=_lifecycle(document, continuous),
        tags=dict(tags),
        copy_actions=tuple(_copy_action(action) for action in document.get("CopyActions") or ()),
        continuous=continuous,
        kept={member: document[member] for member in _KEPT if document.get(member)},
    )


def _window(document: Mapping[str, Any], name: str, minimum: int, default: int) -> timedelta:
    return timedelta(minutes=check_window(name, document.get(name), minimum=minimum, default=default))


def _lifecycle(document: Mapping[str, Any], continuous: bool) -> Lifecycle:
    lifecycle = Lifecycle.from_request(document.get("Lifecycle"))
    if continuous and lifecycle.cold_after_days is not None:
        raise InvalidParameterValueException("Invalid lifecycle. MoveToColdStorageAfterDays is unavailable")
    if continuous and (lifecycle.delete_after_days or 0) > MAX_CONTINUOUS_DAYS:
        raise InvalidParameterValueException(
            f"Invalid lifecycle. DeleteAfterDays of a continuous backup cannot be more than {MAX_CONTINUOUS_DAYS} days"
        )
    return lifecycle


def _copy_action(document: Mapping[str, Any]) -> CopyAction:
    arn = require("DestinationBackupVaultArn", document.get("DestinationBackupVaultArn"))
    if not _VAULT_ARN.fullmatch(arn):
        raise InvalidParameterValueException(f"Invalid DestinationBackupVaultArn {arn!r}.")
    lifecycle = document.get("Lifecycle")
    return CopyAction(arn, Lifecycle.from_request(lifecycle) if lifecycle else None)
