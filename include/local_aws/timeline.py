"""Time passing: runs what is due, in order, under the lock that guards all state.

In one process it runs as each request comes in (`catch_up`) or as a test moves the clock (`advance`). A
server has a `Ticker`, so that jobs go on even while nobody asks.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import wraps
from threading import Event, Thread
from typing import Any, Final

from moto.backup.models import backup_backends
from moto.dynamodb.responses import DynamoHandler

from local_aws import outbox
from local_aws.agenda import CHANGED, Agenda
from local_aws.clock import CLOCK
from local_aws.moto_fixes.locking import state_lock
from local_aws.repeatable import drawing_from

TICKING: Final = Event()
"""Set while a `Ticker` runs: requests then need not catch up by themselves."""

LONGEST_WAIT_SECONDS: Final = 86_400.0
"""A year that a schedule names can lie further ahead than a thread can wait."""

log = logging.getLogger(__name__)

_MARK: Final = "_local_aws_catches_up"


def install() -> None:
    """Let requests to DynamoDB catch up too: a restored table turns ACTIVE though nobody asks for its job."""
    if hasattr(DynamoHandler.call_action, _MARK):
        return
    stock_call_action = DynamoHandler.call_action

    @wraps(stock_call_action)
    def call_action(self: DynamoHandler) -> Any:
        catch_up_unless_ticking()
        return stock_call_action(self)

    setattr(call_action, _MARK, True)
    DynamoHandler.call_action = call_action  # type: ignore[method-assign]


def catch_up_unless_ticking() -> None:
    """Run all that is due by now, if no `Ticker` does.

    On a clock that runs fast also if one does: the blink until it wakes can be hours there, and a request must
    not come before what was due ahead of it.
    """
    if not TICKING.is_set() or CLOCK.mode == "scaled":
        catch_up()


def catch_up() -> None:
    """Run all that is due by now."""
    with state_lock:
        _run_due_by(CLOCK.now())
    outbox.deliver_unless_couriered()


def advance(by: timedelta) -> datetime:
    """Hold the clock and move it on by `by`, running on the way what falls due, each at its own time.

    Returns:
        The new time.

    Raises:
        ClockMovedBackwards: `by` is negative.
    """
    with state_lock:
        CLOCK.hold()
        target = CLOCK.now() + by
        while (due := _next_due()) is not None and due <= target:
            CLOCK.move(max(due - CLOCK.now(), timedelta(0)))
            _run_due_by(CLOCK.now())
        CLOCK.move(target - CLOCK.now())
    CHANGED.set()
    outbox.deliver_unless_couriered()
    return target


class Ticker(Thread):
    """A daemon thread that runs what falls due on the clock, until `stop`."""

    def __init__(self) -> None:
        super().__init__(name="local-aws-ticker", daemon=True)
        self._stopping = Event()

    def run(self) -> None:
        TICKING.set()
        try:
            while not self._stopping.is_set():
                CHANGED.clear()
                self._tick()
                CHANGED.wait(self._seconds_to_wait())
        finally:
            TICKING.clear()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        CHANGED.set()
        if self.is_alive():
            self.join()

    def _tick(self) -> None:
        try:
            self._prepare_due()
            catch_up()
        except Exception:
            # The entry that failed is off its agenda; time must go on for all others.
            log.exception("Something that was due failed")

    @staticmethod
    def _prepare_due() -> None:
        # Sizing a large table takes seconds; with the lock held all requests would wait for it.
        with state_lock:
            now = CLOCK.now()
            due = [entry for agenda in _agendas() for entry in agenda.due_by(now)]
        for entry in due:
            if entry.prepare is not None:
                entry.prepare()

    @staticmethod
    def _seconds_to_wait() -> float | None:
        with state_lock:
            due = _next_due()
            seconds = None if due is None else CLOCK.real_seconds_until(due)
            return None if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)


def _agendas() -> Iterator[Agenda]:
    for _, _, backend in list(backup_backends.iter_backends()):
        agenda = getattr(backend, "agenda", None)
        if isinstance(agenda, Agenda):
            yield agenda


def _earliest() -> Agenda | None:
    waiting = [agenda for agenda in _agendas() if agenda.next_due is not None]
    return min(waiting, key=lambda agenda: agenda.next_due or datetime.max, default=None)


def _next_due() -> datetime | None:
    earliest = _earliest()
    return earliest.next_due if earliest is not None else None


def _run_due_by(now: datetime) -> None:
    while (agenda := _earliest()) is not None and agenda.next_due is not None and agenda.next_due <= now:
        entry = agenda.pop()
        with CLOCK.standing_at(entry.due), drawing_from(f"{agenda.name} {entry.due} {agenda.taken}"):
            entry.action(entry.due)
