"""What all handlers of AWS Backup's requests share: routing, reading parameters, paging, shaping replies."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from threading import Event
from typing import Any, Final, TypeVar, cast

from moto.backup.models import backup_backends
from moto.backup.responses import BackupResponse as MotoBackupResponse
from moto.core.common_types import TYPE_RESPONSE
from moto.core.model import ServiceModel
from moto.core.responses import ActionResult
from moto.core.utils import get_service_model

from local_aws import outbox, timeline
from local_aws.backup.exceptions import (
    BackupError,
    InvalidParameterValueException,
    InvalidRequestException,
    OperationNotServed,
    UnknownOperation,
)
from local_aws.backup.models import BackupBackend
from local_aws.backup.pagination import SortKey, paginate
from local_aws.backup.served import SERVED
from local_aws.settings import SETTINGS

Listed = TypeVar("Listed")

RELEASE_REPLIES: Final = Event()
"""Set when the process ends: replies that are kept back go out at once."""


class BackupHandler(MotoBackupResponse):
    """Base of `BackupResponse` and of its parts, each of which has the operations of one area."""

    def __init__(self) -> None:
        super().__init__()
        self._operation: str | None = None

    @property
    def backup_backend(self) -> BackupBackend:
        return cast("BackupBackend", backup_backends[self.current_account][self.region])

    def call_action(self) -> TYPE_RESPONSE:
        """Run the request's operation, or say clearly that it is not served here."""
        operation = self._get_action()
        try:
            if not operation:
                raise UnknownOperation(self.method, self.path)
            if operation not in SERVED:
                raise OperationNotServed(operation, _declared_errors(operation))
            self._parse()
        except BackupError as error:
            return self._refuse(error)
        timeline.catch_up_unless_ticking()
        status, headers, body = super().call_action()
        outbox.deliver_unless_couriered()
        # Where no type is named, a server calls JSON a page of HTML.
        headers.setdefault("Content-Type", "application/json")
        self._keep_back(operation, status)
        return status, headers, body

    def _get_action(self) -> str:
        # moto also takes an Action from query or headers, which REST services do not have.
        if self._operation is None:
            self._operation = self._get_action_from_method_and_request_uri(self.normalized_request) or ""
        return self._operation

    def determine_response_protocol(self, service_model: ServiceModel) -> str:
        # A reply is JSON whatever a stray client calls its body.
        return str(service_model.protocol)

    def _parse(self) -> None:
        # Off until here: what is not served is refused unread.
        self.automated_parameter_parsing = True
        try:
            self.parse_parameters(self.normalized_request)
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidRequestException(f"The request cannot be read: {error}") from error

    def _refuse(self, error: BackupError) -> TYPE_RESPONSE:
        status, headers, body = self.serialized(ActionResult(error))
        headers, body = self._enrich_response(headers, body)
        return status, headers, body

    @staticmethod
    def _keep_back(operation: str, status: int) -> None:
        # After the state lock is released: others are served while this caller waits.
        delay = SETTINGS.start_backup_reply_delay_seconds
        if operation == "StartBackupJob" and delay and status == 200:
            RELEASE_REPLIES.wait(delay)

    def _time(self, name: str) -> datetime | None:
        # moto's parser gives naive UTC.
        instant = self._get_param(name)
        if instant is None:
            return None
        if not isinstance(instant, datetime):
            raise InvalidParameterValueException(f"Invalid {name} {instant!r}: not a time.")
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant

    def _page(
        self,
        member: str,
        items: Iterable[Listed],
        sort_key: Callable[[Listed], SortKey],
        to_result: Callable[[Listed], dict[str, Any]],
    ) -> ActionResult:
        page, token = paginate(
            self._get_action(),
            items,
            sort_key,
            max_results=self._get_int_param("MaxResults"),
            next_token=self._get_param("NextToken"),
        )
        return ActionResult(present({member: [present(to_result(item)) for item in page], "NextToken": token}))


def _declared_errors(operation: str) -> list[str]:
    model = get_service_model("backup").operation_model(operation)
    return [shape.name for shape in model.error_shapes]


def present(result: dict[str, Any]) -> dict[str, Any]:
    """Return a reply without the members that have no value."""
    return {name: value for name, value in result.items() if value is not None}


def between(instant: datetime | None, after: datetime | None, before: datetime | None) -> bool:
    """Tell whether `instant` is after the one and before the other; None is neither."""
    if instant is None:
        return after is None and before is None
    return (after is None or instant > after) and (before is None or instant < before)
