"""What of AWS Backup is left out here, and why."""

from typing import Final

_AUDIT: Final = "AWS Backup Audit Manager judges an account's controls with AWS Config, which is not here."
_AIR_GAPPED: Final = "Logically air-gapped vaults and what shares them are another kind of vault."
_INDEXES: Final = "AWS Backup has search indexes of EBS and S3 recovery points only."
_SCANS: Final = "Amazon GuardDuty, which scans recovery points for malware, is not here; it scans no tables."
_TIERING: Final = "Tiering concerns S3 recovery points only."
_ACCESS_POINTS: Final = "Access points are ways into recovery points of other services than DynamoDB."

REASONS: Final = {
    "AssociateBackupVaultMpaApprovalTeam": _AIR_GAPPED,
    "CreateBackupAccessPoint": _ACCESS_POINTS,
    "CreateFramework": _AUDIT,
    "CreateLogicallyAirGappedBackupVault": _AIR_GAPPED,
    "CreateRestoreAccessBackupVault": _AIR_GAPPED,
    "CreateTieringConfiguration": _TIERING,
    "DeleteBackupAccessPoint": _ACCESS_POINTS,
    "DeleteFramework": _AUDIT,
    "DeleteTieringConfiguration": _TIERING,
    "DescribeBackupAccessPoint": _ACCESS_POINTS,
    "DescribeFramework": _AUDIT,
    "DescribeScanJob": _SCANS,
    "DisassociateBackupVaultMpaApprovalTeam": _AIR_GAPPED,
    "GetPITRMalwareScanResults": _SCANS,
    "GetRecoveryPointIndexDetails": _INDEXES,
    "GetTieringConfiguration": _TIERING,
    "ListBackupAccessPoints": _ACCESS_POINTS,
    "ListBackupAccessPointsByRecoveryPoint": _ACCESS_POINTS,
    "ListBackupAccessPointsByResource": _ACCESS_POINTS,
    "ListFrameworks": _AUDIT,
    "ListIndexedRecoveryPoints": _INDEXES,
    "ListRestoreAccessBackupVaults": _AIR_GAPPED,
    "ListScanJobSummaries": _SCANS,
    "ListScanJobs": _SCANS,
    "ListTieringConfigurations": _TIERING,
    "RevokeRestoreAccessBackupVault": _AIR_GAPPED,
    "StartScanJob": _SCANS,
    "UpdateFramework": _AUDIT,
    "UpdateRecoveryPointIndexSettings": _INDEXES,
    "UpdateTieringConfiguration": _TIERING,
}
"""By operation; each of them answers that it is not served."""
