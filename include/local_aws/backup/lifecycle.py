"""Lifecycle of a recovery point: when it goes to cold storage and when it is deleted.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from local_aws.backup.exceptions import InvalidParameterValueException

MAX_DAYS: Final = 36_500
MIN_COLD_DAYS: Final = 90  # what goes to cold storage has to stay there this long
_FOR_EVER: Final = -1


@dataclass(frozen=True)
class Lifecycle:
    """Days from the recovery point's creation; None: never."""

    cold_after_days: int | None = None
    delete_after_days: int | None = None
    archive_opt_in: bool | None = None

    @classmethod
    def from_request(cls, members: Mapping[str, Any] | None) -> "Lifecycle":
        """Read and check the `Lifecycle` member of a request; -1 means never.

        Raises:
            InvalidParameterValueException: Days out of bounds, or fewer than 90 days in cold storage.
        """
        members = members or {}
        cold = _days("MoveToColdStorageAfterDays", members.get("MoveToColdStorageAfterDays"))
        delete = _days("DeleteAfterDays", members.get("DeleteAfterDays"))
        if cold is not None and delete is not None and delete < cold + MIN_COLD_DAYS:
            raise InvalidParameterValueException(
                f"Invalid lifecycle. DeleteAfterDays ({delete}) must be at least {MIN_COLD_DAYS} days"
                f" greater than MoveToColdStorageAfterDays ({cold})."
            )
        return cls(cold, delete, members.get("OptInToArchiveForSupportedResources"))

    def to_result(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "MoveToColdStorageAfterDays": self.cold_after_days,
            "DeleteAfterDays": self.delete_after_days,
            "OptInToArchiveForSupportedResources": self.archive_opt_in,
        }
        return {name: value for name, value in result.items() if value is not None}

    def cold_at(self, created: datetime) -> datetime | None:
        return _later(created, self.cold_after_days)

    def delete_at(self, created: datetime) -> datetime | None:
        return _later(created, self.delete_after_days)

    def calculated(self, created: datetime) -> dict[str, datetime]:
        """Return the `CalculatedLifecycle` of a recovery point made at `created`."""
        dates = {"MoveToColdStorageAt": self.cold_at(created), "DeleteAt": self.delete_at(created)}
        return {name: date for name, date in dates.items() if date is not None}


def _days(name: str, days: int | None) -> int | None:
    if days is None or days == _FOR_EVER:
        return None
    if not 1 <= days <= MAX_DAYS:
        raise InvalidParameterValueException(
            f"Invalid lifecycle. {name} cannot be less than 1 or more than {MAX_DAYS} days"
        )
    return days


def _later(created: datetime, days: int | None) -> datetime | None:
    return None if days is None else created + timedelta(days=days)
