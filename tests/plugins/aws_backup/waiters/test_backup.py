from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from aws_backup.hooks.backup import BackupHook
from aws_backup.polling import STATE_FIELDS
from aws_backup.states import STATES, Outcome, StateKind, classify
from aws_backup.waiting import WAITER_NAMES

ARGUMENTS: dict[StateKind, dict[str, str]] = {
    StateKind.BACKUP_JOB: {"BackupJobId": "job-1"},
    StateKind.RESTORE_JOB: {"RestoreJobId": "restore-1"},
    StateKind.COPY_JOB: {"CopyJobId": "copy-1"},
    StateKind.RECOVERY_POINT: {"BackupVaultName": "orders-vault", "RecoveryPointArn": "arn"},
    StateKind.RECOVERY_POINT_DELETION: {"BackupVaultName": "orders-vault", "RecoveryPointArn": "arn"},
}
OPERATIONS = {
    StateKind.BACKUP_JOB: "DescribeBackupJob",
    StateKind.RESTORE_JOB: "DescribeRestoreJob",
    StateKind.COPY_JOB: "DescribeCopyJob",
    StateKind.RECOVERY_POINT: "DescribeRecoveryPoint",
    StateKind.RECOVERY_POINT_DELETION: "DescribeRecoveryPoint",
}
EVERY_STATE = [(kind, state) for kind in StateKind for state in sorted(STATES[kind].known)]


def answer(kind: StateKind, state: str) -> dict[str, Any]:
    answered = {STATE_FIELDS[kind]: state}
    return {"CopyJob": answered} if kind is StateKind.COPY_JOB else answered


def outcome(hook: BackupHook, kind: StateKind, attempts: int = 1) -> str:
    """What the waiter makes of the answers: success, failure, or more if it would go on."""
    try:
        hook.get_waiter(WAITER_NAMES[kind]).wait(**ARGUMENTS[kind], WaiterConfig={"MaxAttempts": attempts, "Delay": 0})
    except WaiterError as error:
        return "more" if "Max attempts exceeded" in str(error) else "failure"
    return "success"


def test_the_waiters_are_the_ones_of_the_file(hook: BackupHook) -> None:
    assert set(hook.list_waiters()) == set(WAITER_NAMES.values())


@pytest.mark.parametrize(("kind", "state"), EVERY_STATE)
def test_waiter_and_table_of_states_agree(fake: Any, hook: BackupHook, kind: StateKind, state: str) -> None:
    fake.script(OPERATIONS[kind], answer(kind, state))
    expected = {Outcome.SUCCESS: "success", Outcome.FAILURE: "failure", Outcome.IN_PROGRESS: "more"}
    assert outcome(hook, kind) == expected[classify(kind, state)]


@pytest.mark.parametrize("kind", StateKind)
def test_every_state_has_an_acceptor_of_its_own(hook: BackupHook, kind: StateKind) -> None:
    waiters = json.loads(Path(hook.waiter_path).read_text())["waiters"]
    acceptors = waiters[WAITER_NAMES[kind]]["acceptors"]
    named = {item["expected"]: item["state"] for item in acceptors if isinstance(item["expected"], str)}
    named.pop("ResourceNotFoundException")
    words = {Outcome.SUCCESS: "success", Outcome.FAILURE: "failure", Outcome.IN_PROGRESS: "retry"}
    assert named == {state: words[classify(kind, state)] for state in STATES[kind].known}


@pytest.mark.parametrize("kind", StateKind)
def test_an_unknown_state_is_a_failure(fake: Any, hook: BackupHook, kind: StateKind) -> None:
    fake.script(OPERATIONS[kind], answer(kind, "HIBERNATING"))
    assert outcome(hook, kind) == "failure"


@pytest.mark.parametrize("kind", StateKind)
def test_not_found_is_retried_unless_it_is_the_aim(fake: Any, hook: BackupHook, kind: StateKind) -> None:
    fake.script(OPERATIONS[kind], fake.not_found)
    expected = "success" if kind is StateKind.RECOVERY_POINT_DELETION else "more"
    assert outcome(hook, kind) == expected


@pytest.mark.parametrize(
    ("kind", "states", "expected"),
    [
        (StateKind.BACKUP_JOB, ["CREATED", "PENDING", "RUNNING", "COMPLETED"], "success"),
        (StateKind.BACKUP_JOB, ["RUNNING", "ABORTING", "ABORTED"], "failure"),
        (StateKind.BACKUP_JOB, ["RUNNING", "ABORTING", "COMPLETED"], "success"),
        (StateKind.RESTORE_JOB, ["PENDING", "RUNNING", "COMPLETED"], "success"),
        (StateKind.RESTORE_JOB, ["PENDING", "RUNNING", "FAILED"], "failure"),
        (StateKind.RECOVERY_POINT, ["CREATING", "AVAILABLE"], "success"),
        (StateKind.RECOVERY_POINT_DELETION, ["COMPLETED", "DELETING", "EXPIRED"], "failure"),
    ],
)
def test_a_sequence_of_states(fake: Any, hook: BackupHook, kind: StateKind, states: list[str], expected: str) -> None:
    fake.script(OPERATIONS[kind], *(answer(kind, state) for state in states))
    assert outcome(hook, kind, attempts=len(states)) == expected
    assert fake.count(OPERATIONS[kind]) == len(states)
