"""Restore a recovery point into a table of its own, prove it, drop it again."""

from __future__ import annotations

import datetime as dt
import logging
import secrets
from typing import Any

from airflow.sdk import get_current_context, task, task_group

from aws_backup.exceptions import RestoreTargetExistsError
from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import IntentIdentity, peek_intent
from aws_backup.operators.backup import BackupStartRestoreJobOperator
from aws_backup.questions import intent_store, restore_intent_question
from aws_backup.sensors.backup import BackupRestoreJobSensor
from aws_backup.tables import table_status
from backup_flows import fingerprints
from backup_flows.as_of import utcnow
from backup_flows.aws import AWS_CONN_ID, client
from backup_flows.defaults import MAPPED_MAY_BE_SKIPPED, NO_RETRY, RESTORE_LIMIT, SCAN_LIMIT, VERDICT
from backup_flows.evidence import read_verdict
from backup_flows.expecting import Subject, World, expect_if_unknown
from backup_flows.failures import TellsFailure, tells_failure
from backup_flows.fingerprints import Binding
from backup_flows.keys import drill_verdict_key, evidence_prefix, restore_record_key
from backup_flows.point_tags import mirror_verdict
from backup_flows.proof import RESTORED, ProofRequest, prove, summary
from backup_flows.recovery_points import POLL_SECONDS, aws_clock, scan_part_bytes
from backup_flows.scan_parts import PARTS_AT_ONCE, Part, plan_parts, record_unreadable, take_part
from backup_flows.store import get_json, put_json
from recovery_retention.names import (
    KEEP_TAG,
    MANAGED_BY,
    MANAGED_BY_TAG,
    RUN_TAG,
    ensure_deletable_table,
    restored_table_name,
    run_tag,
)
from restore_proof.verdict import Depth

log = logging.getLogger(__name__)

RESTORE_GROUP = "restore"
PROVE_GROUP = "prove"
START_TASK = f"{RESTORE_GROUP}.start_restore_job"
KEPT_FOR_INSPECTION = "failed-proof"
LOAD_FIGURES = ("rows_in", "written", "rejected", "duplicates", "bytes", "batches", "resent", "seconds", "shards")
"""What of a load's report goes into the evidence."""
ENCRYPTION_TYPE = "Default"
"""The key that AWS owns: a drill's table lives for an hour, and the default needs no key policy."""


class RestoredTableNotReadyError(RuntimeError):
    """The restored table is not ACTIVE yet although its job has completed; another look helps."""


class StartRestore(TellsFailure, BackupStartRestoreJobOperator):
    """Start or adopt the restore job; tell the tasks after it why, if it can't be."""


class WaitForRestore(TellsFailure, BackupRestoreJobSensor):
    """Wait for the restore job; tell the tasks after it why it ended badly."""


def prepare_target(
    resources: dict[str, Any],
    target: str,
    *,
    recovery_point_arn: str,
    context: Any,
    start_task: str = START_TASK,
) -> dict[str, Any] | None:
    """Look at a table that has the target's name already, before anything claims it.

    * No such table: nothing to do.
    * It is there and this run's record does not claim it: refused.
    * This run claims it, and its restore job stands: left alone, the operator adopts the job.
    * This run claims it, but its restore job ended badly, is of another recovery point, or a new one is forced:
      the half-made table is dropped, so that the restore can start anew.

    :param start_task: the task that starts the restore job, whose name is part of the job's identity.
    :return: the standing record of the run's claim, if there is one.
    :raises aws_backup.exceptions.RestoreTargetExistsError: the table is somebody else's.
    """
    dag_run, bucket = context["dag_run"], resources["bucket"]
    s3, dynamodb, hook = client("s3"), client("dynamodb"), BackupHook(aws_conn_id=AWS_CONN_ID)
    record = get_json(s3, bucket, restore_record_key(target))
    if table_status(dynamodb, target) is None:
        return record
    if record is None or record["run"] != run_tag(dag_run.dag_id, dag_run.run_id):
        raise RestoreTargetExistsError(
            table=target, reason="no record says that this run made it; drop it by hand if nobody needs it"
        )
    question = restore_intent_question(
        hook,
        IntentIdentity(
            dag_id=dag_run.dag_id,
            run_id=dag_run.run_id,
            task_id=start_task,
            map_index=context["ti"].map_index,
            resource=target,
        ),
        recovery_point_arn=recovery_point_arn,
        target_table_name=target,
        force_new=context["params"]["force_new"],
    )
    intent = peek_intent(intent_store(s3, bucket), question, now=utcnow())
    if not intent.may_have_started:
        log.warning("Dropping %s, which this run left half-made: %s", target, intent.reason)
        delete_restored_table(dynamodb, target, source=resources["table"])
    return record


