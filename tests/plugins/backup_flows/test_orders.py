from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from backup_flows.defaults import ORDERS_TABLE
from backup_flows.lease import LeaseLostError
from backup_flows.leasing import lease_table
from backup_flows.orders import (
    BadLoadError,
    BadSourceError,
    VersionedObject,
    load,
    load_order_file,
    source_of,
    split_s3,
    stage,
    stage_order_file,
)

HEADER = "order_id,item_id,customer_id,product,amount,currency,time_stamp,transaction_date"
KEY = "staging/orders/as_of=2026-11-01/order_data.csv"
REJECTS = "rejects/orders/as_of=2026-11-01/0a1b2c3d.jsonl"


def row(order: str = "1", item: str = "1", *, product: str = "Salmon", amount: str = "10") -> str:
    return f"{order},{item},42,{product},{amount},USD,2026-11-01T03:54:12Z,11-1-2026"


def csv_of(*rows: str) -> bytes:
    return ("\n".join([HEADER, *rows]) + "\n").encode()


@pytest.fixture
def order_file(tmp_path: Path) -> Callable[[bytes], str]:
    """Write an order file; return its path."""

    def write(content: bytes, name: str = "orders.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture
def stage_file(flow):
    def do(source: str) -> dict[str, Any]:
        return stage_order_file(flow.s3, source=source, bucket=flow.bucket, key=KEY)

    return do


@pytest.fixture
def load_file(flow, order_file, stage_file):
    """Stage and load an order file of this content; return the report."""

    def do(content: bytes, ratio: float = 0.5) -> dict[str, Any]:
        return load_order_file(
            flow.dynamodb,
            flow.s3,
            staged=stage_file(order_file(content)),
            table="orders",
            rejects=(flow.bucket, REJECTS),
            max_reject_ratio=ratio,
        )

    return do


def rejects(flow) -> list[dict[str, Any]]:
    return [json.loads(line) for line in flow.read(REJECTS).decode().splitlines()]


class TestPlace:
    def test_the_date_is_put_in_wherever_it_is_asked_for(self):
        assert source_of("{as_of}/o_{as_of}.csv", "2026-11-01") == "2026-11-01/o_2026-11-01.csv"
        assert source_of("s3://b/{other}.csv", "2026-11-01") == "s3://b/{other}.csv"

    def test_an_s3_address_has_a_bucket_and_a_key(self):
        assert split_s3("s3://a-bucket/a/b c.csv") == ("a-bucket", "a/b c.csv")

    @pytest.mark.parametrize("address", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
    def test_one_without_either_is_refused_by_name(self, address: str):
        with pytest.raises(BadSourceError, match=f"^{address} is not.*s3://<bucket>/<key>"):
            split_s3(address)

    def test_what_is_wrong_with_a_file_is_not_tried_again(self):
        assert issubclass(BadSourceError, AirflowFailException)
        assert issubclass(BadLoadError, AirflowFailException)


class TestStage:
    def test_a_local_file_goes_to_its_dates_place_unchanged(self, flow, order_file, stage_file):
        content = b"\xef\xbb\xbf" + csv_of(row(), row("2")).replace(b"\n", b"\r\n")
        staged = stage_file(order_file(content))
        assert flow.keys() == [KEY]
        assert flow.read(KEY) == content
        head = flow.s3.head_object(Bucket=flow.bucket, Key=KEY)
        assert staged["bytes"] == len(content) == head["ContentLength"]
        assert staged["version_id"] == head["VersionId"]
        assert head["ContentType"] == "text/csv"

    def test_an_object_in_s3_does_too(self, flow, stage_file):
        content = csv_of(row())
        flow.s3.create_bucket(Bucket="retailer")
        flow.s3.put_object(Bucket="retailer", Key="in/orders.csv", Body=content)
        assert stage_file("s3://retailer/in/orders.csv")["source"] == "s3://retailer/in/orders.csv"
        assert flow.read(KEY) == content

    def test_a_relative_path_starts_at_the_projects_folder(self, flow, in_task, new_context):
        context = new_context(source="include/data/order_data.csv")
        staged = in_task(stage, context, flow.resources)
        assert staged["source"] == "include/data/order_data.csv"
        assert (staged["bucket"], staged["key"]) == (flow.bucket, KEY)
        assert flow.read(KEY).decode("utf-8-sig").startswith("order_id,")

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "empty"),
            (HEADER.encode() + b"\n", "no row"),
            (b"\x89PNG\r\n\x1a\n\x00\x00", "CSV header|not UTF-8"),
            (b"\xff\xfeo\x00r\x00", "not UTF-8"),
            (b"order_id,item_id\n1,1\n", "lacks|missing"),
            (csv_of(row()).replace(b"amount", b"price"), "amount"),
            (csv_of(row()).replace(b",", b";"), "delimiter|;"),
            (csv_of(row()).replace(b"customer_id", b"order_id"), "order_id"),
            ("\n".join([row(), row("2")]).encode(), "order_id"),
        ],
        ids=[
            "an empty file",
            "a header and no row",
            "an image",
            "UTF-16",
            "columns missing",
            "a wrong column",
            "another delimiter",
            "a column twice",
            "no header",
        ],
    )
    def test_a_file_that_is_no_order_file_is_named_and_nothing_is_staged(
        self, flow, order_file, stage_file, content: bytes, expected: str
    ):
        source = order_file(content)
        with pytest.raises(BadSourceError, match=expected) as bad:
            stage_file(source)
        assert source in str(bad.value)
        assert flow.keys() == []

    @pytest.mark.parametrize(
        "source",
        [
            "/no/such/orders.csv",
            "include/data/daily/order_data_1999-01-01.csv",
            "include/data",
            "s3://no-such-bucket/orders.csv",
            "s3://orders-backup-123456789012-us-east-1/no/such/orders.csv",
        ],
    )
    def test_a_file_that_is_not_there_is_named_and_nothing_is_staged(self, flow, stage_file, source: str):
        with pytest.raises(BadSourceError) as bad:
            stage_file(source)
        assert source in str(bad.value)
        assert flow.keys() == []

    def test_a_date_without_a_file_fails_its_run_naming_the_file(self, flow, in_task, new_context):
        context = new_context(source="include/data/daily/order_data_{as_of}.csv")
        with pytest.raises(AirflowFailException, match=r"order_data_1999-12-31\.csv"):
            in_task(stage, context, {**flow.resources, "as_of": "1999-12-31"})
        assert flow.keys() == []


