from __future__ import annotations

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType

from backup_flows.retention import modes
from backup_flows.retention.modes import Mode


@pytest.mark.parametrize(
    ("configured", "asked", "expected"),
    [
        ("preview", "as configured", Mode(applies=False)),
        ("apply", "as configured", Mode(applies=True)),
        ("apply", "preview", Mode(applies=False)),
        ("preview", "preview", Mode(applies=False)),
        ("apply", "apply", Mode(applies=True)),
        ("preview", "apply", Mode(applies=True, raised=True)),
    ],
)
@pytest.mark.parametrize("run_type", ["scheduled", "manual", "asset_triggered"])
def test_the_form_may_lower_what_the_file_says_and_raising_it_is_told(configured, asked, expected, run_type):
    assert Mode.of(configured, asked, run_type) == expected


@pytest.mark.parametrize("configured", ["preview", "apply"])
@pytest.mark.parametrize("asked", modes.MODES)
def test_a_backfilled_date_is_only_ever_previewed(configured, asked):
    assert Mode.of(configured, asked, "backfill") == Mode(applies=False, past=True)


def test_the_run_type_is_the_one_that_airflow_hands_to_a_task():
    assert modes.BACKFILL == DagRunType.BACKFILL
    assert Mode.of("apply", "apply", DagRunType.BACKFILL) == Mode(applies=False, past=True)
