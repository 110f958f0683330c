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

_REPORTS: Final = frozenset(
    {
        "CreateReportPlan",
        "DeleteReportPlan",
        "DescribeReportJob",
        "DescribeReportPlan",
        "ListBackupJobSummaries",
        "ListCopyJobSummaries",
        "ListReportJobs",
        "ListReportPlans",
        "ListRestoreJobSummaries",
        "StartReportJob",
        "UpdateReportPlan",
    }
)
"""Served by this package: counts of jobs, and reports about them."""

SERVED: Final = _PLANS | _PROTECTION | _REPORTS | _RESTORE_TESTING | _VAULTS_JOBS_AND_POINTS
"""All that is served, all of it by this package."""

ALWAYS_REFUSED: Final = frozenset({"DisassociateRecoveryPoint", "DisassociateRecoveryPointFromParent"})
"""Served, and refused as AWS refuses them: they are for recovery points that DynamoDB does not have."""
