"""Proofs of every depth, from the backup to the verdict: what each sees, and what it says that it can't see."""

from __future__ import annotations

import io
import json
from typing import Any

import jsonschema
import pytest

from backup_flows import canaries
from backup_flows.fingerprints import FingerprintAlteredError, find_binding, load
from backup_flows.keys import intent_prefix, verdict_key
from backup_flows.lease import LeaseStore
from backup_flows.protection_proof import ProofSettings
from backup_flows.recovery_points import intended_backup, plan_scan_parts, plant_canaries
from backup_flows.restores import plan_proof_scans
from dynamodb_bulk.fingerprint import FingerprintBuilder
from dynamodb_bulk.samples import manifest_keys
from restore_proof.canaries import CanaryCollisionError
from restore_proof.evidence import pack_schema, read_pack
from restore_proof.verdict import Depth, Result, Verdict

pytestmark = pytest.mark.component

COUNT = 300
SETTINGS = {
    "sampled": ProofSettings(depth=Depth.SAMPLED, sample_items=40),
    "canary": ProofSettings(depth=Depth.CANARY, canaries=4),
    "schema": ProofSettings(depth=Depth.SCHEMA),
}


def fill(flow, count: int = COUNT) -> None:
    for n in range(count):
        flow.put(f"o-{n:03}", product="Salmon, wild", amount={"N": str(100 + n)})


def at(flow, depth: str) -> None:
    flow.resources["proof"] = SETTINGS[depth].to_dict()


def named(flow) -> list[tuple[str, str]]:
    lines = flow.read("evidence/orders/2026-11-01-0a1b2c3d/diff.jsonl").decode().splitlines()
    return [(found["kind"], found["key"]["order_id"]["S"]) for found in map(json.loads, lines)]


def looked_at(flow, binding) -> list[str]:
    """Return the orders that a proof by this binding looks at."""
    like = load(flow.s3, flow.bucket, binding.before.prefix)
    manifest = io.BytesIO(flow.read(f"{binding.before.prefix}manifest.bin"))
    return [json.loads(key)["order_id"]["S"] for key in manifest_keys(manifest, like=like)]


@pytest.mark.parametrize(
    ("depth", "label", "compared"),
    [("sampled", "PROVEN@sampled", 40), ("canary", "PROVEN@canary", 4), ("schema", "PROVEN@schema", 0)],
)
def test_a_right_restore_is_proven_at_its_depth(flow, depth: str, label: str, compared: int):
    fill(flow)
    at(flow, depth)
    binding = flow.back_up()
    assert (binding.depth, binding.drifting) == (depth, False)
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.proof.label == label
    assert compared <= verdict.counts["compared"] < compared + 20
    assert verdict.depth.blind_to
    stored = Verdict.from_json(flow.read(verdict_key("orders", binding.recovery_point_arn)))
    assert stored == verdict
    pack = read_pack(flow.read("evidence/orders/2026-11-01-0a1b2c3d/pack.json"))
    jsonschema.Draft202012Validator(pack_schema()).validate(pack)
    assert pack["verdict"]["depth"] == depth
    assert pack["backup"]["depth"] == depth
    assert find_binding(flow.s3, flow.bucket, "orders", binding.recovery_point_arn) == binding


def test_a_sample_says_what_it_can_be_trusted_to_have_caught(flow):
    fill(flow)
    at(flow, "sampled")
    binding = flow.back_up()
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.confidence is not None
    assert verdict.confidence["items"] == verdict.counts["proven"]
    assert 0.04 < float(verdict.confidence["detectable_share"]) < 0.08
    assert "at random" in " ".join(verdict.reasons)
    assert f"{binding.before.about['segments_read']} scan segments" in " ".join(verdict.reasons)
    # Both sides cost in proportion to the sample.
    assert flow.prove(binding, *flow.restore(binding)).counts["items_restored"] < 60


