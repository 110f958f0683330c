"""Triggers of the flows: waiting for a table's lease, and for AWS's clock to pass a moment."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from aws_backup.tables import table_status
from backup_flows.as_of import utcnow
from backup_flows.aws import client, server_time
from backup_flows.lease import LeaseStore, jittered

MAX_CLOCK_POLL_SECONDS = 5.0
"""AWS's clock is asked at least this often: the local AWS may let its clock run faster than ours."""


class TableLeaseTrigger(BaseTrigger):
    """Fire when an attempt to take a table's lease may succeed.

    It only keeps the run's place in the queue and watches; the task that it wakes makes the attempt, because
    taking over a dead owner's lease needs to ask Airflow about the owner's run.

    :param lease_table: DynamoDB table that holds the leases.
    :param table_name: the protected table.
    :param owner: ``<dag_id>/<run_id>`` of the waiting run.
    :param as_of: the waiting run's as_of, ISO 8601.
    :param poll_seconds: mean time between looks.
    :param give_up_after: seconds after which to fire in any case; None: never.
    """

    def __init__(
        self,
        *,
        lease_table: str,
        table_name: str,
        owner: str,
        as_of: str,
        aws_conn_id: str,
        region_name: str | None = None,
        poll_seconds: float = 5.0,
        lease_seconds: int = 900,
        give_up_after: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lease_table = lease_table
        self.table_name = table_name
        self.owner = owner
        self.as_of = as_of
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds
        self.lease_seconds = lease_seconds
        self.give_up_after = give_up_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "backup_flows.triggers.TableLeaseTrigger",
            {
                "lease_table": self.lease_table,
                "table_name": self.table_name,
                "owner": self.owner,
                "as_of": self.as_of,
                "aws_conn_id": self.aws_conn_id,
                "region_name": self.region_name,
                "poll_seconds": self.poll_seconds,
                "lease_seconds": self.lease_seconds,
                "give_up_after": self.give_up_after,
            },
        )

    def _store(self) -> LeaseStore:
        dynamodb = client("dynamodb", aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        return LeaseStore(dynamodb, self.lease_table, clock=utcnow, lease_seconds=self.lease_seconds)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        store = await sync_to_async(self._store)()
        began = time.monotonic()
        while True:
            state = await sync_to_async(store.show_up)(self.table_name, self.owner, self.as_of)
            now = int(utcnow().timestamp())
            if state.may_try(self.owner, now=now, stale_after=store.stale_after):
                yield TriggerEvent({"status": "success", "owner": state.owner})
                return
            if self.give_up_after is not None and time.monotonic() - began >= self.give_up_after:
                yield TriggerEvent({"status": "waited", "owner": state.owner})
                return
            await asyncio.sleep(jittered(self.poll_seconds))


class AwsClockTrigger(BaseTrigger):
    """Fire when AWS's own clock has passed a moment.

    :param until: the moment, ISO 8601 with offset.
    """

    def __init__(self, *, until: str, aws_conn_id: str, region_name: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until = until
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "backup_flows.triggers.AwsClockTrigger",
            {"until": self.until, "aws_conn_id": self.aws_conn_id, "region_name": self.region_name},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        until = dt.datetime.fromisoformat(self.until)
        sts = await sync_to_async(client)("sts", aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        while True:
            now = await sync_to_async(server_time)(sts)
            if now >= until:
                yield TriggerEvent({"status": "success", "aws_time": now.isoformat()})
                return
            await asyncio.sleep(min((until - now).total_seconds(), MAX_CLOCK_POLL_SECONDS))


class RecoveryPointsGoneTrigger(BaseTrigger):
    """Fire when recovery points are gone, or when it has waited long enough.

    :param vaults: the vault of each recovery point, by ARN.
    :param poll_seconds: time between looks; each look lists the vaults once, however many points there are.
    :param give_up_after: seconds after which to fire in any case.
    """

    def __init__(
        self,
        *,
        vaults: dict[str, str],
        aws_conn_id: str,
        region_name: str | None = None,
        poll_seconds: float = 10.0,
        give_up_after: float = 10_800.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vaults = vaults
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds
        self.give_up_after = give_up_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "backup_flows.triggers.RecoveryPointsGoneTrigger",
            {
                "vaults": self.vaults,
                "aws_conn_id": self.aws_conn_id,
                "region_name": self.region_name,
                "poll_seconds": self.poll_seconds,
                "give_up_after": self.give_up_after,
            },
        )

    def _left(self) -> list[str]:
        backup = client("backup", aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        pages = backup.get_paginator("list_recovery_points_by_backup_vault")
        return [
            point["RecoveryPointArn"]
            for vault in sorted(set(self.vaults.values()))
            for page in pages.paginate(BackupVaultName=vault)
            for point in page["RecoveryPoints"]
            if point["RecoveryPointArn"] in self.vaults
        ]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        began = time.monotonic()
        while True:
            left = await sync_to_async(self._left)()
            if not left or time.monotonic() - began >= self.give_up_after:
                yield TriggerEvent({"left": left})
                return
            await asyncio.sleep(self.poll_seconds)


class TablesReadyTrigger(BaseTrigger):
    """Fire when tables that are being restored are ACTIVE, or when one of them is gone.

    :param tables: their names.
    :param poll_seconds: time between looks.
    """

    def __init__(
        self,
        *,
        tables: list[str],
        aws_conn_id: str,
        region_name: str | None = None,
        poll_seconds: float = 20.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tables = tables
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "backup_flows.triggers.TablesReadyTrigger",
            {
                "tables": self.tables,
                "aws_conn_id": self.aws_conn_id,
                "region_name": self.region_name,
                "poll_seconds": self.poll_seconds,
            },
        )

    def _look(self) -> dict[str, Any] | None:
        """Return the event, if there is something to tell."""
        dynamodb = client("dynamodb", aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        for table in self.tables:
            status = table_status(dynamodb, table)
            if status is None:
                return {"status": "lost", "table": table}
            if status != "ACTIVE":
                return None
        return {"status": "success"}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while True:
            event = await sync_to_async(self._look)()
            if event is not None:
                yield TriggerEvent(event)
                return
            await asyncio.sleep(jittered(self.poll_seconds))
