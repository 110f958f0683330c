import pytest

from local_aws.faults import END_STATES, Fault, FaultQueue


def fault(table=None, operation="StartBackupJob", end_state="FAILED"):
    return Fault(operation, end_state, "No.", table)


def test_the_oldest_that_fits_is_taken_and_used_up():
    queue = FaultQueue()
    queue.add(fault("customers"))
    queue.add(fault("orders"))
    queue.add(fault())
    assert queue.take("StartBackupJob", "orders") == fault("orders")
    assert queue.take("StartBackupJob", "orders") == fault()
    assert queue.take("StartBackupJob", "orders") is None
    assert queue.as_list()[0]["table"] == "customers"


def test_another_operation_is_not_struck():
    queue = FaultQueue()
    queue.add(fault(), 2)
    assert queue.take("StartRestoreJob", "orders") is None
    queue.clear()
    assert queue.take("StartBackupJob", "orders") is None


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_bad_counts(count):
    with pytest.raises(ValueError, match="count"):
        FaultQueue().add(fault(), count)


@pytest.mark.parametrize(
    ("operation", "end_state"),
    [("StartCopyJob", "EXPIRED"), ("StartBackupJob", "RUNNING"), ("StartRestoreJob", "EXPIRED")],
)
def test_ends_that_no_job_has(operation, end_state):
    with pytest.raises(ValueError, match=f"{operation}|{end_state}"):
        fault(operation=operation, end_state=end_state)


@pytest.mark.parametrize(("message", "table"), [(1, None), ("No.", 1)])
def test_bad_texts(message, table):
    with pytest.raises(ValueError, match="text"):
        Fault("StartBackupJob", "FAILED", message, table)


def test_the_ends_are_states_of_the_model(bare_aws):
    model = bare_aws.backup.meta.service_model
    assert END_STATES["StartBackupJob"] < set(model.shape_for("BackupJobState").enum)
    assert END_STATES["StartRestoreJob"] < set(model.shape_for("RestoreJobStatus").enum)
