"""How the watch is wired: it waits for the last window deferred, looks, writes, and only then speaks."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import pytest
from airflow.sdk import CronDataIntervalTimetable
from airflow.sdk.exceptions import ParamValidationError

from backup_flows.project_files import project_file
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.watch.tasks import SCHEDULED_BACKUPS, WATCH_CRON, WATCH_TIME


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["scheduled_backup_watch"]


def test_the_tasks_and_their_order(dag):
    upstream = {task.task_id: task.upstream_task_ids for task in dag.tasks}
    assert upstream == {
        "skip_switch": set(),
        "plan_watch": {"skip_switch"},
        "wait_for_windows": {"plan_watch"},
        "watch": {"plan_watch", "wait_for_windows"},
        "verdict": {"watch"},
    }


def test_the_event_comes_from_the_task_that_is_green_whatever_it_finds(dag):
    assert dag.get_task("watch").outlets == [SCHEDULED_BACKUPS]
    assert dag.get_task("verdict").outlets == []
    assert dag.get_task("verdict").retries == 0


def test_it_runs_each_morning_after_the_windows_of_the_rules_that_ship(dag):
    assert dag.timetable == CronDataIntervalTimetable(WATCH_CRON, timezone="UTC")
    day = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    protection = load_protection(project_file(PROTECTION_FILE))
    for entry in protection.tables:
        rule = protection.rule(entry)
        (instant,) = rule.instants(day, day + dt.timedelta(days=1))
        assert (instant + rule.start_window + rule.completion_window).time() < WATCH_TIME


def test_without_params_it_stands_for_its_own_period(dag):
    assert dag.params.validate() == {
        "period_start": None,
        "period_end": None,
        "protection_file": "include/protection.yaml",
        "stack_name": "orders-backup",
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("period_start", ["yesterday", 1]),
        ("period_end", ["2026-13-01T00:00:00Z", False]),
        ("protection_file", ["", None]),
        ("stack_name", ["", "a b", None]),
    ],
)
def test_the_form_refuses_what_makes_no_sense(dag, name: str, values: list[Any]):
    param = copy.copy(dag.params.get_param(name))
    for value in values:
        with pytest.raises(ParamValidationError):
            param.resolve(value)
