"""What starts must be found again, and ended to the last process, whatever state its leader is in."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time

import psutil
import pytest

from stack_process import (
    Component,
    ComponentDiedError,
    ComponentSpec,
    StackTimeoutError,
    end_sessions,
    log_tail,
    session_members,
    wait_until,
)

# A leader that forks a child into a process group of its own, as Airflow's workers do, and reports both ids.
FAMILY = """
    import os, signal, sys, time
    if {deaf}:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    started: list[Component] = []

    def _start(code: str, name: str = "thing") -> Component:
        spec = ComponentSpec(name, [sys.executable, "-c", textwrap.dedent(code)], dict(os.environ), tmp_path)
        component = Component(spec, tmp_path / "logs" / f"{name}.log")
        component.start()
        started.append(component)
        return component

    yield _start
    end_sessions([component.pid for component in started], grace=0)
    for component in started:
        component.reap()


def child_of(component: Component) -> int:
    return int(
        wait_until(lambda: component.log_file.read_text().strip() or None, timeout=10, what="the child", interval=0.01)
    )


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("deaf", [False, True])
def test_leader_and_child_are_ended(start, deaf):
    component = start(FAMILY.format(deaf=deaf))
    child = child_of(component)
    assert {process.pid for process in session_members(component.pid)} == {component.pid, child}
    assert end_sessions([component.pid], grace=0.3) == []
    assert not alive(child)
    component.reap()
    assert component.exit_code == (-signal.SIGKILL if deaf else -signal.SIGTERM)


def test_children_of_a_dead_leader_are_found_and_ended(start):
    component = start(FAMILY.format(deaf=False))
    child = child_of(component)
    os.kill(component.pid, signal.SIGKILL)
    component.reap()
    assert [process.pid for process in session_members(component.pid)] == [child]
    assert end_sessions([component.pid], grace=0) == []
    assert not alive(child)


def test_polite_end_does_not_wait_for_the_whole_grace(start):
    component = start("import time; time.sleep(60)")
    begin = time.monotonic()
    end_sessions([component.pid], grace=30)
    assert time.monotonic() - begin < 10


def test_kill_takes_the_whole_component_down_and_it_can_start_again(start):
    component = start(FAMILY.format(deaf=True))
    child = child_of(component)
    first = component.pid
    component.kill()
    assert not component.running
    assert component.exit_code == -signal.SIGKILL
    assert not alive(child)
    component.start()
    assert component.running
    assert component.pid != first


def test_starting_twice_is_refused(start):
    component = start("import time; time.sleep(60)")
    with pytest.raises(RuntimeError, match="runs already"):
        component.start()


def test_component_that_ended_by_itself_is_named_with_its_last_words(start):
    component = start("import sys; print('the database is on fire'); sys.exit(3)", name="scheduler")
    wait_until(lambda: not component.running, timeout=10, what="its end", interval=0.01)
    with pytest.raises(ComponentDiedError, match=r"scheduler ended by itself with exit code 3") as raised:
        component.check()
    assert "the database is on fire" in str(raised.value)
    assert str(component.log_file) in str(raised.value)


def test_running_component_passes_its_check(start):
    component = start("import time; time.sleep(60)")
    component.check()
    assert component.running


def test_component_reads_nothing_from_the_terminal(start):
    component = start("import sys; print(repr(sys.stdin.read()), flush=True)")
    component.reap()
    assert component.log_file.read_text().strip() == "''"


@pytest.mark.parametrize(
    ("content", "tail"),
    [
        (None, "(no log was written)"),
        ("", "(its log is empty)"),
        ("a\nb\nc\n", "b\nc"),
        ("x" * 70_000 + "\nlast", None),
    ],
)
def test_log_tail(tmp_path, content, tail):
    file = tmp_path / "some.log"
    if content is not None:
        file.write_text(content)
    found = log_tail(file, lines=2)
    if tail is None:
        assert found.endswith("\nlast")
        assert len(found) < 66_000
    else:
        assert found == tail


def test_wait_until_returns_what_the_condition_found():
    answers = iter([None, 0, "here"])
    assert wait_until(lambda: next(answers), timeout=5, what="it", interval=0.001) == "here"


@pytest.mark.parametrize("what", ["the moon", lambda: "the moon"])
def test_wait_until_names_what_did_not_come(what):
    with pytest.raises(StackTimeoutError, match=r"Waited 0\.01 s in vain for the moon"):
        wait_until(lambda: None, timeout=0.01, what=what, interval=0.002)


def test_wait_until_lets_the_condition_end_the_wait():
    def broken() -> None:
        raise ComponentDiedError("triggerer", 1, __file__, "tail")

    with pytest.raises(ComponentDiedError):
        wait_until(broken, timeout=60, what="nothing")
