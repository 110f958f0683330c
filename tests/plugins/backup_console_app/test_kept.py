"""What retention's last plan says, as retention itself writes it."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_console_app.kept import latest_cleanup, latest_plan
from recovery_retention.planner import plan_cleanup
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Proof, Result

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
PLAN = "retention/2026-11-20-abc/plan.json"


def point(number, **more):
    return RecoveryPoint(
        arn=f"arn:aws:backup:us-east-1:123456789012:recovery-point:{number}",
        table_name="orders",
        status="COMPLETED",
        created_at=NOW - dt.timedelta(days=number),
        managed=True,
        vault_name="orders-vault",
        **more,
    )


@pytest.fixture
def planned(account):
    """A plan over ten daily points of which the fifth is proven, two are kept by rule; left where retention does."""
    points = [point(number) for number in range(1, 11)]
    around = Circumstances(verdicts={points[4].arn: Proof(Result.PROVEN)})
    made = plan_cleanup(points, PolicySet(KeepPolicy.from_dict({"daily": 2, "floor": 1})), NOW, around)
    account.put(
        PLAN, {"as_of": NOW.isoformat(), "run": "retention_cleanup/manual__1", "mode": "preview", **made.to_dict()}
    )
    account.put(
        "retention/latest.json",
        {
            "plan": PLAN,
            "as_of": NOW.isoformat(),
            "run": "retention_cleanup/manual__1",
            "mode": "preview",
            "counts": {"keep": 3, "delete": 7},
            "wrong": ["The clock is behind."],
            "approval": [],
        },
    )
    return made


def test_each_point_has_what_was_decided_and_why(account, planned):
    plan = latest_plan(account.world())
    assert plan.made_at == NOW
    assert {arn for arn, found in plan.decisions.items() if found.verb == "keep"} == {d.point.arn for d in planned.keep}
    assert {arn for arn, found in plan.decisions.items() if found.verb == "delete"} == {
        d.point.arn for d in planned.delete
    }
    fifth = plan.decisions[point(5).arn]
    assert fifth.verb == "keep"
    assert any("PROVEN" in reason for reason in fifth.reasons)
    assert "keep_proven" in fifth.rules or "newest_proven" in fifth.rules


def test_what_rescues_a_point_is_told(account):
    entry = {"arn": point(1).arn, "text": "AWS deletes it on 2026-11-21; it is held until it was proven."}
    account.put(PLAN, {"rescues": [entry, {"arn": "x"}, {"text": "y"}, "z"]})
    account.put("retention/latest.json", {"plan": PLAN})
    assert latest_plan(account.world()).rescues == {point(1).arn: entry["text"]}


def test_the_last_cleanup_is_told_in_short(account, planned):
    found = latest_cleanup(account.world())
    assert (found.mode, found.counts, found.wrong) == ("preview", {"keep": 3, "delete": 7}, ("The clock is behind.",))
    page = account.browser().get("/findings").text
    assert "The clock is behind." in page
    assert 'href="/dags/retention_cleanup/runs/manual__1"' in page


def test_before_the_first_cleanup_there_is_nothing(account):
    assert latest_plan(account.world()) is None
    assert latest_cleanup(account.world()) is None
