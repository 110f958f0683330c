"""The benchmarks on the null server: what is measured against what, and what must be right for the figures to count."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from made_data import table_name
from measuring import Bench, BenchmarkError, Measured
from reporting import Aim, Result, Spread, Table

_RATE = 300
_BATCH = 25
_DIFFERENCES = 100
_MB = 1e6

# What was set out to be reached.
_LOAD_FLOOR, _LOAD_GOAL = 6.0, 8.0
_FINGERPRINT_FLOOR, _FINGERPRINT_GOAL = 3.5, 4.5
_MOST_MEMORY, _MOST_MEMORY_GROWTH, _MOST_CPU_GROWTH = 128, 1.2, 1.1
_MOST_DIFF_MEMORY = 200
_MOST_STARVED, _MOST_THROTTLED, _LONGEST_STARVED = 1.1, 1.3, 1.05
_MOST_DEAD_REQUESTS = 20


def load(bench: Bench) -> Result:
    """Load: CPU an item, against boto3's Table.batch_writer."""
    items = bench.options.items
    jobs = [load_job(bench, method, items) for method in ("load_ours", "load_batch_writer")]
    ours, theirs = bench.rounds(jobs)
    expect([*ours, *theirs], items=items, requests_for=items)
    table, ratio = _against(f"Load {items:,} items", ("load_csv", ours), ("Table.batch_writer", theirs))
    return Result([table], [_ratio_aim("load: times less client CPU", ratio, _LOAD_FLOOR, _LOAD_GOAL)])


def fingerprint(bench: Bench) -> Result:
    """Fingerprint: CPU an item, against a boto3 resource scan into a dict."""
    items = bench.options.items
    jobs = [{"method": method, "table": table_name(items)} for method in ("fingerprint_ours", "fingerprint_resource")]
    ours, theirs = bench.rounds(jobs)
    expect([*ours, *theirs], items=items)
    buckets = ours[0].extra["buckets"]
    title = f"Read {items:,} items: fingerprint of {buckets} buckets"
    table, ratio = _against(title, ("take_fingerprint", ours), ("resource scan into a dict", theirs))
    aim = _ratio_aim("fingerprint: times less client CPU", ratio, _FINGERPRINT_FLOOR, _FINGERPRINT_GOAL)
    return Result([table], [aim])


def growth(bench: Bench) -> Result:
    """Memory, and CPU an item, of big tables against small ones."""
    sizes = bench.options.sizes
    table = Table(
        f"From {sizes[0]:,} to {sizes[-1]:,} items",
        ("what", "items", "CPU µs an item", "peak memory, MB", "CPU : next smaller", "memory : smallest"),
    )
    found = {
        "load_csv": bench.rounds([load_job(bench, "load_ours", size) for size in sizes]),
        "take_fingerprint": bench.rounds([{"method": "fingerprint_ours", "table": table_name(size)} for size in sizes]),
    }
    aims = []
    for name, by_size in found.items():
        cpu = [_ratios(big, small, lambda one: one.cpu_per_item) for small, big in pairwise(by_size)]
        memory = [_ratios(big, by_size[0], lambda one: one.peak) for big in by_size[1:]]
        peaks = [Spread.of([one.peak / _MB for one in measured]) for measured in by_size]
        cells = [("", ""), *((a.text(2), b.text(2)) for a, b in zip(cpu, memory, strict=True))]
        for size, measured, peak, ratios in zip(sizes, by_size, peaks, cells, strict=True):
            expect(measured, items=size)
            table.rows.append((f"`{name}`", f"{size:,}", _cpu(measured).text(), peak.text(0), *ratios))
        aims += _growth_aims(name, sizes, peaks[-1], memory[-1], cpu[-1])
    table.notes.append(
        f"{len(found['load_csv'][0])} interleaved rounds. Memory is that of the whole process, interpreter and boto3 "
        "included. CPU of the smallest size has more of the fixed cost of the first call in it."
    )
    return Result([table], aims)


