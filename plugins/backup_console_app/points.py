"""The recovery points of one table: listed once, filtered and cut here, so that ten thousand are no matter.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backup_console_app.drills import Verdict, point_verdict
from backup_console_app.kept import Decision, Plan, latest_plan
from backup_console_app.paging import Page, cut
from backup_console_app.troubles import Known, Trouble, attempt
from backup_console_app.world import World
from backup_flows.protection import ProtectedTable

POINTS_A_PAGE: Final = 50
MAX_POINTS: Final = 50_000
A_CALL: Final = 1000
"""Recovery points that AWS lists at a time."""
LISTED: Final = 60.0
LISTED_LARGE: Final = 300.0
"""Seconds for which a listing is kept, the longer ones of more than one call."""


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point.

    Attributes:
        delete_at: when AWS's lifecycle deletes it; None: never, or not told.
    """

    arn: str
    vault: str
    status: str
    created_at: dt.datetime
    size_bytes: int | None
    delete_at: dt.datetime | None = None


@dataclass(frozen=True)
class Listing:
    """All recovery points of a table, newest first.

    Attributes:
        cut_off: whether there are more than are listed.
        listed_at: when it was.
    """

    points: Sequence[Point]
    cut_off: bool
    listed_at: dt.datetime

    @property
    def good_for(self) -> float:
        """Seconds for which it is kept."""
        return LISTED if len(self.points) <= A_CALL else LISTED_LARGE


@dataclass(frozen=True)
class Wanted:
    """Which points are shown; empty means all.

    Attributes:
        decision: what retention's plan says: keep, delete, blocked, or none for points that it does not know.
        since: made on this day (UTC) or later.
        until: made on this day or before.
        search: part of the ARN.
    """

    status: str = ""
    vault: str = ""
    decision: str = ""
    since: dt.date | None = None
    until: dt.date | None = None
    search: str = ""

    @property
    def query(self) -> dict[str, object]:
        """It as a page's address has it."""
        return dict(vars(self))

    def fits(self, point: Point, decision: Decision | None) -> bool:
        """Tell whether a point is wanted."""
        day = point.created_at.date()
        return (
            (not self.status or point.status == self.status)
            and (not self.vault or point.vault == self.vault)
            and (not self.decision or self.decision == (decision.verb if decision else "none"))
            and (self.since is None or day >= self.since)
            and (self.until is None or day <= self.until)
            and (not self.search or self.search in point.arn)
        )


@dataclass(frozen=True)
class Shown:
    """A point on the page.

    Attributes:
        verdict: the one that holds; None where it was never proven.
        rescue: what keeps AWS from deleting it before it was proven.
    """

    point: Point
    verdict: Known[Verdict | None]
    decision: Decision | None
    rescue: str | None = None


@dataclass(frozen=True)
class Points:
    """The part of the page about recovery points."""

    page: Page[Shown]
    plan: Plan | None
    plan_trouble: Trouble | None
    cut_off: bool
    listed_at: dt.datetime
    all: int
    statuses: Sequence[str]
    vaults: Sequence[str]


def all_points(world: World, table_arn: str) -> Listing:
    """Return all recovery points of a table, in all vaults.

    Vault by vault: the listing by resource names the vault of other resources only.
    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_RecoveryPointByResource.html
    """

    def ask() -> Listing:
        found = [point for vault in _vaults(world) for point in _in(world, vault, table_arn)]
        found.sort(key=lambda point: (point.created_at, point.arn), reverse=True)
        return Listing(found[:MAX_POINTS], len(found) > MAX_POINTS, world.now)

    return world.kept(
        ("points", table_arn), ask, seconds=lambda listing: listing.good_for, weigh=lambda listing: len(listing.points)
    )


def _vaults(world: World) -> list[str]:
    """Return the names of the vaults that hold anything.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupVaults.html
    """

    def ask() -> list[str]:
        pages = (
            world.clients("backup").get_paginator("list_backup_vaults").paginate(PaginationConfig={"PageSize": 1000})
        )
        vaults = [vault for answer in pages for vault in answer["BackupVaultList"]]
        return [vault["BackupVaultName"] for vault in vaults if vault.get("NumberOfRecoveryPoints") != 0]

    return world.kept(("vaults",), ask)


def _in(world: World, vault: str, table_arn: str) -> list[Point]:
    """Return the recovery points of a table in a vault, a little more than `MAX_POINTS` at most.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListRecoveryPointsByBackupVault.html
    """
    pages = (
        world.clients("backup")
        .get_paginator("list_recovery_points_by_backup_vault")
        .paginate(BackupVaultName=vault, ByResourceArn=table_arn, PaginationConfig={"PageSize": A_CALL})
    )
    found: list[Point] = []
    for answer in pages:
        found += [_point(entry, vault) for entry in answer["RecoveryPoints"]]
        if len(found) > MAX_POINTS:
            break
    return found


def _point(entry: Mapping[str, Any], vault: str) -> Point:
    return Point(
        arn=entry["RecoveryPointArn"],
        vault=vault,
        status=entry["Status"],
        created_at=entry["CreationDate"].astimezone(dt.UTC),
        size_bytes=entry.get("BackupSizeInBytes"),
        delete_at=(entry.get("CalculatedLifecycle") or {}).get("DeleteAt"),
    )


def points(world: World, table: ProtectedTable, wanted: Wanted, *, page: int = 1) -> Points:
    """Gather one page of a table's recovery points."""
    listing = all_points(world, table.arn)
    known = attempt(lambda: latest_plan(world))
    plan = known.value
    decisions, rescues = (plan.decisions, plan.rescues) if plan is not None else ({}, {})
    fitting = [point for point in listing.points if wanted.fits(point, decisions.get(point.arn))]
    shown = cut(fitting, page, POINTS_A_PAGE)
    verdicts = world.each(lambda point: attempt(lambda: point_verdict(world, table.name, point.arn)), shown.entries)
    return Points(
        page=shown.of(
            [
                Shown(point, verdict, decisions.get(point.arn), rescues.get(point.arn))
                for point, verdict in zip(shown.entries, verdicts, strict=True)
            ]
        ),
        plan=plan,
        plan_trouble=known.trouble,
        cut_off=listing.cut_off,
        listed_at=listing.listed_at,
        all=len(listing.points),
        statuses=sorted({point.status for point in listing.points}),
        vaults=sorted({point.vault for point in listing.points}),
    )
