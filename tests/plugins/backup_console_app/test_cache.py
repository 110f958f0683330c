"""Answers are kept for a while and not longer, asked once, and never more of them than there is room for."""

from __future__ import annotations

import threading

import pytest

from backup_console_app.cache import TROUBLE_SECONDS, Cache


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def counter():
    calls = []

    def make():
        calls.append(None)
        return len(calls)

    return make


def test_an_answer_is_kept_for_its_seconds(clock):
    cache, make = Cache(clock), counter()
    assert [cache.get("a", 10, make), cache.get("a", 10, make)] == [1, 1]
    clock.now = 9.9
    assert cache.get("a", 10, make) == 1
    clock.now = 10
    assert cache.get("a", 10, make) == 2


def test_an_answer_can_tell_how_long_it_is_good(clock):
    cache, make = Cache(clock), counter()
    assert cache.get("a", lambda answer: answer * 10, make) == 1
    clock.now = 10
    assert cache.get("a", lambda answer: answer * 10, make) == 2
    clock.now = 29
    assert cache.get("a", lambda answer: answer * 10, make) == 2


def test_nothing_is_kept_for_no_time(clock):
    cache, make = Cache(clock), counter()
    assert [cache.get("a", 0, make), cache.get("a", 0, make)] == [1, 2]


def test_other_keys_are_other_answers(clock):
    cache, make = Cache(clock), counter()
    assert [cache.get(key, 10, make) for key in ("a", ("a",), "a")] == [1, 2, 1]


def test_the_longest_unasked_go_first_when_there_is_no_room(clock):
    cache, make = Cache(clock, max_weight=10), counter()
    cache.get("old", 100, make, weigh=lambda _: 4)
    cache.get("used", 100, make, weigh=lambda _: 4)
    cache.get("old", 100, make)
    cache.get("new", 100, make, weigh=lambda _: 4)
    assert cache.get("old", 100, make) == 1
    assert cache.get("used", 100, make) == 4


def test_what_is_larger_than_the_room_is_answered_and_not_kept(clock):
    cache, make = Cache(clock, max_weight=10), counter()
    assert [cache.get("a", 100, make, weigh=lambda _: 11) for _ in range(2)] == [1, 2]


def test_an_error_is_kept_for_seconds_only(clock):
    cache, calls = Cache(clock), []

    def fail():
        calls.append(None)
        raise KeyError("gone")

    for _ in range(2):
        with pytest.raises(KeyError):
            cache.get("a", 900, fail)
    assert len(calls) == 1
    clock.now = TROUBLE_SECONDS
    assert cache.get("a", 900, lambda: "well") == "well"


def test_many_that_want_the_same_ask_once(clock):
    cache, calls, started, go = Cache(clock), [], threading.Event(), threading.Event()

    def make():
        calls.append(None)
        started.set()
        assert go.wait(10)
        return "answer"

    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.get("a", 10, make))) for _ in range(5)]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert (found, len(calls)) == (["answer"] * 5, 1)
