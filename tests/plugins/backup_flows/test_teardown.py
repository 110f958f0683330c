from __future__ import annotations

from typing import Any

import pytest

from backup_flows.principals import role_clients
from backup_flows.teardown import (
    JobsStillRunningError,
    NotOurStackError,
    TeardownIncompleteError,
    delete_points,
    delete_tables,
    empty_bucket,
    points_left,
    start_deletion,
    stop_schedule,
    take_stock,
    write_receipt,
)
from backup_flows.teardown_plan import FOREIGN, HELD, LOCKED, Stock
from local_aws import control

STACK = "orders-backup"
STRANGER = "strangers-table"


@pytest.fixture
def full(flow, new_context):
    """A stack in use: items, evidence, two recovery points of ours, a restored copy, IAM enforced."""
    control.configure(enforce_iam=True)
    flow.put("1", product="Salmon")
    binding = flow.back_up()
    plan, _ = flow.restore(binding)
    flow.start_backup(new_context(run={"run_id": "manual__2"}))
    assert plan["target_table"] in flow.tables()
    return flow


def foreign_point(flow) -> str:
    """Put a recovery point of somebody else's table into our vault; return its ARN."""
    flow.make_table(STRANGER)
    table = flow.dynamodb.describe_table(TableName=STRANGER)["Table"]["TableArn"]
    job = flow.backup.start_backup_job(
        BackupVaultName=flow.resources["vault"], ResourceArn=table, IamRoleArn=flow.resources["role_arn"]
    )
    flow.wait()
    return str(flow.backup.describe_backup_job(BackupJobId=job["BackupJobId"])["RecoveryPointArn"])


def tear_down(flow, stock: Stock | None = None) -> dict[str, Any]:
    """Make the DAG's moves, as its roles; return the receipt."""
    clients = flow.clients
    stock = stock or take_stock(clients, STACK)
    refused: dict[str, str] = {}
    stop_schedule(clients, stock)
    if stock.due:
        retention = role_clients(clients, flow.resources["retention_role_arn"], session_name="teardown")
        refused = delete_points(retention, stock.due)
    flow.wait(60)
    assert points_left(clients, [point for point in stock.due if point.arn not in refused]) == []
    delete_tables(clients, stock)
    empty_bucket(clients, stock)
    start_deletion(clients("cloudformation"), STACK)
    return write_receipt(clients, stock, refused, now=flow.now())


def stacks(flow) -> dict[str, str]:
    found = flow.clients("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"]: stack["StackStatus"] for stack in found}


def vaults(flow) -> list[str]:
    return sorted(v["BackupVaultName"] for v in flow.backup.list_backup_vaults()["BackupVaultList"])


def roles(flow) -> list[str]:
    return sorted(role["RoleName"] for role in flow.clients("iam").list_roles()["Roles"])


def points(flow) -> list[str]:
    listed = flow.backup.list_recovery_points_by_backup_vault(BackupVaultName=flow.resources["vault"])
    return [point["RecoveryPointArn"] for point in listed["RecoveryPoints"]]


class TestFull:
    def test_everything_of_ours_goes(self, full):
        full.wait()
        stock = take_stock(full.clients, STACK)
        assert len(stock.due) == 2
        assert len(stock.tables) == 1
        receipt = tear_down(full, stock)
        assert receipt["status"] == "DELETED"
        assert len(receipt["deleted"]["recovery_points"]) == 2
        assert receipt["deleted"]["tables"] == list(stock.tables)
        assert receipt["deleted"]["object_versions"] == stock.objects > 0
        assert receipt["kept"] == {"recovery_points": {}, "resources": {}}
        assert stacks(full) == {}
        assert (vaults(full), roles(full), full.tables()) == ([], [], [])
        assert full.s3.list_buckets()["Buckets"] == []

    def test_it_can_be_run_again(self, full):
        full.wait()
        tear_down(full)
        again = tear_down(full)
        assert again["status"] == "DELETED"
        assert again["deleted"]["resources"] == {}

    def test_the_person_who_approves_sees_all_of_it(self, full):
        full.wait()
        told = take_stock(full.clients, STACK).describe()
        for name in ("orders-vault", "orders", full.bucket, "orders-backup-operator-us-east-1", *points(full)):
            assert f"`{name}`" in told
        assert "object versions in the bucket" in told
        assert "Kept" not in told

    def test_a_running_job_stops_it_before_anything_is_deleted(self, full):
        with pytest.raises(JobsStillRunningError, match="orders"):
            take_stock(full.clients, STACK)

    def test_what_it_says_can_be_handed_on(self, full):
        full.wait()
        stock = take_stock(full.clients, STACK)
        assert Stock.from_dict(stock.as_dict()) == stock


