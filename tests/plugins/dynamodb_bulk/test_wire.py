import contextlib
import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    NoCredentialsError,
    SSLError,
)
from botocore.session import get_session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto import mock_aws

from dynamodb_bulk.errors import CallDeadlineError, UnknownSignatureError
from dynamodb_bulk.patience import Effects, is_retryable, is_throttling
from dynamodb_bulk.wire import Wire, open_transport

Reply = tuple[int, bytes, dict[str, str]]
GOOD = b'{"UnprocessedItems":{}}'


def error(code: str, status: int = 400, message: str = "said AWS") -> Reply:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    return status, json.dumps(body).encode(), {"x-amzn-RequestId": "REQUEST1"}


class Endpoint:
    """An HTTP server that answers as told, and keeps what it was sent."""

    def __init__(self, answer: Callable[[int, dict[str, str], bytes], Reply | None], cert: Path | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint.requests.append((self.path, headers, body))
                reply = answer(len(endpoint.requests), headers, body)
                if reply is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, content, extra = reply
                self.send_response(status)
                extra = {"x-amz-crc32": str(zlib.crc32(content)), **extra}
                for name, value in {**extra, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                return

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                return

        self.server = Quiet(("127.0.0.1", 0), Handler)
        scheme = "http"
        if cert is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Endpoint]]:
    started: list[Endpoint] = []

    def start(answer: Any = lambda *_: (200, GOOD, {}), cert: Path | None = None) -> Endpoint:
        started.append(Endpoint(answer, cert))
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.server.shutdown()
        endpoint.server.server_close()


def client(url: str | None, *, token: str | None = "TOKEN", **options: Any) -> Any:
    config = Config(**{"retries": {"total_max_attempts": 1}, "connect_timeout": 2, "read_timeout": 2} | options)
    return boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        aws_session_token=token,
        config=config,
    )


BODY = orjson.dumps({"RequestItems": {"orders": [{"PutRequest": {"Item": {"k": {"S": "é"}}}}]}})


@pytest.mark.parametrize("token", ["TOKEN", None])
def test_a_request_is_what_the_client_itself_would_send(serve: Callable[..., Endpoint], token: str | None) -> None:
    endpoint = serve()
    one = client(endpoint.url, token=token)
    one.batch_write_item(**orjson.loads(BODY))
    with Wire(one) as wire:
        assert wire.attempt("BatchWriteItem", BODY) == GOOD
    (path, by_client, sent), (own_path, own, own_sent) = endpoint.requests
    assert own_path == path == "/"
    assert orjson.loads(own_sent) == orjson.loads(sent)
    same = ["host", "x-amz-target", "content-type", "x-amz-security-token", "accept-encoding"]
    assert {name: own.get(name) for name in same} == {name: by_client.get(name) for name in same}
    # botocore adds to it, request by request, which of its features were used.
    assert own["user-agent"].split(" m/")[0] == by_client["user-agent"].split(" m/")[0]

    def scope(headers: dict[str, str]) -> list[str]:
        return headers["authorization"].split("Signature=")[0].split(", ")

    assert scope(own)[0] == scope(by_client)[0]
    signed = scope(own)[1].removeprefix("SignedHeaders=").split(";")
    assert set(signed) >= {"host", "x-amz-date", "x-amz-target", "content-type"}
    assert ("x-amz-security-token" in signed) == (token is not None)


def test_the_endpoint_is_the_one_that_the_client_resolves() -> None:
    seen: list[str] = []

    def stop(request: Any, **_: Any) -> Any:
        seen.append(request.url)
        raise ConnectionClosedError(endpoint_url=request.url)

    for region, dual in (("eu-west-1", False), ("us-gov-west-1", False), ("cn-north-1", False), ("eu-west-1", True)):
        one = boto3.client(
            "dynamodb",
            region_name=region,
            aws_access_key_id="AKID",
            aws_secret_access_key="secret",
            config=Config(use_dualstack_endpoint=dual, retries={"total_max_attempts": 1}),
        )
        one.meta.events.register("before-send.dynamodb.*", stop)
        with pytest.raises(ConnectionClosedError):
            one.scan(TableName="orders")
        with pytest.raises(ConnectionClosedError):
            Wire(one).attempt("Scan", b'{"TableName":"orders"}')
    assert seen[::2] == seen[1::2]
    assert len(set(seen)) == 4


