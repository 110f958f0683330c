"""The benchmarks' made tables and files are what the benchmarks take them for."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def made_data(module_of: Callable[[str], ModuleType]) -> Any:
    return module_of("made_data")


@pytest.fixture
def null_server(module_of: Callable[[str], ModuleType]) -> Any:
    return module_of("null_server")


def content(made_data: Any, name: str) -> dict[int, str]:
    table = made_data.MadeTable(name)
    return {index: table.item(index) for index in range(table.end) if table.has(index)}


@pytest.mark.parametrize(("items", "differences"), [(1000, 100), (100, 100), (50, 7), (10, 1)])
def test_two_made_tables_differ_in_just_so_many_items(made_data: Any, items: int, differences: int) -> None:
    left = content(made_data, made_data.table_name(items))
    right = content(made_data, made_data.table_name(items, differences))
    found = [index for index in left.keys() | right.keys() if left.get(index) != right.get(index)]
    assert len(left) == items
    assert len(found) == differences


@pytest.mark.parametrize(("items", "segments", "limit"), [(0, 1, 0), (10, 4, 0), (9_000, 1, 0), (500, 3, 7)])
def test_a_scan_of_the_null_server_returns_every_item_once(
    made_data: Any, null_server: Any, items: int, segments: int, limit: int
) -> None:
    name = made_data.table_name(items, items // 10)
    found: list[str] = []
    pages = 0
    for segment in range(segments):
        start: dict[str, Any] | None = {}
        while start is not None:
            asked = {"TableName": name, "TotalSegments": segments, "Segment": segment, **start}
            answer = json.loads(null_server.scan({**asked, "Limit": limit} if limit else asked))
            found += [item["order_id"]["S"] for item in answer["Items"]]
            assert answer["Count"] == len(answer["Items"])
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]} if "LastEvaluatedKey" in answer else None
            pages += 1
    assert sorted(found) == [f"o-{index:08d}" for index in content(made_data, name)]
    if items == 9_000:
        assert pages > 1


def batch(count: int) -> bytes:
    puts = [{"PutRequest": {"Item": {"order_id": {"S": str(number)}}}} for number in range(count)]
    return json.dumps({"RequestItems": {"bench-0-0": puts}}).encode()


@pytest.mark.parametrize(
    ("mode", "status", "refused"),
    [("accept", 200, 0), ("unprocessed", 200, 15), ("dead", 200, 25), ("throttle", 400, 0)],
)
def test_each_mood_of_the_null_server_takes_what_it_says(
    null_server: Any, mode: str, status: int, refused: int
) -> None:
    mood = null_server.Mood()
    mood.set({"mode": mode, "rate": 10})
    answered, body = mood.batch_write(batch(25))
    answer = json.loads(body)
    assert answered == status
    assert len(answer.get("UnprocessedItems", {}).get("bench-0-0", [])) == refused
    accepted = 0 if status == 400 else 25 - refused
    assert mood.counts == {"requests": 1, "offered": 25, "accepted": accepted, "scans": 0}


def test_the_made_csv_has_the_rows_of_distinct_keys(made_data: Any, tmp_path: Path) -> None:
    made_data.write_csv(tmp_path / "made.csv", 300)
    with (tmp_path / "made.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["order_id"], row["item_id"]) for row in rows}) == 300
    assert tuple(rows[0]) == made_data.COLUMNS


def test_the_mixed_csv_has_keys_that_come_again_and_rows_that_are_no_items(made_data: Any, tmp_path: Path) -> None:
    count = made_data.write_mixed_csv(tmp_path / "mixed.csv", 500)
    with (tmp_path / "mixed.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    items = [item for row in rows if (item := made_data.mixed_item(row)) is not None]
    keys = {(item["order_id"]["S"], Decimal(item["item_id"]["N"])) for item in items}
    assert len(rows) == 500 > len(items) > len(keys) == count
    assert any("notes" not in item for item in items)
    assert any(item["product"]["S"] == "" for item in items)


def test_nasty_files_hold_the_same_rows_whatever_their_line_ends(made_data: Any) -> None:
    files = dict(made_data.nasty_files(200))
    read = {name: list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))) for name, data in files.items()}
    quoted = {name: rows for name, rows in read.items() if name != "nothing quoted"}
    assert len(quoted) == 5
    assert all(rows == quoted["quoted newlines, LF"] for rows in quoted.values())
    assert all(len(rows) == 201 for rows in read.values())
