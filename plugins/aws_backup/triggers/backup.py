"""Triggers that wait for AWS Backup."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from airflow.triggers.base import TriggerEvent
from airflow.utils.state import TaskInstanceState
from asgiref.sync import sync_to_async

from aws_backup.exceptions import AwsBackupError
from aws_backup.hooks.backup import BackupHook
from aws_backup.polling import STATE_FIELDS, PollPlan
from aws_backup.stopping import RESTORE_GOES_ON, stop_backup_job_async
from aws_backup.summaries import SUMMARISERS, JobSummary
from aws_backup.waiting import WAITER_NAMES, WaitTarget, wait_async

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

# States that say: nobody will wait for this job any more. Not among them are success (a person lets the run
# go on as if the job were done) and every state after a clear (the next attempt adopts the job).
GIVEN_UP_STATES: Final = frozenset(
    {
        TaskInstanceState.FAILED.value,
        TaskInstanceState.REMOVED.value,
        TaskInstanceState.SKIPPED.value,
        TaskInstanceState.UPSTREAM_FAILED.value,
    }
)


# The first question about a task makes the triggerer's supervisor load Airflow's API, which takes a while.
TASK_STATE_TIMEOUT_SECONDS: Final = 120.0

# The event loop itself keeps only weak references to its tasks.
_STOPPING: Final[set[asyncio.Task[None]]] = set()


class GivenUpMixin:
    """For a trigger: tell whether its task was given up, so that nobody waits any more."""

    task_instance: TaskInstance | None
    log: Any

    async def _is_given_up(self) -> bool:
        """Tell whether the task was given up, so that nobody waits for the job any more.

        Airflow calls ``on_kill`` when a trigger's row no longer belongs to this triggerer. That is so after
        a person's action, but also when another triggerer took over because this one was too slow to give
        sign of life; then the task is still deferred.
        """
        ti = self.task_instance
        if ti is None:
            self.log.warning("No task is known to this trigger, so its job is left alone.")
            return False
        try:
            state = await asyncio.wait_for(sync_to_async(_task_state)(ti), TASK_STATE_TIMEOUT_SECONDS)
        except Exception:
            # Whatever went wrong in asking: a stopped backup is lost, one that goes on costs some storage.
            self.log.exception("The state of the task can't be learned, so its job is left alone.")
            return False
        self.log.info("The task is %s.", state or "cleared")
        return state in GIVEN_UP_STATES

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of an ``on_kill`` to its end.

        Until a trigger has ended, the triggerer cancels it anew at every exchange with its supervisor, about once a
        second, and so cancels ``on_kill`` too. The work goes on in a task of its own.
        """
        stopping = asyncio.create_task(work)
        _STOPPING.add(stopping)
        stopping.add_done_callback(_STOPPING.discard)
        await asyncio.shield(stopping)


class BackupBaseWaiterTrigger(GivenUpMixin, AwsBaseWaiterTrigger):
    """Common to all triggers here: own polling rule, and events that carry the named error.

    The base class polls for ever while AWS throttles, and dies with a stack trace when a connection fails;
    this one judges each poll with ``polling.Poller``.

    A success event is ``{"status": "success", <return_key>: id, "summary": {...}}``; an error event is
    ``{"status": "error", <return_key>: id, "message": text, "error": {"name": class, "fields": {...}}}``.
    """

    aws_hook_class = BackupHook

    def __init__(
        self,
        *,
        target: WaitTarget,
        return_key: str,
        serialized_fields: dict[str, Any],
        waiter_delay: float,
        waiter_max_delay: float,
        waiter_max_attempts: int,
        aws_conn_id: str | None,
        region_name: str | None,
        verify: bool | str | None,
        botocore_config: dict[str, Any] | None,
    ) -> None:
        super().__init__(
            serialized_fields={"waiter_max_delay": waiter_max_delay, **serialized_fields},
            waiter_name=WAITER_NAMES[target.kind],
            waiter_args=dict(target.arguments),
            failure_message=f"The {target.kind.value} did not end well",
            status_message=f"State of the {target.kind.value}",
            status_queries=[STATE_FIELDS[target.kind], "StatusMessage"],
            return_key=return_key,
            return_value=target.subject,
            # The base class annotates int, and only hands it on; our delays may be fractions of a second.
            waiter_delay=waiter_delay,  # type: ignore[arg-type]
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )
        self.target = target
        self.plan = PollPlan(waiter_delay, waiter_max_delay, waiter_max_attempts)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        try:
            response = await wait_async(self._backup_hook(), self.target, self.plan)
        except AwsBackupError as error:
            yield TriggerEvent(
                {
                    "status": "error",
                    self.return_key: self.return_value,
                    "message": str(error),
                    "error": error.to_dict(),
                }
            )
        else:
            yield TriggerEvent(
                {
                    "status": "success",
                    self.return_key: self.return_value,
                    "summary": self._summarise(response),
                }
            )

    def _backup_hook(self) -> BackupHook:
        return BackupHook(**self._hook_parameters)

    def _summarise(self, response: dict[str, Any]) -> JobSummary:
        return SUMMARISERS[self.target.kind](response)


