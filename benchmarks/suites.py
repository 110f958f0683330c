"""The benchmarks: what is measured against what, and what must be right for the figures to count."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from made_data import table_name
from measuring import Bench, BenchmarkError, Measured, Spread, Table

_RATE = 300
_BATCH = 25
_DIFFERENCES = 100
_MB = 1e6


def load(bench: Bench) -> list[Table]:
    """Load: CPU an item, against boto3's Table.batch_writer."""
    items = bench.options.items
    jobs = [_load_job(bench, method, items) for method in ("load_ours", "load_batch_writer")]
    ours, theirs = bench.rounds(jobs)
    _expect([*ours, *theirs], items=items, requests_for=items)
    return [_against(f"Load {items:,} items", ("load_csv", ours), ("Table.batch_writer", theirs))]


def fingerprint(bench: Bench) -> list[Table]:
    """Fingerprint: CPU an item, against a boto3 resource scan into a dict."""
    items = bench.options.items
    jobs = [{"method": method, "table": table_name(items)} for method in ("fingerprint_ours", "fingerprint_resource")]
    ours, theirs = bench.rounds(jobs)
    _expect([*ours, *theirs], items=items)
    buckets = ours[0].extra["buckets"]
    title = f"Read {items:,} items: fingerprint of {buckets} buckets"
    return [_against(title, ("take_fingerprint", ours), ("resource scan into a dict", theirs))]


def growth(bench: Bench) -> list[Table]:
    """Memory, and CPU an item, of a big table against a small one."""
    sizes = bench.options.sizes
    table = Table(
        f"From {sizes[0]:,} to {sizes[1]:,} items",
        ("what", "items", "CPU µs an item", "peak memory, MB", "CPU big : small", "memory big : small"),
    )
    found = {
        "load_csv": bench.rounds([_load_job(bench, "load_ours", size) for size in sizes]),
        "take_fingerprint": bench.rounds([{"method": "fingerprint_ours", "table": table_name(size)} for size in sizes]),
    }
    for name, (small, big) in found.items():
        cpu = Spread.of([b.cpu_per_item / s.cpu_per_item for s, b in zip(small, big, strict=True)])
        memory = Spread.of([b.peak / s.peak for s, b in zip(small, big, strict=True)])
        for size, measured, ratios in ((sizes[0], small, ("", "")), (sizes[1], big, (cpu.text(2), memory.text(2)))):
            _expect(measured, items=size)
            peaks = Spread.of([one.peak / _MB for one in measured])
            table.rows.append((name, f"{size:,}", _cpu(measured).text(), peaks.text(0), *ratios))
    table.notes.append(
        "Memory is that of the whole process, interpreter and boto3 included. CPU of the small size has more of the "
        "fixed cost of the first call in it."
    )
    return [table]


def diff(bench: Bench) -> list[Table]:
    """Every difference of two tables, against two dicts of all items."""
    items = bench.options.items
    differences = min(_DIFFERENCES, items)
    job = {"table": table_name(items), "other": table_name(items, differences)}
    rounds = min(3, bench.options.rounds)
    ours, theirs = bench.rounds([{"method": name, **job} for name in ("diff_ours", "diff_resource")], rounds)
    _expect([*ours, *theirs], items=items)
    for one in [*ours, *theirs]:
        if one.extra["differences"] != differences or one.extra["kinds"] != theirs[0].extra["kinds"]:
            raise BenchmarkError(f"{differences} differences were made, these were found: {one.extra}")
    title = f"Find {differences} differences of two tables of {items:,} items"
    table = _against(title, ("diff_tables", ours), ("two dicts", theirs))
    table.notes.append(
        f"All {differences} were found each time (missing, extra, changed: {ours[0].extra['kinds']}). `diff_tables` "
        f"made {ours[0].server['scans']} Scan requests to the dicts' {theirs[0].server['scans']}, reads each table "
        f"twice (fingerprint, then the items of unequal buckets), and kept {ours[0].extra['looked_at']:,} items."
    )
    return [table]


def shards(bench: Bench) -> list[Table]:
    """CSV shards: content-equal to one pass of csv.reader."""
    bench.write_nasty_files()
    options = bench.options
    found = bench.measure("shards", rows=options.nasty_rows, shards=options.shards)
    table = Table(
        "CSV shards of nasty files, read by ranges", ("files times cuts", "not equal to csv.reader", "most shards")
    )
    table.rows.append((str(found.items), str(found.extra["wrong"]), str(found.extra["most_shards"])))
    table.notes.append(
        f"Asked for {', '.join(map(str, options.shards))} shards of each file of {options.nasty_rows:,} rows (quoted "
        "line ends, doubled quotes, LF, CRLF, CR, BOM, no line end at the end). A shard ends only where a record does, "
        "so a file may have fewer than asked for."
    )
    if found.extra["wrong"]:
        raise BenchmarkError(f"{found.extra['wrong']} of {found.items} cuts gave other rows than csv.reader.")
    return [table]


