"""The first page's facts: what is the newest backup, the newest proof, and how both stand against their targets."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_console_app.overview import overview
from backup_console_app.world import NextRun
from backup_flows.protection_file import parse_protection
from restore_proof.verdict import Depth, Result

HOUR = dt.timedelta(hours=1)


def row(account, table="orders"):
    return next(row for row in overview(account.world()).rows.entries if row.table.name == table)


def arn(account, table="orders"):
    return account.clients("dynamodb").describe_table(TableName=table)["Table"]["TableArn"]


def test_a_table_that_was_never_backed_up_is_bad(account):
    found = row(account)
    assert (found.backup, found.drill, found.rpo.is_met, found.mood) == (None, None, None, "bad")


def test_a_backup_without_a_proof_is_unsure(account):
    point = account.back_up(arn(account))
    found = row(account)
    assert found.backup.arn == point
    assert found.rpo.is_met is True
    assert (found.proven, found.mood) == (None, "unsure")


def test_a_proven_backup_within_its_targets_is_good(account):
    point = account.back_up(arn(account))
    account.drill("orders", point, restore_seconds=90)
    account.wait(3600)
    found = row(account)
    assert found.proven.verdict.label == "PROVEN"
    assert found.verdict.label == "PROVEN"
    assert found.rto.actual == dt.timedelta(seconds=90)
    assert found.mood == "good"


@pytest.mark.parametrize(
    ("hours", "seconds", "mood"),
    [(26, 90, "good"), (29, 90, "bad"), (1, 4 * 3600 - 1, "good"), (1, 4 * 3600 + 1, "bad")],
)
def test_both_targets_count(account, hours, seconds, mood):
    # The daily tier's RPO is 24 h and both windows of 1 and 2 h: 27 h; its RTO is 4 h.
    point = account.back_up(arn(account))
    account.drill("orders", point, restore_seconds=seconds)
    account.wait(hours * 3600)
    assert row(account).mood == mood


def test_a_failed_drill_is_bad_and_the_last_proof_stays_named(account):
    point = account.back_up(arn(account))
    account.drill("orders", point, as_of="2026-11-13", depth=Depth.SAMPLED)
    account.drill("orders", point, as_of="2026-11-20", result=Result.FAILED, reasons=("2 items are missing.",))
    found = row(account)
    assert found.drill.verdict.result == "FAILED"
    assert found.proven.verdict.label == "PROVEN@sampled"
    assert found.mood == "bad"


def test_of_one_dates_drills_the_one_decided_last_is_the_newest(account):
    point = account.back_up(arn(account))
    now = account.world().now
    account.drill("orders", point, drill_id="ffffffff", result=Result.FAILED, decided_at=now)
    account.drill("orders", point, drill_id="00000000", decided_at=now + HOUR)
    assert row(account).drill.name == "2026-11-20-00000000"


def test_the_newest_backup_is_one_that_can_be_restored(account):
    kept = account.back_up(arn(account))
    gone = account.back_up(arn(account))
    account.clients("backup").delete_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=gone)
    account.wait()
    account.seconds += 1000
    assert row(account).backup.arn == kept


def test_what_airflow_plans_is_passed_on(account):
    assert overview(account.world()).next_drill is None
    account.runs["restore_drill"] = NextRun(account.world().now + HOUR, paused=False)
    assert overview(account.world()).next_drill == account.runs["restore_drill"]


def test_a_named_table_that_does_not_exist_is_told(account):
    account.protection = parse_protection("version: 1\ntables:\n  - {name: lost, tier: daily}\n")
    found = overview(account.world())
    assert ([entry.name for entry in found.missing], found.rows.total) == (["lost"], 0)


def test_many_tables_come_in_pages_and_can_be_searched(empty):
    for number in range(60):
        empty.make_table(f"shop-{number:02d}", backup="daily")
    empty.protection = parse_protection("version: 1\ntables:\n  - {tag: {backup: daily}, tier: daily}\n")
    first, second = (overview(empty.world(), page=page).rows for page in (1, 2))
    assert (len(first.entries), len(second.entries), first.total) == (50, 10, 60)
    assert second.entries[0].table.name == "shop-50"
    assert [found.table.name for found in overview(empty.world(), search="SHOP-07").rows.entries] == ["shop-07"]


def test_a_part_that_is_not_allowed_leaves_the_rest_standing(account, denied, failing):
    account.back_up(arn(account))
    real = account.clients
    account.clients = lambda service: failing(denied("GetObject")) if service == "s3" else real(service)
    found = row(account)
    assert found.backup is not None
    assert "Not allowed" in found.trouble.title
