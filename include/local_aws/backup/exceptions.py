"""Errors that AWS Backup answers with; each `code` is the shape of that name in the service model."""

from collections.abc import Collection
from typing import Final

from moto.core.exceptions import ServiceException

_FITTING: Final = ("InvalidRequestException", "InvalidParameterValueException", "ResourceNotFoundException")
"""What to refuse with what is not served, best first."""


class BackupError(ServiceException):
    """Base of the errors below. All are client faults: HTTP 400, as AWS documents them."""


class AlreadyExistsException(BackupError):
    code = "AlreadyExistsException"


class InvalidParameterValueException(BackupError):
    code = "InvalidParameterValueException"


class InvalidRequestException(BackupError):
    code = "InvalidRequestException"


class InvalidResourceStateException(BackupError):
    code = "InvalidResourceStateException"


class LimitExceededException(BackupError):
    code = "LimitExceededException"


class MissingParameterValueException(BackupError):
    code = "MissingParameterValueException"


class ResourceNotFoundException(BackupError):
    code = "ResourceNotFoundException"


class OperationNotServed(BackupError):
    """An operation of AWS Backup that exists, but not here; refused with an error that the operation declares."""

    def __init__(self, operation: str, declared: Collection[str]) -> None:
        super().__init__(
            f"{operation} is not served by the local AWS. It has no effect here; run this against AWS itself."
        )
        self.code = next((code for code in _FITTING if code in declared), _FITTING[0])


class UnknownOperation(InvalidRequestException):
    """A request that is no operation of AWS Backup at all."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"{method} {path} is no operation of AWS Backup, so it is not served by the local AWS.")
