"""The AWS CLI drives the server as a user would: the story of the documentation, command by command."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STORY = ROOT / "docs" / "local-aws-cli.md"
DOCUMENTED_URL = "http://127.0.0.1:5566"
END = "-- end of command --"


@dataclass
class Step:
    """A command of the transcript and the output that it shows."""

    command: str
    expected: str


def steps_of(text):
    """Return the steps of a document's console blocks: `$` starts a command, deeper lines carry it on."""
    steps = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        continued = False
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:], ""))
                continued = is_open(steps[-1].command)
            elif continued:
                steps[-1].command += f"\n{line}"
                continued = is_open(steps[-1].command)
            else:
                steps[-1].expected += f"{line}\n"
    return steps


def is_open(command):
    """Tell whether a shell would ask for more."""
    if command.endswith("\\"):
        return True
    parsed = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
    return parsed.returncode != 0


def matches(expected, output):
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("..."))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


@pytest.fixture
def cli():
    """The folder of the AWS CLI that the development requirements bring."""
    beside = Path(sys.executable).parent / "aws"
    found = str(beside) if beside.exists() else shutil.which("aws")
    if found is None:
        locked = (ROOT / "requirements-dev.txt").read_text()
        assert not re.search(r"^awscli==", locked, re.MULTILINE), "the AWS CLI is required and not installed"
        pytest.skip("no AWS CLI here, and the development requirements do not name one")
    return Path(found).parent


@pytest.fixture
def server_url():
    process = subprocess.Popen(
        [sys.executable, "-m", "local_aws", "--port", "0", "--speed", "3600"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "include")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("local_aws is ready on ")
        yield line.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.timeout(400)
def test_the_documented_story_holds(cli, server_url, tmp_path):
    steps = steps_of(STORY.read_text())
    assert len(steps) > 15
    script = "\n".join(f"{step.command}\necho '{END}'" for step in steps)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment.update({"PATH": f"{cli}:{os.environ['PATH']}", "HOME": str(tmp_path), "AWS_PAGER": ""})
    run = subprocess.run(
        ["bash", "-u", "-c", script.replace(DOCUMENTED_URL, server_url)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=380,
    )
    outputs = run.stdout.split(f"{END}\n")[:-1]
    assert len(outputs) == len(steps), run.stdout
    for step, output in zip(steps, outputs, strict=True):
        assert matches(step.expected, output), f"$ {step.command}\n{output}\nexpected:\n{step.expected}"


def test_a_transcript_is_read_command_by_command():
    first = "$ one \\\n    two\nout\nput\n"
    second = "$ for x in a; do\n    echo $x\n  done\na\n"
    text = f"Before.\n```console\n{first}{second}```\n```\n$ no\n```"
    assert steps_of(text) == [
        Step("one \\\n    two", "out\nput\n"),
        Step("for x in a; do\n    echo $x\n  done", "a\n"),
    ]


@pytest.mark.parametrize(
    ("expected", "output", "fits"),
    [("a...c", "a b\nc", True), ("a...c", "a b", False), ("", "", True), ("", "error", False), ("[a]", "[a]\n", True)],
)
def test_dots_stand_for_anything(expected, output, fits):
    assert matches(expected, output) is fits
