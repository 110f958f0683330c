"""What a recovery point must hold, found out afterwards: the backup plan makes points that nobody fingerprinted.

Where point-in-time recovery is on, the table is restored to two moments that bracket the backup job: two minutes
before its start and two minutes after its end. AWS may leave out of a backup what came in the minute before its
request, and take in what came in the minute after. Both are fingerprinted, and bound to the recovery point as the two
fingerprints of a backup of our own are; where they differ, the table was drifting. Both tables are dropped then.

Else there are the records: keys, indexes and settings, and the canaries, if the table has such.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html
"""

from __future__ import annotations

import datetime as dt
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from botocore.exceptions import ClientError

from aws_backup.exceptions import RestoreTargetExistsError
from aws_backup.tables import table_status
from backup_flows import canaries, fingerprints
from backup_flows.depths import Place, look, take_first, take_like
from backup_flows.fingerprints import Binding, Taken
from backup_flows.keys import recovery_point_id, restore_record_key
from backup_flows.proof import record_source_settings
from backup_flows.protection_proof import ProofSettings
from backup_flows.restores import delete_restored_table
from backup_flows.store import get_json, put_json
from dynamodb_bulk.fingerprint import FingerprintBuilder, ManifestWriter
from dynamodb_bulk.scan import table_key_names
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, RUN_TAG, restored_table_name
from restore_proof.verdict import Depth

log = logging.getLogger(__name__)

MARGIN: Final = dt.timedelta(minutes=2)
"""How far the brackets stand off: AWS speaks of up to a minute before and after a backup's request."""
BEFORE: Final = "before"
AFTER: Final = "after"
SIDES: Final = (BEFORE, AFTER)
UNKNOWN_JOB: Final = "unknown"
NOT_OURS: Final = "no record says that this run made it; drop it by hand if nobody needs it, and clear this task"


@dataclass(frozen=True)
class Job:
    """The recovery point whose content is sought, and the job that made it.

    Attributes:
        started_at: the earliest moment that AWS names for it (aware).
        ended_at: when the job was complete (aware).
    """

    recovery_point_arn: str
    table: str
    table_arn: str
    vault: str
    started_at: dt.datetime
    ended_at: dt.datetime
    size_bytes: int | None = None
    backup_job_id: str = UNKNOWN_JOB

    @classmethod
    def of(cls, chosen: Mapping[str, Any], described: Mapping[str, Any]) -> Job:
        """Take what is known of a recovery point.

        :param chosen: ``recovery_point_arn``, ``table``, ``table_arn`` and ``vault``.
        :param described: DescribeRecoveryPoint's answer:
            https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRecoveryPoint.html
        """
        started = min(described[name] for name in ("CreationDate", "InitiationDate") if described.get(name) is not None)
        return cls(
            recovery_point_arn=chosen["recovery_point_arn"],
            table=chosen["table"],
            table_arn=chosen["table_arn"],
            vault=chosen["vault"],
            started_at=started,
            ended_at=described.get("CompletionDate") or started,
            size_bytes=described.get("BackupSizeInBytes"),
        )

    @classmethod
    def of_binding(cls, binding: Binding) -> Job:
        """Take what a binding tells of its recovery point, which AWS may know no more; not when the job ended."""
        created_at = dt.datetime.fromisoformat(binding.created_at)
        return cls(
            recovery_point_arn=binding.recovery_point_arn,
            table=binding.table,
            table_arn=binding.table_arn,
            vault=binding.vault,
            started_at=created_at,
            ended_at=created_at,
        )

    @property
    def moments(self) -> dict[str, dt.datetime]:
        """The two moments that bracket it, in whole seconds, which is what a restore takes."""
        end = self.ended_at + MARGIN
        return {
            BEFORE: (self.started_at - MARGIN).replace(microsecond=0),
            AFTER: end.replace(microsecond=0) + dt.timedelta(seconds=1 if end.microsecond else 0),
        }


