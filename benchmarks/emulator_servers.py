"""The local AWS and stock moto_server as processes to be measured, and a client that costs them little."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from measuring import BenchmarkError

INCLUDE = Path(__file__).resolve().parent.parent / "include"
_START_SECONDS = 60.0
_NO_HEADERS: Mapping[str, str] = {}
_SIGNED = "AWS4-HMAC-SHA256 Credential=testing/20260301/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
COMMANDS: dict[str, list[str]] = {
    "local_aws": ["-m", "local_aws", "--port", "{port}"],
    "moto_server": ["-m", "moto.server", "--port", "{port}"],
}


class Serving:
    """A server process on this machine; a context manager.

    Args:
        name: one of `COMMANDS`.
        port: where it listens.
        arguments: further arguments of its command.
    """

    def __init__(self, name: str, port: int, *arguments: str) -> None:
        self.name = name
        self.port = port
        self._command = [sys.executable, *(part.format(port=port) for part in COMMANDS[name]), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(INCLUDE)}
        self._process = subprocess.Popen(
            self._command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                Client(self.port).call("DynamoDB_20120810.ListTables", {})
                return self
            except OSError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise BenchmarkError(f"{self.name} did not start: {error}") from error
                time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _status(self, field: str) -> int:
        if self._process is None:
            raise BenchmarkError(f"{self.name} does not run.")
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise BenchmarkError(f"This system does not tell {field} of a process.")

    @property
    def memory(self) -> int:
        """Bytes of memory that it holds now."""
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """The most bytes of memory that it ever held."""
        return self._status("VmHWM")


class Client:
    """Sends JSON requests with a made-up signature; a connection that the server closes is opened again.

    Args:
        port: where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def call(self, target: str, body: dict[str, Any] | bytes) -> dict[str, Any]:
        """Call an operation of DynamoDB by its X-Amz-Target.

        Raises:
            BenchmarkError: it was not answered well.
        """
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"}
        return self.request("POST", "/", "dynamodb", body, headers)

    def request(
        self,
        method: str,
        path: str,
        service: str,
        body: dict[str, Any] | bytes = b"",
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> dict[str, Any]:
        """Send any request.

        Raises:
            BenchmarkError: it was not answered well.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, content, {"Authorization": _SIGNED.format(service), **headers})
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise BenchmarkError(f"{method} {path} {headers}: {reply.status} {text[:300]!r}")
        answered: dict[str, Any] = json.loads(text or b"{}")
        return answered


def make_table(client: Client, name: str) -> None:
    """Make the orders table."""
    client.call(
        "DynamoDB_20120810.CreateTable",
        {
            "TableName": name,
            "KeySchema": [
                {"AttributeName": "order_id", "KeyType": "HASH"},
                {"AttributeName": "item_id", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": "order_id", "AttributeType": "S"},
                {"AttributeName": "item_id", "AttributeType": "S"},
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )


def item(number: int) -> dict[str, dict[str, str]]:
    """Return a made order item, some 300 bytes as DynamoDB counts them."""
    return {
        "order_id": {"S": f"order-{number // 3:09d}"},
        "item_id": {"S": f"item-{number % 3}"},
        "customer_id": {"S": f"customer-{number % 9973}"},
        "product": {"S": "Crème fraîche, 250 g"},
        "amount": {"N": f"{number % 1000}.25"},
        "quantity": {"N": str(number % 17 + 1)},
        "currency": {"S": "EUR"},
        "time_stamp": {"S": "2026-03-01T12:00:00Z"},
        "status": {"S": "SHIPPED"},
        "notes": {"S": 'the "blue" gate — behind the café; ring twice, then wait, please'},
    }


def batch(table: str, first: int, items: int = 25) -> bytes:
    """Return the body of a BatchWriteItem request."""
    requests = [{"PutRequest": {"Item": item(number)}} for number in range(first, first + items)]
    return json.dumps({"RequestItems": {table: requests}}).encode()
