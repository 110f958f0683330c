"""The ``retention`` parts of ``include/protection.yaml``: what keeps a table's points, and how cleanups run.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from recovery_retention.durations import Duration
from recovery_retention.policy import KeepPolicy
from restore_proof.verdict import Depth

BUILT_IN_RETENTION: Final[Mapping[str, Any]] = {
    "last": 0,
    "hourly": 0,
    "daily": 35,
    "weekly": 12,
    "monthly": 11,
    "yearly": 0,
    "tags": ["keep"],
    "keep_proven": 1,
    "min_depth": "full",
    "floor": 3,
    "min_age": "1d",
    "timezone": "Etc/UTC",
    "manage": "ours",
    "prove_first": True,
    "prove_ahead": "3d",
    "max_proof_attempts": 3,
}
"""Eleven months and not twelve: the built-in lifecycle deletes after 366 days, which is less than twelve of 31."""

Mode = Literal["preview", "apply"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _duration(text: str) -> str:
    return str(Duration.parse(text))


DurationText = Annotated[str, AfterValidator(_duration)]
Count = Annotated[int, Field(ge=-1, le=1_000_000, strict=True)]
Least1 = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
TagEntry = Annotated[str, StringConstraints(pattern=r"^[^,\s][^,]*(,[^,]+)*$", max_length=2_000)]


class RetentionPart(_Section):
    """What keeps the recovery points of a table; see :class:`recovery_retention.policy.KeepPolicy`. Null: built-in."""

    last: Count | None = None
    hourly: Count | None = None
    daily: Count | None = None
    weekly: Count | None = None
    monthly: Count | None = None
    yearly: Count | None = None
    within: DurationText | None = None
    within_hourly: DurationText | None = None
    within_daily: DurationText | None = None
    within_weekly: DurationText | None = None
    within_monthly: DurationText | None = None
    within_yearly: DurationText | None = None
    tags: list[TagEntry] | None = None
    keep_proven: Least1 | None = None
    min_depth: Depth | None = None
    floor: Least1 | None = None
    min_age: DurationText | None = None
    timezone: str | None = None
    manage: Literal["ours", "all"] | None = None
    prove_first: Annotated[bool, Field(strict=True)] | None = None
    prove_ahead: DurationText | None = None
    max_proof_attempts: Least1 | None = None


class RetentionRun(_Section):
    """How a cleanup runs, for the whole file.

    Attributes:
        mode: what a scheduled run does: ``preview`` only shows, ``apply`` deletes.
        approve_above: more deletions than this need a person, as anything proven or bad always does.
        max_deletions: at most so many points go in one run.
        max_shrink_percent: so many of a vault's points may be missing since the last run without an alarm.
        may_extend: whether lifecycles may be moved to keep a point until its proof.
        may_hold: whether legal holds may be made for that.
        move_lifecycles: whether lifecycles that delete earlier than the rules want are moved, within the vault's lock.
        staged_days: so long staged files stay; ``rejects_days``: refused rows; ``scratch_days``: what runs hand on.
        warm_price: dollars for a GB and month of warm storage; ``cold_price`` of cold.
    """

    mode: Mode = "preview"
    approve_above: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 10
    max_deletions: Annotated[int, Field(ge=1, le=500, strict=True)] = 50
    max_shrink_percent: Annotated[float, Field(ge=0, le=100)] = 10
    may_extend: Annotated[bool, Field(strict=True)] = True
    may_hold: Annotated[bool, Field(strict=True)] = True
    move_lifecycles: Annotated[bool, Field(strict=True)] = False
    staged_days: Annotated[int, Field(ge=1, le=36_500, strict=True)] = 90
    rejects_days: Annotated[int, Field(ge=1, le=36_500, strict=True)] = 180
    # AWS Backup remembers jobs for 30 days; what they were started for has to be there as long.
    scratch_days: Annotated[int, Field(ge=31, le=36_500, strict=True)] = 60
    warm_price: Annotated[float, Field(ge=0)] = 0.10
    cold_price: Annotated[float, Field(ge=0)] = 0.03


def keep_policy(merged: Mapping[str, Any]) -> KeepPolicy:
    """Return the policy that merged ``retention`` parts come to; what is empty has the language's own default.

    Raises:
        PolicyError: parts do not go together.
    """
    return KeepPolicy.from_dict({name: value for name, value in merged.items() if value is not None})


RETENTION_REMEDIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("last", "hourly", "daily", "weekly", "monthly", "yearly"),
        "give how many to keep: a whole number, 0 for none, -1 for all",
    ),
    **dict.fromkeys(
        (
            "within", "within_hourly", "within_daily", "within_weekly", "within_monthly", "within_yearly", "min_age",
            "prove_ahead",
        ),
        "give years, months, days and hours, such as 1y6m, 35d or 12h",
    ),
    **dict.fromkeys(("keep_proven", "floor", "max_proof_attempts"), "give a whole number from 1 on"),
    "tags": "give a list, such as [keep, team=orders]; an entry with commas asks for all of its tags",
    "min_depth": f"choose {', '.join(Depth)}",
    "manage": "choose ours (what this project made) or all",
    "mode": "choose preview (show only) or apply (delete)",
    "max_deletions": "give a whole number from 1 to 500",
    "approve_above": "give a whole number from 0 on",
    "max_shrink_percent": "give 0 to 100",
    **dict.fromkeys(("prove_first", "may_extend", "may_hold", "move_lifecycles"), "write true or false"),
    **dict.fromkeys(("staged_days", "rejects_days"), "give whole days from 1 to 36500"),
    "scratch_days": "give whole days from 31 to 36500: AWS remembers jobs for 30",
    **dict.fromkeys(("warm_price", "cold_price"), "give dollars for a GB and month, 0 or more"),
}  # fmt: skip
