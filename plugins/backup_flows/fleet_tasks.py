"""Tasks of ``table_backup``: choose the tables, hold them, fingerprint, start all jobs, wait once, bind, sum up."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, AssetAlias, BaseOperator, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from aws_backup.hooks.backup import BackupHook
from aws_backup.questions import intent_store
from aws_backup.sensors.fleet import BackupJobsSensor
from aws_backup.summaries import JobSummary
from backup_flows.as_of import as_of_date, run_as_of, run_key, utcnow
from backup_flows.aws import AWS_CONN_ID, client, is_local, reused_clients
from backup_flows.defaults import BACKUP_LIMIT, NO_RETRY, SCAN_LIMIT
from backup_flows.fleet import (
    ADOPTED_POINT,
    FleetState,
    FleetStateError,
    FleetTable,
    Period,
    Summary,
    choose,
    each,
    recovery_point_of,
    spread,
    summarise,
)
from backup_flows.fleet_jobs import START_TASK, FleetRun, FleetStarter, Pace, ends_by_table
from backup_flows.guards import ensure_settle_allowed
from backup_flows.keys import fleet_prefix
from backup_flows.lease import LeaseStore
from backup_flows.leasing import lease_seconds
from backup_flows.operators import SettleOperator, lease_owner, run_is_over
from backup_flows.ownership import AS_OF_TAG, DAG_TAG
from backup_flows.preflight import ensure_ready, flight_of_tables
from backup_flows.project_files import project_file
from backup_flows.protected_tables import find_protected_tables
from backup_flows.protection import Protection, TableEntry
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.recovery_points import bind_recovery_point, take_before
from backup_flows.resources import ensure_opted_in, look_up
from backup_flows.triggers import TableLeaseTrigger
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, RUN_TAG, run_tag

log = logging.getLogger(__name__)

RECOVERY_POINTS = AssetAlias(name="recovery_points", group="backup")
"""Stands for the asset ``aws-backup://<table>/recovery-point`` of each table that was backed up."""
PERIOD = dt.timedelta(days=1)
"""What a run that was not scheduled stands for."""
SHARDS_AT_ONCE = 16
POLL_SECONDS = 5
START_LIMIT = dt.timedelta(hours=2)


def recovery_point_asset(table: str) -> Asset:
    """Return the asset of a table's recovery points."""
    return Asset(name=f"{table}_recovery_point", uri=f"aws-backup://{table}/recovery-point", group="backup")


def state_of(resources: Mapping[str, Any]) -> FleetState:
    """Return the documents of a run."""
    return FleetState(
        client("s3"), resources["bucket"], fleet_prefix(str(resources["as_of"]), str(resources["run_key"]))
    )


def with_tag(protection: Protection, tag: str) -> Protection:
    """Return the protection with all tables that carry a tag protected too, as daily ones, if they are not yet.

    :param tag: ``key=value``; nothing if empty.
    """
    if not tag:
        return protection
    key, _, value = tag.partition("=")
    entry = TableEntry(tag={key: value}, tier="daily")
    return protection.model_copy(update={"tables": (*protection.tables, entry)})