def test_a_path_in_the_endpoint_is_kept(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve()
    Wire(client(endpoint.url + "/some/prefix")).attempt("BatchWriteItem", BODY)
    assert endpoint.requests[0][0] == "/some/prefix"


@pytest.mark.parametrize(
    ("reply", "code", "retryable", "throttling"),
    [
        (error("ProvisionedThroughputExceededException"), "ProvisionedThroughputExceededException", True, True),
        (error("ThrottlingException"), "ThrottlingException", True, True),
        (error("InternalServerError", 500), "InternalServerError", True, False),
        (error("ResourceNotFoundException"), "ResourceNotFoundException", False, False),
        (error("ValidationException"), "ValidationException", False, False),
        (error("AccessDeniedException"), "AccessDeniedException", False, False),
        ((503, b"<html>busy</html>", {}), "503", True, False),
        ((502, b"not JSON at all", {}), "502", True, False),
        ((404, b"nobody home", {}), "404", False, False),
    ],
)
def test_a_refusal_is_the_error_that_the_client_itself_raises(
    serve: Callable[..., Endpoint], reply: Reply, code: str, retryable: bool, throttling: bool
) -> None:
    endpoint = serve(lambda *_: reply)
    one = client(endpoint.url)
    with pytest.raises(ClientError) as raised:
        Wire(one).attempt("BatchWriteItem", BODY)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == reply[0]
    assert is_retryable(raised.value) is retryable
    assert is_throttling(raised.value) is throttling
    if code == "ResourceNotFoundException":
        assert isinstance(raised.value, one.exceptions.ResourceNotFoundException)
        assert "said AWS" in str(raised.value)
        assert raised.value.response["ResponseMetadata"]["RequestId"] == "REQUEST1"


def test_a_damaged_answer_is_noticed(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda *_: (200, GOOD, {"x-amz-crc32": "12345"}))
    with pytest.raises(ChecksumError) as raised:
        Wire(client(endpoint.url)).attempt("BatchWriteItem", BODY)
    assert is_retryable(raised.value)


def test_a_call_is_repeated_until_it_comes_through(serve: Callable[..., Endpoint]) -> None:
    replies: list[Reply | None] = [
        error("ThrottlingException"),
        None,
        error("InternalServerError", 500),
        (200, GOOD, {"x-amz-crc32": "1"}),
        (200, GOOD, {}),
    ]
    endpoint = serve(lambda number, *_: replies[number - 1])
    pauses: list[float] = []
    wire = Wire(client(endpoint.url), effects=Effects(sleep=pauses.append, draw=lambda: 1.0))
    assert wire.call("BatchWriteItem", BODY) == GOOD
    # The kept connection that was closed without an answer is replaced at once, and counts for nothing.
    assert pauses == pytest.approx([0.05, 0.1, 0.2])
    assert len(endpoint.requests) == 5


def test_a_call_ends_at_its_deadline_and_says_why(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda *_: error("ThrottlingException"))
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    wire = Wire(client(endpoint.url), effects=Effects(clock=lambda: now[0], sleep=sleep, draw=lambda: 1.0))
    with pytest.raises(CallDeadlineError, match=r"Scan did not come through in 5 attempts.*ThrottlingException"):
        wire.call("Scan", b'{"TableName":"orders"}', deadline=101)
    assert now[0] <= 101


def test_a_call_that_is_refused_for_good_is_not_repeated(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda *_: error("ValidationException"))
    with pytest.raises(ClientError, match="ValidationException"):
        Wire(client(endpoint.url)).call("BatchWriteItem", BODY)
    assert len(endpoint.requests) == 1


def refreshing(url: str, tokens: list[str], *, lifetime: int = 3600) -> tuple[Any, list[str]]:
    """Return a client whose credentials fetch one token after the other, and the list of those it fetched."""
    fetched: list[str] = []

    def fetch() -> dict[str, str]:
        fetched.append(tokens[min(len(fetched), len(tokens) - 1)])
        expiry = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=lifetime)
        return {
            "access_key": "AKID",
            "secret_key": "secret",
            "token": fetched[-1],
            "expiry_time": expiry.isoformat(),
        }

    session = get_session()
    session._credentials = RefreshableCredentials.create_from_metadata(fetch(), fetch, "test")  # type: ignore[attr-defined]
    made = boto3.Session(botocore_session=session, region_name="eu-west-1")
    return made.client("dynamodb", endpoint_url=url), fetched


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_an_expired_token_is_replaced_and_the_request_sent_again(serve: Callable[..., Endpoint], code: str) -> None:
    def answer(number: int, headers: dict[str, str], body: bytes) -> Reply:
        return (200, GOOD, {}) if headers["x-amz-security-token"] == "T2" else error(code)

    endpoint = serve(answer)
    one, fetched = refreshing(endpoint.url, ["T1", "T2"])
    wire = Wire(one)
    assert wire.attempt("BatchWriteItem", BODY) == GOOD
    assert wire.attempt("BatchWriteItem", BODY) == GOOD
    assert [headers["x-amz-security-token"] for _, headers, _ in endpoint.requests] == ["T1", "T2", "T2"]
    assert fetched == ["T1", "T2"]


