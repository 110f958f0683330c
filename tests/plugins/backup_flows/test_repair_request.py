"""What a repair is asked to do, and whether it may."""

from __future__ import annotations

import json
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from backup_flows.repair_request import (
    REPAIR,
    UNDO,
    RecoveryPointGivenError,
    RepairRequest,
    RepairRequestError,
    TablesUnfitError,
    TargetNotProtectedError,
    classes_of,
    ensure_writable,
    look_at_tables,
    resolve_keys,
    resolve_source,
    resolve_undo,
)

RESTORED = "orders-restored-20261101-0a1b2c3d"
POINT = "arn:aws:backup:us-east-1:123456789012:recovery-point:0b1c"
BACKUP = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/backup/01"


@pytest.fixture
def s3(shared_flow):
    shared_flow.s3.put_object(
        Bucket=shared_flow.bucket,
        Key="evidence/orders/2026-11-01-0a1b2c3d/pack.json",
        Body=json.dumps({"verdict": {"table_name": "orders", "restored_table_name": RESTORED}}),
    )
    return shared_flow.s3


@pytest.fixture
def bucket(shared_flow):
    return shared_flow.bucket


class TestSource:
    @pytest.mark.parametrize(
        ("source", "target", "expected"),
        [
            (RESTORED, "", (RESTORED, "orders")),
            (RESTORED, "other", (RESTORED, "other")),
            ("a-copy", "orders", ("a-copy", "orders")),
            ("arn:aws:dynamodb:us-east-1:123456789012:table/a-copy", "orders", ("a-copy", "orders")),
            ("s3://{bucket}/evidence/orders/2026-11-01-0a1b2c3d/", "", (RESTORED, "orders")),
            ("s3://{bucket}/evidence/orders/2026-11-01-0a1b2c3d/report.html", "", (RESTORED, "orders")),
        ],
    )
    def test_both_tables_are_told_from_what_was_given(self, s3, bucket, source, target, expected):
        assert resolve_source(s3, bucket, source.format(bucket=bucket), target) == expected

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("", "source is empty"),
            ("a-copy", "target_table"),
            ("s3://{bucket}/evidence/orders/2026-11-02-ffffffff/", "no evidence"),
            ("s3://{bucket}/staging/orders.csv", "no evidence"),
            ("s3://another/evidence/orders/2026-11-01-0a1b2c3d/", "project's bucket"),
        ],
    )
    def test_what_tells_no_table_is_refused(self, s3, bucket, source, said):
        with pytest.raises(RepairRequestError, match=said):
            resolve_source(s3, bucket, source.format(bucket=bucket), "")

    @pytest.mark.parametrize("arn", [POINT, BACKUP])
    def test_a_recovery_point_has_to_be_restored_first(self, s3, bucket, arn):
        with pytest.raises(RecoveryPointGivenError, match=r"restore_drill.*keep_restored_table"):
            resolve_source(s3, bucket, arn, "orders")


class TestUndo:
    @pytest.mark.parametrize("ending", ["", "receipt.json", "undo/", "undo/part-1.jsonl"])
    def test_any_address_of_a_repair_means_its_undo_parts(self, ending):
        address = f"s3://b/repairs/orders/2026-11-01-0a1b2c3d/{ending}"
        assert resolve_undo("b", address) == "repairs/orders/2026-11-01-0a1b2c3d/undo/"

    @pytest.mark.parametrize(
        "address", ["", "s3://b/evidence/orders/x/", "s3://c/repairs/orders/x/", "repairs/orders/x/"]
    )
    def test_another_address_is_refused(self, address):
        with pytest.raises(RepairRequestError):
            resolve_undo("b", address)

    def test_an_undo_takes_all_back_unless_told_otherwise(self):
        assert classes_of(UNDO, []) == ("missing", "extra", "changed")
        assert classes_of(REPAIR, []) == ("missing", "changed")
        assert classes_of(UNDO, ["extra"]) == classes_of(REPAIR, ["extra"]) == ("extra",)


