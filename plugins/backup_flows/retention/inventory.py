"""Look at everything that decides about recovery points: AWS Backup's vaults, holds and restores, our own records.

What can't be read makes the inventory *incomplete*, and on an incomplete one nothing is deleted. No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import BotoCoreError, ClientError

from aws_backup.exceptions import AwsBackupError
from aws_backup.hooks.backup import BackupHook, is_taggable
from backup_flows.evidence import read_verdict
from backup_flows.fingerprints import find_binding
from backup_flows.keys import StateKeyError, recovery_point_id, restore_record_key, verdict_key
from backup_flows.ownership import Origin, is_ours, is_own_plan, plan_arn_of
from backup_flows.retention.tag_book import TagBook
from backup_flows.store import get_json
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, parse_restored_name
from recovery_retention.proving import Circumstances, Vault
from recovery_retention.recovery_point import DYNAMODB, RecoveryPoint, table_name_of
from restore_proof.verdict import Proof, Result, Verdict

log = logging.getLogger(__name__)

RESTORING: Final = ("PENDING", "RUNNING")
DRILL_LIMIT: Final = dt.timedelta(days=7)
"""Records of restores that are older, and whose table is not there, need no look: that drill is over. Nor do records of
choices that are so much older than the newest."""
CUT_SHORT: Final = (ClientError, BotoCoreError, AwsBackupError)
PURPOSE_TAG: Final = "purpose"
HOLD_PURPOSE: Final = "prove-before-loss"
"""Tag of the legal holds that a cleanup makes and may release; nobody else's are ever touched."""

_STATE = re.compile(r"recovery-points/(?P<table>[^/]+)/(?P<id>[^/]+)/(?P<name>binding\.json|verdict\.json|verdicts/.+)")
_READERS: Final = 8


@dataclass(frozen=True)
class Surroundings:
    """Where to look.

    Attributes:
        hook: of AWS Backup, under the everyday role.
        vaults: names of the vaults to list.
        is_active: tells of a run (dag_id, run_id) whether it is queued or running.
    """

    hook: BackupHook
    s3: Any
    dynamodb: Any
    bucket: str
    vaults: Sequence[str]
    is_active: Callable[[str, str], bool]


