import csv
import io
import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from dynamodb_bulk.accounting import LoadReport
from dynamodb_bulk.batches import LoadSettings
from dynamodb_bulk.checkpoints import LocalCheckpoints
from dynamodb_bulk.csv_blocks import CsvBlocks, Feed
from dynamodb_bulk.csv_rows import Record, read_rows
from dynamodb_bulk.csv_split import cut_shards
from dynamodb_bulk.errors import (
    CapacityUnknownError,
    CheckpointMismatchError,
    CheckpointMissingError,
    EmptyFileError,
    HeaderError,
    SourceChangedError,
    TooManyRejectsError,
    WriteRefusedError,
)
from dynamodb_bulk.load import load_csv
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.schema import TableSchema, parse_schema
from dynamodb_bulk.shards import (
    LoadJob,
    decide_load,
    finish_load,
    plan_load,
    survey_planned_shard,
    write_planned_shard,
)
from dynamodb_bulk.sources import s3_source
from dynamodb_bulk.survey import Layout

SCHEMA = parse_schema(
    '{"version": 1, "empty_values": "store", "allow_no_rows": true,'
    ' "columns": [{"name": "k", "key": "hash"}, {"name": "v"}]}',
    "nasty.json",
)
CELLS = ["a", "", "x, y", 'say ""hi""', "two\nlines", "two\r\nlines", "é🍮", " ", "\n", '""', "\r\n\r\n", '"",""']


def nasty(rows: int, *, line_end: str = "\n", bom: bool = False, stray: bool = False, keys: int = 10**6) -> bytes:
    """A file that is hard to cut: quoted line ends, doubled quotes, CRLF, a byte order mark, stray quotes."""
    draw = random.Random(rows)
    lines = ["k,v"]
    for _ in range(rows):
        cell = f'"{draw.choice(CELLS)}"' if draw.random() < 0.7 else "plain"
        if stray and draw.random() < 0.3:
            cell = 'pan 12"'
        lines.append(f"{draw.randrange(keys)},{cell}")
    return (b"\xef\xbb\xbf" if bom else b"") + (line_end.join(lines) + line_end).encode()


CORPUS = {
    "lf": nasty(1200),
    "crlf": nasty(1200, line_end="\r\n"),
    "bom": nasty(1200, bom=True),
    "stray": nasty(1200, stray=True),
    "all quoted": "\r\n".join(['"k","v"', *(f'"{n}","{n}\n,""{n}"""' for n in range(1200))]).encode(),
    "one cell": b'k,v\n1,"' + b"line\n" * 3000 + b'"\n2,b\n',
    "broken": b'k,v\n1,"a" b\n2,"never closed\n' + b"".join(b"%d,x\n" % n for n in range(1200)),
}


def one_pass(data: bytes) -> list[tuple[int, list[str]]]:
    reader = CsvBlocks(Feed(io.BytesIO(data), used_up=len), ",", block_bytes=10**9)
    reader.read_header(SCHEMA, "file")
    return [entry for found in reader for entry in listed(found)]


def listed(found: Any) -> list[tuple[int, list[str]]]:
    records: Sequence[Record] = found if isinstance(found, list) else list(found.records())
    return [(record.line, record.fields or [record.problem or ""]) for record in records]


def by_shards(data: bytes, layout: Layout) -> list[tuple[int, list[str]]]:
    rows = []
    for shard in layout.shards:
        feed = Feed(io.BytesIO(data[shard.start : shard.end]), used_up=len)
        for found in CsvBlocks(feed, ",", next_line=shard.first_line):
            rows += listed(found)
    return rows


def cut(data: bytes, **limits: int) -> Layout:
    return cut_shards(io.BytesIO(data), SCHEMA, source_name="file", **{"shard_bytes": 1, "max_shards": 10**9, **limits})


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("count", [1, 2, 7, 16, 64, 257, 1000])
def test_any_number_of_shards_holds_what_one_pass_finds(name: str, count: int) -> None:
    data = CORPUS[name]
    layout = cut(data, max_shards=count)
    assert by_shards(data, layout) == one_pass(data)
    assert len(layout.shards) <= count
    assert layout.size == len(data)
    ends = [layout.header_bytes, *(shard.end for shard in layout.shards)]
    assert ends == [*(shard.start for shard in layout.shards), len(data)]
    if name in ("lf", "crlf", "bom", "all quoted"):
        assert len(layout.shards) > count / 3
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        assert [fields for _, fields in by_shards(data, layout)] == list(csv.reader(text))[1:]