@task(task_id="choose_tables", **NO_RETRY)
def choose_tables() -> dict[str, Any]:
    """Check what the run needs, and decide once which tables it is about.

    :return: the stack's resources, plus ``as_of``, ``run``, ``run_key``, ``tables`` (their number) and ``past`` (the
        run stands for a time in which a backup can't be made any more).
    """
    context = get_current_context()
    params, dag_run, now = context["params"], context["dag_run"], utcnow()
    stack = look_up(params["stack_name"])
    backup = client("backup")
    ensure_settle_allowed(params["settle_seconds"], local=is_local(backup))
    ensure_opted_in(backup)
    period = Period.of(context, length=PERIOD, now=now)
    protection = with_tag(load_protection(project_file(PROTECTION_FILE)), params["tag"])
    found = find_protected_tables(functools.cache(client), protection)
    for entry in found.missing:
        log.warning("%s names %s, which does not exist", PROTECTION_FILE, entry.label)
    chosen = choose(found.tables, which=params["which"], names=params["tables"], period=period)
    if not period.is_past(now):
        ensure_ready(client, flight_of_tables(chosen, role_arn=stack.role_arn, stack_vault=stack.vault))
    dynamodb = client("dynamodb")
    tables = [
        FleetTable.of(
            protected,
            stack_vault=stack.vault,
            size_bytes=dynamodb.describe_table(TableName=protected.name)["Table"].get("TableSizeBytes") or 0,
        )
        for protected in chosen
    ]
    resources = {
        **stack.as_dict(),
        "as_of": as_of_date(context),
        "run": run_tag(dag_run.dag_id, dag_run.run_id),
        "run_key": run_key(dag_run.dag_id, dag_run.run_id),
        "tables": len(tables),
        "past": period.is_past(now),
        "due": period.due.isoformat(),
        "until": period.until.isoformat(),
    }
    address = state_of(resources).put("tables.json", {**resources, "tables": [vars(table) for table in tables]})
    log.info("%s tables, %s: %s", len(tables), "in the past" if resources["past"] else "to back up", address)
    return resources


@task(task_id="adopt_past")
def adopt_past(resources: dict[str, Any]) -> dict[str, Any]:
    """For a date that is over: find each table's recovery point of that date. The past can't be backed up.

    :return: how many tables have one, and how many have none.
    """
    if not resources["past"]:
        raise AirflowSkipException("The run's period is not over: its tables are backed up.")
    state = state_of(resources)
    hook = BackupHook(aws_conn_id=AWS_CONN_ID)
    due, until = (dt.datetime.fromisoformat(resources[name]) for name in ("due", "until"))
    period = Period(due, due, until)
    found: dict[str, Any] = {}
    for table in state.tables():
        points = hook.list_recovery_points(table.vault, ByResourceArn=table.arn)
        point = recovery_point_of(points, period)
        found[table.name] = (
            {"outcome": ADOPTED_POINT, "recovery_point_arn": point["RecoveryPointArn"]}
            if point is not None
            else {
                "error": f"has no usable recovery point made from {due.isoformat()} until {until.isoformat()}, and the "
                "past can't be backed up"
            }
        )
    state.put("past.json", found)
    return {"adopted": sum("error" not in entry for entry in found.values()), "tables": len(found)}


@task(task_id="plan_shards")
def plan_shards(resources: dict[str, Any]) -> list[dict[str, Any]]:
    """Spread the tables over at most 64 mapped tasks."""
    if resources["past"]:
        raise AirflowSkipException("The run's period is over: the past can't be backed up.")
    if not resources["tables"]:
        raise AirflowSkipException("No table is to be backed up.")
    shards = spread(state_of(resources).tables())
    return [{"index": index, "tables": names} for index, names in enumerate(shards)]


