"""The watch's reports: the newest, or the one that is asked for, worst findings first."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_console_app.findings import latest_watched, report_names, watched
from backup_flows.watch.causes import Cause
from backup_flows.watch.report import Finding, Freshness, Period, Report, Status
from backup_flows.watch.store import report_key

END = dt.datetime(2026, 11, 20, 8, 30, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def leave(account, start, end, *findings, freshness=()):
    report = Report(Period(start, end), end, tuple(findings), tuple(freshness))
    account.put(report_key(start, end), report.to_dict())


def test_before_the_first_watch_there_is_nothing(account):
    assert latest_watched(account.world()) is None


def test_the_newest_report_is_shown_worst_first(account):
    leave(account, END - 2 * DAY, END - DAY)
    leave(
        account,
        END - DAY,
        END,
        Finding("orders", Status.FOUND, due=END),
        Finding(
            "returns", Status.EXPIRED, due=END, message="Too late.", causes=(Cause.WINDOW,), remedies=("Widen it.",)
        ),
        freshness=[Freshness("orders", Status.TOO_OLD, target=DAY, age=2 * DAY)],
    )
    found = latest_watched(account.world())
    assert (found.outcome, found.mood, found.end) == ("BROKEN", "bad", END)
    assert [(finding.table, finding.mood) for finding in found.findings] == [("returns", "bad"), ("orders", "good")]
    assert found.findings[0].remedies == ["Widen it."]
    assert found.findings[0].causes == ["window too short"]
    assert (found.freshness[0].age_hours, found.freshness[0].target_hours) == (48.0, 24.0)


def test_a_period_that_ended_later_is_newer_however_long_it_was(account):
    leave(account, END - DAY, END)
    leave(account, END - 30 * DAY, END + DAY)
    assert latest_watched(account.world()).end == END + DAY


def test_an_older_report_can_be_asked_for_and_nothing_else(account):
    leave(account, END - 2 * DAY, END - DAY)
    leave(account, END - DAY, END)
    newest, older = report_names(account.world())
    assert watched(account.world(), older).end == END - DAY
    assert watched(account.world(), "../jobs/2026-11-20") is None
    assert newest != older


@pytest.mark.parametrize(
    "document", [{}, {"outcome": 7, "findings": "x", "counts": []}, {"findings": [{"status": "NEW"}]}]
)
def test_a_report_of_another_kind_breaks_nothing(account, document):
    account.put(report_key(END - DAY, END), document)
    assert latest_watched(account.world()).outcome == "UNKNOWN"
