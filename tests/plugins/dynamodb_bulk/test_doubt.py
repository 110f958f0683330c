"""When the pace is doubted, and what comes of it."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from dynamodb_bulk.doubt import Doubt, NewPace

Answer = Callable[[int, float], int]
"""Returns how many of 25 items are taken, by the number of the request and the pace in items per second."""

UNPACED = 5000.0


class Sender:
    """Sends batches at the pace that the doubt allows, one after the other."""

    def __init__(self, rate: float) -> None:
        self.doubt = Doubt()
        self.rate: float | None = rate
        self.now = 0.0
        self.changes: list[NewPace] = []

    def send(self, requests: int, answer: Answer) -> None:
        for number in range(requests):
            pace = self.rate or UNPACED
            sent_at, self.now = self.now + 1e-6, self.now + 25 / pace
            changed = self.doubt.settled(
                self.now, sent_at=sent_at, items=25, accepted=answer(number, pace), rate=self.rate
            )
            if changed is not None:
                self.changes.append(changed)
                self.rate = changed.rate


def half(_: int, __: float) -> int:
    return 12


def within(capacity: float) -> Answer:
    return lambda _, pace: min(25, int(25 * capacity / pace))


def test_without_refusals_there_is_no_doubt() -> None:
    sender = Sender(100.0)
    sender.send(200, lambda _, __: 25)
    assert sender.changes == []
    assert not sender.doubt.shrugs


def test_a_refusal_now_and_then_is_no_reason_for_doubt() -> None:
    sender = Sender(100.0)
    sender.send(200, lambda number, _: 20 if number % 8 == 0 else 25)
    assert sender.changes == []


def test_requests_refused_as_a_whole_one_after_another_are_one_refusal() -> None:
    sender = Sender(100.0)
    sender.send(16, lambda number, _: 0 if number in range(3, 12) else 25)
    assert sender.changes == []


def test_what_is_refused_at_any_pace_ends_the_pace() -> None:
    sender = Sender(100.0)
    sender.send(30, half)
    assert sender.changes == [NewPace(pytest.approx(800)), NewPace(None)]
    assert sender.doubt.shrugs


@pytest.mark.parametrize("rate", [100.0, 90.0, 60.0, 120.0])
def test_a_table_short_of_capacity_keeps_its_pace(rate: float) -> None:
    sender = Sender(rate)
    # Refused in spite of the pace by somebody else's writes, of which there are none during the trial.
    sender.send(5, lambda _, __: 20)
    assert sender.doubt.shrugs
    sender.send(12, within(100.0))
    assert sender.changes[-1] == NewPace(pytest.approx(rate))
    assert not sender.doubt.shrugs


def test_trials_that_change_nothing_become_rare() -> None:
    sender = Sender(100.0)
    trials = []
    while sender.now < 200:
        before = len(sender.changes)
        sender.send(1, lambda _, pace: 20 if pace <= 100 else 2)
        if len(sender.changes) > before and sender.doubt.shrugs:
            trials.append(sender.now)
    between = [later - earlier for earlier, later in pairwise(trials)]
    assert len(between) >= 3
    assert all(later > 1.5 * earlier for earlier, later in pairwise(between))


def test_a_capacity_behind_a_share_is_found_and_the_share_allowed_for() -> None:
    sender = Sender(100.0)
    sender.send(30, half)
    sender.send(600, lambda _, pace: min(12, int(25 * 400 / pace)))
    assert sender.rate is not None
    # Half is refused anyway, so 800 a second must be sent for 400 to be taken; the pace grows from there to find more.
    assert 600 <= sender.rate <= 1400
    assert sender.doubt.shrugs


def test_a_share_that_was_capacity_after_all_is_noticed() -> None:
    sender = Sender(100.0)
    sender.send(30, half)
    assert sender.rate is None
    sender.send(150, within(300.0))
    assert not sender.doubt.shrugs
    assert sender.rate is not None
    assert 190 <= sender.rate <= 310
