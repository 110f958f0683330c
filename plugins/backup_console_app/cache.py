"""A small cache of answers: bounded, short-lived, and asked once however many wait for the same answer.

No Airflow import.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")

MAX_WEIGHT = 400_000
"""Rows that are kept in all: some hundred MB at the very most."""
TROUBLE_SECONDS = 3.0
"""An error is kept, too: a page that is loaded again and again does not hammer an address that is down."""

_UNDER_WAY: Final = float("inf")


@dataclass
class _Entry:
    until: float
    weight: int
    answer: Future[Any]


class Cache:
    """Answers by key, each for some seconds; the ones that were not asked for longest go first.

    Args:
        clock: tells seconds that only grow (``time.monotonic``).
        max_weight: of all answers together; see `get`.
    """

    def __init__(self, clock: Callable[[], float], *, max_weight: int = MAX_WEIGHT) -> None:
        self._clock = clock
        self._max_weight = max_weight
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self,
        key: Hashable,
        seconds: float | Callable[[T], float],
        make: Callable[[], T],
        *,
        weigh: Callable[[T], int] | None = None,
    ) -> T:
        """Return the answer kept for a key, or make it.

        Args:
            key: what is asked.
            seconds: how long the answer is good, or what tells it of the answer.
            make: asks; called by one thread, while others that want the same wait for it.
            weigh: how many rows the answer is; one where left out.

        Raises:
            Exception: what ``make`` raised, also for some seconds afterwards.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.until > self._clock():
                self._entries.move_to_end(key)
                found, mine = entry.answer, False
            else:
                # Until it is there the answer does not age.
                found, mine = Future(), True
                entry = self._entries[key] = _Entry(_UNDER_WAY, 1, found)
                self._entries.move_to_end(key)
        if not mine:
            answer: T = found.result()
            return answer
        return self._make(key, entry, seconds, make, weigh)

    def _make(
        self,
        key: Hashable,
        entry: _Entry,
        seconds: float | Callable[[T], float],
        make: Callable[[], T],
        weigh: Callable[[T], int] | None,
    ) -> T:
        try:
            answer = make()
            weight = max(1, weigh(answer)) if weigh is not None else 1
            good = seconds(answer) if callable(seconds) else seconds
        except BaseException as error:
            self._settle(entry, TROUBLE_SECONDS if callable(seconds) else min(seconds, TROUBLE_SECONDS), 1)
            entry.answer.set_exception(error)
            raise
        self._settle(entry, good, weight)
        entry.answer.set_result(answer)
        return answer

    def _settle(self, entry: _Entry, seconds: float, weight: int) -> None:
        with self._lock:
            entry.until = self._clock() + seconds
            entry.weight = weight
            total = sum(kept.weight for kept in self._entries.values())
            for key in list(self._entries):
                if total <= self._max_weight:
                    break
                if self._entries[key].until != _UNDER_WAY:
                    total -= self._entries.pop(key).weight
