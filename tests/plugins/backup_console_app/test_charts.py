"""Where dots, marks and targets of a chart lie."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_console_app.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Measured, chart, duration

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def measured(*seconds):
    return [Measured(START + dt.timedelta(days=day), value, f"day {day}") for day, value in enumerate(seconds)]


def test_dots_go_from_edge_to_edge_in_the_order_of_time():
    drawn = chart("t", measured(60, 120, 30)[::-1], None)
    assert [dot.x for dot in drawn.dots] == [LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT]
    assert [column.text for column in drawn.columns] == ["2026-11-01", "2026-11-03"]


def test_on_one_day_the_time_tells_the_marks_apart():
    two = [Measured(START + dt.timedelta(hours=hour), 1, "") for hour in (1, 5)]
    assert [column.text for column in chart("t", two, None).columns] == ["2026-11-01 01:00", "2026-11-01 05:00"]


def test_higher_values_lie_higher_and_the_ground_is_zero():
    drawn = chart("t", measured(0, 60, 120), None)
    assert drawn.dots[0].y == HEIGHT - BOTTOM
    assert drawn.dots[2].y < drawn.dots[1].y < drawn.dots[0].y
    assert drawn.dots[2].y == TOP


def test_what_is_above_the_target_is_bad_and_what_is_on_it_is_not():
    drawn = chart("t", measured(60, 61), dt.timedelta(seconds=60))
    assert [dot.mood for dot in drawn.dots] == ["good", "bad"]
    assert (drawn.met, drawn.target.text) == (1, "target 1 min")


def test_the_target_has_its_place_even_far_above_all_values():
    drawn = chart("t", measured(1), dt.timedelta(hours=4))
    assert TOP <= drawn.target.place < HEIGHT - BOTTOM


@pytest.mark.parametrize("count", [0, 1])
def test_few_values_make_a_chart_as_well(count):
    drawn = chart("t", measured(*[5] * count), dt.timedelta(seconds=60))
    assert len(drawn.dots) == len(drawn.columns) == count


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (1.26, "1.3 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (95, "1 min 35 s"),
        (3_600, "1 h"),
        (36_000, "10 h"),
        (97_200, "1 d 3 h"),
        (86_400 * 400, "400 d"),
    ],
)
def test_spans_are_written_in_their_largest_units(seconds, text):
    assert duration(seconds) == text
