"""Retention: look, plan, show, delete, confirm; and sweep the restored tables that dead runs left behind."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from typing import Any

from airflow.sdk import get_current_context, task

from aws_backup.hooks.backup import BackupHook
from backup_flows import fingerprints
from backup_flows.as_of import run_as_of, utcnow
from backup_flows.aws import AWS_CONN_ID, client, retention_conn_id
from backup_flows.defaults import NO_RETRY
from backup_flows.evidence import read_verdict
from backup_flows.keys import StateKeyError, restore_record_key, verdict_key
from backup_flows.operators import UNFINISHED_RUN_STATES
from backup_flows.resources import look_up
from backup_flows.restores import delete_restored_table
from backup_flows.store import get_json, put_json
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, RUN_TAG, parse_restored_name, run_tag
from recovery_retention.plan import RetentionPlan, RetentionPolicy, plan
from recovery_retention.recovery_point import RecoveryPoint, table_name_of
from recovery_retention.sweep import RestoredTable, SweepPlan, plan_sweep

log = logging.getLogger(__name__)

RESTORING = ("PENDING", "RUNNING")
BACKFILL = "backfill"


def plan_moment(context: Any) -> tuple[dt.datetime, bool]:
    """Return the moment to plan for, and whether the run may only look.

    A backfilled date is only ever previewed, as of that date: nothing can be deleted in the past. Every other
    run plans for now.
    """
    if context["dag_run"].run_type == BACKFILL:
        return run_as_of(context), True
    return utcnow(), bool(context["params"]["dry_run"])


def is_managed(s3: Any, bucket: str, arn: str, table: str, tags: dict[str, str]) -> bool:
    """Say whether this project made a recovery point: by its tag, or by what is bound to it in S3.

    Points of the plain kind carry no tags, so the record has to do for them.
    """
    if tags.get(MANAGED_BY_TAG) == MANAGED_BY:
        return True
    try:
        return fingerprints.find_binding(s3, bucket, table, arn) is not None
    except StateKeyError:
        # Not a DynamoDB table's recovery point at all.
        return False


def take_inventory(hook: BackupHook, s3: Any, *, bucket: str, vault: str) -> list[RecoveryPoint]:
    """Return every recovery point of the vault, each with whether it is ours."""
    points = []
    for answer in hook.list_recovery_points(vault):
        arn = answer["RecoveryPointArn"]
        table = table_name_of(answer["ResourceArn"])
        managed = is_managed(s3, bucket, arn, table, hook.get_recovery_point_tags(arn))
        points.append(RecoveryPoint.from_api(answer, managed=managed))
    return points


def points_in_use(hook: BackupHook) -> set[str]:
    """Return the ARNs of the recovery points that a restore job is reading."""
    return {job["RecoveryPointArn"] for state in RESTORING for job in hook.list_restore_jobs(ByStatus=state)}


def make_plan(
    hook: BackupHook, s3: Any, *, bucket: str, vault: str, policy: RetentionPolicy, now: dt.datetime
) -> RetentionPlan:
    """Decide about every recovery point of the vault that existed at ``now``."""
    points = [p for p in take_inventory(hook, s3, bucket=bucket, vault=vault) if p.created_at <= now]
    verdicts = {}
    for point in points:
        verdict = read_verdict(s3, bucket, verdict_key(point.table_name, point.arn)) if point.managed else None
        if verdict is not None:
            verdicts[point.arn] = verdict.proof
    return plan(points, verdicts, policy, now, in_use=points_in_use(hook))


def log_plan(decided: RetentionPlan) -> None:
    """Write the plan to the log, one line a recovery point, with the reasons."""
    for word, decisions in (("delete", decided.delete), ("blocked", decided.blocked), ("keep", decided.keep)):
        for decision in decisions:
            entry = decision.to_dict()
            log.info(
                "%-7s %s %s %s bytes: %s",
                word,
                entry["created_at"],
                entry["arn"],
                entry["size_bytes"],
                " ".join(entry["reasons"]),
            )
    log.info("%s to delete, %s blocked, %s kept", len(decided.delete), len(decided.blocked), len(decided.keep))


@task(task_id="plan_retention", **NO_RETRY)
def plan_retention() -> dict[str, Any]:
    """Take the inventory, decide, show; return what is to be deleted (nothing in a preview).

    :return: ``deletions`` (at most ``max_deletions``, oldest first; one mapped task each), ``dry_run``, ``plan`` (S3
        address of the whole plan with all reasons).
    """
    context = get_current_context()
    params = context["params"]
    now, dry_run = plan_moment(context)
    resources = look_up(params["stack_name"])
    s3 = client("s3")
    policy = RetentionPolicy(older_than_days=params["older_than_days"], keep_newest=params["keep_newest"])
    decided = make_plan(
        BackupHook(aws_conn_id=AWS_CONN_ID), s3, bucket=resources.bucket, vault=resources.vault, policy=policy, now=now
    )
    log_plan(decided)
    address = put_json(
        s3,
        resources.bucket,
        f"retention/{now:%Y-%m-%dT%H%M%S}-{'preview' if dry_run else 'apply'}.json",
        {"as_of": now.isoformat(), "dry_run": dry_run, "policy": vars(policy), **decided.to_dict()},
    )
    due = sorted(decided.delete, key=lambda decision: (decision.point.created_at, decision.point.arn))
    capped = due[: params["max_deletions"]]
    if len(capped) < len(due):
        log.warning("%s more are left to the next run (max_deletions)", len(due) - len(capped))
    if dry_run:
        log.info("Preview: nothing is deleted. Plan: %s", address)
    conn_id = retention_conn_id()
    return {
        "deletions": []
        if dry_run
        else [
            {
                "backup_vault_name": decision.point.vault_name,
                "recovery_point_arn": decision.point.arn,
                "aws_conn_id": conn_id,
            }
            for decision in capped
        ],
        "dry_run": dry_run,
        "planned_deletions": [decision.point.arn for decision in due],
        "plan": address,
    }


@task(task_id="due_deletions", **NO_RETRY)
def due_deletions(planned: dict[str, Any]) -> list[dict[str, Any]]:
    """Hand the deletions on, one mapped task each (Airflow maps over a task's whole return value only)."""
    return list(planned["deletions"])


def guard_deletion(point: dict[str, Any], tags: dict[str, str]) -> bool:
    """Ask once more, right before a deletion, whether the recovery point is ours and nobody restores from it."""
    resources = look_up(get_current_context()["params"]["stack_name"])
    arn = point["RecoveryPointArn"]
    if not is_managed(client("s3"), resources.bucket, arn, table_name_of(point["ResourceArn"]), tags):
        return False
    hook = BackupHook(aws_conn_id=AWS_CONN_ID)
    return not any(
        job["RecoveryPointArn"] == arn for state in RESTORING for job in hook.list_restore_jobs(ByStatus=state)
    )


def find_restored_tables(
    dynamodb: Any, s3: Any, *, bucket: str, source: str
) -> list[tuple[RestoredTable, dict[str, Any]]]:
    """Return every table named like a restored copy of ``source``, with the record of who made it ({} if none).

    A tag may hold a run's name in an altered form, so a run is only believed where the record spells it out.
    """
    found = []
    for page in dynamodb.get_paginator("list_tables").paginate():
        for name in page["TableNames"]:
            parts = parse_restored_name(name)
            if parts is None or parts.source != source:
                continue
            try:
                table = dynamodb.describe_table(TableName=name)["Table"]
            except dynamodb.exceptions.ResourceNotFoundException:
                continue
            record = get_json(s3, bucket, restore_record_key(name)) or {}
            tags = {
                tag["Key"]: tag["Value"]
                for tag in dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"]).get("Tags", [])
                if record or tag["Key"] != RUN_TAG
            }
            restored = RestoredTable(
                name=name,
                created_at=table["CreationDateTime"],
                status=table["TableStatus"],
                tags=tags,
                recorded_run=record.get("run"),
                deletion_protected=table.get("DeletionProtectionEnabled", False),
            )
            found.append((restored, record))
    return found


def decide_sweep(
    tables: Iterable[tuple[RestoredTable, dict[str, Any]]],
    *,
    source: str,
    older_than: dt.timedelta,
    now: dt.datetime,
    is_active: Callable[[str, str], bool],
) -> SweepPlan:
    """Choose the restored tables whose run is over.

    :param is_active: tells of a run (dag_id, run_id) whether it is queued or running.
    """
    known = list(tables)
    active = {
        run_tag(record["dag_id"], record["run_id"])
        for _, record in known
        if record and is_active(record["dag_id"], record["run_id"])
    }
    return plan_sweep(
        [table for table, _ in known], allowed_sources={source}, older_than=older_than, now=now, active_runs=active
    )


@task(task_id="sweep_restored_tables", retries=1)
def sweep_restored_tables() -> dict[str, Any]:
    """Drop restored tables that a dead, timed-out or deleted run left behind; a preview only names them."""
    context = get_current_context()
    params, ti = context["params"], context["ti"]
    now, dry_run = plan_moment(context)
    resources = look_up(params["stack_name"])
    dynamodb = client("dynamodb")

    def is_active(dag_id: str, run_id: str) -> bool:
        return bool(ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=UNFINISHED_RUN_STATES))

    decided = decide_sweep(
        find_restored_tables(dynamodb, client("s3"), bucket=resources.bucket, source=resources.table),
        source=resources.table,
        older_than=dt.timedelta(minutes=params["sweep_older_than_minutes"]),
        now=now,
        is_active=is_active,
    )
    for decision in decided.leave:
        log.info("leave %s: %s", decision.table.name, decision.reason)
    for decision in decided.sweep:
        log.info("%s %s: %s", "would sweep" if dry_run else "sweep", decision.table.name, decision.reason)
        if not dry_run:
            delete_restored_table(dynamodb, decision.table.name, source=resources.table)
    return {"dry_run": dry_run, **decided.to_dict()}


@task(task_id="receipt", trigger_rule="all_done", **NO_RETRY)
def receipt(planned: dict[str, Any], swept: dict[str, Any] | None) -> dict[str, Any]:
    """Say what was deleted, by asking AWS again; fail if something that was to go is still there."""
    context = get_current_context()
    resources = look_up(context["params"]["stack_name"])
    hook = BackupHook(aws_conn_id=AWS_CONN_ID)
    wanted = [deletion["recovery_point_arn"] for deletion in planned["deletions"]]
    left = [arn for arn in wanted if hook.find_recovery_point(resources.vault, arn) is not None]
    result = {
        "dry_run": planned["dry_run"],
        "deleted": [arn for arn in wanted if arn not in left],
        "still_there": left,
        "would_delete": planned["planned_deletions"] if planned["dry_run"] else [],
        "swept": [entry["table_name"] for entry in (swept or {}).get("sweep", [])],
        "plan": planned["plan"],
    }
    log.info("Receipt: %s", result)
    if left:
        raise RecoveryPointsStillThereError(f"asked to be deleted and still there: {', '.join(left)}")
    return result


class RecoveryPointsStillThereError(RuntimeError):
    """AWS answered a deletion and did not delete; the message names what is left."""
