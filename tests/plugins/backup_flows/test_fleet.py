from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from backup_flows.fleet import (
    MAX_SHARDS,
    FleetTable,
    Period,
    Summary,
    TablesFailedError,
    UnprotectedTablesError,
    choose,
    each,
    recovery_point_of,
    spread,
    summarise,
)
from backup_flows.protection import Protection, Table

UTC = dt.UTC
DAY = dt.timedelta(days=1)
NOON = dt.datetime(2026, 11, 2, 12, tzinfo=UTC)
PERIOD = Period(
    dt.datetime(2026, 11, 1, 2, tzinfo=UTC),
    dt.datetime(2026, 11, 2, 2, tzinfo=UTC),
    dt.datetime(2026, 11, 3, 2, tzinfo=UTC),
)


def fleet_table(name: str, size: int = 0) -> FleetTable:
    return FleetTable(name, f"arn:{name}", "vault", "daily", {"DeleteAfterDays": 35}, 60, 120, size)


class TestSpread:
    @pytest.mark.parametrize("count", [0, 1, 8, 9, 100, 1000, 20_000])
    def test_each_table_is_in_one_shard_and_there_are_never_too_many(self, count: int):
        shards = spread([fleet_table(f"t{n}", n * 1000) for n in range(count)])
        assert sorted(name for shard in shards for name in shard) == sorted(f"t{n}" for n in range(count))
        assert len(shards) <= MAX_SHARDS
        assert all(shards)

    def test_a_giant_is_alone_while_the_small_share(self):
        shards = spread([fleet_table("giant", 10**12), *[fleet_table(f"t{n}", 10**6) for n in range(31)]])
        assert [shard for shard in shards if "giant" in shard] == [["giant"]]

    def test_the_same_tables_are_spread_the_same_way(self):
        tables = [fleet_table(f"t{n}", n % 7) for n in range(50)]
        assert spread(tables) == spread(tables[::-1])


class TestPeriod:
    @pytest.mark.parametrize(
        ("now", "past"),
        [(PERIOD.due, False), (PERIOD.until - dt.timedelta(seconds=1), False), (PERIOD.until, True)],
        ids=["when it is due", "before the next", "at the next"],
    )
    def test_it_is_past_once_the_next_run_is_due(self, now: dt.datetime, past: bool):
        run = SimpleNamespace(logical_date=PERIOD.start, data_interval_start=PERIOD.start, data_interval_end=PERIOD.due)
        period = Period.of({"dag_run": run}, length=DAY, now=now)
        assert period == PERIOD
        assert period.is_past(now) is past

    @pytest.mark.parametrize("interval", [(None, None), (NOON, NOON)], ids=["none", "empty"])
    def test_a_run_without_one_stands_for_the_time_before_now(self, interval: Any):
        run = SimpleNamespace(logical_date=None, data_interval_start=interval[0], data_interval_end=interval[1])
        period = Period.of({"dag_run": run}, length=DAY, now=NOON)
        assert (period.start, period.due) == (NOON - DAY, NOON)
        assert not period.is_past(NOON)


class TestChoose:
    @pytest.fixture
    def protected(self) -> Any:
        protection = Protection.model_validate(
            {
                "version": 1,
                "tiers": {"weekly": {"schedule": "cron(0 5 ? * SUN *)"}},
                "tables": [
                    {"name": "orders", "tier": "daily"},
                    {"name": "customers", "tier": "weekly"},
                    {"name": "stock", "tier": "12-hourly"},
                ],
            }
        )
        return protection.select(Table(name, f"arn:{name}", {}) for name in ("orders", "customers", "stock"))

    @pytest.mark.parametrize(
        ("which", "names", "chosen"),
        [
            ("all", [], ["customers", "orders", "stock"]),
            ("daily", [], ["orders"]),
            ("monthly", [], []),
            ("due", [], ["customers", "orders", "stock"]),
            ("due", ["customers"], ["customers"]),
        ],
    )
    def test_by_word_tier_and_name(self, protected: Any, which: str, names: list[str], chosen: list[str]):
        # 2026-11-01 is a Sunday.
        found = choose(protected, which=which, names=names, period=PERIOD)
        assert [table.name for table in found] == chosen

    def test_what_is_not_due_is_left_out(self, protected: Any):
        tuesday = Period(PERIOD.start + 2 * DAY, PERIOD.due + 2 * DAY, PERIOD.until + 2 * DAY)
        found = choose(protected, which="due", names=[], period=tuesday)
        assert [table.name for table in found] == ["orders", "stock"]

    def test_a_table_that_is_not_protected_is_named_with_the_remedy(self, protected: Any):
        with pytest.raises(UnprotectedTablesError, match=r"invoices.*protection\.yaml.*customers, orders, stock"):
            choose(protected, which="all", names=["orders", "invoices"], period=PERIOD)


