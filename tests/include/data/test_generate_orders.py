import csv
import io
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from data.generate_orders import (
    COLUMNS,
    DEFAULT_SEED,
    OrderRow,
    generate_rows,
    main,
    to_csv,
    write_daily,
)
from dynamodb_bulk.csv_rows import Row, read_rows
from dynamodb_bulk.schema import load_schema

DATA = Path(__file__).parents[3] / "include" / "data"
DAY = date(2026, 11, 1)


def keys(rows: list[OrderRow]) -> set[tuple[str, str]]:
    return {(row.order_id, row.item_id) for row in rows}


def test_the_committed_file_is_what_the_generator_makes() -> None:
    assert (DATA / "order_data.csv").read_bytes() == to_csv(generate_rows(DAY, seed=7, orders=1000))


def test_the_committed_file_is_a_plausible_shop() -> None:
    rows = generate_rows(DAY, seed=7, orders=1000)
    orders = {row.order_id for row in rows}
    assert 980 <= len(orders) <= 1000
    assert 2200 <= len(rows) <= 2800
    assert len(keys(rows)) == len(rows)
    assert any(len([row for row in rows if row.order_id == order]) >= 4 for order in list(orders)[:50])
    products = {row.product for row in rows}
    assert any("," in product for product in products)
    assert any('"' in product for product in products)
    assert any(not product.isascii() for product in products)
    assert {"-" in row.transaction_date[:3] for row in rows} == {True, False}


@pytest.mark.parametrize("orders", [1, 7, 200])
def test_every_row_loads_by_the_schema(orders: int) -> None:
    rows = generate_rows(DAY, orders=orders)
    found = list(read_rows(io.BytesIO(to_csv(rows)), load_schema(DATA / "orders_schema.yaml"), "orders.csv"))
    assert all(isinstance(row, Row) for row in found)
    assert len(found) == len(rows) >= orders * 0.85
    assert all(row.item["transaction_date_iso"]["S"] == "2026-11-01" for row in found if isinstance(row, Row))


def test_the_file_reads_back_as_it_was() -> None:
    rows = generate_rows(DAY)
    header, *read = csv.reader(io.StringIO(to_csv(rows).decode("utf-8"), newline=""))
    assert tuple(header) == COLUMNS == OrderRow._fields
    assert [OrderRow(*row) for row in read] == rows


def test_each_day_and_each_seed_has_rows_of_its_own() -> None:
    first, second, other = generate_rows(DAY), generate_rows(DAY + timedelta(days=1)), generate_rows(DAY, seed=8)
    assert not set(first) & set(second)
    assert set(first) != set(other)
    assert generate_rows(DAY) == first


def test_later_days_change_items_of_earlier_ones() -> None:
    period = [generate_rows(DAY + timedelta(days=offset)) for offset in range(10)]
    amounts = {(row.order_id, row.item_id): row.amount for rows in period[:-1] for row in rows}
    again = [row for row in period[-1] if (row.order_id, row.item_id) in amounts]
    assert len(again) >= 20
    assert all(row.amount != amounts[row.order_id, row.item_id] for row in again)
    assert len(keys(period[-1]) - set(amounts)) >= 200


def test_daily_files_change_items_of_the_committed_file() -> None:
    committed = {(row.order_id, row.item_id): row.amount for row in generate_rows(DAY, seed=7, orders=1000)}
    next_day = generate_rows(DAY + timedelta(days=1), seed=DEFAULT_SEED)
    changed = [row for row in next_day if (row.order_id, row.item_id) in committed]
    assert changed
    assert all(row.amount != committed[row.order_id, row.item_id] for row in changed)


def test_daily_files_are_left_alone_unless_forced(tmp_path: Path) -> None:
    last = DAY + timedelta(days=2)
    written, kept = write_daily(DAY, last, tmp_path, seed=7, orders=5)
    assert [path.name for path in written] == [f"order_data_2026-11-0{number}.csv" for number in (1, 2, 3)]
    assert kept == []
    original = written[1].read_bytes()
    written[1].write_bytes(b"mine")
    (tmp_path / "order_data_2026-11-03.csv").unlink()
    written_again, kept = write_daily(DAY, last, tmp_path, seed=7, orders=5)
    assert [path.name for path in written_again] == ["order_data_2026-11-03.csv"]
    assert written[1].read_bytes() == b"mine"
    write_daily(DAY, last, tmp_path, seed=7, orders=5, force=True)
    assert written[1].read_bytes() == original
    assert len(list(tmp_path.iterdir())) == 3


def test_a_period_that_ends_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="swap --from and --to"):
        write_daily(DAY, DAY - timedelta(days=1), tmp_path, seed=7, orders=5)


def test_a_file_without_orders_is_refused() -> None:
    with pytest.raises(ValueError, match="orders is 0; it must be 1 or more"):
        generate_rows(DAY, orders=0)


def test_the_command_line(tmp_path: Path) -> None:
    script = str(DATA / "generate_orders.py")
    command = [sys.executable, "-I", script, "--seed", "7", "--orders", "9", "--date", "2026-11-01"]
    subprocess.run([*command, "--out", str(tmp_path / "one.csv")], check=True, capture_output=True)
    assert (tmp_path / "one.csv").read_bytes() == to_csv(generate_rows(DAY, seed=7, orders=9))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--daily"], "--daily needs --from, --to and --out-dir"),
        ([], "one file needs --date and --out"),
        (["--date", "2026-11-31", "--out", "x"], "invalid fromisoformat value"),
        (["--date", "2026-11-01", "--out", "x", "--orders", "0"], "it must be 1 or more"),
        (["--daily", "--from", "2026-11-02", "--to", "2026-11-01", "--out-dir", "x"], "swap --from and --to"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_daily_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    period = ["--daily", "--from", "2026-11-01", "--to", "2026-11-03", "--orders", "3", "--out-dir", str(tmp_path)]
    assert main(period) == 0
    assert "3 files written, 0 left alone" in capsys.readouterr().out
    assert main(period) == 0
    assert "0 files written, 3 left alone" in capsys.readouterr().out
