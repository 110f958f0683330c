"""Restore testing plans: on schedule, a recovery point of each chosen table is restored, judged and thrown away.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing.html. AWS spreads the restores at
random over a plan's start window; here all of them start at the window's beginning.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from moto.moto_api._internal import mock_random

from local_aws.backup.exceptions import (
    AlreadyExistsException,
    InvalidParameterValueException,
    InvalidRequestException,
    LimitExceededException,
    ResourceNotFoundException,
)
from local_aws.backup.recovery_points import USABLE, RecoveryPoint
from local_aws.backup.restore_jobs import RestoreRequest
from local_aws.backup.restore_selections import TestingSelection, read_selection
from local_aws.backup.restore_tests import RestoreTest
from local_aws.backup.schedules import DEFAULT_TIMEZONE, Schedule, parse_schedule
from local_aws.backup.selections import RESTORE_TEST_TAG
from local_aws.backup.states import RESOURCE_TYPE
from local_aws.backup.validation import check_choice, check_tags, require
from local_aws.clock import CLOCK

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

MAX_PLANS: Final = 100
MAX_SELECTIONS: Final = 30
MAX_VAULTS: Final = 30
MAX_WINDOW_DAYS: Final = 365
MAX_START_HOURS: Final = 168
DEFAULT_WINDOW_DAYS: Final = 30
DEFAULT_START_HOURS: Final = 24
LATEST: Final = "LATEST_WITHIN_WINDOW"
ALGORITHMS: Final = (LATEST, "RANDOM_WITHIN_WINDOW")
POINT_TYPES: Final = ("CONTINUOUS", "SNAPSHOT")

_NAME: Final = re.compile(r"[a-zA-Z0-9_]{1,50}")
_VAULT_ARN: Final = re.compile(r"arn:aws[a-z-]*:backup:[a-z0-9-]+:\d{12}:backup-vault:[a-zA-Z0-9\-_*]{1,50}")


@dataclass(frozen=True)
class PointChoice:
    """Which recovery point of a table a plan restores: its `RecoveryPointSelection`."""

    algorithm: str
    include_vaults: tuple[str, ...]
    exclude_vaults: tuple[str, ...]
    types: tuple[str, ...]
    window_days: int

    @classmethod
    def from_request(cls, members: Mapping[str, Any], before: "PointChoice | None" = None) -> "PointChoice":
        """Read and check the member, taking what it leaves out from `before`.

        Raises:
            MissingParameterValueException: It lacks what it must have.
            InvalidParameterValueException: Something in it is wrong.
        """
        known = before.to_result() if before is not None else {"SelectionWindowDays": DEFAULT_WINDOW_DAYS}
        given = {**known, **{name: value for name, value in members.items() if value is not None}}
        algorithm = require("Algorithm", given.get("Algorithm"))
        check_choice("Algorithm", algorithm, ALGORITHMS)
        types = tuple(given.get("RecoveryPointTypes") or ())
        require("RecoveryPointTypes", "".join(types))
        for each in types:
            check_choice("RecoveryPointTypes", each, POINT_TYPES)
        days = given["SelectionWindowDays"]
        if not 1 <= days <= MAX_WINDOW_DAYS:
            raise InvalidParameterValueException(f"Invalid SelectionWindowDays {days}: 1 to {MAX_WINDOW_DAYS}.")
        include = tuple(given.get("IncludeVaults") or ())
        exclude = tuple(given.get("ExcludeVaults") or ())
        require("IncludeVaults", "".join(include))
        if len(include) + len(exclude) > MAX_VAULTS:
            raise InvalidParameterValueException(f"At most {MAX_VAULTS} vaults can be named.")
        for arn in (*include, *exclude):
            if arn != "*" and not _VAULT_ARN.fullmatch(arn):
                raise InvalidParameterValueException(f"Invalid vault {arn!r}: a backup vault's ARN, or '*'.")
        return cls(algorithm, include, exclude, types, days)

    def to_result(self) -> dict[str, Any]:
        return {
            "Algorithm": self.algorithm,
            "IncludeVaults": list(self.include_vaults),
            "ExcludeVaults": list(self.exclude_vaults),
            "RecoveryPointTypes": list(self.types),
            "SelectionWindowDays": self.window_days,
        }

    def choose(self, points: list[RecoveryPoint], now: datetime) -> RecoveryPoint | None:
        """Return the recovery point to restore, None if none is eligible."""
        since = now - timedelta(days=self.window_days)
        eligible = [
            point
            for point in points
            if point.status in USABLE
            and since <= point.created_at <= now
            and "SNAPSHOT" in self.types  # a table has no continuous backups in AWS Backup
            and _named(point.vault.backup_vault_arn, self.include_vaults)
            and not _named(point.vault.backup_vault_arn, self.exclude_vaults)
        ]
        if not eligible:
            return None
        if self.algorithm == LATEST:
            return max(eligible, key=lambda point: (point.created_at, point.sequence))
        chosen: RecoveryPoint = mock_random.choice(eligible)
        return chosen


@dataclass(eq=False)
class TestingPlan:
    """One restore testing plan. `revision` rises with each update: runs of earlier schedules are off."""

    name: str
    arn: str
    sequence: int
    created_at: datetime
    creator_request_id: str | None
    choice: PointChoice
    expression: str
    timezone: str
    start_hours: int
    schedule: Schedule
    revision: int = 0
    updated_at: datetime | None = None
    executed_at: datetime | None = None
    selections: dict[str, TestingSelection] = field(default_factory=dict)

    def to_list_result(self) -> dict[str, Any]:
        """Return a RestoreTestingPlanForList."""
        return {
            "RestoreTestingPlanName": self.name,
            "RestoreTestingPlanArn": self.arn,
            "CreationTime": self.created_at,
            "LastUpdateTime": self.updated_at,
            "LastExecutionTime": self.executed_at,
            "ScheduleExpression": self.expression,
            "ScheduleExpressionTimezone": self.timezone,
            "StartWindowHours": self.start_hours,
        }

    def to_result(self) -> dict[str, Any]:
        """Return a RestoreTestingPlanForGet."""
        return {
            **self.to_list_result(),
            "CreatorRequestId": self.creator_request_id,
            "RecoveryPointSelection": self.choice.to_result(),
        }


class RestoreTesting:
    """The restore testing plans of one account and Region."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._plans: dict[str, TestingPlan] = {}

    def __iter__(self) -> Iterator[TestingPlan]:
        return iter(list(self._plans.values()))

    def get(self, name: str) -> TestingPlan:
        """Return a plan.

        Raises:
            ResourceNotFoundException: No such plan.
        """
        plan = self._plans.get(name)
        if plan is None:
            raise ResourceNotFoundException(f"Restore testing plan {name} does not exist.")
        return plan

    def create(
        self, document: Mapping[str, Any], tags: Mapping[str, str], creator_request_id: str | None
    ) -> TestingPlan:
        """Make a plan, or return the one that the same request made.

        Raises:
            AlreadyExistsException: There is a plan of that name.
            LimitExceededException: There are too many.
            MissingParameterValueException: The document lacks something.
            InvalidParameterValueException: Something in it is wrong.
        """
        name = check_testing_name("RestoreTestingPlanName", document.get("RestoreTestingPlanName"))
        if (existing := self._plans.get(name)) is not None:
            if creator_request_id is not None and existing.creator_request_id == creator_request_id:
                return existing
            raise AlreadyExistsException(f"Restore testing plan {name} already exists.")
        if len(self._plans) >= MAX_PLANS:
            raise LimitExceededException(f"An account can have at most {MAX_PLANS} restore testing plans.")
        check_tags(tags)
        backend, now = self._backend, CLOCK.now()
        where = f"arn:{backend.partition}:backup:{backend.region_name}:{backend.account_id}"
        expression = require("ScheduleExpression", document.get("ScheduleExpression"))
        timezone = document.get("ScheduleExpressionTimezone") or DEFAULT_TIMEZONE
        plan = TestingPlan(
            name=name,
            arn=f"{where}:restore-testing-plan:{name}-{backend.new_id()}",
            sequence=backend.next_sequence(),
            created_at=now,
            creator_request_id=creator_request_id,
            choice=PointChoice.from_request(document.get("RecoveryPointSelection") or {}),
            expression=expression,
            timezone=timezone,
            start_hours=_start_hours(document.get("StartWindowHours", DEFAULT_START_HOURS)),
            schedule=_schedule(expression, timezone, now),
        )
        self._plans[name] = plan
        backend.put_tags(plan.arn, tags)
        self._plan_next(plan, now)
        return plan

    def update(self, name: str, document: Mapping[str, Any]) -> TestingPlan:
        """Change what the document names of a plan.

        Raises:
            ResourceNotFoundException: No such plan.
            InvalidParameterValueException: Something in the document is wrong.
        """
        plan, now = self.get(name), CLOCK.now()
        choice = PointChoice.from_request(document.get("RecoveryPointSelection") or {}, plan.choice)
        expression = document.get("ScheduleExpression") or plan.expression
        timezone = document.get("ScheduleExpressionTimezone") or plan.timezone
        hours = document.get("StartWindowHours")
        start_hours = plan.start_hours if hours is None else _start_hours(hours)
        plan.schedule = _schedule(expression, timezone, now)
        plan.choice, plan.expression, plan.timezone, plan.start_hours = choice, expression, timezone, start_hours
        plan.revision += 1
        plan.updated_at = now
        self._plan_next(plan, now)
        return plan

    def delete(self, name: str) -> None:
        """Delete a plan without selections.

        Raises:
            InvalidRequestException: It has selections, or does not exist: the operation declares no other error.
        """
        plan = self._plans.get(name)
        if plan is None:
            raise InvalidRequestException(f"Restore testing plan {name} does not exist.")
        if plan.selections:
            raise InvalidRequestException(
                f"Restore testing plan {name} cannot be deleted: delete its selections first."
            )
        self._backend.tagger.delete_all_tags_for_resource(plan.arn)
        del self._plans[name]

    def add_selection(
        self, plan_name: str, document: Mapping[str, Any], creator_request_id: str | None
    ) -> TestingSelection:
        """Give a plan a selection, or return the one that the same request made.

        Raises:
            ResourceNotFoundException: No such plan.
            AlreadyExistsException: It has a selection of that name.
            LimitExceededException: It has too many.
            MissingParameterValueException: The document lacks something.
            InvalidParameterValueException: Something in it is wrong.
        """
        plan = self.get(plan_name)
        name = check_testing_name("RestoreTestingSelectionName", document.get("RestoreTestingSelectionName"))
        if (existing := plan.selections.get(name)) is not None:
            if creator_request_id is not None and existing.creator_request_id == creator_request_id:
                return existing
            raise AlreadyExistsException(f"Restore testing plan {plan_name} has a selection {name} already.")
        if len(plan.selections) >= MAX_SELECTIONS:
            raise LimitExceededException(f"A restore testing plan can have at most {MAX_SELECTIONS} selections.")
        selection = read_selection(
            document, name=name, plan_name=plan_name, creator_request_id=creator_request_id, now=CLOCK.now()
        )
        plan.selections[name] = selection
        return selection

    def update_selection(self, plan_name: str, name: str, document: Mapping[str, Any]) -> TestingSelection:
        """Change what the document names of a selection.

        Raises:
            ResourceNotFoundException: No such plan or selection.
            InvalidParameterValueException: Something in the document is wrong.
        """
        before = self.selection(plan_name, name)
        selection = read_selection(
            {**before.to_document(), **document},
            name=name,
            plan_name=plan_name,
            creator_request_id=before.creator_request_id,
            now=before.created_at,
        )
        self.get(plan_name).selections[name] = selection
        return selection

    def selection(self, plan_name: str, name: str) -> TestingSelection:
        """Return a selection of a plan.

        Raises:
            ResourceNotFoundException: No such plan or selection.
        """
        selection = self.get(plan_name).selections.get(name)
        if selection is None:
            raise ResourceNotFoundException(f"Restore testing plan {plan_name} has no selection {name}.")
        return selection

    def remove_selection(self, plan_name: str, name: str) -> None:
        """Delete a selection.

        Raises:
            ResourceNotFoundException: No such plan or selection.
        """
        del self.get(plan_name).selections[self.selection(plan_name, name).name]

    def inferred_metadata(self, vault_name: str | None, arn: str | None) -> dict[str, str]:
        """Return what a test would restore a recovery point with.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing-inferred-metadata.html.

        Raises:
            ResourceNotFoundException: No such vault or recovery point.
        """
        self._backend.recovery_points.get(require("BackupVaultName", vault_name), require("RecoveryPointArn", arn))
        return _inferred()

    def _plan_next(self, plan: TestingPlan, after: datetime) -> None:
        following, revision = plan.schedule.next_after(after), plan.revision
        if following is not None:
            self._backend.agenda.add(following, lambda at: self._fire(plan, revision, at))

    def _fire(self, plan: TestingPlan, revision: int, at: datetime) -> None:
        if self._plans.get(plan.name) is not plan or plan.revision != revision:
            return
        self._plan_next(plan, at)
        plan.executed_at = at
        started: set[str] = set()
        for selection in list(plan.selections.values()):
            for point in self._points(plan, selection, at):
                if point.resource_arn not in started:
                    started.add(point.resource_arn)
                    self._start(plan, selection, point)

    def _points(self, plan: TestingPlan, selection: TestingSelection, at: datetime) -> Iterator[RecoveryPoint]:
        if selection.resource_type != RESOURCE_TYPE:
            return
        by_table: dict[str, list[RecoveryPoint]] = {}
        for point in self._backend.recovery_points:
            by_table.setdefault(point.resource_arn, []).append(point)
        for arn in sorted(by_table):
            latest = max(by_table[arn], key=lambda point: point.sequence)
            tags = self._backend.tagger.get_tag_dict_for_resource(latest.arn)
            chosen = plan.choice.choose(by_table[arn], at) if selection.chooses(arn, tags) else None
            if chosen is not None:
                yield chosen

    def _start(self, plan: TestingPlan, selection: TestingSelection, point: RecoveryPoint) -> None:
        request = RestoreRequest(
            recovery_point_arn=point.arn,
            metadata={**_inferred(), **selection.overrides},
            iam_role_arn=selection.role_arn,
            copy_tags=False,
        )
        test = RestoreTest(plan.arn, selection.validation_hours)
        self._backend.restore_jobs.start(request, None, test=test)


def check_testing_name(member: str, name: str | None) -> str:
    """Return the name of a plan or selection, if it is one."""
    given = require(member, name)
    if not _NAME.fullmatch(given):
        raise InvalidParameterValueException(f"Invalid {member} {given!r}: 1 to 50 letters, digits or underscores.")
    return given


def _inferred() -> dict[str, str]:
    return {
        "deletionProtection": "false",
        "encryptionType": "Default",
        "targetTableName": f"{RESTORE_TEST_TAG}-{str(mock_random.uuid4())[:8]}",
    }


def _schedule(expression: str, timezone: str, now: datetime) -> Schedule:
    if not expression.startswith("cron("):
        raise InvalidParameterValueException(f"Invalid ScheduleExpression {expression!r}: must be a cron expression.")
    return parse_schedule(expression, timezone, anchor=now)


def _start_hours(hours: int) -> int:
    if not 1 <= hours <= MAX_START_HOURS:
        raise InvalidParameterValueException(f"Invalid StartWindowHours {hours}: 1 to {MAX_START_HOURS}.")
    return hours


def _named(arn: str, names: tuple[str, ...]) -> bool:
    return any(arn.startswith(name.removesuffix("*")) if name.endswith("*") else arn == name for name in names)
