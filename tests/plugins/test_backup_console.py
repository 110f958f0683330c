"""Airflow's side of the console: Airflow's own check of rights before each address, and what pages are opened by."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import boto3
import pytest
from airflow.api_fastapi import app as airflow_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.dag import DagModel
from airflow.models.revoked_token import RevokedToken
from airflow.sdk.configuration import conf
from fastapi.testclient import TestClient
from starlette.routing import Route

import backup_console
from backup_console_app.cache import Cache
from backup_console_app.pages import NotDeployedError
from local_aws import mock_aws

CONNECTION = '{"conn_type": "aws", "login": "testing", "password": "testing", "extra": {"region_name": "us-east-1"}}'


@pytest.fixture
def console(monkeypatch):
    """The console behind Airflow's real checks; there is no database behind those, and no stack to show."""
    monkeypatch.setattr(DagModel, "get_team_name", lambda *_, **__: None)
    monkeypatch.setattr(RevokedToken, "is_revoked", lambda *_, **__: False)

    def connect(stack, *, cache):
        raise NotDeployedError(f"{stack} is not there.")

    monkeypatch.setattr(backup_console, "connect", connect)
    return backup_console.make_console()


def paths(app):
    found = [route.path for route in app.routes if isinstance(route, Route)]
    return [path.format(name="pack.json", table="orders", drill="2026-11-20-x") for path in found]


def browser(console, role):
    manager = airflow_app.create_auth_manager()
    token = manager.generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))
    return TestClient(console, cookies={"_token": token})


def test_every_address_is_401_for_nobody(console):
    assert len(paths(console)) >= 7
    assert {path: TestClient(console).get(path).status_code for path in paths(console)} == dict.fromkeys(
        paths(console), 401
    )


def test_every_address_is_403_for_a_user_without_rights(console):
    user = browser(console, None)
    assert {user.get(path).status_code for path in paths(console)} == {403}


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_every_page_is_200_for_who_may_look(console, role):
    user = browser(console, role)
    pages = [path for path in paths(console) if not path.startswith("/static")]
    assert {user.get(path).status_code for path in [*pages, "/static/console.css"]} == {200}
    assert "orders-backup is not there." in user.get("/tables").text


def test_a_token_that_was_tampered_with_opens_nothing(console):
    user = browser(console, "viewer")
    good = user.cookies["_token"]
    user.cookies.set("_token", good[:-2] + ("aa" if not good.endswith("aa") else "bb"))
    assert user.get("/tables").status_code == 403


def test_other_methods_are_not_answered(console):
    user = browser(console, "admin")
    for method in ("post", "put", "delete", "patch"):
        assert getattr(user, method)("/tables").status_code == 405


def test_the_stacks_that_are_shown_are_configured(monkeypatch):
    assert backup_console.shown_stacks() == ("orders-backup",)
    monkeypatch.setenv("AIRFLOW__BACKUP_FLOWS__CONSOLE_STACKS", " a, b ,,")
    assert backup_console.shown_stacks() == ("a", "b")


@pytest.mark.parametrize(
    ("base", "path"), [("http://x:8080", ""), ("http://x/", ""), ("https://x/air/flow/", "/air/flow")]
)
def test_links_begin_where_airflow_lies(monkeypatch, base, path):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    assert conf.get("api", "base_url") == base
    assert backup_console.airflow_path() == path


def test_the_plugin_has_one_app_and_one_place_in_the_navigation():
    plugin = backup_console.BackupConsolePlugin
    (app,), (view,) = plugin.fastapi_apps, plugin.external_views
    assert view["href"].endswith(f"{app['url_prefix']}/tables")
    assert view["destination"] == "nav"


def test_the_pages_are_made_once_and_only_when_they_are_asked_for():
    made, calls = [], []

    def make():
        made.append(threading.current_thread())

        async def app(scope, receive, send):
            calls.append(scope)

        return app

    lazy = backup_console.LazyApp(make)
    assert made == []

    async def ask():
        await asyncio.gather(*(lazy({"n": number}, None, None) for number in range(5)))

    asyncio.run(ask())
    assert len(calls) == 5
    assert len(made) == 1
    assert made[0] is not threading.main_thread()


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", CONNECTION)
    with mock_aws():
        yield boto3.Session(region_name="us-east-1")


def test_a_stack_that_is_not_there_is_told(account):
    with pytest.raises(NotDeployedError, match="run the DAG backup_stack"):
        backup_console.connect("orders-backup", Cache(lambda: 0.0))


def test_a_stack_is_opened_by_its_outputs(account, monkeypatch):
    from backup_flows import stack

    places = SimpleNamespace(bucket="b", vault="v", region="us-east-1")
    monkeypatch.setattr(stack, "read_resources", lambda client, name: places)
    world = backup_console.connect("orders-backup", Cache(lambda: 0.0))
    assert world.places is places
    assert world.protection.tables
    assert world.clients("backup") is world.clients("backup")
    config = world.clients("backup").meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 10)


def test_a_connection_of_its_own_is_taken(account, monkeypatch):
    from backup_flows.aws import console_conn_id

    assert console_conn_id() == "aws_default"
    monkeypatch.setenv("AIRFLOW_CONN_AWS_BACKUP_CONSOLE", CONNECTION)
    assert console_conn_id() == "aws_backup_console"
