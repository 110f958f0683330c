"""What the DAG ``scheduled_backup_watch`` found, each with its remedy.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backup_console_app.reading import counts, mappings, moment, number, text, texts
from backup_console_app.world import SETTLED, World
from backup_flows.watch.report import Outcome, Status

REPORTS: Final = "watch/reports/"
REPORTS_SHOWN: Final = 40
LOOKED_BACK: Final = dt.timedelta(days=60)
MOODS: Final[Mapping[Outcome, str]] = {Outcome.GOOD: "good", Outcome.UNKNOWN: "unsure", Outcome.BROKEN: "bad"}


@dataclass(frozen=True)
class Finding:
    """One backup that was due, or one table's target."""

    table: str
    status: str
    mood: str
    due: dt.datetime | None
    message: str | None
    causes: Sequence[str]
    remedies: Sequence[str]
    age_hours: float | None = None
    target_hours: float | None = None


@dataclass(frozen=True)
class Watched:
    """A report of the watch.

    Attributes:
        name: of its file, without folder and ending.
        findings: backups that were due, worst first.
        freshness: tables' targets, worst first.
    """

    name: str
    mood: str
    outcome: str
    start: dt.datetime | None
    end: dt.datetime | None
    counts: Mapping[str, int]
    findings: Sequence[Finding]
    freshness: Sequence[Finding]
    orphans: int
    orphan_remedy: str | None


def report_names(world: World) -> list[str]:
    """Return the names of the last reports, newest first."""
    after = f"{REPORTS}{(world.now - LOOKED_BACK):%Y-%m-%d}"
    keys = world.kept(("reports",), lambda: world.keys(REPORTS, after=after))
    names = [key.removeprefix(REPORTS).removesuffix(".json") for key in keys]
    # Of periods that end alike, the shortest last: its start is the latest.
    return sorted(names, key=lambda name: name.split("_")[::-1], reverse=True)[:REPORTS_SHOWN]


def watched(world: World, name: str) -> Watched | None:
    """Return a report, by one of the names that `report_names` gave; None for any other."""
    if name not in report_names(world):
        return None
    document = world.document(f"{REPORTS}{name}.json", seconds=SETTLED if name != report_names(world)[0] else 15.0)
    if document is None:
        return None
    outcome = text(document, "outcome") or str(Outcome.UNKNOWN)
    return Watched(
        name=name,
        mood=MOODS.get(Outcome(outcome), "unsure") if outcome in set(Outcome) else "unsure",
        outcome=outcome,
        start=moment(document, "period_start"),
        end=moment(document, "period_end"),
        counts=counts(document, "counts"),
        findings=_findings(document, "findings"),
        freshness=_findings(document, "freshness"),
        orphans=int(number(document, "orphans") or 0),
        orphan_remedy=text(document, "orphan_remedy"),
    )


def latest_watched(world: World) -> Watched | None:
    """Return the newest report, or None if the watch never ran."""
    names = report_names(world)
    return watched(world, names[0]) if names else None


def _findings(document: Any, part: str) -> list[Finding]:
    found = [
        Finding(
            table=text(entry, "table") or "?",
            status=text(entry, "status") or "UNKNOWN",
            mood=_mood(text(entry, "status")),
            due=moment(entry, "due"),
            message=text(entry, "message"),
            causes=texts(entry, "causes"),
            remedies=texts(entry, "remedies"),
            age_hours=number(entry, "age"),
            target_hours=number(entry, "target"),
        )
        for entry in mappings(document, part)
    ]
    return sorted(found, key=lambda finding: (["bad", "unsure", "good"].index(finding.mood), finding.table))


def _mood(status: str | None) -> str:
    return MOODS[Status(status).outcome] if status in set(Status) else "unsure"
