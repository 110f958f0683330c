"""Calls that go wrong on demand: throttled, failed, slow, or cut off, the next few or a share of them.

A fault strikes before a call reaches its service, or after it took effect (`after`): then the caller does not know
that it did. It works in one process and on a server, for every service, in the shape that the service's errors
have, with codes that SDKs retry.

See https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
https://docs.aws.amazon.com/aws-backup/latest/devguide/CommonErrors.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from random import Random
from threading import Event, Lock
from typing import Any, Final
from uuid import uuid4
from xml.sax.saxutils import escape

from botocore.exceptions import ConnectionClosedError
from moto.core.request import Request
from moto.core.responses import BaseResponse
from moto.core.utils import get_service_model
from moto.s3.responses import S3Response

KINDS: Final = frozenset({"throttle", "error", "slow", "drop"})
DROP: Final = "local_aws.drop"
"""Key of a WSGI environ whose reply is not to be sent."""

RELEASE: Final = Event()
"""Set when the process ends: slow answers go out at once."""

_ANY: Final = "*"
_OF_ITEMS: Final = ("Item", "Query", "Scan", "Execute", "Batch", "Transact")
_MARK: Final = "_local_aws_request_faults"

Reply = tuple[int, dict[str, str], str]


@dataclass(frozen=True)
class RequestFault:
    """What happens to some calls.

    Attributes:
        kind: "throttle", "error" (an AWS that is ill), "slow" or "drop" (the connection is closed, no reply).
        service: moto's name of the service, such as "dynamodb", "backup", "s3"; "*": any.
        operation: As the API spells it, such as "BatchWriteItem"; of S3 the HTTP method; "*": any.
        count: How many calls are struck; None: all that the share says, until the faults are cleared.
        share: Of the calls that fit, 0.0 to 1.0.
        seed: The same seed strikes the same calls of the same sequence.
        seconds: How much later a slow one is answered, by the machine's clock.
        after: Let the call take effect first, and then fail it, or hold its answer back.
        code: The error's code, in place of the service's own for this kind.
        status: The error's HTTP status, likewise.
        message: The error's message.

    Raises:
        ValueError: A member is out of its range.
    """

    kind: str
    service: str = _ANY
    operation: str = _ANY
    count: int | None = None
    share: float = 1.0
    seed: int = 0
    seconds: float = 0.0
    after: bool = False
    code: str | None = None
    status: int | None = None
    message: str = "Failed by an ordered fault."

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {sorted(KINDS)}, got {self.kind!r}")
        for name in ("service", "operation", "message"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a text, got {getattr(self, name)!r}")
        if not (self.count is None or (_is_whole(self.count) and self.count >= 1)):
            raise ValueError(f"count must be a whole number of one or more, got {self.count!r}")
        if not _is_number(self.share) or not 0 <= self.share <= 1:
            raise ValueError(f"share must lie between 0 and 1, got {self.share!r}")
        if not _is_number(self.seconds) or not 0 <= self.seconds < float("inf"):
            raise ValueError(f"seconds must be a number of zero or more, got {self.seconds!r}")
        if not (self.status is None or (_is_whole(self.status) and 400 <= self.status <= 599)):
            raise ValueError(f"status must be an HTTP status from 400 to 599, got {self.status!r}")

    def fits(self, service: str, operation: str) -> bool:
        return self.service in (_ANY, service) and self.operation in (_ANY, operation)


class RequestFaults:
    """The faults that wait for calls; each has its own dice."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = Lock()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, fault: RequestFault) -> None:
        with self._lock:
            self._waiting.append(_Waiting(fault))

    def take(self, service: str, operation: str) -> RequestFault | None:
        """Return the oldest fault that strikes this call, and count the call."""
        with self._lock:
            for waiting in self._waiting:
                if waiting.fault.fits(service, operation) and waiting.strikes():
                    self._waiting = [one for one in self._waiting if one.left != 0]
                    return waiting.fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._waiting = []

    def as_list(self) -> list[dict[str, Any]]:
        with self._lock:
            return [waiting.as_dict() for waiting in self._waiting]


