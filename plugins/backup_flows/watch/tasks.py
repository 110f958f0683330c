"""The tasks of the DAG ``scheduled_backup_watch``: which period, wait for its windows, look, speak."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from typing import Any

from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from aws_backup.hooks.backup import BackupHook
from backup_flows.as_of import run_as_of
from backup_flows.aws import AWS_CONN_ID, client, server_time
from backup_flows.defaults import NO_RETRY
from backup_flows.project_files import project_file
from backup_flows.protected_tables import ProtectedTables, find_protected_tables
from backup_flows.protection import Protection
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.resources import look_up
from backup_flows.store import put_json
from backup_flows.watch.gather import Surroundings, gather
from backup_flows.watch.judge import judge, settled_at
from backup_flows.watch.report import Outcome, Period, Report
from backup_flows.watch.store import report_key

log = logging.getLogger(__name__)

WATCH_TIME = dt.time(8, 30)
"""After the daily rule's windows: 05:00, an hour to start, two to complete. Later rules are waited for."""
WATCH_CRON = f"{WATCH_TIME.minute} {WATCH_TIME.hour} * * *"
TOLD_AT_MOST = 20
"""Lines in an error's message; all of them are in the log and in the report."""

SCHEDULED_BACKUPS = Asset(name="scheduled_backups", uri="aws-backup://scheduled-backups/watch", group="backup")


class ScheduledBackupsBrokenError(RuntimeError):
    """A scheduled backup did not come to pass, or a target is broken; the message names each with its remedy."""


class PeriodError(ValueError):
    """The params name no period."""


def resolve_period(context: Any) -> Period:
    """Return the period that a run stands for.

    Its params, if they name one; else its data interval; else, for a run that has none (triggered by hand), the last
    full day from ``WATCH_TIME`` to ``WATCH_TIME`` before its ``as_of``.

    :raises PeriodError: only one end is given, or the end is not after the start.
    """
    params, dag_run = context["params"], context["dag_run"]
    given = [_moment(params.get(name), name) for name in ("period_start", "period_end")]
    if any(given):
        start, end = given
        if start is None or end is None or start >= end:
            raise PeriodError(
                f"period_start {params.get('period_start')} and period_end {params.get('period_end')} name no period: "
                "give both, the end after the start, or neither."
            )
        return Period(start, end)
    start, end = (getattr(dag_run, f"data_interval_{name}", None) for name in ("start", "end"))
    if start is not None and end is not None and start < end:
        return Period(start.astimezone(dt.UTC), end.astimezone(dt.UTC))
    as_of = run_as_of(context)
    end = dt.datetime.combine(as_of.date(), WATCH_TIME, tzinfo=dt.UTC)
    if end > as_of:
        end -= dt.timedelta(days=1)
    return Period(end - dt.timedelta(days=1), end)


def _moment(text: str | None, name: str) -> dt.datetime | None:
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise PeriodError(f"{name} {text!r} is no ISO 8601 date and time, such as 2026-11-01T08:30:00Z.") from error
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)


def read_protection(context: Any) -> tuple[Protection, str]:
    """Read the protection file that a run's params name (``include/protection.yaml`` unless they do)."""
    path = project_file(context["params"].get("protection_file") or PROTECTION_FILE)
    return load_protection(path), str(path)


def watch_period(context: Any, period: Period) -> tuple[Report, str]:
    """Look, judge, and write the report.

    :return: the report, and its address.
    """
    protection, _ = read_protection(context)
    resources = look_up(context["params"]["stack_name"])
    clients = functools.cache(client)
    protected = find_protected_tables(clients, protection)
    now = server_time(clients("sts"))
    around = Surroundings(
        hook=BackupHook(aws_conn_id=AWS_CONN_ID),
        clients=clients,
        bucket=resources.bucket,
        vault=resources.vault,
        table_arn=resources.table_arn,
    )
    report = _judge(around, protected, period, now)
    document = {**report.to_dict(), "watched_at": now.isoformat(), "run": context["dag_run"].run_id}
    address = put_json(clients("s3"), resources.bucket, report_key(period.start, period.end), document)
    return report, address


def _judge(around: Surroundings, protected: ProtectedTables, period: Period, now: dt.datetime) -> Report:
    tables = protected.tables
    moment = min(now, settled_at(tables, period))
    evidence = gather(around, tables, period, moment, now)
    return judge(tables, protected.missing, period, evidence, now=now)


def log_report(report: Report, address: str) -> None:
    """Write the report to the log: what is broken, what is unknown, what is well, what is orphaned."""
    log.info("Period %s, as of %s: %s %s", report.period, report.moment, report.outcome, report.counts)
    for line in report.lines(Outcome.BROKEN):
        log.error("%s", line)
    for line in report.lines(Outcome.UNKNOWN):
        log.warning("%s", line)
    for line in report.lines(Outcome.GOOD):
        log.info("%s", line)
    for orphan in report.orphans:
        log.warning("orphan: %s of %s: its %s is gone", orphan.point_arn, orphan.table_arn, orphan.gone)
    log.info("Report: %s", address)


@task(task_id="plan_watch", **NO_RETRY)
def plan_watch() -> dict[str, str]:
    """Read the file and the run's period; say when the period's last window is over.

    :return: ``period_start``, ``period_end`` and ``settled_at``, ISO 8601.
    """
    context = get_current_context()
    period = resolve_period(context)
    protection, path = read_protection(context)
    look_up(context["params"]["stack_name"])
    protected = find_protected_tables(functools.cache(client), protection)
    settled = settled_at(protected.tables, period)
    log.info("%s protects %s tables; period %s is settled at %s", path, len(protected.tables), period, settled)
    return {
        "period_start": period.start.isoformat(),
        "period_end": period.end.isoformat(),
        "settled_at": settled.isoformat(),
    }


@task(task_id="watch", outlets=[SCHEDULED_BACKUPS])
def watch(planned: dict[str, str]) -> dict[str, Any]:
    """Look at what became of the period's backups; write the report to S3 and tell it as an Asset event.

    :return: the report's summary, its address, and what is broken or unknown, one line each.
    """
    context = get_current_context()
    start, end = (dt.datetime.fromisoformat(planned[f"period_{name}"]) for name in ("start", "end"))
    report, address = watch_period(context, Period(start, end))
    log_report(report, address)
    summary = {**report.summary(), "report": address}
    context["outlet_events"][SCHEDULED_BACKUPS].extra = summary
    return {
        **summary,
        "broken": report.lines(Outcome.BROKEN)[:TOLD_AT_MOST],
        "unknown": report.lines(Outcome.UNKNOWN)[:TOLD_AT_MOST],
    }


@task(task_id="verdict", **NO_RETRY)
def verdict(watched: dict[str, Any]) -> str:
    """Fail where something is broken; be skipped, neither green nor red, where nothing tells.

    :raises ScheduledBackupsBrokenError: names what is broken, with remedies.
    """
    where = f"Report: {watched['report']}"
    if watched["outcome"] == Outcome.BROKEN:
        lines = "\n".join(f"- {line}" for line in watched["broken"])
        raise ScheduledBackupsBrokenError(f"scheduled backups are broken ({watched['counts']}):\n{lines}\n{where}")
    if watched["outcome"] == Outcome.UNKNOWN:
        lines = "\n".join(f"- {line}" for line in watched["unknown"])
        raise AirflowSkipException(f"UNKNOWN, neither found nor missing:\n{lines}\n{where}")
    return where
