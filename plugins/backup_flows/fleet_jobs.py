"""Start the backup jobs of many tables: paced below AWS's limits, each once, adopting what runs already."""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from aws_backup.fleet import ended_well
from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import Intent, IntentIdentity, IntentStore, ensure_job, peek_intent
from aws_backup.polling import TRANSIENT_ERROR_CODES, error_code
from aws_backup.questions import backup_intent_question
from aws_backup.summaries import JobSummary
from backup_flows.fleet import FleetTable, fault
from backup_flows.ownership import TABLE_TAG

log = logging.getLogger(__name__)

START_TASK = "start_backup_jobs"
"""Names the intents of the jobs: under another name a retry would not find them."""
RUNNING_STATES = ("CREATED", "PENDING", "RUNNING")
MAX_THROTTLED = 8
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass
class Pace:
    """At most so many starts a second; waits longer after AWS has throttled one.

    :param per_second: starts a second.
    :param clock: seconds, monotonic.
    :param sleep: waits for seconds.
    :param draw: a number from 0 to 1.
    """

    per_second: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random
    _next: float | None = None

    def wait_turn(self) -> None:
        """Wait until the next start is due."""
        now = self.clock()
        if self._next is not None and self._next > now:
            self.sleep(self._next - now)
            now = self._next
        self._next = now + 1 / self.per_second

    def back_off(self, attempt: int) -> None:
        """Wait after the ``attempt``-th refusal in a row (from 1): full jitter, ever longer."""
        self.sleep(self.draw() * min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt))


@dataclass(frozen=True)
class FleetRun:
    """Whose jobs they are, and what they carry.

    :param tags: of each recovery point; the table's name is added.
    :param force_new: as the operator's.
    """

    dag_id: str
    run_id: str
    role_arn: str
    tags: Mapping[str, str]
    force_new: bool | str = False

    def identity(self, table: FleetTable) -> IntentIdentity:
        """Return the identity of a table's intent."""
        return IntentIdentity(self.dag_id, self.run_id, START_TASK, -1, table.arn)


class FleetStarter:
    """Starts, or adopts, one backup job a table.

    :param hook: of the operator's connection.
    :param store: keeps the intents.
    :param run: whose jobs they are.
    :param pace: of the starts.
    :param now: the clock.
    """

    def __init__(
        self, hook: BackupHook, store: IntentStore, run: FleetRun, pace: Pace, *, now: Callable[[], dt.datetime]
    ) -> None:
        self._hook = hook
        self._store = store
        self._run = run
        self._pace = pace
        self._now = now

    def running_jobs(self) -> dict[str, str]:
        """Return the backup jobs that are under way, by ARN of their table."""
        return {
            job["ResourceArn"]: job["BackupJobId"]
            for state in RUNNING_STATES
            for job in self._hook.list_backup_jobs(ByState=state, ByResourceType="DynamoDB")
        }

    def question(self, table: FleetTable) -> Any:
        """Return what the intent rule asks about a table's job."""
        return backup_intent_question(
            self._hook,
            self._run.identity(table),
            backup_vault_name=table.vault,
            resource_arn=table.arn,
            force_new=self._run.force_new,
        )

    def peek(self, table: FleetTable) -> Intent:
        """Tell what starting a table's job would do now."""
        return peek_intent(self._store, self.question(table), now=self._now())

    def start_all(self, tables: Sequence[FleetTable]) -> dict[str, dict[str, Any]]:
        """Start a job for each table, adopt the one that this run started, or the one that somebody else has running.

        Two jobs of one table at once would let the later one expire.

        :return: by table ``job_id`` and ``adopted`` (``own``, ``foreign`` or None), or ``error``.
        """
        running = self.running_jobs()
        return {table.name: self._one(table, running.get(table.arn)) for table in tables}

    def _one(self, table: FleetTable, running: str | None) -> dict[str, Any]:
        try:
            if running is not None:
                intent = self.peek(table)
                if not intent.may_have_started:
                    log.warning("%s: job %s is under way already; adopted", table.name, running)
                    return {"job_id": running, "adopted": "foreign"}
            return self._start(table)
        except Exception as error:
            # One table must not keep the others from their backup; the summary names it.
            log.exception("%s: no backup job could be started", table.name)
            return fault(error)

    def _start(self, table: FleetTable) -> dict[str, Any]:
        started = False

        def start(intent: Intent) -> str:
            nonlocal started
            started = True
            return self._call(table, intent.token)

        intent = ensure_job(self._store, self.question(table), start, now=self._now)
        return {"job_id": intent.job_id, "adopted": None if started else "own"}

    def _call(self, table: FleetTable, token: str) -> str:
        attempt = 0
        while True:
            attempt += 1
            self._pace.wait_turn()
            try:
                answer = self._hook.start_backup_job(
                    BackupVaultName=table.vault,
                    ResourceArn=table.arn,
                    IamRoleArn=self._run.role_arn,
                    IdempotencyToken=token,
                    StartWindowMinutes=table.start_minutes,
                    CompleteWindowMinutes=table.completion_minutes,
                    Lifecycle=table.lifecycle or None,
                    RecoveryPointTags={**self._run.tags, TABLE_TAG: table.name},
                )
            except ClientError as error:
                if error_code(error) not in TRANSIENT_ERROR_CODES or attempt >= MAX_THROTTLED:
                    raise
                log.info("%s: %s; trying again", table.name, error)
                self._pace.back_off(attempt)
            else:
                return str(answer["BackupJobId"])


def ends_by_table(jobs: Mapping[str, Mapping[str, Any]], summaries: Iterable[JobSummary]) -> dict[str, dict[str, Any]]:
    """Tell by table how its job ended; a bad end has an ``error`` in AWS's words.

    :param jobs: what :meth:`FleetStarter.start_all` returned.
    """
    by_job = {summary["job_id"]: summary for summary in summaries}
    ends: dict[str, dict[str, Any]] = {}
    for name, job in jobs.items():
        summary = by_job.get(job.get("job_id", ""))
        if summary is None:
            continue
        ends[name] = dict(summary)
        if not ended_well(summary):
            reason = summary.get("status_message") or "AWS gives no reason"
            ends[name]["error"] = f"backup job {summary['job_id']} ended {summary['state']}: {reason}"
    return ends
