"""One page of many entries.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page.

    Attributes:
        number: from 1.
        total: how many entries there are on all pages.
        first: position of its first entry, from 1; 0 where there is none.
    """

    entries: Sequence[T]
    number: int
    pages: int
    total: int
    first: int

    @property
    def last(self) -> int:
        """Position of its last entry."""
        return self.first + len(self.entries) - 1 if self.entries else 0

    def of(self, entries: Sequence[S]) -> Page[S]:
        """Return the page with other entries in the place of its own."""
        return Page(entries, self.number, self.pages, self.total, self.first)


def cut(entries: Sequence[T], number: int, size: int) -> Page[T]:
    """Cut a page out; a number beyond the last page is the last one's, one below 1 the first's."""
    pages = max(1, -(-len(entries) // size))
    number = min(max(1, number), pages)
    start = (number - 1) * size
    shown = entries[start : start + size]
    return Page(shown, number, pages, len(entries), start + 1 if shown else 0)
