"""The tasks of the DAG that repairs a live table from a restored one, and takes such a repair back."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import time
from typing import Any

from airflow.sdk import get_current_context, task

from backup_flows.as_of import as_of_date, run_key, utcnow
from backup_flows.aws import client
from backup_flows.defaults import NO_RETRY, SCAN_LIMIT
from backup_flows.keys import repair_prefix
from backup_flows.leasing import ensure_lease
from backup_flows.project_files import project_file
from backup_flows.protected_tables import find_protected_tables
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.repair_request import (
    RECEIPT_NAME,
    REPAIR,
    UNDO,
    UNDO_FOLDER,
    RepairRequest,
    RepairRequestError,
    classes_of,
    doubt,
    ensure_writable,
    look_at_tables,
    resolve_keys,
    resolve_source,
    resolve_undo,
    verdict_on,
)
from backup_flows.repair_work import (
    DIFF_NAME,
    LISTED,
    OUTCOMES_FOLDER,
    PLAN_NAME,
    Found,
    NothingToUndoError,
    check_repair,
    check_undo,
    dry_run,
    find_differences,
    gather_undo,
    undo_parts,
    write_changes,
)
from backup_flows.resources import look_up
from backup_flows.restores import requested_by
from backup_flows.stack import Resources
from backup_flows.store import get_bytes, put_json
from dynamodb_bulk.changes import ChangesHeader
from dynamodb_bulk.outcomes import Outcome, RepairResult
from dynamodb_bulk.scan import table_key_names

log = logging.getLogger(__name__)

LEASE_CHECK_SECONDS = 20.0
"""The lease is renewed so often while batches are written; it goes unquestioned for many times as long."""


class RepairNotConfirmedError(ValueError):
    """A table's name was typed out to go on unattended, but it is another's."""


class RepairFailedError(RuntimeError):
    """Items could not be repaired for another reason than that they changed meanwhile."""


@task(task_id="preflight", **NO_RETRY)
def preflight_repair() -> dict[str, Any]:
    """Check what is asked for and that it may be done; nothing is read that costs money.

    :return: the request (:class:`backup_flows.repair_request.RepairRequest`).
    """
    context = get_current_context()
    params, dag_run = context["params"], context["dag_run"]
    stack, s3 = look_up(params["stack_name"]), client("s3")
    source, undo_prefix, verdict, warnings = None, None, None, list[str]()
    if params["mode"] == REPAIR:
        source, table = resolve_source(s3, stack.bucket, params["source"], params["target_table"])
        verdict = verdict_on(s3, stack.bucket, source)
        warnings += doubt(source, verdict)
    else:
        undo_prefix = resolve_undo(stack.bucket, params["undo"])
        table = _table_of_undo(s3, stack.bucket, undo_prefix, params["target_table"])
    ensure_writable(table, _writable_tables(stack))
    if params["confirm"] not in ("", table):
        raise RepairNotConfirmedError(
            f"confirm is {params['confirm']!r}, but the table is {table!r}: type that name out, or leave confirm empty "
            "to be asked."
        )
    warnings += look_at_tables(client("dynamodb"), table=table, source=source)
    for warning in warnings:
        log.warning("%s", warning)
    request = RepairRequest(
        mode=params["mode"],
        bucket=stack.bucket,
        lease_table=stack.lease_table,
        table=table,
        source=source,
        undo_prefix=undo_prefix,
        prefix=repair_prefix(table, as_of_date(context), run_key(dag_run.dag_id, dag_run.run_id)),
        classes=classes_of(params["mode"], params["classes"]),
        by_keys=bool(params["keys"]),
        filters=tuple(params["filters"]),
        max_rcu=params["max_rcu"],
        max_wcu=params["max_wcu"],
        verdict=None if verdict is None else verdict.proof.label,
        warnings=tuple(warnings),
    )
    if request.by_keys:
        request.keep_keys(s3, resolve_keys(s3, stack.bucket, params["keys"]))
    # What can't be understood is told now, and not after both tables were read.
    request.choice(s3, table_key_names(client("dynamodb"), table))
    log.info("%s of table %s; what it leaves behind: %s", request.mode, table, request.address(""))
    return request.as_dict()


def _table_of_undo(s3: Any, bucket: str, prefix: str, target: str) -> str:
    parts = undo_parts(s3, bucket, prefix)
    if not parts:
        raise NothingToUndoError(f"There is no undo file below s3://{bucket}/{prefix}: that repair wrote nothing.")
    first = (get_bytes(s3, bucket, parts[0]) or b"").partition(b"\n")[0] + b"\n"
    table = ChangesHeader.from_line(first, parts[0]).table
    if target not in ("", table):
        raise RepairRequestError(f"target_table is {target!r}, but that repair was of {table!r}: leave it empty.")
    return table


def _writable_tables(stack: Resources) -> set[str]:
    protection = load_protection(project_file(PROTECTION_FILE))
    found = find_protected_tables(functools.cache(client), protection)
    return {stack.table, *(protected.name for protected in found.tables)}


@task(task_id="plan", execution_timeout=SCAN_LIMIT)
def plan_repair(resources: dict[str, Any]) -> dict[str, Any]:
    """Find what differs, item by item, and look what of it could be written; write nothing.

    :return: the figures, the addresses, and ``description`` for the person who is asked.
    """
    request = RepairRequest.from_dict(resources)
    dynamodb, s3 = client("dynamodb"), client("s3")
    found = gather_undo(s3, request) if request.mode == UNDO else find_differences(dynamodb, s3, request)
    result, shown = dry_run(dynamodb, s3, request, found)
    plan = {
        "mode": request.mode,
        "table": request.table,
        "source": request.source or f"s3://{request.bucket}/{request.undo_prefix}",
        "diff": request.address(DIFF_NAME),
        "diff_sha256": found.sha256,
        "differences": found.total,
        "differences_by_class": found.classes,
        "buckets_that_moved": found.moved,
        "choice": {"classes": list(request.classes), "by_keys": request.by_keys, "filters": list(request.filters)},
        "dry_run": result.to_dict(),
        "verdict": request.verdict,
        "warnings": list(request.warnings),
        **shown,
    }
    address = put_json(s3, request.bucket, f"{request.prefix}{PLAN_NAME}", plan)
    description = describe_plan(request, found, result, shown)
    for line in description.splitlines():
        log.info("%s", line)
    return {
        "planned": result.count(Outcome.PLANNED),
        "chosen": result.chosen,
        "differences": found.total,
        "diff": plan["diff"],
        "diff_sha256": found.sha256,
        "plan": address,
        "description": description,
    }


def describe_plan(request: RepairRequest, found: Found, result: RepairResult, shown: dict[str, Any]) -> str:
    """Return, as Markdown, what a person should know before saying yes: figures and keys, no item's content."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(result.classes.items())) or "none"
    by_class = ", ".join(f"{count} {kind}" for kind, count in sorted(found.classes.items())) or "none"
    lines = [
        f"**{request.mode.capitalize()} of table `{request.table}`** "
        + (f"from `{request.source}`" if request.source else f"by `{request.undo_prefix}`"),
        "",
        *([f"* verdict on its recovery point: {request.verdict}"] if request.verdict else []),
        f"* differences: {found.total} ({by_class})",
        f"* chosen: {result.chosen} (classes {', '.join(request.classes)}"
        + ("; by their keys" if request.by_keys else "")
        + "".join(f"; `{text}`" for text in request.filters)
        + ")",
        f"* **would be written now: {result.count(Outcome.PLANNED)}** ({kinds})",
        f"* right already: {result.count(Outcome.ALREADY)}; changed meanwhile and left: {result.count(Outcome.LEFT)}",
        f"* all differences, with both items: {request.address(DIFF_NAME)}",
        *(f"* **Note:** {warning}" for warning in request.warnings),
        *(f"* no difference has the key `{key}`" for key in shown["keys_without_a_change"]),
        "",
    ]
    for example in shown["examples"]:
        paths = f": {', '.join(example['paths'])}" if example["paths"] else ""
        lines.append(f"* {example['class']} `{example['key']}`{paths}")
    if result.chosen > LISTED:
        lines.append(f"* and {result.chosen - LISTED} more")
    return "\n".join(lines)