def _growth_aims(name: str, sizes: Sequence[int], peak: Spread, memory: Spread, cpu: Spread) -> list[Aim]:
    return [
        Aim(
            f"`{name}`: peak memory",
            f"{_MOST_MEMORY} MB at most",
            f"{peak.text(0)} MB at {sizes[-1]:,} items",
            peak.median <= _MOST_MEMORY,
        ),
        Aim(
            f"`{name}`: memory, {sizes[0]:,} to {sizes[-1]:,} items",
            f"{_MOST_MEMORY_GROWTH} times at most",
            memory.text(2),
            memory.median <= _MOST_MEMORY_GROWTH,
        ),
        Aim(
            f"`{name}`: CPU an item, {sizes[-1]:,} against {sizes[-2]:,}",
            f"{_MOST_CPU_GROWTH} times at most",
            cpu.text(2),
            cpu.median <= _MOST_CPU_GROWTH,
        ),
    ]


def diff(bench: Bench) -> Result:
    """Every difference of two tables, against two dicts of all items."""
    items = bench.options.items
    differences = min(_DIFFERENCES, items)
    job = {"table": table_name(items), "other": table_name(items, differences)}
    jobs = [{"method": name, **job} for name in ("diff_ours", "diff_resource")]
    if bench.options.dicts_once:
        ours, theirs = bench.rounds(jobs[:1])[0], bench.rounds(jobs[1:], 1)[0]
    else:
        ours, theirs = bench.rounds(jobs)
    expect([*ours, *theirs], items=items)
    for one in [*ours, *theirs]:
        if one.extra["differences"] != differences or one.extra["kinds"] != theirs[0].extra["kinds"]:
            raise BenchmarkError(f"{differences} differences were made, these were found: {one.extra}")
    title = f"Find {differences} differences of two tables of {items:,} items"
    table, _ = _against(title, ("diff_tables", ours), ("two dicts", theirs))
    table.notes.append(
        f"All {differences} were found each time (missing, extra, changed: {ours[0].extra['kinds']}). `diff_tables` "
        f"made {ours[0].server['scans']} Scan requests to the dicts' {theirs[0].server['scans']}, reads each table "
        f"twice (fingerprint, then the items of unequal buckets), and kept {ours[0].extra['looked_at']:,} items."
    )
    if bench.options.dicts_once:
        table.notes.append("The two dicts were measured once; the ratio is to that.")
    peak = Spread.of([one.peak / _MB for one in ours])
    wanted = f"all found, {_MOST_DIFF_MEMORY} MB at most"
    measured = f"all {differences}, {peak.text(0)} MB"
    name = f"diff: {differences} differences of two tables of {items:,} items"
    return Result([table], [Aim(name, wanted, measured, peak.median <= _MOST_DIFF_MEMORY)])


def shards(bench: Bench) -> Result:
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
    wrong = found.extra["wrong"]
    if wrong:
        raise BenchmarkError(f"{wrong} of {found.items} cuts gave other rows than csv.reader.")
    measured = f"{found.items - wrong} of {found.items} cuts, up to {found.extra['most_shards']} shards"
    return Result([table], [Aim("CSV shards: the rows of one pass", "all", measured, not wrong)])


def starved(bench: Bench) -> Result:
    """A server that takes 300 items a second: what is sent for each item needed, and how long it takes."""
    items = bench.options.starved_items
    # The server's bucket is full at first, with one second's items.
    ideal = max(0.0, (items - _RATE) / _RATE)
    needed = math.ceil(items / _BATCH)
    table = Table(
        f"Load {items:,} items where {_RATE} a second are taken",
        ("server refuses", "method", "requests sent : needed", "items sent : needed", "seconds : ideal", "ended"),
    )
    methods = {"load_ours": "load_csv", "load_batch_writer": "Table.batch_writer"}
    modes = {
        "unprocessed": ("the rest, as UnprocessedItems", _MOST_STARVED),
        "throttle": ("whole requests", _MOST_THROTTLED),
    }
    cases = [(mode, method) for mode in modes for method in methods]
    jobs = [{**load_job(bench, method, items), "mood": {"mode": mode, "rate": _RATE}} for mode, method in cases]
    aims = []
    for (mode, method), measured in zip(cases, bench.rounds(jobs), strict=True):
        name, most = modes[mode]
        requests = Spread.of([one.server["requests"] / needed for one in measured])
        offered = Spread.of([one.server["offered"] / items for one in measured])
        time = Spread.of([one.wall / ideal for one in measured]) if ideal else Spread(0.0, 0.0, 0.0)
        problem = next((one.error for one in measured if one.error), "")
        ended = f"error: {problem[:90]}" if problem else f"{items:,} items taken"
        table.rows.append((name, f"`{methods[method]}`", requests.text(2), offered.text(2), time.text(2), ended))
        if method == "load_ours":
            expect(measured, items=items, requests_for=items)
            aims.append(
                Aim(
                    f"short of capacity, refused: {name}",
                    f"{most} requests for each one needed, {_LONGEST_STARVED} times the ideal time, at most",
                    f"{requests.text(2)}; {time.text(2)}",
                    requests.median <= most and time.median <= _LONGEST_STARVED,
                )
            )
    table.notes.append(f"Needed are {needed} requests; ideal are {ideal:.1f} s. {_rounds_note(bench.options.rounds)}")
    return Result([table], aims)


