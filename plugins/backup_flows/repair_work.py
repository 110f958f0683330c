"""The steps of a repair between DynamoDB and S3: find, plan, write, check, undo.

What a repair leaves behind lies below one prefix::

    repairs/<table>/<as_of>-<run>/diff.jsonl              every difference, with the old and the new item
                                  before.fingerprint.gz   what the live table held before the first write
                                  plan.json               what was chosen, and what a dry run of it came to
                                  undo/<attempt>-<number>.jsonl   what takes the writes back, kept before each of them
                                  outcomes/<attempt>.jsonl        what became of each item
                                  receipt.json

No Airflow import.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from backup_flows.repair_request import UNDO_FOLDER, RepairRequest, table_exists
from backup_flows.store import get_bytes, put_bytes
from dynamodb_bulk.changes import Change, ChangesHeader, read_changes, write_change
from dynamodb_bulk.diff import DiffSettings, Side, TableDiff, TableDifference, diff_tables
from dynamodb_bulk.fingerprint import take_fingerprint
from dynamodb_bulk.outcomes import Done, Outcome, RepairResult
from dynamodb_bulk.repair import RepairSettings, make_changes
from dynamodb_bulk.scan import table_key_names
from dynamodb_bulk.sums import Fingerprint

DIFF_NAME = "diff.jsonl"
PLAN_NAME = "plan.json"
BEFORE_NAME = "before.fingerprint.gz"
OUTCOMES_FOLDER = "outcomes/"
LISTED = 20
"""So many items are named in a log or to the person who approves; all of them are in S3."""
_BLOCK = 1024 * 1024


class RepairDocumentError(RuntimeError):
    """What a repair keeps in S3 is not there, or is not what it was."""


class NothingToUndoError(RepairDocumentError):
    """A repair left no undo file: it wrote nothing."""


@dataclass(frozen=True)
class Found:
    """The changes that there are to choose from.

    Attributes:
        sha256: of the file with them; whoever approves approves these.
        total: how many.
        classes: how many of each class.
        moved: buckets of the live table that were written to while they were read.
    """

    sha256: str
    total: int
    classes: dict[str, int]
    moved: int = 0


class UndoParts:
    """Keeps undo lines in S3: each batch an object of its own, which is there before the batch is written.

    Args:
        s3: a low-level client.
        request: the repair.
        header: of which table the changes are.
        attempt: sorts after every earlier attempt's; no two attempts have the same.
    """

    def __init__(self, s3: Any, request: RepairRequest, header: ChangesHeader, attempt: str) -> None:
        self._s3 = s3
        self._bucket = request.bucket
        self._prefix = f"{request.prefix}{UNDO_FOLDER}{attempt}"
        self._header = header.to_line()
        self._parts = 0

    def write(self, lines: Sequence[bytes]) -> None:
        """Put a part; S3 has it durably when this returns."""
        self._parts += 1
        key = f"{self._prefix}-{self._parts:08}.jsonl"
        put_bytes(self._s3, self._bucket, key, self._header + b"".join(lines), content_type="application/x-ndjson")


def undo_parts(s3: Any, bucket: str, prefix: str) -> list[str]:
    """Return the keys of a repair's undo parts, newest first: what was written last is taken back first."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sorted((entry["Key"] for page in pages for entry in page.get("Contents", [])), reverse=True)


def find_differences(dynamodb: Any, s3: Any, request: RepairRequest) -> Found:
    """Compare the live table with the restored one, item by item, and keep what differs in S3."""
    live, source = Side(dynamodb, request.table), Side(dynamodb, str(request.source))
    header = ChangesHeader(request.table, table_key_names(dynamodb, request.table), source=request.source)
    before = _fingerprint(dynamodb, request, request.table, header)
    if not undo_parts(s3, request.bucket, f"{request.prefix}{UNDO_FOLDER}"):
        # Else this run has written already, and what the table held before that is on record.
        key = f"{request.prefix}{BEFORE_NAME}"
        put_bytes(s3, request.bucket, key, before.to_bytes(), content_type="application/gzip")
    fingerprints = (_fingerprint(dynamodb, request, str(request.source), header), before)
    with tempfile.TemporaryFile() as file:
        file.write(header.to_line())
        diff = diff_tables(
            source,
            live,
            fingerprints=fingerprints,
            found=lambda one: write_change(file, one),
            settings=DiffSettings(max_rcu=request.max_rcu, list_cap=0),
        )
        sha256 = _keep(s3, request, file)
    classes = {name: count for name in ("missing", "extra", "changed") if (count := getattr(diff, name))}
    return Found(sha256, diff.total, classes, diff.moved_right)


