"""What a repair is asked to do, and whether it may: from a run's params to tables that were looked at.

No Airflow import.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from botocore.exceptions import ClientError

from backup_flows.evidence import read_verdict
from backup_flows.keys import restore_record_key, verdict_key
from backup_flows.preflight import DENIED
from backup_flows.store import get_bytes, get_json, put_bytes
from dynamodb_bulk.choice import ALL_CLASSES, DEFAULT_CLASSES, Choice
from recovery_retention.names import KEEP_TAG, parse_restored_name
from restore_proof.evidence import PACK_NAME
from restore_proof.verdict import Verdict

log = logging.getLogger(__name__)

REPAIR, UNDO = "repair", "undo"
UNDO_FOLDER = "undo/"
RECEIPT_NAME = "receipt.json"
KEYS_NAME = "keys.txt"

_ADDRESS = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)")
_EVIDENCE = re.compile(r"(?P<prefix>evidence/[^/]+/[^/]+/)(?:[^/]+)?")
_REPAIR = re.compile(r"(?P<prefix>repairs/[^/]+/[^/]+/).*")


class RepairRequestError(ValueError):
    """A repair is asked for in a way that makes no sense; the message says what to give."""


class RecoveryPointGivenError(RepairRequestError):
    """A repair reads a table; a recovery point has to be restored first."""

    def __init__(self, arn: str) -> None:
        super().__init__(
            f"{arn} is a recovery point. Restore it first, with the DAG restore_drill and its param "
            "keep_restored_table on, and give the restored table's name here."
        )


class TargetNotProtectedError(PermissionError):
    """A table may not be written to: it is neither the stack's nor in protection.yaml."""


class TablesUnfitError(RuntimeError):
    """The tables can't be repaired one from the other; the message lists every reason."""


@dataclass(frozen=True)
class RepairRequest:
    """What is to be done, with every name resolved.

    Attributes:
        mode: ``repair`` or ``undo``.
        bucket: the project's bucket.
        lease_table: the table that holds the leases.
        table: the live table.
        source: the restored table; None for an undo.
        undo_prefix: where the undo parts to go by lie; None for a repair.
        prefix: where this repair keeps what it leaves behind.
        classes, filters: the choice.
        by_keys: whether only some keys are chosen; they lie in `KEYS_NAME` beside the rest, as they may be many.
        max_rcu, max_wcu: capacity units a second to stay below.
        verdict: on the recovery point that the source was restored from; None: there is none.
        warnings: what a person should know before anything is written.
    """

    mode: str
    bucket: str
    lease_table: str
    table: str
    source: str | None
    undo_prefix: str | None
    prefix: str
    classes: tuple[str, ...] = tuple(map(str, DEFAULT_CLASSES))
    by_keys: bool = False
    filters: tuple[str, ...] = ()
    max_rcu: float | None = None
    max_wcu: float | None = None
    verdict: str | None = None
    warnings: tuple[str, ...] = field(default=())

    def choice(self, s3: Any, key_names: Sequence[str]) -> Choice:
        """Return the choice among changes.

        Raises:
            RepairRequestError: the chosen keys are not there any more.
            dynamodb_bulk.errors.BulkError: it can't be understood.
        """
        content = get_bytes(s3, self.bucket, f"{self.prefix}{KEYS_NAME}") if self.by_keys else None
        if self.by_keys and content is None:
            # Without its keys the choice would be all items.
            raise RepairRequestError(f"{self.address(KEYS_NAME)} is gone: clear the run from its first task.")
        keys = None if content is None else content.decode().splitlines()
        return Choice.of(key_names, classes=self.classes, keys=keys, filters=self.filters)

    def keep_keys(self, s3: Any, keys: Sequence[str]) -> None:
        """Keep the chosen keys where `choice` finds them."""
        content = "".join(f"{key}\n" for key in keys).encode()
        put_bytes(s3, self.bucket, f"{self.prefix}{KEYS_NAME}", content, content_type="text/plain")

    def address(self, name: str) -> str:
        """Return the address of one of the things that the repair leaves behind."""
        return f"s3://{self.bucket}/{self.prefix}{name}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return what `as_dict` wrote; what else there is is passed over."""
        own: dict[str, Any] = {name: document[name] for name in cls.__dataclass_fields__}
        own.update({name: tuple(value) for name, value in own.items() if isinstance(value, list)})
        return cls(**own)


