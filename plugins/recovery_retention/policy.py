"""The policy language: what a table's recovery points are kept by.

The keep rules are those that users of restic know, with restic's meaning
(https://restic.readthedocs.io/en/stable/060_forget.html):

* ``last``, ``hourly``, ``daily``, ``weekly``, ``monthly``, ``yearly`` count hours, days, ... that *have* a point,
  newest first, and keep the newest point of each; a negative number means all of them. A week is an ISO week.
* ``within`` keeps what was made less than a duration before the table's newest point (not before now: where backups
  stop, nothing runs out); ``within_hourly`` and so on keep the newest of each hour within it.
* ``tags`` keep what carries them.

A point is kept if any rule keeps it. Beside these, ``keep_proven``, ``floor`` and ``min_age`` are our own.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final, Literal, Self

from recovery_retention.durations import Duration
from recovery_retention.plan import PolicyError
from restore_proof.verdict import Depth

Period = Literal["hourly", "daily", "weekly", "monthly", "yearly"]
PERIODS: Final[tuple[Period, ...]] = ("hourly", "daily", "weekly", "monthly", "yearly")
COUNTS: Final = ("last", *PERIODS)
WITHINS: Final = ("within", *(f"within_{period}" for period in PERIODS))
_DURATIONS: Final = (*WITHINS, "min_age", "prove_ahead")
_LEAST: Final = {"keep_proven": 1, "floor": 1, "max_proof_attempts": 1}

Manage = Literal["ours", "all"]


@dataclass(frozen=True)
class KeepPolicy:
    """What keeps a table's recovery points.

    Attributes:
        last: so many newest points; negative means all, as in the five that follow.
        hourly: the newest point of each of so many hours that have one; daily, weekly, monthly, yearly alike.
        within: what is newer than so long before the newest; within_hourly and so on: one of each hour of those.
        tags: what carries all tags of one of these entries, ``key`` or ``key=value``, several joined by commas.
        keep_proven: so many newest points that were PROVEN at least `min_depth` deep; 1 or more.
        min_depth: see `keep_proven`, and what counts as proof before something is lost.
        floor: so many newest points that can be restored and are not known to be bad, whatever the rest says.
        min_age: nothing younger goes.
        timezone: IANA name of the zone whose hours, days, ... are meant.
        manage: ``ours``: points that this project did not make stay; ``all``: they are treated like ours.
        prove_first: points that would be lost before any newer one was proven wait for a drill.
        prove_ahead: how long before AWS's own expiry a drill is asked for: its duration, and one more schedule.
        max_proof_attempts: after so many drills without a proof the point counts as bad.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Duration = field(default_factory=Duration)
    within_hourly: Duration = field(default_factory=Duration)
    within_daily: Duration = field(default_factory=Duration)
    within_weekly: Duration = field(default_factory=Duration)
    within_monthly: Duration = field(default_factory=Duration)
    within_yearly: Duration = field(default_factory=Duration)
    tags: tuple[str, ...] = ()
    keep_proven: int = 1
    min_depth: Depth = Depth.FULL
    floor: int = 1
    min_age: Duration = field(default_factory=Duration)
    timezone: str = "Etc/UTC"
    manage: Manage = "ours"
    prove_first: bool = True
    prove_ahead: Duration = field(default_factory=lambda: Duration(days=3))
    max_proof_attempts: int = 3

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise PolicyError(f"{name} must be {least} or more, not {getattr(self, name)}.")
        if self.manage not in ("ours", "all"):
            raise PolicyError(f"manage must be ours or all, not {self.manage!r}.")
        if any(not part.strip() for tag in self.tags for part in tag.split(",")):
            raise PolicyError(f"tags has an empty tag in {list(self.tags)!r}: write key or key=value.")
        if not any(getattr(self, name) for name in (*COUNTS, *WITHINS, "tags", "min_age")):
            raise PolicyError(
                "The policy has no keep rule, so all but the floor would go: give at least one of "
                f"{', '.join((*COUNTS, *WITHINS, 'tags', 'min_age'))} (last: -1 keeps everything)."
            )
        try:
            zoneinfo.ZoneInfo(self.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise PolicyError(
                f"timezone {self.timezone!r} is not known: give an IANA name, such as Etc/UTC."
            ) from error

    @cached_property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone."""
        return zoneinfo.ZoneInfo(self.timezone)

    def count_of(self, name: str) -> int:
        """Return the number that one of `COUNTS` has."""
        number: int = getattr(self, name)
        return number

    def within_of(self, name: str) -> Duration:
        """Return the duration that one of `WITHINS` has."""
        duration: Duration = getattr(self, name)
        return duration

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read a policy as YAML or JSON give it: durations as text, ``tags`` as a list.

        Raises:
            PolicyError: naming the field that is wrong.
        """
        known = {each.name for each in fields(cls)}
        if unknown := sorted(str(name) for name in document.keys() - known):
            raise PolicyError(f"{', '.join(unknown)}: not known in a policy; there is {', '.join(sorted(known))}.")
        return cls(**{name: _read(name, value) for name, value in document.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as `from_dict` reads it."""
        return {each.name: _written(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True)
class PolicySet:
    """The policy of every table: its own, or the default.

    Attributes:
        default: for tables that have none of their own.
        tables: by table name.
    """

    default: KeepPolicy
    tables: Mapping[str, KeepPolicy] = field(default_factory=dict)

    def of(self, table_name: str) -> KeepPolicy:
        """Return a table's policy."""
        return self.tables.get(table_name, self.default)


def _read(name: str, value: Any) -> Any:
    try:
        if name in _DURATIONS:
            return value if isinstance(value, Duration) else Duration.parse(value)
        if name == "min_depth":
            return Depth(value)
    except ValueError as error:
        raise PolicyError(f"{name}: {error}") from error
    if name == "tags":
        if isinstance(value, str) or not all(isinstance(tag, str) for tag in value):
            raise PolicyError(f"tags: {value!r} is not a list of texts, such as [keep, team=orders].")
        return tuple(value)
    wanted: type = {"timezone": str, "manage": str, "prove_first": bool}.get(name, int)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise PolicyError(f"{name}: {value!r} is not {'a whole number' if wanted is int else wanted.__name__}.")
    return value


def _written(value: Any) -> Any:
    if isinstance(value, Duration | Depth):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
