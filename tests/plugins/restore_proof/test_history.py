"""The history of drills: what a record keeps, and the series that records come to."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from restore_proof.evidence import Drill, Phase
from restore_proof.history import (
    COLUMNS,
    HistoryFormatError,
    Record,
    Surroundings,
    Targets,
    make_record,
    series,
)
from restore_proof.verdict import Depth, Result, Subject, Verdict

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:1"


def phase(name: str, start: float, seconds: float) -> Phase:
    began = NOW + dt.timedelta(seconds=start)
    return Phase(name, began, began + dt.timedelta(seconds=seconds))


def record_of(
    result: Result = Result.PROVEN,
    *,
    around: Surroundings | None = None,
    phases: tuple[Phase, ...] = (phase("backup", -3600, 100), phase("restore", -600, 200.5), phase("proof", -50, 50)),
    created_at: str | None = (NOW - HOUR).isoformat(),
) -> Record:
    subject = Subject(ARN, "orders", "orders-restored", "2026-11-03", "restore_drill/r")
    verdict = Verdict(subject, result, Depth.FULL, ("So.",), NOW, {"compared": 1}, "s3://b/report.html")
    backup = {"created_at": created_at} if created_at else {}
    drill = Drill("0a1b2c3d", "admin", backup, {"job_id": "r"}, phases, {})
    return make_record(verdict, drill, around or Surroundings())


def point(day: int, *, proven: bool = True, made: int | None = None, **changes: Any) -> Record:
    """A drill decided at noon of a day, of a point made at noon of another."""
    values: dict[str, Any] = {
        "table": "orders",
        "as_of": f"2026-11-{day:02}",
        "drill_id": "0a1b2c3d",
        "run": "restore_drill/r",
        "recovery_point_arn": ARN,
        "label": "PROVEN" if proven else "FAILED",
        "proven": proven,
        "decided_at": dt.datetime(2026, 11, day, 12, tzinfo=dt.UTC),
        "backed_up_at": dt.datetime(2026, 11, day if made is None else made, 12, tzinfo=dt.UTC),
    }
    return Record(**values | changes)


def test_a_record_keeps_every_part_and_what_was_true_at_its_moment() -> None:
    around = Surroundings(
        targets=Targets(rpo=27 * HOUR, rto=4 * HOUR),
        newest_usable_at=NOW - 3 * HOUR,
        looked_at=NOW - HOUR,
        estimate={"total_usd": 0.5},
        cost={"total_usd": 0.25},
    )
    record = record_of(around=around)
    assert record.seconds == {"backup": 100, "restore": 200.5, "proof": 50}
    assert record.rto == 200.5
    assert record.point_age == 3600
    assert record.usable_age == 7200
    assert (record.rpo_target, record.rto_target) == (27 * 3600, 4 * 3600)
    assert (record.estimated_usd, record.actual_usd) == (0.5, 0.25)
    assert record.report == "s3://b/report.html"


def test_re_applying_settings_is_part_of_the_rto_and_proving_is_not() -> None:
    phases = (
        phase("restore", -600, 200),
        phase("settings", -400, 20),
        phase("settings", -380, 5),
        phase("proof", 0, 9),
    )
    record = record_of(phases=phases)
    assert record.seconds["settings"] == 25
    assert record.rto == 225


@pytest.mark.parametrize("result", [Result.FAILED, Result.UNPROVEN])
def test_what_was_not_proven_right_has_no_rto(result: Result) -> None:
    record = record_of(result)
    assert record.seconds["restore"] == 200.5
    assert record.rto is None


def test_a_drill_that_never_restored_has_a_record_too() -> None:
    record = record_of(Result.FAILED, phases=(), created_at=None)
    assert (record.rto, record.point_age, record.seconds) == (None, None, {})
    assert Record.from_json(record.to_json()) == record


def test_records_survive_being_stored() -> None:
    around = Surroundings(targets=Targets(27 * HOUR, HOUR), estimate={"total_usd": 0.5}, restore_job_id="r")
    record = record_of(around=around)
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'"x"', b'{"format": "restore-history", "version": 2}', b'{"format": "other", "version": 1}'],
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(HistoryFormatError):
        Record.from_json(content)


def test_a_record_that_lacks_something_is_refused() -> None:
    document = json.loads(record_of().to_json())
    del document["rpo"]
    with pytest.raises(HistoryFormatError, match="rpo"):
        Record.from_json(json.dumps(document).encode())


def test_the_series_tells_the_age_of_the_newest_proven_point_at_each_moment() -> None:
    day = 86400.0
    rows = series(
        [
            point(9, proven=False),  # made on the 9th, and wrong: the one of the 5th is still the newest proven
            point(5),
            point(7, made=2),  # a backfilled date: an older point than the one that was proven on the 5th
            point(2, proven=False),
        ]
    )
    assert [row["as_of"][-2:] for row in rows] == ["02", "05", "07", "09"]
    assert [row["rpo_proven_seconds"] for row in rows] == [None, 0.0, 2 * day, 4 * day]


def test_tables_do_not_vouch_for_each_other() -> None:
    rows = series([point(2), point(3, proven=False, table="stock")])
    assert [row["rpo_proven_seconds"] for row in rows] == [0.0, None]


@pytest.mark.parametrize(
    ("values", "met"),
    [
        ({"rpo_target": 3600.0, "usable_age": 3600.0}, {"rpo_usable_met": True, "rpo_proven_met": True}),
        ({"rpo_target": 3600.0, "usable_age": 3601.0}, {"rpo_usable_met": False, "rpo_proven_met": True}),
        ({"usable_age": 1.0}, {"rpo_usable_met": None, "rpo_proven_met": None}),
        ({"rto_target": 60.0, "seconds": {"restore": 61.0}}, {"rto_met": False}),
        ({"rto_target": 60.0, "seconds": {"restore": 50.0, "settings": 10.0, "proof": 900.0}}, {"rto_met": True}),
        ({"rto_target": 60.0, "seconds": {"restore": 1.0}, "proven": False}, {"rto_met": None}),
        ({"rto_target": 60.0}, {"rto_met": None}),
    ],
)
def test_targets_are_met_missed_or_not_known(values: dict[str, Any], met: dict[str, bool | None]) -> None:
    (row,) = series([point(4, **values)])
    assert {name: row[name] for name in met} == met


def test_rows_have_all_columns_in_their_order() -> None:
    (row,) = series([record_of()])
    assert tuple(row) == COLUMNS
