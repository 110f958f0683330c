"""What a drill costs by a price file, and price files that can't be used."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from restore_proof.costs import GB, Cost, Work, cost_of, work_from_dict, work_to_dict
from restore_proof.prices import PRICE_FILE, PriceFileError, Prices, parse_prices, read_prices

ROOT = Path(__file__).resolve().parents[3]
UNITS = {
    "restore_warm_gb": 0.15,
    "restore_cold_gb": 0.20,
    "restore_test": 1.50,
    "backup_warm_gb_month": 0.10,
    "backup_cold_gb_month": 0.03,
    "read_million": 0.125,
    "table_gb_month": 0.25,
    "read_capacity_hour": 0.00013,
    "write_capacity_hour": 0.00065,
    "s3_put_thousand": 0.005,
    "s3_get_thousand": 0.0004,
}


def prices(**changes: Any) -> Prices:
    document = {"version": 1, "region": "us-east-1", "checked_on": dt.date(2026, 11, 1), "prices": UNITS}
    return parse_prices(document | changes)


def parts(cost: Cost) -> dict[str, float]:
    return {part.name: round(part.usd, 9) for part in cost.parts}


def test_a_drill_costs_its_gb_its_reads_its_table_and_its_requests() -> None:
    work = Work(restored_bytes=200 * GB, read_units=52_428_800, table_hours=3, s3_puts=2000, s3_gets=10_000)
    cost = cost_of(work, prices(), region="us-east-1")
    assert parts(cost) == {
        "restore": 30.0,
        "reading": 6.5536,
        "restored table": round(200 * 3 / 720 * 0.25, 9),
        "S3 writes": 0.01,
        "S3 reads": 0.004,
    }
    assert cost.usd == pytest.approx(30 + 6.5536 + 0.208333333 + 0.014)
    assert cost.to_dict()["total_usd"] == round(cost.usd, 6)
    assert not cost.remarks


def test_cold_storage_has_its_own_price() -> None:
    assert parts(cost_of(Work(restored_bytes=10 * GB, from_cold=True), prices()))["restore"] == 2.0


def test_provisioned_capacity_is_paid_by_the_hour_begun_and_not_by_the_request() -> None:
    work = Work(restored_bytes=GB, read_units=1e9, table_hours=1.2, read_capacity=100, write_capacity=10)
    found = parts(cost_of(work, prices()))
    assert found["read capacity"] == round(100 * 2 * 0.00013, 9)
    assert found["write capacity"] == round(10 * 2 * 0.00065, 9)
    assert "reading" not in found


def test_aws_asks_for_its_own_restore_tests() -> None:
    assert parts(cost_of(Work(restored_bytes=0, restore_tests=1), prices()))["restore testing"] == 1.5


@pytest.mark.parametrize(
    ("work", "changes", "region", "remark"),
    [
        (Work(restored_bytes=None), {}, "us-east-1", "How much is restored is not known"),
        (Work(restored_bytes=1), {"checked_on": None}, "us-east-1", "example prices that nobody has checked"),
        (Work(restored_bytes=1), {}, "eu-west-1", "The prices are those of us-east-1; the table is in eu-west-1."),
        (Work(restored_bytes=1, remarks=("Because.",)), {}, None, "Because."),
    ],
)
def test_what_a_reader_has_to_know_is_said(work: Work, changes: dict[str, Any], region: str, remark: str) -> None:
    (found,) = cost_of(work, prices(**changes), region=region).remarks
    assert remark in found


def test_work_survives_being_stored() -> None:
    work = Work(restored_bytes=7, from_cold=True, read_units=1.5, read_capacity=3, remarks=("Because.",))
    assert work_from_dict(work_to_dict(work)) == work


class TestPriceFile:
    def test_the_shipped_one_is_good_and_says_that_nobody_checked_it(self) -> None:
        shipped = read_prices(ROOT / PRICE_FILE)
        assert shipped.checked_on is None
        assert all(source.startswith("https://aws.amazon.com/") for source in shipped.sources)
        assert parse_prices(shipped.model_dump(mode="json")) == shipped

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"restore_warm_gb": -1}, "prices.restore_warm_gb: Input should be greater than or equal to 0"),
            ({"restore_warm_gb": "cheap"}, "prices.restore_warm_gb: Input should be a valid number"),
            ({"read_million": float("inf")}, "prices.read_million: Input should be a finite number"),
            ({"restoration": 1}, "prices.restoration: Extra inputs are not permitted"),
        ],
    )
    def test_a_wrong_price_is_named(self, tmp_path: Path, change: dict[str, Any], told: str) -> None:
        path = tmp_path / "prices.yaml"
        path.write_text(yaml.safe_dump({"version": 1, "region": "us-east-1", "prices": UNITS | change}))
        with pytest.raises(PriceFileError) as failed:
            read_prices(path)
        assert f"{path}: {told}" in str(failed.value)
        assert "Remedy:" in str(failed.value)

    def test_a_price_that_is_missing_is_named(self) -> None:
        with pytest.raises(PriceFileError, match=r"prices\.read_million: Field required"):
            parse_prices(
                {"region": "us-east-1", "prices": {name: 1 for name in UNITS if name != "read_million"}}, "file"
            )

    @pytest.mark.parametrize("content", [b"", b"- 1", b"a: [", b"\xff"])
    def test_what_is_no_price_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "prices.yaml"
        path.write_bytes(content)
        with pytest.raises(PriceFileError, match=str(path)):
            read_prices(path)

    def test_a_missing_one_is_named_with_the_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(PriceFileError, match=r"Remedy: provide include/prices\.yaml"):
            read_prices(tmp_path / "none.yaml")
