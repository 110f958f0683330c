"""A plan as a table for people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from recovery_retention.costs import Saving
from recovery_retention.lifecycles import LifecycleWarning
from recovery_retention.plan import Decision
from recovery_retention.planner import CleanupPlan


def as_table(made: CleanupPlan, warnings: Sequence[LifecycleWarning], saved: Saving, approval: Sequence[str]) -> str:
    """Return a plan for people: a line a point with every rule that decided it, and what else is to be done."""
    rows: list[tuple[str, ...]] = [("what", "table", "made (UTC)", "recovery point", "rules", "free from")]
    for word, decisions in (("delete", made.delete), ("blocked", made.blocked), ("keep", made.keep)):
        rows += [_row(word, decision) for decision in decisions]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", f"{len(made.delete)} to delete, {len(made.blocked)} blocked, {len(made.keep)} kept."]
    lines += [f"Deleting them frees {saved.text}."] if made.delete else []
    lines += [f"Alarm: {alarm}" for alarm in made.alarms]
    lines += [f"A person has to agree: {reason}" for reason in approval]
    for drill in made.drills:
        by = f"by {drill.by.astimezone(dt.UTC):%Y-%m-%d %H:%M}" if drill.by else "before anything goes"
        lines.append(f"Prove first: {drill.point.arn}, {by}; {len(drill.waiting)} wait for it.")
    lines += [f"{rescue.action.capitalize()}: {rescue.point.arn}: {rescue.text}" for rescue in made.rescues]
    lines += [f"Release legal hold {hold}: no longer needed." for hold in made.releases]
    lines += [f"Lifecycle: {warning.decision.point.arn}: {warning.text}" for warning in warnings]
    return "\n".join(lines) + "\n"


def _row(word: str, decision: Decision) -> tuple[str, ...]:
    point = decision.point
    return (
        word,
        point.table_name,
        f"{point.created_at.astimezone(dt.UTC):%Y-%m-%d %H:%M}",
        point.arn.rpartition(":")[2],
        " ".join(reason.rule for reason in decision.reasons),
        f"{decision.free_at.astimezone(dt.UTC):%Y-%m-%d}" if decision.free_at else "",
    )
