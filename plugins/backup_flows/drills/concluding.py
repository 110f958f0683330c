"""The end of every drill: one verdict, whatever happened; an event of an asset, and an answer to AWS where it asks."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException
from botocore.exceptions import ClientError

from aws_backup.hooks.backup import BackupHook
from aws_backup.states import Outcome, StateKind, classify
from aws_backup.summaries import summarise_restore_job
from backup_flows.aws import AWS_CONN_ID, client
from backup_flows.defaults import DRILL_VERDICT, NO_RETRY, RESTORE_LIMIT
from backup_flows.drills.budgeting import ASK_THE_BUDGET, budget_refusal, refusal_of
from backup_flows.drills.errors import DrillsNotProvenError, NothingBoundError
from backup_flows.drills.ledger import standing_of, verdict_of
from backup_flows.drills.tasks import proof_of, states_of, xcom_of
from backup_flows.evidence import hold_verdict, record_evidence, versions
from backup_flows.failures import FAILURE
from backup_flows.point_tags import mirror_verdict
from backup_flows.recovery_points import aws_clock
from backup_flows.restores import requested_by
from restore_proof.evidence import Drill, Phase
from restore_proof.verdict import Depth, Result, Subject, Verdict

log = logging.getLogger(__name__)

VALIDATED: Final = ("SUCCESSFUL", "FAILED", "TIMED_OUT")
MESSAGE_LENGTH: Final = 1000
"""Of a validation's message: AWS documents no limit, and a report lies beside it."""


def restore_job_of(hook: BackupHook, job_id: str | None) -> dict[str, Any] | None:
    """Return the summary of a drill's restore job, if one was started and AWS still knows it."""
    if not job_id:
        return None
    try:
        return dict(summarise_restore_job(hook.get_restore_job(job_id)))
    except AirflowNotFoundException:
        return None


def reason_of(failures: Mapping[str, Mapping[str, str] | None], job: Mapping[str, Any] | None) -> str:
    """Say in a sentence or two why a drill came to no proof.

    :param failures: by the name of a task that failed, what it told; None where it died without a word.
    :param job: the restore job's summary, if there is one.
    """
    told = [f"{name}: {failure['message']}" for name, failure in failures.items() if failure is not None]
    if job is not None and classify(StateKind.RESTORE_JOB, job["state"]) is Outcome.IN_PROGRESS:
        hours = RESTORE_LIMIT.total_seconds() / 3600
        told.append(
            f"Restore job {job['job_id']} is still {job['state']}; it is given {hours:.0f} hours. Look at it in AWS "
            "Backup; the table that it makes is swept by the DAG retention_cleanup."
        )
    silent = [name for name, failure in failures.items() if failure is None]
    if silent:
        told.append(f"The process of {', '.join(silent)} was lost or stopped from outside; see the task's log.")
    return " ".join(told) or "No task of the drill says why; see the run's logs."


def failed_verdict(
    order: Mapping[str, Any], reason: str, *, result: Result, run: str, decided_at: dt.datetime
) -> Verdict:
    """Return the verdict of a drill that never looked at the restored data: it counts nothing."""
    prefix = "Nothing was proven, because the drill did not come to its proof. "
    return Verdict(
        subject=Subject(
            recovery_point_arn=order["chosen"]["recovery_point_arn"],
            table_name=order["table"],
            restored_table_name=order["target_table"],
            as_of=order["as_of"],
            run=run,
        ),
        result=result,
        depth=Depth.FULL,
        reasons=(f"{prefix}{reason}",),
        decided_at=decided_at,
    )


def phases_until(job: Mapping[str, Any] | None, now: dt.datetime) -> list[Phase]:
    """Return the phases of a drill that came to no proof, as far as AWS tells them."""
    if job is None or not job.get("creation_date"):
        return []
    started = dt.datetime.fromisoformat(job["creation_date"])
    ended = dt.datetime.fromisoformat(job["completion_date"]) if job.get("completion_date") else max(started, now)
    return [Phase("restore", started, ended)]


def conclude(order: dict[str, Any], tasks: Sequence[str], context: Any) -> dict[str, Any]:
    """Return the drill's verdict; where its tasks left none, record FAILED with the reason.

    :param order: the drill.
    :param tasks: names of the drill's tasks within its group, in their order.
    :raises airflow.sdk.exceptions.AirflowSkipException: the verdict is an older one, told already; or the budget
        stopped the drill, so that there is none.
    """
    s3 = client("s3")
    states = states_of(context, tasks)
    if states["prepare"] == "skipped":
        raise AirflowSkipException("The drill had its verdict before.")
    proof = proof_of(context)
    verdict = verdict_of(s3, order, proof) if proof else standing_of(s3, order).decided
    if verdict is None:
        for name in ASK_THE_BUDGET:
            refusal = refusal_of(xcom_of(context, name, FAILURE)) if states.get(name) == "failed" else None
            if refusal is not None:
                raise AirflowSkipException(f"The drill was not started: {refusal}")
        verdict = record_failure(order, states, context)
    else:
        hold_verdict(s3, bucket=order["bucket"], verdict=verdict)
    arn = order["chosen"]["recovery_point_arn"]
    mirror_verdict(client("backup"), s3, bucket=order["bucket"], table=order["table"], recovery_point_arn=arn)
    return {
        "table": order["table"],
        "recovery_point_arn": arn,
        "as_of": order["as_of"],
        "verdict": verdict.proof.label,
        "result": str(verdict.result),
        "report": verdict.evidence,
        "reason": " ".join(verdict.reasons),
        "counted": bool(verdict.counts),
    }


