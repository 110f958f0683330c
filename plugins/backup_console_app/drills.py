"""Drills of a table, read from their evidence; and the verdict that holds for one recovery point.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from backup_console_app.paging import Page, cut
from backup_console_app.reading import at, mappings, moment, number, text, texts
from backup_console_app.world import FRESH, SETTLED, World
from backup_flows.keys import StateKeyError, verdict_key
from restore_proof.history import FOLDER, RESTORE, RTO_PARTS

PACK: Final = "pack.json"
REPORT: Final = "report.html"
DIFF: Final = "diff.jsonl"
PROVEN: Final = frozenset({"PROVEN", "PROVEN_DRIFTING"})
DRILLS_A_PAGE: Final = 15
LOOKED_BACK: Final = 20
"""Drills that are read to find a table's newest proof."""
_ATTEMPT: Final = re.compile(r"\.[0-9]+$")


@dataclass(frozen=True)
class Verdict:
    """What a proof came to.

    Attributes:
        label: ``PROVEN``, ``PROVEN@sampled`` and so on.
        result: the label without its depth.
        blind_to: what a proof of this depth can't see.
        run: ``<dag_id>/<run_id>``.
    """

    label: str
    result: str
    depth: str
    point_arn: str
    decided_at: dt.datetime | None = None
    run: str | None = None
    blind_to: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether it was proven right, be it while the source was drifting."""
        return self.result in PROVEN

    @classmethod
    def read(cls, document: Any) -> Verdict | None:
        """Take a verdict document; None for anything else."""
        label, arn = text(document, "label"), text(document, "recovery_point_arn")
        if label is None or arn is None:
            return None
        return cls(
            label=label,
            result=text(document, "result") or label.partition("@")[0],
            depth=text(document, "depth") or "full",
            point_arn=arn,
            decided_at=moment(document, "decided_at"),
            run=text(document, "run"),
            blind_to=text(document, "blind_to"),
            reasons=tuple(texts(document, "reasons")),
        )


@dataclass(frozen=True)
class Drill:
    """One drill, as its evidence tells it.

    Attributes:
        name: of its folder, ``<as_of>-<drill id>``.
        backed_up_at: when the recovery point was made.
        phases: seconds that each took, by name.
        usable_age: seconds; how old the table's newest usable recovery point was when the drill began.
        cost_usd: what it cost, by the price file.
        files: what there is to look at.
    """

    table: str
    name: str
    verdict: Verdict
    backed_up_at: dt.datetime | None = None
    requested_by: str | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    usable_age: float | None = None
    cost_usd: float | None = None
    files: tuple[str, ...] = (REPORT, PACK)

    @property
    def as_of(self) -> str:
        """The date that it stands for."""
        return self.name[:10]

    def phase(self, name: str) -> dt.timedelta | None:
        """Return how long a phase took, such as ``restore``."""
        seconds = self.phases.get(name)
        return dt.timedelta(seconds=seconds) if seconds is not None else None

    @property
    def rto(self) -> dt.timedelta | None:
        """How long it took until the restored table could have taken its source's place."""
        if RESTORE not in self.phases:
            return None
        return dt.timedelta(seconds=sum(self.phases.get(part, 0.0) for part in RTO_PARTS))


def drill_names(world: World, table: str) -> list[str]:
    """Return the names of a table's drills, newest date first."""
    names = world.kept(
        ("drills", table), lambda: world.folders(f"evidence/{table}/"), weigh=lambda found: len(found) // 10
    )
    return sorted(names, reverse=True)


def read_drills(world: World, table: str, names: Sequence[str]) -> list[Drill]:
    """Read drills; one whose pack is not there or is no pack is left out.

    Those of one date come newest verdict first: their names tell the date only.
    """
    found = world.each(lambda name: _read(world, table, name), names)
    never = dt.datetime.min.replace(tzinfo=dt.UTC)
    return sorted(
        (drill for drill in found if drill is not None),
        key=lambda drill: (drill.as_of, drill.verdict.decided_at or never),
        reverse=True,
    )


def drills_page(world: World, table: str, *, page: int = 1) -> Page[Drill]:
    """Return one page of a table's drills, newest first."""
    shown = cut(drill_names(world, table), page, DRILLS_A_PAGE)
    return shown.of(read_drills(world, table, shown.entries))


def _read(world: World, table: str, name: str) -> Drill | None:
    # A second attempt of a drill has a folder of its own, numbered, and the drill's one place in the history.
    record = f"{FOLDER}/{table}/{_ATTEMPT.sub('', name)}.json"

    def read() -> Drill | None:
        pack = world.document(f"evidence/{table}/{name}/{PACK}", seconds=0)
        return _drill(table, name, pack, world.document(record, seconds=0))

    # Its documents are written once; a summary of them is all that is kept. One that is being written has no pack yet.
    return world.kept(("drill", table, name), read, seconds=lambda drill: FRESH if drill is None else SETTLED)


def _drill(table: str, name: str, pack: Any, record: Any) -> Drill | None:
    verdict = Verdict.read(at(pack, "verdict"))
    if verdict is None:
        return None
    compared = at(pack, "comparison") is not None
    return Drill(
        table=table,
        name=name,
        verdict=verdict,
        backed_up_at=moment(pack, "backup", "created_at"),
        requested_by=text(pack, "requested_by"),
        phases={
            str(phase["name"]): seconds
            for phase in mappings(pack, "phases")
            if "name" in phase and (seconds := number(phase, "seconds")) is not None
        },
        usable_age=number(record, "rpo", "newest_usable"),
        cost_usd=number(record, "cost_usd", "actual"),
        files=(REPORT, PACK, *((DIFF,) if compared else ())),
    )


def newest_drills(world: World, table: str) -> tuple[Drill | None, Drill | None]:
    """Return a table's newest drill, and its newest that was proven, if one of the last twenty was."""
    names = drill_names(world, table)
    first = read_drills(
        world, table, names[:1] and [name for name in names if name[:10] == names[0][:10]][:LOOKED_BACK]
    )
    newest = first[0] if first else None
    proven = next((drill for drill in first if drill.verdict.is_proven), None)
    if proven is None:
        rest = read_drills(world, table, names[:LOOKED_BACK])
        newest = newest or (rest[0] if rest else None)
        proven = next((drill for drill in rest if drill.verdict.is_proven), None)
    return newest, proven


def point_verdict(world: World, table: str, point_arn: str) -> Verdict | None:
    """Return the verdict that holds for a recovery point; None where it was never proven."""
    try:
        key = verdict_key(table, point_arn)
    except StateKeyError:
        return None
    return Verdict.read(world.document(key))
