"""What a repair keeps in S3, and in which order it is taken back. The steps together: test_repair_tasks.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backup_flows.repair_request import REPAIR, UNDO, RepairRequest
from backup_flows.repair_work import (
    NothingToUndoError,
    RepairDocumentError,
    UndoParts,
    check_undo,
    find_differences,
    gather_undo,
    undo_parts,
    write_changes,
)
from dynamodb_bulk.changes import ChangesHeader

RESTORED = "orders-restored-20261101-0a1b2c3d"


@pytest.fixture
def request_of(flow):
    """Make the request of a repair, and that of its undo."""
    flow.make_table(RESTORED)
    request = RepairRequest(
        mode=REPAIR,
        bucket=flow.bucket,
        lease_table=flow.resources["lease_table"],
        table=flow.table,
        source=RESTORED,
        undo_prefix=None,
        prefix="repairs/orders/1/",
        classes=("missing", "changed", "extra"),
    )
    undo = replace(request, mode=UNDO, source=None, undo_prefix="repairs/orders/1/undo/", prefix="repairs/orders/2/")
    return request, undo


def write(flow, request, attempt):
    found = gather_undo(flow.s3, request) if request.mode == UNDO else find_differences(flow.dynamodb, flow.s3, request)
    return write_changes(flow.dynamodb, flow.s3, request, found.sha256, attempt=attempt, before_batch=lambda: None)


def note(flow):
    return flow.scan()["O-1", "1"]["note"]["S"]


def test_what_was_written_last_is_taken_back_first(flow, request_of):
    """Between two attempts somebody wrote: that is what the undo brings back, not what was there before."""
    request, undo = request_of
    flow.put("O-1", note="good", table=RESTORED)
    flow.put("O-1", note="damaged")
    write(flow, request, "20261101-001")
    flow.put("O-1", note="by a user")
    write(flow, request, "20261101-002")
    assert note(flow) == "good"
    account = write(flow, undo, "20261102-001")
    assert note(flow) == "by a user"
    assert (account["repaired"], account["left"]) == (1, 1)


def test_what_the_table_held_before_is_that_before_the_first_write(flow, request_of):
    request, undo = request_of
    flow.put("O-1", note="good", table=RESTORED)
    write(flow, request, "20261101-001")
    # The run is cleared from its beginning.
    write(flow, request, "20261101-002")
    write(flow, undo, "20261102-001")
    assert flow.scan() == {}
    assert check_undo(flow.dynamodb, flow.s3, undo)["equal"] is True


def test_without_a_record_of_what_it_held_nothing_is_claimed(flow, request_of):
    assert check_undo(flow.dynamodb, flow.s3, request_of[1]) == {"equal": None}


def test_parts_sort_by_attempt_and_number(flow, request_of):
    request, _ = request_of
    header = ChangesHeader(flow.table, ("order_id", "item_id"))
    for attempt in ("20261101-001", "20261101-002"):
        parts = UndoParts(flow.s3, request, header, attempt)
        for _ in range(11):
            parts.write([b"{}\n"])
    names = [key.rpartition("/")[2] for key in undo_parts(flow.s3, flow.bucket, "repairs/orders/1/undo/")]
    assert names[0] == "20261101-002-00000011.jsonl"
    assert names[10:12] == ["20261101-002-00000001.jsonl", "20261101-001-00000011.jsonl"]


def test_what_can_not_be_undone_is_told(flow, request_of):
    request, undo = request_of
    with pytest.raises(NothingToUndoError, match="wrote nothing"):
        gather_undo(flow.s3, undo)
    UndoParts(flow.s3, request, ChangesHeader("customers", ("id",)), "1").write([])
    with pytest.raises(RepairDocumentError, match="customers"):
        gather_undo(flow.s3, undo)
