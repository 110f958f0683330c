"""Stopping a backup job when its task is killed: best effort, said plainly in the log.

AWS may complete the job all the same, so after asking it is watched for a while. Nothing here raises for
what AWS answers: a kill has to go through.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from aws_backup.exceptions import UnknownStateError
from aws_backup.states import Outcome, StateKind, classify

log = logging.getLogger(__name__)

# Together 16 s, well below the 30 s that the triggerer gives an on_kill by default.
WATCH_POLLS: Final = 8
WATCH_DELAY_SECONDS: Final = 2.0

RESTORE_GOES_ON: Final = (
    "AWS has no call to stop a restore: restore job %s goes on and may yet make its table. The next attempt "
    "of the task adopts it; otherwise drop the table when the job has ended."
)


def stop_backup_job(client: Any, job_id: str, *, sleep: Callable[[float], None] = time.sleep) -> str | None:
    """Ask AWS to stop a backup job and watch it for a while.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StopBackupJob.html

    :param client: a boto3 backup client.
    :return: the last state seen, or None if AWS could not be asked.
    """
    if not ask_to_stop(client, job_id):
        return None
    state: str | None = None
    try:
        for _ in range(WATCH_POLLS):
            state = str(client.describe_backup_job(BackupJobId=job_id)["State"])
            if _is_over(job_id, state):
                return state
            sleep(WATCH_DELAY_SECONDS)
    except (ClientError, BotoCoreError) as error:
        _log_refusal(job_id, error)
        return state
    log.warning("Backup job %s is still %s; AWS may yet complete it.", job_id, state)
    return state


async def stop_backup_job_async(
    client: Any, job_id: str, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> str | None:
    """As ``stop_backup_job``, with an aiobotocore client."""
    if not await ask_to_stop_async(client, job_id):
        return None
    state: str | None = None
    try:
        for _ in range(WATCH_POLLS):
            state = str((await client.describe_backup_job(BackupJobId=job_id))["State"])
            if _is_over(job_id, state):
                return state
            await sleep(WATCH_DELAY_SECONDS)
    except (ClientError, BotoCoreError) as error:
        _log_refusal(job_id, error)
        return state
    log.warning("Backup job %s is still %s; AWS may yet complete it.", job_id, state)
    return state


def ask_to_stop(client: Any, job_id: str) -> bool:
    """Ask AWS to stop a backup job, without watching what becomes of it.

    :param client: a boto3 backup client.
    :return: False if AWS refused, which the log tells.
    """
    try:
        client.stop_backup_job(BackupJobId=job_id)
    except (ClientError, BotoCoreError) as error:
        _log_refusal(job_id, error)
        return False
    log.info("Asked AWS to stop backup job %s.", job_id)
    return True


async def ask_to_stop_async(client: Any, job_id: str) -> bool:
    """As ``ask_to_stop``, with an aiobotocore client."""
    try:
        await client.stop_backup_job(BackupJobId=job_id)
    except (ClientError, BotoCoreError) as error:
        _log_refusal(job_id, error)
        return False
    log.info("Asked AWS to stop backup job %s.", job_id)
    return True


def _is_over(job_id: str, state: str) -> bool:
    try:
        outcome = classify(StateKind.BACKUP_JOB, state)
    except UnknownStateError as error:
        log.warning("%s", error)
        return True
    if outcome is Outcome.IN_PROGRESS:
        return False
    if outcome is Outcome.SUCCESS:
        log.warning("Backup job %s completed all the same; its recovery point stays.", job_id)
    else:
        log.info("Backup job %s ended %s.", job_id, state)
    return True


def _log_refusal(job_id: str, error: Exception) -> None:
    log.warning("Backup job %s may go on: AWS answered %s", job_id, error)
