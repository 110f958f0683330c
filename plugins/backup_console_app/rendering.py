"""Templates, and how figures are written on the page. Everything that is not ours is escaped.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from backup_console_app import links
from backup_console_app.charts import duration

STATIC: Final = {"console.css": "text/css", "outside.js": "text/javascript"}
NOTHING: Final = "–"  # noqa: RUF001


@functools.cache
def environment() -> Environment:
    """Return the templates' environment."""
    made = Environment(
        loader=PackageLoader("backup_console_app"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"span": span, "size": size, "utc": utc, "iso": iso, "count": count, "pairs": pairs, "short": short}
    made.globals |= {"links": links, "version": asset_version()}
    return made


def asset(name: str) -> bytes:
    """Return a file that pages load: one of `STATIC`."""
    return resources.files("backup_console_app").joinpath("static", name).read_bytes()


@functools.cache
def asset_version() -> str:
    """Return what changes when one of those files does."""
    return hashlib.sha256(b"".join(asset(name) for name in sorted(STATIC))).hexdigest()[:12]


@dataclass(frozen=True)
class Look:
    """Where a page stands.

    Attributes:
        root: path of the console, without a slash at its end.
        airflow: path of Airflow's UI, without a slash at its end.
        stack: that is looked at.
        stacks: that there are to look at; the first is the one where none is named.
        now: the moment of the page.
    """

    root: str
    airflow: str
    stack: str
    stacks: tuple[str, ...]
    now: dt.datetime

    def href(self, path: str, **query: Any) -> str:
        """Return an address of the console; what is empty is left out of it."""
        if self.stack != self.stacks[0]:
            query["stack"] = self.stack
        given = {name: str(value) for name, value in query.items() if value not in (None, "", False)}
        return f"{self.root}/{quote(path)}{'?' + urlencode(given) if given else ''}"

    def ago(self, at: dt.datetime | None) -> str:
        """Return how long ago a moment was, or in what time it is."""
        if at is None:
            return NOTHING
        seconds = (self.now - at).total_seconds()
        if abs(seconds) < 1:
            return "just now"
        return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def render(template: str, look: Look, **values: Any) -> str:
    """Render a page."""
    return environment().get_template(template).render(look=look, href=look.href, ago=look.ago, **values)


def span(value: dt.timedelta | None) -> str:
    """Write a span of time."""
    return NOTHING if value is None else duration(value.total_seconds())


def size(value: int | None) -> str:
    """Write a number of bytes."""
    if value is None:
        return NOTHING
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def utc(value: dt.datetime | None) -> str:
    """Write a moment, in UTC."""
    return NOTHING if value is None else f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def iso(value: dt.datetime | None) -> str:
    """Write a moment for machines."""
    return "" if value is None else value.astimezone(dt.UTC).isoformat()


def count(value: int) -> str:
    """Write a number with its thousands apart."""
    return f"{value:,}"


def pairs(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return values as options that are called like themselves."""
    return [(value, value) for value in values]


def short(arn: str) -> str:
    """Return what tells recovery points apart: the last part of an ARN."""
    return arn.replace("/", ":").rpartition(":")[2] or arn
