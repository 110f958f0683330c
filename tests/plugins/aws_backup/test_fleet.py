from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from aws_backup.fleet import NOT_FOUND, BackupJobFleet, bad_ends, ended_well, listing_filters
from aws_backup.states import STATES, StateKind

JOBS = STATES[StateKind.BACKUP_JOB]


def job(job_id: str, state: str = "COMPLETED", **fields: Any) -> dict[str, Any]:
    return {"BackupJobId": job_id, "State": state, **fields}


def test_a_fleet_is_in_progress_until_its_last_job_has_ended():
    fleet = BackupJobFleet(["a", "b"])
    assert fleet.in_progress == ["a", "b"]
    fleet.see([job("b"), job("a", "RUNNING")])
    assert fleet.in_progress == ["a"]
    assert fleet.describe() == "1 of 2 in progress"
    fleet.see([job("a", "FAILED", StatusMessage="no rights")])
    assert fleet.in_progress == []
    assert [(done["job_id"], done["state"]) for done in fleet.summaries] == [("a", "FAILED"), ("b", "COMPLETED")]


@pytest.mark.parametrize("state", sorted(JOBS.in_progress))
def test_every_state_in_progress_is_waited_for(state: str):
    fleet = BackupJobFleet(["a"])
    fleet.see([job("a", state)])
    assert fleet.in_progress == ["a"]
    assert bad_ends(fleet.summaries) == []


@pytest.mark.parametrize("state", [*sorted(JOBS.failure), "A_STATE_OF_TOMORROW"])
def test_every_bad_end_is_one_and_an_unknown_state_is_not_waited_for(state: str):
    fleet = BackupJobFleet(["a", "b"])
    fleet.see([job("a", state), job("b")])
    assert fleet.in_progress == []
    assert [summary["state"] for summary in bad_ends(fleet.summaries)] == [state]
    assert [ended_well(summary) for summary in fleet.summaries] == [False, True]


def test_other_jobs_in_the_listing_are_none_of_its_business():
    fleet = BackupJobFleet(["a"])
    fleet.see([job("x", "FAILED"), job("y", "RUNNING")])
    assert fleet.summaries == []
    assert fleet.in_progress == ["a"]


def test_what_a_round_did_not_list_is_known():
    fleet = BackupJobFleet(["a", "b", "c"])
    fleet.begin_round()
    fleet.see([job("a", "RUNNING"), job("b")])
    assert fleet.unlisted == ["c"]
    fleet.begin_round()
    assert fleet.unlisted == ["a", "c"]


def test_a_job_that_aws_does_not_know_ends_badly_and_says_why():
    fleet = BackupJobFleet(["a"])
    fleet.see_missing("a")
    assert fleet.in_progress == []
    (bad,) = bad_ends(fleet.summaries)
    assert bad["state"] == NOT_FOUND
    assert "30 days" in str(bad["status_message"])


def test_a_listing_begins_where_it_is_told_to():
    moment = dt.datetime(2026, 11, 1, 5, tzinfo=dt.UTC)
    assert listing_filters(moment.isoformat()) == {"ByCreatedAfter": moment}
    assert listing_filters(None) == {}
