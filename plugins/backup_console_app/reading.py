"""Read documents that others wrote: what is missing, or of another kind than expected, is None and nothing breaks.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any


def at(document: Any, *path: str) -> Any:
    """Return what stands at a path of mappings, or None."""
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def text(document: Any, *path: str) -> str | None:
    """Return a text, or None."""
    found = at(document, *path)
    return found if isinstance(found, str) else None


def number(document: Any, *path: str) -> float | None:
    """Return a number, or None."""
    found = at(document, *path)
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def mappings(document: Any, *path: str) -> list[Mapping[str, Any]]:
    """Return the mappings of a list; none where there is no list."""
    found = at(document, *path)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def texts(document: Any, *path: str) -> list[str]:
    """Return the texts of a list; none where there is no list."""
    found = at(document, *path)
    return [entry for entry in found if isinstance(entry, str)] if isinstance(found, list) else []


def moment(document: Any, *path: str) -> dt.datetime | None:
    """Return a moment (ISO 8601 with its zone), or None."""
    found = text(document, *path)
    if found is None:
        return None
    try:
        parsed = dt.datetime.fromisoformat(found)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=dt.UTC)


def counts(document: Any, *path: str) -> dict[str, int]:
    """Return the whole numbers of a mapping, by name."""
    found = at(document, *path)
    return (
        {str(name): value for name, value in found.items() if type(value) is int} if isinstance(found, Mapping) else {}
    )
