"""The plan templates that AWS Backup offers to start from.

Names as in https://docs.aws.amazon.com/aws-backup/latest/devguide/creating-a-backup-plan.html; AWS publishes
neither the ids nor the documents, so both are ours. All rules put their backups into the vault `Default`.
"""

from dataclasses import dataclass
from typing import Any, Final

from local_aws.backup.exceptions import ResourceNotFoundException
from local_aws.backup.plan_rules import DEFAULT_COMPLETION_MINUTES, DEFAULT_START_MINUTES

_DAILY: Final = "cron(0 5 ? * * *)"
_WEEKLY: Final = "cron(0 5 ? * 7 *)"
_MONTHLY: Final = "cron(0 5 1 * ? *)"


@dataclass(frozen=True)
class Template:
    """A plan to start from: rules by name, each a schedule and the days that its backups are kept."""

    name: str
    rules: tuple[tuple[str, str, int], ...]

    def to_result(self) -> dict[str, Any]:
        """Return a BackupPlan."""
        return {
            "BackupPlanName": self.name,
            "Rules": [
                {
                    "RuleName": rule,
                    "TargetBackupVaultName": "Default",
                    "ScheduleExpression": schedule,
                    "StartWindowMinutes": DEFAULT_START_MINUTES,
                    "CompletionWindowMinutes": DEFAULT_COMPLETION_MINUTES,
                    "Lifecycle": {"DeleteAfterDays": days},
                }
                for rule, schedule, days in self.rules
            ],
        }


TEMPLATES: Final = {
    "daily-35day-retention": Template("Daily-35day-Retention", (("DailyBackups", _DAILY, 35),)),
    "daily-monthly-1yr-retention": Template(
        "Daily-Monthly-1yr-Retention", (("DailyBackups", _DAILY, 35), ("MonthlyBackups", _MONTHLY, 365))
    ),
    "daily-weekly-monthly-5yr-retention": Template(
        "Daily-Weekly-Monthly-5yr-Retention",
        (("DailyBackups", _DAILY, 35), ("WeeklyBackups", _WEEKLY, 90), ("MonthlyBackups", _MONTHLY, 1825)),
    ),
    "daily-weekly-monthly-7yr-retention": Template(
        "Daily-Weekly-Monthly-7yr-Retention",
        (("DailyBackups", _DAILY, 35), ("WeeklyBackups", _WEEKLY, 90), ("MonthlyBackups", _MONTHLY, 2555)),
    ),
}
"""By id."""


def document(template_id: str) -> dict[str, Any]:
    """Return the plan that a template stands for.

    Raises:
        ResourceNotFoundException: No such template.
    """
    template = TEMPLATES.get(template_id)
    if template is None:
        raise ResourceNotFoundException(f"Backup plan template {template_id} does not exist.")
    return template.to_result()