@dataclass
class Inventory:
    """What was found.

    Attributes:
        points: recovery points of DynamoDB tables.
        around: verdicts, attempts, restores that run, locks, holds.
        verdict_labels: of the points that have one.
        gap: why it is incomplete; empty: it is complete.
        origins: how each point was made, by ARN.
    """

    tags: TagBook
    points: list[RecoveryPoint] = field(default_factory=list)
    around: Circumstances = field(default_factory=Circumstances)
    gap: str = ""
    origins: dict[str, Origin] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything could be read."""
        return not self.gap

    def origin(self, point: RecoveryPoint) -> Origin:
        """Return how a point was made, as far as that is known."""
        return self.origins.get(point.arn) or Origin(point.table_name)


@dataclass
class Records:
    """What our bucket says of one recovery point.

    Attributes:
        bound: whether there is something to prove it by.
        judged: whether there is a verdict.
        attempts: how many drills it had.
    """

    bound: bool = False
    judged: bool = False
    attempts: int = 0


def take_inventory(
    at: Surroundings, *, now: dt.datetime, as_of: dt.datetime | None = None, strict: bool = False
) -> Inventory:
    """Take the inventory of all vaults.

    Args:
        at: where to look.
        now: the present, on AWS's clock.
        as_of: look at what existed, and was known, at this moment; None: now.
        strict: raise what cuts it short, instead of returning what is there as incomplete.
    """
    found = Inventory(TagBook.read(at.s3, at.bucket, _asker(at.hook), now))
    try:
        plans = _gather(at, found, as_of=as_of, now=now)
        if as_of is None:
            found.tags.write(at.s3, at.bucket, {point.arn for point in found.points} | plans)
    except CUT_SHORT as error:
        if strict:
            raise
        log.exception("The inventory is incomplete")
        found.gap = f"{type(error).__name__}: {error}"
    return found


def _asker(hook: BackupHook) -> Callable[[str], Mapping[str, str]]:
    def ask(arn: str) -> Mapping[str, str]:
        try:
            return hook.get_recovery_point_tags(arn)
        except AirflowNotFoundException:
            return {}  # gone since it was listed

    return ask


def _gather(at: Surroundings, found: Inventory, *, as_of: dt.datetime | None, now: dt.datetime) -> set[str]:
    """Fill the inventory; return the ARNs of the backup plans whose tags were looked at."""
    listed = [answer for vault in at.vaults for answer in list_points(at.hook, vault, as_of)]
    records = read_records(at.s3, at.bucket)
    holds, ours = read_holds(at.hook)
    own = _made_by_runs(at, [answer for answer in listed if _may_be_own(answer, records)])
    plans = {plan for answer in listed if (plan := plan_arn_of(answer)) is not None}
    own_plans = {plan for plan in plans if is_own_plan(found.tags.of(plan))}
    for answer in listed:
        arn = answer["RecoveryPointArn"]
        tags = found.tags.of(arn)
        origin = Origin.of(answer, vouched=arn in own or plan_arn_of(answer) in own_plans)
        found.origins[arn] = origin
        managed = is_ours(arn, tags, origin)
        found.points.append(RecoveryPoint.from_api(answer, managed=managed, tags=tags, legal_holds=holds.get(arn, ())))
    by_key = {key_of(point): point for point in found.points}
    known = {by_key[key].arn: record for key, record in records.items() if key in by_key}
    judged = [point for point in found.points if (record := known.get(point.arn)) is not None and record.judged]
    found.around = Circumstances(
        verdicts=dict(_verdicts(at, judged, as_of or now)),
        attempts={arn: record.attempts for arn, record in known.items() if record.attempts},
        in_use=points_in_use(at.hook) | drills_in_progress(at.s3, at.dynamodb, at.bucket, at.is_active, now),
        vaults={vault: lock for vault in at.vaults if (lock := read_lock(at.hook, vault)) is not None},
        our_holds=ours,
    )
    return plans


def _may_be_own(answer: Mapping[str, Any], records: Mapping[tuple[str, str], Records]) -> bool:
    return not is_taggable(answer["RecoveryPointArn"]) and records.get(record_key(answer), Records()).bound


def _made_by_runs(at: Surroundings, answers: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return those of some points that a run of ours made."""

    def is_own(answer: Mapping[str, Any]) -> bool:
        table, arn = table_name_of(answer["ResourceArn"]), answer["RecoveryPointArn"]
        binding = find_binding(at.s3, at.bucket, table, arn)
        return binding is not None and binding.made_by_run

    with ThreadPoolExecutor(_READERS) as pool:
        told = pool.map(is_own, answers)
        return {answer["RecoveryPointArn"] for answer, own in zip(answers, told, strict=True) if own}


def list_points(hook: BackupHook, vault: str, as_of: dt.datetime | None) -> Iterator[dict[str, Any]]:
    """Yield a vault's recovery points of tables that existed at a moment; none where there is no such vault.

    Args:
        as_of: the moment; None: all that are there, so that one of the future tells that the clock is behind.
    """
    try:
        for answer in hook.list_recovery_points(vault, ByResourceType=DYNAMODB):
            if as_of is None or answer["CreationDate"] <= as_of:
                yield {"BackupVaultName": vault, **answer}
    except AirflowNotFoundException:
        log.warning("Backup vault %s does not exist, so there is no recovery point in it", vault)


