"""What a cleanup came to, and what of it is wrong. No Airflow import."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

APPROVE: Final = "Approve"
NOT_ASKED: Final = "nobody was asked"
UNANSWERED: Final = "unanswered: the task approve did not end well"


class RetentionIncompleteError(RuntimeError):
    """A cleanup did not do what it planned, or must not; the message lists why, each with its point."""

    def __init__(self, wrong: Sequence[str]) -> None:
        self.wrong = tuple(wrong)
        super().__init__("; ".join(self.wrong))

    def __reduce__(self) -> tuple[type[RetentionIncompleteError], tuple[tuple[str, ...]]]:
        return type(self), (self.wrong,)


def answer_text(answer: Mapping[str, Any] | None, *, asked: bool) -> str:
    """Say how a person answered.

    Args:
        answer: what the approval's task returned, without a choice where it was refused; None: the task failed.
        asked: whether somebody was asked.
    """
    if not asked:
        return NOT_ASKED
    if answer is None:
        return UNANSWERED
    user = (answer.get("responded_by_user") or {}).get("name")
    word = "agreed" if list(answer["chosen_options"]) == [APPROVE] else "refused"
    return f"{word}: by {user}" if user else f"{word}: by a person, or no answer in time"


def judge(
    planned: Mapping[str, Any],
    *,
    gone: Sequence[str],
    left: Mapping[str, str],
    planned_deletions: Sequence[str],
    wanted: Collection[str],
    drills: Sequence[str] | None,
    protected: Sequence[Mapping[str, Any]] | None,
    tables: Mapping[str, Any] | None,
    files: Sequence[Mapping[str, Any]] | None,
    answer: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], list[str]]:
    """Return a run's receipt, and what is wrong.

    Args:
        planned: what the planning task returned.
        gone: the ARNs of the points that are no longer there, of those that any try of the run, or its plan, names.
        left: those of them that are there, each with the reason.
        planned_deletions: the ARNs that the plan wanted to delete in this run.
        wanted: the ARNs that any try of the run put on record before it deleted.
        drills: the points for which a drill was asked; None: that task did not end well. So with the next three.
        protected: what became of rescues, releases and lifecycles.
        tables: what became of restored tables.
        files: what became of old files.
        answer: a person's, if one was asked.
    """
    applies = planned["mode"]["applies"]
    asked = applies and bool(planned["approval"] or planned["mode"]["raised"])
    answered = answer_text(answer, asked=asked)
    refused = answered.startswith(("refused", "unanswered"))
    may_delete = applies and not refused
    # What an earlier try wanted, and the plan wants no more, is told where it is gone; that it is there is right.
    due = set(planned_deletions) if may_delete else set(planned_deletions) & set(wanted)
    left = {arn: reason for arn, reason in left.items() if arn in due}
    result = {
        "mode": "apply" if applies else "preview",
        "answer": answered,
        "deleted": [arn for arn in gone if arn in wanted],
        "still_there": dict(left),
        "would_delete": [] if may_delete else list(planned_deletions),
        "drills": list(drills or []),
        "protected": [dict(step) for step in protected or []],
        "swept": list((tables or {}).get("dropped", [])),
        "would_sweep": [] if applies else [entry["table_name"] for entry in (tables or {}).get("sweep", [])],
        "files": [dict(entry) for entry in files or []],
        "counts": dict(planned["counts"]),
        "notes": list(planned.get("notes", ())),
        "plan": planned["plan"],
    }
    wrong = [*planned["wrong"], *(f"{arn} is still there: {reason}" for arn, reason in left.items())]
    for step in protected or []:
        if step["lost_at"] is not None:
            wrong.append(f"{step['subject']} is lost on {step['lost_at']}, with nothing newer proven: {step['detail']}")
        elif step["outcome"] == "refused":
            wrong.append(f"{step['subject']}: {step['detail']}")
    if answered == UNANSWERED:
        wrong.append("the task approve did not end well, so nothing was deleted: see its log")
    ended_badly: dict[str, Any] = {"request_drills": drills, "protect_points": protected}
    if not refused:
        ended_badly |= {"sweep_restored_tables": tables, "sweep_files": files}
    wrong += [f"the task {name} did not end well: see its log" for name, came in ended_badly.items() if came is None]
    return result, list(dict.fromkeys(wrong))
