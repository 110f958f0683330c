import heapq
import random
from collections.abc import Callable
from typing import NamedTuple, Protocol

import pytest

from dynamodb_bulk.pacing import Governor, Pacer


class Server(Protocol):
    """Whatever takes items."""

    def take(self, now: float, items: int, *, whole: bool) -> int: ...


class Outcome(NamedTuple):
    requests: int
    seconds: float
    rate: float | None


class Supply:
    """A table's capacity by the clock: items per second, with a reserve, or anew at each full second."""

    def __init__(self, rate: Callable[[float], float], *, reserve: float = 1.0, by_second: bool = False) -> None:
        self.rate = rate
        self.reserve = reserve
        self.by_second = by_second
        self.held = rate(0) * reserve
        self.at = 0.0

    def take(self, now: float, items: int, *, whole: bool) -> int:
        rate = self.rate(now)
        if self.by_second:
            self.held = rate if int(now) != int(self.at) else self.held
        else:
            self.held = min(rate * self.reserve, self.held + (now - self.at) * rate)
        self.at = now
        taken = min(items, int(self.held))
        if whole and taken < items:
            taken = 0
        self.held -= taken
        return taken


class Whim:
    """A server that refuses a share of what it gets, however slowly it comes; its capacity may be limited besides."""

    def __init__(self, share: float, *, supply: Supply | None = None, until: float = float("inf")) -> None:
        self.share = share
        self.supply = supply
        self.until = until
        self.draw = random.Random(0)

    def take(self, now: float, items: int, *, whole: bool) -> int:
        left = items
        if now < self.until:
            left = items * (self.draw.random() >= self.share) if whole else items - int(items * self.share)
        return left if self.supply is None else self.supply.take(now, left, whole=whole)


def send(
    supply: Server, items: int, *, workers: int, whole: bool = False, latency: float = 0.005, seed: int = 0
) -> Outcome:
    """Send items in batches of 25 through a pacer, in simulated time."""
    pacer = Pacer(first_pause=0.05, longest_pause=10, draw=random.Random(seed).random)
    # Answers come in the order in which the requests were sent.
    under_way: list[tuple[float, int, float, int, int]] = []
    now = 0.0
    left, done, requests = items, 0, 0
    while done < items:
        while under_way and under_way[0][0] <= now:
            _, _, sent_at, count, taken = heapq.heappop(under_way)
            done += taken
            left += count - taken
            pacer.settled(now, sent_at=sent_at, items=count, accepted=taken, gives_up_at=now + 120)
        if done == items:
            break
        if left and len(under_way) < (1 if pacer.probing else workers) and pacer.ready_at() <= now:
            count = min(25, left)
            left -= count
            requests += 1
            pacer.sent(now, count)
            taken = supply.take(now, count, whole=whole)
            heapq.heappush(under_way, (now + latency, requests, now + 1e-9, count, taken))
            continue
        moments = [under_way[0][0]] if under_way else []
        if left and len(under_way) < (1 if pacer.probing else workers):
            moments.append(pacer.ready_at())
        now = max(now + 1e-6, min(moments))
    return Outcome(requests, now, pacer.rate)


@pytest.mark.parametrize("workers", [1, 4, 8])
@pytest.mark.parametrize(("whole", "most"), [(False, 1.1), (True, 1.15)])
@pytest.mark.parametrize(("rate", "items"), [(300, 6000), (3000, 60_000)])
@pytest.mark.parametrize("seed", range(3))
def test_little_is_sent_in_vain_and_little_capacity_is_left(
    workers: int, whole: bool, most: float, rate: int, items: int, seed: int
) -> None:
    outcome = send(Supply(lambda _: rate), items, workers=workers, whole=whole, seed=seed)
    assert outcome.requests <= most * items / 25
    ideal = items / rate - 1
    # Up to one second's worth may lie in the table's reserve when the last item is sent.
    assert outcome.seconds <= ideal * (1.15 if whole else 1.08) + 1


@pytest.mark.parametrize("workers", [1, 4, 8])
@pytest.mark.parametrize(("whole", "most", "late"), [(False, 1.1, 1.05), (True, 1.3, 1.1)])
@pytest.mark.parametrize("seed", range(5))
def test_a_short_load_is_little_dearer(workers: int, whole: bool, most: float, late: float, seed: int) -> None:
    outcome = send(Supply(lambda _: 300), 3000, workers=workers, whole=whole, seed=seed)
    assert outcome.requests <= most * 3000 / 25
    assert outcome.seconds <= late * 9


@pytest.mark.parametrize(("share", "whole"), [(0.03, True), (0.1, True), (0.3, True), (0.5, False), (0.8, False)])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_refused_at_any_pace_does_not_slow_it_down(share: float, whole: bool, workers: int, seed: int) -> None:
    outcome = send(Whim(share), 20_000, workers=workers, whole=whole, seed=seed)
    # Of what the connections could carry if nothing had to be found out, and nothing were asked for again.
    possible = workers * 25 / 0.005 * (1 - share)
    assert 20_000 / outcome.seconds >= possible / 10
    assert outcome.requests <= 1.1 * 20_000 / 25 / (1 - share)


