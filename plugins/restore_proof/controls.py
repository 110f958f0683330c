"""What a drill's evidence says about the controls that auditors ask for, in plain words, and what it does not say.

The wording is this project's own, and no legal advice; the sources are:

- SOC 2: the AICPA's Trust Services Criteria, A1.3
- ISO/IEC 27001:2022, Annex A, control 8.13
- DORA: Regulation (EU) 2022/2554, article 12, https://eur-lex.europa.eu/eli/reg/2022/2554/oj
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from restore_proof.report_words import duration
from restore_proof.verdict import Depth, Result


@dataclass(frozen=True)
class Control:
    """One control, and what a drill says about it.

    Attributes:
        name: as auditors call it.
        asks: what it asks for.
        shows: what the drill shows.
        lacks: what nobody may conclude from it.
    """

    name: str
    asks: str
    shows: str
    lacks: str


def controls(document: Mapping[str, Any]) -> tuple[Control, ...]:
    """Return the controls that an evidence pack speaks to.

    Args:
        document: the pack.
    """
    verdict = document["verdict"]
    table, outcome = verdict["table_name"], _outcome(document)
    return (
        Control(
            "SOC 2, A1.3",
            "Recovery procedures are tested, so that systems can be brought back as promised.",
            f"On {verdict['decided_at'][:10]} the recovery of table {table} was tested. {outcome}",
            "Recovery of anything but this table: applications, rights, networks, people on call. That somebody "
            "reviewed the result and acted on it.",
        ),
        Control(
            "ISO/IEC 27001:2022, A.8.13",
            "Backup copies are kept and regularly tested, as a backup policy says.",
            f"One copy, the recovery point named below, was tested. {outcome} That copies are tested regularly shows "
            "in the chain of packs that this one belongs to.",
            "The policy itself, how long copies are kept, and that every table in need of a backup has one.",
        ),
        Control(
            "DORA, article 12",
            "Backup and restore procedures are tested periodically; recovery takes no longer than planned; the "
            "integrity of restored data is checked.",
            f"{_integrity(document)} {_time(document)}",
            "Recovery of a whole function, restoring to a system that is kept apart from the source's (the copy was "
            "made in the same account and Region), and whether the targets suit the function.",
        ),
    )


def _outcome(document: Mapping[str, Any]) -> str:
    result, depth = Result(document["verdict"]["result"]), Depth(document["verdict"]["depth"])
    if result in (Result.PROVEN, Result.PROVEN_DRIFTING):
        deep = "" if depth is Depth.FULL else f", as far as a proof of depth '{depth}' sees"
        return f"It was restored, and proven right{deep}."
    if result is Result.UNPROVEN:
        return "Nothing was found wrong, but too little could be verified: a test, not a successful one."
    if document["comparison"] is None:
        return "The test broke off before the data was compared: an attempt, whose reason for failing is on record."
    return "The test failed, and what failed is on record: a control that found something, not a successful recovery."


def _integrity(document: Mapping[str, Any]) -> str:
    comparison = document["comparison"]
    if comparison is None or comparison["compared"] is None:
        return "The integrity of the restored data was not checked."
    return f"{comparison['compared']:,} restored items were held, by hash, against what the source held."


def _time(document: Mapping[str, Any]) -> str:
    seconds = {phase["name"]: phase["seconds"] for phase in document["phases"]}.get("restore")
    if seconds is None:
        return "How long a restore takes was not measured."
    return f"The restore took {duration(seconds)}, by AWS's own times of its job."
