"""Signature Version 4 for many requests that differ in their body alone.

botocore's signer sorts the headers and derives the signing key anew for every request. Here all that stays the
same within a second is kept: the date, the derived key, the hash of the canonical request as far as the body's
hash. What remains is two hashes and one HMAC. The signature is, to the byte, the one that botocore makes.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from time import time
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError
from botocore.utils import normalize_url_path

_ALGORITHM = "AWS4-HMAC-SHA256"
_DATE_HEADER = "x-amz-date"
_TOKEN_HEADER = "x-amz-security-token"  # noqa: S105


class Credentials(Protocol):
    """botocore's credentials, of whatever kind; those that expire refresh themselves when asked."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the credentials that hold now."""
        ...


class Signed(NamedTuple):
    """Header lines, each with its line end, that make a request authentic, and whose credentials they carry."""

    lines: bytes
    credentials: ReadOnlyCredentials | None


class _Moment(NamedTuple):
    """What all requests of one second and one set of credentials share."""

    second: int
    credentials: ReadOnlyCredentials
    key: bytes
    to_sign: str
    canonical: Any
    lines: bytes


class Signer:
    """Signs POST requests with the same path and headers.

    Args:
        credentials: botocore's credentials; asked anew for every request, so a refresh takes effect at once.
        region: the region to sign for.
        service: the service's signing name.
        path: the path of the URL.
        headers: all headers to be signed, host included, but for the date and the session token.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        *,
        region: str,
        service: str,
        path: str,
        headers: Mapping[str, str],
        clock: Callable[[], float] = time,
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._path = quote(normalize_url_path(path), safe="/~")
        self._headers = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        self._clock = clock
        self._moment: _Moment | None = None

    def sign(self, body: bytes) -> Signed:
        """Return the header lines that make a request with `body` authentic.

        Raises:
            botocore.exceptions.NoCredentialsError: there are no credentials.
        """
        if self._credentials is None:
            raise NoCredentialsError()
        moment = self._moment
        second = int(self._clock())
        credentials = self._credentials.get_frozen_credentials()
        if moment is None or moment.second != second or moment.credentials != credentials:
            moment = self._moment = self._prepare(second, credentials)
        canonical = moment.canonical.copy()
        canonical.update(sha256(body).hexdigest().encode())
        to_sign = moment.to_sign + canonical.hexdigest()
        signature = hmac.digest(moment.key, to_sign.encode(), "sha256").hex()
        return Signed(moment.lines + signature.encode() + b"\r\n", credentials)

    def _prepare(self, second: int, credentials: ReadOnlyCredentials) -> _Moment:
        stamp = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        changing = {_DATE_HEADER: stamp}
        if credentials.token:
            changing[_TOKEN_HEADER] = credentials.token
        headers = {**self._headers, **{name: " ".join(value.split()) for name, value in changing.items()}}
        names = ";".join(sorted(headers))
        canonical = "\n".join(
            ["POST", self._path, "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, ""]
        )
        key = f"AWS4{credentials.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        lines = "".join(f"{name}: {value}\r\n" for name, value in changing.items())
        lines += (
            f"Authorization: {_ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature="
        )
        return _Moment(
            second=second,
            credentials=credentials,
            key=key,
            to_sign=f"{_ALGORITHM}\n{stamp}\n{scope}\n",
            canonical=sha256(canonical.encode("utf-8")),
            lines=lines.encode("utf-8"),
        )
