from __future__ import annotations

import datetime as dt
import html
import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from aws_backup.summaries import summarise_restore_job
from backup_flows.evidence import read_verdict
from backup_flows.keys import drill_verdict_key, verdict_key
from backup_flows.proof import summary
from recovery_retention.names import restored_table_name
from restore_proof.chain import verify_chain
from restore_proof.chain_sources import BucketSource
from restore_proof.evidence import pack_schema, pack_sha256, read_pack
from restore_proof.verdict import RestoreNotProvenError, Result

EVIDENCE = "evidence/orders/2026-11-01-0a1b2c3d/"
HEAD = "evidence/orders/head.json"


def key_of(order: str, item: str = "1") -> dict[str, Any]:
    return {"order_id": {"S": order}, "item_id": {"S": item}}


def fill(flow, count: int = 12) -> None:
    for n in range(count):
        flow.put(f"o-{n:02}", product="Salmon, wild", amount={"N": str(100 + n)})


@pytest.fixture(scope="module")
def backed_up(shared_flow):
    """A quiet table of twelve items, backed up: the binding, and the ETags of what is kept beside it."""
    fill(shared_flow)
    binding = shared_flow.back_up()
    return binding, shared_flow.etags("recovery-points/")


@pytest.fixture
def flow(shared_flow, backed_up):
    """The stack, without what the test before left in its bucket."""
    _, kept = backed_up
    yield shared_flow
    shared_flow.forget("evidence/")
    left = shared_flow.etags("recovery-points/")
    shared_flow.delete(left.keys() - kept.keys())
    for key in kept.keys() - left.keys() | {key for key in kept.keys() & left.keys() if kept[key] != left[key]}:
        shared_flow.undo(key)


@pytest.fixture
def restored(flow, backed_up, request):
    """The backup, restored to a table of the test's own: binding, plan, job."""
    binding, _ = backed_up
    target = restored_table_name("orders", dt.date(2026, 11, 1), request.node.name)
    started = flow.backup.start_restore_job(
        RecoveryPointArn=binding.recovery_point_arn,
        Metadata={"targetTableName": target, "encryptionType": "Default"},
        IamRoleArn=flow.resources["role_arn"],
    )
    flow.wait()
    job = summarise_restore_job(flow.backup.describe_restore_job(RestoreJobId=started["RestoreJobId"]))
    return binding, {"target_table": target, "recovery_point_arn": binding.recovery_point_arn}, dict(job)


def named(flow) -> list[tuple[str, dict[str, Any]]]:
    """Return kind and key of each difference, after checking that pack, diff file and report name the same ones."""
    pack = read_pack(flow.read(f"{EVIDENCE}pack.json"))
    in_pack = [(found["kind"], found["key"]) for found in pack["comparison"]["differences"]]
    lines = flow.read(f"{EVIDENCE}diff.jsonl").decode().splitlines()
    assert [(line["kind"], line["key"]) for line in map(json.loads, lines)] == in_pack
    page = html.unescape(flow.read(f"{EVIDENCE}report.html").decode())
    section = page.partition("<h2>Differences</h2>")[2].partition("<h2>")[0]
    in_page = [json.loads(cell) for cell in re.findall(r"\{.*?\}\}", section)]
    assert in_page == [key for _, key in in_pack]
    return in_pack


def test_a_quiet_table_is_proven(flow, restored):
    binding, plan, job = restored
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "PROVEN"
    assert verdict.counts["compared"] == verdict.counts["proven"] == 12
    assert flow.read(f"{EVIDENCE}diff.jsonl") == b""
    assert named(flow) == []
    verdict.raise_unless_proven()


def alter(flow, table: str) -> None:
    flow.put("o-03", table=table, product="Salmon, farmed", amount={"N": "103"})


def retype(flow, table: str) -> None:
    flow.put("o-03", table=table, product="Salmon, wild", amount={"S": "103"})


def remove(flow, table: str) -> None:
    flow.remove("o-03", table=table)


def add(flow, table: str) -> None:
    flow.put("o-99", table=table, product="Salmon, wild")


