"""Right before a deletion everything is asked once more, and what speaks against it is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.sdk.execution_time.context import set_current_context

from aws_backup.exceptions import RecoveryPointNotOursError
from backup_flows.retention import tasks
from backup_flows.retention.deletion import outcomes
from restore_proof.verdict import Depth, Result

RULES = ("last: 1", "daily: 0", "weekly: 0", "monthly: 0", "floor: 1", "prove_first: false")


@pytest.fixture
def guard(shop) -> Callable[[str], str | None]:
    """Plan the deletion of two of three points, then ask about one right before its deletion; the objection, if any."""
    shop.policy("last: 1", "daily: 0", "weekly: 0", "monthly: 0", "floor: 1", "prove_first: false", "tags: [keep]")
    shop.arns = shop.points()
    shop.judge(shop.arns[2], Result.PROVEN)
    context = shop.context()
    planned = shop.call(tasks.plan_retention, context)
    due = shop.call(tasks.due_deletions, context, planned)
    assert [entry["recovery_point_arn"] for entry in due] == shop.arns[:2]

    def ask(arn: str) -> str | None:
        with set_current_context(context):
            try:
                assert tasks.guard_deletion(shop.describe(arn), shop.hook.get_recovery_point_tags(arn)) is True
            except RecoveryPointNotOursError as error:
                return error.reason
        return None

    return ask


def test_where_nothing_changed_it_may_go(shop, guard):
    assert guard(shop.arns[0]) is None


def test_one_that_the_plan_does_not_name_may_not(shop, guard):
    assert "does not name it" in str(guard(shop.arns[2]))


def test_one_that_lost_our_tag_may_not(shop, guard):
    shop.flow.backup.untag_resource(ResourceArn=shop.arns[0], TagKeyList=["managed-by"])
    assert "this project's mark" in str(guard(shop.arns[0]))


@pytest.mark.parametrize(("tag", "kept"), [({"keep": "audit"}, True), ({"kept": "no"}, False)])
def test_one_that_somebody_tagged_to_be_kept_may_not(shop, guard, tag, kept):
    shop.flow.backup.tag_resource(ResourceArn=shop.arns[0], Tags=tag)
    assert ("tagged keep" in str(guard(shop.arns[0]))) is kept


def test_one_that_a_restore_reads_may_not(shop, guard):
    shop.start_restore(shop.arns[0])
    assert "restore job" in str(guard(shop.arns[0]))
    assert guard(shop.arns[1]) is None


def test_one_whose_drill_is_not_over_may_not(shop, guard):
    shop.start_restore(shop.arns[0])
    shop.flow.wait()
    shop.unfinished.add(("orders_backup_restore", "manual__1"))
    assert "drill" in str(guard(shop.arns[0]))


def test_one_that_a_drill_chose_and_does_not_restore_yet_may_not(shop, guard):
    shop.choose(shop.arns[0])
    assert guard(shop.arns[0]) is None
    shop.unfinished.add(("restore_drill", "manual__1"))
    assert "drill" in str(guard(shop.arns[0]))
    assert guard(shop.arns[1]) is None


@pytest.mark.parametrize("result", [Result.PROVEN, Result.FAILED])
def test_one_that_got_a_verdict_meanwhile_may_not(shop, guard, result):
    shop.judge(shop.arns[0], result)
    assert f"is {result} now" in str(guard(shop.arns[0]))


def test_none_may_where_the_proven_one_that_was_to_stay_is_gone(shop, guard):
    shop.flow.backup.delete_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=shop.arns[2])
    shop.flow.wait()
    assert "can't be restored any more" in str(guard(shop.arns[0]))


def test_none_may_where_the_proven_one_turned_out_to_be_bad(shop, guard):
    shop.judge(shop.arns[2], Result.FAILED)
    assert "is not that any more" in str(guard(shop.arns[0]))


def refusals(shop, context) -> list[str | None]:
    """Ask right before each deletion of the run; return the objection to each, or None."""
    said: list[str | None] = []
    with set_current_context(context):
        for arn in tasks.files_of(context).get("wanted.json"):
            try:
                tasks.guard_deletion(shop.describe(arn), shop.hook.get_recovery_point_tags(arn))
                said.append(None)
            except RecoveryPointNotOursError as error:
                said.append(error.reason)
    return said


def planned(shop) -> dict:
    """Plan, put on record what is due, and return the context of the run."""
    context = shop.context()
    shop.call(tasks.due_deletions, context, shop.call(tasks.plan_retention, context))
    return context


def test_none_may_where_nothing_is_proven_and_the_newest_is_gone(shop):
    shop.policy(*RULES)
    points = shop.points()
    context = planned(shop)
    shop.flow.backup.delete_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=points[2])
    shop.flow.wait()
    assert ["one of the newest" in str(reason) for reason in refusals(shop, context)] == [True, True]


def test_where_the_newest_gets_a_verdict_meanwhile_only_a_bad_one_is_an_objection(shop):
    shop.policy(*RULES)
    points = shop.points()
    context = planned(shop)
    shop.judge(points[2], Result.PROVEN)
    assert refusals(shop, context) == [None, None]
    shop.judge(points[2], Result.FAILED)
    assert ["turned out to be bad" in str(reason) for reason in refusals(shop, context)] == [True, True]


def test_none_may_where_the_deepest_proof_is_gone_be_there_a_newer_shallow_one(shop):
    shop.policy(*RULES)
    points = shop.points(4)
    shop.judge(points[1], Result.PROVEN)
    shop.judge(points[2], Result.PROVEN, Depth.SAMPLED)
    context = planned(shop)
    shop.flow.backup.delete_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=points[1])
    shop.flow.wait()
    (reason,) = refusals(shop, context)
    assert f"{points[1]}, which is PROVEN and was to stay, can't be restored any more" in str(reason)


def test_a_newest_proven_one_that_is_expired_stops_nothing_where_another_one_stays(shop):
    shop.policy(*RULES, "keep_proven: 1")
    points = shop.points(4)
    shop.judge(points[1], Result.PROVEN)
    shop.judge(points[2], Result.PROVEN)
    shop.expire(points[2])
    assert (shop.run()["deleted"], shop.errors) == ([points[0]], [])


def test_an_objection_is_on_record_and_told_by_the_receipt(shop, guard):
    shop.judge(shop.arns[0], Result.PROVEN)
    context = shop.context()
    arguments = {"backup_vault_name": "orders-vault", "recovery_point_arn": shop.arns[0], "aws_conn_id": "aws_default"}
    with pytest.raises(RecoveryPointNotOursError):
        shop.delete(arguments, context)
    files = tasks.files_of(context)
    gone, left = outcomes(shop.hook, files.get("wanted.json"), dict(files.refusals()))
    assert gone == []
    assert "is PROVEN now" in left[shop.arns[0]]
    assert "not asked for" in left[shop.arns[1]]
    assert shop.there() == set(shop.arns)
