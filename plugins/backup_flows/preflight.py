"""Pre-flight: what would make a backup or a restore fail hours later is looked for before anything costs money.

Each check asks AWS and answers with concerns. A *sure* concern stops the run; one that could not be looked into, for
want of a right to look, is only told: an operator need not be allowed to read IAM or KMS, and AWS checks for itself.

No Airflow import.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from backup_flows.protection import COLD_DAYS, MAX_DAYS, MIN_START_MINUTES, ProtectedTable

log = logging.getLogger(__name__)

DYNAMODB = "DynamoDB"
BACKUP_SERVICE = "backup.amazonaws.com"
CONCURRENT_RESTORES = 50
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"""
RESTORING = ("PENDING", "RUNNING")
DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
_TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")

BACKUP_ACTIONS = {
    True: ("dynamodb:DescribeTable", "dynamodb:ListTagsOfResource", "dynamodb:StartAwsBackupJob"),
    False: ("dynamodb:DescribeTable", "dynamodb:CreateBackup"),
}
RESTORE_ACTIONS = {
    True: ("dynamodb:RestoreTableFromAwsBackup",),
    False: (
        "dynamodb:BatchWriteItem",
        "dynamodb:DeleteItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:UpdateItem",
    ),
}
"""By whether the Region's advanced DynamoDB backup is on; what a plain restore needs of the backup itself is extra.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/UsageNotesAWS.html"""
PLAIN_RESTORE_OF_BACKUP = "dynamodb:RestoreTableFromBackup"


@dataclass(frozen=True)
class Concern:
    """Something that speaks against going on.

    Attributes:
        sure: whether it is known to be wrong; if not, it could not be looked into.
        vault: the vault that it concerns; None: all that the run does.
    """

    problem: str
    remedy: str
    sure: bool = True
    vault: str | None = None

    def __str__(self) -> str:
        return f"{self.problem}: {self.remedy}."


