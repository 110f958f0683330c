import io
import json
import pickle

import pytest

from dynamodb_bulk.accounting import SAMPLE_SIZE, LoadReport, RejectLog, Replacement, check_accounting
from dynamodb_bulk.csv_rows import Reject
from dynamodb_bulk.errors import AccountingError, TooManyRejectsError


def test_figures_that_add_up() -> None:
    check_accounting("orders.csv", rows_in=10, written=7, rejected=1, duplicates=2)


@pytest.mark.parametrize(("written", "rejected", "duplicates"), [(6, 1, 2), (8, 1, 2), (7, 0, 2), (7, 1, 3)])
def test_figures_that_do_not_add_up(written: int, rejected: int, duplicates: int) -> None:
    with pytest.raises(AccountingError, match=r"orders\.csv: 10 rows were read, but") as raised:
        check_accounting("orders.csv", rows_in=10, written=written, rejected=rejected, duplicates=duplicates)
    assert f"{written} written + {rejected} rejected + {duplicates} duplicates" in str(raised.value)


def test_rejects_are_json_lines() -> None:
    sink = io.BytesIO()
    log = RejectLog(sink)
    log.add(Reject(3, "amount", "'é' is not a decimal number", '1,"two\nlines",é'))
    log.add(Reject(9, None, "the row is too short", "x"))
    assert [json.loads(line) for line in sink.getvalue().splitlines()] == [
        {"line": 3, "field": "amount", "reason": "'é' is not a decimal number", "raw": '1,"two\nlines",é'},
        {"line": 9, "field": None, "reason": "the row is too short", "raw": "x"},
    ]
    assert "é".encode() in sink.getvalue()


def test_the_sample_of_rejects_is_capped_and_the_file_is_not() -> None:
    sink = io.BytesIO()
    log = RejectLog(sink)
    for line in range(100):
        log.add(Reject(line, None, "r", ""))
    assert log.count == len(sink.getvalue().splitlines()) == 100
    assert [reject.line for reject in log.sample] == list(range(SAMPLE_SIZE))


def test_the_report_as_json_and_as_a_line() -> None:
    report = LoadReport(
        source="orders.csv",
        table="orders",
        rows_in=10,
        written=7,
        rejected=1,
        duplicates=2,
        bytes=1234,
        source_sha256="ab",
        seconds=1.23456,
        batches=1,
        resent=0,
        rejects_name="s3://b/rejects.jsonl",
        rejects_sample=(Reject(3, "amount", "no number", "x"),),
        replacements_sample=(Replacement(2, 5, ("1", "2")),),
    )
    content = json.loads(json.dumps(report.as_dict()))
    assert content["seconds"] == 1.235
    assert content["rejects_sample"] == [{"line": 3, "field": "amount", "reason": "no number", "raw": "x"}]
    assert content["replacements_sample"] == [{"line": 2, "replaced_by": 5, "key": ["1", "2"]}]
    assert "rows_in 10 = written 7 + rejected 1 + duplicates 2" in report.summary()


def test_too_many_rejects_names_counts_and_file_also_after_pickling() -> None:
    error = TooManyRejectsError("orders.csv", 200, 30, 0.05, "s3://b/rejects.jsonl")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    for part in ("orders.csv", "30 of 200 rows", "0.05", "s3://b/rejects.jsonl", "nothing was written"):
        assert part in str(error)
