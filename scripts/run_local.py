"""`make run`: the whole story on this machine, from an empty folder to the verdict.

Starts the local AWS and Airflow, deploys the stack, runs the orders through backup, restore and proof, shows
each task as it goes and the verdict at the end, and stays up until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any
from urllib.parse import quote

from airflow_api import AirflowApiError
from local_stack import (
    ComponentDiedError,
    DagImportError,
    LocalStack,
    Ports,
    StackSetupError,
    StackTimeoutError,
)
from run_progress import Terminal, report_lines
from stack_environment import ADMIN, PROJECT, base_environment, free_ports, port_is_free

STACK_DAG = "backup_stack"
STORY_DAG = "orders_backup_restore"
REPORT_TASK = "report"
PROVEN = "PROVEN"
# How far around today the daily order files reach: what a backfill over the last month needs, and some more.
DAILY_DAYS = 31


# What ends the run with one message instead of a stack trace: it names the culprit itself.
STACK_ERRORS = (ComponentDiedError, DagImportError, StackSetupError, StackTimeoutError, AirflowApiError)


class StoppedError(Exception):
    """The user asked to stop (Ctrl-C or SIGTERM)."""


class RunFailedError(RuntimeError):
    """A DAG run of the story failed; the message names it and shows the end of its failed tasks' logs."""


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", type=Path, default=PROJECT / ".airflow", help="folder of all that is written")
    parser.add_argument("--airflow-port", type=int, default=8080)
    parser.add_argument("--aws-port", type=int, default=5566)
    parser.add_argument("--job-seconds", type=float, default=1.0, help="how long a backup or restore takes")
    parser.add_argument("--source", default="include/data/order_data.csv", help="order file to load")
    parser.add_argument("--schedule", action="store_true", help="let DAGs run by their schedule, too")
    parser.add_argument(
        "--once",
        "--exit-after-verdict",
        action="store_true",
        help="stop at the verdict; exit code 0 if PROVEN",
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that one DAG run may take")
    return parser.parse_args(arguments)


def choose_port(wanted: int, purpose: str, say: Callable[[str], None]) -> int:
    """Return the wanted port, or a free one, with a line that says so, when something listens there."""
    if port_is_free(wanted):
        return wanted
    instead = free_ports(1)[0]
    say(f"Port {wanted} is taken by something else; {purpose} uses {instead}.")
    return instead


def start_daily_files() -> subprocess.Popen[bytes]:
    """Begin to make the daily order files that dated runs and backfills load; existing ones stay."""
    today = date.today()
    return subprocess.Popen(
        [
            sys.executable,
            str(PROJECT / "include" / "data" / "generate_orders.py"),
            "--daily",
            f"--from={today - timedelta(days=DAILY_DAYS)}",
            f"--to={today + timedelta(days=DAILY_DAYS)}",
            f"--out-dir={PROJECT / 'include' / 'data' / 'daily'}",
        ],
        env=base_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run_dag(
    stack: LocalStack, terminal: Terminal, dag_id: str, conf: dict[str, Any], timeout: float
) -> tuple[str, str]:
    """Run one DAG to its end, showing each task; return the run's id and state."""
    run_id = stack.trigger_dag(dag_id, conf)
    terminal.step(f"{dag_id}  {stack.airflow_url}/dags/{dag_id}/runs/{quote(run_id, safe='')}", "1")
    return run_id, stack.wait_run(dag_id, run_id, timeout=timeout, on_change=terminal.task)


def failure_text(stack: LocalStack, dag_id: str, run_id: str) -> str:
    """Return which tasks of a run failed, each with the end of its log."""
    lines = [f"{dag_id} {run_id} failed."]
    for task in stack.rest.task_instances(dag_id, run_id):
        if task["state"] == "failed":
            log = stack.rest.task_log(dag_id, run_id, task["task_id"], task["try_number"], task["map_index"])
            lines += [f"--- {task['task_id']}: the end of its log", *log.splitlines()[-15:]]
    return "\n".join(lines)


def tell_story(stack: LocalStack, terminal: Terminal, options: argparse.Namespace) -> bool:
    """Deploy the stack, run the story, print the verdict; return whether it is PROVEN.

    :raises RunFailedError: one of the two runs failed; a verdict that was reached is printed before.
    """
    run_id, state = run_dag(stack, terminal, STACK_DAG, {}, options.timeout)
    if state != "success":
        raise RunFailedError(failure_text(stack, STACK_DAG, run_id))
    # The local AWS has no minute of uncertainty around a backup's start, so nothing need settle.
    conf = {"source": options.source, "settle_seconds": 0}
    run_id, state = run_dag(stack, terminal, STORY_DAG, conf, options.timeout)
    found = stack.rest.xcom(STORY_DAG, run_id, REPORT_TASK)
    report: dict[str, Any] = json.loads(found) if isinstance(found, str) else (found or {})
    verdict = str(report.get("verdict", "none was reached"))
    show_verdict(terminal, verdict, report)
    if state != "success":
        raise RunFailedError(failure_text(stack, STORY_DAG, run_id))
    return verdict == PROVEN


def show_verdict(terminal: Terminal, verdict: str, report: dict[str, Any]) -> None:
    """Print the verdict and all that the run reported with it."""
    terminal.line()
    terminal.line(f"Verdict: {verdict}", "1;32" if verdict == PROVEN else "1;31")
    for line in report_lines({name: value for name, value in report.items() if name != "verdict"}):
        terminal.line(f"  {line}")
    terminal.line(f"  {terminal.elapsed():.1f} s from the start to the verdict")


def show_addresses(stack: LocalStack, terminal: Terminal) -> None:
    """Print where to look, and the password on the one occasion that it is new."""
    terminal.line()
    terminal.line(f"Airflow    {stack.airflow_url}   user {ADMIN}")
    if stack.new_password:
        terminal.line(f"           password {stack.admin_password} (kept in {stack.home / 'passwords.json'})", "1")
    else:
        terminal.line(f"           password as before (in {stack.home / 'passwords.json'})")
    terminal.line(f"Local AWS  {stack.aws_url}   region us-east-1, IAM enforced; testing/testing is the root user")


def stop_on_signals() -> Event:
    """Let SIGINT, SIGTERM and SIGHUP only set the returned event.

    An exception out of a signal handler could strike between the start of a process and the note of its id;
    what waits looks at the event many times a second instead.
    """
    stopped = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
    return stopped


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Run the stack and the story; return the exit code: 0 PROVEN, 1 not proven, 130 stopped before."""
    stopped = stop_on_signals()

    def raise_if_stopped() -> None:
        if stopped.is_set():
            raise StoppedError

    ports = Ports(
        api=choose_port(options.airflow_port, "Airflow", terminal.line),
        aws=choose_port(options.aws_port, "the local AWS", terminal.line),
    )
    job_seconds = [f"--job-seconds={options.job_seconds}", f"--restore-seconds={options.job_seconds}"]
    stack = LocalStack(
        options.home,
        ports=ports,
        aws_args=job_seconds,
        enforce_iam=True,
        schedule=options.schedule,
        on_check=raise_if_stopped,
    )
    daily: subprocess.Popen[bytes] | None = None
    code = 130
    try:
        terminal.step("Starting the local AWS and Airflow ...")
        stack.start()
        daily = start_daily_files()
        show_addresses(stack, terminal)
        terminal.line()
        stack.wait_ready()
        terminal.step("All components are up.")
        finish_daily_files(daily)
        try:
            code = 0 if tell_story(stack, terminal, options) else 1
        except RunFailedError as error:
            code = 1
            terminal.line()
            terminal.line(str(error), "31")
        if not options.once:
            terminal.line()
            terminal.line("Everything stays up until Ctrl-C.")
            watch(stack)
    except StoppedError:
        terminal.line()
    except STACK_ERRORS as error:
        terminal.line()
        terminal.line(str(error), "31")
        code = 1
    finally:
        left = shut_down(stack, daily, terminal)
    return code or left


def finish_daily_files(daily: subprocess.Popen[bytes]) -> None:
    """Wait for the daily order files.

    :raises StackSetupError: they could not be made.
    """
    _, error = daily.communicate()
    if daily.returncode:
        raise StackSetupError(f"The daily order files could not be made:\n{error.decode(errors='replace')}")


def watch(stack: LocalStack) -> None:
    """Watch over the components until one dies or the user stops the run (both raise)."""
    idle = Event()
    while not idle.wait(0.5):
        stack.check()


def shut_down(stack: LocalStack, daily: subprocess.Popen[bytes] | None, terminal: Terminal) -> int:
    """End everything that was started; return 0 if nothing is left, else 1 with a line that names it."""
    terminal.line()
    terminal.line("Stopping ...")
    if daily is not None and daily.poll() is None:
        daily.kill()
        daily.wait()
    left = stack.stop()
    if left:
        terminal.line(f"These processes could not be ended: {left}", "31")
        return 1
    terminal.line("All processes have ended.")
    return 0


if __name__ == "__main__":
    sys.exit(run(parse_arguments(sys.argv[1:]), Terminal()))
