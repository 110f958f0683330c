import io
import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from dynamodb_bulk.accounting import LoadReport
from dynamodb_bulk.batches import Effects, LoadSettings
from dynamodb_bulk.errors import (
    EmptyFileError,
    HeaderError,
    KeySchemaMismatchError,
    NotCsvError,
    SourceChangedError,
    SourceError,
    TableError,
    TableMissingError,
    TooManyRejectsError,
)
from dynamodb_bulk.load import check_table, load_csv
from dynamodb_bulk.schema import load_schema, parse_schema
from dynamodb_bulk.sources import OpenSource, local_source, s3_source

DATA = Path(__file__).parents[3] / "include" / "data"
ORDERS = load_schema(DATA / "orders_schema.yaml")
HEADER = "order_id,item_id,customer_id,product,amount,currency,time_stamp,transaction_date\n"
PAIRS = parse_schema(
    json.dumps(
        {"version": 1, "columns": [{"name": "k", "key": "hash"}, {"name": "v", "type": "number"}]},
    ),
    "pairs.json",
)

# The file as it was published with an AWS blog post (MIT-0 licence): mixed quoting, two forms of dates.
PUBLISHED = HEADER + (
    '3801,23,421,"Salmon",2756,USD,2020-09-02T03:54:12Z,9-2-2020\n'
    "9999,25,149,Lemonade,4427,USD,2020-09-02T07:19:53Z,9-2-2020\n"
    '1357,99,117,"Beans",3463,USD,2020-09-02T05:52:34Z,9-2-2020\n'
)


def order(order_id: str, item_id: str = "1", amount: str = "1", product: str = "p") -> str:
    return f"{order_id},{item_id},c,{product},{amount},USD,2020-09-02T03:54:12Z,9-2-2020\n"


def source(data: str | bytes) -> OpenSource:
    content = data.encode() if isinstance(data, str) else data
    return lambda: io.BytesIO(content)


@pytest.fixture(scope="module")
def aws() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("dynamodb", region_name="us-east-1")


@pytest.fixture
def dynamodb(aws: Any) -> Iterator[Any]:
    aws.create_table(
        TableName="orders",
        KeySchema=[
            {"AttributeName": "order_id", "KeyType": "HASH"},
            {"AttributeName": "item_id", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "order_id", "AttributeType": "S"},
            {"AttributeName": "item_id", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield aws
    aws.delete_table(TableName="orders")


def content(client: Any) -> dict[tuple[str, str], dict[str, Any]]:
    items = [item for page in client.get_paginator("scan").paginate(TableName="orders") for item in page["Items"]]
    return {(item["order_id"]["S"], item["item_id"]["S"]): item for item in items}


def load(client: Any, data: OpenSource, rejects: Any = None, **options: Any) -> LoadReport:
    # moto's in-process tables are not made for concurrent writers.
    limits = {"workers": 1, **options}
    return load_csv(
        client,
        "orders",
        data,
        ORDERS,
        source_name="order_data.csv",
        rejects=rejects or io.BytesIO(),
        rejects_name="s3://bucket/rejects.jsonl",
        settings=LoadSettings(**limits),
    )


def test_a_published_file_loads_with_types_and_twins(dynamodb: Any) -> None:
    report = load(dynamodb, source(PUBLISHED))
    assert (report.rows_in, report.written, report.rejected, report.duplicates) == (3, 3, 0, 0)
    assert report.bytes == len(PUBLISHED)
    assert content(dynamodb)["3801", "23"] == {
        "order_id": {"S": "3801"},
        "item_id": {"S": "23"},
        "customer_id": {"S": "421"},
        "product": {"S": "Salmon"},
        "amount": {"N": "2756"},
        "currency": {"S": "USD"},
        "time_stamp": {"S": "2020-09-02T03:54:12Z"},
        "time_stamp_utc": {"S": "2020-09-02T03:54:12Z"},
        "transaction_date": {"S": "9-2-2020"},
        "transaction_date_iso": {"S": "2020-09-02"},
    }


def test_a_local_file_and_an_s3_object_load_alike_and_loading_twice_changes_nothing(
    dynamodb: Any, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    lines = (DATA / "order_data.csv").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:80]))
    first = load(dynamodb, local_source(path))
    before = content(dynamodb)
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="staging/order_data.csv", Body=path.read_bytes())
    second = load(dynamodb, s3_source(s3, "bucket", "staging/order_data.csv", range_bytes=5000))
    assert content(dynamodb) == before
    assert len(before) == first.written == second.written == 79
    assert first.source_sha256 == second.source_sha256


