"""Keep a drill's evidence in S3: its pack in the table's chain, the report, and the verdict.

What a drill leaves does not depend on how it ended: one that never came to a proof is recorded in the same way.
No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from backup_flows.chain import append, claim_folder
from backup_flows.expectations import keep_history, surroundings_of
from backup_flows.keys import drill_verdict_key, evidence_prefix, verdict_key
from backup_flows.store import get_bytes, get_for_update, put_bytes, put_if
from dynamodb_bulk.compare import Comparison
from dynamodb_bulk.fingerprint import Fingerprint
from restore_proof.evidence import DIFF_NAME, PACK_NAME, REPORT_NAME, Drill, Evidence, Link, make_evidence
from restore_proof.settings import SettingsComparison
from restore_proof.verdict import Verdict

log = logging.getLogger(__name__)

MAX_VERDICT_TRIES = 200
"""Parallel drills of one recovery point that may change its verdict before this one gives up."""
JSON = "application/json"
VERSIONED = ("apache-airflow", "apache-airflow-providers-amazon", "boto3")


class VerdictContentionError(RuntimeError):
    """The verdict on a recovery point changed under every attempt to replace it."""


def versions() -> dict[str, str]:
    """Return the versions of what did the drill."""
    return {name: metadata.version(name) for name in VERSIONED}


def record_evidence(
    s3: Any,
    *,
    bucket: str,
    verdict: Verdict,
    drill: Drill,
    written_at: dt.datetime,
    comparison: Comparison | None = None,
    fingerprints: Mapping[str, Fingerprint] | None = None,
    settings: SettingsComparison | None = None,
    diff: Path | None = None,
) -> Verdict:
    """Write evidence pack, report, differences, history and verdict; append the pack to the table's chain.

    A drill whose evidence is there already gets another folder: what the chain holds is never written over. An attempt
    that dies anywhere in here is repaired by the next one.

    :param verdict: what the drill came to; its subject says what was restored, and for which date.
    :param drill: what was done.
    :param written_at: now (aware).
    :param comparison: what the verdict rests on; None if nothing was compared.
    :param fingerprints: those that were taken, by name.
    :param settings: what came of comparing the settings, if that was done.
    :param diff: a local file of every difference, one line of JSON each.
    :return: the verdict that the drill has then, with its report's address (:func:`record_verdict`).
    :raises backup_flows.chain.ChainContentionError: other drills of the table won every race for the chain's head.
    """
    subject = verdict.subject
    around = surroundings_of(s3, bucket, verdict, drill, ended_at=written_at)
    if around.estimate is not None or around.cost is not None:
        drill = replace(drill, cost={"estimate": around.estimate, "actual": around.cost})
    folder, earlier = claim_folder(s3, bucket, evidence_prefix(subject.table_name, subject.as_of, drill.drill_id))
    verdict = replace(verdict, evidence=f"s3://{bucket}/{folder}{REPORT_NAME}")
    diff_sha256 = None
    if diff is not None:
        with diff.open("rb") as stream:
            diff_sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        s3.upload_file(str(diff), bucket, f"{folder}{DIFF_NAME}")

    def make(previous: Link | None) -> Evidence:
        return make_evidence(
            verdict,
            drill,
            written_at=written_at,
            comparison=comparison,
            fingerprints=fingerprints,
            settings=settings,
            previous=previous,
            earlier_attempts=earlier,
            diff_sha256=diff_sha256,
        )

    evidence = append(s3, bucket=bucket, table=subject.table_name, key=f"{folder}{PACK_NAME}", make=make)
    put_bytes(s3, bucket, f"{folder}{REPORT_NAME}", evidence.report, content_type="text/html")
    own = drill_verdict_key(subject.table_name, subject.recovery_point_arn, subject.as_of, drill.drill_id)
    standing = read_verdict(s3, bucket, own)
    if standing is None or not _keeps(standing, verdict):
        # Before the verdict, which ends the drill: one that is lost in between is recorded anew, by the same names.
        keep_history(s3, bucket, verdict, drill, around, ended_at=written_at)
    verdict = record_verdict(s3, bucket=bucket, verdict=verdict, drill_id=drill.drill_id)
    log.info("Verdict on %s: %s", subject.recovery_point_arn, verdict.proof.label)
    log.info("Report: %s", verdict.evidence)
    return verdict


def record_verdict(s3: Any, *, bucket: str, verdict: Verdict, drill_id: str) -> Verdict:
    """Make a verdict the one that holds if it outweighs that one (`outweighs`), and write it as the drill's own.

    In this order: the drill's own verdict is what ends a drill, so a process that is lost in between leaves a drill
    that is done again, and not one that is over while the recovery point keeps a verdict that it should have lost.

    A drill that has looked at the restored data keeps its verdict when a proof of it crashes: that is a process which
    Airflow gave up, and which found the table dropped after another try had proven it.

    :return: the verdict that the drill has then.
    :raises VerdictContentionError: other drills of the recovery point won every race for its verdict.
    """
    subject = verdict.subject
    own = drill_verdict_key(subject.table_name, subject.recovery_point_arn, subject.as_of, drill_id)
    for _ in range(MAX_VERDICT_TRIES):
        content, condition = get_for_update(s3, bucket, own)
        standing = Verdict.from_json(content) if content is not None else None
        if standing is not None and _keeps(standing, verdict):
            log.warning("The drill keeps its verdict of %s, %s", standing.decided_at, standing.proof.label)
            hold_verdict(s3, bucket=bucket, verdict=standing)
            return standing
        hold_verdict(s3, bucket=bucket, verdict=verdict)
        if put_if(s3, bucket, own, verdict.to_json(), condition, content_type=JSON):
            return verdict
    raise VerdictContentionError(
        f"s3://{bucket}/{own} changed under {MAX_VERDICT_TRIES} attempts to record a verdict; clear this task."
    )


def is_decided(verdict: Verdict) -> bool:
    """Say whether a verdict rests on a look at the restored data, so that it stands."""
    return verdict.is_proven or bool(verdict.counts)


def _keeps(standing: Verdict, new: Verdict) -> bool:
    """Say whether a drill keeps its verdict, because the new one knows less."""
    return is_decided(standing) and not is_decided(new)


def hold_verdict(s3: Any, *, bucket: str, verdict: Verdict) -> bool:
    """See to it that a recorded verdict holds on its recovery point, if it outweighs what does; safe to repeat.

    :return: whether it took another one's place, or an empty one.
    :raises VerdictContentionError: other drills of the recovery point won every race for its verdict.
    """
    key, body = verdict_key(verdict.subject.table_name, verdict.subject.recovery_point_arn), verdict.to_json()
    for _ in range(MAX_VERDICT_TRIES):
        content, condition = get_for_update(s3, bucket, key)
        standing = Verdict.from_json(content) if content is not None else None
        if standing == verdict:
            return False
        if standing is not None and not outweighs(verdict, standing):
            log.warning("The verdict of %s, %s, holds", standing.decided_at, standing.proof.label)
            return False
        if put_if(s3, bucket, key, body, condition, content_type=JSON):
            return True
    raise VerdictContentionError(
        f"s3://{bucket}/{key} changed under {MAX_VERDICT_TRIES} attempts to record a verdict; clear this task."
    )


def outweighs(new: Verdict, standing: Verdict) -> bool:
    """Say whether a verdict takes another one's place on the same recovery point, whichever is recorded first.

    A proof that crashed (it counted nothing) fails its drill, but tells nothing about the recovery point: it does
    not take a proof away, or retention would give up a good point for a bad network. Nor does a proof take a deeper
    one away. Of all others, the one that was decided later holds.
    """
    if standing.is_proven and not new.counts:
        return False
    if new.is_proven and not standing.counts:
        return True
    if new.is_proven and standing.is_proven and new.depth is not standing.depth:
        return new.depth.rank > standing.depth.rank
    return new.decided_at >= standing.decided_at


def read_verdict(s3: Any, bucket: str, key: str) -> Verdict | None:
    """Return a recorded verdict (:func:`backup_flows.keys.verdict_key`), or None if there is none."""
    content = get_bytes(s3, bucket, key)
    return Verdict.from_json(content) if content is not None else None