@pytest.mark.parametrize(
    ("spoil", "kind", "order"),
    [(alter, "changed", "o-03"), (retype, "changed", "o-03"), (remove, "missing", "o-03"), (add, "extra", "o-99")],
    ids=["one item altered", "a number that came back as text", "one item removed", "one item added"],
)
def test_one_wrong_item_fails_the_proof_and_is_named(
    flow, restored, spoil: Callable[[Any, str], None], kind: str, order: str
):
    binding, plan, job = restored
    spoil(flow, plan["target_table"])
    verdict = flow.prove(binding, plan, job)
    assert verdict.result is Result.FAILED
    assert {name: verdict.counts[name] for name in ("changed", "missing", "extra")} == {
        "changed": 0,
        "missing": 0,
        "extra": 0,
        kind: 1,
    }
    assert named(flow) == [(kind, key_of(order))]
    told = " ".join(verdict.reasons)
    assert f"{kind} {json.dumps(key_of(order), separators=(',', ':'))}" in told
    with pytest.raises(RestoreNotProvenError, match=f"s3://{flow.bucket}/{EVIDENCE}report.html"):
        verdict.raise_unless_proven()


def test_three_wrong_items_are_all_named_and_no_other(flow, restored):
    binding, plan, job = restored
    for spoil in (alter, add):
        spoil(flow, plan["target_table"])
    flow.remove("o-07", table=plan["target_table"])
    assert flow.prove(binding, plan, job).result is Result.FAILED
    assert named(flow) == [("changed", key_of("o-03")), ("missing", key_of("o-07")), ("extra", key_of("o-99"))]


def test_the_verdict_beside_the_recovery_point_says_it_all(flow, restored):
    binding, plan, job = restored
    verdict = flow.prove(binding, plan, job)
    stored = flow.document(verdict_key("orders", binding.recovery_point_arn))
    assert stored == verdict.to_dict()
    assert {name: stored[name] for name in ("label", "result", "depth", "table_name", "as_of", "run")} == {
        "label": "PROVEN",
        "result": "PROVEN",
        "depth": "full",
        "table_name": "orders",
        "as_of": "2026-11-01",
        "run": "orders_backup_restore/manual__1",
    }
    assert stored["recovery_point_arn"] == binding.recovery_point_arn
    assert stored["restored_table_name"] == plan["target_table"]
    assert stored["evidence"] == f"s3://{flow.bucket}/{EVIDENCE}report.html"
    assert stored["decided_at"] == flow.now().isoformat()
    own = drill_verdict_key("orders", binding.recovery_point_arn, "2026-11-01", "0a1b2c3d")
    assert flow.document(own) == stored


def test_the_pack_says_what_was_done_and_keeps_to_its_schema(flow, restored):
    binding, plan, job = restored
    flow.prove(binding, plan, job)
    pack = read_pack(flow.read(f"{EVIDENCE}pack.json"))
    jsonschema.Draft202012Validator(pack_schema()).validate(pack)
    assert pack["backup"]["backup_job_id"] == binding.backup_job_id
    assert pack["restore"]["job_id"] == job["job_id"]
    assert [phase["name"] for phase in pack["phases"]] == ["backup", "restore", "proof"]
    assert [phase["seconds"] for phase in pack["phases"][:2]] == [60.0, 60.0]
    assert {name: taken["items"] for name, taken in pack["fingerprints"].items()} == {
        "before": 12,
        "after": 12,
        "restored": 12,
    }
    assert len({taken["digest"] for taken in pack["fingerprints"].values()}) == 1


def test_a_crash_is_a_failed_verdict_with_evidence_and_the_error_goes_on(flow, restored):
    binding, plan, job = restored
    flow.dynamodb.delete_table(TableName=plan["target_table"])
    with pytest.raises(Exception, match=plan["target_table"]) as crashed:
        flow.prove(binding, plan, job)
    stored = flow.document(verdict_key("orders", binding.recovery_point_arn))
    assert stored["label"] == "FAILED"
    assert type(crashed.value).__name__ in stored["reasons"][0]
    pack = read_pack(flow.read(f"{EVIDENCE}pack.json"))
    assert pack["comparison"] is None
    assert set(pack["fingerprints"]) == {"before", "after"}
    assert flow.document(HEAD)["count"] == 1


def test_a_crash_takes_no_earlier_proof_away(flow, restored):
    binding, plan, job = restored
    flow.prove(binding, plan, job)
    flow.dynamodb.delete_table(TableName=plan["target_table"])
    with pytest.raises(Exception, match=plan["target_table"]):
        flow.prove(binding, plan, job, drill_id="second")
    assert flow.document(verdict_key("orders", binding.recovery_point_arn))["label"] == "PROVEN"
    own = drill_verdict_key("orders", binding.recovery_point_arn, "2026-11-01", "second")
    assert flow.document(own)["label"] == "FAILED"


def test_a_proof_that_looked_and_failed_does_take_an_earlier_proof_away(flow, restored):
    binding, plan, job = restored
    flow.prove(binding, plan, job)
    remove(flow, plan["target_table"])
    flow.prove(binding, plan, job, drill_id="second")
    key = verdict_key("orders", binding.recovery_point_arn)
    assert flow.document(key)["label"] == "FAILED"
    assert read_verdict(flow.s3, flow.bucket, key).is_proven is False