def test_the_last_row_of_a_key_wins_and_the_others_are_counted(dynamodb: Any) -> None:
    data = (
        HEADER + order("1", amount="1") + order("2") + order("1", amount="2") + order("1", "2") + order("1", amount="3")
    )
    report = load(dynamodb, source(data))
    assert (report.rows_in, report.written, report.duplicates) == (5, 3, 2)
    assert content(dynamodb)["1", "1"]["amount"] == {"N": "3"}
    assert [(entry.line, entry.replaced_by, entry.key) for entry in report.replacements_sample] == [
        (2, 4, ("1", "1")),
        (4, 6, ("1", "1")),
    ]


def test_a_rejected_row_does_not_win(dynamodb: Any) -> None:
    data = HEADER + order("1", amount="1") + order("1", amount="bad") + order("2")
    report = load(dynamodb, source(data), max_reject_ratio=0.5)
    assert (report.rows_in, report.written, report.rejected, report.duplicates) == (3, 2, 1, 0)
    assert content(dynamodb)["1", "1"]["amount"] == {"N": "1"}


def test_bad_rows_go_to_the_rejects_and_the_others_load(dynamodb: Any) -> None:
    data = (
        (HEADER + order("1") + order("2", amount="twelve") + "short,row\n" + order("", "4")).encode()
        + order("5").encode().replace(b",p,", b",\xff,")
        + order("6", product="p" * 409_600).encode()
        + order("7").encode()
    )
    rejects = io.BytesIO()
    report = load(dynamodb, source(data), rejects, max_reject_ratio=1.0)
    assert (report.rows_in, report.written, report.rejected) == (7, 2, 5)
    assert sorted(content(dynamodb)) == [("1", "1"), ("7", "1")]
    found = [json.loads(line) for line in rejects.getvalue().splitlines()]
    assert [(entry["line"], entry["field"]) for entry in found] == [
        (3, "amount"),
        (4, None),
        (5, "order_id"),
        (6, "product"),
        (7, None),
    ]
    assert max(len(entry["raw"]) for entry in found) == 2048
    assert [reject.line for reject in report.rejects_sample] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("bad", "good", "ratio", "refused"),
    [(1, 19, 0.05, False), (2, 19, 0.05, True), (1, 999, 0.0, True), (0, 5, 0.0, False), (3, 0, 1.0, False)],
)
def test_more_rejects_than_allowed_write_nothing(
    dynamodb: Any, bad: int, good: int, ratio: float, refused: bool
) -> None:
    # The bad rows come last: what is before them must not have been written either.
    data = HEADER + "".join(order(str(n)) for n in range(good)) + "bad\n" * bad
    rejects = io.BytesIO()
    if refused:
        with pytest.raises(TooManyRejectsError, match=f"{bad} of {good + bad} rows.*s3://bucket/rejects.jsonl"):
            load(dynamodb, source(data), rejects, max_reject_ratio=ratio)
        assert content(dynamodb) == {}
    else:
        assert load(dynamodb, source(data), rejects, max_reject_ratio=ratio).written == good
        assert len(content(dynamodb)) == good
    assert len(rejects.getvalue().splitlines()) == bad


