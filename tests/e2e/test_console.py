"""The console in a real api-server: who may see it, and what it shows after a real run."""

from __future__ import annotations

import re

import pytest

from stack_environment import ADMIN

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STACK = "showroom"
CONSOLE = "/backup-console"
PAGES = ["/", "/tables", "/tables/showroom", "/jobs", "/findings", "/static/console.css"]


@pytest.fixture(scope="module")
def evidence(showroom, tmp_path_factory, days):
    """Address of the report of a run on the stack that is shown."""
    from data.generate_orders import generate_rows, to_csv

    day = next(days)
    source = tmp_path_factory.mktemp("orders") / f"order_data_{day}.csv"
    source.write_bytes(to_csv(generate_rows(day, orders=20)))
    report = showroom.proven(showroom.start(source, day))
    return f"{CONSOLE}/{report['report'].removeprefix(f's3://{showroom.bucket}/')}"


def look(browser, path):
    return browser.get(f"{CONSOLE}{path}", params={"stack": STACK})


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_anything_without_signing_in(sign_in, showroom, path):
    answer = look(sign_in(""), path)
    assert answer.status_code == 401
    assert "showroom" not in answer.text.replace("stack=showroom", "")


def test_a_made_up_token_opens_nothing(sign_in, showroom):
    browser = sign_in("")
    browser.cookies.set("_token", "made.up.token")
    assert look(browser, "/tables").status_code in {401, 403}
    browser.headers["Authorization"] = "Bearer made.up.token"
    assert look(browser, "/tables").status_code in {401, 403}


@pytest.mark.parametrize("user", ["viewer", ADMIN])
def test_users_see_every_page(sign_in, evidence, user):
    browser = sign_in(user)
    for path in PAGES:
        answer = look(browser, path)
        assert answer.status_code == 200, (path, answer.text)
    assert browser.get(evidence, params={"stack": STACK}).status_code == 200


def test_evidence_is_behind_the_login_too(sign_in, evidence):
    assert sign_in("").get(evidence, params={"stack": STACK}).status_code == 401


def test_a_run_shows_as_proven_with_its_report_and_its_jobs(sign_in, evidence):
    browser = sign_in("viewer")
    tables = look(browser, "/tables").text
    assert "PROVEN" in tables
    assert evidence in tables
    table = look(browser, "/tables/showroom").text
    assert "<svg" in table
    assert "orders_backup_restore" in table
    jobs = look(browser, "/jobs").text
    assert len(re.findall(r'href="/dags/orders_backup_restore/runs/', jobs)) == 2
    report = browser.get(evidence, params={"stack": STACK})
    assert report.headers["content-security-policy"].startswith("sandbox;")
    assert "PROVEN" in report.text


def test_a_stack_that_is_not_named_is_not_shown(sign_in):
    assert sign_in(ADMIN).get(f"{CONSOLE}/tables", params={"stack": "elsewhere"}).status_code == 404


def test_airflow_has_it_in_its_navigation(airflow):
    plugins = airflow.api("GET", "/plugins")["plugins"]
    (console,) = (plugin for plugin in plugins if plugin["name"] == "backup_console")
    (view,) = console["external_views"]
    assert view["href"] == f"{CONSOLE}/tables"
    # What lets its SQLite database serve a person's requests beside those of the tasks.
    assert any(plugin["fastapi_root_middlewares"] for plugin in plugins if plugin["name"] == "request_turns")
    assert airflow.api("GET", "/plugins/importErrors")["total_entries"] == 0
