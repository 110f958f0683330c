"""The operations that the local AWS Backup serves; all others answer that they are not served."""

from typing import Final

_PLANS: Final = frozenset(
    {
        "CreateBackupPlan",
        "CreateBackupSelection",
        "DeleteBackupPlan",
        "DeleteBackupSelection",
        "ExportBackupPlanTemplate",
        "GetBackupPlan",
        "GetBackupPlanFromJSON",
        "GetBackupPlanFromTemplate",
        "GetBackupSelection",
        "ListBackupPlanTemplates",
        "ListBackupPlanVersions",
        "ListBackupPlans",
        "ListBackupSelections",
        "UpdateBackupPlan",
    }
)
"""Served by this package: plans, their selections and templates."""

_VAULTS_JOBS_AND_POINTS: Final = frozenset(
    {
        "CreateBackupVault",
        "DeleteBackupVault",
        "DeleteBackupVaultLockConfiguration",
        "DeleteBackupVaultNotifications",
        "DeleteRecoveryPoint",
        "DescribeBackupJob",
        "DescribeBackupVault",
        "DescribeCopyJob",
        "DescribeGlobalSettings",
        "DescribeProtectedResource",
        "DescribeRecoveryPoint",
        "DescribeRegionSettings",
        "DescribeRestoreJob",
        "GetBackupVaultNotifications",
        "GetRecoveryPointRestoreMetadata",
        "GetRestoreJobMetadata",
        "GetSupportedResourceTypes",
        "ListBackupJobs",
        "ListBackupVaults",
        "ListCopyJobs",
        "ListProtectedResources",
        "ListProtectedResourcesByBackupVault",
        "ListRecoveryPointsByBackupVault",
        "ListRecoveryPointsByResource",
        "ListRestoreJobs",
        "ListRestoreJobsByProtectedResource",
        "ListTags",
        "PutBackupVaultLockConfiguration",
        "PutBackupVaultNotifications",
        "StartBackupJob",
        "StartCopyJob",
        "StartRestoreJob",
        "StopBackupJob",
        "TagResource",
        "UntagResource",
        "UpdateGlobalSettings",
        "UpdateRecoveryPointLifecycle",
        "UpdateRegionSettings",
    }
)
"""Served by this package: vaults, jobs, recovery points, settings and tags."""

_PROTECTION: Final = frozenset(
    {
        "CancelLegalHold",
        "CreateLegalHold",
        "DeleteBackupVaultAccessPolicy",
        "DisassociateRecoveryPoint",
        "DisassociateRecoveryPointFromParent",
        "GetBackupVaultAccessPolicy",
        "GetLegalHold",
        "ListLegalHolds",
        "ListRecoveryPointsByLegalHold",
        "PutBackupVaultAccessPolicy",
    }
)
"""Served by this package: access policies, legal holds and disassociation."""

_RESTORE_TESTING: Final = frozenset(
    {
        "CreateRestoreTestingPlan",
        "CreateRestoreTestingSelection",
        "DeleteRestoreTestingPlan",
        "DeleteRestoreTestingSelection",
        "GetRestoreTestingInferredMetadata",
        "GetRestoreTestingPlan",
        "GetRestoreTestingSelection",
        "ListRestoreTestingPlans",
        "ListRestoreTestingSelections",
        "PutRestoreValidationResult",
        "UpdateRestoreTestingPlan",
        "UpdateRestoreTestingSelection",
    }
)
"""Served by this package: restore testing."""

_SUMMARIES: Final = frozenset({"ListBackupJobSummaries", "ListCopyJobSummaries", "ListRestoreJobSummaries"})
"""Served by this package: counts of jobs."""

OURS: Final = _PLANS | _PROTECTION | _RESTORE_TESTING | _SUMMARIES | _VAULTS_JOBS_AND_POINTS
"""Served by this package."""

MOTOS: Final = frozenset(
    {
        "CreateReportPlan",
        "DeleteReportPlan",
        "DescribeReportPlan",
        "ListReportPlans",
    }
)
"""Served by moto's own code, as it is: report plans are kept but make no reports."""

SERVED: Final = OURS | MOTOS

ALWAYS_REFUSED: Final = frozenset({"DisassociateRecoveryPoint", "DisassociateRecoveryPointFromParent"})
"""Served, and refused as AWS refuses them: they are for recovery points that DynamoDB does not have."""
