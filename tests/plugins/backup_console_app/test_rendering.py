"""How figures are written, and addresses made."""

from __future__ import annotations

import datetime as dt

import pytest
from jinja2 import UndefinedError

from backup_console_app.rendering import STATIC, Look, asset, environment, iso, short, size, span, utc

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
LOOK = Look(root="/c", airflow="", stack="first", stacks=("first", "second"), now=NOW)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_500_000, "1.4 MiB"), (2**50, "1024.0 TiB")],  # noqa: RUF001
)
def test_sizes(value, text):
    assert size(value) == text


def test_times():
    assert utc(NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))) == "2026-11-20 12:00 UTC"
    assert iso(NOW) == "2026-11-20T12:00:00+00:00"
    assert (utc(None), iso(None), span(None)) == ("–", "", "–")  # noqa: RUF001
    assert LOOK.ago(NOW - dt.timedelta(hours=2)) == "2 h ago"
    assert LOOK.ago(NOW + dt.timedelta(days=3)) == "in 3 d"
    assert LOOK.ago(NOW + dt.timedelta(milliseconds=2)) == "just now"


@pytest.mark.parametrize(
    ("arn", "text"),
    [
        ("arn:aws:backup:us-east-1:1:recovery-point:abc", "abc"),
        ("arn:aws:dynamodb:us-east-1:1:table/orders/backup/01", "01"),
        ("odd", "odd"),
    ],
)
def test_recovery_points_are_told_apart_by_their_last_part(arn, text):
    assert short(arn) == text


def test_addresses_leave_out_what_is_empty_and_keep_the_stack():
    assert LOOK.href("tables/a b", page=2, search="", since=None) == "/c/tables/a%20b?page=2"
    second = Look(root="/c", airflow="", stack="second", stacks=LOOK.stacks, now=NOW)
    assert second.href("jobs", state="a&b") == "/c/jobs?state=a%26b&stack=second"


def test_a_template_that_asks_for_what_is_not_there_fails():
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nothing }}").render()


@pytest.mark.parametrize("name", sorted(STATIC))
def test_pages_load_nothing_from_elsewhere(name):
    text = asset(name).decode()
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
