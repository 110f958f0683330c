"""The tags of recovery points as they were seen last: AWS tells them one point a call (ListTags), and lists none.

A point is asked about when it is seen first, when it is about to go, and once in a long while; so the calls of a
cleanup grow with what is new, not with what is there. No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from backup_flows.store import get_bytes, put_bytes

KEY: Final = "retention/tags.json.gz"
GOOD_FOR: Final = dt.timedelta(days=30)


@dataclass
class TagBook:
    """What is known of the points' tags.

    Attributes:
        ask: returns a point's tags, by ARN.
        now: the present (aware).
        entries: tags and the moment when they were asked for (ISO 8601), by ARN.
        fresh: ARNs that were asked about by this cleanup.
    """

    ask: Callable[[str], Mapping[str, str]]
    now: dt.datetime
    entries: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, s3: Any, bucket: str, ask: Callable[[str], Mapping[str, str]], now: dt.datetime) -> Self:
        """Open the book that the last cleanup wrote."""
        content = get_bytes(s3, bucket, KEY)
        known = json.loads(gzip.decompress(content)) if content is not None else {}
        return cls(ask, now, {arn: (tags, asked_at) for arn, (tags, asked_at) in known.items()})

    def of(self, arn: str, *, fresh: bool = False) -> dict[str, str]:
        """Return a point's tags.

        Args:
            arn: the point.
            fresh: ask AWS unless this cleanup did so already.
        """
        known = self.entries.get(arn)
        outdated = known is None or self.now - dt.datetime.fromisoformat(known[1]) > GOOD_FOR
        if arn not in self.fresh and (fresh or outdated):
            known = dict(self.ask(arn)), self.now.isoformat()
            self.entries[arn] = known
            self.fresh.add(arn)
        return dict(known[0]) if known is not None else {}

    def write(self, s3: Any, bucket: str, there: Collection[str]) -> None:
        """Keep the book for the next cleanup, without the points that are gone.

        Two cleanups at once may both write: what either lacks is asked for again.
        """
        kept = {arn: entry for arn, entry in self.entries.items() if arn in there}
        body = gzip.compress(json.dumps(kept, sort_keys=True).encode(), mtime=0)
        put_bytes(s3, bucket, KEY, body, content_type="application/gzip")
