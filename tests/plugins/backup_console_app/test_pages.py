"""Pages as a browser gets them: who may see them, what they say on good and bad days, and what they forbid it."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError
from fastapi import Depends, HTTPException

from backup_console_app.pages import NotDeployedError
from backup_flows.protection_file import parse_protection

PAGES = [
    "/",
    "/tables",
    "/static/console.css",
    "/static/outside.js",
    "/evidence/orders/2026-11-20-0a1b2c3d/report.html",
]


@pytest.fixture
def proven(account):
    arn = account.clients("dynamodb").describe_table(TableName="orders")["Table"]["TableArn"]
    account.drill("orders", account.back_up(arn))
    return account


def refuse(status):
    def check():
        raise HTTPException(status)

    return [Depends(check)]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("status", [401, 403])
def test_no_address_answers_who_may_not_look(proven, path, status):
    answer = proven.browser(may_look=refuse(status), stacks=("orders-backup", "shop")).get(path)
    assert answer.status_code == status
    assert "orders" not in answer.text
    assert "shop" not in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_every_address_answers_who_may(proven, path):
    answer = proven.browser().get(path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_evidence_asks_for_a_right_of_its_own(proven):
    browser = proven.browser(may_see_evidence=refuse(403))
    assert browser.get("/tables").status_code == 200
    assert browser.get(PAGES[-1]).status_code == 403


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/nothing", "/static/pages.py", "/tables/a/b"])
def test_nothing_else_is_served(account, path):
    answer = account.browser().get(path)
    assert answer.status_code == 404
    assert "No such page" in answer.text


def test_the_first_page_tells_each_tables_proof(proven):
    page = proven.browser().get("/tables").text
    assert "PROVEN" in page
    assert "returns" in page
    assert "never proven" in page
    assert 'href="/evidence/orders/2026-11-20-0a1b2c3d/report.html"' in page


def test_names_are_escaped(account):
    account.drill("orders", "arn:aws:backup:us-east-1:1:recovery-point:x", reasons=("<script>alert(1)</script>",))
    assert "<script>alert" not in account.browser().get("/tables").text
    assert "<b>x</b>" not in account.browser().get("/tables", params={"search": "<b>x</b>"}).text


def test_an_account_without_the_stack_says_what_to_run(empty):
    def connect(_):
        raise NotDeployedError("CloudFormation stack orders-backup does not exist in us-east-1.")

    answer = empty.browser(connect=connect).get("/tables")
    assert answer.status_code == 200
    assert "/dags/backup_stack" in answer.text


def test_an_account_without_tables_says_what_to_do(empty):
    empty.protection = parse_protection("version: 1\ntables:\n  - {tag: {backup: daily}, tier: daily}\n")
    answer = empty.browser().get("/tables")
    assert answer.status_code == 200
    assert "selects no table that exists" in answer.text


def test_tables_without_a_backup_say_which_dag_makes_one(account):
    assert "/dags/table_backup" in account.browser(airflow="/air").get("/tables").text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), "AWS can&#39;t be reached"),
        (KeyError("surprise"), "This part can&#39;t be shown"),
    ],
)
def test_what_goes_wrong_is_told_in_words(account, error, words):
    def connect(_):
        raise error

    answer = account.browser(connect=connect).get("/tables")
    assert answer.status_code == 503
    assert words in answer.text
    assert "Traceback" not in answer.text


def test_a_missing_right_names_the_call(account, denied, failing):
    account.clients = lambda _: failing(denied("DescribeTable"))
    answer = account.browser().get("/tables")
    assert answer.status_code == 503
    assert "Not allowed: DescribeTable" in answer.text


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=99", "page=x", "page=%D9%A1", "page=99999999999999"])
def test_odd_page_numbers_show_a_page(account, query):
    assert account.browser().get(f"/tables?{query}").status_code == 200


def test_only_stacks_that_are_named_may_be_looked_at(account):
    browser = account.browser(stacks=("orders-backup", "shop"))
    assert browser.get("/tables?stack=shop").status_code == 200
    assert "stack=shop" in browser.get("/tables?stack=shop").text
    assert browser.get("/tables?stack=foreign").status_code == 404


def test_a_report_runs_no_script_and_is_nobody(proven):
    answer = proven.browser().get(PAGES[-1])
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("sandbox;")


def test_a_pack_is_saved_rather_than_shown(proven):
    answer = proven.browser().get(PAGES[-1].replace("report.html", "pack.json"))
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.json()["verdict"]["label"] == "PROVEN"


@pytest.mark.parametrize(
    "path",
    [
        "orders/2026-11-20-0a1b2c3d/head.json",
        "orders/../../staging/orders/secret/report.html",
        "orders/..%2F..%2Fstaging/report.html",
        "../report.html",
        "%2e%2e/%2e%2e/report.html",
        "orders/2026-11-20-0a1b2c3d/..%2F..%2F..%2Fsecret",
        "orders/2026-11-20-ffffffff/report.html",
        "orders/2026-11-20-0a1b2c3d/diff.jsonl",
        "orders/%0A/report.html",
        "orders/a%20b/report.html",
    ],
)
def test_evidence_is_all_that_the_bucket_gives_away(proven, path):
    for key in ("report.html", "secret", "staging/orders/secret/report.html", "evidence/orders/a b/report.html"):
        proven.put(key, b"SECRET")
    answer = proven.browser().get(f"/evidence/{path}")
    assert answer.status_code == 404
    assert "SECRET" not in answer.text


def test_links_keep_to_where_the_console_is_mounted(proven):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    root = FastAPI(root_path="/air")
    root.mount("/backup-console", proven.browser(airflow="/air").app)
    page = TestClient(root).get("/air/backup-console/tables").text
    assert 'href="/air/backup-console/static/console.css' in page
    assert 'href="/air/backup-console/evidence/orders/' in page
