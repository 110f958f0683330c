"""Lifecycles that take points earlier than the policy wants."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from recovery_retention.lifecycles import LifecycleWarning, lifecycle_warnings
from recovery_retention.planner import plan_cleanup
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Vault
from recovery_retention.recovery_point import RecoveryPoint

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def points(lifecycle_days: int | None, days: int = 40, **changes: Any) -> list[RecoveryPoint]:
    """Return daily points of 5 in the morning, each to be deleted so many days after it was made."""
    made = [NOW.replace(hour=5) - dt.timedelta(days=day) for day in range(days)]
    return [
        RecoveryPoint(
            arn=at.date().isoformat(),
            table_name="orders",
            status="COMPLETED",
            created_at=at,
            managed=True,
            vault_name="vault",
            delete_at=at + dt.timedelta(days=lifecycle_days) if lifecycle_days else None,
            **changes,
        )
        for at in made
    ]


def warnings_of(found: list[RecoveryPoint], vault: Vault | None = None, **rules: Any) -> list[LifecycleWarning]:
    policies = PolicySet(KeepPolicy.from_dict(rules))
    made = plan_cleanup(found, policies, NOW)
    return lifecycle_warnings(made.keep, policies, NOW, {"vault": vault or Vault()}, ahead=dt.timedelta(days=3))


@pytest.mark.parametrize("days", [None, 400])
def test_a_lifecycle_that_is_long_enough_raises_none(days: int | None) -> None:
    assert warnings_of(points(days), monthly=12, daily=7) == []


def test_the_newest_of_a_month_that_is_over_is_wanted_longer_than_the_lifecycle() -> None:
    # November is not over: its newest point will not be the newest tomorrow.
    (warning,) = warnings_of(points(100), monthly=12)
    assert warning.decision.point.arn == "2026-10-31"
    assert warning.wanted_until == dt.datetime(2026, 10, 31, 5, tzinfo=dt.UTC) + dt.timedelta(days=12 * 31)
    assert warning.lifecycle == {"DeleteAfterDays": 372}
    assert "AWS deletes it on 2027-02-08; monthly would keep it until 2027-11-07." in warning.text
    assert "delete after 372 days" in warning.text
    assert warning.to_dict()["rules"] == ["monthly"]


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        ({"within": "60d"}, 60),
        ({"within_daily": "60d"}, 60),
        ({"daily": 60}, 60),
        ({"weekly": -1}, 36_500),
    ],
)
def test_each_rule_has_its_length(rules: dict[str, Any], days: int) -> None:
    found = warnings_of(points(50, days=30), **rules)
    assert found
    assert {warning.lifecycle["DeleteAfterDays"] for warning in found if warning.lifecycle} == {days}


def test_a_point_with_cold_storage_gets_both_numbers() -> None:
    (warning,) = warnings_of(points(100, cold_after_days=300), monthly=12)
    assert warning.lifecycle == {"MoveToColdStorageAfterDays": 300, "DeleteAfterDays": 390}


@pytest.mark.parametrize("vault", [Vault(locked=True), Vault(max_days=371)])
def test_what_the_vault_forbids_is_said(vault: Vault) -> None:
    (warning,) = warnings_of(points(100), vault, monthly=12)
    assert warning.lifecycle is None
    assert "raise the vault's maximum, or copy" in warning.text


def test_a_rule_without_length_counts_shortly_before_the_end() -> None:
    found = points(2, days=1)
    (warning,) = warnings_of(found, last=1)
    assert set(warning.rules) == {"last", "floor"}
    assert warnings_of(points(30, days=1), last=1) == []
