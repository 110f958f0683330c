"""AWS's own restore tests adopted: proven, answered once, and nothing of AWS's dropped."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from botocore.exceptions import ClientError

from backup_flows.drills import concluding, tasks
from backup_flows.drills.gather import restore_tests

pytestmark = pytest.mark.component

PLAN = {
    "RestoreTestingPlanName": "weekly",
    "ScheduleExpression": "cron(0 14 * * ? *)",
    "RecoveryPointSelection": {
        "Algorithm": "LATEST_WITHIN_WINDOW",
        "IncludeVaults": ["*"],
        "RecoveryPointTypes": ["SNAPSHOT"],
    },
}
TEN_HOURS = 36_000
"""From the tests' six in the morning past the plan's 14:00 and its window."""


@pytest.fixture
def tested(flow, binding) -> dict[str, Any]:
    """A restore job of AWS's restore testing that waits for a verdict."""
    return play(flow)


def play(flow) -> dict[str, Any]:
    flow.backup.create_restore_testing_plan(RestoreTestingPlan={**PLAN, "StartWindowHours": 1})
    flow.backup.create_restore_testing_selection(
        RestoreTestingPlanName="weekly",
        RestoreTestingSelection={
            "RestoreTestingSelectionName": "tables",
            "ProtectedResourceType": "DynamoDB",
            "IamRoleArn": flow.resources["role_arn"],
            "ProtectedResourceArns": [flow.resources["table_arn"]],
            "ValidationWindowHours": 24,
        },
    )
    flow.wait(TEN_HOURS)
    (job,) = flow.backup.list_restore_jobs()["RestoreJobs"]
    assert job["Status"] == "COMPLETED"
    return dict(job)


def adopt(run, order: dict[str, Any]) -> Any:
    """Do a whole adopted drill; return what AWS was told."""
    run.group = "adopted"
    binding = run.call("prepare", tasks.prepare_adopted, order)
    if binding is not None:
        job = run.call("describe_restore_job", tasks.describe_restore_job, order)
        run.call("prove", tasks.prove_adopted, order, binding, job)
    else:
        run.states["prove"] = "skipped" if run.states["prepare"] == "skipped" else "upstream_failed"
    run.conclude(order)
    return run.call("put_validation_result", concluding.put_validation_result, order)


def choose(run) -> list[dict[str, Any]]:
    return list(run.in_task(tasks.choose_restore_tests, run.context))


def described(flow, tested: dict[str, Any]) -> dict[str, Any]:
    return dict(flow.backup.describe_restore_job(RestoreJobId=tested["RestoreJobId"]))


class TestChoose:
    def test_a_test_that_waits_for_a_verdict_is_adopted(self, new_run, tested, binding):
        run = new_run(mode="adopt")
        (order,) = choose(run)
        assert order["restore_job_id"] == tested["RestoreJobId"]
        assert order["chosen"]["recovery_point_arn"] == binding.recovery_point_arn
        assert order["target_table"] == tested["CreatedResourceArn"].rpartition("/")[2]
        assert (order["table"], order["vault"]) == ("orders", binding.vault)
        with pytest.raises(AirflowSkipException, match="adopts"):
            run.choose()

    def test_of_one_plan_only_where_one_is_named(self, new_run, tested):
        plan = tested["CreatedBy"]["RestoreTestingPlanArn"]
        assert len(choose(new_run("its", mode="adopt", restore_testing_plan_arn=plan))) == 1
        with pytest.raises(AirflowSkipException, match="No restore test waits"):
            choose(new_run("another", mode="adopt", restore_testing_plan_arn=f"{plan}x"))

    def test_a_run_of_another_mode_adopts_nothing(self, new_run, tested):
        with pytest.raises(AirflowSkipException, match="restores tables of its own"):
            choose(new_run())

    def test_restores_of_ours_are_none_of_awss_tests(self, flow, run, order):
        run.drill(order)
        assert restore_tests(concluding.BackupHook(aws_conn_id="aws_default")) == []


