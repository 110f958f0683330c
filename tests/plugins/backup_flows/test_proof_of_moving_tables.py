"""Proof where the source does not stand still: it drifts, it was written to a moment ago, it is changed later."""

from __future__ import annotations

import json
import random

import pytest

from backup_flows import proof, recovery_points
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


def test_an_empty_restore_of_a_table_that_turned_over_is_not_proven(flow):
    """Each single item may have been absent: deleted already, or not written yet. That all were proves nothing."""
    for n in range(20):
        flow.put(f"old-{n:02}")

    def turn_over() -> None:
        for n in range(20):
            flow.remove(f"old-{n:02}")
            flow.put(f"new-{n:02}")

    binding = flow.back_up(during=turn_over)
    plan, job = flow.restore(binding)
    for key in flow.scan(plan["target_table"]):
        flow.remove(*key, table=plan["target_table"])
    verdict = flow.prove(binding, plan, job)
    assert verdict.proof.label == "UNPROVEN"
    assert (verdict.counts["items_restored"], verdict.counts["proven"]) == (0, 0)
    assert (verdict.counts["absent_deleted"], verdict.counts["absent_added"]) == (20, 20)
    assert "came back as they were" not in " ".join(verdict.reasons)


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


class Writers:
    """Somebody who writes to the table all the time, never the same items twice in a row."""

    def __init__(self, flow, seed: int, standing: frozenset[str]) -> None:
        self.flow, self.chance, self.standing, self.writes = flow, random.Random(seed), standing, 0

    def work(self, seconds: float, rounds: int = 6) -> None:
        """Change, add and remove items, while time passes."""
        for _ in range(rounds):
            self.writes += 1
            order = f"o-{self.chance.randrange(60):02}"
            if order in self.standing:
                continue
            if self.chance.random() < 0.2:
                self.flow.remove(order)
            else:
                self.flow.put(order, product=f"written {self.writes}", amount={"N": str(self.writes)})
            self.flow.wait(seconds / rounds)


@pytest.mark.parametrize("seed", range(2))
def test_writers_at_work_during_a_backup_never_have_it_called_proven(flow, new_context, seed: int):
    """Also where they wrote to one item, once, and where the backup holds the table as it was before or after."""
    fill(flow)
    chance = random.Random(seed)
    for number in range(5):
        binding_context = new_context(run={"run_id": f"manual__{number}"})
        seconds = chance.uniform(0, 55)

        def write(number: int = number, seconds: float = seconds) -> None:
            flow.wait(seconds)
            flow.put(f"o-{number:02}", product=f"changed {number}")

        binding = flow.back_up(binding_context, during=write)
        verdict = flow.prove(binding, *flow.restore(binding, binding_context), drill_id=f"d{number}")
        assert verdict.result is Result.PROVEN_DRIFTING
        assert verdict.counts["changed_between"] == 1
        assert "written to during the backup: 1 items changed" in " ".join(verdict.reasons)


@pytest.mark.parametrize("skew", [45])
def test_ten_backups_of_a_table_that_is_written_to_all_the_time(flow, new_context, skew: int):
    control.configure(snapshot_skew_seconds=skew)
    standing = frozenset(f"o-{n:02}" for n in range(0, 60, 4))
    for n in range(60):
        flow.put(f"o-{n:02}", product="Salmon, wild", amount={"N": str(n)})
    writers = Writers(flow, skew, standing)
    shares = []
    for number in range(10):
        context = new_context(run={"run_id": f"manual__{number}"})
        writers.work(600)
        # What was seen by the first look settles while the writers go on, as it does in the DAG.
        binding = flow.back_up(context, during=lambda: writers.work(30))
        verdict = flow.prove(binding, *flow.restore(binding, context), drill_id=f"d{number}")
        assert verdict.proof.label == "PROVEN_DRIFTING"
        assert {name: verdict.counts[name] for name in ("missing", "extra", "changed")} == {
            "missing": 0, "extra": 0, "changed": 0,
        }  # fmt: skip
        assert 0 < verdict.counts["changed_between"] <= 6
        shares.append(verdict.counts["unverifiable"] / verdict.counts["compared"])
        assert f"{verdict.counts['unverifiable']} can't be verified" in " ".join(verdict.reasons)
    assert max(shares) <= 0.05


def test_a_version_in_between_is_unverifiable_and_its_share_is_told_and_limited(flow, new_context):
    """The snapshot falls between two writes to one item: nobody recorded what it holds."""
    control.configure(snapshot_skew_seconds=20)
    for n in range(40):
        flow.put(f"o-{n:02}", product="Salmon, wild")
    flow.wait(600)

    def back_up(items: int, run: str):
        context = new_context(run={"run_id": run})
        before = recovery_points.take_before(flow.resources, context)
        for n in range(items):
            flow.put(f"o-{n:02}", product="in between")
        flow.wait(30)
        for n in range(items):
            flow.put(f"o-{n:02}", product="at last")
        job = flow.start_backup(context)
        flow.wait()
        binding = recovery_points.bind_recovery_point(flow.resources, before, flow.backup_summary(job), context)
        flow.wait(600)
        return flow.prove(binding, *flow.restore(binding, context), drill_id=run.replace("manual__", "d"))

    few = back_up(2, "manual__few")
    assert (few.proof.label, few.counts["unverifiable"]) == ("PROVEN_DRIFTING", 2)
    assert "2 can't be verified (at most 5.00% may be so)" in " ".join(few.reasons)
    for n in range(40):
        flow.put(f"o-{n:02}", product="Salmon, wild")
    flow.wait(600)
    many = back_up(10, "manual__many")
    assert (many.proof.label, many.counts["unverifiable"]) == ("UNPROVEN", 10)
    assert "10 of 40 items can't be verified" in " ".join(many.reasons)


@pytest.mark.parametrize("harm", ["changed", "missing", "extra"])
def test_one_damaged_item_that_stood_still_is_named_among_all_the_writing(flow, harm: str):
    for n in range(60):
        flow.put(f"o-{n:02}", product="Salmon, wild", amount={"N": str(n)})
    standing = frozenset({"o-08", "o-77"})
    writers = Writers(flow, 5, standing)
    writers.work(600)
    binding = flow.back_up(during=lambda: writers.work(30, rounds=20))
    assert binding.drifting
    plan, job = flow.restore(binding)
    order = "o-77" if harm == "extra" else "o-08"
    if harm == "missing":
        flow.remove(order, table=plan["target_table"])
    else:
        flow.put(order, table=plan["target_table"], product="Salmon, wild", amount={"S": "8"})
    verdict = flow.prove(binding, plan, job)
    assert verdict.result is Result.FAILED
    violations = [(kind, name) for kind, name in named(flow) if kind != "unverifiable"]
    assert violations == [(harm, order)]
    assert order in " ".join(verdict.reasons)
