from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from airflow.sdk.execution_time.context import set_current_context

from aws_backup.hooks.backup import BackupHook
from backup_flows import restores, retention
from backup_flows.keys import restore_record_key, verdict_key
from backup_flows.retention import (
    RecoveryPointsStillThereError,
    decide_sweep,
    due_deletions,
    find_restored_tables,
    guard_deletion,
    is_managed,
    make_plan,
    plan_moment,
    plan_retention,
    points_in_use,
    receipt,
    sweep_restored_tables,
)
from local_aws.clock import CLOCK
from recovery_retention.names import UndeletableTableError, restored_table_name, run_tag
from recovery_retention.plan import RetentionPolicy, Rule
from restore_proof.verdict import Depth, Result, Subject, Verdict

DAY = 86400.0


def run_task(decorated: Any, context: dict[str, Any], *args: Any) -> Any:
    with set_current_context(context):
        return decorated.function(*args)


PARAMS = {
    "dry_run": False,
    "older_than_days": 30,
    "keep_newest": 1,
    "max_deletions": 50,
    "sweep_older_than_minutes": 60,
}
PLAIN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/backup/"


@pytest.fixture
def retiring(new_context):
    """Make the context of a task of retention_cleanup."""

    def make(*, unfinished_runs: int = 0, run: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        own = {"dag_id": "retention_cleanup", **(run or {})}
        return new_context(unfinished_runs=unfinished_runs, run=own, **{**PARAMS, **params})

    return make


@pytest.fixture
def hook(flow) -> BackupHook:
    return BackupHook(aws_conn_id="aws_default")


def start_backup(flow, **members: Any) -> str:
    """Start a backup job of the orders table; return its recovery point's ARN."""
    job = flow.backup.start_backup_job(
        BackupVaultName="orders-vault",
        ResourceArn=flow.resources["table_arn"],
        IamRoleArn=flow.resources["role_arn"],
        **members,
    )
    flow.wait()
    return str(flow.backup.describe_backup_job(BackupJobId=job["BackupJobId"])["RecoveryPointArn"])


@pytest.fixture
def points(flow) -> list[str]:
    """Three of our recovery points, ten days apart; the newest is forty days old."""
    made = []
    for _ in range(3):
        made.append(start_backup(flow, RecoveryPointTags={"managed-by": "dynamodb-backup-proof"}))
        flow.wait(10 * DAY)
    flow.wait(30 * DAY)
    return made


@pytest.fixture
def foreign(flow) -> str:
    """A recovery point that somebody else made in our vault."""
    return start_backup(flow)


def start_restore(flow, arn: str, context: dict[str, Any] | None = None) -> str:
    """Start to restore a recovery point as the DAG does; return the table's name."""
    context = context or flow.context
    planned = run_task(restores.plan_restore, context, flow.resources, {"recovery_point_arn": arn})
    flow.backup.start_restore_job(
        RecoveryPointArn=arn,
        Metadata={"targetTableName": planned["target_table"], "encryptionType": "Default"},
        IamRoleArn=flow.resources["role_arn"],
    )
    return str(planned["target_table"])


def judge(flow, arn: str, result: Result, depth: Depth = Depth.FULL) -> None:
    """Leave a verdict on a recovery point."""
    subject = Subject(arn, "orders", "orders-restored-20261101-0a1b2c3d", "2026-11-01", "a_dag/a_run")
    verdict = Verdict(subject, result, depth, ("because",), flow.now())
    flow.s3.put_object(Bucket=flow.bucket, Key=verdict_key("orders", arn), Body=verdict.to_json())


def plan_of(flow, hook: BackupHook, **policy: int) -> Any:
    values = {"older_than_days": 30, "keep_newest": 1, **policy}
    return make_plan(
        hook, flow.s3, bucket=flow.bucket, vault="orders-vault", policy=RetentionPolicy(**values), now=flow.now()
    )


def arns(decisions: Any) -> list[str]:
    return [decision.point.arn for decision in decisions]


class TestMoment:
    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_backfilled_date_is_a_preview_as_of_that_date(self, aws, retiring, dry_run: bool):
        context = retiring(run={"run_type": "backfill"}, dry_run=dry_run)
        assert plan_moment(context) == (dt.datetime(2026, 11, 1, 6, tzinfo=dt.UTC), True)

    @pytest.mark.parametrize("run_type", ["manual", "scheduled", "asset_triggered"])
    @pytest.mark.parametrize("dry_run", [True, False])
    def test_every_other_run_is_for_now_and_does_what_it_is_told(self, aws, retiring, run_type: str, dry_run: bool):
        assert plan_moment(retiring(run={"run_type": run_type}, dry_run=dry_run)) == (CLOCK.now(), dry_run)

    def test_the_run_type_is_the_one_that_airflow_uses(self):
        from airflow.utils.types import DagRunType

        assert retention.BACKFILL == DagRunType.BACKFILL_JOB


class TestManaged:
    def test_it_is_ours_by_its_tag(self, flow):
        tags = {"managed-by": "dynamodb-backup-proof"}
        assert is_managed(flow.s3, flow.bucket, f"{PLAIN}1", "orders", tags) is True

    @pytest.mark.parametrize("tags", [{}, {"managed-by": "somebody else"}])
    def test_without_it_it_is_not(self, flow, tags: dict[str, str]):
        assert is_managed(flow.s3, flow.bucket, f"{PLAIN}1", "orders", tags) is False

    @pytest.mark.parametrize("arn", ["arn:aws:ec2:us-east-1::snapshot/snap-1", "arn:aws:rds:us-east-1:1:snapshot:a"])
    def test_what_is_no_tables_is_not(self, flow, arn: str):
        assert is_managed(flow.s3, flow.bucket, arn, arn, {}) is False

    def test_a_plain_one_carries_no_tag_and_is_ours_by_the_record(self, flow, hook):
        flow.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
        flow.put("1")
        binding = flow.back_up()
        assert binding.recovery_point_arn.startswith(PLAIN)
        assert hook.get_recovery_point_tags(binding.recovery_point_arn) == {}
        assert is_managed(flow.s3, flow.bucket, binding.recovery_point_arn, "orders", {}) is True
        (point,) = retention.take_inventory(hook, flow.s3, bucket=flow.bucket, vault="orders-vault")
        assert (point.arn, point.managed) == (binding.recovery_point_arn, True)


class TestPlan:
    def test_the_old_ones_go_and_the_newest_stays(self, flow, hook, points):
        decided = plan_of(flow, hook)
        assert arns(decided.delete) == [points[1], points[0]]
        assert arns(decided.keep) == [points[2]]
        assert decided.blocked == ()

    def test_the_young_ones_stay(self, flow, hook, points):
        decided = plan_of(flow, hook, older_than_days=55)
        assert arns(decided.delete) == [points[0]]

    def test_the_newest_proven_one_stays_whatever_its_age(self, flow, hook, points):
        judge(flow, points[0], Result.PROVEN)
        decided = plan_of(flow, hook)
        assert arns(decided.delete) == [points[1]]
        kept = {decision.point.arn: decision.rules for decision in decided.keep}
        assert kept[points[0]] == {Rule.NEWEST_PROVEN}

    @pytest.mark.parametrize("result", [Result.FAILED, Result.UNPROVEN])
    def test_a_proof_that_proved_nothing_keeps_nothing(self, flow, hook, points, result: Result):
        judge(flow, points[0], result)
        assert points[0] in arns(plan_of(flow, hook).delete)

    def test_a_verdict_on_a_foreign_one_is_not_even_read(self, flow, hook, points, foreign):
        flow.s3.put_object(Bucket=flow.bucket, Key=verdict_key("orders", foreign), Body=b"no verdict at all")
        assert foreign in arns(plan_of(flow, hook).keep)

    def test_what_others_made_is_kept(self, flow, hook, foreign, points):
        flow.wait(365 * DAY)
        decided = plan_of(flow, hook)
        assert foreign not in arns(decided.delete)
        assert {d.point.arn: d.rules for d in decided.keep}[foreign] == {Rule.FOREIGN}

    def test_one_that_is_being_restored_is_kept(self, flow, hook, points):
        start_restore(flow, points[0])
        assert points_in_use(hook) == {points[0]}
        assert arns(plan_of(flow, hook).delete) == [points[1]]
        flow.wait()
        assert points_in_use(hook) == set()

    def test_a_past_date_knows_nothing_of_what_came_later(self, flow, hook, points):
        then = flow.now() - dt.timedelta(days=45)
        policy = RetentionPolicy(older_than_days=5, keep_newest=1)
        decided = make_plan(hook, flow.s3, bucket=flow.bucket, vault="orders-vault", policy=policy, now=then)
        assert arns(decided.keep) == [points[1]]
        assert arns(decided.delete) == [points[0]]


class TestPlanTask:
    def test_what_is_due_goes_oldest_first_one_task_each(self, flow, points, retiring, in_task):
        context = retiring()
        planned = in_task(plan_retention, context)
        assert in_task(due_deletions, context, planned) == [
            {
                "backup_vault_name": "orders-vault",
                "recovery_point_arn": point,
                "aws_conn_id": "aws_default",
            }
            for point in points[:2]
        ]
        assert planned["dry_run"] is False

    def test_a_preview_deletes_nothing_and_says_what_it_would(self, flow, points, retiring, in_task):
        planned = in_task(plan_retention, retiring(dry_run=True))
        assert planned["deletions"] == []
        assert planned["planned_deletions"] == points[:2]
        written = flow.document(planned["plan"].removeprefix(f"s3://{flow.bucket}/"))
        assert written["dry_run"] is True
        assert [entry["arn"] for entry in written["keep"]] == [points[2]]
        assert all(entry["reasons"] for entry in written["delete"])

    def test_a_backfill_deletes_nothing_however_it_is_asked(self, flow, points, retiring, in_task):
        planned = in_task(plan_retention, retiring(run={"run_type": "backfill", "logical_date": flow.now()}))
        assert planned["deletions"] == []
        assert len(planned["planned_deletions"]) == 2

    def test_a_run_deletes_no_more_than_it_may(self, flow, points, retiring, in_task):
        planned = in_task(plan_retention, retiring(max_deletions=1))
        assert [entry["recovery_point_arn"] for entry in planned["deletions"]] == [points[0]]

    def test_the_role_that_may_delete_deletes(self, flow, points, retiring, in_task, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_AWS_BACKUP_RETENTION", '{"conn_type": "aws"}')
        planned = in_task(plan_retention, retiring())
        assert {entry["aws_conn_id"] for entry in planned["deletions"]} == {"aws_backup_retention"}


class TestGuard:
    def ask(self, flow, hook: BackupHook, arn: str, context: dict[str, Any]) -> bool:
        point = flow.backup.describe_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=arn)
        with set_current_context(context):
            return guard_deletion(point, hook.get_recovery_point_tags(arn))

    def test_ours_that_nobody_uses_may_go(self, flow, hook, points, retiring):
        assert self.ask(flow, hook, points[0], retiring()) is True

    def test_a_foreign_one_may_not(self, flow, hook, foreign, retiring):
        assert self.ask(flow, hook, foreign, retiring()) is False

    def test_one_that_is_being_restored_may_not(self, flow, hook, points, retiring):
        start_restore(flow, points[0])
        assert self.ask(flow, hook, points[0], retiring()) is False
        assert self.ask(flow, hook, points[1], retiring()) is True


class TestReceipt:
    @pytest.fixture
    def planned(self, flow, points, retiring, in_task) -> dict[str, Any]:
        return dict(in_task(plan_retention, retiring()))

    def delete(self, flow, *points: Any) -> None:
        for point in points:
            flow.backup.delete_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=point)
        flow.wait(60)

    def test_what_is_gone_is_said_to_be_deleted(self, flow, points, planned, retiring, in_task):
        self.delete(flow, *points[:2])
        said = in_task(receipt, retiring(), planned, {"sweep": [{"table_name": "t"}]})
        assert said["deleted"] == points[:2]
        assert (said["still_there"], said["swept"], said["would_delete"]) == ([], ["t"], [])

    def test_what_is_still_there_fails_the_run_and_is_named(self, flow, points, planned, retiring, in_task):
        self.delete(flow, points[0])
        with pytest.raises(RecoveryPointsStillThereError) as left:
            in_task(receipt, retiring(), planned, None)
        assert points[1] in str(left.value)
        assert points[0] not in str(left.value)

    def test_a_preview_says_what_would_have_gone(self, flow, points, retiring, in_task):
        context = retiring(dry_run=True)
        planned = in_task(plan_retention, context)
        said = in_task(receipt, context, planned, {"sweep": []})
        assert said["would_delete"] == points[:2]
        assert said["deleted"] == []


