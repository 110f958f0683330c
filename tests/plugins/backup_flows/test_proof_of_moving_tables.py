"""Proof where the source does not stand still: it drifts, it was written to a moment ago, it is changed later."""

from __future__ import annotations

import json

from backup_flows import proof
from local_aws import control
from restore_proof.verdict import Result


def fill(flow) -> None:
    for n in range(6):
        flow.put(f"o-{n:02}", product="Salmon, wild", amount={"N": str(100 + n)})


def named(flow) -> list[tuple[str, str]]:
    """Return kind and order of each difference in the diff file."""
    lines = flow.read("evidence/orders/2026-11-01-0a1b2c3d/diff.jsonl").decode().splitlines()
    return [(found["kind"], found["key"]["order_id"]["S"]) for found in map(json.loads, lines)]


def test_a_table_that_is_written_to_during_its_backup_is_proven_and_called_drifting(flow):
    fill(flow)

    def write() -> None:
        flow.put("o-03", product="changed during the backup")
        flow.put("o-99", product="new during the backup")

    binding = flow.back_up(during=write)
    assert binding.drifting
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.proof.label == "PROVEN_DRIFTING"
    assert verdict.counts["changed_between"] == 2
    assert verdict.counts["unverifiable"] == 0
    verdict.raise_unless_proven()


def test_drifting_excuses_no_item_that_stood_still(flow):
    fill(flow)
    binding = flow.back_up(during=lambda: flow.put("o-03", product="changed during the backup"))
    plan, job = flow.restore(binding)
    flow.remove("o-04", table=plan["target_table"])
    assert flow.prove(binding, plan, job).result is Result.FAILED
    assert named(flow) == [("missing", "o-04")]


def test_an_empty_table_is_proven_too(flow):
    binding = flow.back_up()
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.proof.label == "PROVEN"
    assert verdict.counts["compared"] == 0


def test_the_source_settings_are_recorded_once_at_backup_time(flow):
    binding = flow.back_up()
    key = f"{binding.prefix}settings.json"
    recorded = flow.read(key)
    assert json.loads(recorded)["deletion_protection"] is True
    flow.dynamodb.update_table(TableName="orders", DeletionProtectionEnabled=False)
    proof.record_source_settings(flow.dynamodb, flow.s3, bucket=flow.bucket, binding=binding, now=flow.now())
    assert flow.read(key) == recorded


SKEW = 120


def write_late(flow) -> None:
    """Ten minutes after the rest of the table was written, write three items more."""
    fill(flow)
    flow.wait(600)
    flow.put("o-03", product="changed in the last minute")
    flow.put("o-99", product="new in the last minute")
    flow.remove("o-04")


def test_after_settling_a_backup_holds_the_last_writes_in_spite_of_the_skew(flow):
    control.configure(snapshot_skew_seconds=SKEW)
    write_late(flow)
    flow.wait(SKEW)
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    assert flow.prove(binding, plan, job).proof.label == "PROVEN"
    assert flow.scan(plan["target_table"]) == flow.scan()


def test_without_settling_the_writes_of_the_last_minute_are_missed_and_named(flow):
    control.configure(snapshot_skew_seconds=SKEW)
    write_late(flow)
    flow.wait(SKEW - 60)
    binding = flow.back_up()
    assert not binding.drifting
    verdict = flow.prove(binding, *flow.restore(binding))
    assert verdict.result is Result.FAILED
    assert named(flow) == [("changed", "o-03"), ("extra", "o-04"), ("missing", "o-99")]
