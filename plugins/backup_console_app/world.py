"""What every page asks from: AWS by an Airflow connection, the stack's places, ``protection.yaml``, Airflow's plans.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from botocore.exceptions import ClientError

from backup_console_app.cache import Cache
from backup_console_app.troubles import ConsoleTroubleError, Trouble
from backup_flows.protected_tables import ProtectedTables, find_protected_tables
from backup_flows.protection import ProtectedTable, Protection

S = TypeVar("S")
T = TypeVar("T")

FRESH: Final = 15.0
"""Seconds for which what may change is kept."""
SETTLED: Final = 900.0
"""Seconds for which what is written once is kept."""
DOCUMENT_BYTES: Final = 64 * 1024 * 1024
"""A document of the project that is larger is not read into the api-server's memory."""
AT_ONCE: Final = 8

_pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="backup-console")
_here = threading.local()


class Places(Protocol):
    """Where things lie: the stack's resources, as far as the console asks for them."""

    @property
    def bucket(self) -> str:
        """The project's bucket."""

    @property
    def vault(self) -> str:
        """The stack's vault."""

    @property
    def region(self) -> str:
        """AWS Region."""


@dataclass(frozen=True)
class NextRun:
    """When a DAG runs next by its schedule.

    Attributes:
        at: None where it has no schedule.
        paused: whether it is switched off.
    """

    at: dt.datetime | None
    paused: bool


@dataclass(frozen=True)
class World:
    """One stack, looked at now.

    Attributes:
        stack: its name.
        clients: returns a low-level client for a service name.
        now: the moment of the page (aware).
        next_run: tells when a DAG runs next; None for one that Airflow does not have.
    """

    stack: str
    clients: Callable[[str], Any]
    places: Places
    protection: Protection
    now: dt.datetime
    cache: Cache
    next_run: Callable[[str], NextRun | None]

    @property
    def bucket(self) -> str:
        """The project's bucket."""
        return self.places.bucket

    def kept(
        self,
        what: Sequence[Any],
        make: Callable[[], T],
        *,
        seconds: float | Callable[[T], float] = FRESH,
        weigh: Callable[[T], int] | None = None,
    ) -> T:
        """Return what the cache has, or make it."""
        return self.cache.get((self.stack, self.bucket, *what), seconds, make, weigh=weigh)

    def each(self, do: Callable[[S], T], entries: Iterable[S]) -> list[T]:
        """Do something for each entry, some at once; in turn from within itself, or all threads would wait for one.

        Never in what `kept` makes: threads that wait for it could be all that there are.
        """
        if getattr(_here, "at_work", False):
            return [do(entry) for entry in entries]
        return list(_pool.map(lambda entry: _in_pool(do, entry), entries))

    def document(self, key: str, *, seconds: float = FRESH) -> dict[str, Any] | None:
        """Return a JSON document of the project's bucket, or None if it is not there (or is no JSON object).

        Raises:
            ConsoleTroubleError: it is larger than the api-server should read.
        """
        return self.kept(("document", key), lambda: self._document(key), seconds=seconds)

    def _document(self, key: str) -> dict[str, Any] | None:
        try:
            answer = self.clients("s3").get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise
        with closing(answer["Body"]) as body:
            if answer["ContentLength"] > DOCUMENT_BYTES:
                raise ConsoleTroubleError(
                    Trouble(
                        "A document is too large to be shown",
                        f"s3://{self.bucket}/{key} has {answer['ContentLength']:,} bytes.",
                        "Read it with a tool of its own.",
                    )
                )
            content = body.read()
        try:
            parsed = json.loads(content)
        except ValueError:
            return None
        return parsed if isinstance(parsed, dict) else None

    def keys(self, prefix: str, *, after: str = "", pages: int = 20) -> list[str]:
        """Return the keys below a prefix, in their order, at most some thousand."""
        answers = self._pages(Prefix=prefix, **({"StartAfter": after} if after else {}))
        return [
            entry["Key"] for _, page in zip(range(pages), answers, strict=False) for entry in page.get("Contents", [])
        ]

    def folders(self, prefix: str, *, pages: int = 20) -> list[str]:
        """Return the names one level below a prefix, without slashes, in their order."""
        answers = self._pages(Prefix=prefix, Delimiter="/")
        return [
            entry["Prefix"].removeprefix(prefix).rstrip("/")
            for _, page in zip(range(pages), answers, strict=False)
            for entry in page.get("CommonPrefixes", [])
        ]

    def _pages(self, **question: Any) -> Iterator[dict[str, Any]]:
        paginator = self.clients("s3").get_paginator("list_objects_v2")
        yield from paginator.paginate(Bucket=self.bucket, **question)

    def protected(self) -> ProtectedTables:
        """Return the tables that ``protection.yaml`` selects."""
        return self.kept(
            ("protected",),
            lambda: find_protected_tables(self.clients, self.protection),
            weigh=lambda found: len(found.tables),
        )

    def table(self, name: str) -> ProtectedTable | None:
        """Return a protected table by its name."""
        return next((table for table in self.protected().tables if table.name == name), None)


def _in_pool(do: Callable[[S], T], entry: S) -> T:
    _here.at_work = True
    try:
        return do(entry)
    finally:
        _here.at_work = False
