"""The proof by attempt: developers and Airflow's own role try to destroy backups, and every call must be refused.

On a probe vault under the same policy as the real one, with a recovery point of its own. A server that does not
enforce IAM at all is found out first, since on it every proof would be worth nothing.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import get_current_context, task, task_group
from botocore.exceptions import ClientError

from aws_backup.sensors.backup import BackupJobSensor
from backup_flows.as_of import as_of_date, run_key, utcnow
from backup_flows.attempts import Clients, Ground, Trial, attempts, bad_trials, must_work, try_all
from backup_flows.aws import AWS_CONN_ID, client, retention_conn_id
from backup_flows.defaults import BACKUP_LIMIT, NO_RETRY
from backup_flows.principals import is_denied, is_role, role_clients
from backup_flows.resources import look_up
from backup_flows.stack import Resources
from backup_flows.store import put_json

log = logging.getLogger(__name__)

BACKFILL = "backfill"
DENY_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
PROBE_DAYS = 7
"""Should nobody remove a probe's recovery point, AWS Backup does so after these days."""
PRESENT = frozenset({"COMPLETED", "AVAILABLE"})


class PastCannotBeTriedError(RuntimeError):
    """A backfill asked what policies would have refused at a past date."""


class IamNotEnforcedError(RuntimeError):
    """The server lets a session without any right do things: there every proof of a denial is worth nothing."""


class ProtectionDisprovedError(RuntimeError):
    """Something that destroys backups was not refused, or a role can't do its work; the message names each call."""


class ProbeNotRemovedError(RuntimeError):
    """The retention role could not remove the probe; the message says what is left and why."""


def operator_clients() -> Clients:
    """Return what makes clients of the connection ``aws_default``."""
    return functools.cache(lambda service: client(service, aws_conn_id=AWS_CONN_ID))


def developer_clients(resources: Resources, *, policy: str | None = None) -> Clients:
    """Return what makes clients of a developer's session."""
    return role_clients(operator_clients(), resources.developer_role_arn, session_name="deny-proof", policy=policy)


def ensure_iam_is_enforced(denied: Clients) -> None:
    """Let a session that may do nothing ask for something harmless.

    :raises IamNotEnforcedError: it got an answer.
    """
    try:
        denied("backup").list_backup_vaults(MaxResults=1)
    except ClientError as error:
        if is_denied(error):
            return
        raise
    raise IamNotEnforcedError(
        "a session whose policy denies everything could list backup vaults: this server does not enforce IAM, so no "
        "attempt proves anything here. Start the local AWS with --enforce-iam (`make run` does)."
    )


def scratch_table(resources: Resources) -> str:
    """Return the name of the table that a developer makes to show that developers can."""
    return f"{resources.probe_table}-by-developer"


