"""Every drill whose verdict is recorded leaves a record in its table's history."""

from __future__ import annotations

from typing import Any

import pytest

from backup_flows.keys import history_key
from restore_proof.history import Record
from restore_proof.history_reader import read_history

pytestmark = pytest.mark.component


def test_a_proof_leaves_its_parts_in_the_history(flow: Any) -> None:
    flow.put("1")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    verdict = flow.prove(binding, plan, job)
    (record,) = read_history(flow.s3, flow.bucket, flow.table)
    assert record.label == verdict.proof.label == "PROVEN"
    assert record.recovery_point_arn == binding.recovery_point_arn
    assert record.report == verdict.evidence
    assert set(record.seconds) == {"backup", "restore", "proof"}
    assert record.rto == record.seconds["restore"] == 60
    key = history_key(flow.table, flow.resources["as_of"], flow.resources["run_key"])
    assert Record.from_json(flow.read(key)) == record


def test_a_wrong_restore_is_in_the_history_too(flow: Any) -> None:
    flow.put("1")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    flow.remove("1", table=plan["target_table"])
    flow.prove(binding, plan, job)
    (record,) = read_history(flow.s3, flow.bucket, flow.table)
    assert (record.label, record.proven, record.rto) == ("FAILED", False, None)


def test_a_drill_recorded_again_after_a_crash_is_there_once(flow: Any) -> None:
    flow.put("1")
    binding = flow.back_up()
    plan, job = flow.restore(binding)
    flow.prove(binding, plan, job)
    flow.wait(30)
    flow.prove(binding, plan, job)
    assert len(read_history(flow.s3, flow.bucket, flow.table)) == 1
