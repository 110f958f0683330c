"""Choosing restored tables that a dead run left behind."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from recovery_retention.sweep import RestoredTable, SweepPlan, plan_sweep

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
NAME = "orders-restored-20261101-0a1b2c3d"
RUN = "orders_backup_restore/manual__2026-11-01"
TAGS = {"managed-by": "dynamodb-backup-proof", "run": RUN}


def table(**changes: Any) -> RestoredTable:
    fields: dict[str, Any] = {"name": NAME, "created_at": NOW - dt.timedelta(days=2), "tags": TAGS}
    return RestoredTable(**fields | changes)


def swept(*tables: RestoredTable, active: set[str] | None = None) -> SweepPlan:
    return plan_sweep(
        tables,
        allowed_sources={"orders"},
        older_than=dt.timedelta(days=1),
        now=NOW,
        active_runs=active or set(),
    )


@pytest.mark.parametrize("left", [table(), table(tags={}, recorded_run=RUN)], ids=["by its tag", "by the record"])
def test_what_a_dead_run_left_is_swept(left: RestoredTable) -> None:
    plan = swept(left)
    assert [decision.table for decision in plan.sweep] == [left]
    assert RUN in plan.sweep[0].reason
    assert plan.leave == ()


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (table(name="orders"), "name"),
        (table(name="customers-restored-20261101-0a1b2c3d"), "name"),
        (table(tags={}), "neither our tag nor a record"),
        (table(tags={"managed-by": "someone-else", "run": RUN}), "neither our tag nor a record"),
        (table(tags={"managed-by": "dynamodb-backup-proof"}), "not known"),
        (table(tags=TAGS | {"keep": "verdict FAILED"}), "verdict FAILED"),
        (table(created_at=NOW - dt.timedelta(hours=23)), "not yet older"),
        (table(created_at=NOW - dt.timedelta(days=1)), "not yet older"),
        (table(deletion_protected=True), "Deletion protection"),
        (table(status="CREATING"), "CREATING"),
        (table(status="DELETING"), "DELETING"),
    ],
)
def test_what_is_left_alone_and_why(left: RestoredTable, reason: str) -> None:
    plan = swept(left)
    assert plan.sweep == ()
    assert [decision.table for decision in plan.leave] == [left]
    assert reason in plan.leave[0].reason


@pytest.mark.parametrize("left", [table(), table(tags={}, recorded_run=RUN)])
def test_an_active_run_keeps_its_table(left: RestoredTable) -> None:
    assert swept(left, active={"another/run"}).sweep
    plan = swept(left, active={RUN})
    assert plan.sweep == ()
    assert "still active" in plan.leave[0].reason


def test_nothing_to_look_at_is_nothing_to_do() -> None:
    assert swept() == SweepPlan(sweep=(), leave=())


def test_it_is_by_name_and_json_ready() -> None:
    tables = [table(name=f"orders-restored-2026110{day}-0a1b2c3d") for day in (3, 1, 2)]
    document = swept(*tables, table(name="orders")).to_dict()
    assert [entry["table_name"][-10] for entry in document["sweep"]] == ["1", "2", "3"]
    assert document["leave"][0]["table_name"] == "orders"
    assert document["sweep"][0]["created_at"] == "2026-11-28T12:00:00+00:00"
