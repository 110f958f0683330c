"""What is ours is told by what a table never hands on to its recovery points."""

from __future__ import annotations

import pytest

from backup_flows.ownership import Origin, is_ours

ADVANCED = "arn:aws:backup:us-east-1:123456789012:recovery-point:1"
PLAIN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/backup/1"
TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
TAG = {"managed-by": "dynamodb-backup-proof"}
MARKS = {**TAG, "dag": "table_backup", "run": "table_backup/run", "table": "orders"}
RESTORED_COPY = {**TAG, "run": "restore_drill/run"}


@pytest.mark.parametrize(
    ("arn", "tags", "origin", "ours"),
    [
        # By a run, or by hand.
        (ADVANCED, MARKS, Origin("orders"), True),
        (ADVANCED, TAG, Origin("orders"), False),
        (ADVANCED, RESTORED_COPY, Origin("orders"), False),
        (ADVANCED, {**MARKS, "managed-by": "somebody else"}, Origin("orders"), False),
        # A table that was restored with its point's tags, under another name, hands them on.
        (ADVANCED, MARKS, Origin("orders-copy"), False),
        # A drill binds what somebody else made, too.
        (ADVANCED, {}, Origin("orders", vouched=True), False),
        # By a plan.
        (ADVANCED, TAG, Origin("orders", "plan", vouched=True), True),
        (ADVANCED, {}, Origin("orders", "plan", vouched=True), False),
        (ADVANCED, TAG, Origin("orders", "plan"), False),
        (ADVANCED, MARKS, Origin("orders", "plan"), False),
        (ADVANCED, {**TAG, "plan": "plan"}, Origin("orders", "plan"), True),
        (ADVANCED, {**TAG, "plan": "another"}, Origin("orders", "plan"), False),
        (ADVANCED, {**TAG, "plan": ""}, Origin("orders", ""), False),
        # AWS keeps no tags of it.
        (PLAIN, {}, Origin("orders", vouched=True), True),
        (PLAIN, MARKS, Origin("orders"), False),
    ],
)
def test_whether_it_is_ours(arn, tags, origin, ours):
    assert is_ours(arn, tags, origin) is ours


@pytest.mark.parametrize(
    ("creator", "plan"),
    [
        (None, None),
        ({}, None),
        ({"BackupPlanArn": "arn:plan", "BackupPlanName": "daily"}, "daily"),
        ({"BackupPlanArn": "arn:plan"}, ""),
    ],
)
def test_what_aws_tells_of_a_points_making(creator, plan):
    assert Origin.of({"ResourceArn": TABLE_ARN, "CreatedBy": creator}) == Origin("orders", plan)


def test_the_dags_points_and_the_stacks_plans_are_ours(flow):
    arn = flow.back_up().recovery_point_arn
    told = flow.backup.describe_recovery_point(BackupVaultName="orders-vault", RecoveryPointArn=arn)
    tags = flow.backup.list_tags(ResourceArn=arn)["Tags"]
    assert is_ours(arn, tags, Origin.of(told))
    plan = flow.backup.get_backup_plan(BackupPlanId=flow.resources["plan_id"])
    (rule,) = plan["BackupPlan"]["Rules"]
    # Also when the plan is gone.
    assert is_ours(ADVANCED, rule["RecoveryPointTags"], Origin("orders", plan["BackupPlan"]["BackupPlanName"]))
    assert flow.backup.list_tags(ResourceArn=plan["BackupPlanArn"])["Tags"] == TAG
