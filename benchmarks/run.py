"""Measure the bulk engine beside the tools it stands in for, on servers on this machine.

All benchmarks, and some of them only::

    python benchmarks/run.py
    python benchmarks/run.py --quick load fingerprint

Results are printed as Markdown; what is going on goes to the standard error stream. What a benchmark does wrong
(items lost, differences not found) ends it with an error and the exit code 1; an aim that was missed is named.

Memory and differences of a million items, which takes a long time and some GB::

    python benchmarks/run.py --large

``wall`` and ``agree`` fetch the servers that they need, and leave out, by name, what this machine can't run. ``wall``
measures on another one too, if it is named::

    python benchmarks/run.py --servers "" --endpoint-url http://127.0.0.1:8000 --server "DynamoDB Local" wall
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import suites
import suites_servers
from measuring import HERE, Bench, BenchmarkError, Options
from reporting import DocumentError, Result, load_average, machine, with_result
from servers import SERVERS

BENCHMARKS: Mapping[str, Callable[[Bench], Result]] = {
    benchmark.__name__: benchmark
    for benchmark in (
        suites.load,
        suites.fingerprint,
        suites.growth,
        suites.diff,
        suites.shards,
        suites.starved,
        suites.dead,
        suites_servers.wall,
        suites_servers.agree,
    )
}
_LARGE_NAMES = ("growth", "diff")
_LARGE = Options(items=1_000_000, sizes=(20_000, 100_000, 1_000_000), dicts_once=True)
_QUICK = Options(
    items=5_000,
    sizes=(5_000, 10_000),
    rounds=3,
    starved_items=900,
    dead_seconds=3.0,
    nasty_rows=500,
    shards=(2, 64),
    wall_items=5_000,
)
_UPDATE = "--update-docs"
DOCUMENT = HERE.parent / "docs" / "performance.md"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="Measure the bulk engine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run ({', '.join(BENCHMARKS)}); all if none")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="smaller and fewer: a look, not a result")
    size.add_argument("--large", action="store_true", help="a million items; growth and diff if nothing is named")
    parser.add_argument("--items", type=_positive, metavar="N", help="items of a plain measurement")
    parser.add_argument("--sizes", metavar="N,N…", help="items of `growth`, such as 20000,1000000")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="rounds of interleaved measurements")
    parser.add_argument("--starved-items", type=_positive, metavar="N", help="items for the server short of capacity")
    parser.add_argument("--dead-seconds", type=float, metavar="S", help="how long a server that takes nothing is tried")
    parser.add_argument("--nasty-rows", type=_positive, metavar="N", help="rows of each file of `shards`")
    parser.add_argument("--wall-items", type=_positive, metavar="N", help="items of `wall` and, at most, of `agree`")
    parser.add_argument("--servers", metavar="NAME,…", help=f"servers of `wall` and `agree` ({', '.join(SERVERS)})")
    parser.add_argument("--endpoint-url", metavar="URL", help="one DynamoDB server more, for `wall`, to be written to")
    parser.add_argument("--server", metavar="TEXT", help="what that server is, for the heading")
    parser.add_argument(_UPDATE, action="store_true", help=f"put the results into docs/{DOCUMENT.name}")
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    if args.sizes is not None:
        try:
            args.sizes = tuple(_positive(size) for size in args.sizes.split(","))
        except ValueError:
            args.sizes = ()
        if len(args.sizes) < 2:
            parser.error("--sizes takes two numbers or more, such as 20000,1000000")
    if args.servers is not None:
        args.servers = tuple(name for name in args.servers.split(",") if name)
        for name in args.servers:
            if name not in SERVERS:
                parser.error(f"there is no server {name!r}; there are {', '.join(SERVERS)}")
    if args.update_docs and args.quick:
        parser.error(f"--quick gives no results; leave it out, or {_UPDATE}")
    return args


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{value} is not positive")
    return value


def options(args: argparse.Namespace) -> Options:
    """Return how much is to be measured."""
    names = (
        *("items", "sizes", "rounds", "starved_items", "dead_seconds", "nasty_rows"),
        *("wall_items", "servers", "endpoint_url", "server"),
    )
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    standard = _QUICK if args.quick else _LARGE if args.large else Options()
    return replace(standard, **given)


def measured_by(argv: Sequence[str], before: float) -> str:
    """Return a line that says by which command, when and where something was measured.

    Args:
        argv: the arguments of the command.
        before: the load average when it began.
    """
    command = shlex.join(["python", "benchmarks/run.py", *(word for word in argv if word != _UPDATE)])
    return (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine()}; load average {before:.1f} before, "
        f"{load_average():.1f} after."
    )


def run_one(name: str, bench: Bench, argv: Sequence[str], document: Path | None) -> None:
    """Run a benchmark, print what it gives and, if asked for, put it into the document.

    Raises:
        BenchmarkError: it failed.
        DocumentError: the document has no place for it.
    """
    before = load_average()
    text = f"{BENCHMARKS[name](bench).markdown()}\n{measured_by(argv, before)}\n"
    print(text, flush=True)
    if document is not None:
        document.write_text(with_result(document.read_text(), name, text))


def main(argv: Sequence[str]) -> int:
    """Run what was asked for; return the exit code."""
    args = parse(argv)
    failed = 0
    with Bench(options(args), log=lambda text: print(text, file=sys.stderr, flush=True)) as bench:
        for name in args.names or (_LARGE_NAMES if args.large else BENCHMARKS):
            try:
                run_one(name, bench, argv, DOCUMENT if args.update_docs else None)
            except (BenchmarkError, DocumentError) as error:
                failed += 1
                print(f"### {name}: failed\n\n{error}\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