@pytest.mark.parametrize("stray", [False, True])
def test_a_cut_wanted_at_any_byte_gives_the_same_rows(stray: bool) -> None:
    data = nasty(25, line_end="\r\n", bom=True, stray=stray)
    whole = one_pass(data)
    for shard_bytes in range(1, len(data) + 2):
        assert by_shards(data, cut(data, shard_bytes=shard_bytes)) == whole


@pytest.mark.parametrize(
    ("data", "error"), [(b"", EmptyFileError), (b"a,b\n1,2\n", HeaderError), (b"k,v\n\n\n", EmptyFileError)]
)
def test_a_file_that_cannot_be_loaded_is_not_planned(data: bytes, error: type[Exception]) -> None:
    strict = SCHEMA.model_copy(update={"allow_no_rows": False})
    with pytest.raises(error):
        cut_shards(io.BytesIO(data), strict, source_name="file", shard_bytes=10, max_shards=10)


class Table:
    """Keeps items of k and v; refuses, takes half and breaks off as its seed says."""

    def __init__(self, seed: int = 0, *, trouble: float = 0.0, billing: int = 0) -> None:
        self.items: dict[str, str] = {}
        self.id = "table-1"
        self.puts = 0
        self.fail_after: int | None = None
        self._billing = billing
        self._random = random.Random(seed)
        self._trouble = trouble
        self._lock = threading.Lock()

    def describe_table(self, *, TableName: str) -> Any:
        return {
            "Table": {
                "TableStatus": "ACTIVE",
                "TableId": self.id,
                "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
                "ProvisionedThroughput": {"WriteCapacityUnits": self._billing},
            }
        }

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Any]], **_: Any) -> Any:
        with self._lock:
            if self.fail_after is not None and self.puts >= self.fail_after:
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "BatchWriteItem")
            (sent,) = map(list, RequestItems.values())
            kind = self._random.random()
            if kind < self._trouble / 3:
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "BatchWriteItem")
            if kind < self._trouble / 2:
                self._put(sent)
                raise EndpointConnectionError(endpoint_url="http://localhost")
            refused = sent[len(sent) // 2 :] if kind < self._trouble else []
            self._put(sent[: len(sent) - len(refused)])
            return {"UnprocessedItems": {"nasty": refused}} if refused else {}

    def _put(self, requests: list[Any]) -> None:
        for request in requests:
            item = request["PutRequest"]["Item"]
            self.items[item["k"]["S"]] = item["v"]["S"]
            self.puts += 1


def job(tmp_path: Path, data: bytes, **changes: Any) -> LoadJob:
    return LoadJob(
        **{
            "table_name": "nasty",
            "open_source": lambda: io.BytesIO(data),
            "schema": SCHEMA,
            "source_name": "nasty.csv",
            "store": LocalCheckpoints(tmp_path, durable=False),
            "settings": LoadSettings(workers=1, max_reject_ratio=1.0),
            "effects": Effects(sleep=lambda seconds: None),
            **changes,
        }
    )


def run(table: Any, one: LoadJob, *, shard_bytes: int, order: random.Random, twice: bool = False) -> LoadReport:
    """Run all steps, shards in any order, each as often as a task may be retried."""
    count = plan_load(table, one, shard_bytes=shard_bytes)
    for _ in range(2 if twice else 1):
        for index in order.sample(range(count), count):
            survey_planned_shard(one, index)
    decide_load(one, rejects=io.BytesIO(), rejects_name="rejects")
    for _ in range(2 if twice else 1):
        for index in order.sample(range(count), count):
            write_planned_shard(table, one, index)
    return finish_load(one, rejects_name="rejects", seconds=1.0)


def winners(data: bytes) -> dict[str, str]:
    rows = read_rows(io.BytesIO(data), SCHEMA, "file")
    return {row.item["k"]["S"]: row.item["v"]["S"] for row in rows if hasattr(row, "item")}


@settings(max_examples=40)
@given(
    rows=st.integers(0, 150),
    shard_bytes=st.sampled_from([10, 60, 300, 10_000]),
    trouble=st.sampled_from([0.0, 0.7]),
    seed=st.integers(0, 1000),
    twice=st.booleans(),
)
def test_whatever_the_shards_the_last_row_of_a_key_wins(
    tmp_path_factory: pytest.TempPathFactory, rows: int, shard_bytes: int, trouble: float, seed: int, twice: bool
) -> None:
    data = nasty(rows, keys=40, stray=True) + b"short\n"
    table = Table(seed, trouble=trouble)
    one = job(tmp_path_factory.mktemp("load"), data)
    report = run(table, one, shard_bytes=shard_bytes, order=random.Random(seed), twice=twice)
    assert table.items == winners(data)
    assert report.written == len(table.items)
    assert (report.rows_in, report.rejected) == (rows + 1, 1)
    assert report.duplicates == rows - report.written
    assert report.bytes == len(data)


@pytest.mark.parametrize("shard_bytes", [50, 2000, 10**6])
def test_shards_give_the_report_of_a_load_in_one_process(tmp_path: Path, shard_bytes: int) -> None:
    data = nasty(400, keys=150) + b"bad\n" * 3
    report = run(Table(), job(tmp_path, data), shard_bytes=shard_bytes, order=random.Random(1))
    rejects = io.BytesIO()
    plain = load_csv(
        Table(),
        "nasty",
        lambda: io.BytesIO(data),
        SCHEMA,
        source_name="nasty.csv",
        rejects=rejects,
        rejects_name="rejects",
        settings=LoadSettings(workers=1, max_reject_ratio=1.0),
    )
    unlike = {"seconds", "batches"}
    assert {k: v for k, v in report.as_dict().items() if k not in unlike} == {
        k: v for k, v in plain.as_dict().items() if k not in unlike
    }
    assert len(plain.replacements_sample) == 20
    assert [reject.line for reject in plain.rejects_sample] == sorted(reject.line for reject in plain.rejects_sample)


def test_a_shard_that_failed_goes_on_where_it_stood(tmp_path: Path) -> None:
    data = nasty(600)
    table = Table()
    moments = iter(range(10**9))
    one = job(
        tmp_path,
        data,
        effects=Effects(clock=lambda: next(moments), sleep=lambda seconds: None),
        settings=LoadSettings(workers=1, deadline_seconds=10**8, stall_seconds=10**8),
    )
    assert plan_load(table, one, shard_bytes=10**6) == 1
    survey_planned_shard(one, 0)
    decide_load(one, rejects=io.BytesIO(), rejects_name="rejects")
    table.fail_after = 300
    with pytest.raises(WriteRefusedError):
        write_planned_shard(table, one, 0)
    with pytest.raises(CheckpointMissingError, match="1 of 1 shards are not written to their end"):
        finish_load(one, rejects_name="rejects", seconds=1)
    table.fail_after = None
    seen: list[tuple[int, int]] = []
    write_planned_shard(table, one, 0, progress=lambda written, total: seen.append((written, total)))
    report = finish_load(one, rejects_name="rejects", seconds=1)
    assert table.items == winners(data)
    assert report.written == len(table.items)
    # The clock ticks at each look, so each batch is a checkpoint: nothing known to be written is written again.
    assert table.puts < 600 + 60
    assert seen[0][0] > 250
    assert seen[-1] == (report.written, report.written)


def test_steps_out_of_order_are_clear_errors(tmp_path: Path) -> None:
    one = job(tmp_path, nasty(50))
    with pytest.raises(CheckpointMissingError, match=r"has no file\.json"):
        survey_planned_shard(one, 0)
    count = plan_load(Table(), one, shard_bytes=100)
    assert count > 2
    survey_planned_shard(one, 0)
    with pytest.raises(CheckpointMissingError, match=r"has no shards/00001/survey\.json"):
        decide_load(one, rejects=io.BytesIO(), rejects_name="rejects")
    with pytest.raises(CheckpointMissingError, match=r"has no decision\.json"):
        write_planned_shard(Table(), one, 0)


def test_a_file_that_changed_since_it_was_planned(tmp_path: Path) -> None:
    data = nasty(200)
    one = job(tmp_path, data)
    plan_load(Table(), one, shard_bytes=500)
    changed = job(tmp_path, data[:2000] + b"!" + data[2001:])
    count = len(one.layout().shards)
    broken = []
    for index in range(count):
        try:
            survey_planned_shard(changed, index)
        except SourceChangedError:
            broken.append(index)
    assert len(broken) == 1
    # What was found out about the changed shard is not kept.
    survey_planned_shard(one, broken[0])
    decide_load(one, rejects=io.BytesIO(), rejects_name="rejects")
    with pytest.raises(SourceChangedError):
        write_planned_shard(Table(), changed, broken[0])


def test_a_table_made_anew_in_between_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    table = Table()
    one = job(tmp_path, nasty(50))
    plan_load(table, one, shard_bytes=10**6)
    survey_planned_shard(one, 0)
    decide_load(one, rejects=io.BytesIO(), rejects_name="rejects")
    table.id = "table-2"
    with pytest.raises(CheckpointMismatchError, match="table was made anew"):
        write_planned_shard(table, one, 0)


def test_too_many_rejects_write_nothing(tmp_path: Path) -> None:
    one = job(tmp_path, nasty(50) + b"bad\n" * 20, settings=LoadSettings(max_reject_ratio=0.1))
    for index in range(plan_load(Table(), one, shard_bytes=200)):
        survey_planned_shard(one, index)
    rejects = io.BytesIO()
    with pytest.raises(TooManyRejectsError):
        decide_load(one, rejects=rejects, rejects_name="rejects")
    assert rejects.getvalue().count(b"\n") == 20


def test_a_share_of_a_capacity_that_is_not_provisioned(tmp_path: Path) -> None:
    one = job(tmp_path, nasty(50), settings=LoadSettings(capacity_share=0.5))
    with pytest.raises(CapacityUnknownError, match="billed per request"):
        run(Table(), one, shard_bytes=10**6, order=random.Random(0))


def test_a_share_of_the_provisioned_capacity_is_kept_to(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    class Metered(Table):
        def batch_write_item(self, **request: Any) -> Any:
            before = self.puts
            answer = super().batch_write_item(**request)
            return {**answer, "ConsumedCapacity": [{"CapacityUnits": float(self.puts - before)}]}

    one = job(
        tmp_path,
        nasty(1000),
        settings=LoadSettings(workers=1, capacity_share=0.25),
        effects=Effects(clock=lambda: now[0], sleep=sleep),
    )
    report = run(Metered(billing=200), one, shard_bytes=10**6, order=random.Random(0))
    assert now[0] == pytest.approx(report.written / 50, abs=1)


def test_shards_are_read_from_s3_by_ranges(tmp_path: Path) -> None:
    data = nasty(2000)
    ranges: list[str] = []
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="orders.csv", Body=data)
        client.meta.events.register(
            "before-call.s3.GetObject", lambda params, **_: ranges.append(params["headers"]["Range"])
        )
        source = s3_source(client, "bucket", "orders.csv", range_bytes=4000)
        one = job(tmp_path, data, open_source=source)
        table = Table()
        count = plan_load(table, one, shard_bytes=5000)
        assert count > 3
        ranges.clear()
        survey_planned_shard(one, count - 1)
        assert (
            ranges[0]
            == f"bytes={one.layout().shards[-1].start}-{min(one.layout().shards[-1].start + 3999, len(data) - 1)}"
        )
        report = run(table, one, shard_bytes=5000, order=random.Random(2))
    assert table.items == winners(data)
    assert report.written == len(table.items)


@pytest.mark.parametrize(
    ("name", "count"), [("crlf", 2), ("bom", 16), ("stray", 257), ("all quoted", 257), ("crlf", 1000)]
)
def test_shards_read_by_ranges_hold_what_one_pass_finds(name: str, count: int) -> None:
    data = CORPUS[name]
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="orders.csv", Body=data)
        source = s3_source(client, "bucket", "orders.csv")
        with closing(source()) as stream:
            layout = cut_shards(stream, SCHEMA, source_name="file", shard_bytes=1, max_shards=count)
        rows = []
        for shard in layout.shards:
            with closing(source()) as stream:
                stream.seek(shard.start)
                feed = Feed(stream, length=shard.end - shard.start, used_up=len)
                for found in CsvBlocks(feed, ",", next_line=shard.first_line):
                    rows += listed(found)
    assert count / 3 < len(layout.shards) <= count
    assert rows == one_pass(data)


def test_the_schema_is_part_of_what_a_checkpoint_belongs_to(tmp_path: Path) -> None:
    one = job(tmp_path, nasty(50))
    plan_load(Table(), one, shard_bytes=10**6)
    other: TableSchema = SCHEMA.model_copy(update={"empty_values": "omit"})
    with pytest.raises(CheckpointMismatchError):
        plan_load(Table(), job(tmp_path, nasty(50), schema=other), shard_bytes=10**6)
