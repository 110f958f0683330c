"""What AWS Backup may do under the role that it is handed, where IAM is enforced.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/iam-service-roles.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/UsageNotesAWS.html.
"""

from collections.abc import Iterable
from typing import Any, Final

from moto.iam.models import Role, iam_backends

from local_aws.access.backup_calls import BACKUP_SERVICE
from local_aws.access.callers import role_caller
from local_aws.access.decisions import Policies, decide
from local_aws.access.enforcement import AccessDenied, check
from local_aws.access.identity_calls import find_role
from local_aws.access.permissions import Permission
from local_aws.access.policies import Ask, statements
from local_aws.clock import CLOCK
from local_aws.settings import SETTINGS

_RESTORED_TABLE_ACTIONS: Final = (
    # DynamoDB asks for these of whoever restores, see
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html.
    "BatchWriteItem",
    "DeleteItem",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "UpdateItem",
)


def backup_permissions(table_arn: str, *, advanced: bool) -> list[Permission]:
    """Return what a role needs to back a table up."""
    actions = ("StartAwsBackupJob", "ListTagsOfResource") if advanced else ("CreateBackup",)
    return [Permission(f"dynamodb:{action}", table_arn) for action in ("DescribeTable", *actions)]


def restore_permissions(point_arn: str, target_arn: str, *, advanced: bool, with_tags: bool) -> list[Permission]:
    """Return what a role needs to restore a recovery point to a new table."""
    if advanced:
        needed = [Permission("dynamodb:RestoreTableFromAwsBackup", target_arn)]
    else:
        needed = [Permission("dynamodb:RestoreTableFromBackup", point_arn)]
        needed += [Permission(f"dynamodb:{action}", target_arn) for action in _RESTORED_TABLE_ACTIONS]
    if with_tags:
        needed.append(Permission("dynamodb:TagResource", target_arn))
    return needed


def copy_permissions(source: tuple[str, str | None], target: tuple[str, str | None]) -> list[Permission]:
    """Return what a role needs to copy a recovery point.

    Args:
        source: ARN and access policy of the vault that it is copied from.
        target: The same of the vault that it is copied into.
    """
    copied_to = {"backup:copytargets": (target[0],)}
    return [
        Permission("backup:CopyFromBackupVault", source[0], copied_to, source[1]),
        Permission("backup:CopyIntoBackupVault", target[0], {}, target[1]),
    ]


def deletion_permissions(point_arn: str, *, advanced: bool) -> list[Permission]:
    """Return what a role needs so that AWS Backup can delete a recovery point: a plain one is DynamoDB's."""
    return [] if advanced else [Permission("dynamodb:DeleteBackup", point_arn)]


def why_role_may_not(role_arn: str | None, needed: Iterable[Permission], region: str) -> str | None:
    """Return why AWS Backup cannot do something under a role: the message of the job that fails for it.

    Args:
        role_arn: The role that a caller handed to AWS Backup, if any.
        needed: What has to be allowed.
        region: Where.

    Returns:
        None if it can, or if IAM is not enforced.
    """
    if not SETTINGS.enforce_iam or role_arn is None:
        return None
    role = find_role(role_arn)
    if role is None or not _trusts_backup(role):
        return f"IAM Role {role_arn} cannot be assumed by AWS Backup"
    backend: Any = iam_backends[role.account_id][role.partition]
    caller = role_caller(backend, role, f"AWSBackup-{role.name}")
    context = request_context(region)
    try:
        for permission in needed:
            check(caller, permission, context)
    except AccessDenied as error:
        return str(error)
    return None


def request_context(region: str) -> dict[str, tuple[str, ...]]:
    """Return the condition keys of what AWS Backup asks for, those of the role aside."""
    now = CLOCK.now()
    return {
        "aws:securetransport": ("true",),
        "aws:viaawsservice": ("false",),
        "aws:requestedregion": (region,),
        "aws:currenttime": (now.isoformat(),),
        "aws:epochtime": (str(now.timestamp()),),
    }


def _trusts_backup(role: Role) -> bool:
    context = {"aws:sourceaccount": (role.account_id,), "aws:principalservicename": (BACKUP_SERVICE,)}
    ask = Ask("sts:AssumeRole", role.arn, context, service=BACKUP_SERVICE)
    trust = Policies(resource=statements(role.assume_role_policy_document), resource_must_allow=True)
    return decide(ask, trust) is None