@task(task_id="plan_restore")
@tells_failure
def plan_restore(resources: dict[str, Any], binding: dict[str, Any], start_task: str = START_TASK) -> dict[str, Any]:
    """Name the table to restore to, and put on record whose it is *before* AWS makes it.

    AWS brings no tags back, so a table whose run dies before it is tagged can be told ours by this record alone.

    :param resources: what ``preflight`` returned; ``target_table``, if it is in it, is the name.
    :param start_task: the task that starts the restore job.
    """
    context = get_current_context()
    dag_run = context["dag_run"]
    run = f"{dag_run.dag_id}/{dag_run.run_id}"
    arn = binding["recovery_point_arn"]
    target = resources.get("target_table") or restored_table_name(
        resources["table"], dt.date.fromisoformat(resources["as_of"]), run
    )
    prepare_target(resources, target, recovery_point_arn=arn, context=context, start_task=start_task)
    put_json(
        client("s3"),
        resources["bucket"],
        restore_record_key(target),
        {
            "table": target,
            "source": resources["table"],
            "run": run_tag(dag_run.dag_id, dag_run.run_id),
            "dag_id": dag_run.dag_id,
            "run_id": dag_run.run_id,
            "recovery_point_arn": arn,
            "planned_at": utcnow().isoformat(),
        },
    )
    return {
        "target_table": target,
        "recovery_point_arn": arn,
        "role_arn": resources["role_arn"],
        "bucket": resources["bucket"],
    }


@task(task_id="tag_restored_table", retries=5, retry_delay=dt.timedelta(seconds=10))
@tells_failure
def tag_restored_table(plan: dict[str, Any], job: dict[str, Any]) -> str:
    """Mark the restored table as ours, with the run that made it.

    :return: the table's ARN.
    """
    dag_run = get_current_context()["dag_run"]
    dynamodb = client("dynamodb")
    table = dynamodb.describe_table(TableName=plan["target_table"])["Table"]
    if table["TableStatus"] != "ACTIVE":
        raise RestoredTableNotReadyError(
            f"{plan['target_table']} is {table['TableStatus']}, not ACTIVE, although its restore job {job['job_id']} "
            "has completed. If it stays so, look at the table in DynamoDB's console and ask AWS; clear this task when "
            "it is ACTIVE."
        )
    dynamodb.tag_resource(
        ResourceArn=table["TableArn"],
        Tags=[
            {"Key": MANAGED_BY_TAG, "Value": MANAGED_BY},
            {"Key": RUN_TAG, "Value": run_tag(dag_run.dag_id, dag_run.run_id)},
        ],
    )
    log.info("Restored to %s by job %s", plan["target_table"], job["job_id"])
    return str(table["TableArn"])


@task_group(group_id=RESTORE_GROUP)
def restore(resources: Any, binding: Any, start_task: str = START_TASK) -> Any:
    """Restore the recovery point to a new table.

    :param binding: what is bound to the recovery point, or anything else with a ``recovery_point_arn``.
    :param start_task: the full id of the task that starts the restore job, where this group lies in another one.
    :return: the plan, the finished restore job's summary, the start task (the setup of the drop), and the last task.
    """
    plan: Any = plan_restore(resources, binding, start_task)
    start = StartRestore(
        task_id="start_restore_job",
        recovery_point_arn=plan["recovery_point_arn"],
        target_table_name=plan["target_table"],
        encryption_type=ENCRYPTION_TYPE,
        iam_role_arn=plan["role_arn"],
        intent_bucket=plan["bucket"],
        force_new="{{ params.force_new }}",
        wait_for_completion=False,
        deferrable=False,
    )
    job_id: Any = start.output
    wait = WaitForRestore(
        task_id="wait_for_restore_job",
        restore_job_id=job_id,
        deferrable=True,
        poke_interval=POLL_SECONDS,
        timeout=RESTORE_LIMIT.total_seconds(),
        execution_timeout=RESTORE_LIMIT,
    )
    job: Any = wait.output
    tagged = tag_restored_table(plan, job)
    start >> wait >> tagged
    return plan, job, start, tagged


def requested_by(dag_run: Any) -> str:
    """Return who asked for a run: a person's name, or what triggered it."""
    run_type = dag_run.run_type
    return getattr(dag_run, "triggering_user_name", None) or str(getattr(run_type, "value", run_type))


