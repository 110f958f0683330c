"""Drills on the local AWS, task by task: what is chosen, and what a drill leaves however it ends."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from botocore.exceptions import ClientError

from aws_backup.summaries import summarise_restore_job
from backup_flows import restores
from backup_flows.defaults import DRILL_VERDICT
from backup_flows.drills import concluding, tasks
from backup_flows.drills.errors import (
    DrillsNotProvenError,
    NoRecoveryPointError,
    NothingBoundError,
    RecoveryPointGoneError,
    RecoveryPointNotUsableError,
    TableNotProtectedError,
)
from backup_flows.failures import FAILURE
from backup_flows.preflight import PreflightError
from dynamodb_bulk.errors import TableMissingError
from local_aws import control
from restore_proof.history_reader import read_history

pytestmark = pytest.mark.component


class TestChoose:
    def test_it_takes_the_newest_point_of_the_stacks_table(self, flow, new_run, binding):
        flow.put("3")
        newer = flow.back_up(new_run("other").context)
        (order,) = new_run().choose()
        assert order["chosen"]["recovery_point_arn"] == newer.recovery_point_arn
        assert (order["table"], order["vault"], order["as_of"]) == ("orders", "orders-vault", "2026-11-02")
        assert order["target_table"].startswith("orders-restored-20261102-")

    def test_ten_dates_of_a_history_each_have_their_point(self, flow, new_run, new_context):
        """Days without a backup take the newest of before; days before the first one are told."""
        made: dict[str, str] = {}
        newest = ""
        for day in range(10):
            if day not in (4, 7, 8):
                context = new_context(run={"run_id": f"backup-{day}"})
                flow.put(str(day))
                newest = flow.back_up(context).recovery_point_arn
            made[flow.now().date().isoformat()] = newest
            control.advance_clock(dt.timedelta(days=1))
        assert len(set(made.values())) == 7
        chosen = {
            as_of: new_run(f"drill-{as_of}", as_of=as_of).choose()[0]["chosen"]["recovery_point_arn"] for as_of in made
        }
        assert chosen == made
        with pytest.raises(NoRecoveryPointError, match="its first one that is still there was made at 2026-11-02"):
            new_run("early", as_of="2026-11-01").choose()

    def test_a_point_in_another_vault_counts_too(self, flow, new_run, binding):
        flow.backup.create_backup_vault(BackupVaultName="elsewhere")
        flow.wait(60)
        job = flow.backup.start_backup_job(
            BackupVaultName="elsewhere",
            ResourceArn=flow.resources["table_arn"],
            IamRoleArn=flow.resources["role_arn"],
        )
        flow.wait()
        (order,) = new_run().choose()
        assert order["chosen"]["recovery_point_arn"] == job["RecoveryPointArn"]
        assert order["vault"] == "elsewhere"

    def test_an_arn_goes_first_and_one_that_is_gone_is_told(self, flow, new_run, binding):
        flow.put("3")
        flow.back_up(new_run("other").context)
        (order,) = new_run("by arn", recovery_point_arn=binding.recovery_point_arn).choose()
        assert order["chosen"]["recovery_point_arn"] == binding.recovery_point_arn
        flow.backup.delete_recovery_point(BackupVaultName=binding.vault, RecoveryPointArn=binding.recovery_point_arn)
        with pytest.raises(RecoveryPointNotUsableError, match="is DELETING: it is being deleted: choose another"):
            new_run("deleting", recovery_point_arn=binding.recovery_point_arn).choose()
        flow.wait()
        with pytest.raises(RecoveryPointGoneError, match=r"it was deleted, or its lifecycle has ended\. Choose"):
            new_run("gone", recovery_point_arn=binding.recovery_point_arn).choose()

    def test_a_table_that_nobody_protects_is_told_with_both_remedies(self, flow, new_run, binding):
        flow.make_table("strangers")
        with pytest.raises(TableNotProtectedError, match=r"add it to include/protection.yaml .* or give the ARN"):
            new_run(table="strangers").choose()

    def test_what_was_chosen_stands_whatever_the_vaults_hold_later(self, flow, new_run, run, order):
        flow.put("3")
        flow.back_up(new_run("other").context)
        assert run.choose() == [order]
        assert new_run().choose() == [order]
        (forced,) = new_run(force_new=True).choose()
        assert forced["chosen"] != order["chosen"]
        assert forced["run_key"] != order["run_key"]

    def test_by_risk_a_proven_table_comes_after_one_that_never_was(self, flow, new_run, run, order):
        run.drill(order)
        flow.make_table("customers")
        arn = flow.dynamodb.describe_table(TableName="customers")["Table"]["TableArn"]
        flow.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "backup", "Value": "daily"}])
        flow.backup.start_backup_job(
            BackupVaultName=flow.resources["vault"], ResourceArn=arn, IamRoleArn=flow.resources["role_arn"]
        )
        flow.wait()
        by_risk = new_run("risk", mode="risk").choose()
        assert [one["table"] for one in by_risk] == ["customers", "orders"]
        assert by_risk[1]["chosen"]["why"].startswith("the table was proven last at 2026-11-02T06:02")
        (capped,) = new_run("capped", mode="risk", max_drills=1).choose()
        assert capped["table"] == "customers"


@dataclass
class Event:
    """What an asset's event shows a task."""

    asset: Any
    extra: dict[str, Any]
    source_dag_id: str | None = None