def gather_undo(s3: Any, request: RepairRequest) -> Found:
    """Put the undo parts of a repair together, in the order in which they are to be taken back.

    Raises:
        NothingToUndoError: there are none.
        RepairDocumentError: they are of another table.
    """
    parts = undo_parts(s3, request.bucket, str(request.undo_prefix))
    if not parts:
        raise NothingToUndoError(
            f"There is no undo file below s3://{request.bucket}/{request.undo_prefix}: that repair wrote nothing."
        )
    classes: dict[str, int] = {}
    with tempfile.TemporaryFile() as file:
        for number, key in enumerate(parts):
            content = get_bytes(s3, request.bucket, key) or b""
            header, changes = read_changes(content.splitlines(keepends=True), key)
            if header.table != request.table:
                raise RepairDocumentError(f"{key} undoes a repair of table {header.table}, not of {request.table}.")
            if number == 0:
                file.write(header.to_line())
            for change in changes:
                file.write(change.to_line())
                classes[change.kind] = classes.get(change.kind, 0) + 1
        sha256 = _keep(s3, request, file)
    return Found(sha256, sum(classes.values()), classes)


def dry_run(dynamodb: Any, s3: Any, request: RepairRequest, found: Found) -> tuple[RepairResult, dict[str, Any]]:
    """Look which of the chosen changes could be made; return the account, and examples for a person."""
    examples: list[dict[str, Any]] = []
    with _changes_file(s3, request, found.sha256) as file:
        header, changes = read_changes(file, DIFF_NAME)
        choice = request.choice(s3, header.key_names)

        def chosen() -> Iterator[Any]:
            for change in choice.select(changes):
                if len(examples) < LISTED:
                    examples.append({"key": change.key, "class": str(change.kind), "paths": list(change.paths())})
                yield change

        result = make_changes(
            dynamodb, header, chosen(), settings=RepairSettings(max_rcu=request.max_rcu, list_cap=LISTED)
        )
    return result, {"examples": examples, "keys_without_a_change": list(choice.unmet_keys)[:LISTED]}


def write_changes(
    dynamodb: Any,
    s3: Any,
    request: RepairRequest,
    sha256: str,
    *,
    attempt: str,
    before_batch: Callable[[], None],
) -> dict[str, Any]:
    """Make the chosen changes. Safe to repeat: what an earlier attempt wrote is found done, and counted as repaired.

    Args:
        dynamodb: a low-level client.
        s3: a low-level client.
        request: the repair.
        sha256: of the file of changes that was approved.
        attempt: names this attempt; sorts after the earlier ones.
        before_batch: called before each batch; what it raises ends the attempt.

    Returns:
        The account, JSON-ready.
    """
    earlier = frozenset(_keys_written(s3, request))
    with _changes_file(s3, request, sha256) as file, tempfile.TemporaryFile() as told:
        header, changes = read_changes(file, DIFF_NAME)
        again = [0]

        def tell(done: Done) -> None:
            again[0] += done.outcome is Outcome.ALREADY and done.key in earlier
            told.write(done.to_line())

        try:
            result = make_changes(
                dynamodb,
                header,
                request.choice(s3, header.key_names).select(changes),
                undo=UndoParts(s3, request, header, attempt),
                told=tell,
                before_batch=before_batch,
                settings=RepairSettings(
                    dry_run=False, max_wcu=request.max_wcu, max_rcu=request.max_rcu, list_cap=LISTED
                ),
            )
        finally:
            told.seek(0)
            s3.upload_fileobj(told, request.bucket, f"{request.prefix}{OUTCOMES_FOLDER}{attempt}.jsonl")
    account = result.to_dict()
    account["repaired"] += again[0]
    account["already"] -= again[0]
    return account


