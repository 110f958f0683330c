"""What must be refused, tried one call at a time: nothing here deletes anything where policies hold.

On the probe vault everything is tried in earnest. On the real one only calls that change nothing if they are let
through: they give what is there already, or name what does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError

from backup_flows.principals import is_denied

Clients = Callable[[str], Any]

REFUSED = "refused"
LET_THROUGH = "let through"
INCONCLUSIVE = "inconclusive"
"""The call failed, but not because a policy refused it: with other arguments it might have done harm."""
WORKED = "worked"
FAILED = "failed"

NOBODY = "00000000-0000-0000-0000-000000000000"
NO_BACKUP = "00000000000000-00000000"


@dataclass(frozen=True)
class Ground:
    """On what the attempts are made.

    :param probe_point: ARN of the recovery point in the probe vault.
    :param probe_lifecycle: its lifecycle, as AWS describes it.
    :param probe_policy: the probe vault's access policy, None if it has none.
    :param vault_policy: the real vault's access policy, None if it has none.
    :param vault_point: a recovery point of the real vault that has a lifecycle, None if there is none.
    :param vault_lifecycle: that point's lifecycle.
    :param vault_locked: whether the real vault has a lock, which is then not touched.
    """

    vault: str
    probe_vault: str
    probe_table_arn: str
    probe_point: str
    probe_lifecycle: Mapping[str, Any]
    probe_policy: str | None
    vault_policy: str | None
    vault_point: str | None
    vault_lifecycle: Mapping[str, Any]
    vault_locked: bool
    plan_id: str

    @property
    def absent_point(self) -> str:
        """ARN of a recovery point that does not exist."""
        partition, _, region, account = self.probe_table_arn.split(":")[1:5]
        return f"arn:{partition}:backup:{region}:{account}:recovery-point:{NOBODY}"


@dataclass(frozen=True)
class Attempt:
    """One call that must be refused, as it is shown and as it is made."""

    action: str
    target: str
    call: Callable[[Clients], Any]


@dataclass(frozen=True)
class Trial:
    """How one call ended."""

    principal: str
    action: str
    target: str
    outcome: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        """Return the fields as a flat dict, for reports."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.principal}: {self.action} on {self.target}: {self.outcome} ({self.detail})"


def attempts(ground: Ground) -> list[Attempt]:
    """Return the calls that must be refused, the harmful ones last.

    The protection of recovery points rests on the actions that
    https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html names.
    """
    return [*_on_plan(ground), *_on_vault(ground), *_on_probe(ground)]


def _on_plan(ground: Ground) -> list[Attempt]:
    return [
        Attempt(
            "backup:DeleteBackupSelection",
            "the plan (no such assignment)",
            lambda c: c("backup").delete_backup_selection(BackupPlanId=ground.plan_id, SelectionId=NOBODY),
        ),
        Attempt(
            "backup:DeleteBackupPlan",
            "no such plan",
            lambda c: c("backup").delete_backup_plan(BackupPlanId=NOBODY),
        ),
        Attempt(
            "dynamodb:DeleteBackup",
            "the probe table (no such backup)",
            lambda c: c("dynamodb").delete_backup(BackupArn=f"{ground.probe_table_arn}/backup/{NO_BACKUP}"),
        ),
    ]


def _on_vault(ground: Ground) -> list[Attempt]:
    vault, absent = ground.vault, ground.absent_point
    found = [
        Attempt(
            "backup:DeleteRecoveryPoint",
            "the vault (no such recovery point)",
            lambda c: c("backup").delete_recovery_point(BackupVaultName=vault, RecoveryPointArn=absent),
        ),
        Attempt(
            "backup:DisassociateRecoveryPoint",
            "the vault (no such recovery point)",
            lambda c: c("backup").disassociate_recovery_point(BackupVaultName=vault, RecoveryPointArn=absent),
        ),
    ]
    if ground.vault_policy is not None:
        policy = ground.vault_policy
        found.append(
            Attempt(
                "backup:PutBackupVaultAccessPolicy",
                "the vault (its own policy again)",
                lambda c: c("backup").put_backup_vault_access_policy(BackupVaultName=vault, Policy=policy),
            )
        )
    if ground.vault_point is not None:
        found.append(
            Attempt(
                "backup:UpdateRecoveryPointLifecycle",
                "the vault (a point's own lifecycle again)",
                lambda c: c("backup").update_recovery_point_lifecycle(
                    BackupVaultName=vault, RecoveryPointArn=ground.vault_point, Lifecycle=ground.vault_lifecycle
                ),
            )
        )
    if not ground.vault_locked:
        found.append(
            Attempt(
                "backup:DeleteBackupVaultLockConfiguration",
                "the vault (it has no lock)",
                lambda c: c("backup").delete_backup_vault_lock_configuration(BackupVaultName=vault),
            )
        )
    return found


