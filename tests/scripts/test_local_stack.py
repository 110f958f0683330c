"""The stack with real processes and a DAG of its own: it starts, works, loses a part, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from local_stack import (
    AWS,
    COMPONENTS,
    DAG_PROCESSOR,
    SCHEDULER,
    TRIGGERER,
    ComponentDiedError,
    DagImportError,
    LocalStack,
    StackSetupError,
)
from stack_environment import PROJECT
from stack_process import session_members, wait_until

DAG = """
    import datetime as dt
    import pathlib

    from airflow.sdk import Param, dag, task


    @dag(schedule=None, params={"hold": Param("", type="string")})
    def stack_check():
        @task
        def first(params=None):
            return {"answer": 42}

        # The second try finds the file of the first and ends at once.
        @task(retries=1, retry_delay=dt.timedelta(seconds=1))
        def hold(params=None):
            import time

            flag = pathlib.Path(params["hold"]) if params["hold"] else None
            if flag and not flag.exists():
                flag.touch()
                time.sleep(300)

        first() >> hold()


    stack_check()
"""
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def dags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dags")
    (folder / "stack_check_dag.py").write_text(textwrap.dedent(DAG))
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory, dags):
    # A lost task is found by its missing heartbeat: after seconds here, minutes by default.
    quick = {
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    }
    with LocalStack(tmp_path_factory.mktemp("home"), dags_folder=dags, env=quick, parallelism=2) as running:
        yield running


def test_every_component_runs_on_the_loopback_interface(stack):
    addresses = {
        (one.laddr.ip, one.laddr.port)
        for process in stack.processes()
        for one in process.net_connections(kind="tcp")
        if one.status == psutil.CONN_LISTEN
    }
    assert {port for _, port in addresses} == {stack.ports.api, stack.ports.aws}
    assert {ip for ip, _ in addresses} == {"127.0.0.1"}
    assert all(stack.component(name).running for name in COMPONENTS)


def test_run_is_followed_to_its_end(stack):
    seen = []
    run_id = stack.trigger_dag("stack_check")
    state = stack.wait_run(
        "stack_check", run_id, timeout=60, on_change=lambda task: seen.append((task["task_id"], task["state"]))
    )
    assert state == "success"
    assert stack.rest.xcom("stack_check", run_id, "first") == {"answer": 42}
    assert ("first", "success") in seen
    assert seen[-1] == ("hold", "success")
    assert "Done. Returned value was" in stack.rest.task_log("stack_check", run_id, "first", 1)


def test_local_aws_answers_boto3(stack):
    s3 = stack.aws_client("s3")
    s3.create_bucket(Bucket="stack-check")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["stack-check"]


def test_lost_worker_is_found_and_its_task_tried_again(stack, tmp_path):
    flag = tmp_path / "held"
    run_id = stack.trigger_dag("stack_check", {"hold": str(flag)})
    stack.wait_task("stack_check", run_id, "hold", ["running"])
    wait_until(flag.exists, timeout=30, what="the task's own sign of life")
    killed = stack.kill_task("stack_check", run_id, "hold")
    assert len(killed) == 2
    assert not any(psutil.pid_exists(pid) and pid in {one.pid for one in stack.processes()} for pid in killed)
    assert stack.wait_run("stack_check", run_id, timeout=90) == "success"
    assert stack.rest.task_instance("stack_check", run_id, "hold")["try_number"] == 2


def test_task_that_does_not_run_cannot_be_killed(stack):
    run_id = stack.trigger_dag("stack_check")
    stack.wait_run("stack_check", run_id, timeout=60)
    with pytest.raises(StackSetupError, match="success, not running"):
        stack.kill_task("stack_check", run_id, "first")


@pytest.mark.parametrize("name", [TRIGGERER, DAG_PROCESSOR])
def test_killed_component_is_gone_and_comes_back(stack, name):
    first = stack.component(name).pid
    with stack.down(name):
        assert not stack.component(name).running
        assert not psutil.pid_exists(first)
        stack.check()
    assert stack.component(name).running
    assert stack.component(name).pid != first


def test_missing_dag_is_reported_with_the_import_error(stack, dags):
    broken = dags / "broken_dag.py"
    broken.write_text("from airflow.sdk import dag\nraise RuntimeError('the reason')\n")
    subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "reserialize"],
        env=stack.airflow_env,
        check=True,
        capture_output=True,
        timeout=60,
    )
    try:
        with pytest.raises(DagImportError, match="the reason"):
            stack.wait_dag("not_there", timeout=30)
    finally:
        broken.unlink()


def test_component_that_dies_is_named(tmp_path):
    stack = LocalStack(tmp_path, components=[AWS], aws_args=["--job-seconds=nonsense"])
    with pytest.raises(ComponentDiedError, match="local-aws ended by itself with exit code 2"), stack:
        raise RuntimeError("never reached")
    assert stack.processes() == []


def test_second_stack_in_one_home_is_refused(tmp_path):
    code = """
        import signal, sys
        from pathlib import Path
        from local_stack import AWS, LocalStack
        with LocalStack(Path(sys.argv[1]), components=[AWS]):
            print("up", flush=True)
            signal.pause()
    """
    env = os.environ | {"PYTHONPATH": str(PROJECT / "scripts")}
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    first = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == b"up\n"
        second = LocalStack(tmp_path, components=[AWS])
        with pytest.raises(StackSetupError, match=f"process {first.pid}"):
            second.start()
        # The owner is lost without a word; what it started is ended by the next stack of this home.
        first.send_signal(signal.SIGKILL)
        first.wait()
        (orphan,) = (int(pid) for pid in json.loads((tmp_path / "stack.json").read_text())["sessions"])
        assert session_members(orphan)
        with second:
            assert session_members(orphan) == []
        assert not (tmp_path / "stack.json").exists()
    finally:
        first.kill()
        first.wait()
        first.stdout.close()


def test_nothing_is_left_of_a_stopped_stack(tmp_path, dags):
    stack = LocalStack(tmp_path, dags_folder=dags, components=[AWS, SCHEDULER])
    stack.start()
    # LocalExecutor's workers are the processes that a careless stop leaves behind.
    wait_until(lambda: len(stack.processes()) > 2, timeout=60, what="the scheduler's workers")
    sessions = [stack.component(name).pid for name in (AWS, SCHEDULER)]
    assert stack.stop() == []
    assert [one.cmdline() for one in psutil.process_iter() if _lives_in(sessions, one)] == []


def _lives_in(sessions: list[int], process: psutil.Process) -> bool:
    try:
        # A zombie has ended; it waits for whatever is process 1 here to take note.
        return os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
