"""What a drill came to, in words for people who do not know the project; and numbers as people read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from restore_proof.verdict import Depth, Result

MEANING = {
    Result.PROVEN: "What comes back from this recovery point is right.",
    Result.PROVEN_DRIFTING: "What comes back from this recovery point is right, as far as it can be known.",
    Result.UNPROVEN: "Nothing is known to be wrong with this recovery point, but it is not proven either.",
    Result.FAILED: "Do not rely on this recovery point before the reasons below are dealt with.",
}
NOT_LOOKED = "The drill broke off before the data was compared. It says nothing about what the recovery point holds."


def meaning(document: Mapping[str, Any]) -> str:
    """Say in one sentence what the verdict of a pack means."""
    result = Result(document["verdict"]["result"])
    if result is Result.FAILED and document["comparison"] is None:
        return NOT_LOOKED
    return MEANING[result]


def story(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Tell what was done and found, as paragraphs."""
    verdict = document["verdict"]
    made = document["backup"].get("created_at")
    of_when = f" of {moment(made)}" if isinstance(made, str) else ""
    restored = (
        f"A recovery point{of_when} of table {verdict['table_name']} was restored to a new table, "
        f"{verdict['restored_table_name']}. The table itself was not touched."
    )
    if document["comparison"] is None:
        restored = f"A drill of a recovery point{of_when} of table {verdict['table_name']} was begun."
    return (restored, _found(document))


def _found(document: Mapping[str, Any]) -> str:
    comparison = document["comparison"]
    if comparison is None:
        return "No restored data was held against what the table held."
    compared, proven = comparison["compared"], comparison["proven"]
    what = _looked_at(Depth(document["verdict"]["depth"]), compared)
    wrong = [
        f"{comparison[name]:,} {words}"
        for name, words in (
            ("missing", "did not come back"),
            ("extra", "should not be there"),
            ("changed", "came back otherwise than they were"),
        )
        if comparison[name]
    ]
    if wrong:
        return f"{what} Of the items, {', '.join(wrong)}."
    if proven is None:
        return what
    right = f"{what} {proven:,} came back exactly as they were: the same keys, attributes, types and values."
    unverifiable = comparison["unverifiable"]
    if not comparison["drifting"]:
        return right
    told = (
        f"{right} The table was being written to while it was backed up; {unverifiable or 0:,} items changed meanwhile "
        "in a way that lets nobody say which version had to come back."
    )
    deleted, added = (comparison.get(name) or 0 for name in ("absent_deleted", "absent_added"))
    if not deleted + added:
        return told
    return (
        f"{told} {deleted + added:,} are absent from the restored table: {deleted:,} that were deleted meanwhile and "
        f"{added:,} that were added. They may have been so when the backup was taken."
    )


def _looked_at(depth: Depth, compared: int | None) -> str:
    if depth is Depth.SCHEMA:
        return "Keys, indexes and settings were compared, and no item."
    if compared is None:
        return "The contents were compared as a whole."
    return {
        Depth.FULL: f"Every item was compared, {compared:,} in all.",
        Depth.SAMPLED: f"A random sample of {compared:,} items was compared.",
        Depth.CANARY: f"{compared:,} items that had been written for this purpose were compared.",
    }[depth]


def moment(text: str) -> str:
    """Return an ISO 8601 time as people read it, in UTC to the second; anything else as it is."""
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return parsed.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if parsed.tzinfo is not None else text


def duration(seconds: float) -> str:
    """Return a time span as people read it; a negative one with its sign."""
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    said = " ".join(f"{value} {unit}" for value, unit in parts if value)
    return f"-{said}" if seconds < 0 else said


def label(name: str) -> str:
    """Return a field's name as a reader knows it: ``completion_date`` is ``completion date``."""
    return name.replace("_", " ").replace(" arn", " ARN").replace("usd", "USD").replace("rcu", "RCU")


def value(content: object) -> str:
    """Return a plain value as people read it."""
    if content is None or content == "":
        return "–"  # noqa: RUF001
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, int):
        return f"{content:,}"
    if isinstance(content, float):
        return f"{content:,.6f}".rstrip("0").rstrip(".")
    if isinstance(content, list | tuple):
        return ", ".join(value(each) for each in content) or "–"  # noqa: RUF001
    return moment(str(content))
