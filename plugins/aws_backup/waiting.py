"""The two loops that wait, one for tasks and one for triggers, over the same waiters and the same rule."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from aws_backup.polling import Poller, PollPlan
from aws_backup.states import RecoveryPointStatus, StateKind

if TYPE_CHECKING:
    from aws_backup.hooks.backup import BackupHook

log = logging.getLogger(__name__)

# A deletion has no describe: its success is that there is nothing left to describe.
DESCRIBE_METHODS: Final[Mapping[StateKind, str]] = {
    StateKind.BACKUP_JOB: "describe_backup_job",
    StateKind.RESTORE_JOB: "describe_restore_job",
    StateKind.RECOVERY_POINT: "describe_recovery_point",
}

WAITER_NAMES: Final[Mapping[StateKind, str]] = {
    StateKind.BACKUP_JOB: "backup_job_complete",
    StateKind.RESTORE_JOB: "restore_job_complete",
    StateKind.COPY_JOB: "copy_job_complete",
    StateKind.RECOVERY_POINT: "recovery_point_available",
    StateKind.RECOVERY_POINT_DELETION: "recovery_point_deleted",
}


@dataclass(frozen=True)
class WaitTarget:
    """What to wait for.

    :param kind: which waiter and which states apply.
    :param subject: job id or ARN, for messages.
    :param arguments: keyword arguments of the describe call.
    :param lingering: bad states left over from before, tolerated at first (see ``Poller``).
    """

    kind: StateKind
    subject: str
    arguments: Mapping[str, str]
    lingering: frozenset[str] = frozenset()

    @classmethod
    def backup_job(cls, job_id: str) -> WaitTarget:
        """Wait for a backup job's end."""
        return cls(StateKind.BACKUP_JOB, job_id, {"BackupJobId": job_id})

    @classmethod
    def restore_job(cls, job_id: str) -> WaitTarget:
        """Wait for a restore job's end."""
        return cls(StateKind.RESTORE_JOB, job_id, {"RestoreJobId": job_id})

    @classmethod
    def recovery_point(cls, vault: str, arn: str) -> WaitTarget:
        """Wait until a recovery point can be restored from."""
        return cls(StateKind.RECOVERY_POINT, arn, {"BackupVaultName": vault, "RecoveryPointArn": arn})

    @classmethod
    def recovery_point_deletion(cls, vault: str, arn: str, *, was_expired: bool = False) -> WaitTarget:
        """Wait until AWS no longer knows a recovery point.

        :param was_expired: it was EXPIRED when its deletion was asked for, so that state is no news at first.
        """
        return cls(
            StateKind.RECOVERY_POINT_DELETION,
            arn,
            {"BackupVaultName": vault, "RecoveryPointArn": arn},
            frozenset({RecoveryPointStatus.EXPIRED}) if was_expired else frozenset(),
        )

    def poller(self, plan: PollPlan) -> Poller:
        """Make the judge of this wait."""
        return Poller(self.kind, self.subject, plan, lingering=self.lingering)


def wait(
    hook: BackupHook,
    target: WaitTarget,
    plan: PollPlan,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Wait in this process.

    :return: the last answer of the describe call; empty after a deletion.
    :raises AwsBackupError: the named reason why it did not end well.
    """
    poller = target.poller(plan)
    waiter = hook.get_waiter(WAITER_NAMES[target.kind])
    describe = getattr(hook.conn, DESCRIBE_METHODS.get(target.kind, ""), None)
    while True:
        try:
            waiter.wait(**target.arguments, WaiterConfig={"MaxAttempts": 1})
            return dict(describe(**target.arguments)) if describe else {}
        except (BotoCoreError, ClientError) as error:
            delay = poller.after(error)
        log.info("%s %s is %s; asking again in %.1f s", target.kind, target.subject, poller.last_state, delay)
        sleep(delay)


async def wait_async(
    hook: BackupHook,
    target: WaitTarget,
    plan: PollPlan,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> dict[str, Any]:
    """Wait in an event loop; as ``wait``, with an aiobotocore client."""
    poller = target.poller(plan)
    async with await hook.get_async_client() as client:
        # The annotation knows botocore's waiter only; this one is aiobotocore's, and is awaited.
        waiter: Any = hook.get_waiter(WAITER_NAMES[target.kind], deferrable=True, client=client)
        describe = getattr(client, DESCRIBE_METHODS.get(target.kind, ""), None)
        while True:
            try:
                await waiter.wait(**target.arguments, WaiterConfig={"MaxAttempts": 1})
                return dict(await describe(**target.arguments)) if describe else {}
            except (BotoCoreError, ClientError) as error:
                delay = poller.after(error)
            log.info("%s %s is %s; asking again in %.1f s", target.kind, target.subject, poller.last_state, delay)
            await sleep(delay)