def dead(bench: Bench) -> Result:
    """A server that takes nothing: how it ends."""
    items = min(bench.options.starved_items, 1_000)
    seconds = bench.options.dead_seconds
    table = Table(
        f"Load into a server that takes nothing, {seconds:g} s allowed", ("method", "requests", "seconds", "ended with")
    )
    methods = {"load_ours": "load_csv", "load_batch_writer": "Table.batch_writer"}
    jobs = [{**load_job(bench, method, items), "deadline": seconds, "mood": {"mode": "dead"}} for method in methods]
    ours, theirs = bench.rounds(jobs)
    if any("DeadlineError" not in one.error for one in ours):
        raise BenchmarkError(f"A load into a server that takes nothing ended otherwise: {[one.error for one in ours]}")
    endings = (ours[0].error.partition(":")[0], "nothing; stopped from outside")
    requests = [Spread.of([one.server["requests"] for one in measured]) for measured in (ours, theirs)]
    for name, measured, sent, ended in zip(methods.values(), (ours, theirs), requests, endings, strict=True):
        wall = Spread.of([one.wall for one in measured])
        table.rows.append((f"`{name}`", sent.text(0), wall.text(), ended))
    table.notes.append(_rounds_note(len(ours)))
    aim = Aim(
        "nothing is taken: an error at the deadline",
        f"{_MOST_DEAD_REQUESTS} requests at most",
        requests[0].text(0),
        requests[0].most <= _MOST_DEAD_REQUESTS,
    )
    return Result([table], [aim])


def load_job(bench: Bench, method: str, items: int) -> dict[str, Any]:
    """Return the job of loading a made file of so many rows with a method of ``work_loading.py``."""
    return {"method": method, "table": table_name(0), "csv": bench.csv_file(items)}


def expect(measured: Sequence[Measured], *, items: int, requests_for: int | None = None) -> None:
    """Make sure that the work was done.

    Args:
        measured: what was measured.
        items: how many items are to be done.
        requests_for: how many items the null server must have taken; anything if None.

    Raises:
        BenchmarkError: it was not, so that its time means nothing.
    """
    for one in measured:
        if one.error or one.items != items:
            raise BenchmarkError(f"{one.items} of {items} items were done: {one.error}")
        if requests_for is not None and one.server["accepted"] != requests_for:
            raise BenchmarkError(f"The server took {one.server['accepted']} of {requests_for} items.")


def _ratios(one: Sequence[Measured], other: Sequence[Measured], of: Callable[[Measured], float]) -> Spread:
    return Spread.of([of(a) / of(b) for a, b in zip(one, other, strict=True)])


def _cpu(measured: Sequence[Measured]) -> Spread:
    return Spread.of([one.cpu_per_item for one in measured])


def _ratio_aim(name: str, ratio: Spread, floor: float, goal: float) -> Aim:
    wanted = f"{floor:g} at least, {goal:g} as a goal"
    return Aim(name, wanted, ratio.text(), ratio.median >= floor)


def _rounds_note(rounds: int) -> str:
    return f"{rounds} interleaved rounds: median, and range in brackets."


def _against(
    title: str, ours: tuple[str, Sequence[Measured]], theirs: tuple[str, Sequence[Measured]]
) -> tuple[Table, Spread]:
    """Return the table of two methods, and how many times less CPU the first one takes."""
    table = Table(
        title,
        ("method", "CPU µs an item", "items per CPU second", "seconds", "peak memory, MB", "times less CPU"),
    )
    # A baseline that was measured once stands for each round.
    baseline = list(theirs[1]) * (len(ours[1]) if len(theirs[1]) == 1 else 1)
    ratios = _ratios(baseline, ours[1], lambda one: one.cpu)
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
    table.notes.append(f"{_rounds_note(len(ours[1]))} The ratio is taken round by round.")
    return table, ratios
