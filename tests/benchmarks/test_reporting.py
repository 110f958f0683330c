"""What was measured stands in the document, in its place, and all aims stand together."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

DOCUMENT = """# Title

<!-- measured: aims -->
<!-- end: aims -->

before
<!-- measured: load -->
old
<!-- end: load -->
between
<!-- measured: diff -->
<!-- end: diff -->
after
"""


@pytest.fixture
def reporting(module_of: Callable[[str], ModuleType]) -> Any:
    return module_of("reporting")


def result(reporting: Any, name: str, *, met: bool) -> str:
    table = reporting.Table(f"Table of {name}", ("a", "b"), [("1", "2")], ["a note"])
    text: str = reporting.Result([table], [reporting.Aim(name, "much", "more", met)]).markdown()
    return text


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ([1.0], 1, "1.0"),
        ([3.0, 1.0, 2.0], 0, "2 (1 to 3)"),
        ([1.26, 1.24], 2, "1.25 (1.24 to 1.26)"),
        ([1.1, 0.9], 0, "1"),
    ],
)
def test_a_spread_is_a_median_and_a_range(reporting: Any, values: list[float], digits: int, text: str) -> None:
    assert reporting.Spread.of(values).text(digits) == text


def test_a_result_takes_the_place_of_the_old_one(reporting: Any) -> None:
    once = reporting.with_result(DOCUMENT, "load", result(reporting, "speed", met=True))
    twice = reporting.with_result(once, "load", result(reporting, "speed", met=True))
    assert once == twice
    assert "old" not in once
    assert once.index("before") < once.index("### Table of speed") < once.index("between")
    assert once.count("a note") == 1


def test_the_aims_of_all_results_stand_together(reporting: Any) -> None:
    document = reporting.with_result(DOCUMENT, "load", result(reporting, "speed", met=True))
    document = reporting.with_result(document, "diff", result(reporting, "memory", met=False))
    aims = document.partition("<!-- measured: aims -->")[2].partition("<!-- end: aims -->")[0]
    assert "| speed | much | more | met |" in aims
    assert "| memory | much | more | **missed** |" in aims
    assert "| 1 | 2 |" not in aims
    document = reporting.with_result(document, "diff", result(reporting, "memory", met=True))
    assert "missed" not in document


def test_a_result_without_a_place_is_an_error(reporting: Any) -> None:
    with pytest.raises(reporting.DocumentError, match="<!-- measured: wall -->"):
        reporting.with_result(DOCUMENT, "wall", "text")
