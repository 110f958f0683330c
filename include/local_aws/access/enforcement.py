"""Refuses calls that policies do not allow, when the setting `enforce_iam` is on.

moto can enforce IAM, but knows no conditions, no resources and no policies of resources, answers all services in
XML and mistakes calls without a body for forged ones. So its checks are replaced, not mended. Signatures are not
verified: a caller is who its access key and session token say.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, Final

from botocore.model import OperationNotFoundError
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.errors import COMMON_ERROR_CODES
from moto.core.exceptions import ServiceException
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import get_service_model
from moto.iam.access_control import PermissionResult
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeBucket
from werkzeug.exceptions import HTTPException

from local_aws.access import backup_calls, dynamodb_calls, identity_calls, s3_calls
from local_aws.access.callers import Caller, UnknownAccessKey, find_caller
from local_aws.access.decisions import Denial, Policies, decide
from local_aws.access.permissions import Call, Permission, Rule
from local_aws.access.policies import Ask, statements
from local_aws.clock import CLOCK
from local_aws.moto_fixes.locking import state_lock
from local_aws.settings import SETTINGS

_SERVICE_NAMES: Final = {"dynamodbstreams": "dynamodb", "resourcegroupstaggingapi": "tag", "stepfunctions": "states"}
"""IAM's name for a service where it is not moto's."""

_RULES: Final[Mapping[str, Rule]] = {
    "backup": backup_calls.permissions,
    "cloudformation": identity_calls.cloudformation,
    "dynamodb": dynamodb_calls.permissions,
    "iam": identity_calls.iam,
    "sts": identity_calls.sts,
}
_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/")
_CODES: Final = ("AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException")
_DENIED_OBJECTS: ContextVar[frozenset[str]] = ContextVar("denied_objects", default=frozenset())
"""ARNs of the objects that the DeleteObjects call at hand may not delete."""

_MARK: Final = "_local_aws_enforces"


class AccessDenied(Exception):
    """A call that no policy allows, or that one denies."""

    def __init__(self, caller_arn: str, permission: Permission, denial: Denial) -> None:
        super().__init__(caller_arn, permission, denial)
        self.caller_arn = caller_arn
        self.permission = permission
        self.denial = denial

    def __str__(self) -> str:
        where = f" on resource: {resource}" if (resource := self.permission.shown_resource) else ""
        action = self.permission.action
        return f"User: {self.caller_arn} is not authorized to perform: {action}{where} {self.denial.reason(action)}"


class _CommonError(ServiceException):
    """An error that every service has and no service model declares."""


class _Refusal(HTTPException):
    """What moto's dispatcher takes for the answer."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__()
        self.code = status
        self.description = body


def check(caller: Caller, permission: Permission, context: Mapping[str, tuple[str, ...]]) -> None:
    """Evaluate one permission for a caller.

    Args:
        caller: Who asks.
        permission: What for.
        context: Condition keys of the request, in lower case; the caller's and the permission's are added.

    Raises:
        AccessDenied: It is denied.
    """
    own = caller.policies
    owner = permission.resource_account
    ask = Ask(
        permission.action,
        permission.resource,
        {**context, **caller.keys, **permission.keys},
        caller.principals,
        caller.account_id,
    )
    policies = Policies(
        identity=own.identity,
        boundary=own.boundary,
        session=own.session,
        everything_allowed=own.everything_allowed,
        resource=None if permission.policy is None else statements(permission.policy),
        resource_must_allow=permission.policy_must_allow,
        crosses_accounts=bool(owner and caller.account_id and owner.isdigit() and owner != caller.account_id),
    )
    denial = decide(ask, policies)
    if denial is not None:
        raise AccessDenied(caller.arn, permission, denial)


def install() -> None:
    """Put our checks in the place of moto's. Safe to call twice."""
    if hasattr(ActionAuthenticatorMixin._authenticate_and_authorize_normal_action, _MARK):
        return

    def normal_action(self: Any, resource: str = "*") -> None:
        if SETTINGS.enforce_iam and self.service_name != "s3":
            _enforce(self)

    def s3_action(self: Any, bucket_name: str | None = None, key_name: str | None = None) -> None:
        if SETTINGS.enforce_iam:
            _enforce_s3(self, bucket_name, key_name)

    COMMON_ERROR_CODES.extend(_CODES)  # else moto warns that no service model declares them
    setattr(normal_action, _MARK, True)
    ActionAuthenticatorMixin._authenticate_and_authorize_normal_action = normal_action  # type: ignore[method-assign]
    ActionAuthenticatorMixin._authenticate_and_authorize_s3_action = s3_action  # type: ignore[method-assign]
    _install_bucket_permission()


def _install_bucket_permission() -> None:
    stock = FakeBucket.get_permission

    @wraps(stock)
    def get_permission(self: FakeBucket, action: str, resource: str) -> Any:
        if not SETTINGS.enforce_iam:
            return stock(self, action, resource)
        # The bucket's policy has been evaluated with the call, for this caller and with its conditions.
        return PermissionResult.DENIED if resource in _DENIED_OBJECTS.get() else PermissionResult.PERMITTED

    FakeBucket.get_permission = get_permission  # type: ignore[method-assign]


