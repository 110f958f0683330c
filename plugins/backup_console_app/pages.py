"""The console's addresses. What they show is gathered elsewhere; who may see it is decided by what they are given.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.params import Depends
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backup_console_app.drills import drills_page
from backup_console_app.evidence import NoSuchEvidenceError, evidence_file
from backup_console_app.findings import latest_watched, report_names, watched
from backup_console_app.history import charts
from backup_console_app.jobs import DAYS, WantedJobs, jobs
from backup_console_app.kept import latest_cleanup
from backup_console_app.overview import overview
from backup_console_app.points import Wanted, points
from backup_console_app.rendering import STATIC, Look, asset, render
from backup_console_app.troubles import Trouble, attempt, in_words
from backup_console_app.world import World

AT_ONCE: Final = 6
"""Pages that are gathered at once. They have threads of their own, so that a slow AWS never stops Airflow's API."""
POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
REPORT_POLICY: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""A report comes out of a bucket: whatever it holds, it runs no script and is nobody in Airflow's eyes."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class NotDeployedError(LookupError):
    """There is nothing to show yet; the message says what is missing."""


@dataclass(frozen=True)
class Wiring:
    """What the pages are given by Airflow.

    Attributes:
        connect: opens a stack by its name. Raises `NotDeployedError` where it is not there.
        stacks: that may be looked at; the first is shown unless another is named.
        airflow: path of Airflow's UI, without a slash at its end.
        clock: tells the time.
        may_look: what a request has to pass for any page.
        may_see_evidence: what it has to pass besides for a drill's evidence, which names items by their keys.
    """

    connect: Callable[[str], World]
    stacks: tuple[str, ...]
    airflow: str
    clock: Callable[[], dt.datetime]
    may_look: Sequence[Depends]
    may_see_evidence: Sequence[Depends]