class PreflightError(RuntimeError):
    """The run would fail later; the message lists every reason with its remedy. Nothing was started."""

    def __init__(self, concerns: Sequence[Concern]) -> None:
        self.concerns = tuple(concerns)
        lines = "\n".join(f"- {concern}" for concern in self.concerns)
        super().__init__(f"nothing was started, because of {len(self.concerns)} problem(s):\n{lines}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.concerns,)


@dataclass(frozen=True)
class Kept:
    """How long recovery points are kept, and within which windows they are made.

    Attributes:
        label: names where it comes from, for messages.
        lifecycle: as AWS Backup takes it.
    """

    label: str
    lifecycle: Mapping[str, int]
    start_minutes: int | None = None
    completion_minutes: int | None = None


@dataclass(frozen=True)
class Flight:
    """What a run is going to do.

    Attributes:
        role_arn: the role that AWS Backup takes on.
        vaults: that recovery points go to, each with how they are kept.
        table_arns: tables that are backed up.
        targets: names of tables that restores will make. Empty: nothing is restored.
        owned_targets: of these, the ones that the run itself has made already (it was cleared).
    """

    role_arn: str
    vaults: Mapping[str, Sequence[Kept]]
    table_arns: Sequence[str]
    targets: Sequence[str] = ()
    owned_targets: frozenset[str] = frozenset()


def flight_of_tables(tables: Iterable[ProtectedTable], *, role_arn: str, stack_vault: str) -> Flight:
    """Return what backing protected tables up comes to: their vaults, lifecycles and windows."""
    vaults: dict[str, dict[str, Kept]] = {}
    arns = []
    for table in tables:
        rule = table.rule
        label = f"the {rule.tier} tier (for {table.entry})"
        kept = Kept(label, rule.lifecycle, rule.start_minutes, rule.completion_minutes)
        vaults.setdefault(rule.vault_or(stack_vault), {}).setdefault(label, kept)
        arns.append(table.arn)
    return Flight(role_arn, {vault: tuple(kept.values()) for vault, kept in vaults.items()}, arns)


def ensure_ready(clients: Callable[[str], Any], flight: Flight) -> None:
    """Look at everything that a run needs.

    What concerns one vault of several does not stop a fleet's run: the tables of that vault fail by themselves and are
    named, the others are backed up.

    Args:
        clients: returns a low-level client for a service name.
        flight: what the run is going to do.

    Raises:
        PreflightError: something is surely wrong for all that the run does; tells all of it.
    """
    concerns = list(find_concerns(clients, flight))
    for concern in concerns:
        if not concern.sure:
            log.warning("Could not be checked: %s", concern)
    sure = [concern for concern in concerns if concern.sure]
    concerned = {concern.vault for concern in sure}
    if None in concerned or (sure and concerned >= set(flight.vaults)):
        raise PreflightError(sure)
    for concern in sure:
        log.error("Tables of vault %s will fail: %s", concern.vault, concern)
    log.info("Pre-flight: ready")


def find_concerns(clients: Callable[[str], Any], flight: Flight) -> Iterator[Concern]:
    """Yield everything that speaks against a run."""
    clients = functools.cache(clients)
    settings = clients("backup").describe_region_settings()
    advanced = bool(settings.get("ResourceTypeManagementPreference", {}).get(DYNAMODB, False))
    yield from check_opt_in(settings)
    yield from check_role(clients("iam"), flight, advanced=advanced)
    for vault, kept in flight.vaults.items():
        for concern in (*check_kept(kept), *check_vault(clients, vault, kept)):
            yield replace(concern, vault=vault)
    yield from check_targets(clients, flight)


def check_opt_in(settings: Mapping[str, Any]) -> Iterator[Concern]:
    """Look at the Region's opt-in, without which StartBackupJob refuses DynamoDB.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRegionSettings.html
    """
    if settings["ResourceTypeOptInPreference"].get(DYNAMODB) is False:
        yield Concern(
            "AWS Backup's service opt-in for DynamoDB is off in this Region",
            "switch it on under AWS Backup > Settings > Service opt-in (or UpdateRegionSettings with DynamoDB: true)",
        )


def check_kept(rules: Iterable[Kept]) -> Iterator[Concern]:
    """Look whether windows and lifecycles are what AWS takes.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
    """
    for kept in rules:
        start, completion = kept.start_minutes, kept.completion_minutes
        if start is not None and start < MIN_START_MINUTES:
            yield Concern(
                f"the start window of {kept.label} is {start} minutes", f"AWS takes {MIN_START_MINUTES} or more"
            )
        if start is not None and completion is not None and completion <= start:
            yield Concern(
                f"the completion window of {kept.label} ({completion} minutes) ends before its start window ({start})",
                f"give at least {start + MIN_START_MINUTES}",
            )
        yield from _check_lifecycle(kept)


def _check_lifecycle(kept: Kept) -> Iterator[Concern]:
    cold, delete = (kept.lifecycle.get(name) for name in ("MoveToColdStorageAfterDays", "DeleteAfterDays"))
    for what, days in (("cold storage", cold), ("deletion", delete)):
        if days is not None and not 1 <= days <= MAX_DAYS:
            yield Concern(f"the lifecycle of {kept.label} has {what} after {days} days", f"AWS takes 1 to {MAX_DAYS}")
    if cold is not None and delete is not None and delete < cold + COLD_DAYS:
        yield Concern(
            f"the lifecycle of {kept.label} deletes after {delete} days, {delete - cold} after cold storage",
            f"AWS keeps what is cold for {COLD_DAYS} days: give at least {cold + COLD_DAYS}",
        )


def check_role(iam: Any, flight: Flight, *, advanced: bool) -> Iterator[Concern]:
    """Look whether AWS Backup may take the role on, and whether the role may back up and restore.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    name = flight.role_arn.rsplit("/", 1)[-1]
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except ClientError as error:
        if _code(error) == "NoSuchEntity":
            yield Concern(f"role {flight.role_arn} does not exist", "run the DAG backup_stack to make it")
            return
        yield from _unsure(error, f"role {flight.role_arn}", "iam:GetRole")
        return
    if not _trusts(_document(role["AssumeRolePolicyDocument"])):
        yield Concern(
            f"role {flight.role_arn} does not trust {BACKUP_SERVICE}",
            f"let {BACKUP_SERVICE} do sts:AssumeRole in its trust policy",
        )
    try:
        denied = list(_denied_actions(iam, flight, advanced=advanced))
    except ClientError as error:
        yield from _unsure(error, f"what role {flight.role_arn} may do", "iam:SimulatePrincipalPolicy")
        return
    for what, actions, resource in denied:
        yield Concern(
            f"role {flight.role_arn} may not {what} {resource}: {', '.join(actions)} denied",
            "attach AWS's managed policies AWSBackupServiceRolePolicyForBackup and ...ForRestores to it, and look for "
            "a Deny",
        )


def _denied_actions(iam: Any, flight: Flight, *, advanced: bool) -> Iterator[tuple[str, list[str], str]]:
    # One table stands for all: a role's policies rarely tell tables apart, and a simulation takes one call each.
    for table in flight.table_arns[:1]:
        yield from _simulate(iam, flight.role_arn, "back up", BACKUP_ACTIONS[advanced], table)
    if not flight.targets or not flight.table_arns:
        return
    table = flight.table_arns[0]
    target = f"{table.rpartition('/')[0]}/{flight.targets[0]}"
    yield from _simulate(iam, flight.role_arn, "restore to", RESTORE_ACTIONS[advanced], target)
    if not advanced:
        backup = f"{table}/backup/00000000000000-00000000"
        yield from _simulate(iam, flight.role_arn, "restore from", (PLAIN_RESTORE_OF_BACKUP,), backup)


def _simulate(
    iam: Any, role_arn: str, what: str, actions: Sequence[str], resource: str
) -> Iterator[tuple[str, list[str], str]]:
    pages = iam.get_paginator("simulate_principal_policy").paginate(
        PolicySourceArn=role_arn, ActionNames=list(actions), ResourceArns=[resource]
    )
    denied = [
        result["EvalActionName"]
        for page in pages
        for result in page["EvaluationResults"]
        if result["EvalDecision"] != "allowed"
    ]
    if denied:
        yield what, denied, resource


def check_vault(clients: Callable[[str], Any], vault: str, kept: Iterable[Kept]) -> Iterator[Concern]:
    """Look whether a vault exists, what its lock asks of retention, and whether its key can be used.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/vault-lock.html
    """
    try:
        found = clients("backup").describe_backup_vault(BackupVaultName=vault)
    except ClientError as error:
        # For a missing vault some accounts see AccessDenied instead of ResourceNotFound.
        if _code(error) in {"ResourceNotFoundException", *DENIED}:
            yield Concern(f"backup vault {vault} does not exist, or may not be seen", "run the DAG backup_stack")
            return
        raise
    if found.get("Locked"):
        least, most = found.get("MinRetentionDays"), found.get("MaxRetentionDays")
        for entry in kept:
            yield from _check_lock(vault, least, most, entry)
    # A key that AWS owns is AWS's to keep in order, and can't be described.
    if found.get("EncryptionKeyArn") and found.get("EncryptionKeyType") != "AWS_OWNED_KMS_KEY":
        yield from _check_key(clients("kms"), vault, found["EncryptionKeyArn"])


def _check_lock(vault: str, least: int | None, most: int | None, kept: Kept) -> Iterator[Concern]:
    days = kept.lifecycle.get("DeleteAfterDays")
    told = "for ever" if days is None else f"{days} days"
    if least is not None and days is not None and days < least:
        yield Concern(
            f"{kept.label} keeps recovery points {told}, and the lock of vault {vault} asks for {least} or more",
            f"give DeleteAfterDays {least} or more, or the jobs will fail",
        )
    if most is not None and (days is None or days > most):
        yield Concern(
            f"{kept.label} keeps recovery points {told}, and the lock of vault {vault} allows {most} at most",
            f"give DeleteAfterDays {most} or less, or the jobs will fail",
        )


def _check_key(kms: Any, vault: str, key_arn: str) -> Iterator[Concern]:
    """https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html."""
    try:
        state = kms.describe_key(KeyId=key_arn)["KeyMetadata"]["KeyState"]
    except ClientError as error:
        if _code(error) == "NotFoundException":
            yield Concern(f"key {key_arn} of vault {vault} does not exist", "the vault can't be used: make another one")
            return
        yield from _unsure(error, f"key {key_arn} of vault {vault}", "kms:DescribeKey")
        return
    if state != "Enabled":
        yield Concern(
            f"key {key_arn} of vault {vault} is {state}",
            "enable it, or cancel its deletion (kms:EnableKey, kms:CancelKeyDeletion): backups can be neither made nor "
            "restored without it",
        )


def check_targets(clients: Callable[[str], Any], flight: Flight) -> Iterator[Concern]:
    """Look whether the names of tables to be made are legal and free, and whether the restore quota has room."""
    if not flight.targets:
        return
    for name in flight.targets:
        if not _TABLE_NAME.fullmatch(name):
            yield Concern(
                f"{name!r} can't be a table's name",
                "a name has 3 to 255 letters, digits, _, . and -; the source's name may be too long for its copy",
            )
        elif name not in flight.owned_targets and _exists(clients("dynamodb"), name):
            yield Concern(f"table {name} exists already", "a restore never overwrites: drop it if nobody needs it")
    backup = clients("backup")
    running = sum(
        len(page["RestoreJobs"])
        for status in RESTORING
        for page in backup.get_paginator("list_restore_jobs").paginate(ByStatus=status, ByResourceType=DYNAMODB)
    )
    if running + len(flight.targets) > CONCURRENT_RESTORES:
        yield Concern(
            f"{running} restores of DynamoDB tables are under way, and {len(flight.targets)} more are wanted",
            f"AWS runs {CONCURRENT_RESTORES} at a time: wait for some to end, or ask for a higher quota",
        )


def _exists(dynamodb: Any, name: str) -> bool:
    try:
        dynamodb.describe_table(TableName=name)
    except ClientError as error:
        if _code(error) == "ResourceNotFoundException":
            return False
        raise
    return True


def _trusts(document: Mapping[str, Any]) -> bool:
    """Tell whether a trust policy lets AWS Backup in; conditions are AWS's to judge."""
    statements = document.get("Statement", [])
    return any(
        statement.get("Effect") == "Allow"
        and BACKUP_SERVICE in _listed((statement.get("Principal") or {}).get("Service"))
        and any(action in {"sts:AssumeRole", "sts:*", "*"} for action in _listed(statement.get("Action")))
        for statement in (statements if isinstance(statements, list) else [statements])
        if isinstance(statement.get("Principal") or {}, Mapping)
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _document(policy: Any) -> Mapping[str, Any]:
    # botocore decodes the document, and hands it on as text where it can't.
    parsed: Mapping[str, Any] = json.loads(unquote(policy)) if isinstance(policy, str) else policy
    return parsed


def _unsure(error: ClientError, what: str, action: str) -> Iterator[Concern]:
    if _code(error) not in DENIED:
        raise error
    yield Concern(f"{what} may not be looked at", f"allow {action} to have it checked", sure=False)


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