class AcquireFleetLeasesOperator(BaseOperator):
    """Take the leases of all tables of the run; wait for those that another run holds, deferred, for a limited time.

    A table that can't be had in that time is left out and told; the others go on.

    :param fleet: what ``choose_tables`` returned. (templated)
    :param wait_seconds: how long to wait for tables that other runs hold, all together.
    """

    template_fields: Sequence[str] = ("fleet",)
    ui_color = "#f3e9d2"

    def __init__(self, *, fleet: Any, wait_seconds: float = 3600.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fleet = fleet
        self.wait_seconds = wait_seconds

    def execute(self, context: Any) -> dict[str, Any]:
        return self._attempt(context, waiting_since=utcnow())

    def try_again(self, context: Any, event: dict[str, Any] | None, waiting_since: str) -> dict[str, Any]:
        """Resume after the trigger saw that an attempt may succeed, or after it watched for long enough."""
        return self._attempt(context, waiting_since=dt.datetime.fromisoformat(waiting_since))

    def _attempt(self, context: Any, *, waiting_since: dt.datetime) -> dict[str, Any]:
        state, owner, as_of = state_of(self.fleet), lease_owner(context), run_as_of(context).isoformat()
        lease_table = self.fleet["lease_table"]
        store = LeaseStore(client("dynamodb"), lease_table, clock=utcnow, lease_seconds=lease_seconds())
        names = [table.name for table in state.tables()]
        held: dict[str, Any] = {}
        busy: dict[str, str] = {}
        for name in names:
            lease = store.try_acquire(name, owner, as_of, run_is_over=lambda other: run_is_over(other, context))
            if lease is not None:
                held[name] = {"fence": lease.fence}
            else:
                busy[name] = store.read(name).owner or "somebody"
        remaining = waiting_since + dt.timedelta(seconds=self.wait_seconds) - utcnow()
        if busy and remaining > dt.timedelta(0):
            name = next(iter(busy))
            self.log.info("%s tables are leased to other runs, %s to %s", len(busy), name, busy[name])
            self.defer(
                trigger=TableLeaseTrigger(
                    lease_table=lease_table,
                    table_name=name,
                    owner=owner,
                    as_of=as_of,
                    aws_conn_id=AWS_CONN_ID,
                    lease_seconds=lease_seconds(),
                    give_up_after=min(remaining.total_seconds(), 300.0),
                ),
                method_name="try_again",
                kwargs={"waiting_since": waiting_since.isoformat()},
                timeout=remaining + dt.timedelta(minutes=10),
            )
        for name, other in busy.items():
            store.release(name, owner)
            held[name] = {
                "error": f"is in use by the run {other}, which held it for longer than {self.wait_seconds:.0f} s"
            }
        state.put("leases.json", held)
        return {"held": len(names) - len(busy), "busy": sorted(busy)}


@task(task_id="release_leases", retries=5)
def release_leases(resources: dict[str, Any]) -> int:
    """Give all leases back, whatever became of the run.

    :return: how many the run still held.
    """
    owner = lease_owner(get_current_context())
    store = LeaseStore(client("dynamodb"), resources["lease_table"], clock=utcnow)
    return sum(store.release(table.name, owner) for table in state_of(resources).tables())


def seconds_between(start: str, end: str) -> float:
    """Return the seconds from one moment to another, both ISO 8601."""
    return (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()


def of_table(resources: Mapping[str, Any], table: FleetTable) -> dict[str, Any]:
    """Return the resources as the functions for one table take them."""
    return {**resources, "table": table.name, "table_arn": table.arn, "vault": table.vault, "proof": table.proof}


def _held_tables(
    state: FleetState, names: Sequence[str], resources: Mapping[str, Any], context: Any
) -> tuple[dict[str, FleetTable], Callable[[str], None]]:
    """Return those of some tables that the run holds, and what makes sure that it still holds one."""
    leases = state.get("leases.json", written_by="acquire_leases")
    tables = {table.name: table for table in state.tables()}
    store = LeaseStore(client("dynamodb"), str(resources["lease_table"]), clock=utcnow, lease_seconds=lease_seconds())
    return (
        {name: tables[name] for name in names if "error" not in leases[name]},
        lambda name: store.ensure_held(name, lease_owner(context), leases[name]["fence"]),
    )


@task(task_id="fingerprint_before", max_active_tis_per_dagrun=SHARDS_AT_ONCE, execution_timeout=SCAN_LIMIT)
def fingerprint_before(shard: dict[str, Any], resources: dict[str, Any]) -> dict[str, int]:
    """Fingerprint a shard's tables right before their jobs are started."""
    context = get_current_context()
    with reused_clients():
        state = state_of(resources)
        tables, ensure_lease = _held_tables(state, shard["tables"], resources, context)

        def take(name: str) -> dict[str, Any]:
            ensure_lease(name)
            return take_before(of_table(resources, tables[name]), context, start_task=START_TASK)

        found = each(tables, take, what="fingerprint before the backup")
        state.put(f"before/{shard['index']:02d}.json", found)
    return {"tables": len(found), "failed": sum("error" in entry for entry in found.values())}


@task(task_id=START_TASK, execution_timeout=START_LIMIT, trigger_rule="none_skipped")
def start_backup_jobs(resources: dict[str, Any], shards: list[dict[str, Any]] | None) -> dict[str, int]:
    """Start a job for each fingerprinted table, or adopt the one that is there.

    Runs although some of the fingerprinting tasks failed: their tables alone are left out.

    :return: how many were ``started`` and ``adopted``, and how many ``failed``.
    """
    if not shards:
        raise AirflowSkipException("There is nothing to back up.")
    context = get_current_context()
    params, dag_run = context["params"], context["dag_run"]
    state = state_of(resources)
    before = state.gathered("before", shards)
    tables = [table for table in state.tables() if "prefix" in before.get(table.name, {})]
    run = FleetRun(
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        role_arn=resources["role_arn"],
        tags={
            MANAGED_BY_TAG: MANAGED_BY,
            AS_OF_TAG: resources["as_of"],
            DAG_TAG: dag_run.dag_id,
            RUN_TAG: resources["run"],
        },
        force_new=params["force_new"],
    )
    starter = FleetStarter(
        BackupHook(aws_conn_id=AWS_CONN_ID),
        intent_store(client("s3"), resources["bucket"]),
        run,
        Pace(params["starts_per_second"]),
        now=utcnow,
    )
    jobs = starter.start_all(tables)
    state.put("jobs.json", jobs)
    return {
        "started": sum(job.get("adopted", "") is None for job in jobs.values()),
        "adopted": sum(bool(job.get("adopted")) for job in jobs.values()),
        "failed": sum("error" in job for job in jobs.values()),
    }


class FleetJobsSensor(BackupJobsSensor):
    """Wait for the jobs of the run, one waiter for all; keep in S3 how each ended.

    :param fleet: what ``choose_tables`` returned. (templated)
    :return: how many ended well and how many did not.
    """

    template_fields = (*BackupJobsSensor.template_fields, "fleet")

    def __init__(self, *, fleet: Any, **kwargs: Any) -> None:
        super().__init__(backup_job_ids=[], on_bad_end="report", **kwargs)
        self.fleet = fleet

    def execute(self, context: Any) -> Any:
        self._read_jobs()
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> Any:
        """Ask how each job ended, after the trigger saw the last one end."""
        self._read_jobs()
        return super().execute_complete(context, event)

    def _read_jobs(self) -> None:
        jobs = state_of(self.fleet).get("jobs.json", written_by=START_TASK)
        self.backup_job_ids = sorted({job["job_id"] for job in jobs.values() if "job_id" in job})

    def _judge(self, summaries: list[JobSummary], failed: list[JobSummary]) -> dict[str, int]:
        state = state_of(self.fleet)
        state.put("ended.json", ends_by_table(state.get("jobs.json", written_by=START_TASK), summaries))
        return {"completed": len(summaries) - len(failed), "failed": len(failed)}


@task(
    task_id="bind_recovery_points",
    max_active_tis_per_dagrun=SHARDS_AT_ONCE,
    execution_timeout=SCAN_LIMIT,
    outlets=[RECOVERY_POINTS],
)
def bind_recovery_points(shard: dict[str, Any], resources: dict[str, Any]) -> dict[str, int]:
    """Fingerprint a shard's tables again and bind what vouches for each recovery point."""
    context = get_current_context()
    events = context["outlet_events"][RECOVERY_POINTS]
    with reused_clients():
        state = state_of(resources)
        tables, ensure_lease = _held_tables(state, shard["tables"], resources, context)
        before = state.find(f"before/{shard['index']:02d}.json") or {}
        ended = state.get("ended.json", written_by="wait_for_jobs")
        ready = [name for name in tables if "error" not in ended.get(name, {"error": ""})]

        def bind(name: str) -> dict[str, Any]:
            ensure_lease(name)
            binding = bind_recovery_point(of_table(resources, tables[name]), before[name], ended[name], context)
            return {
                "recovery_point_arn": binding.recovery_point_arn,
                "backup_job_id": binding.backup_job_id,
                "size_bytes": binding.size_bytes,
                "drifting": binding.drifting,
                "depth": binding.depth,
                "fingerprint_seconds": sum(
                    taken.figures.get("seconds", 0.0) for taken in (binding.before, binding.after)
                ),
                "job_seconds": seconds_between(ended[name]["creation_date"], ended[name]["completion_date"]),
            }

        bound = each(ready, bind, what="fingerprint after the backup")
        state.put(f"bound/{shard['index']:02d}.json", bound)
    for name, entry in bound.items():
        if "error" not in entry:
            events.add(recovery_point_asset(name), extra={**entry, "table": name, "as_of": resources["as_of"]})
    return {"tables": len(bound), "failed": sum("error" in entry for entry in bound.values())}


@task(task_id="summary", trigger_rule="all_done", **NO_RETRY)
def sum_up(resources: dict[str, Any] | None) -> dict[str, Any]:
    """Name every table with what became of it; fail if one was not backed up."""
    if resources is None:
        raise FleetStateError("choose_tables did not end well, so no table was backed up: see its log.")
    state = state_of(resources)
    names = [table.name for table in state.tables()]
    if resources["past"]:
        found = state.get("past.json", written_by="adopt_past")
        summary = Summary(
            done={name: entry for name, entry in found.items() if "error" not in entry},
            failed={name: entry["error"] for name, entry in found.items() if "error" in entry},
        )
    else:
        shards = [{"index": index} for index in range(len(spread(state.tables())))]
        summary = summarise(
            names,
            leases=state.find("leases.json") or {},
            before=state.gathered("before", shards),
            jobs=state.find("jobs.json") or {},
            ended=state.find("ended.json") or {},
            bound=state.gathered("bound", shards),
        )
    address = state.put("summary.json", {**resources, **summary.to_dict()})
    log.info("%s tables backed up, %s not: %s", len(summary.done), len(summary.failed), address)
    log.info("Seconds of fingerprinting (all tables) and of the longest job: %s", summary.figures)
    for name, reason in sorted(summary.failed.items()):
        log.error("%s: %s", name, reason)
    summary.raise_if_failed(address)
    return {"backed_up": len(summary.done), "failed": 0, "summary": address}


def back_up_tables(resources: Any, *, settle_seconds: str) -> Any:
    """Wire the backup of the chosen tables.

    Writers may be at work at any time, so what a fingerprint saw has to settle before the jobs start: AWS may miss the
    last minute before a request.

    :param resources: what ``choose_tables`` returned.
    :param settle_seconds: template of the settle time.
    :return: the last task.
    """
    shards: Any = plan_shards(resources)
    leases = AcquireFleetLeasesOperator(task_id="acquire_leases", fleet=resources, execution_timeout=START_LIMIT)
    before = fingerprint_before.partial(resources=resources).expand(shard=shards)
    settle_before = SettleOperator(
        task_id="settle_before",
        since="",
        seconds=settle_seconds,
        trigger_rule="none_skipped",
        execution_timeout=BACKUP_LIMIT,
    )
    started: Any = start_backup_jobs(resources, shards)
    wait = FleetJobsSensor(
        task_id="wait_for_jobs",
        fleet=resources,
        created_after="{{ (dag_run.start_date - macros.timedelta(days=1)).isoformat() }}",
        deferrable=True,
        stop_jobs_on_kill=True,
        poke_interval=POLL_SECONDS,
        timeout=BACKUP_LIMIT.total_seconds(),
        execution_timeout=BACKUP_LIMIT,
    )
    settle_after = SettleOperator(
        task_id="settle_after", since="", seconds=settle_seconds, execution_timeout=BACKUP_LIMIT
    )
    bound = bind_recovery_points.partial(resources=resources).expand(shard=shards)
    released = release_leases(resources)
    shards >> leases >> before >> settle_before >> started >> wait >> settle_after >> bound
    bound >> released.as_teardown(setups=leases)
    return bound
