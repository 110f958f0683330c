"""What calls to AWS Backup need.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbackup.html.
"""

from collections.abc import Iterable
from typing import Any, Final

from moto.backup.models import backup_backends

from local_aws.access.permissions import (
    NO_RESOURCE,
    Call,
    Permission,
    pass_role,
    request_tags,
    resource_tags,
    tag_mapping,
)

BACKUP_SERVICE: Final = "backup.amazonaws.com"
RESTORE_TESTING_SERVICE: Final = "restore-testing.backup.amazonaws.com"

_ON_POINT: Final = frozenset(
    {
        "DeleteRecoveryPoint",
        "DescribeRecoveryPoint",
        "DisassociateRecoveryPoint",
        "DisassociateRecoveryPointFromParent",
        "GetRecoveryPointRestoreMetadata",
        "StartCopyJob",
        "StartRestoreJob",
        "UpdateRecoveryPointLifecycle",
    }
)
_ON_ONE_OF: Final = (
    # The parameter that names the resource, and the start of the resource's part of the ARN. In order: a
    # recovery point's call names its vault too.
    ("BackupVaultName", "backup-vault:"),
    ("BackupPlanId", "backup-plan:"),
    ("LegalHoldId", "legal-hold:"),
    ("ReportPlanName", "report-plan:"),
)
_NEW: Final = {
    "CreateBackupPlan": "backup-plan:",
    "CreateLegalHold": "legal-hold:",
    "CreateReportPlan": "report-plan:",
    "CreateRestoreTestingPlan": "restore-testing-plan:",
}
_ON_NO_RESOURCE: Final = frozenset(
    {
        "DescribeBackupJob",
        "DescribeCopyJob",
        "DescribeGlobalSettings",
        "DescribeProtectedResource",
        "DescribeRegionSettings",
        "DescribeReportJob",
        "DescribeRestoreJob",
        "GetRestoreJobMetadata",
        "GetSupportedResourceTypes",
        "ListBackupJobs",
        "ListBackupJobSummaries",
        "ListBackupPlans",
        "ListBackupVaults",
        "ListCopyJobs",
        "ListCopyJobSummaries",
        "ListLegalHolds",
        "ListProtectedResources",
        "ListRecoveryPointsByResource",
        "ListReportJobs",
        "ListReportPlans",
        "ListRestoreJobs",
        "ListRestoreJobsByProtectedResource",
        "ListRestoreJobSummaries",
        "ListRestoreTestingPlans",
        "PutRestoreValidationResult",
        "StopBackupJob",
        "UpdateGlobalSettings",
        "UpdateRegionSettings",
    }
)
_LOCK_KEYS: Final = {
    "ChangeableForDays": "backup:changeablefordays",
    "MaxRetentionDays": "backup:maxretentiondays",
    "MinRetentionDays": "backup:minretentiondays",
}
_TAGS: Final = ("BackupVaultTags", "BackupPlanTags", "Tags", "ReportPlanTags")


def permissions(call: Call) -> Iterable[Permission]:
    """Return what a call to AWS Backup needs, that of handing its role on included."""
    resource = _resource(call)
    keys = request_tags(next((tag_mapping(call.parameters[name]) for name in _TAGS if call.parameters.get(name)), {}))
    keys |= {key: (str(call.parameters[name]),) for name, key in _LOCK_KEYS.items() if call.parameters.get(name)}
    if resource is not None:
        keys |= resource_tags(_tags_of(call, resource))
    if call.operation == "UntagResource":
        keys["aws:tagkeys"] = tuple(call.parameters.get("TagKeyList") or ())
    yield Permission(f"backup:{call.operation}", resource, keys, _vault_policy(call))
    yield from _passed_role(call)


def _resource(call: Call) -> str | None:
    if call.operation in _ON_POINT:
        return call.text("RecoveryPointArn")
    if call.operation in _ON_NO_RESOURCE:
        return NO_RESOURCE
    if call.operation in ("TagResource", "UntagResource", "ListTags"):
        return call.text("ResourceArn")
    if call.operation in _NEW:
        return call.arn(f"{_NEW[call.operation]}*")
    for parameter, start in _ON_ONE_OF:
        if name := call.text(parameter):
            return call.arn(f"{start}{name}")
    return None


def _passed_role(call: Call) -> list[Permission]:
    if call.operation in ("StartBackupJob", "StartRestoreJob", "StartCopyJob"):
        return pass_role(call.text("IamRoleArn"), BACKUP_SERVICE)
    if call.operation == "CreateBackupSelection":
        return pass_role((call.parameters.get("BackupSelection") or {}).get("IamRoleArn"), BACKUP_SERVICE)
    if call.operation in ("CreateRestoreTestingSelection", "UpdateRestoreTestingSelection"):
        selection = call.parameters.get("RestoreTestingSelection") or {}
        return pass_role(selection.get("IamRoleArn"), RESTORE_TESTING_SERVICE)
    return []


def _vault_policy(call: Call) -> str | None:
    backend = _backend(call)
    name = call.text("BackupVaultName") or call.text("SourceBackupVaultName")
    if name is None and call.operation == "StartRestoreJob":
        point = backend.recovery_points.find(call.text("RecoveryPointArn"))
        name = point.vault.backup_vault_name if point is not None else None
    policy: str | None = backend.access_policies.find(name) if name is not None else None
    return policy


def _tags_of(call: Call, resource: str) -> dict[str, str]:
    tags: dict[str, str] = _backend(call).tagger.get_tag_dict_for_resource(resource)
    return tags


def _backend(call: Call) -> Any:
    return backup_backends[call.account_id][call.region]
