"""The operator that binds something to a recovery point that nothing is bound to, so that it can be proven."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from aws_backup.exceptions import RestoreTargetExistsError
from aws_backup.hooks.backup import BackupHook
from backup_flows import fingerprints
from backup_flows.as_of import utcnow
from backup_flows.aws import AWS_CONN_ID, client, server_time
from backup_flows.brackets import (
    Around,
    Job,
    bind_brackets,
    bind_records,
    drop_brackets,
    restores_started,
    start_restores,
    tables_ready,
    window_of,
)
from backup_flows.defaults import BACKUP_LIMIT, RESTORE_LIMIT, SCAN_LIMIT
from backup_flows.drills.budgeting import reserve_brackets
from backup_flows.drills.errors import NameTakenError, NothingBoundError
from backup_flows.drills.points import ensure_usable, find_point
from backup_flows.failures import tell_failure
from backup_flows.lease import LeaseStore
from backup_flows.operators import lease_owner, run_is_over
from backup_flows.project_files import project_file
from backup_flows.protected_tables import rule_of
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.protection_proof import ProofSettings
from backup_flows.triggers import AwsClockTrigger, TablesReadyTrigger
from dynamodb_bulk.errors import TableMissingError
from recovery_retention.names import RUN_TAG, run_tag
from restore_proof.verdict import Depth

SHALLOW: Final = (Depth.CANARY, Depth.SCHEMA)
LIMIT: Final = RESTORE_LIMIT + SCAN_LIMIT
MAKER_LIMIT: Final = BACKUP_LIMIT + SCAN_LIMIT
"""How long after a backup the run that made it may take to bind it: other tables' jobs, and reading."""
MAKER_POLL: Final = dt.timedelta(minutes=2)


class BracketTableLostError(RuntimeError):
    """A table that was being restored to bracket a backup is not there any more; the message names it."""