class TestHalf:
    @pytest.mark.parametrize("died_after", ["points", "tables", "bucket", "by hand"])
    def test_it_goes_on_where_it_ended(self, full, died_after):
        full.wait()
        stock = take_stock(full.clients, STACK)
        retention = role_clients(full.clients, full.resources["retention_role_arn"], session_name="teardown")
        stop_schedule(full.clients, stock)
        delete_points(retention, stock.due)
        full.wait(60)
        if died_after != "points":
            delete_tables(full.clients, stock)
        if died_after == "bucket":
            empty_bucket(full.clients, stock)
        if died_after == "by hand":
            empty_bucket(full.clients, stock)
            full.s3.delete_bucket(Bucket=full.bucket)
            full.backup.delete_backup_vault(BackupVaultName="orders-vault-probe")
            full.dynamodb.delete_table(TableName="orders")
        receipt = tear_down(full)
        assert receipt["status"] == "DELETED"
        assert (stacks(full), vaults(full), full.tables()) == ({}, [], [])

    def test_an_unexplained_rest_fails(self, full):
        full.wait()
        stock = take_stock(full.clients, STACK)
        with pytest.raises(TeardownIncompleteError, match="Run this DAG again"):
            write_receipt(full.clients, stock, {}, now=full.now())


class TestKept:
    def test_a_locked_vault_stays_with_what_its_points_need(self, full):
        full.wait()
        full.backup.put_backup_vault_lock_configuration(BackupVaultName="orders-vault", MinRetentionDays=1)
        stock = take_stock(full.clients, STACK)
        assert {point.reason for point in stock.points} == {LOCKED}
        before = points(full)
        receipt = tear_down(full, stock)
        assert receipt["status"] == "DELETE_FAILED"
        assert set(receipt["kept"]["recovery_points"].values()) == {LOCKED}
        assert points(full) == before
        assert set(receipt["kept"]["resources"]) >= {"Vault", "VaultKey", "BackupRole", "RetentionRole", "Bucket"}
        assert "Plan" in receipt["deleted"]["resources"]
        assert full.tables() == []
        assert full.backup.list_backup_plans()["BackupPlansList"] == []
        # The fingerprints of what stays.
        assert full.keys("recovery-points/")

        full.backup.delete_backup_vault_lock_configuration(BackupVaultName="orders-vault")
        assert tear_down(full)["status"] == "DELETED"
        assert (stacks(full), vaults(full), roles(full)) == ({}, [], [])

    def test_a_strangers_point_is_not_touched(self, full):
        stranger = foreign_point(full)
        stock = take_stock(full.clients, STACK)
        assert [(point.arn, point.reason) for point in stock.kept] == [(stranger, FOREIGN)]
        receipt = tear_down(full, stock)
        assert receipt["kept"]["recovery_points"] == {stranger: FOREIGN}
        assert points(full) == [stranger]
        assert full.tables() == [STRANGER]
        assert full.backup.describe_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=stranger)
        # Nothing of ours needs the bucket any more.
        assert full.s3.list_buckets()["Buckets"] == []

    def test_a_point_that_only_inherited_our_tag_is_not_touched(self, full):
        full.wait()
        table = full.resources["table_arn"]
        full.dynamodb.tag_resource(ResourceArn=table, Tags=[{"Key": "managed-by", "Value": "dynamodb-backup-proof"}])
        job = full.backup.start_backup_job(
            BackupVaultName="orders-vault", ResourceArn=table, IamRoleArn=full.resources["role_arn"]
        )
        full.wait()
        by_hand = full.backup.describe_backup_job(BackupJobId=job["BackupJobId"])["RecoveryPointArn"]
        stock = take_stock(full.clients, STACK)
        assert [(point.arn, point.reason) for point in stock.kept] == [(by_hand, FOREIGN)]
        tear_down(full, stock)
        assert points(full) == [by_hand]

    def test_a_held_point_stays(self, full):
        full.wait()
        held = points(full)[0]
        full.backup.create_legal_hold(
            Title="case",
            Description="case",
            RecoveryPointSelection={
                "ResourceIdentifiers": [full.resources["table_arn"]],
                "VaultNames": ["orders-vault"],
            },
        )
        stock = take_stock(full.clients, STACK)
        assert {point.arn: point.reason for point in stock.kept}[held] == HELD
        assert tear_down(full, stock)["kept"]["recovery_points"][held] == HELD

    def test_what_aws_refuses_is_kept_with_its_words(self, full):
        full.wait()
        stock = take_stock(full.clients, STACK)
        operator = role_clients(full.clients, full.resources["operator_role_arn"], session_name="teardown")
        refused = delete_points(operator, stock.due)
        assert set(refused) == {point.arn for point in stock.due}
        assert all("AccessDenied" in words for words in refused.values())
        assert len(points(full)) == 2

    def test_a_stack_of_somebody_else_is_not_touched(self, full):
        full.clients("cloudformation").create_stack(
            StackName="foreign", TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
        )
        with pytest.raises(NotOurStackError, match="managed-by=dynamodb-backup-proof"):
            take_stock(full.clients, "foreign")

    def test_no_stack_is_nothing_to_do(self, full):
        assert take_stock(full.clients, "never-was") == Stock("never-was", None)
