"""Requests a second: the local AWS beside stock moto_server, in one run.

Both servers run as processes of their own, and are asked in turn, round by round, by the same clients::

    python benchmarks/emulator_speed.py
    python benchmarks/emulator_speed.py --seconds 2 --rounds 3 --clients 4 --json

The clients sign nothing and keep their connections where the server does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from emulator_servers import COMMANDS, Client, Serving, batch, item, make_table
from reporting import Spread, Table, machine

_SCANNED = 5_000
_TABLE, _READ_TABLE = "written", "read"


def _batch_write(client: Client, number: int) -> None:
    client.call("DynamoDB_20120810.BatchWriteItem", batch(_TABLE, 25 * number))


def _scan(client: Client, number: int) -> None:
    client.call("DynamoDB_20120810.Scan", {"TableName": _READ_TABLE, "Limit": 1000})


def _get_item(client: Client, number: int) -> None:
    made = item(number % _SCANNED)
    key = {name: made[name] for name in ("order_id", "item_id")}
    client.call("DynamoDB_20120810.GetItem", {"TableName": _READ_TABLE, "Key": key})


def _list_vaults(client: Client, number: int) -> None:
    client.request("GET", "/backup-vaults/", "backup")


OPERATIONS: dict[str, Callable[[Client, int], None]] = {
    "BatchWriteItem of 25": _batch_write,
    "Scan of 1,000 items": _scan,
    "GetItem": _get_item,
    "ListBackupVaults": _list_vaults,
}


def _drive(port: int, operation: str, seconds: float, worker: int, done: Any) -> None:
    client, call = Client(port), OPERATIONS[operation]
    number = worker * 10_000_000 // 25
    call(client, number)
    calls, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        number += 1
        calls += 1
        call(client, number)
    done.put(calls / (time.monotonic() - started))


def rate(port: int, operation: str, seconds: float, clients: int) -> float:
    """Return how many calls a second some client processes got answered."""
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    workers = [
        context.Process(target=_drive, args=(port, operation, seconds, number, done)) for number in range(clients)
    ]
    for worker in workers:
        worker.start()
    rates = [done.get(timeout=seconds + 120) for _ in workers]
    for worker in workers:
        worker.join()
    return float(sum(rates))


def measure(seconds: float, rounds: int, clients: int) -> dict[str, dict[str, list[float]]]:
    """Return calls a second by operation, server and round."""
    found: dict[str, dict[str, list[float]]] = {name: {server: [] for server in COMMANDS} for name in OPERATIONS}
    for number in range(rounds):
        for name in OPERATIONS:
            for server in list(COMMANDS) if number % 2 == 0 else reversed(COMMANDS):
                with Serving(server, free_port()) as serving:
                    client = Client(serving.port)
                    for table in (_TABLE, _READ_TABLE):
                        make_table(client, table)
                    if name != "BatchWriteItem of 25":
                        for first in range(0, _SCANNED, 25):
                            client.call("DynamoDB_20120810.BatchWriteItem", batch(_READ_TABLE, first))
                    found[name][server].append(rate(serving.port, name, seconds, clients))
                    sys.stderr.write(f"round {number + 1}, {name}, {server}: {found[name][server][-1]:.1f} a second\n")
    return found


def table(found: dict[str, dict[str, list[float]]], clients: int) -> Table:
    """Sum up as a table."""
    result = Table(
        f"Calls a second, {clients} client processes",
        ("operation", "local_aws", "stock moto_server", "times as fast"),
    )
    for name, rates in found.items():
        ratios = [ours / theirs for ours, theirs in zip(rates["local_aws"], rates["moto_server"], strict=True)]
        row = [Spread.of(rates[server]).text() for server in ("local_aws", "moto_server")]
        result.rows.append((name, *row, Spread.of(ratios).text(2)))
    result.notes.append(
        "Median and range of the rounds, each on a fresh process; the order alternates, the clients share the cores."
    )
    return result


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks/emulator_speed.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each measurement asks (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (%(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="client processes (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(argv)
    found = measure(options.seconds, options.rounds, options.clients)
    if options.json:
        print(json.dumps({"machine": machine(), "clients": options.clients, "calls_a_second": found}, indent=2))
    else:
        print(f"{machine()}\n\n{table(found, options.clients).markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