def _enforce(response: BaseResponse) -> None:
    name = str(response.service_name)
    service = _SERVICE_NAMES.get(name, name)
    call = _call(response, service, str(response._get_action()), _parameters(response))
    rule = _RULES.get(service, _by_first_arn)
    try:
        _check_all(response, call, lambda: rule(call))
    except UnknownAccessKey as error:
        code = "InvalidClientTokenId" if _speaks_xml(response) else "UnrecognizedClientException"
        raise _refusal(response, code, "The security token included in the request is invalid.") from error
    except AccessDenied as error:
        code = "AccessDenied" if _speaks_xml(response) else "AccessDeniedException"
        raise _refusal(response, code, str(error)) from error


def _enforce_s3(response: Any, bucket: str | None, key: str | None) -> None:
    action = response._get_action()
    headers = {"x-amz-copy-source": response.headers.get("x-amz-copy-source"), "method": response.method}
    call = _call(response, "s3", str(action[0] if isinstance(action, list) else action), headers)
    query = dict(response.request.args) if hasattr(response.request, "args") else {}
    _DENIED_OBJECTS.set(frozenset())
    try:
        if call.operation == "DeleteObject" and bucket is not None and key is None:
            _enforce_deletions(response, call, bucket)
        else:
            _check_all(response, call, lambda: s3_calls.permissions(call, bucket, key, query))
    except UnknownAccessKey as error:
        raise S3ClientError(
            "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
        ) from error
    except AccessDenied as error:
        raise S3ClientError("AccessDenied", str(error)) from error


def _enforce_deletions(response: Any, call: Call, bucket: str) -> None:
    """Check the deletion of many objects, each for itself: DeleteObjects reports those that it was denied."""
    denied = set()
    for permission in s3_calls.deletions(call, bucket, response.body):
        try:
            _check_all(response, call, partial(list, (permission,)))
        except AccessDenied:
            denied.add(str(permission.resource))
    _DENIED_OBJECTS.set(frozenset(denied))


def _check_all(response: Any, call: Call, needed: Callable[[], Any]) -> None:
    token = response.headers.get("X-Amz-Security-Token")
    with state_lock:  # tables and vaults, whose tags and policies have a say, change under other requests
        caller = find_caller(_access_key(response), token, call.account_id, call.partition)
        context = _context(response, call)
        for permission in needed():
            check(caller, permission, context)


def _call(response: Any, service: str, operation: str, parameters: Mapping[str, Any]) -> Call:
    return Call(service, operation, parameters, response.current_account, response.region, response.partition)


def _by_first_arn(call: Call) -> list[Permission]:
    """What calls to other services need: their resource is the first ARN among their parameters, else unknown."""
    arns = (value for value in call.parameters.values() if isinstance(value, str) and value.startswith("arn:"))
    return [Permission(f"{call.service}:{call.operation}", next(arns, None))]


def _parameters(response: Any) -> Mapping[str, Any]:
    """Return the input of a call, parsed by its service model also where moto reads it otherwise."""
    parsed = getattr(response, "params", None)
    if isinstance(parsed, Mapping) and parsed:
        return parsed
    request = response.normalized_request
    try:
        service_model = get_service_model(response.boto3_service_name)
        operation = service_model.operation_model(response._get_action())
        parser = PROTOCOL_PARSERS[determine_request_protocol(service_model, request.content_type)](operation)
        result = parser.parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.data,
                "url_path": request.path,
                "url_params": response.uri_match,
            }
        )
    except (OperationNotFoundError, KeyError, ValueError, TypeError, AttributeError):
        return {}  # what moto cannot read either is refused by it, or concerns no resource
    return result if isinstance(result, Mapping) else {}


def _access_key(response: Any) -> str | None:
    match = _CREDENTIAL.search(response.headers.get("Authorization", ""))
    if match is not None:
        return match.group(1)
    presigned = response.querystring.get("X-Amz-Credential") or response.querystring.get("AWSAccessKeyId")
    return str(presigned[0]).partition("/")[0] if presigned else None


def _context(response: Any, call: Call) -> dict[str, tuple[str, ...]]:
    now = CLOCK.now()
    return {
        # It stands for AWS's own endpoints, which are reached over TLS only.
        "aws:securetransport": ("true",),
        "aws:viaawsservice": ("false",),
        "aws:requestedregion": (call.region,),
        "aws:resourceaccount": (call.account_id,),
        "aws:currenttime": (now.isoformat(),),
        "aws:epochtime": (str(now.timestamp()),),
        "aws:sourceip": (response.normalized_request.remote_addr or "127.0.0.1",),
        "aws:useragent": (response.headers.get("User-Agent", ""),),
    }


def _speaks_xml(response: BaseResponse) -> bool:
    protocol = response.determine_response_protocol(get_service_model(response.boto3_service_name))
    return protocol in ("query", "ec2", "rest-xml")


def _refusal(response: BaseResponse, code: str, message: str) -> _Refusal:
    status, headers, body = response.serialized(ActionResult(_CommonError(code, message)))
    response.response_headers.update({name: value for name, value in headers.items() if name != "status"})
    protocol = response.determine_response_protocol(get_service_model(response.boto3_service_name))
    # The protocols that are one address for all operations tell nothing by their status.
    status = 400 if protocol in ("json", "query-json") else 403
    return _Refusal(status, body.decode() if isinstance(body, bytes) else body)