def starved(bench: Bench) -> list[Table]:
    """A server that takes 300 items a second: what is sent for each item needed, and how long it takes."""
    items = bench.options.starved_items
    # The server's bucket is full at first, with one second's items.
    ideal = max(0.0, (items - _RATE) / _RATE)
    needed = math.ceil(items / _BATCH)
    table = Table(
        f"Load {items:,} items where {_RATE} a second are taken",
        ("server refuses", "method", "requests sent : needed", "items sent : needed", "seconds : ideal", "ended"),
    )
    for mode, name in (("unprocessed", "the rest, as UnprocessedItems"), ("throttle", "whole requests")):
        mood = {"mode": mode, "rate": _RATE}
        for method in ("load_ours", "load_batch_writer"):
            one = bench.measure(**_load_job(bench, method, items), mood=mood)
            counts = one.server
            table.rows.append(
                (
                    name,
                    "load_csv" if method == "load_ours" else "Table.batch_writer",
                    f"{counts['requests'] / needed:.2f}",
                    f"{counts['offered'] / items:.2f}",
                    f"{one.wall / ideal:.2f}" if ideal else "-",
                    f"error: {one.error[:90]}" if one.error else f"{counts['accepted']:,} items taken",
                )
            )
            if method == "load_ours" and (one.error or counts["accepted"] != items):
                raise BenchmarkError(f"Of {items} items {counts['accepted']} were taken: {one.error}")
    table.notes.append(
        f"Needed are {needed} requests; ideal are {ideal:.1f} s. Each measured once: the time is the server's to give."
    )
    return [table]


def dead(bench: Bench) -> list[Table]:
    """A server that takes nothing: how it ends."""
    items = min(bench.options.starved_items, 1_000)
    seconds = bench.options.dead_seconds
    table = Table(
        f"Load into a server that takes nothing, {seconds:g} s allowed", ("method", "requests", "seconds", "ended with")
    )
    for method, name in (("load_ours", "load_csv"), ("load_batch_writer", "Table.batch_writer")):
        one = bench.measure(**_load_job(bench, method, items), deadline=seconds, mood={"mode": "dead"})
        if method == "load_ours" and not one.error:
            raise BenchmarkError("A load into a server that takes nothing ended well.")
        ended = one.error.partition(":")[0] if method == "load_ours" else "nothing; stopped from outside"
        table.rows.append((name, str(one.server["requests"]), f"{one.wall:.1f}", ended))
    return [table]


def wall(bench: Bench) -> list[Table]:
    """Load into a real server, on fresh tables: items a second, against boto3's Table.batch_writer."""
    endpoint = bench.options.endpoint_url
    if endpoint is None:
        raise BenchmarkError("`wall` needs --endpoint-url: a DynamoDB server that may be written to.")
    items = bench.options.items
    jobs = [
        {**_load_job(bench, method, items), "endpoint": endpoint, "fresh": items, "table": f"bench-{method}"}
        for method in ("load_ours", "load_batch_writer")
    ]
    ours, theirs = bench.rounds(jobs)
    _expect([*ours, *theirs], items=items)
    ratios = Spread.of([b.wall / a.wall for a, b in zip(ours, theirs, strict=True)])
    table = Table(
        f"Load {items:,} items into {bench.options.server or 'the server given'}, end to end",
        ("method", "items a second", "times as fast", "client CPU µs an item"),
    )
    for name, measured, ratio in (("load_csv", ours, ratios.text()), ("Table.batch_writer", theirs, "1")):
        rates = Spread.of([one.items / one.wall for one in measured])
        table.rows.append((f"`{name}`", rates.text(0), ratio, _cpu(measured).text()))
    table.notes.append(f"{len(ours)} rounds, the order alternated, a new table each time; the server shares the cores.")
    return [table]


BENCHMARKS: dict[str, Callable[[Bench], list[Table]]] = {
    benchmark.__name__: benchmark for benchmark in (load, fingerprint, growth, diff, shards, starved, dead, wall)
}


def _load_job(bench: Bench, method: str, items: int) -> dict[str, Any]:
    return {"method": method, "table": table_name(0), "csv": bench.csv_file(items)}


def _cpu(measured: Sequence[Measured]) -> Spread:
    return Spread.of([one.cpu_per_item for one in measured])


def _against(title: str, ours: tuple[str, Sequence[Measured]], theirs: tuple[str, Sequence[Measured]]) -> Table:
    table = Table(
        title,
        ("method", "CPU µs an item", "items per CPU second", "seconds", "peak memory, MB", "times less CPU"),
    )
    ratios = Spread.of([b.cpu / a.cpu for a, b in zip(ours[1], theirs[1], strict=True)])
    for (name, measured), ratio in ((ours, ratios.text()), (theirs, "1")):
        table.rows.append(
            (
                f"`{name}`",
                _cpu(measured).text(),
                Spread.of([one.items / one.cpu for one in measured]).text(0),
                Spread.of([one.wall for one in measured]).text(),
                Spread.of([one.peak / _MB for one in measured]).text(0),
                ratio,
            )
        )
    table.notes.append(
        f"{len(ours[1])} interleaved rounds: median, and range in brackets. The ratio is taken round by round."
    )
    return table


def _expect(measured: Sequence[Measured], *, items: int, requests_for: int | None = None) -> None:
    """Make sure that the work was done.

    Raises:
        BenchmarkError: it was not, so that its time means nothing.
    """
    for one in measured:
        if one.error or one.items != items:
            raise BenchmarkError(f"{one.items} of {items} items were done: {one.error}")
        if requests_for is not None and one.server["accepted"] != requests_for:
            raise BenchmarkError(f"The server took {one.server['accepted']} of {requests_for} items.")
