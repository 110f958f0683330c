"""Airflow's side of the console: its place in the UI, who may see it, and the connection that it reads AWS by.

The pages themselves are made by ``backup_console_app``, when the first of them is asked for: workers and schedulers
load plugins, too, and need nothing of it.

https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from fastapi import FastAPI

    from backup_console_app.cache import Cache
    from backup_console_app.world import NextRun, World

log = logging.getLogger(__name__)

PREFIX = "/backup-console"
VIEW = "backup-console"
SHOWS_RUNS_OF = "restore_drill"
"""Who may read this DAG's runs may see the console, and who may read its task logs, the evidence."""
STACKS_OPTION = "console_stacks"
CLIENT_SECONDS = 60.0
"""For so long a connection that was changed is still used as it was."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def airflow_path() -> str:
    """Return the path below which this Airflow's UI lies, without a slash at its end."""
    from airflow.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def shown_stacks() -> tuple[str, ...]:
    """Return the stacks that the console shows: ``[backup_flows] console_stacks``, names with commas between."""
    from airflow.configuration import conf

    from backup_flows.stack import STACK_NAME

    names = conf.get("backup_flows", STACKS_OPTION, fallback="") or ""
    return tuple(name.strip() for name in names.split(",") if name.strip()) or (STACK_NAME,)


def next_run(dag_id: str) -> NextRun | None:
    """Return when a DAG runs next; None where Airflow has no such DAG."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    from backup_console_app.world import NextRun

    with create_session() as session:
        dag: Any = session.get(DagModel, dag_id)
        if dag is None or dag.is_stale:
            return None
        return NextRun(at=dag.next_dagrun_create_after, paused=bool(dag.is_paused))


def connect(stack: str, cache: Cache) -> World:
    """Open a stack by the console's connection.

    :raises NotDeployedError: there is no such stack, or parts of it are missing.
    """
    from backup_console_app.pages import NotDeployedError
    from backup_console_app.world import FRESH, World
    from backup_flows.aws import console_client, console_conn_id
    from backup_flows.project_files import project_file
    from backup_flows.protection_file import PROTECTION_FILE, load_protection
    from backup_flows.stack import MissingResourcesError, read_resources

    def client(service: str) -> Any:
        return cache.get(("client", service), CLIENT_SECONDS, lambda: console_client(service, conn_id()))

    def conn_id() -> str:
        return cache.get("connection", CLIENT_SECONDS, console_conn_id)

    try:
        places = cache.get(("stack", stack), FRESH, lambda: read_resources(client("cloudformation"), stack))
        protection = cache.get("protection", FRESH, lambda: load_protection(project_file(PROTECTION_FILE)))
    except MissingResourcesError as error:
        raise NotDeployedError(str(error)) from error
    return World(
        stack=stack,
        clients=client,
        places=places,
        protection=protection,
        now=dt.datetime.now(dt.UTC),
        cache=cache,
        next_run=next_run,
    )


def make_console() -> FastAPI:
    """Return the console's pages, each behind Airflow's own check of the user's rights."""
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
    from fastapi import Depends

    from backup_console_app.cache import Cache
    from backup_console_app.pages import Wiring, make_app

    cache = Cache(time.monotonic)
    return make_app(
        Wiring(
            connect=functools.partial(connect, cache=cache),
            stacks=shown_stacks(),
            airflow=airflow_path(),
            clock=lambda: dt.datetime.now(dt.UTC),
            may_look=[
                Depends(requires_access_view(AccessView.WEBSITE)),
                Depends(requires_access_dag("GET", DagAccessEntity.RUN, SHOWS_RUNS_OF)),
            ],
            may_see_evidence=[Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS, SHOWS_RUNS_OF))],
        )
    )


class LazyApp:
    """An ASGI app that is made when it is first asked."""

    def __init__(self, make: Callable[[], FastAPI]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        import anyio.to_thread

        # Making it imports a good deal: not in the thread that all of Airflow's API waits for.
        app = self._app if self._app is not None else await anyio.to_thread.run_sync(self._made)
        await app(scope, receive, send)

    def _made(self) -> FastAPI:
        with self._lock:
            if self._app is None:
                self._app = self._make()
            return self._app


class BackupConsolePlugin(AirflowPlugin):
    """The console, in the UI's navigation."""

    name = "backup_console"
    fastapi_apps: list[Any] = [{"app": LazyApp(make_console), "url_prefix": PREFIX, "name": "Backup console"}]
    external_views: list[Any] = [
        {
            "name": "Backup console",
            "href": f"{airflow_path()}{PREFIX}/tables",
            "destination": "nav",
            "category": "browse",
            "url_route": VIEW,
        }
    ]
