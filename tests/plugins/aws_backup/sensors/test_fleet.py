from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from aws_backup.exceptions import AwsCallFailedError, BackupJobsFailedError, WaitExhaustedError
from aws_backup.sensors.fleet import BackupJobsSensor
from aws_backup.triggers.fleet import BackupJobsCompletedTrigger

SINCE = "2026-01-01T00:00:00+00:00"


def sensor(*ids: str, **arguments: Any) -> BackupJobsSensor:
    return BackupJobsSensor(
        **{
            "task_id": "wait",
            "aws_conn_id": None,
            "region_name": "us-east-1",
            "backup_job_ids": list(ids),
            "created_after": SINCE,
            "deferrable": True,
            **arguments,
        }
    )


@pytest.fixture
def jobs(fake):
    def put(**states: str) -> None:
        fake.backup_jobs = {
            name: {"BackupJobId": name, "State": state, "ResourceArn": f"table/{name}", "StatusMessage": f"is {state}"}
            for name, state in states.items()
        }

    return put


def test_jobs_that_have_all_ended_need_no_triggerer(fake, jobs, context):
    jobs(a="COMPLETED", b="COMPLETED", other="FAILED")
    summaries = sensor("a", "b").execute(context)
    assert [(job["job_id"], job["state"]) for job in summaries] == [("a", "COMPLETED"), ("b", "COMPLETED")]
    assert fake.count("ListBackupJobs") == 1


def test_it_defers_with_all_that_the_trigger_needs(jobs, context):
    jobs(a="COMPLETED", b="RUNNING")
    with pytest.raises(TaskDeferred) as deferred:
        sensor("a", "b", stop_jobs_on_kill=True, poke_interval=5, max_poke_interval=50, timeout=100).execute(context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, BackupJobsCompletedTrigger)
    fields = trigger.serialize()[1]
    assert (fields["backup_job_ids"], fields["created_after"]) == (["a", "b"], SINCE)
    assert (fields["waiter_delay"], fields["waiter_max_delay"], fields["stop_jobs_on_kill"]) == (5, 50, True)
    assert fields["waiter_max_attempts"] * fields["waiter_delay"] >= 100
    assert deferred.value.timeout.total_seconds() == 100


def test_after_the_trigger_it_is_asked_again_how_each_ended(fake, jobs, context):
    jobs(a="COMPLETED", b="EXPIRED")
    summaries = sensor("a", "b", on_bad_end="report").execute_complete(context, {"status": "success", "ended": 2})
    assert [job["state"] for job in summaries] == ["COMPLETED", "EXPIRED"]


def test_what_the_listing_lacks_is_asked_for_by_name(fake, jobs, context):
    jobs(a="COMPLETED")
    fake.script("ListBackupJobs", {"BackupJobs": []})
    summaries = sensor("a", "gone", on_bad_end="report").execute_complete(context, {"status": "success", "ended": 2})
    assert [job["state"] for job in summaries] == ["COMPLETED", "NOT_FOUND"]


def test_bad_ends_fail_once_and_for_all_and_are_named(jobs, context):
    jobs(a="COMPLETED", b="FAILED", c="EXPIRED")
    with pytest.raises(BackupJobsFailedError, match=r"2 of 3 .*table/b: FAILED; table/c: EXPIRED") as failed:
        sensor("a", "b", "c").execute(context)
    assert isinstance(failed.value, AirflowFailException)


def test_a_trigger_that_gave_up_fails_with_its_error(context):
    error = WaitExhaustedError(kind="backup job", job_id="fleet of 2", state="1 of 2 in progress", attempts=7)
    with pytest.raises(WaitExhaustedError, match="1 of 2"):
        sensor("a").execute_complete(context, {"status": "error", "message": str(error), "error": error.to_dict()})


def test_poking_waits_in_the_worker(fake, jobs, context):
    jobs(a="RUNNING")
    poking = sensor("a", deferrable=False)
    assert poking.poke(context) is False
    jobs(a="COMPLETED")
    assert poking.execute(context)[0]["state"] == "COMPLETED"


def test_a_wrong_word_is_refused_before_anything_is_asked(fake, context):
    with pytest.raises(ValueError, match="on_bad_end"):
        sensor("a", on_bad_end="ignore").execute(context)
    assert fake.calls == []


@pytest.mark.parametrize("asked", [True, False])
def test_a_killed_poking_task_stops_the_jobs_if_it_is_asked_to(fake, jobs, asked: bool):
    jobs(a="RUNNING", b="RUNNING")
    sensor("a", "b", stop_jobs_on_kill=asked, deferrable=False).on_kill()
    assert fake.count("StopBackupJob") == (2 if asked else 0)


def test_the_error_of_a_refused_listing_is_named(fake, context):
    error = AwsCallFailedError(kind="backup job", job_id="fleet of 1", code="AccessDeniedException", detail="no")
    with pytest.raises(AwsCallFailedError, match="AccessDenied"):
        sensor("a").execute_complete(context, {"status": "error", "message": "", "error": error.to_dict()})
