"""What a transport to DynamoDB can do, whatever it is made of; and the one that is made of any client's methods.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from typing import Any, Protocol

import orjson
from botocore import xform_name
from botocore.exceptions import ClientError

from dynamodb_bulk.errors import CallDeadlineError
from dynamodb_bulk.patience import TRANSPORT_ERRORS, Effects, full_jitter, is_retryable

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 10.0


class Transport(Protocol):
    """Calls DynamoDB's operations with JSON bodies; may be used by many threads at once."""

    def attempt(self, operation: str, body: bytes, *, timeout: float | None = None) -> bytes:
        """Call an operation once, see :meth:`Wire.attempt`."""
        ...

    def call(self, operation: str, body: bytes, *, deadline: float | None = None) -> bytes:
        """Call an operation until it comes through, see :meth:`Wire.call`."""
        ...

    def close(self) -> None:
        """Close the connections that idle."""
        ...


class Patient(ABC):
    """Repeats attempts; what an attempt is, is for the subclass to say."""

    def __init__(self, effects: Effects | None) -> None:
        self._effects = effects or Effects()

    @abstractmethod
    def attempt(self, operation: str, body: bytes, *, timeout: float | None = None) -> bytes:
        """Call an operation once."""

    def call(self, operation: str, body: bytes, *, deadline: float | None = None) -> bytes:
        """Call an operation until it comes through, with full-jitter pauses between the attempts.

        Repeated is what passes by itself: throttling, a server's error, a lost connection, a damaged answer.
        Only operations that may safely run twice should be called so.

        Args:
            operation: the operation's name, such as ``Scan``.
            body: the request as JSON.
            deadline: the moment, by the clock of `effects`, at which to give up; None to go on for ever.

        Returns:
            The answer's body.

        Raises:
            CallDeadlineError: the deadline has come; its cause is the last failure.
            botocore.exceptions.ClientError: AWS refused the call for good.
        """
        effects = self._effects
        fruitless = 0
        while True:
            left = None if deadline is None else deadline - effects.clock()
            try:
                return self.attempt(operation, body, timeout=left)
            except (ClientError, *TRANSPORT_ERRORS) as error:
                if not is_retryable(error):
                    raise
                fruitless += 1
                pause = full_jitter(fruitless, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, draw=effects.draw)
                if deadline is not None and effects.clock() + pause >= deadline:
                    raise CallDeadlineError(
                        f"{operation} did not come through in {fruitless} attempts before its deadline; the last "
                        f"failure: {error}. Check the endpoint and the table's capacity, or allow more time."
                    ) from error
                effects.sleep(pause)


class ClientTransport(Patient):
    """The same calls through an object with a client's methods; parses and builds what it must.

    Args:
        client: has a method for each operation, such as ``batch_write_item``.
        effects: clock, sleep and chance of :meth:`call`.
    """

    def __init__(self, client: Any, *, effects: Effects | None = None) -> None:
        super().__init__(effects)
        self._client = client

    def attempt(self, operation: str, body: bytes, *, timeout: float | None = None) -> bytes:
        """Call an operation once; `timeout` is left to the client."""
        request = orjson.loads(body)
        if b'"B' in body:
            request = _with_bytes(request)
        answer = getattr(self._client, xform_name(operation))(**request)
        content = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
        return orjson.dumps(content, default=_as_json)

    def close(self) -> None:
        """Leave the connections to the client."""


def _with_bytes(value: Any) -> Any:
    """Return a request with its binary as bytes, as a client takes it; it would encode base64 text once more."""
    if isinstance(value, list):
        return [_with_bytes(element) for element in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, content),) = value.items()
        # An attribute or a table may be called so, but then it holds no text.
        if kind == "B" and isinstance(content, str):
            return {"B": b64decode(content)}
        if kind == "BS" and isinstance(content, list) and all(isinstance(element, str) for element in content):
            return {"BS": [b64decode(element) for element in content]}
    return {name: _with_bytes(content) for name, content in value.items()}


def _as_json(value: Any) -> str:
    """Return what JSON has instead of a value that a client answered."""
    content = getattr(value, "value", value)
    if isinstance(content, bytes | bytearray | memoryview):
        return b64encode(content).decode()
    raise TypeError(f"{type(value).__name__} has no form in DynamoDB's JSON")
