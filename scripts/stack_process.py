"""Start, watch and end the processes of a local stack so that none of them outlives it.

Every component is started as the leader of its own session. All that it forks (Airflow's executor workers,
their task processes, DAG parsers) stays in that session even where it moves to a process group of its own,
so "everything that belongs to this component" can always be found again, also after its leader died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]

LOG_TAIL_LINES = 30

T = TypeVar("T")


class ComponentDiedError(RuntimeError):
    """A component of the stack ended although nobody asked it to; the message shows the end of its log."""

    def __init__(self, name: str, exit_code: int | None, log_file: Path, tail: str) -> None:
        self.name = name
        self.exit_code = exit_code
        self.log_file = log_file
        super().__init__(f"{name} ended by itself with exit code {exit_code}. The end of its log ({log_file}):\n{tail}")


class StackTimeoutError(TimeoutError):
    """Something that the stack was waited for did not come about in time."""


def wait_until(
    condition: Callable[[], T | None], *, timeout: float, what: str | Callable[[], str], interval: float = 0.2
) -> T:
    """Poll a condition until it returns something truthy, and return that.

    :param condition: called every ``interval`` seconds; may raise to end the wait at once.
    :param timeout: seconds after which the wait is given up.
    :param what: names the awaited thing in the error (a callable is asked only then).
    :raises StackTimeoutError: the condition did not hold in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            name = what() if callable(what) else what
            raise StackTimeoutError(f"Waited {timeout:g} s in vain for {name}.")
        time.sleep(interval)


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """Return the last lines of a log file, or a note that there is none."""
    if not path.exists():
        return "(no log was written)"
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 64 * 1024))
        text = stream.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:]) or "(its log is empty)"


def session_members(session_id: int) -> list[psutil.Process]:
    """Return the living processes of one session (zombies are not alive)."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session_id and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return members


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def end_sessions(session_ids: Iterable[int], *, grace: float) -> list[int]:
    """End all processes of the given sessions: ask politely, wait, then kill what is left.

    :param session_ids: session leaders' process ids.
    :param grace: seconds between SIGTERM to the leaders and SIGKILL to everything that remains.
    :returns: process ids that survived even SIGKILL (empty unless the kernel holds one).
    """
    sessions = list(session_ids)

    def living() -> list[psutil.Process]:
        return [member for session in sessions for member in session_members(session)]

    for process in living():
        # Only leaders are asked: they know how to end their children. A child hit on its own looks like a
        # crash to its leader, which answers with error logs and replacements.
        if process.pid in sessions:
            _signal(process, signal.SIGTERM)
    _wait_gone(living, grace)
    for process in living():
        _signal(process, signal.SIGKILL)
    _wait_gone(living, 5.0)
    return [process.pid for process in living()]


def _wait_gone(living: Callable[[], list[psutil.Process]], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while living() and time.monotonic() < deadline:
        time.sleep(0.1)


@dataclass(frozen=True)
class ComponentSpec:
    """What it takes to start one component: its name, command line, environment and folder."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


class Component:
    """One running process of the stack and everything that it forked."""

    def __init__(self, spec: ComponentSpec, log_file: Path) -> None:
        self.spec = spec
        self.log_file = log_file
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Name of the component, for example ``scheduler``."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """Process id of the leader, which is also the id of its session."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started; start the stack first.")
        return self._popen.pid

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._popen is not None

    @property
    def running(self) -> bool:
        """Whether the leader lives."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the leader; negative for a signal, None while it runs or before the first start."""
        return None if self._popen is None else self._popen.poll()

    def start(self) -> None:
        """Start the process; its output is appended to the component's log file.

        :raises RuntimeError: it runs already.
        """
        if self.running:
            raise RuntimeError(f"{self.name} runs already (process {self.pid}); stop or kill it first.")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._popen = subprocess.Popen(
                list(self.spec.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.spec.cwd,
                env=dict(self.spec.env),
                # A session of its own: Ctrl-C in the terminal reaches only the one that ends all in order.
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL the component and all that it forked, as when a machine is lost; wait for their end."""
        if self._popen is None:
            return
        for process in session_members(self.pid):
            _signal(process, signal.SIGKILL)
        self._popen.wait()
        left = end_sessions([self.pid], grace=0)
        if left:
            raise RuntimeError(f"{self.name}: processes {left} survived SIGKILL.")

    def reap(self) -> None:
        """Collect the exit code of a leader that was ended, so that no zombie remains."""
        if self._popen is not None:
            self._popen.wait(timeout=5)

    def check(self) -> None:
        """Raise ``ComponentDiedError`` if the process was started and is not running."""
        if self._popen is not None and not self.running:
            raise ComponentDiedError(self.name, self.exit_code, self.log_file, log_tail(self.log_file))
