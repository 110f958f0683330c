"""What a drill is called, and what it came to: one verdict for each (date, table, intention).

A drill's name is made of nothing but what is the same at every attempt: run, recovery point, and the ``force_new``
word, if one was given. So a run that is cleared, retried or reprocessed by a backfill finds what it chose and what it
came to. A verdict that rests on a look at the restored data stands. One that a drill left which never came so far
(its restore failed, its process died) does not: the next attempt is another drill, ``<name>-2`` and so on, with a
verdict and evidence of its own, so that nothing of what was recorded is ever written over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from backup_flows.as_of import run_key
from backup_flows.evidence import is_decided, read_verdict
from backup_flows.keys import drill_choice_key, drill_verdict_key
from backup_flows.store import get_json, put_json, put_once
from restore_proof.verdict import Verdict


def intended_run(run_id: str, force: str | None) -> str:
    """Return what stands for a run in the names of its drills.

    :param force: the ``force_new`` word (:func:`aws_backup.intents.force_key`); a new word makes new drills.
    """
    return f"{run_id}#{force}" if force else run_id


def drill_name(dag_id: str, run_id: str, force: str | None, recovery_point_arn: str) -> str:
    """Return a drill's name, eight hex digits."""
    return run_key(dag_id, f"{intended_run(run_id, force)}/{recovery_point_arn}")


@dataclass(frozen=True)
class Standing:
    """What a drill came to so far.

    Attributes:
        drill_id: of its last verdict; None: there is none.
        verdict: the last one.
        next_id: under which the next attempt is recorded.
    """

    drill_id: str | None
    verdict: Verdict | None
    next_id: str

    @property
    def decided(self) -> Verdict | None:
        """The verdict that stands, if one does."""
        return self.verdict if self.verdict is not None and is_decided(self.verdict) else None


def standing_of(s3: Any, order: dict[str, Any]) -> Standing:
    """Return what a drill came to so far.

    :param order: the drill, as ``choose`` hands it on.
    """
    name, number = order["run_key"], 1
    last: tuple[str | None, Verdict | None] = (None, None)
    while True:
        drill_id = name if number == 1 else f"{name}-{number}"
        verdict = verdict_of(s3, order, drill_id)
        if verdict is None:
            return Standing(*last, next_id=drill_id)
        last, number = (drill_id, verdict), number + 1


def verdict_of(s3: Any, order: dict[str, Any], drill_id: str) -> Verdict | None:
    """Return the verdict that one attempt of a drill left, if it left one."""
    arn = order["chosen"]["recovery_point_arn"]
    return read_verdict(s3, order["bucket"], drill_verdict_key(order["table"], arn, order["as_of"], drill_id))


def standing_choice(s3: Any, bucket: str, *, as_of: str, key: str) -> list[dict[str, Any]] | None:
    """Return what a run chose at its first attempt, if it did."""
    document = get_json(s3, bucket, drill_choice_key(as_of, key))
    return list(document["chosen"]) if document is not None else None


def keep_choice(
    s3: Any, bucket: str, *, as_of: str, key: str, run: tuple[str, str], chosen: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Put on record what a run chose; the first choice stands, whatever the vaults hold at a later attempt.

    From then on, and until the run is over, retention lets the recovery points be: they may wait long for a restore.

    :param run: its dag_id and run_id.
    :return: the choice that stands.
    """
    document = {"dag_id": run[0], "run_id": run[1], "chosen": chosen}
    body = json.dumps(document, indent=2, sort_keys=True).encode()
    if put_once(s3, bucket, drill_choice_key(as_of, key), body, content_type="application/json"):
        return chosen
    return standing_choice(s3, bucket, as_of=as_of, key=key) or chosen


def renew_choice(s3: Any, bucket: str, *, as_of: str, key: str) -> None:
    """Let the record of a choice that stands be new: what looks for drills that are not over reads no old ones."""
    document = get_json(s3, bucket, drill_choice_key(as_of, key))
    if document is not None:
        put_json(s3, bucket, drill_choice_key(as_of, key), document)
