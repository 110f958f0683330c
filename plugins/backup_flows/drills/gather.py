"""What a run of drills is about: the tables, their recovery points, what was proven of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aws_backup.hooks.backup import BackupHook
from aws_backup.states import Outcome, StateKind, classify
from backup_flows.drills.choosing import Choice, Proofs, newest_usable, risk_order
from backup_flows.drills.errors import (
    BadDrillRequestError,
    NoRecoveryPointError,
    RecoveryPointGoneError,
    TableNotProtectedError,
)
from backup_flows.drills.moment import Moment
from backup_flows.drills.points import Point, ensure_usable, find_point, list_points
from backup_flows.evidence import read_verdict
from backup_flows.protected_tables import ProtectedTables
from recovery_retention.recovery_point import DYNAMODB

log = logging.getLogger(__name__)

VALIDATING: Final = "VALIDATING"


@dataclass(frozen=True)
class Surroundings:
    """Where a run looks.

    Attributes:
        stack: the stack's resources, by field name.
        protected: returns what ``protection.yaml`` selects; asked only where it matters.
    """

    hook: BackupHook
    s3: Any
    stack: Mapping[str, str]
    protected: Callable[[], ProtectedTables]

    def tables(self) -> dict[str, str]:
        """Return the ARNs of the protected tables by name; the stack's own table is one of them."""
        found = {table.name: table.arn for table in self.protected().tables}
        return {self.stack["table"]: self.stack["table_arn"], **found}


def choose_by_params(around: Surroundings, params: Mapping[str, Any], moment: Moment) -> list[Choice]:
    """Return what the form asks for: one recovery point, one table's newest, or the newest of the tables most at risk.

    :raises backup_flows.drills.errors.DrillRefusedError: that is not to be had; says why, and the remedy.
    """
    arn, table, mode = (str(params.get(name) or "").strip() for name in ("recovery_point_arn", "table", "mode"))
    if arn:
        point = ensure_usable(find_point(around.hook, arn))
        if table and table != point.table:
            raise BadDrillRequestError(
                f"recovery point {arn} is of table {point.table}, not of {table}: give only one."
            )
        return [Choice(point, "its ARN was given")]
    if table or mode == "newest":
        return [_newest_of(around, table or around.stack["table"], moment)]
    return _most_at_risk(around, moment)


def _newest_of(around: Surroundings, table: str, moment: Moment) -> Choice:
    tables = around.tables()
    if table not in tables:
        raise TableNotProtectedError(
            f"table {table} is not protected: add it to include/protection.yaml (protected are "
            f"{', '.join(sorted(tables))}), or give the ARN of one of its recovery points."
        )
    points = list_points(around.hook, table_arn=tables[table])
    return Choice(newest_usable(points, table=table, before=moment.before), "the newest usable one at that date")


def _most_at_risk(around: Surroundings, moment: Moment) -> list[Choice]:
    tables = around.tables()
    by_arn = {arn: name for name, arn in tables.items()}
    points: dict[str, list[Point]] = {name: [] for name in tables}
    for point in list_points(around.hook):
        if point.table_arn in by_arn:
            points[by_arn[point.table_arn]].append(point)
    proofs = {name: proofs_of(around.s3, around.stack["bucket"], name) for name, found in points.items() if found}
    order = risk_order(points, proofs, before=moment.before)
    chosen = {choice.point.table for choice in order}
    for name in sorted(set(tables) - chosen):
        log.warning("%s has no usable recovery point made before %s", name, moment.before.isoformat())
    if not order:
        raise NoRecoveryPointError(
            f"none of the {len(tables)} protected tables has a usable recovery point made before "
            f"{moment.before.isoformat()}: back them up with the DAG table_backup, or give a later as_of."
        )
    return order


def proofs_of(s3: Any, bucket: str, table: str) -> Proofs:
    """Return what is known of a table's proofs, by the verdicts that hold (``verdict.json`` of each point)."""
    proven, known, last = set(), set(), None
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"recovery-points/{table}/")
    for key in (entry["Key"] for page in pages for entry in page.get("Contents", [])):
        if not key.endswith("/verdict.json"):
            continue
        verdict = read_verdict(s3, bucket, key)
        if verdict is None:
            continue
        known.add(verdict.subject.recovery_point_arn)
        if verdict.is_proven:
            proven.add(verdict.subject.recovery_point_arn)
            last = max(last or verdict.decided_at, verdict.decided_at)
    return Proofs(last, frozenset(proven), frozenset(known))


@dataclass(frozen=True)
class Request:
    """A recovery point that an asset's event names.

    Attributes:
        demanded: whether it is to be drilled whatever the switch of its table says.
        source_dag: the DAG that told of it.
    """

    arn: str
    table: str
    vault: str | None
    reason: str
    demanded: bool
    source_dag: str | None = None


def choose_requested(
    around: Surroundings, requests: Iterable[Request], *, proves_itself: frozenset[str]
) -> tuple[list[Choice], list[str]]:
    """Return the points that events ask to be drilled, and why others are not.

    A new recovery point is drilled where ``protection.yaml`` has the switch ``drill.on_new_point`` on for its table,
    and the run that made it does not prove it itself; one that is asked for explicitly always is.

    :param proves_itself: DAGs whose runs prove what they back up.
    :return: the choices, and a line for each request that was left out.
    """
    switched_on: set[str] | None = None
    choices: dict[str, Choice] = {}
    left_out = []
    for request in requests:
        if not request.demanded:
            if switched_on is None:
                switched_on = {table.name for table in around.protected().tables if table.rule.drill_on_new_point}
            if request.source_dag in proves_itself or request.table not in switched_on:
                left_out.append(f"{request.arn} of {request.table}: no drill of new points is asked for there")
                continue
        try:
            point = find_point(around.hook, request.arn, vault=request.vault)
        except RecoveryPointGoneError as error:
            left_out.append(str(error))
            continue
        # One that is not usable any more is drilled all the same: its verdict says so.
        choices.setdefault(request.arn, Choice(point, request.reason))
    return list(choices.values()), left_out


def restore_tests(hook: BackupHook, plan_arn: str = "") -> list[dict[str, Any]]:
    """Return the restore jobs of AWS's own restore testing that wait for a verdict, oldest first.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing-validation.html

    :param plan_arn: of one restore testing plan; all plans' if empty.
    """
    filters = {"ByRestoreTestingPlanArn": plan_arn} if plan_arn else {}
    waiting = [
        job
        for job in hook.list_restore_jobs(ByStatus="COMPLETED", ByResourceType=DYNAMODB, **filters)
        if (job.get("CreatedBy") or {}).get("RestoreTestingPlanArn")
        and classify(StateKind.RESTORE_JOB, job["Status"]) is Outcome.SUCCESS
        and job.get("ValidationStatus") in (None, VALIDATING)
        and job.get("DeletionStatus") is None
    ]
    return sorted(waiting, key=lambda job: (job["CreationDate"], job["RestoreJobId"]))