def phases_of(binding: Binding, job: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, start and end of what happened before the proof, by AWS's clock."""
    return [
        ("backup", binding.created_at, binding.after.taken_at),
        ("restore", job["creation_date"], job["completion_date"]),
    ]


@task(task_id="plan_proof_scans")
def plan_proof_scans(resources: dict[str, Any], plan: dict[str, Any], binding: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the table that is going to be restored into parts, one mapped task each; none if it is small."""
    bound = Binding.from_dict(binding)
    if Depth(bound.depth) is not Depth.FULL:
        return []
    s3 = client("s3")
    parts = plan_parts(
        client("dynamodb"),
        table=plan["target_table"],
        prefix=f"{evidence_prefix(bound.table, resources['as_of'], resources['run_key'])}{RESTORED}",
        plan=secrets.token_hex(4),
        expected_bytes=bound.size_bytes or 0,
        part_bytes=scan_part_bytes(),
        key_names=fingerprints.load_bound(s3, resources["bucket"], bound.before).key_names,
        max_rcu=get_current_context()["params"]["max_rcu"],
    )
    log.info("%s will be read in %s parts", plan["target_table"], max(1, len(parts)))
    return [part.to_dict() for part in parts]


@task(task_id="scan_restored", max_active_tis_per_dagrun=PARTS_AT_ONCE, execution_timeout=SCAN_LIMIT)
def scan_restored(part: dict[str, Any], resources: dict[str, Any]) -> dict[str, Any]:
    """Read one part of the restored table.

    What can't be read is put on record and fails the *proof*, with a verdict that says so, not this task: a proof
    must never end without a verdict.
    """
    s3, bucket, planned = client("s3"), resources["bucket"], Part.from_dict(part)
    try:
        return take_part(client("dynamodb"), s3, bucket=bucket, part=planned)
    except Exception as error:
        ti = get_current_context()["ti"]
        if ti.try_number <= ti.max_tries:
            raise
        log.exception("Part %s can't be read; the proof will say so", planned.shard)
        return record_unreadable(s3, bucket=bucket, part=planned, error=error)


@task(
    task_id="prove",
    outlets=[VERDICT],
    execution_timeout=SCAN_LIMIT,
    trigger_rule=MAPPED_MAY_BE_SKIPPED,
    **NO_RETRY,
)
def prove_restored_table(
    resources: dict[str, Any],
    plan: dict[str, Any],
    binding: dict[str, Any],
    job: dict[str, Any],
    parts: list[dict[str, Any]],
    loaded: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare every restored item, type-exact, with what the table held when it was backed up.

    A verdict other than proven fails the task; verdict and evidence are in S3 and in XCom ``verdict`` by then.
    """
    context = get_current_context()
    dag_run = context["dag_run"]
    bound = Binding.from_dict(binding)
    clock = aws_clock()
    phases = phases_of(bound, job)
    started = clock()
    request = ProofRequest(
        bucket=resources["bucket"],
        binding=bound,
        restored_table=plan["target_table"],
        restore=job,
        as_of=resources["as_of"],
        run=f"{dag_run.dag_id}/{dag_run.run_id}",
        drill_id=resources["run_key"],
        requested_by=requested_by(dag_run),
        phases=phases,
        encryption_type=ENCRYPTION_TYPE,
        parts=tuple(Part.from_dict(part) for part in parts),
        max_rcu=context["params"]["max_rcu"],
        load={name: loaded[name] for name in LOAD_FIGURES} if loaded is not None else None,
    )
    expect_if_unknown(
        World(BackupHook(aws_conn_id=AWS_CONN_ID), client, clock),
        Subject.of({"vault": bound.vault, "table_arn": bound.table_arn, **resources}, resources["run_key"]),
        binding,
    )
    scaling = client("application-autoscaling")
    try:
        verdict = prove(client("dynamodb"), client("s3"), request, clock=clock, scaling=scaling)
    finally:
        # A proof that crashed has left its verdict, too.
        mirror_verdict(
            client("backup"),
            client("s3"),
            bucket=resources["bucket"],
            table=bound.table,
            recovery_point_arn=bound.recovery_point_arn,
        )
    result = summary(verdict, [*phases, ("proof", started.isoformat(), clock().isoformat())])
    read = fingerprints.find(client("s3"), resources["bucket"], f"{request.prefix}{RESTORED}")
    result["scans"] = {
        name: taken.figures
        for name, taken in {"before": bound.before, "after": bound.after, "restored": read}.items()
        if taken is not None
    }
    context["ti"].xcom_push(key="verdict", value=result)
    context["outlet_events"][VERDICT].extra = {
        "recovery_point_arn": bound.recovery_point_arn,
        "table": bound.table,
        "verdict": result["verdict"],
        "report": result["report"],
        "as_of": bound.as_of,
    }
    verdict.raise_unless_proven()
    return result


def prove_by_parts(resources: Any, plan: Any, binding: Any, job: Any, *, after: Any, loaded: Any = None) -> Any:
    """Wire the proof of a restored table, which is read in parts where it is large.

    :param plan: what ``plan_restore`` returned.
    :param job: the finished restore job's summary.
    :param after: the task after which the restored table can be read.
    :param loaded: the report of the load that the backup followed, if there was one.
    :return: what ``prove`` returns.
    """
    parts: Any = plan_proof_scans(resources, plan, binding)
    scanned = scan_restored.partial(resources=resources).expand(part=parts)
    proven: Any = prove_restored_table(resources, plan, binding, job, parts, loaded)
    after >> scanned >> proven
    after >> proven
    return proven


def delete_restored_table(dynamodb: Any, name: str, *, source: str) -> None:
    """Delete a restored table and wait until it is gone; the allow-list guard stands before it.

    :raises recovery_retention.names.UndeletableTableError: it is no restored copy of ``source``.
    """
    ensure_deletable_table(name, {source})
    dynamodb.delete_table(TableName=name)
    dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 300})
    log.info("Dropped table %s", name)


