"""The account of a repair: what became of each item, and how many came to what."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from dynamodb_bulk.errors import AccountingError

DEFAULT_LIST_CAP = 100


class Outcome(StrEnum):
    """What became of one chosen item."""

    PLANNED = "planned"
    """It would be written; nothing is, in a dry run."""
    REPAIRED = "repaired"
    """It was written."""
    ALREADY = "already"
    """It was what it shall be before this run touched it."""
    LEFT = "left"
    """It is no longer what it was seen to be, so it was left as it is."""
    FAILED = "failed"
    """DynamoDB refused the item itself, or it was written to while it was being written."""


@dataclass(frozen=True)
class Done:
    """What became of one item.

    Attributes:
        key: its key as JSON text.
        kind: class of the change.
        outcome: in a word.
        reason: why, where it is not plain.
        units: write capacity units that it consumed.
        lost: the item as it stood, where a write by somebody else could not be kept.
    """

    key: str
    kind: str
    outcome: Outcome
    reason: str = ""
    units: float = 0.0
    lost: bytes | None = field(default=None, repr=False)

    def to_line(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":")).encode("ascii") + b"\n"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        document = {"key": json.loads(self.key), "class": self.kind, "outcome": str(self.outcome)}
        if self.reason:
            document["reason"] = self.reason
        if self.lost is not None:
            document["stood"] = json.loads(self.lost)
        return document


@dataclass(frozen=True)
class RepairResult:
    """The account of one run.

    Attributes:
        chosen: changes that were to be made.
        outcomes: how many came to what.
        classes: how many changes of each class were written, or would be.
        units: write capacity units that were consumed, as DynamoDB counts them.
        listed: the first items that were left, or failed.
    """

    chosen: int
    outcomes: dict[str, int]
    classes: dict[str, int]
    units: float
    listed: tuple[Done, ...]

    @classmethod
    def total(cls, results: Iterable[Self], *, list_cap: int = DEFAULT_LIST_CAP) -> Self:
        """Return the account of several runs together."""
        outcomes, classes = Counter[str](), Counter[str]()
        chosen, units, listed = 0, 0.0, list[Done]()
        for result in results:
            chosen += result.chosen
            units += result.units
            outcomes.update(result.outcomes)
            classes.update(result.classes)
            listed += result.listed
        return cls(chosen, dict(outcomes), dict(classes), units, tuple(listed[:list_cap]))

    def count(self, outcome: Outcome) -> int:
        """Return how many items came to this."""
        return self.outcomes.get(outcome, 0)

    @property
    def complete(self) -> bool:
        """Whether every chosen item is now, or was, what it shall be."""
        return self.count(Outcome.REPAIRED) + self.count(Outcome.ALREADY) == self.chosen

    def to_dict(self) -> dict[str, Any]:
        """Return the account as JSON-ready values."""
        return {
            "chosen": self.chosen,
            **{str(outcome): self.count(outcome) for outcome in Outcome},
            "classes": self.classes,
            "write_units": self.units,
            "not_repaired": [done.to_dict() for done in self.listed],
        }


class Account:
    """Counts what became of the items.

    Args:
        list_cap: how many items that were left or failed it names.
        told: called with what became of each item.
    """

    def __init__(self, list_cap: int, told: Callable[[Done], None] | None = None) -> None:
        self._cap = list_cap
        self._told = told
        self._outcomes: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._units = 0.0
        self._listed: list[Done] = []
        self.chosen = 0

    def add(self, done: Done) -> None:
        """Take note of what became of one item."""
        self._outcomes[done.outcome] += 1
        self._units += done.units
        if done.outcome in (Outcome.REPAIRED, Outcome.PLANNED):
            self._classes[done.kind] += 1
        if done.outcome in (Outcome.LEFT, Outcome.FAILED) and len(self._listed) < self._cap:
            self._listed.append(done)
        if self._told is not None:
            self._told(done)

    def result(self) -> RepairResult:
        """Return the account.

        Raises:
            AccountingError: the figures do not add up.
        """
        if self._outcomes.total() != self.chosen:
            raise AccountingError(f"{self.chosen} items were chosen, but the account has {dict(self._outcomes)}.")
        return RepairResult(
            chosen=self.chosen,
            outcomes=dict(self._outcomes),
            classes=dict(self._classes),
            units=self._units,
            listed=tuple(self._listed),
        )