class SafeHeaders:
    """Give every answer the headers that keep a browser from doing more with it than showing it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, safely)


def make_app(wiring: Wiring) -> FastAPI:
    """Return the console. No page of it can be had without passing ``wiring.may_look``."""
    app = FastAPI(
        title="Backup console", docs_url=None, redoc_url=None, openapi_url=None, dependencies=list(wiring.may_look)
    )
    app.add_middleware(SafeHeaders)
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def show(request: Request, build: Callable[[World, Look], Response]) -> Response:
        return await anyio.to_thread.run_sync(_page, wiring, request, build, limiter=limiter)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        found = Trouble(*_WORDS.get(error.status_code, (str(error.detail), "", "Go back to the list of tables.")))
        # Who is refused is not told which stacks there are.
        look = replace(_look(wiring, request, wiring.stacks[0]), stacks=wiring.stacks[:1])
        return _html("trouble.html", look, status=error.status_code, tab="", heading=found.title, found=found)

    @app.get("/")
    @app.get("/tables")
    async def tables(request: Request) -> Response:
        return await show(request, lambda world, look: _tables(world, look, request))

    @app.get("/tables/{name}")
    async def table(request: Request, name: str) -> Response:
        return await show(request, lambda world, look: _table(world, look, request, name))

    @app.get("/jobs")
    async def all_jobs(request: Request) -> Response:
        return await show(request, lambda world, look: _jobs(world, look, request))

    @app.get("/findings")
    async def findings(request: Request) -> Response:
        return await show(request, lambda world, look: _findings(world, look, request))

    @app.get("/evidence/{table}/{drill}/{name}", dependencies=list(wiring.may_see_evidence))
    async def evidence(request: Request, table: str, drill: str, name: str) -> Response:
        return await show(request, lambda world, look: _evidence(world, look, table, drill, name))

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        # Its address changes when it does.
        return Response(asset(name), media_type=STATIC[name], headers={"Cache-Control": "private, max-age=86400"})

    return app


_WORDS: Final = {
    401: (
        "Log in first",
        "The console shows itself to users of this Airflow only.",
        "Log in to Airflow, then load again.",
    ),
    403: (
        "Not yours to see",
        "Your Airflow user lacks the right.",
        "Ask for the right to read the runs (for evidence: the task logs) of the DAG restore_drill.",
    ),
    404: ("No such page", "There is nothing at this address.", "Go back to the list of tables."),
}


def _look(wiring: Wiring, request: Request, stack: str) -> Look:
    return Look(
        root=str(request.scope.get("root_path", "")).rstrip("/"),
        airflow=wiring.airflow,
        stack=stack,
        stacks=wiring.stacks,
        now=wiring.clock(),
    )


def _page(wiring: Wiring, request: Request, build: Callable[[World, Look], Response]) -> Response:
    """Open the stack and build a page; what goes wrong is shown in words."""
    stack = request.query_params.get("stack") or wiring.stacks[0]
    if stack not in wiring.stacks:
        raise HTTPException(404)
    look = _look(wiring, request, stack)
    try:
        return build(wiring.connect(stack), look)
    except HTTPException:
        raise
    except NotDeployedError as error:
        return _html("start.html", look, tab="tables", detail=str(error))
    except Exception as error:
        return _html("trouble.html", look, status=503, tab="", heading="This can't be shown now", found=in_words(error))


def _html(template: str, look: Look, *, status: int = 200, **values: Any) -> Response:
    return HTMLResponse(render(template, look, **values), status_code=status)


def _tables(world: World, look: Look, request: Request) -> Response:
    search = _text(request, "search")
    return _html(
        "overview.html",
        look,
        tab="tables",
        search=search,
        found=overview(world, search=search, page=_number(request, "page", 1)),
        watched=attempt(lambda: latest_watched(world)),
    )


def _table(world: World, look: Look, request: Request, name: str) -> Response:
    table = world.table(name)
    if table is None:
        found = Trouble(
            "No protected table is called so", name, "Name it in protection.yaml if it exists, or go back to the list."
        )
        return _html("trouble.html", look, status=404, tab="tables", heading="No such table", found=found)
    wanted = Wanted(
        status=_text(request, "status"),
        vault=_text(request, "vault"),
        decision=_text(request, "decision"),
        since=_day(request, "since"),
        until=_day(request, "until"),
        search=_text(request, "search"),
    )
    page = _number(request, "page", 1)
    return _html(
        "table.html",
        look,
        tab="tables",
        table=table,
        region=world.places.region,
        wanted=wanted,
        history=attempt(lambda: charts(world, table)),
        drills=attempt(lambda: drills_page(world, name, page=_number(request, "drills", 1))),
        points=attempt(lambda: points(world, table, wanted, page=page)),
    )


def _jobs(world: World, look: Look, request: Request) -> Response:
    wanted = WantedJobs(
        kind=_text(request, "kind"),
        state=_text(request, "state"),
        table=_text(request, "table"),
        days=_number(request, "days", DAYS),
    )
    found = jobs(world, wanted, page=_number(request, "page", 1))
    return _html("jobs.html", look, tab="jobs", region=world.places.region, wanted=wanted, found=found)


def _findings(world: World, look: Look, request: Request) -> Response:
    names = report_names(world)
    name = _text(request, "report") or (names[0] if names else "")
    return _html(
        "findings.html",
        look,
        tab="findings",
        cleanup=attempt(lambda: latest_cleanup(world)),
        names=names,
        found=watched(world, name) if name else None,
    )


def _evidence(world: World, look: Look, table: str, drill: str, name: str) -> Response:
    try:
        file = evidence_file(world, table, drill, name)
    except NoSuchEvidenceError:
        raise HTTPException(404) from None
    manner = "inline" if file.shown else "attachment"
    return StreamingResponse(
        file.pieces,
        media_type=file.kind,
        headers={
            "Content-Disposition": f'{manner}; filename="{file.name}"',
            "Content-Length": str(file.length),
            "Content-Security-Policy": REPORT_POLICY,
        },
    )


def _text(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()[:300]


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else default


def _day(request: Request, name: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(request.query_params.get(name, ""))
    except ValueError:
        return None
