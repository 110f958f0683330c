"""What `make run` shows in the terminal: progress lines as things happen, and the verdict at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

COLOURS = {"success": "32", "failed": "31", "upstream_failed": "31", "up_for_retry": "33", "running": "36"}
FADED = "2"
# States that a task only passes through; a line for each would hide the ones that tell something.
QUIET_STATES = frozenset({None, "scheduled", "queued", "removed"})


class Terminal:
    """Prints lines with the elapsed time; in colour on a terminal, plain elsewhere.

    :param stream: where to print.
    :param clock: returns seconds, only differences count.
    """

    def __init__(self, stream: TextIO = sys.stdout, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._begin = clock()
        # https://no-color.org
        self._colour = stream.isatty() and not os.environ.get("NO_COLOR")

    def elapsed(self) -> float:
        """Seconds since this terminal was opened."""
        return self._clock() - self._begin

    def line(self, text: str = "", colour: str | None = None) -> None:
        """Print one line."""
        print(self._paint(text, colour), file=self._stream, flush=True)

    def step(self, text: str, colour: str | None = None) -> None:
        """Print one line that begins with the elapsed seconds."""
        self.line(f"{self._paint(f'{self.elapsed():7.1f} s', FADED)}  {self._paint(text, colour)}")

    def _paint(self, text: str, colour: str | None) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self._colour else text

    def task(self, task: Mapping[str, Any]) -> None:
        """Print a task instance's new state, as Airflow's REST API describes the instance."""
        state = task["state"]
        if state in QUIET_STATES:
            return
        name = task["task_id"]
        if task["map_index"] >= 0:
            name += f"[{task['map_index']}]"
        took = f"{task['duration']:.1f} s" if task.get("duration") is not None and state != "running" else ""
        again = f"(try {task['try_number']})" if task["try_number"] > 1 else ""
        self.step(f"{name:<44} {state:<16} {took:>8} {again}".rstrip(), COLOURS.get(state))


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Lay a run's report out as aligned lines; nested groups (counts, timings) are indented.

    :param report: what the last task of the run returned.
    """
    lines: list[str] = []
    _lay_out(report, 0, lines)
    return lines


def _lay_out(group: Mapping[str, Any], depth: int, lines: list[str]) -> None:
    width = max((len(str(name)) for name in group), default=0)
    for name, value in group.items():
        label = f"{'  ' * depth}{str(name).replace('_', ' '):<{width}}"
        if isinstance(value, Mapping):
            lines.append(label.rstrip())
            _lay_out(value, depth + 1, lines)
        elif isinstance(value, list | tuple):
            lines.append(f"{label}  {', '.join(_value(one) for one in value) or '-'}")
        else:
            lines.append(f"{label}  {_value(value)}")


def _value(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
