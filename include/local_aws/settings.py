"""What the local AWS Backup can be tuned with: how long things take, and how hard they are to get right."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final


class UnknownSetting(ValueError):
    """A setting of that name does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        known = ", ".join(field.name for field in fields(Settings))
        return f"No setting {self.name!r}. Known settings: {known}."


@dataclass
class Settings:
    """Durations in seconds of the clock, but for the reply delay, which is in seconds of the machine; and switches.

    Durations are zero by default, so that in one process a job is over by the next request. The server sets its
    own.

    Attributes:
        job_seconds: From the start of a backup job to its completion.
        restore_seconds: From StartRestoreJob to the restored table being ACTIVE.
        copy_seconds: From StartCopyJob to the copy's completion.
        delete_seconds: How long a recovery point stays DELETING.
        snapshot_skew_seconds: A snapshot leaves out what was written this long before its request. AWS
            promises only what was committed up to a minute before, see
            https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateBackup.html.
        start_backup_reply_delay_seconds: How long the reply to an accepted StartBackupJob is kept back.
        recovery_lag_seconds: How far the latest time that a table can be restored to lies back: five minutes, as on
            AWS. Unlike the others not zero by default.
        list_lag_seconds: How long new jobs and recovery points are missing from lists: AWS's are eventually
            consistent, and say nothing of how long that takes. Describing one is never late.
        vault_lag_seconds: How long a vault still refuses to be deleted after its last recovery point has gone, see
            https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupVault.html.
        enforce_iam: Whether callers and jobs may do only what their policies allow. Credentials without AWS's
            form, such as "testing", remain those of the account's root user.
    """

    job_seconds: float = 0.0
    restore_seconds: float = 0.0
    copy_seconds: float = 0.0
    delete_seconds: float = 0.0
    snapshot_skew_seconds: float = 0.0
    start_backup_reply_delay_seconds: float = 0.0
    recovery_lag_seconds: float = 300.0
    list_lag_seconds: float = 0.0
    vault_lag_seconds: float = 0.0
    enforce_iam: bool = False

    def update(self, values: dict[str, Any]) -> None:
        """Change some settings, all of them or, if one is wrong, none.

        Raises:
            UnknownSetting: A name is not a setting.
            ValueError: A duration is not a number of zero or more, or a switch neither true nor false.
        """
        known = {field.name: field.default for field in fields(self)}
        checked: dict[str, float] = {}
        for name, value in values.items():
            if name not in known:
                raise UnknownSetting(name)
            checked[name] = _switch(name, value) if isinstance(known[name], bool) else _seconds(name, value)
        for name, value in checked.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of seconds, zero or more, got {value!r}")
    return float(value)


SETTINGS: Final = Settings()
"""The settings of this process's local AWS."""
