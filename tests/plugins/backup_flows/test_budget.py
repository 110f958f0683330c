"""The month's spending, and drills that meet at the edge of its limit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from backup_flows.budget import Drilled, OverBudgetError, month_of, note_spending, reserve, spending
from local_aws import mock_aws

pytestmark = pytest.mark.component

BUCKET = "state"
MONTH = "2026-11"


def drilled(drill_id: str = "0a1b2c3d", table: str = "orders") -> Drilled:
    return Drilled(table, "2026-11-02", drill_id)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def take(s3: Any, usd: float, limit: float | None, *, of: Drilled | None = None, month: str = MONTH) -> float | None:
    return reserve(s3, BUCKET, month, of or drilled(), usd, limit=limit, details={"total_usd": usd})


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        ("2026-11-30T23:59:59+00:00", "2026-11"),
        ("2026-12-01T00:00:00+00:00", "2026-12"),
        ("2026-12-01T00:30:00+02:00", "2026-11"),
    ],
)
def test_the_month_is_that_of_utc(moment: str, month: str) -> None:
    assert month_of(dt.datetime.fromisoformat(moment)) == month


def test_a_drill_counts_as_expected_until_it_is_over_and_then_as_what_it_did_cost(s3: Any) -> None:
    take(s3, 2.0, None)
    assert spending(s3, BUCKET, MONTH) == 2.0
    note_spending(s3, BUCKET, MONTH, drilled(), "actual", 0.25, {})
    assert spending(s3, BUCKET, MONTH) == 0.25
    take(s3, 1.0, None, of=drilled(table="stock"))
    assert spending(s3, BUCKET, MONTH) == 1.25
    assert spending(s3, BUCKET, MONTH, besides=drilled()) == 1.0
    assert spending(s3, BUCKET, "2026-12") == 0.0


def test_a_month_of_more_drills_than_a_page_lists_is_summed_whole(s3: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: take(s3, 0.000001, None, of=drilled(f"{n:08x}")), range(1100)))
    assert spending(s3, BUCKET, MONTH) == pytest.approx(0.0011)


def test_exactly_the_limit_is_allowed_and_a_millionth_more_is_not(s3: Any) -> None:
    assert take(s3, 0.7, 1.0) == 0.0
    assert take(s3, 0.3, 1.0, of=drilled("second")) == pytest.approx(0.7)
    with pytest.raises(OverBudgetError):
        take(s3, 0.000001, 1.0, of=drilled("third"))


def test_a_refused_drill_is_told_why_and_leaves_no_reservation(s3: Any) -> None:
    take(s3, 49.8, 50)
    with pytest.raises(OverBudgetError) as refused:
        take(s3, 0.3, 50, of=drilled("other"))
    assert str(refused.value).startswith(
        "the drill of table orders is expected to cost 0.3000 $, and the drills of 2026-11 come to 49.8000 $: more "
        "than the 50.00 $ that budget.monthly_usd allows in include/protection.yaml. Nothing was restored."
    )
    assert spending(s3, BUCKET, MONTH) == pytest.approx(49.8)
    assert take(s3, 0.3, 60, of=drilled("other")) == pytest.approx(49.8)


def test_a_check_that_is_tried_again_does_not_count_itself(s3: Any) -> None:
    assert take(s3, 0.8, 1.0) == 0.0
    assert take(s3, 0.8, 1.0) == 0.0


@pytest.mark.parametrize("second", [6.0, 7.0, 5.0])
def test_a_check_that_is_refused_when_tried_again_leaves_what_it_reserved_before(s3: Any, second: float) -> None:
    """The first try was let go, and its restore is paid for; another drill cost more than expected meanwhile."""
    take(s3, 6.0, 10)
    take(s3, 4.0, 10, of=drilled("other"))
    note_spending(s3, BUCKET, MONTH, drilled("other"), "actual", 9.5, {})
    with pytest.raises(OverBudgetError):
        take(s3, second, 10)
    assert spending(s3, BUCKET, MONTH) == 15.5
    assert spending(s3, BUCKET, MONTH, besides=drilled("other")) == 6.0


def test_a_limit_of_nothing_stops_every_drill_that_costs_something(s3: Any) -> None:
    with pytest.raises(OverBudgetError):
        take(s3, 0.000001, 0)
    assert take(s3, 0.0, 0) == 0.0


def test_another_month_pays_for_itself(s3: Any) -> None:
    take(s3, 1.0, 1.0)
    assert take(s3, 1.0, 1.0, month="2026-12") == 0.0


def test_drills_that_start_side_by_side_never_pass_the_limit_together(s3: Any) -> None:
    def start(number: int) -> bool:
        try:
            take(s3, 1.0, 5.0, of=drilled(f"{number:08x}"))
        except OverBudgetError:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        started = list(pool.map(start, range(20)))
    assert sum(started) <= 5
    assert spending(s3, BUCKET, MONTH) == sum(started)


def test_other_objects_in_the_month_do_not_count(s3: Any) -> None:
    for name in ("note.txt", "orders/2026-11-02-x/estimated-one.json", "orders/2026-11-02-x/estimated-5.txt"):
        s3.put_object(Bucket=BUCKET, Key=f"spending/{MONTH}/{name}", Body=b"")
    assert spending(s3, BUCKET, MONTH) == 0.0
