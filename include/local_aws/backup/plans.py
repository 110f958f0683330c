"""Backup plans: their versions and selections, and the jobs that their rules start.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/about-backup-plans.html.

A rule fires at its instant: AWS may take its time within the start window, here the jobs are CREATED at once.
Where the start windows of two rules of one plan overlap, only the one with the longer retention fires, see
https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from local_aws import tables
from local_aws.backup.backup_jobs import BackupRequest
from local_aws.backup.changes import What
from local_aws.backup.exceptions import (
    AlreadyExistsException,
    InvalidParameterValueException,
    InvalidRequestException,
    LimitExceededException,
    ResourceNotFoundException,
)
from local_aws.backup.plan_rules import Rule, RuleCreator, check_name, read_rules
from local_aws.backup.selections import Selection, read_selection
from local_aws.backup.states import RESOURCE_TYPE
from local_aws.backup.validation import check_tags
from local_aws.clock import CLOCK

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

MAX_PLANS: Final = 300
MAX_VERSIONS: Final = 2_000
MAX_SELECTIONS: Final = 100
"""https://docs.aws.amazon.com/aws-backup/latest/devguide/aws-backup-limits.html."""

MAX_PREVIEW: Final = 10
LOOK_AHEAD: Final = 100
"""How many instants of a rule a preview looks at: one that always yields to another would have no end."""


@dataclass(frozen=True)
class PlanVersion:
    """What a plan says from one update to the next."""

    version_id: str
    sequence: int
    name: str
    rules: tuple[Rule, ...]
    kept: Mapping[str, Any]
    created_at: datetime

    def to_result(self) -> dict[str, Any]:
        """Return a BackupPlan."""
        return {"BackupPlanName": self.name, "Rules": [rule.to_result() for rule in self.rules], **self.kept}


@dataclass(eq=False)
class Plan:
    """One backup plan with all its versions, the newest last."""

    plan_id: str
    arn: str
    sequence: int
    creator_request_id: str | None
    created_at: datetime
    versions: list[PlanVersion]
    selections: dict[str, Selection] = field(default_factory=dict)
    deleted_at: datetime | None = None
    last_execution_at: datetime | None = None

    @property
    def current(self) -> PlanVersion:
        return self.versions[-1]

    def version(self, version_id: str | None) -> PlanVersion:
        """Return the version of that id; None: the current one.

        Raises:
            ResourceNotFoundException: It has no such version.
        """
        for version in self.versions:
            if version.version_id == version_id:
                return version
        if version_id is not None:
            raise ResourceNotFoundException("Failed reading Backup plan with provided version")
        return self.current

    def creator(self, rule: Rule) -> RuleCreator:
        version = self.current
        return RuleCreator(
            plan_id=self.plan_id,
            plan_arn=self.arn,
            plan_name=version.name,
            plan_version=version.version_id,
            rule_id=rule.rule_id,
            rule_name=rule.name,
            expression=rule.expression,
            timezone=rule.timezone,
        )

    def to_result(self, version: PlanVersion) -> dict[str, Any]:
        """Return the members that the replies about a plan have in common."""
        return {
            "BackupPlanId": self.plan_id,
            "BackupPlanArn": self.arn,
            "VersionId": version.version_id,
            "CreationDate": self.created_at,
            "DeletionDate": self.deleted_at,
            "LastExecutionDate": self.last_execution_at,
            "CreatorRequestId": self.creator_request_id,
            "AdvancedBackupSettings": version.kept.get("AdvancedBackupSettings"),
        }

    def to_list_result(self, version: PlanVersion) -> dict[str, Any]:
        """Return a BackupPlansListMember."""
        return {**self.to_result(version), "BackupPlanName": version.name}

    def scheduled_runs(self, now: datetime, count: int) -> list[dict[str, Any]]:
        """Return the next `count` instants at which its rules fire, as ScheduledRunsPreview."""
        runs = sorted(
            (at, rule.rule_id)
            for rule in self.current.rules
            for at in islice(_instants(rule, now), LOOK_AHEAD)
            if not _yields(self.current, rule, at)
        )
        return [
            {"ExecutionTime": at, "RuleId": rule_id, "RuleExecutionType": "SNAPSHOTS"} for at, rule_id in runs[:count]
        ]


