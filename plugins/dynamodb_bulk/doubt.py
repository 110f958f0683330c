"""Whether it is the pace at all that has requests refused.

Going slower helps against refusals only where capacity is the reason. A server may also refuse a share of what it
gets however slowly it comes; a sender that goes by what is accepted would then go slower and slower, down to nothing.
So where refusals go on in spite of the pace, an experiment is made:

* *Trial*: a few requests at several times the pace. If more is accepted a second, and not a larger share refused, the
  pace is not the reason. A table short of capacity accepts no more than before, and refuses most of them.
* *Without pace*: refusals are taken as inevitable, until a larger share is refused than before.
* *Check*: then a few requests at a pace just below what is accepted. If hardly any is refused now, capacity is the
  reason after all; otherwise it is both, and what is refused anyway is sent besides.

Each experiment costs some requests, so after each that ended with "capacity" the next one is further off.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

BACK_TO = 0.97
"""The share of what the table was seen to accept at which sending goes on."""

# The pace is doubted when there were so many refusals within a stretch of requests in spite of it; or when it has
# fallen so far below what was accepted during an earlier stretch. Requests refused as a whole, one after another, are
# one refusal: some tables take nothing more until the next second begins.
_WATCHED = 16
_MANY_REFUSALS = 4
_FALLEN_TO = 0.6

# A trial, and a check, are so many requests long. A trial sends them at such a multiple of the pace. A table whose
# capacity is the limit may have up to a request's worth left, so a little more than before may be accepted; half as
# much again is more than that.
_TRIED = 12
_TRIAL_PACE = 8.0
_MORE = 1.5

# What part of the items that used to be accepted must be refused as well to call a share larger; and to say so halfway
# through a trial.
_WORSE = 0.3
_MUCH_WORSE = 0.6

# At a pace below what is accepted, so much of the usual share may still be refused where capacity was the reason.
_HARDLY_ANY = 0.5

# Seconds until the next trial after one that changed nothing; twice as many after each.
_BETWEEN_TRIALS = 5.0

# Without pace, or with one that allows for what is refused anyway, so many requests are looked at together; where
# no more than the usual share of them is refused, the pace grows.
_LONG_STRETCH = 32
_GROWTH = 1.1

_NEVER = float("-inf")


class NewPace(NamedTuple):
    """The pace from now on, in items per second; none if None."""

    rate: float | None


class _Mode(Enum):
    CAPACITY = auto()
    TRIAL = auto()
    INEVITABLE = auto()
    CHECK = auto()


class _Stretch:
    """What became of some requests that were sent after one another."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.requests = 0
        self.refusals = 0
        self._in_a_row = False
        self._items = 0
        self._accepted = 0

    def add(self, items: int, accepted: int) -> None:
        self.requests += 1
        self.refusals += accepted < items and not (self._in_a_row and not accepted)
        self._in_a_row = not accepted
        self._items += items
        self._accepted += accepted

    @property
    def share(self) -> float:
        """Which part of the items was refused."""
        return 1 - self._accepted / self._items if self._items else 0.0

    def throughput(self, now: float) -> float:
        """Return the items accepted per second."""
        return self._accepted / (now - self.since) if now > self.since else 0.0


class Doubt:
    """Watches what becomes of requests, and says when the pace should be another one than measured."""

    def __init__(self) -> None:
        self._mode = _Mode.CAPACITY
        self._stretch: _Stretch | None = None
        self._heard_at = _NEVER
        self._best = 0.0
        self._before = 0.0
        self._usual = 0.0
        self._trial_from = _NEVER
        self._between_trials = _BETWEEN_TRIALS

    @property
    def shrugs(self) -> bool:
        """Whether a refusal says nothing of the capacity, as things are."""
        return self._mode is not _Mode.CAPACITY

    def settled(self, now: float, *, sent_at: float, items: int, accepted: int, rate: float | None) -> NewPace | None:
        """Take note of an answer.

        Args:
            now: this moment.
            sent_at: when the request was sent.
            items: how many items it had.
            accepted: how many of them were taken.
            rate: the pace, in items per second.

        Returns:
            What the pace must be from now on, if it is not for the measurements to say.
        """
        if rate is None and self._mode is _Mode.CAPACITY:
            self._stretch = None
            return None
        if self._stretch is None:
            self._stretch = _Stretch(now)
            return None
        if sent_at < self._stretch.since or (accepted < items and sent_at <= self._heard_at):
            # Sent under other conditions, or before the last refusal could have any effect.
            return None
        if accepted < items:
            self._heard_at = now
        self._stretch.add(items, accepted)
        if self._mode is _Mode.CAPACITY:
            return self._watch(now, self._stretch, rate or 0.0)
        if self._mode is _Mode.TRIAL:
            return self._judge_trial(now, self._stretch)
        if self._mode is _Mode.INEVITABLE:
            return self._watch_share(now, self._stretch, rate)
        return self._judge_check(now, self._stretch)

    def _watch(self, now: float, stretch: _Stretch, rate: float) -> NewPace | None:
        fallen = stretch.refusals > 0 and rate < self._best * _FALLEN_TO
        if now >= self._trial_from and (fallen or stretch.refusals >= _MANY_REFUSALS):
            self._before, self._usual = rate, stretch.share
            return self._enter(_Mode.TRIAL, now, rate * _TRIAL_PACE)
        if stretch.requests >= _WATCHED:
            self._best = max(self._best, stretch.throughput(now))
            self._stretch = _Stretch(now)
        return None

    def _judge_trial(self, now: float, stretch: _Stretch) -> NewPace | None:
        hopeless = stretch.requests >= _TRIED // 2 and self._is_worse(stretch.share, _MUCH_WORSE)
        if stretch.requests < _TRIED and not hopeless:
            return None
        if stretch.throughput(now) > _MORE * self._before and not self._is_worse(stretch.share):
            return self._enter(_Mode.INEVITABLE, now, None)
        return self._back_to_capacity(now, stretch, self._before)

    def _watch_share(self, now: float, stretch: _Stretch, rate: float | None) -> NewPace | None:
        if stretch.requests < _LONG_STRETCH:
            return None
        if self._is_worse(stretch.share):
            self._before = stretch.throughput(now)
            return self._enter(_Mode.CHECK, now, max(1.0, self._before * BACK_TO))
        self._stretch = _Stretch(now)
        return None if rate is None else NewPace(rate * _GROWTH)

    def _judge_check(self, now: float, stretch: _Stretch) -> NewPace | None:
        if stretch.requests < _TRIED:
            return None
        if stretch.share < self._usual * _HARDLY_ANY:
            return self._back_to_capacity(now, stretch, self._before * BACK_TO)
        self._usual = min(self._usual, stretch.share)
        return self._enter(_Mode.INEVITABLE, now, max(1.0, self._before * BACK_TO / (1 - self._usual)))

    def _is_worse(self, share: float, part: float = _WORSE) -> bool:
        return share > self._usual + (1 - self._usual) * part

    def _back_to_capacity(self, now: float, stretch: _Stretch, rate: float) -> NewPace:
        self._best = stretch.throughput(now)
        self._trial_from = now + self._between_trials
        self._between_trials *= 2
        return self._enter(_Mode.CAPACITY, now, rate)

    def _enter(self, mode: _Mode, now: float, rate: float | None) -> NewPace:
        self._mode = mode
        self._stretch = _Stretch(now)
        return NewPace(rate)
