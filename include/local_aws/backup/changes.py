"""The seam through which every change of state passes, so that others can tell the world of it.

Whoever moves a job, a recovery point, a vault or a plan into another state reports it here, after the
change; events and notifications are made from these reports, see
https://docs.aws.amazon.com/aws-backup/latest/devguide/monitoring.html.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class What(StrEnum):
    """What happened to a thing."""

    CREATED = "CREATED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True)
class Change:
    """One change of one thing.

    Attributes:
        subject: The job, recovery point, vault or plan, as it is after the change.
        at: When, on the local AWS's clock.
        what: MODIFIED also stands for a new state of a job or recovery point.
    """

    subject: object
    at: datetime
    what: What = What.MODIFIED


Observer = Callable[[Change], None]


class Changes:
    """Passes the changes of one account and Region on to those who observe them."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        """Call `observer` with every change from now on, under the state lock."""
        self._observers.append(observer)

    def report(self, subject: object, at: datetime, what: What = What.MODIFIED) -> None:
        """Tell all observers that `subject` has changed.

        Args:
            subject: The thing, changed already.
            at: When it changed; the time that an agenda's action is called with.
            what: What happened to it.
        """
        change = Change(subject, at, what)
        for observer in self._observers:
            observer(change)
