"""Mirror the verdict on a recovery point in its tags, for people and tools that look at AWS alone.

The verdict that counts lies in S3; the tags may be missing or late. AWS Backup tags recovery points of its own kind
only (``arn:aws:backup:...``), not the plain DynamoDB backups that it makes where advanced features are off.
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_TagResource.html

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any, Final

from backup_flows.evidence import read_verdict
from backup_flows.keys import verdict_key
from restore_proof.verdict import Verdict

log = logging.getLogger(__name__)

RESULT_TAG: Final = "verdict"
DEPTH_TAG: Final = "verdict-depth"
DECIDED_TAG: Final = "verdict-decided-at"
MAX_LOOKS: Final = 5
"""So many verdicts of parallel drills this one follows; each drill mirrors its own, too."""


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Return a verdict as tags: result, depth, and when it was decided (UTC)."""
    return {
        RESULT_TAG: str(verdict.result),
        DEPTH_TAG: str(verdict.depth),
        DECIDED_TAG: verdict.decided_at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def mirror_verdict(backup: Any, s3: Any, *, bucket: str, table: str, recovery_point_arn: str) -> bool:
    """Put the verdict that holds on a recovery point into its tags; never raises, but logs why it could not.

    A drill beside this one may record a later verdict between the look and the tagging: so it is looked at again
    afterwards, and whoever tags last has seen the last verdict.

    :param backup: a low-level client of AWS Backup.
    :param table: the table that was backed up.
    :return: whether the tags tell the verdict that holds.
    """
    if recovery_point_arn.split(":")[2:3] != ["backup"]:
        log.info("%s is no recovery point of AWS Backup's own kind, so it takes no tags", recovery_point_arn)
        return False
    try:
        return _follow_verdict(backup, s3, bucket, verdict_key(table, recovery_point_arn), recovery_point_arn)
    except Exception:
        # Whatever it is (no right, throttled, the point expired), it must not touch the proof.
        log.warning("The verdict on %s could not be put into its tags", recovery_point_arn, exc_info=True)
        return False


def _follow_verdict(backup: Any, s3: Any, bucket: str, key: str, recovery_point_arn: str) -> bool:
    told: dict[str, str] = {}
    for _ in range(MAX_LOOKS):
        verdict = read_verdict(s3, bucket, key)
        wanted = verdict_tags(verdict) if verdict is not None else {}
        if wanted == told:
            return bool(told)
        backup.tag_resource(ResourceArn=recovery_point_arn, Tags=wanted)
        told = wanted
    log.info("Verdicts on %s follow each other fast; the last drill's tags will tell the last", recovery_point_arn)
    return False