class BackupPlans:
    """All plans of one account and Region, deleted ones too."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._plans: dict[str, Plan] = {}

    def __iter__(self) -> Iterator[Plan]:
        return iter(list(self._plans.values()))

    def existing(self) -> list[Plan]:
        """Return the plans that are not deleted."""
        return [plan for plan in self if plan.deleted_at is None]

    def get(self, plan_id: str) -> Plan:
        """Return a plan, also a deleted one: its versions stay readable.

        Raises:
            ResourceNotFoundException: No such plan.
        """
        plan = self._plans.get(plan_id)
        if plan is None:
            raise ResourceNotFoundException(f"Cannot find Backup plan with ID {plan_id}")
        return plan

    def create(self, document: Mapping[str, Any], tags: Mapping[str, str], creator_request_id: str | None) -> Plan:
        """Make a plan, or return the one that the same request made.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupPlan.html.

        Raises:
            InvalidParameterValueException: Something in the document is wrong.
            AlreadyExistsException: Another request made a plan of that name.
            LimitExceededException: There are too many plans.
        """
        name = check_name("BackupPlanName", document.get("BackupPlanName"))
        existing = self.existing()
        for plan in existing:
            if creator_request_id is not None and plan.creator_request_id == creator_request_id:
                return plan
        if name in {plan.current.name for plan in existing}:
            raise AlreadyExistsException("Backup plan with the same plan document already exists")
        if len(existing) >= MAX_PLANS:
            raise LimitExceededException(f"An account can have at most {MAX_PLANS} backup plans in a Region.")
        check_tags(tags)
        backend = self._backend
        plan_id, now = backend.new_id(), CLOCK.now()
        version = self.read(document)
        plan = Plan(
            plan_id=plan_id,
            arn=f"arn:{backend.partition}:backup:{backend.region_name}:{backend.account_id}:backup-plan:{plan_id}",
            sequence=version.sequence,
            creator_request_id=creator_request_id,
            created_at=now,
            versions=[version],
        )
        self._plans[plan_id] = plan
        backend.put_tags(plan.arn, tags)
        self._schedule(plan)
        backend.changes.report(plan, now, What.CREATED)
        return plan

    def update(self, plan_id: str, document: Mapping[str, Any]) -> Plan:
        """Give a plan a new version; a rule that keeps its name keeps its id.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateBackupPlan.html.

        Raises:
            ResourceNotFoundException: No such plan, or it is deleted.
            InvalidParameterValueException: Something in the document is wrong, or there are too many versions.
        """
        plan = self._existing(plan_id)
        if len(plan.versions) >= MAX_VERSIONS:
            raise InvalidParameterValueException(f"A backup plan can have at most {MAX_VERSIONS} versions.")
        plan.versions.append(self.read(document, plan.current.rules))
        self._schedule(plan)
        self._backend.changes.report(plan, CLOCK.now())
        return plan

    def delete(self, plan_id: str) -> Plan:
        """Delete a plan: it fires no more.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupPlan.html.

        Raises:
            ResourceNotFoundException: No such plan, or it is deleted.
            InvalidRequestException: It has selections.
        """
        plan = self._existing(plan_id)
        if plan.selections:
            raise InvalidRequestException(
                "Related backup plan selections must be deleted prior to backup plan deletion."
            )
        plan.deleted_at = CLOCK.now()
        self._backend.tagger.delete_all_tags_for_resource(plan.arn)
        self._backend.changes.report(plan, plan.deleted_at, What.DELETED)
        return plan

    def add_selection(self, plan_id: str, document: Mapping[str, Any], creator_request_id: str | None) -> Selection:
        """Add a selection to a plan, or return the one that the same request added.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupSelection.html.

        Raises:
            InvalidParameterValueException: No such plan, or something in the document is wrong.
            AlreadyExistsException: The plan has a selection that is the same, name and all.
            LimitExceededException: It has too many.
        """
        plan = self._plans.get(plan_id)
        if plan is None or plan.deleted_at is not None:
            # The operation declares no ResourceNotFoundException.
            raise InvalidParameterValueException(f"Cannot find Backup plan with ID {plan_id}")
        for selection in plan.selections.values():
            if creator_request_id is not None and selection.creator_request_id == creator_request_id:
                return selection
        if len(plan.selections) >= MAX_SELECTIONS:
            raise LimitExceededException(f"A backup plan can have at most {MAX_SELECTIONS} selections.")
        selection = read_selection(
            document,
            selection_id=self._backend.new_id(),
            sequence=self._backend.next_sequence(),
            now=CLOCK.now(),
            creator_request_id=creator_request_id,
        )
        if selection.document in [other.document for other in plan.selections.values()]:
            raise AlreadyExistsException("Backup selection with the same selection document already exists")
        plan.selections[selection.selection_id] = selection
        return selection

    def selection(self, plan_id: str, selection_id: str) -> Selection:
        """Return a selection of a plan.

        Raises:
            ResourceNotFoundException: No such plan or selection.
        """
        selection = self.get(plan_id).selections.get(selection_id)
        if selection is None:
            raise ResourceNotFoundException(f"Cannot find Backup selection with ID {selection_id}")
        return selection

    def remove_selection(self, plan_id: str, selection_id: str) -> None:
        """Delete a selection.

        Raises:
            ResourceNotFoundException: No such plan or selection.
        """
        del self.get(plan_id).selections[self.selection(plan_id, selection_id).selection_id]

    def read(self, document: Mapping[str, Any], before: Iterable[Rule] = ()) -> PlanVersion:
        """Read and check a plan's document, as a new version.

        Args:
            document: A BackupPlanInput.
            before: The rules whose ids those of the same name take over.

        Raises:
            MissingParameterValueException: It lacks something.
            InvalidParameterValueException: Something in it is wrong.
        """
        backend = self._backend
        known = {rule.name: rule.rule_id for rule in before}
        now = CLOCK.now()
        return PlanVersion(
            version_id=backend.new_version_id(),
            sequence=backend.next_sequence(),
            name=check_name("BackupPlanName", document.get("BackupPlanName")),
            rules=read_rules(
                document.get("Rules"),
                now=now,
                rule_id=lambda name: known.get(name) or backend.new_id(),
                check_vault=self._check_vault,
            ),
            kept={name: document[name] for name in ("AdvancedBackupSettings", "ScanSettings") if document.get(name)},
            created_at=now,
        )

    def _check_vault(self, name: str) -> None:
        if name not in self._backend.vaults:
            raise InvalidParameterValueException(f"Backup vault {name} does not exist.")

    def _existing(self, plan_id: str) -> Plan:
        plan = self.get(plan_id)
        if plan.deleted_at is not None:
            raise ResourceNotFoundException(f"Cannot find Backup plan with ID {plan_id}")
        return plan

    def _schedule(self, plan: Plan) -> None:
        version = plan.current
        for rule in version.rules:
            self._plan_next(plan, version, rule, version.created_at)

    def _plan_next(self, plan: Plan, version: PlanVersion, rule: Rule, after: datetime) -> None:
        following = rule.schedule.next_after(after)
        if following is not None:
            self._backend.agenda.add(following, lambda at: self._fire(plan, version, rule, at))

    def _fire(self, plan: Plan, version: PlanVersion, rule: Rule, at: datetime) -> None:
        if plan.deleted_at is not None or plan.current is not version:
            return
        self._plan_next(plan, version, rule, at)
        if _yields(version, rule, at):
            return
        for arn, selection in self._chosen(plan).items():
            self._backend.backup_jobs.start_by_rule(_request(plan, rule, arn, selection))
            plan.last_execution_at = at

    def _chosen(self, plan: Plan) -> dict[str, Selection]:
        """Return the tables to back up, each once, with the selection whose role does it."""
        backend = self._backend
        opted_in = backend.region_settings.opted_in(RESOURCE_TYPE)
        chosen: dict[str, Selection] = {}
        for arn, tags in tables.tags_of_tables(backend.account_id, backend.region_name).items():
            for selection in plan.selections.values():
                if selection.chooses(arn, tags) and (opted_in or selection.names_type_of(arn)):
                    chosen.setdefault(arn, selection)
        return chosen


def _request(plan: Plan, rule: Rule, arn: str, selection: Selection) -> BackupRequest:
    return BackupRequest(
        vault_name=rule.vault_name,
        resource_arn=arn,
        iam_role_arn=selection.role_arn,
        start_window=rule.start_window,
        complete_window=rule.completion_window,
        lifecycle=rule.lifecycle,
        tags=rule.tags,
        options={},
        created_by=plan.creator(rule),
        copy_actions=rule.copy_actions,
    )


def _instants(rule: Rule, after: datetime) -> Iterator[datetime]:
    following = rule.schedule.next_after(after)
    while following is not None:
        yield following
        following = rule.schedule.next_after(following)


def _yields(version: PlanVersion, rule: Rule, at: datetime) -> bool:
    """Tell whether another rule, of longer retention, has its start window over that of `rule` at `at`."""
    return any(
        _overlaps(version, other, rule, at)
        for other in version.rules
        if other is not rule and other.retention_days > rule.retention_days
    ) or any(
        # Rules that are due at the same instant and keep equally long: the first of them is as good as all.
        other.retention_days == rule.retention_days and _is_due(other, at)
        for other in version.rules[: version.rules.index(rule)]
    )


def _overlaps(version: PlanVersion, other: Rule, rule: Rule, at: datetime) -> bool:
    earliest = max(at - other.start_window, version.created_at)
    following = other.schedule.next_after(earliest)
    return following is not None and following < at + rule.start_window


def _is_due(rule: Rule, at: datetime) -> bool:
    return rule.schedule.next_after(at - timedelta(milliseconds=1)) == at
