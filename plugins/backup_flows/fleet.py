"""The backup of many tables in one run: who is backed up, what was started, how each table ended.

State lies in S3 below ``fleet/<as_of>-<run>/``, since a thousand tables are no matter for XCom::

    tables.json          what the run is to back up, decided once
    leases.json          which tables the run holds, and which it could not get
    before/<shard>.json  fingerprints before the jobs, or why there is none
    jobs.json            the job of each table, or why there is none
    ended.json           how each job ended
    bound/<shard>.json   what is bound to each recovery point, or why nothing is
    summary.json         all of it in one

A table that fails anywhere fails alone: its reason is kept, and the summary names it.
"""

from __future__ import annotations

import datetime as dt
import heapq
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from backup_flows.protection import ProtectedTable
from backup_flows.store import get_json, put_json

log = logging.getLogger(__name__)

MAX_SHARDS = 64
"""Mapped tasks that fingerprint the tables, at most: far below Airflow's limit, however many tables there are."""
TABLES_A_SHARD = 8
"""A shard of fewer tables would cost more in starting its task than it saves."""

ADOPTED_POINT = "adopted the recovery point of the date"
BACKED_UP = "backed up"


class FleetStateError(LookupError):
    """A document of the run is not in S3; the message names the key and the task that writes it."""


class TablesFailedError(RuntimeError):
    """Some tables of the run were not backed up; the message names each with its reason."""


@dataclass(frozen=True)
class FleetTable:
    """One table to be backed up.

    Attributes:
        lifecycle: as AWS Backup takes it.
        size_bytes: as DynamoDB told it, hours old; only to spread the work.
        proof: how deep its restores are proven (:class:`backup_flows.protection_proof.ProofSettings` as a dict).
    """

    name: str
    arn: str
    vault: str
    tier: str
    lifecycle: dict[str, int]
    start_minutes: int
    completion_minutes: int
    size_bytes: int = 0
    proof: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, protected: ProtectedTable, *, stack_vault: str, size_bytes: int) -> FleetTable:
        """Return the table as ``protection.yaml`` wants it backed up."""
        rule = protected.rule
        return cls(
            name=protected.name,
            arn=protected.arn,
            vault=rule.vault_or(stack_vault),
            tier=rule.tier,
            lifecycle=rule.lifecycle,
            start_minutes=rule.start_minutes,
            completion_minutes=rule.completion_minutes,
            size_bytes=size_bytes,
            proof=rule.proof.to_dict(),
        )