@pytest.mark.parametrize("percent", [7, 29, 57, 58])
def test_just_as_many_rejects_as_allowed_are_no_error(dynamodb: Any, percent: int) -> None:
    rows = [order(str(number)) for number in range(100 - percent)] + ["bad\n"] * percent
    report = load(dynamodb, source(HEADER + "".join(rows)), max_reject_ratio=percent / 100)
    assert (report.written, report.rejected) == (100 - percent, percent)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyFileError),
        (HEADER.encode(), EmptyFileError),
        (b"\x00\x01\x02", NotCsvError),
        (b"a,b\n1,2\n", HeaderError),
    ],
)
def test_a_file_that_cannot_be_loaded_writes_nothing(dynamodb: Any, data: bytes, error: type[SourceError]) -> None:
    with pytest.raises(error, match=r"order_data\.csv"):
        load(dynamodb, source(data))
    assert content(dynamodb) == {}


def test_a_file_without_rows_is_loaded_where_the_schema_allows_it(dynamodb: Any) -> None:
    report = load_csv(
        dynamodb,
        "orders",
        source(HEADER),
        ORDERS.model_copy(update={"allow_no_rows": True}),
        source_name="order_data.csv",
        rejects=io.BytesIO(),
        rejects_name="rejects",
    )
    assert (report.rows_in, report.written, report.batches) == (0, 0, 0)


def test_a_table_that_is_not_there(dynamodb: Any) -> None:
    with pytest.raises(TableMissingError, match="Table nothing does not exist"):
        check_table(dynamodb, "nothing", ORDERS)


def test_a_table_with_other_keys(dynamodb: Any) -> None:
    with pytest.raises(KeySchemaMismatchError) as raised:
        check_table(dynamodb, "orders", PAIRS)
    assert "has the keys order_id (hash, S), item_id (range, S), the schema has k (hash, S)" in str(raised.value)


@pytest.mark.parametrize("text", [PUBLISHED + order("9"), PUBLISHED.replace("2756", "2757"), PUBLISHED[:150]])
def test_a_file_that_changes_between_the_passes_is_noticed(dynamodb: Any, text: str) -> None:
    versions = iter([PUBLISHED, text])
    with pytest.raises(SourceChangedError, match=r"order_data\.csv changed while it was being loaded"):
        load(dynamodb, lambda: io.BytesIO(next(versions).encode()))


def test_sources_are_closed(dynamodb: Any) -> None:
    opened: list[io.BytesIO] = []

    def open_source() -> io.BytesIO:
        opened.append(io.BytesIO(PUBLISHED.encode()))
        return opened[-1]

    load(dynamodb, open_source)
    assert [stream.closed for stream in opened] == [True, True]


class PairTable:
    """A table of k and v that refuses and fails as its seed says, and takes part of a batch at times."""

    def __init__(self, seed: int = 0, *, trouble: float = 0.0) -> None:
        self.items: dict[str, str] = {}
        self.writes: dict[str, int] = {}
        self.status = "ACTIVE"
        self.describe_errors: list[Exception] = []
        self._random = random.Random(seed)
        self._trouble = trouble
        self._lock = threading.Lock()

    def describe_table(self, *, TableName: str) -> Any:
        if self.describe_errors:
            raise self.describe_errors.pop(0)
        return {
            "Table": {
                "TableStatus": self.status,
                "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
            }
        }

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Any]]) -> Any:
        with self._lock:
            (sent,) = map(list, RequestItems.values())
            kind = self._random.random()
            if kind < self._trouble / 3:
                raise error("ThrottlingException")
            if kind < self._trouble / 2:
                # The items are written, but the answer is lost on its way.
                self._put(sent)
                raise EndpointConnectionError(endpoint_url="http://localhost")
            refused = [one for one in sent if kind < self._trouble and self._random.random() < 0.5]
            self._put([one for one in sent if one not in refused])
            return {"UnprocessedItems": {"pairs": refused}} if refused else {}

    def _put(self, requests: list[Any]) -> None:
        for request in requests:
            item = request["PutRequest"]["Item"]
            self.items[item["k"]["S"]] = item["v"]["N"]


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said AWS"}}, "DescribeTable")


