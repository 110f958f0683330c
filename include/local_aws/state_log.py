"""State that survives the end of the process: every change is written down before it is acknowledged, and done again.

The log holds the requests that changed something: when they came on the clock, and what they said. A start does them
again, each at its time, with what fell due in between, so that ids, ARNs, jobs and recovery points come out the same.
A record is appended by one write, with its checksum, before the reply is sent: a killed process (kill -9) loses
nothing that it had acknowledged, and a record that it had only begun to write is cut off at the next start. The
machine's own end is another matter: the file is not forced to the disk.

What does not come back: dates that moto itself gives to objects, roles and stacks (they are those of the restart),
messages under way in queues and events under way to them, faults on the wire (`local_aws.request_faults`), and
calls that were answered with an error. The log only grows; to begin anew, delete it.
"""

import fcntl
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs
from zlib import crc32

from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY

from local_aws import control, request_faults, timeline
from local_aws.clock import CLOCK
from local_aws.moto_fixes.locking import state_lock
from local_aws.repeatable import drawing_from
from local_aws.settings import SETTINGS

LOG_NAME: Final = "requests.log"
_MAGIC: Final = b"local_aws requests 1\n"
_FRAME: Final = struct.Struct(">III")
_ADMIN: Final = "/local-aws/"
_READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_READS: Final = (
    "BatchGet",
    "Describe",
    "Estimate",
    "Get",
    "List",
    "Query",
    "Scan",
    "Simulate",
    "TransactGet",
    "Validate",
)
_MAKES_CREDENTIALS: Final = frozenset({"GetFederationToken", "GetSessionToken"})

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class StateDirError(ValueError):
    """The folder cannot be used to keep state in."""


