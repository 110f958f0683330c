from datetime import UTC, datetime, timedelta, timezone

import pytest

from local_aws.clock import Clock, ClockMovedBackwards

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_999, tzinfo=UTC)


@pytest.fixture
def clock():
    return Clock(lambda: NOW)


def test_it_follows_its_source_in_whole_milliseconds(clock):
    assert clock.mode == "real"
    assert clock.now() == NOW.replace(microsecond=123_000)


def test_it_stands_still_when_held():
    times = iter([NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)])
    clock = Clock(lambda: next(times))
    clock.hold()
    assert clock.mode == "manual"
    assert clock.now() == clock.now() == NOW.replace(microsecond=123_000)


def test_it_can_be_held_at_any_time_in_any_zone(clock):
    clock.hold(datetime(2030, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_a_time_without_a_zone_is_refused(clock):
    with pytest.raises(ValueError, match="timezone-aware"):
        clock.hold(datetime(2030, 1, 1))


def test_it_moves_on(clock):
    clock.hold(NOW)
    assert clock.move(timedelta(days=1)) == clock.now()
    assert clock.now() - NOW.replace(microsecond=123_000) == timedelta(days=1)


def test_it_never_moves_back(clock):
    with pytest.raises(ClockMovedBackwards, match="0:00:05"):
        clock.move(timedelta(seconds=-5))
    assert clock.mode == "real"


def test_it_can_run_again(clock):
    clock.hold(datetime(2030, 1, 1, tzinfo=UTC))
    clock.run()
    assert clock.now().year == 2026


def test_how_long_a_thread_has_to_wait(clock):
    later = clock.now() + timedelta(seconds=5)
    assert clock.real_seconds_until(later) == 5
    assert clock.real_seconds_until(clock.now() - timedelta(seconds=5)) == 0
    clock.hold()
    assert clock.real_seconds_until(later) is None
    assert clock.real_seconds_until(clock.now()) == 0