@task.branch(task_id="ask_or_go", **NO_RETRY)
def ask_or_go(resources: dict[str, Any], plan: dict[str, Any]) -> str:
    """Only show; or ask a person; or go on at once where the table's name was typed out."""
    params = get_current_context()["params"]
    if params["dry_run"] or not plan["planned"]:
        return "preview"
    return "go" if params["confirm"] == resources["table"] else "approve"


@task(task_id="preview", **NO_RETRY)
def preview(plan: dict[str, Any]) -> dict[str, Any]:
    """End here: nothing is to be written, or nothing shall be."""
    log.info("%s items would be written. Nothing was. The whole diff: %s", plan["planned"], plan["diff"])
    return {name: value for name, value in plan.items() if name != "description"}


@task(task_id="go", trigger_rule="none_failed_min_one_success", **NO_RETRY)
def go() -> None:
    """Begin: from here on the live table is written to."""
    log.info("Approved.")


@task(task_id="write", retries=3, execution_timeout=SCAN_LIMIT)
def write(resources: dict[str, Any], plan: dict[str, Any], lease: dict[str, Any]) -> dict[str, Any]:
    """Make the approved changes by conditional writes, each batch's undo lines before it.

    Repeated after a crash it goes on where it was; only the file that was approved is worked by.
    """
    request = RepairRequest.from_dict(resources)
    log.info("What takes the writes back: %s", request.address(UNDO_FOLDER))
    held_at = [float("-inf")]

    def hold_lease() -> None:
        if time.monotonic() - held_at[0] >= LEASE_CHECK_SECONDS:
            ensure_lease(lease)
            held_at[0] = time.monotonic()

    account = write_changes(
        client("dynamodb"),
        client("s3"),
        request,
        plan["diff_sha256"],
        attempt=f"{utcnow():%Y%m%dT%H%M%S%f}-{get_current_context()['ti'].try_number:03}",
        before_batch=hold_lease,
    )
    log.info("Repaired %s, left %s, failed %s", account["repaired"], account["left"], account["failed"])
    for done in account["not_repaired"]:
        log.warning("%s %s: %s", done["outcome"], done["key"], done["reason"])
    return account


