"""The environment is made from the lock and only when that changed; what would download is played."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import make_env

ROOT = Path(__file__).resolve().parents[2]


class Installer:
    """Stands in for venv, pip and uv: notes each command, and fails those that it was told to."""

    def __init__(self, folder: Path) -> None:
        self.commands: list[list[str]] = []
        self.failing: set[str] = set()
        self.folder = folder

    def __call__(self, command, *, check, **options):
        self.commands.append(command)
        words = " ".join(command)
        if "-m venv" in words:
            (self.folder / "bin").mkdir(parents=True)
            (self.folder / "bin" / "python").touch()
        code = int(any(failing in words for failing in self.failing))
        if check and code:
            raise subprocess.CalledProcessError(code, command)
        return subprocess.CompletedProcess(command, code, stdout="[3, 11]" if "-c" in command else "", stderr="")

    def ran(self, words: str) -> bool:
        return any(words in " ".join(command) for command in self.commands)


@pytest.fixture
def project(tmp_path, monkeypatch):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "six==1.0 \\\n    --hash=sha256:aa\nuv==0.9 \\\n    --hash=sha256:bb\nzz==1 \\\n    --hash=sha256:cc\n"
    )
    installer = Installer(tmp_path / "venv")
    monkeypatch.setattr(make_env.subprocess, "run", installer)
    monkeypatch.setattr(sys, "argv", ["make_env", f"--lock={lock}", f"--venv={tmp_path / 'venv'}"])
    return lock, installer


def test_made_once_and_left_alone_while_the_lock_is_the_same(project):
    _, installer = project
    assert make_env.main() == 0
    assert installer.ran("uv pip sync")
    assert installer.ran("pip --disable-pip-version-check check")
    installer.commands.clear()
    assert make_env.main() == 0
    assert installer.commands == []


def test_changed_lock_updates_the_environment_in_place(project):
    lock, installer = project
    make_env.main()
    installer.commands.clear()
    lock.write_text(lock.read_text() + "more==1 \\\n    --hash=sha256:dd\n")
    assert make_env.main() == 0
    assert installer.ran("uv pip sync")


@pytest.mark.parametrize("trouble", ["uv pip sync", "--quiet --no-deps --require-hashes -r /"])
def test_pip_takes_over_where_uv_fails(project, trouble):
    lock, installer = project
    installer.failing = {"uv pip sync"} if "uv" in trouble else set()
    if "uv" not in trouble:
        lock.write_text("six==1.0 \\\n    --hash=sha256:aa\n")
    assert make_env.main() == 0
    assert installer.commands[-2][-5:] == ["--quiet", "--no-deps", "--require-hashes", "-r", str(lock)]


@pytest.mark.parametrize("failing", ["check", "venv"])
def test_failure_leaves_no_stamp_behind(project, tmp_path, failing, capsys):
    _, installer = project
    installer.failing = {"pip --disable-pip-version-check check"} if failing == "check" else {"-m venv"}
    assert make_env.main() == 1
    assert "could not be made" in capsys.readouterr().err
    assert not (tmp_path / "venv" / "lock.sha256").exists()


def test_old_python_is_told_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert make_env.main() == 1
    said = capsys.readouterr().err
    assert "needs Python 3.11 or newer" in said
    assert "3.9.18" in said
    assert "PYTHON=" in said


def test_lock_entry_is_one_package_with_all_its_hashes(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "uv-build==1 \\\n    --hash=sha256:a\nuv==0.9 \\\n    --hash=sha256:b \\\n    --hash=sha256:c\n"
        "    # via x\nw==1\n"
    )
    assert make_env.lock_entry(lock, "uv") == "uv==0.9 \\\n    --hash=sha256:b \\\n    --hash=sha256:c\n"
    assert make_env.lock_entry(lock, "absent") is None


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_of_the_real_locks_is_pinned_and_hashed(name):
    entries = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in entries if line and not line.startswith(("#", " "))]
    assert len(packages) > 100
    assert [line for line in packages if "==" not in line or "--hash=sha256:" not in line] == []
