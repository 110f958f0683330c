from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from backup_flows.attempts import INCONCLUSIVE, LET_THROUGH, REFUSED, Attempt, attempts, bad_trials, must_work, try_all
from backup_flows.deny_proof import (
    DENY_ALL,
    IamNotEnforcedError,
    PastCannotBeTriedError,
    ProbeNotRemovedError,
    ProtectionDisprovedError,
    ensure_iam_is_enforced,
    open_ground,
    open_probe,
    remove_probe,
    scratch_table,
    survey,
    try_everything,
)
from backup_flows.principals import role_clients
from backup_flows.stack import Resources, read_resources
from local_aws import control

POLICIES = Path(__file__).resolve().parents[3] / "include" / "policies"
ACCOUNT = "123456789012"
PLACES = {
    "Region": "us-east-1",
    "AccountId": ACCOUNT,
    "RetentionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/orders-backup-retention-us-east-1",
    "DeployPrincipalArn": f"arn:aws:iam::{ACCOUNT}:root",
}
STORY = ("story_deny_dynamodb_delete_backup", "story_deny_delete_backup_selection")
DENY = f"arn:aws:iam::{ACCOUNT}:policy/orders-backup-deny-backup-deletion-us-east-1"
EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["backup:*", "dynamodb:*"], "Resource": "*"}}
)


def policy(name: str) -> str:
    text = (POLICIES / f"{name}.json").read_text(encoding="utf-8")
    for place, value in PLACES.items():
        text = text.replace(f"${{{place}}}", value)
    assert "${" not in text
    return text


@pytest.fixture
def resources(flow) -> Resources:
    control.configure(enforce_iam=True)
    return read_resources(flow.clients("cloudformation"), "orders-backup")


@pytest.fixture
def roles(flow, resources) -> Callable[[str], Callable[[str], Any]]:
    """Clients of a session of one of the stack's roles; the developer's is taken on by the operator."""

    @cache
    def session(name: str) -> Callable[[str], Any]:
        if name == "developer":
            return role_clients(session("operator"), resources.developer_role_arn, session_name="test")
        return role_clients(flow.clients, getattr(resources, f"{name}_role_arn"), session_name="test")

    return session


@pytest.fixture
def filled(flow, resources, roles) -> str:
    """A probe vault with a recovery point that a developer made; the job's id."""
    job, trials = open_ground(resources, roles("developer"), token="one")
    assert bad_trials(trials) == []
    flow.wait()
    assert flow.backup.describe_backup_job(BackupJobId=job)["State"] == "COMPLETED"
    return job


def points(flow, vault: str) -> list[dict[str, Any]]:
    return list(flow.backup.list_recovery_points_by_backup_vault(BackupVaultName=vault)["RecoveryPoints"])


def weaken(flow, resources: Resources, *, with_story: bool = True) -> None:
    """Leave only the story's two policies between the roles and the backups."""
    iam, backup = flow.clients("iam"), flow.backup
    for role_arn in (resources.developer_role_arn, resources.operator_role_arn):
        role = role_arn.rsplit("/", 1)[-1]
        iam.detach_role_policy(RoleName=role, PolicyArn=DENY)
        iam.put_role_policy(RoleName=role, PolicyName="everything", PolicyDocument=EVERYTHING)
        for name in STORY if with_story else ():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=policy(name))
    for vault in (resources.vault, resources.probe_vault):
        backup.delete_backup_vault_access_policy(BackupVaultName=vault)


class TestPolicies:
    def test_the_files_are_what_the_stack_deploys(self, flow, resources):
        iam, backup = flow.clients("iam"), flow.backup
        version = iam.get_policy(PolicyArn=DENY)["Policy"]["DefaultVersionId"]
        deployed = iam.get_policy_version(PolicyArn=DENY, VersionId=version)["PolicyVersion"]["Document"]
        assert deployed == json.loads(policy("deny_backup_deletion"))
        for vault in (resources.vault, resources.probe_vault):
            on_vault = backup.get_backup_vault_access_policy(BackupVaultName=vault)["Policy"]
            assert json.loads(on_vault) == json.loads(policy("vault_access_policy"))

    def test_people_inherit_the_denials_from_their_group(self, flow, resources, filled):
        iam = flow.clients("iam")
        iam.create_user(UserName="ann")
        iam.add_user_to_group(GroupName="orders-backup-developers-us-east-1", UserName="ann")
        # Whatever else she is given later.
        iam.put_user_policy(UserName="ann", PolicyName="everything", PolicyDocument=EVERYTHING)
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        ann = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
        trials = try_all("ann", ann.client, attempts(survey(resources, flow.clients)))
        assert {trial.outcome for trial in trials} == {REFUSED}
        assert ann.client("backup").list_backup_vaults()["BackupVaultList"]


