"""A repair and its undo, task by task, on the local AWS."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from backup_flows import repair_tasks, repair_work
from backup_flows.lease import LeaseLostError, LeaseStore
from backup_flows.repair_request import RepairRequestError, TablesUnfitError, TargetNotProtectedError
from backup_flows.repair_tasks import RepairFailedError, RepairNotConfirmedError
from backup_flows.repair_work import NothingToUndoError, RepairDocumentError
from dynamodb_bulk.choice import ChoiceError
from dynamodb_bulk.filters import FilterError

RESTORED = "orders-restored-20261101-0a1b2c3d"
PARAMS = {
    "mode": "repair",
    "source": RESTORED,
    "target_table": "",
    "undo": "",
    "classes": [],
    "keys": [],
    "filters": [],
    "dry_run": False,
    "confirm": "",
}


@dataclass
class Run:
    """One run of the DAG, its tasks called one after the other."""

    flow: Any
    in_task: Any
    context: dict[str, Any]
    resources: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    lease: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)

    def look(self) -> dict[str, Any]:
        self.resources = json.loads(json.dumps(self.in_task(repair_tasks.preflight_repair, self.context)))
        self.plan = self.in_task(repair_tasks.plan_repair, self.context, self.resources)
        return self.plan

    def take_lease(self) -> None:
        owner = f"table_repair/{self.context['dag_run'].run_id}"
        store = LeaseStore(self.flow.dynamodb, self.flow.resources["lease_table"], clock=self.flow.now)
        state = store.try_acquire("orders", owner, "2026-11-01", run_is_over=lambda _: True)
        self.lease = {
            "table_name": "orders",
            "lease_table": store.lease_table,
            "owner": owner,
            "fence": state.fence if state else 0,
        }
        self.store = store

    def write(self) -> dict[str, Any]:
        self.take_lease()
        try:
            self.account = self.in_task(repair_tasks.write, self.context, self.resources, self.plan, self.lease)
        finally:
            self.store.release("orders", self.lease["owner"])
        return self.account

    def end(self) -> dict[str, Any]:
        checked = self.in_task(repair_tasks.check, self.context, self.resources, self.account)
        return self.in_task(repair_tasks.receipt, self.context, self.resources, self.plan, self.account, checked)

    def all(self) -> dict[str, Any]:
        self.look()
        self.write()
        return self.end()


@pytest.fixture
def new_run(flow, new_context, in_task):
    def make(run_id: str = "manual__1", **params: Any) -> Run:
        context = new_context(run={"dag_id": "table_repair", "run_id": run_id}, **{**PARAMS, **params})
        context["ti"].xcom_pull.return_value = {"responded_by_user": {"id": "7", "name": "Ada"}}
        return Run(flow, in_task, context)

    return make


@pytest.fixture
def damaged(flow):
    """The live table as something went wrong in it, and a restored one as it was before."""
    flow.make_table(RESTORED)
    for number in range(5):
        flow.put(f"O-{number}", amount={"N": "10.5"}, table=RESTORED)
        flow.put(f"O-{number}", amount={"N": "10.5"})
    flow.put("O-1", amount={"N": "0"})
    flow.remove("O-2")
    flow.put("O-9", note="written after the backup")
    return flow


def test_repaired_and_taken_back(damaged, new_run):
    flow = damaged
    before = flow.scan()
    run = new_run()
    plan = run.look()
    assert (plan["differences"], plan["chosen"], plan["planned"]) == (3, 2, 2)
    assert flow.scan() == before
    run.write()
    receipt = run.end()
    assert flow.scan() == {**flow.scan(RESTORED), ("O-9", "1"): before["O-9", "1"]}
    assert receipt["account"]["repaired"] == 2
    assert receipt["check"] == {
        "equal": False,
        "not_chosen": 1,
        "unrepaired": 0,
        "listed": [],
        "written_to_since": 0,
    }
    assert (receipt["requested_by"], receipt["approved_by"]) == ("manual", "Ada")
    assert flow.document("repairs/orders/2026-11-01-{}/receipt.json".format(run.resources["prefix"][-9:-1])) == {
        name: value for name, value in receipt.items() if name != "receipt"
    }

    undo = new_run("manual__2", mode="undo", source="", undo=receipt["receipt"])
    taken_back = undo.all()
    assert flow.scan() == before
    assert (taken_back["account"]["repaired"], taken_back["check"]["equal"]) == (2, True)


def test_with_the_class_extra_the_fingerprints_are_equal(damaged, new_run):
    receipt = new_run(classes=["missing", "changed", "extra"]).all()
    assert receipt["check"]["equal"] is True
    assert damaged.scan() == damaged.scan(RESTORED)


def test_the_diff_in_s3_has_the_old_and_the_new_item(damaged, new_run):
    plan = new_run().look()
    header, *lines = map(json.loads, damaged.read(plan["diff"].split("/", 3)[3]).splitlines())
    assert (header["table"], header["source"]) == ("orders", RESTORED)
    changed = next(line for line in lines if line["class"] == "changed")
    assert (changed["paths"], changed["old"]["amount"], changed["new"]["amount"]) == (
        ["amount"],
        {"N": "0"},
        {"N": "10.5"},
    )
    assert "10.5" not in plan["description"]
    for said in ("3 (1 changed, 1 extra, 1 missing)", "would be written now: 2", "O-1"):
        assert said in plan["description"]


@pytest.mark.parametrize(
    ("params", "repaired"),
    [
        ({"keys": ['{"order_id": "O-2", "item_id": "1"}']}, {"O-2"}),
        ({"filters": ["old:amount = 0"]}, {"O-1"}),
        ({"classes": ["extra"]}, {"O-9"}),
    ],
)
def test_what_is_chosen_is_repaired_and_nothing_else(damaged, new_run, params, repaired):
    run = new_run(**params)
    run.look()
    assert run.write()["repaired"] == 1
    (key,) = [key for key in damaged.keys(run.resources["prefix"]) if "/undo/" in key]
    assert {json.loads(line)["key"]["order_id"]["S"] for line in damaged.read(key).splitlines()[1:]} == repaired


@pytest.mark.parametrize(("spoilt", "label"), [(False, "PROVEN"), (True, "FAILED")])
def test_whoever_approves_is_told_what_is_known_of_the_restored_table(flow, new_run, spoilt, label):
    flow.put("O-1", note="as it was")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    if spoilt:
        flow.put("O-1", note="spoilt", table=plan["target_table"])
    assert flow.prove(binding, plan, job).proof.label == label
    flow.put("O-1", note="damaged")
    run = new_run(source=plan["target_table"])
    shown = run.look()
    assert f"verdict on its recovery point: {label}" in shown["description"]
    assert any(label in warning for warning in run.resources["warnings"]) is spoilt
    run.write()
    assert run.end()["verdict"] == label
    assert flow.scan() == flow.scan(plan["target_table"])


def test_a_table_that_no_drill_looked_at_is_called_so(damaged, new_run):
    assert "Nobody has proven" in new_run().look()["description"]


def test_what_changes_between_plan_and_write_is_left(damaged, new_run):
    run = new_run()
    run.look()
    damaged.put("O-1", amount={"N": "77"})
    account = run.write()
    assert (account["repaired"], account["left"]) == (1, 1)
    receipt = run.end()
    assert (receipt["check"]["unrepaired"], receipt["check"]["written_to_since"]) == (1, 0)
    assert damaged.scan()["O-1", "1"]["amount"] == {"N": "77"}


def test_what_users_write_after_the_repair_is_told_from_what_was_left(damaged, new_run):
    run = new_run()
    run.look()
    run.write()
    damaged.put("O-2", amount={"N": "78"})
    assert run.end()["check"]["written_to_since"] == 1


def test_a_restored_table_that_is_gone_by_then_leaves_the_receipt(damaged, new_run):
    run = new_run()
    run.look()
    run.write()
    damaged.dynamodb.delete_table(TableName=RESTORED)
    damaged.wait(60)
    assert run.end()["check"]["equal"] is None


def test_a_write_that_died_is_gone_on_with_and_both_parts_are_taken_back(damaged, new_run, monkeypatch):
    flow = damaged
    for number in range(20, 45):
        flow.put(f"O-{number}", amount={"N": "1"}, table=RESTORED)
    before = flow.scan()
    run = new_run()
    run.look()
    monkeypatch.setattr("dynamodb_bulk.repair.BATCH_ITEMS", 10)
    batches = []

    def die(lease: dict[str, Any]) -> None:
        batches.append(lease)
        if len(batches) == 2:
            raise LeaseLostError("another run has it")

    with monkeypatch.context() as patch:
        patch.setattr(repair_tasks, "ensure_lease", die)
        patch.setattr(repair_tasks, "LEASE_CHECK_SECONDS", 0)
        with pytest.raises(LeaseLostError):
            run.write()
    assert len(flow.scan()) == len(before) + 9
    flow.wait(1)
    account = run.write()
    assert (account["repaired"], account["already"], account["chosen"]) == (27, 0, 27)
    assert len([key for key in flow.keys(run.resources["prefix"]) if "/outcomes/" in key]) == 2
    receipt = run.end()
    undo = new_run("manual__2", mode="undo", source="", undo=receipt["undo"])
    assert undo.all()["check"]["equal"] is True
    assert flow.scan() == before


def test_only_the_file_that_was_approved_is_worked_by(damaged, new_run):
    run = new_run()
    run.look()
    key = f"{run.resources['prefix']}{repair_work.DIFF_NAME}"
    damaged.s3.put_object(Bucket=damaged.bucket, Key=key, Body=damaged.read(key).replace(b"10.5", b"99.9"))
    before = damaged.scan()
    with pytest.raises(RepairDocumentError, match="not the file that was approved"):
        run.write()
    assert damaged.scan() == before


def test_an_item_that_dynamodb_refuses_fails_the_run_with_a_receipt(damaged, new_run):
    run = new_run()
    run.look()
    run.write()
    run.account = {**run.account, "failed": 1, "repaired": 1}
    with pytest.raises(RepairFailedError, match="could not be repaired"):
        run.end()
    assert damaged.document(f"{run.resources['prefix']}receipt.json")["account"]["failed"] == 1


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"source": "orders", "target_table": RESTORED}, TargetNotProtectedError),
        ({"source": "nowhere", "target_table": "orders"}, TablesUnfitError),
        ({"confirm": "customers"}, RepairNotConfirmedError),
        ({"keys": ["O-1"]}, ChoiceError),
        ({"filters": ["amount ~ 1"]}, FilterError),
        ({"mode": "undo", "source": "", "undo": "s3://{bucket}/repairs/orders/none/"}, NothingToUndoError),
        ({"mode": "undo", "source": ""}, RepairRequestError),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_read(damaged, new_run, params, error):
    params = {name: value.format(bucket=damaged.bucket) if name == "undo" else value for name, value in params.items()}
    with pytest.raises(error):
        new_run(**params).look()
    assert not [key for key in damaged.keys("repairs/") if not key.endswith("keys.txt")]


def test_an_undo_of_another_table_is_refused(damaged, new_run):
    receipt = new_run().all()
    with pytest.raises(RepairRequestError, match="'orders'"):
        new_run("manual__2", mode="undo", undo=receipt["receipt"], target_table="customers").look()


@pytest.mark.parametrize(
    ("params", "planned", "then"),
    [
        ({"dry_run": True, "confirm": "orders"}, 2, "preview"),
        ({}, 0, "preview"),
        ({}, 2, "approve"),
        ({"confirm": "orders"}, 2, "go"),
    ],
)
def test_a_person_is_asked_unless_the_table_was_typed_out(new_context, in_task, params, planned, then):
    context = new_context(**{**PARAMS, **params})
    assert in_task(repair_tasks.ask_or_go, context, {"table": "orders"}, {"planned": planned}) == then
