"""Report plans: which report goes to which bucket every day.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateReportPlan.html. Reports about jobs only: those
about compliance rest on AWS Config, which is not here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from moto.backup.models import backup_backends

from local_aws.backup.exceptions import (
    AlreadyExistsException,
    InvalidParameterValueException,
    LimitExceededException,
    ResourceNotFoundException,
)
from local_aws.backup.report_files import TEMPLATES
from local_aws.backup.validation import check_tags, require
from local_aws.clock import CLOCK

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

MAX_PLANS: Final = 20
"""Of an account, see https://docs.aws.amazon.com/aws-backup/latest/devguide/working-with-audit-reports.html."""

REPORT_HOUR: Final = 3
"""UTC. AWS makes the daily reports at some time between 1 and 5 in the morning."""

ALL_REGIONS: Final = "*"
_FORMATS: Final = ("CSV", "JSON")
_NAME: Final = re.compile(r"[a-zA-Z][_a-zA-Z0-9]{0,255}")


@dataclass(eq=False)
class ReportPlan:
    """One report plan. `channel` and `setting` are as the caller wrote them."""

    report_plan_name: str
    report_plan_arn: str
    description: str | None
    channel: Mapping[str, Any]
    setting: Mapping[str, Any]
    created_at: datetime
    attempted_at: datetime | None = None
    succeeded_at: datetime | None = None

    @property
    def template(self) -> str:
        return str(self.setting["ReportTemplate"])

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(self.channel.get("Formats") or ("CSV",))

    def to_created_result(self) -> dict[str, Any]:
        """Return the members of CreateReportPlan and UpdateReportPlan."""
        return {
            "ReportPlanName": self.report_plan_name,
            "ReportPlanArn": self.report_plan_arn,
            "CreationTime": self.created_at,
        }

    def to_result(self) -> dict[str, Any]:
        """Return the members of DescribeReportPlan's `ReportPlan` and of ListReportPlans."""
        return self.to_created_result() | {
            "ReportPlanDescription": self.description,
            "ReportSetting": dict(self.setting),
            "ReportDeliveryChannel": dict(self.channel),
            "DeploymentStatus": "COMPLETED",
            "LastAttemptedExecutionTime": self.attempted_at,
            "LastSuccessfulExecutionTime": self.succeeded_at,
        }


class ReportPlans:
    """The report plans of one account and Region."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._by_name: dict[str, ReportPlan] = {}

    def all(self) -> list[ReportPlan]:
        return list(self._by_name.values())

    def get(self, name: str) -> ReportPlan:
        """Return a plan.

        Raises:
            ResourceNotFoundException: No such plan.
        """
        plan = self._by_name.get(name)
        if plan is None:
            raise ResourceNotFoundException(f"Report plan {name} does not exist.")
        return plan

    def create(
        self,
        name: str | None,
        description: str | None,
        channel: Mapping[str, Any],
        setting: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> ReportPlan:
        """Make a plan; its first report comes the next morning.

        Raises:
            AlreadyExistsException: There is a plan of that name.
            InvalidParameterValueException: A name, template, format or coverage that cannot be had.
            LimitExceededException: The account has twenty plans in this Region.
        """
        backend = self._backend
        given = require("ReportPlanName", name)
        if not _NAME.fullmatch(given):
            raise InvalidParameterValueException(
                f"Invalid ReportPlanName {given!r}: a letter and up to 255 letters, digits or underscores."
            )
        if given in self._by_name:
            raise AlreadyExistsException(f"Report plan {given} already exists.")
        if len(self._by_name) >= MAX_PLANS:
            raise LimitExceededException(f"An account can have at most {MAX_PLANS} report plans.")
        self._check(channel, setting)
        check_tags(tags)
        plan = ReportPlan(
            report_plan_name=given,
            report_plan_arn=f"arn:{backend.partition}:backup:{backend.region_name}:{backend.account_id}:report-plan:{given}",
            description=description,
            channel=dict(channel),
            setting=dict(setting),
            created_at=CLOCK.now(),
        )
        self._by_name[given] = plan
        backend.put_tags(plan.report_plan_arn, tags)
        self._plan_next(plan, plan.created_at)
        return plan

    def update(
        self,
        name: str,
        description: str | None,
        channel: Mapping[str, Any] | None,
        setting: Mapping[str, Any] | None,
    ) -> ReportPlan:
        """Replace what is given.

        Raises:
            ResourceNotFoundException: No such plan.
            InvalidParameterValueException: As for a new plan.
        """
        plan = self.get(name)
        channel, setting = channel or plan.channel, setting or plan.setting
        self._check(channel, setting)
        plan.channel, plan.setting = dict(channel), dict(setting)
        plan.description = plan.description if description is None else description
        return plan

    def delete(self, name: str) -> None:
        """Delete a plan; its reports and the records of its jobs stay.

        Raises:
            ResourceNotFoundException: No such plan.
        """
        plan = self.get(name)
        del self._by_name[name]
        self._backend.tagger.delete_all_tags_for_resource(plan.report_plan_arn)

    def _plan_next(self, plan: ReportPlan, now: datetime) -> None:
        due = now.replace(hour=REPORT_HOUR, minute=0, second=0, microsecond=0)
        if due <= now:
            due += timedelta(days=1)
        self._backend.agenda.add(due, lambda at: self._fire(plan, at))

    def _fire(self, plan: ReportPlan, at: datetime) -> None:
        if self._by_name.get(plan.report_plan_name) is plan:
            self._backend.report_jobs.start(plan, at)
            self._plan_next(plan, at)

    def _check(self, channel: Mapping[str, Any], setting: Mapping[str, Any]) -> None:
        require("S3BucketName", channel.get("S3BucketName"))
        template = require("ReportTemplate", setting.get("ReportTemplate"))
        if template not in TEMPLATES:
            raise InvalidParameterValueException(
                f"ReportTemplate {template!r} is not served by the local AWS. Served: {', '.join(sorted(TEMPLATES))}."
            )
        formats = set(channel.get("Formats") or ())
        if not formats <= set(_FORMATS):
            raise InvalidParameterValueException(f"Invalid Formats {sorted(formats)}: CSV, JSON or both.")
        if setting.get("OrganizationUnits") or set(setting.get("Accounts") or ()) - {self._backend.account_id}:
            raise InvalidParameterValueException(
                "Reports of other accounts are not served by the local AWS: leave OrganizationUnits and Accounts out."
            )
        known = backup_backends[self._backend.account_id]
        if unknown := [name for name in setting.get("Regions") or () if name != ALL_REGIONS and name not in known]:
            raise InvalidParameterValueException(f"Invalid Regions: there is no {', '.join(unknown)}.")
        elsewhere = set(setting.get("Regions") or ()) - {self._backend.region_name}
        if elsewhere and "JSON" in formats:
            raise InvalidParameterValueException("A report of other Regions comes as CSV only.")
