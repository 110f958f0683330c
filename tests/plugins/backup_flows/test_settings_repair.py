"""The operator that re-applies settings: from what a backup recorded to the table that was restored from it."""

from __future__ import annotations

import pickle

import pytest

from backup_flows.settings_repair import (
    ReapplyTableSettingsOperator,
    SettingsNotRecordedError,
    SettingsRepairIncompleteError,
)
from restore_proof.settings_repair import SettingUnrepairableError

pytestmark = pytest.mark.component


@pytest.fixture
def restored(flow):
    """A source with tags, TTL and point-in-time recovery, backed up and restored: the binding and the new table."""
    arn = flow.resources["table_arn"]
    flow.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "sales"}])
    flow.dynamodb.update_time_to_live(
        TableName="orders", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    flow.put("o-1", product="Salmon")
    binding = flow.back_up()
    plan, _ = flow.restore(binding)
    return binding, plan["target_table"]


def operator(flow, binding, table: str, **options) -> ReapplyTableSettingsOperator:
    values = {
        "task_id": "reapply",
        "table_name": table,
        "source_table": "orders",
        "recovery_point_arn": binding.recovery_point_arn,
        "bucket": flow.bucket,
        **options,
    }
    return ReapplyTableSettingsOperator(**values)


def test_a_restored_table_gets_its_sources_settings_back(flow, restored, context):
    binding, table = restored
    assert flow.tags(table) == {}
    result = operator(flow, binding, table, only="tags, time_to_live").execute(context)
    assert {step["name"]: step["outcome"] for step in result["steps"]} == {
        "tags": "applied",
        "time_to_live": "applied",
    }
    ttl = next(step for step in result["steps"] if step["name"] == "time_to_live")
    assert (ttl["recorded"], ttl["before"], ttl["after"]) == ("expires", None, "expires")
    assert flow.tags(table)["team"] == "sales"
    assert operator(flow, binding, table, only=["tags", "time_to_live"]).execute(context)["steps"] == []


def test_what_the_source_became_since_counts_for_nothing(flow, restored, context):
    binding, table = restored
    flow.dynamodb.untag_resource(ResourceArn=flow.resources["table_arn"], TagKeys=["team"])
    operator(flow, binding, table).execute(context)
    assert flow.tags(table)["team"] == "sales"
    assert flow.dynamodb.describe_table(TableName=table)["Table"]["DeletionProtectionEnabled"] is True


@pytest.mark.parametrize("dry", [True, "True", "true"])
def test_a_dry_run_changes_nothing(flow, restored, context, dry):
    binding, table = restored
    result = operator(flow, binding, table, dry_run_only=dry).execute(context)
    assert {step["outcome"] for step in result["steps"]} == {"would_apply"}
    assert flow.tags(table) == {}


def test_what_cannot_be_applied_fails_the_task_after_all_else_was(flow, restored, context):
    binding, table = restored
    flow.dynamodb.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "other"}
    )
    with pytest.raises(SettingsRepairIncompleteError, match=r"time_to_live left: .*in an hour") as failed:
        operator(flow, binding, table).execute(context)
    assert flow.tags(table)["team"] == "sales"
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)
    operator(flow, binding, table).execute(context)


def test_without_recorded_settings_the_message_says_where_to_look(flow, restored, context):
    binding, table = restored
    flow.forget(f"{binding.prefix}settings.json")
    with pytest.raises(SettingsNotRecordedError, match=f"{binding.prefix}settings.json is missing"):
        operator(flow, binding, table).execute(context)


def test_a_setting_that_nobody_can_apply_is_refused(flow, restored, context):
    binding, table = restored
    with pytest.raises(SettingUnrepairableError, match="encryption can't be re-applied"):
        operator(flow, binding, table, only=["encryption"]).execute(context)