def open_ground(resources: Resources, developer: Clients, *, token: str) -> tuple[str, list[Trial]]:
    """Let a developer make a table and start the backup that fills the probe vault.

    :param token: of the run; with the same one, AWS finds the job that it has.
    :return: the backup job's id, and what worked.
    """
    started: dict[str, Any] = {}

    def make_table(clients: Clients) -> None:
        dynamodb = clients("dynamodb")
        try:
            dynamodb.create_table(
                TableName=scratch_table(resources),
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except dynamodb.exceptions.ResourceInUseException:
            log.info("Table %s is there from an earlier try", scratch_table(resources))

    def start_backup(clients: Clients) -> None:
        table = clients("dynamodb").describe_table(TableName=resources.probe_table)["Table"]
        started.update(
            clients("backup").start_backup_job(
                BackupVaultName=resources.probe_vault,
                ResourceArn=table["TableArn"],
                IamRoleArn=resources.role_arn,
                IdempotencyToken=token,
                Lifecycle={"DeleteAfterDays": PROBE_DAYS},
            )
        )

    calls = {
        "dynamodb:CreateTable": make_table,
        "dynamodb:ListTables": lambda c: c("dynamodb").list_tables(Limit=1),
        "backup:StartBackupJob": start_backup,
        "backup:ListBackupJobs": lambda c: c("backup").list_backup_jobs(MaxResults=1),
    }
    trials = must_work("developer", developer, calls)
    wrong = bad_trials(trials)
    if wrong:
        raise ProtectionDisprovedError("; ".join(map(str, wrong)))
    return str(started["BackupJobId"]), trials


def survey(resources: Resources, clients: Clients) -> Ground:
    """Look at both vaults and what the attempts on them have to name.

    :raises ProtectionDisprovedError: the probe has another policy than the vault, so it stands for nothing.
    """
    backup = clients("backup")
    probe_policy, vault_policy = (_policy(backup, name) for name in (resources.probe_vault, resources.vault))
    if _parsed(probe_policy) != _parsed(vault_policy):
        raise ProtectionDisprovedError(
            f"the vaults {resources.vault} and {resources.probe_vault} have different access policies, so the probe "
            "says nothing about the vault: somebody changed one of them by hand. Deploy the stack's policy again."
        )
    probe_point = next(iter(_points(backup, resources.probe_vault)), None)
    if probe_point is None:
        raise ProtectionDisprovedError(f"the probe vault {resources.probe_vault} holds no recovery point to try on.")
    vault_point = next((point for point in _points(backup, resources.vault) if _lifecycle(point)), None)
    described = backup.describe_backup_vault(BackupVaultName=resources.vault)
    table = clients("dynamodb").describe_table(TableName=resources.probe_table)["Table"]
    return Ground(
        vault=resources.vault,
        probe_vault=resources.probe_vault,
        probe_table_arn=table["TableArn"],
        probe_point=probe_point["RecoveryPointArn"],
        probe_lifecycle=_lifecycle(probe_point) or {"DeleteAfterDays": PROBE_DAYS},
        probe_policy=probe_policy,
        vault_policy=vault_policy,
        vault_point=vault_point["RecoveryPointArn"] if vault_point else None,
        vault_lifecycle=_lifecycle(vault_point) if vault_point else {},
        vault_locked=bool(described.get("Locked", False)),
        plan_id=resources.plan_id,
    )


def try_everything(resources: Resources, operator: Clients, developer: Clients) -> list[Trial]:
    """Let both roles try all that must be refused, and the operator what it must be able to do."""
    tried = attempts(survey(resources, operator))
    trials = try_all("developer", developer, tried) + try_all("operator", operator, tried)
    calls = {
        "backup:ListRecoveryPointsByBackupVault": lambda c: _points(c("backup"), resources.vault),
        "backup:ListBackupJobs": lambda c: c("backup").list_backup_jobs(MaxResults=1),
        "dynamodb:ListTables": lambda c: c("dynamodb").list_tables(Limit=1),
    }
    return trials + must_work("operator", operator, calls)


def remove_probe(resources: Resources, retention: Clients) -> list[str]:
    """Delete every recovery point of the probe vault, as the retention role; return what was asked to go.

    :raises ProbeNotRemovedError: AWS refused, or says EXPIRED where it could not delete.
    """
    backup = retention("backup")
    gone, left = [], []
    for point in _all_points(backup, resources.probe_vault):
        arn = point["RecoveryPointArn"]
        try:
            backup.delete_recovery_point(BackupVaultName=resources.probe_vault, RecoveryPointArn=arn)
            after = backup.describe_recovery_point(BackupVaultName=resources.probe_vault, RecoveryPointArn=arn)
        except backup.exceptions.ResourceNotFoundException:
            gone.append(arn)
        except ClientError as error:
            left.append(f"{arn}: {error}")
        else:
            (left if after["Status"] == "EXPIRED" else gone).append(arn)
    if left:
        raise ProbeNotRemovedError(
            f"the probe vault {resources.probe_vault} still holds {'; '.join(left)}. Only the retention role may "
            f"delete there: define the connection aws_backup_retention with {resources.retention_role_arn}."
        )
    return gone


def _policy(backup: Any, vault: str) -> str | None:
    try:
        return str(backup.get_backup_vault_access_policy(BackupVaultName=vault)["Policy"])
    except backup.exceptions.ResourceNotFoundException:
        return None


def _parsed(policy: str | None) -> Any:
    return None if policy is None else json.loads(policy)


def _points(backup: Any, vault: str) -> list[dict[str, Any]]:
    return [point for point in _all_points(backup, vault) if point["Status"] in PRESENT]


def _all_points(backup: Any, vault: str) -> list[dict[str, Any]]:
    pages = backup.get_paginator("list_recovery_points_by_backup_vault").paginate(BackupVaultName=vault)
    return [point for page in pages for point in page["RecoveryPoints"]]


def _lifecycle(point: Mapping[str, Any]) -> dict[str, Any]:
    wanted = ("MoveToColdStorageAfterDays", "DeleteAfterDays")
    return {name: value for name, value in point.get("Lifecycle", {}).items() if name in wanted}


# --- tasks ------------------------------------------------------------------------------------------------


def _here() -> Resources:
    return look_up(get_current_context()["params"]["stack_name"])


@task.short_circuit(task_id="proof_wanted", **NO_RETRY)
def proof_wanted() -> bool:
    """Go on unless the run's param says that the protection is not to be proved."""
    wanted = bool(get_current_context()["params"]["prove_protection"])
    if not wanted:
        log.warning("prove_protection is off: nothing shows that backups can't be deleted.")
    return wanted


@task(task_id="open_probe", retries=3, retry_delay=dt.timedelta(seconds=15))
def open_probe() -> str:
    """See that IAM is enforced, and let a developer start the backup that fills the probe vault; return its job."""
    context = get_current_context()
    dag_run = context["dag_run"]
    if dag_run.run_type == BACKFILL:
        raise PastCannotBeTriedError(
            f"what policies refused on {as_of_date(context)} can't be tried now: a proof by attempt speaks of the "
            "moment it is made. Trigger this DAG instead of backfilling it."
        )
    resources = _here()
    ensure_iam_is_enforced(developer_clients(resources, policy=DENY_ALL))
    token = f"deny-proof-{run_key(dag_run.dag_id, dag_run.run_id)}-{context['ti'].try_number}"
    job, trials = open_ground(resources, developer_clients(resources), token=token)
    for trial in trials:
        log.info("%s", trial)
    return job


@task(task_id="try_everything", **NO_RETRY)
def try_everything_task() -> dict[str, Any]:
    """Try everything that must be refused; keep the report, and fail with each call that was not."""
    context = get_current_context()
    resources = _here()
    operator = operator_clients()
    caller = str(operator("sts").get_caller_identity()["Arn"])
    trials = try_everything(resources, operator, developer_clients(resources))
    wrong = bad_trials(trials)
    for trial in trials:
        log.log(logging.ERROR if trial in wrong else logging.INFO, "%s", trial)
    if not is_role(caller, resources.operator_role_arn):
        log.warning("aws_default is %s, not the operator role %s", caller, resources.operator_role_arn)
    report = {
        "tried_at": utcnow().isoformat(),
        "tried_by": caller,
        "stack": context["params"]["stack_name"],
        "verdict": "PROTECTED" if not wrong else "UNPROTECTED",
        "not_refused": [str(trial) for trial in wrong],
        "trials": [trial.as_dict() for trial in trials],
    }
    dag_run = context["dag_run"]
    key = f"evidence/deny-delete/{as_of_date(context)}-{run_key(dag_run.dag_id, dag_run.run_id)}.json"
    report["address"] = put_json(operator("s3"), resources.bucket, key, report)
    log.info("%s calls tried, %s not as they must be. Report: %s", len(trials), len(wrong), report["address"])
    if wrong:
        raise ProtectionDisprovedError(
            f"{len(wrong)} of {len(trials)} calls were not refused, or did not work where they must: "
            + "; ".join(map(str, wrong))
        )
    return {name: report[name] for name in ("verdict", "address", "tried_by")}


@task(task_id="close_probe", retries=3, retry_delay=dt.timedelta(seconds=20))
def close_probe() -> list[str]:
    """Remove the probe: its recovery points as the retention role, the developer's table as a developer."""
    resources = _here()
    retention = functools.cache(lambda service: client(service, aws_conn_id=retention_conn_id()))
    gone = remove_probe(resources, retention)
    dynamodb = developer_clients(resources)("dynamodb")
    try:
        dynamodb.delete_table(TableName=scratch_table(resources))
    except dynamodb.exceptions.ResourceNotFoundException:
        log.info("Table %s is gone already", scratch_table(resources))
    return gone


@task_group(group_id="deny_proof", prefix_group_id=False)
def deny_proof() -> None:
    """Try to destroy backups as those who must not, on a probe that is removed in the end."""
    job = open_probe()
    filled = BackupJobSensor(
        task_id="wait_for_probe",
        backup_job_id=job,  # type: ignore[arg-type]  # an XComArg
        deferrable=True,
        poke_interval=2,
        timeout=BACKUP_LIMIT.total_seconds(),
        execution_timeout=BACKUP_LIMIT,
    )
    closed = close_probe().as_teardown(
        setups=job,  # type: ignore[arg-type]  # an XComArg stands for its task
        on_failure_fail_dagrun=True,
    )
    filled >> try_everything_task() >> closed
