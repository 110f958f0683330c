"""When a cron expression is due, by AWS's rules; the local AWS reads the same expressions with code of its own."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_flows.schedules import ScheduleError, parse_schedule
from local_aws.backup import schedules as local

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2028, 3, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("expression", "timezone", "days"),
    [
        ("cron(0 5 ? * * *)", "Etc/UTC", 790),
        ("cron(0 5,17 ? * * *)", "Etc/UTC", 1580),
        ("cron(0 5 ? * SUN *)", "Etc/UTC", 113),
        ("cron(0 5 1 * ? *)", "Etc/UTC", 26),
        ("cron(30 2 ? * * *)", "Europe/Berlin", 788),
        ("cron(0 5 L * ? *)", "Etc/UTC", 26),
        ("cron(0 5 31W * ? 2026)", "Etc/UTC", 7),
        ("cron(0 5 LW * ? *)", "America/New_York", 26),
        ("cron(15 */6 15W 1/3 ? *)", "Etc/UTC", 36),
        ("cron(0 0 ? JAN-MAR MON#2 *)", "Asia/Tokyo", 8),
        ("cron(0 0 ? * 6L 2026/1)", "Etc/UTC", 26),
        ("cron(0 0 ? * L *)", "Etc/UTC", 113),
        ("cron(0 0 ? * 2-6 *)", "Pacific/Kiritimati", 564),
    ],
)
def test_it_is_due_when_the_local_aws_fires(expression, timezone, days):
    found = list(parse_schedule(expression, timezone).between(START, END))
    instant = dt.timedelta(milliseconds=1)
    fires = list(local.parse_schedule(expression, timezone, anchor=START).between(START - instant, END - instant))
    assert found == fires
    assert len(found) == days


def test_the_end_is_not_in_it_and_the_start_is():
    schedule = parse_schedule("cron(0 5 ? * * *)")
    five = dt.datetime(2026, 5, 1, 5, tzinfo=dt.UTC)
    day = dt.timedelta(days=1)
    assert list(schedule.between(five, five + day)) == [five]
    assert list(schedule.between(five, five)) == []


def test_a_skipped_local_time_is_left_out_and_a_repeated_one_counts_once():
    schedule = parse_schedule("cron(30 2 ? * * *)", "Europe/Berlin")

    def on(month, day):
        at = dt.datetime(2026, month, day, tzinfo=dt.UTC)
        return list(schedule.between(at, at + dt.timedelta(days=1)))

    assert on(3, 29) == []
    assert on(10, 25) == [dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC)]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 5 * * *", "cron"),
        ("cron(0 5 * * *)", "cron"),
        ("rate(1 day)", "cron"),
        ("cron(0 5 * * * *)", "exactly one"),
        ("cron(0 5 ? * ? *)", "exactly one"),
        ("cron(60 5 ? * * *)", "minutes '60'"),
        ("cron(0 24 ? * * *)", "hours '24'"),
        ("cron(0 5 32 * ? *)", "day-of-month '32'"),
        ("cron(0 5 ? FOO * *)", "month 'FOO'"),
        ("cron(0 5 ? * 8 *)", "day-of-week '8'"),
        ("cron(0 9-5 ? * * *)", "backwards"),
        ("cron(0 5/0 ? * * *)", "above 0"),
        ("cron(0/15 5 ? * * *)", "more than once an hour"),
    ],
)
def test_what_aws_would_refuse_is_refused(expression, words):
    with pytest.raises(ScheduleError, match=words):
        parse_schedule(expression)


def test_a_time_zone_that_is_none_is_refused():
    with pytest.raises(ScheduleError, match="no IANA time zone"):
        parse_schedule("cron(0 5 ? * * *)", "Mars/Olympus")