@task(task_id="check", execution_timeout=SCAN_LIMIT)
def check(resources: dict[str, Any], account: dict[str, Any]) -> dict[str, Any]:
    """Take the fingerprints again, and say of what still differs why it does."""
    request = RepairRequest.from_dict(resources)
    dynamodb, s3 = client("dynamodb"), client("s3")
    if request.mode == UNDO:
        return check_undo(dynamodb, s3, request)
    found = check_repair(dynamodb, s3, request)
    if found["equal"] is None:
        log.warning("%s is gone: what was written can't be held against it any more", request.source)
        return found
    known = account["left"] + account["failed"]
    return {**found, "written_to_since": max(0, found["unrepaired"] - known)}


@task(task_id="receipt", retries=2)
def receipt(
    resources: dict[str, Any], plan: dict[str, Any], account: dict[str, Any], checked: dict[str, Any]
) -> dict[str, Any]:
    """Leave a receipt: who asked, who approved, what was written, how it was checked, where the undo file is.

    :raises RepairFailedError: items could not be written.
    """
    request, context = RepairRequest.from_dict(resources), get_current_context()
    dag_run, asked = context["dag_run"], context["ti"].xcom_pull(task_ids="approve")
    document = {
        "mode": request.mode,
        "table": request.table,
        "source": request.source,
        "verdict": request.verdict,
        "undone": None if request.undo_prefix is None else f"s3://{request.bucket}/{request.undo_prefix}",
        "run": f"{dag_run.dag_id}/{dag_run.run_id}",
        "requested_by": requested_by(dag_run),
        "approved_by": _approver(asked) if asked else f"confirm={context['params']['confirm']}",
        "ended_at": utcnow().astimezone(dt.UTC).isoformat(),
        "diff": plan["diff"],
        "diff_sha256": plan["diff_sha256"],
        "plan": plan["plan"],
        "undo": request.address(UNDO_FOLDER),
        "outcomes": request.address(OUTCOMES_FOLDER),
        "account": account,
        "check": checked,
    }
    address = put_json(client("s3"), request.bucket, f"{request.prefix}{RECEIPT_NAME}", document)
    log.info("Receipt: %s", address)
    if account["failed"]:
        raise RepairFailedError(
            f"{account['failed']} of {account['chosen']} items of {request.table} could not be repaired; the reasons "
            f"are in {document['outcomes']}. What was repaired stays so; undo it with undo={address}."
        )
    return {**document, "receipt": address}


def _approver(asked: Any) -> str:
    user = asked.get("responded_by_user") or {}
    return str(user.get("name") or user.get("id") or user)
