"""How fast a scan may read, so that it never starves what else uses the table.

A scan takes read capacity in lumps of up to a megabyte. The pace lets the next page be asked for when what the
earlier ones took has been paid for at the allowed rate, and keeps pages small enough for about a second of it.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-query-scan.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from __future__ import annotations

import math
import threading

from dynamodb_bulk.patience import Effects

FIRST_PAGE_ITEMS = 25
"""Items of the first page, when nobody knows yet how large items are."""

_UNIT_BYTES = 4096


class ReadPace:
    """Holds requests back so that they use no more than a given capacity; may be used by many threads.

    Args:
        max_rcu: read capacity units a second; no limit if None.
        effects: clock and sleep.
        threads: how many requests may be under way at once.
    """

    def __init__(self, max_rcu: float | None, *, effects: Effects, threads: int = 1) -> None:
        if max_rcu is not None and not 0 < max_rcu < math.inf:
            raise ValueError(f"max_rcu must be more than 0, not {max_rcu}.")
        self._rate = max_rcu
        self._effects = effects
        self._threads = threads
        self._lock = threading.Lock()
        self._units = 0.0
        self._items = 0
        self._free_at = effects.clock()

    @property
    def units(self) -> float:
        """Read capacity units used so far."""
        return self._units

    @property
    def page_items(self) -> int | None:
        """How many items the next page should have at most; None if it does not matter."""
        if self._rate is None:
            return None
        with self._lock:
            if not self._items or not self._units:
                return FIRST_PAGE_ITEMS
            return max(1, int(self._rate / self._threads * self._items / self._units))

    def wait(self) -> None:
        """Sleep until the next page may be asked for."""
        while self._rate is not None:
            with self._lock:
                pause = self._free_at - self._effects.clock()
            if pause <= 0:
                return
            self._effects.sleep(pause)

    def spent(self, units: float | None, items: int, size: int, consistent: bool) -> None:
        """Note what a page took.

        Args:
            units: capacity units as DynamoDB states them; estimated by `size` if None.
            items: items in the page.
            size: its length in bytes.
            consistent: whether it was a consistent read, which takes twice as much.
        """
        if units is None:
            units = math.ceil(size / _UNIT_BYTES) * (1.0 if consistent else 0.5)
        with self._lock:
            self._units += units
            self._items += items
            if self._rate is not None:
                self._free_at = max(self._free_at, self._effects.clock()) + units / self._rate
