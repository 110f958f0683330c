"""From an inventory to what a run does, and what people are shown of it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest

from backup_flows.protected_tables import ProtectedTables
from backup_flows.protection import Table
from backup_flows.protection_file import parse_protection
from backup_flows.protection_retention import RetentionRun
from backup_flows.retention.inventory import Inventory
from backup_flows.retention.modes import Mode
from backup_flows.retention.planning import Deletion, make_plan, policies_of, settle_policies, vaults_of
from backup_flows.retention.show import MOST_LINES, MOST_ROWS, approval_text, log_lines, preview_rows
from backup_flows.retention.tag_book import TagBook
from recovery_retention.inventory import LastInventory
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Depth, Proof, Result

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
OURS = {"managed-by": "dynamodb-backup-proof", "dag": "table_backup", "run": "table_backup/run", "table": "orders"}
LAST_ONE = PolicySet(KeepPolicy(last=1, prove_first=False, tags=("keep",)))


def arn(number: float) -> str:
    return f"arn:aws:backup:us-east-1:123456789012:recovery-point:{number}"


def inventory(*ages: float, tags: dict[float, dict[str, str]] | None = None, **around: Any) -> Inventory:
    """Return an inventory of points of these ages in days; tags are what AWS tells of them now."""
    now = {arn(age): OURS | more for age, more in (tags or {}).items()}
    points = [
        RecoveryPoint(
            arn(age), "orders", "COMPLETED", NOW - dt.timedelta(days=age), managed=True, vault_name="vault",
            tags=tuple(OURS.items()), size_bytes=2**30,
        )
        for age in ages
    ]  # fmt: skip
    return Inventory(TagBook(lambda one: now.get(one, OURS), NOW), points, Circumstances(**around))


def test_what_goes_is_capped_oldest_first_and_the_rest_is_counted():
    planned = make_plan(inventory(1, 2, 3, 4, 5), LAST_ONE, NOW, RetentionRun(max_deletions=3))
    assert [deletion.arn for deletion in planned.due] == [arn(5), arn(4), arn(3)]
    assert planned.left == 1
    assert planned.saving.size_bytes == 3 * 2**30
    fewer = make_plan(inventory(1, 2, 3, 4, 5), LAST_ONE, NOW, RetentionRun(max_deletions=3), max_deletions=1)
    assert [deletion.arn for deletion in fewer.due] == [arn(5)]
    more = make_plan(inventory(1, 2, 3, 4, 5), LAST_ONE, NOW, RetentionRun(max_deletions=3), max_deletions=9)
    assert len(more.due) == 3


def test_a_person_is_asked_by_all_that_would_go_however_few_go_in_one_run():
    run = RetentionRun(max_deletions=1, approve_above=2)
    planned = make_plan(inventory(1, 2, 3, 4), LAST_ONE, NOW, run)
    assert planned.approval == ("3 recovery points would go, more than 2.",)
    assert len(planned.due) == 1
    assert make_plan(inventory(1, 2, 3), LAST_ONE, NOW, run).approval == ()


def test_a_proven_one_needs_a_person_in_the_run_that_it_goes_in():
    verdicts = {arn(2): Proof(Result.PROVEN), arn(1): Proof(Result.PROVEN)}
    run = RetentionRun(max_deletions=2, approve_above=4)
    assert make_plan(inventory(1, 2, 3, 4, 5, verdicts=verdicts), LAST_ONE, NOW, run).approval == ()
    (reason,) = make_plan(inventory(1, 2, 3, verdicts=verdicts), LAST_ONE, NOW, run).approval
    assert reason == f"{arn(2)}: It is PROVEN."


def test_a_deletion_knows_what_it_relies_on_and_survives_its_record():
    verdicts = {arn(2): Proof(Result.PROVEN), arn(3): Proof(Result.FAILED)}
    (deletion,) = make_plan(inventory(1, 2, 3, verdicts=verdicts), LAST_ONE, NOW, RetentionRun()).due
    assert (deletion.verdict, deletion.relies_on) == ("FAILED", {arn(1): None, arn(2): "PROVEN"})
    assert deletion.keep_tags == ("keep",)
    assert Deletion.from_dict(json.loads(json.dumps(deletion.to_dict()))) == deletion


def test_it_relies_on_every_proven_one_that_stays_and_on_none_that_is_bad_or_expired():
    verdicts = {
        arn(1): Proof(Result.FAILED),
        arn(2): Proof(Result.PROVEN, Depth.SAMPLED),
        arn(3): Proof(Result.PROVEN),
        arn(4): Proof(Result.PROVEN),
    }
    found = inventory(1, 2, 3, 4, 5, verdicts=verdicts)
    found.points[2] = replace(found.points[2], status="EXPIRED")
    (deletion,) = make_plan(found, LAST_ONE, NOW, RetentionRun()).due
    assert deletion.arn == arn(5)
    assert deletion.relies_on == {arn(2): "PROVEN@sampled", arn(4): "PROVEN"}


@pytest.mark.parametrize(
    ("tags", "kept"), [({"keep": "audit"}, True), ({"managed-by": "somebody else"}, True), ({"colour": "red"}, False)]
)
def test_tags_are_asked_for_anew_of_what_would_go(tags, kept):
    found = inventory(1, 2, tags={2: tags})
    planned = make_plan(found, LAST_ONE, NOW, RetentionRun())
    assert (planned.due == ()) is kept
    assert found.tags.fresh == {arn(2)}


def test_on_half_an_inventory_nothing_at_all_is_done():
    half = inventory(1, 2, 3, our_holds={arn(1): "hold"})
    half.gap = "ThrottlingException: slow down"
    planned = make_plan(half, PolicySet(KeepPolicy(last=1)), NOW, RetentionRun())
    assert (planned.due, planned.plan.drills, planned.plan.rescues, planned.plan.releases) == ((), (), (), ())
    assert "slow down" in planned.wrong[-1]


def test_on_a_shrunk_inventory_no_hold_is_given_back_and_drills_go_on():
    last = LastInventory(NOW - dt.timedelta(days=1), {"vault": 100})
    policies = PolicySet(KeepPolicy(last=1))
    planned = make_plan(inventory(1, 2, our_holds={arn(9): "hold"}), policies, NOW, RetentionRun(), last=last)
    assert (planned.due, planned.plan.releases) == ((), ())
    assert len(planned.plan.drills) == 1
    assert "at least 100 were expected" in planned.wrong[0]


@pytest.mark.parametrize(("last", "alarmed"), [(None, False), ({"vault": 0}, False), ({"vault": 3}, True)])
def test_an_empty_vault_is_an_alarm_only_where_something_should_be_there(last, alarmed):
    before = None if last is None else LastInventory(NOW - dt.timedelta(days=1), last)
    assert bool(make_plan(inventory(), LAST_ONE, NOW, RetentionRun(), last=before).wrong) is alarmed


def test_points_of_a_table_that_is_gone_still_go_by_its_entry_and_old_vaults_are_still_looked_at():
    protection = parse_protection(
        "version: 1\ntables: [{name: orders, tier: daily, retention: {last: 5}, vault: elsewhere}]\n"
    )
    assert policies_of(protection, ProtectedTables((), ())).of("orders").last == 5
    last = LastInventory(NOW, {"old": 2, "empty": 0})
    assert vaults_of(ProtectedTables((), ()), "stack", last) == ["old", "stack"]


def test_a_deletion_relies_on_no_point_of_another_table_of_that_name():
    found = inventory(1, 2, 3)
    abroad = replace(found.points[0], resource_arn="arn:aws:dynamodb:eu-west-1:123456789012:table/orders")
    found.points[0] = abroad
    planned = make_plan(found, LAST_ONE, NOW, RetentionRun())
    assert [(deletion.arn, list(deletion.relies_on)) for deletion in planned.due] == [(arn(3), [arn(2)])]


class TestTablesThatNoEntryFits:
    """Tags tell nothing of a table that is gone, or lost its tag."""

    TAGGED = "tables: [{tag: {backup: daily}, tier: daily, retention: {monthly: 84, yearly: 10, keep_proven: 12}}]"
    NAMED = "tables: [{name: customers, tier: daily}]"
    KEPT = KeepPolicy(monthly=84, yearly=10, keep_proven=12)
    ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"

    def settle(self, file: str, *, there: bool = False, policies: dict[str, Any] | None = None, managed: bool = True):
        protection = parse_protection(
            f"version: 1\ndefaults: {{retention: {{last: 1, daily: 0, weekly: 0, monthly: 0}}}}\n{file}\n"
        )
        tables = protection.select([Table("orders", self.ARN, {"backup": "daily"})]) if there else []
        last = None if policies is None else LastInventory(NOW, {}, policies=policies)
        points = [replace(point, managed=managed) for point in inventory(1, 2, 3).points]
        return settle_policies(protection, ProtectedTables(tuple(tables), ()), points, last)

    def test_one_that_is_there_goes_by_its_entry_which_is_remembered(self):
        settled = self.settle(self.TAGGED, there=True, policies={"orders": KeepPolicy(last=1).to_dict()})
        policy = settled.policies.of("orders")
        assert (policy.monthly, policy.yearly, policy.keep_proven) == (84, 10, 12)
        assert (settled.by_tag, settled.notes) == ({"orders": policy.to_dict()}, ())

    @pytest.mark.parametrize("file", [TAGGED, NAMED])
    def test_one_that_is_gone_goes_by_what_it_had_by_its_tag_and_that_is_told(self, file):
        written = json.loads(json.dumps(LastInventory(NOW, {}, policies={"orders": self.KEPT.to_dict()}).to_dict()))
        settled = self.settle(file, policies=dict(LastInventory.from_dict(written).policies))
        assert settled.policies.of("orders") == self.KEPT
        assert settled.by_tag == {"orders": self.KEPT.to_dict()}
        (note,) = settled.notes
        assert "table orders" in note
        assert "Add an entry with its name to protection.yaml" in note

    @pytest.mark.parametrize("policies", [None, {}, {"orders": {"from": "another version"}}])
    def test_of_one_of_which_nothing_is_remembered_nothing_goes(self, policies):
        settled = self.settle(self.TAGGED, policies=policies)
        run = RetentionRun(move_lifecycles=True)
        found = inventory(1, 2, 3)
        found.points = [replace(point, delete_at=NOW + dt.timedelta(days=9)) for point in found.points]
        planned = make_plan(found, settled.policies, NOW, run, undecided=settled.undecided, notes=settled.notes)
        assert (planned.due, planned.steps()["lifecycles"]) == ((), [])
        assert "all its points are kept" in planned.notes[0]
        assert planned.to_dict()["notes"] == preview_rows(planned)["notes"] == list(planned.notes)
        assert planned.notes[0] in approval_text(planned, Mode(applies=True), "")
        assert settled.by_tag == {}

    def test_without_entries_by_tag_it_goes_by_the_defaults(self):
        settled = self.settle(self.NAMED)
        assert settled.policies.of("orders").last == 1
        assert (settled.undecided, settled.notes) == (frozenset(), ())

    def test_of_points_that_are_not_ours_nothing_is_told(self):
        assert self.settle(self.TAGGED, managed=False).notes == ()


class TestShown:
    def planned(self, count: int, **run: Any):
        return make_plan(inventory(*range(1, count + 1)), LAST_ONE, NOW, RetentionRun(max_deletions=500, **run))

    def test_the_question_says_what_goes_what_it_saves_and_why_a_person_is_asked(self):
        planned = self.planned(4, approve_above=2)
        text = approval_text(planned, Mode(applies=True, raised=True), "s3://bucket/plan.json")
        assert "**3 recovery points would be deleted**: 3 points, 3.000 GB, 0.30 $ a month" in text
        assert "3 recovery points would go, more than 2." in text
        assert "says preview" in text
        assert "s3://bucket/plan.json" in text
        assert "says preview" not in approval_text(planned, Mode(applies=True), "s3://bucket/plan.json")

    def test_a_long_list_is_cut_and_says_so(self):
        planned = self.planned(MOST_ROWS + 11)
        assert "... and 10 more." in approval_text(planned, Mode(applies=True), "")
        rows = preview_rows(planned)
        assert (len(rows["deletions"]), rows["more"]) == (MOST_ROWS, 10)
        assert rows["deletions"][0]["recovery_point"] == arn(MOST_ROWS + 11)

    def test_the_log_shows_all_that_goes_and_of_a_large_fleet_not_all_that_stays(self):
        policies = PolicySet(KeepPolicy(last=MOST_LINES + 7, prove_first=False))
        found = inventory(*range(1, MOST_LINES + 20))
        lines = list(log_lines(make_plan(found, policies, NOW, RetentionRun(max_deletions=5))))
        assert sum(line.startswith("delete") for line in lines) == 12
        assert sum(line.startswith("keep") for line in lines) == MOST_LINES
        assert any("and 7 more that are kept" in line for line in lines)
        assert "7 more would go" in lines[-1]
