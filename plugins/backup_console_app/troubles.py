"""What went wrong, in words for the page: what, why, and what to do. Never a trace, never a blank page.

No Airflow import.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from backup_flows.protection_file import ProtectionFileError

log = logging.getLogger(__name__)

T = TypeVar("T")

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"})
_THROTTLED = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
_STALE = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})


@dataclass(frozen=True)
class Trouble:
    """One thing that went wrong.

    Attributes:
        title: what, in a few words.
        detail: what the other side said.
        remedy: what to do.
        dag_id: the DAG to run, where that is the remedy.
    """

    title: str
    detail: str
    remedy: str
    dag_id: str | None = None


class ConsoleTroubleError(RuntimeError):
    """A page can't be shown; carries the words that are shown instead."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(f"{trouble.title}: {trouble.detail}")
        self.trouble = trouble

    def __reduce__(self) -> tuple[type[ConsoleTroubleError], tuple[Trouble]]:
        return type(self), (self.trouble,)


@dataclass(frozen=True)
class Known(Generic[T]):
    """Something that was asked for: its value, or why there is none."""

    value: T | None = None
    trouble: Trouble | None = None


def attempt(ask: Callable[[], T]) -> Known[T]:
    """Ask, and put what goes wrong in words: one part of a page that fails leaves the others standing."""
    try:
        return Known(ask())
    except Exception as error:
        return Known(trouble=in_words(error))


def in_words(error: Exception) -> Trouble:
    """Return an error in words; one that is not known here is logged with its trace."""
    if isinstance(error, ConsoleTroubleError):
        return error.trouble
    if isinstance(error, ClientError):
        return _refused(error)
    if isinstance(error, ProtectionFileError):
        return Trouble("protection.yaml is wrong", str(error), "Correct the lines that are named, then load again.")
    if isinstance(error, (ReadTimeoutError, ConnectTimeoutError)):
        return Trouble("AWS takes too long to answer", str(error), "Load the page again in a moment.")
    if isinstance(error, (EndpointConnectionError, ConnectionError)):
        return Trouble(
            "AWS can't be reached",
            str(error),
            "Check the endpoint and region of the Airflow connection, and the network of the api-server. "
            "On a laptop: is the local AWS running (make run)?",
        )
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, NoRegionError)):
        return Trouble(
            "The connection to AWS is not complete", str(error), "Give the Airflow connection credentials and a region."
        )
    log.exception("A part of the console can't be shown", exc_info=error)
    kind = "AWS's client refused" if isinstance(error, BotoCoreError) else "This part can't be shown"
    return Trouble(kind, f"{type(error).__name__}: {error}", "The api-server's log has the whole story.")


def _refused(error: ClientError) -> Trouble:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message") or str(error)
    call = error.operation_name
    if code in _DENIED:
        return Trouble(
            f"Not allowed: {call}",
            message,
            f"Let the connection's role call {call}; docs/console.md lists the reading rights that the console needs.",
        )
    if code in _THROTTLED:
        return Trouble(f"AWS is asked too much at once ({call})", message, "Load the page again in a moment.")
    if code in _STALE:
        return Trouble("The connection's credentials are not valid", message, "Renew them in the Airflow connection.")
    return Trouble(f"AWS refused {call} ({code})", message, "Look at the message; then load the page again.")
