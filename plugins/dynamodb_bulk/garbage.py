"""Keeping Python's cycle collector out of work that makes many objects and no cycles.

A page of a table becomes some ten thousand dicts at once. None of them can be part of a cycle, but the collector,
which counts new objects, goes through them again and again while they are made: a third of the time that parsing
takes. Reference counting frees them all the same, as soon as the page has been worked on.

https://docs.python.org/3/library/gc.html
"""

from __future__ import annotations

import gc
import os
import threading
from types import TracebackType


class _Pause:
    """The collector is off as long as any thread is inside; then it is what it was before the first came in."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget who is inside."""
        self._lock = threading.Lock()
        self._inside = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_enabled:
                gc.enable()

    def after_fork(self) -> None:
        """Switch the collector on again in a child whose parent had other threads inside: they are not in the child."""
        if self._inside and self._was_enabled:
            gc.enable()
        self.reset()


collector_paused = _Pause()
"""``with collector_paused:`` keeps the collector from running, in the whole process; may be nested, and entered by
many threads. Meant for milliseconds: what others leave behind meanwhile is collected afterwards."""

os.register_at_fork(after_in_child=collector_paused.after_fork)
