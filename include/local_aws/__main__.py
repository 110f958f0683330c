"""``python -m local_aws``: serve AWS on this machine until SIGTERM or SIGINT."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Final

from local_aws import control
from local_aws.server import LocalAwsServer

SETTING_OPTIONS: Final = {
    "job_seconds": (4.0, "how long a backup job takes"),
    "restore_seconds": (4.0, "how long a restore job takes"),
    "copy_seconds": (4.0, "how long a copy job takes"),
    "delete_seconds": (1.0, "how long a recovery point stays DELETING"),
    "list_lag": (0.0, "leave new jobs and recovery points out of lists for so long"),
    "snapshot_skew": (0.0, "leave out of a backup what was written this many seconds before its request"),
    "start_backup_reply_delay": (0.0, "keep back the reply to an accepted StartBackupJob"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop.

    Returns:
        The exit status: 0 after a signal, 1 when the address cannot be served.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.ERROR, format="%(levelname)s %(message)s")
    try:
        control.configure(
            job_seconds=options.job_seconds,
            restore_seconds=options.restore_seconds,
            copy_seconds=options.copy_seconds,
            delete_seconds=options.delete_seconds,
            snapshot_skew_seconds=options.snapshot_skew,
            list_lag_seconds=options.list_lag,
            start_backup_reply_delay_seconds=options.start_backup_reply_delay,
            enforce_iam=options.enforce_iam,
        )
        if options.state_dir is not None and (options.faults is not None or options.start_backup_reply_delay):
            raise ValueError("--state-dir goes neither with --faults nor with --start-backup-reply-delay")
        if options.faults is not None:
            control.order_faults_of(options.faults)
        server = LocalAwsServer(options.host, options.port, state_dir=options.state_dir)
        if options.start_at is not None:
            control.hold_clock(options.start_at)
        if options.speed != 1 or options.start_at is not None:
            control.set_clock_speed(options.speed)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"local_aws: {error}\n")
        return 1
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with server:
        sys.stdout.write(f"local_aws is ready on {server.url}\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def _moment(text: str) -> datetime:
    """Read a time; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_aws", description="Serve AWS on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=5566, help="port to listen on, 0 for any free one (%(default)s)")
    for name, (default, meaning) in SETTING_OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=default, metavar="SECONDS", help=f"{meaning} (%(default)s s)")
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="N",
        help="let the clock run N times as fast as the machine's: 3600 plays an hour in a second (%(default)s)",
    )
    parser.add_argument(
        "--start-at",
        type=_moment,
        metavar="TIME",
        help="let the clock begin at this time (ISO 8601) and go on from there: to play a history (default: now)",
    )
    parser.add_argument(
        "--enforce-iam", action="store_true", help="let callers and jobs do only what their policies allow"
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="FOLDER",
        help="keep all changes in this folder, and begin with those that it holds (default: forget them at the end)",
    )
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help='begin with a bad day: JSON, {"faults": [...]}, as POST takes them'
    )
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # All is stopped; what is left for the interpreter is to take a million items apart, which takes minutes.
    os._exit(status)