@dataclass(frozen=True)
class Record:
    """One request that changed something.

    Attributes:
        at: When it came, on the clock.
        environ: The texts of its WSGI environ.
        header_names: How moto's preserved headers were spelled.
        body: What it said.
    """

    at: datetime
    environ: Mapping[str, str]
    header_names: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.environ["PATH_INFO"].rstrip("/")

    def packed(self) -> bytes:
        """Return it as it is written."""
        head = json.dumps([self.at.isoformat(), self.environ, self.header_names]).encode()
        return _FRAME.pack(len(head), len(self.body), crc32(self.body, crc32(head))) + head + self.body

    def to_environ(self) -> dict[str, Any]:
        """Return the WSGI environ to do it again with."""
        return {
            **self.environ,
            PRESERVED_HEADER_NAMES_ENVIRON_KEY: dict(self.header_names),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(self.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": None,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }


class StateLog:
    """The log of one folder, and a lock that keeps other processes out of it until `close`.

    Args:
        folder: Made if it is not there.

    Raises:
        StateDirError: Another process uses it, or its log is none.
        OSError: It cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG_NAME
        if not self.path.exists():
            begun = self.path.with_suffix(".begun")
            begun.write_bytes(_MAGIC)
            begun.replace(self.path)
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise StateDirError(
                f"{folder} is in use by another local AWS: stop that, or name another folder."
            ) from error
        self.count = 0

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._file)

    def read(self) -> Iterator[Record]:
        """Yield the records, and cut off what was not written to its end."""
        with self.path.open("rb") as log:
            if log.read(len(_MAGIC)) != _MAGIC:
                raise StateDirError(f"{self.path} is no log of this local AWS: name another folder, or delete it.")
            sound = log.tell()
            while (record := _read_record(log)) is not None:
                self.count += 1
                sound = log.tell()
                yield record
        os.ftruncate(self._file, sound)

    def append(self, record: Record) -> None:
        """Write a record, at once and whole."""
        packed = record.packed()
        if os.write(self._file, packed) != len(packed):
            raise OSError(f"{self.path} could not be written to its end: is the disk full?")
        self.count += 1


def _read_record(log: Any) -> Record | None:
    frame = log.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        return None
    head_length, body_length, checksum = _FRAME.unpack(frame)
    head, body = log.read(head_length), log.read(body_length)
    if len(head) < head_length or len(body) < body_length or crc32(body, crc32(head)) != checksum:
        return None
    at, environ, header_names = json.loads(head)
    return Record(datetime.fromisoformat(at), environ, header_names, body)


class StateKeeper:
    """WSGI application that writes down what changes something, and does it again at a start.

    Args:
        inner: The application that serves.
        log: Where it is written.
    """

    def __init__(self, inner: WsgiApp, log: StateLog) -> None:
        self._inner = inner
        self._log = log

    def restore(self) -> None:
        """Do again what the log holds; the clock goes on as it did last.

        Raises:
            StateDirError: The log is none.
        """
        settings_now = SETTINGS.as_dict()
        gear: tuple[str, float] | None = None
        for number, record in enumerate(self._log.read()):
            with state_lock, drawing_from(str(number)):
                CLOCK.hold(record.at)
                timeline.catch_up()
                _call(self._inner, record.to_environ())
            if record.path == f"{_ADMIN}clock":
                gear = (CLOCK.mode, CLOCK.speed)
        if self._log.count:
            _shift(gear or ("real", 1.0))
        control.configure(**settings_now)
        self._log.append(_settings_record(settings_now))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        environ["wsgi.input"] = BytesIO(body)
        if not changes_something(environ, body):
            return self._inner(environ, start_response)
        with state_lock:
            record = _record(environ, body)
            with drawing_from(str(self._log.count)):
                # What was due before comes before, here and when all this is done again.
                timeline.catch_up()
                if record.path.startswith(_ADMIN):
                    status, headers, content = _call(self._inner, environ)
                else:
                    with CLOCK.standing_at(record.at):
                        status, headers, content = _call(self._inner, environ)
            if int(status.split(None, 1)[0]) < 400:
                self._log.append(record)
        start_response(status, headers)
        return [content]


def changes_something(environ: Mapping[str, Any], body: bytes) -> bool:
    """Tell whether a request may change what later requests see."""
    if environ["REQUEST_METHOD"] in _READ_METHODS:
        return False
    path = environ["PATH_INFO"]
    if path == f"{_ADMIN}faults" and body:
        return not _is_on_the_wire(body)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return _changes(str(target).rpartition(".")[2])
    if str(environ.get("CONTENT_TYPE", "")).startswith("application/x-www-form-urlencoded") and path == "/":
        return _changes(parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0])
    return True


def _changes(operation: str) -> bool:
    return operation in _MAKES_CREDENTIALS or not operation.startswith(_READS)


def _is_on_the_wire(body: bytes) -> bool:
    try:
        order = json.loads(body)
    except ValueError:
        return False
    return isinstance(order, dict) and order.get("kind") in {*request_faults.KINDS, "unprocessed"}


def _record(environ: Mapping[str, Any], body: bytes) -> Record:
    texts = {name: value for name, value in environ.items() if isinstance(value, str) and not name.startswith("wsgi.")}
    names: Mapping[str, str] = environ.get(PRESERVED_HEADER_NAMES_ENVIRON_KEY) or {}
    return Record(CLOCK.now(), texts, names, body)


def _settings_record(settings: Mapping[str, Any]) -> Record:
    # What the server was started with is a change too: jobs done again take as long as they took.
    body = json.dumps(settings).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"{_ADMIN}settings",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
    }
    return Record(CLOCK.now(), environ, {}, body)


def _shift(gear: tuple[str, float]) -> None:
    """Let the clock go on, from where it stands, in the way that it went."""
    mode, speed = gear
    if mode == "manual":
        return
    stood_at = CLOCK.now()
    CLOCK.run()
    if mode == "scaled" or CLOCK.now() < stood_at:  # it had run ahead of the machine's, and never goes back
        CLOCK.hold(stood_at)
        CLOCK.run_at(speed)


def _call(application: WsgiApp, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started[:] = (status, headers)

    content = b"".join(application(environ, start_response))
    status, headers = started
    return status, headers, content
