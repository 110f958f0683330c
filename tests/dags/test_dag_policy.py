"""Rules that every DAG keeps. An empty or renamed DAG folder fails here instead of passing with nothing to check."""

from __future__ import annotations

import ast
import datetime as dt
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable

ROOT = Path(__file__).resolve().parents[2]
DAG_IDS = {
    "backup_stack",
    "backup_stack_teardown",
    "deny_delete_proof",
    "orders_backup_restore",
    "restore_drill",
    "retention_cleanup",
    "scheduled_backup_watch",
    "table_backup",
    "table_repair",
}
HEADINGS = ["## What it does", "## Inputs", "## Schedule and backfill", "## How to skip", "## On failure", "## Owner"]


@pytest.fixture(params=sorted(DAG_IDS))
def a_dag(request, dagbag):
    return dagbag.dags[request.param]


def test_every_file_imports_and_the_ids_are_the_expected_ones(dagbag, dag_files):
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == DAG_IDS
    assert {path.name for path in dag_files} == {f"{dag_id}_dag.py" for dag_id in DAG_IDS}


def test_docs_have_the_fixed_headings_in_order(a_dag):
    positions = [a_dag.doc_md.find(heading) for heading in HEADINGS]
    assert -1 not in positions, dict(zip(HEADINGS, positions, strict=True))
    assert positions == sorted(positions)
    assert f"# {a_dag.dag_id}" in a_dag.doc_md


def test_docs_tell_how_to_skip(a_dag):
    assert f"skip_{a_dag.dag_id}" in a_dag.doc_md
    assert "skip_switch" in {task.task_id for task in a_dag.tasks}


def test_no_run_is_caught_up_by_surprise(a_dag):
    assert a_dag.catchup is False


def test_every_task_has_a_time_limit_and_the_failure_callback(a_dag):
    assert a_dag.tasks
    for task in a_dag.tasks:
        assert isinstance(task.execution_timeout, dt.timedelta), task.task_id
        assert task.on_failure_callback, task.task_id


def test_a_dag_with_a_teardown_has_a_deadline_and_no_dagrun_timeout(a_dag):
    if any(task.is_teardown for task in a_dag.tasks):
        assert a_dag.dagrun_timeout is None
    assert a_dag.deadline


def test_a_scheduled_dag_has_real_data_intervals(a_dag):
    if a_dag.schedule is None:
        assert "backfill makes no" in a_dag.doc_md.replace("\n", " ")
        return
    timetable = a_dag.timetable.timetable if isinstance(a_dag.timetable, AssetOrTimeSchedule) else a_dag.timetable
    assert isinstance(timetable, CronDataIntervalTimetable)


def test_every_param_explains_itself(a_dag):
    assert a_dag.params
    for name in a_dag.params:
        param = a_dag.params.get_param(name)
        assert param.schema.get("title"), name
        assert param.schema.get("type"), name
        assert param.description, name


def test_waiting_tasks_free_their_worker_slot(a_dag):
    for task in a_dag.tasks:
        if hasattr(task, "deferrable"):
            assert task.deferrable is True or not getattr(task, "wait_for_completion", True), task.task_id


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_a_dag_file_is_wiring_only(dag_id):
    """Docstring, imports, constants, one decorated function, one call; no other function, no client."""
    tree = ast.parse((ROOT / "dags" / f"{dag_id}_dag.py").read_text(encoding="utf-8"))
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert functions == [dag_id]
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not {name for name in imported if name.split(".")[0] in {"boto3", "botocore", "dags"}}
    assert not {name for name in imported if name.endswith("_dag")}


def test_parsing_opens_no_socket_and_makes_no_client(monkeypatch, dag_files):
    from airflow.dag_processing.dagbag import DagBag

    def refuse(*_args, **_kwargs):
        raise AssertionError("a DAG file touched the network while it was parsed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("boto3.session.Session.client", refuse)
    monkeypatch.setattr("botocore.session.Session.create_client", refuse)
    bag = DagBag(dag_folder=str(ROOT / "dags"))
    assert bag.import_errors == {}
    assert len(bag.dags) == len(dag_files) > 0


def test_no_heavy_library_is_imported_at_parse_time():
    """moto and pandas never; boto3 is what the provider's own base classes pull in."""
    code = (
        "import sys; sys.path[:0] = ['plugins', 'dags'];"
        + "".join(f"import {dag_id}_dag;" for dag_id in sorted(DAG_IDS))
        + "print([m for m in ('moto', 'pandas', 'numpy', 'local_aws') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
