"""One large table through the whole DAG on the local AWS: phases, times and peak memory.

::

    python benchmarks/whole_dag.py --orders 400000
    python benchmarks/whole_dag.py --orders 20000 --load-shard-mb 1 --scan-part-mb 2

Makes an order file, starts the local AWS and Airflow as processes, runs ``backup_stack`` and then
``orders_backup_restore`` on it, and prints how long each task took, what was loaded and read, and how much memory
each kind of process had at most. Ends with the exit code 1 unless the verdict is PROVEN.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "scripts"), str(PROJECT / "include" / "data")]

import psutil  # type: ignore[import-untyped]  # noqa: E402
from generate_orders import generate_rows, to_csv, write_file  # noqa: E402

from local_stack import LocalStack  # noqa: E402

STORY = "orders_backup_restore"


class Memory:
    """The most memory that a process of each kind had, in bytes; looked at now and then while a stack is waited for."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}
        self.stack: LocalStack | None = None
        self._looks = 0

    def look(self) -> None:
        """Look at all processes; cheap enough to be called many times a second."""
        self._looks += 1
        if self.stack is None or self._looks % 20:
            return
        for process in self.stack.processes():
            try:
                kind, size = self._kind(process), process.memory_info().rss
            except psutil.Error:
                continue
            self.peaks[kind] = max(self.peaks.get(kind, 0), size)

    @staticmethod
    def _kind(process: psutil.Process) -> str:
        line = " ".join(process.cmdline())
        if "local_aws" in line:
            return "local AWS"
        return "a task" if "airflow task" in line or "task supervisor" in line else "other Airflow processes"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="One large table through the whole DAG on the local AWS.")
    parser.add_argument("--orders", type=int, default=400_000, help="about 2.5 items each")
    parser.add_argument("--load-shard-mb", type=float, default=32.0)
    parser.add_argument("--scan-part-mb", type=float, default=128.0)
    parser.add_argument("--parallelism", type=int, default=max(2, os.cpu_count() or 2))
    parser.add_argument("--timeout", type=float, default=7200.0, help="seconds that the DAG run may take")
    return parser.parse_args(argv)


def seconds_of(task: dict[str, Any]) -> float:
    """Return how long a task instance worked, waiting included."""
    if not task["start_date"] or not task["end_date"]:
        return 0.0
    began, ended = (datetime.fromisoformat(task[name].replace("Z", "+00:00")) for name in ("start_date", "end_date"))
    return (ended - began).total_seconds()


def print_tasks(tasks: Sequence[dict[str, Any]]) -> None:
    """Print a table of the tasks: how many instances, the longest, all together."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for task in sorted(tasks, key=lambda task: task["start_date"] or "9"):
        grouped.setdefault(task["task_id"], []).append(task)
    print("| task | instances | longest (s) | together (s) |\n|---|---|---|---|")
    for name, instances in grouped.items():
        took = [seconds_of(task) for task in instances if task["state"] != "skipped"]
        if took:
            print(f"| `{name}` | {len(took)} | {max(took):.1f} | {sum(took):.1f} |")


def run(options: argparse.Namespace) -> int:
    """Run it all; return the exit code."""
    memory = Memory()
    with tempfile.TemporaryDirectory(prefix="whole-dag-") as folder:
        source = Path(folder) / "orders.csv"
        rows = generate_rows(date(2026, 11, 1), orders=options.orders)
        write_file(source, to_csv(rows))
        print(f"{len(rows)} rows, {source.stat().st_size / 1e6:.1f} MB", flush=True)
        del rows
        stack = LocalStack(
            Path(folder) / "airflow",
            aws_args=["--job-seconds=1", "--restore-seconds=1"],
            env={
                "AIRFLOW__BACKUP_FLOWS__LOAD_SHARD_MB": str(options.load_shard_mb),
                "AIRFLOW__BACKUP_FLOWS__SCAN_PART_MB": str(options.scan_part_mb),
            },
            parallelism=options.parallelism,
            schedule=False,
            on_check=memory.look,
        )
        memory.stack = stack
        with stack:
            deployed = stack.trigger_dag("backup_stack", {"prove_protection": False})
            stack.wait_run("backup_stack", deployed, timeout=600)
            run_id = stack.trigger_dag(STORY, {"source": str(source), "settle_seconds": 0})
            state = stack.wait_run(STORY, run_id, timeout=options.timeout, interval=2.0)
            print_tasks(stack.rest.task_instances(STORY, run_id))
            found = stack.rest.xcom(STORY, run_id, "report")
        report: dict[str, Any] = json.loads(found) if isinstance(found, str) else (found or {})
    print(f"\nRun: {state}. Verdict: {report.get('verdict')}")
    for name in ("load", "timings", "scans", "counts"):
        print(f"{name}: {json.dumps(report.get(name))}")
    for kind, size in sorted(memory.peaks.items()):
        print(f"Peak memory, {kind}: {size / 1e6:.0f} MB")
    return 0 if report.get("verdict") == "PROVEN" and state == "success" else 1


if __name__ == "__main__":
    raise SystemExit(run(parse(None)))
