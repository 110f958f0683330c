"""Whole cleanups on the local AWS: whatever is in the way, nothing wrong goes, and the receipt tells the truth."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.exceptions import AirflowFailException

from backup_flows.retention import tasks
from backup_flows.retention.store import LAST_KEY, LATEST_KEY
from local_aws import control
from restore_proof.verdict import Result

APPROVED = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "ann"}}
REJECTED = {"chosen_options": ["Reject"], "responded_by_user": {"id": "1", "name": "ann"}}
MINUTE = dt.timedelta(minutes=1)
TIMED_OUT = {"chosen_options": ["Reject"], "responded_by_user": None}


def test_a_full_run_deletes_what_is_due_and_a_second_finds_nothing_to_do(shop):
    points = shop.points()
    first = shop.run()
    assert first["deleted"] == points[:2]
    assert (first["still_there"], first["wrong"], first["answer"]) == ({}, [], "nobody was asked")
    assert shop.there() == {points[2]}
    assert shop.flow.document(LATEST_KEY)["counts"]["due"] == 2

    again = shop.run(run={"run_id": "manual__2"})
    assert (again["deleted"], again["wrong"], again["counts"]["delete"]) == ([], [], 0)
    assert shop.there() == {points[2]}


@pytest.mark.parametrize(
    ("configured", "asked", "run_type"),
    [("preview", "as configured", "scheduled"), ("apply", "preview", "manual"), ("apply", "apply", "backfill")],
)
def test_a_preview_changes_nothing_and_says_what_it_would(shop, configured, asked, run_type):
    shop.policy(mode=configured)
    points = shop.points()
    receipt = shop.run(mode=asked, run={"run_type": run_type, "logical_date": shop.flow.now()})
    assert (receipt["mode"], receipt["would_delete"], receipt["deleted"]) == ("preview", points[:2], [])
    assert shop.there() == set(points)
    assert shop.errors == []


def test_a_backfill_as_the_api_server_hands_it_to_a_task_deletes_nothing(shop):
    points = shop.points()
    # The task runner's own reading: JSON of the API server, checked by the Task SDK's model.
    day = (shop.flow.now() - dt.timedelta(days=1)).isoformat()
    run = {"dag_id": "retention_cleanup", "run_id": "backfill__1", "run_type": "backfill", "state": "running"}
    run |= dict.fromkeys(("data_interval_start", "data_interval_end", "start_date", "end_date", "partition_key"))
    run |= {"logical_date": day, "run_after": day, "consumed_asset_events": []}
    make = shop.new_context
    shop.new_context = lambda **given: {**make(**given), "dag_run": DagRun.model_validate_json(json.dumps(run))}

    receipt = shop.run()
    assert (receipt["mode"], receipt["would_delete"], receipt["deleted"]) == ("preview", points[:2], [])
    assert shop.there() == set(points)
    assert shop.flow.keys("retention/latest") == shop.flow.keys("retention/inventory") == []


@pytest.mark.parametrize(
    ("answer", "told", "left"),
    [
        (APPROVED, "agreed: by ann", 1),
        (REJECTED, "refused: by a person, or no answer in time", 3),
        (TIMED_OUT, "refused: by a person, or no answer in time", 3),
    ],
)
def test_more_deletions_than_allowed_wait_for_a_person(shop, answer, told, left):
    shop.policy(approve_above=1)
    points = shop.points()
    receipt = shop.run(answer=answer)
    assert receipt["answer"] == told
    assert len(shop.there()) == left
    assert receipt["deleted"] == ([] if left == 3 else points[:2])
    assert receipt["would_delete"] == (points[:2] if left == 3 else [])
    assert shop.errors == []


def test_an_approval_that_failed_deletes_nothing_and_fails_the_receipt(shop):
    shop.policy(approve_above=1)
    points = shop.points()
    receipt = shop.run(answer=None)
    assert receipt["answer"] == "unanswered: the task approve did not end well"
    assert (receipt["deleted"], receipt["would_delete"], len(receipt["wrong"])) == ([], points[:2], 1)
    assert shop.there() == set(points)


def test_another_plan_than_was_agreed_to_is_not_applied(shop):
    shop.policy(approve_above=1)
    points = shop.points()
    context = shop.context()
    planned = shop.call(tasks.plan_retention, context)
    assert shop.call(tasks.ask_or_go, context, planned) == "approve"
    assert len(shop.call(tasks.due_deletions, context, planned)) == 2

    # While it waits for the answer plan_retention alone is cleared, and a third point is due by then.
    shop.points(1)
    again = shop.call(tasks.plan_retention, context)
    with pytest.raises(AirflowFailException, match="Clear ask_or_go with all tasks after it"):
        shop.call(tasks.due_deletions, context, again)
    assert set(tasks.files_of(context).get("wanted.json")) == set(points[:2])
    assert shop.call(tasks.ask_or_go, context, again) == "approve"
    assert len(shop.call(tasks.due_deletions, context, again)) == 3


def test_deletions_that_were_never_asked_for_fail_the_receipt(shop):
    points = shop.points()
    context = shop.context()
    planned = shop.call(tasks.plan_retention, context)
    ends = [shop.call(task, context, planned) for task in (tasks.request_drills, tasks.protect_points)]
    # due_deletions fails for good, and what stands beside it does not.
    ends += [shop.call(task, context, planned) for task in (tasks.sweep_restored_tables, tasks.sweep_old_files)]
    with pytest.raises(tasks.RetentionIncompleteError) as error:
        shop.call(tasks.receipt, context, planned, *ends)
    assert [problem.partition(" ")[0] for problem in error.value.wrong] == points[:2]
    assert all("its deletion was not asked for" in problem for problem in error.value.wrong)


def test_a_run_that_died_and_whose_plan_now_keeps_a_point_does_not_miss_its_deletion(shop):
    points = shop.points()
    shop.run(die_after=1)
    shop.flow.backup.tag_resource(ResourceArn=points[1], Tags={"keep": "audit"})
    shop.policy("last: 1", "daily: 0", "weekly: 0", "monthly: 0", "floor: 1", "prove_first: false", "tags: [keep]")
    receipt = shop.run()
    assert (receipt["deleted"], receipt["still_there"], receipt["wrong"]) == ([points[0]], {}, [])
    assert shop.there() == set(points[1:])


def test_a_proven_one_goes_only_where_a_person_agrees(shop):
    points = shop.points()
    shop.judge(points[0], Result.PROVEN)
    shop.judge(points[2], Result.PROVEN)
    assert shop.run(answer=REJECTED)["deleted"] == []
    assert shop.run(answer=APPROVED, run={"run_id": "manual__2"})["deleted"] == points[:2]


def test_the_form_may_raise_what_the_file_says_only_with_a_person(shop):
    shop.policy(mode="preview")
    points = shop.points()
    assert shop.run(mode="apply", answer=REJECTED)["deleted"] == []
    assert shop.there() == set(points)
    assert shop.run(mode="apply", answer=APPROVED, run={"run_id": "manual__2"})["deleted"] == points[:2]


def test_a_lock_in_the_way_keeps_everything_and_says_until_when(shop):
    points = shop.points(Lifecycle={"DeleteAfterDays": 100})
    shop.flow.backup.put_backup_vault_lock_configuration(BackupVaultName="orders-vault", MinRetentionDays=1)
    receipt = shop.run()
    assert receipt["counts"]["blocked"] == 2
    assert (receipt["deleted"], receipt["still_there"], receipt["wrong"]) == ([], {}, [])
    document = shop.plan()
    assert all(entry["free_at"] for entry in document["blocked"])
    assert shop.there() == set(points)


def test_a_lock_that_came_after_the_plan_is_told_by_the_receipt(shop, monkeypatch):
    points = shop.points()
    ask_or_go = shop.call

    def lock_first(decorated, context, *args):
        if getattr(decorated.function, "__name__", "") == "due_deletions":
            shop.flow.backup.put_backup_vault_lock_configuration(BackupVaultName="orders-vault", MinRetentionDays=1)
        return ask_or_go(decorated, context, *args)

    monkeypatch.setattr(shop, "call", lock_first)
    receipt = shop.run()
    assert receipt["deleted"] == []
    assert set(receipt["still_there"]) == set(points[:2])
    assert all("It is protected" in reason for reason in receipt["still_there"].values())
    assert len(receipt["wrong"]) == 2
    assert shop.there() == set(points)


def test_a_legal_hold_in_the_way_blocks_its_points_alone(shop):
    old = shop.back_up()
    shop.flow.wait(10 * 86400)
    made = shop.describe(old)["CreationDate"]
    shop.flow.backup.create_legal_hold(
        Title="audit",
        Description="of somebody else",
        RecoveryPointSelection={"VaultNames": ["orders-vault"], "DateRange": {"FromDate": made, "ToDate": made}},
    )
    others = shop.points()
    receipt = shop.run()
    assert receipt["deleted"] == others[:2]
    assert receipt["counts"]["blocked"] == 1
    assert shop.there() == {old, others[2]}
    assert receipt["protected"] == []


def test_a_role_without_rights_leaves_expired_points_and_the_receipt_says_so(shop):
    points = shop.points()
    role = shop.flow.resources["role_arn"].rpartition("/")[2]
    nobody = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [nobody]})
    shop.flow.clients("iam").update_assume_role_policy(RoleName=role, PolicyDocument=document)
    shop.flow.backup.delete_backup_vault_access_policy(BackupVaultName="orders-vault")
    control.configure(enforce_iam=True)
    receipt = shop.run()
    assert receipt["deleted"] == []
    assert set(receipt["still_there"]) == set(points[:2])
    assert ["EXPIRED" in reason for reason in receipt["still_there"].values()] == [True, True], receipt
    assert {shop.describe(point)["Status"] for point in points[:2]} == {"EXPIRED"}


def test_a_run_that_died_half_way_is_finished_by_its_next_try_and_the_receipt_knows_of_both(shop):
    points = shop.points(5)
    assert shop.run(die_after=2) == {}
    assert shop.there() == set(points[2:])
    receipt = shop.run()
    assert sorted(receipt["deleted"]) == sorted(points[:4])
    assert (receipt["still_there"], receipt["wrong"]) == ({}, [])
    assert shop.there() == {points[4]}


def test_after_a_run_that_died_the_next_one_misses_nothing(shop):
    points = shop.points(5)
    shop.run(die_after=2)
    receipt = shop.run(run={"run_id": "manual__2"})
    assert (receipt["deleted"], receipt["wrong"]) == (points[2:4], [])


def test_an_inventory_cut_short_by_throttling_deletes_nothing(shop):
    points = shop.points()
    fault = {"kind": "throttle", "service": "backup", "operation": "ListRecoveryPointsByBackupVault", "count": 100}
    control.order_fault(fault)
    receipt = shop.run()
    control.clear_faults()
    assert receipt["deleted"] == []
    assert any("incomplete" in problem for problem in receipt["wrong"])
    assert shop.there() == set(points)
    assert LAST_KEY not in shop.flow.keys("retention/")

    assert shop.run(run={"run_id": "manual__2"})["deleted"] == points[:2]


@pytest.mark.parametrize(("minutes", "alarmed"), [(4, False), (6, True)])
def test_points_of_the_future_mean_that_the_clock_is_behind_and_nothing_goes(shop, monkeypatch, minutes, alarmed):
    points = shop.points(age=0)
    monkeypatch.setattr(tasks, "aws_now", lambda: shop.describe(points[2])["CreationDate"] - minutes * MINUTE)
    receipt = shop.run()
    assert any("The clock is behind" in problem for problem in receipt["wrong"]) is alarmed
    assert receipt["deleted"] == ([] if alarmed else points[:2])


def test_a_past_date_is_previewed_without_an_alarm_on_what_came_later(shop):
    points = shop.points()
    past = shop.flow.now() - dt.timedelta(days=35)
    receipt = shop.run(run={"run_type": "backfill", "logical_date": past})
    assert (receipt["would_delete"], receipt["wrong"]) == (points[:1], [])


def test_a_listing_that_lost_most_of_a_vault_deletes_nothing_until_a_person_says_why(shop):
    shop.policy(mode="preview")
    points = shop.points(6)
    shop.run()
    for point in points[:3]:
        shop.flow.backup.delete_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=point)
    shop.flow.wait()
    shop.policy()
    receipt = shop.run(run={"run_id": "manual__2"})
    assert receipt["deleted"] == []
    assert any("at least 6 were expected" in problem for problem in receipt["wrong"])
    assert shop.run(run={"run_id": "manual__3"})["deleted"] == []
    assert shop.run(run={"run_id": "manual__4"}, accept_inventory=True)["deleted"] == points[3:5]


def test_no_more_go_in_a_run_than_it_may_oldest_first(shop):
    shop.policy(max_deletions=3)
    points = shop.points(6)
    assert shop.run(max_deletions=2)["deleted"] == points[:2]
    assert shop.run(run={"run_id": "manual__2"})["deleted"] == points[2:5]


def test_a_new_stack_has_nothing_to_retire_and_that_is_fine(shop):
    receipt = shop.run()
    assert (receipt["deleted"], receipt["wrong"]) == ([], [])
    assert shop.errors == []


def test_a_table_that_lost_the_tag_which_its_entry_chose_it_by_keeps_its_policy(shop):
    (shop.folder / "protection.yaml").write_text(
        "version: 1\n"
        "defaults: {retention: {last: 1, daily: 0, weekly: 0, monthly: 0, floor: 1, prove_first: false}}\n"
        "retention: {mode: apply, approve_above: 10}\n"
        "tables: [{tag: {backup: daily}, tier: daily, retention: {last: 3}}]\n",
        encoding="utf-8",
    )
    points = shop.points(4)
    first = shop.run()
    assert (first["deleted"], first["notes"]) == (points[:1], [])

    shop.flow.dynamodb.untag_resource(ResourceArn=shop.flow.resources["table_arn"], TagKeys=["backup"])
    for number in (2, 3):
        again = shop.run(run={"run_id": f"manual__{number}"})
        assert (again["deleted"], again["wrong"]) == ([], [])
        assert "goes by the policy that its tag gave it last" in again["notes"][0]
    assert shop.there() == set(points[1:])
