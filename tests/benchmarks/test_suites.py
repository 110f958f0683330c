"""A figure is compared with what was aimed at, and wrong work gives no figure at all."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def suites(module_of: Callable[[str], ModuleType]) -> Any:
    return module_of("suites")


@pytest.fixture
def measuring(module_of: Callable[[str], ModuleType]) -> Any:
    return module_of("measuring")


class Bench:
    """Gives figures that were made up."""

    def __init__(self, measuring: Any, cpu: dict[str, float], **changed: Any) -> None:
        self.options = measuring.Options(items=1000, sizes=(10, 1000), rounds=2)
        self._measured = measuring.Measured
        self._cpu = cpu
        self._changed = changed

    def csv_file(self, rows: int) -> str:
        return str(rows)

    def rounds(self, jobs: list[dict[str, Any]], rounds: int | None = None) -> list[list[Any]]:
        return [[self._one(job) for _ in range(rounds or self.options.rounds)] for job in jobs]

    def _one(self, job: dict[str, Any]) -> Any:
        items = int(job.get("csv") or job["table"].split("-")[1])
        plain = {
            "items": items,
            "cpu": self._cpu[job["method"]] * items,
            "wall": 1.0,
            "peak": 100_000_000,
            "error": "",
            "extra": {"buckets": 4096, "differences": 100, "kinds": [33, 33, 34], "looked_at": 1},
            "server": {"accepted": items, "scans": 1},
        }
        return self._measured(**{**plain, **self._changed})


@pytest.mark.parametrize(("cpu", "met"), [(1.0, True), (1.7, False)])
def test_the_ratio_of_a_load_is_held_against_its_floor(suites: Any, measuring: Any, cpu: float, met: bool) -> None:
    bench = Bench(measuring, {"load_ours": cpu, "load_batch_writer": 10.0})
    (aim,) = suites.load(bench).aims
    assert aim.met is met
    assert aim.measured == f"{10 / cpu:.1f}"


def test_growth_compares_sizes_of_the_same_round(suites: Any, measuring: Any) -> None:
    bench = Bench(measuring, {"load_ours": 1.0, "fingerprint_ours": 2.0})
    result = suites.growth(bench)
    assert len(result.tables[0].rows) == 4
    assert [aim.measured for aim in result.aims] == ["100 MB at 1,000 items", "1.00", "1.00"] * 2
    assert all(aim.met for aim in result.aims)


@pytest.mark.parametrize("changed", [{"items": 999}, {"error": "LoadError: lost"}, {"server": {"accepted": 999}}])
def test_work_that_was_not_done_has_no_figure(suites: Any, measuring: Any, changed: dict[str, Any]) -> None:
    bench = Bench(measuring, {"load_ours": 1.0, "load_batch_writer": 10.0}, **changed)
    with pytest.raises(measuring.BenchmarkError, match=r"999|lost"):
        suites.load(bench)


def test_differences_that_were_not_found_have_no_figure(suites: Any, measuring: Any) -> None:
    extra = {"differences": 99, "kinds": [33, 33, 33], "looked_at": 1}
    bench = Bench(measuring, {"diff_ours": 1.0, "diff_resource": 2.0}, extra=extra)
    with pytest.raises(measuring.BenchmarkError, match="99"):
        suites.diff(bench)


@pytest.mark.parametrize("once", [False, True])
def test_a_baseline_that_is_measured_once_is_held_against_every_round(suites: Any, measuring: Any, once: bool) -> None:
    bench = Bench(measuring, {"diff_ours": 1.0, "diff_resource": 2.5})
    bench.options = measuring.Options(items=1000, rounds=4, dicts_once=once)
    (table,) = suites.diff(bench).tables
    assert [row[-1] for row in table.rows] == ["2.5", "1"]
    assert any("measured once" in note for note in table.notes) is once
