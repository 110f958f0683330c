"""A plan for people: the log, the run's XCom, and the question that a person answers. No Airflow import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from backup_flows.retention.modes import Mode
from backup_flows.retention.planning import Planned
from recovery_retention.tables import as_table

MOST_LINES: Final = 500
"""Of a large fleet the log shows so many lines of what is kept; the plan in S3 has all."""
MOST_ROWS: Final = 100


def log_lines(planned: Planned) -> Iterator[str]:
    """Yield the plan as lines for the log."""
    plan = planned.plan
    whole = as_table(plan, planned.warnings, planned.saving, planned.approval).splitlines()
    kept = max(0, len(plan.keep) - MOST_LINES)
    # First what goes or is blocked, then what stays, then what else is to be done.
    upto = 1 + len(plan.delete) + len(plan.blocked) + len(plan.keep)
    yield from whole[: upto - kept]
    if kept:
        rules = Counter(rule for decision in plan.keep for rule in decision.rules)
        yield f"... and {kept} more that are kept; by rule: {dict(rules.most_common())}"
    yield from whole[upto:]
    if planned.left:
        yield f"{planned.left} more would go; they are left to later runs (max_deletions)."


def preview_rows(planned: Planned) -> dict[str, Any]:
    """Return what goes in this run, as a small table for XCom."""
    rows = [
        {
            "recovery_point": deletion.arn,
            "table": deletion.table,
            "vault": deletion.vault,
            "made": deletion.created_at,
            "size_bytes": deletion.size_bytes,
            "verdict": deletion.verdict,
            "why": deletion.reason,
        }
        for deletion in planned.due[:MOST_ROWS]
    ]
    return {
        "deletions": rows,
        "more": len(planned.due) - len(rows),
        "saving": planned.saving.to_dict(),
        "notes": list(planned.notes),
    }


def approval_text(planned: Planned, mode: Mode, address: str) -> str:
    """Return what is to be agreed to, as Markdown."""
    lines = [f"**{len(planned.due)} recovery points would be deleted**: {planned.saving.text}.", ""]
    if mode.raised:
        lines += ["The form asks to apply the plan, where `protection.yaml` says preview.", ""]
    lines += [f"* {reason}" for reason in (*planned.approval[:MOST_ROWS], *planned.notes[:MOST_ROWS])]
    lines += ["", "| table | made | recovery point | verdict | why |", "|---|---|---|---|---|"]
    lines += [
        f"| {deletion.table} | {deletion.created_at[:16]} | `{deletion.arn.rpartition(':')[2]}` | "
        f"{deletion.verdict or '-'} | {deletion.reason} |"
        for deletion in planned.due[:MOST_ROWS]
    ]
    more = len(planned.due) - MOST_ROWS
    lines += ["", f"... and {more} more."] if more > 0 else []
    lines += ["", f"Every decision with its reasons: `{address}`. No answer in time counts as a refusal."]
    return "\n".join(lines)
