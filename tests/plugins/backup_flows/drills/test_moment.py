"""Until when a recovery point counts for a drill, and under which date the drill is kept."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType

from backup_flows.drills.errors import BadDrillRequestError
from backup_flows.drills.moment import drill_moment

SUNDAY = dt.datetime(2026, 11, 1, 7, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
MICRO = dt.timedelta(microseconds=1)


def moment(new_context, given: str = "", **run: Any) -> Any:
    return drill_moment(new_context(run=run, as_of=given))


@pytest.mark.parametrize("run_type", [DagRunType.SCHEDULED, DagRunType.BACKFILL, "backfill"])
def test_a_weeks_drill_takes_what_there_was_when_the_week_was_over(new_context, run_type: Any):
    found = moment(
        new_context,
        run_type=run_type,
        logical_date=SUNDAY,
        data_interval_start=SUNDAY,
        data_interval_end=SUNDAY + WEEK,
    )
    assert found == (SUNDAY + WEEK, "2026-11-01")


@pytest.mark.parametrize("logical_date", [SUNDAY, None])
def test_a_run_by_hand_takes_its_whole_day(new_context, logical_date: dt.datetime | None):
    """Airflow gives one with a logical date the interval of the week before, which is not what is meant."""
    found = moment(
        new_context,
        run_type=DagRunType.MANUAL,
        logical_date=logical_date,
        run_after=SUNDAY,
        data_interval_start=SUNDAY - WEEK,
        data_interval_end=SUNDAY,
    )
    assert found == (dt.datetime(2026, 11, 2, tzinfo=dt.UTC), "2026-11-01")


@pytest.mark.parametrize(
    ("given", "before", "as_of"),
    [
        ("2026-02-28", dt.datetime(2026, 3, 1, tzinfo=dt.UTC), "2026-02-28"),
        ("2026-02-28T06:00:00Z", dt.datetime(2026, 2, 28, 6, tzinfo=dt.UTC) + MICRO, "2026-02-28"),
        ("2026-02-28T06:00:00", dt.datetime(2026, 2, 28, 6, tzinfo=dt.UTC) + MICRO, "2026-02-28"),
        ("2026-02-28T23:30:00-02:00", dt.datetime(2026, 3, 1, 1, 30, tzinfo=dt.UTC) + MICRO, "2026-03-01"),
    ],
)
@pytest.mark.parametrize("run_type", ["manual", "backfill"])
def test_the_param_goes_first(new_context, given: str, before: dt.datetime, as_of: str, run_type: str):
    assert moment(new_context, given, run_type=run_type, data_interval_end=SUNDAY + WEEK) == (before, as_of)


@pytest.mark.parametrize("given", ["2026-02-30", "2026-02-28T25:00:00", "last week"])
def test_what_is_no_date_is_refused_with_an_example(new_context, given: str):
    with pytest.raises(BadDrillRequestError, match="write 2026-11-01"):
        moment(new_context, given)
