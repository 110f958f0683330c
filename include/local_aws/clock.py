"""The one clock behind everything that AWS Backup does here.

Jobs, deadlines, schedules, lifecycles and the write journal of tables all read `CLOCK`. It follows the machine's
clock, runs faster than it, or stands still and is moved by hand: a test of an eight-hour start window should
take no eight hours.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock, local
from typing import Final, Literal

ClockMode = Literal["real", "scaled", "manual"]

MAX_SPEED: Final = 10_000_000.0
"""Clock seconds to a second of the machine: at more, days would go by while one request is served."""


class ClockMovedBackwards(ValueError):
    """The clock was told to go back: what happened on it cannot be undone."""

    def __init__(self, by: timedelta) -> None:
        super().__init__(by)
        self.by = by

    def __str__(self) -> str:
        return f"The clock cannot move back by {-self.by}. Advance it by zero or more, or reset it."


class BadSpeed(ValueError):
    """No speed that a clock can run at."""

    def __init__(self, speed: object) -> None:
        super().__init__(speed)
        self.speed = speed

    def __str__(self) -> str:
        return (
            f"The clock cannot run at speed {self.speed!r}: give the seconds of the clock that go by in a second of"
            f" the machine, more than 0 and at most {MAX_SPEED:.0f}. To hold it, use manual mode."
        )


@dataclass(frozen=True)
class _Gear:
    """How the clock goes. Without an origin it follows its source."""

    mode: ClockMode = "real"
    origin: datetime | None = None
    started: datetime | None = None
    speed: float = 1.0

    def now(self, source: Callable[[], datetime]) -> datetime:
        if self.origin is None:
            return source()
        if self.started is None:
            return self.origin
        return self.origin + (source() - self.started) * self.speed


def _machine_time() -> datetime:
    return datetime.now(UTC)


class Clock:
    """A source of time that can be held, moved and sped up.

    Args:
        source: What real mode reads; returns timezone-aware datetimes.
    """

    def __init__(self, source: Callable[[], datetime] = _machine_time) -> None:
        self._source = source
        self._gear = _Gear()
        self._lock = Lock()
        self._seen = local()

    @property
    def mode(self) -> ClockMode:
        return self._gear.mode

    @property
    def speed(self) -> float:
        """Seconds of the clock that go by in a second of the machine; 0 in manual mode."""
        return 0.0 if self.mode == "manual" else self._gear.speed

    def now(self) -> datetime:
        """Return the current time, UTC, in whole milliseconds: AWS Backup shows nothing finer."""
        seen: datetime | None = getattr(self._seen, "at", None)
        return seen if seen is not None else _whole_milliseconds(self._gear.now(self._source))

    @contextmanager
    def standing_at(self, instant: datetime) -> Iterator[None]:
        """Let this thread alone see `instant`: what was due then happens then, however late it is run."""
        before = getattr(self._seen, "at", None)
        self._seen.at = instant
        try:
            yield
        finally:
            self._seen.at = before

    def hold(self, at: datetime | None = None) -> None:
        """Switch to manual mode: stand still at `at`, by default at the current time.

        Raises:
            ValueError: `at` has no timezone.
        """
        if at is not None and at.tzinfo is None:
            raise ValueError(f"at must be timezone-aware, got {at!r}")
        with self._lock:
            origin = _whole_milliseconds(at.astimezone(UTC) if at is not None else self.now())
            self._gear = _Gear("manual", origin)

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
            moved = self.now() + by
            self._gear = _Gear("manual", moved)
            return moved

    def run(self) -> None:
        """Switch back to real mode, whatever time the clock shows."""
        with self._lock:
            self._gear = _Gear()

    def run_at(self, speed: float) -> None:
        """Run on from the time that the clock shows, at `speed` times the machine's.

        Raises:
            BadSpeed: Not a number above 0 and up to `MAX_SPEED`.
        """
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= MAX_SPEED:
            raise BadSpeed(speed)
        with self._lock:
            self._gear = _Gear("scaled", self.now(), self._source(), float(speed))

    def real_seconds_until(self, instant: datetime) -> float | None:
        """Return how long a thread has to wait for `instant`; None: until somebody moves the clock."""
        now = self.now()
        if self.mode == "manual" and instant > now:
            return None
        return max(0.0, (instant - now).total_seconds()) / self._gear.speed


def _whole_milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


CLOCK: Final = Clock()
"""The clock of this process's local AWS."""