class TestLoad:
    def test_each_row_becomes_an_item_of_the_schemas_types(self, flow, load_file):
        report = load_file(csv_of(row("1", "7", product='"Salmon, ""wild"""', amount="10.50")))
        assert (report["rows_in"], report["written"], report["rejected"], report["duplicates"]) == (1, 1, 0, 0)
        assert flow.scan() == {
            ("1", "7"): {
                "order_id": {"S": "1"},
                "item_id": {"S": "7"},
                "customer_id": {"S": "42"},
                "product": {"S": 'Salmon, "wild"'},
                "amount": {"N": "10.5"},
                "currency": {"S": "USD"},
                "time_stamp": {"S": "2026-11-01T03:54:12Z"},
                "time_stamp_utc": {"S": "2026-11-01T03:54:12Z"},
                "transaction_date": {"S": "11-1-2026"},
                "transaction_date_iso": {"S": "2026-11-01"},
            }
        }
        assert flow.keys("rejects/") == []

    def test_a_file_with_quotes_and_dates_of_all_kinds_loads_whole(self, flow, load_file):
        report = load_file(
            b"\n".join(
                [
                    HEADER.encode(),
                    b'3801,23,421,"Salmon",2756,USD,2020-09-02T03:54:12Z,9-2-2020',
                    b"9999,25,149,Lemonade,4427,USD,2020-09-02T07:19:53Z,09-02-2020",
                    b'"9999","26",149,"Lemonade, ""fizzy""",4427,USD,2020-09-02 07:19:53,2020-09-02',
                ]
            )
        )
        assert (report["rows_in"], report["written"]) == (3, 3)
        items = flow.scan()
        assert {item["transaction_date_iso"]["S"] for item in items.values()} == {"2020-09-02"}
        assert items["3801", "23"]["transaction_date"] == {"S": "9-2-2020"}
        assert items["9999", "26"]["product"] == {"S": 'Lemonade, "fizzy"'}
        assert items["9999", "26"]["time_stamp_utc"] == {"S": "2020-09-02T07:19:53Z"}

    @pytest.mark.parametrize(
        ("bad", "field", "reason"),
        [
            (b"9,1,42", None, "3"),
            (row("9").encode() + b",more", None, "9"),
            (row("9", amount="ten").encode(), "amount", "ten"),
            (row("").encode(), "order_id", "empty key"),
            (row("9", "").encode(), "item_id", "empty key"),
            (row("9", product="x" * (401 * 1024)).encode(), None, "bytes"),
            (row("9").encode().replace(b"Salmon", b"Sal\xffmon"), "product", "UTF-8"),
        ],
        ids=["short", "long", "bad number", "empty hash key", "empty range key", "over 400 KB", "invalid UTF-8"],
    )
    def test_a_bad_row_is_put_aside_with_line_and_reason_and_the_rest_loads(
        self, flow, load_file, bad: bytes, field: str | None, reason: str
    ):
        report = load_file(csv_of(row("1"), "BAD", row("2")).replace(b"BAD", bad))
        assert (report["rows_in"], report["written"], report["rejected"]) == (3, 2, 1)
        assert sorted(flow.scan()) == [("1", "1"), ("2", "1")]
        (found,) = rejects(flow)
        assert (found["line"], found["field"]) == (3, field)
        assert reason in found["reason"]
        assert report["rejects_name"] == f"s3://{flow.bucket}/{REJECTS}"

    def test_too_many_bad_rows_write_nothing_and_the_rejects_tell_why(self, flow, load_file):
        with pytest.raises(BadLoadError, match=rf"2 of 3 rows.*s3://{flow.bucket}/{REJECTS}"):
            load_file(csv_of(row("1"), row("2", amount="x"), row("3", amount="y")), ratio=0.5)
        assert flow.scan() == {}
        assert [(found["line"], found["field"]) for found in rejects(flow)] == [(3, "amount"), (4, "amount")]

    def test_as_many_bad_rows_as_allowed_are_allowed(self, flow, load_file):
        report = load_file(csv_of(row("1"), row("2", amount="x")), ratio=0.5)
        assert report["written"] == 1

    def test_the_last_row_of_a_key_wins_and_the_others_are_counted(self, flow, load_file):
        report = load_file(csv_of(row("1", amount="1"), row("2"), row("1", amount="2"), row("1", amount="3")))
        assert (report["rows_in"], report["written"], report["duplicates"]) == (4, 2, 2)
        assert flow.scan()["1", "1"]["amount"] == {"N": "3"}
        assert report["replacements_sample"][0] == {"line": 2, "replaced_by": 4, "key": ["1", "1"]}

    def test_loading_a_file_twice_changes_nothing(self, flow, load_file):
        content = csv_of(*[row(str(n), amount=f"{n}.10") for n in range(60)], row("7", amount="8"))
        first = load_file(content)
        items = flow.scan()
        second = load_file(content)
        assert flow.scan() == items
        assert len(items) == 60
        assert first["source_sha256"] == second["source_sha256"]

    def test_a_table_with_other_keys_is_refused(self, flow, order_file, stage_file):
        with pytest.raises(BadLoadError, match="orders-backup-leases"):
            load_order_file(
                flow.dynamodb,
                flow.s3,
                staged=stage_file(order_file(csv_of(row()))),
                table="orders-backup-leases",
                rejects=(flow.bucket, REJECTS),
                max_reject_ratio=0,
            )

    def test_a_run_loads_the_version_that_it_staged_itself(self, flow, order_file, stage_file):
        own = stage_file(order_file(csv_of(row("own"))))
        other = stage_file(order_file(csv_of(row("other"))))
        assert own["version_id"] != other["version_id"]
        load_order_file(
            flow.dynamodb,
            flow.s3,
            staged=own,
            table="orders",
            rejects=(flow.bucket, REJECTS),
            max_reject_ratio=0,
        )
        assert sorted(flow.scan()) == [("own", "1")]
        pinned = VersionedObject(flow.s3, own["version_id"])
        assert pinned.head_object(Bucket=flow.bucket, Key=KEY)["ContentLength"] == own["bytes"]
        assert pinned.get_object(Bucket=flow.bucket, Key=KEY)["Body"].read() == csv_of(row("own"))

    def test_a_run_that_stages_at_the_same_moment_is_not_mistaken_for_the_own_one(self, flow, order_file):
        """The other run's upload comes right behind the own one, before anything else is asked."""

        class Raced:
            def __getattr__(self, name: str) -> Any:
                return getattr(flow.s3, name)

            def _then_another(self, answer: Any) -> Any:
                flow.s3.put_object(Bucket=flow.bucket, Key=KEY, Body=csv_of(row("other")))
                return answer

            def put_object(self, **request: Any) -> Any:
                return self._then_another(flow.s3.put_object(**request))

            def upload_fileobj(self, *args: Any, **request: Any) -> Any:
                return self._then_another(flow.s3.upload_fileobj(*args, **request))

        staged = stage_order_file(Raced(), source=order_file(csv_of(row("own"))), bucket=flow.bucket, key=KEY)
        body = VersionedObject(flow.s3, staged["version_id"]).get_object(Bucket=flow.bucket, Key=KEY)["Body"].read()
        assert body == csv_of(row("own"))


