"""The server's own addresses, all under ``/local-aws/``: health, clock, settings, faults. JSON in, JSON out.

==========================  ===========================================================================
``GET  /local-aws/health``    the server is up
``GET  /local-aws/clock``     time, mode and speed
``POST /local-aws/clock``     ``{"advance_seconds": n}``, ``{"advance_days": n}``, ``{"speed": n}`` or
                            ``{"mode": "manual"|"real"}``
``GET  /local-aws/settings``  all settings
``POST /local-aws/settings``  some of them, by name
``GET  /local-aws/faults``    those that still wait for a job, a call or a restore
``POST /local-aws/faults``    one more, see `local_aws.control.order_fault`
``DELETE /local-aws/faults``  forget them
==========================  ===========================================================================
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from local_aws import control
from local_aws.settings import SETTINGS

PREFIX: Final = "/local-aws/"
"""An S3 bucket of this name could not be reached by path."""

Reply = Mapping[str, Any]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class BadAdminRequest(ValueError):
    """A request to ``/local-aws/`` that cannot be followed."""


class AdminApplication:
    """WSGI application that answers ``/local-aws/`` itself and passes all else on.

    Args:
        inner: The application for everything else.
    """

    def __init__(self, inner: WsgiApp) -> None:
        self._inner = inner
        self._routes: dict[tuple[str, str], Callable[[Mapping[str, Any]], Reply]] = {
            ("GET", "health"): _health,
            ("GET", "clock"): _get_clock,
            ("POST", "clock"): _post_clock,
            ("GET", "settings"): _get_settings,
            ("POST", "settings"): _post_settings,
            ("GET", "faults"): _get_faults,
            ("POST", "faults"): _post_faults,
            ("DELETE", "faults"): _delete_faults,
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not str(environ.get("PATH_INFO", "")).startswith(PREFIX):
            return self._inner(environ, start_response)
        status, reply = self._answer(Request(environ))
        body = json.dumps(reply)
        return Response(body, status=status, content_type="application/json")(environ, start_response)

    def _answer(self, request: Request) -> tuple[int, Reply]:
        name = request.path.removeprefix(PREFIX).strip("/")
        route = self._routes.get((request.method, name))
        if route is None:
            known = sorted({path for _, path in self._routes})
            there = name in known
            return (405 if there else 404), {"error": f"No {request.method} {request.path}. There are: {known}."}
        try:
            return 200, route(_body(request))
        except ValueError as error:
            return 400, {"error": str(error)}


def _body(request: Request) -> Mapping[str, Any]:
    raw = request.get_data()
    if not raw:
        return {}
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise BadAdminRequest("The body must be a JSON object.")
    return body


def _known(body: Mapping[str, Any], *names: str) -> None:
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise BadAdminRequest(f"Unknown members {unknown}. Known: {sorted(names)}.")


def _health(_body: Mapping[str, Any]) -> Reply:
    return {"status": "ok", "service": "local_aws", "clock": control.describe_clock()}


def _get_clock(_body: Mapping[str, Any]) -> Reply:
    return control.describe_clock()


def _post_clock(body: Mapping[str, Any]) -> Reply:
    _known(body, "advance_seconds", "advance_days", "mode", "speed")
    mode = body.get("mode")
    if mode not in (None, "manual", "real"):
        raise BadAdminRequest(f"mode must be manual or real, got {mode!r}")
    advance = _advance(body)
    if sum((mode == "real", advance is not None, "speed" in body)) > 1 or (mode and "speed" in body):
        raise BadAdminRequest("A clock is either advanced by hand, or runs in real mode, or runs at a speed.")
    if mode == "real":
        control.run_clock()
    elif mode == "manual":
        control.hold_clock()
    if advance is not None:
        try:
            control.advance_clock(advance)
        except OverflowError as error:
            raise BadAdminRequest(f"The clock cannot be advanced by {advance}: the calendar ends before.") from error
    if "speed" in body:
        control.set_clock_speed(body["speed"])
    return control.describe_clock()


def _advance(body: Mapping[str, Any]) -> timedelta | None:
    given = {name: body[f"advance_{name}"] for name in ("seconds", "days") if f"advance_{name}" in body}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadAdminRequest(f"advance_{name} must be a number, got {value!r}")
    try:
        return timedelta(**given) if given else None
    except OverflowError as error:
        raise BadAdminRequest(f"The clock cannot be advanced that far: {error}") from error


def _get_settings(_body: Mapping[str, Any]) -> Reply:
    return SETTINGS.as_dict()


def _post_settings(body: Mapping[str, Any]) -> Reply:
    control.configure(**body)
    return SETTINGS.as_dict()


def _get_faults(_body: Mapping[str, Any]) -> Reply:
    return {"faults": control.faults()}


def _post_faults(body: Mapping[str, Any]) -> Reply:
    control.order_fault(body)
    return {"faults": control.faults()}


def _delete_faults(_body: Mapping[str, Any]) -> Reply:
    control.clear_faults()
    return {"faults": control.faults()}
