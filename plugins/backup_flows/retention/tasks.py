"""The tasks of ``retention_cleanup``."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from airflow.providers.standard.utils.skipmixin import XCOM_SKIPMIXIN_KEY
from airflow.sdk import AssetAlias, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from aws_backup.hooks.backup import BackupHook
from backup_flows.as_of import as_of_date, run_as_of, run_key
from backup_flows.aws import AWS_CONN_ID, client, retention_conn_id, server_time
from backup_flows.defaults import DRILL_REQUEST, NO_RETRY
from backup_flows.notify import notify
from backup_flows.operators import UNFINISHED_RUN_STATES
from backup_flows.project_files import project_file
from backup_flows.protected_tables import find_protected_tables
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.resources import look_up
from backup_flows.retention.deletion import objection, outcomes
from backup_flows.retention.inventory import Inventory, Surroundings, take_inventory
from backup_flows.retention.modes import Mode
from backup_flows.retention.planning import Deletion, Planned, by_vault, make_plan, settle_policies, vaults_of
from backup_flows.retention.protect import protect
from backup_flows.retention.receipt import RetentionIncompleteError, judge
from backup_flows.retention.show import approval_text, log_lines, preview_rows
from backup_flows.retention.store import RunFiles, read_last, remember, remember_deletions
from backup_flows.retention.sweep import (
    decide_sweep,
    drop_swept,
    file_limits,
    find_restored_tables,
    sources_of,
    sweep_files,
)
from recovery_retention.inventory import LastInventory

log = logging.getLogger(__name__)

DRILL_REQUESTS: Final = AssetAlias(name="drill_requests", group="backup")
"""By which one task tells of many points: each gives an event of `DRILL_REQUEST`."""
APPROVE_TASK: Final = "approve"
GO_TASK: Final = "go"
ASK_TASK: Final = "ask_or_go"
PLAN_TASK: Final = "plan_retention"
PLAN_DIGEST: Final = "plan_digest"


def aws_now() -> dt.datetime:
    """Return the present on AWS's clock, by which recovery points are made and expire."""
    return server_time(client("sts"))


def activity_of(context: Any) -> Callable[[str, str], bool]:
    """Return what tells whether a run (dag_id, run_id) is queued or running."""
    ti = context["ti"]

    @functools.cache
    def is_active(dag_id: str, run_id: str) -> bool:
        return bool(ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=UNFINISHED_RUN_STATES))

    return is_active


def files_of(context: Any) -> RunFiles:
    """Return the documents of the run, for a task of it."""
    bucket = look_up(context["params"]["stack_name"]).bucket
    return run_files(context, bucket)


def run_files(context: Any, bucket: str) -> RunFiles:
    """Return the documents of the run in a bucket."""
    dag_run = context["dag_run"]
    return RunFiles(client("s3"), bucket, as_of_date(context), run_key(dag_run.dag_id, dag_run.run_id))


@task(task_id=PLAN_TASK)
def plan_retention() -> dict[str, Any]:
    """Take the inventory, decide about every point, show it; change nothing.

    The inventory is taken anew by a retry; what can't be read by the last one makes it incomplete, and on an
    incomplete one nothing is deleted.

    :return: ``mode``, ``counts``, ``approval`` (why a person has to agree), ``wrong`` (alarms), ``notes``
        (tables that no entry fits), ``plan`` (S3 address of every decision with its reasons) and ``bucket``. XCom
        ``preview`` has what would go, as a table.
    """
    context = get_current_context()
    params, dag_run, ti = context["params"], context["dag_run"], context["ti"]
    resources = look_up(params["stack_name"])
    s3, bucket, now = client("s3"), resources.bucket, aws_now()
    protection = load_protection(project_file(PROTECTION_FILE))
    found = find_protected_tables(functools.cache(client), protection)
    settings = protection.retention
    mode = Mode.of(settings.mode, params["mode"], dag_run.run_type)
    moment = run_as_of(context) if mode.past else None
    remembered = read_last(s3, bucket)
    at = Surroundings(
        hook=BackupHook(aws_conn_id=AWS_CONN_ID),
        s3=s3,
        dynamodb=client("dynamodb"),
        bucket=bucket,
        vaults=vaults_of(found, resources.vault, remembered.last),
        is_active=activity_of(context),
    )
    inventory = take_inventory(at, now=now, as_of=moment, strict=ti.try_number <= ti.max_tries)
    against = None if mode.past or params["accept_inventory"] else remembered.last
    settled = settle_policies(protection, found, inventory.points, remembered.last)
    planned = make_plan(
        inventory,
        settled.policies,
        moment or now,
        settings,
        last=against,
        max_deletions=params["max_deletions"],
        undecided=settled.undecided,
        notes=settled.notes,
    )
    files = run_files(context, bucket)
    address = _keep(files, planned, mode, moment or now, f"{dag_run.dag_id}/{dag_run.run_id}")
    if not mode.past and not planned.plan.alarms:
        taken = replace(LastInventory.of(inventory.points, now), policies=settled.by_tag)
        remember(s3, bucket, taken, remembered.condition)
    _show(ti, planned, mode, address)
    return {
        "mode": mode.to_dict(),
        "counts": planned.counts,
        "approval": list(planned.approval),
        "wrong": list(planned.wrong),
        "notes": list(planned.notes),
        "inventory": _size(inventory),
        "plan": address,
        "bucket": bucket,
    }


