"""The first page: each protected table with its newest backup, its newest proof, and both against their targets.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

from backup_console_app.drills import Drill, Verdict, newest_drills, point_verdict
from backup_console_app.paging import Page, cut
from backup_console_app.points import all_points
from backup_console_app.troubles import Known, Trouble, attempt
from backup_console_app.world import NextRun, World
from backup_flows.protection import ProtectedTable, TableEntry
from backup_flows.watch.facts import USABLE

DRILL_DAG: Final = "restore_drill"
TABLES_A_PAGE: Final = 50


@dataclass(frozen=True)
class Backup:
    """The newest recovery point of a table that can be restored."""

    arn: str
    vault: str
    created_at: dt.datetime


@dataclass(frozen=True)
class Target:
    """A figure against its target.

    Attributes:
        actual: None where there is none.
    """

    actual: dt.timedelta | None
    target: dt.timedelta

    @property
    def is_met(self) -> bool | None:
        """Whether it is met; None where nothing tells."""
        return None if self.actual is None else self.actual <= self.target


@dataclass(frozen=True)
class Row:
    """One protected table.

    Attributes:
        backup: its newest usable recovery point.
        drill: its newest drill.
        proven: its newest drill that was proven.
        verdict: on its newest recovery point.
        rpo: age of the newest usable recovery point.
        proven_rpo: age of the newest recovery point whose restore was proven.
        rto: how long the newest drill that was proven took until the restored table was ready.
        trouble: why parts of it are not known.
    """

    table: ProtectedTable
    rpo: Target
    proven_rpo: Target
    rto: Target
    backup: Backup | None = None
    drill: Drill | None = None
    proven: Drill | None = None
    verdict: Verdict | None = None
    trouble: Trouble | None = None

    @property
    def mood(self) -> str:
        """How the row looks: ``good``, ``unsure`` or ``bad``."""
        targets = (self.rpo, self.proven_rpo, self.rto)
        if self.drill is not None and self.drill.verdict.result == "FAILED":
            return "bad"
        if self.backup is None or any(target.is_met is False for target in targets):
            return "bad"
        return "good" if self.proven is not None and all(target.is_met for target in targets) else "unsure"


@dataclass(frozen=True)
class Overview:
    """The page.

    Attributes:
        missing: entries of the file whose table does not exist.
        next_drill: when the drills' DAG runs next; None where Airflow has no such DAG.
    """

    rows: Page[Row]
    missing: Sequence[TableEntry]
    next_drill: NextRun | None
    counts: Mapping[str, int] = field(default_factory=dict)


def overview(world: World, *, search: str = "", page: int = 1) -> Overview:
    """Gather the page.

    Args:
        world: what is asked.
        search: only tables that have this in their names.
        page: from 1.
    """
    protected = world.protected()
    tables = [table for table in protected.tables if search.lower() in table.name.lower()]
    newest = last_backups(world)
    shown = cut(tables, page, TABLES_A_PAGE)
    rows = world.each(lambda table: _row(world, table, newest), shown.entries)
    counts = {mood: sum(row.mood == mood for row in rows) for mood in ("good", "unsure", "bad")}
    return Overview(
        rows=shown.of(rows),
        missing=protected.missing,
        next_drill=world.next_run(DRILL_DAG),
        counts=counts,
    )


def last_backups(world: World) -> dict[str, Mapping[str, Any]]:
    """Return what AWS Backup says of each table's newest recovery point, by the table's ARN.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListProtectedResources.html
    """

    def ask() -> dict[str, Mapping[str, Any]]:
        pages = world.clients("backup").get_paginator("list_protected_resources")
        return {
            resource["ResourceArn"]: resource
            for answer in pages.paginate(PaginationConfig={"PageSize": 1000})
            for resource in answer["Results"]
            if resource.get("ResourceType") == "DynamoDB"
        }

    return world.kept(("protected resources",), ask, weigh=len)


def _row(world: World, table: ProtectedTable, newest: Mapping[str, Mapping[str, Any]]) -> Row:
    backup = attempt(lambda: _backup(world, newest.get(table.arn)))
    drills: Known[tuple[Drill | None, Drill | None]] = attempt(lambda: newest_drills(world, table.name))
    drill, proven = drills.value or (None, None)
    verdict: Known[Verdict | None] = Known()
    made = backup.value
    if made is not None:
        verdict = attempt(lambda: point_verdict(world, table.name, made.arn))
    return Row(
        table=table,
        backup=made,
        drill=drill,
        proven=proven,
        verdict=verdict.value,
        rpo=Target(world.now - made.created_at if made is not None else None, table.rule.rpo),
        proven_rpo=Target(world.now - proven.backed_up_at if proven and proven.backed_up_at else None, table.rule.rpo),
        rto=Target(proven.rto if proven is not None else None, table.rule.rto),
        trouble=backup.trouble or drills.trouble or verdict.trouble,
    )


def _backup(world: World, resource: Mapping[str, Any] | None) -> Backup | None:
    """Return a table's newest recovery point, if it can be restored; else look for the newest that can."""
    if resource is None:
        return None
    arn, vault_arn = resource.get("LastRecoveryPointArn"), resource.get("LastBackupVaultArn")
    if arn and vault_arn:
        vault = vault_arn.rpartition(":")[2]
        described = world.kept(("point", arn), lambda: _describe(world, vault, arn))
        if described is not None and described["Status"] in USABLE:
            return Backup(arn, vault, described["CreationDate"].astimezone(dt.UTC))
    listing = all_points(world, resource["ResourceArn"])
    point = next((point for point in listing.points if point.status in USABLE), None)
    return Backup(point.arn, point.vault, point.created_at) if point is not None else None


def _describe(world: World, vault: str, arn: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = world.clients("backup").describe_recovery_point(
            BackupVaultName=vault, RecoveryPointArn=arn
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    return answer
