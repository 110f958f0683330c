"""The one command: it ends with the verdict, or at once on Ctrl-C, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from stack_environment import PROJECT, free_ports
from stack_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RUN_SECONDS = 600


@pytest.fixture
def start(tmp_path):
    """A function that starts the command; what is left of it in the end is killed."""
    started = []

    def start(*options):
        api, aws = free_ports(2)
        command = [
            sys.executable,
            str(PROJECT / "scripts" / "run_local.py"),
            f"--home={tmp_path / 'home'}",
            f"--airflow-port={api}",
            f"--aws-port={aws}",
            *options,
        ]
        with (tmp_path / "output.txt").open("wb") as output:
            # A session of its own, as a terminal gives it: Ctrl-C reaches the command alone.
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in [*started, *processes_of(tmp_path)]:
        process.kill()
    for process in started:
        process.wait()


def output(tmp_path):
    return (tmp_path / "output.txt").read_text()


def processes_of(tmp_path):
    """Return the processes of the command's stack: they have its home as folder or in their environment."""
    home = str(tmp_path / "home")
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and (process.cwd() == home or process.environ().get("AIRFLOW_HOME") == home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def test_command_ends_proven_and_leaves_nothing(start, tmp_path):
    process = start("--once")
    wait_until(lambda: len(processes_of(tmp_path)) >= 5, timeout=120, what="the stack's processes")

    assert process.wait(timeout=RUN_SECONDS) == 0, output(tmp_path)

    text = output(tmp_path)
    assert "Verdict: PROVEN" in text
    assert "prove " in text
    assert "All processes have ended." in text
    assert processes_of(tmp_path) == []


def test_ctrl_c_amid_the_run_leaves_nothing(start, tmp_path):
    process = start()
    wait_until(
        lambda: "orders_backup_restore  http" in output(tmp_path) or process.poll() is not None,
        timeout=RUN_SECONDS,
        what="the begin of the story",
    )
    assert process.poll() is None, output(tmp_path)
    assert processes_of(tmp_path)

    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=90) == 130, output(tmp_path)
    assert "All processes have ended." in output(tmp_path)
    assert "Traceback" not in output(tmp_path)
    assert processes_of(tmp_path) == []
