from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from aws_backup.exceptions import UnknownStateError
from aws_backup.states import (
    STATES,
    BackupJobState,
    CopyJobState,
    Outcome,
    RecoveryPointStatus,
    RestoreJobStatus,
    StateKind,
    classify,
)

SUMMARY_ONLY = {"AGGREGATE_ALL", "ANY"}


@pytest.fixture(scope="module")
def service_model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("backup", "service-2"))


@pytest.mark.parametrize(
    ("kind", "enum", "shapes"),
    [
        (StateKind.BACKUP_JOB, BackupJobState, ["BackupJobState", "BackupJobStatus"]),
        (StateKind.RESTORE_JOB, RestoreJobStatus, ["RestoreJobStatus", "RestoreJobState"]),
        (StateKind.COPY_JOB, CopyJobState, ["CopyJobState", "CopyJobStatus"]),
        (StateKind.RECOVERY_POINT, RecoveryPointStatus, ["RecoveryPointStatus"]),
        (StateKind.RECOVERY_POINT_DELETION, RecoveryPointStatus, ["RecoveryPointStatus"]),
    ],
)
def test_every_state_of_the_service_model_is_classified_and_no_other(
    service_model: ServiceModel, kind: StateKind, enum: type[BackupJobState], shapes: list[str]
) -> None:
    modelled = {value for shape in shapes for value in cast("Any", service_model.shape_for(shape)).enum} - SUMMARY_ONLY
    assert modelled == set(STATES[kind].known)
    assert modelled == {state.value for state in enum}


@pytest.mark.parametrize("kind", StateKind)
def test_no_state_means_two_things(kind: StateKind) -> None:
    table = STATES[kind]
    assert len(table.known) == len(table.success) + len(table.failure) + len(table.in_progress)


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [
        (StateKind.BACKUP_JOB, "COMPLETED", Outcome.SUCCESS),
        (StateKind.BACKUP_JOB, "PARTIAL", Outcome.FAILURE),
        (StateKind.BACKUP_JOB, "EXPIRED", Outcome.FAILURE),
        (StateKind.BACKUP_JOB, "ABORTING", Outcome.IN_PROGRESS),
        (StateKind.RESTORE_JOB, "ABORTED", Outcome.FAILURE),
        (StateKind.COPY_JOB, "COMPLETING", Outcome.IN_PROGRESS),
        (StateKind.RECOVERY_POINT, "AVAILABLE", Outcome.SUCCESS),
        (StateKind.RECOVERY_POINT, "STOPPED", Outcome.FAILURE),
        (StateKind.RECOVERY_POINT_DELETION, "EXPIRED", Outcome.FAILURE),
        (StateKind.RECOVERY_POINT_DELETION, "COMPLETED", Outcome.IN_PROGRESS),
    ],
)
def test_classify(kind: StateKind, state: str, expected: Outcome) -> None:
    assert classify(kind, state) is expected


@pytest.mark.parametrize("state", ["HIBERNATING", "", None, "completed"])
def test_an_unknown_state_is_an_error_that_names_it(state: str | None) -> None:
    with pytest.raises(UnknownStateError, match=r"unknown state .* for backup job") as caught:
        classify(StateKind.BACKUP_JOB, state)
    assert caught.value.state == state
    assert "COMPLETED" in caught.value.known