def _keep(files: RunFiles, planned: Planned, mode: Mode, moment: dt.datetime, run: str) -> str:
    head = {"as_of": moment.isoformat(), "run": run, "mode": mode.word, "raised": mode.raised}
    address = files.write_plan({**head, **planned.to_dict()})
    files.put("steps.json", planned.steps())
    if not mode.past:
        files.point_out(
            {
                **head,
                "counts": planned.counts,
                "wrong": list(planned.wrong),
                "approval": list(planned.approval),
                "saving": planned.saving.to_dict(),
            }
        )
    return address


def _show(ti: Any, planned: Planned, mode: Mode, address: str) -> None:
    for line in log_lines(planned):
        log.info("%s", line)
    for note in planned.notes:
        log.warning("%s", note)
    for problem in planned.wrong:
        log.error("%s", problem)
    if not mode.applies:
        log.info("Preview: nothing is changed. Plan: %s", address)
    ti.xcom_push(key="preview", value=preview_rows(planned))
    ti.xcom_push(key="approval_text", value=approval_text(planned, mode, address))


def _size(inventory: Inventory) -> dict[str, Any]:
    return {"points": len(inventory.points), "complete": inventory.complete, "tags_asked": len(inventory.tags.fresh)}


@task(task_id="request_drills", outlets=[DRILL_REQUESTS])
def request_drills(planned: dict[str, Any]) -> list[str]:
    """Ask for a drill of every point that has to be proven before something is lost: one asset event each.

    :return: the ARNs of the points.
    """
    context = get_current_context()
    orders = run_files(context, planned["bucket"]).get("steps.json")["drills"]
    if not planned["mode"]["applies"]:
        log.info("Preview: %s drills would be asked for", len(orders))
        return []
    for order in orders:
        context["outlet_events"][DRILL_REQUESTS].add(
            DRILL_REQUEST,
            extra={
                "recovery_point_arn": order["arn"],
                "table": order["table_name"],
                "vault": order["vault_name"],
                "reason": f"{len(order['waiting'])} recovery points wait for its verdict.",
                "lost_at": order["by"],
            },
        )
        log.info("Asked for a drill of %s", order["arn"])
    return [order["arn"] for order in orders]


@task(task_id="protect_points")
def protect_points(planned: dict[str, Any]) -> list[dict[str, Any]]:
    """Keep points from AWS's lifecycle until their verdict, release our holds, and let lifecycles agree.

    Deletes nothing, so nobody has to agree; as the retention role.

    :return: what became of each step (:class:`backup_flows.retention.protect.Done`).
    """
    context = get_current_context()
    steps = run_files(context, planned["bucket"]).get("steps.json")
    if not planned["mode"]["applies"]:
        log.info(
            "Preview: %s points would be rescued, %s holds released", len(steps["rescues"]), len(steps["releases"])
        )
        return []
    settings = load_protection(project_file(PROTECTION_FILE)).retention
    done = protect(
        client("backup", aws_conn_id=retention_conn_id()),
        rescues=steps["rescues"],
        releases=steps["releases"],
        lifecycles=steps["lifecycles"] if settings.move_lifecycles else [],
        may_hold=settings.may_hold,
        token=f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}",
    )
    lost = [step for step in done if step.lost_at is not None]
    if lost:
        text = "\n".join(
            f"{step.subject} is lost on {step.lost_at}, with nothing newer proven: {step.detail}" for step in lost
        )
        notify(f"{len(lost)} recovery points are about to be lost, with nothing newer proven", text)
    return [step.to_dict() for step in done]