@pytest.mark.parametrize(("share", "whole"), [(0.1, True), (0.3, True), (0.5, False)])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_capacity_is_found_also_where_a_share_is_refused_anyway(share: float, whole: bool, workers: int) -> None:
    outcome = send(Whim(share, supply=Supply(lambda _: 1000)), 20_000, workers=workers, whole=whole)
    assert outcome.seconds <= 19 / 0.65
    assert outcome.requests <= 3 * 20_000 / 25 / (1 - share)


def test_a_whim_that_passes_leaves_the_capacity() -> None:
    outcome = send(Whim(0.5, supply=Supply(lambda _: 1000), until=5), 40_000, workers=4)
    assert outcome.seconds <= 1.1 * 40
    assert outcome.requests <= 1.3 * 40_000 / 25


def test_a_table_that_takes_nothing_any_more_is_asked_seldom_though_refusals_were_shrugged_off() -> None:
    pacer = Pacer(first_pause=0.05, longest_pause=10, draw=random.Random(3).random)
    now = 0.0
    for _ in range(200):
        now = max(now, pacer.ready_at()) + 0.005
        pacer.settled(now, sent_at=now - 0.005, items=25, accepted=12, gives_up_at=now + 120)
    assert pacer.rate is None
    requests = 0
    dead_at = now
    while now < dead_at + 120:
        now = max(now, pacer.ready_at()) + 0.005
        pacer.settled(now, sent_at=now - 0.005, items=25, accepted=0, gives_up_at=dead_at + 120)
        requests += 1
    assert pacer.probing
    assert requests <= 60


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_table_that_counts_by_the_second_is_understood(whole: bool, seed: int) -> None:
    outcome = send(Supply(lambda _: 300, by_second=True), 12_000, workers=4, whole=whole, seed=seed)
    assert outcome.requests <= 1.15 * 12_000 / 25
    assert outcome.seconds <= 1.1 * 39


@pytest.mark.parametrize(("before", "after"), [(300, 3000), (3000, 300)])
def test_a_change_of_capacity_is_followed(before: int, after: int) -> None:
    def rate(now: float) -> float:
        return before if now < 10 else after

    items = before * 10 + after * 20
    outcome = send(Supply(rate), items, workers=4)
    assert outcome.rate is not None
    assert outcome.rate == pytest.approx(after, rel=0.15)
    assert outcome.seconds <= 30 * 1.3
    assert outcome.requests <= 1.15 * items / 25


def test_without_refusals_nothing_is_held_back() -> None:
    outcome = send(Supply(lambda _: 1e9), 50_000, workers=4)
    assert outcome == Outcome(2000, pytest.approx(2000 / 4 * 0.005, rel=0.05), None)


def test_a_reserve_smaller_than_a_request_does_not_bring_it_to_a_standstill() -> None:
    outcome = send(Supply(lambda _: 40, reserve=0.25), 400, workers=1)
    assert outcome.seconds < 120


def test_failures_pause_longer_and_longer_and_leave_the_rate_alone() -> None:
    pacer = Pacer(first_pause=1, longest_pause=8, draw=lambda: 1.0)
    now = 100.0
    pauses = []
    for _ in range(6):
        pacer.failed(now, sent_at=now, gives_up_at=1e6)
        pauses.append(pacer.ready_at() - now)
        now = pacer.ready_at() + 0.01
    assert pauses == pytest.approx([1, 2, 4, 8, 8, 8])
    assert pacer.rate is None
    assert pacer.probing
    pacer.settled(now, sent_at=now, items=25, accepted=25, gives_up_at=1e6)
    assert not pacer.probing
    assert pacer.ready_at() <= now


def test_answers_to_what_was_under_way_when_something_was_refused_count_once() -> None:
    pacer = Pacer(first_pause=1, longest_pause=8, draw=lambda: 1.0)
    for _ in range(5):
        pacer.settled(10.0, sent_at=9.0, items=25, accepted=0, gives_up_at=1e6)
    assert pacer.ready_at() == pytest.approx(11.0)


@pytest.mark.parametrize("cost", [0.5, 1.0, 4.0])
def test_the_governor_keeps_to_its_average_whatever_was_expected(cost: float) -> None:
    governor = Governor(100)
    now = 0.0
    for _ in range(200):
        now = max(now, governor.ready_at())
        governor.sent(now, 25)
        governor.settled(25, 25 * cost)
    assert governor.consumed == pytest.approx(200 * 25 * cost)
    assert governor.ready_at() == pytest.approx(200 * 25 * cost / 100, rel=0.05)


def test_the_governor_does_not_save_up_while_nothing_is_sent() -> None:
    governor = Governor(100)
    governor.sent(0.0, 10)
    governor.sent(1000.0, 100)
    assert governor.ready_at() == pytest.approx(1001, abs=0.2)


@pytest.mark.parametrize("units", [0, -5])
def test_a_governor_that_lets_nothing_through_is_refused(units: float) -> None:
    with pytest.raises(ValueError, match="let nothing through"):
        Governor(units)
