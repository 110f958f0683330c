"""The one clock behind everything that AWS Backup does here.

Jobs, deadlines, lifecycles and the write journal of tables all read `CLOCK`. It follows the machine's clock,
or stands still and is moved by hand: a test of an eight-hour start window should take no eight hours.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final, Literal

ClockMode = Literal["real", "manual"]


class ClockMovedBackwards(ValueError):
    """The clock was told to go back: what happened on it cannot be undone."""

    def __init__(self, by: timedelta) -> None:
        super().__init__(by)
        self.by = by

    def __str__(self) -> str:
        return f"The clock cannot move back by {-self.by}. Advance it by zero or more, or reset it."


def _machine_time() -> datetime:
    return datetime.now(UTC)


class Clock:
    """A source of time that can be held and moved.

    Args:
        source: What real mode reads; returns timezone-aware datetimes.
    """

    def __init__(self, source: Callable[[], datetime] = _machine_time) -> None:
        self._source = source
        self._held_at: datetime | None = None
        self._lock = Lock()

    @property
    def mode(self) -> ClockMode:
        return "real" if self._held_at is None else "manual"

    def now(self) -> datetime:
        """Return the current time, UTC, in whole milliseconds: AWS Backup shows nothing finer."""
        current = self._held_at
        return current if current is not None else _whole_milliseconds(self._source())

    def hold(self, at: datetime | None = None) -> None:
        """Switch to manual mode: stand still at `at`, by default at the current time.

        Raises:
            ValueError: `at` has no timezone.
        """
        if at is not None and at.tzinfo is None:
            raise ValueError(f"at must be timezone-aware, got {at!r}")
        with self._lock:
            self._held_at = _whole_milliseconds(at.astimezone(UTC) if at is not None else self.now())

    def move(self, by: timedelta) -> datetime:
        """Move a held clock on, holding it first if need be. Runs nothing: see `local_aws.timeline.advance`.

        Returns:
            The new time.

        Raises:
            ClockMovedBackwards: `by` is negative.
        """
        if by < timedelta(0):
            raise ClockMovedBackwards(by)
        with self._lock:
            self._held_at = self.now() + by
            return self._held_at

    def run(self) -> None:
        """Switch back to real mode."""
        with self._lock:
            self._held_at = None

    def real_seconds_until(self, instant: datetime) -> float | None:
        """Return how long a thread has to wait for `instant`; None: until somebody moves the clock."""
        if self.mode == "manual" and instant > self.now():
            return None
        return max(0.0, (instant - self.now()).total_seconds())


def _whole_milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


CLOCK: Final = Clock()
"""The clock of this process's local AWS."""
