"""Why each recovery point is kept, from the plan that retention made last.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backup_console_app.reading import mappings, moment, text, texts
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
        decisions: by ARN.
    """

    key: str
    made_at: dt.datetime | None
    decisions: Mapping[str, Decision]

    def count(self, verb: str) -> int:
        """Return how many points it keeps, deletes, or can't decide about."""
        return sum(decision.verb == verb for decision in self.decisions.values())


def latest_plan(world: World) -> Plan | None:
    """Return the newest plan of the DAG ``retention_cleanup``, or None if there is none."""
    pointer = world.document(POINTER)
    key = text(pointer, "plan") or text(pointer, "key")
    if key is None:
        return None
    key = key.removeprefix(f"s3://{world.bucket}/")
    return world.kept(
        ("plan", key), lambda: _plan(key, world.document(key, seconds=0), pointer), seconds=300, weigh=_weight
    )


def _weight(plan: Plan | None) -> int:
    return len(plan.decisions) if plan is not None else 1


def _plan(key: str, document: Any, pointer: Any) -> Plan | None:
    if not isinstance(document, Mapping):
        return None
    lists = document if any(verb in document for verb in VERBS) else document.get("plan")
    return Plan(
        key=key,
        made_at=next(
            (
                at
                for source in (document, pointer)
                for name in ("now", "planned_at", "made_at", "as_of")
                if (at := moment(source, name)) is not None
            ),
            None,
        ),
        decisions={
            str(entry["arn"]): Decision(
                verb=verb,
                rules=tuple(texts(entry, "rules")),
                reasons=tuple(texts(entry, "reasons")),
                free_at=moment(entry, "free_at"),
                approval=text(entry, "approval"),
            )
            for verb in VERBS
            for entry in mappings(lists, verb)
            if "arn" in entry
        },
    )