@task.branch(task_id=ASK_TASK, **NO_RETRY)
def ask_or_go(planned: dict[str, Any]) -> str:
    """Ask a person where the plan needs one, or where the form asked for more than the file allows.

    XCom ``plan_digest`` says of which plan that was decided.
    """
    context = get_current_context()
    if not planned["mode"]["applies"]:
        return GO_TASK
    context["ti"].xcom_push(key=PLAN_DIGEST, value=plan_digest(planned, run_files(context, planned["bucket"])))
    if planned["approval"] or planned["mode"]["raised"]:
        for reason in planned["approval"]:
            log.info("A person has to agree: %s", reason)
        return APPROVE_TASK
    return GO_TASK


def plan_digest(planned: dict[str, Any], files: RunFiles) -> str:
    """Return what tells one plan of a run from another: its deletions, and why a person has to agree to them."""
    agreed_to = [files.get("steps.json")["deletions"], planned["mode"], planned["approval"]]
    return hashlib.sha256(json.dumps(agreed_to, sort_keys=True).encode()).hexdigest()


@task(task_id=GO_TASK, trigger_rule="none_failed_min_one_success", **NO_RETRY)
def go() -> None:
    """Begin: in a run that applies its plan, things are deleted from here on."""
    log.info("Going on.")


@task(task_id="due_deletions")
def due_deletions(planned: dict[str, Any]) -> list[dict[str, Any]]:
    """Put on record what is going to be deleted, and hand it on, one mapped task each; nothing in a preview.

    :raises airflow.sdk.exceptions.AirflowFailException: the plan is not the one that was agreed to.
    """
    context = get_current_context()
    if not planned["mode"]["applies"]:
        return []
    files = run_files(context, planned["bucket"])
    if context["ti"].xcom_pull(task_ids=ASK_TASK, key=PLAN_DIGEST) != plan_digest(planned, files):
        raise AirflowFailException(
            f"{files.prefix}steps.json is another plan than {ASK_TASK} decided about, and a person may have agreed to: "
            f"{PLAN_TASK} ran again since. Clear {ASK_TASK} with all tasks after it, so that this plan is asked for."
        )
    due = [Deletion.from_dict(entry) for entry in files.get("steps.json")["deletions"]]
    # On record before the first one goes: also where this run dies, its receipt and the next inventory know of it.
    files.want({deletion.arn: deletion.to_dict() for deletion in due})
    remember_deletions(files.s3, files.bucket, by_vault(due))
    conn_id = retention_conn_id()
    return [
        {"backup_vault_name": deletion.vault, "recovery_point_arn": deletion.arn, "aws_conn_id": conn_id}
        for deletion in due
    ]


def guard_deletion(point: dict[str, Any], tags: dict[str, str]) -> bool:
    """Ask once more, right before a deletion, whether everything that it was planned by still holds.

    :raises RecoveryPointNotOursError: it does not; the message says what.
    """
    from aws_backup.exceptions import RecoveryPointNotOursError

    context = get_current_context()
    files = files_of(context)
    arn = point["RecoveryPointArn"]
    planned = files.get("wanted.json").get(arn)
    reason: str | None = "the run's plan does not name it"
    if planned is not None:
        reason = objection(
            Deletion.from_dict(planned),
            tags,
            hook=BackupHook(aws_conn_id=AWS_CONN_ID),
            s3=files.s3,
            dynamodb=client("dynamodb"),
            bucket=files.bucket,
            is_active=activity_of(context),
            now=aws_now(),
        )
    if reason is not None:
        raise RecoveryPointNotOursError(recovery_point_arn=arn, reason=reason)
    return True