@dataclass
class NamedAsset:
    name: str


class TestEvents:
    def asked(self, new_run, *events: Event, **given: Any) -> Any:
        run = new_run("asset__1", run_type="asset_triggered", **given)
        run.context["triggering_asset_events"] = {"an asset": list(events), "its alias": list(events)}
        return run

    def point_event(self, binding: Any, name: str = "drill_request", **more: Any) -> Event:
        extra = {"recovery_point_arn": binding.recovery_point_arn, "table": binding.table, "vault": binding.vault}
        return Event(NamedAsset(name), {**extra, **more.pop("extra", {})}, **more)

    def test_a_request_is_drilled(self, new_run, binding):
        event = self.point_event(binding, extra={"reason": "AWS deletes it tomorrow"})
        (order,) = self.asked(new_run, event, mode="risk").choose()
        assert order["chosen"]["recovery_point_arn"] == binding.recovery_point_arn
        assert order["chosen"]["why"] == "AWS deletes it tomorrow"

    @pytest.mark.parametrize(
        ("switch", "source", "drilled"),
        [
            (True, "table_backup", True),
            (False, "table_backup", False),
            (True, "orders_backup_restore", False),
        ],
    )
    def test_a_new_point_is_drilled_where_the_switch_is_on(
        self, new_run, binding, tmp_path, monkeypatch, switch: bool, source: str, drilled: bool
    ):
        """And not where the run that made it proves it itself."""
        file = tmp_path / "protection.yaml"
        file.write_text(
            f"version: 1\ndefaults: {{drill: {{on_new_point: {json.dumps(switch)}}}}}\n"
            "tables: [{name: orders, tier: daily}]\n"
        )
        monkeypatch.setattr(tasks, "project_file", lambda _: file)
        run = self.asked(new_run, self.point_event(binding, "orders_recovery_point", source_dag_id=source))
        if drilled:
            assert [order["table"] for order in run.choose()] == ["orders"]
        else:
            with pytest.raises(AirflowSkipException, match="None of the new"):
                run.choose()

    def test_one_that_is_gone_is_left_out_and_the_others_are_drilled(self, new_run, binding):
        gone = f"{binding.recovery_point_arn[:-4]}0000"
        events = (self.point_event(binding, extra={"recovery_point_arn": gone}), self.point_event(binding))
        (order,) = self.asked(new_run, *events).choose()
        assert order["chosen"]["recovery_point_arn"] == binding.recovery_point_arn