def _keys_written(s3: Any, request: RepairRequest) -> Iterator[str]:
    for key in undo_parts(s3, request.bucket, f"{request.prefix}{UNDO_FOLDER}"):
        content = get_bytes(s3, request.bucket, key) or b""
        for change in read_changes(content.splitlines(keepends=True), key)[1]:
            yield change.key


def check_repair(dynamodb: Any, s3: Any, request: RepairRequest) -> dict[str, Any]:
    """Compare the tables once more, and say of what still differs why it does.

    Returns:
        ``equal``: the fingerprints of both tables are equal, None where the restored table is gone by now;
        ``not_chosen``: differences that were not to be repaired; ``unrepaired``: those that were, and are not.
    """
    if not table_exists(dynamodb, str(request.source)):
        return {"equal": None, "not_chosen": None, "unrepaired": None, "listed": []}
    header = ChangesHeader(request.table, table_key_names(dynamodb, request.table), source=request.source)
    choice = request.choice(s3, header.key_names)
    counts = {"not_chosen": 0, "unrepaired": 0}
    listed: list[str] = []

    def seen(difference: TableDifference) -> None:
        chosen = any(choice.select([Change.of_difference(difference)]))
        counts["unrepaired" if chosen else "not_chosen"] += 1
        if chosen and len(listed) < LISTED:
            listed.append(difference.key)

    diff: TableDiff = diff_tables(
        Side(dynamodb, str(request.source)),
        Side(dynamodb, request.table),
        found=seen,
        settings=DiffSettings(max_rcu=request.max_rcu, list_cap=0),
    )
    return {"equal": diff.equal, **counts, "listed": listed}


def check_undo(dynamodb: Any, s3: Any, request: RepairRequest) -> dict[str, Any]:
    """Compare the live table with what it held before the repair that was undone.

    Returns:
        ``equal``: whether it holds the same again; None where there is no record of what it held.
    """
    key = f"{str(request.undo_prefix).removesuffix(UNDO_FOLDER)}{BEFORE_NAME}"
    content = get_bytes(s3, request.bucket, key)
    if content is None:
        return {"equal": None}
    before = Fingerprint.from_bytes(content)
    header = ChangesHeader(request.table, before.key_names)
    now = _fingerprint(dynamodb, request, request.table, header)
    return {"equal": not before.unequal_buckets(now), "unequal_buckets": len(before.unequal_buckets(now))}


def _fingerprint(dynamodb: Any, request: RepairRequest, table: str, header: ChangesHeader) -> Fingerprint:
    return take_fingerprint(dynamodb, table, key_names=header.key_names, max_rcu=request.max_rcu)


def _keep(s3: Any, request: RepairRequest, file: BinaryIO) -> str:
    """Upload the file of changes; return its SHA-256."""
    sha256 = _sha256(file)
    s3.upload_fileobj(file, request.bucket, f"{request.prefix}{DIFF_NAME}")
    return sha256


@contextmanager
def _changes_file(s3: Any, request: RepairRequest, sha256: str) -> Iterator[BinaryIO]:
    """Bring the file of changes here, if it is still the one that was approved."""
    address = request.address(DIFF_NAME)
    with tempfile.TemporaryFile() as file:
        s3.download_fileobj(request.bucket, f"{request.prefix}{DIFF_NAME}", file)
        if _sha256(file) != sha256:
            raise RepairDocumentError(
                f"{address} is not the file that was approved: it was changed since. Clear the run from its first task."
            )
        yield file


def _sha256(file: BinaryIO) -> str:
    """Return the SHA-256 of a file, and leave it at its beginning."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(_BLOCK):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()
