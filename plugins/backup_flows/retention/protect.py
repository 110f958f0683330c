"""Keep points from AWS's lifecycle until their verdict, give holds back, let lifecycles agree. No Airflow import."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from backup_flows.retention.inventory import HOLD_PURPOSE, PURPOSE_TAG
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG
from recovery_retention.proving import COLD_DAYS

log = logging.getLogger(__name__)

EXTENDED: Final = "extended"
HELD: Final = "held"
RELEASED: Final = "released"
MOVED: Final = "lifecycle moved"
REFUSED: Final = "refused"
_NUMBERS: Final = frozenset({"MoveToColdStorageAfterDays", "DeleteAfterDays"})
RECORD_DAYS: Final = 365
"""For so long AWS keeps the record of a hold that was released."""


@dataclass(frozen=True)
class Done:
    """What became of one step.

    Attributes:
        subject: ARN of a point, or identifier of a legal hold.
        outcome: one of `EXTENDED`, `HELD`, `RELEASED`, `MOVED`, `REFUSED`.
        lost_at: of a refused rescue, when AWS deletes the point (ISO 8601).
    """

    subject: str
    outcome: str
    detail: str = ""
    lost_at: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))


def protect(
    backup: Any,
    *,
    rescues: Sequence[Mapping[str, Any]],
    releases: Sequence[str],
    lifecycles: Sequence[Mapping[str, Any]],
    may_hold: bool,
    token: str,
) -> list[Done]:
    """Do what a plan says beside deleting.

    Args:
        backup: client of AWS Backup under the retention role.
        rescues: of a plan (:meth:`recovery_retention.proving.Rescue.to_dict`).
        releases: identifiers of legal holds of ours that are no longer needed.
        lifecycles: warnings whose lifecycle is to be moved.
        may_hold: whether a legal hold may stand in where a lifecycle can't be moved.
        token: of the run, so that a retry finds its own holds.
    """
    done: list[Done] = []
    to_hold: list[Mapping[str, Any]] = []
    for rescue in rescues:
        if rescue["action"] == "extend":
            kept, detail = lengthen_lifecycle(backup, rescue)
            if kept:
                done.append(Done(rescue["arn"], EXTENDED, detail))
            elif may_hold:
                log.warning("%s: its lifecycle can't be moved (%s); it is held instead", rescue["arn"], detail)
                to_hold.append(rescue)
            else:
                done.append(Done(rescue["arn"], REFUSED, detail, rescue["lost_at"]))
        elif rescue["action"] == "hold":
            to_hold.append(rescue)
        else:
            done.append(Done(rescue["arn"], REFUSED, rescue["text"], rescue["lost_at"]))
    done += hold(backup, to_hold, token=token)
    done += [release(backup, hold_id) for hold_id in releases]
    for warning in lifecycles:
        kept, detail = lengthen_lifecycle(backup, warning)
        done.append(Done(warning["arn"], MOVED if kept else REFUSED, detail))
    for step in done:
        log.log(logging.ERROR if step.lost_at else logging.INFO, "%s: %s %s", step.subject, step.outcome, step.detail)
    return done


def lengthen_lifecycle(backup: Any, wanted: Mapping[str, Any]) -> tuple[bool, str]:
    """Let a point's lifecycle delete it no earlier than wanted; never earlier than it would now.

    What a plan read may be hours old, so the point is asked first: a person, or a step before this one, may have
    lengthened its lifecycle meanwhile. Both numbers are sent wherever both are set: what is left out would be
    changed too. https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRecoveryPointLifecycle.html

    :return: whether it is kept for so long, with what it goes by now; else AWS's words.
    """
    vault, arn, days = wanted["vault_name"], wanted["arn"], wanted["lifecycle"]["DeleteAfterDays"]
    try:
        point = backup.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=arn)
        present = {name: number for name, number in (point.get("Lifecycle") or {}).items() if name in _NUMBERS}
        until = present.get("DeleteAfterDays")
        # -1 stands for never, as a left out number does.
        if until is None or until < 0 or until >= days:
            return True, f"{present}: it needed no move"
        cold = present.get("MoveToColdStorageAfterDays", -1)
        lifecycle = {"DeleteAfterDays": days}
        if cold > 0:
            lifecycle = {"MoveToColdStorageAfterDays": cold, "DeleteAfterDays": max(days, cold + COLD_DAYS)}
        answer = backup.update_recovery_point_lifecycle(
            BackupVaultName=vault, RecoveryPointArn=arn, Lifecycle=lifecycle
        )
    except ClientError as error:
        return False, str(error)
    given = (answer.get("Lifecycle") or {}).get("DeleteAfterDays")
    if given != lifecycle["DeleteAfterDays"]:
        return False, f"AWS agreed, and deletes it after {given} days all the same."
    return True, str(lifecycle)


def hold(backup: Any, rescues: Iterable[Mapping[str, Any]], *, token: str) -> list[Done]:
    """Put points under legal holds of ours, one for each vault and table: AWS allows 50 in an account.

    A hold selects by vault, resource and date, so it may hold neighbours too, until it is released.
    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateLegalHold.html
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for rescue in rescues:
        groups.setdefault((rescue["vault_name"], rescue["table_name"]), []).append(rescue)
    done = []
    for (vault, table), group in sorted(groups.items()):
        try:
            hold_id = _hold_group(backup, vault, table, [rescue["arn"] for rescue in group], token)
        except ClientError as error:
            done += [Done(rescue["arn"], REFUSED, str(error), rescue["lost_at"]) for rescue in group]
        else:
            done += [Done(rescue["arn"], HELD, hold_id) for rescue in group]
    return done


def _hold_group(backup: Any, vault: str, table: str, arns: Sequence[str], token: str) -> str:
    points = [backup.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=arn) for arn in arns]
    created = [point["CreationDate"].astimezone(dt.UTC) for point in points]
    # Whole days: AWS does not say that it looks at the time of day.
    start = min(created).replace(hour=0, minute=0, second=0, microsecond=0)
    end = max(created).replace(hour=23, minute=59, second=59, microsecond=0)
    answer = backup.create_legal_hold(
        Title=f"Prove before loss: {table}"[:256],
        Description=f"Recovery points of table {table} in vault {vault} wait for a restore drill's verdict. "
        "The DAG retention_cleanup made this hold and releases it.",
        IdempotencyToken=hashlib.sha256("\n".join([token, vault, table, *sorted(arns)]).encode()).hexdigest()[:32],
        RecoveryPointSelection={
            "VaultNames": [vault],
            "ResourceIdentifiers": sorted({point["ResourceArn"] for point in points}),
            "DateRange": {"FromDate": start, "ToDate": end},
        },
        Tags={MANAGED_BY_TAG: MANAGED_BY, PURPOSE_TAG: HOLD_PURPOSE},
    )
    return str(answer["LegalHoldId"])


def release(backup: Any, hold_id: str) -> Done:
    """Cancel a legal hold of ours."""
    try:
        backup.cancel_legal_hold(
            LegalHoldId=hold_id,
            CancelDescription="The recovery points have their verdict, or are gone.",
            RetainRecordInDays=RECORD_DAYS,
        )
    except ClientError as error:
        # Cancelled meanwhile, which is as good.
        if error.response["Error"]["Code"] in {"InvalidResourceStateException", "ResourceNotFoundException"}:
            return Done(hold_id, RELEASED, "it was released already")
        return Done(hold_id, REFUSED, str(error))
    return Done(hold_id, RELEASED)