@pytest.mark.parametrize(
    ("points", "found"),
    [
        ([], None),
        ([(PERIOD.due, "COMPLETED")], PERIOD.due),
        ([(PERIOD.until, "COMPLETED"), (PERIOD.due - dt.timedelta(seconds=1), "COMPLETED")], None),
        ([(PERIOD.due + DAY / 2, "AVAILABLE"), (PERIOD.due + DAY / 4, "COMPLETED")], PERIOD.due + DAY / 4),
        ([(PERIOD.due, "EXPIRED"), (PERIOD.due, "PARTIAL"), (PERIOD.due, "DELETING")], None),
    ],
    ids=["none", "when due", "of other dates", "the first", "not usable"],
)
def test_the_recovery_point_of_a_date_is_the_first_usable_one_made_while_it_was_due(points: Any, found: Any):
    answers = [{"CreationDate": made, "Status": status} for made, status in points]
    point = recovery_point_of(answers, PERIOD)
    assert (point and point["CreationDate"]) == found


def test_what_fails_for_one_table_is_kept_and_the_others_go_on():
    def do(name: str) -> dict[str, Any]:
        if name == "b":
            raise ValueError("b is broken")
        return {"ok": name}

    assert each(["a", "b", "c"], do, what="test") == {
        "a": {"ok": "a"},
        "b": {"error": "b is broken", "error_type": "ValueError"},
        "c": {"ok": "c"},
    }


class TestSummary:
    def test_each_table_is_told_by_the_first_thing_that_went_wrong(self):
        summary = summarise(
            ["busy", "unread", "unstarted", "expired", "unbound", "good", "lost"],
            leases={"busy": {"error": "in use"}, "good": {"fence": 1}},
            before={"unread": {"error": "no rights"}, "good": {"prefix": "p"}},
            jobs={"unstarted": {"error": "no vault"}, "good": {"job_id": "1"}},
            ended={"expired": {"error": "ended EXPIRED"}, "good": {"state": "COMPLETED"}},
            bound={
                "unbound": {"error": "too late"},
                "good": {"drifting": False, "fingerprint_seconds": 2.5, "job_seconds": 60.0},
            },
        )
        assert summary.failed == {
            "busy": "in use",
            "unread": "no rights",
            "unstarted": "no vault",
            "expired": "ended EXPIRED",
            "unbound": "too late",
            "lost": "the run ended before it was done",
        }
        assert list(summary.done) == ["good"]
        assert summary.figures == {"fingerprint_seconds": 2.5, "longest_job_seconds": 60.0}
        with pytest.raises(TablesFailedError, match=r"(?s)6 of 7 tables.*s3://x.*busy: in use.*expired: ended EXPIRED"):
            summary.raise_if_failed("s3://x")

    def test_all_good_fails_nobody(self):
        Summary(done={"a": {}}).raise_if_failed("s3://x")

    def test_a_thousand_failures_are_named_up_to_a_readable_number(self):
        with pytest.raises(TablesFailedError, match=r"(?s)1000 of 1000.*\.\.\. and 900 more") as failed:
            Summary(failed={f"t{n:04}": "no" for n in range(1000)}).raise_if_failed("s3://x")
        assert str(failed.value).count("\n") == 101
