"""Two requests that write to one SQLite database: without turns they wait for each other in vain."""

import asyncio
import sqlite3
from contextlib import closing
from importlib.metadata import distributions
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from airflow_path.request_turns import READING, RequestTurns, RequestTurnsPlugin
from stack_environment import PROJECT

SQLITE_SECONDS = 1


@pytest.fixture
def server(tmp_path):
    """An app as Airflow's is: one request commits after its handler, which takes the event loop, one on that loop."""
    path = tmp_path / "turns.db"
    app = FastAPI()
    app.state.wrote, app.state.came = asyncio.Event(), asyncio.Event()

    def connect():
        return closing(sqlite3.connect(path, timeout=SQLITE_SECONDS, check_same_thread=False))

    with connect() as connection:
        connection.execute("CREATE TABLE log (what TEXT)")

    def session():
        with connect() as connection:
            yield connection
            connection.commit()

    @app.patch("/task")
    async def start_task(connection: Annotated[Any, Depends(session, scope="function")]):
        await asyncio.to_thread(connection.execute, "INSERT INTO log VALUES ('task')")
        app.state.wrote.set()
        await app.state.came.wait()

    @app.patch("/dag")
    async def pause_dag():
        with connect() as connection, connection:
            connection.execute("INSERT INTO log VALUES ('dag')")

    @app.get("/log")
    async def read_log():
        with connect() as connection:
            return [what for (what,) in connection.execute("SELECT what FROM log ORDER BY rowid")]

    return app


class Arrivals:
    """Notes that a second request has come, before anything else looks at it."""

    def __init__(self, app, came):
        self.app, self.came = app, came

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/dag":
            self.came.set()
        await self.app(scope, receive, send)


async def both(server, app):
    """Send the second request while the first has written and not committed."""
    transport = httpx.ASGITransport(Arrivals(app, server.state.came))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        task = asyncio.create_task(client.patch("/task"))
        await server.state.wrote.wait()
        while_written = await client.get("/log")
        await client.patch("/dag")
        await task
        return while_written.json(), (await client.get("/log")).json()


def test_without_turns_they_wait_until_time_is_up(server):
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        asyncio.run(both(server, server))


def test_with_turns_both_write_and_who_reads_waits_for_nobody(server):
    assert asyncio.run(both(server, RequestTurns(server))) == ([], ["task", "dag"])


def test_a_turn_ends_with_an_error_too():
    async def fail(scope, receive, send):
        raise RuntimeError("down")

    turns = RequestTurns(fail)

    async def twice():
        for _ in range(2):
            with pytest.raises(RuntimeError, match="down"):
                await asyncio.wait_for(turns({"type": "http", "method": "POST"}, None, None), timeout=5)

    asyncio.run(twice())


@pytest.mark.parametrize("scope", [{"type": "lifespan"}, *({"type": "http", "method": name} for name in READING)])
def test_what_does_not_write_takes_no_turn(scope):
    passed = []

    async def held():
        turns = RequestTurns(lambda *call: app(*call))
        release, began = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            passed.append(scope.get("method"))
            if scope.get("method") == "POST":
                began.set()
                await release.wait()

        writing = asyncio.create_task(turns({"type": "http", "method": "POST"}, None, None))
        await began.wait()
        await asyncio.wait_for(turns(scope, None, None), timeout=5)
        release.set()
        await writing

    asyncio.run(held())
    assert passed == ["POST", scope.get("method")]


def test_airflow_finds_the_plugin():
    found = [
        entry
        for one in distributions(path=[str(PROJECT / "scripts" / "airflow_path")])
        for entry in one.entry_points.select(group="airflow.plugins")
    ]
    assert [entry.value for entry in found] == ["request_turns:RequestTurnsPlugin"]
    (middleware,) = RequestTurnsPlugin.fastapi_root_middlewares
    assert middleware["middleware"] is RequestTurns
