"""Backup vaults. See https://docs.aws.amazon.com/aws-backup/latest/devguide/vaults.html."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from moto.backup.models import Vault as MotoVault

from local_aws.backup.exceptions import InvalidParameterValueException, InvalidRequestException
from local_aws.clock import CLOCK
from local_aws.settings import SETTINGS

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

MIN_CHANGEABLE_DAYS: Final = 3
MAX_DAYS: Final = 36_500


@dataclass(frozen=True)
class NotificationSettings:
    """The topic that hears of a vault, and of which events."""

    topic_arn: str
    events: tuple[str, ...]


class Vault(MotoVault):
    """moto's vault, with its times taken from our clock.

    Attributes:
        created_at: When it was made.
        locked_for_good_at: From when on its lock can no longer be changed; None: never (governance mode).
        customer_key: Whether the caller named the encryption key.
        notifications: Whom to tell of what happens in it; None: nobody.
        last_removal_at: When a recovery point last went; None: never.
    """

    def __init__(
        self,
        backup_vault_name: str,
        encryption_key_arn: str | None,
        creator_request_id: str | None,
        backend: "BackupBackend",
    ) -> None:
        super().__init__(
            backup_vault_name,
            encryption_key_arn or backend.default_key_arn,
            creator_request_id,  # type: ignore[arg-type]  # None where CloudFormation makes the vault
            backend,
        )
        self.created_at = CLOCK.now()
        self.creation_date = self.created_at.timestamp()
        self.customer_key = encryption_key_arn is not None
        self.locked_for_good_at: datetime | None = None
        self.notifications: NotificationSettings | None = None
        self.last_removal_at: datetime | None = None

    @property
    def encryption_key_type(self) -> str:
        return "CUSTOMER_MANAGED_KMS_KEY" if self.customer_key else "AWS_OWNED_KMS_KEY"

    def lock(self, minimum: int | None, maximum: int | None, changeable_for: int | None) -> None:
        """Put or replace the vault lock.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_PutBackupVaultLockConfiguration.html.

        Args:
            minimum: Shortest retention, days.
            maximum: Longest retention, days.
            changeable_for: Days until the lock is for good (compliance mode); None: never (governance mode).

        Raises:
            InvalidRequestException: The lock is for good already.
            InvalidParameterValueException: A number out of bounds.
        """
        self._refuse_if_for_good("modified")
        _check_bounds(minimum, maximum, changeable_for)
        self.locked = True
        self.min_retention_days = minimum
        self.max_retention_days = maximum
        self.changeable_for_days = changeable_for
        self._lock_for_good_at(None if changeable_for is None else CLOCK.now() + timedelta(days=changeable_for))

    def unlock(self) -> None:
        """Take the vault lock off.

        Raises:
            InvalidRequestException: The lock is for good.
        """
        self._refuse_if_for_good("deleted")
        self.locked = False
        self.min_retention_days = self.max_retention_days = self.changeable_for_days = None
        self._lock_for_good_at(None)

    def seems_to_hold(self, recovery_points: int) -> bool:
        """Tell whether AWS takes the vault for one that holds recovery points: also for a while after the last."""
        lag = timedelta(seconds=SETTINGS.vault_lag_seconds)
        went = self.last_removal_at
        return recovery_points > 0 or (went is not None and CLOCK.now() < went + lag)

    def why_not_retained(self, delete_after_days: int | None) -> str | None:
        """Return why a job may not put a recovery point of that retention here; None if it may.

        The lock's bounds fail jobs, not calls, and say nothing about points that are here already, see
        https://docs.aws.amazon.com/aws-backup/latest/devguide/vault-lock.html.

        Args:
            delete_after_days: Retention; None: for ever, which is longer than any maximum.
        """
        minimum, maximum = self.min_retention_days, self.max_retention_days
        days = float("inf") if delete_after_days is None else delete_after_days
        shown = "unlimited" if delete_after_days is None else f"{delete_after_days} days"
        if minimum is not None and days < minimum:
            return (
                f"The retention ({shown}) is shorter than the minimum retention ({minimum} days)"
                f" of the locked backup vault {self.backup_vault_name}."
            )
        if maximum is not None and days > maximum:
            return (
                f"The retention ({shown}) is longer than the maximum retention ({maximum} days)"
                f" of the locked backup vault {self.backup_vault_name}."
            )
        return None

    def to_result(self, number_of_recovery_points: int) -> dict[str, Any]:
        """Return the members that DescribeBackupVault and ListBackupVaults share."""
        result: dict[str, Any] = {
            "BackupVaultName": self.backup_vault_name,
            "BackupVaultArn": self.backup_vault_arn,
            "VaultType": "BACKUP_VAULT",
            "VaultState": "AVAILABLE",
            "CreationDate": self.created_at,
            "EncryptionKeyArn": self.encryption_key_arn,
            "EncryptionKeyType": self.encryption_key_type,
            "CreatorRequestId": self.creator_request_id,
            "NumberOfRecoveryPoints": number_of_recovery_points,
            "Locked": self.locked,
            "MinRetentionDays": self.min_retention_days,
            "MaxRetentionDays": self.max_retention_days,
            "LockDate": self.locked_for_good_at,
        }
        return {name: value for name, value in result.items() if value is not None}

    def _lock_for_good_at(self, instant: datetime | None) -> None:
        self.locked_for_good_at = instant
        self.lock_date = None if instant is None else instant.timestamp()

    def _refuse_if_for_good(self, what: str) -> None:
        if self.locked_for_good_at is not None and CLOCK.now() >= self.locked_for_good_at:
            raise InvalidRequestException(f"Vault Lock configuration is immutable and cannot be {what}")


def _check_bounds(minimum: int | None, maximum: int | None, changeable_for: int | None) -> None:
    bounds: Mapping[str, tuple[int | None, int]] = {
        "MinRetentionDays": (minimum, 1),
        "MaxRetentionDays": (maximum, 1),
        "ChangeableForDays": (changeable_for, MIN_CHANGEABLE_DAYS),
    }
    for name, (days, least) in bounds.items():
        if days is not None and not least <= days <= MAX_DAYS:
            raise InvalidParameterValueException(f"{name} must be between {least} and {MAX_DAYS} days, got {days}")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidParameterValueException("MinRetentionDays cannot be greater than MaxRetentionDays")
