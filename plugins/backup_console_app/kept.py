"""Why each recovery point is kept, from the plan that retention made last.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backup_console_app.reading import counts, mappings, moment, text, texts
from backup_console_app.world import World

POINTER: Final = "retention/latest.json"
VERBS: Final = ("keep", "delete", "blocked")


@dataclass(frozen=True, slots=True)
class Decision:
    """What retention's plan says of a recovery point.

    Attributes:
        verb: keep, delete or blocked.
        rules: that applied.
        reasons: as sentences.
    """

    verb: str
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    free_at: dt.datetime | None = None
    approval: str | None = None


@dataclass(frozen=True)
class Plan:
    """A plan of retention.

    Attributes:
        made_at: the moment that it was made for.
        decisions: by ARN.
        rescues: by ARN, what is done or to be done so that AWS does not delete a point before it was proven.
    """

    key: str
    made_at: dt.datetime | None
    decisions: Mapping[str, Decision]
    rescues: Mapping[str, str]


@dataclass(frozen=True)
class Cleanup:
    """What the last cleanup came to, in short.

    Attributes:
        made_at: the moment that it was made for.
        mode: preview or apply.
        counts: of points and steps, by name.
        wrong: what a person has to look at.
        approval: why a person has to agree to its deletions.
    """

    made_at: dt.datetime | None
    mode: str | None
    run: str | None
    counts: Mapping[str, int]
    wrong: tuple[str, ...]
    approval: tuple[str, ...]


def latest_cleanup(world: World) -> Cleanup | None:
    """Return what the last run of the DAG ``retention_cleanup`` came to, or None if there was none."""
    pointer = world.document(POINTER)
    if pointer is None:
        return None
    return Cleanup(
        made_at=moment(pointer, "as_of"),
        mode=text(pointer, "mode"),
        run=text(pointer, "run"),
        counts=counts(pointer, "counts"),
        wrong=tuple(texts(pointer, "wrong")),
        approval=tuple(texts(pointer, "approval")),
    )


def latest_plan(world: World) -> Plan | None:
    """Return the newest plan of the DAG ``retention_cleanup``, or None if there is none."""
    pointer = world.document(POINTER)
    key = text(pointer, "plan")
    if key is None:
        return None
    return world.kept(("plan", key), lambda: _plan(key, world.document(key, seconds=0)), seconds=300, weigh=_weight)


def _weight(plan: Plan | None) -> int:
    return len(plan.decisions) if plan is not None else 1


def _plan(key: str, document: Any) -> Plan | None:
    if document is None:
        return None
    return Plan(
        key=key,
        made_at=moment(document, "as_of"),
        decisions={
            str(entry["arn"]): Decision(
                verb=verb,
                rules=tuple(texts(entry, "rules")),
                reasons=tuple(texts(entry, "reasons")),
                free_at=moment(entry, "free_at"),
                approval=text(entry, "approval"),
            )
            for verb in VERBS
            for entry in mappings(document, verb)
            if "arn" in entry
        },
        rescues={
            str(entry["arn"]): words
            for entry in mappings(document, "rescues")
            if "arn" in entry and (words := text(entry, "text")) is not None
        },
    )
