"""How fast to send: no faster than the table takes it, and no faster than the caller allows.

:class:`Pacer` finds out by itself. It sends freely until something is refused. Each refusal says that the
table's capacity was used up at that moment, so what was accepted between two refusals, over the time between
them, is the capacity. The pacer stays a little below that, and grows, slowly first, until the next refusal: so
nearly nothing is sent in vain, and nearly no capacity is left unused. Where refusals have another reason than
capacity, going slower would not help; what then is for ``dynamodb_bulk.doubt`` to say.

:class:`Governor` keeps to a number of capacity units per second that the caller names, so that a load leaves
the rest to production. It accounts what DynamoDB says it consumed, not what was estimated.

Neither has a thread or a clock of its own: they are told the time and say when to go on.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/burst-adaptive-capacity.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from collections.abc import Callable

from dynamodb_bulk.doubt import BACK_TO, Doubt
from dynamodb_bulk.patience import full_jitter

# Growth per second: slow while the last refusal is near, as capacity rarely changes within a second; then
# faster and faster, as the table may have been given more, or the measurement was too low.
_GROWTH = 0.02
_GROWTH_PER_SECOND = 0.08
_FASTEST_GROWTH = 1.0

# How much an older measurement counts beside the one after it.
_MEMORY = 0.5

# So many items must have been accepted between two refusals to tell a capacity: a table takes whole items only.
_MEASURABLE = 10

# A sender that comes late may catch up so much, in seconds.
_CATCH_UP = 0.1

# While the table took something within so many seconds, it is not left alone for longer than the pause below:
# that capacity would be lost, and the measurement would be too low.
_LATELY = 2.0
_LONGEST_PAUSE_LATELY = 0.3

# A table whose reserve is smaller than a request never takes one whole, so waiting longer does not help.
_LONGEST_WAIT = 2.0

# A single measurement may be far off; it takes the rate down by no more than that.
_DEEPEST_CUT = 0.5

# Where a share of the requests is refused whatever the pace, so many in a row mean nothing.
_SHRUGGED_OFF = 2

# Probes of a table that accepts nothing: so many by doubling pauses, then the rest of the time in equal parts.
_QUICK_PROBES = 9
_PROBES = 18


class Pacer:
    """Paces items by what the table accepts.

    Args:
        first_pause: upper bound of the pause after a first refusal, in seconds.
        longest_pause: bound up to which the pauses grow while nothing is accepted, in seconds.
        draw: a random number from 0 to 1.
    """

    def __init__(self, *, first_pause: float, longest_pause: float, draw: Callable[[], float]) -> None:
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._draw = draw
        self._free_at = float("-inf")
        self._heard_at = float("-inf")
        self._refused_at: float | None = None
        self._accepted = 0
        self._accepted_at = float("-inf")
        self._weighted_items = 0.0
        self._weighted_seconds = 0.0
        self._grown_at = 0.0
        self._fruitless = 0
        self._probes = 0
        self._doubt = Doubt()
        self.rate: float | None = None

    def ready_at(self) -> float:
        """Return the moment from which the next request may be sent."""
        return self._free_at

    @property
    def probing(self) -> bool:
        """Whether nothing was taken of late, so that one request at a time is enough to find out more."""
        return self._fruitless > (_SHRUGGED_OFF if self._doubt.shrugs else 0)

    def sent(self, now: float, items: int) -> None:
        """Take note that `items` are sent now."""
        if self.rate is not None:
            self._free_at = max(self._free_at, now - _CATCH_UP) + items / self.rate

    def settled(self, now: float, *, sent_at: float, items: int, accepted: int, gives_up_at: float) -> None:
        """Take note of an answer.

        Args:
            now: this moment.
            sent_at: when the request was sent.
            items: how many items it had.
            accepted: how many of them were taken.
            gives_up_at: when the caller gives up if nothing is accepted.
        """
        self._accepted += accepted
        if accepted:
            self._accepted_at = now
        if accepted == items:
            if self._fruitless > 1:
                # There is capacity again: the pauses for a table that takes nothing are over.
                self._free_at = min(self._free_at, now if self.rate is None else sent_at + items / self.rate)
            self._fruitless = 0
            self._grow(now)
        elif sent_at > self._heard_at:
            self._heard_at = now
            if self._doubt.shrugs:
                self._shrug_off(now, accepted, gives_up_at)
            else:
                self._refused(now, items, accepted, gives_up_at)
        # Else it was under way when the refusal before it came: it tells nothing new.
        changed = self._doubt.settled(now, sent_at=sent_at, items=items, accepted=accepted, rate=self.rate)
        if changed is not None:
            self.rate = changed.rate
            self._free_at = min(self._free_at, now)
            self._measure_anew(now)

    def failed(self, now: float, *, sent_at: float, gives_up_at: float) -> None:
        """Take note of a request that failed for another reason than capacity: it says nothing of the table's."""
        if sent_at > self._heard_at:
            self._heard_at = now
            self._fruitless += 1
            self._free_at = max(self._free_at, now + self._pause(now, gives_up_at))

    def _grow(self, now: float) -> None:
        if self.rate is None or self._refused_at is None:
            return
        growth = min(_FASTEST_GROWTH, _GROWTH + _GROWTH_PER_SECOND * (now - self._refused_at))
        self.rate *= 1 + growth * (now - self._grown_at)
        self._grown_at = now

    def _refused(self, now: float, items: int, accepted: int, gives_up_at: float) -> None:
        # What was taken before the first refusal may be a reserve that the table had saved up.
        enough = self._accepted >= _MEASURABLE
        if self._refused_at is not None and enough:
            self._weighted_items = self._weighted_items * _MEMORY + self._accepted
            self._weighted_seconds = self._weighted_seconds * _MEMORY + now - self._refused_at
            if self._weighted_seconds > 0:
                measured = self._weighted_items / self._weighted_seconds * BACK_TO
                self.rate = max(measured, (self.rate or 0.0) * _DEEPEST_CUT)
        if self._refused_at is None or enough:
            # Otherwise the time with hardly any acceptance belongs to the next measurement.
            self._refused_at = now
            self._accepted = 0
        self._grown_at = now
        self._fruitless = 1 if accepted else self._fruitless + 1
        pause = self._pause(now, gives_up_at)
        if self.rate is not None:
            pause = max(pause, min(items / self.rate, _LONGEST_WAIT))
        self._free_at = now + pause

    def _shrug_off(self, now: float, accepted: int, gives_up_at: float) -> None:
        self._fruitless = 0 if accepted else self._fruitless + 1
        if self._fruitless > _SHRUGGED_OFF:
            self._free_at = max(self._free_at, now + self._pause(now, gives_up_at))

    def _measure_anew(self, now: float) -> None:
        self._refused_at = self._grown_at = now
        self._accepted = 0
        self._weighted_items = self._weighted_seconds = 0.0

    def _pause(self, now: float, gives_up_at: float) -> float:
        if now - self._accepted_at < _LATELY:
            self._probes = 0
            longest = min(self._longest_pause, _LONGEST_PAUSE_LATELY)
        else:
            self._probes += 1
            longest = self._longest_pause
        pause = full_jitter(self._fruitless, first=self._first_pause, longest=longest, draw=self._draw)
        if self._probes > _QUICK_PROBES:
            # Whatever chance says, a dead table is not asked more often than that.
            pause = max(pause, (gives_up_at - now) / max(1, _PROBES - self._probes))
        return pause


class Governor:
    """Keeps to a number of capacity units per second, as DynamoDB counts them.

    What is sent next waits until what was sent before is paid for, so the average holds whatever an item costs.

    Args:
        units_per_second: write or read capacity units that may be consumed, more than 0.
    """

    def __init__(self, units_per_second: float) -> None:
        if units_per_second <= 0:
            raise ValueError(f"{units_per_second} capacity units per second let nothing through; allow more than 0")
        self._rate = units_per_second
        self._free_at = float("-inf")
        self.consumed = 0.0

    def ready_at(self) -> float:
        """Return the moment from which the next request may be sent."""
        return self._free_at

    def sent(self, now: float, units: float) -> None:
        """Take note that a request is sent now that may consume so many units."""
        self._free_at = max(self._free_at, now - _CATCH_UP) + units / self._rate

    def settled(self, expected: float, consumed: float) -> None:
        """Take note of what a request consumed that was expected to consume `expected`."""
        self.consumed += consumed
        self._free_at += (consumed - expected) / self._rate
