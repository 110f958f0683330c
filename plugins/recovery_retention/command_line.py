"""``python -m recovery_retention plan``: what a policy would do, before it is trusted."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from recovery_retention.costs import Prices, saving
from recovery_retention.documents import DocumentError, Inventory, moment, read_inventory, read_policies
from recovery_retention.inventory import inventory_alarms
from recovery_retention.lifecycles import lifecycle_warnings
from recovery_retention.plan import InventoryError
from recovery_retention.planner import CleanupPlan, plan_cleanup
from recovery_retention.policy import PolicySet
from recovery_retention.tables import as_table

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