def _on_probe(ground: Ground) -> list[Attempt]:
    vault, point = ground.probe_vault, ground.probe_point
    # Without a policy there is nothing to give again: one that allows nothing new takes its place.
    policy = ground.probe_policy or _HARMLESS
    return [
        Attempt(
            "backup:UpdateRecoveryPointLifecycle",
            "the probe",
            lambda c: c("backup").update_recovery_point_lifecycle(
                BackupVaultName=vault, RecoveryPointArn=point, Lifecycle=ground.probe_lifecycle
            ),
        ),
        Attempt(
            "backup:DisassociateRecoveryPoint",
            "the probe",
            lambda c: c("backup").disassociate_recovery_point(BackupVaultName=vault, RecoveryPointArn=point),
        ),
        Attempt(
            "backup:DeleteBackupVaultLockConfiguration",
            "the probe",
            lambda c: c("backup").delete_backup_vault_lock_configuration(BackupVaultName=vault),
        ),
        Attempt(
            "backup:DeleteBackupVault",
            "the probe",
            lambda c: c("backup").delete_backup_vault(BackupVaultName=vault),
        ),
        Attempt(
            "backup:PutBackupVaultAccessPolicy",
            "the probe",
            lambda c: c("backup").put_backup_vault_access_policy(BackupVaultName=vault, Policy=policy),
        ),
        Attempt(
            "backup:DeleteRecoveryPoint",
            "the probe",
            lambda c: c("backup").delete_recovery_point(BackupVaultName=vault, RecoveryPointArn=point),
        ),
        Attempt(
            "backup:DeleteBackupVaultAccessPolicy",
            "the probe",
            lambda c: c("backup").delete_backup_vault_access_policy(BackupVaultName=vault),
        ),
    ]


_HARMLESS = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", '
    '"Action": "backup:CopyIntoBackupVault", "Resource": "*"}]}'
)


def try_all(principal: str, clients: Clients, tried: Iterable[Attempt]) -> list[Trial]:
    """Make every attempt and say how each ended; only a refusal by policy counts as refused."""
    return [_try_one(principal, clients, attempt) for attempt in tried]


def _try_one(principal: str, clients: Clients, attempt: Attempt) -> Trial:
    try:
        attempt.call(clients)
    except ClientError as error:
        told = f"{error.response['Error']['Code']}: {error.response['Error'].get('Message', '')}"
        outcome = REFUSED if is_denied(error) else INCONCLUSIVE
        return Trial(principal, attempt.action, attempt.target, outcome, told)
    return Trial(principal, attempt.action, attempt.target, LET_THROUGH, "AWS answered with success")


def must_work(principal: str, clients: Clients, calls: Mapping[str, Callable[[Clients], Any]]) -> list[Trial]:
    """Make calls that a role must still be able to make."""
    trials = []
    for action, call in calls.items():
        try:
            call(clients)
        except ClientError as error:
            told = f"{error.response['Error']['Code']}: {error.response['Error'].get('Message', '')}"
            trials.append(Trial(principal, action, "what it needs", FAILED, told))
        else:
            trials.append(Trial(principal, action, "what it needs", WORKED, "as it must"))
    return trials


GOOD = frozenset({REFUSED, WORKED})


def bad_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that disprove the protection, or prove nothing."""
    return [trial for trial in trials if trial.outcome not in GOOD]