def test_a_sample_finds_what_is_wrong_in_it_and_nothing_else(flow):
    fill(flow)
    at(flow, "sampled")
    binding = flow.back_up()
    sampled = looked_at(flow, binding)
    others = sorted({f"o-{n:03}" for n in range(COUNT)} - set(sampled))
    plan, job = flow.restore(binding)
    flow.put(others[0], table=plan["target_table"], product="wrong, and nobody looks")
    flow.put(sampled[3], table=plan["target_table"], product="Salmon, wild", amount={"S": "103"})
    flow.remove(sampled[5], table=plan["target_table"])
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "FAILED@sampled"
    assert sorted(named(flow)) == sorted([("changed", sampled[3]), ("missing", sampled[5])])


def test_a_sample_of_a_table_that_is_written_to_is_judged_as_drifting(flow):
    fill(flow)
    at(flow, "sampled")

    def write() -> None:
        for n in range(0, COUNT, 2):
            flow.put(f"o-{n:03}", product="changed during the backup")
        flow.put("o-999", product="new")

    binding = flow.back_up(during=write)
    assert binding.drifting
    plan, job = flow.restore(binding)
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "PROVEN_DRIFTING@sampled"
    assert 5 < verdict.counts["changed_between"] < 40
    assert verdict.confidence is not None
    assert verdict.confidence["items"] == verdict.counts["compared"] - verdict.counts["changed_between"]
    still = next(order for order in looked_at(flow, binding) if int(order[2:]) % 2)
    flow.remove(still, table=plan["target_table"])
    assert flow.prove(binding, plan, job, drill_id="second").result is Result.FAILED


@pytest.mark.parametrize("count", [0, 30])
def test_a_table_no_larger_than_its_sample_is_proven_in_full(flow, count: int):
    fill(flow, count)
    at(flow, "sampled")
    binding = flow.back_up()
    assert binding.depth == "full"
    plan, job = flow.restore(binding)
    assert flow.prove(binding, plan, job).proof.label == "PROVEN"
    flow.put("o-777", table=plan["target_table"], product="extra")
    assert flow.prove(binding, plan, job, drill_id="second").proof.label == "FAILED"


def test_the_depth_of_the_first_look_holds_for_the_second(flow):
    fill(flow)
    at(flow, "sampled")
    binding = flow.back_up(during=lambda: at(flow, "schema"))
    assert (binding.before.depth, binding.after.depth, binding.depth) == ("sampled", "sampled", "sampled")


def test_another_backup_draws_another_sample_and_a_retry_the_same(flow, new_context):
    fill(flow)
    at(flow, "sampled")
    first = flow.back_up()
    again = flow.back_up()
    assert again == first
    other = flow.back_up(new_context(run={"run_id": "manual__2"}))
    assert set(looked_at(flow, other)) != set(looked_at(flow, first))


def test_a_sample_that_was_tampered_with_proves_nothing(flow):
    fill(flow)
    at(flow, "sampled")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    other = FingerprintBuilder(("order_id", "item_id")).build().to_bytes()
    flow.s3.put_object(Bucket=flow.bucket, Key=f"{binding.before.prefix}fingerprint.json.gz", Body=other)
    with pytest.raises(FingerprintAlteredError):
        flow.prove(binding, plan, job)
    stored = flow.document(verdict_key("orders", binding.recovery_point_arn))
    assert stored["label"] == "FAILED@sampled"


def test_a_canary_that_did_not_come_back_fails_the_proof(flow):
    fill(flow, 5)
    at(flow, "canary")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    key = {"order_id": {"S": "backup-canary-001"}, "item_id": {"S": "backup-canary-001"}}
    flow.dynamodb.delete_item(TableName=plan["target_table"], Key=key)
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "FAILED@canary"
    assert named(flow) == [("missing", "backup-canary-001")]
    assert binding.before.about["written_at"] in " ".join(verdict.reasons)


def test_old_canaries_are_not_taken_for_this_backups(flow, new_context):
    """A backup that holds the canaries of the day before missed the last writes."""
    at(flow, "canary")
    old = flow.back_up()
    flow.wait(3600)
    new = flow.back_up(new_context(run={"run_id": "manual__2"}))
    plan, job = flow.restore(old)
    assert flow.prove(old, plan, job).proof.label == "PROVEN@canary"
    verdict = flow.prove(new, plan, job, drill_id="second")
    assert (verdict.result, verdict.counts["changed"]) == (Result.FAILED, 4)


