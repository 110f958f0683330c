"""A short soak of the local AWS: many clients at once, every answer good, no update lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.component

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "emulator_load.py"


def run(*arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--json"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_many_clients_at_once_lose_no_update() -> None:
    found = run("soak", "--clients", "4", "--seconds", "2")["soak"]
    assert found["adds"] >= found["jobs"] >= 4
    assert found["calls"] == 4 * found["adds"]
    assert len(found["memory_mb"]) == 10


def test_a_table_is_loaded_backed_up_and_restored() -> None:
    found = run("million", "--items", "500")["million"]
    assert found["items"] == 500
    assert found["peak_mb"] >= found["loaded_mb"] > 0