class TestAdopt:
    def test_a_good_one_is_answered_and_awss_to_drop(self, flow, new_run, tested, binding):
        run = new_run(mode="adopt")
        (order,) = choose(run)
        assert adopt(run, order) == "SUCCESSFUL"
        job = described(flow, tested)
        assert job["ValidationStatus"] == "SUCCESSFUL"
        assert job["ValidationStatusMessage"].startswith("PROVEN: ")
        assert "report.html" in job["ValidationStatusMessage"]
        (verdict,) = run.verdicts(binding).values()
        assert verdict["label"] == "PROVEN"
        assert verdict["restored_table_name"] == order["target_table"]
        assert run.restore_jobs() == [tested["RestoreJobId"]]
        flow.wait()
        assert order["target_table"] not in flow.tables()

    def test_a_wrong_one_is_answered_with_what_is_wrong(self, flow, new_run, tested, binding):
        run = new_run(mode="adopt")
        (order,) = choose(run)
        flow.remove("1", table=order["target_table"])
        assert adopt(run, order) == "FAILED"
        job = described(flow, tested)
        assert (job["ValidationStatus"], job["ValidationStatusMessage"][:7]) == ("FAILED", "FAILED:")
        assert "missing" in job["ValidationStatusMessage"]

    def test_a_table_under_a_key_of_its_own_that_aws_restored_under_its_default_one_is_right(self, flow, new_run):
        """Restore testing infers its metadata: encryptionType is Default, whatever the source has."""
        flow.put("1")
        flow.dynamodb.update_table(TableName="orders", SSESpecification={"Enabled": True, "SSEType": "KMS"})
        flow.wait(60)
        binding = flow.back_up()
        tested = play(flow)
        run = new_run(mode="adopt")
        (order,) = choose(run)
        restored = flow.dynamodb.describe_table(TableName=order["target_table"])["Table"]
        assert "SSEDescription" not in restored
        assert adopt(run, order) == "SUCCESSFUL"
        assert described(flow, tested)["ValidationStatusMessage"].startswith("PROVEN: ")
        (verdict,) = run.verdicts(binding).values()
        pack = flow.document(verdict["evidence"].partition(f"{flow.bucket}/")[2].replace("report.html", "pack.json"))
        (found,) = [each for each in pack["settings"]["differences"] if each["name"] == "encryption"]
        assert found["class"] == "expected_from_aws_backup"
        assert "AWS's restore testing chose it" in found["remark"]

    def test_the_answer_is_given_once(self, flow, new_run, tested, binding):
        run = new_run(mode="adopt")
        (order,) = choose(run)
        adopt(run, order)
        before = described(flow, tested)
        assert adopt(new_run(mode="adopt"), order) == "SUCCESSFUL"
        later = new_run("later", mode="adopt")
        with pytest.raises(AirflowSkipException, match="No restore test waits"):
            choose(later)
        after = described(flow, tested)
        assert (after["ValidationStatus"], after["ValidationStatusMessage"]) == (
            before["ValidationStatus"],
            before["ValidationStatusMessage"],
        )
        assert len(run.verdicts(binding)) == 1
        with pytest.raises(ClientError, match="cannot be changed"):
            flow.backup.put_restore_validation_result(RestoreJobId=tested["RestoreJobId"], ValidationStatus="FAILED")

    def test_a_drill_that_died_leaves_the_answer_to_the_next_run(self, flow, new_run, tested, binding):
        """AWS would take no second one."""
        run = new_run(mode="adopt")
        (order,) = choose(run)
        run.group = "adopted"
        run.states |= {"prepare": "failed", "prove": "upstream_failed"}
        assert run.conclude(order)["verdict"] == "FAILED"
        assert run.call("put_validation_result", concluding.put_validation_result, order) is None
        assert run.states["put_validation_result"] == "skipped"
        assert "ValidationStatus" not in described(flow, tested)
        later = new_run("later", mode="adopt")
        (again,) = choose(later)
        assert adopt(later, again) == "SUCCESSFUL"
        assert sorted(one["label"] for one in run.verdicts(binding).values()) == ["FAILED", "PROVEN"]

    def test_one_whose_verdict_could_not_be_told_is_told_by_the_next_run(self, flow, new_run, tested, binding):
        run = new_run(mode="adopt")
        (order,) = choose(run)
        run.group = "adopted"
        bound = run.call("prepare", tasks.prepare_adopted, order)
        job = run.call("describe_restore_job", tasks.describe_restore_job, order)
        run.call("prove", tasks.prove_adopted, order, bound, job)
        run.conclude(order)
        later = new_run("later", mode="adopt")
        (again,) = choose(later)
        assert adopt(later, again) == "SUCCESSFUL"
        assert later.states["prepare"] == "skipped"
        assert len(run.verdicts(binding)) == 1

    def test_one_that_nothing_vouches_for_is_told_as_failed(self, flow, new_run):
        flow.backup.start_backup_job(
            BackupVaultName=flow.resources["vault"],
            ResourceArn=flow.resources["table_arn"],
            IamRoleArn=flow.resources["role_arn"],
        )
        flow.wait()
        tested = play(flow)
        run = new_run(mode="adopt")
        (order,) = choose(run)
        assert adopt(run, order) == "FAILED"
        assert described(flow, tested)["ValidationStatusMessage"].startswith("UNPROVEN: Nothing was proven")
