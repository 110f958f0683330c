"""What watches store of jobs by day: nothing is lost, and a day is whole only when all of it was seen."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_flows.watch.facts import Job
from backup_flows.watch.store import DayOfJobs, days_of, merge_day, read_days, write_day

DAY = dt.date(2026, 11, 3)
NOON = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
NEXT = dt.datetime(2026, 11, 4, 0, tzinfo=dt.UTC)


def job(job_id="1", state="COMPLETED", created=NOON, **others):
    return Job(job_id, "arn", "v", state, created, **others)


@pytest.mark.parametrize(
    ("now", "whole"),
    [
        (NOON, False),
        (NEXT, True),
        (NEXT + dt.timedelta(days=28, hours=22), True),
        (NEXT + dt.timedelta(days=29), False),
        (NEXT + dt.timedelta(days=40), False),
    ],
)
def test_a_day_is_whole_when_all_of_it_was_listed_after_its_end(now, whole):
    assert merge_day(DAY, None, [], now=now).whole is whole


def test_what_was_whole_stays_whole_and_no_job_is_lost():
    first = merge_day(DAY, None, [job("1"), job("other", created=NEXT)], now=NEXT)
    second = merge_day(DAY, first, [], now=NEXT + dt.timedelta(days=40))
    assert second.whole
    assert [stored.job_id for stored in second.jobs] == ["1"]


def test_a_later_look_replaces_an_earlier_one_and_not_the_other_way_round():
    early = merge_day(DAY, None, [job(state="RUNNING")], now=NOON)
    late = merge_day(DAY, early, [job(state="COMPLETED")], now=NEXT)
    assert [stored.state for stored in late.jobs] == ["COMPLETED"]
    out_of_turn = merge_day(DAY, late, [job(state="RUNNING"), job("2")], now=NOON)
    assert {stored.job_id: stored.state for stored in out_of_turn.jobs} == {"1": "COMPLETED", "2": "COMPLETED"}
    assert out_of_turn.seen_at == NEXT


def test_a_day_is_read_as_it_was_written(flow):
    jobs = [job("2", completed_at=NOON, message="m", plan_id="p"), job("1", state="FAILED")]
    day = merge_day(DAY, None, jobs, now=NEXT)
    assert write_day(flow.s3, flow.bucket, day, None)
    stored = read_days(flow.s3, flow.bucket, [DAY, DAY + dt.timedelta(days=1)])
    assert set(stored) == {DAY}
    assert set(stored[DAY].jobs) == set(jobs)
    assert (stored[DAY].whole, stored[DAY].seen_at) == (True, NEXT)
    assert not write_day(flow.s3, flow.bucket, day, stored[DAY])
    assert DayOfJobs.from_json(day.to_json()).to_json() == day.to_json()


def test_a_span_touches_each_of_its_days():
    assert list(days_of(NOON, NEXT)) == [DAY, DAY + dt.timedelta(days=1)]
    assert list(days_of(NOON, NOON)) == [DAY]