class TestProof:
    def test_ours_refuse_every_call_and_leave_the_work_possible(self, flow, resources, roles, filled):
        trials = try_everything(resources, roles("operator"), roles("developer"))
        assert bad_trials(trials) == []
        refused = [trial for trial in trials if trial.outcome == REFUSED]
        assert {trial.principal for trial in refused} == {"developer", "operator"}
        assert all(trial.detail.startswith("AccessDenied") for trial in refused)
        tried = {trial.action for trial in refused}
        assert {action.split(":")[1] for action in tried} == {
            "DeleteBackup",
            "DeleteBackupPlan",
            "DeleteBackupSelection",
            "DeleteBackupVault",
            "DeleteBackupVaultAccessPolicy",
            "DeleteBackupVaultLockConfiguration",
            "DeleteRecoveryPoint",
            "DisassociateRecoveryPoint",
            "PutBackupVaultAccessPolicy",
            "UpdateRecoveryPointLifecycle",
        }
        assert len(points(flow, resources.probe_vault)) == 1

    def test_the_storys_two_let_nearly_everything_through_and_each_is_named(self, flow, resources, roles, filled):
        weaken(flow, resources)
        trials = try_everything(resources, roles("operator"), roles("developer"))
        by_developer = [trial for trial in trials if trial.principal == "developer"]
        through = {(trial.action, trial.target) for trial in by_developer if trial.outcome == LET_THROUGH}
        assert through == {
            ("backup:DeleteBackupVaultLockConfiguration", "the vault (it has no lock)"),
            ("backup:UpdateRecoveryPointLifecycle", "the probe"),
            ("backup:DeleteBackupVaultLockConfiguration", "the probe"),
            ("backup:PutBackupVaultAccessPolicy", "the probe"),
            ("backup:DeleteRecoveryPoint", "the probe"),
            ("backup:DeleteBackupVaultAccessPolicy", "the probe"),
        }
        inconclusive = {trial.action for trial in by_developer if trial.outcome == INCONCLUSIVE}
        assert inconclusive >= {"backup:DisassociateRecoveryPoint", "backup:DeleteBackupVault"}
        refused = {trial.action for trial in by_developer if trial.outcome == REFUSED}
        assert refused == {"backup:DeleteBackupSelection", "dynamodb:DeleteBackup"}

    @pytest.mark.parametrize("layer", ["iam", "vault"])
    def test_each_layer_alone_holds_where_it_reaches(self, flow, resources, roles, filled, layer):
        iam = flow.clients("iam")
        if layer == "iam":
            for vault in (resources.vault, resources.probe_vault):
                flow.backup.delete_backup_vault_access_policy(BackupVaultName=vault)
        else:
            for role_arn in (resources.developer_role_arn, resources.operator_role_arn):
                role = role_arn.rsplit("/", 1)[-1]
                iam.detach_role_policy(RoleName=role, PolicyArn=DENY)
                iam.put_role_policy(RoleName=role, PolicyName="everything", PolicyDocument=EVERYTHING)
        bad = bad_trials(try_everything(resources, roles("operator"), roles("developer")))
        # The vault's policy can't speak for plans and DynamoDB's own backups.
        beyond = {"backup:DeleteBackupSelection", "backup:DeleteBackupPlan", "dynamodb:DeleteBackup"}
        assert {trial.action for trial in bad} == (set() if layer == "iam" else beyond)
        assert len(points(flow, resources.probe_vault)) == 1

    def test_a_probe_under_another_policy_stands_for_nothing(self, flow, resources, roles, filled):
        flow.backup.delete_backup_vault_access_policy(BackupVaultName=resources.vault)
        with pytest.raises(ProtectionDisprovedError, match="different access policies"):
            try_everything(resources, roles("operator"), roles("developer"))

    def test_an_empty_probe_proves_nothing(self, resources, roles):
        with pytest.raises(ProtectionDisprovedError, match="holds no recovery point"):
            survey(resources, roles("operator"))

    def test_the_real_vault_is_only_touched_where_nothing_changes(self, flow, resources, roles, filled):
        flow.start_backup()
        flow.wait()
        weaken(flow, resources, with_story=False)
        before = points(flow, resources.vault)
        ground = survey(resources, flow.clients)
        assert ground.vault_point == before[0]["RecoveryPointArn"]
        try_all("root", flow.clients, attempts(ground))
        assert points(flow, resources.vault) == before
        selections = flow.backup.list_backup_selections(BackupPlanId=resources.plan_id)["BackupSelectionsList"]
        assert len(selections) == 2
        assert (
            points(flow, resources.probe_vault) == [] or points(flow, resources.probe_vault)[0]["Status"] == "DELETING"
        )

    def test_a_locks_removal_is_not_tried_on_a_locked_vault(self, flow, resources, roles, filled):
        flow.backup.put_backup_vault_lock_configuration(BackupVaultName=resources.vault, MinRetentionDays=1)
        tried = attempts(survey(resources, roles("operator")))
        assert [a.target for a in tried if a.action == "backup:DeleteBackupVaultLockConfiguration"] == ["the probe"]


