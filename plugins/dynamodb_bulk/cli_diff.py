"""The command ``diff``: name every item in which two live tables differ."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from dynamodb_bulk.changes import ChangesHeader, write_change
from dynamodb_bulk.cli_tools import (
    DIFFERENT,
    EQUAL,
    Bar,
    add_client_arguments,
    add_output_arguments,
    add_scan_arguments,
    guarded,
    make_client,
    tell,
)
from dynamodb_bulk.diff import DEFAULT_LIST_CAP, DiffSettings, Side, TableDiff, diff_tables
from dynamodb_bulk.scan import table_key_names
from dynamodb_bulk.spill import DEFAULT_MEMORY_BYTES

NAME = "diff"
HELP = "compare two tables item by item and name what differs"

_MEGABYTE = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("left", help="the table that is taken for right")
    parser.add_argument("right", help="the other one")
    parser.add_argument(
        "--list", type=int, default=DEFAULT_LIST_CAP, metavar="N", help="list so many differences (%(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all differences, one line of JSON each")
    parser.add_argument(
        "--changes",
        type=Path,
        metavar="FILE",
        help="write what would bring the right table in line with the left one, with the items' content, for `repair`",
    )
    parser.add_argument("--values", action="store_true", help="with the items' content, which is somebody's data")
    parser.add_argument(
        "--memory",
        type=int,
        default=DEFAULT_MEMORY_BYTES // _MEGABYTE,
        metavar="MB",
        help="hold so much of the items to be compared in memory, the rest on disk (%(default)s)",
    )
    parser.add_argument("--spill", type=Path, metavar="FOLDER", help="where on disk; the system's folder if not given")
    add_client_arguments(parser)
    add_client_arguments(parser, prefix="right", of=" of the right table, if it is another one")
    add_scan_arguments(parser)
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compare the tables; return the exit code."""
    return guarded(args, lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    left, right = Side(make_client(args), args.left), Side(make_client(args, "right"), args.right)
    settings = DiffSettings(
        segments=args.segments,
        consistent_read=not args.eventual,
        max_rcu=args.max_rcu,
        list_cap=args.list,
        values=args.values,
        memory_bytes=args.memory * _MEGABYTE,
        spill_folder=args.spill,
        patience_seconds=args.patience,
    )
    bar = Bar(enabled=not args.no_progress)
    with _open(args.output) as file, _open(args.changes) as changes:
        if changes is not None:
            header = ChangesHeader(args.right, table_key_names(right.client, args.right), source=args.left)
            changes.write(header.to_line())
        try:
            found = diff_tables(
                left,
                right,
                buckets=args.buckets,
                diff_sink=file,
                found=None if changes is None else lambda one: write_change(changes, one),
                progress=bar.show,
                settings=settings,
            )
        finally:
            bar.close()
    tell(args, {"left": args.left, "right": args.right, **found.to_dict(values=args.values)}, _text(found))
    return EQUAL if found.equal else DIFFERENT


def _open(path: Path | None) -> AbstractContextManager[BinaryIO | None]:
    return nullcontext() if path is None else path.open("wb")


def _text(found: TableDiff) -> str:
    if found.equal:
        return f"equal: {found.items_left} items"
    lines = [
        f"different: {found.missing} missing, {found.extra} extra, {found.changed} changed; {found.items_left} items "
        f"on the left, {found.items_right} on the right"
    ]
    for difference in found.differences:
        paths = f": {', '.join(difference.paths)}" if difference.paths else ""
        lines.append(f"{difference.kind:9}{difference.key}{paths}")
    hidden = found.total - len(found.differences)
    lines += [f"and {hidden} more"] if hidden else []
    if found.moved_left or found.moved_right:
        lines.append(
            f"The tables were written to meanwhile: at least {found.moved_left} buckets on the left and "
            f"{found.moved_right} on the right changed between their two scans."
        )
    return "\n".join(lines)
