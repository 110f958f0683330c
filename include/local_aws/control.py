"""The levers of the local AWS Backup: for tests in one process, and for the server's own addresses."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from local_aws import request_faults, tables, timeline
from local_aws.agenda import CHANGED
from local_aws.clock import CLOCK
from local_aws.data_faults import DATA_FAULTS, DataFault
from local_aws.faults import FAULTS, Fault
from local_aws.moto_fixes import write_faults
from local_aws.moto_fixes.locking import state_lock
from local_aws.request_faults import REQUEST_FAULTS, RequestFault
from local_aws.settings import SETTINGS, Settings


def configure(**values: float) -> None:
    """Change settings, see `local_aws.settings.Settings` for their names.

    Raises:
        UnknownSetting: A name is not a setting.
        ValueError: A value is not a number of zero or more.
    """
    with state_lock:
        SETTINGS.update(values)
        skew = timedelta(seconds=SETTINGS.snapshot_skew_seconds)
        # Without its journal a snapshot cannot leave recent writes out; without a skew the journal is only
        # cost.
        tables.keep_write_journal(skew or None)
    CHANGED.set()


def advance_clock(by: timedelta) -> datetime:
    """Hold the clock and move it on, running what falls due. Returns the new time."""
    return timeline.advance(by)


def hold_clock(at: datetime | None = None) -> None:
    """Hold the clock, at `at` (timezone-aware) or where it stands, with all done that was due by then."""
    with state_lock:
        CLOCK.hold(at)
        timeline.catch_up()
    CHANGED.set()


def run_clock() -> None:
    """Let the clock follow the machine's again."""
    with state_lock:
        CLOCK.run()
    CHANGED.set()


def set_clock_speed(speed: float) -> None:
    """Let the clock run on from the time that it shows, `speed` times as fast as the machine's.

    Raises:
        BadSpeed: Not above 0, or too fast.
    """
    with state_lock:
        CLOCK.run_at(speed)
    CHANGED.set()


def inject_fault(
    operation: str,
    end_state: str,
    message: str = "Ended by an ordered fault.",
    *,
    table: str | None = None,
    count: int = 1,
    message_category: str | None = None,
) -> None:
    """Let the next `count` jobs of `operation` (of `table`, or of any) end in `end_state` with `message`.

    Raises:
        ValueError: The operation has no such end state, or the count is wrong.
    """
    with state_lock:
        FAULTS.add(Fault(operation, end_state, message, table, message_category), count)


def order_fault(order: Mapping[str, Any]) -> None:
    """Order a bad day, in the words of the server's own address and of a file of faults.

    Args:
        order: Its ``kind`` decides about the rest. "throttle", "error", "slow" and "drop" strike calls (see
            `local_aws.request_faults.RequestFault`; once, if neither count nor share is given); "unprocessed" lets
            DynamoDB refuse a ``share`` of writes to ``tables``, by a ``seed``; "spoil" makes the next ``count``
            restored tables wrong (see `local_aws.data_faults.DataFault`); "job", or no kind, lets the next jobs end
            badly (see `inject_fault`).

    Raises:
        ValueError: An unknown kind or member, or one out of its range.
    """
    kind = order.get("kind", "job")
    members = {name: value for name, value in order.items() if name != "kind"}
    try:
        if kind in request_faults.KINDS:
            if not {"count", "share"} & set(members):
                members["count"] = 1
            REQUEST_FAULTS.add(RequestFault(kind, **members))
        elif kind == "unprocessed":
            _refuse_writes(**members)
        elif kind == "spoil":
            _spoil_restores(**members)
        elif kind == "job":
            inject_fault(**members)
        else:
            known = sorted({*request_faults.KINDS, "unprocessed", "spoil", "job"})
            raise ValueError(f"kind must be one of {known}, got {kind!r}")
    except TypeError as error:  # a member that is unknown, or missing
        raise ValueError(f"A fault of kind {kind!r}: {error}") from error


def order_faults_of(path: Path) -> None:
    """Order the faults of a JSON file, ``{"faults": [...]}``, in its order; see `order_fault`.

    Raises:
        ValueError: Not such a file; names the file.
        OSError: It cannot be read.
    """
    try:
        for order in json.loads(path.read_text())["faults"]:
            order_fault(order)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of faults: {error}") from error


def _refuse_writes(share: float, tables: list[str] | None = None, seed: int = 0) -> None:
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise ValueError(f"share must be a number, got {share!r}")
    write_faults.refuse_writes(share, tables=None if tables is None else frozenset(tables), seed=seed)


def _spoil_restores(count: int = 1, **members: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be a whole number of one or more, got {count!r}")
    with state_lock:
        DATA_FAULTS.add(DataFault(**members), count)


def faults() -> list[dict[str, Any]]:
    """Return the faults that still wait: for a job, a call or a restore; and the share of writes refused."""
    with state_lock:
        refused = [{"kind": "unprocessed", "share": share}] if (share := write_faults.refused_share()) else []
        return [*FAULTS.as_list(), *REQUEST_FAULTS.as_list(), *DATA_FAULTS.as_list(), *refused]


def clear_faults() -> None:
    """Forget the faults that still wait, and refuse no writes any more."""
    with state_lock:
        FAULTS.clear()
        DATA_FAULTS.clear()
        write_faults.accept_writes()
    REQUEST_FAULTS.clear()


def reset() -> None:
    """Put clock, settings and faults back to their defaults. Data is for moto's own reset."""
    clear_faults()
    configure(**Settings().as_dict())
    run_clock()


def describe_clock() -> dict[str, Any]:
    """Return the clock's time, mode and speed, as the server shows them."""
    return {"now": CLOCK.now().isoformat(timespec="milliseconds"), "mode": CLOCK.mode, "speed": CLOCK.speed}