@dataclass(frozen=True)
class Window:
    """Whether a table can be restored to the moments, and when.

    Attributes:
        why_not: why it can't, as a sentence; None if it can.
        opens_in: how long until the later moment can be restored to.
    """

    why_not: str | None
    opens_in: dt.timedelta = dt.timedelta(0)


def window_of(dynamodb: Any, job: Job) -> Window:
    """Look whether the table can be restored to both moments.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeContinuousBackups.html
    """
    before, after = job.moments[BEFORE], job.moments[AFTER]
    try:
        table = dynamodb.describe_table(TableName=job.table)["Table"]
        described = dynamodb.describe_continuous_backups(TableName=job.table)["ContinuousBackupsDescription"]
    except ClientError as error:
        if error.response["Error"]["Code"] in {"ResourceNotFoundException", "TableNotFoundException"}:
            return Window(f"table {job.table} does not exist any more")
        raise
    if table["CreationDateTime"] > before:
        return Window(f"table {job.table} was made at {_iso(table['CreationDateTime'])}, after {_iso(before)}")
    recovery = described.get("PointInTimeRecoveryDescription") or {}
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        return Window(f"point-in-time recovery of {job.table} is off")
    earliest, latest = recovery["EarliestRestorableDateTime"], recovery["LatestRestorableDateTime"]
    if before < earliest:
        return Window(
            f"point-in-time recovery of {job.table} reaches back to {_iso(earliest)} only, and {_iso(before)} is needed"
        )
    return Window(None, max(dt.timedelta(0), after - latest))


@dataclass(frozen=True)
class Around:
    """What the work goes on with.

    Attributes:
        run: who does it, as restored tables are tagged with it.
        name: tells this piece of work from others, also of the same run: the tables are named for it.
        as_of: date that the run stands for.
        clock: AWS's clock.
    """

    dynamodb: Any
    s3: Any
    scaling: Any
    bucket: str
    proof: ProofSettings
    run: str
    name: str
    as_of: str
    dag_id: str
    run_id: str
    max_rcu: float | None
    clock: Callable[[], dt.datetime]

    def table_of(self, job: Job, side: str) -> str:
        """Return the name of the table that is restored to one of the moments: always the same, so a retry finds it."""
        own = f"{self.name}/{job.recovery_point_arn}/{side}"
        return restored_table_name(job.table, dt.date.fromisoformat(self.as_of), own)


def start_restores(around: Around, job: Job) -> list[str]:
    """Start the two restores, or find those that an earlier try has started; return the tables' names.

    Without indexes and billed per request: the copies are read once, and dropped.
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_RestoreTableToPointInTime.html

    :raises aws_backup.exceptions.RestoreTargetExistsError: a table of that name is somebody else's; nothing was
        restored, and nothing claims it.
    """
    made = {side: _made_before(around, around.table_of(job, side)) for side in SIDES}
    return [_start_restore(around, job, side, made=made[side]) for side in SIDES]


def restores_started(around: Around, job: Job) -> bool:
    """Tell whether an earlier try has started both restores, so that no moment needs to be in reach any more."""
    tables = [around.table_of(job, side) for side in SIDES]
    return all(table_status(around.dynamodb, table) is not None for table in tables)


def _made_before(around: Around, target: str) -> bool:
    """Tell whether an earlier try of the run has made a table, before anything claims its name.

    :raises aws_backup.exceptions.RestoreTargetExistsError: it is somebody else's.
    """
    record = get_json(around.s3, around.bucket, restore_record_key(target))
    if record is not None and record["run"] != around.run:
        raise RestoreTargetExistsError(table=target, reason=f"it was restored by the run {record['run']}")
    if table_status(around.dynamodb, target) is None:
        return False
    if record is None:
        raise RestoreTargetExistsError(table=target, reason=NOT_OURS)
    log.info("%s is there, or on its way, since an earlier try", target)
    return True