@dataclass(frozen=True)
class FleetState:
    """The documents of one run.

    Attributes:
        prefix: ends with a slash.
    """

    s3: Any
    bucket: str
    prefix: str

    def put(self, name: str, document: Any) -> str:
        """Write a document and return its ``s3://`` address."""
        return put_json(self.s3, self.bucket, f"{self.prefix}{name}", document)

    def find(self, name: str) -> dict[str, Any] | None:
        """Return a document, or None if it is not there."""
        return get_json(self.s3, self.bucket, f"{self.prefix}{name}")

    def get(self, name: str, *, written_by: str) -> dict[str, Any]:
        """Return a document.

        :raises FleetStateError: it is not there.
        """
        document = self.find(name)
        if document is None:
            raise FleetStateError(
                f"s3://{self.bucket}/{self.prefix}{name} is missing: the task {written_by} writes it. Clear that task."
            )
        return document

    def tables(self) -> list[FleetTable]:
        """Return the tables of the run."""
        return [FleetTable(**entry) for entry in self.get("tables.json", written_by="choose_tables")["tables"]]

    def gathered(self, name: str, shards: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the documents of all shards as one; what a shard did not write is left out."""
        found: dict[str, Any] = {}
        for shard in shards:
            found.update(self.find(f"{name}/{shard['index']:02d}.json") or {})
        return found


def spread(tables: Sequence[FleetTable], *, max_shards: int = MAX_SHARDS) -> list[list[str]]:
    """Spread tables over shards of about equal size: the largest table first, always to the lightest shard.

    :return: names by shard.
    """
    count = min(max_shards, -(-len(tables) // TABLES_A_SHARD))
    shards: list[list[str]] = [[] for _ in range(count)]
    weights = [(0, index) for index in range(count)]
    for table in sorted(tables, key=lambda table: (-table.size_bytes, table.name)):
        weight, index = heapq.heappop(weights)
        shards[index].append(table.name)
        # An empty table costs some requests all the same.
        heapq.heappush(weights, (weight + max(table.size_bytes, 100_000), index))
    return shards


def fault(error: BaseException) -> dict[str, str]:
    """Return an error as what a table's document keeps of it."""
    return {"error": str(error) or type(error).__name__, "error_type": type(error).__name__}


def each(names: Iterable[str], do: Callable[[str], dict[str, Any]], *, what: str) -> dict[str, dict[str, Any]]:
    """Do something for each table; what fails for one is kept as its result.

    :param what: for the log.
    """
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        try:
            results[name] = do(name)
        except Exception as error:
            log.exception("%s: %s failed", name, what)
            results[name] = fault(error)
    return results


@dataclass(frozen=True)
class Period:
    """The time that a run stands for, and whether it is over.

    Attributes:
        start: of the data interval (aware).
        due: when its backups are due: the interval's end.
        until: when the next run's backups are due.
    """

    start: dt.datetime
    due: dt.datetime
    until: dt.datetime

    @classmethod
    def of(cls, context: Mapping[str, Any], *, length: dt.timedelta, now: dt.datetime) -> Period:
        """Return a run's period; a run that was not scheduled stands for the time before now."""
        run = context["dag_run"]
        start, end = getattr(run, "data_interval_start", None), getattr(run, "data_interval_end", None)
        if start is None or end is None or end <= start or run.logical_date is None:
            return cls(now - length, now, now + length)
        return cls(start, end, end + (end - start))

    def is_past(self, now: dt.datetime) -> bool:
        """Say whether a backup made now would belong to a later run."""
        return now >= self.until


def choose(
    protected: Sequence[ProtectedTable], *, which: str, names: Sequence[str], period: Period
) -> list[ProtectedTable]:
    """Choose the tables that a run backs up.

    :param which: ``due`` (those whose schedule falls into the period), ``all``, or the name of a tier.
    :param names: only these tables; all if empty. A table that is asked for by name is due.
    :raises UnprotectedTablesError: a name is not that of a protected table.
    """
    unknown = sorted(set(names) - {table.name for table in protected})
    if unknown:
        raise UnprotectedTablesError(
            f"not protected, or not there: {', '.join(unknown)}. Add them to include/protection.yaml, or name one of: "
            f"{', '.join(table.name for table in protected) or '(none)'}."
        )
    if names:
        return [table for table in protected if table.name in set(names)]
    if which == "all":
        return list(protected)
    if which == "due":
        return [table for table in protected if table.rule.instants(period.start, period.due)]
    return [table for table in protected if table.rule.tier == which]


class UnprotectedTablesError(ValueError):
    """A run was asked to back up a table that ``protection.yaml`` does not protect."""


def recovery_point_of(points: Iterable[Mapping[str, Any]], period: Period) -> Mapping[str, Any] | None:
    """Return the recovery point of a past period: the first usable one made while its backups were due."""
    fitting = [
        point
        for point in points
        if point["Status"] in {"COMPLETED", "AVAILABLE"} and period.due <= point["CreationDate"] < period.until
    ]
    return min(fitting, key=lambda point: point["CreationDate"], default=None)


@dataclass
class Summary:
    """How the tables of a run ended.

    Attributes:
        done: what was achieved, by table.
        failed: why it was not, by table.
        figures: seconds spent waiting and fingerprinting.
    """

    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return asdict(self)

    def raise_if_failed(self, address: str) -> None:
        """Fail for tables that were not backed up.

        :raises TablesFailedError: naming the first hundred, each with its reason.
        """
        if not self.failed:
            return
        named = [f"{name}: {reason}" for name, reason in sorted(self.failed.items())]
        more = f"\n... and {len(named) - 100} more" if len(named) > 100 else ""
        raise TablesFailedError(
            f"{len(named)} of {len(named) + len(self.done)} tables were not backed up (all in {address}):\n"
            + "\n".join(named[:100])
            + more
        )


def summarise(
    names: Iterable[str],
    *,
    leases: Mapping[str, Any],
    before: Mapping[str, Any],
    jobs: Mapping[str, Any],
    ended: Mapping[str, Any],
    bound: Mapping[str, Any],
) -> Summary:
    """Tell for each table what became of it, from the first thing that went wrong."""
    summary = Summary()
    for name in names:
        stages = (leases.get(name), before.get(name), jobs.get(name), ended.get(name), bound.get(name))
        reason = next((stage["error"] for stage in stages if stage is not None and "error" in stage), None)
        if reason is None and name not in bound:
            reason = "the run ended before it was done"
        if reason is not None:
            summary.failed[name] = reason
        else:
            summary.done[name] = {"outcome": BACKED_UP, **bound[name]}
    done = summary.done.values()
    summary.figures = {
        "fingerprint_seconds": round(math.fsum(entry.get("fingerprint_seconds", 0.0) for entry in done), 1),
        "longest_job_seconds": max((entry.get("job_seconds", 0.0) for entry in done), default=0.0),
    }
    return summary