class TestTask:
    @pytest.fixture
    def staged(self, flow, order_file, in_task, new_context):
        context = new_context(source=order_file(csv_of(row("1"), row("2"), row("3", amount="x"))))
        return in_task(stage, context, flow.resources)

    def test_it_tells_when_the_last_write_was_and_what_was_loaded(self, flow, staged, in_task, new_context):
        context = new_context(max_reject_ratio=0.5)
        lease = lease_table(flow.resources).execute(context)
        flow.wait(5)
        report = in_task(load, context, flow.resources, staged, lease)
        assert report["ended_at"] == flow.now().isoformat()
        assert json.loads(json.dumps(report)) == report
        assert context["outlet_events"][ORDERS_TABLE].extra == {"table": "orders", "as_of": "2026-11-01", "written": 2}
        assert flow.keys("rejects/") == [REJECTS]

    def test_the_ratio_of_the_run_holds(self, flow, staged, in_task, new_context):
        context = new_context(max_reject_ratio=0.3)
        lease = lease_table(flow.resources).execute(context)
        with pytest.raises(BadLoadError, match=r"allowed share of 0\.3"):
            in_task(load, context, flow.resources, staged, lease)
        assert flow.scan() == {}

    def test_without_the_lease_nothing_is_written(self, flow, staged, in_task, context):
        lease = {"table_name": "orders", "lease_table": flow.resources["lease_table"], "owner": "a/b", "fence": 1}
        with pytest.raises(LeaseLostError):
            in_task(load, context, flow.resources, staged, lease)
        assert flow.scan() == {}
