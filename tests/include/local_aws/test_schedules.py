from datetime import UTC, datetime, timedelta

import pytest

from local_aws.backup.exceptions import InvalidParameterValueException
from local_aws.backup.schedules import check_at_most_hourly, parse_schedule

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)  # a Sunday


def instants(expression, count, timezone="Etc/UTC", after=START):
    schedule = parse_schedule(expression, timezone, anchor=START)
    found = []
    for _ in range(count):
        after = schedule.next_after(after)
        found.append(after)
    return found


def texts(expression, count, timezone="Etc/UTC", after=START):
    return [f"{at:%Y-%m-%d %H:%M}" for at in instants(expression, count, timezone, after)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 5 ? * * *)", ["2026-03-02 05:00", "2026-03-03 05:00"]),
        ("cron(0 12 * * ? *)", ["2026-03-02 12:00", "2026-03-03 12:00"]),
        ("cron(15 * ? * * *)", ["2026-03-01 12:15", "2026-03-01 13:15"]),
        ("cron(0 */12 * * ? *)", ["2026-03-02 00:00", "2026-03-02 12:00"]),
        ("cron(0 0/8 * * ? *)", ["2026-03-01 16:00", "2026-03-02 00:00", "2026-03-02 08:00"]),
        ("cron(30 6,18 * * ? *)", ["2026-03-01 18:30", "2026-03-02 06:30"]),
        ("cron(0 8-18/5 * * ? *)", ["2026-03-01 13:00", "2026-03-01 18:00", "2026-03-02 08:00"]),
        ("cron(0 18 ? * MON-FRI *)", ["2026-03-02 18:00", "2026-03-03 18:00"]),
        ("cron(0 18 ? * 7 *)", ["2026-03-07 18:00", "2026-03-14 18:00"]),
        ("cron(0 18 ? * sun *)", ["2026-03-01 18:00", "2026-03-08 18:00"]),
        ("cron(0 5 ? * 1,WED *)", ["2026-03-04 05:00", "2026-03-08 05:00"]),
        ("cron(0 5 ? * L *)", ["2026-03-07 05:00", "2026-03-14 05:00"]),
        ("cron(0 5 ? * 6L *)", ["2026-03-27 05:00", "2026-04-24 05:00"]),
        ("cron(0 5 ? * FRIL *)", ["2026-03-27 05:00", "2026-04-24 05:00"]),
        ("cron(0 5 ? * 3#2 *)", ["2026-03-10 05:00", "2026-04-14 05:00"]),
        ("cron(0 5 ? * SUN#5 *)", ["2026-03-29 05:00", "2026-05-31 05:00"]),
        ("cron(0 5 1 * ? *)", ["2026-04-01 05:00", "2026-05-01 05:00"]),
        ("cron(0 5 31 * ? *)", ["2026-03-31 05:00", "2026-05-31 05:00"]),
        ("cron(0 5 L * ? *)", ["2026-03-31 05:00", "2026-04-30 05:00"]),
        ("cron(0 5 15,L * ? *)", ["2026-03-15 05:00", "2026-03-31 05:00"]),
        ("cron(0 5 LW * ? *)", ["2026-03-31 05:00", "2026-04-30 05:00", "2026-05-29 05:00"]),
        ("cron(0 5 14W * ? *)", ["2026-03-13 05:00", "2026-04-14 05:00"]),  # 14 March is a Saturday
        ("cron(0 5 15W * ? *)", ["2026-03-16 05:00", "2026-04-15 05:00"]),  # 15 March is a Sunday
        ("cron(0 5 1W 8 ? *)", ["2026-08-03 05:00", "2027-08-02 05:00"]),  # a Saturday, then a Sunday
        ("cron(0 5 31W * ? *)", ["2026-03-31 05:00", "2026-05-29 05:00"]),  # 31 May is a Sunday
        ("cron(0 5 1 JAN,jul ? *)", ["2026-07-01 05:00", "2027-01-01 05:00"]),
        ("cron(0 5 1 1/3 ? *)", ["2026-04-01 05:00", "2026-07-01 05:00"]),
        ("cron(0 5 29 2 ? *)", ["2028-02-29 05:00", "2032-02-29 05:00"]),
        ("cron(0 5 1 1 ? 2030-2032)", ["2030-01-01 05:00", "2031-01-01 05:00"]),
        ("cron(0 5 1 1 ? 2199)", ["2199-01-01 05:00"]),
        ("rate(1 hour)", ["2026-03-01 13:00", "2026-03-01 14:00"]),
        ("rate(12 hours)", ["2026-03-02 00:00", "2026-03-02 12:00"]),
        ("rate(1 day)", ["2026-03-02 12:00", "2026-03-03 12:00"]),
        ("rate(90 minutes)", ["2026-03-01 13:30", "2026-03-01 15:00"]),
    ],
)
def test_what_expressions_mean(expression, expected):
    assert texts(expression, len(expected)) == expected


@pytest.mark.parametrize("expression", ["cron(0 5 1 1 ? 2025)", "cron(0 5 30 2 ? *)", "cron(0 5 1 3 ? 2026)"])
def test_a_schedule_can_have_no_instant_left(expression):
    assert parse_schedule(expression, anchor=START).next_after(START) is None