def test_a_canary_takes_nobodys_place(flow):
    at(flow, "canary")
    flow.put("backup-canary-002", "backup-canary-002", price={"N": "5"})
    with pytest.raises(CanaryCollisionError, match="backup-canary-002"):
        flow.back_up()


def test_canaries_are_written_before_the_table_settles(flow, in_task, context):
    fill(flow, 3)
    at(flow, "canary")
    loaded = {"ended_at": (flow.now()).isoformat(), "bytes": 1}
    flow.wait(30)
    store = LeaseStore(flow.dynamodb, flow.resources["lease_table"], clock=flow.now)
    lease = store.try_acquire("orders", "orders_backup_restore/manual__1", "2026-11-01", run_is_over=lambda _: True)
    context["ti"].xcom_pull.return_value = {
        "lease_table": flow.resources["lease_table"],
        "table_name": "orders",
        "owner": "orders_backup_restore/manual__1",
        "fence": lease.fence,
    }
    written = in_task(plant_canaries, context, flow.resources, loaded)
    assert written == flow.now().isoformat()
    before = flow.scan()
    # The first fingerprint finds them there, and writes no others.
    flow.wait(120)
    binding = flow.back_up(context)
    assert flow.scan() == before
    assert binding.before.about["written_at"] == written
    # A run that is cleared keeps its job, and so its canaries.
    assert in_task(plant_canaries, context, flow.resources, loaded) == loaded["ended_at"]
    assert flow.scan() == before


def test_without_canaries_what_was_loaded_last_settles(flow, in_task, context):
    loaded = {"ended_at": flow.now().isoformat(), "bytes": 1}
    assert in_task(plant_canaries, context, flow.resources, loaded) == loaded["ended_at"]
    assert flow.scan() == {}


def test_canaries_are_remembered_for_points_that_others_make(flow, new_context):
    at(flow, "canary")
    flow.back_up()
    flow.wait(3600)
    flow.back_up(new_context(run={"run_id": "manual__2"}))
    found = list(canaries.generations(flow.s3, flow.bucket, "orders"))
    assert [written for written, _ in found] == sorted(written for written, _ in found)
    assert len(found) == 2
    assert len(canaries.canary_keys(flow.document(found[0][1]))) == 4


def test_schema_sees_settings_and_no_item(flow):
    fill(flow, 5)
    at(flow, "schema")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    flow.remove("o-001", table=plan["target_table"])
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "PROVEN@schema"
    assert "No item was looked at" in verdict.reasons[0]


def test_schema_without_recorded_settings_proves_nothing(flow):
    at(flow, "schema")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    flow.forget(f"{binding.prefix}settings.json")
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "UNPROVEN@schema"
    assert "not on record" in " ".join(verdict.reasons)


@pytest.mark.parametrize("depth", ["sampled", "canary", "schema"])
def test_only_full_proofs_are_read_in_parts(flow, in_task, context, monkeypatch, depth: str):
    monkeypatch.setenv("AIRFLOW__BACKUP_FLOWS__SCAN_PART_MB", "0.001")
    fill(flow)
    at(flow, depth)
    loaded: dict[str, Any] = {"ended_at": flow.now().isoformat(), "bytes": 10**9}
    assert in_task(plan_scan_parts, context, flow.resources, loaded) == []
    binding = flow.back_up()
    plan = {"target_table": "orders-restored", "recovery_point_arn": binding.recovery_point_arn}
    assert in_task(plan_proof_scans, context, flow.resources, plan, binding.as_dict()) == []


def test_a_binding_of_an_earlier_release_is_a_full_one(flow):
    binding = flow.back_up()
    document = binding.as_dict()
    for name in ("depth", "notes"):
        del document[name]
    for side in ("before", "after"):
        document[side] = {k: v for k, v in document[side].items() if k not in ("depth", "about")}
    assert type(binding).from_dict(document) == binding


def test_the_token_of_the_job_draws_the_sample(flow):
    fill(flow)
    at(flow, "sampled")
    binding = flow.back_up()
    token = intended_backup(flow.resources, flow.context).token
    assert binding.before.about["seed"] == token
    assert flow.keys(intent_prefix(token))
