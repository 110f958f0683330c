"""Back a table up, and know what the backup must hold: settle, fingerprint, job, settle, fingerprint, bind."""

from __future__ import annotations

import datetime as dt
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import get_current_context, task, task_group
from airflow.sdk.configuration import conf

from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import IntentIdentity, peek_intent
from aws_backup.operators.backup import BackupStartBackupJobOperator
from aws_backup.questions import backup_intent_question, intent_store
from aws_backup.sensors.backup import BackupJobSensor
from backup_flows import canaries, fingerprints
from backup_flows.as_of import utcnow
from backup_flows.aws import AWS_CONN_ID, client, server_time
from backup_flows.defaults import BACKUP_LIMIT, MAPPED_MAY_BE_SKIPPED, RECOVERY_POINT, SCAN_LIMIT
from backup_flows.depths import Place, take_first, take_like
from backup_flows.fingerprints import Binding, Taken
from backup_flows.keys import intent_prefix
from backup_flows.leasing import ensure_lease, ensure_run_holds_lease
from backup_flows.operators import SettleOperator
from backup_flows.ownership import AS_OF_TAG, DAG_TAG, TABLE_TAG
from backup_flows.proof import record_source_settings
from backup_flows.protection_proof import ProofSettings
from backup_flows.scan_parts import PART_BYTES, PARTS_AT_ONCE, Part, merge_parts, plan_parts, take_part
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, RUN_TAG
from restore_proof.verdict import Depth

log = logging.getLogger(__name__)

GROUP = "back_up"
POLL_SECONDS = 2
"""The first look at a job comes soon, and later ones ever more seldom: up to two minutes apart."""
START_TASK = f"{GROUP}.start_backup_job"
BEFORE = "before."
AFTER = "after."


def aws_clock() -> Callable[[], dt.datetime]:
    """Return a function that tells AWS's time."""
    sts = client("sts")
    return lambda: server_time(sts)


def scan_part_bytes() -> int:
    """Return how much of a table one mapped task reads (``[backup_flows] scan_part_mb``, default 2048)."""
    megabytes: float = conf.getfloat("backup_flows", "scan_part_mb", fallback=PART_BYTES / 2**20)
    return max(1, int(megabytes * 1024 * 1024))


def intended_backup(resources: dict[str, Any], context: Any, start_task: str = START_TASK) -> Any:
    """Return what the run's backup job is going to be, or is already.

    :param start_task: the task that starts it, whose name is part of the job's identity.
    :return: a :class:`aws_backup.intents.Intent`.
    """
    hook = BackupHook(aws_conn_id=AWS_CONN_ID)
    question = backup_intent_question(
        hook,
        IntentIdentity(
            dag_id=context["dag_run"].dag_id,
            run_id=context["dag_run"].run_id,
            task_id=start_task,
            map_index=-1,
            resource=resources["table_arn"],
        ),
        backup_vault_name=resources["vault"],
        resource_arn=resources["table_arn"],
        force_new=context["params"]["force_new"],
    )
    return peek_intent(intent_store(client("s3"), resources["bucket"]), question, now=utcnow())


def standing_before(resources: dict[str, Any], intent: Any) -> Taken | None:
    """Return the fingerprint that preceded the run's backup job, if that job may have been started.

    A run that is cleared keeps its job (see :mod:`aws_backup.intents`); then what the table held *before that
    job* counts, and a scan made now would vouch for the wrong moment.
    """
    if not intent.may_have_started:
        return None
    return fingerprints.find(client("s3"), resources["bucket"], f"{intent_prefix(intent.token)}{BEFORE}")


def plan_scans(resources: dict[str, Any], expected_bytes: int, context: Any) -> list[dict[str, Any]]:
    """Cut the table into the parts that both fingerprints of the run's backup are read in.

    :param expected_bytes: what was loaded; DynamoDB tells a table's size hours late.
    :return: the parts (:class:`backup_flows.scan_parts.Part` as dicts), their prefix the one of the job; none if one
        task reads the whole table, or if only some of its items are looked at.
    """
    if proof_of(resources).depth is not Depth.FULL:
        return []
    parts = plan_parts(
        client("dynamodb"),
        table=resources["table"],
        prefix=intent_prefix(intended_backup(resources, context).token),
        plan=secrets.token_hex(4),
        expected_bytes=expected_bytes,
        part_bytes=scan_part_bytes(),
        max_rcu=context["params"]["max_rcu"],
    )
    log.info("%s is read in %s parts", resources["table"], max(1, len(parts)))
    return [part.to_dict() for part in parts]