def record_failure(order: dict[str, Any], states: Mapping[str, str | None], context: Any) -> Verdict:
    """Record that a drill came to no proof, with the reason and as much evidence as there is.

    Where nothing is bound to the recovery point the result is UNPROVEN: nothing is known to be wrong with it.
    """
    s3, dag_run = client("s3"), context["dag_run"]
    failures = {name: xcom_of(context, name, FAILURE) for name, state in states.items() if state == "failed"}
    started = states.get("restore.start_restore_job") == "success"
    job_id = order["restore_job_id"] or (xcom_of(context, "restore.start_restore_job") if started else None)
    job = restore_job_of(BackupHook(aws_conn_id=AWS_CONN_ID), job_id)
    bound = states["prepare"] == "success"
    unbound = NothingBoundError.__name__ in {(failures.get(name) or {}).get("type") for name in ("bind", "prepare")}
    now = aws_clock()()
    drill_id = standing_of(s3, order).next_id
    verdict = failed_verdict(
        order,
        reason_of(failures, job),
        result=Result.UNPROVEN if unbound else Result.FAILED,
        run=f"{dag_run.dag_id}/{dag_run.run_id}",
        decided_at=now,
    )
    drill = Drill(
        drill_id=drill_id,
        requested_by=requested_by(dag_run),
        backup=(xcom_of(context, "prepare") if bound else None) or dict(order["chosen"]),
        restore=job or {},
        phases=phases_until(job, now),
        versions=versions(),
    )
    return record_evidence(s3, bucket=order["bucket"], verdict=verdict, drill=drill, written_at=now)


@task(task_id="conclude", trigger_rule="all_done", outlets=[DRILL_VERDICT], retries=5)
def conclude_drill(order: dict[str, Any], tasks: list[str]) -> dict[str, Any]:
    """See to it that the drill has its verdict, and tell it; never fails because of what the verdict is."""
    context = get_current_context()
    concluded = conclude(order, tasks, context)
    context["outlet_events"][DRILL_VERDICT].extra = {
        name: concluded[name] for name in ("table", "recovery_point_arn", "verdict", "as_of", "report", "reason")
    }
    log.info("%s of %s for %s: %s", concluded["verdict"], order["table"], order["as_of"], concluded["reason"])
    return concluded


def validation_of(verdict: Verdict) -> tuple[Literal["SUCCESSFUL", "FAILED"], str] | None:
    """Return what a restore testing plan is to be told of a verdict; None if nothing yet.

    AWS takes one answer and no second one, so a drill that died tells nothing: the next run has another try.
    """
    message = f"{verdict.proof.label}: {' '.join(verdict.reasons)} Report: {verdict.evidence}"[:MESSAGE_LENGTH]
    if verdict.is_proven:
        return "SUCCESSFUL", message
    if verdict.counts or verdict.result is Result.UNPROVEN:
        return "FAILED", message
    return None


@task(task_id="put_validation_result", trigger_rule="none_failed", retries=5)
def put_validation_result(order: dict[str, Any]) -> str:
    """Tell AWS's restore testing what the drill came to; it takes one answer, and what it has stands.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing-validation.html

    :return: the validation status that holds.
    """
    s3, job_id = client("s3"), order["restore_job_id"]
    verdict = standing_of(s3, order).verdict
    answer = validation_of(verdict) if verdict is not None else None
    hook = BackupHook(aws_conn_id=AWS_CONN_ID)
    standing = hook.get_restore_job(job_id).get("ValidationStatus")
    if standing in VALIDATED:
        log.info("Restore job %s has its validation status already: %s", job_id, standing)
        return str(standing)
    if answer is None:
        raise AirflowSkipException(f"The drill of restore job {job_id} died: AWS is told nothing, the next run tries.")
    status, message = answer
    try:
        hook.client.put_restore_validation_result(
            RestoreJobId=job_id,
            ValidationStatus=status,
            ValidationStatusMessage=message,
        )
    except ClientError as error:
        # Another run was faster, or the validation window closed: what AWS says then holds.
        standing = hook.get_restore_job(job_id).get("ValidationStatus")
        if standing not in VALIDATED:
            raise
        log.warning("Restore job %s is validated as %s already: %s", job_id, standing, error)
        return str(standing)
    log.info("Restore job %s: told AWS %s", job_id, status)
    return status


@task(task_id="report", trigger_rule="none_failed", **NO_RETRY)
def report_drills(orders: list[dict[str, Any]] | None, tests: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Name every drill of the run with its verdict; fail if one is not proven."""
    s3, ti = client("s3"), get_current_context()["ti"]
    found, wrong = {}, []
    refused = {
        order["run_key"]: budget_refusal(ti, group, index)
        for group, mapped in (("drill", orders), ("adopted", tests))
        for index, order in enumerate(mapped or [])
    }
    for order in [*(orders or []), *(tests or [])]:
        verdict = standing_of(s3, order).verdict
        label = verdict.proof.label if verdict is not None else "no verdict"
        arn = order["chosen"]["recovery_point_arn"]
        found[arn] = {
            "table": order["table"],
            "as_of": order["as_of"],
            "verdict": label,
            "report": verdict.evidence if verdict is not None else None,
        }
        log.info("%s: %s (%s)", order["table"], label, arn)
        if verdict is None or not verdict.is_proven:
            reason = " ".join(verdict.reasons) if verdict else refused.get(order["run_key"]) or "look at its tasks"
            wrong.append(f"{order['table']} ({arn}) is {label}: {reason}")
    if wrong:
        raise DrillsNotProvenError(f"{len(wrong)} of {len(found)} drills were not proven:\n" + "\n".join(wrong))
    return found
