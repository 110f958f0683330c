"""Make or update the project's virtual environment from the lock, only when the lock changed.

    python3 scripts/make_env.py [--lock requirements-dev.txt] [--venv .venv]

Runs on any Python 3 with nothing installed. Every package is installed from the lock with its hash checked
and without resolving anything anew. uv does it when it can (a fraction of pip's time), pip otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINIMUM = (3, 11)
PROJECT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Bring the environment up to date; the exit code is 0 when it stands."""
    if sys.version_info < MINIMUM:
        found = ".".join(str(part) for part in sys.version_info[:3])
        print(
            f"This project needs Python 3.11 or newer, and {sys.executable} is Python {found}.\n"
            "Install one and say which: make PYTHON=python3.11 ...",
            file=sys.stderr,
        )
        return 1
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", type=Path, default=PROJECT / "requirements-dev.txt")
    parser.add_argument("--venv", type=Path, default=PROJECT / ".venv")
    arguments = parser.parse_args()
    stamp = arguments.venv / "lock.sha256"
    wanted = lock_stamp(arguments.lock)
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    begun = time.monotonic()
    print(
        f"Making the environment {arguments.venv} from {arguments.lock.name} (a minute or two) ...",
        flush=True,
    )
    stamp.unlink(missing_ok=True)
    try:
        install(make_venv(arguments.venv), arguments.lock)
    except subprocess.CalledProcessError as error:
        print(f"The environment could not be made: {error}", file=sys.stderr)
        return 1
    stamp.write_text(wanted)
    print(f"The environment stands after {time.monotonic() - begun:.0f} s.", flush=True)
    return 0


def lock_stamp(lock: Path) -> str:
    """Return what identifies an environment: the lock's content and the Python that it is for."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    return f"{digest} python{sys.version_info[0]}.{sys.version_info[1]}\n"


def make_venv(folder: Path) -> Path:
    """Make a virtual environment of this Python, or keep the one that is there; return its interpreter."""
    python = folder / "bin" / "python"
    ours = [sys.version_info[0], sys.version_info[1]]
    question = [str(python), "-c", "import sys, pip; print(list(sys.version_info[:2]))"]
    if python.exists():
        answer = subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip()
        if answer == str(ours):
            return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    return python


def install(python: Path, lock: Path) -> None:
    """Install exactly what the lock names, then verify that all requirements fit together.

    :raises subprocess.CalledProcessError: neither uv nor pip could do it.
    """
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    # Each package's requirements are all in the lock; --no-deps keeps pip from resolving them once more,
    # which stumbles over extras that a hashed lock can't name.
    locked = ["--no-deps", "--require-hashes", "-r", str(lock)]
    if not install_with_uv(python, pip, lock):
        subprocess.run([*pip, "install", "--quiet", *locked], check=True)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)


def install_with_uv(python: Path, pip: list[str], lock: Path) -> bool:
    """Install with the uv that the lock pins; return False where uv is not to be had or fails."""
    pinned = lock_entry(lock, "uv")
    if pinned is None:
        return False
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as only_uv:
        only_uv.write(pinned)
        only_uv.flush()
        options = ["install", "--quiet", "--no-deps", "--require-hashes", "-r", only_uv.name]
        if subprocess.run([*pip, *options], check=False).returncode:
            return False
    # uv does not read pip's configuration; a machine that reaches packages through a mirror names it there.
    asked = subprocess.run([*pip, "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
    index = ["--default-index", asked.stdout.strip()] if asked.returncode == 0 and asked.stdout.strip() else []
    sync = [str(python), "-m", "uv", "pip", "sync", "--quiet", "--python", str(python), "--require-hashes"]
    if subprocess.run([*sync, "--compile-bytecode", *index, str(lock)], check=False).returncode:
        print("uv did not get through; going on with pip.", file=sys.stderr, flush=True)
        return False
    return True


def lock_entry(lock: Path, name: str) -> str | None:
    """Return one package's lines (version and hashes) of the lock, None if the lock does not name it."""
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", lock.read_text(), flags=re.MULTILINE)
    return found.group(0) if found else None


if __name__ == "__main__":
    sys.exit(main())
