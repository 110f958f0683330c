"""How fast a scan may read."""

from __future__ import annotations

import math

import pytest

from dynamodb_bulk.patience import Effects
from dynamodb_bulk.read_pace import FIRST_PAGE_ITEMS, ReadPace


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.effects = Effects(clock=lambda: self.now, sleep=self.sleep, draw=lambda: 0.5)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_without_a_limit_nothing_waits() -> None:
    time = Time()
    pace = ReadPace(None, effects=time.effects)
    for _ in range(5):
        pace.wait()
        pace.spent(1000.0, 100, 1, consistent=True)
    assert time.slept == []
    assert pace.page_items is None
    assert pace.units == 5000


def test_what_was_taken_is_paid_for_before_the_next_page() -> None:
    time = Time()
    pace = ReadPace(10, effects=time.effects)
    pace.wait()
    pace.spent(25.0, 10, 1, consistent=True)
    pace.wait()
    assert time.slept == [2.5]
    pace.wait()
    assert time.slept == [2.5]


def test_idle_time_is_not_saved_up() -> None:
    time = Time()
    pace = ReadPace(10, effects=time.effects)
    time.now = 1000.0
    pace.spent(10.0, 1, 1, consistent=True)
    pace.wait()
    assert time.slept == [1.0]


@pytest.mark.parametrize(
    ("size", "consistent", "units"), [(1, True, 1), (4096, True, 1), (4097, True, 2), (8192, False, 1), (1, False, 0.5)]
)
def test_capacity_is_estimated_where_it_is_not_stated(size: int, consistent: bool, units: float) -> None:
    pace = ReadPace(10, effects=Time().effects)
    pace.spent(None, 1, size, consistent=consistent)
    assert pace.units == units


@pytest.mark.parametrize(("threads", "expected"), [(1, 20), (4, 5), (1000, 1)])
def test_pages_are_cut_to_about_a_second(threads: int, expected: int) -> None:
    pace = ReadPace(10, effects=Time().effects, threads=threads)
    assert pace.page_items == FIRST_PAGE_ITEMS
    pace.spent(5.0, 10, 1, consistent=True)
    assert pace.page_items == expected


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_a_rate_is_a_positive_number(rate: float) -> None:
    with pytest.raises(ValueError, match="max_rcu"):
        ReadPace(rate, effects=Time().effects)