class TestSweep:
    @pytest.fixture
    def left_behind(self, flow) -> str:
        """The restored table of a run that died before it could drop it, two hours ago."""
        target = start_restore(flow, start_backup(flow))
        flow.wait(7200)
        return target

    def decide(self, flow, *, active: bool = False, minutes: int = 60) -> tuple[list[str], dict[str, str]]:
        """Return what is swept, and why the rest is left."""
        asked: list[tuple[str, str]] = []

        def is_active(dag_id: str, run_id: str) -> bool:
            asked.append((dag_id, run_id))
            return active

        decided = decide_sweep(
            find_restored_tables(flow.dynamodb, flow.s3, bucket=flow.bucket, source="orders"),
            source="orders",
            older_than=dt.timedelta(minutes=minutes),
            now=flow.now(),
            is_active=is_active,
        )
        assert set(asked) <= {("orders_backup_restore", "manual__1")}
        return (
            [decision.table.name for decision in decided.sweep],
            {decision.table.name: decision.reason for decision in decided.leave},
        )

    def test_the_table_of_a_run_that_is_over_is_swept(self, flow, left_behind):
        assert self.decide(flow) == ([left_behind], {})

    def test_that_of_an_active_run_is_left(self, flow, left_behind):
        swept, left = self.decide(flow, active=True)
        assert swept == []
        assert "still active" in left[left_behind]

    def test_a_young_one_is_left(self, flow, left_behind):
        swept, left = self.decide(flow, minutes=180)
        assert swept == []
        assert "not yet older" in left[left_behind]

    def test_one_that_is_to_be_kept_is_left_until_the_tag_is_gone(self, flow, left_behind):
        arn = flow.dynamodb.describe_table(TableName=left_behind)["Table"]["TableArn"]
        flow.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "keep", "Value": "failed-proof"}])
        swept, left = self.decide(flow)
        assert swept == []
        assert "failed-proof" in left[left_behind]
        flow.dynamodb.untag_resource(ResourceArn=arn, TagKeys=["keep"])
        assert self.decide(flow) == ([left_behind], {})

    def test_without_a_record_it_is_left_whatever_its_name_and_tags(self, flow, left_behind):
        flow.s3.delete_object(Bucket=flow.bucket, Key=restore_record_key(left_behind))
        swept, left = self.decide(flow)
        assert swept == []
        assert "neither our tag nor a record" in left[left_behind]
        arn = flow.dynamodb.describe_table(TableName=left_behind)["Table"]["TableArn"]
        tags = {"managed-by": "dynamodb-backup-proof", "run": run_tag("orders_backup_restore", "manual__1")}
        flow.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
        swept, left = self.decide(flow)
        assert swept == []
        assert "is not known" in left[left_behind]

    def test_one_with_deletion_protection_is_left(self, flow, left_behind):
        flow.dynamodb.update_table(TableName=left_behind, DeletionProtectionEnabled=True)
        swept, left = self.decide(flow)
        assert swept == []
        assert "Deletion protection" in left[left_behind]

    def test_other_tables_are_not_even_looked_at(self, flow, left_behind):
        foreign = restored_table_name("customers", dt.date(2026, 11, 1), "a/b")
        for name in (foreign, "orders-restored", "orders-restored-by-hand"):
            flow.make_table(name)
        found = find_restored_tables(flow.dynamodb, flow.s3, bucket=flow.bucket, source="orders")
        assert [table.name for table, _ in found] == [left_behind]

    def test_a_run_with_an_odd_name_is_believed_by_its_record(self, flow, new_context):
        """A tag may not hold what a run's name may; the record spells it out."""
        context = new_context(run={"run_id": "manual__ü#1"})
        target = start_restore(flow, start_backup(flow), context)
        asked: list[tuple[str, str]] = []

        def is_active(*run: str) -> bool:
            asked.append(run)  # type: ignore[arg-type]
            return True

        flow.wait(7200)
        tables = find_restored_tables(flow.dynamodb, flow.s3, bucket=flow.bucket, source="orders")
        decided = decide_sweep(tables, source="orders", older_than=dt.timedelta(0), now=flow.now(), is_active=is_active)
        assert asked == [("orders_backup_restore", "manual__ü#1")]
        assert [decision.table.name for decision in decided.leave] == [target]

    @pytest.mark.parametrize(
        ("dry_run", "run_type", "gone"),
        [(False, "manual", True), (True, "manual", False), (False, "backfill", False)],
    )
    def test_the_task_drops_it_unless_it_may_only_look(
        self, flow, left_behind, retiring, in_task, dry_run: bool, run_type: str, gone: bool
    ):
        context = retiring(dry_run=dry_run, run={"run_type": run_type, "logical_date": flow.now()})
        said = in_task(sweep_restored_tables, context)
        assert [entry["table_name"] for entry in said["sweep"]] == [left_behind]
        assert (left_behind not in flow.tables()) is gone
        assert "orders" in flow.tables()

    def test_the_task_asks_airflow_about_the_run(self, flow, left_behind, retiring, in_task):
        context = retiring(unfinished_runs=1)
        assert in_task(sweep_restored_tables, context)["sweep"] == []
        context["ti"].get_dr_count.assert_called_once_with(
            dag_id="orders_backup_restore", run_ids=["manual__1"], states=["queued", "running"]
        )
        assert left_behind in flow.tables()

    def test_the_guard_stands_before_the_deletion_itself(self, flow):
        from backup_flows.restores import delete_restored_table

        with pytest.raises(UndeletableTableError):
            delete_restored_table(flow.dynamodb, "orders", source="orders")
        assert "orders" in flow.tables()