class _Waiting:
    def __init__(self, fault: RequestFault) -> None:
        self.fault = fault
        self.left = fault.count
        self.struck = 0
        self._random = Random(fault.seed)  # noqa: S311 - decides which test calls fail, nothing secret

    def strikes(self) -> bool:
        if self._random.random() >= self.fault.share:
            return False
        self.struck += 1
        if self.left is not None:
            self.left -= 1
        return True

    def as_dict(self) -> dict[str, Any]:
        members = {field.name: getattr(self.fault, field.name) for field in fields(self.fault)}
        return {**members, "count": self.left, "struck": self.struck}


REQUEST_FAULTS: Final = RequestFaults()
"""The faults of this process's local AWS."""


def install() -> None:
    """Let calls be struck. Safe to call twice."""
    if hasattr(BaseResponse._dispatch, _MARK):
        return
    for owner, name in (
        (BaseResponse, "_dispatch"),
        (S3Response, "bucket_response"),
        (S3Response, "key_response"),
    ):
        setattr(owner, name, _struck(getattr(owner, name)))


def _struck(stock: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(stock)
    def dispatch(self: BaseResponse, request: Request, full_url: str | None = None, headers: Any = None) -> Any:
        if not REQUEST_FAULTS:
            return stock(self, request, full_url, headers)
        service = self.service_name or ""
        operation = _operation_of(self, request)
        fault = REQUEST_FAULTS.take(service, operation)
        if fault is None:
            return stock(self, request, full_url, headers)
        if fault.kind == "slow":
            reply = stock(self, request, full_url, headers) if fault.after else None
            RELEASE.wait(fault.seconds)
            return reply if fault.after else stock(self, request, full_url, headers)
        if fault.after:
            stock(self, request, full_url, headers)
        if fault.kind == "drop":
            return _drop(request)
        return _error(self, fault, service, operation)

    setattr(dispatch, _MARK, True)
    return dispatch


def _operation_of(response: BaseResponse, request: Request) -> str:
    if response.service_name == "s3":
        return str(request.method)
    if target := request.headers.get("X-Amz-Target"):
        return str(target).rpartition(".")[2]
    if action := request.values.get("Action"):
        return str(action)
    return response._get_action_from_method_and_request_uri(request) or ""


def _drop(request: Request) -> Reply:
    if not request.from_wsgi_server:
        raise ConnectionClosedError(endpoint_url=request.url)
    request.environ[DROP] = True
    return 500, {}, ""


def _error(response: BaseResponse, fault: RequestFault, service: str, operation: str) -> Reply:
    code, status = _throttled(service, operation) if fault.kind == "throttle" else _ill(service)
    code, status = fault.code or code, fault.status or status
    request_id = str(uuid4())
    headers = {"x-amzn-requestid": request_id}
    protocol = str(get_service_model(response.boto3_service_name).protocol)
    if protocol == "json":
        name = f"com.amazonaws.dynamodb.v20120810#{code}" if service == "dynamodb" else code
        headers["Content-Type"] = "application/x-amz-json-1.0"
        return status, headers, json.dumps({"__type": name, "message": fault.message})
    if protocol == "rest-json":
        headers.update({"Content-Type": "application/json", "x-amzn-errortype": code})
        return status, headers, json.dumps({"Code": code, "Message": fault.message})
    headers["Content-Type"] = "text/xml"
    error = f"<Code>{escape(code)}</Code><Message>{escape(fault.message)}</Message>"
    if protocol == "rest-xml":
        return status, headers, f"<Error>{error}<RequestId>{request_id}</RequestId></Error>"
    who = "Sender" if status < 500 else "Receiver"
    body = f"<ErrorResponse><Error><Type>{who}</Type>{error}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    return status, headers, body


def _throttled(service: str, operation: str) -> tuple[str, int]:
    if service == "s3":
        return "SlowDown", 503
    if service == "dynamodb" and any(part in operation for part in _OF_ITEMS):
        return "ProvisionedThroughputExceededException", 400
    if service in ("dynamodb", "backup", "kms", "events"):
        return "ThrottlingException", 400
    return "Throttling", 400


def _ill(service: str) -> tuple[str, int]:
    by_service = {"dynamodb": "InternalServerError", "backup": "ServiceUnavailableException", "s3": "InternalError"}
    return by_service.get(service, "InternalFailure"), 500


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
