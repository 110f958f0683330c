"""The month's spending on drills, and the limit that stops a drill before it starts.

Layout below the bucket, each amount in millionths of a dollar, so that listing the month is enough to sum it::

    spending/<YYYY-MM>/<table>/<as_of>-<drill id>/estimated-<amount>.json    a drill that is about to start
    spending/<YYYY-MM>/<table>/<as_of>-<drill id>/actual-<amount>.json       the same when it is over; it goes first

A drill reserves what it is expected to cost *before* it looks at what the others have. S3 lists what was written
before, so of drills that start side by side each sees those that reserved before it looked: together they never pass
the limit. Two that meet at its edge may both be refused, though one of them would have fitted; the next run tries
again. A drill that is lost before its end stays counted as it was expected to be.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from backup_flows.keys import spending_key, spending_prefix
from backup_flows.store import get_json, put_json, put_once

MICRO: Final = 1_000_000

Kind = Literal["estimated", "actual"]
_NAME: Final = re.compile(r"(?P<drill>.+)/(?P<kind>estimated|actual)-(?P<amount>[0-9]+)\.json")


class OverBudgetError(RuntimeError):
    """A drill would take the month's spending over its limit; the message names both, and the remedy."""


@dataclass(frozen=True)
class Drilled:
    """Which drill something is about."""

    table: str
    as_of: str
    drill_id: str


def month_of(moment: dt.datetime) -> str:
    """Return the month that pays for what is done at a moment, ``YYYY-MM`` (UTC, as AWS bills)."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m")


def note_spending(
    s3: Any, bucket: str, month: str, drilled: Drilled, kind: Kind, usd: float, details: Mapping[str, Any]
) -> None:
    """Put on record what a drill is expected to cost, or did.

    Args:
        details: the sum in its parts (`restore_proof.costs.Cost.to_dict`).
    """
    put_json(s3, bucket, _key(month, drilled, kind, usd), dict(details))


def spending(s3: Any, bucket: str, month: str, *, besides: Drilled | None = None) -> float:
    """Return what the drills of a month come to, in dollars: as far as they are over, what they did cost.

    Args:
        besides: a drill that is left out.
    """
    prefix = spending_prefix(month)
    own = _folder(month, besides).removeprefix(prefix).removesuffix("/") if besides else None
    amounts: dict[str, dict[str, int]] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            found = _NAME.fullmatch(entry["Key"].removeprefix(prefix))
            if found is not None and found["drill"] != own:
                of_drill = amounts.setdefault(found["drill"], {})
                of_drill[found["kind"]] = max(of_drill.get(found["kind"], 0), int(found["amount"]))
    return sum(of_drill.get("actual", of_drill.get("estimated", 0)) for of_drill in amounts.values()) / MICRO


def spent_on(s3: Any, bucket: str, month: str, drilled: Drilled) -> list[dict[str, Any]]:
    """Return what was put on record of what a drill did cost, as often as it was."""
    answer = s3.list_objects_v2(Bucket=bucket, Prefix=f"{_folder(month, drilled)}actual-")
    documents = (get_json(s3, bucket, entry["Key"]) for entry in answer.get("Contents", []))
    return [document for document in documents if document is not None]


def reserve(
    s3: Any, bucket: str, month: str, drilled: Drilled, usd: float, *, limit: float | None, details: Mapping[str, Any]
) -> float | None:
    """Reserve what a drill is expected to cost.

    Args:
        usd: what it is expected to cost.
        limit: dollars that the drills of a month may cost; None: any.
        details: the estimate in its parts.

    Returns:
        What the month's other drills come to; None where there is no limit.

    Raises:
        OverBudgetError: it would take the month over the limit. What this call reserved is withdrawn; what the drill
            had reserved before stays, because it may have been started on the strength of that.
    """
    key = _key(month, drilled, "estimated", usd)
    body = json.dumps(dict(details), indent=2, sort_keys=True).encode()
    reserved = put_once(s3, bucket, key, body, content_type="application/json")
    if not reserved:
        # A conditional write is refused, too, where another one was under way: without this nothing might stand there.
        note_spending(s3, bucket, month, drilled, "estimated", usd, details)
    if limit is None:
        return None
    others = spending(s3, bucket, month, besides=drilled)
    if round((others + usd) * MICRO) > round(limit * MICRO):
        if reserved:
            s3.delete_object(Bucket=bucket, Key=key)
        raise OverBudgetError(
            f"the drill of table {drilled.table} is expected to cost {usd:.4f} $, and the drills of {month} come to "
            f"{others:.4f} $: more than the {limit:.2f} $ that budget.monthly_usd allows in include/protection.yaml. "
            "Nothing was restored. Raise it and clear this task, or let a run of the next month do the drill."
        )
    return others


def _folder(month: str, drilled: Drilled) -> str:
    return _key(month, drilled, "actual", 0).rpartition("/")[0] + "/"


def _key(month: str, drilled: Drilled, kind: Kind, usd: float) -> str:
    return spending_key(
        month, drilled.table, drilled.as_of, drilled.drill_id, f"{kind}-{max(0, round(usd * MICRO)):012}"
    )
