"""Settings of an account that hold in all of its Regions.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateGlobalSettings.html. On AWS only the
management account of an organization may set them, for all of its accounts; here each account sets its own.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from moto.backup.models import backup_backends

from local_aws.backup.exceptions import InvalidParameterValueException

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

CROSS_ACCOUNT: Final = "isCrossAccountBackupEnabled"
NAMES: Final = (CROSS_ACCOUNT, "isDelegatedAdministratorEnabled", "isMpaEnabled")
_HOME: Final = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""The Region of each partition whose backend keeps them for the account."""


class GlobalSettings:
    """The global settings of one account, seen from one Region."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._values = dict.fromkeys(NAMES, "false")
        self._updated_at: datetime | None = None

    @property
    def cross_account_backup(self) -> bool:
        return self._home()._values[CROSS_ACCOUNT] == "true"

    def update(self, values: Mapping[str, str] | None, now: datetime) -> None:
        """Change some settings and leave the rest.

        Raises:
            InvalidParameterValueException: An unknown setting, or a value other than true and false.
        """
        for name, value in (values or {}).items():
            if name not in NAMES:
                raise InvalidParameterValueException(f"Invalid global setting {name!r}: must be one of {list(NAMES)}.")
            if value not in ("true", "false"):
                raise InvalidParameterValueException(f"Invalid value {value!r} of {name}: must be true or false.")
        home = self._home()
        home._values.update(values or {})
        home._updated_at = now

    def to_result(self) -> dict[str, Any]:
        home = self._home()
        return {"GlobalSettings": dict(home._values), "LastUpdateTime": home._updated_at}

    def _home(self) -> "GlobalSettings":
        region = _HOME.get(self._backend.partition, self._backend.region_name)
        return cast("BackupBackend", backup_backends[self._backend.account_id][region]).global_settings
