"""What an inventory sees, what of it is ours, and how many calls that takes."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from backup_flows.as_of import run_key
from backup_flows.drills.ledger import renew_choice
from backup_flows.retention.inventory import Surroundings, take_inventory
from backup_flows.retention.tag_book import GOOD_FOR, TagBook
from local_aws import control
from recovery_retention.proving import Vault
from restore_proof.verdict import Proof, Result

DAY = 86400.0
OURS = {"managed-by": "dynamodb-backup-proof", "dag": "table_backup", "run": "table_backup/run", "table": "orders"}


@pytest.fixture
def look(shop):
    """Take an inventory of some vaults."""

    def take(*vaults: str, **options):
        flow = shop.flow
        at = Surroundings(
            shop.hook,
            flow.s3,
            flow.dynamodb,
            flow.bucket,
            vaults or ("orders-vault",),
            lambda dag_id, run_id: (dag_id, run_id) in shop.unfinished,
        )
        return take_inventory(at, now=flow.now(), **options)

    return take


def test_it_sees_points_verdicts_attempts_restores_holds_and_locks(shop, look):
    points = shop.points(2, apart=1, age=1)
    foreign = shop.back_up(tags={"team": "a"})
    shop.judge(points[0], Result.FAILED, drill="one")
    shop.judge(points[0], Result.PROVEN, drill="two")
    shop.judge(points[1], Result.FAILED, drill="one", crashed=True)
    shop.start_restore(points[1])
    shop.flow.backup.put_backup_vault_lock_configuration(
        BackupVaultName="orders-vault", MinRetentionDays=7, MaxRetentionDays=70
    )
    found = look()
    assert {point.arn: point.managed for point in found.points} == {points[0]: True, points[1]: True, foreign: False}
    assert found.around.verdicts == {points[0]: Proof(Result.PROVEN), points[1]: Proof(Result.UNPROVEN)}
    assert found.around.attempts == {points[0]: 2, points[1]: 1}
    assert found.around.in_use == {points[1]}
    assert found.around.vaults == {"orders-vault": Vault(locked=True, min_days=7, max_days=70)}
    assert found.complete


def test_what_a_drill_chose_is_in_use_until_its_run_is_over(shop, look):
    point = shop.back_up()
    shop.back_up()
    shop.choose(point)
    assert look().around.in_use == set()
    shop.unfinished.add(("restore_drill", "manual__1"))
    assert look().around.in_use == {point}


def test_an_old_choice_is_not_read_and_one_that_a_cleared_run_goes_by_is_new_again(shop, look):
    point, other = shop.back_up(), shop.back_up()
    shop.unfinished |= {("restore_drill", "manual__1"), ("restore_drill", "manual__2")}
    shop.choose(point, "manual__1", days_ago=8)
    assert look().around.in_use == {point}
    shop.choose(other, "manual__2")
    assert look().around.in_use == {other}
    renew_choice(shop.flow.s3, shop.flow.bucket, as_of="2026-11-01", key=run_key("restore_drill", "manual__1"))
    assert look().around.in_use == {point, other}


def test_a_plain_one_is_ours_by_its_record(shop, look):
    shop.flow.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    shop.flow.put("1")
    binding = shop.flow.back_up()
    (point,) = look().points
    assert (point.arn, point.managed) == (binding.recovery_point_arn, True)
    # What a drill bound afterwards tells nothing about who made the point.
    key = f"{binding.prefix}binding.json"
    body = json.dumps({**binding.as_dict(), "bound_by": "brackets"}).encode()
    shop.flow.s3.put_object(Bucket=shop.flow.bucket, Key=key, Body=body)
    assert [point.managed for point in look().points] == [False]


def test_what_only_inherited_our_tag_is_not_ours(shop, look):
    shop.flow.dynamodb.tag_resource(
        ResourceArn=shop.flow.resources["table_arn"], Tags=[{"Key": "managed-by", "Value": "dynamodb-backup-proof"}]
    )
    by_hand, ours = shop.back_up(tags={}), shop.back_up()
    assert shop.hook.get_recovery_point_tags(by_hand)["managed-by"] == "dynamodb-backup-proof"
    assert {point.arn: point.managed for point in look().points} == {by_hand: False, ours: True}


def test_what_only_inherited_our_tag_is_neither_deleted_nor_taken_for_ours_when_tags_change(shop):
    shop.flow.dynamodb.tag_resource(
        ResourceArn=shop.flow.resources["table_arn"], Tags=[{"Key": "managed-by", "Value": "dynamodb-backup-proof"}]
    )
    by_hand = shop.back_up(tags={})
    shop.flow.wait(10 * DAY)
    ours = shop.points()
    shop.flow.backup.tag_resource(ResourceArn=by_hand, Tags={"team": "a"})
    assert shop.run()["deleted"] == ours[:2]
    assert shop.there() == {by_hand, ours[2]}


def plan_point(flow, *, ours: bool) -> str:
    """Let a backup plan make a point of a table that carries our tag; return its ARN."""
    flow.dynamodb.tag_resource(
        ResourceArn=flow.resources["table_arn"], Tags=[{"Key": "managed-by", "Value": "dynamodb-backup-proof"}]
    )
    rule = {"RuleName": "r", "TargetBackupVaultName": "orders-vault", "ScheduleExpression": "cron(0 * * * ? *)"}
    made = flow.backup.create_backup_plan(
        BackupPlan={"BackupPlanName": "plan", "Rules": [rule]},
        BackupPlanTags={"managed-by": "dynamodb-backup-proof"} if ours else {},
    )
    flow.backup.create_backup_selection(
        BackupPlanId=made["BackupPlanId"],
        BackupSelection={
            "SelectionName": "s",
            "IamRoleArn": flow.resources["role_arn"],
            "Resources": [flow.resources["table_arn"]],
        },
    )
    flow.wait(2 * 3600)
    listed = flow.backup.list_recovery_points_by_backup_vault(BackupVaultName="orders-vault")["RecoveryPoints"]
    return next(str(p["RecoveryPointArn"]) for p in listed if p["CreatedBy"]["BackupPlanId"] == made["BackupPlanId"])


@pytest.mark.parametrize("ours", [True, False])
def test_what_a_plan_made_is_ours_where_the_plan_is(shop, look, ours):
    arn = plan_point(shop.flow, ours=ours)
    assert {point.arn: point.managed for point in look().points}[arn] is ours


def test_a_past_date_knows_nothing_of_what_came_later(shop, look):
    points = shop.points(2, apart=10, age=10)
    shop.judge(points[0], Result.PROVEN)
    found = look(as_of=shop.flow.now() - dt.timedelta(days=5))
    assert {point.arn for point in found.points} == set(points)
    assert found.around.verdicts == {}
    assert {point.arn for point in look(as_of=shop.flow.now() - dt.timedelta(days=15)).points} == {points[0]}


def test_a_vault_that_is_gone_has_no_points(shop, look):
    point = shop.back_up()
    assert [each.arn for each in look("orders-vault", "no-such-vault").points] == [point]


def test_what_cuts_it_short_is_raised_or_told_as_it_is_asked_for(shop, look):
    shop.back_up()
    for strict in (True, False):
        control.order_fault({"kind": "throttle", "service": "backup", "operation": "ListTags", "count": 50})
        if strict:
            with pytest.raises(ClientError, match="ListTags"):
                look(strict=True)
        else:
            assert "ListTags" in look().gap
        control.clear_faults()
    assert look().complete


def test_calls_grow_with_pages_and_with_what_is_new_not_with_what_is_there(shop, look, monkeypatch):
    calls: Counter[str] = Counter()

    def count(model, **_):
        calls[model.name] += 1

    shop.flow.backup.meta.events.register("before-call.backup.*", count)
    for _ in range(12):
        shop.back_up()
    look()
    first = dict(calls)
    assert first["ListTags"] == 12
    calls.clear()
    look()
    assert calls["ListTags"] == 0
    assert calls["ListRecoveryPointsByBackupVault"] == first["ListRecoveryPointsByBackupVault"]
    assert calls["DescribeRecoveryPoint"] == 0
    shop.back_up()
    calls.clear()
    look()
    shop.flow.backup.meta.events.unregister("before-call.backup.*", count)
    assert calls["ListTags"] == 1


class TestTagBook:
    NOW = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)

    def book(self, now: dt.datetime, tags: dict[str, dict[str, str]], entries=None) -> tuple[TagBook, list[str]]:
        asked: list[str] = []

        def ask(arn: str) -> dict[str, str]:
            asked.append(arn)
            return tags[arn]

        return TagBook(ask, now, dict(entries or {})), asked

    def test_a_point_is_asked_about_once(self):
        book, asked = self.book(self.NOW, {"a": OURS})
        assert [book.of("a"), book.of("a"), book.of("a", fresh=True)] == [OURS] * 3
        assert asked == ["a"]

    def test_what_is_known_is_asked_again_where_it_must_be_fresh(self):
        book, asked = self.book(self.NOW, {"a": {"keep": "yes"}}, {"a": ({}, self.NOW.isoformat())})
        assert book.of("a") == {}
        assert book.of("a", fresh=True) == {"keep": "yes"}
        assert asked == ["a"]

    def test_what_is_known_for_long_is_asked_again(self):
        entries = {"a": ({}, self.NOW.isoformat())}
        assert self.book(self.NOW + GOOD_FOR, {"a": OURS}, entries)[0].of("a") == {}
        assert self.book(self.NOW + 2 * GOOD_FOR, {"a": OURS}, entries)[0].of("a") == OURS

    def test_it_is_kept_without_what_is_gone(self, shop):
        book, _ = self.book(self.NOW, {"a": OURS, "b": {}})
        book.of("a"), book.of("b")
        book.write(shop.flow.s3, shop.flow.bucket, {"a"})
        again = TagBook.read(shop.flow.s3, shop.flow.bucket, lambda _arn: {"asked": "again"}, self.NOW)
        assert again.of("a") == OURS
        assert again.of("b") == {"asked": "again"}
