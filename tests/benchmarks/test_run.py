"""Every benchmark runs, at a size that measures nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
TOY = (
    *("--quick", "--items", "200", "--sizes", "100,200", "--rounds", "1"),
    *("--starved-items", "350", "--dead-seconds", "1", "--nasty-rows", "30"),
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.component
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("load", ("`load_csv`", "`Table.batch_writer`", "times less client CPU")),
        ("fingerprint", ("`take_fingerprint`", "`resource scan into a dict`", "4096 buckets")),
        ("growth", ("load_csv", "take_fingerprint", "memory : smallest")),
        ("diff", ("`diff_tables`", "`two dicts`", "100 differences")),
        ("shards", ("not equal to csv.reader",)),
        ("starved", ("as UnprocessedItems", "whole requests", "350 items taken")),
        ("dead", ("DeadlineError", "stopped from outside")),
    ],
)
def test_a_benchmark_gives_its_table(name: str, shown: tuple[str, ...]) -> None:
    done = run(*TOY, name)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (*shown, "Python", "load average"):
        assert text in done.stdout


@pytest.mark.component
def test_a_load_into_the_local_aws_has_the_fingerprint_of_its_file() -> None:
    done = run(*TOY, "--servers", "local_aws", "--wall-items", "1000", "agree", "wall")
    assert done.returncode == 0, done.stdout + done.stderr
    digests = re.findall(r"\| `([0-9a-f]{16})…` \|", done.stdout)
    assert len(digests) == 2
    assert len(set(digests)) == 1
    assert "| local AWS | 200 | `load_csv` |" in done.stdout


@pytest.mark.component
def test_a_benchmark_that_fails_is_named() -> None:
    # Nothing listens on that port of the local machine.
    done = run(*TOY, "--servers", "", "--endpoint-url", "http://127.0.0.1:1", "wall")
    assert done.returncode == 1
    assert "wall: failed" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("--sizes", "1"),
        ("--items", "0"),
        ("--servers", "nosuch"),
        ("--quick", "--update-docs"),
        ("--quick", "--large"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "error:" in done.stderr