class TestControl:
    def test_a_server_that_enforces_nothing_is_found_out(self, flow, resources, roles):
        denied = role_clients(roles("operator"), resources.developer_role_arn, session_name="test", policy=DENY_ALL)
        ensure_iam_is_enforced(denied)
        control.configure(enforce_iam=False)
        with pytest.raises(IamNotEnforcedError, match="--enforce-iam"):
            ensure_iam_is_enforced(denied)

    def test_any_other_error_is_no_refusal(self):
        def broken(_clients: Any) -> None:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "Call")

        (trial,) = try_all("developer", lambda _: None, [Attempt("backup:X", "the probe", broken)])
        assert (trial.outcome, trial.detail) == (INCONCLUSIVE, "ThrottlingException: slow down")
        assert bad_trials([trial]) == [trial]
        (lame,) = must_work("developer", lambda _: None, {"backup:Y": broken})
        assert bad_trials([lame]) == [lame]

    def test_a_role_that_lost_its_work_fails_the_proof(self, flow, resources, roles):
        role = resources.developer_role_arn.rsplit("/", 1)[-1]
        allowed = f"arn:aws:iam::{ACCOUNT}:policy/orders-backup-developer-us-east-1"
        flow.clients("iam").detach_role_policy(RoleName=role, PolicyArn=allowed)
        with pytest.raises(ProtectionDisprovedError, match="developer: dynamodb:CreateTable"):
            open_ground(resources, roles("developer"), token="two")

    def test_the_past_cant_be_tried(self, flow, new_context, in_task):
        context = new_context(run={"run_type": "backfill"})
        with pytest.raises(PastCannotBeTriedError, match="2026-11-01"):
            in_task(open_probe, context)


class TestProbe:
    def test_the_developer_may_start_over(self, flow, resources, roles, filled):
        job, _ = open_ground(resources, roles("developer"), token="one")
        assert job == filled
        assert scratch_table(resources) in flow.tables()

    def test_only_the_retention_role_removes_it(self, flow, resources, roles, filled):
        with pytest.raises(ProbeNotRemovedError, match="aws_backup_retention"):
            remove_probe(resources, roles("operator"))
        assert len(remove_probe(resources, roles("retention"))) == 1
        flow.wait(60)
        assert points(flow, resources.probe_vault) == []
        assert remove_probe(resources, roles("retention")) == []

    def test_the_retention_role_can_do_little_else(self, flow, resources, roles, filled):
        retention = roles("retention")
        calls = {
            "scan": lambda c: c("dynamodb").scan(TableName="orders"),
            "back up": lambda c: c("backup").start_backup_job(
                BackupVaultName=resources.vault, ResourceArn=resources.table_arn, IamRoleArn=resources.role_arn
            ),
            "vault": lambda c: c("backup").delete_backup_vault(BackupVaultName=resources.probe_vault),
            "policy": lambda c: c("backup").delete_backup_vault_access_policy(BackupVaultName=resources.vault),
        }
        trials = must_work("retention", retention, calls)
        assert {trial.detail.split(":")[0] for trial in trials} == {"AccessDeniedException"}

    def test_another_stacks_retention_role_may_not_delete_here(self, flow, resources, roles, filled):
        other = replace(resources, retention_role_arn=f"arn:aws:iam::{ACCOUNT}:role/other")
        flow.clients("iam").create_role(
            RoleName="other",
            AssumeRolePolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                        "Action": "sts:AssumeRole",
                    },
                }
            ),
        )
        flow.clients("iam").put_role_policy(RoleName="other", PolicyName="everything", PolicyDocument=EVERYTHING)
        clients = role_clients(flow.clients, other.retention_role_arn, session_name="test")
        with pytest.raises(ProbeNotRemovedError, match="explicit deny in a resource-based policy"):
            remove_probe(resources, clients)
