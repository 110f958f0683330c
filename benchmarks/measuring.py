"""Running measurements in processes of their own, against the null server, and summing up what they give."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import made_data

HERE = Path(__file__).resolve().parent
_PLUGINS = HERE.parent / "plugins"
_CONTROL_SECONDS = 30
_JOB_SECONDS = 3600


class BenchmarkError(Exception):
    """A measurement failed, or gave a wrong result, so that its time means nothing."""


@dataclass(frozen=True)
class Measured:
    """What one process gave.

    Attributes:
        items: items loaded or read.
        cpu: the process's CPU seconds, user and system.
        wall: seconds it took.
        peak: the most memory that the process ever held, in bytes.
        error: with what the work ended, if not well.
        extra: what else the method tells.
        server: what the null server counted meanwhile.
        server_cpu: CPU seconds of the server, where its process is known.
    """

    items: int
    cpu: float
    wall: float
    peak: int
    error: str
    extra: dict[str, Any]
    server: dict[str, int]
    server_cpu: float = 0.0

    @property
    def cpu_per_item(self) -> float:
        """CPU microseconds an item."""
        return self.cpu / self.items * 1e6


@dataclass(frozen=True)
class Options:
    """How much is measured.

    Attributes:
        items: items of a plain measurement.
        sizes: items of the tables where growth is measured, smallest first.
        rounds: rounds of interleaved measurements.
        starved_items: items loaded into a server that takes 300 a second.
        dead_seconds: for how long a server that takes nothing is tried.
        nasty_rows: rows of each nasty file.
        shards: into how many shards those are cut.
        dicts_once: whether `diff` measures its baseline, which takes long and some GB, once only.
        wall_items: items loaded into a server that keeps them.
        servers: those that are loaded into; see ``servers.py``.
        endpoint_url: one server more to be written to, for `wall` alone.
        server: what that server is, for the heading.
    """

    items: int = 20_000
    sizes: tuple[int, ...] = (20_000, 50_000)
    rounds: int = 5
    starved_items: int = 3_000
    dead_seconds: float = 5.0
    nasty_rows: int = 20_000
    shards: tuple[int, ...] = (2, 7, 64, 257, 1000)
    dicts_once: bool = False
    wall_items: int = 20_000
    servers: tuple[str, ...] = ("roto", "roto_jemalloc", "dynalite", "local_aws")
    endpoint_url: str | None = None
    server: str | None = None


class Bench:
    """The null server, a folder of made files, and the means to measure; a context manager.

    Args:
        options: how much is measured.
        log: takes a line about each measurement.
    """

    def __init__(self, options: Options, log: Callable[[str], None]) -> None:
        self.options = options
        self._log = log
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._server: subprocess.Popen[str] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        command = [sys.executable, str(HERE / "null_server.py"), self._folder.name]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_own_environment()
        )
        port = self._server.stdout.readline().strip() if self._server.stdout else ""
        if not port:
            raise BenchmarkError("The null server did not start; what it printed stands above.")
        self._port = int(port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            # The end of its input ends it.
            self._server.communicate()
        self._folder.cleanup()

    def csv_file(self, rows: int) -> str:
        """Return the path of a made file of so many rows."""
        path = Path(self._folder.name) / f"rows-{rows}.csv"
        if not path.exists():
            made_data.write_csv(path, rows)
        return str(path)

    def mixed_file(self, rows: int) -> tuple[str, int]:
        """Return the path of a file of mixed values, and how many items it stands for."""
        path = Path(self._folder.name) / f"mixed-{rows}.csv"
        return str(path), made_data.write_mixed_csv(path, rows)

    def write_nasty_files(self) -> None:
        """Put the nasty files where the server finds them."""
        for number, (_, content) in enumerate(made_data.nasty_files(self.options.nasty_rows)):
            (Path(self._folder.name) / f"nasty-{number}.csv").write_bytes(content)

    def measure(self, method: str, *, mood: dict[str, Any] | None = None, **job: Any) -> Measured:
        """Run one method once, in a new process.

        Args:
            method: the name of a function in ``work.py``.
            mood: how the server behaves; see ``null_server.py``.
            job: what the method needs.

        Raises:
            BenchmarkError: the process failed.
        """
        self._control(mood or {})
        text = json.dumps({"method": method, "endpoint": f"http://127.0.0.1:{self._port}", **job})
        done = subprocess.run(
            [sys.executable, str(HERE / "work.py"), text],
            env=_own_environment(),
            capture_output=True,
            text=True,
            timeout=_JOB_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"{method} failed:\n{done.stderr}")
        found = json.loads(done.stdout)
        plain = {name: found.pop(name) for name in ("items", "cpu", "wall", "peak", "error", "server_cpu")}
        measured = Measured(**plain, extra=found, server=self._stats())
        self._log(
            f"{method}: {measured.items} items, {measured.cpu:.2f} s CPU, {measured.wall:.2f} s, "
            f"{measured.peak / 1e6:.0f} MB {measured.error[:100]}"
        )
        return measured

    def rounds(self, jobs: Sequence[dict[str, Any]], rounds: int | None = None) -> list[list[Measured]]:
        """Measure several jobs in turn, round by round, every other round backwards.

        Returns:
            For each job what its rounds gave.
        """
        found: list[list[Measured]] = [[] for _ in jobs]
        for number in range(rounds or self.options.rounds):
            order = range(len(jobs)) if number % 2 == 0 else reversed(range(len(jobs)))
            for place in order:
                found[place].append(self.measure(**jobs[place]))
        return found

    def _control(self, mood: dict[str, Any]) -> None:
        self._ask("POST", "/control", json.dumps(mood))

    def _stats(self) -> dict[str, int]:
        counts: dict[str, int] = json.loads(self._ask("GET", "/stats"))
        return counts

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_CONTROL_SECONDS)
        try:
            connection.request(method, path, body)
            return connection.getresponse().read()
        finally:
            connection.close()


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return what a process is started with: neither the user's AWS settings nor a proxy may change what is measured.

    Args:
        more: variables that are set besides.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("AWS_", "HTTP", "ROTO_"))}
    return {**kept, "AWS_EC2_METADATA_DISABLED": "true", **more}


def _own_environment() -> dict[str, str]:
    return environment({"PYTHONPATH": f"{_PLUGINS}{os.pathsep}{HERE}"})