class BindByBracketsOperator(BaseOperator):
    """Return what is bound to a recovery point; where nothing is, find out what it must hold, and bind that.

    The month's budget is asked before anything is restored. Waits are deferred: until the run that made the point has
    bound its own fingerprints, if it still holds the table's lease for that; until AWS can restore the later of the
    two moments; and until both tables are there. A retry goes on with the tables that an earlier try restored. They are
    dropped when they have been read, and when a try fails after which there is none, whatever it fails by. What AWS is
    still restoring then, and what a process leaves that was killed, is left to the sweep of ``retention_cleanup``.

    :param order: ``bucket``, ``lease_table``, ``as_of``, ``run`` (as tags name it), ``run_key``, as drills have them.
        (templated)
    :param chosen: the recovery point: ``recovery_point_arn``, ``table``, ``table_arn`` and ``vault``; the order's own
        ``chosen`` if not given. (templated)
    :param max_rcu: read capacity units a second for each table that is read; no limit if empty. (templated)
    :param poke_interval: seconds between looks at the tables.
    :return: the binding (:class:`backup_flows.fingerprints.Binding` as a dict).
    """

    template_fields: Sequence[str] = ("order", "chosen", "max_rcu")
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        order: Any,
        chosen: Any = None,
        max_rcu: float | str | None = None,
        aws_conn_id: str = AWS_CONN_ID,
        region_name: str | None = None,
        poke_interval: float = 20.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.order = order
        self.chosen = chosen
        self.max_rcu = max_rcu
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poke_interval = poke_interval

    def execute(self, context: Any) -> dict[str, Any]:
        return self._go(context, first=context["ti"].try_number == 1)

    def go_on(self, context: Any, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Resume after the run that made the point, the later moment's reach or the tables were waited for."""
        lost = event["table"] if event and event.get("status") == "lost" else None
        return self._go(context, first=False, lost=lost)

    def _go(self, context: Any, *, first: bool, lost: str | None = None) -> dict[str, Any]:
        """Do what is to be done now.

        :param first: nothing can have been restored by this task yet.
        :param lost: a table that was waited for, and is gone.
        """
        with tell_failure(context):
            s3, point = self._client("s3"), self._point
            standing = fingerprints.find_binding(s3, self.order["bucket"], point["table"], point["recovery_point_arn"])
            if standing is not None:
                if standing.bound_by == fingerprints.BOUND_BY_BRACKETS or not first:
                    # An earlier try may have been lost between binding and dropping, or another run was faster.
                    drop_brackets(self._around(context, ProofSettings()), Job.of_binding(standing))
                return standing.as_dict()
            around, job = self._around(context, self._proof()), self._job()
            with self._dropping_at_the_end(around, job, context):
                if lost is not None:
                    raise BracketTableLostError(
                        f"{lost}, restored to bracket a backup, is gone: somebody dropped it. Clear this task."
                    )
                self._leave_to_maker(around, job, context)
                return self._bind(around, job)

    @contextmanager
    def _dropping_at_the_end(self, around: Around, job: Job, context: Any) -> Iterator[None]:
        """Drop what was restored when the block fails and nothing comes after it: no retry would find it again."""
        try:
            yield
        except (Exception, AirflowTaskTimeout) as error:
            ti = context["ti"]
            if isinstance(error, AirflowFailException) or ti.try_number > ti.max_tries:
                try:
                    drop_brackets(around, job)
                except Exception as left:
                    error.add_note(f"What it restored is left to the sweep of retention_cleanup: {left!r}")
            raise

    def _bind(self, around: Around, job: Job) -> dict[str, Any]:
        try:
            if around.proof.depth in SHALLOW:
                why = f"protection.yaml asks for depth {around.proof.depth}, which needs no more"
                return bind_records(around, job, why).as_dict()
            return self._bracket(around, job)
        except TableMissingError as error:
            raise NothingBoundError(
                f"nothing is bound to recovery point {job.recovery_point_arn}, and {job.table} is not there any "
                f"more to tell what it must hold ({error}) Back tables up by table_backup, which keeps that."
            ) from error

    def _leave_to_maker(self, around: Around, job: Job, context: Any) -> None:
        """Wait while the run that made the recovery point is about to bind it: it read the table at the backup."""
        if around.clock() >= job.ended_at + MAKER_LIMIT:
            return
        made_by = (
            BackupHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)
            .get_recovery_point_tags(job.recovery_point_arn)
            .get(RUN_TAG)
        )
        if made_by is None:
            return
        owner = LeaseStore(around.dynamodb, self.order["lease_table"], clock=utcnow).read(job.table).owner
        if owner is None or owner == lease_owner(context) or run_tag(*owner.split("/", 1)) != made_by:
            return
        if run_is_over(owner, context):
            return
        self.log.info(
            "%s was made by the run %s, which is at work on %s and has yet to bind what it read: looking again in %s",
            job.recovery_point_arn,
            owner,
            job.table,
            MAKER_POLL,
        )
        self._wait_until(around.clock() + MAKER_POLL)

    def _bracket(self, around: Around, job: Job) -> dict[str, Any]:
        if not restores_started(around, job):
            window = window_of(around.dynamodb, job)
            if window.why_not is not None:
                self.log.warning("%s can't be bracketed: %s", job.recovery_point_arn, window.why_not)
                return bind_records(around, job, window.why_not).as_dict()
            if window.opens_in:
                self.log.info("%s can't be restored to %s yet", job.table, job.moments["after"])
                self._wait_until(around.clock() + window.opens_in + dt.timedelta(seconds=1))
            reserve_brackets(around.s3, around.dynamodb, self.order, job, now=around.clock())
        try:
            tables = start_restores(around, job)
        except RestoreTargetExistsError as error:
            raise NameTakenError(str(error)) from error
        if not tables_ready(around.dynamodb, tables):
            self._wait(
                TablesReadyTrigger(
                    tables=tables,
                    aws_conn_id=self.aws_conn_id,
                    region_name=self.region_name,
                    poll_seconds=self.poke_interval,
                )
            )
        binding = bind_brackets(around, job)
        drop_brackets(around, job)
        if binding.drifting:
            self.log.warning("%s was written to around its backup: the recovery point is drifting", job.table)
        return binding.as_dict()

    def _wait_until(self, moment: dt.datetime) -> None:
        """Defer until a moment (aware) has passed by AWS's clock."""
        self._wait(
            AwsClockTrigger(until=moment.isoformat(), aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        )

    def _wait(self, trigger: Any) -> None:
        self.defer(trigger=trigger, method_name="go_on", timeout=LIMIT)

    def _job(self) -> Job:
        hook = BackupHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        arn, vault = self._point["recovery_point_arn"], self._point["vault"]
        ensure_usable(find_point(hook, arn, vault=vault))
        return Job.of(self._point, hook.get_recovery_point(vault, arn))

    def _around(self, context: Any, proof: ProofSettings) -> Around:
        dag_run, sts = context["dag_run"], self._client("sts")
        return Around(
            dynamodb=self._client("dynamodb"),
            s3=self._client("s3"),
            scaling=self._client("application-autoscaling"),
            bucket=self.order["bucket"],
            proof=proof,
            run=self.order["run"],
            name=f"{dag_run.dag_id}/{dag_run.run_id}/{self.order['run_key']}",
            as_of=self.order["as_of"],
            dag_id=dag_run.dag_id,
            run_id=dag_run.run_id,
            max_rcu=float(self.max_rcu) if self.max_rcu not in (None, "", "None") else None,
            clock=lambda: server_time(sts),
        )

    def _proof(self) -> ProofSettings:
        protection = load_protection(project_file(PROTECTION_FILE))
        try:
            rule = rule_of(self._client, protection, self._point["table_arn"])
        except self._client("dynamodb").exceptions.ResourceNotFoundException:
            rule = None
        return rule.proof if rule is not None else ProofSettings()

    @property
    def _point(self) -> dict[str, Any]:
        return dict(self.chosen if self.chosen is not None else self.order["chosen"])

    def _client(self, service: str) -> Any:
        return client(service, aws_conn_id=self.aws_conn_id, region_name=self.region_name)


def bind_by_brackets(resources: Any, chosen: Any = None, *, task_id: str = "bind", **kwargs: Any) -> Any:
    """Wire the binding of a recovery point that may have none.

    :param resources: the ``order`` of :class:`BindByBracketsOperator`.
    :param chosen: the recovery point, where it is not the order's own.
    :return: the binding.
    """
    values: Mapping[str, Any] = {"max_rcu": "{{ params.max_rcu }}", "execution_timeout": SCAN_LIMIT, **kwargs}
    return BindByBracketsOperator(task_id=task_id, order=resources, chosen=chosen, **values).output
