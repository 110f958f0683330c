"""What a drill uses, before it is started and after it: the figures that a price file turns into money.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from aws_backup.states import Outcome, StateKind, classify
from restore_proof.costs import UNIT_BYTES, Work
from restore_proof.verdict import Depth

ASSUMED_TABLE_HOURS: Final = 2.0
"""How long a restored table is expected to be there: most restores take less than an hour, and a proof reads fast."""
S3_PUTS: Final = 25
S3_GETS: Final = 60
"""Requests to S3 of a drill, about; they come to a hundredth of a cent, and are not counted one by one."""
PROVISIONED: Final = "PROVISIONED"
COLD: Final = "COLD"
BY_TABLE: Final = "AWS tells no size of the backup, so the table's is taken, as DynamoDB told it."
RESTORED_SCAN: Final = "scan restored"
"""Name of the figures of reading the restored table, among those of a drill's evidence."""


def expected_work(
    binding: Mapping[str, Any],
    *,
    point: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    tested: bool = False,
    table_bytes: int | None = None,
) -> Work:
    """Return what a drill is going to use.

    Reading the restored table takes what reading its source took when it was backed up, in the same depth.

    Args:
        binding: what is bound to the recovery point (`backup_flows.fingerprints.Binding` as a dict).
        point: AWS's description of it (DescribeRecoveryPoint); empty where there is none.
        settings: the source's settings as recorded with it; None: not recorded.
        tested: whether AWS's own restore testing restores it.
        table_bytes: the table's own size, for where nobody knows the backup's.
    """
    figures = (binding.get("before") or {}).get("figures") or {}
    size = point.get("BackupSizeInBytes") or binding.get("size_bytes") or figures.get("bytes")
    units = float(figures.get("capacity_units") or 0)
    remarks = []
    if size is None and table_bytes is not None:
        size = table_bytes
        remarks.append(BY_TABLE)
    if not units and binding.get("depth", Depth.FULL) == Depth.FULL and size:
        units = size / UNIT_BYTES
        remarks.append("What the proof will read is reckoned from the size of the backup.")
    capacity = _capacity(settings)
    if capacity is not None:
        remarks.append("The capacity of indexes is not counted.")
    return Work(
        restored_bytes=int(size) if size is not None else None,
        from_cold=point.get("StorageClass") == COLD,
        read_units=units,
        table_hours=ASSUMED_TABLE_HOURS,
        read_capacity=capacity["read"] if capacity else None,
        write_capacity=capacity["write"] if capacity else None,
        s3_puts=S3_PUTS,
        s3_gets=S3_GETS,
        restore_tests=int(tested),
        remarks=tuple(remarks),
    )


def bracket_work(size_bytes: int | None, *, of_table: bool = False) -> Work:
    """Return what two point-in-time restores that bracket a backup, and reading both tables, are going to use.

    Args:
        size_bytes: of the backup; the table is taken to be of that size at both moments.
        of_table: it is the table's own size, because the backup's is not known.
    """
    size = 2 * size_bytes if size_bytes is not None else None
    return Work(
        restored_bytes=size,
        read_units=(size or 0) / UNIT_BYTES,
        table_hours=ASSUMED_TABLE_HOURS,
        s3_puts=S3_PUTS,
        s3_gets=S3_GETS,
        remarks=(
            "Two point-in-time restores, reckoned by the price of restoring a GB from warm storage.",
            *((BY_TABLE,) * of_table),
        ),
    )


def _capacity(settings: Mapping[str, Any] | None) -> dict[str, int] | None:
    """Return the provisioned capacity that the restored table comes back with; None: it has none, or is not known."""
    if settings is None or settings.get("billing_mode") != PROVISIONED:
        return None
    return settings.get("provisioned_throughput")


def is_paid(restore: Mapping[str, Any]) -> bool:
    """Say whether a restore costs something: it is complete, or AWS still works on it, and will bill it.

    Args:
        restore: summary of the restore job; empty where none was started.
    """
    return "state" in restore and classify(StateKind.RESTORE_JOB, restore["state"]) is not Outcome.FAILURE


def actual_work(
    expected: Work,
    *,
    restore: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, Any]],
    ended_at: dt.datetime,
    restored_before: str | None = None,
) -> Work:
    """Return what a drill did use.

    Args:
        expected: what it was expected to use.
        restore: summary of the restore job; empty where none was started.
        figures: those of the drill's evidence.
        ended_at: when the drill was over, and the restored table dropped, nearly (aware).
        restored_before: an earlier attempt of the drill, whose cost has this restore in it.
    """
    remarks: list[str] = []
    scan = figures.get(RESTORED_SCAN) or {}
    paid = is_paid(restore)
    completed = paid and classify(StateKind.RESTORE_JOB, restore["state"]) is Outcome.SUCCESS
    units = float(scan.get("capacity_units") or 0)
    if completed and not scan:
        units = expected.read_units
        remarks.append("How much the proof read before it ended is not known, so all of it is counted.")
    size = restore.get("size_bytes") or expected.restored_bytes
    hours = _hours_since(restore.get("creation_date"), ended_at) if paid else 0.0
    if not paid:
        size = 0
        remarks.append("No restore was completed, so none is counted.")
    elif restored_before is not None:
        size = 0
        remarks.append(f"The restore is counted with the attempt {restored_before}.")
    elif not completed:
        # No later attempt need come: what is not counted now may never be.
        hours = max(hours, expected.table_hours)
        remarks.append(f"The restore was {restore['state']} when the drill was over; it is counted as expected.")
    return replace(
        expected,
        restored_bytes=size,
        read_units=units,
        table_hours=hours,
        restore_tests=expected.restore_tests if paid and restored_before is None else 0,
        remarks=tuple(remarks),
    )


def _hours_since(started: str | None, ended_at: dt.datetime) -> float:
    if not started:
        return 0.0
    return max(0.0, (ended_at - dt.datetime.fromisoformat(started)).total_seconds()) / 3600
