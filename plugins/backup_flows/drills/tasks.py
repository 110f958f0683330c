"""The tasks of the DAG ``restore_drill`` up to the proof: choose, prepare, restore, prove, drop."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import force_key
from aws_backup.summaries import summarise_restore_job
from backup_flows import fingerprints
from backup_flows.as_of import run_key
from backup_flows.aws import AWS_CONN_ID, client
from backup_flows.defaults import DRILL_REQUEST, SCAN_LIMIT
from backup_flows.drills.choosing import Choice
from backup_flows.drills.errors import KeySchemaChangedError, NothingBoundError
from backup_flows.drills.gather import Request, Surroundings, choose_by_params, choose_requested, restore_tests
from backup_flows.drills.ledger import (
    drill_name,
    intended_run,
    keep_choice,
    renew_choice,
    standing_choice,
    standing_of,
    verdict_of,
)
from backup_flows.drills.moment import Moment, drill_moment
from backup_flows.drills.points import ensure_usable, find_point
from backup_flows.evidence import hold_verdict
from backup_flows.expecting import Subject, World, expect_if_unknown
from backup_flows.failures import tells_failure
from backup_flows.fingerprints import Binding
from backup_flows.keys import restore_record_key
from backup_flows.point_tags import mirror_verdict
from backup_flows.preflight import Flight, ensure_ready
from backup_flows.project_files import project_file
from backup_flows.proof import ProofRequest, prove, summary
from backup_flows.protected_tables import find_protected_tables
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.recovery_points import aws_clock
from backup_flows.resources import ensure_opted_in, look_up
from backup_flows.restores import ENCRYPTION_TYPE, drop_table, phases_of, requested_by
from backup_flows.store import get_json
from dynamodb_bulk.scan import table_key_names
from recovery_retention.names import restored_table_name, run_tag
from recovery_retention.recovery_point import table_name_of

log = logging.getLogger(__name__)

ADOPT = "adopt"
DRILL_ID = "drill_id"
"""XCom key: under which name a proof records its verdict."""
NO_PROOF = "none"
"""In place of that name, where no proof was begun."""
RAN = frozenset({"success", "failed"})
PROVES_ITSELF = frozenset({"orders_backup_restore"})


def states_of(context: Mapping[str, Any], names: Sequence[str]) -> dict[str, str | None]:
    """Return the states of tasks of one drill, by their name within its group."""
    ti = context["ti"]
    group = ti.task_id.rpartition(".")[0]
    found = ti.get_task_states(
        dag_id=ti.dag_id,
        run_ids=[ti.run_id],
        task_ids=[f"{group}.{name}" for name in names],
        map_index=ti.map_index,
    ).get(ti.run_id, {})
    suffix = f"_{ti.map_index}" if ti.map_index >= 0 else ""
    return {name: found.get(f"{group}.{name}{suffix}") for name in names}


def xcom_of(context: Mapping[str, Any], name: str, key: str = "return_value") -> Any:
    """Return what a task of the same drill pushed, or None.

    Airflow clears what a task pushed when it runs again, and not when it is skipped: look at its state first.
    """
    ti = context["ti"]
    return ti.xcom_pull(task_ids=f"{ti.task_id.rpartition('.')[0]}.{name}", key=key, map_indexes=ti.map_index)


def proof_of(context: Mapping[str, Any]) -> str | None:
    """Return under which name the drill's proof records its verdict, if a proof was begun this time."""
    begun = states_of(context, ["prove"])["prove"] in RAN
    name = xcom_of(context, "prove", DRILL_ID) if begun else None
    return str(name) if name else None


def events_of(context: Mapping[str, Any]) -> list[Request]:
    """Return the recovery points that the events behind a run name; none if no asset triggered it."""
    events = context.get("triggering_asset_events") or {}
    found: dict[str, Request] = {}
    for event in (event for of_asset in events.values() for event in of_asset):
        extra = event.extra or {}
        arn = extra.get("recovery_point_arn")
        if not arn:
            continue
        demanded = event.asset.name == DRILL_REQUEST.name
        reason = extra.get("reason") or "it is new"
        if demanded or arn not in found:
            found[arn] = Request(
                arn, extra.get("table", ""), extra.get("vault"), reason, demanded, getattr(event, "source_dag_id", None)
            )
    return list(found.values())


