"""Hand out the files of a drill's evidence, and nothing else of the bucket.

No Airflow import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from backup_console_app.drills import DIFF, PACK, REPORT
from backup_console_app.world import World

# What a part of a key may be, as backup_flows.keys has it; no slash, and never dots alone.
_PART: Final = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.-]{1,300}\Z")
KINDS: Final[Mapping[str, str]] = {
    REPORT: "text/html; charset=utf-8",
    PACK: "application/json",
    DIFF: "application/x-ndjson",
}
CHUNK: Final = 64 * 1024


class NoSuchEvidenceError(LookupError):
    """There is no such file of evidence, or the name is none that evidence has."""


@dataclass(frozen=True)
class File:
    """A file of evidence, to be handed out piece by piece.

    Attributes:
        name: for the browser to save it by.
        shown: whether the browser shows it, rather than saves it.
    """

    kind: str
    name: str
    shown: bool
    length: int
    pieces: Iterator[bytes]


def evidence_file(world: World, table: str, drill: str, name: str) -> File:
    """Open a file of a drill's evidence.

    Raises:
        NoSuchEvidenceError: a name is not allowed, or there is no such file.
    """
    if name not in KINDS or not _PART.match(table) or not _PART.match(drill):
        raise NoSuchEvidenceError(f"{table}/{drill}/{name}")
    try:
        answer: Mapping[str, Any] = world.clients("s3").get_object(
            Bucket=world.bucket, Key=f"evidence/{table}/{drill}/{name}"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            raise NoSuchEvidenceError(f"{table}/{drill}/{name}") from None
        raise
    return File(
        kind=KINDS[name],
        name=f"{table}-{drill}-{name}",
        shown=name == REPORT,
        length=int(answer["ContentLength"]),
        pieces=answer["Body"].iter_chunks(CHUNK),
    )
