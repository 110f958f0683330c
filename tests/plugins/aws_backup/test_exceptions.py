from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from aws_backup import exceptions
from aws_backup.exceptions import (
    JOB_REMEDIES,
    AwsBackupError,
    AwsEndpointUnreachableError,
    BackupJobFailedError,
    FinalBackupJobFailedError,
    JobNotFoundError,
    RestoreTargetExistsError,
    error_from_event,
    final,
)
from aws_backup.states import STATES, StateKind

JOB = {"job_id": "job-1", "state": "FAILED", "status_message": "no rights"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "UnknownStateError": {"kind": "backup job", "state": "X", "known": ("A", "B"), "subject": "job-1"},
    "JobEndedBadlyError": JOB,
    "BackupJobFailedError": JOB,
    "RestoreJobFailedError": JOB,
    "CopyJobFailedError": JOB,
    "RecoveryPointUnusableError": JOB,
    "RecoveryPointNotDeletedError": JOB,
    "BackupJobsFailedError": {"failures": ("table a: FAILED", "table b: EXPIRED"), "total": 9},
    "FinalBackupJobFailedError": JOB,
    "FinalRestoreJobFailedError": JOB,
    "FinalRecoveryPointUnusableError": JOB,
    "JobNotFoundError": {"kind": "backup job", "job_id": "job-1"},
    "WaitExhaustedError": {"kind": "backup job", "job_id": "job-1", "state": "RUNNING", "attempts": 3},
    "AwsCallFailedError": {"kind": "backup job", "job_id": "job-1", "code": "Nope", "detail": "no"},
    "AwsEndpointUnreachableError": {"address": "http://127.0.0.1:5566/", "detail": ""},
    "RecoveryPointProtectedError": {
        "recovery_point_arn": "arn",
        "vault": "v",
        "code": "AccessDeniedException",
        "detail": "denied",
    },
    "RecoveryPointNotOursError": {"recovery_point_arn": "arn", "reason": "no tag"},
    "VaultExistsError": {"vault": "v", "reason": "because"},
    "VaultNotDeletedError": {"vault": "v", "detail": "not empty"},
    "RestoreTargetExistsError": {"table": "t", "job_id": "restore-1", "reason": "because"},
    "IntentConflictError": {"key": "k", "detail": "d"},
    "IntentRecordError": {"key": "k", "detail": "d"},
}


def concrete_errors() -> dict[str, type[AwsBackupError]]:
    return {
        name: value
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, AwsBackupError) and value is not AwsBackupError
    }


def test_every_error_is_in_the_table_of_this_test() -> None:
    assert set(concrete_errors()) == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_error_survives_pickling_and_a_triggers_event(name: str) -> None:
    error = concrete_errors()[name](**ARGUMENTS[name])
    unpickled = pickle.loads(pickle.dumps(error))
    rebuilt = error_from_event({"error": json.loads(json.dumps(error.to_dict()))})
    for copy in (unpickled, rebuilt):
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert copy.fields == error.fields
        for field, value in ARGUMENTS[name].items():
            assert getattr(copy, field) == value


@pytest.mark.parametrize("event", [{"message": "odd"}, {"error": {"name": "os"}, "message": "odd"}])
def test_an_event_without_a_known_error_still_gives_one(event: dict[str, Any]) -> None:
    error = error_from_event(event)
    assert type(error) is AwsBackupError
    assert str(error) == "odd"
    assert str(pickle.loads(pickle.dumps(error))) == "odd"


@pytest.mark.parametrize("kind", [StateKind.BACKUP_JOB, StateKind.RESTORE_JOB, StateKind.RECOVERY_POINT])
def test_every_bad_end_has_a_remedy(kind: StateKind) -> None:
    assert {state for named, state in JOB_REMEDIES if named == kind.value} == set(STATES[kind].failure)


def test_a_bad_end_tells_aws_own_words_and_the_remedy() -> None:
    error = BackupJobFailedError(job_id="job-1", state="EXPIRED", status_message="another job was running")
    assert str(error).startswith("The backup job job-1 is EXPIRED. AWS says: another job was running")
    assert "start window" in str(error)
    assert "gives no reason" in str(BackupJobFailedError(job_id="job-1", state="FAILED"))


def test_final_forbids_a_retry_and_keeps_the_rest() -> None:
    error = BackupJobFailedError(**JOB)
    assert not isinstance(error, AirflowFailException)
    ended = final(error)
    assert isinstance(ended, FinalBackupJobFailedError)
    assert isinstance(ended, AirflowFailException)
    assert isinstance(ended, BackupJobFailedError)
    assert str(ended) == str(error)


def test_final_leaves_alone_what_may_be_retried() -> None:
    error = JobNotFoundError(kind="backup job", job_id="job-1")
    assert final(error) is error
    assert isinstance(error, AirflowException)


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("http://127.0.0.1:5566/", "python -m local_aws"),
        ("http://localhost:5566", "python -m local_aws"),
        ("https://backup.eu-west-1.amazonaws.com/", "Check the network"),
        ("https://backup.cn-north-1.amazonaws.com.cn", "Check the network"),
    ],
)
def test_an_unreachable_endpoint_is_one_line_with_address_and_remedy(address: str, remedy: str) -> None:
    text = str(AwsEndpointUnreachableError(address=address))
    assert address in text
    assert remedy in text
    assert "\n" not in text


@pytest.mark.parametrize(("job_id", "ours"), [("restore-1", True), (None, False)])
def test_a_target_is_ours_only_with_a_recorded_job(job_id: str | None, ours: bool) -> None:
    assert RestoreTargetExistsError(table="t", job_id=job_id, reason="r").ours is ours
