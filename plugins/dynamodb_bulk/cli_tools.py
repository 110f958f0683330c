"""What the commands have in common: the AWS client, the bar, the result, and what becomes of errors."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_bulk.errors import BulkError
from dynamodb_bulk.scan import DEFAULT_PATIENCE_SECONDS, DEFAULT_SEGMENTS, ScanProgress
from dynamodb_bulk.sums import DEFAULT_BUCKETS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EQUAL = DONE = 0
DIFFERENT = 1
FAILED = 2
"""Wrong usage, or the work could not be done; argparse ends with the same code."""

EXPECTED_ERRORS = (BulkError, BotoCoreError, ClientError, OSError, ValueError)
"""What has a message for the user; anything else is a bug and shows where."""

_BAR_WIDTH = 24
_DRAW_SECONDS = 0.1


def add_client_arguments(parser: argparse.ArgumentParser, prefix: str = "", of: str = "") -> None:
    """Add the options that say where a table is; with a prefix, those of a second one."""
    dash = f"--{prefix}-" if prefix else "--"
    parser.add_argument(f"{dash}endpoint-url", metavar="URL", help=f"DynamoDB's endpoint{of}, for a local server")
    parser.add_argument(f"{dash}region", metavar="REGION", help=f"AWS Region{of}")
    parser.add_argument(f"{dash}profile", metavar="NAME", help=f"profile of the AWS configuration{of}")


def add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a table is read."""
    parser.add_argument(
        "--segments", type=int, default=DEFAULT_SEGMENTS, metavar="N", help="parts read at the same time (%(default)s)"
    )
    parser.add_argument(
        "--buckets", type=int, default=DEFAULT_BUCKETS, metavar="N", help="buckets of the fingerprint (%(default)s)"
    )
    parser.add_argument("--max-rcu", type=float, metavar="UNITS", help="read capacity units a second to stay below")
    parser.add_argument(
        "--eventual", action="store_true", help="read eventually consistently, which costs half and proves less"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=DEFAULT_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="how long one page is asked for while DynamoDB throttles or can't be reached (%(default)s)",
    )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the result is told."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--no-progress", action="store_true", help="draw no bar; none is drawn into a file either")


def make_client(args: argparse.Namespace, prefix: str = "") -> DynamoDBClient:
    """Return the client that the arguments ask for; a second one takes what it is not told from the first.

    Raises:
        botocore.exceptions.BotoCoreError: there is no such profile, or no Region.
    """

    def option(name: str) -> str | None:
        own = getattr(args, f"{prefix}_{name}", None) if prefix else None
        value: str | None = own or getattr(args, name)
        return value

    session = boto3.Session(profile_name=option("profile"), region_name=option("region"))
    # A page of a busy table may take its time; what fails is repeated by the scan itself.
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=60)
    return session.client("dynamodb", endpoint_url=option("endpoint_url"), config=config)


@dataclass
class Bar:
    """Draws how far a scan has come, on one line that it draws again and again.

    Args:
        stream: a terminal; on anything else nothing is drawn.
        enabled: whether it draws at all.
        clock: seconds that only grow.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    enabled: bool = True
    clock: Callable[[], float] = time.monotonic
    _drawn_at: float = field(default=float("-inf"), init=False)
    _width: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.enabled = self.enabled and self.stream.isatty()

    def show(self, doing: str, seen: ScanProgress) -> None:
        """Draw, but not more often than anybody can read."""
        now = self.clock()
        finished = seen.segments_done == seen.segments
        if self.enabled and (finished or now - self._drawn_at >= _DRAW_SECONDS):
            self._drawn_at = now
            self._write(bar_text(doing, seen))

    def close(self) -> None:
        """Leave the line."""
        if self._width:
            self.stream.write("\n")
            self.stream.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        self.stream.write("\r" + text.ljust(self._width))
        self.stream.flush()
        self._width = len(text)


def bar_text(doing: str, seen: ScanProgress) -> str:
    """Return the line of the bar; the share is an estimate, as DynamoDB counts a table's items every few hours."""
    share = 1.0 if seen.segments_done == seen.segments else 0.0
    if share < 1 and seen.expected_items:
        share = min(0.99, seen.items / seen.expected_items)
    filled = int(share * _BAR_WIDTH)
    bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
    text = f"{doing} [{bar}] {share:4.0%} {seen.items:,} items, {seen.size / 1e6:,.1f} MB"
    text += f", {seen.items_per_second:,.0f}/s"
    eta = seen.eta_seconds
    return text if eta is None or share == 1 else f"{text}, about {duration(eta)} left"


def duration(seconds: float) -> str:
    """Return a length of time as a clock shows it: minutes and seconds, and hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tell(args: argparse.Namespace, document: Mapping[str, Any], text: str, out: TextIO | None = None) -> None:
    """Print a result: as JSON if asked for, else as text."""
    out = out or sys.stdout
    out.write((json.dumps(document, indent=2) if args.json else text) + "\n")


def guarded(args: argparse.Namespace, work: Callable[[], int]) -> int:
    """Do the work of a command; an error that has a message for the user is printed, and gives the exit code.

    Returns:
        What the work returned, or the code for a failure.
    """
    try:
        return work()
    except EXPECTED_ERRORS as error:
        if args.json:
            tell(args, {"error": type(error).__name__, "message": str(error)}, "")
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return FAILED
