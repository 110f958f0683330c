"""The operations that the local AWS Backup serves; all others answer that they are not served."""

from typing import Final

OURS: Final = frozenset(
    {
        "CreateBackupVault",
        "DeleteBackupVault",
        "DeleteBackupVaultLockConfiguration",
        "DeleteRecoveryPoint",
        "DescribeBackupJob",
        "DescribeBackupVault",
        "DescribeProtectedResource",
        "DescribeRecoveryPoint",
        "DescribeRegionSettings",
        "DescribeRestoreJob",
        "GetRecoveryPointRestoreMetadata",
        "GetRestoreJobMetadata",
        "GetSupportedResourceTypes",
        "ListBackupJobs",
        "ListBackupVaults",
        "ListProtectedResources",
        "ListProtectedResourcesByBackupVault",
        "ListRecoveryPointsByBackupVault",
        "ListRecoveryPointsByResource",
        "ListRestoreJobs",
        "ListRestoreJobsByProtectedResource",
        "ListTags",
        "PutBackupVaultLockConfiguration",
        "StartBackupJob",
        "StartRestoreJob",
        "StopBackupJob",
        "TagResource",
        "UntagResource",
        "UpdateRecoveryPointLifecycle",
        "UpdateRegionSettings",
    }
)
"""Served by this package."""

MOTOS: Final = frozenset(
    {
        "CreateBackupPlan",
        "CreateReportPlan",
        "DeleteBackupPlan",
        "DeleteReportPlan",
        "DescribeReportPlan",
        "GetBackupPlan",
        "ListBackupPlans",
        "ListReportPlans",
    }
)
"""Served by moto's own code, as it is: plans are kept but never fire."""

SERVED: Final = OURS | MOTOS
