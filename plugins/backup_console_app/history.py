"""RPO and RTO of a table over its last drills, as charts against their targets.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backup_console_app.charts import Chart, Measured, chart
from backup_console_app.drills import Drill, drill_names, read_drills
from backup_console_app.world import World
from backup_flows.protection import ProtectedTable

CHARTED: Final = 90
"""Drills: as many dots as a chart of this size can tell apart."""


def charts(world: World, table: ProtectedTable) -> list[Chart]:
    """Return the charts of a table's last drills; none where there was none."""
    drills = read_drills(world, table.name, drill_names(world, table.name)[:CHARTED])
    rule = table.rule
    drawn = [
        chart("Age of the recovery point when it was proven, against RPO", _ages(drills), rule.rpo),
        chart("Time to restore, against RTO", _restores(drills), rule.rto),
    ]
    return [one for one in drawn if one.dots]


def _ages(drills: Sequence[Drill]) -> list[Measured]:
    return [
        Measured(drill.verdict.decided_at, drill.point_age.total_seconds(), drill.as_of, drill.verdict.is_proven)
        for drill in drills
        if drill.verdict.decided_at is not None and drill.point_age is not None
    ]


def _restores(drills: Sequence[Drill]) -> list[Measured]:
    return [
        Measured(drill.verdict.decided_at, took.total_seconds(), drill.as_of, drill.verdict.is_proven)
        for drill in drills
        if drill.verdict.decided_at is not None and (took := drill.phase("restore")) is not None
    ]
