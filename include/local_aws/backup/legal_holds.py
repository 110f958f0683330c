"""Legal holds: recovery points that nobody and no lifecycle may delete until the hold is cancelled.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/legalhold.html.

A hold keeps the points that exist when it is made and that its selection names. AWS documents no more than
that the selection is applied at creation, so points made later are not held here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from local_aws.backup.exceptions import (
    InvalidParameterValueException,
    InvalidResourceStateException,
    LimitExceededException,
    ResourceNotFoundException,
)
from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.validation import check_tags, require
from local_aws.clock import CLOCK

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

MAX_HOLDS: Final = 50
"""Active legal holds of an account, see
https://docs.aws.amazon.com/aws-backup/latest/devguide/aws-backup-limits.html."""


class LegalHoldStatus(StrEnum):
    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"


@dataclass(frozen=True)
class HoldSelection:
    """Which recovery points to hold; an empty part selects all.

    Attributes:
        vault_names: Vaults of the points.
        resource_arns: What the points are backups of.
        made_from: Beginning of the time in which they were created.
        made_to: End of that time, inclusive.
    """

    vault_names: tuple[str, ...] = ()
    resource_arns: tuple[str, ...] = ()
    made_from: datetime | None = None
    made_to: datetime | None = None

    @classmethod
    def from_request(cls, members: Mapping[str, Any] | None) -> "HoldSelection":
        """Read the `RecoveryPointSelection` member of a request.

        Raises:
            InvalidParameterValueException: A date range that lacks an end, or ends before it begins.
        """
        members = members or {}
        dates = members.get("DateRange") or {}
        if dates and not {"FromDate", "ToDate"} <= set(dates):
            raise InvalidParameterValueException("DateRange needs both FromDate and ToDate.")
        start, end = (_aware(dates[name]) if dates else None for name in ("FromDate", "ToDate"))
        if start is not None and end is not None and end < start:
            raise InvalidParameterValueException(f"Invalid DateRange: ToDate {end} lies before FromDate {start}.")
        return cls(tuple(members.get("VaultNames") or ()), tuple(members.get("ResourceIdentifiers") or ()), start, end)

    def selects(self, point: RecoveryPoint) -> bool:
        return (
            (not self.vault_names or point.vault.backup_vault_name in self.vault_names)
            and (not self.resource_arns or point.resource_arn in self.resource_arns)
            and (self.made_from is None or point.created_at >= self.made_from)
            and (self.made_to is None or point.created_at <= self.made_to)
        )

    def to_result(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if self.vault_names:
            result["VaultNames"] = list(self.vault_names)
        if self.resource_arns:
            result["ResourceIdentifiers"] = list(self.resource_arns)
        if self.made_from is not None and self.made_to is not None:
            result["DateRange"] = {"FromDate": self.made_from, "ToDate": self.made_to}
        return result


@dataclass(eq=False)
class LegalHold:
    """One legal hold. `point_arns` are the points that it holds."""

    hold_id: str
    arn: str
    sequence: int
    title: str
    description: str
    selection: HoldSelection
    created_at: datetime
    point_arns: frozenset[str] = field(repr=False)
    status: LegalHoldStatus = LegalHoldStatus.CREATING
    cancelled_at: datetime | None = None
    cancel_description: str | None = None
    retained_until: datetime | None = None

    @property
    def in_force(self) -> bool:
        return self.status is not LegalHoldStatus.CANCELED

    def to_list_result(self) -> dict[str, Any]:
        """Return the members of ListLegalHolds."""
        return {
            "Title": self.title,
            "Status": str(self.status),
            "Description": self.description,
            "LegalHoldId": self.hold_id,
            "LegalHoldArn": self.arn,
            "CreationDate": self.created_at,
            "CancellationDate": self.cancelled_at,
        }

    def to_result(self) -> dict[str, Any]:
        """Return the members of GetLegalHold."""
        return self.to_list_result() | {
            "CancelDescription": self.cancel_description,
            "RetainRecordUntil": self.retained_until,
            "RecoveryPointSelection": self.selection.to_result(),
        }


class LegalHolds:
    """All legal holds of one account and Region.

    Attributes:
        on_release: Called with each point that is held no more, and when.
    """

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._holds: dict[str, LegalHold] = {}
        self._by_token: dict[str, LegalHold] = {}
        self.on_release: list[Callable[[RecoveryPoint, datetime], None]] = []

    def __iter__(self) -> Iterator[LegalHold]:
        return iter(list(self._holds.values()))

    def get(self, hold_id: str) -> LegalHold:
        """Return a hold.

        Raises:
            ResourceNotFoundException: No such hold.
        """
        hold = self._holds.get(hold_id)
        if hold is None:
            raise ResourceNotFoundException(f"Legal hold {hold_id} does not exist.")
        return hold

    def create(
        self,
        title: str | None,
        description: str | None,
        selection: HoldSelection,
        tags: Mapping[str, str],
        token: str | None,
    ) -> LegalHold:
        """Hold the selected points from now on, or return the hold that the same token made.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateLegalHold.html.

        Raises:
            MissingParameterValueException: No title or no description.
            LimitExceededException: Fifty holds are in force already.
        """
        if token is not None and token in self._by_token:
            return self._by_token[token]
        check_tags(tags)
        if sum(hold.in_force for hold in self) >= MAX_HOLDS:
            raise LimitExceededException(f"An account can have at most {MAX_HOLDS} active legal holds.")
        backend = self._backend
        hold_id = backend.new_id()
        hold = LegalHold(
            hold_id=hold_id,
            arn=f"arn:{backend.partition}:backup:{backend.region_name}:{backend.account_id}:legal-hold:{hold_id}",
            sequence=backend.next_sequence(),
            title=require("Title", title),
            description=require("Description", description),
            selection=selection,
            created_at=CLOCK.now(),
            point_arns=frozenset(point.arn for point in backend.recovery_points if selection.selects(point)),
        )
        self._holds[hold_id] = hold
        if token is not None:
            self._by_token[token] = hold
        backend.put_tags(hold.arn, tags)
        backend.agenda.add(hold.created_at, lambda _at: self._activate(hold))
        return hold

    def cancel(self, hold_id: str, description: str | None, retain_days: int | None) -> None:
        """Release what a hold keeps, and its record later on.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CancelLegalHold.html.

        Args:
            hold_id: Which.
            description: Why, for the record.
            retain_days: When the record of the hold goes too; None: it stays.

        Raises:
            ResourceNotFoundException: No such hold.
            MissingParameterValueException: No description.
            InvalidParameterValueException: A negative number of days.
            InvalidResourceStateException: It is cancelled already.
        """
        hold = self.get(hold_id)
        why = require("CancelDescription", description)
        if retain_days is not None and retain_days < 0:
            raise InvalidParameterValueException(f"RetainRecordInDays must be zero or more, got {retain_days}.")
        if hold.status in (LegalHoldStatus.CANCELING, LegalHoldStatus.CANCELED):
            raise InvalidResourceStateException(f"Legal hold {hold_id} cannot be cancelled: it is {hold.status}.")
        now = CLOCK.now()
        hold.status = LegalHoldStatus.CANCELING
        hold.cancel_description = why
        self._backend.agenda.add(now, lambda at: self._release(hold, at))
        if retain_days is not None:
            hold.retained_until = now + timedelta(days=retain_days)
            self._backend.agenda.add(hold.retained_until, lambda _at: self._forget(hold))

    def holding(self, point: RecoveryPoint) -> list[LegalHold]:
        """Return the holds that keep a point."""
        return [hold for hold in self if hold.in_force and point.arn in hold.point_arns]

    def points_of(self, hold_id: str) -> list[RecoveryPoint]:
        """Return the points of a hold that still exist; none for a hold that does not."""
        hold = self._holds.get(hold_id)
        arns = hold.point_arns if hold is not None else frozenset()
        return [point for point in self._backend.recovery_points if point.arn in arns]

    @staticmethod
    def _activate(hold: LegalHold) -> None:
        if hold.status is LegalHoldStatus.CREATING:
            hold.status = LegalHoldStatus.ACTIVE

    def _release(self, hold: LegalHold, at: datetime) -> None:
        hold.status = LegalHoldStatus.CANCELED
        hold.cancelled_at = at
        for point in self.points_of(hold.hold_id):
            if not self.holding(point):
                for released in self.on_release:
                    released(point, at)

    def _forget(self, hold: LegalHold) -> None:
        self._holds.pop(hold.hold_id, None)
        self._backend.tagger.delete_all_tags_for_resource(hold.arn)


def blocked_from_lifecycle(backend: "BackupBackend", point: RecoveryPoint) -> str | None:
    """Return why a lifecycle may not move or delete a point now, None if nothing is in its way.

    Only a legal hold is: a vault lock keeps callers away from points, not the lifecycle that it guards. A hold's
    end calls `LegalHolds.on_release`, so that what fell due meanwhile can be done.
    """
    holds = backend.legal_holds.holding(point)
    if not holds:
        return None
    names = ", ".join(sorted(hold.hold_id for hold in holds))
    return f"The recovery point cannot be moved or deleted because it has active legal hold(s): {names}"


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
