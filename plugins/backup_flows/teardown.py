"""Tear the stack down: list, ask, delete only what this project made, and say what was kept and why."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError

from aws_backup.hooks.backup import is_taggable
from backup_flows import fingerprints
from backup_flows.keys import StateKeyError
from backup_flows.ownership import is_own_plan, plan_arn_of
from backup_flows.restores import delete_restored_table
from backup_flows.stack import describe_stack
from backup_flows.teardown_plan import PointDecision, Stock, decide_points
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, parse_restored_name
from recovery_retention.recovery_point import table_name_of

log = logging.getLogger(__name__)

Clients = Callable[[str], Any]

VAULTS = ("Vault", "ProbeVault")
RUNNING_JOBS = ("CREATED", "PENDING", "RUNNING", "ABORTING")
RESTORING = ("PENDING", "RUNNING")
GONE = frozenset({"DELETE_COMPLETE", "DELETE_SKIPPED"})
OBJECTS_AT_ONCE = 1000


class NotOurStackError(PermissionError):
    """The stack does not carry this project's tag, so nothing of it is touched."""


class JobsStillRunningError(RuntimeError):
    """A backup job still writes into a vault that is to go."""


class TeardownIncompleteError(RuntimeError):
    """Something is still there for no reason that the teardown knows; running it again may help."""


# --- looking --------------------------------------------------------------------------------------------------------


def take_stock(clients: Clients, stack_name: str) -> Stock:
    """Look at what the stack still has, and decide what goes.

    Works on half a stack, too: what is gone already is not looked for.

    :raises NotOurStackError: a stack of that name is not this project's.
    :raises JobsStillRunningError: names the jobs.
    """
    stack = describe_stack(clients("cloudformation"), stack_name)
    if stack is None:
        return Stock(stack_name, None)
    tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
    if tags.get(MANAGED_BY_TAG) != MANAGED_BY:
        raise NotOurStackError(
            f"stack {stack_name} does not carry the tag {MANAGED_BY_TAG}={MANAGED_BY}: this project did not deploy it. "
            "If it is yours all the same, give it that tag with an update, or delete it by hand."
        )
    resources = _resources(clients("cloudformation"), stack_name)
    backup = clients("backup")
    vaults = [resources[name] for name in VAULTS if name in resources and _vault(backup, resources[name])]
    _ensure_no_jobs(backup, vaults)
    bucket = resources.get("Bucket")
    if bucket is not None and not _bucket_exists(clients("s3"), bucket):
        bucket = None
    points = [point for vault in vaults for point in _points(backup, vault)]
    return Stock(
        stack=stack_name,
        status=stack["StackStatus"],
        resources=resources,
        points=decide_points(
            points,
            tags={point["RecoveryPointArn"]: _tags(backup, point["RecoveryPointArn"]) for point in points},
            bound=_bound(clients("s3"), bucket, points),
            plans=_own_plans(backup, points),
            locked={vault for vault in vaults if (_vault(backup, vault) or {}).get("Locked")},
            held=_held(backup),
            restoring={
                job["RecoveryPointArn"]
                for status in RESTORING
                for page in backup.get_paginator("list_restore_jobs").paginate(ByStatus=status)
                for job in page["RestoreJobs"]
            },
        ),
        tables=tuple(_restored_tables(clients("dynamodb"), resources.get("OrdersTable"))),
        objects=sum(1 for _ in _versions(clients("s3"), bucket)) if bucket else 0,
    )


def _resources(cloudformation: Any, stack_name: str) -> dict[str, str]:
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_name)
    return {
        entry["LogicalResourceId"]: entry["PhysicalResourceId"]
        for page in pages
        for entry in page["StackResourceSummaries"]
        if entry.get("PhysicalResourceId") and entry["ResourceStatus"] not in GONE
    }


def _vault(backup: Any, name: str) -> dict[str, Any] | None:
    try:
        return dict(backup.describe_backup_vault(BackupVaultName=name))
    except backup.exceptions.ResourceNotFoundException:
        return None