def resolve_source(s3: Any, bucket: str, source: str, target: str) -> tuple[str, str]:
    """Return the restored table and the live one that a run's params mean.

    Args:
        s3: a low-level client.
        bucket: the project's bucket.
        source: a table's name, or an address below a drill's evidence.
        target: the live table's name; empty: the one that the restored table was restored from.

    Raises:
        RecoveryPointGivenError: `source` is the ARN of a recovery point.
        RepairRequestError: a table can't be told from what was given.
    """
    if not source:
        raise RepairRequestError("source is empty: give the restored table's name, or the address of a drill's report.")
    if ":recovery-point:" in source or "/backup/" in source:
        raise RecoveryPointGivenError(source)
    if source.startswith("s3://"):
        source, origin = _drilled(s3, bucket, source)
    else:
        source = source.rpartition(":table/")[2]
        name = parse_restored_name(source)
        origin = "" if name is None else name.source
    if not (target or origin):
        raise RepairRequestError(
            f"{source} does not say by its name what it was restored from: give the live table's name as target_table."
        )
    return source, target or origin


def _drilled(s3: Any, bucket: str, address: str) -> tuple[str, str]:
    key = own_key(bucket, address)
    match = _EVIDENCE.fullmatch(key)
    pack = get_json(s3, bucket, f"{match['prefix']}{PACK_NAME}") if match else None
    if pack is None:
        raise RepairRequestError(
            f"There is no evidence of a drill at {address}: give s3://{bucket}/evidence/<table>/<drill>/, or the "
            "restored table's name."
        )
    verdict = pack["verdict"]
    return str(verdict["restored_table_name"]), str(verdict["table_name"])


def verdict_on(s3: Any, bucket: str, source: str) -> Verdict | None:
    """Return the verdict on the recovery point that a table was restored from, as far as that is on record."""
    record = None if parse_restored_name(source) is None else get_json(s3, bucket, restore_record_key(source))
    if record is None:
        return None
    return read_verdict(s3, bucket, verdict_key(record["source"], record["recovery_point_arn"]))


def doubt(source: str, verdict: Verdict | None) -> list[str]:
    """Return what speaks against trusting a restored table; nothing where it was proven."""
    if verdict is None:
        return [f"Nobody has proven what {source} holds: no drill's verdict is on record for it."]
    if verdict.is_proven:
        return []
    return [f"The recovery point of {source} is {verdict.proof.label}: {' '.join(verdict.reasons)}"]


def resolve_undo(bucket: str, address: str) -> str:
    """Return the prefix of the undo parts that an address means: theirs, or any of that repair's.

    Raises:
        RepairRequestError: it is no address of a repair.
    """
    match = _REPAIR.fullmatch(own_key(bucket, address)) if address else None
    if match is None:
        raise RepairRequestError(
            f"{address!r} is no repair that could be undone: give the address of its receipt, such as "
            f"s3://{bucket}/repairs/<table>/<run>/{RECEIPT_NAME}."
        )
    return f"{match['prefix']}{UNDO_FOLDER}"


