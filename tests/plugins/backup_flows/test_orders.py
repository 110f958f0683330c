from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError

from backup_flows import orders
from backup_flows.defaults import LOAD_LIMIT
from backup_flows.orders import (
    BadSourceError,
    VersionedObject,
    source_of,
    split_s3,
    stage,
    stage_order_file,
)

HEADER = "order_id,item_id,customer_id,product,amount,currency,time_stamp,transaction_date"
KEY = "staging/orders/as_of=2026-11-01/order_data.csv"


def row(order: str = "1", item: str = "1", *, product: str = "Salmon", amount: str = "10") -> str:
    return f"{order},{item},42,{product},{amount},USD,2026-11-01T03:54:12Z,11-1-2026"


def csv_of(*rows: str) -> bytes:
    return ("\n".join([HEADER, *rows]) + "\n").encode()


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


class TestStageLarge:
    """A file that is larger than what S3 takes in one request."""

    @pytest.fixture(autouse=True)
    def small_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(orders, "SINGLE_PUT_BYTES", 1024**2, raising=False)
        monkeypatch.setattr(orders, "UPLOAD_PART_BYTES", 5 * 1024**2, raising=False)

    @pytest.fixture
    def content(self) -> bytes:
        return csv_of(*[row(str(n), product="x" * 1000) for n in range(11_000)])

    @pytest.fixture
    def limited(self, flow) -> Any:
        """S3 that refuses a request which is too large, as the real one does."""

        class Limited:
            def __getattr__(self, name: str) -> Any:
                return getattr(flow.s3, name)

            def put_object(self, **request: Any) -> Any:
                size = request["Body"].seek(0, 2)
                request["Body"].seek(0)
                if size > 1024**2:
                    told = {
                        "Code": "EntityTooLarge",
                        "Message": "Your proposed upload exceeds the maximum allowed size",
                    }
                    raise ClientError({"Error": told}, "PutObject")
                return flow.s3.put_object(**request)

        return Limited()

    def test_it_is_staged_whole_and_its_own_version_is_named(self, flow, order_file, limited, content: bytes):
        staged = stage_order_file(limited, source=order_file(content), bucket=flow.bucket, key=KEY)
        flow.s3.put_object(Bucket=flow.bucket, Key=KEY, Body=b"of another run")
        pinned = VersionedObject(flow.s3, staged["version_id"])
        assert staged["bytes"] == len(content)
        assert pinned.get_object(Bucket=flow.bucket, Key=KEY)["Body"].read() == content
        assert pinned.head_object(Bucket=flow.bucket, Key=KEY)["ContentType"] == "text/csv"

    def test_an_upload_that_breaks_off_leaves_nothing(self, flow, order_file, limited, content: bytes):
        limited.upload_part = lambda **request: 1 / 0 if request["PartNumber"] == 2 else flow.s3.upload_part(**request)
        with pytest.raises(ZeroDivisionError):
            stage_order_file(limited, source=order_file(content), bucket=flow.bucket, key=KEY)
        assert flow.keys() == []
        assert "Uploads" not in flow.s3.list_multipart_uploads(Bucket=flow.bucket)

    def test_it_has_the_time_of_a_large_file(self):
        assert stage.kwargs["execution_timeout"] == LOAD_LIMIT
