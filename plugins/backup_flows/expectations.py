"""What is put on record before a drill starts, for the evidence it leaves: targets, newest backup, expected cost.

It lies beside the drill's evidence, as ``expected.json``, with the prices that held: so the cost afterwards is
reckoned by the same ones, and whoever records the verdict needs no more than the bucket. A drill without it is
recorded all the same; its history then has no targets and no cost.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from backup_flows.budget import Drilled, month_of, note_spending, spent_on
from backup_flows.costs import actual_work, is_paid
from backup_flows.keys import evidence_prefix, history_key
from backup_flows.store import get_json, put_bytes, put_json
from restore_proof.costs import Cost, Work, cost_of, work_from_dict, work_to_dict
from restore_proof.evidence import Drill
from restore_proof.history import Surroundings, Targets, make_record
from restore_proof.prices import Prices, parse_prices
from restore_proof.verdict import Verdict

log = logging.getLogger(__name__)

EXPECTED: Final = "expected.json"
COUNTED_RESTORE: Final = "counted_restore"
"""Names, in what an attempt did cost, the restore job that is in the sum; null: it counted none, or shares one."""


@dataclass(frozen=True)
class Expectation:
    """What holds when a drill starts.

    Attributes:
        looked_at: when it was put together (aware).
        targets: of the table; None: no entry of ``protection.yaml`` fits it.
        newest_usable_at: when the table's newest recovery point that can be restored was made (aware).
        work: what the drill is going to use.
        prices: None: they are not known, and so the cost is not.
        region: where the table is.
    """

    looked_at: dt.datetime
    targets: Targets | None = None
    newest_usable_at: dt.datetime | None = None
    work: Work = field(default_factory=Work)
    prices: Prices | None = None
    region: str | None = None

    @property
    def estimate(self) -> Cost | None:
        """What the drill is expected to cost."""
        return cost_of(self.work, self.prices, region=self.region) if self.prices is not None else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        estimate, targets = self.estimate, self.targets
        return {
            "looked_at": self.looked_at.isoformat(),
            "targets": {"rpo_seconds": targets.rpo.total_seconds(), "rto_seconds": targets.rto.total_seconds()}
            if targets
            else None,
            "newest_usable_at": self.newest_usable_at.isoformat() if self.newest_usable_at else None,
            "work": work_to_dict(self.work),
            "prices": self.prices.model_dump(mode="json") if self.prices else None,
            "region": self.region,
            "estimate": estimate.to_dict() if estimate is not None else None,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Expectation:
        """Return what `to_dict` wrote."""
        targets, newest = document["targets"], document["newest_usable_at"]
        return cls(
            looked_at=dt.datetime.fromisoformat(document["looked_at"]),
            targets=Targets(*(dt.timedelta(seconds=targets[f"{name}_seconds"]) for name in ("rpo", "rto")))
            if targets
            else None,
            newest_usable_at=dt.datetime.fromisoformat(newest) if newest else None,
            work=work_from_dict(document["work"]),
            prices=parse_prices(document["prices"]) if document["prices"] else None,
            region=document["region"],
        )


def keep_expectation(s3: Any, bucket: str, prefix: str, expectation: Expectation) -> None:
    """Put it beside the drill's evidence (:func:`backup_flows.keys.evidence_prefix`)."""
    put_json(s3, bucket, f"{prefix}{EXPECTED}", expectation.to_dict())


def read_expectation(s3: Any, bucket: str, prefix: str) -> Expectation | None:
    """Return what was expected of a drill; None where nobody said, or where it can't be read.

    A verdict must not be lost for want of it, so one that can't be read is logged and counts as none.
    """
    document = get_json(s3, bucket, f"{prefix}{EXPECTED}")
    if document is None:
        return None
    try:
        return Expectation.from_dict(document)
    except (KeyError, TypeError, ValueError) as error:
        log.warning("s3://%s/%s%s can't be read, so the drill has no cost: %r", bucket, prefix, EXPECTED, error)
        return None


def surroundings_of(s3: Any, bucket: str, verdict: Verdict, drill: Drill, *, ended_at: dt.datetime) -> Surroundings:
    """Return what held around a drill that is over, with what it was expected to cost and did.

    Args:
        verdict: what it came to.
        drill: what was done.
        ended_at: now (aware).
    """
    drilled = Drilled(verdict.subject.table_name, verdict.subject.as_of, drill.drill_id)
    job_id = drill.restore.get("job_id")
    expectation = read_expectation(s3, bucket, evidence_prefix(drilled.table, drilled.as_of, drilled.drill_id))
    if expectation is None:
        return Surroundings(restore_job_id=job_id)
    cost, estimate = None, expectation.estimate
    if expectation.prices is not None:
        work = actual_work(
            expectation.work,
            restore=drill.restore,
            figures=drill.figures,
            ended_at=ended_at,
            restored_before=_restored_before(s3, bucket, drilled, job_id),
        )
        cost = cost_of(work, expectation.prices, region=expectation.region)
    return Surroundings(
        targets=expectation.targets,
        newest_usable_at=expectation.newest_usable_at,
        looked_at=expectation.looked_at,
        estimate=estimate.to_dict() if estimate is not None else None,
        cost=cost.to_dict() if cost is not None else None,
        restore_job_id=job_id,
    )


def keep_history(
    s3: Any, bucket: str, verdict: Verdict, drill: Drill, around: Surroundings, *, ended_at: dt.datetime
) -> None:
    """Put a drill that is over into its table's history, and what it did cost into its month's spending.

    Args:
        verdict: what it came to.
        drill: what was done.
        around: what :func:`surroundings_of` returned.
        ended_at: now (aware).
    """
    drilled = Drilled(verdict.subject.table_name, verdict.subject.as_of, drill.drill_id)
    key = history_key(drilled.table, drilled.as_of, drilled.drill_id)
    put_bytes(s3, bucket, key, make_record(verdict, drill, around).to_json(), content_type="application/json")
    if around.cost is not None:
        # The month that reserved it: a drill over the turn of the month is not paid for twice.
        month = month_of(around.looked_at or ended_at)
        job_id = around.restore_job_id
        counted = is_paid(drill.restore) and _restored_before(s3, bucket, drilled, job_id) is None
        details = {**around.cost, COUNTED_RESTORE: job_id if counted else None}
        note_spending(s3, bucket, month, drilled, "actual", around.cost["total_usd"], details)


def _restored_before(s3: Any, bucket: str, drilled: Drilled, job_id: str | None) -> str | None:
    """Return the earlier attempt of a drill that did count the same restore job, if there is one.

    One that ended before there was a restore to count, or a price to count it by, did not.

    Attempts are called ``<name>``, ``<name>-2`` and so on (:mod:`backup_flows.drills.ledger`).
    """
    name, dash, number = drilled.drill_id.rpartition("-")
    if job_id is None or not dash or not number.isdecimal():
        return None
    for attempt in (name, *(f"{name}-{earlier}" for earlier in range(2, int(number)))):
        earlier_drill = replace(drilled, drill_id=attempt)
        expectation = read_expectation(s3, bucket, evidence_prefix(drilled.table, drilled.as_of, attempt))
        if expectation is None:
            continue
        spent = spent_on(s3, bucket, month_of(expectation.looked_at), earlier_drill)
        if any(details.get(COUNTED_RESTORE) == job_id for details in spent):
            return attempt
    return None
