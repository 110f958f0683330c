from __future__ import annotations

import io

import pytest

from run_progress import Terminal, report_lines


class Screen(io.StringIO):
    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


def task(**changes: object) -> dict[str, object]:
    return {"task_id": "load", "map_index": -1, "state": "running", "try_number": 1, "duration": None, **changes}


@pytest.fixture
def clock():
    moments = iter([100.0, 112.5, 113.0])
    return lambda: next(moments)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "12.5 s load running"),
        ({"state": "success", "duration": 2.04}, "12.5 s load success 2.0 s"),
        ({"state": "success", "duration": 0.0}, "12.5 s load success 0.0 s"),
        ({"map_index": 3}, "12.5 s load[3] running"),
        ({"state": "failed", "duration": 1.0, "try_number": 2}, "12.5 s load failed 1.0 s (try 2)"),
        ({"state": "deferred", "duration": 1.0}, "12.5 s load deferred 1.0 s"),
    ],
)
def test_task_line(clock, changes, words):
    screen = Screen(tty=False)
    Terminal(screen, clock).task(task(**changes))
    assert " ".join(screen.getvalue().split()) == words
    assert screen.getvalue().count("\n") == 1


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "removed"])
def test_states_that_tell_nothing_are_left_out(clock, state):
    screen = Screen(tty=False)
    Terminal(screen, clock).task(task(state=state))
    assert screen.getvalue() == ""


@pytest.mark.parametrize(("tty", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_colour_only_on_a_terminal_that_wants_it(monkeypatch, clock, tty, no_color, coloured):
    monkeypatch.setenv("NO_COLOR", no_color)
    screen = Screen(tty=tty)
    Terminal(screen, clock).task(task(state="success", duration=1))
    assert ("\x1b[32m" in screen.getvalue()) is coloured


def test_report_is_laid_out_in_groups():
    report = {
        "counts": {"rows_in": 2531, "rejected": 0},
        "timings": {"backup_seconds": 4.123},
        "report": "s3://bucket/evidence/pack.json",
        "drifting": False,
        "reasons": [],
        "note": None,
        "keys": ["a", "b"],
    }
    assert report_lines(report) == [
        "counts",
        "  rows in   2,531",
        "  rejected  0",
        "timings",
        "  backup seconds  4.1",
        "report    s3://bucket/evidence/pack.json",
        "drifting  no",
        "reasons   -",
        "note      -",
        "keys      a, b",
    ]


def test_empty_report_has_no_lines():
    assert report_lines({}) == []
