"""Figures summed up, printed as Markdown, and put into the document that holds the results."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("boto3", "botocore", "urllib3", "orjson")
_AIMS_HEAD = ("aim", "wanted", "measured", "")
_BLOCK = "<!-- measured: {} -->"
_BLOCK_END = "<!-- end: {} -->"
AIMS_BLOCK = "aims"
"""The block of the document that repeats what all the others say about aims."""


class DocumentError(Exception):
    """The document has no place for a result."""


@dataclass(frozen=True)
class Spread:
    """A median and the range around it."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up some figures."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 1) -> str:
        """Return the median and, where there is one, the range."""
        median, least, most = (f"{value:.{digits}f}" for value in (self.median, self.least, self.most))
        return median if least == most else f"{median} ({least} to {most})"


@dataclass
class Table:
    """A table of results, as Markdown.

    Attributes:
        title: what was measured.
        columns: the heads of the columns.
        rows: the cells.
        notes: lines below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as text."""
        lines = [f"### {self.title}", "", *_grid(self.columns, self.rows)]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])


@dataclass(frozen=True)
class Aim:
    """What was to be reached, and what was.

    Attributes:
        name: what it is about.
        wanted: what is to be reached, in words.
        measured: what was, in words.
        met: whether that is enough.
    """

    name: str
    wanted: str
    measured: str
    met: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """Return a row of the table of aims."""
        return (self.name, self.wanted, self.measured, "met" if self.met else "**missed**")


@dataclass(frozen=True)
class Result:
    """What a benchmark gives.

    Attributes:
        tables: its figures.
        aims: how they stand to what was to be reached.
    """

    tables: Sequence[Table]
    aims: Sequence[Aim] = ()

    def markdown(self) -> str:
        """Return all of it as text."""
        parts = [table.markdown() for table in self.tables]
        if self.aims:
            parts.append("\n".join([*_grid(_AIMS_HEAD, [aim.cells for aim in self.aims]), ""]))
        return "\n".join(parts)


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(columns), _line(["---"] * len(columns)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def with_result(document: str, name: str, text: str) -> str:
    """Return a document with the block of a benchmark replaced, and the block of all aims brought up to date.

    Args:
        document: Markdown with lines ``<!-- measured: NAME -->`` and ``<!-- end: NAME -->``.
        name: the benchmark.
        text: what belongs between the two lines.

    Raises:
        DocumentError: there are no such lines.
    """
    changed = _with_block(document, name, text)
    head = _line(_AIMS_HEAD)
    rows: dict[str, str] = {}
    for found in re.finditer(r"<!-- measured: (\S+) -->\n(.*?)<!-- end: \1 -->", changed, re.DOTALL):
        if found[1] != AIMS_BLOCK and head in found[2]:
            table = found[2].partition(head)[2].strip().splitlines()[1:]
            rows[found[1]] = "\n".join(line for line in table if line.startswith("|"))
    return _with_block(changed, AIMS_BLOCK, "\n".join([head, _line(["---"] * len(_AIMS_HEAD)), *rows.values()]) + "\n")


def _with_block(document: str, name: str, text: str) -> str:
    begin, end = _BLOCK.format(name), _BLOCK_END.format(name)
    before, found_begin, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise DocumentError(f"The document has no lines {begin} and {end}; put them where the result belongs.")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def machine() -> str:
    """Return a line about where this was measured, and with what."""
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores ({_processor()}), Python "
        f"{platform.python_version()}, {versions}"
    )


def load_average() -> float:
    """Return how many processes wanted the processor, over the last minute."""
    return os.getloadavg()[0]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
