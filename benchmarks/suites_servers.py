"""The benchmarks on servers that keep what is written: how fast a load is end to end, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from measuring import Bench, BenchmarkError, Measured
from reporting import Aim, Result, Spread, Table
from servers import NotInstalledError, Server, running
from suites import expect, load_job

_FASTER = 3.0
_MIXED_ROWS = 5_000
# What the aim was set for; the local AWS is slow enough to hide the client.
_FAST_SERVERS = ("roto", "roto_jemalloc", "dynalite")
_METHODS = ("load_ours", "load_batch_writer", "load_prepared")


def wall(bench: Bench) -> Result:
    """Load into real servers, on fresh tables: items a second, against boto3's Table.batch_writer."""
    table = Table(
        "Load into a server that keeps the items, end to end",
        ("server", "items", "method", "items a second", "times as fast", "client CPU µs an item", "server CPU µs"),
    )
    aims = []
    rounds = 0
    left_out = []
    for name in _names(bench):
        try:
            with _server(bench, name) as server:
                items = max(1, bench.options.wall_items // server.slowness)
                ours, theirs, prepared = _race(bench, server, items)
        except NotInstalledError as error:
            left_out.append(str(error))
            continue
        rounds = len(ours)
        ratios, ceiling = (
            Spread.of([b.wall / a.wall for a, b in zip(ones, theirs, strict=True)]) for ones in (ours, prepared)
        )
        for method, measured, ratio in (
            ("`load_csv`", ours, ratios.text()),
            ("`Table.batch_writer`", theirs, "1"),
            ("requests made beforehand", prepared, ceiling.text()),
        ):
            table.rows.append((server.title, f"{items:,}", method, *_figures(measured, ratio)))
        if name in _FAST_SERVERS:
            wanted = f"{_FASTER:g} times the items a second at least"
            aims.append(Aim(f"load into {server.title}, one process", wanted, ratios.text(), ratios.median >= _FASTER))
    _expect_any(table, left_out)
    table.notes.append(
        f"{rounds} interleaved rounds, the order alternated, a new table each time, after one load of each method that "
        "does not count. Median, and range in brackets; the ratio is taken round by round. The server is one process "
        "on the same cores. Requests made beforehand, signed and unmeasured, are what the server takes at most: there "
        "is nothing left of the client but sending and waiting, over as many connections as `load_csv` has."
    )
    return Result([table], aims)


def _race(bench: Bench, server: Server, items: int) -> Sequence[Sequence[Measured]]:
    """Measure the methods in turn, on a server that is warm."""

    def jobs(count: int) -> list[dict[str, Any]]:
        there = {"endpoint": server.url, "server_pid": server.pid, "fresh": count}
        return [{**load_job(bench, method, count), **there} for method in _METHODS]

    bench.rounds(jobs(max(1, items // 5)), 1)
    found = bench.rounds(jobs(items))
    for measured in found:
        expect(measured, items=items)
    return found


def _figures(measured: Sequence[Measured], ratio: str) -> tuple[str, ...]:
    rates = Spread.of([one.items / one.wall for one in measured])
    client = Spread.of([one.cpu_per_item for one in measured])
    server = Spread.of([one.server_cpu / one.items * 1e6 for one in measured])
    return rates.text(0), ratio, client.text(), server.text() if server.most else "not known"


def agree(bench: Bench) -> Result:
    """Load one file into every server: the fingerprints are equal, and that of the file's own rows."""
    path, items = bench.mixed_file(min(_MIXED_ROWS, bench.options.wall_items))
    table = Table(
        f"The same load and fingerprint of {items:,} items of mixed values on every server",
        ("where", "items", "fingerprint's digest"),
    )
    wanted = bench.measure("file_fingerprint", csv=path)
    found = [("the file, read by csv.reader", wanted)]
    left_out = []
    for name in bench.options.servers:
        try:
            with running(name) as server:
                job: dict[str, Any] = {"endpoint": server.url, "server_pid": server.pid, "csv": path, "fresh": items}
                found.append((server.title, bench.measure("load_and_fingerprint", **job)))
        except NotInstalledError as error:
            left_out.append(str(error))
    for title, one in found:
        table.rows.append((title, f"{one.items:,}", f"`{one.extra['digest'][:16]}…`"))
        if one.items != items or one.extra["written"] != items or one.extra["digest"] != wanted.extra["digest"]:
            raise BenchmarkError(
                f"{title} has {one.items} items and the fingerprint {one.extra['digest']}; the file has {items} and "
                f"{wanted.extra['digest']}."
            )
    _expect_any(table, left_out, besides=1)
    table.notes.append(
        "Numbers of 38 digits, with exponents and needless zeroes, empty and quoted text, text beyond the Basic "
        "Multilingual Plane, keys that come again with their number written in another way, rows that are rejected."
    )
    aim = Aim("the same load and fingerprint on every server", "equal digests", f"{len(found)} of {len(found)}", True)
    return Result([table], [aim])


def _expect_any(table: Table, left_out: Sequence[str], *, besides: int = 0) -> None:
    """Note the servers that were left out, and refuse a table of none.

    Args:
        table: what was measured.
        left_out: why each of the others was not.
        besides: rows of it that are of no server.

    Raises:
        BenchmarkError: no server was measured.
    """
    if len(table.rows) <= besides:
        raise BenchmarkError(f"No server was there to load into. {' '.join(left_out)}".rstrip())
    table.notes += [f"Left out: {reason}" for reason in left_out]


def _names(bench: Bench) -> tuple[str, ...]:
    return (*bench.options.servers, *(("",) if bench.options.endpoint_url else ()))


@contextmanager
def _server(bench: Bench, name: str) -> Iterator[Server]:
    if name:
        with running(name) as server:
            yield server
    elif bench.options.endpoint_url:
        yield Server(bench.options.server or "the server given", bench.options.endpoint_url)
