from __future__ import annotations

from typing import Any

import pytest

from backup_flows import fingerprints, recovery_points
from backup_flows.defaults import RECOVERY_POINT
from backup_flows.fingerprints import FingerprintTooLateError, find_binding
from backup_flows.lease import LeaseLostError
from backup_flows.leasing import lease_table
from backup_flows.recovery_points import aws_clock, bind_recovery_point, take_before
from backup_flows.scan_parts import PartMissingError
from local_aws import control


@pytest.fixture(autouse=True)
def two_items(flow) -> None:
    flow.put("1", amount={"N": "1"})
    flow.put("2", amount={"N": "2"})


def before(flow, context: dict[str, Any] | None = None) -> dict[str, Any]:
    return take_before(flow.resources, context or flow.context)


def test_awss_clock_is_asked_each_time(flow):
    clock = aws_clock()
    first = clock()
    flow.wait(30)
    assert (clock() - first).total_seconds() == 30


class TestBefore:
    def test_a_new_run_fingerprints_what_is_there_now(self, flow):
        taken = before(flow)
        assert taken["items"] == 2
        assert taken["taken_at"] == flow.now().isoformat()
        assert taken["prefix"].startswith("intents/")

    def test_before_the_job_each_try_looks_anew(self, flow):
        first = before(flow)
        flow.put("3")
        second = before(flow)
        assert second["prefix"] == first["prefix"]
        assert (first["items"], second["items"]) == (2, 3)

    @pytest.mark.parametrize("seconds", [0, 3600], ids=["while the job runs", "when it is over"])
    def test_once_the_job_is_started_its_fingerprint_counts(self, flow, seconds: int):
        taken = before(flow)
        flow.start_backup()
        flow.wait(seconds)
        flow.put("3")
        assert before(flow) == taken

    def test_a_new_job_gets_a_new_fingerprint(self, flow, new_context):
        taken = before(flow)
        flow.start_backup()
        flow.wait()
        flow.put("3")
        forced = new_context(force_new=True)
        again = before(flow, forced)
        assert again["prefix"] != taken["prefix"]
        assert again["items"] == 3
        flow.start_backup(forced)
        flow.put("4")
        assert before(flow, forced) == again

    @pytest.mark.parametrize("state", ["FAILED", "ABORTED", "EXPIRED"])
    def test_after_a_job_that_ended_badly_a_new_one_is_due_and_a_new_fingerprint(self, flow, state: str):
        control.inject_fault("StartBackupJob", state)
        taken = before(flow)
        flow.start_backup()
        flow.wait(24 * 3600)
        flow.put("3")
        again = before(flow)
        assert again["prefix"] != taken["prefix"]
        assert again["items"] == 3

    def test_two_runs_have_each_their_own(self, flow, new_context):
        assert before(flow)["prefix"] != before(flow, new_context(run={"run_id": "manual__2"}))["prefix"]


class TestBind:
    def test_a_quiet_table_is_bound_with_all_that_is_known(self, flow):
        binding = flow.back_up()
        assert binding.drifting is False
        assert binding.before.digest == binding.after.digest
        assert binding.before.items == 2
        assert (binding.table, binding.vault, binding.as_of) == ("orders", "orders-vault", "2026-11-01")
        assert (binding.dag_id, binding.run_id) == ("orders_backup_restore", "manual__1")
        assert binding.size_bytes > 0
        assert find_binding(flow.s3, flow.bucket, "orders", binding.recovery_point_arn) == binding
        assert flow.document(f"{binding.prefix}settings.json")["table_name"] == "orders"

    @pytest.mark.parametrize(
        "write",
        [
            lambda flow: flow.put("1", amount={"N": "7"}),
            lambda flow: flow.put("1", amount={"S": "1"}),
            lambda flow: flow.put("3"),
            lambda flow: flow.remove("1"),
        ],
        ids=["changed", "another type", "added", "removed"],
    )
    def test_a_write_during_the_backup_makes_it_drifting(self, flow, write):
        binding = flow.back_up(during=lambda: write(flow))
        assert binding.drifting is True
        assert binding.before.digest != binding.after.digest

    def test_a_cleared_run_keeps_what_is_bound(self, flow):
        taken = before(flow)
        job = flow.start_backup()
        flow.wait()
        first = bind_recovery_point(flow.resources, taken, flow.backup_summary(job), flow.context)
        kept = flow.etags("recovery-points/")
        flow.put("3")
        flow.wait()
        again = bind_recovery_point(flow.resources, before(flow), flow.backup_summary(job), flow.context)
        assert again == first
        assert again.drifting is False
        assert flow.etags("recovery-points/") == kept

    def test_a_fingerprint_that_came_after_the_job_vouches_for_nothing(self, flow):
        """The job stands, its fingerprint was lost: one taken now shows another moment."""
        taken = before(flow)
        job = flow.start_backup()
        flow.s3.delete_object(Bucket=flow.bucket, Key=f"{taken['prefix']}meta.json")
        flow.wait()
        with pytest.raises(FingerprintTooLateError, match="force_new"):
            bind_recovery_point(flow.resources, before(flow), flow.backup_summary(job), flow.context)
        assert flow.keys("recovery-points/") == []


