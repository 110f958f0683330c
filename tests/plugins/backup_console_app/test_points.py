"""Recovery points of a table: all vaults, filtered and cut; with their verdict, and why retention keeps them."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_console_app.points import POINTS_A_PAGE, Point, Wanted, all_points, points

KEEP = {"rules": ["daily"], "reasons": ["It is the newest of 2026-11-20."]}


@pytest.fixture
def arn(account):
    return account.clients("dynamodb").describe_table(TableName="orders")["Table"]["TableArn"]


def shown(account, page=1, **wanted):
    world = account.world()
    return points(world, world.table("orders"), Wanted(**wanted), page=page)


def plan(account, keep=(), delete=(), blocked=(), pointer=None):
    entries = {"keep": keep, "delete": delete, "blocked": blocked}
    account.put(
        "retention/2026-11-20-run/plan.json",
        {verb: [{"arn": arn, **KEEP} for arn in arns] for verb, arns in entries.items()},
    )
    account.put("retention/latest.json", pointer or {"plan": "retention/2026-11-20-run/plan.json"})


def test_points_of_all_vaults_come_newest_first(account, arn):
    account.clients("backup").create_backup_vault(BackupVaultName="second")
    made = [account.back_up(arn), account.back_up(arn, "second"), account.back_up(arn)]
    found = all_points(account.world(), arn)
    assert [point.arn for point in found.points] == made[::-1]
    assert [point.vault for point in found.points] == ["orders-vault", "second", "orders-vault"]
    assert found.points[0].delete_at == found.points[0].created_at + dt.timedelta(days=35)


def test_another_tables_points_are_not_among_them(account, arn):
    other = account.clients("dynamodb").describe_table(TableName="returns")["Table"]["TableArn"]
    account.back_up(other)
    assert all_points(account.world(), arn).points == []


def test_each_has_its_verdict_or_none(account, arn):
    proven, unproven = account.back_up(arn), account.back_up(arn)
    account.drill("orders", proven)
    found = {entry.point.arn: entry.verdict.value for entry in shown(account).page.entries}
    assert found[proven].label == "PROVEN"
    assert found[unproven] is None


def test_each_has_what_retention_says_of_it(account, arn):
    kept, gone, unknown = (account.back_up(arn) for _ in range(3))
    plan(account, keep=[kept], delete=[gone])
    found = {entry.point.arn: entry.decision for entry in shown(account).page.entries}
    assert (found[kept].verb, found[kept].reasons) == ("keep", ("It is the newest of 2026-11-20.",))
    assert found[gone].verb == "delete"
    assert found[unknown] is None


@pytest.mark.parametrize(
    "pointer", [{"plan": "retention/nothing.json"}, {"plan": 3}, {"plan": "retention/latest.json"}, ["no pointer"]]
)
def test_a_pointer_to_no_plan_is_no_plan(account, arn, pointer):
    account.back_up(arn)
    plan(account, pointer=pointer)
    found = shown(account)
    assert [entry.decision for entry in found.page.entries] == [None]


def test_filters_choose(account, arn):
    kept, gone = account.back_up(arn), account.back_up(arn)
    plan(account, keep=[kept], delete=[gone])
    assert [entry.point.arn for entry in shown(account, decision="delete").page.entries] == [gone]
    assert shown(account, decision="none").page.total == 0
    assert shown(account, status="COMPLETED").page.total == 2
    assert shown(account, status="EXPIRED").page.total == 0
    assert shown(account, search=kept[-12:]).page.total == 1
    today = account.world().now.date()
    assert shown(account, since=today, until=today).page.total == 2
    assert shown(account, since=today + dt.timedelta(days=1)).page.total == 0
    assert shown(account, until=today - dt.timedelta(days=1)).page.total == 0


class Vaults:
    """AWS Backup with ten thousand recovery points in one vault, a thousand a page; counts what it is asked."""

    def __init__(self, count, table_arn, start):
        self.calls = 0
        self.points = [
            {
                "RecoveryPointArn": f"arn:aws:backup:us-east-1:123456789012:recovery-point:{number:06d}",
                "Status": "COMPLETED",
                "CreationDate": start - dt.timedelta(hours=number),
            }
            for number in range(count)
        ]

    def get_paginator(self, operation):
        vaults = [{"BackupVaultList": [{"BackupVaultName": "big", "NumberOfRecoveryPoints": len(self.points)}]}]
        pages = [{"RecoveryPoints": self.points[at : at + 1000]} for at in range(0, len(self.points), 1000)]
        answers = {"list_backup_vaults": vaults, "list_recovery_points_by_backup_vault": pages}[operation]

        class Paginator:
            @staticmethod
            def paginate(**_):
                for answer in answers:
                    self.calls += 1
                    yield answer

        return Paginator()


@pytest.fixture
def many(account, arn):
    vaults = Vaults(10_000, arn, account.world().now)
    real = account.clients
    account.clients = lambda service: vaults if service == "backup" else real(service)
    return vaults


def test_ten_thousand_points_are_listed_once_and_cut_into_pages(account, many):
    first = shown(account)
    assert (first.page.total, first.page.pages, len(first.page.entries)) == (10_000, 200, POINTS_A_PAGE)
    assert first.page.entries[0].point.arn.endswith("000000")
    last = shown(account, page=10_000)
    assert (last.page.number, last.page.entries[-1].point.arn[-6:]) == (200, "009999")
    assert many.calls == 11


def test_a_large_listing_is_kept_longer_than_a_small_one(account, arn, many):
    all_points(account.world(), arn)
    account.seconds += 299
    all_points(account.world(), arn)
    assert many.calls == 11
    del many.points[1000:]
    account.seconds += 1
    all_points(account.world(), arn)
    assert many.calls == 13
    account.seconds += 60
    all_points(account.world(), arn)
    assert many.calls == 15


def test_ten_thousand_points_are_filtered_before_they_are_cut(account, many):
    day = account.world().now.date() - dt.timedelta(days=200)
    found = shown(account, since=day, until=day)
    assert found.page.total == 24
    assert shown(account, search=":00123").page.total == 10


def test_only_the_points_of_the_page_are_looked_up(account, many):
    s3, asked = account.clients("s3"), []

    class Counting:
        def get_object(self, **question):
            asked.append(question["Key"])
            return s3.get_object(**question)

    backup = account.clients
    account.clients = lambda service: Counting() if service == "s3" else backup(service)
    shown(account)
    assert sum(key.endswith("/verdict.json") for key in asked) == POINTS_A_PAGE


def test_a_listing_that_is_cut_off_says_so(account, arn, monkeypatch):
    monkeypatch.setattr("backup_console_app.points.MAX_POINTS", 1)
    account.back_up(arn)
    assert all_points(account.world(), arn).cut_off is False
    account.back_up(arn)
    account.seconds += 100
    assert all_points(account.world(), arn).cut_off is True


def test_filters_keep_to_days_in_utc():
    midnight = dt.datetime(2026, 11, 20, 0, 0, tzinfo=dt.UTC)
    point = Point("arn", "v", "COMPLETED", midnight, None)
    assert Wanted(since=dt.date(2026, 11, 20)).fits(point, None)
    assert not Wanted(until=dt.date(2026, 11, 19)).fits(point, None)
