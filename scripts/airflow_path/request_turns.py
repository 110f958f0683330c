"""Requests that write to Airflow's own SQLite database take turns in the api-server.

The api-server records each action of a person in its audit log on the event loop itself, and waits there, with all
else standing still, until it may write. Whoever writes at that moment is another request more often than not (a task
starts), and that one needs the event loop to commit. Both wait for each other until SQLite's time is up: a minute in
which nothing answers, and then an error. So one request that may write begins when the one before it is answered;
requests that only read wait for nobody. PostgreSQL, which writes for many at once, needs none of this.

https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

READING = frozenset({"GET", "HEAD", "OPTIONS"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class RequestTurns:
    """ASGI middleware that handles one writing request at a time.

    https://asgi.readthedocs.io/en/stable/specs/www.html
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request, when it is its turn."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self._app(scope, receive, send)
            return
        async with self._turn:
            await self._app(scope, receive, send)


class RequestTurnsPlugin(AirflowPlugin):
    """What makes the api-server use it; found by the entry point in the folder beside this file."""

    name = "request_turns"
    fastapi_root_middlewares = [{"name": "Turns of writing requests", "middleware": RequestTurns}]