class TestTasks:
    @pytest.fixture
    def lease(self, flow, context) -> dict[str, Any]:
        lease: dict[str, Any] = lease_table(flow.resources).execute(context)
        context["ti"].xcom_pull.side_effect = lambda task_ids: lease
        return lease

    def test_the_asset_tells_what_was_made(self, flow, context, in_task, lease):
        taken = in_task(recovery_points.fingerprint_before, context, flow.resources, [])
        job = flow.start_backup(context)
        flow.wait()
        made = in_task(recovery_points.bind, context, flow.resources, taken, flow.backup_summary(job), [])
        assert context["outlet_events"][RECOVERY_POINT].extra == {
            "recovery_point_arn": made["recovery_point_arn"],
            "table": "orders",
            "size_bytes": made["size_bytes"],
            "drifting": False,
            "as_of": "2026-11-01",
        }

    def test_who_lost_the_lease_vouches_for_nothing(self, flow, context, in_task, lease):
        lease["fence"] -= 1
        with pytest.raises(LeaseLostError):
            in_task(recovery_points.fingerprint_before, context, flow.resources, [])
        with pytest.raises(LeaseLostError):
            in_task(recovery_points.bind, context, flow.resources, {}, {}, [])
        with pytest.raises(LeaseLostError):
            in_task(recovery_points.scan_before, context, {}, flow.resources, lease)
        with pytest.raises(LeaseLostError):
            in_task(recovery_points.scan_after, context, {}, flow.resources, lease, {})
        assert flow.keys() == []

    def test_who_never_had_one_neither(self, flow, context, in_task):
        context["ti"].xcom_pull.return_value = None
        with pytest.raises(LeaseLostError, match="acquire_lease"):
            in_task(recovery_points.fingerprint_before, context, flow.resources, [])


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 100 bytes of a table be a part."""
    monkeypatch.setenv("AIRFLOW__BACKUP_FLOWS__SCAN_PART_MB", str(100 / 2**20))


@pytest.mark.usefixtures("small_parts")
class TestInParts:
    @pytest.fixture(autouse=True)
    def lease(self, flow, context) -> dict[str, Any]:
        lease: dict[str, Any] = lease_table(flow.resources).execute(context)
        context["ti"].xcom_pull.side_effect = lambda task_ids: lease
        for n in range(3, 40):
            flow.put(str(n), product="x" * n)
        return lease

    @pytest.fixture
    def parts(self, flow, context, in_task) -> list[dict[str, Any]]:
        planned: list[dict[str, Any]] = in_task(
            recovery_points.plan_scan_parts, context, flow.resources, {"bytes": 1000}
        )
        return planned

    def test_the_size_of_what_was_loaded_counts_where_the_table_does_not_know_its_own_yet(self, parts):
        assert len(parts) >= 10

    def test_both_fingerprints_are_those_of_the_whole_table(self, flow, context, in_task, lease, parts):
        figures = [in_task(recovery_points.scan_before, context, part, flow.resources, lease) for part in parts]
        assert sum(part["items"] for part in figures) == 39
        taken = in_task(recovery_points.fingerprint_before, context, flow.resources, parts)
        whole, _ = fingerprints.take(
            flow.dynamodb, flow.s3, bucket=flow.bucket, prefix="elsewhere/", table="orders", clock=flow.now
        )
        assert (taken["digest"], taken["items"]) == (whole.digest, 39)
        assert (taken["figures"]["items"], taken["figures"]["parts"]) == (39, len(parts))
        job = flow.start_backup(context)
        flow.wait()
        summary = flow.backup_summary(job)
        for part in parts:
            in_task(recovery_points.scan_after, context, part, flow.resources, lease, summary)
        bound = in_task(recovery_points.bind, context, flow.resources, taken, summary, parts)
        assert (bound["drifting"], bound["after"]["digest"]) == (False, whole.digest)

    def test_a_cleared_run_scans_nothing_again(self, flow, context, in_task, lease, parts):
        for part in parts:
            in_task(recovery_points.scan_before, context, part, flow.resources, lease)
        taken = in_task(recovery_points.fingerprint_before, context, flow.resources, parts)
        job = flow.start_backup(context)
        flow.wait()
        summary = flow.backup_summary(job)
        for part in parts:
            in_task(recovery_points.scan_after, context, part, flow.resources, lease, summary)
        in_task(recovery_points.bind, context, flow.resources, taken, summary, parts)
        kept = flow.etags("")
        flow.put("99")
        for part in parts:
            assert in_task(recovery_points.scan_before, context, part, flow.resources, lease) is None
            assert in_task(recovery_points.scan_after, context, part, flow.resources, lease, summary) is None
        assert in_task(recovery_points.fingerprint_before, context, flow.resources, parts) == taken
        assert flow.etags("") == kept

    def test_parts_that_were_planned_for_another_job_are_not_used(self, flow, context, in_task, lease, parts):
        for part in parts:
            in_task(recovery_points.scan_before, context, part, flow.resources, lease)
        flow.put("99")
        strange = [{**part, "prefix": "intents/another/"} for part in parts]
        taken = in_task(recovery_points.fingerprint_before, context, flow.resources, strange)
        assert (taken["items"], taken["figures"]["parts"]) == (40, 1)

    def test_without_one_part_there_is_no_fingerprint(self, flow, context, in_task, lease, parts):
        for part in parts[1:]:
            in_task(recovery_points.scan_before, context, part, flow.resources, lease)
        with pytest.raises(PartMissingError, match=f"part 1 of {len(parts)} of table orders"):
            in_task(recovery_points.fingerprint_before, context, flow.resources, parts)
        assert not [key for key in flow.keys("intents/") if key.endswith("meta.json")]