@task(task_id="sweep_restored_tables", retries=1)
def sweep_restored_tables(planned: dict[str, Any]) -> dict[str, Any]:
    """Drop restored tables that a dead, timed-out or deleted run left behind; a preview only names them."""
    context = get_current_context()
    params, applies = context["params"], planned["mode"]["applies"]
    resources = look_up(params["stack_name"])
    dynamodb = client("dynamodb")
    protection = load_protection(project_file(PROTECTION_FILE))
    found = find_protected_tables(functools.cache(client), protection)
    protected = {resources.table, *found.names}
    restored = find_restored_tables(dynamodb, client("s3"), bucket=resources.bucket, sources=protected)
    sources = sources_of(restored, protected)
    decided = decide_sweep(
        restored,
        sources=sources,
        older_than=dt.timedelta(minutes=params["sweep_older_than_minutes"]),
        now=run_as_of(context) if planned["mode"]["past"] else aws_now(),
        is_active=activity_of(context),
    )
    for decision in decided.leave:
        log.info("leave %s: %s", decision.table.name, decision.reason)
    for decision in decided.sweep:
        log.info("%s %s: %s", "sweep" if applies else "would sweep", decision.table.name, decision.reason)
    dropped = drop_swept(dynamodb, decided, sources=sources) if applies else []
    return {"dropped": dropped, **decided.to_dict()}


@task(task_id="sweep_files", retries=1)
def sweep_old_files(planned: dict[str, Any]) -> list[dict[str, Any]]:
    """Delete staged files, refused rows and what runs handed on, older than their limits; a preview counts them."""
    settings = load_protection(project_file(PROTECTION_FILE)).retention
    swept = sweep_files(
        client("s3"),
        planned["bucket"],
        file_limits(settings),
        now=run_as_of(get_current_context()) if planned["mode"]["past"] else aws_now(),
        delete=planned["mode"]["applies"],
    )
    for files in swept:
        log.info(
            "%s: %s files (%s bytes) older than %s days, %s deleted",
            files.prefix,
            files.found,
            files.size_bytes,
            files.older_than_days,
            files.deleted,
        )
    return [files.to_dict() for files in swept]


@task(task_id="receipt", trigger_rule="all_done", **NO_RETRY)
def receipt(
    planned: dict[str, Any] | None,
    drills: list[str] | None,
    protected: list[dict[str, Any]] | None,
    tables: dict[str, Any] | None,
    files: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """Say what really happened, by asking AWS again; fail if something went wrong or is still there.

    It speaks for all tries of the run: what an earlier one deleted is told too.

    :raises RetentionIncompleteError: after the receipt is written; names what is wrong.
    """
    if planned is None:
        raise RetentionIncompleteError(["there is no plan, so nothing was deleted: see the log of plan_retention"])
    context = get_current_context()
    run = run_files(context, planned["bucket"])
    wanted = run.get("wanted.json")
    planned_deletions = {entry["arn"]: entry for entry in run.get("steps.json")["deletions"]}
    # What due_deletions did not put on record, because it failed, is not missed by what it did put there.
    asked_after = {**(planned_deletions if planned["mode"]["applies"] else {}), **wanted}
    gone, left = outcomes(BackupHook(aws_conn_id=AWS_CONN_ID), asked_after, dict(run.refusals()))
    ti = context["ti"]
    answer: dict[str, Any] | None = ti.xcom_pull(task_ids=APPROVE_TASK)
    # A refusal skips what comes after it, and returns nothing; a task that failed leaves neither.
    if answer is None and ti.xcom_pull(task_ids=APPROVE_TASK, key=XCOM_SKIPMIXIN_KEY) is not None:
        answer = {"chosen_options": []}
    result, wrong = judge(
        planned,
        gone=gone,
        left=left,
        planned_deletions=list(planned_deletions),
        wanted=set(wanted),
        drills=drills,
        protected=protected,
        tables=tables,
        files=files,
        answer=answer,
    )
    address = run.put("receipt.json", {**result, "wrong": wrong})
    log.info("Receipt (%s): %s", address, result)
    if wrong:
        raise RetentionIncompleteError(wrong)
    return result