def record_key(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return under which table and identifier our bucket keeps what it knows of a point, as AWS tells of it."""
    return _key(table_name_of(answer["ResourceArn"]), answer["RecoveryPointArn"])


def key_of(point: RecoveryPoint) -> tuple[str, str]:
    """Return the same of a point."""
    return _key(point.table_name, point.arn)


def _key(table: str, arn: str) -> tuple[str, str]:
    try:
        return table, recovery_point_id(arn)
    except StateKeyError:
        return table, arn  # not the ARN of a table's recovery point: nothing of ours is about it


def read_records(s3: Any, bucket: str) -> dict[tuple[str, str], Records]:
    """Return what the bucket knows of every point, by table and identifier; one listing, whatever their number."""
    found: dict[tuple[str, str], Records] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="recovery-points/"):
        for entry in page.get("Contents", []):
            match = _STATE.fullmatch(entry["Key"])
            if match is None:
                continue
            record = found.setdefault((match["table"], match["id"]), Records())
            if match["name"] == "binding.json":
                record.bound = True
            elif match["name"] == "verdict.json":
                record.judged = True
            else:
                record.attempts += 1
    return found


def read_holds(hook: BackupHook) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the legal holds on points by ARN, and of them those that wait for a verdict of ours.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListLegalHolds.html
    """
    client = hook.client
    holds: dict[str, list[str]] = {}
    ours: dict[str, str] = {}
    for page in client.get_paginator("list_legal_holds").paginate():
        for hold in page["LegalHolds"]:
            if hold["Status"] == "CANCELED":
                continue
            tags = hook.get_tags(hold["LegalHoldArn"])
            own = tags.get(MANAGED_BY_TAG) == MANAGED_BY and tags.get(PURPOSE_TAG) == HOLD_PURPOSE
            pages = client.get_paginator("list_recovery_points_by_legal_hold").paginate(LegalHoldId=hold["LegalHoldId"])
            for arn in (point["RecoveryPointArn"] for held in pages for point in held["RecoveryPoints"]):
                holds.setdefault(arn, []).append(hold["LegalHoldId"])
                if own:
                    ours[arn] = hold["LegalHoldId"]
    return holds, ours


def read_lock(hook: BackupHook, vault: str) -> Vault | None:
    """Return what a vault's lock forbids; None where there is no such vault."""
    try:
        answer = hook.get_vault(vault)
    except AirflowNotFoundException:
        return None
    return Vault(bool(answer.get("Locked")), answer.get("MinRetentionDays"), answer.get("MaxRetentionDays"))


def points_in_use(hook: BackupHook) -> set[str]:
    """Return the ARNs of the recovery points that a restore job is reading."""
    return {job["RecoveryPointArn"] for state in RESTORING for job in hook.list_restore_jobs(ByStatus=state)}


def drills_in_progress(
    s3: Any,
    dynamodb: Any,
    bucket: str,
    is_active: Callable[[str, str], bool],
    now: dt.datetime,
    *,
    arn: str | None = None,
) -> set[str]:
    """Return the ARNs of the points that runs are about to restore, or prove.

    By the records of what drills chose, and of restores; a chosen point may wait long before its restore is planned.

    Args:
        is_active: tells of a run (dag_id, run_id) whether it is queued or running.
        arn: look for this point only.
    """
    used = _chosen_by_drills(s3, bucket, is_active, arn=arn)
    there = {
        restore_record_key(name)
        for page in dynamodb.get_paginator("list_tables").paginate()
        for name in page["TableNames"]
        if parse_restored_name(name) is not None
    }
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="restores/"):
        for entry in page.get("Contents", []):
            if entry["Key"] not in there and now - entry["LastModified"] > DRILL_LIMIT:
                continue
            record = get_json(s3, bucket, entry["Key"]) or {}
            point = record.get("recovery_point_arn")
            if point is None or point in used or (arn is not None and point != arn):
                continue
            if is_active(record["dag_id"], record["run_id"]):
                used.add(point)
    return used


def _chosen_by_drills(s3: Any, bucket: str, is_active: Callable[[str, str], bool], *, arn: str | None) -> set[str]:
    used: set[str] = set()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="drills/")
    entries = [entry for page in pages for entry in page.get("Contents", [])]
    newest = max((entry["LastModified"] for entry in entries), default=None)
    for entry in entries:
        # By the clock of S3 alone, which need not be that of AWS Backup.
        if newest is not None and newest - entry["LastModified"] > DRILL_LIMIT:
            continue
        record = get_json(s3, bucket, entry["Key"]) or {}
        chosen = {order["chosen"]["recovery_point_arn"] for order in record.get("chosen", ())}
        if (arn is None or arn in chosen) and "run_id" in record and is_active(record["dag_id"], record["run_id"]):
            used |= chosen
    return used if arn is None else used & {arn}


def _verdicts(at: Surroundings, judged: Sequence[RecoveryPoint], moment: dt.datetime) -> Iterator[tuple[str, Proof]]:
    def read(point: RecoveryPoint) -> Verdict | None:
        return read_verdict(at.s3, at.bucket, verdict_key(point.table_name, point.arn))

    with ThreadPoolExecutor(_READERS) as pool:
        for point, verdict in zip(judged, pool.map(read, judged), strict=True):
            if verdict is not None and verdict.decided_at <= moment:
                yield point.arn, proof_of(verdict)


def proof_of(verdict: Verdict) -> Proof:
    """Return what a verdict tells about its point: a proof that crashed tells nothing, it is an attempt."""
    crashed = verdict.result is Result.FAILED and not verdict.counts
    return Proof(Result.UNPROVEN, verdict.depth) if crashed else verdict.proof
