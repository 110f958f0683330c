"""The local AWS as a server: one process, many threads, so that all callers see one state."""

import errno
import socket
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from local_aws.admin import AdminApplication
from local_aws.backup.handler import RELEASE_REPLIES
from local_aws.connections import LISTEN_QUEUE, Server
from local_aws.installation import install
from local_aws.outbox import Courier
from local_aws.request_faults import RELEASE
from local_aws.state_log import StateKeeper, StateLog
from local_aws.timeline import Ticker

_STOP_CHECK_SECONDS: Final = 0.05


class AddressInUse(OSError):
    """The address to listen on is taken."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return (
            f"http://{self.host}:{self.port} is in use already, perhaps by a local AWS that still runs."
            " Stop that, or choose another port with --port."
        )


class LocalAwsServer:
    """Serves AWS on one address from start to stop; a context manager.

    Args:
        host: Address to listen on.
        port: Port to listen on, 0 for any that is free.
        state_dir: Folder to keep state in, see `local_aws.state_log`; None: it ends with the process.
        ticking: Let things happen when they are due. Without it they happen with the next request to DynamoDB or
            AWS Backup, or as the clock is moved by hand: what a test in the same process wants.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 5566, *, state_dir: Path | None = None, ticking: bool = True
    ) -> None:
        install()
        self._state_log = StateLog(state_dir) if state_dir is not None else None
        self.host = host
        with _listen(host, port) as listening:
            self.port: int = listening.getsockname()[1]
            self._server = self._make_server(listening)
        self._ticker = Ticker() if ticking else None
        self._courier = Courier() if ticking else None
        self._thread = Thread(
            target=self._server.serve_forever, args=(_STOP_CHECK_SECONDS,), name="local-aws-server", daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        RELEASE_REPLIES.clear()
        RELEASE.clear()
        if self._ticker is not None and self._courier is not None:
            self._courier.start()
            self._ticker.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop serving. Replies that are kept back go out; other requests end with the process."""
        RELEASE_REPLIES.set()
        RELEASE.set()
        self._server.shutdown()
        self._server.close_connections()
        self._thread.join()
        self._server.server_close()
        if self._ticker is not None and self._courier is not None:
            self._ticker.stop()
            self._courier.stop()
        if self._state_log is not None:
            self._state_log.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_server(self, listening: socket.socket) -> Server:
        application: Any = AdminApplication(DomainDispatcherApplication(create_backend_app))
        if self._state_log is not None:
            application = StateKeeper(application, self._state_log)
            application.restore()
        return Server(self.host, self.port, application, listening)


def _listen(host: str, port: int) -> socket.socket:
    # Bound here: where the port is taken, the server would end the process with a message of its own.
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(LISTEN_QUEUE)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(host, port) from error
        raise
    return listening
