"""Right before a deletion, ask once more; afterwards, tell what really happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from aws_backup.exceptions import AwsBackupError
from aws_backup.hooks.backup import BackupHook
from aws_backup.operators.backup import BackupDeleteRecoveryPointOperator
from backup_flows.evidence import read_verdict
from backup_flows.keys import verdict_key
from backup_flows.ownership import is_ours
from backup_flows.retention.inventory import RESTORING, drills_in_progress, proof_of
from backup_flows.retention.planning import Deletion
from backup_flows.retention.store import RunFiles
from recovery_retention.plan import USABLE_STATUSES
from restore_proof.verdict import Proof, Result


def objection(
    deletion: Deletion,
    tags: Mapping[str, str],
    *,
    hook: BackupHook,
    s3: Any,
    dynamodb: Any,
    bucket: str,
    is_active: Callable[[str, str], bool],
    now: dt.datetime,
) -> str | None:
    """Say what speaks against a deletion that was planned a while ago; None if nothing does.

    Args:
        deletion: as it was planned.
        tags: the point's, right now.
        hook: of AWS Backup, under the everyday role.
        is_active: tells of a run (dag_id, run_id) whether it is queued or running.
        now: the present, on AWS's clock.
    """
    if deletion.managed and not is_ours(deletion.arn, tags, deletion.origin):
        return "it no longer carries this project's mark (tag managed-by, and those of the run or plan that made it)"
    carried = {text for key, value in tags.items() for text in (key, f"{key}={value}")}
    for entry in deletion.keep_tags:
        if {part.strip() for part in entry.split(",")} <= carried:
            return f"it was tagged {entry} meanwhile, which keeps it"
    for state in RESTORING:
        if any(job["RecoveryPointArn"] == deletion.arn for job in hook.list_restore_jobs(ByStatus=state)):
            return "a restore job uses it"
    if drills_in_progress(s3, dynamodb, bucket, is_active, now, arn=deletion.arn):
        return "a drill of a run that is not over uses it"
    verdict = _label(_proof_now(s3, bucket, deletion.table, deletion.arn))
    if verdict != deletion.verdict:
        return f"its verdict was {deletion.verdict or 'none'} when the deletion was planned, and is {verdict} now"
    for arn, label in deletion.relies_on.items():
        what = f"{arn}, {f'which is {label}' if label else 'one of the newest'} and was to stay,"
        other = hook.find_recovery_point(deletion.vault, arn)
        if other is None or other["Status"] not in USABLE_STATUSES:
            return f"{what} can't be restored any more"
        proof = _proof_now(s3, bucket, deletion.table, arn)
        if label is not None and _label(proof) != label:
            return f"{what} is not that any more: its verdict is {_label(proof)} now"
        if proof is not None and proof.result is Result.FAILED:
            return f"{what} turned out to be bad: its drill {proof.label}"
    return None


def _proof_now(s3: Any, bucket: str, table: str, arn: str) -> Proof | None:
    verdict = read_verdict(s3, bucket, verdict_key(table, arn))
    return proof_of(verdict) if verdict is not None else None


def _label(proof: Proof | None) -> str | None:
    return proof.label if proof is not None else None


class RetireRecoveryPointOperator(BackupDeleteRecoveryPointOperator):
    """Delete one point of a plan; put on record why, where it is not deleted.

    :param files_of: returns the documents of the run, given the task's context.
    """

    def __init__(self, *, files_of: Callable[[Any], RunFiles], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.files_of = files_of

    def execute(self, context: Any) -> str:
        """Ask once more, delete, wait."""
        try:
            return super().execute(context)
        except AwsBackupError as error:
            self.files_of(context).refuse(self.recovery_point_arn, str(error))
            raise

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> str:
        """Take the trigger's event."""
        try:
            return super().execute_complete(context, event)
        except AwsBackupError as error:
            self.files_of(context).refuse(self.recovery_point_arn, str(error))
            raise


def outcomes(
    hook: BackupHook, wanted: Mapping[str, Mapping[str, Any]], refusals: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Ask AWS what became of points that were to go.

    :param wanted: with their ``vault`` and ``created_at``, by ARN.
    :param refusals: why some were not deleted, as far as that is on record.
    :return: the ARNs of those that are gone, and why the others are not, oldest first.
    """
    gone: list[str] = []
    left: dict[str, str] = {}
    for arn, entry in sorted(wanted.items(), key=lambda item: (item[1]["created_at"], item[0])):
        point = hook.find_recovery_point(entry["vault"], arn)
        if point is None:
            gone.append(arn)
        elif point["Status"] == "EXPIRED":
            says = point.get("StatusMessage") or "no reason"
            left[arn] = (
                f"AWS accepted the deletion and could not do it (EXPIRED; AWS gives {says}): {refusals.get(arn, '')}"
            ).rstrip(": ")
        elif point["Status"] == "DELETING":
            left[arn] = "AWS is still deleting it"
        else:
            left[arn] = refusals.get(arn, "its deletion was not asked for: the run ended before")
    return gone, left
