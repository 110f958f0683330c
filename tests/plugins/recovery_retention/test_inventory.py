"""Alarms about an inventory that looks wrong."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from recovery_retention.inventory import LastInventory, inventory_alarms
from recovery_retention.recovery_point import RecoveryPoint

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def points(number: int, vault: str = "vault", **changes: Any) -> list[RecoveryPoint]:
    fields = {"table_name": "orders", "status": "COMPLETED", "created_at": NOW, "managed": True, "vault_name": vault}
    return [RecoveryPoint(arn=f"{vault}-{each}", **fields | changes) for each in range(number)]


def last(counts: dict[str, int], **changes: Any) -> LastInventory:
    return LastInventory(NOW - dt.timedelta(days=1), counts, **changes)


def test_a_good_one_raises_none() -> None:
    assert inventory_alarms(points(10), NOW, last=last({"vault": 10})) == ()
    assert inventory_alarms(points(10), NOW) == ()


@pytest.mark.parametrize(
    ("found", "options", "word"),
    [
        (points(1), {"complete": False}, "incomplete"),
        ([], {}, "empty"),
        (points(1, created_at=NOW + dt.timedelta(minutes=6)), {}, "clock is behind"),
        (points(1), {"last": LastInventory(NOW + dt.timedelta(hours=1), {})}, "clock is behind"),
        (points(8), {"last": last({"vault": 9})}, "8 recovery points where at least 9"),
        (points(9), {"last": last({"vault": 9, "other": 1})}, "Vault 'other' has 0"),
        (points(5), {"last": last({"vault": 10}), "max_shrink": 0.4}, "5 recovery points"),
    ],
)
def test_a_wrong_one_is_told(found: list[RecoveryPoint], options: dict[str, Any], word: str) -> None:
    (alarm,) = inventory_alarms(found, NOW, **options)
    assert word in alarm


@pytest.mark.parametrize(
    ("found", "options"),
    [
        (points(9), {"last": last({"vault": 10})}),
        (points(6), {"last": last({"vault": 10}), "max_shrink": 0.4}),
        (points(5), {"last": last({"vault": 10}, deleted={"vault": 5})}),
        (points(5), {"last": last({"vault": 10}, expiries={"vault": {"2026-11-30": 5}})}),
        (points(20), {"last": last({"vault": 10})}),
        (points(1, created_at=NOW + dt.timedelta(minutes=4)), {}),
    ],
)
def test_what_is_explained_is_not(found: list[RecoveryPoint], options: dict[str, Any]) -> None:
    assert inventory_alarms(found, NOW, **options) == ()


def test_what_expires_later_is_still_expected() -> None:
    before = last({"vault": 10}, expiries={"vault": {"2026-12-01": 5}})
    assert len(inventory_alarms(points(5), NOW, last=before)) == 1


def test_it_is_remembered_as_json() -> None:
    found = points(3, delete_at=NOW + dt.timedelta(days=1)) + points(2, "far")
    remembered = LastInventory.of(found, NOW, {"far": 1})
    assert remembered.counts == {"vault": 3, "far": 2}
    assert LastInventory.from_dict(json.loads(json.dumps(remembered.to_dict()))) == remembered
    assert (remembered.expected("vault", NOW), remembered.expected("far", NOW)) == (3, 1)
    assert remembered.expected("vault", NOW + dt.timedelta(days=1)) == 0