def _ensure_no_jobs(backup: Any, vaults: Iterable[str]) -> None:
    running = [
        f"{job['BackupJobId']} of {job['ResourceArn']} ({job['State']})"
        for vault in vaults
        for state in RUNNING_JOBS
        for page in backup.get_paginator("list_backup_jobs").paginate(ByBackupVaultName=vault, ByState=state)
        for job in page["BackupJobs"]
    ]
    if running:
        raise JobsStillRunningError(f"backup jobs still run: {'; '.join(running)}. Stop them, or wait for their end.")


def _points(backup: Any, vault: str) -> list[dict[str, Any]]:
    pages = backup.get_paginator("list_recovery_points_by_backup_vault").paginate(BackupVaultName=vault)
    return [{"BackupVaultName": vault, **point} for page in pages for point in page["RecoveryPoints"]]


def _tags(backup: Any, arn: str) -> dict[str, str]:
    if not is_taggable(arn):
        return {}
    return dict(backup.list_tags(ResourceArn=arn).get("Tags", {}))


def _own_plans(backup: Any, points: Iterable[dict[str, Any]]) -> set[str]:
    """Return the ARNs of those plans that made some points, are still there, and carry our tag."""
    found = set()
    for arn in {plan for point in points if (plan := plan_arn_of(point)) is not None}:
        try:
            tags = backup.list_tags(ResourceArn=arn).get("Tags", {})
        except backup.exceptions.ResourceNotFoundException:
            continue  # The points of a plan that is gone bear its name.
        if is_own_plan(tags):
            found.add(arn)
    return found


def _held(backup: Any) -> set[str]:
    holds = [
        hold["LegalHoldId"]
        for page in backup.get_paginator("list_legal_holds").paginate()
        for hold in page["LegalHolds"]
        if hold["Status"] != "CANCELED"
    ]
    paginator = backup.get_paginator("list_recovery_points_by_legal_hold")
    return {
        point["RecoveryPointArn"]
        for hold in holds
        for page in paginator.paginate(LegalHoldId=hold)
        for point in page["RecoveryPoints"]
    }


def _bound(s3: Any, bucket: str | None, points: Iterable[dict[str, Any]]) -> set[str]:
    if bucket is None:
        return set()
    found = set()
    for point in points:
        arn = point["RecoveryPointArn"]
        try:
            binding = fingerprints.find_binding(s3, bucket, table_name_of(point["ResourceArn"]), arn)
        except StateKeyError:
            continue  # not a DynamoDB table's recovery point at all
        if binding is not None and binding.made_by_run:
            found.add(arn)
    return found


def _restored_tables(dynamodb: Any, source: str | None) -> list[str]:
    return sorted(
        name
        for page in dynamodb.get_paginator("list_tables").paginate()
        for name in page["TableNames"]
        if source is not None and (parts := parse_restored_name(name)) is not None and parts.source == source
    )


def _bucket_exists(s3: Any, bucket: str) -> bool:
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchBucket", "NotFound"}:
            return False
        raise
    return True


def _versions(s3: Any, bucket: str) -> Iterable[dict[str, str]]:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for kind in ("Versions", "DeleteMarkers"):
            for entry in page.get(kind, []):
                yield {"Key": entry["Key"], "VersionId": entry["VersionId"]}


# --- deleting -------------------------------------------------------------------------------------------------------


def stop_schedule(clients: Clients, stock: Stock) -> int:
    """Take every assignment off the stack's plan, so that no new recovery point comes; return how many there were."""
    plan = stock.resources.get("Plan")
    backup = clients("backup")
    if plan is None:
        return 0
    stopped = 0
    try:
        for page in backup.get_paginator("list_backup_selections").paginate(BackupPlanId=plan):
            for selection in page["BackupSelectionsList"]:
                backup.delete_backup_selection(BackupPlanId=plan, SelectionId=selection["SelectionId"])
                stopped += 1
    except backup.exceptions.ResourceNotFoundException:
        log.info("Plan %s is gone already", plan)
    return stopped


def delete_points(retention: Clients, due: Iterable[PointDecision]) -> dict[str, str]:
    """Ask AWS to delete recovery points; return those that it refused to, with its words."""
    backup = retention("backup")
    refused = {}
    for point in due:
        try:
            backup.delete_recovery_point(BackupVaultName=point.vault, RecoveryPointArn=point.arn)
        except backup.exceptions.ResourceNotFoundException:
            log.info("%s is gone already", point.arn)
        except ClientError as error:
            refused[point.arn] = str(error)
            log.warning("%s stays: %s", point.arn, error)
    return refused


