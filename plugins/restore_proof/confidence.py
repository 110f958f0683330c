"""What a sample can be trusted to have caught.

If a share ``p`` of a table's items is damaged, a sample of ``n`` independently drawn items misses all of them with
the probability ``(1 - p) ** n``. So with the probability ``c`` it catches any damage to at least
``1 - (1 - c) ** (1 / n)`` of the items; for 95 % that is about ``3 / n``.

The samples here are drawn a scan segment at a time, not item by item: items of one segment lie close together by
their hash keys. Where damage keeps to a few hash keys, the number of segments, not that of items, is what counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

PROBABILITY = 0.95


@dataclass(frozen=True)
class Confidence:
    """What a sample can be trusted to have caught.

    Attributes:
        items: items that were looked at, and of which any damage would have been found.
        segments_read: scan segments that they were drawn from, those that were empty not counted.
        segments: scan segments that the table was cut into.
        probability: how sure one may be of the shares below, from 0 to 1.
        changed_between: items that were looked at beside these, but changed while the backup was made. Damage to one of
            them can pass for a write, so they don't count.
    """

    items: int
    segments_read: int
    segments: int
    probability: float = PROBABILITY
    changed_between: int = 0

    @property
    def detectable_share(self) -> float:
        """The least share of damaged items, spread at random, that would have been caught, from 0 to 1."""
        return detectable_share(self.items, self.probability)

    @property
    def detectable_share_of_segments(self) -> float:
        """The same of segments, where all items of a segment are damaged together or not at all."""
        return detectable_share(self.segments_read, self.probability)

    def to_dict(self) -> dict[str, float | int | str]:
        """Return it as JSON-ready values."""
        return {
            **asdict(self),
            "detectable_share": round(self.detectable_share, 9),
            "detectable_share_of_segments": round(self.detectable_share_of_segments, 9),
        }

    def sentences(self) -> tuple[str, ...]:
        """Say it to a reader."""
        sample = f"A sample of {self.items} items was looked at."
        if self.changed_between:
            sample = (
                f"A sample of {self.items + self.changed_between} items was looked at. {self.changed_between} of them "
                f"changed while the backup was made, and damage to these could pass for a write: {self.items} count."
            )
        return (
            f"{sample} With a probability of {self.probability:.0%} it would have caught damage "
            f"to {_percent(self.detectable_share)} of the items or more that is spread at random.",
            f"The sample comes from {self.segments_read} scan segments of {self.segments}: damage that keeps to few "
            "hash keys would have been caught with that probability only if it touches "
            f"{_percent(self.detectable_share_of_segments)} of the segments or more.",
        )


def detectable_share(looked_at: int, probability: float = PROBABILITY) -> float:
    """Return the least share of damaged members that a random sample would have caught, from 0 to 1.

    Args:
        looked_at: members of the sample.
        probability: with which it would have been caught, above 0 and below 1.

    Raises:
        ValueError: if there can be no such sample.
    """
    if looked_at < 0 or not 0 < probability < 1:
        raise ValueError(f"There is no sample of {looked_at} members with a probability of {probability}.")
    return float(1 - (1 - probability) ** (1 / looked_at)) if looked_at else 1.0


def _percent(share: float) -> str:
    """Show a share with two digits that count, rounded up: no more is promised than is so."""
    percent = 100 * share
    places = 0
    while percent and percent * 10**places < 10 and places < 6:
        places += 1
    step = 10.0**-places
    return f"{min(100.0, -(-percent // step) * step):.{places}f} %"
