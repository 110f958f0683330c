"""``python -m restore_proof history``: RPO and RTO of every drill, for a spreadsheet, a notebook or a look."""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from restore_proof.cli_tools import DONE, EXPECTED_ERRORS, FAILED, add_bucket_arguments, s3_client
from restore_proof.history import COLUMNS, series
from restore_proof.history_reader import read_history, tables_with_history

NAME: Final = "history"
HELP: Final = "show how long each drill took, with RPO and RTO against their targets"

_SHOWN: Final = (
    ("table", "table"),
    ("as of", "as_of"),
    ("verdict", "verdict"),
    ("backup", "backup_seconds"),
    ("restore", "restore_seconds"),
    ("settings", "settings_seconds"),
    ("proof", "proof_seconds"),
    ("RTO", "rto_seconds"),
    ("RPO usable", "rpo_usable_seconds"),
    ("RPO proven", "rpo_proven_seconds"),
    ("cost $", "actual_usd"),
)
_MET: Final = {
    "rto_seconds": "rto_met",
    "rpo_usable_seconds": "rpo_usable_met",
    "rpo_proven_seconds": "rpo_proven_met",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_bucket_arguments(parser)
    parser.add_argument("--table", action="append", metavar="NAME", help="a table; may be repeated [all that have one]")
    parser.add_argument("--since", type=dt.date.fromisoformat, metavar="DATE", help="drills for this date or later")
    parser.add_argument("--until", type=dt.date.fromisoformat, metavar="DATE", help="drills for this date or earlier")
    parser.add_argument("--format", choices=["table", "csv", "json"], default="table", help="[%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Print the series; return the exit code."""
    try:
        s3 = s3_client(args)
        tables = args.table or tables_with_history(s3, args.bucket)
        found = [
            record
            for table in tables
            for record in read_history(s3, args.bucket, table, since=args.since, until=args.until)
        ]
    except EXPECTED_ERRORS as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    _WRITERS[args.format](series(found), sys.stdout)
    return DONE


def _write_json(rows: Sequence[Mapping[str, Any]], out: TextIO) -> None:
    json.dump(rows, out, indent=2)
    out.write("\n")


def _write_csv(rows: Sequence[Mapping[str, Any]], out: TextIO) -> None:
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_table(rows: Sequence[Mapping[str, Any]], out: TextIO) -> None:
    lines = [tuple(title for title, _ in _SHOWN), *(tuple(_cell(row, name) for _, name in _SHOWN) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_SHOWN))]
    for line in lines:
        out.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")
    missed = sum(row[met] is False for row in rows for met in _MET.values())
    out.write(f"\n{len(rows)} drills. Times in seconds; ! misses its target ({missed}), - was not measured.\n")


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if value is None:
        return "-"
    mark = " !" if name in _MET and row[_MET[name]] is False else ""
    if name == "actual_usd":
        return f"{value:.4f}"
    return (f"{value:.0f}" if isinstance(value, float | int) else str(value)) + mark


_WRITERS: Final = {"table": _write_table, "csv": _write_csv, "json": _write_json}
