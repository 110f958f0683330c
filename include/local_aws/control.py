"""The levers of the local AWS Backup: for tests in one process, and for the server's own addresses."""

from datetime import datetime, timedelta
from typing import Any

from local_aws import tables, timeline
from local_aws.agenda import CHANGED
from local_aws.clock import CLOCK
from local_aws.faults import FAULTS, Fault
from local_aws.moto_fixes.locking import state_lock
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
    """Hold the clock, at `at` (timezone-aware) or where it stands."""
    with state_lock:
        CLOCK.hold(at)
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


def clear_faults() -> None:
    """Forget the faults that have found no job yet."""
    with state_lock:
        FAULTS.clear()


def reset() -> None:
    """Put clock, settings and faults back to their defaults. Data is for moto's own reset."""
    clear_faults()
    configure(**Settings().as_dict())
    run_clock()


def describe_clock() -> dict[str, Any]:
    """Return the clock's time, mode and speed, as the server shows them."""
    return {"now": CLOCK.now().isoformat(timespec="milliseconds"), "mode": CLOCK.mode, "speed": CLOCK.speed}
