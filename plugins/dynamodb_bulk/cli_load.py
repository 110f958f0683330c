"""The command ``load``: load a CSV file into a table, and account for each of its rows."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3

from dynamodb_bulk.accounting import LoadReport
from dynamodb_bulk.batches import LoadSettings
from dynamodb_bulk.checkpoints import own_folder
from dynamodb_bulk.cli_tools import (
    DONE,
    Bar,
    add_client_arguments,
    add_output_arguments,
    duration,
    guarded,
    make_client,
    tell,
)
from dynamodb_bulk.load import load_csv
from dynamodb_bulk.schema import load_schema
from dynamodb_bulk.sources import OpenSource, local_source, s3_source
from dynamodb_bulk.survey import CLAIM

NAME = "load"
HELP = "load a CSV file into a table; the last row of a key wins"

_S3 = "s3://"
_DRAW_SECONDS = 0.1
_BAR_WIDTH = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    defaults = LoadSettings()
    parser.add_argument("file", help="the CSV file: a path, or s3://bucket/key")
    parser.add_argument("table", help="name of the table")
    parser.add_argument("--schema", type=Path, required=True, metavar="FILE", help="the columns, as YAML or JSON")
    parser.add_argument("--rejects", type=Path, metavar="FILE", help="rejected rows go there (TABLE.rejects.jsonl)")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FOLDER",
        help="keep there what is done, and nothing else; called again after it was killed, the load goes on from it",
    )
    numbers: tuple[tuple[str, type, Any, str], ...] = (
        (
            "--max-reject-ratio",
            float,
            defaults.max_reject_ratio,
            "share of the rows that may be rejected (%(default)s)",
        ),
        ("--workers", int, defaults.workers, "requests under way at once (%(default)s)"),
        ("--deadline", float, defaults.deadline_seconds, "seconds that all of it may take (%(default)s)"),
        ("--stall", float, defaults.stall_seconds, "give up after so many seconds without an item taken (%(default)s)"),
        ("--max-wcu", float, None, "write capacity units a second to stay below"),
        ("--capacity-share", float, None, "share of the table's provisioned write capacity to stay below"),
    )
    for option, kind, default, text in numbers:
        parser.add_argument(option, type=kind, default=default, metavar="N", help=text)
    add_client_arguments(parser)
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Load the file; return the exit code."""
    return guarded(args, lambda: _run(args))


@dataclass
class LoadBar(Bar):
    """Draws how many items are written, how fast, and how long the rest will take."""

    _began: tuple[float, int] | None = field(default=None, init=False)

    def written(self, doing: str, written: int, total: int) -> None:
        """Draw, but not more often than anybody can read."""
        now = self.clock()
        # What an earlier load wrote, from whose checkpoint this one goes on, says nothing of how fast this one is.
        began, before = self._began = self._began or (now, written)
        if self.enabled and (written == total or now - self._drawn_at >= _DRAW_SECONDS):
            self._drawn_at = now
            rate = (written - before) / (now - began) if now > began else 0.0
            self._write(load_bar_text(doing, written, total, rate))


def load_bar_text(doing: str, written: int, total: int, rate: float) -> str:
    """Return the line of the bar; `rate` is in items a second, 0 while it is not known."""
    share = written / total if total else 1.0
    bar = "#" * int(share * _BAR_WIDTH)
    text = f"{doing} [{bar:-<{_BAR_WIDTH}}] {share:4.0%} {written:,} of {total:,} items written"
    if not rate:
        return text
    text += f", {rate:,.0f}/s"
    return text if written == total else f"{text}, about {duration((total - written) / rate)} left"


def _run(args: argparse.Namespace) -> int:
    settings = LoadSettings(
        max_reject_ratio=args.max_reject_ratio,
        workers=args.workers,
        deadline_seconds=args.deadline,
        stall_seconds=args.stall,
        max_wcu=args.max_wcu,
        capacity_share=args.capacity_share,
    )
    schema = load_schema(args.schema)
    source = _open(args.file, args)
    rejects = args.rejects or Path(f"{args.table}.rejects.jsonl")
    _keep_apart(rejects, args.file, args.schema)
    bar = LoadBar(enabled=not args.no_progress)
    try:
        with rejects.open("wb") as sink:
            report = load_csv(
                cast("Any", make_client(args)),
                args.table,
                source,
                schema,
                source_name=args.file,
                rejects=sink,
                rejects_name=str(rejects),
                settings=settings,
                progress=lambda written, total: bar.written(args.table, written, total),
                checkpoint=None if args.checkpoint is None else own_folder(args.checkpoint, CLAIM),
            )
    finally:
        bar.close()
        # Kept whatever comes of the load, as the rejects are what tells why; but not where there are none.
        if rejects.is_file() and not rejects.stat().st_size:
            rejects.unlink()
    tell(args, report.as_dict(), _text(report))
    return DONE


def _keep_apart(rejects: Path, *read: str | Path) -> None:
    """Make sure that the rejects are not written over what is read: their file is emptied first."""
    for path in map(Path, read):
        if rejects.exists() and path.is_file() and rejects.samefile(path):
            raise ValueError(f"the rejected rows would replace {path}, which is read; name another file by --rejects")


def _open(place: str, args: argparse.Namespace) -> OpenSource:
    if not place.startswith(_S3):
        return local_source(place)
    bucket, _, key = place.removeprefix(_S3).partition("/")
    if not bucket or not key:
        raise ValueError(f"{place} is not an S3 address; expected s3://bucket/key")
    session = boto3.Session(profile_name=args.profile, region_name=args.region)
    return s3_source(cast("Any", session.client("s3", endpoint_url=args.endpoint_url)), bucket, key)


def _text(report: LoadReport) -> str:
    return report.summary() + (f"; rejected rows: {report.rejects_name}" if report.rejected else "")