class TestKeys:
    def test_an_address_stands_for_a_file_with_one_a_line(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="my/keys.txt", Body=b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}')
        given = ['{"a":\n 0}', f"s3://{bucket}/my/keys.txt"]
        assert resolve_keys(s3, bucket, given) == ['{"a":  0}', '{"a": 1}', '{"a": 2}']

    def test_a_file_that_is_not_there_is_no_choice_of_all(self, s3, bucket):
        with pytest.raises(RepairRequestError, match="no file"):
            resolve_keys(s3, bucket, [f"s3://{bucket}/my/none.txt"])

    def test_keys_that_got_lost_are_no_choice_of_all(self, s3, bucket):
        request = RepairRequest(REPAIR, bucket, "leases", "orders", RESTORED, None, "repairs/orders/x/", by_keys=True)
        with pytest.raises(RepairRequestError, match="gone"):
            request.choice(s3, ("order_id", "item_id"))
        request.keep_keys(s3, ['{"order_id": "1", "item_id": "2"}'])
        assert len(request.choice(s3, ("order_id", "item_id")).keys or ()) == 1


def test_a_request_survives_the_way_through_xcom():
    request = RepairRequest(UNDO, "b", "leases", "orders", None, "p", "q", filters=("n = 1",), warnings=("w",))
    document = json.loads(json.dumps({**request.as_dict(), "more": 1}))
    assert RepairRequest.from_dict(document) == request


def test_only_protected_tables_are_written_to():
    ensure_writable("orders", {"orders", "customers"})
    with pytest.raises(TargetNotProtectedError, match="customers, orders"):
        ensure_writable(RESTORED, {"orders", "customers"})


class TestTables:
    def test_what_a_person_should_know_is_said(self, shared_flow):
        dynamodb = shared_flow.dynamodb
        shared_flow.make_table("copy")
        shared_flow.make_table("bare")
        assert look_at_tables(dynamodb, table=shared_flow.table, source="copy") == []
        (said,) = look_at_tables(dynamodb, table="bare", source="copy")
        assert "no point-in-time recovery" in said
        dynamodb.update_time_to_live(
            TableName="bare", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
        )
        assert any("expires" in warning for warning in look_at_tables(dynamodb, table="bare", source=None))

    def test_a_restored_table_that_may_be_swept_is_told(self, shared_flow):
        dynamodb = shared_flow.dynamodb
        shared_flow.make_table(RESTORED)
        (said,) = look_at_tables(dynamodb, table=shared_flow.table, source=RESTORED)
        assert "may sweep it" in said
        arn = dynamodb.describe_table(TableName=RESTORED)["Table"]["TableArn"]
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "keep", "Value": "asked-for"}])
        assert look_at_tables(dynamodb, table=shared_flow.table, source=RESTORED) == []

    def test_everything_that_speaks_against_it_is_listed(self, shared_flow):
        dynamodb = shared_flow.dynamodb
        dynamodb.create_table(
            TableName="other-keys",
            KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        with pytest.raises(TablesUnfitError, match=r"keys differ .*other-keys has HASH order_id N"):
            look_at_tables(dynamodb, table=shared_flow.table, source="other-keys")
        with pytest.raises(TablesUnfitError, match="none does not exist"):
            look_at_tables(dynamodb, table=shared_flow.table, source="none")
        with pytest.raises(TablesUnfitError, match="itself"):
            look_at_tables(dynamodb, table=shared_flow.table, source=shared_flow.table)

    def test_a_right_that_is_missing_is_a_warning_and_no_failure(self, shared_flow):
        dynamodb = mock.Mock(wraps=shared_flow.dynamodb)
        refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeTimeToLive")
        dynamodb.describe_time_to_live.side_effect = refused
        (said,) = look_at_tables(dynamodb, table=shared_flow.table, source=None)
        assert "may not be looked at" in said
