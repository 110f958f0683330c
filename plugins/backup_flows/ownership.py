"""Which recovery points this project made: the one question that decides whether it may ever delete one.

The tag ``managed-by`` alone tells nothing. A recovery point inherits its table's tags, a table gets those of its
CloudFormation stack, and the stack carries ours; so does every restored copy. What somebody else backs up by hand, or
by a plan of their own, carries the tag too. So it must agree with what a table does not carry:

* a backup plan made it: the plan is ours, or bears the name that the plan's rule wrote on the point;
* a run made it: the point is marked with the DAG, the run and the very table that it was made of.

AWS keeps no tags of plain DynamoDB backups: of those, our own record of the run that made them is asked.

https://docs.aws.amazon.com/aws-backup/latest/devguide/recovery-points.html

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from aws_backup.hooks.backup import is_taggable
from recovery_retention.names import MANAGED_BY, MANAGED_BY_TAG, RUN_TAG
from recovery_retention.recovery_point import table_name_of

TABLE_TAG: Final = "table"
AS_OF_TAG: Final = "as-of"
DAG_TAG: Final = "dag"
PLAN_TAG: Final = "plan"


@dataclass(frozen=True)
class Origin:
    """What is known of a point's making beside its tags; it never changes.

    Attributes:
        table: name of the table that it was made of.
        plan: name of the backup plan that made it, empty where AWS does not tell it; None: no plan did.
        vouched: whether that plan is ours, or, where AWS keeps no tags, our record names the run that made it.
    """

    table: str
    plan: str | None = None
    vouched: bool = False

    @classmethod
    def of(cls, point: Mapping[str, Any], *, vouched: bool = False) -> Self:
        """Take it from an answer of AWS Backup.

        Args:
            point: a member of ListRecoveryPointsByBackupVault, or the answer of DescribeRecoveryPoint.
            vouched: see `vouched`.
        """
        plan = str(point["CreatedBy"].get("BackupPlanName", "")) if plan_arn_of(point) else None
        return cls(table_name_of(point["ResourceArn"]), plan, vouched)


def plan_arn_of(point: Mapping[str, Any]) -> str | None:
    """Return the ARN of the backup plan that made a point, as AWS describes it; None: no plan did."""
    arn = (point.get("CreatedBy") or {}).get("BackupPlanArn")
    return str(arn) if arn else None


def is_own_plan(tags: Mapping[str, str]) -> bool:
    """Say whether a backup plan is ours, by its tags: a plan inherits none, so that ours is enough there."""
    return tags.get(MANAGED_BY_TAG) == MANAGED_BY


def is_ours(arn: str, tags: Mapping[str, str], origin: Origin) -> bool:
    """Say whether this project made a point."""
    if not is_taggable(arn):
        return origin.vouched
    if tags.get(MANAGED_BY_TAG) != MANAGED_BY:
        return False
    if origin.plan is not None:
        return origin.vouched or (bool(origin.plan) and tags.get(PLAN_TAG) == origin.plan)
    return bool(tags.get(DAG_TAG) and tags.get(RUN_TAG)) and tags.get(TABLE_TAG) == origin.table
