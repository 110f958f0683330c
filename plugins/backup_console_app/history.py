"""RPO and RTO of a table over its last drills, as charts against their targets.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from backup_console_app.charts import Chart, Measured, chart
from backup_console_app.drills import Drill, drill_names, read_drills
from backup_console_app.world import World
from backup_flows.protection import ProtectedTable

Drills = Sequence[tuple[dt.datetime, Drill]]

CHARTED: Final = 90
"""Drills: as many dots as a chart of this size can tell apart."""


def charts(world: World, table: ProtectedTable) -> list[Chart]:
    """Return the charts of a table's last drills; none where there was none."""
    drills = [
        (at, drill)
        for drill in read_drills(world, table.name, drill_names(world, table.name)[:CHARTED])
        if (at := drill.verdict.decided_at) is not None
    ]
    drills.sort(key=lambda pair: pair[0])
    rule = table.rule
    drawn = [
        chart("Age of the newest proven recovery point, against RPO", _proven_ages(drills), rule.rpo),
        chart("Age of the newest usable recovery point, against RPO", _usable_ages(drills), rule.rpo),
        chart("Time to restore, against RTO", _restores(drills), rule.rto),
    ]
    return [one for one in drawn if one.dots]


def _proven_ages(drills: Drills) -> list[Measured]:
    """Return how old the newest recovery point was of those that had been proven by then, at each drill."""
    newest: dt.datetime | None = None
    found = []
    for at, drill in drills:
        made = drill.backed_up_at
        if drill.verdict.is_proven and made is not None:
            newest = max(newest or made, made)
        if newest is not None:
            found.append(_measured(at, drill, (at - newest).total_seconds()))
    return found


def _usable_ages(drills: Drills) -> list[Measured]:
    return [_measured(at, drill, drill.usable_age) for at, drill in drills if drill.usable_age is not None]


def _restores(drills: Drills) -> list[Measured]:
    return [_measured(at, drill, took.total_seconds()) for at, drill in drills if (took := drill.rto) is not None]


def _measured(at: dt.datetime, drill: Drill, seconds: float) -> Measured:
    return Measured(at, max(0.0, seconds), f"{drill.as_of}, {drill.verdict.label}", drill.verdict.is_proven)
