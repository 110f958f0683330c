"""Measure the bulk engine beside the tools it stands in for, on a null server on this machine.

All benchmarks, and some of them only::

    python benchmarks/run.py
    python benchmarks/run.py --quick load fingerprint

Results are printed as Markdown; what is going on goes to the standard error stream. What a benchmark does wrong
(items lost, differences not found) ends it with an error and the exit code 1.

``wall`` measures on a real server, and runs only where one is named::

    python benchmarks/run.py --endpoint-url http://127.0.0.1:8000 --server dynalite wall
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from measuring import Bench, BenchmarkError, Options, machine
from suites import BENCHMARKS

_QUICK = Options(
    items=5_000,
    sizes=(5_000, 10_000),
    rounds=3,
    starved_items=900,
    dead_seconds=3.0,
    nasty_rows=500,
    shards=(2, 64),
)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="Measure the bulk engine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run ({', '.join(BENCHMARKS)}); all if none")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: a look, not a result")
    parser.add_argument("--items", type=_positive, metavar="N", help="items of a plain measurement")
    parser.add_argument("--sizes", metavar="SMALL,BIG", help="items of `growth`, such as 20000,1000000")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="rounds of interleaved measurements")
    parser.add_argument("--starved-items", type=_positive, metavar="N", help="items for the server short of capacity")
    parser.add_argument("--dead-seconds", type=float, metavar="S", help="how long a server that takes nothing is tried")
    parser.add_argument("--nasty-rows", type=_positive, metavar="N", help="rows of each file of `shards`")
    parser.add_argument("--endpoint-url", metavar="URL", help="a DynamoDB server that may be written to, for `wall`")
    parser.add_argument("--server", metavar="TEXT", help="what that server is, for the heading")
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    if args.sizes is not None:
        try:
            small, big = (_positive(size) for size in args.sizes.split(","))
        except ValueError:
            parser.error(f"--sizes is {args.sizes!r}; expected two numbers, such as 20000,1000000")
        args.sizes = (small, big)
    return args


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{value} is not positive")
    return value


def options(args: argparse.Namespace) -> Options:
    """Return how much is to be measured."""
    names = ("items", "sizes", "rounds", "starved_items", "dead_seconds", "nasty_rows", "endpoint_url", "server")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    return replace(_QUICK if args.quick else Options(), **given)


def _those_for(args: argparse.Namespace) -> list[str]:
    """Return the benchmarks that can run with these arguments."""
    return [name for name in BENCHMARKS if name != "wall" or args.endpoint_url]


def main(argv: Sequence[str]) -> int:
    """Run what was asked for; return the exit code."""
    args = parse(argv)
    print(f"`python benchmarks/run.py {shlex.join(argv)}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n{machine()}\n")
    failed = 0
    with Bench(options(args), log=lambda text: print(text, file=sys.stderr, flush=True)) as bench:
        for name in args.names or _those_for(args):
            try:
                tables = BENCHMARKS[name](bench)
            except BenchmarkError as error:
                failed += 1
                print(f"### {name}: failed\n\n{error}\n", flush=True)
                continue
            for table in tables:
                print(table.markdown(), flush=True)
    print(f"At the end: {machine().rpartition('; ')[2]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
