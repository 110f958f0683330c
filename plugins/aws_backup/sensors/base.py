"""What the sensors of AWS Backup have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.sdk import PokeReturnValue, conf

from aws_backup.hooks.backup import BackupHook

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

MAX_POKE_INTERVAL = 120.0
"""Seconds that intervals between polls grow to when deferred, unless told otherwise."""


class BackupDeferringSensor(AwsBaseSensor[BackupHook]):
    """Look once, then wait: deferred with growing intervals, poking or rescheduled.

    :param deferrable: wait in the triggerer. (default: the option ``[operators] default_deferrable``)
    :param max_poke_interval: seconds between polls at most when deferred; they start at ``poke_interval`` and
        grow by half each time. (default: the larger of 120 and ``poke_interval``)
    """

    aws_hook_class = BackupHook

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_poke_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.max_poke_interval = max_poke_interval

    @abstractmethod
    def _trigger(self, **waiting: Any) -> BaseTrigger:
        """Return the trigger that waits; ``waiting`` is how to reach AWS and how often to ask."""

    def execute(self, context: Context) -> Any:
        """Look once, then wait; what has ended already needs no triggerer."""
        if not self.deferrable:
            return super().execute(context)
        result = self.poke(context)
        if isinstance(result, PokeReturnValue):
            return result.xcom_value
        self._defer()

    def _defer(self) -> NoReturn:
        delay = max(float(self.poke_interval), 0.1)
        self.defer(
            trigger=self._trigger(
                waiter_delay=delay,
                waiter_max_delay=max(delay, MAX_POKE_INTERVAL)
                if self.max_poke_interval is None
                else self.max_poke_interval,
                # The sensor's timeout ends the wait; these are enough polls never to end before it.
                waiter_max_attempts=math.ceil(self.timeout / delay) + 1,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
