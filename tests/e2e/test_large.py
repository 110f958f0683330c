"""A file and a table that count as large: loaded and read by mapped tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_stack import LocalStack
from stack_environment import PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STORY = "orders_backup_restore"
ORDER_FILE = "include/data/order_data.csv"
RUN_SECONDS = 480
MAPPED = ("survey_shard", "write_shard", "back_up.scan_before", "back_up.scan_after", "scan_restored")


@pytest.fixture(scope="module")
def small_shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """An Airflow for which 60 KB of a file are a shard, and 150 KB of a table are a part."""
    with LocalStack(
        tmp_path_factory.mktemp("small-shards"),
        aws_args=["--job-seconds=1", "--restore-seconds=1"],
        env={
            "AIRFLOW__BACKUP_FLOWS__LOAD_SHARD_MB": "0.06",
            "AIRFLOW__BACKUP_FLOWS__SCAN_PART_MB": "0.15",
        },
        schedule=False,
    ) as stack:
        deployed = stack.trigger_dag("backup_stack", {"prove_protection": False})
        assert stack.wait_run("backup_stack", deployed, timeout=RUN_SECONDS) == "success"
        yield stack


def test_mapped_load_and_proof_come_to_what_one_task_comes_to(small_shards, site_of, file_content):
    site = site_of(small_shards, "orders-backup")
    expected = file_content(PROJECT / ORDER_FILE)
    run_id = site.start(ORDER_FILE)

    report = site.proven(run_id)

    tasks = small_shards.rest.task_instances(STORY, run_id)
    instances = {name: [task for task in tasks if task["task_id"] == name] for name in MAPPED}
    assert {name: {task["state"] for task in found} for name, found in instances.items()} == {
        name: {"success"} for name in MAPPED
    }
    assert report["load"]["shards"] == len(instances["write_shard"]) == len(instances["survey_shard"]) >= 2
    for name, scan in {"before": "scan_before", "after": "scan_after"}.items():
        assert report["scans"][name]["parts"] == len(instances[f"back_up.{scan}"]) >= 2
    assert report["scans"]["restored"]["parts"] == len(instances["scan_restored"]) >= 2
    assert report["counts"]["proven"] == report["load"]["written"] == len(expected)
    assert site.content() == expected
    # What the steps of a load hand on is dropped when it is complete.
    assert site.keys("loads/") == []