def points_left(clients: Clients, due: Iterable[PointDecision]) -> list[str]:
    """Return the recovery points that are still there."""
    backup = clients("backup")
    wanted = {point.arn: point.vault for point in due}
    left = []
    for vault in sorted(set(wanted.values())):
        if _vault(backup, vault):
            left += [p["RecoveryPointArn"] for p in _points(backup, vault) if p["RecoveryPointArn"] in wanted]
    return left


def delete_tables(clients: Clients, stock: Stock) -> list[str]:
    """Drop the restored copies, and take the orders table's protection away; return what was dropped."""
    dynamodb, orders = clients("dynamodb"), stock.resources.get("OrdersTable")
    if orders is None:
        return []
    for name in stock.tables:
        try:
            delete_restored_table(dynamodb, name, source=orders)
        except dynamodb.exceptions.ResourceNotFoundException:
            log.info("Table %s is gone already", name)
    try:
        if dynamodb.describe_table(TableName=orders)["Table"].get("DeletionProtectionEnabled"):
            dynamodb.update_table(TableName=orders, DeletionProtectionEnabled=False)
    except dynamodb.exceptions.ResourceNotFoundException:
        log.info("Table %s is gone already", orders)
    return list(stock.tables)


def empty_bucket(clients: Clients, stock: Stock) -> int:
    """Delete every version of every object in the stack's bucket; return how many there were.

    The bucket stays as it is where recovery points of this project stay: their fingerprints lie in it.
    """
    bucket, s3 = stock.resources.get("Bucket"), clients("s3")
    if bucket is None or stock.keeps_own_points or not _bucket_exists(s3, bucket):
        return 0
    entries = list(_versions(s3, bucket))
    for start in range(0, len(entries), OBJECTS_AT_ONCE):
        part = entries[start : start + OBJECTS_AT_ONCE]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": part, "Quiet": True})
        if answer.get("Errors"):
            raise TeardownIncompleteError(f"S3 did not delete all of {bucket}: {answer['Errors'][:3]}")
    return len(entries)


def start_deletion(cloudformation: Any, stack_name: str) -> bool:
    """Start the stack's deletion; return False if there is no stack any more."""
    stack = describe_stack(cloudformation, stack_name)
    if stack is None:
        return False
    if stack["StackStatus"] != "DELETE_IN_PROGRESS":
        cloudformation.delete_stack(StackName=stack_name)
    return True


def write_receipt(clients: Clients, stock: Stock, refused: dict[str, str], *, now: dt.datetime) -> dict[str, Any]:
    """Look again and say what is gone, what stays, and why.

    :raises TeardownIncompleteError: something stays for no reason that is known.
    """
    left = take_stock(clients, stock.stack)
    there = {point.arn: point for point in left.points}
    kept = {point.arn: point.reason for point in stock.kept} | refused
    kept = {arn: reason for arn, reason in kept.items() if arn in there}
    unexplained = sorted(arn for arn in there if arn not in kept)
    remaining = {name: physical for name, physical in left.resources.items() if left.status is not None}
    if remaining and not kept:
        unexplained += [f"{name} {physical}" for name, physical in sorted(remaining.items())]
    receipt = {
        "stack": stock.stack,
        "at": now.isoformat(),
        "status": left.status or "DELETED",
        "deleted": {
            "resources": {k: v for k, v in stock.resources.items() if k not in left.resources},
            "recovery_points": [point.arn for point in stock.points if point.arn not in there],
            "tables": [name for name in stock.tables if name not in left.tables],
            "object_versions": max(stock.objects - left.objects, 0),
        },
        "kept": {
            "recovery_points": kept,
            "resources": {
                name: {"name": physical, "why": "recovery points stay that need it"}
                for name, physical in sorted(remaining.items())
            },
        },
    }
    log.info("Receipt: %s", receipt)
    if unexplained:
        raise TeardownIncompleteError(
            f"still there, and no lock, hold or stranger's point explains it: {'; '.join(unexplained)}. CloudFormation "
            f"says: {(describe_stack(clients('cloudformation'), stock.stack) or {}).get('StackStatusReason', '-')}. "
            "Run this DAG again."
        )
    return receipt
