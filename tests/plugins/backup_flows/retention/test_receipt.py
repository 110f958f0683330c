from __future__ import annotations

import pickle
from typing import Any

import pytest

from backup_flows.retention.receipt import RetentionIncompleteError, answer_text, judge

PLANNED = {
    "mode": {"applies": True, "raised": False, "past": False},
    "counts": {"delete": 1},
    "approval": [],
    "wrong": [],
    "plan": "s3://bucket/plan.json",
}
REFUSED = {"chosen_options": ["Reject"], "responded_by_user": {"name": "ann"}}


def judged(planned: dict[str, Any] | None = None, **changes: Any) -> tuple[dict[str, Any], list[str]]:
    told = {
        "gone": [],
        "left": {},
        "planned_deletions": ["a"],
        "wanted": ["a"],
        "drills": [],
        "protected": [],
        "tables": {"dropped": [], "sweep": []},
        "files": [],
        "answer": None,
        **changes,
    }
    return judge({**PLANNED, **(planned or {})}, **told)


@pytest.mark.parametrize(
    ("answer", "asked", "text"),
    [
        (None, False, "nobody was asked"),
        (None, True, "unanswered: the task approve did not end well"),
        (REFUSED, True, "refused: by ann"),
        ({"chosen_options": ["Reject"], "responded_by_user": None}, True, "refused: by a person, or no answer in time"),
        ({"chosen_options": ["Approve"], "responded_by_user": {"name": "ann"}}, True, "agreed: by ann"),
        # The answer of an earlier try that was asked does not count for one that was not.
        (REFUSED, False, "nobody was asked"),
    ],
)
def test_it_says_who_answered_what(answer, asked, text):
    assert answer_text(answer, asked=asked) == text


def test_where_all_went_well_nothing_is_wrong():
    result, wrong = judged(gone=["a"], tables={"dropped": ["t"], "sweep": [{"table_name": "t"}]})
    assert wrong == []
    assert (result["deleted"], result["swept"], result["would_sweep"], result["would_delete"]) == (["a"], ["t"], [], [])


@pytest.mark.parametrize("name", ["drills", "protected", "tables", "files"])
def test_a_task_that_did_not_end_well_is_named(name):
    _, (problem,) = judged(**{name: None})
    assert "did not end well" in problem


def test_after_a_refusal_the_sweeps_are_not_missed():
    result, wrong = judged({"approval": ["many"]}, answer=REFUSED, tables=None, files=None)
    assert wrong == []
    assert result["would_delete"] == ["a"]


def test_an_approval_that_failed_is_no_refusal():
    result, (problem,) = judged({"approval": ["many"]}, wanted=[], left={"a": "not asked for"}, tables=None, files=None)
    assert "approve did not end well" in problem
    assert (result["would_delete"], result["still_there"]) == (["a"], {})


def test_what_was_due_and_never_asked_for_is_still_there():
    result, (problem,) = judged(wanted=[], left={"a": "not asked for"})
    assert (result["deleted"], result["still_there"]) == ([], {"a": "not asked for"})
    assert problem == "a is still there: not asked for"
    # Somebody else deleted it: nothing is wrong, and it is not ours to tell.
    result, wrong = judged(wanted=[], gone=["a"])
    assert (result["deleted"], wrong) == ([], [])


def test_what_an_earlier_try_wanted_and_the_plan_does_not_is_told_only_where_it_is_gone():
    result, wrong = judged(wanted=["a", "b", "c"], gone=["a", "b"], left={"c": "not asked for"})
    assert (result["deleted"], result["still_there"], wrong) == (["a", "b"], {}, [])


def test_what_is_still_there_refused_or_lost_is_wrong():
    protected = [
        {"subject": "b", "outcome": "refused", "detail": "no", "lost_at": "2026-11-30"},
        {"subject": "hold", "outcome": "refused", "detail": "not yours", "lost_at": None},
        {"subject": "c", "outcome": "held", "detail": "", "lost_at": None},
    ]
    _, wrong = judged({"wrong": ["alarm"]}, left={"a": "locked"}, protected=protected)
    assert wrong == [
        "alarm",
        "a is still there: locked",
        "b is lost on 2026-11-30, with nothing newer proven: no",
        "hold: not yours",
    ]


def test_the_error_names_everything_and_can_be_pickled():
    error = RetentionIncompleteError(["one", "two"])
    assert str(pickle.loads(pickle.dumps(error))) == "one; two"