def own_key(bucket: str, address: str) -> str:
    """Return the key of an address in the project's bucket.

    Raises:
        RepairRequestError: it is somewhere else.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or match["bucket"] != bucket:
        raise RepairRequestError(f"{address} is not in the project's bucket: give s3://{bucket}/...")
    return match["key"]


def resolve_keys(s3: Any, bucket: str, given: Sequence[str]) -> list[str]:
    """Return the keys that were given, each as JSON text; an address stands for a file with one a line.

    Raises:
        RepairRequestError: there is no such file.
    """
    keys: list[str] = []
    for entry in given:
        if not entry.startswith("s3://"):
            keys.append(" ".join(entry.splitlines()))
            continue
        content = get_bytes(s3, bucket, own_key(bucket, entry))
        if content is None:
            raise RepairRequestError(f"There is no file with keys at {entry}.")
        keys += [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    return keys


def ensure_writable(table: str, allowed: Collection[str]) -> None:
    """Let only protected tables be written to.

    Args:
        table: the live table.
        allowed: names of the stack's table and of those that protection.yaml selects.

    Raises:
        TargetNotProtectedError: it is another one.
    """
    if table not in allowed:
        raise TargetNotProtectedError(
            f"Table {table} may not be repaired: only these are protected: {', '.join(sorted(allowed)) or 'none'}. "
            "Add it to protection.yaml."
        )


def look_at_tables(dynamodb: Any, *, table: str, source: str | None) -> list[str]:
    """Check that the tables fit each other, before anything is read that costs money.

    Args:
        dynamodb: a low-level client.
        table: the live table.
        source: the restored one, if the repair is from one.

    Returns:
        What a person should know before anything is written.

    Raises:
        TablesUnfitError: lists everything that speaks against it.
    """
    if source == table:
        raise TablesUnfitError(f"{table} can't be repaired from itself: give the restored table as source.")
    found = {name: _describe(dynamodb, name) for name in (table, source) if name is not None}
    problems = [
        f"table {name} does not exist" if one is None else f"table {name} is {one['TableStatus']}, not ACTIVE"
        for name, one in found.items()
        if one is None or one["TableStatus"] not in {"ACTIVE", "UPDATING"}
    ]
    keys = {name: _keys(one) for name, one in found.items() if one is not None}
    if len(set(keys.values())) > 1:
        said = "; ".join(f"{name} has {', '.join(' '.join(part) for part in key)}" for name, key in keys.items())
        problems.append(f"their keys differ ({said}), so their items can't be matched")
    if problems:
        raise TablesUnfitError(f"nothing was done: {'; '.join(problems)}.")
    restored = None if source is None else found[source]
    return _warnings(dynamodb, table, None if restored is None else str(restored["TableArn"]))


def table_exists(dynamodb: Any, table: str) -> bool:
    """Tell whether there is a table of that name."""
    return _describe(dynamodb, table) is not None


def _warnings(dynamodb: Any, table: str, source_arn: str | None) -> list[str]:
    asked: dict[str, Callable[[], str | None]] = {
        f"{table} has point-in-time recovery": lambda: _without_pitr(dynamodb, table),
        f"{table} has a time to live": lambda: _with_ttl(dynamodb, table),
        "the restored table will be kept": lambda: _not_kept(dynamodb, source_arn),
    }
    said = []
    for what, ask in asked.items():
        try:
            warning = ask()
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED:
                raise
            warning = f"Whether {what} may not be looked at."
        if warning is not None:
            said.append(warning)
    return said


def _without_pitr(dynamodb: Any, table: str) -> str | None:
    """See https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Point-in-time-recovery.html."""
    found = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    if found.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") == "ENABLED":
        return None
    return f"{table} has no point-in-time recovery: beside the undo file nothing brings its present content back."


def _with_ttl(dynamodb: Any, table: str) -> str | None:
    """See https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html."""
    found = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if found.get("TimeToLiveStatus") != "ENABLED":
        return None
    return f"{table} deletes items by {found['AttributeName']}: items whose time is up are deleted again."


def _not_kept(dynamodb: Any, arn: str | None) -> str | None:
    name = "" if arn is None else arn.rpartition("/")[2]
    if parse_restored_name(name) is None:
        return None
    pages = dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
    if any(tag["Key"] == KEEP_TAG for page in pages for tag in page["Tags"]):
        return None
    return f"{name} has no tag {KEEP_TAG!r}: retention_cleanup may sweep it before the check at the end."


def _describe(dynamodb: Any, table: str) -> Mapping[str, Any] | None:
    try:
        described: Mapping[str, Any] = dynamodb.describe_table(TableName=table)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    return described


def _keys(table: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    return tuple(
        (entry["KeyType"], entry["AttributeName"], types[entry["AttributeName"]])
        for entry in sorted(table["KeySchema"], key=lambda entry: str(entry["KeyType"]))
    )


def classes_of(mode: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of changes to make; an undo takes all back unless told otherwise."""
    return tuple(given) or tuple(map(str, ALL_CLASSES if mode == UNDO else DEFAULT_CLASSES))
