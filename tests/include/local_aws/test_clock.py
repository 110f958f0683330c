from datetime import UTC, datetime, timedelta, timezone
from threading import Thread

import pytest

from local_aws.clock import BadSpeed, Clock, ClockMovedBackwards

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


class Machine:
    """A machine whose time the test sets."""

    def __init__(self):
        self.time = NOW

    def __call__(self):
        return self.time

    def wait(self, **span):
        self.time += timedelta(**span)


@pytest.fixture
def machine():
    return Machine()


def test_it_runs_on_from_its_time_at_a_speed(machine):
    clock = Clock(machine)
    clock.hold(datetime(2030, 1, 1, tzinfo=UTC))
    clock.run_at(3600)
    assert (clock.mode, clock.speed) == ("scaled", 3600)
    assert clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
    machine.wait(seconds=24)
    assert clock.now() == datetime(2030, 1, 2, tzinfo=UTC)


def test_a_change_of_speed_leaves_the_time_as_it_is(machine):
    clock = Clock(machine)
    clock.run_at(10)
    machine.wait(seconds=6)
    clock.run_at(0.5)
    machine.wait(seconds=4)
    assert clock.now() == (NOW + timedelta(seconds=62)).replace(microsecond=123_000)


def test_a_fast_clock_can_be_held_moved_and_set_back_to_the_machines(machine):
    clock = Clock(machine)
    clock.run_at(60)
    machine.wait(seconds=1)
    held = clock.move(timedelta(seconds=1))
    machine.wait(seconds=1)
    assert clock.now() == held
    assert (clock.mode, clock.speed) == ("manual", 0)
    clock.run()
    assert (clock.mode, clock.speed) == ("real", 1)
    assert clock.now() == machine.time.replace(microsecond=123_000)


def test_a_thread_waits_less_for_a_fast_clock(machine):
    clock = Clock(machine)
    later = clock.now() + timedelta(hours=2)
    assert clock.real_seconds_until(later) == pytest.approx(7200, abs=0.01)
    clock.run_at(3600)
    assert clock.real_seconds_until(later) == pytest.approx(2, abs=0.01)
    assert clock.real_seconds_until(clock.now() - timedelta(hours=1)) == 0
    clock.hold()
    assert clock.real_seconds_until(later) is None


@pytest.mark.parametrize("speed", [0, -1, True, "fast", None, float("nan"), float("inf"), 10_000_001])
def test_what_is_no_speed(machine, speed):
    clock = Clock(machine)
    with pytest.raises(BadSpeed, match="cannot run at speed"):
        clock.run_at(speed)
    assert clock.mode == "real"


def test_one_thread_can_see_another_time(machine):
    clock, seen = Clock(machine), []
    present, past = clock.now(), clock.now() - timedelta(days=1)
    with clock.standing_at(past):
        other = Thread(target=lambda: seen.append(clock.now()))
        other.start()
        other.join()
        with clock.standing_at(past - timedelta(days=1)):
            seen.append(clock.now())
        seen.append(clock.now())
    assert [*seen, clock.now()] == [present, past - timedelta(days=1), past, present]