def test_many_threads_with_an_expired_token_fetch_one_new_one(serve: Callable[..., Endpoint]) -> None:
    def answer(number: int, headers: dict[str, str], body: bytes) -> Reply:
        return (200, GOOD, {}) if headers["x-amz-security-token"] == "T2" else error("ExpiredTokenException")

    endpoint = serve(answer)
    one, fetched = refreshing(endpoint.url, ["T1", "T2", "T3"])
    wire = Wire(one)
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(wire.attempt("BatchWriteItem", BODY))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [GOOD] * 8
    assert fetched == ["T1", "T2"]


def test_credentials_that_are_about_to_expire_refresh_themselves_between_two_requests(
    serve: Callable[..., Endpoint],
) -> None:
    endpoint = serve()
    one, fetched = refreshing(endpoint.url, ["T1", "T2"])
    wire = Wire(one)
    wire.attempt("BatchWriteItem", BODY)
    one._request_signer._credentials._expiry_time = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5)
    wire.attempt("BatchWriteItem", BODY)
    assert [headers["x-amz-security-token"] for _, headers, _ in endpoint.requests] == ["T1", "T2"]
    assert fetched == ["T1", "T2"]


def test_an_expired_token_that_nothing_replaces_is_a_clear_error(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda *_: error("ExpiredTokenException", message="The security token has expired"))
    with pytest.raises(ClientError, match="The security token has expired"):
        Wire(client(endpoint.url)).attempt("BatchWriteItem", BODY)
    assert len(endpoint.requests) == 1


def test_no_credentials(serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    one = boto3.Session().client("dynamodb", region_name="eu-west-1", endpoint_url=serve().url)
    with pytest.raises(NoCredentialsError):
        Wire(one).attempt("BatchWriteItem", BODY)


def test_a_client_that_does_not_sign(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve()
    assert Wire(client(endpoint.url, signature_version=UNSIGNED)).attempt("BatchWriteItem", BODY) == GOOD
    assert "authorization" not in endpoint.requests[0][1]


def test_a_client_that_signs_in_another_way_is_refused_at_once(serve: Callable[..., Endpoint]) -> None:
    with pytest.raises(UnknownSignatureError, match="signs with 'v4a'"):
        Wire(client(serve().url, signature_version="v4a")).attempt("BatchWriteItem", BODY)


def test_what_hooked_itself_into_the_client_sees_and_changes_requests(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve()
    one = client(endpoint.url)
    seen: list[tuple[str, bytes]] = []

    def hook(request: Any, **_: Any) -> None:
        seen.append((request.url, request.body))
        request.headers["X-Trace"] = "42"

    one.meta.events.register("before-send.dynamodb.BatchWriteItem", hook)
    assert Wire(one).attempt("BatchWriteItem", BODY) == GOOD
    assert seen == [(endpoint.url + "/", BODY)]
    assert endpoint.requests[0][1]["x-trace"] == "42"
    assert endpoint.requests[0][2] == BODY


def test_a_mocked_client_stays_mocked() -> None:
    with mock_aws():
        one = boto3.client("dynamodb", region_name="eu-west-1")
        one.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        wire = open_transport(one)
        assert isinstance(wire, Wire)
        assert orjson.loads(wire.call("BatchWriteItem", BODY))["UnprocessedItems"] == {}
        assert orjson.loads(wire.call("Scan", b'{"TableName":"orders"}'))["Items"] == [{"k": {"S": "é"}}]
        with pytest.raises(one.exceptions.ResourceNotFoundException):
            wire.call("Scan", b'{"TableName":"nothing"}')


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "local")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_verified_as_the_client_is_set_to(
    serve: Callable[..., Endpoint], certificate: Path, trusted: bool
) -> None:
    endpoint = serve(cert=certificate)
    one = boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        endpoint_url=endpoint.url,
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        verify=str(certificate) if trusted else None,
    )
    wire = Wire(one)
    expectation: Any = contextlib.nullcontext() if trusted else pytest.raises(SSLError)
    with expectation as raised:
        for _ in range(3):
            assert wire.attempt("BatchWriteItem", BODY) == GOOD
    if raised is not None:
        assert not is_retryable(raised.value)
        assert endpoint.requests == []