class TestDrill:
    def test_a_good_one_is_proven_told_and_dropped(self, flow, run, order, binding):
        concluded = run.drill(order)
        assert (concluded["verdict"], concluded["table"]) == ("PROVEN", "orders")
        (verdict,) = run.verdicts(binding).values()
        assert (verdict["label"], verdict["as_of"]) == ("PROVEN", "2026-11-02")
        assert verdict["run"] == "restore_drill/manual__1"
        assert flow.document(f"{binding.prefix}verdict.json") == verdict
        assert order["target_table"] not in flow.tables()
        assert run.context["outlet_events"][DRILL_VERDICT].extra == {
            "table": "orders",
            "recovery_point_arn": binding.recovery_point_arn,
            "verdict": "PROVEN",
            "as_of": "2026-11-02",
            "report": verdict["evidence"],
            "reason": " ".join(verdict["reasons"]),
        }
        assert run.in_task(concluding.report_drills, run.context, [order], None) == {
            binding.recovery_point_arn: {
                "table": "orders",
                "as_of": "2026-11-02",
                "verdict": "PROVEN",
                "report": verdict["evidence"],
            }
        }

    def test_done_again_it_starts_nothing_and_judges_nothing(self, flow, run, order, binding, new_run):
        """A backfill with reprocess-behavior completed clears the same run."""
        run.drill(order)
        before = flow.etags("recovery-points/"), flow.etags("evidence/"), run.restore_jobs()
        again = new_run()
        assert again.choose() == [order]
        assert again.drill(order) is None
        assert again.states == {"prepare": "skipped", "prove": "skipped", "conclude": "skipped"}
        assert (flow.etags("recovery-points/"), flow.etags("evidence/"), run.restore_jobs()) == before
        assert order["target_table"] not in flow.tables()

    def test_forced_it_is_another_drill_with_a_verdict_of_its_own(self, flow, run, order, binding, new_run):
        run.drill(order)
        forced = new_run(force_new="again")
        (other,) = forced.choose()
        assert forced.drill(other)["verdict"] == "PROVEN"
        assert len(run.verdicts(binding)) == len(run.restore_jobs()) == 2
        assert new_run(force_new="again").drill(other) is None

    def test_a_wrong_item_fails_it_and_keeps_the_table(self, flow, run, order, binding):
        concluded = run.drill(order, spoil=lambda table: flow.remove("1", table=table))
        assert (concluded["verdict"], concluded["counted"]) == ("FAILED", True)
        assert flow.backup.list_tags(ResourceArn=order["chosen"]["recovery_point_arn"])["Tags"]["verdict"] == "FAILED"
        assert run.states["prove"] == "failed"
        assert flow.tags(order["target_table"])["keep"] == "failed-proof"
        with pytest.raises(DrillsNotProvenError, match=r"1 of 1 drills .*\norders .* is FAILED: .*missing"):
            run.in_task(concluding.report_drills, run.context, [order], None)

    def test_a_failed_verdict_is_not_turned_by_a_second_look(self, flow, run, order, binding, new_run):
        run.drill(order, spoil=lambda table: flow.remove("1", table=table))
        before = run.verdicts(binding)
        flow.put("1", amount={"N": "1"}, table=order["target_table"])
        prepared = binding.as_dict()
        job = dict(summarise_restore_job(flow.backup.describe_restore_job(RestoreJobId=run.restore_jobs()[0])))
        plan = {"target_table": order["target_table"]}
        with pytest.raises(AirflowFailException, match=r"^FAILED"):
            run.in_task(tasks.prove_restored, run.context, order, plan, prepared, job)
        assert new_run().drill(order) is None
        assert run.verdicts(binding) == before

    def test_a_wrong_item_is_told_though_the_verdict_could_not_be_written_at_first(
        self, flow, run, order, binding, new_run, monkeypatch
    ):
        """A point that was proven must not stay PROVEN for one error of S3 while its failure is recorded."""
        run.drill(order)
        later = new_run("later")
        (other,) = later.choose()
        plan, job = later.restore(other)
        flow.put("1", table=other["target_table"], amount={"N": "666"})
        lost, real = [f"{binding.prefix}verdict.json"], flow.s3.put_object

        def put_object(**request: Any) -> Any:
            if request["Key"] in lost:
                lost.clear()
                raise ClientError({"Error": {"Code": "InternalError", "Message": "lost"}}, "PutObject")
            return real(**request)

        monkeypatch.setattr(flow.s3, "put_object", put_object)
        with pytest.raises(ClientError, match="InternalError"):
            later.in_task(tasks.prove_restored, later.context, other, plan, binding.as_dict(), job)
        later.prove(other, plan, job)
        assert later.conclude(other)["verdict"] == "FAILED"
        assert flow.document(f"{binding.prefix}verdict.json")["label"] == "FAILED"
        assert flow.backup.list_tags(ResourceArn=binding.recovery_point_arn)["Tags"]["verdict"] == "FAILED"

    @pytest.mark.parametrize("task", ["prepare", "prove", "conclude"])
    def test_a_verdict_that_stands_and_does_not_hold_is_repaired_wherever_it_is_found(
        self, flow, run, order, binding, new_run, task: str
    ):
        """An earlier release could be lost between the drill's own verdict and the one of the recovery point."""
        key = f"{binding.prefix}verdict.json"
        proven = run.drill(order)["verdict"]
        earlier = flow.read(key)
        later = new_run("later")
        (other,) = later.choose()
        restored = later.restore(other)
        flow.remove("1", table=other["target_table"])
        later.prove(other, *restored)
        flow.s3.put_object(Bucket=flow.bucket, Key=key, Body=earlier)
        again = new_run("later")
        if task == "prepare":
            assert again.drill(other) is None
            assert flow.backup.list_tags(ResourceArn=binding.recovery_point_arn)["Tags"]["verdict"] == "FAILED"
        elif task == "prove":
            again.xcoms["prepare", "return_value"] = binding.as_dict()
            again.prove(other, *restored)
        else:
            assert later.conclude(other)["verdict"] == "FAILED"
            assert flow.backup.list_tags(ResourceArn=binding.recovery_point_arn)["Tags"]["verdict"] == "FAILED"
        assert (proven, flow.document(key)["label"]) == ("PROVEN", "FAILED")

    def test_a_lost_proof_that_finds_the_table_dropped_takes_nothing_from_the_one_that_proved_it(
        self, flow, run, order, binding, monkeypatch
    ):
        """Airflow gave the first process up; it still reads while the second proves, and the table is dropped."""
        plan, job = run.restore(order)
        real, meanwhile = tasks.ensure_same_keys, [True]

        def overtaken(*args: Any) -> None:
            real(*args)
            if meanwhile.pop(0):
                meanwhile.append(False)
                run.prove(order, plan, job)
                run.call("drop_restored_table", tasks.drop_restored, order, plan)

        monkeypatch.setattr(tasks, "ensure_same_keys", overtaken)
        with pytest.raises(TableMissingError, match="There is no DynamoDB table"):
            run.in_task(tasks.prove_restored, run.context, order, plan, binding.as_dict(), job)
        assert run.states["prove"] == "success"
        (own,) = run.verdicts(binding).values()
        assert own["label"] == flow.document(f"{binding.prefix}verdict.json")["label"] == "PROVEN"
        (record,) = read_history(flow.s3, flow.bucket, "orders")
        assert record.label == "PROVEN"
        assert run.conclude(order)["verdict"] == "PROVEN"

    def test_a_proof_whose_process_was_lost_is_done_again(self, flow, run, order, binding):
        """It left no verdict, so the retry is the first look."""
        plan, job = run.restore(order)
        assert run.prove(order, plan, job)["verdict"] == "PROVEN"
        flow.forget(f"{binding.prefix}verdict")
        run.context["ti"].try_number = 2
        assert run.prove(order, plan, job)["verdict"] == "PROVEN"
        assert len(run.verdicts(binding)) == 1


