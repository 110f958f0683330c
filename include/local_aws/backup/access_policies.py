"""Access policies of backup vaults: who may do what with a vault and the recovery points in it.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html. Kept here; they
bite where IAM is enforced.
"""

import json
from typing import TYPE_CHECKING, Any, Final

from local_aws.backup.exceptions import InvalidParameterValueException, ResourceNotFoundException
from local_aws.backup.validation import require

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

MAX_POLICY_BYTES: Final = 20_480
_VERSIONS: Final = ("2008-10-17", "2012-10-17")
_ONE_OF: Final = (("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource"))


class AccessPolicies:
    """The access policies of the vaults of one account and Region, as their owners wrote them."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._by_vault: dict[str, str] = {}

    def put(self, vault_name: str, policy: str | None) -> None:
        """Set or replace the policy of a vault.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_PutBackupVaultAccessPolicy.html.

        Raises:
            ResourceNotFoundException: No such vault.
            MissingParameterValueException: No policy.
            InvalidParameterValueException: Not a policy document for a resource.
        """
        name = self._backend.describe_backup_vault(vault_name).backup_vault_name
        document = require("Policy", policy)
        check_policy(document)
        self._by_vault[name] = document

    def get(self, vault_name: str) -> str:
        """Return the policy of a vault.

        Raises:
            ResourceNotFoundException: No such vault, or it has no policy.
        """
        name = self._backend.describe_backup_vault(vault_name).backup_vault_name
        if name not in self._by_vault:
            raise ResourceNotFoundException(f"Backup vault {vault_name} has no access policy.")
        return self._by_vault[name]

    def find(self, vault_name: str) -> str | None:
        """Return the policy of a vault, None if the vault has none or does not exist."""
        return self._by_vault.get(vault_name)

    def delete(self, vault_name: str) -> None:
        """Take the policy off a vault, if there is one.

        Raises:
            ResourceNotFoundException: No such vault.
        """
        self.forget(self._backend.describe_backup_vault(vault_name).backup_vault_name)

    def forget(self, vault_name: str) -> None:
        self._by_vault.pop(vault_name, None)


def check_policy(document: str) -> None:
    """Refuse what is no policy document for a resource.

    Raises:
        InvalidParameterValueException: Says what is wrong.
    """
    if len(document.encode()) > MAX_POLICY_BYTES:
        raise InvalidParameterValueException(f"The access policy is longer than {MAX_POLICY_BYTES} bytes.")
    try:
        policy = json.loads(document)
    except ValueError as error:
        raise InvalidParameterValueException(f"The access policy is not valid JSON: {error}") from error
    if not isinstance(policy, dict) or policy.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise InvalidParameterValueException(f"The access policy must be an object with a Version of {_VERSIONS}.")
    statements = policy.get("Statement")
    for statement in [statements] if isinstance(statements, dict) else statements or [None]:
        _check_statement(statement)


def _check_statement(statement: Any) -> None:
    if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
        raise InvalidParameterValueException("The access policy needs statements with the Effect Allow or Deny.")
    for names in _ONE_OF:
        if sum(name in statement for name in names) != 1:
            raise InvalidParameterValueException(
                f"A statement of an access policy needs one of {names[0]} and {names[1]}."
            )