def test_a_fingerprint_that_was_tampered_with_proves_nothing(flow, restored):
    binding, plan, job = restored
    flow.s3.put_object(Bucket=flow.bucket, Key=f"{binding.before.prefix}fingerprint.json.gz", Body=b"x")
    with pytest.raises(ValueError, match="gzipped JSON"):
        flow.prove(binding, plan, job)
    assert flow.document(verdict_key("orders", binding.recovery_point_arn))["label"] == "FAILED"


def test_drills_of_one_table_are_chained(flow, restored):
    binding, plan, job = restored
    drills = ["first", "second", "third"]
    for drill in drills:
        flow.prove(binding, plan, job, drill_id=drill)
    packs = [flow.read(f"evidence/orders/2026-11-01-{drill}/pack.json") for drill in drills]
    assert [read_pack(pack)["position"] for pack in packs] == [1, 2, 3]
    assert read_pack(packs[1])["previous_sha256"] == pack_sha256(packs[0])
    assert flow.document(HEAD) == {
        "count": 3,
        "sha256": pack_sha256(packs[2]),
        "pack": "evidence/orders/2026-11-01-third/pack.json",
    }
    assert verify_chain(BucketSource(flow.s3, flow.bucket, "orders"), "orders", diffs=True).is_whole


def test_a_second_look_at_one_drill_leaves_the_first_ones_evidence_alone(flow, restored):
    """Somebody clears the task `prove`: same run, same drill, another verdict."""
    binding, plan, job = restored
    first = flow.prove(binding, plan, job)
    pack = flow.read(f"{EVIDENCE}pack.json")
    remove(flow, plan["target_table"])
    second = flow.prove(binding, plan, job)
    assert flow.read(f"{EVIDENCE}pack.json") == pack
    assert first.evidence == f"s3://{flow.bucket}/{EVIDENCE}report.html"
    assert second.evidence == f"s3://{flow.bucket}/{EVIDENCE.removesuffix('/')}.2/report.html"
    assert flow.document(drill_verdict_key("orders", binding.recovery_point_arn, "2026-11-01", "0a1b2c3d")) == (
        second.to_dict()
    )
    assert read_pack(flow.read(f"{EVIDENCE.removesuffix('/')}.2/pack.json"))["earlier_attempts"] == [
        f"{EVIDENCE}pack.json"
    ]
    assert verify_chain(BucketSource(flow.s3, flow.bucket, "orders"), "orders", diffs=True).is_whole


def test_a_setting_that_aws_brings_back_and_that_came_back_otherwise_fails_the_proof(flow, restored):
    binding, plan, job = restored
    flow.dynamodb.update_table(
        TableName=plan["target_table"],
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    verdict = flow.prove(binding, plan, job)
    assert verdict.result is Result.FAILED
    assert verdict.counts["proven"] == 12
    assert any("billing_mode" in reason and "PROVISIONED" in reason for reason in verdict.reasons)


def test_what_aws_never_brings_back_is_reported_and_fails_nothing(flow, restored):
    """The stack's table has point-in-time recovery, deletion protection and a tag; its copy has none of them."""
    binding, plan, job = restored
    assert flow.prove(binding, plan, job).is_proven
    settings = read_pack(flow.read(f"{EVIDENCE}pack.json"))["settings"]["differences"]
    assert {found["name"]: found["class"] for found in settings} == {
        "deletion_protection": "repairable",
        "point_in_time_recovery": "repairable",
        "tags": "repairable",
    }


def test_without_recorded_settings_the_content_alone_is_judged(flow, restored):
    binding, plan, job = restored
    flow.s3.delete_object(Bucket=flow.bucket, Key=f"{binding.prefix}settings.json")
    assert flow.prove(binding, plan, job).is_proven
    assert read_pack(flow.read(f"{EVIDENCE}pack.json"))["settings"] is None


def test_the_summary_has_what_people_ask_first(flow, restored):
    binding, plan, job = restored
    verdict = flow.prove(binding, plan, job)
    start = flow.now()
    said = summary(verdict, [("restore", start.isoformat(), (start + dt.timedelta(seconds=2.5)).isoformat())])
    assert said["verdict"] == "PROVEN"
    assert said["report"] == f"s3://{flow.bucket}/{EVIDENCE}report.html"
    assert said["timings"] == {"restore": 2.5}
    assert said["counts"]["compared"] == 12
    assert said["restored_table"] == plan["target_table"]