def order_of(choice: Choice, context: Mapping[str, Any], stack: Mapping[str, str], moment: Moment) -> dict[str, Any]:
    """Return a drill as its tasks hand it on: the stack's resources, with the drill's table in place of the stack's."""
    dag_run, point = context["dag_run"], choice.point
    force = force_key(context["params"]["force_new"])
    intended = f"{dag_run.dag_id}/{intended_run(dag_run.run_id, force)}/{point.arn}"
    return {
        **stack,
        "table": point.table,
        "table_arn": point.table_arn,
        "vault": point.vault,
        "as_of": moment.as_of,
        "run": run_tag(dag_run.dag_id, dag_run.run_id),
        "run_key": drill_name(dag_run.dag_id, dag_run.run_id, force, point.arn),
        "target_table": restored_table_name(point.table, dt.date.fromisoformat(moment.as_of), intended),
        "chosen": {**point.to_dict(), "why": choice.why},
        "restore_job_id": None,
    }


def order_of_test(
    job: Mapping[str, Any], context: Mapping[str, Any], stack: Mapping[str, str], moment: Moment
) -> dict[str, Any]:
    """Return the drill of a table that AWS's restore testing has restored.

    It is named for the restore job and not for the run: whichever run proves it, AWS takes one verdict.
    """
    dag_run, table_arn = context["dag_run"], job["SourceResourceArn"]
    table = table_name_of(table_arn)
    created = job.get("RecoveryPointCreationDate")
    return {
        **stack,
        "table": table,
        "table_arn": table_arn,
        "vault": job["BackupVaultArn"].rpartition(":")[2],
        "as_of": moment.as_of,
        "run": run_tag(dag_run.dag_id, dag_run.run_id),
        "run_key": run_key("restore-testing", job["RestoreJobId"]),
        "target_table": table_name_of(job["CreatedResourceArn"]),
        "chosen": {
            "recovery_point_arn": job["RecoveryPointArn"],
            "table": table,
            "table_arn": table_arn,
            "vault": job["BackupVaultArn"].rpartition(":")[2],
            "created_at": created.isoformat() if created else None,
            "why": f"AWS's restore testing restored it ({job['CreatedBy']['RestoreTestingPlanArn']})",
        },
        "restore_job_id": job["RestoreJobId"],
    }


def look_around(context: Mapping[str, Any]) -> Surroundings:
    """Check that the stack is there and that DynamoDB is opted in; return where to look for recovery points."""
    stack = look_up(context["params"]["stack_name"]).as_dict()
    ensure_opted_in(client("backup"))

    @functools.cache
    def protected() -> Any:
        return find_protected_tables(functools.cache(client), load_protection(project_file(PROTECTION_FILE)))

    return Surroundings(BackupHook(aws_conn_id=AWS_CONN_ID), client("s3"), stack, protected)


