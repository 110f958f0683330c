"""A server that this machine can't run is left out by name; a comparison without any is no result."""

from collections.abc import Callable
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def suite(module_of: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Any:
    module, servers = module_of("suites_servers"), module_of("servers")

    @contextmanager
    def running(name: str) -> Any:
        if name == "absent":
            raise servers.NotInstalledError("absent needs a moon.")
        yield servers.Server(name, f"http://{name}")

    monkeypatch.setattr(module, "running", running)
    return module


class Bench:
    """Loads a thousand items, three times as fast by one way as by the others."""

    def __init__(self, module_of: Callable[[str], ModuleType], *servers: str) -> None:
        measuring = module_of("measuring")
        self.options = measuring.Options(wall_items=1000, rounds=2, servers=servers)
        self._measured = measuring.Measured

    def csv_file(self, rows: int) -> str:
        return str(rows)

    def mixed_file(self, rows: int) -> tuple[str, int]:
        return str(rows), rows

    def rounds(self, jobs: list[dict[str, Any]], rounds: int | None = None) -> list[list[Any]]:
        return [[self.measure(**job) for _ in range(rounds or self.options.rounds)] for job in jobs]

    def measure(self, method: str, **job: Any) -> Any:
        wall = 1.0 if method == "load_ours" else 3.0
        count = int(job["csv"])
        extra = {"digest": "d" * 64, "written": count}
        return self._measured(items=count, cpu=1.0, wall=wall, peak=1, error="", extra=extra, server={}, server_cpu=1.0)


@pytest.mark.parametrize("name", ["wall", "agree"])
def test_a_server_that_is_not_installed_is_left_out_and_named(
    suite: Any, module_of: Callable[[str], ModuleType], name: str
) -> None:
    result = getattr(suite, name)(Bench(module_of, "roto", "absent"))
    (table,) = result.tables
    assert "Left out: absent needs a moon." in table.notes
    assert {row[0] for row in table.rows} - {"the file, read by csv.reader"} == {"roto"}
    assert [aim.met for aim in result.aims] == [True]


@pytest.mark.parametrize("name", ["wall", "agree"])
def test_no_server_at_all_is_no_result(suite: Any, module_of: Callable[[str], ModuleType], name: str) -> None:
    error = module_of("measuring").BenchmarkError
    with pytest.raises(error, match=r"No server was there .* absent needs a moon"):
        getattr(suite, name)(Bench(module_of, "absent"))


def test_the_ratio_of_a_fast_server_is_held_against_its_aim(suite: Any, module_of: Callable[[str], ModuleType]) -> None:
    (aim,) = suite.wall(Bench(module_of, "dynalite", "local_aws")).aims
    assert aim.measured == "3.0"
    assert aim.met