def test_the_next_instant_is_never_the_present_one():
    schedule = parse_schedule("cron(0 12 * * ? *)", anchor=START)
    assert schedule.next_after(START) == START + timedelta(days=1)
    assert schedule.next_after(START - timedelta(milliseconds=1)) == START


def test_a_rate_counts_from_its_anchor_however_late_it_is_asked():
    late = START + timedelta(days=3, minutes=10)
    assert parse_schedule("rate(2 hours)", anchor=START).next_after(late) == START + timedelta(days=3, hours=2)


def test_the_instants_of_a_span():
    schedule = parse_schedule("rate(6 hours)", anchor=START)
    found = list(schedule.between(START, START + timedelta(hours=12)))
    assert found == [START + timedelta(hours=6), START + timedelta(hours=12)]


@pytest.mark.parametrize(
    ("after", "expression", "expected"),
    [
        # Standard time, then summer time from 29 March on: five in the morning moves to another hour of UTC.
        ("2026-03-28", "cron(0 5 ? * * *)", ["03-28 04:00", "03-29 03:00"]),
        # 02:30 of 29 March does not exist: skipped.
        ("2026-03-28", "cron(30 2 ? * * *)", ["03-28 01:30", "03-30 00:30"]),
        # 02:30 of 25 October comes twice: it counts once, the first time.
        ("2026-10-24", "cron(30 2 ? * * *)", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        # Hourly through both nights.
        ("2026-03-29", "cron(0 * ? * * *)", ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
        ("2026-10-25", "cron(0 * ? * * *)", ["10-25 00:00", "10-25 02:00", "10-25 03:00"]),
    ],
)
def test_daylight_saving_time(after, expression, expected):
    start = datetime.fromisoformat(after).replace(tzinfo=UTC) - timedelta(minutes=1)
    found = instants(expression, len(expected), "Europe/Berlin", start)
    assert [f"{at:%m-%d %H:%M}" for at in found] == expected


def test_a_day_begins_in_the_schedules_time_zone():
    assert texts("cron(0 20 1 * ? *)", 1, "America/New_York") == ["2026-03-02 01:00"]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("0 5 ? * * *", "neither cron"),
        ("", "neither cron"),
        ("cron(0 5 * * ?)", "six fields"),
        ("cron(0 5 * * * *)", "must be ?"),
        ("cron(0 5 ? * ? *)", "must be ?"),
        ("cron(60 5 ? * * *)", "minutes '60'"),
        ("cron(0 24 ? * * *)", "hours '24'"),
        ("cron(0 5 0 * ? *)", "day-of-month '0'"),
        ("cron(0 5 32W * ? *)", "day-of-month '32'"),
        ("cron(0 5 W * ? *)", "day-of-month ''"),
        ("cron(0 5 ? 13 MON *)", "month '13'"),
        ("cron(0 5 ? * 8 *)", "day-of-week '8'"),
        ("cron(0 5 ? * 0 *)", "day-of-week '0'"),
        ("cron(0 5 ? * MON#6 *)", "day-of-week '6'"),
        ("cron(0 5 ? * XL *)", "day-of-week 'X'"),
        ("cron(0 5 ? * FUN *)", "day-of-week 'FUN'"),
        ("cron(0 5 1 * ? 1969)", "year '1969'"),
        ("cron(0 5-3 ? * * *)", "hours '5-3'"),
        ("cron(0 5/0 ? * * *)", "hours '5/0'"),
        ("cron(0 5/x ? * * *)", "hours '5/X'"),
        ("cron(0 5, ? * * *)", "hours ''"),
        ("cron(0 ² ? * * *)", "hours '²'"),
        ("rate(1 hours)", "1 unit"),
        ("rate(2 hour)", "1 unit"),
        ("rate(0 hours)", "1 unit"),
        ("rate(1 week)", "neither cron"),
        ("rate(99999999999999999999 days)", "too long"),
    ],
)
def test_what_is_no_schedule(expression, text):
    with pytest.raises(InvalidParameterValueException) as raised:
        parse_schedule(expression, anchor=START)
    assert text in raised.value.message


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_what_is_no_time_zone(timezone):
    with pytest.raises(InvalidParameterValueException) as raised:
        parse_schedule("rate(1 hour)", timezone, anchor=START)
    assert "time zone" in raised.value.message


@pytest.mark.parametrize(
    ("expression", "refused"),
    [
        ("cron(0 * ? * * *)", False),
        ("cron(0,30 5 ? * * *)", True),
        ("cron(0/15 * ? * * *)", True),
        ("rate(60 minutes)", False),
        ("rate(59 minutes)", True),
        ("rate(1 hour)", False),
    ],
)
def test_backups_are_hourly_at_most(expression, refused):
    schedule = parse_schedule(expression, anchor=START)
    if refused:
        with pytest.raises(InvalidParameterValueException, match="hourly at most"):
            check_at_most_hourly(expression, schedule)
    else:
        check_at_most_hourly(expression, schedule)
