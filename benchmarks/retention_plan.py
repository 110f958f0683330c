"""Time and memory of a retention plan of a whole fleet.

Two years of backups: a fifth were drilled, of which a fiftieth FAILED; half have an expiry; some are tagged::

    python benchmarks/retention_plan.py
    python benchmarks/retention_plan.py --points 1000000 --tables 10000 --rounds 1
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

from reporting import Spread, Table, machine

from recovery_retention.lifecycles import lifecycle_warnings
from recovery_retention.planner import plan_cleanup
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Proof, Result

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
POLICY = KeepPolicy.from_dict(
    {"last": 7, "hourly": 24, "daily": 35, "weekly": 12, "monthly": 11, "yearly": 2, "within": "3d",
     "within_weekly": "6m", "tags": ["keep"], "keep_proven": 2, "floor": 3, "timezone": "Europe/Berlin"}
)  # fmt: skip
WANTED_SECONDS, WANTED_MEGABYTES = 5.0, 500.0


def fleet(points: int, tables: int) -> tuple[list[RecoveryPoint], dict[str, Proof]]:
    """Return a fleet's points in no order, and the verdicts on some of them."""
    choice = random.Random(20261130)
    made, verdicts = [], {}
    per_table = points // tables
    for table in range(tables):
        for number in range(per_table):
            arn = f"arn:aws:backup:us-east-1:123456789012:recovery-point:{table:06d}-{number:06d}"
            at = NOW - dt.timedelta(hours=24 * number * 730 / per_table + choice.random())
            made.append(
                RecoveryPoint(
                    arn, f"table-{table}", "COMPLETED", at, managed=True, vault_name="vault", size_bytes=10**9,
                    tags=(("keep", "yes"),) if choice.random() < 0.01 else (),
                    delete_at=at + dt.timedelta(days=366) if choice.random() < 0.5 else None,
                )
            )  # fmt: skip
            if choice.random() < 0.2:
                verdicts[arn] = Proof(Result.PROVEN if choice.random() < 0.98 else Result.FAILED)
    choice.shuffle(made)
    return made, verdicts


def megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Measure and print; 1 if the aim for 100,000 points is missed."""
    parser = argparse.ArgumentParser(description="Time and memory of a retention plan.")
    parser.add_argument("--points", type=int, default=100_000, help="recovery points [100000]")
    parser.add_argument("--tables", type=int, default=1_000, help="over so many tables [1000]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    options = parser.parse_args()
    points, verdicts = fleet(options.points, options.tables)
    before = megabytes()
    wall, cpu = [], []
    for _ in range(options.rounds):
        started, worked = time.perf_counter(), time.process_time()
        made = plan_cleanup(points, PolicySet(POLICY), NOW, Circumstances(verdicts=verdicts))
        warnings = lifecycle_warnings(made.keep, PolicySet(POLICY), NOW)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - worked)
    table = Table(
        f"A plan of {len(points):,} recovery points over {options.tables:,} tables",
        ("seconds", "CPU seconds", "peak MB", "of it the points", "kept", "deleted", "drills", "lifecycle warnings"),
        [
            (
                Spread.of(wall).text(2),
                Spread.of(cpu).text(2),
                f"{megabytes():.0f}",
                f"{before:.0f}",
                f"{len(made.keep):,}",
                f"{len(made.delete):,}",
                f"{len(made.drills):,}",
                f"{len(warnings):,}",
            )
        ],
        [machine()],
    )
    print(table.markdown())
    met = min(cpu) < WANTED_SECONDS and megabytes() < WANTED_MEGABYTES
    print(f"Aim: under {WANTED_SECONDS:g} s and {WANTED_MEGABYTES:g} MB: {'met' if met else 'missed'}")
    return 0 if met or options.points > 100_000 else 1


if __name__ == "__main__":
    sys.exit(main())