def drop_table(resources: dict[str, Any], plan: dict[str, Any], *, keep: bool, drill_id: str | None = None) -> str:
    """Drop the restored table, unless its proof failed or somebody asked to keep it.

    Only a table with a managed name of this source is ever dropped (allow-list guard). Safe to repeat.

    :param drill_id: whose verdict decides; that of the run's own drill if not given.
    :return: what happened, in a word: ``dropped``, ``gone``, ``kept``, or ``left`` where AWS is still restoring it:
        such a table can't be deleted yet, and the DAG ``retention_cleanup`` sweeps it.
    """
    target = plan["target_table"]
    ensure_deletable_table(target, {resources["table"]})
    dynamodb = client("dynamodb")
    try:
        table = dynamodb.describe_table(TableName=target)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        log.info("%s does not exist", target)
        return "gone"
    if table["TableStatus"] == "CREATING":
        # It has not come to a proof that it could be kept for, and takes no tag yet.
        log.warning("%s is still being restored: left to the sweep of retention_cleanup", target)
        return "left"
    own = drill_verdict_key(
        resources["table"], plan["recovery_point_arn"], resources["as_of"], drill_id or resources["run_key"]
    )
    verdict = read_verdict(client("s3"), resources["bucket"], own)
    failed = verdict is not None and not verdict.is_proven
    if keep or failed:
        reason = KEPT_FOR_INSPECTION if failed else "asked-for"
        dynamodb.tag_resource(ResourceArn=table["TableArn"], Tags=[{"Key": KEEP_TAG, "Value": reason}])
        log.warning("Kept table %s (%s). Remove its tag %r and it is swept.", target, reason, KEEP_TAG)
        return "kept"
    if table["TableStatus"] != "ACTIVE":
        log.warning("%s is %s: left to the sweep of retention_cleanup", target, table["TableStatus"])
        return "left"
    delete_restored_table(dynamodb, target, source=resources["table"])
    return "dropped"


@task(task_id="drop_restored_table", retries=5)
def drop_restored_table(resources: dict[str, Any], plan: dict[str, Any]) -> str:
    """Drop the restored table; a failed proof's table is kept, tagged, for somebody to look at."""
    return drop_table(resources, plan, keep=get_current_context()["params"]["keep_restored_table"])


@task(task_id="report", **NO_RETRY)
def report(loaded: dict[str, Any], binding: dict[str, Any], proven: dict[str, Any]) -> dict[str, Any]:
    """Say in a few lines what the run came to; the same goes to XCom."""
    bound = Binding.from_dict(binding)
    result = {
        **proven,
        "load": {name: loaded[name] for name in LOAD_FIGURES},
        "rejects": loaded["rejects_name"] if loaded["rejected"] else None,
        "recovery_point": {"size_bytes": bound.size_bytes, "created_at": bound.created_at},
    }
    log.info("Verdict: %s", result["verdict"])
    log.info("Load: %s", result["load"])
    log.info("Timings (s): %s", result["timings"])
    log.info("Read: %s", result["scans"])
    log.info("Report: %s", result["report"])
    return result
