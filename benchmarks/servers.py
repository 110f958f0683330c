"""DynamoDB servers to load into: this project's local AWS, and two of other makers, fetched in pinned versions.

What is fetched is named, with hashes, in ``servers/``. It is kept beside them in ``servers/.cache`` and fetched again
only when that changes.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import http.client
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measuring import HERE, BenchmarkError, environment

_PINS = HERE / "servers"
_CACHE = _PINS / ".cache"
_INCLUDE = HERE.parent / "include"
_FETCH_SECONDS = 300
_START_SECONDS = 60
_STOP_SECONDS = 15
_POLL_SECONDS = 0.05
_SHOWN_CHARACTERS = 1500


class NotInstalledError(BenchmarkError):
    """A server needs a program or library that this machine does not have."""


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        title: its name and version.
        url: where it is.
        pid: its process, if this one started it.
        slowness: how many times less it is given to do, so that it takes about as long as the others.
    """

    title: str
    url: str
    pid: int | None = None
    slowness: int = 1


@dataclass(frozen=True)
class _Kind:
    """How a server is come by.

    Attributes:
        prepare: fetches it if need be; returns its title and the command that starts it, with ``{port}`` in it.
        slowness: see :class:`Server`.
    """

    prepare: Callable[[], tuple[str, Sequence[str]]]
    slowness: int = 1


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Start a server, and stop it in the end.

    Args:
        name: one of `SERVERS`.

    Raises:
        NotInstalledError: something that it needs is not on this machine.
        BenchmarkError: it cannot be fetched or does not start.
    """
    kind = SERVERS[name]
    title, command = kind.prepare()
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [part.format(port=port) for part in command],
                cwd=folder,
                env=environment({"PYTHONPATH": str(_INCLUDE)}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_for(process, port, title, log)
            yield Server(title, f"http://127.0.0.1:{port}", process.pid, kind.slowness)
        finally:
            _stop(process)


def _wait_for(process: subprocess.Popen[bytes], port: int, title: str, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
        finally:
            connection.close()
    said = log.read_text(errors="replace")[-_SHOWN_CHARACTERS:]
    raise BenchmarkError(f"{title} did not answer within {_START_SECONDS} s of its start. It printed:\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# --- where they come from -------------------------------------------------------------------------------


def _local_aws() -> tuple[str, Sequence[str]]:
    return "local AWS", (sys.executable, "-m", "local_aws", "--port", "{port}")


def _roto() -> tuple[str, Sequence[str]]:
    lock = _PINS / "requirements.txt"
    found = re.search(r"^roto-aws==(\S+)", lock.read_text(), re.MULTILINE)
    if found is None:
        raise BenchmarkError(f"{lock} does not pin roto-aws; add it, with its hashes.")

    def fetch(folder: Path) -> None:
        options = ("--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check")
        _run([sys.executable, "-m", "pip", "install", *options, "--target", str(folder), "-r", str(lock)], HERE)

    binary = _fetched("roto", [lock], fetch) / "bin" / "roto-server"
    return f"roto-server {found[1]}", (str(binary), "--ephemeral", "--port", "{port}")


def _roto_jemalloc() -> tuple[str, Sequence[str]]:
    jemalloc = ctypes.util.find_library("jemalloc")
    if jemalloc is None:
        raise NotInstalledError("roto with jemalloc needs that library (Debian's libjemalloc2).")
    title, command = _roto()
    return f"{title} with jemalloc", ("env", f"LD_PRELOAD={jemalloc}", *command)


def _dynalite() -> tuple[str, Sequence[str]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstalledError("dynalite needs Node.js 20 or newer, with npm.")
    pins = [_PINS / "package.json", _PINS / "package-lock.json"]
    found = re.search(r'"dynalite": "([^"]+)"', pins[0].read_text())
    if found is None:
        raise BenchmarkError(f"{pins[0]} does not name dynalite; add it, and make the lock anew.")

    def fetch(folder: Path) -> None:
        for pin in pins:
            shutil.copy(pin, folder)
        # No script of any package runs: what dynalite keeps in memory needs nothing built.
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)

    program = _fetched("dynalite", pins, fetch) / "node_modules" / "dynalite" / "cli.js"
    version = _run([node, "--version"], HERE).strip().removeprefix("v")
    # Tables are there and gone at once, as with the others.
    moods = ("--createTableMs", "0", "--deleteTableMs", "0")
    command = (node, str(program), "--host", "127.0.0.1", "--port", "{port}", *moods)
    return f"dynalite {found[1]} on Node.js {version}", command


def _fetched(name: str, pins: Sequence[Path], fetch: Callable[[Path], None]) -> Path:
    """Return the folder into which `fetch` has put what `pins` name; it is called only if there is none yet."""
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()[:16]
    folder = _CACHE / f"{name}-{digest}"
    if not folder.exists():
        _CACHE.mkdir(exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=_CACHE, prefix=f"{name}-"))
        try:
            fetch(making)
            # Moved when complete, so that a fetch that was killed leaves nothing half.
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_FETCH_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-_SHOWN_CHARACTERS:]
        raise BenchmarkError(f"{' '.join(command[:4])} … failed with {done.returncode}:\n{said}")
    return done.stdout


SERVERS: Mapping[str, _Kind] = {
    "roto": _Kind(_roto),
    "roto_jemalloc": _Kind(_roto_jemalloc),
    "dynalite": _Kind(_dynalite),
    "local_aws": _Kind(_local_aws, slowness=5),
}
"""By name. The last is the one that the tests use; the others are fast enough for the client to show.

roto spends much of its time in the C library's allocator; with another one it is faster, whoever the client is.
"""