def load_pairs(table: PairTable, text: str, **limits: Any) -> tuple[LoadReport, list[dict[str, Any]]]:
    rejects = io.BytesIO()
    report = load_csv(
        table,
        "pairs",
        source(text),
        PAIRS,
        source_name="pairs.csv",
        rejects=rejects,
        rejects_name="rejects",
        settings=LoadSettings(**{"max_reject_ratio": 1.0, "workers": 1, **limits}),
        effects=Effects(sleep=lambda seconds: None),
    )
    return report, [json.loads(line) for line in rejects.getvalue().splitlines()]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 30), st.one_of(st.integers(-99, 99).map(str), st.just("bad"))),
        min_size=1,
        max_size=120,
    ),
    seed=st.integers(0, 10_000),
    trouble=st.sampled_from([0.0, 0.3, 0.8]),
    workers=st.sampled_from([1, 3]),
)
def test_whatever_happens_on_the_way_the_last_row_wins_and_the_figures_add_up(
    rows: list[tuple[int, str]], seed: int, trouble: float, workers: int
) -> None:
    expected = {str(key): value for key, value in rows if value != "bad"}
    table = PairTable(seed, trouble=trouble)
    report, rejects = load_pairs(table, "k,v\n" + "".join(f"{k},{v}\n" for k, v in rows), workers=workers)
    assert table.items == expected
    assert report.rows_in == len(rows)
    assert report.written == len(expected)
    assert report.rejected == len(rejects) == sum(1 for _, value in rows if value == "bad")
    assert report.rows_in == report.written + report.rejected + report.duplicates
    assert (report.resent == 0) or trouble > 0


def test_the_result_does_not_depend_on_threads_or_resends() -> None:
    draw = random.Random(5)
    text = "k,v\n" + "".join(f"{draw.randrange(700)},{number}\n" for number in range(3000))
    outcomes = []
    for workers, trouble in ((1, 0.0), (8, 0.0), (8, 0.6)):
        table = PairTable(3, trouble=trouble)
        report, _ = load_pairs(table, text, workers=workers)
        outcomes.append((table.items, report.written, report.duplicates))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_progress_names_what_is_written_and_what_is_to_be() -> None:
    seen: list[tuple[int, int]] = []
    load_csv(
        PairTable(),
        "pairs",
        source("k,v\n" + "".join(f"{n % 40},{n}\n" for n in range(80))),
        PAIRS,
        source_name="pairs.csv",
        rejects=io.BytesIO(),
        rejects_name="rejects",
        settings=LoadSettings(workers=1),
        progress=lambda written, total: seen.append((written, total)),
    )
    assert seen == [(25, 40), (40, 40)]


def test_seconds_are_measured_by_the_clock_given() -> None:
    moments = iter(range(100, 10_000, 5))
    report = load_csv(
        PairTable(),
        "pairs",
        source("k,v\n1,1\n"),
        PAIRS,
        source_name="pairs.csv",
        rejects=io.BytesIO(),
        rejects_name="rejects",
        settings=LoadSettings(workers=1),
        effects=Effects(clock=lambda: float(next(moments))),
    )
    assert report.seconds > 0
    assert report.seconds % 5 == 0


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
def test_a_table_that_is_not_usable(status: str) -> None:
    table = PairTable()
    table.status = status
    with pytest.raises(TableMissingError, match=f"Table pairs is {status}"):
        load_pairs(table, "k,v\n1,1\n")
    assert table.items == {}


def test_one_bad_moment_while_describing_is_forgiven() -> None:
    table = PairTable()
    table.describe_errors = [error("ThrottlingException"), EndpointConnectionError(endpoint_url="http://localhost")]
    report, _ = load_pairs(table, "k,v\n1,1\n")
    assert report.written == 1


@pytest.mark.parametrize(
    ("trouble", "tries"),
    [(error("AccessDeniedException"), 1), (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), 5)],
)
def test_a_table_that_cannot_be_described_is_named_with_the_remedy(trouble: Exception, tries: int) -> None:
    table = PairTable()
    table.describe_errors = [trouble] * 10
    with pytest.raises(TableError, match="Table pairs cannot be described: ") as raised:
        load_pairs(table, "k,v\n1,1\n")
    assert str(trouble) in str(raised.value)
    assert len(table.describe_errors) == 10 - tries
