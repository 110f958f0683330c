"""What is going to happen, and when: a queue of actions in the order of their due times."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from threading import Event
from typing import Final

Action = Callable[[datetime], None]
"""Called with the time that it was due at."""

CHANGED: Final = Event()
"""Set when an agenda got an entry or the clock was moved: the next due time may be another."""


@dataclass(frozen=True)
class Entry:
    due: datetime
    action: Action
    prepare: Callable[[], object] | None = None


class Agenda:
    """Actions by due time; those due at the same time in the order that they were added.

    Args:
        name: Tells it from other agendas.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.taken = 0
        self._entries: list[tuple[datetime, int, Entry]] = []
        self._sequence = count()

    def add(self, due: datetime, action: Action, *, prepare: Callable[[], object] | None = None) -> None:
        """Plan `action` for `due`.

        Args:
            due: When, timezone-aware.
            action: What, called with `due`.
            prepare: Slow work, safe without any lock, whose result the action will find cached. May be left
                out.
        """
        heapq.heappush(self._entries, (due, next(self._sequence), Entry(due, action, prepare)))
        if not CHANGED.is_set():  # setting it is dear, and a year has many entries
            CHANGED.set()

    @property
    def next_due(self) -> datetime | None:
        return self._entries[0][0] if self._entries else None

    def pop(self) -> Entry:
        """Take off what is due next."""
        self.taken += 1
        return heapq.heappop(self._entries)[2]

    def due_by(self, instant: datetime) -> list[Entry]:
        """Return what is due by `instant`, in no order and without taking it off."""
        found, places = [], [0]
        while places:
            place = places.pop()
            # In a heap nothing below an entry is due before it: what is not due yet need not be looked through.
            if place < len(self._entries) and self._entries[place][0] <= instant:
                found.append(self._entries[place][2])
                places += (2 * place + 1, 2 * place + 2)
        return found
