"""Append a pack of evidence to its table's chain in S3, beside other drills that do the same.

The chain's head is moved by conditional write, so one of many drills wins, and the others follow it. A pack's key
belongs to the one process that created it, by conditional write too: what another process wrote, an earlier attempt
of the same drill included, is never written over, as the head may name it. An attempt that died between its pack and
the head leaves a pack beside the chain; the attempt that follows names it in its own.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

No Airflow import.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from backup_flows.store import get_bytes, get_for_update, put_bytes, put_if, put_once
from restore_proof.chain import Head, head_key
from restore_proof.evidence import CLAIM, PACK_NAME, Evidence, EvidenceFormatError, Link, read_pack

log = logging.getLogger(__name__)

MAX_CHAIN_TRIES = 200
"""Parallel drills of one table that may move the head of its chain before this one gives up."""
JSON = "application/json"


class ChainContentionError(RuntimeError):
    """The head of a table's chain of evidence moved under every attempt to append to it."""


def claim_folder(s3: Any, bucket: str, prefix: str) -> tuple[str, tuple[str, ...]]:
    """Take a folder for an attempt's evidence that no other attempt has.

    :param prefix: of the drill's first attempt; a later one has a number at the end of its own.
    :return: the folder's prefix, and the keys of the packs that earlier attempts left.
    """
    earlier: list[str] = []
    folder = prefix
    while not put_once(s3, bucket, f"{folder}{PACK_NAME}", CLAIM, content_type=JSON):
        earlier.append(f"{folder}{PACK_NAME}")
        folder = f"{prefix.removesuffix('/')}.{len(earlier) + 1}/"
    return folder, tuple(earlier)


def append(s3: Any, *, bucket: str, table: str, key: str, make: Callable[[Link | None], Evidence]) -> Evidence:
    """Append a pack to its table's chain.

    :param key: of the pack, claimed by this process.
    :param make: makes the evidence that follows a pack.
    :return: the evidence as it is in the chain.
    :raises ChainContentionError: other drills of the table won every race for the chain's head.
    """
    place = head_key(table)
    for _ in range(MAX_CHAIN_TRIES):
        head, condition = _read_head(s3, bucket, place)
        previous = Link(head.sha256, head.pack, head.count) if head is not None else None
        evidence = make(previous)
        put_bytes(s3, bucket, key, evidence.pack, content_type=JSON)
        position = previous.position + 1 if previous is not None else 1
        moved = Head(position, evidence.sha256, key).to_json()
        if put_if(s3, bucket, place, moved, condition, content_type=JSON):
            return evidence
        # A write that S3 took, whose answer got lost, is repeated by the client, and then refused.
        if _is_linked(s3, bucket, place, Link(evidence.sha256, key, position)):
            return evidence
    raise ChainContentionError(
        f"s3://{bucket}/{place} changed under {MAX_CHAIN_TRIES} attempts to append to it; clear this task."
    )


def _is_linked(s3: Any, bucket: str, place: str, own: Link) -> bool:
    """Say whether the chain holds a pack, walking back from its head no farther than to the pack's position."""
    head, _ = _read_head(s3, bucket, place)
    if head is None:
        return False
    link = Link(head.sha256, head.pack, head.count)
    while link.position > own.position:
        try:
            document = read_pack(get_bytes(s3, bucket, link.key) or b"")
        except EvidenceFormatError:
            log.warning("Pack %s of the chain can't be read; verify the chain", link.key)
            return False
        link = Link(str(document.get("previous_sha256")), str(document.get("previous_key")), link.position - 1)
    return link == own


def _read_head(s3: Any, bucket: str, key: str) -> tuple[Head | None, Mapping[str, str]]:
    """Return the head of the chain, and the condition under which it may be replaced."""
    content, condition = get_for_update(s3, bucket, key)
    return (Head.read(content) if content is not None else None), condition
