from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_bulk.signing import Signer

HEADERS = {
    "Host": "dynamodb.eu-west-1.amazonaws.com",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
    "Content-Type": "application/x-amz-json-1.0",
}
SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


def by_botocore(url: str, body: bytes, credentials: Any, region: str, second: int) -> dict[str, str]:
    request: Any = AWSRequest("POST", url, headers={k: v for k, v in HEADERS.items() if k != "Host"}, data=body)
    moment = datetime.fromtimestamp(second, UTC).replace(tzinfo=None)
    with patch("botocore.auth.get_current_datetime", lambda: moment):
        SigV4Auth(credentials, "dynamodb", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def lines(signed: bytes) -> dict[str, str]:
    found = (line.partition(": ") for line in signed.decode().split("\r\n")[:-1])
    return {name.lower(): value for name, _, value in found}


@settings(max_examples=200)
@given(
    body=st.binary(max_size=300),
    access_key=st.text("ABCDEFGHIJ0123456789", min_size=4, max_size=20),
    secret=SECRET,
    token=st.none() | SECRET,
    region=st.sampled_from(["eu-west-1", "us-gov-east-1", "cn-north-1"]),
    second=st.integers(0, 4_000_000_000),
    path=st.sampled_from(["/", "", "/proxy/", "/a b/c", "/%7Efoo", "/x//y/../z"]),
)
def test_the_signature_is_botocores_to_the_byte(
    body: bytes, access_key: str, secret: str, token: str | None, region: str, second: int, path: str
) -> None:
    credentials = Credentials(access_key, secret, token)
    signer = Signer(
        credentials, region=region, service="dynamodb", path=path or "/", headers=HEADERS, clock=lambda: second + 0.7
    )
    expected = by_botocore(f"https://{HEADERS['Host']}{path or '/'}", body, credentials, region, second)
    for _ in range(2):
        found = lines(signer.sign(body).lines)
        assert found["authorization"] == expected["authorization"]
        assert found["x-amz-date"] == expected["x-amz-date"]
        assert found.get("x-amz-security-token") == expected.get("x-amz-security-token")


def test_a_new_second_and_new_credentials_take_effect_at_once() -> None:
    class Rotating:
        held = ReadOnlyCredentials("AKID1", "secret1", "token1", None)

        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            return self.held

    now = [1_700_000_000.0]
    rotating = Rotating()
    signer = Signer(rotating, region="eu-west-1", service="dynamodb", path="/", headers=HEADERS, clock=lambda: now[0])
    url = f"https://{HEADERS['Host']}/"
    steps = [(0.0, 1), (0.9, 1), (0.05, 2), (0.0, 3), (86_400.0, 3)]
    for seconds, number in steps:
        now[0] += seconds
        rotating.held = ReadOnlyCredentials(f"AKID{number}", f"secret{number}", f"token{number}", None)
        signed = signer.sign(b"{}")
        expected = by_botocore(url, b"{}", rotating.held, "eu-west-1", int(now[0]))
        assert lines(signed.lines)["authorization"] == expected["authorization"]
        assert signed.credentials == rotating.held


def test_without_credentials_nothing_is_signed() -> None:
    signer = Signer(None, region="eu-west-1", service="dynamodb", path="/", headers=HEADERS)
    with pytest.raises(NoCredentialsError):
        signer.sign(b"{}")
