"""The command ``fingerprint``: take a table's fingerprint, and its manifest if wanted."""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from dynamodb_bulk.checkpoints import LocalCheckpoints, own_folder
from dynamodb_bulk.cli_tools import (
    DONE,
    Bar,
    add_client_arguments,
    add_output_arguments,
    add_scan_arguments,
    guarded,
    make_client,
    tell,
)
from dynamodb_bulk.fingerprint import PART_DOCUMENTS, STATE_DOCUMENT, take_fingerprint
from dynamodb_bulk.scan import ScanProgress, table_key_names

NAME = "fingerprint"
HELP = "read a table and print one hash of all that it holds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("table", help="name of the table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the fingerprint, for `compare`")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="write key and hash of every item as well")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="keep the state here now and then; called again, it goes on from it; use one for each table",
    )
    add_client_arguments(parser)
    add_scan_arguments(parser)
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Take the fingerprint; return the exit code."""
    return guarded(args, lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    client = make_client(args)
    bar = Bar(enabled=not args.no_progress)
    last: list[ScanProgress] = []

    def show(seen: ScanProgress) -> None:
        last[:] = [seen]
        bar.show(args.table, seen)

    began = time.monotonic()
    key_names = table_key_names(client, args.table)
    manifest: AbstractContextManager[BinaryIO | None] = args.manifest.open("wb") if args.manifest else nullcontext()
    with manifest as sink:
        try:
            fingerprint = take_fingerprint(
                client,
                args.table,
                key_names=key_names,
                segments=args.segments,
                buckets=args.buckets,
                consistent_read=not args.eventual,
                max_rcu=args.max_rcu,
                manifest_sink=sink,
                checkpoint=_state(args.state) if args.state else None,
                patience_seconds=args.patience,
                progress=show,
            )
        finally:
            bar.close()
    if args.output:
        args.output.write_bytes(fingerprint.to_bytes())
    seconds = time.monotonic() - began
    document = {
        "table": args.table,
        "key_names": list(key_names),
        "items": fingerprint.item_count,
        "buckets": fingerprint.buckets,
        "digest": fingerprint.digest,
        "bytes": last[-1].size if last else 0,
        "capacity_units": last[-1].capacity_units if last else 0.0,
        "seconds": round(seconds, 3),
        "output": str(args.output) if args.output else None,
        "manifest": str(args.manifest) if args.manifest else None,
    }
    text = f"{args.table}: {fingerprint.item_count} items in {seconds:.1f} s\n{fingerprint.digest}"
    tell(args, document, text)
    return DONE


def _state(folder: Path) -> LocalCheckpoints:
    return own_folder(folder, STATE_DOCUMENT, others=PART_DOCUMENTS)
