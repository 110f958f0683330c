"""Trigger that waits for many backup jobs at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from aws_backup.exceptions import AwsBackupError
from aws_backup.fleet import BackupJobFleet, listing_filters
from aws_backup.hooks.backup import LARGEST_PAGE, BackupHook
from aws_backup.polling import NOT_FOUND_GRACE_SECONDS, Poller, PollPlan, error_code
from aws_backup.states import StateKind
from aws_backup.stopping import ask_to_stop_async
from aws_backup.triggers.backup import GivenUpMixin


class BackupJobsCompletedTrigger(GivenUpMixin, BaseTrigger):
    """Wait until each of many backup jobs has ended, well or badly.

    A success event is ``{"status": "success", "ended": number}``: how each job ended is asked again by the task that
    wakes up, since an event of a thousand summaries would go through Airflow's database. An error event, where AWS
    could not be asked any more, is as that of the other triggers here.

    :param backup_job_ids: ids of the backup jobs.
    :param created_after: ISO 8601; a moment before the first of them was started. Jobs before it are not listed.
    :param stop_jobs_on_kill: ask AWS to stop the jobs when a person gives the waiting task up. (default: False)
    :param waiter_delay: seconds between the first polls. (default: 15)
    :param waiter_max_delay: seconds between polls at most. (default: 120)
    :param waiter_max_attempts: number of polls that may find some in progress. (default: 480)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
    :param verify: Whether or not to verify SSL certificates.
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    def __init__(
        self,
        *,
        backup_job_ids: Sequence[str],
        created_after: str | None = None,
        stop_jobs_on_kill: bool = False,
        waiter_delay: float = 15,
        waiter_max_delay: float = 120,
        waiter_max_attempts: int = 480,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.backup_job_ids = list(backup_job_ids)
        self.created_after = created_after
        self.stop_jobs_on_kill = stop_jobs_on_kill
        self.waiter_delay = waiter_delay
        self.waiter_max_delay = waiter_max_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self._fleet = BackupJobFleet(self.backup_job_ids)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made again from."""
        names = (
            "backup_job_ids",
            "created_after",
            "stop_jobs_on_kill",
            "waiter_delay",
            "waiter_max_delay",
            "waiter_max_attempts",
            "aws_conn_id",
            "region_name",
            "verify",
            "botocore_config",
        )
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in names},
        )

    def hook(self) -> BackupHook:
        """Return the hook of this trigger's connection."""
        return BackupHook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=self.botocore_config,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        try:
            await self._wait()
        except AwsBackupError as error:
            yield TriggerEvent({"status": "error", "message": str(error), "error": error.to_dict()})
        else:
            yield TriggerEvent({"status": "success", "ended": len(self._fleet)})

    async def _wait(self) -> None:
        fleet = self._fleet
        poller = Poller(
            StateKind.BACKUP_JOB,
            f"fleet of {len(fleet)}",
            PollPlan(self.waiter_delay, self.waiter_max_delay, self.waiter_max_attempts),
        )
        async with await self.hook().get_async_client() as client:
            while True:
                try:
                    await self._look(client, poller)
                except (BotoCoreError, ClientError) as error:
                    delay = poller.after(error)
                else:
                    if not fleet.in_progress:
                        return
                    delay = poller.still(fleet.describe())
                self.log.info("Backup jobs: %s; asking again in %.1f s", fleet.describe(), delay)
                await asyncio.sleep(delay)

    async def _look(self, client: Any, poller: Poller) -> None:
        self._fleet.begin_round()
        pages = client.get_paginator("list_backup_jobs").paginate(
            **listing_filters(self.created_after), PaginationConfig={"PageSize": LARGEST_PAGE}
        )
        async for page in pages:
            self._fleet.see(page.get("BackupJobs", []))
        if poller.waited < NOT_FOUND_GRACE_SECONDS:
            return
        for job_id in self._fleet.unlisted:
            try:
                self._fleet.see([await client.describe_backup_job(BackupJobId=job_id)])
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                self._fleet.see_missing(job_id)

    async def on_kill(self) -> None:
        """Ask AWS to stop the jobs that have not ended, if the task was given up for good."""
        if not self.stop_jobs_on_kill:
            self.log.info("The backup jobs are left alone (stop_jobs_on_kill is off).")
            return
        await self._shielded(self._stop_if_given_up())

    async def _stop_if_given_up(self) -> None:
        try:
            if not await self._is_given_up():
                self.log.info("The backup jobs are left alone: the task was not given up.")
                return
            async with await self.hook().get_async_client() as client:
                for job_id in self._fleet.in_progress:
                    await ask_to_stop_async(client, job_id)
        except Exception:
            # Nobody may be left to raise to.
            self.log.exception("Not all backup jobs could be stopped; they may go on.")
