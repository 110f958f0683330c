"""Servers are started when they are needed, fetched once, and gone in the end."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def servers(module_of: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    module = module_of("servers")
    monkeypatch.setattr(module, "_CACHE", tmp_path / "cache")
    return module


def kind(servers: Any, *command: str) -> Any:
    return servers._Kind(lambda: ("made up", (sys.executable, *command)))


def test_a_server_answers_while_it_is_wanted_and_is_gone_then(servers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.SERVERS, "made up", kind(servers, "-m", "http.server", "{port}"))
    with servers.running("made up") as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=5):
            pass
        assert server.pid is not None
        assert Path(f"/proc/{server.pid}").exists() or sys.platform != "linux"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address.hostname, address.port), timeout=5)


def test_a_server_that_ends_at_once_says_why(
    servers: Any, module_of: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = module_of("measuring").BenchmarkError
    monkeypatch.setitem(servers.SERVERS, "made up", kind(servers, "-c", "raise SystemExit('no licence')"))
    with pytest.raises(error, match="no licence"), servers.running("made up"):
        pytest.fail("it does not run")


def test_what_is_pinned_is_fetched_once_and_again_when_the_pin_changes(servers: Any, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    calls: list[Path] = []

    def fetch(folder: Path) -> None:
        calls.append(folder)
        (folder / "program").write_text(pin.read_text())

    for version in ("1", "1", "2", "1"):
        pin.write_text(version)
        assert (servers._fetched("it", [pin], fetch) / "program").read_text() == version
    assert len(calls) == 2
    assert not any(folder.exists() for folder in calls)


def test_a_fetch_that_fails_leaves_nothing(servers: Any, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("1")

    def fetch(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("the line is cut")

    with pytest.raises(OSError, match="the line is cut"):
        servers._fetched("it", [pin], fetch)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("name", "needed"), [("roto_jemalloc", "libjemalloc2"), ("dynalite", "Node.js")])
def test_a_server_that_this_machine_can_not_run_says_what_is_missing(
    servers: Any, monkeypatch: pytest.MonkeyPatch, name: str, needed: str
) -> None:
    monkeypatch.setattr(servers.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(servers.shutil, "which", lambda name: None)
    with pytest.raises(servers.NotInstalledError, match=needed), servers.running(name):
        pytest.fail("it does not run")


def test_every_server_but_our_own_is_pinned_with_hashes(servers: Any) -> None:
    pins = servers._PINS
    assert (pins / "requirements.txt").read_text().count("--hash=sha256:") >= 1
    lock = (pins / "package-lock.json").read_text()
    assert lock.count('"integrity"') == lock.count('"node_modules/')
    assert '"resolved"' not in lock