@task(task_id="plan_scans")
def plan_scan_parts(resources: dict[str, Any], loaded: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the table into parts, one mapped task each for either fingerprint; none if the table is small."""
    return plan_scans(resources, loaded["bytes"], get_current_context())


@task(task_id="plant_canaries")
def plant_canaries(resources: dict[str, Any], loaded: dict[str, Any]) -> str:
    """Write the table's canaries, where its proof is to demand such; they have to settle like any other write.

    :return: when the last write was, ISO 8601.
    """
    context, proof = get_current_context(), proof_of(resources)
    if proof.depth is not Depth.CANARY:
        return str(loaded["ended_at"])
    ensure_run_holds_lease(context)
    intent = intended_backup(resources, context)
    if standing_before(resources, intent) is not None:
        return str(loaded["ended_at"])
    record = canaries.plant(
        client("dynamodb"),
        client("s3"),
        bucket=resources["bucket"],
        prefix=intent_prefix(intent.token),
        table=resources["table"],
        proof=proof,
        nonce=intent.token,
        clock=aws_clock(),
    )
    return max(str(record["written_at"]), str(loaded["ended_at"]), key=dt.datetime.fromisoformat)


@task(task_id="scan_before", max_active_tis_per_dagrun=PARTS_AT_ONCE, execution_timeout=SCAN_LIMIT)
def scan_before(part: dict[str, Any], resources: dict[str, Any], lease: dict[str, Any]) -> dict[str, Any] | None:
    """Read one part of the table before its backup job; nothing, where a job stands and its fingerprint counts."""
    ensure_lease(lease)
    if standing_before(resources, intended_backup(resources, get_current_context())) is not None:
        return None
    return take_part(client("dynamodb"), client("s3"), bucket=resources["bucket"], part=of_fingerprint(part, BEFORE))


@task(task_id="scan_after", max_active_tis_per_dagrun=PARTS_AT_ONCE, execution_timeout=SCAN_LIMIT)
def scan_after(
    part: dict[str, Any], resources: dict[str, Any], lease: dict[str, Any], job: dict[str, Any]
) -> dict[str, Any] | None:
    """Read one part of the table after its backup job; nothing, where the recovery point is bound already."""
    ensure_lease(lease)
    s3, bucket = client("s3"), resources["bucket"]
    standing = fingerprints.find_binding(s3, bucket, resources["table"], job["recovery_point_arn"])
    if standing is not None and not fingerprints.yields_to_run(standing, Depth.FULL):
        return None
    return take_part(client("dynamodb"), s3, bucket=bucket, part=of_fingerprint(part, AFTER))


def of_fingerprint(part: dict[str, Any], which: str) -> Part:
    """Return a planned part as one of the fingerprint before or after the job."""
    planned = Part.from_dict(part)
    return replace(planned, prefix=f"{planned.prefix}{which}")


def proof_of(resources: dict[str, Any]) -> ProofSettings:
    """Return how deep a proof of the table is to look, as ``protection.yaml`` has it."""
    return ProofSettings.from_dict(resources.get("proof"))


def place_of(resources: dict[str, Any], context: Any, prefix: str) -> Place:
    """Return where the table is read, and where what is kept of it goes."""
    return Place(
        dynamodb=client("dynamodb"),
        s3=client("s3"),
        bucket=resources["bucket"],
        prefix=prefix,
        table=resources["table"],
        max_rcu=context["params"]["max_rcu"],
        clock=aws_clock(),
    )


def merged(place: Place, parts: Sequence[dict[str, Any]], which: str) -> Taken | None:
    """Return the fingerprint of a table that was read in parts.

    Parts that were planned for another job (a new one is due since) are of no use: the table is then read anew.
    """
    planned = [of_fingerprint(part, which) for part in parts]
    if not planned or any(part.prefix != place.prefix for part in planned):
        return None
    return merge_parts(place.s3, bucket=place.bucket, prefix=place.prefix, parts=planned, clock=place.clock)[0]


def take_before(
    resources: dict[str, Any],
    context: Any,
    parts: Sequence[dict[str, Any]] = (),
    start_task: str = START_TASK,
) -> dict[str, Any]:
    """Take the fingerprint that precedes the run's backup job, or adopt the one that did.

    :param parts: what the table was read in, if it was.
    :param start_task: the task that starts the job.
    :return: the fingerprint's record (:class:`backup_flows.fingerprints.Taken`) as a dict.
    """
    intent = intended_backup(resources, context, start_task)
    standing = standing_before(resources, intent)
    if standing is not None:
        log.info("The backup job stands (%s), so its fingerprint of %s counts", intent.reason, standing.taken_at)
        return vars(standing)
    job_prefix = intent_prefix(intent.token)
    place = place_of(resources, context, f"{job_prefix}{BEFORE}")
    taken = merged(place, parts, BEFORE) or take_first(
        place, proof_of(resources), seed=intent.token, job_prefix=job_prefix
    )
    return vars(taken)


@task(task_id="fingerprint_before", trigger_rule=MAPPED_MAY_BE_SKIPPED, execution_timeout=SCAN_LIMIT)
def fingerprint_before(resources: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Fingerprint the table right before its backup job is started."""
    context = get_current_context()
    ensure_run_holds_lease(context)
    return take_before(resources, context, parts)


def bind_recovery_point(
    resources: dict[str, Any],
    before: dict[str, Any],
    job: dict[str, Any],
    context: Any,
    parts: Sequence[dict[str, Any]] = (),
) -> Binding:
    """Take the second fingerprint and bind both to the recovery point; keep what is bound already.

    What a drill bound meanwhile, and less deep, is no reason to keep it (:func:`fingerprints.yields_to_run`).
    """
    s3, dynamodb, bucket = client("s3"), client("dynamodb"), resources["bucket"]
    arn = job["recovery_point_arn"]
    standing = fingerprints.find_binding(s3, bucket, resources["table"], arn)
    if standing is not None and not fingerprints.yields_to_run(standing, before["depth"]):
        log.info("Recovery point %s is bound since %s", arn, standing.after.taken_at)
        return standing
    taken_before = Taken(**before)
    fingerprints.ensure_taken_before(taken_before, job["creation_date"])
    token_prefix = taken_before.prefix.removesuffix(BEFORE)
    place = place_of(resources, context, f"{token_prefix}{AFTER}")
    after = merged(place, parts, AFTER) or take_like(place, taken_before)[0]
    binding = Binding(
        recovery_point_arn=arn,
        table=resources["table"],
        table_arn=resources["table_arn"],
        vault=resources["vault"],
        backup_job_id=job["job_id"],
        created_at=job["creation_date"],
        size_bytes=job.get("size_bytes"),
        before=taken_before,
        after=after,
        drifting=taken_before.digest != after.digest,
        as_of=resources["as_of"],
        dag_id=context["dag_run"].dag_id,
        run_id=context["dag_run"].run_id,
        depth=taken_before.depth,
    )
    scaling = client("application-autoscaling")
    record_source_settings(dynamodb, s3, bucket=bucket, binding=binding, now=aws_clock()(), scaling=scaling)
    if binding.drifting:
        log.warning("%s was written to during its backup: the recovery point is drifting", binding.table)
    return fingerprints.bind(s3, bucket, binding)


@task(
    task_id="bind_recovery_point",
    outlets=[RECOVERY_POINT],
    trigger_rule=MAPPED_MAY_BE_SKIPPED,
    execution_timeout=SCAN_LIMIT,
)
def bind(
    resources: dict[str, Any],
    before: dict[str, Any],
    job: dict[str, Any],
    parts: list[dict[str, Any]],
) -> dict[str, Any]:
    """Fingerprint the table again and bind both fingerprints to the recovery point."""
    context = get_current_context()
    ensure_run_holds_lease(context)
    binding = bind_recovery_point(resources, before, job, context, parts)
    context["outlet_events"][RECOVERY_POINT].extra = {
        "recovery_point_arn": binding.recovery_point_arn,
        "table": binding.table,
        "size_bytes": binding.size_bytes,
        "drifting": binding.drifting,
        "as_of": binding.as_of,
    }
    return binding.as_dict()


@task_group(group_id=GROUP)
def back_up(resources: Any, lease: Any, *, loaded: Any, settle_seconds: str) -> Any:
    """Back the table up on demand and bind fingerprints to the recovery point.

    :param resources: what ``preflight`` returned.
    :param lease: what the lease operator returned.
    :param loaded: what was written last: ``ended_at`` (ISO 8601) and ``bytes``.
    :param settle_seconds: template of the settle time.
    :return: the binding (:class:`backup_flows.fingerprints.Binding` as a dict).
    """
    written: Any = plant_canaries(resources, loaded)
    settle_before = SettleOperator(
        task_id="settle_before", since=written, seconds=settle_seconds, execution_timeout=BACKUP_LIMIT
    )
    # Needs nothing that settling changes, so it costs no time of its own.
    parts: Any = plan_scan_parts(resources, loaded)
    scanned_before = scan_before.partial(resources=resources, lease=lease).expand(part=parts)
    before: Any = fingerprint_before(resources, parts)
    start = BackupStartBackupJobOperator(
        task_id="start_backup_job",
        backup_vault_name=resources["vault"],
        resource_arn=resources["table_arn"],
        iam_role_arn=resources["role_arn"],
        lifecycle=resources["lifecycle"],
        recovery_point_tags={
            MANAGED_BY_TAG: MANAGED_BY,
            TABLE_TAG: resources["table"],
            AS_OF_TAG: resources["as_of"],
            DAG_TAG: "{{ dag_run.dag_id }}",
            RUN_TAG: resources["run"],
        },
        intent_bucket=resources["bucket"],
        force_new="{{ params.force_new }}",
        wait_for_completion=False,
        deferrable=False,
    )
    job_id: Any = start.output
    wait = BackupJobSensor(
        task_id="wait_for_backup_job",
        backup_job_id=job_id,
        deferrable=True,
        stop_job_on_kill=True,
        poke_interval=POLL_SECONDS,
        timeout=BACKUP_LIMIT.total_seconds(),
        execution_timeout=BACKUP_LIMIT,
    )
    job: Any = wait.output
    settle_after = SettleOperator(
        task_id="settle_after",
        since="{{ ti.xcom_pull(task_ids='back_up.wait_for_backup_job')['completion_date'] }}",
        seconds=settle_seconds,
        execution_timeout=BACKUP_LIMIT,
    )
    scanned_after = scan_after.partial(resources=resources, lease=lease, job=job).expand(part=parts)
    bound = bind(resources, before, job, parts)
    settle_before >> scanned_before >> before >> start >> wait >> settle_after >> scanned_after >> bound
    settle_before >> before
    settle_after >> bound
    return bound
