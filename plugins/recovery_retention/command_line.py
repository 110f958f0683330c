"""``python -m recovery_retention plan``: what a policy would do, before it is trusted."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from recovery_retention.costs import Prices, Saving, saving
from recovery_retention.documents import DocumentError, Inventory, moment, read_inventory, read_policies
from recovery_retention.inventory import inventory_alarms
from recovery_retention.lifecycles import LifecycleWarning, lifecycle_warnings
from recovery_retention.plan import Decision, InventoryError
from recovery_retention.planner import CleanupPlan, plan_cleanup
from recovery_retention.policy import PolicySet

DONE, WRONG, ALARMED = 0, 2, 3

_EPILOG: Final = """\
A policy is YAML or JSON: `daily: 7` and so on, or `default:` and `tables:` by name. The points of a vault:

  aws backup list-recovery-points-by-backup-vault --backup-vault-name VAULT --output json > points.json

The exit status is 0, 2 where a file is wrong, 3 where the inventory looks wrong and nothing would be deleted.
"""

PolicyReader = Callable[[Path], PolicySet]


def main(
    arguments: Sequence[str] | None = None,
    *,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    policies_of: PolicyReader = read_policies,
) -> int:
    """Plan and print; return the exit status.

    Args:
        arguments: of the command line.
        clock: where ``--now`` is left out.
        policies_of: reads the file of policies.
    """
    options = _parser().parse_args(arguments)
    try:
        now = moment(options.now) if options.now else clock()
        policies = policies_of(options.policy)
        inventory = read_inventory(options.points, assume_managed=options.assume_managed)
        made, text = _planned(policies, inventory, now, options)
    except (DocumentError, InventoryError) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG
    sys.stdout.write(text)
    return ALARMED if made.alarms else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recovery_retention",
        description="Plan the retention of recovery points. Nothing is ever deleted by this command.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plan = commands.add_parser(
        "plan",
        help="show what a policy keeps and lets go",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plan.add_argument("--policy", type=Path, required=True, help="file of policies, YAML or JSON")
    plan.add_argument("--points", type=Path, required=True, help="file of recovery points, JSON")
    plan.add_argument("--now", help="moment to plan for, ISO 8601 with time zone [now]")
    plan.add_argument("--format", choices=["table", "json"], default="table", help="[table]")
    plan.add_argument(
        "--assume-managed", action="store_true", help="take points that do not say so for ones this project made"
    )
    plan.add_argument("--approve-above", type=int, default=10, help="more deletions than this need a person [10]")
    plan.add_argument("--warm-price", type=float, default=Prices().warm, help="$ for a GB and month [%(default)s]")
    plan.add_argument("--cold-price", type=float, default=Prices().cold, help="$ for a GB and month [%(default)s]")
    return parser


def _planned(
    policies: PolicySet, inventory: Inventory, now: dt.datetime, options: argparse.Namespace
) -> tuple[CleanupPlan, str]:
    alarms = inventory_alarms(inventory.points, now)
    made = plan_cleanup(inventory.points, policies, now, inventory.around, alarms=alarms)
    warnings = lifecycle_warnings(made.keep, policies, now, inventory.around.vaults)
    prices = Prices(warm=options.warm_price, cold=options.cold_price)
    saved = saving((decision.point for decision in made.delete), now, prices)
    approval = made.approval_reasons(options.approve_above)
    if options.format == "json":
        document: dict[str, Any] = {
            "now": now.isoformat(),
            **made.to_dict(),
            "lifecycle_warnings": [warning.to_dict() for warning in warnings],
            "saving": saved.to_dict(),
            "approval": list(approval),
        }
        return made, json.dumps(document, indent=2) + "\n"
    return made, as_table(made, warnings, saved, approval)


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
