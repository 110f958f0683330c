"""Back a table up, and know what the backup must hold: settle, fingerprint, job, settle, fingerprint, bind."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

from airflow.sdk import get_current_context, task, task_group

from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import IntentIdentity, peek_intent
from aws_backup.operators.backup import BackupStartBackupJobOperator
from aws_backup.questions import backup_intent_question, intent_store
from aws_backup.sensors.backup import BackupJobSensor
from backup_flows import fingerprints
from backup_flows.as_of import utcnow
from backup_flows.aws import AWS_CONN_ID, client, server_time
from backup_flows.defaults import BACKUP_LIMIT, RECOVERY_POINT
from backup_flows.fingerprints import Binding, Taken
from backup_flows.keys import intent_prefix
from backup_flows.operators import SettleOperator
from backup_flows.orders import ensure_lease
from backup_flows.proof import record_source_settings
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, RUN_TAG

log = logging.getLogger(__name__)

GROUP = "back_up"
POLL_SECONDS = 2
"""The first look at a job comes soon, and later ones ever more seldom: up to two minutes apart."""
START_TASK = f"{GROUP}.start_backup_job"


def aws_clock() -> Callable[[], dt.datetime]:
    """Return a function that tells AWS's time."""
    sts = client("sts")
    return lambda: server_time(sts)


def take_before(resources: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take the fingerprint that precedes the run's backup job, or adopt the one that did.

    A run that is cleared keeps its job (see :mod:`aws_backup.intents`); then what the table held *before that
    job* counts, and a scan made now would vouch for the wrong moment.

    :return: the fingerprint's record (:class:`backup_flows.fingerprints.Taken`) as a dict.
    """
    s3 = client("s3")
    hook = BackupHook(aws_conn_id=AWS_CONN_ID)
    question = backup_intent_question(
        hook,
        IntentIdentity(
            dag_id=context["dag_run"].dag_id,
            run_id=context["dag_run"].run_id,
            task_id=START_TASK,
            map_index=-1,
            resource=resources["table_arn"],
        ),
        backup_vault_name=resources["vault"],
        resource_arn=resources["table_arn"],
        force_new=context["params"]["force_new"],
    )
    intent = peek_intent(intent_store(s3, resources["bucket"]), question, now=utcnow())
    prefix = f"{intent_prefix(intent.token)}before."
    if intent.may_have_started:
        standing = fingerprints.find(s3, resources["bucket"], prefix)
        if standing is not None:
            log.info("The backup job stands (%s), so its fingerprint of %s counts", intent.reason, standing.taken_at)
            return vars(standing)
    taken, _ = fingerprints.take(
        client("dynamodb"),
        s3,
        bucket=resources["bucket"],
        prefix=prefix,
        table=resources["table"],
        clock=aws_clock(),
    )
    return vars(taken)


@task(task_id="fingerprint_before")
def fingerprint_before(resources: dict[str, Any], lease: dict[str, Any]) -> dict[str, Any]:
    """Fingerprint the table right before its backup job is started."""
    ensure_lease(lease)
    return take_before(resources, get_current_context())


def bind_recovery_point(
    resources: dict[str, Any], before: dict[str, Any], job: dict[str, Any], context: Any
) -> Binding:
    """Take the second fingerprint and bind both to the recovery point; keep what is bound already."""
    s3, dynamodb, bucket = client("s3"), client("dynamodb"), resources["bucket"]
    arn = job["recovery_point_arn"]
    standing = fingerprints.find_binding(s3, bucket, resources["table"], arn)
    if standing is not None:
        log.info("Recovery point %s is bound since %s", arn, standing.after.taken_at)
        return standing
    taken_before = Taken(**before)
    fingerprints.ensure_taken_before(taken_before, job["creation_date"])
    clock = aws_clock()
    token_prefix = taken_before.prefix.removesuffix("before.")
    after, _ = fingerprints.take(
        dynamodb, s3, bucket=bucket, prefix=f"{token_prefix}after.", table=resources["table"], clock=clock
    )
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
    )
    record_source_settings(dynamodb, s3, bucket=bucket, binding=binding, now=clock())
    if binding.drifting:
        log.warning("%s was written to during its backup: the recovery point is drifting", binding.table)
    return fingerprints.bind(s3, bucket, binding)


@task(task_id="bind_recovery_point", outlets=[RECOVERY_POINT])
def bind(
    resources: dict[str, Any], lease: dict[str, Any], before: dict[str, Any], job: dict[str, Any]
) -> dict[str, Any]:
    """Fingerprint the table again and bind both fingerprints to the recovery point."""
    ensure_lease(lease)
    context = get_current_context()
    binding = bind_recovery_point(resources, before, job, context)
    context["outlet_events"][RECOVERY_POINT].extra = {
        "recovery_point_arn": binding.recovery_point_arn,
        "table": binding.table,
        "size_bytes": binding.size_bytes,
        "drifting": binding.drifting,
        "as_of": binding.as_of,
    }
    return binding.as_dict()


@task_group(group_id=GROUP)
def back_up(resources: Any, lease: Any, *, written_until: Any, settle_seconds: str) -> Any:
    """Back the table up on demand and bind fingerprints to the recovery point.

    :param resources: what ``preflight`` returned.
    :param lease: what the lease operator returned.
    :param written_until: when the last write ended, ISO 8601.
    :param settle_seconds: template of the settle time.
    :return: the binding (:class:`backup_flows.fingerprints.Binding` as a dict).
    """
    settle_before = SettleOperator(
        task_id="settle_before", since=written_until, seconds=settle_seconds, execution_timeout=BACKUP_LIMIT
    )
    before: Any = fingerprint_before(resources, lease)
    start = BackupStartBackupJobOperator(
        task_id="start_backup_job",
        backup_vault_name=resources["vault"],
        resource_arn=resources["table_arn"],
        iam_role_arn=resources["role_arn"],
        lifecycle=resources["lifecycle"],
        recovery_point_tags={
            MANAGED_BY_TAG: MANAGED_BY,
            "table": resources["table"],
            "as-of": resources["as_of"],
            "dag": "{{ dag_run.dag_id }}",
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
    bound = bind(resources, lease, before, job)
    settle_before >> before >> start >> wait >> settle_after >> bound
    return bound