class TestBadDays:
    def failed(self, run: Any, order: dict[str, Any]) -> dict[str, Any]:
        concluded = run.drill(order)
        assert concluded["verdict"] == "FAILED"
        assert not concluded["counted"]
        return dict(concluded)

    def test_a_restore_that_fails_leaves_a_failed_verdict_with_awss_reason(self, flow, run, order, binding):
        control.inject_fault("StartRestoreJob", "FAILED", "The disk was full.")
        concluded = self.failed(run, order)
        assert "The disk was full." in concluded["reason"]
        assert "did not come to its proof" in concluded["reason"]
        (verdict,) = run.verdicts(binding).values()
        (pack,) = [key for key in flow.keys("evidence/") if key.endswith("pack.json")]
        evidence = flow.document(pack)
        assert evidence["verdict"] == verdict
        assert evidence["restore"]["state"] == "FAILED"
        assert [phase["name"] for phase in evidence["phases"]] == ["restore"]
        assert order["target_table"] not in flow.tables()

    def test_cleared_when_the_cause_is_gone_it_is_another_attempt(self, flow, run, order, binding, new_run):
        control.inject_fault("StartRestoreJob", "FAILED", "The disk was full.")
        run.drill(order)
        again = new_run()
        assert again.choose() == [order]
        assert again.drill(order)["verdict"] == "PROVEN"
        assert len(run.restore_jobs()) == 2
        assert {name: one["label"] for name, one in run.verdicts(binding).items()} == {
            f"2026-11-02-{order['run_key']}.json": "FAILED",
            f"2026-11-02-{order['run_key']}-2.json": "PROVEN",
        }
        assert len([key for key in flow.keys("evidence/") if key.endswith("pack.json")]) == 2
        assert flow.document(f"{binding.prefix}verdict.json")["label"] == "PROVEN"

    def test_a_restore_that_never_ends_is_told_and_its_table_left_to_the_sweep(self, flow, run, order, binding):
        binding_ = run.call("prepare", tasks.prepare, order)
        plan = run.call(
            "restore.plan_restore", restores.plan_restore, order, binding_, "drill.restore.start_restore_job"
        )
        run.start(plan)
        flow.wait(30)
        run.states |= {"restore.wait_for_restore_job": "failed", "prove": "upstream_failed"}
        concluded = run.conclude(order)
        assert "is still RUNNING; it is given 10 hours" in concluded["reason"]
        assert "wait_for_restore_job was lost or stopped from outside" in concluded["reason"]
        assert run.call("drop_restored_table", tasks.drop_restored, order, plan) == "left"

    def test_a_restore_that_may_not_be_is_failed_before_it_costs_anything(self, flow, run, order, binding):
        role = flow.resources["role_arn"].rpartition("/")[2]
        deny = {"Effect": "Deny", "Action": "dynamodb:RestoreTableFromAwsBackup", "Resource": "*"}
        flow.clients("iam").put_role_policy(
            RoleName=role,
            PolicyName="no-restores",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}),
        )
        concluded = self.failed(run, order)
        assert "may not restore to" in concluded["reason"]
        assert run.xcoms["prepare", FAILURE]["type"] == PreflightError.__name__
        assert run.restore_jobs() == []

    def test_a_point_that_vanished_after_it_was_chosen(self, flow, run, order, binding):
        flow.backup.delete_recovery_point(BackupVaultName=binding.vault, RecoveryPointArn=binding.recovery_point_arn)
        flow.wait()
        assert "it was deleted, or its lifecycle has ended" in self.failed(run, order)["reason"]

    def test_a_table_that_is_dropped_while_it_is_read(self, flow, run, order, binding):
        concluded = run.drill(order, spoil=lambda table: flow.dynamodb.delete_table(TableName=table))
        assert (concluded["verdict"], concluded["counted"]) == ("FAILED", False)
        assert f"There is no DynamoDB table '{order['target_table']}' to read" in concluded["reason"]
        assert len(run.verdicts(binding)) == 1
        assert order["target_table"] not in flow.tables()

    def test_a_table_with_other_keys_than_were_fingerprinted(self, flow, run, order, binding):
        def other_keys(table: str) -> None:
            flow.dynamodb.delete_table(TableName=table)
            flow.dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )

        concluded = run.drill(order, spoil=other_keys)
        assert concluded["verdict"] == "FAILED"
        assert "has the keys id, but orders was fingerprinted by order_id, item_id" in concluded["reason"]
        assert "Back it up anew" in concluded["reason"]

    def test_an_altered_fingerprint(self, flow, run, order, binding):
        other = flow.keys("intents/")
        flow.put("9")
        newer = flow.back_up(run.context)
        key = f"{binding.before.prefix}fingerprint.json.gz"
        flow.s3.put_object(Bucket=flow.bucket, Key=key, Body=flow.read(f"{newer.before.prefix}fingerprint.json.gz"))
        assert other
        concluded = run.drill(order)
        assert concluded["verdict"] == "FAILED"
        assert "get that one back from the bucket's older versions" in concluded["reason"]

    def test_a_proven_point_stays_proven_when_a_later_drill_dies(self, flow, run, order, binding, new_run):
        run.drill(order)
        control.inject_fault("StartRestoreJob", "FAILED", "The disk was full.")
        later = new_run("later")
        (other,) = later.choose()
        assert later.drill(other)["verdict"] == "FAILED"
        assert flow.document(f"{binding.prefix}verdict.json")["label"] == "PROVEN"

    def test_where_nothing_vouches_for_a_point_it_is_unproven_and_not_restored(self, flow, new_run):
        flow.backup.start_backup_job(
            BackupVaultName=flow.resources["vault"],
            ResourceArn=flow.resources["table_arn"],
            IamRoleArn=flow.resources["role_arn"],
        )
        flow.wait()
        run = new_run()
        (order,) = run.choose()
        concluded = run.drill(order)
        assert concluded["verdict"] == "UNPROVEN"
        assert "Back the table up with one of them" in concluded["reason"]
        assert run.xcoms["prepare", FAILURE]["type"] == NothingBoundError.__name__
        assert run.restore_jobs() == []

    def test_a_process_that_died_without_a_word(self, flow, run, order, binding):
        run.states |= {"prepare": "failed", "prove": "upstream_failed"}
        assert "The process of prepare was lost" in run.conclude(order)["reason"]
        assert len(run.verdicts(binding)) == 1