def choose_once(
    context: Mapping[str, Any], look: Callable[[Surroundings, Moment], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Choose what a run drills; what it chose at its first attempt stands.

    :param look: chooses the drills.
    :return: the drills, ``max_drills`` at most.
    """
    params, dag_run = context["params"], context["dag_run"]
    moment = drill_moment(context)
    around = look_around(context)
    key = run_key(dag_run.dag_id, intended_run(dag_run.run_id, force_key(params["force_new"])))
    bucket, limit = around.stack["bucket"], params["max_drills"]
    orders = standing_choice(around.s3, bucket, as_of=moment.as_of, key=key)
    if orders is not None:
        log.info("What this run chose before stands")
        renew_choice(around.s3, bucket, as_of=moment.as_of, key=key)
    else:
        orders = look(around, moment)
        if len(orders) > limit:
            log.warning("%s drills are left to later runs (max_drills is %s)", len(orders) - limit, limit)
        if orders:
            run = (dag_run.dag_id, dag_run.run_id)
            orders = keep_choice(around.s3, bucket, as_of=moment.as_of, key=key, run=run, chosen=orders[:limit])
    for order in orders:
        chosen = order["chosen"]
        log.info(
            "%s: %s, made %s: %s", order["table"], chosen["recovery_point_arn"], chosen["created_at"], chosen["why"]
        )
    return orders


@task(task_id="choose")
def choose() -> list[dict[str, Any]]:
    """Choose the recovery points that the run restores and proves; one mapped drill each."""
    context = get_current_context()
    requests = events_of(context)
    if context["params"]["mode"] == ADOPT and not requests:
        raise AirflowSkipException("The run adopts AWS's own restore tests.")

    def look(around: Surroundings, moment: Moment) -> list[dict[str, Any]]:
        if not requests:
            choices = choose_by_params(around, context["params"], moment)
        else:
            choices, left_out = choose_requested(around, requests, proves_itself=PROVES_ITSELF)
            for line in left_out:
                log.info("Left out: %s", line)
        return [order_of(choice, context, around.stack, moment) for choice in choices]

    orders = choose_once(context, look)
    if not orders:
        raise AirflowSkipException("None of the new recovery points is to be drilled at once.")
    return orders


@task(task_id="choose_restore_tests")
def choose_restore_tests() -> list[dict[str, Any]]:
    """Choose the tables that AWS's restore testing restored and that wait for a verdict; one mapped drill each."""
    context = get_current_context()
    if context["params"]["mode"] != ADOPT or events_of(context):
        raise AirflowSkipException("The run restores tables of its own.")

    def look(around: Surroundings, moment: Moment) -> list[dict[str, Any]]:
        jobs = restore_tests(around.hook, context["params"]["restore_testing_plan_arn"])
        return [order_of_test(job, context, around.stack, moment) for job in jobs]

    orders = choose_once(context, look)
    if not orders:
        raise AirflowSkipException("No restore test waits for a verdict.")
    return orders


def skip_if_decided(s3: Any, order: dict[str, Any]) -> None:
    """Go no further with a drill that has its verdict already; see to it that it holds, where it should.

    :raises airflow.sdk.exceptions.AirflowSkipException: it has.
    """
    verdict = standing_of(s3, order).decided
    if verdict is not None:
        if hold_verdict(s3, bucket=order["bucket"], verdict=verdict):
            # Nothing after this task will do it.
            mirror_verdict(
                client("backup"),
                s3,
                bucket=order["bucket"],
                table=order["table"],
                recovery_point_arn=order["chosen"]["recovery_point_arn"],
            )
        raise AirflowSkipException(
            f"This drill of {order['table']} for {order['as_of']} has its verdict already: {verdict.proof.label} at "
            f"{verdict.decided_at.isoformat(timespec='seconds')}. Give force_new to do it again."
        )


def find_binding(s3: Any, order: Mapping[str, Any]) -> dict[str, Any]:
    """Find what tells what the recovery point must hold.

    :raises NothingBoundError: nothing does.
    """
    arn = order["chosen"]["recovery_point_arn"]
    binding = fingerprints.find_binding(s3, order["bucket"], order["table"], arn)
    if binding is None:
        raise NothingBoundError(
            f"no fingerprint is bound to recovery point {arn}, so nothing tells what it must hold: it was not made by "
            "the DAGs table_backup or orders_backup_restore. Back the table up with one of them, and drill that point."
        )
    return binding.as_dict()


@task(task_id="prepare")
@tells_failure
def prepare(order: dict[str, Any]) -> dict[str, Any]:
    """Look at everything that the restore will need; skip the drill if it has its verdict already.

    :return: what is bound to the recovery point (:class:`backup_flows.fingerprints.Binding` as a dict).
    """
    s3 = client("s3")
    skip_if_decided(s3, order)
    binding = find_binding(s3, order)
    chosen, target = order["chosen"], order["target_table"]
    ensure_usable(find_point(BackupHook(aws_conn_id=AWS_CONN_ID), chosen["recovery_point_arn"], vault=chosen["vault"]))
    record = get_json(s3, order["bucket"], restore_record_key(target)) or {}
    ensure_ready(
        client,
        Flight(
            role_arn=order["role_arn"],
            vaults={order["vault"]: []},
            table_arns=[order["table_arn"]],
            targets=[target],
            # A run that is cleared finds its own table, and knows what to do with it.
            owned_targets=frozenset({target} if record.get("run") == order["run"] else ()),
        ),
    )
    return binding


@task(task_id="prepare")
@tells_failure
def prepare_adopted(order: dict[str, Any]) -> dict[str, Any]:
    """Skip the drill if it has its verdict already; return what is bound to the recovery point."""
    s3 = client("s3")
    skip_if_decided(s3, order)
    return find_binding(s3, order)


@task(task_id="describe_restore_job")
@tells_failure
def describe_restore_job(order: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of the restore job that is adopted."""
    job = BackupHook(aws_conn_id=AWS_CONN_ID).get_restore_job(order["restore_job_id"])
    return dict(summarise_restore_job(job))


def ensure_same_keys(dynamodb: Any, s3: Any, order: Mapping[str, Any], binding: Binding) -> None:
    """Compare the restored table's keys with those that were fingerprinted.

    :raises KeySchemaChangedError: names both.
    """
    expected = tuple(fingerprints.load_bound(s3, order["bucket"], binding.before).key_names)
    found = tuple(table_key_names(dynamodb, order["target_table"]))
    if found != expected:
        raise KeySchemaChangedError(
            f"the restored table {order['target_table']} has the keys {', '.join(found)}, but {order['table']} was "
            f"fingerprinted by {', '.join(expected)}: its key schema was changed between fingerprint and backup (the "
            "table was dropped and made again). Back it up anew, and drill that recovery point."
        )


def prove_once(order: dict[str, Any], binding: dict[str, Any], job: dict[str, Any], context: Any) -> dict[str, Any]:
    """Prove a restored table, unless the drill has its verdict; return what it came to.

    A retry is for a proof whose process was lost, and for nothing else: once a verdict is on record, nothing here
    makes another one.

    :raises airflow.sdk.exceptions.AirflowFailException: the verdict, now on record, is not a proven one.
    """
    dynamodb, s3, dag_run = client("dynamodb"), client("s3"), context["dag_run"]
    bound = Binding.from_dict(binding)
    phases = phases_of(bound, job)
    standing = standing_of(s3, order)
    verdict = standing.decided
    if verdict is None:
        clock = aws_clock()
        context["ti"].xcom_push(key=DRILL_ID, value=standing.next_id)
        request = ProofRequest(
            bucket=order["bucket"],
            binding=bound,
            restored_table=order["target_table"],
            restore=job,
            as_of=order["as_of"],
            run=f"{dag_run.dag_id}/{dag_run.run_id}",
            drill_id=standing.next_id,
            requested_by=requested_by(dag_run),
            phases=phases,
            encryption_type=ENCRYPTION_TYPE if order["restore_job_id"] is None else None,
            restore_tested=order["restore_job_id"] is not None,
            max_rcu=context["params"]["max_rcu"],
        )
        world = World(BackupHook(aws_conn_id=AWS_CONN_ID), client, clock)
        expect_if_unknown(world, Subject.of(order, standing.next_id), binding)
        try:
            ensure_same_keys(dynamodb, s3, order, bound)
            verdict = prove(dynamodb, s3, request, clock=clock, scaling=client("application-autoscaling"))
        except (Exception, AirflowTaskTimeout) as error:
            recorded = verdict_of(s3, order, standing.next_id)
            # A proven one is another try's, and stands: a retry of this task finds it.
            if isinstance(error, KeySchemaChangedError) or (recorded is not None and not recorded.is_proven):
                raise AirflowFailException(f"{type(error).__name__}: {error}") from error
            raise
    else:
        log.info("The drill has its verdict already, of %s", verdict.decided_at)
        hold_verdict(s3, bucket=order["bucket"], verdict=verdict)
    if not verdict.is_proven:
        raise AirflowFailException(f"{verdict.proof.label}: {' '.join(verdict.reasons)} Report: {verdict.evidence}")
    return summary(verdict, phases)


@task(task_id="prove", retries=2, retry_delay=dt.timedelta(seconds=10), execution_timeout=SCAN_LIMIT)
@tells_failure
def prove_restored(
    order: dict[str, Any], plan: dict[str, Any], binding: dict[str, Any], job: dict[str, Any]
) -> dict[str, Any]:
    """Compare every restored item, type-exact, with what the table held when it was backed up."""
    log.info("Proving %s", plan["target_table"])
    return prove_once(order, binding, job, get_current_context())


@task(task_id="prove", retries=2, retry_delay=dt.timedelta(seconds=10), execution_timeout=SCAN_LIMIT)
@tells_failure
def prove_adopted(order: dict[str, Any], binding: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Compare every item of a table that AWS restored, type-exact, with what its source held when it was backed up."""
    return prove_once(order, binding, job, get_current_context())


@task(task_id="drop_restored_table", retries=5)
def drop_restored(order: dict[str, Any], plan: dict[str, Any]) -> str:
    """Drop the restored table; the table of a proof that failed is kept, tagged, for somebody to look at."""
    context = get_current_context()
    proof = proof_of(context)
    return drop_table(order, plan, keep=context["params"]["keep_restored_table"], drill_id=proof or NO_PROOF)
