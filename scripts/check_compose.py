"""Check docker-compose.yaml with Docker Compose itself, with secrets drawn as `make env` draws them.

Compose's own parser finds what no YAML linter can: unknown keys, references to services and volumes that
are not there, variables without a value. No Docker engine is needed for it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from make_dotenv import PROJECT, filled


def compose_command() -> list[str] | None:
    """Return how Compose is called on this machine: as Docker's plugin, as a program of its own, or not."""
    if shutil.which("docker"):
        probe = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def main() -> int:
    """Return 0 if Compose accepts the file or is not installed."""
    command = compose_command()
    if command is None:
        print("docker-compose.yaml was not checked: Docker Compose is not installed.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        env = Path(folder) / "env"
        env.write_text(filled((PROJECT / ".env.example").read_text()))
        check = [*command, "--env-file", str(env), "-f", str(PROJECT / "docker-compose.yaml"), "config", "-q"]
        code = subprocess.run(check, check=False).returncode
    print("docker-compose.yaml: " + ("accepted" if code == 0 else "refused"))
    return code


if __name__ == "__main__":
    sys.exit(main())
