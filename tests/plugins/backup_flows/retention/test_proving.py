"""Prove before you lose: what AWS's lifecycle or a rule would take unproven is drilled first, and kept until then."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_flows.defaults import DRILL_REQUEST
from backup_flows.principals import role_clients
from backup_flows.retention import tasks
from backup_flows.retention.protect import lengthen_lifecycle
from backup_flows.retention.tasks import DRILL_REQUESTS
from local_aws import control
from restore_proof.verdict import Depth, Result

DAY = 86400.0
RULES = ("last: 1", "daily: 0", "weekly: 0", "monthly: 0", "floor: 1", "prove_ahead: 3d")


def requests(shop) -> list[dict]:
    """Return what the events of the run ask for."""
    events = shop.events[DRILL_REQUESTS].asset_alias_events
    assert all(event.dest_asset_key.uri == DRILL_REQUEST.uri for event in events)
    return [event.extra for event in events]


def holds(shop) -> list[dict]:
    return [hold for hold in shop.flow.backup.list_legal_holds()["LegalHolds"] if hold["Status"] != "CANCELED"]


@pytest.fixture
def expiring(shop) -> str:
    """An unproven point that AWS deletes in two days."""
    shop.policy(*RULES)
    point = shop.back_up(Lifecycle={"DeleteAfterDays": 10})
    shop.flow.wait(8 * DAY)
    return point


def test_what_would_go_unproven_waits_for_a_drill_of_the_newest(shop):
    shop.policy(*RULES)
    points = shop.points()
    receipt = shop.run()
    assert (receipt["deleted"], receipt["drills"], receipt["wrong"]) == ([], [points[2]], [])
    (request,) = requests(shop)
    assert request["recovery_point_arn"] == points[2]
    assert (request["table"], request["vault"], request["lost_at"]) == ("orders", "orders-vault", None)
    assert "2 recovery points" in request["reason"]

    shop.judge(points[2], Result.PROVEN)
    assert shop.run(run={"run_id": "manual__2"})["deleted"] == points[:2]
    assert requests(shop) == []


def test_a_preview_asks_for_no_drill(shop):
    shop.policy(*RULES, mode="preview")
    shop.points()
    assert shop.run()["counts"]["drills"] == 1
    assert requests(shop) == []


def test_while_a_drill_of_it_runs_no_second_one_is_asked_for(shop):
    shop.policy(*RULES)
    points = shop.points()
    shop.start_restore(points[2])
    assert shop.run()["drills"] == []
    shop.flow.wait()  # the restore is over, the run that proves is not
    shop.unfinished.add(("orders_backup_restore", "manual__1"))
    assert shop.run(run={"run_id": "manual__2"})["drills"] == []
    shop.unfinished.clear()
    assert shop.run(run={"run_id": "manual__3"})["drills"] == [points[2]]


def test_after_a_failed_drill_the_next_ones_turn_comes_and_the_bad_one_needs_a_person(shop):
    shop.policy(*RULES)
    points = shop.points()
    shop.judge(points[2], Result.FAILED)
    assert shop.run()["drills"] == [points[1]]
    shop.judge(points[1], Result.PROVEN)
    shop.back_up()
    shop.flow.wait(5 * DAY)
    receipt = shop.run(run={"run_id": "manual__2"}, answer={"chosen_options": ["Reject"], "responded_by_user": None})
    assert receipt["answer"] == "refused: by a person, or no answer in time"
    document = shop.plan()
    assert [entry["arn"] for entry in document["delete"]] == [points[2], points[0]]
    assert any(points[2] in reason and "known to be bad" in reason for reason in document["approval"])


def test_a_proof_that_crashed_is_an_attempt_and_too_many_of_them_make_a_point_bad(shop):
    shop.policy(*RULES, "max_proof_attempts: 2")
    points = shop.points()
    shop.judge(points[2], Result.FAILED, drill="one", crashed=True)
    assert shop.run()["drills"] == [points[2]]
    shop.judge(points[2], Result.FAILED, drill="two", crashed=True)
    assert shop.run(run={"run_id": "manual__2"})["drills"] == [points[1]]


def test_a_shallower_proof_than_asked_for_is_none(shop):
    shop.policy(*RULES)
    points = shop.points()
    shop.judge(points[2], Result.PROVEN, Depth.SAMPLED)
    assert shop.run()["drills"] == [points[2]]
    shop.policy(*RULES, "min_depth: sampled")
    assert shop.run(run={"run_id": "manual__2"})["deleted"] == points[:2]


class TestRescue:
    def test_its_lifecycle_is_moved_and_the_drill_asked_for_in_time(self, shop, expiring):
        lost_at = shop.describe(expiring)["CalculatedLifecycle"]["DeleteAt"]
        receipt = shop.run()
        assert receipt["protected"][0]["outcome"] == "extended"
        (request,) = requests(shop)
        assert dt.datetime.fromisoformat(request["lost_at"]) == lost_at
        assert shop.describe(expiring)["CalculatedLifecycle"]["DeleteAt"] >= shop.flow.now() + dt.timedelta(days=5)
        shop.flow.wait(3 * DAY)
        assert shop.there() == {expiring}

    def test_the_newest_proven_one_is_not_taken_by_its_lifecycle_while_older_ones_went_on_its_strength(self, shop):
        shop.policy(*RULES)
        old = shop.back_up()
        shop.flow.wait(10 * DAY)
        proven = shop.back_up(Lifecycle={"DeleteAfterDays": 40})
        shop.judge(proven, Result.PROVEN)
        shop.flow.wait(30 * DAY)
        newest = shop.back_up()
        shop.flow.wait(8 * DAY)
        receipt = shop.run()
        assert (receipt["deleted"], receipt["drills"], receipt["wrong"]) == ([], [newest], [])
        assert [(step["subject"], step["outcome"]) for step in receipt["protected"]] == [(proven, "extended")]
        shop.flow.wait(3 * DAY)
        assert shop.there() == {old, proven, newest}

    def test_both_numbers_are_sent_where_it_goes_to_cold_storage(self, shop):
        shop.policy(*RULES)
        point = shop.back_up(Lifecycle={"MoveToColdStorageAfterDays": 5, "DeleteAfterDays": 95})
        shop.flow.wait(93 * DAY)
        shop.run()
        lifecycle = shop.describe(point)["Lifecycle"]
        assert lifecycle["MoveToColdStorageAfterDays"] == 5
        assert lifecycle["DeleteAfterDays"] > 95

    def test_where_a_lock_forbids_that_it_is_held_and_released_after_the_verdict(self, shop, expiring):
        shop.flow.backup.put_backup_vault_lock_configuration(BackupVaultName="orders-vault", MinRetentionDays=1)
        assert [step["outcome"] for step in shop.run()["protected"]] == ["held"]
        (hold,) = holds(shop)
        assert shop.hook.get_tags(hold["LegalHoldArn"])["purpose"] == "prove-before-loss"
        shop.flow.wait(5 * DAY)
        assert shop.there() == {expiring}

        # Its drill came to nothing, so another one is asked for, at every run.
        again = shop.run(run={"run_id": "manual__2"})
        assert (again["protected"], len(holds(shop)), again["drills"]) == ([], 1, [expiring])

        # Proven, it is the last proof there is, so that it stays until there is a newer one.
        shop.judge(expiring, Result.PROVEN)
        assert shop.run(run={"run_id": "manual__3"})["protected"] == []
        shop.judge(shop.back_up(), Result.PROVEN)
        done = shop.run(run={"run_id": "manual__4"})["protected"]
        assert [step["outcome"] for step in done] == ["released"]
        shop.flow.wait(60)
        assert holds(shop) == []

    def test_a_lock_that_refuses_only_when_it_is_tried_is_answered_by_a_hold_too(self, shop, expiring, monkeypatch):
        planned = shop.call(tasks.plan_retention, shop.context())
        shop.flow.backup.put_backup_vault_lock_configuration(BackupVaultName="orders-vault", MinRetentionDays=1)
        (step,) = shop.call(tasks.protect_points, shop.context(), planned)
        assert step["outcome"] == "held"

    def test_where_nothing_may_be_done_an_alarm_says_when_it_is_lost(self, shop, expiring, monkeypatch):
        shop.policy(*RULES, may_extend=False, may_hold=False)
        told: list[str] = []
        monkeypatch.setattr(tasks, "notify", lambda subject, message: told.append(f"{subject}: {message}"))
        lost_at = shop.describe(expiring)["CalculatedLifecycle"]["DeleteAt"].strftime("%Y-%m-%dT")
        receipt = shop.run()
        assert any(expiring in problem and lost_at in problem for problem in receipt["wrong"])
        assert expiring in told[0]
        assert receipt["drills"] == [expiring]

    def test_holds_of_somebody_else_are_never_released(self, shop):
        point = shop.back_up()
        made = shop.describe(point)["CreationDate"]
        shop.flow.backup.create_legal_hold(
            Title="Prove before loss: orders",
            Description="of somebody else",
            RecoveryPointSelection={"VaultNames": ["orders-vault"], "DateRange": {"FromDate": made, "ToDate": made}},
        )
        shop.judge(point, Result.PROVEN)
        assert shop.run()["protected"] == []
        assert len(holds(shop)) == 1

    def test_on_half_an_inventory_nothing_is_done(self, shop, expiring):
        control.order_fault({"kind": "throttle", "service": "backup", "operation": "ListLegalHolds", "count": 100})
        receipt = shop.run()
        assert (receipt["protected"], receipt["drills"], receipt["deleted"]) == ([], [], [])
        assert any("incomplete" in problem for problem in receipt["wrong"])

    def test_the_retention_role_may_do_all_of_it_and_release_no_hold_of_others(self, shop, expiring):
        flow = shop.flow
        control.configure(enforce_iam=True)
        retention = role_clients(flow.clients, flow.resources["retention_role_arn"], session_name="airflow")("backup")
        rescue = {
            "arn": expiring,
            "vault_name": "orders-vault",
            "table_name": "orders",
            "lost_at": "2026-11-12T00:00:00+00:00",
            "text": "",
        }
        from backup_flows.retention.protect import protect

        extend = {**rescue, "action": "extend", "lifecycle": {"DeleteAfterDays": 40}}
        arguments = {"lifecycles": [], "may_hold": True, "token": "run"}
        done = protect(retention, rescues=[extend, {**rescue, "action": "hold"}], releases=[], **arguments)
        assert [step.outcome for step in done] == ["extended", "held"]
        (own,) = holds(shop)
        flow.backup.create_legal_hold(Title="audit", Description="of somebody else")
        others = next(hold["LegalHoldId"] for hold in holds(shop) if hold["LegalHoldId"] != own["LegalHoldId"])
        ids = [own["LegalHoldId"], others]
        done = protect(retention, rescues=[], releases=ids, **arguments)
        assert [step.outcome for step in done] == ["released", "refused"]


class TestLifecycleAgreement:
    RULES = ("daily: 35", "weekly: 0", "monthly: 0", "floor: 1", "prove_first: false")

    def early(self, shop) -> str:
        """Make a point that goes earlier than the rules want, and a newer one that does not; return the first."""
        point = shop.back_up(Lifecycle={"DeleteAfterDays": 10})
        shop.flow.wait(DAY)
        shop.back_up()
        shop.flow.wait(DAY)
        return point

    def test_an_earlier_lifecycle_is_warned_of_and_left_alone(self, shop):
        shop.policy(*self.RULES)
        point = self.early(shop)
        (warning,) = shop.plan()["lifecycle_warnings"]
        assert (warning["arn"], warning["lifecycle"]) == (point, {"DeleteAfterDays": 35})
        assert shop.run()["protected"] == []
        assert shop.describe(point)["Lifecycle"]["DeleteAfterDays"] == 10

    def test_it_is_moved_where_the_file_says_so(self, shop):
        shop.policy(*self.RULES, move_lifecycles=True)
        point = self.early(shop)
        assert [step["outcome"] for step in shop.run()["protected"]] == ["lifecycle moved"]
        assert shop.describe(point)["Lifecycle"]["DeleteAfterDays"] == 35
        assert shop.plan()["lifecycle_warnings"] == []

    @pytest.mark.parametrize("meanwhile", [{"DeleteAfterDays": 3650}, {}, {"DeleteAfterDays": 35}])
    def test_one_that_somebody_lengthened_after_the_plan_is_not_shortened(self, shop, meanwhile):
        shop.policy(*self.RULES, move_lifecycles=True)
        point = self.early(shop)
        context = shop.context()
        planned = shop.call(tasks.plan_retention, context)
        shop.flow.backup.update_recovery_point_lifecycle(
            BackupVaultName="orders-vault", RecoveryPointArn=point, Lifecycle=meanwhile
        )
        before = shop.describe(point).get("Lifecycle")
        (step,) = shop.call(tasks.protect_points, context, planned)
        assert (step["outcome"], "needed no move" in step["detail"]) == ("lifecycle moved", True)
        assert shop.describe(point).get("Lifecycle") == before

    def test_what_it_is_to_go_to_cold_storage_by_is_asked_for_right_before(self, shop):
        shop.policy(*self.RULES, move_lifecycles=True)
        point = self.early(shop)
        context = shop.context()
        planned = shop.call(tasks.plan_retention, context)
        told = {"BackupVaultName": "orders-vault", "RecoveryPointArn": point}
        # Cold storage is at least 90 days, so what goes there after 200 can't go after 35: the 290 stand already.
        lifecycle = {"MoveToColdStorageAfterDays": 200, "DeleteAfterDays": 290}
        shop.flow.backup.update_recovery_point_lifecycle(**told, Lifecycle=lifecycle)
        shop.call(tasks.protect_points, context, planned)
        assert shop.describe(point)["Lifecycle"] == lifecycle
        wanted = {"arn": point, "vault_name": "orders-vault", "lifecycle": {"DeleteAfterDays": 300}}
        assert lengthen_lifecycle(shop.flow.backup, wanted) == (True, str({**lifecycle, "DeleteAfterDays": 300}))
        assert shop.describe(point)["Lifecycle"] == {**lifecycle, "DeleteAfterDays": 300}

    def test_what_a_rescue_lengthened_the_same_runs_agreement_does_not_shorten(self, shop):
        shop.policy("last: 0", "daily: 14", "weekly: 0", "monthly: 0", "floor: 1", move_lifecycles=True)
        point = shop.back_up(Lifecycle={"DeleteAfterDays": 12})
        shop.flow.wait(10 * DAY)
        shop.back_up()
        shop.flow.wait(DAY / 2)
        assert [step["outcome"] for step in shop.run()["protected"]] == ["extended", "lifecycle moved"]
        assert shop.describe(point)["Lifecycle"]["DeleteAfterDays"] >= 17

    def test_on_a_shrunk_inventory_none_is_moved(self, shop):
        shop.policy(*self.RULES, move_lifecycles=True)
        gone = [shop.back_up() for _ in range(3)]
        point = self.early(shop)
        shop.run(mode="preview")
        for arn in gone:
            shop.flow.backup.delete_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=arn)
        shop.flow.wait(60)
        receipt = shop.run(run={"run_id": "manual__2"})
        assert any("were expected" in problem for problem in receipt["wrong"])
        assert receipt["protected"] == []
        assert shop.describe(point)["Lifecycle"]["DeleteAfterDays"] == 10