def _start_restore(around: Around, job: Job, side: str, *, made: bool) -> str:
    target = around.table_of(job, side)
    if made:
        return target
    claim = {
        "table": target,
        "source": job.table,
        "run": around.run,
        "dag_id": around.dag_id,
        "run_id": around.run_id,
        "recovery_point_arn": job.recovery_point_arn,
        "moment": job.moments[side].isoformat(),
        "planned_at": around.clock().isoformat(),
    }
    # Before AWS makes the table: it brings no tags, so one whose run dies here is told ours by this record alone. And
    # only where the name was free: whoever finds the record takes the table for ours.
    put_json(around.s3, around.bucket, restore_record_key(target), claim)
    try:
        around.dynamodb.restore_table_to_point_in_time(
            SourceTableName=job.table,
            TargetTableName=target,
            RestoreDateTime=job.moments[side],
            BillingModeOverride="PAY_PER_REQUEST",
            GlobalSecondaryIndexOverride=[],
            LocalSecondaryIndexOverride=[],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"TableAlreadyExistsException", "TableInUseException"}:
            raise
        if not _is_restored_from(around.dynamodb, target, job.table_arn):
            around.s3.delete_object(Bucket=around.bucket, Key=restore_record_key(target))
            raise RestoreTargetExistsError(table=target, reason=NOT_OURS) from error
    log.info("Restoring %s as of %s to %s", job.table, job.moments[side].isoformat(), target)
    return target


def _is_restored_from(dynamodb: Any, table: str, source_arn: str) -> bool:
    """Tell whether a table that came up since its name was free is another try's restore, and not a stranger's."""
    described = dynamodb.describe_table(TableName=table)["Table"]
    return bool((described.get("RestoreSummary") or {}).get("SourceTableArn") == source_arn)


