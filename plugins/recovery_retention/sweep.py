"""Which restored tables a dead run left behind: a pure choice, each with its reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recovery_retention.names import (
    KEEP_TAG,
    MANAGED_BY,
    MANAGED_BY_TAG,
    RUN_TAG,
    UndeletableTableError,
    ensure_deletable_table,
)


@dataclass(frozen=True)
class RestoredTable:
    """A table that may be one of ours.

    Attributes:
        name: its name.
        created_at: when it was made (aware): DescribeTable's CreationDateTime.
        status: DescribeTable's TableStatus.
        tags: its tags. AWS does not bring tags back with a restore, so a table whose run died early has none.
        recorded_run: the run that started its restore, by the project's own records, as `run_tag` writes it.
        deletion_protected: DescribeTable's DeletionProtectionEnabled.
    """

    name: str
    created_at: dt.datetime
    status: str = "ACTIVE"
    tags: Mapping[str, str] = field(default_factory=dict)
    recorded_run: str | None = None
    deletion_protected: bool = False

    @property
    def ours(self) -> bool:
        """Whether this project made it, by its tag or by the records."""
        return self.tags.get(MANAGED_BY_TAG) == MANAGED_BY or self.recorded_run is not None

    @property
    def run(self) -> str | None:
        """The run that made it, if known."""
        return self.tags.get(RUN_TAG) or self.recorded_run


@dataclass(frozen=True)
class SweepDecision:
    """What is to happen with one table, and why."""

    table: RestoredTable
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON-ready values."""
        return {
            "table_name": self.table.name,
            "run": self.table.run,
            "created_at": self.table.created_at.astimezone(dt.UTC).isoformat(),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class SweepPlan:
    """Every table that was looked at, in exactly one of two lists, by name."""

    sweep: tuple[SweepDecision, ...]
    leave: tuple[SweepDecision, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        return {
            "sweep": [decision.to_dict() for decision in self.sweep],
            "leave": [decision.to_dict() for decision in self.leave],
        }


def plan_sweep(
    tables: Iterable[RestoredTable],
    *,
    allowed_sources: Collection[str],
    older_than: dt.timedelta,
    now: dt.datetime,
    active_runs: Collection[str],
) -> SweepPlan:
    """Choose the restored tables that nobody needs any more.

    Args:
        tables: the tables to look at, in any order.
        allowed_sources: the tables whose restored copies may be deleted.
        older_than: a table younger than this stays: its run may have started it a moment ago.
        now: the moment to plan for (aware).
        active_runs: the runs that have not ended, as `run_tag` writes them.
    """
    sweep: list[SweepDecision] = []
    leave: list[SweepDecision] = []
    for table in sorted(tables, key=lambda table: table.name):
        objection = _objection(table, allowed_sources, older_than, now, active_runs)
        if objection is None:
            sweep.append(SweepDecision(table, f"Its run {table.run} is over and left it behind."))
        else:
            leave.append(SweepDecision(table, objection))
    return SweepPlan(sweep=tuple(sweep), leave=tuple(leave))


def _objection(
    table: RestoredTable,
    allowed_sources: Collection[str],
    older_than: dt.timedelta,
    now: dt.datetime,
    active_runs: Collection[str],
) -> str | None:
    try:
        ensure_deletable_table(table.name, allowed_sources)
    except UndeletableTableError:
        return "Its name is not that of a restored copy of an allowed source."
    objections = (
        (not table.ours, "It has neither our tag nor a record of ours."),
        (table.run is None, "Which run made it is not known: look at it, and delete it by hand."),
        (table.run in active_runs, f"Its run {table.run} is still active."),
        (KEEP_TAG in table.tags, f"It is to be kept: {table.tags.get(KEEP_TAG)}. Remove the tag when done."),
        (now - table.created_at <= older_than, f"It is not yet older than {older_than}."),
        (
            table.deletion_protected,
            "Deletion protection is on, which a restore never sets: someone wants it.",
        ),
        (table.status != "ACTIVE", f"It is {table.status}; only an ACTIVE table can be deleted."),
    )
    return next((text for applies, text in objections if applies), None)
