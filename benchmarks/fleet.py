"""``table_backup`` over a thousand tables on the local AWS, some of which end badly; and what a round of polling costs.

::

    python benchmarks/fleet.py
    python benchmarks/fleet.py --tables 100 --bad 8

Starts the local AWS and Airflow as processes, makes the tables, runs the DAG, and checks that every table is in the
summary as it has to be: a recovery point each, and each bad end named with AWS's message. Then it asks how all jobs
are, once by listing them and once by describing each, and prints calls and client CPU of both. Ends with the exit
code 1 if anything is not as it has to be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "scripts"), str(PROJECT / "plugins")]

from local_stack import LocalStack  # noqa: E402

DAG = "table_backup"
BAD_ENDS = ("FAILED", "EXPIRED", "PARTIAL", "ABORTED")
TAG = {"Key": "team", "Value": "fleet"}
WAITING_TASK = "wait_for_jobs"
ROUNDS = 5


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="table_backup over many tables on the local AWS.")
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--bad", type=int, default=20, help="tables whose job ends badly")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds that the DAG run may take")
    return parser.parse_args(argv)


def make_tables(dynamodb: Any, names: Sequence[str]) -> None:
    """Make tables with three items each."""
    for name in names:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[TAG],
        )
        items = [{"PutRequest": {"Item": {"id": {"S": f"{name}-{n}"}, "n": {"N": str(n)}}}} for n in range(3)]
        dynamodb.batch_write_item(RequestItems={name: items})


def order_bad_ends(stack: LocalStack, names: Sequence[str]) -> dict[str, str]:
    """Let the jobs of some tables end badly, in turn in each way; return the message of each."""
    messages = {}
    for number, name in enumerate(names):
        state = BAD_ENDS[number % len(BAD_ENDS)]
        messages[name] = f"{state} of {name}, as ordered"
        fault = {"operation": "StartBackupJob", "end_state": state, "message": messages[name], "table": name}
        stack.aws_admin("POST", "/local-aws/faults", fault)
    return messages


def read_summary(stack: LocalStack) -> dict[str, Any]:
    """Return the run's summary."""
    s3 = stack.aws_client("s3")
    (bucket,) = [found["Name"] for found in s3.list_buckets()["Buckets"] if found["Name"].startswith("orders-backup")]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="fleet/")
    (key,) = [o["Key"] for page in pages for o in page.get("Contents", []) if o["Key"].endswith("summary.json")]
    document: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return document


def measure(ask: Callable[[], int]) -> tuple[int, float]:
    """Return the calls of one round, and the median of its client CPU in milliseconds."""
    spent, calls = [], 0
    for _ in range(ROUNDS):
        began = time.process_time()
        calls = ask()
        spent.append(1000 * (time.process_time() - began))
    return calls, statistics.median(spent)


def poll_costs(stack: LocalStack, job_ids: Sequence[str]) -> None:
    """Print what a round costs by listing, and by describing each job."""
    backup = stack.aws_client("backup")

    def by_listing() -> int:
        seen, calls = 0, 0
        # As the hook and the trigger ask: AWS sends a thousand entries a page at most.
        for page in backup.get_paginator("list_backup_jobs").paginate(PaginationConfig={"PageSize": 1000}):
            calls += 1
            seen += len(page["BackupJobs"])
        if seen < len(job_ids):
            raise SystemExit(f"{seen} jobs were listed, {len(job_ids)} were started.")
        return calls

    def by_describing() -> int:
        for job_id in job_ids:
            backup.describe_backup_job(BackupJobId=job_id)
        return len(job_ids)

    print(f"\n| a round over {len(job_ids)} jobs | calls | client CPU (ms, median of {ROUNDS}) |\n|---|---|---|")
    for name, ask in (("ListBackupJobs, paged", by_listing), ("DescribeBackupJob each", by_describing)):
        calls, spent = measure(ask)
        print(f"| {name} | {calls} | {spent:.0f} |")


def judge(summary: dict[str, Any], names: Sequence[str], messages: dict[str, str]) -> list[str]:
    """Return what is not as it has to be."""
    wrong = []
    if set(summary["failed"]) != set(messages):
        wrong.append(f"{len(summary['failed'])} tables failed, {len(messages)} were to")
    wrong += [
        f"{name}: {reason}"
        for name, reason in summary["failed"].items()
        if messages.get(name, "no bad end was ordered") not in reason
    ]
    missing = sorted(set(names) - set(messages) - set(summary["done"]))
    if missing:
        wrong.append(f"without a recovery point: {missing[:10]}")
    return wrong


def run(options: argparse.Namespace) -> int:
    """Run it all; return the exit code."""
    names = [f"fleet-{n:04}" for n in range(options.tables)]
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        stack = LocalStack(
            Path(folder) / "airflow", aws_args=["--job-seconds=5", "--restore-seconds=1"], schedule=False
        )
        with stack:
            stack.wait_run("backup_stack", stack.trigger_dag("backup_stack", {"prove_protection": False}), timeout=600)
            make_tables(stack.aws_client("dynamodb"), names)
            messages = order_bad_ends(stack, names[:: max(1, len(names) // options.bad)][: options.bad])
            began = time.monotonic()
            conf = {"which": "all", "tables": names, "tag": "team=fleet", "settle_seconds": 0, "starts_per_second": 50}
            run_id = stack.trigger_dag(DAG, conf)
            stack.wait_run(DAG, run_id, timeout=options.timeout, interval=5.0)
            took = time.monotonic() - began
            tasks = stack.rest.task_instances(DAG, run_id)
            summary = read_summary(stack)
            jobs = stack.aws_client("backup").get_paginator("list_backup_jobs").paginate()
            poll_costs(stack, [job["BackupJobId"] for page in jobs for job in page["BackupJobs"]])
    waiting = [task for task in tasks if task["task_id"] == WAITING_TASK]
    print(f"\n{len(summary['done'])} recovery points, {len(summary['failed'])} named failures, in {took:.0f} s")
    print(f"Tasks that waited: {len(waiting)}; mapped tasks: {sum(task['map_index'] >= 0 for task in tasks)}")
    print(f"Figures: {summary['figures']}")
    for name, reason in sorted(summary["failed"].items()):
        print(f"  {name}: {reason}")
    wrong = judge(summary, names, messages)
    for what in wrong:
        print(f"WRONG: {what}")
    return 1 if wrong or len(waiting) != 1 else 0


if __name__ == "__main__":
    raise SystemExit(run(parse(None)))