class BackupJobCompletedTrigger(BackupBaseWaiterTrigger):
    """Wait until a backup job has ended.

    :param backup_job_id: id of the backup job.
    :param stop_job_on_kill: stop the job when a person marks the waiting task as failed, or deletes its run.
        (default: False)
    :param waiter_delay: seconds between the first polls. (default: 15)
    :param waiter_max_delay: seconds between polls at most. (default: 120)
    :param waiter_max_attempts: number of polls that may find it in progress. (default: 480)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
    :param verify: Whether or not to verify SSL certificates.
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    def __init__(
        self,
        *,
        backup_job_id: str,
        stop_job_on_kill: bool = False,
        waiter_delay: float = 15,
        waiter_max_delay: float = 120,
        waiter_max_attempts: int = 480,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            target=WaitTarget.backup_job(backup_job_id),
            return_key="backup_job_id",
            serialized_fields={"backup_job_id": backup_job_id, "stop_job_on_kill": stop_job_on_kill},
            waiter_delay=waiter_delay,
            waiter_max_delay=waiter_max_delay,
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )
        self.backup_job_id = backup_job_id
        self.stop_job_on_kill = stop_job_on_kill

    async def on_kill(self) -> None:
        """Stop the backup job if the task was given up for good."""
        if not self.stop_job_on_kill:
            self.log.info("Backup job %s is left alone (stop_job_on_kill is off).", self.backup_job_id)
            return
        await self._shielded(self._stop_if_given_up())

    async def _stop_if_given_up(self) -> None:
        try:
            if await self._is_given_up():
                async with await self._backup_hook().get_async_client() as client:
                    await stop_backup_job_async(client, self.backup_job_id)
            else:
                self.log.info("Backup job %s is left alone: the task was not given up.", self.backup_job_id)
        except Exception:
            # Nobody may be left to raise to.
            self.log.exception("Backup job %s could not be stopped; it may go on.", self.backup_job_id)


class BackupRestoreJobCompletedTrigger(BackupBaseWaiterTrigger):
    """Wait until a restore job has ended.

    :param restore_job_id: id of the restore job.
    :param waiter_delay: seconds between the first polls. (default: 30)
    :param waiter_max_delay: seconds between polls at most. (default: 120)
    :param waiter_max_attempts: number of polls that may find it in progress. (default: 480)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
    :param verify: Whether or not to verify SSL certificates.
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    def __init__(
        self,
        *,
        restore_job_id: str,
        waiter_delay: float = 30,
        waiter_max_delay: float = 120,
        waiter_max_attempts: int = 480,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            target=WaitTarget.restore_job(restore_job_id),
            return_key="restore_job_id",
            serialized_fields={"restore_job_id": restore_job_id},
            waiter_delay=waiter_delay,
            waiter_max_delay=waiter_max_delay,
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )
        self.restore_job_id = restore_job_id

    async def on_kill(self) -> None:
        """Say that a restore can't be stopped."""
        self.log.warning(RESTORE_GOES_ON, self.restore_job_id)


class BackupRecoveryPointAvailableTrigger(BackupBaseWaiterTrigger):
    """Wait until a recovery point can be restored from.

    :param backup_vault_name: name of the vault that holds it.
    :param recovery_point_arn: ARN of the recovery point.
    :param waiter_delay: seconds between the first polls. (default: 15)
    :param waiter_max_delay: seconds between polls at most. (default: 120)
    :param waiter_max_attempts: number of polls that may find it in progress. (default: 480)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
    :param verify: Whether or not to verify SSL certificates.
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    def __init__(
        self,
        *,
        backup_vault_name: str,
        recovery_point_arn: str,
        waiter_delay: float = 15,
        waiter_max_delay: float = 120,
        waiter_max_attempts: int = 480,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            target=WaitTarget.recovery_point(backup_vault_name, recovery_point_arn),
            return_key="recovery_point_arn",
            serialized_fields={
                "backup_vault_name": backup_vault_name,
                "recovery_point_arn": recovery_point_arn,
            },
            waiter_delay=waiter_delay,
            waiter_max_delay=waiter_max_delay,
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )


class BackupRecoveryPointDeletedTrigger(BackupBaseWaiterTrigger):
    """Wait until AWS no longer knows a recovery point.

    :param backup_vault_name: name of the vault that held it.
    :param recovery_point_arn: ARN of the recovery point.
    :param was_expired: it was EXPIRED when its deletion was asked for, so that state is no news at first.
        (default: False)
    :param waiter_delay: seconds between the first polls. (default: 10)
    :param waiter_max_delay: seconds between polls at most. (default: 60)
    :param waiter_max_attempts: number of polls that may find it still there. (default: 180)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
    :param verify: Whether or not to verify SSL certificates.
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    def __init__(
        self,
        *,
        backup_vault_name: str,
        recovery_point_arn: str,
        was_expired: bool = False,
        waiter_delay: float = 10,
        waiter_max_delay: float = 60,
        waiter_max_attempts: int = 180,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            target=WaitTarget.recovery_point_deletion(backup_vault_name, recovery_point_arn, was_expired=was_expired),
            return_key="recovery_point_arn",
            serialized_fields={
                "backup_vault_name": backup_vault_name,
                "recovery_point_arn": recovery_point_arn,
                "was_expired": was_expired,
            },
            waiter_delay=waiter_delay,
            waiter_max_delay=waiter_max_delay,
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )

    def _summarise(self, response: dict[str, Any]) -> JobSummary:
        return JobSummary(recovery_point_arn=self.target.subject, state="DELETED")


def _task_state(ti: TaskInstance) -> str | None:
    """Return the task instance's state in Airflow's database: None after a clear, "removed" if it is gone."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    # The answer names a mapped task instance by task id and map index.
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    of_run = states.get(ti.run_id, {})
    if name not in of_run:
        return str(TaskInstanceState.REMOVED.value)
    state = of_run[name]
    return None if state is None else str(getattr(state, "value", state))
