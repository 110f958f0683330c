"""Which recovery points are drilled, and in which order: pure choices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backup_flows.drills.errors import NoRecoveryPointError
from backup_flows.drills.points import Point

EXPIRES_SOON = dt.timedelta(days=7)
"""The drill's own period: what AWS deletes within it has no later run to be proven by."""


@dataclass(frozen=True)
class Proofs:
    """What is known of a table's proofs.

    Attributes:
        last_proven_at: when one of its points was proven last (aware); None: never.
        proven: ARNs of its points whose verdict that holds is a proven one.
        known: ARNs of its points that have a verdict at all.
    """

    last_proven_at: dt.datetime | None = None
    proven: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """A recovery point to drill, and why."""

    point: Point
    why: str


def newest_usable(points: Iterable[Point], *, table: str, before: dt.datetime) -> Point:
    """Return the newest point that can be restored, of those made before a moment.

    :param table: the table's name, for the message.
    :param before: aware.
    :raises NoRecoveryPointError: says what there is instead.
    """
    known = list(points)
    made = [point for point in known if point.created_at < before]
    usable = [point for point in made if point.usable]
    if usable:
        return max(usable, key=lambda point: (point.created_at, point.arn))
    raise NoRecoveryPointError(
        f"table {table} has no usable recovery point made before {before.isoformat()}: {_instead(known, made)}"
    )


def _instead(known: Sequence[Point], made: Sequence[Point]) -> str:
    if made:
        statuses = ", ".join(sorted({point.status for point in made}))
        return f"the {len(made)} made until then are {statuses}. Give a later as_of."
    if known:
        first = min(known, key=lambda point: point.created_at)
        return f"its first one that is still there was made at {first.created_at.isoformat()}. Give a later as_of."
    return "no vault holds any. Back it up with the DAG table_backup, or give a table that is backed up."


def risk_order(
    points: Mapping[str, Sequence[Point]], proofs: Mapping[str, Proofs], *, before: dt.datetime
) -> list[Choice]:
    """Return what to drill over many tables, the greatest risk first.

    1. Tables of which no recovery point was ever proven, those with the oldest usable point first: they have been
       unproven for longest. Of each the newest usable point.
    2. Tables that were proven once, the longest unproven first. Of each the newest usable point.
    3. Further points that AWS's lifecycle deletes within a week, that are unproven and that no newer proven point of
       their table replaces; the soonest lost first.

    :param points: of each table, by its name, in any order and of any status.
    :param proofs: of each table; one that is not there was never proven.
    :param before: only points made before this moment count (aware).
    """
    never: list[tuple[dt.datetime, str, Choice]] = []
    longest: list[tuple[dt.datetime, str, Choice]] = []
    expiring: list[tuple[dt.datetime, str, Choice]] = []
    for table, of_table in points.items():
        usable = sorted(
            (point for point in of_table if point.usable and point.created_at < before),
            key=lambda point: (point.created_at, point.arn),
        )
        if not usable:
            continue
        proof, newest = proofs.get(table, Proofs()), usable[-1]
        if proof.last_proven_at is None:
            never.append((usable[0].created_at, table, Choice(newest, "no point of the table was ever proven")))
        else:
            why = f"the table was proven last at {proof.last_proven_at.isoformat(timespec='seconds')}"
            longest.append((proof.last_proven_at, table, Choice(newest, why)))
        for point in _about_to_be_lost(usable, proof, before):
            if point is not newest and point.delete_at is not None:
                why = f"unproven, and AWS deletes it at {point.delete_at.isoformat(timespec='seconds')}"
                expiring.append((point.delete_at, point.arn, Choice(point, why)))
    return [choice for part in (never, longest, expiring) for _, _, choice in sorted(part, key=lambda e: e[:2])]


def _about_to_be_lost(usable: Sequence[Point], proof: Proofs, moment: dt.datetime) -> list[Point]:
    """Return the unproven points, oldest first as given, that go soon and that no newer proven one replaces."""
    newest_proven = max((point.created_at for point in usable if point.arn in proof.proven), default=None)
    return [
        point
        for point in usable
        if point.delete_at is not None
        and point.delete_at <= moment + EXPIRES_SOON
        and point.arn not in proof.known
        and (newest_proven is None or point.created_at > newest_proven)
    ]