def tables_ready(dynamodb: Any, tables: list[str]) -> bool:
    """Tell whether all tables are ACTIVE.

    :raises botocore.exceptions.ClientError: one of them is not there at all.
    """
    return all(dynamodb.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE" for table in tables)


def bind_brackets(around: Around, job: Job) -> Binding:
    """Fingerprint both restored tables, and bind the fingerprints to the recovery point (:func:`fingerprints.bind`)."""
    tables = {side: around.table_of(job, side) for side in SIDES}
    for table in tables.values():
        _tag(around, table)
    prefix = f"brackets/{recovery_point_id(job.recovery_point_arn)}/{tables[BEFORE].rpartition('-')[2]}/"
    places = {
        side: Place(around.dynamodb, around.s3, around.bucket, f"{prefix}{side}.", table, around.max_rcu, around.clock)
        for side, table in tables.items()
    }
    seed = recovery_point_id(job.recovery_point_arn)
    first = take_first(places[BEFORE], around.proof, seed=seed, job_prefix=prefix)
    second, _ = take_like(places[AFTER], first)
    moments = {side: moment.isoformat() for side, moment in job.moments.items()}
    note = (
        f"What the table held was read from two point-in-time restores, to {moments[BEFORE]} and {moments[AFTER]}, "
        f"around the backup from {_iso(job.started_at)} to {_iso(job.ended_at)}."
    )
    # What a copy shows is the moment that it was restored to, whenever it was read.
    return _bind(
        around,
        job,
        replace(first, taken_at=moments[BEFORE]),
        replace(second, taken_at=moments[AFTER]),
        bound_by=fingerprints.BOUND_BY_BRACKETS,
        notes=(note,),
    )


def bind_records(around: Around, job: Job, why: str) -> Binding:
    """Bind what is on record to a recovery point: keys and settings, and its canaries, if the table has such.

    :param why: why there is nothing better, as a sentence without its full stop.
    """
    before, after = _canaries_of(around, job) if around.proof.depth is Depth.CANARY else (None, None)
    depth = Depth.CANARY if before is not None and after is not None else Depth.SCHEMA
    prefix = f"brackets/{recovery_point_id(job.recovery_point_arn)}/records/"
    note = f"Nobody fingerprinted the table when this backup was made; {why}. So this proof is of depth {depth} only."
    taken = []
    for side, record, moment in ((BEFORE, before, job.started_at), (AFTER, after, job.ended_at)):
        place = Place(around.dynamodb, around.s3, around.bucket, f"{prefix}{side}.", job.table, None, around.clock)
        found = _of_record(place, record) if record is not None and depth is Depth.CANARY else _of_nothing(place)
        taken.append(replace(found, taken_at=moment.isoformat()))
    return _bind(around, job, *taken, bound_by=fingerprints.BOUND_BY_RECORDS, notes=(note,))


def _bind(around: Around, job: Job, before: Taken, after: Taken, *, bound_by: str, notes: tuple[str, ...]) -> Binding:
    binding = Binding(
        recovery_point_arn=job.recovery_point_arn,
        table=job.table,
        table_arn=job.table_arn,
        vault=job.vault,
        backup_job_id=job.backup_job_id,
        created_at=job.started_at.isoformat(),
        size_bytes=job.size_bytes,
        before=before,
        after=after,
        drifting=before.digest != after.digest,
        as_of=around.as_of,
        dag_id=around.dag_id,
        run_id=around.run_id,
        depth=before.depth,
        notes=notes,
        bound_by=bound_by,
    )
    try:
        record_source_settings(
            around.dynamodb,
            around.s3,
            bucket=around.bucket,
            binding=binding,
            now=around.clock(),
            scaling=around.scaling,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        log.warning("The settings of %s can't be compared: the table is gone", job.table)
    return fingerprints.bind(around.s3, around.bucket, binding)


def drop_brackets(around: Around, job: Job) -> None:
    """Drop the restored tables, where they are; one that AWS is still restoring is left to the sweep.

    A table of that name that no record of this run claims is somebody else's, and left alone.
    """
    for side in SIDES:
        table = around.table_of(job, side)
        record = get_json(around.s3, around.bucket, restore_record_key(table))
        if record is None or record["run"] != around.run:
            continue
        try:
            status = around.dynamodb.describe_table(TableName=table)["Table"]["TableStatus"]
        except around.dynamodb.exceptions.ResourceNotFoundException:
            continue
        if status == "ACTIVE":
            delete_restored_table(around.dynamodb, table, source=job.table)
        else:
            log.warning("%s is %s: left to the sweep of retention_cleanup", table, status)


def _tag(around: Around, table: str) -> None:
    described = around.dynamodb.describe_table(TableName=table)["Table"]
    tags = [{"Key": MANAGED_BY_TAG, "Value": MANAGED_BY}, {"Key": RUN_TAG, "Value": around.run}]
    around.dynamodb.tag_resource(ResourceArn=described["TableArn"], Tags=tags)


def _canaries_of(around: Around, job: Job) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the canaries that had been written by each of the two moments; those of the later may be newer ones."""
    written = list(canaries.generations(around.s3, around.bucket, job.table))
    found = []
    for side in SIDES:
        keys = [key for moment, key in written if moment <= job.moments[side]]
        found.append(get_json(around.s3, around.bucket, keys[-1]) if keys else None)
    return found[0], found[1]


def _of_record(place: Place, record: Mapping[str, Any]) -> Taken:
    builder, manifest = FingerprintBuilder(record["key_names"]), io.BytesIO()
    with ManifestWriter(manifest, record["key_names"]) as writer:
        writer.add_items(builder.add_items(record["items"]))
    about = {"written_at": record["written_at"]}
    figures = fingerprints.ScanFigures()
    return place.keep(builder.build(), manifest, figures, depth=str(Depth.CANARY), about=about)


def _of_nothing(place: Place) -> Taken:
    return look(place, (), table_key_names(place.dynamodb, place.table), Depth.SCHEMA, {})[0]


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds")
