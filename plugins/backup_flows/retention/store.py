"""What cleanups keep in S3.

Below the bucket::

    retention/inventory.json               the inventory before, as far as the next one is held against it
    retention/latest.json                  which plan is the newest
    retention/tags.json.gz                 see tag_book
    retention/<as_of>-<run>/plan.json      every decision of one run, with its reasons
    retention/<as_of>-<run>/steps.json     what the run is going to do
    retention/<as_of>-<run>/wanted.json    what it was agreed to delete, by all tries of the run
    retention/<as_of>-<run>/refused/*.json what was not deleted, and why
    retention/<as_of>-<run>/receipt.json   what really happened

No Airflow import.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from botocore.exceptions import ClientError

from backup_flows.keys import recovery_point_id, retention_prefix
from backup_flows.store import get_json, put_bytes, put_json
from recovery_retention.inventory import LastInventory

LAST_KEY: Final = "retention/inventory.json"
LATEST_KEY: Final = "retention/latest.json"


class InventoryMovedError(RuntimeError):
    """Another cleanup replaced the remembered inventory meanwhile; the task may be tried again."""


@dataclass(frozen=True)
class Remembered:
    """The inventory before, and the condition under which it may be replaced."""

    last: LastInventory | None
    condition: Mapping[str, str]


def read_last(s3: Any, bucket: str) -> Remembered:
    """Return the inventory that the cleanup before this one remembered, if there was one."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=LAST_KEY)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return Remembered(None, {"IfNoneMatch": "*"})
        raise
    return Remembered(LastInventory.from_dict(json.loads(answer["Body"].read())), {"IfMatch": answer["ETag"]})


def remember(s3: Any, bucket: str, inventory: LastInventory, condition: Mapping[str, str]) -> None:
    """Let an inventory replace the one before, if nobody else did.

    :raises InventoryMovedError: somebody did.
    """
    body = json.dumps(inventory.to_dict(), sort_keys=True).encode()
    try:
        s3.put_object(Bucket=bucket, Key=LAST_KEY, Body=body, ContentType="application/json", **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict", "412"}:
            raise InventoryMovedError(
                f"s3://{bucket}/{LAST_KEY} was replaced by another cleanup meanwhile. Run this one again."
            ) from error
        raise


def remember_deletions(s3: Any, bucket: str, deleted: Mapping[str, int]) -> None:
    """Note how many points of the remembered inventory go on purpose, by vault: they are not missing then."""
    standing = read_last(s3, bucket)
    if standing.last is not None and dict(standing.last.deleted) != dict(deleted):
        remember(s3, bucket, replace(standing.last, deleted=dict(deleted)), standing.condition)


@dataclass(frozen=True)
class RunFiles:
    """The documents of one run."""

    s3: Any
    bucket: str
    as_of: str
    run: str

    @property
    def prefix(self) -> str:
        """Where they lie."""
        return retention_prefix(self.as_of, self.run)

    def write_plan(self, document: Mapping[str, Any]) -> str:
        """Keep a plan; return its address."""
        # Of a large fleet, so without the spaces of other documents.
        body = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return put_bytes(self.s3, self.bucket, f"{self.prefix}plan.json", body, content_type="application/json")

    def put(self, name: str, document: Any) -> str:
        """Keep a document; return its address."""
        return put_json(self.s3, self.bucket, f"{self.prefix}{name}", document)

    def get(self, name: str) -> dict[str, Any]:
        """Return a document; empty if there is none."""
        return get_json(self.s3, self.bucket, f"{self.prefix}{name}") or {}

    def point_out(self, document: Mapping[str, Any]) -> None:
        """Let this run's plan be the newest."""
        put_json(self.s3, self.bucket, LATEST_KEY, {"plan": f"{self.prefix}plan.json", **document})

    def want(self, deletions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Put on record, before anything is deleted, what is going to be; return it with that of earlier tries."""
        wanted = {**self.get("wanted.json"), **deletions}
        self.put("wanted.json", wanted)
        return wanted

    def refuse(self, arn: str, reason: str) -> None:
        """Put on record why a point was not deleted."""
        self.put(f"refused/{recovery_point_id(arn)}.json", {"recovery_point_arn": arn, "reason": reason})

    def refusals(self) -> Iterator[tuple[str, str]]:
        """Yield what was not deleted, and why."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}refused/")
        for page in pages:
            for entry in page.get("Contents", []):
                document = get_json(self.s3, self.bucket, entry["Key"]) or {}
                yield document["recovery_point_arn"], document["reason"]
