"""The story end to end, started over the REST API; and what is refused before it begins."""

from __future__ import annotations

import pytest

from airflow_api import AirflowApiError
from stack_environment import PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
ORDER_FILE = "include/data/order_data.csv"


def test_run_over_rest_is_proven_item_by_item(airflow, site_of, file_content, days):
    deployed = airflow.trigger_dag("backup_stack", {"prove_protection": False})
    assert airflow.wait_run("backup_stack", deployed, timeout=480) == "success"
    site = site_of(airflow, "orders-backup")
    expected = file_content(PROJECT / ORDER_FILE)

    day = next(days)
    run_id = site.start(ORDER_FILE, day, keep_restored_table=True)
    report = site.proven(run_id)

    assert report["load"]["written"] == len(expected)
    for name in ("items before", "items after", "items restored", "compared", "proven"):
        assert report["counts"][name.replace(" ", "_")] == len(expected), name
    assert site.content() == expected
    # What the proof says of the restored table is true, looked at without any of the project's code.
    assert site.content(report["restored_table"]) == expected
    assert site.restored_tables() == [report["restored_table"]]
    (job,) = site.backup_jobs()
    assert job["State"] == "COMPLETED"
    assert job["RecoveryPointArn"] == report["recovery_point_arn"]
    assert site.keys("staging/") == [f"staging/orders/as_of={day}/order_data.csv"]
    assert site.read(report["report"]).startswith(b"<!")
    assert site.lease()["owner"] is None


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("settle_seconds", -1),
        ("settle_seconds", "soon"),
        ("max_reject_ratio", 2),
        ("source", "ftp://host/orders.csv"),
        ("delete_after_days", 0),
        ("force_new", "maybe"),
        ("stack_name", "no such name!"),
    ],
)
def test_wrong_param_is_refused_by_name(airflow, param, value):
    airflow.wait_dag(STORY)
    runs = len(airflow.rest.runs(STORY))
    with pytest.raises(AirflowApiError) as refused:
        airflow.rest.trigger(STORY, {param: value})
    assert refused.value.status in {400, 422}
    assert param in refused.value.detail
    assert len(airflow.rest.runs(STORY)) == runs


def test_missing_file_of_a_date_fails_the_run_and_stages_nothing(site, orders):
    # Not a day to come: Airflow starts no run before its logical date.
    missing = orders.new_day()
    orders.path(missing).unlink()
    run_id = site.start(orders.source, missing)
    assert site.wait(run_id) == "failed"
    stage = site.task(run_id, "stage")
    assert stage["state"] == "failed"
    assert stage["try_number"] == 1
    log = site.stack.rest.task_log(STORY, run_id, "stage", 1)
    assert str(orders.path(missing)) in log
    assert site.keys("") == []
    assert site.content() == {}
    assert site.backup_jobs() == []
