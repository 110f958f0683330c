"""Everything that would make a run fail later is told before anything is started, all at once, with remedies."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from backup_flows.preflight import (
    Concern,
    Flight,
    Kept,
    PreflightError,
    check_kept,
    ensure_ready,
    find_concerns,
    flight_of_tables,
)
from backup_flows.protection import Protection, Table
from backup_flows.resources import preflight
from recovery_retention.names import restored_table_name

YEAR = Kept("the daily tier", {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 366}, 60, 120)
TARGET = "orders-restored-20261101-0a1b2c3d"


@pytest.fixture
def flight(flow):
    """What the story does: a backup of the orders table, and a restore beside it."""
    return Flight(
        role_arn=flow.resources["role_arn"],
        vaults={flow.resources["vault"]: [YEAR]},
        table_arns=[flow.resources["table_arn"]],
        targets=[TARGET],
    )


def concerns(flow, flight):
    return [str(concern) for concern in find_concerns(flow.clients, flight)]


def only(flow, flight):
    (concern,) = concerns(flow, flight)
    return concern


def test_a_stack_as_it_is_deployed_is_ready(flow, flight):
    assert concerns(flow, flight) == []
    ensure_ready(flow.clients, flight)


@pytest.mark.parametrize("advanced", [True, False])
def test_both_kinds_of_backup_are_asked_for(flow, flight, advanced):
    flow.backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": advanced})
    assert concerns(flow, flight) == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("AWSBackupServiceRolePolicyForBackup", "may not back up"),
        ("AWSBackupServiceRolePolicyForRestores", "may not restore to"),
    ],
)
def test_a_role_that_lacks_a_right_is_told(flow, flight, policy, words):
    name = flight.role_arn.rpartition("/")[2]
    flow.clients("iam").detach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/service-role/{policy}")
    assert words in only(flow, flight)


def test_a_role_that_may_not_restore_is_good_enough_for_a_backup(flow, flight):
    name = flight.role_arn.rpartition("/")[2]
    flow.clients("iam").detach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForRestores"
    )
    assert concerns(flow, replace(flight, targets=[])) == []


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Deny", "Principal": {"Service": "backup.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
    ],
)
def test_a_role_that_aws_backup_can_not_take_on_is_told(flow, flight, statement):
    flow.clients("iam").update_assume_role_policy(
        RoleName=flight.role_arn.rpartition("/")[2],
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}),
    )
    assert "does not trust backup.amazonaws.com" in only(flow, flight)


def test_a_role_that_is_not_there_is_told(flow, flight):
    assert "role/none does not exist" in only(flow, replace(flight, role_arn="arn:aws:iam::123456789012:role/none"))


class Denying:
    """A client that may not make one call."""

    def __init__(self, client, *calls):
        self.client = client
        self.calls = calls

    def __getattr__(self, name):
        if name in self.calls:

            def refuse(*_, **__):
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, name)

            return refuse
        return getattr(self.client, name)


@pytest.mark.parametrize(
    ("service", "call", "right"),
    [
        ("iam", "get_role", "iam:GetRole"),
        ("iam", "get_paginator", "iam:SimulatePrincipalPolicy"),
        ("kms", "describe_key", "kms:DescribeKey"),
    ],
)
def test_what_may_not_be_looked_at_stops_nothing(flow, flight, service, call, right):
    def clients(name):
        return Denying(flow.clients(name), call) if name == service else flow.clients(name)

    (concern,) = find_concerns(clients, flight)
    assert not concern.sure
    assert right in concern.remedy
    ensure_ready(clients, flight)


def test_the_opt_in_switched_off_is_told(flow, flight):
    flow.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    assert "opt-in" in only(flow, flight)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({"start_minutes": 59}, "60 or more"),
        ({"start_minutes": 120, "completion_minutes": 120}, "at least 180"),
        ({"lifecycle": {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 120}}, "at least 121"),
        ({"lifecycle": {"DeleteAfterDays": 0}}, "1 to 36500"),
        ({"lifecycle": {"DeleteAfterDays": 36501}}, "1 to 36500"),
    ],
)
def test_windows_and_lifecycles_that_aws_refuses_are_told(kept, words):
    (concern,) = check_kept([replace(YEAR, **kept)])
    assert "the daily tier" in concern.problem
    assert words in concern.remedy


@pytest.mark.parametrize(
    ("lock", "lifecycle", "words"),
    [
        ({"MinRetentionDays": 400}, {"DeleteAfterDays": 366}, "asks for 400 or more"),
        ({"MaxRetentionDays": 100}, {"DeleteAfterDays": 366}, "allows 100 at most"),
        ({"MaxRetentionDays": 100}, {}, "for ever"),
        ({"MinRetentionDays": 366, "MaxRetentionDays": 366}, {"DeleteAfterDays": 366}, None),
        ({"MinRetentionDays": 30}, {}, None),
    ],
)
def test_retention_outside_the_vaults_lock_is_told(flow, flight, lock, lifecycle, words):
    flow.backup.put_backup_vault_lock_configuration(BackupVaultName=flow.resources["vault"], **lock)
    found = concerns(flow, replace(flight, vaults={flow.resources["vault"]: [replace(YEAR, lifecycle=lifecycle)]}))
    assert len(found) == (1 if words else 0)
    assert all(words in concern for concern in found)


def test_a_vault_that_is_not_there_is_told(flow, flight):
    assert "backup vault none does not exist" in only(flow, replace(flight, vaults={"none": [YEAR]}))


def test_one_bad_vault_of_several_does_not_stop_the_others(flow, flight):
    both = replace(flight, vaults={**flight.vaults, "none": [YEAR]})
    (concern,) = find_concerns(flow.clients, both)
    assert (concern.vault, concern.sure) == ("none", True)
    ensure_ready(flow.clients, both)
    with pytest.raises(PreflightError, match="backup vault none"):
        ensure_ready(flow.clients, replace(flight, vaults={"none": [YEAR]}))


def test_a_vault_with_the_key_that_aws_gives_it_is_ready(flow, flight):
    flow.backup.create_backup_vault(BackupVaultName="plain")
    assert concerns(flow, replace(flight, vaults={"plain": [YEAR]})) == []


@pytest.mark.parametrize(("harm", "state"), [("disable_key", "Disabled"), ("schedule_key_deletion", "PendingDeletion")])
def test_a_key_that_can_not_be_used_is_told(flow, flight, harm, state):
    key = flow.backup.describe_backup_vault(BackupVaultName=flow.resources["vault"])["EncryptionKeyArn"]
    getattr(flow.clients("kms"), harm)(KeyId=key.rpartition("/")[2])
    assert f"is {state}" in only(flow, flight)


def test_a_name_that_is_taken_is_told_unless_the_run_itself_took_it(flow, flight):
    flow.make_table(TARGET)
    assert f"table {TARGET} exists already" in only(flow, flight)
    assert concerns(flow, replace(flight, owned_targets=frozenset({TARGET}))) == []


@pytest.mark.parametrize("name", ["a" * 256, "no", "with space"])
def test_a_name_that_is_not_legal_is_told(flow, flight, name):
    assert "can't be a table's name" in only(flow, replace(flight, targets=[name]))


def test_a_full_restore_quota_is_told(flow, flight):
    binding = flow.back_up()
    for number in range(3):
        flow.backup.start_restore_job(
            RecoveryPointArn=binding.recovery_point_arn,
            IamRoleArn=flight.role_arn,
            Metadata={"targetTableName": f"copy-{number}", "encryptionType": "Default"},
        )
    many = [f"wanted-{number}" for number in range(47)]
    assert concerns(flow, replace(flight, targets=many)) == []
    assert "3 restores" in only(flow, replace(flight, targets=[*many, "one-more"]))


def test_the_flight_of_a_fleet_names_each_vault_and_rule_once():
    described = Protection.model_validate(
        {
            "version": 1,
            "tables": [
                {"tag": {"backup": "daily"}, "tier": "daily"},
                {"name": "stock", "tier": "weekly", "vault": "other", "lifecycle": {"delete_after_days": 60}},
            ],
        }
    )
    tables = [Table(name, f"arn:{name}", {"backup": "daily"}) for name in ("orders", "ledger", "stock")]
    found = flight_of_tables(described.select(tables), role_arn="role", stack_vault="stack")
    assert found.table_arns == ["arn:ledger", "arn:orders", "arn:stock"]
    assert {
        vault: [(kept.label, kept.lifecycle, kept.start_minutes) for kept in rules]
        for vault, rules in found.vaults.items()
    } == {
        "stack": [("the daily tier (for tag backup=daily)", {"DeleteAfterDays": 366}, 60)],
        "other": [("the weekly tier (for stock)", {"DeleteAfterDays": 60}, 60)],
    }
    assert found.targets == ()


def test_all_that_is_wrong_is_told_at_once(flow, flight):
    flow.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    with pytest.raises(PreflightError) as refused:
        ensure_ready(flow.clients, replace(flight, vaults={"none": [YEAR]}, targets=["no"]))
    assert len(refused.value.concerns) == 3
    assert str(refused.value).count("\n- ") == 3


def test_the_error_travels_between_processes():
    error = PreflightError([Concern("it is wrong", "mend it")])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_story_is_stopped_before_it_starts(flow, in_task, new_context):
    flow.backup.put_backup_vault_lock_configuration(BackupVaultName=flow.resources["vault"], MinRetentionDays=60)
    with pytest.raises(PreflightError, match="delete_after_days keeps recovery points 35 days"):
        in_task(preflight, new_context())
    assert in_task(preflight, new_context(delete_after_days=60))["lifecycle"] == {"DeleteAfterDays": 60}


def test_a_run_that_is_cleared_may_find_its_own_table(flow, in_task, context):
    assert in_task(preflight, context)["as_of"] == "2026-11-01"
    binding = flow.back_up(context)
    plan, _ = flow.restore(binding, context)
    assert plan["target_table"] == restored_table_name(
        "orders", dt.date(2026, 11, 1), "orders_backup_restore/manual__1"
    )
    assert in_task(preflight, context)["table"] == "orders"
