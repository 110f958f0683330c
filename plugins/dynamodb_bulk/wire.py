"""DynamoDB without boto3's request pipeline: a JSON body goes out signed, the raw answer comes back.

boto3 spends most of a bulk job's processor time on validating, serialising and parsing. Here the caller
brings the body's bytes and gets the answer's bytes. Everything else is taken from the client: endpoint,
credentials (also those that refresh themselves), TLS settings, proxies, timeouts, user agent, and its
``before-send`` handlers, so that what hooks itself into the client (mocks, tracing) keeps seeing each request.
The client's own retries do not apply; see :meth:`Wire.attempt` and :meth:`Wire.call`.

Failures are those that the client itself would raise: ``botocore.exceptions.ClientError`` (the subclass for
its code, where the service model has one) for what AWS refused, and botocore's connection errors. So
``dynamodb_bulk.patience.is_retryable`` tells, whatever the transport, which of them pass by themselves.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import time as wall_clock
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit, urlunsplit

import orjson
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.client import BaseClient
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ChecksumError, ClientError
from botocore.parsers import ResponseParserError

from dynamodb_bulk.errors import UnknownSignatureError
from dynamodb_bulk.links import Answer, Link, open_link
from dynamodb_bulk.patience import Effects, error_code
from dynamodb_bulk.signing import Signed, Signer
from dynamodb_bulk.transport import ClientTransport, Patient, Transport

EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "UnrecognizedClientException"})

_FIRST_ERROR = 300
_NO_LIMIT = 86_400.0
_SHOWN_BYTES = 200
_UNSIGNED = Signed(b"", None)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def open_transport(client: Any, *, pool: int = 8, effects: Effects | None = None) -> Transport:
    """Return the wire for a client of botocore's, and an adapter for anything else that has its methods.

    Args:
        client: boto3's low-level DynamoDB client; or an object with the same methods, such as DAX's client.
        pool: connections kept open while they idle.
        effects: clock, sleep and chance.
    """
    if isinstance(client, BaseClient):
        return Wire(client, pool=pool, effects=effects)
    return ClientTransport(client, effects=effects)


@dataclass(frozen=True, slots=True)
class _Route:
    """Where and how requests of one operation go."""

    url: str
    head: bytes
    headers: Mapping[str, str]
    signer: Signer | None
    event: str


class Wire(Patient):
    """Sends signed JSON to DynamoDB over connections of its own; may be used by many threads at once.

    Args:
        client: boto3's low-level DynamoDB client, which says where, as whom and how.
        pool: connections kept open while they idle; more threads than that open and close their own.
        effects: clock, sleep and chance of :meth:`call`.
        clock: seconds since 1970, for signatures.
    """

    def __init__(
        self,
        client: BaseClient,
        *,
        pool: int = 8,
        effects: Effects | None = None,
        clock: Callable[[], float] = wall_clock,
    ) -> None:
        super().__init__(effects)
        self._client: Any = client
        self._pool = pool
        self._clock = clock
        self._lock = threading.Lock()
        self._renewal = threading.Lock()
        self._routes: dict[str, _Route] = {}
        self._links: dict[str, Link] = {}

    def attempt(self, operation: str, body: bytes, *, timeout: float | None = None) -> bytes:
        """Call an operation once and return the answer's body.

        The one thing that is repeated here is a request that came back as expired: it is sent once more with
        fresh credentials, if there are any.

        Args:
            operation: the operation's name, such as ``BatchWriteItem``.
            body: the request as JSON in UTF-8.
            timeout: seconds that it may take in all; the client's own timeouts hold besides.

        Raises:
            botocore.exceptions.ClientError: AWS refused the call.
            botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError: the connection failed.
            botocore.exceptions.ChecksumError: the answer was damaged on its way.
            botocore.exceptions.NoCredentialsError: the client has no credentials.
        """
        route = self._routes.get(operation) or self._make_route(operation, body)
        answer, used = self._send(route, body, timeout)
        if answer.status < _FIRST_ERROR:
            return answer.body
        error = self._error(operation, answer)
        if error_code(error) not in EXPIRED_CODES or used is None or not self._renew_credentials(used):
            raise error
        answer, _ = self._send(route, body, timeout)
        if answer.status < _FIRST_ERROR:
            return answer.body
        raise self._error(operation, answer)

    def close(self) -> None:
        """Close the connections that idle."""
        for link in self._links.values():
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, route: _Route, body: bytes, timeout: float | None) -> tuple[Answer, ReadOnlyCredentials | None]:
        signed = _UNSIGNED if route.signer is None else route.signer.sign(body)
        request = _Prepared(route, signed.lines, body)
        answer = self._ask_handlers(route.event, request)
        if answer is None:
            limit = _NO_LIMIT if timeout is None else timeout
            answer = self._links[route.url].send(request.head(), request.get, request.payload(), limit)
        _check_crc32(answer)
        return answer, signed.credentials

    def _ask_handlers(self, event: str, request: _Prepared) -> Answer | None:
        """Show the request to what hooked itself into the client; return an answer that it gave instead."""
        for _, answer in self._client.meta.events.emit(event, request=request):
            if answer is not None:
                headers = {name.lower(): _text(value) for name, value in answer.headers.items()}
                return Answer(answer.status_code, headers, answer.content)
        return None

    def _error(self, operation: str, answer: Answer) -> ClientError:
        """Return the error that the client would raise for an answer."""
        client = self._client
        response = {
            "status_code": answer.status,
            "headers": HeadersDict(answer.headers),
            "body": answer.body,
            "context": {"operation_name": operation},
        }
        try:
            parsed = client._response_parser.parse(
                response, client.meta.service_model.operation_model(operation).output_shape
            )
        except ResponseParserError:
            text = answer.body[:_SHOWN_BYTES].decode("utf-8", "replace")
            parsed = {
                "Error": {"Code": str(answer.status), "Message": text},
                "ResponseMetadata": {"HTTPStatusCode": answer.status, "HTTPHeaders": dict(answer.headers)},
            }
        error: ClientError = client.exceptions.from_code(parsed.get("Error", {}).get("Code"))(parsed, operation)
        return error

    def _renew_credentials(self, used: ReadOnlyCredentials) -> bool:
        """Get other credentials than those that AWS called expired; tell whether there are any."""
        credentials = self._client._request_signer._credentials
        with self._renewal:
            if credentials.get_frozen_credentials() != used:
                return True
            # AWS is right about the expiry and botocore's record of it is not: have them fetched anew.
            refresh = getattr(credentials, "_protected_refresh", None)
            if refresh is None:
                return False
            with credentials._refresh_lock:
                refresh(is_mandatory=True)
            return bool(credentials.get_frozen_credentials() != used)

    # --- routes -------------------------------------------------------------------------------------

    def _make_route(self, operation: str, body: bytes) -> _Route:
        client = self._client
        model = client.meta.service_model.operation_model(operation)
        context: dict[str, Any] = {"client_region": client.meta.region_name, "client_config": client.meta.config}
        base, extra, _ = client._resolve_endpoint_ruleset(model, orjson.loads(body), context)
        parts = urlsplit(base)
        url = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", "", ""))
        metadata = client.meta.service_model.metadata
        headers = {
            "Host": _host(url),
            "X-Amz-Target": f"{metadata['targetPrefix']}.{model.name}",
            "Content-Type": f"application/x-amz-json-{metadata['jsonVersion']}",
            **{name: ",".join(values) for name, values in extra.items()},
        }
        signer = self._make_signer(url, headers, context)
        unsigned = {"User-Agent": str(client.meta.config.user_agent or ""), "Accept-Encoding": "identity"}
        sent = {**headers, **unsigned}
        route = _Route(
            url=url,
            head=_lines(url, sent),
            headers=sent,
            signer=signer,
            event=f"before-send.{client.meta.service_model.service_id.hyphenize()}.{operation}",
        )
        with self._lock:
            if url not in self._links:
                session = client._endpoint.http_session
                self._links[url] = open_link(session, url, pool=self._pool, config=client.meta.config)
            return self._routes.setdefault(operation, route)

    def _make_signer(self, url: str, headers: Mapping[str, str], context: Mapping[str, Any]) -> Signer | None:
        request_signer = self._client._request_signer
        version = context.get("auth_type") or request_signer.signature_version
        if version is UNSIGNED or version == "none":
            return None
        if version != "v4":
            raise UnknownSignatureError(
                f"The client signs with {version!r}; this transport knows 'v4' only. Drop signature_version from "
                "the client's configuration."
            )
        signing = context.get("signing", {})
        return Signer(
            request_signer._credentials,
            region=signing.get("region", request_signer.region_name),
            service=signing.get("signing_name", request_signer.signing_name),
            path=urlsplit(url).path,
            headers=headers,
            clock=self._clock,
        )


class _Prepared(AWSPreparedRequest):
    """A request as handlers know it, made only once one of them looks at it.

    What they change (a header more, say) is what goes out; the signature is made before, as botocore does it.
    """

    def __init__(self, route: _Route, signed: bytes, body: bytes) -> None:
        set_ = object.__setattr__
        set_(self, "_route", route)
        set_(self, "_signed", signed)
        set_(self, "_body", body)
        set_(self, "_made", None)

    def get(self) -> AWSPreparedRequest:
        """Return the request in botocore's form."""
        made: AWSPreparedRequest | None = self._made
        if made is None:
            lines = (line.partition(": ") for line in self._signed.decode("utf-8").splitlines())
            headers = HeadersDict({**self._route.headers, **{name: value for name, _, value in lines}})
            headers["Content-Length"] = str(len(self._body))
            made = AWSPreparedRequest("POST", self._route.url, cast("Any", headers), self._body, False)
            object.__setattr__(self, "_made", made)
        return made

    def head(self) -> bytes:
        """Return request line and headers, with the blank line behind them."""
        if self._made is None:
            head: bytes = self._route.head
            return b"%bContent-Length: %d\r\n%b\r\n" % (head, len(self._body), self._signed)
        return _lines(self._made.url, self._made.headers) + b"\r\n"

    def payload(self) -> bytes:
        """Return the body."""
        body: bytes = self._body if self._made is None else self._made.body
        return body

    def __getattr__(self, name: str) -> Any:
        return getattr(self.get(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.get(), name, value)


def _check_crc32(answer: Answer) -> None:
    """Compare an answer with the checksum that DynamoDB sends along.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
    """
    expected = answer.headers.get("x-amz-crc32")
    if expected is None or "content-encoding" in answer.headers:
        return
    actual = zlib.crc32(answer.body)
    if expected != str(actual):
        raise ChecksumError(checksum_type="crc32", expected_checksum=expected, actual_checksum=str(actual))


def _host(url: str) -> str:
    """Return the Host header for a URL: no user, and no port where it is the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    return host


def _lines(url: str, headers: Mapping[str, Any]) -> bytes:
    """Return request line and headers, each with its line end."""
    lines = [f"POST {urlsplit(url).path} HTTP/1.1", *(f"{name}: {_text(value)}" for name, value in headers.items()), ""]
    return "\r\n".join(lines).encode("latin-1")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
