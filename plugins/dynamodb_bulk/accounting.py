"""What became of each row of a load: the report, the rejects file, and the sum that must come out even."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from dynamodb_bulk.csv_rows import Reject
from dynamodb_bulk.errors import AccountingError

SAMPLE_SIZE = 20


class ByteSink(Protocol):
    """Anything that takes bytes: a file opened for writing in binary mode."""

    def write(self, data: bytes, /) -> Any:
        """Take `data` at the end of what was written before."""
        ...


@dataclass(frozen=True, slots=True)
class Replacement:
    """A row that a later row with the same key replaced.

    Args:
        line: the line of the row that was not written.
        replaced_by: the line of the next row with its key.
        key: the values of the key attributes, hash key first.
    """

    line: int
    replaced_by: int
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did, to the row.

    Args:
        source: name of the file.
        table: name of the table.
        rows_in: rows read from the file, the header not counted.
        written: items that DynamoDB acknowledged.
        rejected: rows that could not become items.
        duplicates: rows that were not written since a later row has their key.
        bytes: length of the file in bytes.
        source_sha256: hash of the file's bytes, in hex.
        seconds: duration of the whole load.
        batches: BatchWriteItem requests sent.
        resent: items that were sent again since a request did not take them.
        rejects_name: where all rejected rows were written to.
        rejects_sample: the first rejected rows.
        replacements_sample: the first duplicates.
    """

    source: str
    table: str
    rows_in: int
    written: int
    rejected: int
    duplicates: int
    bytes: int
    source_sha256: str
    seconds: float
    batches: int
    resent: int
    rejects_name: str
    rejects_sample: tuple[Reject, ...] = ()
    replacements_sample: tuple[Replacement, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        content = asdict(self)
        content["seconds"] = round(self.seconds, 3)
        content["rejects_sample"] = [reject._asdict() for reject in self.rejects_sample]
        content["replacements_sample"] = [
            {**asdict(entry), "key": list(entry.key)} for entry in self.replacements_sample
        ]
        return content

    def summary(self) -> str:
        """Return one line for a log."""
        return (
            f"{self.source} -> {self.table}: rows_in {self.rows_in} = written {self.written} + rejected "
            f"{self.rejected} + duplicates {self.duplicates}; {self.bytes} bytes in {self.seconds:.1f} s, "
            f"{self.batches} requests, {self.resent} items sent again"
        )


def check_accounting(source: str, *, rows_in: int, written: int, rejected: int, duplicates: int) -> None:
    """Make sure that every row of a file is accounted for exactly once.

    Raises:
        AccountingError: the figures do not add up.
    """
    if rows_in != written + rejected + duplicates:
        raise AccountingError(
            f"{source}: {rows_in} rows were read, but {written} written + {rejected} rejected + {duplicates} "
            f"duplicates are {written + rejected + duplicates}. Do not trust the table's content: load the "
            "file again, and report this with the file."
        )


class RejectLog:
    """Writes rejected rows as JSON lines to a sink, and counts them.

    Args:
        sink: takes one line of UTF-8 JSON per rejected row: line, field, reason, raw (at most 2 KB).
    """

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._sample: list[Reject] = []
        self.count = 0

    def add(self, reject: Reject) -> None:
        """Write and count one rejected row."""
        self._sink.write(json.dumps(reject._asdict(), ensure_ascii=False).encode("utf-8") + b"\n")
        self.count += 1
        if len(self._sample) < SAMPLE_SIZE:
            self._sample.append(reject)

    @property
    def sample(self) -> tuple[Reject, ...]:
        """The first rejected rows."""
        return tuple(self._sample)
