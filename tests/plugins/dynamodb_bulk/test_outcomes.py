"""The account of a repair."""

from __future__ import annotations

import json

import pytest

from dynamodb_bulk.errors import AccountingError
from dynamodb_bulk.outcomes import Account, Done, Outcome, RepairResult


def done(name: str, outcome: Outcome, *, reason: str = "", lost: bytes | None = None) -> Done:
    return Done(f'{{"id":{{"S":"{name}"}}}}', "changed", outcome, reason, units=1.5, lost=lost)


def account(*outcomes: Outcome, list_cap: int = 100) -> RepairResult:
    counted = Account(list_cap)
    for number, outcome in enumerate(outcomes):
        counted.chosen += 1
        counted.add(done(str(number), outcome))
    return counted.result()


def test_every_item_is_counted_as_one_outcome() -> None:
    result = account(Outcome.REPAIRED, Outcome.LEFT, Outcome.REPAIRED, Outcome.FAILED, Outcome.ALREADY)
    told = result.to_dict()
    assert {name: told[name] for name in map(str, Outcome)} == {
        "planned": 0,
        "repaired": 2,
        "already": 1,
        "left": 1,
        "failed": 1,
    }
    assert (told["chosen"], told["write_units"], told["classes"]) == (5, 7.5, {"changed": 2})
    assert [entry["outcome"] for entry in told["not_repaired"]] == ["left", "failed"]


@pytest.mark.parametrize(
    ("outcomes", "complete"),
    [
        ([], True),
        ([Outcome.REPAIRED, Outcome.ALREADY], True),
        ([Outcome.REPAIRED, Outcome.LEFT], False),
        ([Outcome.FAILED], False),
        ([Outcome.PLANNED], False),
    ],
)
def test_it_is_complete_when_every_item_is_what_it_shall_be(outcomes: list[Outcome], complete: bool) -> None:
    assert account(*outcomes).complete is complete


def test_an_item_without_an_outcome_is_an_error() -> None:
    counted = Account(1)
    counted.chosen = 2
    counted.add(done("a", Outcome.REPAIRED))
    with pytest.raises(AccountingError, match="2 items"):
        counted.result()


def test_the_list_is_capped_and_the_counts_are_not() -> None:
    one, other = account(*[Outcome.LEFT] * 3, list_cap=2), account(*[Outcome.FAILED] * 2, Outcome.REPAIRED)
    total = RepairResult.total([one, other], list_cap=3)
    assert (len(one.listed), len(total.listed)) == (2, 3)
    assert (total.chosen, total.count(Outcome.LEFT), total.count(Outcome.FAILED)) == (6, 3, 2)


def test_a_line_tells_what_stood_there_where_it_is_lost() -> None:
    line = json.loads(done("a", Outcome.FAILED, reason="why", lost=b'{"id":{"S":"a"}}').to_line())
    assert line == {
        "key": {"id": {"S": "a"}},
        "class": "changed",
        "outcome": "failed",
        "reason": "why",
        "stood": {"id": {"S": "a"}},
    }
    assert "stood" not in done("a", Outcome.REPAIRED).to_dict()
